//! A small DNS client over sockets of its own, and servers that answer as they are told. What comes back is
//! read by a library that has no part in writing it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_server::proto::op::{Message, ResponseCode};
use hickory_server::proto::rr::RData;

/// How long an answer may take when nothing else is said.
const PATIENCE: Duration = Duration::from_secs(10);

/// Record types.
pub const A: u16 = 1;
pub const SRV: u16 = 33;

/// A query: a name, a type, and what EDNS size it offers, 0 for no EDNS.
pub fn query(name: &str, kind: u16, edns: u16) -> Vec<u8> {
    static NEXT: AtomicU16 = AtomicU16::new(0x4000);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns > 0)]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).expect("a short label"));
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    if edns > 0 {
        message.extend([0, 0, 41]);
        message.extend(edns.to_be_bytes());
        message.extend([0; 6]);
    }
    message
}

/// The message with its length in front.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("at most 64 KB");
    [&length.to_be_bytes(), message].concat()
}

/// Reads a message with its length in front.
pub fn read_framed(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// A reply, decoded.
#[track_caller]
pub fn decode(query: &[u8], reply: &[u8]) -> Message {
    assert_eq!(query.get(..2), reply.get(..2), "the reply to another query");
    Message::from_vec(reply).expect("a well-formed reply")
}

/// What was answered: code, whether it was cut, addresses with TTL in order of the addresses.
#[track_caller]
pub fn addresses(message: &Message) -> Vec<(IpAddr, u32)> {
    let mut found: Vec<(IpAddr, u32)> = message
        .answers
        .iter()
        .map(|record| match &record.data {
            RData::A(address) => (IpAddr::from(address.0), record.ttl),
            RData::AAAA(address) => (IpAddr::from(address.0), record.ttl),
            other => panic!("not an address: {other:?}"),
        })
        .collect();
    found.sort();
    found
}

/// The response code.
pub fn code(message: &Message) -> ResponseCode {
    message.metadata.response_code
}

/// A socket that asks this server.
pub fn socket(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(server).expect("an address of this machine");
    socket.set_read_timeout(Some(PATIENCE)).expect("a patience");
    socket
}

/// A connection to this server.
#[track_caller]
pub fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a patience");
    stream.set_write_timeout(Some(PATIENCE)).expect("a patience");
    stream
}

/// Asks over UDP.
#[track_caller]
pub fn ask(server: SocketAddr, name: &str, kind: u16) -> Message {
    ask_udp(server, &query(name, kind, 0))
}

/// Asks over UDP with a ready query.
#[track_caller]
pub fn ask_udp(server: SocketAddr, query: &[u8]) -> Message {
    let socket = socket(server);
    socket.send(query).expect("it is sent");
    let mut buffer = vec![0; 65_536];
    let length = socket.recv(&mut buffer).expect("an answer");
    decode(query, &buffer[..length])
}

/// Asks over a connection.
#[track_caller]
pub fn ask_stream(stream: &mut (impl Read + Write), query: &[u8]) -> Message {
    stream.write_all(&framed(query)).expect("it is sent");
    decode(query, &read_framed(stream).expect("an answer"))
}

/// What a server was asked: over what, and the bytes.
pub type Asked = (&'static str, Vec<u8>);

/// A server that answers every A question with one address, over UDP and TCP, and keeps what it was asked.
#[derive(Debug)]
pub struct Upstream {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Upstream {
    /// Answers this address, or nothing at all, for as long as the test runs.
    pub fn start(answer: Option<[u8; 4]>) -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = tcp.local_addr().expect("its own address");
            if let Ok(udp) = UdpSocket::bind(address) {
                break (tcp, udp);
            }
        };
        let address = tcp.local_addr().expect("its own address");
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let note = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                note.lock().expect("a lock").push(("udp", buffer[..length].to_vec()));
                if let Some(answer) = answer {
                    udp.send_to(&reply(&buffer[..length], answer), from).expect("it is sent");
                }
            }
        });
        let note = Arc::clone(&asked);
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = tcp.accept() {
                let Ok(query) = read_framed(&mut stream) else { continue };
                note.lock().expect("a lock").push(("tcp", query.clone()));
                match answer {
                    Some(answer) => stream.write_all(&framed(&reply(&query, answer))).expect("it is sent"),
                    None => std::mem::forget(stream),
                }
            }
        });
        Self { address, asked }
    }

    /// What it was asked since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().expect("a lock"))
    }
}

fn reply(query: &[u8], answer: [u8; 4]) -> Vec<u8> {
    let question = 12 + query[12..].iter().position(|byte| *byte == 0).expect("a name") + 5;
    let mut reply = query[..question].to_vec();
    reply[2] |= 0x80;
    reply[3] = 0x80;
    reply[7] = 1;
    reply[11] = 0;
    reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 77, 0, 4]);
    reply.extend(answer);
    reply
}
