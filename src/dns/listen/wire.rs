//! Bytes over a connection, plain or in TLS, never waiting: the connection waits, where it can also hear
//! replies and deadlines.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};
use tokio::net::TcpStream;

/// What carries a connection's bytes.
pub enum Wire {
    /// TCP.
    Plain,
    /// TLS over TCP, with what is on its way in both directions.
    Tls(Box<ServerConnection>),
}

impl Wire {
    /// A server's end of TLS.
    ///
    /// # Errors
    /// When the configuration does not allow for any connection.
    pub fn tls(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self::Tls(Box::new(ServerConnection::new(config)?)))
    }

    /// The name of the network, for the log.
    pub const fn network(&self) -> &'static str {
        match self {
            Self::Plain => "tcp",
            Self::Tls(_) => "tcp-tls",
        }
    }

    /// Reads what is there; 0 at the end.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing is there; what the system or TLS says.
    pub fn read(&mut self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let tls = match self {
            Self::Plain => return stream.try_read(buffer),
            Self::Tls(tls) => tls,
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Whoever just hangs up without the closing words of TLS is gone all the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            let mut socket = Socket(stream);
            let read = tls.read_tls(&mut socket)?;
            if let Err(error) = tls.process_new_packets() {
                // The alert that says why; the connection ends either way.
                let _ = tls.write_tls(&mut socket);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            if read == 0 {
                return Ok(0);
            }
        }
    }

    /// Takes bytes to be written, as many as there is room for.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is no room; what the system or TLS says.
    pub fn write(&mut self, stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        let tls = match self {
            Self::Plain => return stream.try_write(bytes),
            Self::Tls(tls) => tls,
        };
        let taken = tls.writer().write(bytes)?;
        match self.flush(stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && taken > 0 => Ok(taken),
            Err(error) => Err(error),
            Ok(()) if taken == 0 => Err(io::ErrorKind::WouldBlock.into()),
            Ok(()) => Ok(taken),
        }
    }

    /// Sends what was taken and is still here.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the peer has to read first; what the system says.
    pub fn flush(&mut self, stream: &TcpStream) -> io::Result<()> {
        let Self::Tls(tls) = self else { return Ok(()) };
        while tls.wants_write() {
            if tls.write_tls(&mut Socket(stream))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Says goodbye, if that takes words and can be said at once.
    pub fn close(&mut self, stream: &TcpStream) {
        if let Self::Tls(tls) = self {
            tls.send_close_notify();
            // Who does not listen to it will see the end of the stream.
            let _ = self.flush(stream);
        }
    }
}

/// A stream as TLS wants it.
struct Socket<'a>(&'a TcpStream);

impl io::Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
