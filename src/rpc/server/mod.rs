//! Answers Consul's RPC: which method is which endpoint, and nothing else.
//!
//! A stream carries one call after the other; the streams of a connection are served side by side. What a method means
//! is the endpoint's business; here its arguments are read, its answer is written and its errors are worded as Consul's
//! servers word them.

mod catalog;
mod dispatch;
mod internal;
mod kv;
mod multiplexed;
mod operator;
mod read;
mod session;
mod snapshot;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::endpoints::Endpoints;
use crate::endpoints::agent::Members;
use crate::endpoints::blocking::Drain;
use crate::endpoints::event::EventBus;
use crate::endpoints::keyring::Keyring;
use crate::endpoints::operator::Operator;

pub use multiplexed::serve as serve_multiplexed;
pub use snapshot::serve as serve_snapshot;
pub use stream::serve;

/// What methods are carried out with.
pub struct RpcServices {
    /// Everything about the state.
    pub endpoints: Endpoints,
    /// Raft and snapshots.
    pub operator: Operator,
    /// Pools.
    pub members: Arc<dyn Members>,
    /// User events.
    pub events: Arc<dyn EventBus>,
    /// Gossip keys.
    pub keyring: Arc<dyn Keyring>,
    /// Releases parked queries when the agent stops.
    pub drain: Drain,
    /// Where snapshots on their way in are spooled; empty for the system's place.
    pub spool: String,
}

impl RpcServices {
    /// Longest body of a request in bytes.
    fn body_limit(&self) -> usize {
        let settings = &self.endpoints.settings;
        // A transaction holds values in its operations, each with its key and names around it.
        2 * settings.kv_max_value_size.max(settings.txn_max_req_len) + (2 << 20)
    }
}

impl std::fmt::Debug for RpcServices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpcServices").finish_non_exhaustive()
    }
}
