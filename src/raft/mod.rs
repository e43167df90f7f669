//! The consensus core: one raft group around tikv's `raft`, its log and its peer messages.
//!
//! Owns the node's raft state machine, the order in which things may happen (persist before what
//! depends on it, apply only what is committed, answer only what is applied), who waits for which
//! log position, who is a member, and the log behind a trait with a twin in memory. It takes ticks,
//! messages and proposals and gives back an ordered list of [`Effect`]s that its host carries out.
//!
//! May not enter: actors, sockets, tasks, clocks, thread-local randomness and anything that knows
//! what a log entry means. Time is a number handed in, randomness a seed. raft-engine is named in
//! `log_disk.rs` only.
//!
//! ```text
//!  propose / step / tick / read_index / applied
//!        |                                            durable
//!        v            stage             one write, one fsync
//!   raft::RawNode ---------> LogView(cache) ------------> LogStore (log_disk | memory twin)
//!        |                                                   |
//!        |  leader's appends leave before the fsync          |  votes, append answers, snapshots
//!        v                                                   v
//!   Effect::Send                              Effect::Send / Apply / InstallSnapshot
//! ```

mod cache;
mod codec;
pub mod config;
pub mod driver;
pub mod effect;
pub mod lease;
pub mod log;
pub mod log_disk;
mod log_files;
mod logger;
pub mod membership;
pub mod peer_codec;
mod pending;
mod reads;
pub mod snapshot;
mod staged;
mod view;

pub use config::DriverConfig;
pub use driver::{Driver, PeerProgress, Role, Status};
pub use effect::{Committed, Effect, EntryKind, ProposalId, ProposeError};
pub use log::{LogError, LogPosition, LogState, LogStore, LogWrite, MemoryLog};
pub use log_disk::LogDisk;
pub use membership::{Membership, MembershipChange, ServerRecord, raft_id};
pub use peer_codec::{PeerCodecError, PeerMessage};
pub use reads::ReadMode;
pub use snapshot::Manifest;

/// What stops a raft node. None of these can be waited out: the process has to end, or must not
/// start. Every text says what is wrong, where, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RaftError {
    /// The log could not be read or written.
    #[error("{0}")]
    Log(#[from] LogError),
    /// The log ends before what the state has applied or what was known to be committed.
    #[error(
        "raft log in {place} ends at index {last}, but {what} {needed}: entries are missing. Restore the \
         directory from a backup that is at least as new; or, if other servers hold the data, move this \
         server's data directory away, remove the server from the cluster and let it join anew"
    )]
    LostEntries {
        /// Directory of the log.
        place: String,
        /// Last index found.
        last: u64,
        /// Who needs more, as in "the state has applied".
        what: &'static str,
        /// The index that should be there.
        needed: u64,
    },
    /// The state is older than the oldest entry the log still has.
    #[error(
        "raft log in {place} starts after index {truncated}, but the state has applied only {applied}: \
         entries between are gone. The state was lost or replaced by an older one: restore the whole data \
         directory from one backup, or move it away and let the server join anew"
    )]
    StateBehind {
        /// Directory of the log.
        place: String,
        /// Last index the log has forgotten.
        truncated: u64,
        /// Applied index of the state.
        applied: u64,
    },
    /// The log was written by a server with another node ID.
    #[error(
        "raft log in {place} belongs to raft ID {found:016x}, but this server's node ID gives {expected:016x}: \
         put the file `node-id` (or the `node_id` setting) back to what it was, or use another data directory"
    )]
    WrongServer {
        /// Directory of the log.
        place: String,
        /// ID of this server.
        expected: u64,
        /// ID in the log.
        found: u64,
    },
    /// The settings contradict each other.
    #[error("raft settings: {0}")]
    Config(String),
    /// Something that must hold does not.
    #[error("raft: broken invariant: {0}; the data directory should be kept for examination")]
    Broken(String),
    /// It failed earlier; the first error is the one that counts.
    #[error("raft node has failed before and does nothing any more")]
    Failed,
}
