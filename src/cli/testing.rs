//! For tests: runs whole commands against a small HTTP server with canned answers.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Cursor, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Io, Signal, run_with};

/// What a command left behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub code: u8,
    pub stdout: String,
    pub stderr: String,
}

/// A stream that keeps what is written to it.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn no_signals() -> Receiver<Signal> {
    channel().1
}

/// Runs a command line with this environment and standard input.
pub(super) fn run(words: &[&str], env: &[(&str, &str)], stdin: &[u8]) -> Outcome {
    let (stdout, stderr) = (Sink::default(), Sink::default());
    let mut io = Io {
        stdin: Box::new(Cursor::new(stdin.to_vec())),
        stdout: Box::new(stdout.clone()),
        stderr: Box::new(stderr.clone()),
        env: env.iter().copied().collect(),
        signals: no_signals,
    };
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let code = run_with(&words, &mut io);
    Outcome { code, stdout: stdout.text(), stderr: stderr.text() }
}

/// A request as the server saw it: `METHOD target`, header lines, body.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub line: String,
    pub headers: Vec<String>,
    pub body: String,
}

impl Seen {
    /// The header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// A server that answers by a list of (how the request line begins, status, body); the first that
/// fits answers, anything else gets 500 `boom`. It lives as long as the test process.
pub(super) struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub fn start(answers: &[(&str, u16, &str)]) -> Self {
        let answers: Vec<(String, u16, Vec<u8>)> = answers
            .iter()
            .map(|(line, code, body)| ((*line).to_owned(), *code, body.as_bytes().to_vec()))
            .collect();
        Self::start_bytes(answers)
    }

    pub fn start_bytes(answers: Vec<(String, u16, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let request = read_request(&stream);
                let found = answers.iter().find(|(line, ..)| request.line.starts_with(line.as_str()));
                let (code, body) =
                    found.map_or((500, b"boom".as_slice()), |(_, code, body)| (*code, body.as_slice()));
                log.lock().unwrap().push(request);
                let head = format!(
                    "HTTP/1.1 {code} X\r\nContent-Length: {}\r\nX-Consul-Index: 7\r\n\r\n",
                    body.len()
                );
                let mut stream = stream;
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
            }
        });
        Self { address, seen }
    }

    /// Runs a command line against this server.
    pub fn run(&self, words: &[&str]) -> Outcome {
        self.run_with(words, &[], b"")
    }

    pub fn run_with(&self, words: &[&str], env: &[(&str, &str)], stdin: &[u8]) -> Outcome {
        let address = self.address.to_string();
        let mut all = vec![("CONSUL_HTTP_ADDR", address.as_str())];
        all.extend_from_slice(env);
        run(words, &all, stdin)
    }

    /// The requests so far, which are forgotten.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// The lines of the requests so far, which are forgotten.
    pub fn lines(&self) -> Vec<String> {
        self.take().into_iter().map(|seen| seen.line).collect()
    }
}

fn read_request(stream: &TcpStream) -> Seen {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).unwrap();
    let line = String::from_utf8_lossy(&line).into_owned();
    if !line.contains(" HTTP/1.1") {
        // No HTTP: somebody tries TLS.
        return Seen { line, headers: Vec::new(), body: String::new() };
    }
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let header = header.trim_end().to_owned();
        if header.is_empty() {
            break;
        }
        headers.push(header);
    }
    let mut seen =
        Seen { line: line.trim_end().trim_end_matches(" HTTP/1.1").to_owned(), headers, body: String::new() };
    let mut body = Vec::new();
    if let Some(length) = seen.header("Content-Length") {
        let length = length.parse().unwrap();
        reader.take(length).read_to_end(&mut body).unwrap();
    } else if seen.header("Transfer-Encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).unwrap();
            let size = u64::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = Vec::new();
            reader.by_ref().take(size + 2).read_to_end(&mut chunk).unwrap();
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..usize::try_from(size).unwrap()]);
        }
    }
    seen.body = String::from_utf8_lossy(&body).into_owned();
    seen
}
