//! yamux, version 0: many streams over one connection, as Consul's agents speak it.
//!
//! Our own, because the crates for it acknowledge a new stream only with its first answer; stock clients stop
//! opening streams once 256 are not acknowledged, and blocking queries leave streams unanswered for minutes.
//! Streams carry frames of net/rpc ([`super::codec::frame`]), so a stream's buffer is that of its frames.
//!
//! Bounds: a stream never has more on its way to us than its window ([`WINDOW`]); a session never buffers more than
//! [`BUFFERED_LIMIT`] of unfinished requests, nor more than [`OUTGOING_LIMIT`] that the peer has not taken; who does
//! not take what we write for [`WRITE_TIMEOUT`] or does not answer a ping for the time of [`PINGS`] is let go.

mod header;
mod session;
mod stream;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use header::{Flags, Header, Kind};
pub use session::Session;
pub use stream::{MuxStream, Write};

/// What either side may send on a stream before it must be told that it may go on, in bytes.
pub const WINDOW: u32 = 256 * 1024;
/// Streams the other side may have open on one session; more are refused.
pub const MAX_STREAMS: usize = 8_192;
/// Bytes of unfinished frames a session may hold; then it is closed.
pub const BUFFERED_LIMIT: usize = 64 << 20;
/// Bytes waiting to be written before those who send wait.
pub const OUTGOING_LIMIT: usize = 4 << 20;
/// Bytes waiting to be written, answers to pings and windows included, before a session is closed.
const OUTGOING_CLOSE: usize = 16 << 20;
/// Time between pings, and how long an answer to one may take.
pub const PINGS: Pings = Pings { interval: Duration::from_secs(30), timeout: Duration::from_secs(10) };
/// Time the other side may take to accept what was written.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// When pings are sent.
#[derive(Debug, Clone, Copy)]
pub struct Pings {
    /// Time between them.
    pub interval: Duration,
    /// Time an answer may take.
    pub timeout: Duration,
}

/// Why a session or a stream ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MuxError {
    /// The connection ended or broke; with the system's words.
    #[error("{0}")]
    Connection(std::sync::Arc<str>),
    /// The other side broke the protocol.
    #[error("yamux protocol error: {0}")]
    Protocol(&'static str),
    /// The other side reset the stream.
    #[error("stream reset")]
    Reset,
    /// The other side takes no more streams.
    #[error("remote end is not accepting connections")]
    GoneAway,
    /// We closed the session.
    #[error("session shutdown")]
    Shutdown,
    /// What came is no frame of net/rpc.
    #[error("msgpack decode error: {0}")]
    Malformed(#[from] super::codec::Malformed),
}
