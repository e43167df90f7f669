//! The sockets of a pool: one for datagrams and one for streams, on the same port.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener, UdpSocket as StdUdp};

use socket2::SockRef;
use tokio::net::{TcpListener, UdpSocket};

use super::streams::go_text;

/// What the kernel may hold for us while we are busy; it may allow less.
const RECEIVE_BUFFER: usize = 2 << 20;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen for gossip: listen {network} {address}: bind: {}; stop what uses the address, or change bind_addr, serf_{{lan,wan}} or ports.serf_{{lan,wan}}",
    go_text(source)
)]
pub struct BindError {
    network: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// Sockets that are bound and not read from yet.
#[derive(Debug)]
pub struct Doors {
    udp: StdUdp,
    tcp: StdListener,
}

impl Doors {
    /// Binds both.
    ///
    /// # Errors
    /// [`BindError`] names the address; nothing is bound then.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let wrong = |network| move |source| BindError { network, address, source };
        let tcp = StdListener::bind(address).map_err(wrong("tcp"))?;
        tcp.set_nonblocking(true).map_err(wrong("tcp"))?;
        // With port 0 the system has chosen one; both have to be the same.
        let address = tcp.local_addr().map_err(wrong("tcp"))?;
        let udp = StdUdp::bind(address).map_err(wrong("udp"))?;
        udp.set_nonblocking(true).map_err(wrong("udp"))?;
        // Less will do.
        let _ = SockRef::from(&udp).set_recv_buffer_size(RECEIVE_BUFFER);
        Ok(Self { udp, tcp })
    }

    /// Gives them to the runtime of this thread.
    ///
    /// # Errors
    /// The system's answer.
    pub(super) fn open(self) -> io::Result<OpenDoors> {
        let local = self.udp.local_addr()?;
        Ok(OpenDoors {
            udp: UdpSocket::from_std(self.udp)?,
            tcp: TcpListener::from_std(self.tcp)?,
            mapped: local.is_ipv6(),
        })
    }
}

/// Sockets that are read from.
#[derive(Debug)]
pub(super) struct OpenDoors {
    pub udp: UdpSocket,
    pub tcp: TcpListener,
    /// The socket is of IPv6, so IPv4 addresses are given to it in IPv6 clothes.
    mapped: bool,
}

impl OpenDoors {
    /// Sends a datagram without waiting: one that the kernel has no room for is lost, as on the way.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let to = match to.ip() {
            IpAddr::V4(ip) if self.mapped => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            _ => to,
        };
        SockRef::from(&self.udp).send_to(bytes, &to.into()).map(drop)
    }
}

/// An address as the rest of the agent knows it: IPv4 without IPv6 clothes.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
