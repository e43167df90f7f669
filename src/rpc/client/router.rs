//! Which server is asked: the first of a shuffled list, until a call to it fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::seq::SliceRandom as _;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::{RpcClient, RpcError};
use crate::rpc::codec::{Pack, Unpack, from_bytes};

/// Pauses between tries take up to this part of the time for trying.
const PAUSE_FRACTION: u32 = 16;
/// Least time between rebalances; up to as much again by chance is half of it.
const REBALANCE: Duration = Duration::from_secs(120);
/// How often idle connections are looked for.
const TEND: Duration = Duration::from_secs(10);
/// How long a server may take to answer a ping when it becomes the first.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What a call does, which decides whether it may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing changes: it may be made again.
    Read,
    /// It is made again only when it surely was not carried out.
    Write,
}

/// Times of a router.
#[derive(Debug, Clone)]
pub struct RouterOptions {
    /// How long a call is tried (`rpc_hold_timeout`).
    pub hold: Duration,
    /// The datacenter, for pings.
    pub datacenter: String,
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self { hold: Duration::from_secs(7), datacenter: String::new() }
    }
}

/// Calls servers, whichever answers.
#[derive(Debug)]
pub struct Router {
    client: Arc<RpcClient>,
    servers: Mutex<Vec<SocketAddr>>,
    options: RouterOptions,
}

impl Router {
    /// Without servers yet.
    pub fn new(client: Arc<RpcClient>, options: RouterOptions) -> Self {
        Self { client, servers: Mutex::default(), options }
    }

    /// The servers there are now, by gossip. New ones find a place by chance, the order of the others stays.
    pub fn set_servers(&self, now: &[SocketAddr]) {
        let mut servers = self.servers.lock();
        servers.retain(|server| now.contains(server));
        for server in now {
            if !servers.contains(server) {
                let place = usize::try_from(rand::random::<u64>() % (servers.len() as u64 + 1)).unwrap_or(0);
                servers.insert(place, *server);
            }
        }
    }

    /// Takes these servers in this order.
    #[cfg(test)]
    pub(super) fn adopt(&self, servers: &[SocketAddr]) {
        *self.servers.lock() = servers.to_vec();
    }

    /// How many servers are known.
    pub fn known(&self) -> usize {
        self.servers.lock().len()
    }

    /// The servers, the one to be asked first.
    pub fn servers(&self) -> Vec<SocketAddr> {
        self.servers.lock().clone()
    }

    fn first(&self) -> Option<SocketAddr> {
        self.servers.lock().first().copied()
    }

    /// Puts a server at the end, if it still is the first.
    fn failed(&self, server: SocketAddr) {
        let mut servers = self.servers.lock();
        if servers.len() > 1 && servers.first() == Some(&server) {
            servers.rotate_left(1);
        }
    }

    /// Calls a method. Tries again, mostly elsewhere, as long as that can do no harm and the time for trying lasts;
    /// a call of the caller's own time limit is tried again within it only.
    ///
    /// # Errors
    /// [`RpcError`] of the last try.
    pub async fn call<R: Unpack>(
        &self,
        method: &str,
        request: &impl Pack,
        effect: Effect,
        limit: Option<Duration>,
    ) -> Result<R, RpcError> {
        let reply = self.call_packed(method, request, effect, limit).await?;
        Ok(from_bytes(&reply)?)
    }

    /// As [`Router::call`], with the reply as it came.
    ///
    /// # Errors
    /// [`RpcError`] of the last try.
    pub async fn call_packed(
        &self,
        method: &str,
        request: &impl Pack,
        effect: Effect,
        limit: Option<Duration>,
    ) -> Result<Bytes, RpcError> {
        let begun = Instant::now();
        loop {
            let Some(server) = self.first() else { return Err(RpcError::NoServers) };
            let left = limit.map(|limit| limit.saturating_sub(begun.elapsed()));
            let error = match self.client.call_packed(server, method, request, left).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            if error.is_connection_trouble() || error.is_no_leader() {
                self.failed(server);
            }
            let pause = self.pause();
            if !may_retry(&error, effect) || begun.elapsed() + pause >= self.options.hold {
                if error.is_connection_trouble() {
                    warn!(target: "agent.rpc", method, server = %server, error = %error, "RPC failed to server");
                }
                return Err(error);
            }
            debug!(target: "agent.rpc", method, server = %server, error = %error, "retrying RPC");
            sleep(pause).await;
        }
    }

    /// A random time before the next try.
    fn pause(&self) -> Duration {
        let most = u64::try_from((self.options.hold / PAUSE_FRACTION).as_nanos()).unwrap_or(u64::MAX).max(1);
        Duration::from_nanos(rand::random::<u64>() % most)
    }

    /// Shuffles the servers and makes the first that answers a ping the first.
    pub async fn rebalance(&self) {
        let mut servers = self.servers();
        if servers.len() < 2 {
            return;
        }
        servers.shuffle(&mut rand::rng());
        for server in &servers {
            let ping = self.client.call_packed(*server, "Status.Ping", &(), Some(PING_TIMEOUT)).await;
            if ping.is_err() {
                continue;
            }
            let place = servers.iter().position(|found| found == server).unwrap_or(0);
            servers.rotate_left(place);
            break;
        }
        // Gossip may have changed the list meanwhile: only the order is ours.
        let place = |server: &SocketAddr| servers.iter().position(|found| found == server);
        self.servers.lock().sort_by_key(|server| place(server).unwrap_or(usize::MAX));
    }

    /// Rebalances every two to three minutes and closes idle connections, for as long as the agent runs.
    pub async fn run(&self) {
        let mut next = Instant::now() + rebalance_after();
        loop {
            sleep(TEND).await;
            let now = Instant::now();
            self.client.close_idle(now);
            if now >= next {
                self.rebalance().await;
                next = Instant::now() + rebalance_after();
            }
        }
    }
}

fn rebalance_after() -> Duration {
    let spread = u64::try_from(REBALANCE.as_millis() / 2).unwrap_or(1).max(1);
    REBALANCE + Duration::from_millis(rand::random::<u64>() % spread)
}

/// Whether a failed call may be made again: it surely was not carried out, or does no harm twice.
fn may_retry(error: &RpcError, effect: Effect) -> bool {
    match error {
        RpcError::NotSent(_) => true,
        RpcError::Unknown(_) => effect == Effect::Read,
        RpcError::Server(_) => error.is_no_leader(),
        RpcError::Timeout | RpcError::Malformed(_) | RpcError::NoServers => false,
    }
}
