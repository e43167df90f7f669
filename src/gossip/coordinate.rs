//! Network coordinates: round trip times between any two members, estimated from the few that were measured.
//!
//! Source: "Vivaldi: A Decentralized Network Coordinate System" (Dabek et al. 2004), with Serf's height,
//! adjustment (Ledlie's), latency filter and gravity; parameters in the project's notes on the gossip wire (7.7).

/// How many dimensions the space has; the wire fixes it.
pub const DIMENSIONS: usize = 8;

/// A place in the space; distances are seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Coordinate {
    /// The place.
    pub vec: [f64; DIMENSIONS],
    /// How sure it is; 1.5 is not at all.
    pub error: f64,
    /// What past estimates were off by, in seconds.
    pub adjustment: f64,
    /// The way from the place to the network, in seconds.
    pub height: f64,
}
