//! Calls to the servers: what may be repeated, and how errors are told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::endpoints::EndpointError;
use crate::endpoints::far::RPC_PREFIX;
use crate::metrics::{Counter, Metrics};
use crate::rpc::codec::frame::{self, Frames, RequestHeader, ResponseHeader};
use crate::rpc::codec::{Pack, Unpack, from_bytes};

/// STOPGAP
pub struct Wire {
    servers: watch::Receiver<Vec<SocketAddr>>,
    order: Mutex<usize>,
    hold: Duration,
    metrics: Arc<Metrics>,
}

/// What a call may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Read,
    Write,
}

impl Wire {
    pub fn new(servers: watch::Receiver<Vec<SocketAddr>>, hold: Duration, metrics: Arc<Metrics>) -> Self {
        Self { servers, order: Mutex::new(0), hold, metrics }
    }

    pub fn known(&self) -> usize {
        self.servers.borrow().len()
    }

    pub async fn call<Q: Pack + Sync, A: Unpack>(
        &self,
        method: &'static str,
        request: &Q,
        kind: Kind,
        patience: Duration,
    ) -> Result<A, EndpointError> {
        self.metrics.count(Counter::ClientRpc);
        let header = RequestHeader { seq: 1, service_method: method.to_owned() };
        let bytes = frame::pack(&header, request);
        let until = Instant::now() + self.hold;
        loop {
            let server = {
                let servers = self.servers.borrow();
                if servers.is_empty() {
                    return Err(EndpointError::Internal("No known Consul servers".into()));
                }
                servers[*self.order.lock() % servers.len()]
            };
            let again;
            let error = match timeout(patience, once(server, &bytes)).await {
                Ok(Ok((header, body))) => {
                    let header: ResponseHeader = from_bytes(&header).map_err(bad)?;
                    if header.error.is_empty() {
                        return from_bytes(&body).map_err(bad);
                    }
                    again = header.error.contains("No cluster leader");
                    told(&header.error)
                }
                Ok(Err((sent, error))) => {
                    *self.order.lock() += 1;
                    again = !sent || kind == Kind::Read;
                    EndpointError::Internal(format!("rpc error getting client: {error}"))
                }
                Err(_) => {
                    again = false;
                    EndpointError::Internal("rpc error making call: i/o deadline reached".into())
                }
            };
            if !again || Instant::now() >= until {
                self.metrics.count(Counter::ClientRpcFailed);
                return Err(error);
            }
            sleep(Duration::from_millis(rand::random_range(50..400))).await;
        }
    }
}

fn bad(error: crate::rpc::codec::Malformed) -> EndpointError {
    EndpointError::Internal(format!("rpc error making call: {error}"))
}

/// What a server's error is to callers.
fn told(text: &str) -> EndpointError {
    let words = format!("{RPC_PREFIX}{text}");
    if text.contains("Permission denied") || text.contains("ACL not found") {
        EndpointError::Forbidden(words)
    } else if text.contains("No cluster leader") {
        EndpointError::Internal(words)
    } else {
        EndpointError::Refused(words)
    }
}

async fn once(server: SocketAddr, bytes: &[u8]) -> Result<(Bytes, Bytes), (bool, std::io::Error)> {
    let mut stream = timeout_at(Instant::now() + Duration::from_secs(10), TcpStream::connect(server))
        .await
        .map_err(|e| (false, e.into()))?
        .map_err(|e| (false, e))?;
    let mut all = vec![0u8];
    all.extend_from_slice(bytes);
    stream.write_all(&all).await.map_err(|e| (true, e))?;
    let mut frames = Frames::new(64 << 20);
    let mut buffer = BytesMut::new();
    loop {
        if let Some(found) =
            frames.next(&mut buffer).map_err(|e| (true, std::io::Error::other(e.to_string())))?
        {
            return Ok(found);
        }
        if stream.read_buf(&mut buffer).await.map_err(|e| (true, e))? == 0 {
            return Err((true, std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
}
