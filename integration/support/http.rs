//! A small HTTP/1.1 client over a socket of its own: keep-alive, plain and chunked bodies.
//!
//! Deliberately not a library: tests need to know which bytes went over which connection, when a
//! connection broke, and that no request is ever repeated behind their back.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take when nothing else is said.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {} {}", self.status, self.text()))
    }

    /// X-Consul-Index.
    #[track_caller]
    pub fn index(&self) -> u64 {
        let header = self.header("x-consul-index");
        header
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("no index: {} {:?} {}", self.status, self.headers, self.text()))
    }

    /// Itself, if the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "body: {}", self.text());
        self
    }

    /// The answer of a successful write: `true` or `false`.
    #[track_caller]
    pub fn yes(&self) -> bool {
        assert_eq!(self.status, 200, "body: {}", self.text());
        match self.text().trim() {
            "true" => true,
            "false" => false,
            other => panic!("neither true nor false: {other}"),
        }
    }
}

/// A connection that is opened when needed and kept as long as the server keeps it.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    patience: Duration,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client of the server at `address`; connects on the first request.
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, patience: PATIENCE, connection: None }
    }

    /// The same with another limit for every read and write.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// GET.
    pub fn get(&mut self, target: &str) -> io::Result<Answer> {
        self.request("GET", target, &[], &[])
    }

    /// PUT.
    pub fn put(&mut self, target: &str, body: impl AsRef<[u8]>) -> io::Result<Answer> {
        self.request("PUT", target, &[], body.as_ref())
    }

    /// DELETE.
    pub fn delete(&mut self, target: &str) -> io::Result<Answer> {
        self.request("DELETE", target, &[], &[])
    }

    /// Any request. An error means that the outcome is unknown: nothing is sent twice.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").expect("text grows");
        }
        if !body.is_empty() || matches!(method, "PUT" | "POST") {
            write!(head, "Content-Length: {}\r\n", body.len()).expect("text grows");
        }
        head.push_str("\r\n");
        let mut message = head.into_bytes();
        message.extend_from_slice(body);
        let outcome = self.exchange(&message, method == "HEAD");
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }

    fn exchange(&mut self, message: &[u8], no_body: bool) -> io::Result<Answer> {
        if self.connection.is_none() {
            self.connection = Some(BufReader::new(connect(self.address, self.patience)?));
        }
        let Some(connection) = self.connection.as_mut() else { return Err(ErrorKind::NotConnected.into()) };
        // A server may answer and close before it has read everything (too large a body): the
        // answer is what counts, so a failing write does not end the exchange yet.
        let written = connection.get_mut().write_all(message);
        match read_answer(connection, no_body) {
            Ok((answer, keep)) => {
                if !keep || written.is_err() {
                    self.connection = None;
                }
                Ok(answer)
            }
            Err(error) => Err(written.err().unwrap_or(error)),
        }
    }
}

/// Opens a connection with limits on connecting, reading and writing.
pub fn connect(address: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one answer; the flag says whether the connection can be used again.
pub fn read_answer(reader: &mut impl BufRead, no_body: bool) -> io::Result<(Answer, bool)> {
    loop {
        let (answer, keep) = read_one(reader, no_body)?;
        if answer.status != 100 {
            return Ok((answer, keep));
        }
    }
}

fn read_one(reader: &mut impl BufRead, no_body: bool) -> io::Result<(Answer, bool)> {
    let status_line = line(reader)?;
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut answer = Answer { status: status.ok_or_else(|| broken(&status_line))?, ..Answer::default() };
    loop {
        let text = line(reader)?;
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(':').ok_or_else(|| broken(&text))?;
        answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut keep = answer.header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
    if no_body || matches!(answer.status, 100 | 204 | 304) {
        return Ok((answer, keep));
    }
    if answer.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        answer.body = chunks(reader)?;
    } else if let Some(length) = answer.header("content-length") {
        let length: usize = length.parse().map_err(|_| broken(length))?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        answer.body = body;
    } else {
        reader.read_to_end(&mut answer.body)?;
        keep = false;
    }
    Ok((answer, keep))
}

fn chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(reader)?;
        let digits = size.split(';').next().unwrap_or("");
        let size = usize::from_str_radix(digits.trim(), 16).map_err(|_| broken(&size))?;
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..])?;
        line(reader)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if reader.by_ref().take(1 << 20).read_line(&mut text)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn broken(text: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not HTTP: {text:?}"))
}
