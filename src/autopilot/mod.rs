//! Autopilot: how the leader looks after the raft group, as pure decisions.
//!
//! Gossip says which servers there are, raft says which of them are members and how far each is; from both follow the
//! health of every server ([`health`]) and the next changes of the members ([`plan`]). Whoever leads feeds it and carries out
//! what comes back, one change of members at a time.
//!
//! May not enter: actors, sockets, clocks, chance. Time is a number handed in.

use crate::raft::ServerRecord;
use crate::state::record::AutopilotConfig;

pub mod health;
pub mod plan;

/// How a server stands in the gossip pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It answers.
    Alive,
    /// It says goodbye.
    Leaving,
    /// It does not answer.
    Failed,
    /// It said goodbye, or somebody said it for it.
    Left,
    /// It was forgotten, or its name was taken by another server.
    Reaped,
}

/// A server of this datacenter, as gossip shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Node ID, name and address of its RPC.
    pub server: ServerRecord,
    /// How it stands.
    pub standing: Standing,
    /// Version of its build.
    pub version: String,
    /// It asks never to vote.
    pub non_voter: bool,
    /// It founds a group by itself: two such servers are two groups.
    pub bootstrap: bool,
}

/// The configuration, in the units used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Failed servers are removed.
    pub cleanup: bool,
    /// Milliseconds after which a silent server is not healthy.
    pub contact_ms: u64,
    /// Entries a healthy server may lack.
    pub trailing: u64,
    /// Voters that must remain.
    pub min_quorum: u64,
    /// Milliseconds a new server must be healthy before it votes.
    pub stabilization_ms: u64,
}

impl From<&AutopilotConfig> for Rules {
    fn from(config: &AutopilotConfig) -> Self {
        // Below zero is no time at all.
        let ms = |nanos: i64| u64::try_from(nanos / 1_000_000).unwrap_or(0);
        Self {
            cleanup: config.cleanup_dead_servers,
            contact_ms: ms(config.last_contact_threshold),
            trailing: config.max_trailing_logs,
            min_quorum: config.min_quorum,
            stabilization_ms: ms(config.server_stabilization_time),
        }
    }
}
