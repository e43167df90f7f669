//! What the state core costs: applying writes in batches, reading keys, the catalog with a thousand
//! services, publishing, waking.
//!
//! `cargo bench --bench state_apply`. The key space of a million keys is only built with
//! `TRIBUNE_BENCH_LARGE=1` in the environment.

#![expect(clippy::unwrap_used, reason = "a benchmark may end where something breaks")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tribune::state::command::{Command, Envelope, KvCommand, KvVerb, Register};
use tribune::state::record::{Check, Node, Service};
use tribune::state::store::{MemoryStore, WriteStore};
use tribune::state::store_disk::DiskStore;
use tribune::state::{StateMachine, Topic};

const VALUE_BYTES: usize = 256;
const SERVICES: usize = 1_000;
const WAITERS: usize = 5_000;

/// A state with the index of its next entry.
struct Bench {
    machine: StateMachine,
    index: u64,
}

impl Bench {
    fn on(store: impl WriteStore + 'static) -> Self {
        let machine = StateMachine::open(Box::new(store)).unwrap();
        Self { machine, index: 0 }
    }

    fn apply<'a>(&mut self, commands: impl IntoIterator<Item = &'a Bytes>) {
        let first = self.index + 1;
        let mut last = self.index;
        let entries = commands.into_iter().zip(first..).map(|(data, index)| {
            last = index;
            (index, &data[..])
        });
        let applied = self.machine.apply(entries).unwrap();
        black_box(applied);
        self.index = last;
    }
}

fn disk(path: &Path) -> DiskStore {
    DiskStore::open(path, Arc::new(|error| eprintln!("{error}"))).unwrap()
}

fn encoded(command: Command) -> Bytes {
    Envelope { now_ms: 1_700_000_000_000, command }.encode().unwrap()
}

fn key(number: usize) -> String {
    format!("bench/key/{number:07}")
}

fn put(number: usize, round: u64) -> Bytes {
    let mut value = vec![b'v'; VALUE_BYTES];
    value[..8].copy_from_slice(&round.to_le_bytes());
    encoded(Command::Kv(KvCommand {
        verb: KvVerb::Set,
        key: key(number).into(),
        value: value.into(),
        flags: 0,
        cas: 0,
        session: None,
    }))
}

fn puts(c: &mut Criterion) {
    let mut group = c.benchmark_group("put");
    for batch in [1, 64, 256] {
        // Two values by turns, so that no write is one of what is there already.
        let rounds: Vec<Vec<Bytes>> =
            (0..2).map(|round| (0..1_024).map(|n| put(n, round)).collect()).collect();
        let batches: Vec<&[Bytes]> = rounds.iter().flat_map(|round| round.chunks(batch)).collect();
        group.throughput(Throughput::Elements(batch as u64));
        let mut run = |name: &str, mut bench: Bench| {
            group.bench_function(BenchmarkId::new(name, batch), |b| {
                let mut batches = batches.iter().cycle();
                b.iter(|| bench.apply(batches.next().copied().unwrap_or_default()));
            });
        };
        run("memory", Bench::on(MemoryStore::default()));
        let directory = tempfile::tempdir().unwrap();
        run("disk", Bench::on(disk(directory.path())));
    }
    group.finish();
}

fn gets(c: &mut Criterion) {
    let mut group = c.benchmark_group("key_space");
    let mut sizes = vec![1_000];
    if std::env::var_os("TRIBUNE_BENCH_LARGE").is_some() {
        sizes.push(1_000_000);
    }
    for size in sizes {
        let directory = tempfile::tempdir().unwrap();
        let mut bench = Bench::on(disk(directory.path()));
        for from in (0..size).step_by(1_000) {
            bench.apply(&(from..from + 1_000).map(|n| put(n, 0)).collect::<Vec<_>>());
        }
        let keys: Vec<String> = (0..4_096).map(|n| key((n * 7_919) % size)).collect();
        let reader = bench.machine.reader();
        group.bench_function(BenchmarkId::new("get", size), |b| {
            let mut keys = keys.iter().cycle();
            b.iter(|| {
                let key = keys.next().map_or("", String::as_str);
                reader.kv_get(key.as_bytes(), |row| row.value.len())
            });
        });
        let rounds: Vec<Bytes> = (0..4_096).map(|n| put((n * 7_919) % size, 1 + n as u64)).collect();
        group.bench_function(BenchmarkId::new("put_64", size), |b| {
            let mut batches = rounds.chunks(64).cycle();
            b.iter(|| bench.apply(batches.next().unwrap_or_default()));
        });
    }
    group.finish();
}

fn register(service: usize, status: &str) -> Register {
    let node: Arc<str> = format!("node-{}", service % 50).into();
    let id: Arc<str> = format!("service-{service}").into();
    Register {
        node: Node { node: node.clone(), address: "10.0.0.1".into(), ..Node::default() },
        service: Some(Service {
            id: id.clone(),
            service: id.clone(),
            tags: vec!["v1".into()],
            ..Service::default()
        }),
        checks: vec![Check {
            node,
            check_id: format!("service:{id}").into(),
            name: "alive".into(),
            status: status.into(),
            service_id: id.to_string(),
            ..Check::default()
        }],
        ..Register::default()
    }
}

fn catalog(c: &mut Criterion) {
    let mut group = c.benchmark_group("catalog");
    let commands = |status: &str| -> Vec<Bytes> {
        (0..SERVICES).map(|n| encoded(Command::Register(Box::new(register(n, status))))).collect()
    };
    let (passing, critical) = (commands("passing"), commands("critical"));
    let mut bench = Bench::on(MemoryStore::default());
    bench.apply(&passing);
    group.bench_function("view_clone", |b| b.iter(|| (**bench.machine.view()).clone()));
    let reader = bench.machine.reader();
    group.bench_function("view_load", |b| b.iter(|| reader.view().index));
    group.bench_function("instances", |b| b.iter(|| reader.view().instances("service-77")));
    let mut flips = critical.chunks(1).chain(passing.chunks(1)).cycle();
    group.bench_function("check_flip", |b| {
        b.iter(|| bench.apply(flips.next().unwrap_or_default()));
    });
    let mut flips = critical.chunks(64).chain(passing.chunks(64)).cycle();
    group.bench_function("check_flip_64", |b| {
        b.iter(|| bench.apply(flips.next().unwrap_or_default()));
    });
    group.finish();
}

fn wakes(c: &mut Criterion) {
    let mut group = c.benchmark_group("watch");
    let bench = Bench::on(MemoryStore::default());
    let watches = Arc::clone(bench.machine.reader().watches());
    let topic = |number: usize| Topic::Key(key(number).into());
    group.bench_function("subscribe_and_drop", |b| b.iter(|| watches.subscribe([topic(0)])));
    group.bench_function(BenchmarkId::new("wake_and_drop", WAITERS), |b| {
        b.iter_with_setup(
            || (0..WAITERS).map(|_| watches.subscribe([topic(0)])).collect::<Vec<_>>(),
            |waiting| {
                watches.wake(&[topic(0)]);
                drop(waiting);
            },
        );
    });
    group.bench_function(BenchmarkId::new("drop_unwoken", WAITERS), |b| {
        b.iter_with_setup(|| (0..WAITERS).map(|_| watches.subscribe([topic(0)])).collect::<Vec<_>>(), drop);
    });
    let _others: Vec<_> = (1..=WAITERS).map(|number| watches.subscribe([topic(number)])).collect();
    group.bench_function("wake_elsewhere", |b| b.iter(|| watches.wake(&[topic(0)])));
    group.finish();
}

criterion_group!(benches, puts, gets, catalog, wakes);
criterion_main!(benches);
