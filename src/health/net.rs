//! Reaching an address: names to addresses, connecting, and Go's words when that fails.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UdpSocket, UnixStream};
use tokio_rustls::client::TlsStream;

use super::gotext::{call_error, os_error};

/// Why an address cannot be reached, as Go's dialer says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DialError(String);

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether what is dialled speaks TCP or UDP.
#[derive(Debug, Clone, Copy)]
enum Network {
    Tcp,
    Udp,
}

impl Network {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Splits `host:port`, `[v6]:port` or `:port`; a port may be one of the common names.
fn split(network: Network, address: &str) -> Result<(&str, u16), DialError> {
    let name = network.as_str();
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some(found) => found,
        None => match address.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err(DialError(format!("dial {name}: address {address}: too many colons in address")));
            }
            Some(found) => found,
            None => {
                return Err(DialError(format!("dial {name}: address {address}: missing port in address")));
            }
        },
    };
    let number = match port.parse::<u64>() {
        Ok(number) => u16::try_from(number)
            .map_err(|_| DialError(format!("dial {name}: address {port}: invalid port")))?,
        Err(_) => match port {
            "" => 0,
            "http" => 80,
            "https" => 443,
            "domain" => 53,
            "ssh" => 22,
            "smtp" => 25,
            _ => return Err(DialError(format!("dial {name}: address {name}/{port}: unknown port"))),
        },
    };
    Ok((host, number))
}

/// The host of a `host:port`, without brackets.
pub(super) fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host).trim_start_matches('[').trim_end_matches(']')
}

/// The addresses of a host. Literals and the empty name (this machine) need no resolver.
async fn resolve(network: Network, address: &str) -> Result<Vec<SocketAddr>, DialError> {
    let (host, port) = split(network, address)?;
    if host.is_empty() {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![(ip, port).into()]);
    }
    let nobody = || DialError(format!("dial {}: lookup {host}: no such host", network.as_str()));
    let mut found: Vec<_> = tokio::net::lookup_host((host, port)).await.map_err(|_| nobody())?.collect();
    if found.is_empty() {
        return Err(nobody());
    }
    // As Go: IPv4 first, so that a server on 127.0.0.1 is found under `localhost` at the first attempt and
    // a failure names that address.
    found.sort_by_key(SocketAddr::is_ipv6);
    Ok(found)
}

/// Connects to the first address that lets us, and says which. No time limit of its own.
///
/// # Errors
/// `dial tcp 127.0.0.1:1: connect: connection refused` and the like, for the first address tried.
pub(super) async fn connect(address: &str) -> Result<(TcpStream, SocketAddr), DialError> {
    let mut first = None;
    for candidate in resolve(Network::Tcp, address).await? {
        match TcpStream::connect(candidate).await {
            Ok(stream) => {
                return Ok((stream, candidate));
            }
            Err(error) => {
                let text = format!("dial tcp {candidate}: {}", call_error("connect", &error));
                first.get_or_insert(DialError(text));
            }
        }
    }
    Err(first.unwrap_or_else(|| DialError(format!("dial tcp: lookup {address}: no such host"))))
}

/// A UDP socket bound to any port and connected to `address`.
///
/// # Errors
/// Go's text.
pub(super) async fn connect_udp(address: &str) -> Result<(UdpSocket, SocketAddr), DialError> {
    let found = resolve(Network::Udp, address).await?;
    let target =
        *found.first().ok_or_else(|| DialError(format!("dial udp: lookup {address}: no such host")))?;
    let own: SocketAddr =
        if target.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let failed =
        |error: io::Error| DialError(format!("dial udp {target}: {}", call_error("connect", &error)));
    let socket = UdpSocket::bind(own).await.map_err(failed)?;
    socket.connect(target).await.map_err(failed)?;
    Ok((socket, target))
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection of any kind.
pub(super) struct Stream {
    io: Box<dyn Io>,
    peer: Option<SocketAddr>,
}

impl Stream {
    /// Plain TCP.
    pub fn plain((stream, peer): (TcpStream, SocketAddr)) -> Self {
        Self { io: Box::new(stream), peer: Some(peer) }
    }

    /// TLS over TCP.
    pub fn secure(stream: TlsStream<TcpStream>, peer: SocketAddr) -> Self {
        Self { io: Box::new(stream), peer: Some(peer) }
    }

    /// A local socket.
    pub fn local(stream: UnixStream) -> Self {
        Self { io: Box::new(stream), peer: None }
    }

    /// Whom it reaches, for texts.
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(context)
    }
}

/// Go's text for a read or write that failed on a connected socket, without our own address: its port is another
/// at every look, and an output that never stays the same would be news every time.
pub(super) fn socket_error(
    doing: &str,
    network: &str,
    peer: Option<SocketAddr>,
    error: &io::Error,
) -> String {
    let peer = peer.map_or_else(|| "?".to_owned(), |address| address.to_string());
    format!("{doing} {network} {peer}: {doing}: {}", os_error(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cases = [
            ("127.0.0.1:80", Ok(("127.0.0.1", 80))),
            ("[::1]:1", Ok(("::1", 1))),
            (":25600", Ok(("", 25600))),
            ("a:http", Ok(("a", 80))),
            ("127.0.0.1", Err("dial tcp: address 127.0.0.1: missing port in address")),
            ("::1:80", Err("dial tcp: address ::1:80: too many colons in address")),
            ("a:99999", Err("dial tcp: address 99999: invalid port")),
            ("a:nosuch", Err("dial tcp: address tcp/nosuch: unknown port")),
        ];
        for (address, want) in cases {
            let got = split(Network::Tcp, address).map_err(|error| error.to_string());
            assert_eq!(got, want.map_err(str::to_owned), "{address}");
        }
    }
}
