//! The servers' own wire: what servers of one datacenter say to each other, and to nobody else.
//!
//! Raft's messages, the data of snapshots, and requests to the leader. It shares the server port with Consul's RPC and
//! is told apart by its first byte, [`FIRST_BYTE`], which stock agents never send and close when they see it.
//!
//! ```text
//!  RaftNodeActor --send--> Links --one connection per peer--> inbound --> Service (raft, requests)
//!  proposer, admin --request-->  |                               |
//!                   <--answer----+<------ same connection -------+
//!  snapshot data: a connection of its own for each
//! ```
//!
//! A connection carries one direction's messages: whoever dials sends messages and requests, whoever is dialled answers. Nothing
//! here decides anything: messages are checked by `raft`'s codec and requests are carried out by [`inbound::Service`].
//!
//! May not enter: RocksDB, the raft library, actors, the web, rules of any endpoint.

pub mod data;
pub mod frame;
pub mod inbound;
mod link;
pub mod links;
pub mod request;
mod snapshot;
#[cfg(test)]
mod tests;

pub use data::{MemoryData, SnapshotData, SnapshotSink};
pub use inbound::{Inbound, Service};
pub use links::{Directory, Links, LinksSettings};
pub use request::{Request, RequestError};

/// First byte of a connection of this kind.
pub const FIRST_BYTE: u8 = 0x54;
