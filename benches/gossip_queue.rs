//! The broadcast queue with 1,000 and 10,000 messages waiting: adding one, replacing one of the same name,
//! and filling a packet of 1,400 bytes. Lengths are those of news of members and events, 60 to 220 bytes.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tribune::gossip::swim::broadcast::Queue;
use tribune::gossip::swim::{Name, Sink};

const DEPTHS: [usize; 2] = [1_000, 10_000];
/// How often each message is sent in a pool of 1,000.
const TRANSMITS: u32 = 16;

struct Packet {
    bytes: Vec<u8>,
}

impl Sink for Packet {
    fn room(&self) -> usize {
        1_398_usize.saturating_sub(self.bytes.len() + 2)
    }

    fn push(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(message);
    }
}

fn messages() -> Vec<Bytes> {
    // Scattered, and the same in every run.
    (0..10_000_usize).map(|number| Bytes::from(vec![7; 60 + number * 7_919 % 160])).collect()
}

fn names() -> Vec<Name> {
    (0..10_000).map(|number| Name::from(format!("node-{number:05}.example.internal").as_str())).collect()
}

fn filled(depth: usize, named: bool, messages: &[Bytes], names: &[Name]) -> Queue {
    let mut queue = Queue::new(1);
    for (message, name) in messages.iter().zip(names).take(depth) {
        queue.push(named.then(|| name.clone()), message.clone());
    }
    queue
}

/// Times rounds of `work`, each after a fresh start that is not counted, until there were `iterations`.
fn in_rounds(
    iterations: u64,
    round: u64,
    mut start: impl FnMut() -> Queue,
    work: impl Fn(&mut Queue, u64),
) -> Duration {
    let mut total = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let mut queue = start();
        let now = left.min(round);
        let before = Instant::now();
        work(&mut queue, now);
        total += before.elapsed();
        left -= now;
    }
    total
}

fn adding(c: &mut Criterion) {
    let (messages, names) = (messages(), names());
    let mut group = c.benchmark_group("gossip_queue/push");
    for depth in DEPTHS {
        group.bench_with_input(BenchmarkId::new("unique", depth), &depth, |b, &depth| {
            b.iter_custom(|iterations| {
                let start = || filled(depth, false, &messages, &names);
                in_rounds(iterations, depth as u64 / 10, start, |queue, count| {
                    for message in messages.iter().take(usize::try_from(count).unwrap_or(0)) {
                        queue.push(None, message.clone());
                    }
                })
            });
        });
        group.bench_with_input(BenchmarkId::new("named", depth), &depth, |b, &depth| {
            b.iter_custom(|iterations| {
                let start = || filled(depth, true, &messages, &names);
                in_rounds(iterations, depth as u64, start, |queue, count| {
                    for (message, name) in
                        messages.iter().rev().zip(&names).take(usize::try_from(count).unwrap_or(0))
                    {
                        queue.push(Some(name.clone()), message.clone());
                    }
                })
            });
        });
    }
    group.finish();
}

fn filling(c: &mut Criterion) {
    let (messages, names) = (messages(), names());
    let mut group = c.benchmark_group("gossip_queue/fill_packet");
    for depth in DEPTHS {
        for (kind, named) in [("unique", false), ("named", true)] {
            group.bench_with_input(BenchmarkId::new(kind, depth), &depth, |b, &depth| {
                b.iter_custom(|iterations| {
                    let mut packet = Packet { bytes: Vec::with_capacity(1_400) };
                    let mut total = Duration::ZERO;
                    let mut left = iterations;
                    while left > 0 {
                        let mut queue = filled(depth, named, &messages, &names);
                        let before = Instant::now();
                        while left > 0 && !queue.is_empty() {
                            packet.bytes.clear();
                            queue.give(TRANSMITS, &mut packet);
                            left -= 1;
                        }
                        total += before.elapsed();
                    }
                    total
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, adding, filling);
criterion_main!(benches);
