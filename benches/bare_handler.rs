//! How far reading a key is from the floor: CPU time per request of a tribune agent beside that of
//! an actix-web handler that returns the same bytes and does nothing else.
//!
//! Both are processes of their own with the same number of workers and the same server settings,
//! driven turn about by the same client. `TRIBUNE_BENCH_SECONDS` (2) is the length of a turn,
//! `TRIBUNE_BENCH_ROUNDS` (5) how many there are, `TRIBUNE_BENCH_CONNECTIONS` (64) what it says.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{KeepAlive, StatusCode};
use actix_web::{App, HttpResponse, HttpServer, web};
use bytes::Bytes;
use support::agents::{Client, Setup, fixture};
use support::{Stream, closed_loop, measuring, median, setting};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const TARGET: &str = "/v1/kv/bench/key";
/// As the benchmark against Consul has it.
const VALUE: usize = 128;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, serve, original] = &arguments[..]
        && serve == "--serve"
    {
        return bare(original.parse().expect("an address")).expect("the bare server runs");
    }
    if measuring() {
        compare();
    }
}

/// Serves what the agent at `original` answers to [`TARGET`], for every request.
fn bare(original: SocketAddr) -> std::io::Result<()> {
    let answer = Client::new(original).get(TARGET)?.expect(200);
    let ours = |name: &str| matches!(name, "date" | "content-length");
    let headers: Vec<(HeaderName, HeaderValue)> = answer
        .headers
        .iter()
        .filter(|(name, _)| !ours(name))
        .map(|(name, value)| (name.parse().expect("a header"), value.parse().expect("a value")))
        .collect();
    let body = Bytes::from(answer.body);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    actix_rt::System::new().block_on(
        HttpServer::new(move || {
            let (headers, body) = (headers.clone(), body.clone());
            App::new().default_service(web::to(move || {
                let mut response = HttpResponse::with_body(StatusCode::OK, body.clone());
                for (name, value) in &headers {
                    response.headers_mut().insert(name.clone(), value.clone());
                }
                std::future::ready(response)
            }))
        })
        .workers(tribune::web::WebSettings::default().workers)
        .keep_alive(KeepAlive::Os)
        .h1_allow_half_closed(false)
        .disable_signals()
        .listen(listener)?
        .run(),
    )
}

struct Bare {
    child: Child,
    address: SocketAddr,
}

impl Bare {
    fn start(original: SocketAddr) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("its own path"))
            .args(["--serve", &original.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bare server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("its output")).read_line(&mut line).expect("an address");
        Self { child, address: line.trim().parse().expect("an address") }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An answer without the line that tells the time.
fn timeless(address: SocketAddr) -> String {
    let bytes = Stream::open(address).ask(&request(TARGET)).expect("an answer");
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    let mut lines: Vec<_> = text.split("\r\n").filter(|line| !line.starts_with("date:")).collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn request(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

fn compare() {
    let agent = Setup::server().start();
    fixture::key(&agent, "bench/key", &"v".repeat(VALUE));
    let bare = Bare::start(agent.http());
    assert_eq!(timeless(bare.address), timeless(agent.http()), "the bare handler returns the same bytes");

    let turn = Duration::from_secs(setting("TRIBUNE_BENCH_SECONDS", 2));
    let connections = usize::try_from(setting("TRIBUNE_BENCH_CONNECTIONS", 64)).expect("a number");
    let rows = [
        ("bare handler", bare.address, bare.child.id(), request(TARGET)),
        ("kv-get", agent.http(), agent.pid(), request(TARGET)),
        ("kv-get-stale", agent.http(), agent.pid(), request(&format!("{TARGET}?stale"))),
        ("kv-get-consistent", agent.http(), agent.pid(), request(&format!("{TARGET}?consistent"))),
    ];
    let mut cpu = vec![Vec::new(); rows.len()];
    let mut rate = vec![Vec::new(); rows.len()];
    for _ in 0..setting("TRIBUNE_BENCH_ROUNDS", 5) {
        for (row, (_, address, pid, request)) in rows.iter().enumerate() {
            let load =
                closed_loop(*address, *pid, connections, turn, |_, buffer| buffer.extend_from_slice(request));
            cpu[row].push(load.cpu_us());
            rate[row].push(load.rate());
        }
    }
    println!(
        "\n{connections} connections, value of {VALUE} bytes; medians of {} turns of {turn:?}",
        cpu[0].len()
    );
    println!("{:<20}{:>14}{:>14}{:>18}", "", "cpu us/req", "requests/s", "cpu to bare");
    let floor = median(cpu[0].clone());
    for ((name, ..), (cpu, rate)) in rows.iter().zip(cpu.into_iter().zip(rate)) {
        let cpu = median(cpu);
        println!("{name:<20}{cpu:>14.1}{:>14.0}{:>17.2}x", median(rate), cpu / floor);
    }
}
