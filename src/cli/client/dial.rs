//! Connections for ureq: TCP, Unix socket, TLS over either, with Go's texts for what fails.
//!
//! ureq is given the placeholder address `http://agent`; the connector below knows the real one. So
//! addresses ureq could not write as a URI (a socket's path) work, and errors keep their detail.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use super::address::Address;
use super::tls;
use crate::cli::gotext;

/// Time to wait for a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that could not be made or broke; the text is complete.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct DialError(String);

impl From<DialError> for ureq::Error {
    fn from(error: DialError) -> Self {
        Self::Other(Box::new(error))
    }
}

/// What carries the bytes.
trait Stream: Read + Write + Send + Sync {}
impl<T: Read + Write + Send + Sync> Stream for T {}

/// Connects to one agent.
#[derive(Debug)]
pub(super) struct Dialer {
    pub address: Address,
    /// Used when the address asks for TLS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Name to ask for and to verify, instead of the host's.
    pub server_name: Option<String>,
}

impl Dialer {
    fn dial(&self) -> Result<Box<dyn Stream>, DialError> {
        let stream = self.dial_plain()?;
        let (true, Some(config)) = (self.address.tls, &self.tls) else { return Ok(stream) };
        let name = self.server_name.as_deref().unwrap_or_else(|| self.address.server_name());
        let server = ServerName::try_from(name.to_owned()).map_err(|_| {
            DialError(format!("x509: certificate is not valid for any names, but wanted to match {name}"))
        })?;
        let mut stream = FirstBytes { stream, seen: Vec::new() };
        let mut connection = ClientConnection::new(Arc::clone(config), server)
            .map_err(|error| DialError(error.to_string()))?;
        if let Err(error) = connection.complete_io(&mut stream) {
            return Err(DialError(if stream.seen == b"HTTP/" {
                "http: server gave HTTP response to HTTPS client".to_owned()
            } else {
                tls::failure(&error, name)
            }));
        }
        Ok(Box::new(rustls::StreamOwned::new(connection, stream)))
    }

    fn dial_plain(&self) -> Result<Box<dyn Stream>, DialError> {
        if self.address.unix {
            let path = &self.address.host;
            let stream = UnixStream::connect(path).map_err(|error| {
                DialError(format!("dial unix {path}: connect: {}", gotext::os_error(&error)))
            })?;
            return Ok(Box::new(Named { name: format!("unix @->{path}"), stream }));
        }
        if self.address.host.is_empty() {
            return Err(DialError("http: no Host in request URL".to_owned()));
        }
        let (host, port) = self.address.host_and_port();
        let port: u16 =
            port.parse().map_err(|_| DialError(format!("dial tcp: address {port}: invalid port")))?;
        let mut first = None;
        for candidate in resolve(host, port)? {
            match TcpStream::connect_timeout(&candidate, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    // Only a request's speed depends on it.
                    let _ = stream.set_nodelay(true);
                    let local = stream.local_addr().map_or_else(|_| String::new(), |local| local.to_string());
                    return Ok(Box::new(Named { name: format!("tcp {local}->{candidate}"), stream }));
                }
                Err(error) => {
                    first.get_or_insert((candidate, error));
                }
            }
        }
        let Some((candidate, error)) = first else {
            return Err(DialError(format!("dial tcp: lookup {host}: no such host")));
        };
        let shown = if host.is_empty() { format!(":{port}") } else { candidate.to_string() };
        Err(DialError(if error.kind() == io::ErrorKind::TimedOut {
            format!("dial tcp {shown}: i/o timeout")
        } else {
            format!("dial tcp {shown}: connect: {}", gotext::os_error(&error))
        }))
    }
}

/// Addresses of `host`, an empty one being this machine; IPv4 first.
fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    if host.is_empty() {
        return Ok(vec![
            SocketAddr::from(([127, 0, 0, 1], port)),
            SocketAddr::from((IpAddr::from([0; 16]), port)),
        ]);
    }
    let mut found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|_| DialError(format!("dial tcp: lookup {host}: no such host")))?
        .collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    Ok(found)
}

impl Connector for Dialer {
    type Out = Connection;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Connection>, ureq::Error> {
        let stream = self.dial()?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Connection { buffers, stream }))
    }
}

/// A connection in ureq's form. No timeouts are configured, so none are kept here.
pub(super) struct Connection {
    buffers: LazyBuffers,
    stream: Box<dyn Stream>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        let output = self.buffers.output();
        let ready = output.get(..amount).unwrap_or(output);
        self.stream.write_all(ready)?;
        Ok(self.stream.flush()?)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let space = self.buffers.input_append_buf();
        let amount = loop {
            match self.stream.read(space) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A peer that skips the closing alert has still ended its answer.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break 0,
                other => break other?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // Every request gets a connection of its own: commands make a few, and a reused one may be
        // half closed.
        false
    }
}

/// A connection whose errors say which one it was.
struct Named<S> {
    name: String,
    stream: S,
}

impl<S> Named<S> {
    fn broken(&self, doing: &str, error: &io::Error) -> io::Error {
        let text = format!("{doing} {}: {doing}: {}", self.name, gotext::os_error(error));
        io::Error::new(error.kind(), DialError(text))
    }
}

impl<S: Read> Read for Named<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).map_err(|error| self.broken("read", &error))
    }
}

impl<S: Write> Write for Named<S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.write(buffer).map_err(|error| self.broken("write", &error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Remembers how the peer's first bytes look, to tell a plain HTTP server from broken TLS.
struct FirstBytes {
    stream: Box<dyn Stream>,
    seen: Vec<u8>,
}

impl Read for FirstBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let amount = self.stream.read(buffer)?;
        let missing = 5_usize.saturating_sub(self.seen.len());
        self.seen.extend(buffer.iter().take(amount.min(missing)));
        Ok(amount)
    }
}

impl Write for FirstBytes {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// ureq resolves names before it asks a connector; ours resolves its own.
#[derive(Debug)]
pub(super) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from(([127, 0, 0, 1], 0)));
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial_error(address: &str) -> String {
        let address = Address::parse(address, false).unwrap();
        Dialer { address, tls: None, server_name: None }.dial().err().unwrap().to_string()
    }

    #[test]
    fn failures_read_as_in_go() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = format!("dial tcp {free}: connect: connection refused");
        let cases = [
            (free.to_string(), refused.as_str()),
            ("127.0.0.1:99999".to_owned(), "dial tcp: address 99999: invalid port"),
            ("http://".to_owned(), "http: no Host in request URL"),
            (
                "unix:///no/such.sock".to_owned(),
                "dial unix /no/such.sock: connect: no such file or directory",
            ),
        ];
        for (address, want) in cases {
            assert_eq!(dial_error(&address), want, "{address}");
        }
    }
}
