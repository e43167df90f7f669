//! What a DNS query costs before anything is looked up: CPU time per datagram of our listeners, with one socket and
//! with two, beside the floor (one thread that says back what it hears) and beside hickory-server's listener,
//! which decodes the message and spawns a task for each.
//!
//! All answer with the same few bytes, driven by the same closed loop of 16 sockets. `TRIBUNE_BENCH_SECONDS` (2) is
//! the length of a turn, `TRIBUNE_BENCH_ROUNDS` (3) how many there are.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::ResponseCode;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use rand::rngs::SmallRng;
use tribune::dns::listen::resolver::{Answer, Resolver};
use tribune::dns::listen::tls::Certificates;
use tribune::dns::listen::{ListenSettings, Listeners, OnFailure};
use tribune::dns::{Chase, Transport, Verdict};

const CLIENTS: usize = 16;
/// `web.service.consul`, type A.
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03web\x07service\x06consul\0\0\x01\0\x01";

fn main() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let turn = Duration::from_secs(number("TRIBUNE_BENCH_SECONDS", 2));
    for round in 1..=number("TRIBUNE_BENCH_ROUNDS", 3) {
        println!("round {round}");
        floor(turn);
        ours(turn, 1);
        ours(turn, 2);
        hickory(turn);
    }
}

fn floor(turn: Duration) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let serve = move || {
        let mut buffer = [0; 512];
        while let Ok((length @ 1.., from)) = socket.recv_from(&mut buffer) {
            buffer[2] |= 0x80;
            socket.send_to(&buffer[..length], from).unwrap();
        }
    };
    let thread = thread::Builder::new().name("floor".into()).spawn(serve).unwrap();
    measure("recvfrom and sendto", "floor", address, turn);
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[], address).unwrap();
    thread.join().unwrap();
}

fn ours(turn: Duration, sockets: usize) {
    let settings = ListenSettings {
        addresses: vec!["127.0.0.1:0".parse().unwrap()],
        udp_sockets: sockets,
        ..ListenSettings::default()
    };
    let resolver = Arc::new(Resolver::new(Arc::new(Back)));
    let certificates = Arc::new(Certificates::default());
    let failed = OnFailure::new(|reason| panic!("{reason}"));
    let listeners = Listeners::start(&settings, &resolver, &certificates, &failed).unwrap();
    let address = listeners.addresses()[0].1;
    measure(&format!("ours, {sockets} sockets"), "dns-udp", address, turn);
}

/// Says back what it was asked.
struct Back;

impl Answer for Back {
    fn answer(&self, query: &[u8], _: Transport, _: &mut SmallRng, out: &mut Vec<u8>) -> Verdict {
        out.extend_from_slice(query);
        out[2] |= 0x80;
        Verdict::Reply
    }

    fn answer_chased(
        &self,
        _: &[u8],
        _: Transport,
        _: Chase,
        _: Vec<Option<Vec<u8>>>,
        _: &mut SmallRng,
        _: &mut Vec<u8>,
    ) -> Verdict {
        Verdict::Drop
    }

    fn recursion_failed(&self, _: &[u8], _: &mut Vec<u8>) {}
}

fn hickory(turn: Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("hickory")
        .enable_all()
        .build()
        .unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let _server = runtime.block_on(async {
        let mut server = Server::new(Refuse);
        server.register_socket(tokio::net::UdpSocket::from_std(socket).unwrap());
        server
    });
    measure("hickory-server, 1 socket", "hickory", address, turn);
    runtime.shutdown_background();
}

/// Refuses everything: the question and a code.
struct Refuse;

impl RequestHandler for Refuse {
    fn handle_request<'life0, 'life1, 'async_trait, R, T>(
        &'life0 self,
        request: &'life1 Request,
        mut response_handle: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'async_trait>>
    where
        R: ResponseHandler + 'async_trait,
        T: Time + 'async_trait,
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let reply = MessageResponseBuilder::from_message_request(request)
                .error_msg(&request.metadata, ResponseCode::Refused);
            response_handle.send_response(reply).await.unwrap()
        })
    }
}

/// Drives a listener and prints what its threads, known by their names, have used.
fn measure(what: &str, threads: &str, address: SocketAddr, turn: Duration) {
    let clients: Vec<UdpSocket> = (0..CLIENTS)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(address).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.send(QUERY).unwrap();
            socket
        })
        .collect();
    let begun = Instant::now();
    let before = used(threads);
    let (mut answers, mut buffer) = (0_u32, [0; 512]);
    let mut quiet = Instant::now();
    while begun.elapsed() < turn {
        let mut idle = true;
        for client in &clients {
            if client.recv(&mut buffer).is_ok() {
                answers += 1;
                client.send(QUERY).unwrap();
                idle = false;
            }
        }
        if idle {
            thread::yield_now();
            assert!(quiet.elapsed() < Duration::from_secs(5), "{what} has fallen silent");
        } else {
            quiet = Instant::now();
        }
    }
    let cpu = used(threads).saturating_sub(before);
    let rate = f64::from(answers) / begun.elapsed().as_secs_f64();
    let each = cpu.as_secs_f64() * 1e6 / f64::from(answers);
    println!("  {what:<26} {each:6.2} us of CPU per query, {rate:8.0} per second");
}

/// CPU time of the threads with this name.
fn used(name: &str) -> Duration {
    let mut nanoseconds = 0;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let of_thread = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
        if of_thread("comm").starts_with(name) {
            let spent = of_thread("schedstat");
            nanoseconds += spent.split(' ').next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Duration::from_nanos(nanoseconds)
}
