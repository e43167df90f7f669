//! How many connections one client may have open: Consul's `limits.http_max_conns_per_client`.

use std::any::Any;
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use actix_http::Extensions;
use actix_web::rt::net::TcpStream;
use parking_lot::Mutex;
use rustix::net::{SendFlags, Shutdown, send, shutdown};

/// What a connection too many gets before it is closed.
const REFUSAL: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 83\r\n\
    Connection: close\r\n\
    \r\n\
    Your IP is issuing too many concurrent connections, please rate limit your calls\r\n\n";

type Open = Mutex<HashMap<IpAddr, usize>>;

/// Counts the open connections of every client.
#[derive(Debug, Clone)]
pub struct ClientLimit {
    most: NonZeroUsize,
    open: Arc<Open>,
}

/// A counted connection; dropped with it.
#[derive(Debug)]
struct Counted {
    client: IpAddr,
    open: Arc<Open>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

impl ClientLimit {
    /// At most so many per client; `None` for 0, which means any number.
    pub fn new(most: usize) -> Option<Self> {
        NonZeroUsize::new(most).map(|most| Self { most, open: Arc::default() })
    }

    /// Counts a new connection, or refuses it: an answer is sent and both directions are shut down,
    /// so that the server sees its end before any request.
    pub fn admit(&self, connection: &dyn Any, data: &mut Extensions) {
        let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
        let Ok(peer) = stream.peer_addr() else { return };
        if let Some(counted) = self.count(peer.ip()) {
            data.insert(counted);
        } else {
            tracing::warn!(addr = %peer, limit = self.most, "client has too many connections open");
            // Best effort: the connection is given up either way. Past the runtime, which does not
            // know yet that a new connection can be written to.
            let _ = send(stream, REFUSAL, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            let _ = shutdown(stream, Shutdown::Both);
        }
    }

    fn count(&self, client: IpAddr) -> Option<Counted> {
        let mut open = self.open.lock();
        let count = open.entry(client).or_default();
        if *count >= self.most.get() {
            return None;
        }
        *count += 1;
        Some(Counted { client, open: Arc::clone(&self.open) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_per_client_and_forgets_the_gone() {
        let limit = ClientLimit::new(2).unwrap();
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = limit.count(one).unwrap();
        let _second = limit.count(one).unwrap();
        assert!(limit.count(one).is_none());
        assert!(limit.count(other).is_some());
        drop(first);
        assert!(limit.count(one).is_some());
        assert_eq!(limit.open.lock().len(), 1);
    }

    #[test]
    fn zero_means_no_limit() {
        assert!(ClientLimit::new(0).is_none());
    }

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }
}
