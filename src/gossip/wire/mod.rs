//! memberlist's and Serf's wire: bytes to messages and back, nothing else.
//!
//! [`PacketReader`] peels a datagram (encryption, checksum, compression, compounds) down to borrowed
//! [`Message`]s without copying; [`PacketWriter`] builds one. [`StreamReader`] collects a stream's bytes
//! until they are a whole [`StreamMessage`]. What Serf puts into user
//! messages is in [`serf`], what Consul puts into user events in [`event`].
//!
//! The format is written down in the project's notes on the gossip wire and proven on captured traffic
//! of stock agents (`testdata/`). Structs are msgpack maps with sorted keys in the dialect of go-msgpack
//! 0.5; encoding a decoded message gives the same bytes.
//!
//! May not enter: what a message means. Nothing a stranger sends may panic here, or cost memory beyond
//! the limits written beside each decoder.

mod codec;
mod crypto;
pub mod event;
mod lzw;
mod message;
mod msgpack;
mod packet;
pub mod serf;
mod stream;
#[cfg(test)]
mod tests;

pub use crypto::{Crypto, ENCRYPTION_OVERHEAD, Key, KeyError, Keyring};
pub use message::{
    Ack, Alive, Claim, IndirectPing, Message, NodeState, OUR_VERSIONS, Ping, PushPull, PushPullNode,
    PushPullNodeRef, StreamMessage, Versions, WireError,
};
pub use packet::{MAX_PARTS, MAX_UNPACKED, PacketBuilder, PacketReader, PacketReport, PacketWriter};
pub use stream::{
    MAX_ENCRYPTED, MAX_MESSAGE, MAX_NODES, MAX_USER_STATE, StreamReader, encode_push_pull, encode_stream,
};
