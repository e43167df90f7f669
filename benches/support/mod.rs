//! What the benches with real agents share: agents, a cheap closed-loop client, CPU time per request.
//!
//! The figure to look at is the server's CPU time per request: client and server share the machine,
//! so a rate is only what the client left over.

#![allow(dead_code, reason = "shared by several benches, none of which uses all of it")]

#[path = "../../integration/support/mod.rs"]
pub mod agents;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agents::{Rng, process};

/// Threads of the client; each drives its share of the connections.
const CLIENT_THREADS: usize = 2;

/// True if this is `cargo bench` and not a test run that only wants to see the bench start.
pub fn measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What a closed loop of requests came to.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Requests answered.
    pub done: u64,
    /// How long that took.
    pub took: Duration,
    /// CPU time the server used for it.
    pub cpu: Duration,
}

impl Load {
    /// CPU time of the server per request, in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.done.max(1) as f64
    }

    /// Requests per second.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64()
    }
}

/// Keeps `connections` connections busy for `duration`, each with one request in flight. `request`
/// writes the next one into the buffer. Every answer must start with `HTTP/1.1 200`.
pub fn closed_loop(
    address: SocketAddr,
    pid: u32,
    connections: usize,
    duration: Duration,
    request: impl Fn(&mut Rng, &mut Vec<u8>) + Sync,
) -> Load {
    let done = AtomicU64::new(0);
    let start = Instant::now();
    let cpu = process::cpu_time(pid);
    std::thread::scope(|scope| {
        for thread in 0..CLIENT_THREADS.min(connections) {
            let (done, request) = (&done, &request);
            scope.spawn(move || {
                let share = (connections + thread) / CLIENT_THREADS.min(connections);
                let mut rng = Rng::new(thread as u64 + 1);
                let mut streams: Vec<_> = (0..share).map(|_| Stream::open(address)).collect();
                let mut buffer = Vec::new();
                while start.elapsed() < duration {
                    for stream in &mut streams {
                        buffer.clear();
                        request(&mut rng, &mut buffer);
                        stream.socket.write_all(&buffer).expect("the server reads");
                    }
                    for stream in &mut streams {
                        stream.answer().expect("the server answers");
                    }
                    done.fetch_add(share as u64, Ordering::Relaxed);
                }
            });
        }
    });
    Load { done: done.into_inner(), took: start.elapsed(), cpu: process::cpu_time(pid).saturating_sub(cpu) }
}

/// A connection whose answers are looked at no closer than needed.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Stream {
    /// Connects.
    pub fn open(address: SocketAddr) -> Self {
        let socket = agents::http::connect(address, Duration::from_secs(30)).expect("a connection");
        Self { socket, buffer: vec![0; 1 << 16], filled: 0 }
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.socket.write_all(request)?;
        let length = self.answer()?;
        Ok(self.buffer[..length].to_vec())
    }

    /// Reads one answer; gives its length.
    fn answer(&mut self) -> io::Result<usize> {
        loop {
            if let Some(length) = complete(&self.buffer[..self.filled]) {
                assert!(
                    self.buffer.starts_with(b"HTTP/1.1 200"),
                    "{}",
                    String::from_utf8_lossy(&self.buffer[..length])
                );
                assert_eq!(self.filled, length, "more than one answer to one request");
                self.filled = 0;
                return Ok(length);
            }
            if self.filled == self.buffer.len() {
                self.buffer.resize(self.filled * 2, 0);
            }
            match self.socket.read(&mut self.buffer[self.filled..])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.filled += count,
            }
        }
    }
}

/// The length of the answer in front of these bytes, if all of it is there.
fn complete(bytes: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    })?;
    (bytes.len() >= head + length).then_some(head + length)
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Stores `count` keys `name/0`, `name/1` … of `size` bytes, 64 to a transaction.
pub fn load_keys(agent: &agents::Agent, name: &str, from: u64, to: u64, size: usize) {
    use base64::Engine as _;
    let value = base64::engine::general_purpose::STANDARD.encode(vec![b'v'; size]);
    let mut client = agent.client();
    let mut next = from;
    while next < to {
        let last = (next + 64).min(to);
        let operations: Vec<_> = (next..last)
            .map(|n| format!(r#"{{"KV":{{"Verb":"set","Key":"{name}/{n}","Value":"{value}"}}}}"#))
            .collect();
        client.put("/v1/txn", format!("[{}]", operations.join(","))).expect("an answer").expect(200);
        next = last;
    }
}
