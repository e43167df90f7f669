//! Reading and writing keys of a durable server over HTTP, among few keys and among many: the cost
//! must not grow with what does not matter.
//!
//! Criterion measures one caller's latency; then a table shows the server's CPU time per request
//! with 64 callers. `TRIBUNE_BENCH_KEYS` (100,000) is the larger number of keys, `1000000` the one
//! that is promised; `TRIBUNE_BENCH_SECONDS` (3) how long each line of the table is measured.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use support::agents::{Agent, Rng, Setup};
use support::{Stream, closed_loop, load_keys, measuring, median, setting};

const FEW: u64 = 1_000;
const VALUE: usize = 128;
const ROUNDS: usize = 3;

fn get(keys: u64) -> impl Fn(&mut Rng, &mut Vec<u8>) + Sync {
    move |rng, buffer| {
        write!(buffer, "GET /v1/kv/keys/{} HTTP/1.1\r\nHost: x\r\n\r\n", rng.between(0, keys))
            .expect("memory");
    }
}

fn put(keys: u64) -> impl Fn(&mut Rng, &mut Vec<u8>) + Sync {
    move |rng, buffer| {
        let key = rng.between(0, keys);
        write!(buffer, "PUT /v1/kv/keys/{key} HTTP/1.1\r\nHost: x\r\nContent-Length: {VALUE}\r\n\r\n")
            .expect("memory");
        // Storing what is there already would change nothing.
        write!(buffer, "{:0width$x}", rng.next(), width = VALUE).expect("memory");
    }
}

fn one_caller(criterion: &mut Criterion, agent: &Agent, keys: u64) {
    let mut group = criterion.benchmark_group("http_kv");
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    let mut stream = Stream::open(agent.http());
    let mut rng = Rng::new(keys);
    let mut buffer = Vec::new();
    let mut run = |name: &str, request: &dyn Fn(&mut Rng, &mut Vec<u8>)| {
        group.bench_function(BenchmarkId::new(name, keys), |bencher| {
            bencher.iter(|| {
                buffer.clear();
                request(&mut rng, &mut buffer);
                stream.ask(&buffer).expect("an answer")
            });
        });
    };
    run("get", &get(keys));
    run("put", &put(keys));
    group.finish();
}

fn many_callers(agent: &Agent, keys: u64) -> [f64; 2] {
    let turn = Duration::from_secs(setting("TRIBUNE_BENCH_SECONDS", 3));
    let cpu = |request: &(dyn Fn(&mut Rng, &mut Vec<u8>) + Sync)| {
        let rounds = (0..ROUNDS).map(|_| closed_loop(agent.http(), agent.pid(), 64, turn, request).cpu_us());
        median(rounds.collect())
    };
    [cpu(&get(keys)), cpu(&put(keys))]
}

fn main() {
    if !measuring() {
        return;
    }
    let many = setting("TRIBUNE_BENCH_KEYS", 100_000);
    let mut criterion = Criterion::default().configure_from_args();
    let agent = Setup::server().start();
    let mut lines = Vec::new();
    let mut stored = 0;
    for keys in [FEW, many] {
        let start = Instant::now();
        load_keys(&agent, "keys", stored, keys, VALUE);
        stored = keys;
        println!(
            "{keys} keys stored after {:.1?}, {} MiB resident",
            start.elapsed(),
            agent.resident_kib() / 1024
        );
        one_caller(&mut criterion, &agent, keys);
        lines.push((keys, many_callers(&agent, keys)));
    }
    criterion.final_summary();
    println!("\n64 connections, values of {VALUE} bytes, durable; cpu us per request");
    println!("{:>12}{:>10}{:>10}", "keys", "get", "put");
    for (keys, [get, put]) in &lines {
        println!("{keys:>12}{get:>10.1}{put:>10.1}");
    }
    let [few, many] = [lines[0].1, lines[1].1];
    println!("{:>12}{:>9.2}x{:>9.2}x   (1.5x is the limit)", "growth", many[0] / few[0], many[1] / few[1]);
}
