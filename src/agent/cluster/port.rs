//! The server port: what a connection is, is said by its first byte.
//!
//! Consul's bytes are 0 (plain RPC), 1 (its Raft), 3 and 7 (TLS), 4 (multiplexed RPC), 5 (snapshots); ours is
//! [`crate::peers::FIRST_BYTE`]. What nobody serves is closed.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, warn};

use super::ClusterOptions;
use crate::peers;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;
/// Pause after accepting failed, as it does without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves connections of one kind, given without their first byte and with the address of the other side.
pub type Door = Arc<dyn Fn(TcpStream, SocketAddr) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Who serves what; what nobody serves is closed.
#[derive(Clone, Default)]
pub struct Doors {
    /// Byte 0x54: other servers.
    pub peers: Option<Door>,
    /// Byte 0: RPC, one request after the other.
    pub single: Option<Door>,
    /// Byte 4: RPC, multiplexed.
    pub multiplexed: Option<Door>,
    /// Byte 5: snapshots.
    pub snapshot: Option<Door>,
}

impl Doors {
    fn of(&self, byte: u8) -> Option<&Door> {
        match byte {
            0 => self.single.as_ref(),
            4 => self.multiplexed.as_ref(),
            5 => self.snapshot.as_ref(),
            peers::FIRST_BYTE => self.peers.as_ref(),
            _ => None,
        }
    }
}

/// The bound port; clones share the socket.
#[derive(Debug, Clone)]
pub struct ServerPort {
    socket: Arc<Mutex<Option<std::net::TcpListener>>>,
    options: ClusterOptions,
    /// Connections by address of the other side.
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl ServerPort {
    /// Binds; connections wait until [`ServerPort::run`].
    ///
    /// # Errors
    /// The system's.
    pub fn bind(options: &ClusterOptions) -> io::Result<Self> {
        let address = options.listen;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = Arc::new(Mutex::new(Some(socket.into())));
        Ok(Self { socket, options: options.clone(), connections: Arc::default() })
    }

    /// Accepts until told to stop.
    pub async fn run(self, doors: Doors, stop: watch::Receiver<bool>) {
        let Some(socket) = self.socket.lock().take() else { return };
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(failure) => {
                return error!(target: "agent.server", error = %failure, "the server port is lost");
            }
        };
        let doors = Arc::new(doors);
        let mut stopped = std::pin::pin!(stopped(stop));
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.accept(stream, peer, &doors),
                    Err(failure) => {
                        warn!(target: "agent.server", error = %failure, "failed to accept an RPC connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                () = &mut stopped => return,
            }
        }
    }

    fn accept(&self, stream: TcpStream, peer: SocketAddr, doors: &Arc<Doors>) {
        let Some(place) = self.place(peer.ip()) else {
            return warn!(target: "agent.server", peer = %peer, "too many RPC connections of this address (limits.rpc_max_conns_per_client)");
        };
        let (doors, limit) = (Arc::clone(doors), self.options.handshake_timeout);
        tokio::spawn(async move {
            let _place = place;
            let mut stream = stream;
            let first = timeout(limit, stream.read_u8());
            let Ok(Ok(byte)) = first.await else {
                return debug!(target: "agent.server", peer = %peer, "an RPC connection did not say what it is");
            };
            match doors.of(byte) {
                Some(door) => door(stream, peer).await,
                None => {
                    warn!(target: "agent.server", peer = %peer, byte, "unrecognized RPC byte, closing the connection");
                }
            }
        });
    }

    fn place(&self, ip: IpAddr) -> Option<Place> {
        let mut connections = self.connections.lock();
        let count = connections.entry(ip).or_default();
        if *count >= self.options.max_connections_per_client {
            return None;
        }
        *count += 1;
        Some(Place { ip, connections: Arc::clone(&self.connections) })
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // Whoever could say so may be gone, which means the same.
    drop(stop.wait_for(|stop| *stop).await);
}

/// One connection's place among those of its address.
struct Place {
    ip: IpAddr,
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.connections.lock();
        if let Some(count) = connections.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    fn options(most: usize) -> ClusterOptions {
        ClusterOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            handshake_timeout: Duration::from_millis(200),
            max_connections_per_client: most,
            expect: 0,
        }
    }

    /// A door that says which it is and keeps the connection until the other side ends it.
    fn door(name: &'static str) -> Door {
        Arc::new(move |mut stream: TcpStream, _| {
            Box::pin(async move {
                let _ = stream.write_all(name.as_bytes()).await;
                let _ = stream.read_u8().await;
            })
        })
    }

    fn open(most: usize) -> (SocketAddr, watch::Sender<bool>) {
        let port = ServerPort::bind(&options(most)).unwrap();
        let address = port.socket.lock().as_ref().unwrap().local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let doors =
            Doors { peers: Some(door("peers")), multiplexed: Some(door("multi")), ..Doors::default() };
        tokio::spawn(port.run(doors, stopped));
        (address, stop)
    }

    /// What is heard after this byte: nothing once the port hangs up.
    async fn heard(address: SocketAddr, byte: Option<u8>) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if let Some(byte) = byte {
            stream.write_u8(byte).await.unwrap();
        }
        let mut buffer = [0; 16];
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    }

    #[tokio::test]
    async fn the_first_byte_says_what_a_connection_is() {
        let (address, _stop) = open(100);
        let table = [
            (Some(peers::FIRST_BYTE), "peers"),
            (Some(4), "multi"),
            (Some(5), ""),
            (Some(1), ""),
            (Some(3), ""),
            (Some(200), ""),
            (None, ""),
        ];
        for (byte, want) in table {
            assert_eq!(heard(address, byte).await, want, "{byte:?}");
        }
    }

    #[tokio::test]
    async fn one_address_has_so_many_connections() {
        let (address, _stop) = open(1);
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_u8(4).await.unwrap();
        first.read_exact(&mut [0; 5]).await.unwrap();
        assert_eq!(heard(address, Some(4)).await, "", "one too many");
        drop(first);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while heard(address, Some(4)).await != "multi" {
            assert!(tokio::time::Instant::now() < deadline, "the place is free again");
        }
    }
}
