//! The doors of DNS: UDP and TCP, TLS in front of the latter, and the handle that HTTPS hands its queries to.
//!
//! ```text
//! dns-udp (a thread per socket)    batches -> Resolver -> batches
//! dns-stream (one thread, tokio)   TCP, TLS -> Resolver; and everything that waits for recursors
//! ```
//!
//! Owns sockets, threads, time limits and what bounds them all. What an answer says is not decided here.

mod batch;
pub mod https;
mod log;
pub mod resolver;
mod stream;
mod tcp;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod udp;
mod wire;

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime;
use tokio::sync::Notify;

use resolver::Resolver;
use stream::Room;
use tls::Certificates;
use udp::UdpDoor;

/// Streams that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Room for a message with its length in front.
const SCRATCH: usize = 2 + super::foreign::LONGEST_MESSAGE;

/// Where DNS is served, and within which bounds.
#[derive(Debug, Clone)]
pub struct ListenSettings {
    /// Addresses of UDP and TCP.
    pub addresses: Vec<SocketAddr>,
    /// Addresses of TLS.
    pub tls_addresses: Vec<SocketAddr>,
    /// UDP sockets per address, each with a thread.
    pub udp_sockets: usize,
    /// Bounds of the streams.
    pub streams: StreamLimits,
}

/// Bounds of streams, so that neither many nor slow clients cost more than this.
#[derive(Debug, Clone, Copy)]
pub struct StreamLimits {
    /// Open TCP connections; one more is closed at once.
    pub tcp: usize,
    /// Open TLS connections, which cost more; likewise.
    pub tls: usize,
    /// A connection is closed when no query is completed and no reply read for so long.
    pub idle: Duration,
    /// Bytes of unfinished queries and unread replies that all connections may hold together. A
    /// connection that needs more is closed.
    pub held_bytes: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { tcp: 16_384, tls: 2_048, idle: Duration::from_secs(8), held_bytes: 32 << 20 }
    }
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            addresses: vec![SocketAddr::from(([127, 0, 0, 1], 8600))],
            tls_addresses: Vec::new(),
            udp_sockets: default_udp_sockets(),
            streams: StreamLimits::default(),
        }
    }
}

/// One per two cores, at most four: with more of them each finds fewer datagrams at a time, and a query costs
/// more for waking up than for its answer (`benches/dns_listeners.rs` shows both).
pub fn default_udp_sockets() -> usize {
    thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 4))
}

/// Why DNS could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address cannot be listened on.
    #[error("cannot listen for DNS over {network} on {address}: {source}")]
    Listen {
        /// `UDP`, `TCP` or `TLS`.
        network: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// There can be no thread, or no runtime on it.
    #[error("cannot start a thread for DNS: {0}")]
    Thread(#[source] io::Error),
}

/// Called when a door has failed for good.
#[derive(Clone)]
pub struct OnFailure(Arc<dyn Fn(&str) + Send + Sync>);

impl OnFailure {
    /// With what is to be done; it is given the reason.
    pub fn new(call: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(call))
    }

    fn call(&self, reason: &str) {
        (self.0)(reason);
    }
}

/// Everything that listens. Dropping it ends the threads and waits for them; queries in flight are lost.
pub struct Listeners {
    // In this order: queries that wait are spawned on the streams' runtime by the datagrams' threads.
    udp: Vec<UdpDoor>,
    streams: Streams,
    /// Where it listens: network and address, with ports given as 0 filled in.
    addresses: Vec<(&'static str, SocketAddr)>,
}

impl Listeners {
    /// Binds all addresses and starts serving.
    ///
    /// # Errors
    /// [`ListenError`]; then nothing listens.
    pub fn start(
        settings: &ListenSettings,
        resolver: &Arc<Resolver>,
        certificates: &Arc<Certificates>,
        on_failure: &OnFailure,
    ) -> Result<Self, ListenError> {
        // TCP goes first: it alone notices that somebody else has the port, as UDP sockets share theirs.
        let tcp = bind_streams("TCP", &settings.addresses)?;
        let addresses: Vec<SocketAddr> = tcp.iter().map(|(address, _)| *address).collect();
        let udp = bind_datagrams(&addresses, settings.udp_sockets)?;
        let tls = bind_streams("TLS", &settings.tls_addresses)?;
        let mut bound: Vec<(&'static str, SocketAddr)> = Vec::new();
        for address in addresses {
            bound.extend([("udp", address), ("tcp", address)]);
        }
        bound.extend(tls.iter().map(|(address, _)| ("tcp-tls", *address)));
        let room = Room::new(Arc::clone(resolver), Arc::clone(certificates), settings.streams);
        let streams = Streams::start(tcp, tls, room, on_failure).map_err(ListenError::Thread)?;
        let udp = udp
            .into_iter()
            .map(|socket| {
                UdpDoor::open(socket, Arc::clone(resolver), streams.runtime.clone(), on_failure.clone())
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(ListenError::Thread)?;
        Ok(Self { udp, streams, addresses: bound })
    }

    /// Where it listens: `udp`, `tcp` or `tcp-tls`, and the address.
    pub fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    /// Open connections of TCP and TLS.
    pub fn connections(&self) -> usize {
        self.streams.room.connections()
    }

    /// UDP sockets, with a thread each.
    pub fn udp_sockets(&self) -> usize {
        self.udp.len()
    }
}

type Bound = Vec<(SocketAddr, TcpListener)>;

fn bind_streams(network: &'static str, addresses: &[SocketAddr]) -> Result<Bound, ListenError> {
    let bind = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(!both_families(address, addresses))?;
        }
        // Accepted connections inherit it.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        Ok((listener.local_addr()?, listener))
    };
    addresses
        .iter()
        .map(|&address| bind(address).map_err(|source| ListenError::Listen { network, address, source }))
        .collect()
}

fn bind_datagrams(addresses: &[SocketAddr], each: usize) -> Result<Vec<std::net::UdpSocket>, ListenError> {
    let each = each.max(1);
    let mut sockets = Vec::with_capacity(addresses.len() * each);
    for &address in addresses {
        for _ in 0..each {
            let socket = udp::bind(address, each > 1, both_families(address, addresses))
                .map_err(|source| ListenError::Listen { network: "UDP", address, source })?;
            sockets.push(socket);
        }
    }
    Ok(sockets)
}

/// `::` stands for IPv4 too, unless that is listened on by itself.
fn both_families(address: SocketAddr, all: &[SocketAddr]) -> bool {
    address.ip().is_unspecified()
        && !all.iter().any(|other| other.is_ipv4() && other.port() == address.port())
}

/// The thread of the streams and its runtime.
struct Streams {
    runtime: runtime::Handle,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
    room: Arc<Room>,
}

impl Streams {
    fn start(tcp: Bound, tls: Bound, room: Arc<Room>, on_failure: &OnFailure) -> io::Result<Self> {
        let stop = Arc::new(Notify::new());
        let (told, started) = std::sync::mpsc::channel();
        let (stopped, on_failure, inside) = (Arc::clone(&stop), on_failure.clone(), Arc::clone(&room));
        // The runtime is made and ends on its thread; the caller may stand on another one.
        let thread = thread::Builder::new().name("dns-stream".into()).spawn(move || {
            let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    // Whoever started us waits for this.
                    let _ = told.send(Err(error));
                    return;
                }
            };
            let begun = runtime.block_on(async { accept_all(tcp, tls, &inside, &on_failure) });
            let _ = told.send(begun.map(|()| runtime.handle().clone()));
            runtime.block_on(stopped.notified());
            runtime.shutdown_background();
        })?;
        match started.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended"))) {
            Ok(runtime) => Ok(Self { runtime, stop, thread: Some(thread), room }),
            Err(error) => {
                stop.notify_one();
                Err(error)
            }
        }
    }
}

/// Begins to accept on all listeners. Must be called on the runtime.
fn accept_all(tcp: Bound, tls: Bound, room: &Arc<Room>, on_failure: &OnFailure) -> io::Result<()> {
    let doors = tcp.into_iter().map(|door| (door, false)).chain(tls.into_iter().map(|door| (door, true)));
    for ((address, listener), tls) in doors {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (room, on_failure) = (Arc::clone(room), on_failure.clone());
        tokio::spawn(async move {
            let reason = tcp::accept(listener, address, tls, room).await;
            on_failure.call(&reason);
        });
    }
    Ok(())
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // Panics of tasks are the runtime's.
            let _ = thread.join();
        }
    }
}

/// Lends this thread's buffer for a message, so that no connection needs one while it waits.
pub(super) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local! {
        static SCRATCH_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH_BUFFER.with(|buffer| match buffer.try_borrow_mut() {
        Ok(mut buffer) => {
            buffer.resize(SCRATCH, 0);
            work(&mut buffer)
        }
        // Lent already, by a caller further up.
        Err(_) => work(&mut vec![0; SCRATCH]),
    })
}
