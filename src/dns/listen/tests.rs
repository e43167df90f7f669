//! The doors with an answer behind them that needs no catalog.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;

use super::resolver::{Answer, Resolver};
use super::tls::Certificates;
use super::*;
use crate::dns::recursor::Recursors;
use crate::dns::{Chase, Transport, Verdict};

const PATIENCE: Duration = Duration::from_secs(10);

/// Says back what it was asked, and does what the first letter of the question says.
struct Echo;

impl Answer for Echo {
    fn answer(&self, query: &[u8], transport: Transport, _: &mut SmallRng, out: &mut Vec<u8>) -> Verdict {
        match query.first() {
            None | Some(b'-') => return Verdict::Drop,
            Some(b'!') => panic!("broken on purpose"),
            Some(b'L') => out.resize(60_000, b'l'),
            Some(b'?') => return Verdict::Forward,
            Some(b'c') => return Verdict::Chase(chase()),
            _ => out.extend_from_slice(query),
        }
        out.extend_from_slice(if transport == Transport::Udp { b" udp" } else { b" tcp" });
        Verdict::Reply
    }

    fn answer_chased(
        &self,
        _: &[u8],
        _: Transport,
        _: Chase,
        found: Vec<Option<Vec<u8>>>,
        _: &mut SmallRng,
        out: &mut Vec<u8>,
    ) -> Verdict {
        for answer in found {
            out.push(if answer.is_some() { b'+' } else { b'-' });
        }
        Verdict::Reply
    }

    fn recursion_failed(&self, query: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(query);
        out.extend_from_slice(b" failed");
    }
}

fn chase() -> Chase {
    let mut question = vec![0; 12];
    question[5] = 1;
    question.extend(b"\x03www\x07example\0\0\x01\0\x01");
    Chase::of(vec![question.clone(), question])
}

struct Served {
    listeners: Listeners,
    address: SocketAddr,
    resolver: Arc<Resolver>,
}

fn serve(change: impl FnOnce(&mut ListenSettings)) -> Served {
    let mut settings = ListenSettings {
        addresses: vec!["127.0.0.1:0".parse().unwrap()],
        udp_sockets: 2,
        ..ListenSettings::default()
    };
    change(&mut settings);
    let resolver = Arc::new(Resolver::new(Arc::new(Echo)));
    let certificates = Arc::new(Certificates::default());
    // The free port of TCP may be taken for UDP; the next one is not.
    let begun = Instant::now();
    let listeners = loop {
        let nobody = OnFailure::new(|reason| panic!("{reason}"));
        match Listeners::start(&settings, &resolver, &certificates, &nobody) {
            Ok(listeners) => break listeners,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
    };
    let address = listeners.addresses()[0].1;
    Served { listeners, address, resolver }
}

impl Served {
    fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

fn framed(query: &[u8]) -> Vec<u8> {
    [&u16::try_from(query.len()).unwrap().to_be_bytes(), query].concat()
}

fn read_reply(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

fn ask(stream: &mut TcpStream, query: &[u8]) -> Vec<u8> {
    stream.write_all(&framed(query)).unwrap();
    read_reply(stream).unwrap()
}

fn until(what: &str, mut look: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !look() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn datagrams_are_answered_by_all_sockets() {
    let served = serve(|settings| settings.udp_sockets = 3);
    assert_eq!(served.listeners.udp_sockets(), 3);
    let clients: Vec<UdpSocket> = (0..40).map(|_| served.udp()).collect();
    for (n, client) in clients.iter().enumerate() {
        client.send(b"-no answer").unwrap();
        client.send(format!("query {n}").as_bytes()).unwrap();
    }
    let mut buffer = [0; 64];
    for (n, client) in clients.iter().enumerate() {
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], *format!("query {n} udp").as_bytes());
    }
}

#[test]
fn a_panic_harms_only_its_own_query() {
    let served = serve(|_| ());
    for _ in 0..8 {
        let client = served.udp();
        client.send(b"!").unwrap();
        client.send(b"still there").unwrap();
        let mut buffer = [0; 64];
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], *b"still there udp");
    }
    let mut stream = served.tcp();
    stream.write_all(&framed(b"!")).unwrap();
    assert!(read_reply(&mut stream).is_err(), "this connection ends");
    assert_eq!(ask(&mut served.tcp(), b"others do not"), b"others do not tcp");
}

#[test]
fn streams_take_queries_in_any_pieces() {
    let served = serve(|_| ());
    let mut stream = served.tcp();
    let together = [framed(b"one"), framed(b"-"), framed(b""), framed(b"two"), framed(b"three")].concat();
    stream.write_all(&together).unwrap();
    for want in ["one tcp", "two tcp", "three tcp"] {
        assert_eq!(read_reply(&mut stream).unwrap(), want.as_bytes());
    }
    for byte in framed(b"drop by drop") {
        stream.write_all(&[byte]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(read_reply(&mut stream).unwrap(), b"drop by drop tcp");
    let long = vec![b'x'; 65_000];
    let reply = ask(&mut stream, &long);
    assert_eq!((reply.len(), &reply[65_000..]), (65_004, &b" tcp"[..]));
    // A client that says it is through still gets its answers.
    stream.write_all(&framed(b"last")).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_reply(&mut stream).unwrap(), b"last tcp");
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "and then the end");
}

#[test]
fn slow_and_silent_clients_are_let_go() {
    let served = serve(|settings| settings.streams.idle = Duration::from_millis(300));
    let begun = Instant::now();
    let mut silent = served.tcp();
    let mut stuck = served.tcp();
    stuck.write_all(&[0xff, 0xff, 1, 2, 3]).unwrap();
    let mut busy = served.tcp();
    while begun.elapsed() < Duration::from_millis(900) {
        assert_eq!(ask(&mut busy, b"query"), b"query tcp");
        // More of a query that is never finished does not help.
        let _ = stuck.write_all(&[4]);
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
    assert!(!matches!(stuck.read(&mut [0; 1]), Ok(1..)));
    assert_eq!(ask(&mut busy, b"query"), b"query tcp");
    assert_eq!(served.listeners.connections(), 1);
}

#[test]
fn who_does_not_read_is_not_read_from() {
    let served = serve(|settings| settings.streams.idle = Duration::from_millis(500));
    let mut stream = served.tcp();
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut asked = 0;
    // Each asks for 60,000 bytes.
    while asked < 100_000 && stream.write_all(&framed(b"L")).is_ok() {
        asked += 1;
    }
    assert!(served.listeners.streams.room.held() < 1 << 20, "{}", served.listeners.streams.room.held());
    until("it is let go", || served.listeners.connections() == 0);
    assert_eq!(served.listeners.streams.room.held(), 0);
}

#[test]
fn connections_and_what_they_hold_are_limited() {
    let served = serve(|settings| {
        settings.streams.tcp = 20;
        settings.streams.held_bytes = 200_000;
    });
    let mut streams: Vec<TcpStream> = (0..20).map(|_| served.tcp()).collect();
    for stream in &mut streams {
        assert_eq!(ask(stream, b"in"), b"in tcp");
    }
    let mut refused = served.tcp();
    let started = Instant::now();
    assert!(!matches!(refused.read(&mut [0; 1]), Ok(1..)));
    assert!(started.elapsed() < PATIENCE / 2, "told at once");
    streams.truncate(10);
    until("places are given back", || served.listeners.connections() == 10);
    for stream in &mut streams {
        // Nine tenths of a query of the largest size.
        stream.write_all(&[0xff, 0xff]).unwrap();
        let _ = stream.write_all(&vec![1; 59_000]);
    }
    until("some are let go", || served.listeners.connections() < 10);
    until("the rest stays within bounds", || served.listeners.streams.room.held() <= 200_000);
    assert_eq!(ask(&mut served.tcp(), b"others"), b"others tcp");
}

#[test]
fn ports_are_free_after_the_end() {
    let served = serve(|_| ());
    let address = served.address;
    let stream = served.tcp();
    drop(served);
    UdpSocket::bind(address).unwrap();
    drop(stream);
    let again = serve(|settings| settings.addresses = vec![address]);
    assert_eq!(again.address, address);
    let settings = ListenSettings { addresses: vec![address], ..ListenSettings::default() };
    let taken = Listeners::start(
        &settings,
        &again.resolver,
        &Arc::new(Certificates::default()),
        &OnFailure::new(|_| ()),
    );
    let error = taken.err().unwrap().to_string();
    assert!(error.starts_with(&format!("cannot listen for DNS over TCP on {address}: ")), "{error}");
}

/// Makes a reply from a query; an empty one is silence.
type Script = fn(&[u8]) -> Vec<u8>;

/// A recursor that answers the nth query with the nth reply.
fn recursor(replies: Vec<Script>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        for reply in replies {
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            let reply = reply(&buffer[..length]);
            if !reply.is_empty() {
                socket.send_to(&reply, from).unwrap();
            }
        }
    });
    address
}

/// A query whose id begins with a question mark, so that it is passed on.
fn foreign_query(id: u8) -> Vec<u8> {
    let mut query = vec![b'?', id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend(b"\x03www\x07example\0\0\x01\0\x01");
    query
}

fn reply_to(query: &[u8], rcode: u8) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[2] |= 0x80;
    reply[3] = 0x80 | rcode;
    reply
}

#[test]
fn recursors_are_asked_in_turn() {
    let first = recursor(vec![
        |_| Vec::new(),
        |query| reply_to(query, 2),
        |_| b"nonsense".to_vec(),
        |query| {
            let mut reply = reply_to(query, 0);
            reply[1] ^= 1;
            reply
        },
        |query| reply_to(query, 3),
        |query| reply_to(query, 5),
    ]);
    let second = recursor(vec![|query| reply_to(query, 0); 4]);
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let served = serve(|_| ());
    let order = vec![closed, first, second];
    served.resolver.set_recursors(Recursors::new(order, Duration::from_millis(250), false));
    let client = served.udp();
    let mut buffer = [0; 512];
    for (id, rcode) in [(1, 0), (2, 0), (3, 0), (4, 0), (5, 3)] {
        client.send(&foreign_query(id)).unwrap();
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!((buffer[1], buffer[3] & 0xf, length), (id, rcode, foreign_query(id).len()));
    }
    // The second one has fallen silent.
    client.send(&foreign_query(6)).unwrap();
    let length = client.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..length], [&foreign_query(6)[..], b" failed"].concat());
}

#[test]
fn queries_that_wait_hold_nobody_up() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let served = serve(|_| ());
    let recursors = Recursors::new(vec![silent.local_addr().unwrap()], Duration::from_secs(4), false);
    served.resolver.set_recursors(recursors);
    let mut stream = served.tcp();
    // Streams ask over TCP, where nobody listens: they fail at once. Names are always asked over UDP.
    stream.write_all(&[framed(b"c"), framed(b"quick")].concat()).unwrap();
    assert_eq!(read_reply(&mut stream).unwrap(), b"quick tcp");
    assert_eq!(read_reply(&mut stream).unwrap(), b"--");
    assert_eq!(ask(&mut stream, &foreign_query(9)), [&foreign_query(9)[..], b" failed"].concat());
    let (waiting, quick) = (served.udp(), served.udp());
    let begun = Instant::now();
    for _ in 0..3000 {
        waiting.send(&foreign_query(1)).unwrap();
    }
    // The kernel may have no room for it behind all those: it is sent until it is answered, as resolvers do.
    quick.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 64];
    let answered = |buffer: &mut [u8]| {
        quick.send(b"quick").unwrap();
        quick.recv(buffer).is_ok()
    };
    while !answered(&mut buffer) && begun.elapsed() < Duration::from_secs(4) {}
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // More than may wait: the rest fails at once.
    waiting.recv(&mut buffer).unwrap();
}

#[test]
fn host_names_are_followed() {
    let answering = recursor(vec![|query| reply_to(query, 2); 2]);
    let served = serve(|_| ());
    served.resolver.set_recursors(Recursors::new(vec![answering], Duration::from_secs(5), false));
    assert_eq!(ask(&mut served.tcp(), b"c"), b"++", "whatever the reply says");
    served.resolver.set_recursors(Recursors::default());
    assert_eq!(ask(&mut served.tcp(), b"c"), b"--");
}
