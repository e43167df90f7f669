//! The Serf layer: what membership means to an agent, user events, queries and keys.
//!
//! [`Pool`] ties it to SWIM and is what hosts and simulations hold.
//!
//! Source: Serf 0.9's behaviour as written down in the project's notes on the gossip wire (section 7).

mod clock;
mod coalesce;
mod events;
mod intent;
mod keys;
mod layer;
mod members;
mod pool;
mod queries;
mod roster;
mod snapshot;
mod stats;
#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

pub use clock::{Clocks, LTime};
pub use pool::{Pool, PoolError};
pub use stats::Stats;

use super::wire::Versions;
/// How a member stands, by Serf's numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// Nothing is known.
    #[default]
    None = 0,
    /// It answers.
    Alive = 1,
    /// It says goodbye.
    Leaving = 2,
    /// It said goodbye.
    Left = 3,
    /// It does not answer.
    Failed = 4,
}

/// A member, as agents know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name.
    pub name: String,
    /// Gossip address.
    pub addr: SocketAddr,
    /// Tags.
    pub tags: Arc<BTreeMap<String, String>>,
    /// How it stands.
    pub status: Status,
    /// Versions; zeros if unknown.
    pub versions: Versions,
}
