//! A whole HTTP API in a test: the real state machine in memory, a real listener, a plain client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::server::{WebHandles, WebStopper, start};
use super::settings::WebSettings;
use crate::endpoints::{
    Applied, EndpointError, EndpointSettings, Endpoints, LeaderRead, Leadership, Peer, Proposer,
    SessionTimers,
};
use crate::state::machine::StateMachine;
use crate::state::record::{Check, Node};
use crate::state::store::MemoryStore;
use crate::state::{Command, Envelope, Outcome, StateReader};

/// Applies proposals at once and remembers them.
pub struct TestProposer {
    machine: Mutex<StateMachine>,
    /// Everything proposed so far.
    pub proposed: Mutex<Vec<Command>>,
}

impl Proposer for TestProposer {
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, EndpointError>> {
        self.proposed.lock().push(command.clone());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now_ms = u64::try_from(now.as_millis()).unwrap();
        let data = Envelope { now_ms, command }.encode().unwrap();
        let mut machine = self.machine.lock();
        let index = machine.applied_index() + 1;
        let mut applied = machine.apply([(index, &data[..])]).unwrap();
        let result = match applied.outcomes.pop().flatten().unwrap() {
            Outcome::Refused(text) => Err(EndpointError::Refused(text)),
            outcome => Ok(Applied { index, outcome }),
        };
        futures::future::ready(result).boxed()
    }
}

/// A leader, or none.
#[derive(Default)]
pub struct TestLeader {
    /// There is no leader.
    pub lost: std::sync::atomic::AtomicBool,
}

impl TestLeader {
    fn check(&self) -> Result<(), EndpointError> {
        let lost = self.lost.load(std::sync::atomic::Ordering::SeqCst);
        if lost { Err(EndpointError::NoLeader) } else { Ok(()) }
    }
}

impl LeaderRead for TestLeader {
    fn leadership(&self) -> Arc<Leadership> {
        if self.check().is_err() {
            // One was known before.
            return Arc::new(Leadership { heard: true, ..Leadership::default() });
        }
        let peer = Peer { address: "127.0.0.1:8300".into(), leader: true, voter: true, ..Peer::default() };
        Arc::new(Leadership {
            leader_address: Some("127.0.0.1:8300".into()),
            is_leader: true,
            peers: vec![peer],
            ..Leadership::default()
        })
    }

    fn check_lease(&self) -> Result<(), EndpointError> {
        self.check()
    }

    fn barrier(&self) -> Result<Option<BoxFuture<'_, Result<(), EndpointError>>>, EndpointError> {
        self.check()?;
        Ok(Some(futures::future::ready(Ok(())).boxed()))
    }
}

/// Remembers what was renewed.
#[derive(Default)]
pub struct TestTimers {
    /// Ids in order.
    pub renewed: Mutex<Vec<String>>,
}

impl SessionTimers for TestTimers {
    fn renew(&self, id: &str) -> BoxFuture<'_, Result<(), EndpointError>> {
        self.renewed.lock().push(id.to_owned());
        futures::future::ready(Ok(())).boxed()
    }
}

/// A running HTTP API; stopped when dropped.
pub struct TestServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// What was proposed.
    pub proposer: Arc<TestProposer>,
    /// The leader.
    pub leader: Arc<TestLeader>,
    /// Session timers.
    pub timers: Arc<TestTimers>,
    /// The state.
    pub state: StateReader,
    stopper: WebStopper,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Default for TestServer {
    fn default() -> Self {
        Self::with(|_, _| {})
    }
}

impl TestServer {
    /// With default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// With settings of its own.
    pub fn with(configure: impl FnOnce(&mut WebSettings, &mut EndpointSettings)) -> Self {
        Self::with_handles(configure, |_, handles| handles)
    }

    /// With settings and handles of its own.
    pub fn with_handles(
        configure: impl FnOnce(&mut WebSettings, &mut EndpointSettings),
        extend: impl FnOnce(&Endpoints, WebHandles) -> WebHandles,
    ) -> Self {
        let machine = StateMachine::open(Box::new(MemoryStore::default())).unwrap();
        let state = machine.reader();
        let proposer = Arc::new(TestProposer { machine: Mutex::new(machine), proposed: Mutex::default() });
        let (leader, timers) = (Arc::new(TestLeader::default()), Arc::new(TestTimers::default()));
        let mut settings = WebSettings {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            workers: 1,
            shutdown_timeout: Duration::from_secs(1),
            ..WebSettings::default()
        };
        let mut endpoint_settings = EndpointSettings {
            datacenter: "dc1".into(),
            node_name: "node1".into(),
            node_id: "11111111-2222-3333-4444-555555555555".into(),
            kv_max_value_size: 512 * 1024,
            txn_max_req_len: 512 * 1024,
            session_ttl_min: Duration::from_secs(10),
            default_query_time: Duration::from_secs(300),
            max_query_time: Duration::from_secs(600),
            disable_coordinates: false,
        };
        configure(&mut settings, &mut endpoint_settings);
        let endpoints = Endpoints {
            state: state.clone(),
            proposer: proposer.clone(),
            leader: leader.clone(),
            sessions: timers.clone(),
            coordinates: Arc::default(),
            settings: Arc::new(endpoint_settings),
            far: None,
        };
        let register = Command::Register(Box::new(crate::state::command::Register {
            node: Node { node: "node1".into(), address: "127.0.0.1".into(), ..Node::default() },
            checks: vec![Check {
                node: "node1".into(),
                check_id: "serfHealth".into(),
                name: "Serf Health Status".into(),
                status: "passing".into(),
                ..Check::default()
            }],
            ..Default::default()
        }));
        futures::executor::block_on(proposer.propose(register)).unwrap();
        let handles = extend(&endpoints, WebHandles::new(endpoints.clone()));
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let server = start(settings, handles, super::routes()).unwrap();
                tell.send((server.addresses[0], server.stopper.clone())).unwrap();
                server.server.await.unwrap();
            });
        });
        let (address, stopper) = told.recv_timeout(Duration::from_secs(10)).unwrap();
        Self { address, proposer, leader, timers, state, stopper, thread: Some(thread) }
    }

    /// A connection with a read limit.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Sends a request on a connection of its own and reads the answer.
    pub fn send(&self, method: &str, target: &str, headers: &[&str], body: &[u8]) -> TestReply {
        let mut stream = self.connect();
        write_request(&mut stream, method, target, headers, body);
        read_reply(&mut stream, method == "HEAD")
    }

    /// `GET`.
    pub fn get(&self, target: &str) -> TestReply {
        self.send("GET", target, &[], b"")
    }

    /// `PUT`.
    pub fn put(&self, target: &str, body: &str) -> TestReply {
        self.send("PUT", target, &[], body.as_bytes())
    }

    /// `DELETE`.
    pub fn delete(&self, target: &str) -> TestReply {
        self.send("DELETE", target, &[], b"")
    }

    /// Starts a request in the background.
    pub fn in_background(&self, target: &str) -> std::thread::JoinHandle<TestReply> {
        let mut stream = self.connect();
        write_request(&mut stream, "GET", target, &[], b"");
        std::thread::spawn(move || read_reply(&mut stream, false))
    }

    /// Waits until so many queries are parked.
    pub fn await_parked(&self, count: u64) {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while self.state.watches().parked() != count {
            assert!(std::time::Instant::now() < deadline, "parked: {}", self.state.watches().parked());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops the server as an agent that shuts down does.
    pub fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let stopper = self.stopper.clone();
            actix_rt::System::new().block_on(async move { stopper.stop().await });
            thread.join().unwrap();
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Writes a request; `Content-Length` is added unless a header frames the body already.
pub fn write_request(stream: &mut TcpStream, method: &str, target: &str, headers: &[&str], body: &[u8]) {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    let framed = headers.iter().any(|header| header.starts_with("Transfer-Encoding"));
    if !framed && (!body.is_empty() || method == "PUT") {
        head.push_str("Content-Length: ");
        head.push_str(&body.len().to_string());
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    // A server that refuses early may close while the body is still on its way.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// An answer.
#[derive(Debug, Clone)]
pub struct TestReply {
    /// Status code.
    pub status: u16,
    /// Headers as sent.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl TestReply {
    /// A header by its name as it is sent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// `X-Consul-Index`.
    pub fn index(&self) -> u64 {
        self.header("X-Consul-Index").unwrap().parse().unwrap()
    }
}

/// Reads one answer.
pub fn read_reply(stream: &mut TcpStream, head_only: bool) -> TestReply {
    let mut data = Vec::new();
    let mut chunk = vec![0; 65536];
    let end = loop {
        if let Some(at) = memchr::memmem::find(&data, b"\r\n\r\n") {
            break at;
        }
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "closed before an answer: {}", data.escape_ascii());
        data.extend_from_slice(&chunk[..count]);
    };
    let head = std::str::from_utf8(&data[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "Content-Length")
        .map_or(0, |(_, length)| length.parse().unwrap());
    let mut body = data[end + 4..].to_vec();
    while !head_only && body.len() < length {
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "closed in the middle of a body");
        body.extend_from_slice(&chunk[..count]);
    }
    if !head_only && headers.iter().any(|(name, value)| name == "Transfer-Encoding" && value == "chunked") {
        while !body.ends_with(b"0\r\n\r\n") {
            let count = stream.read(&mut chunk).unwrap();
            assert!(count > 0, "closed in the middle of a streamed body");
            body.extend_from_slice(&chunk[..count]);
        }
        body = unchunk(&body);
    }
    TestReply { status, headers, body }
}

fn unchunk(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = memchr::memmem::find(chunks, b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        let start = end + 2;
        body.extend_from_slice(&chunks[start..start + size]);
        chunks = &chunks[start + size + 2..];
    }
}
