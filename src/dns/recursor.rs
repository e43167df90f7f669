//! The servers that names outside our domain are asked of.
//!
//! A query is passed on as it came, over the transport it came by, to one recursor after the other until one
//! gives an answer worth passing back. Nothing is cached.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::Transport;
use super::foreign::{self, LONGEST_MESSAGE, Summary};

/// Port of a recursor that is given without one.
const PORT: u16 = 53;
/// Response codes that are answers; with any other the next recursor is asked.
const NOERROR: u8 = 0;
const NXDOMAIN: u8 = 3;

/// A recursor that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecursorError {
    /// Neither an address nor a name that can be resolved.
    #[error("recursors: {text:?} is no address and cannot be resolved: {source}")]
    Unresolved {
        /// As configured.
        text: String,
        /// What the system said.
        source: io::Error,
    },
    /// An address that is nobody's.
    #[error("recursors: {0:?}: DNS recursor address cannot be 0.0.0.0, :: or [::]")]
    Unspecified(String),
}

/// Reads a recursor as configured: an IP address or a name, with a port or without. Names are resolved here
/// and only here.
///
/// # Errors
/// [`RecursorError`], which names the recursor.
pub fn address(text: &str) -> Result<SocketAddr, RecursorError> {
    let found = match text.parse::<SocketAddr>() {
        Ok(address) => address,
        Err(_) => match text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, PORT),
            Err(_) => resolve(text)?,
        },
    };
    if found.ip().is_unspecified() {
        return Err(RecursorError::Unspecified(text.to_owned()));
    }
    Ok(found)
}

fn resolve(text: &str) -> Result<SocketAddr, RecursorError> {
    let unresolved = |source| RecursorError::Unresolved { text: text.to_owned(), source };
    let resolved = match text.rsplit_once(':') {
        Some(_) => text.to_socket_addrs(),
        None => (text, PORT).to_socket_addrs(),
    };
    let mut addresses = resolved.map_err(unresolved)?;
    addresses.next().ok_or_else(|| unresolved(io::Error::other("no address")))
}

/// Whether asking this address would be asking ourselves, who listen on those.
pub fn is_own(recursor: SocketAddr, listening: &[SocketAddr]) -> bool {
    listening.iter().filter(|own| own.port() == recursor.port()).any(|own| {
        own.ip() == recursor.ip()
            || own.ip().is_unspecified()
                // Whoever can bind an address has it.
                && std::net::UdpSocket::bind((recursor.ip(), 0)).is_ok()
    })
}

/// The recursors in their order, and how long each may take.
#[derive(Debug, Clone, Default)]
pub struct Recursors {
    servers: Vec<SocketAddr>,
    timeout: Duration,
    random: bool,
}

impl Recursors {
    /// `random`: begins with any of them instead of the first.
    pub fn new(servers: Vec<SocketAddr>, timeout: Duration, random: bool) -> Self {
        Self { servers, timeout, random }
    }

    /// Passes a query on. The reply is the first one that is well-formed, answers this query and says either
    /// "here it is" or "there is no such name"; `None` when no recursor gave one.
    pub async fn forward(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let asked = foreign::read(query)?;
        for server in self.in_order() {
            match self.exchange(server, query, transport).await {
                Ok(reply) => match judge(query, &asked, transport, &reply) {
                    Ok(()) => return Some(reply),
                    Err(reason) => tracing::debug!(%server, reason, "recurse failed"),
                },
                Err(error) => tracing::debug!(%server, %error, "recurse failed"),
            }
        }
        tracing::error!("all resolvers failed for client query");
        None
    }

    /// Asks a question of our own over UDP, with an id of its own. The first reply that is well-formed counts,
    /// whatever it says.
    pub async fn ask(&self, mut question: Vec<u8>) -> Option<Vec<u8>> {
        question.get_mut(..2)?.copy_from_slice(&rand::random::<[u8; 2]>());
        let question = question.as_slice();
        let asked = foreign::read(question)?;
        for server in self.in_order() {
            match self.exchange(server, question, Transport::Udp).await {
                Ok(reply) => match summary(question, &asked, &reply) {
                    Ok(_) => return Some(reply),
                    Err(reason) => tracing::debug!(%server, reason, "cannot follow a host name"),
                },
                Err(error) => tracing::debug!(%server, %error, "cannot follow a host name"),
            }
        }
        None
    }

    fn in_order(&self) -> Vec<SocketAddr> {
        let mut servers = self.servers.clone();
        if self.random {
            servers.shuffle(&mut rand::rng());
        }
        servers
    }

    async fn exchange(&self, server: SocketAddr, query: &[u8], transport: Transport) -> io::Result<Vec<u8>> {
        let exchanged = async {
            match transport {
                Transport::Udp => over_udp(server, query).await,
                Transport::Tcp => over_tcp(server, query).await,
            }
        };
        tokio::time::timeout(self.timeout, exchanged).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}

async fn over_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A port of its own for every query: whoever wants to forge a reply has to guess it.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    loop {
        socket.readable().await?;
        let received: io::Result<_> = super::listen::with_scratch(|scratch| {
            let length = socket.try_recv(scratch)?;
            Ok(scratch.get(..length).unwrap_or_default().to_vec())
        });
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => return received,
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(query.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut stream = TcpStream::connect(server).await?;
    // One segment: some servers want length and message together.
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let length = usize::from(stream.read_u16().await?).min(LONGEST_MESSAGE);
    let mut reply = Vec::new();
    // Grows with what arrives, not with what was announced.
    (&mut stream).take(length as u64).read_to_end(&mut reply).await?;
    if reply.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(reply)
}

fn summary(query: &[u8], asked: &Summary, reply: &[u8]) -> Result<Summary, &'static str> {
    let replied = foreign::read(reply).ok_or("the reply is not well-formed")?;
    if !replied.is_reply || replied.id != asked.id {
        return Err("the reply has another id");
    }
    if !foreign::same_question(query, asked, reply, &replied) {
        return Err("the reply is to another question");
    }
    Ok(replied)
}

fn judge(query: &[u8], asked: &Summary, transport: Transport, reply: &[u8]) -> Result<(), &'static str> {
    let replied = summary(query, asked, reply)?;
    if ![NOERROR, NXDOMAIN].contains(&replied.rcode) {
        return Err("the recursor cannot answer");
    }
    if transport == Transport::Udp && reply.len() > asked.udp_limit() {
        return Err("the reply is larger than the client takes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_port() {
        for (text, want) in [
            ("10.0.0.1", "10.0.0.1:53"),
            ("10.0.0.1:8600", "10.0.0.1:8600"),
            ("::1", "[::1]:53"),
            ("[::1]", "[::1]:53"),
            ("[::1]:54", "[::1]:54"),
            ("localhost:55", "127.0.0.1:55"),
        ] {
            // A machine may prefer IPv6 for its own name.
            let found = address(text).unwrap().to_string().replace("[::1]:55", "127.0.0.1:55");
            assert_eq!(found, want, "{text}");
        }
        for text in ["0.0.0.0", "[::]:53", "no.such.host.invalid", "10.0.0.1:x", ""] {
            assert!(address(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn asking_ourselves_is_noticed() {
        let own = |text: &str| text.parse::<SocketAddr>().unwrap();
        let listening = [own("127.0.0.1:8600"), own("0.0.0.0:8601")];
        for (recursor, want) in [
            ("127.0.0.1:8600", true),
            ("127.0.0.1:53", false),
            ("127.0.0.2:8600", false),
            ("127.0.0.9:8601", true),
            ("192.0.2.1:8601", false),
        ] {
            assert_eq!(is_own(own(recursor), &listening), want, "{recursor}");
        }
    }
}
