//! UDP: several sockets on one address, each with a thread that takes datagrams in batches, answers them on
//! the spot and sends the replies in one go.
//!
//! A thread that waits in the kernel for its next batch costs less than one that waits for readiness and reads
//! then, and a query that is answered from the published snapshot never waits. Those that do wait, for
//! recursors, go to the runtime of the streams.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use rand::rngs::SmallRng;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;

use super::OnFailure;
use super::batch::{Batch, send_one};
use super::log;
use super::resolver::{Resolved, Resolver, new_rng};
use crate::dns::Transport;

/// What the kernel may hold for us while we are busy; it may allow less.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Wait after an error of the socket.
const ERROR_WAIT: Duration = Duration::from_millis(20);
/// Errors in a row after which a socket is given up.
const MAX_ERRORS: u32 = 100;

/// Opens a socket for queries. `shared`: more of them are to be opened on the same address.
///
/// # Errors
/// What the system says.
pub fn bind(address: SocketAddr, shared: bool, both_families: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(!both_families)?;
    }
    // Less will do.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    if needs_source(address.ip()) {
        if address.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A socket on all addresses has to look at which one it was asked.
fn needs_source(ip: IpAddr) -> bool {
    ip.is_unspecified()
}

/// A socket and the thread that serves it.
pub struct UdpDoor {
    socket: Arc<UdpSocket>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl UdpDoor {
    /// Starts serving. `slow`: where queries wait for recursors.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn open(
        socket: UdpSocket,
        resolver: Arc<Resolver>,
        slow: Handle,
        on_failure: OnFailure,
    ) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let socket = Arc::new(socket);
        let stop = Arc::new(AtomicBool::new(false));
        let mut server =
            Server { socket: Arc::clone(&socket), stop: Arc::clone(&stop), resolver, slow, rng: new_rng() };
        let thread = thread::Builder::new().name("dns-udp".into()).spawn(move || {
            let mut batch = Batch::new(needs_source(address.ip()));
            if let Err(error) = server.run(&mut batch) {
                on_failure.call(&format!("UDP on {address}: {error}"));
            }
        })?;
        Ok(Self { socket, stop, thread: Some(thread) })
    }
}

impl Drop for UdpDoor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the thread. For a socket without peer the call reports an error, and does it all the same.
        let _ = rustix::net::shutdown(&*self.socket, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // Its panics were caught.
            let _ = thread.join();
        }
    }
}

struct Server {
    socket: Arc<UdpSocket>,
    stop: Arc<AtomicBool>,
    resolver: Arc<Resolver>,
    slow: Handle,
    rng: SmallRng,
}

impl Server {
    fn run(&mut self, batch: &mut Batch) -> io::Result<()> {
        let mut errors = 0;
        loop {
            let received = batch.receive(self.socket.as_fd());
            if self.stop.load(Ordering::Acquire) {
                return Ok(());
            }
            match received {
                Ok(received) => {
                    errors = 0;
                    for at in 0..received {
                        self.answer_guarded(batch, at);
                    }
                    batch.send(self.socket.as_fd(), received);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    errors += 1;
                    if errors == MAX_ERRORS {
                        return Err(error);
                    }
                    thread::sleep(ERROR_WAIT);
                }
            }
        }
    }

    /// A panic loses the query that caused it and no other.
    fn answer_guarded(&mut self, batch: &mut Batch, at: usize) {
        if catch_unwind(AssertUnwindSafe(|| self.answer(batch, at))).is_err() {
            tracing::error!("answering a query panicked");
            if let Some((_, _, reply)) = batch.query(at) {
                reply.clear();
            }
        }
    }

    fn answer(&mut self, batch: &mut Batch, at: usize) {
        let Some((query, peer, reply)) = batch.query(at) else { return };
        let begun = log::wanted().then(Instant::now);
        match self.resolver.resolve(query, Transport::Udp, &mut self.rng, reply) {
            Resolved::Reply => {
                if let Some(begun) = begun {
                    log::served(query, peer.address(), "udp", begun);
                }
            }
            Resolved::Drop => reply.clear(),
            Resolved::Later(later) => {
                reply.clear();
                let (socket, peer) = (Arc::clone(&self.socket), *peer);
                self.slow.spawn(async move {
                    let query = begun.map(|_| later.query().to_vec());
                    if let Some(reply) = later.reply().await {
                        send_one(socket.as_fd(), peer, &reply);
                    }
                    if let (Some(query), Some(begun)) = (query, begun) {
                        log::served(&query, peer.address(), "udp", begun);
                    }
                });
            }
        }
    }
}
