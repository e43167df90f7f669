//! `/v1/agent/monitor`: the agent's log as it is written.

use futures::StreamExt as _;

use super::agent::handle;
use super::reply::{ContentType, Reply};
use super::{Request, WebError, stream};
use crate::endpoints::log::Log;

/// Streams until the client goes or the agent stops.
pub(super) fn follow(request: &Request) -> Result<Reply, WebError> {
    let level = match request.arg("loglevel").unwrap_or_default() {
        "" => "INFO",
        level => level,
    };
    let json = request.has_arg("logjson");
    let lines = handle::<Log>(request)?
        .0
        .follow(level, json)
        .ok_or_else(|| WebError::bad_request(format!("Bad request: Unknown log level: {level}")))?;
    let drain = request.room().shared.drain.clone();
    let lines = lines.take_until(async move { drain.drained().await });
    // As Consul, which names no type here.
    Ok(Reply::stream(ContentType::None, stream::lines(lines)))
}
