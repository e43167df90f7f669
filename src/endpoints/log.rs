//! The agent's own log, for whoever watches it through the API.

use std::sync::Arc;

use futures::stream::BoxStream;

/// Where log lines come from.
pub trait LogSource: Send + Sync {
    /// The lines from now on at a level (`trace` to `error`, in any case) and above, without line ends, as
    /// text or as JSON. `None` for a level that is none.
    fn follow(&self, level: &str, json: bool) -> Option<BoxStream<'static, String>>;
}

/// The handle the transports are given.
pub struct Log(pub Arc<dyn LogSource>);
