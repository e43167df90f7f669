//! SWIM with Lifeguard: who is there, who lives, and how news spreads.
//!
//! [`Swim`] keeps the table of members, probes them, suspects and buries them, spreads what it hears and
//! exchanges everything with a random member now and then. The layer above hangs on [`Delegate`].
//!
//! Sources: "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol" (Das,
//! Gupta, Motivala 2002), "Lifeguard: SWIM-ing with Situational Awareness" (Dadgar, Phillips, Currey 2017),
//! and memberlist's behaviour as written down in the project's notes on the gossip wire (section 6).
//!
//! May not enter: what tags, events or queries are.

mod awareness;
pub mod broadcast;
mod core;
mod delegate;
mod exchange;
mod probing;
mod rules;
mod schedule;
mod spread;
mod stats;
mod step;
mod suspicion;
mod table;

pub use self::core::{JoinKind, MAX_META, MAX_NAME, MAX_SERVED, Swim, SwimError, SwimSetup};
pub use delegate::{Context, Delegate, Nobody, Sink};
pub use schedule::transmits;
pub use stats::Stats;
pub use table::{Entry, MAX_MEMBERS, Name, Node, Places, Table};

#[cfg(test)]
mod tests;
