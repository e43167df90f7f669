//! Many queries parked on one key: what each costs in memory, that a write elsewhere wakes none, and
//! how long one write takes to answer all.
//!
//! `TRIBUNE_BENCH_PARKED` (5,000) is how many are parked; the descriptor limit must allow for twice
//! as many. `TRIBUNE_BENCH_ROUNDS` (3) is how often they are woken.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use support::agents::{Agent, Setup, fixture, process, until};
use support::{measuring, setting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

const UNRELATED: u32 = 500;

fn main() {
    if measuring() {
        run();
    }
}

fn run() {
    let parked = usize::try_from(setting("TRIBUNE_BENCH_PARKED", 5_000)).expect("a number");
    let limit = process::raise_descriptor_limit();
    assert!(limit > parked as u64 + 500, "{limit} descriptors are too few for {parked} connections");
    let agent =
        Setup::server().with(json!({ "limits": { "http_max_conns_per_client": parked + 100 } })).start();
    fixture::key(&agent, "watched", "0");
    // What the first requests make the agent keep is not the queries' cost.
    for _ in 0..200 {
        agent.get("/v1/kv/watched").expect(200);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let before = agent.resident_kib();
    let mut streams = runtime.block_on(connect(&agent, parked));
    let connected = agent.resident_kib();
    println!("\n{parked} connections: {before} KiB resident before, {connected} KiB once they are open");
    for round in 1..=setting("TRIBUNE_BENCH_ROUNDS", 3) {
        streams = wake(&runtime, &agent, streams, round, before);
    }
}

async fn connect(agent: &Agent, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        streams.push(TcpStream::connect(agent.http()).await.expect("a connection"));
    }
    streams
}

/// Parks a query on every connection, writes elsewhere, writes the key, and reports.
fn wake(
    runtime: &Runtime,
    agent: &Agent,
    streams: Vec<TcpStream>,
    round: u64,
    before: u64,
) -> Vec<TcpStream> {
    let count = streams.len();
    let index = agent.get("/v1/kv/watched").index();
    let request = format!("GET /v1/kv/watched?index={index}&wait=300s HTTP/1.1\r\nHost: x\r\n\r\n");
    let answered = Arc::new(AtomicUsize::new(0));
    let waiting: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            let (request, answered) = (request.clone(), Arc::clone(&answered));
            runtime.spawn(async move {
                stream.write_all(request.as_bytes()).await.expect("the agent reads");
                let mut buffer = [0; 4096];
                let size = stream.read(&mut buffer).await.expect("an answer");
                let moment = Instant::now();
                assert!(
                    buffer[..size].starts_with(b"HTTP/1.1 200"),
                    "{}",
                    String::from_utf8_lossy(&buffer[..size])
                );
                answered.fetch_add(1, Ordering::Relaxed);
                (stream, moment)
            })
        })
        .collect();
    let mut last = (agent.cpu_time(), 0);
    until("all queries to be parked", Duration::from_secs(60), || {
        // They are parked once the agent has nothing left to do.
        agent.settle();
        let now = (agent.cpu_time(), agent.resident_kib());
        let quiet = now.0.saturating_sub(last.0) < Duration::from_millis(3) && now.1 == last.1;
        last = now;
        quiet
    });
    let resident = agent.resident_kib();

    let cpu = agent.cpu_time();
    let mut client = agent.client();
    for n in 0..UNRELATED {
        client.put(&format!("/v1/kv/unwatched/{n}"), round.to_string()).expect("an answer").expect(200);
    }
    agent.settle();
    let unrelated = agent.cpu_time().saturating_sub(cpu) / UNRELATED;
    assert_eq!(answered.load(Ordering::Relaxed), 0, "an unrelated write woke a query");

    let cpu = agent.cpu_time();
    let start = Instant::now();
    client.put("/v1/kv/watched", round.to_string()).expect("an answer").expect(200);
    let ends: Vec<_> = waiting.into_iter().map(|task| runtime.block_on(task).expect("an answer")).collect();
    let mut times: Vec<_> = ends.iter().map(|(_, moment)| moment.duration_since(start)).collect();
    times.sort();
    let cpu = agent.cpu_time().saturating_sub(cpu);
    println!(
        "round {round}: {:.1} KiB per parked query; {UNRELATED} unrelated writes woke none, {:.0} us of CPU each; \
         one write answered half within {:.1?}, all within {:.1?}, {:.1} us of CPU per query",
        kib_per(resident.saturating_sub(before), count),
        unrelated.as_secs_f64() * 1e6,
        times[count / 2],
        times[count - 1],
        cpu.as_secs_f64() * 1e6 / f64::from(u32::try_from(count).expect("a number")),
    );
    ends.into_iter().map(|(stream, _)| stream).collect()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn kib_per(kib: u64, count: usize) -> f64 {
    kib as f64 / count as f64
}
