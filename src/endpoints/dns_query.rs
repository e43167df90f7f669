//! DNS messages that come over HTTP.

use futures::future::BoxFuture;

/// A reply and how long it may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsReply {
    /// The message.
    pub message: Vec<u8>,
    /// Smallest TTL in it, in seconds.
    pub max_age: u32,
}

/// Answers DNS queries; implemented by the DNS room.
pub trait DnsQuery: Send + Sync {
    /// Whether it is switched on.
    fn is_enabled(&self) -> bool;

    /// Answers a message as if it had come over TCP; `None` when there is to be no reply, as for what is no
    /// query.
    fn ask<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Option<DnsReply>>;
}
