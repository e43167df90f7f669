//! An answer of the DNS interface, from the bytes of the query to the bytes of the reply, without sockets:
//! a node, and a service behind which stand 3, 50 and 5,000 instances.

#![expect(clippy::expect_used, reason = "a benchmark may end where something breaks")]

use std::hint::black_box;
use std::sync::Arc;

use arc_swap::ArcSwap;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use futures::future::BoxFuture;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tribune::dns::{Dns, DnsFacts, DnsSettings, Transport, Verdict};
use tribune::endpoints::{EndpointError, LeaderRead, Leadership};
use tribune::state::command::Register;
use tribune::state::machine::StateMachine;
use tribune::state::record::{Check, Node, Service};
use tribune::state::store::MemoryStore;
use tribune::state::{Command, Envelope};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Leads;

impl LeaderRead for Leads {
    fn leadership(&self) -> Arc<Leadership> {
        Arc::default()
    }

    fn check_lease(&self) -> Result<(), EndpointError> {
        Ok(())
    }

    fn barrier(&self) -> Result<Option<BoxFuture<'_, Result<(), EndpointError>>>, EndpointError> {
        Ok(None)
    }
}

fn instance(name: &str, number: usize) -> Register {
    let node: Arc<str> = format!("n{number:04}").into();
    let address = format!("10.100.{}.{}", number >> 8, number & 0xff);
    let check = Check {
        node: Arc::clone(&node),
        check_id: format!("service:{name}").into(),
        status: "passing".into(),
        service_id: name.into(),
        ..Check::default()
    };
    Register {
        node: Node { node, address, datacenter: "dc1".into(), ..Node::default() },
        service: Some(Service {
            id: name.into(),
            service: name.into(),
            tags: vec![["blue", "green"][number % 2].into()],
            port: 8080,
            ..Service::default()
        }),
        checks: vec![check],
        skip_node_update: false,
    }
}

fn state() -> StateMachine {
    let mut machine = StateMachine::open(Box::new(MemoryStore::default())).expect("an empty store opens");
    let services = [("s3", 3), ("s50", 50), ("s5000", 5000)];
    let registers = services.iter().flat_map(|(name, count)| (0..*count).map(|at| instance(name, at)));
    for (index, register) in (1..).zip(registers) {
        let command = Command::Register(Box::new(register));
        let entry = Envelope { now_ms: 0, command }.encode().expect("a registration can be encoded");
        machine.apply([(index, &*entry)]).expect("a registration can be applied");
    }
    machine
}

fn query(name: &str, qtype: u8, edns: Option<u16>) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).expect("labels are short"));
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend_from_slice(&[0, 0, qtype, 0, 1]);
    if let Some(size) = edns {
        packet.extend_from_slice(&[0, 0, 41]);
        packet.extend_from_slice(&size.to_be_bytes());
        packet.extend_from_slice(&[0; 6]);
    }
    packet
}

const A: u8 = 1;
const SRV: u8 = 33;

fn dns(criterion: &mut Criterion) {
    let mut machine = state();
    let make = |machine: &StateMachine| {
        let settings = Arc::new(ArcSwap::from_pointee(DnsSettings::default()));
        Dns::new(DnsFacts::default(), machine.reader(), Arc::new(Leads), settings, Arc::default())
    };
    let dns = make(&machine);
    let mut rng = SmallRng::seed_from_u64(1);
    let mut out = Vec::with_capacity(65536);
    let mut ask = |dns: &Dns, packet: &[u8], transport| {
        let verdict = dns.answer(black_box(packet), transport, &mut rng, &mut out);
        assert!(matches!(verdict, Verdict::Reply));
        out.len()
    };
    let mut group = criterion.benchmark_group("dns");
    let node = query("n0001.node.consul", A, None);
    group.bench_function("node", |bencher| bencher.iter(|| ask(&dns, &node, Transport::Udp)));
    let nothing = query("nope.service.consul", A, None);
    group.bench_function("nothing", |bencher| bencher.iter(|| ask(&dns, &nothing, Transport::Udp)));
    for (label, qtype, edns, transport) in [
        ("a", A, None, Transport::Udp),
        ("srv", SRV, None, Transport::Udp),
        ("a-edns-1232", A, Some(1232), Transport::Udp),
        ("srv-edns-1232", SRV, Some(1232), Transport::Udp),
        ("a-tcp", A, None, Transport::Tcp),
        ("srv-tcp", SRV, None, Transport::Tcp),
    ] {
        for count in [3, 50, 5000] {
            let packet = query(&format!("s{count}.service.consul"), qtype, edns);
            group.bench_function(BenchmarkId::new(label, count), |bencher| {
                bencher.iter(|| ask(&dns, &packet, transport));
            });
        }
    }
    let tagged = query("blue.s5000.service.consul", A, None);
    group.bench_function("a-tag/5000", |bencher| bencher.iter(|| ask(&dns, &tagged, Transport::Udp)));
    // The first answer after a change: the pool is made anew.
    for count in [3_u64, 50, 5000] {
        let packet = query(&format!("s{count}.service.consul"), A, None);
        let dns = make(&machine);
        let mut index = 1_000_000 * count;
        group.bench_function(BenchmarkId::new("a-after-a-change", count), |bencher| {
            bencher.iter_batched(
                || {
                    index += 1;
                    let mut register = instance(&format!("s{count}"), 1);
                    register.checks[0].output = index.to_string();
                    let command = Command::Register(Box::new(register));
                    let entry = Envelope { now_ms: 0, command }.encode().expect("can be encoded");
                    machine.apply([(index, &*entry)]).expect("can be applied");
                },
                |()| ask(&dns, &packet, Transport::Udp),
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, dns);
criterion_main!(benches);
