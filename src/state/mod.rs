//! The state core: what a Tribune server knows, and how commands change it.
//!
//! Owns the tables (nodes, services, checks, keys, tombstones, sessions, coordinates), the rules
//! that tie them together, the store they are durable in, the published snapshot they are read
//! from and the feed of changes that wakes whoever waits.
//!
//! May not enter: actors, sockets, tasks, clocks, randomness and anything that knows of raft. The
//! writer gets (index, command) and nothing else; that is why a replay gives the same state.
//! RocksDB is named in `store_disk.rs` only.

mod apply_autopilot;
mod apply_catalog;
mod apply_kv;
mod apply_sessions;
mod apply_txn;
pub mod archive;
pub mod command;
pub mod kv;
pub mod machine;
pub mod metadata;
pub mod piece;
pub mod read;
pub mod record;
pub mod restore;
mod rows;
pub mod snapshot;
pub mod store;
pub mod store_disk;
#[cfg(test)]
mod tests;
pub mod text;
pub mod view;
pub mod watch;
mod writer;

pub use command::{Command, CommandKind, Envelope, Outcome};
pub use machine::StateMachine;
pub use read::StateReader;
pub use view::View;
pub use watch::{Topic, Watch, Watches};
pub use writer::Event;

/// What can go wrong in the state core.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A command could not be encoded; nothing was proposed.
    #[error("command cannot be encoded: {0}")]
    Encode(String),
    /// A log entry holds something this build does not know. The server must stop: skipping it
    /// would make its state differ from the others'.
    #[error("unknown or damaged command in the log: {0}")]
    UnknownCommand(String),
    /// The store failed; the server must stop.
    #[error("store: {0}")]
    Store(String),
    /// The store holds something that cannot be read back; the server must not serve it.
    #[error("damaged {table} row {key:?}: {reason}")]
    Corrupt {
        /// Table the row is in.
        table: &'static str,
        /// Its key, escaped.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The installation of a snapshot did not end: the store holds parts of a state. It must be
    /// installed anew.
    #[error(
        "the installation of a snapshot (index {index}) did not finish; the state is incomplete and must be \
         installed again"
    )]
    HalfInstalled {
        /// Index of the snapshot.
        index: u64,
    },
    /// The state is being replaced by a snapshot; try again.
    #[error("the state is being replaced by a snapshot, try again")]
    Installing,
}
