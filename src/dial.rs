//! TCP connections from a certain address of this machine, for the rooms that call servers.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

/// The address that connections of an agent bound to `bind` come from; none if it is bound to all, and the system
/// chooses. As Consul's: who is called can tell by it which member calls.
pub fn source_of(bind: IpAddr) -> Option<IpAddr> {
    Some(bind).filter(|ip| !ip.is_unspecified())
}

/// Connects. A source of the other family than the target's does not count.
///
/// # Errors
/// The system's.
pub async fn connect(source: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let Some(source) = source.filter(|source| source.is_ipv4() == to.is_ipv4()) else {
        return TcpStream::connect(to).await;
    };
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(to).await
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn whoever_is_called_sees_the_source() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
        let table = [
            (source_of(other), other),
            (source_of(Ipv4Addr::UNSPECIFIED.into()), to.ip()),
            (source_of(Ipv6Addr::LOCALHOST.into()), to.ip()),
            (None, to.ip()),
        ];
        for (source, seen) in table {
            let _connection = connect(source, to).await.unwrap();
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer.ip(), seen, "{source:?}");
        }
    }
}
