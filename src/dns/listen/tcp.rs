//! Accepting connections, up to a limit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::stream::{Room, serve};
use super::wire::Wire;

/// Wait when the system has no more descriptors.
const ERROR_WAIT: Duration = Duration::from_millis(100);
/// How often refusals are told.
const WARN_INTERVAL: Duration = Duration::from_secs(60);
/// Errors in a row after which a listener is given up: a minute's worth.
const MAX_ERRORS: u32 = 600;

/// Accepts connections and serves each in a task of its own. Ends only when the listener has failed for good,
/// with the reason.
pub async fn accept(listener: TcpListener, address: SocketAddr, tls: bool, room: Arc<Room>) -> String {
    let mut refusals = Refusals::default();
    let mut errors = 0;
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                errors = 0;
                let Some(place) = room.enter(tls) else {
                    // Closing at once tells the client now; waiting in a queue would tell it nothing.
                    refusals.count(address);
                    continue;
                };
                let wire = if tls { room.certificates().wire() } else { Some(Wire::Plain) };
                if let Some(wire) = wire {
                    tokio::spawn(serve(stream, client, wire, place));
                }
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                errors += 1;
                if errors == 1 {
                    tracing::warn!(%address, %error, "cannot accept connections");
                }
                if errors == MAX_ERRORS {
                    return format!("TCP on {address}: {error}");
                }
                tokio::time::sleep(ERROR_WAIT).await;
            }
        }
    }
}

/// The client has gone before it was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Counts refused connections and tells of them now and then.
#[derive(Default)]
struct Refusals {
    count: u64,
    told: Option<Instant>,
}

impl Refusals {
    fn count(&mut self, address: SocketAddr) {
        self.count += 1;
        if self.told.is_none_or(|told| told.elapsed() >= WARN_INTERVAL) {
            self.told = Some(Instant::now());
            tracing::warn!(%address, refused = self.count, "too many DNS connections, closing new ones");
        }
    }
}
