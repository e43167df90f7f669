//! From a proposal to its answer, through the log on disk: the actor, its thread, one fsync per
//! group, and an applier on another thread that answers at once. With 1 and with 64 waiting; the
//! second shows what group commit saves. Beside them the twin in memory: what is left without a disk.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::sync::mpsc;
use tribune::actors::mailbox::Sender;
use tribune::actors::raft_node::{Applier, ApplyCommitted, NoPeers, RaftNode, RaftOptions};
use tribune::actors::supervision::ExitProcess;
use tribune::endpoints::{Applied, LeaderRead};
use tribune::raft::{DriverConfig, LogDisk, LogStore, Membership, MemoryLog, ServerRecord};
use tribune::state::Outcome;

/// About what a small PUT encodes to.
const ENTRY: usize = 300;

fn start<L: LogStore + Send + 'static>(log: L) -> RaftNode {
    let me = ServerRecord { node_id: "bench".into(), name: "bench".into(), address: "127.0.0.1:8300".into() };
    let (batches, mut work) = mpsc::unbounded_channel::<ApplyCommitted>();
    std::thread::spawn(move || {
        while let Some(batch) = work.blocking_recv() {
            let mut last = 0;
            for entry in batch.entries {
                last = entry.index;
                if let Some(waiter) = entry.waiter {
                    waiter.answer(Ok(Applied { index: last, outcome: Outcome::Done }));
                }
            }
            batch.raft.applied(last);
            if last % 4_096 < 64 {
                batch.raft.compact_to(last);
            }
        }
    });
    let applier = Applier {
        apply: Sender::new(move |batch| {
            let _ = batches.send(batch);
        }),
        flush: Sender::new(|_| {}),
        snapshots: None,
    };
    let options = RaftOptions {
        driver: DriverConfig {
            bootstrap: Some(Membership::founding([me.clone()])),
            ..DriverConfig::new(me.raft_id())
        },
        me,
        tick: Duration::from_millis(100),
        applied_index: 0,
        on_leadership: Sender::new(|_| ()),
        metrics: Arc::default(),
    };
    let node = RaftNode::start(options, log, None, applier, Box::new(NoPeers), Arc::new(ExitProcess));
    node.unwrap()
}

fn measure<L: LogStore + Send + 'static>(c: &mut Criterion, name: &str, log: impl Fn() -> L) {
    let system = actix::System::new();
    let mut group = c.benchmark_group(format!("propose_to_applied/{name}"));
    for waiting in [1_usize, 64] {
        let node = system.block_on(async {
            let node = start(log());
            while node.handle.check_lease().is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            node
        });
        group.throughput(Throughput::Elements(waiting as u64));
        group.bench_function(BenchmarkId::from_parameter(waiting), |bencher| {
            bencher.iter_custom(|rounds| {
                system.block_on(async {
                    let data = Bytes::from(vec![7; ENTRY]);
                    let begun = Instant::now();
                    for _ in 0..rounds {
                        let writes: Vec<_> =
                            (0..waiting).map(|_| node.handle.propose(data.clone())).collect();
                        for answer in futures::future::join_all(writes).await {
                            answer.unwrap();
                        }
                    }
                    begun.elapsed()
                })
            });
        });
        system.block_on(async { node.stop().await }).unwrap();
    }
    group.finish();
}

fn bench(c: &mut Criterion) {
    let dir = tempfile::TempDir::new().unwrap();
    let count = std::cell::Cell::new(0);
    measure(c, "disk", || {
        count.set(count.get() + 1);
        LogDisk::open(&dir.path().join(count.get().to_string())).unwrap()
    });
    measure(c, "memory", MemoryLog::new);
}

criterion_group!(benches, bench);
criterion_main!(benches);
