//! Calls to servers.
//!
//! [`RpcClient`] has one connection to each server and makes calls on it; [`Router`] knows which server to ask and
//! what may be asked again. Neither knows what the calls mean.

mod connection;
mod router;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::codec::frame::{self, RequestHeader, ResponseHeader};
use super::codec::{Cursor, Malformed, Pack, Unpack, from_bytes};
use super::mux::{MuxError, MuxStream, Write as _};
use connection::Slot;
pub use router::{Effect, Router, RouterOptions};

/// What goes before a server's error, once for each hop.
pub use crate::endpoints::RPC_ERROR as RPC_PREFIX;

/// Why a call failed. The text is what Consul's agents say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// The server answered with this error.
    #[error("{RPC_PREFIX}{0}")]
    Server(String),
    /// The request did not leave: no connection.
    #[error("rpc error getting client: failed to get conn: {0}")]
    NotSent(String),
    /// The request left and the connection broke: whether it was carried out is unknown.
    #[error("{RPC_PREFIX}{0}")]
    Unknown(String),
    /// The request left and no answer came in time: whether it was carried out is unknown.
    #[error("{RPC_PREFIX}timeout waiting for a response")]
    Timeout,
    /// The answer is not what it should be.
    #[error("{RPC_PREFIX}{0}")]
    Malformed(#[from] Malformed),
    /// There is nobody to ask.
    #[error("No known Consul servers")]
    NoServers,
}

impl RpcError {
    /// Whether another server may be better.
    pub const fn is_connection_trouble(&self) -> bool {
        matches!(self, Self::NotSent(_) | Self::Unknown(_) | Self::Timeout)
    }

    /// Whether the server says that it has no leader; then nothing was carried out.
    pub fn is_no_leader(&self) -> bool {
        matches!(self, Self::Server(text) if text.contains("No cluster leader"))
    }
}

/// Times and bounds of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Where connections come from; none if the system is to choose.
    pub source: Option<IpAddr>,
    /// Longest time to get a connection.
    pub dial_timeout: Duration,
    /// Connections without calls are closed after this long.
    pub idle: Duration,
    /// Longest reply in bytes.
    pub reply_limit: usize,
    /// Pause after a failed dial; doubled with each further failure, up to [`ClientOptions::longest_pause`].
    pub first_pause: Duration,
    /// Longest such pause.
    pub longest_pause: Duration,
}

impl Default for ClientOptions {
    /// Consul's times for client agents.
    fn default() -> Self {
        Self {
            source: None,
            dial_timeout: Duration::from_secs(10),
            idle: Duration::from_secs(127),
            reply_limit: 1 << 30,
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(1),
        }
    }
}

/// Makes calls; one connection to each server, kept while it is used.
#[derive(Debug)]
pub struct RpcClient {
    slots: Mutex<HashMap<SocketAddr, Arc<Slot>>>,
    options: ClientOptions,
    /// Where connections live; calls may come from anywhere.
    runtime: Option<Handle>,
}

impl RpcClient {
    /// Without any connection yet. Connections live on the runtime this is called on, calls may be made on others.
    pub fn new(options: ClientOptions) -> Self {
        Self { slots: Mutex::default(), options, runtime: Handle::try_current().ok() }
    }

    fn slot(&self, server: SocketAddr) -> Arc<Slot> {
        Arc::clone(self.slots.lock().entry(server).or_default())
    }

    /// Calls a method of a server. Without a time limit the call lasts as long as the server lives.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn call<R: Unpack>(
        &self,
        server: SocketAddr,
        method: &str,
        request: &impl Pack,
        limit: Option<Duration>,
    ) -> Result<R, RpcError> {
        let reply = self.call_packed(server, method, request, limit).await?;
        Ok(from_bytes(&reply)?)
    }

    /// As [`RpcClient::call`], with the reply as it came.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn call_packed(
        &self,
        server: SocketAddr,
        method: &str,
        request: &impl Pack,
        limit: Option<Duration>,
    ) -> Result<Bytes, RpcError> {
        let slot = self.slot(server);
        let call = slot.begin();
        let (mut stream, number) = slot.stream(server, &self.options, self.runtime.as_ref()).await?;
        let bytes = frame::pack(&RequestHeader { seq: number, service_method: method.to_owned() }, request);
        let exchange = exchange(&mut stream, &bytes, number);
        let reply = match limit {
            Some(limit) => timeout(limit, exchange).await.unwrap_or(Err(RpcError::Timeout)),
            None => exchange.await,
        };
        // After an error the stream is let go, as stock clients do.
        if reply.is_ok() {
            slot.give_back(stream);
        }
        drop(call);
        reply
    }

    /// Closes connections that were not used for a while, and forgets servers without one. To be called now and then.
    pub fn close_idle(&self, now: Instant) {
        self.slots.lock().retain(|_, slot| !slot.close_if_idle(now, self.options.idle));
    }

    /// Closes all connections; calls under way fail.
    pub fn close(&self) {
        for (_, slot) in self.slots.lock().drain() {
            slot.close();
        }
    }
}

async fn exchange(stream: &mut MuxStream, bytes: &[u8], number: u64) -> Result<Bytes, RpcError> {
    let broken = |error: MuxError| RpcError::Unknown(error.to_string());
    stream.await_answer(true);
    stream.send(bytes).await.map_err(broken)?;
    let answer = stream.frame().await.map_err(broken)?;
    stream.await_answer(false);
    let (header, body) = answer.ok_or_else(|| RpcError::Unknown("EOF".to_owned()))?;
    let header = ResponseHeader::unpack(&mut Cursor::new(&header))?;
    if header.seq != number {
        let text = format!("reply to call {} instead of {number}", header.seq);
        return Err(RpcError::Unknown(text));
    }
    if header.error.is_empty() { Ok(body) } else { Err(RpcError::Server(header.error)) }
}
