//! Whatever arrives at the DNS port: no panic, no answer longer than it may be, no second chase.
//!
//! `cargo +nightly fuzz run dns_query -- -max_total_time=600` in the directory above. The corpus holds
//! queries of the recorded conformance cases.

#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tribune::dns::{Dns, DnsFacts, DnsSettings, Transport, Verdict};
use tribune::endpoints::{EndpointError, LeaderRead, Leadership};
use tribune::state::command::Register;
use tribune::state::machine::StateMachine;
use tribune::state::record::{Node, Service};
use tribune::state::store::MemoryStore;
use tribune::state::{Command, Envelope};

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

/// The names of the corpus, so that its queries find something.
fn state() -> StateMachine {
    let mut machine = StateMachine::open(Box::new(MemoryStore::default())).unwrap();
    let names = ["db", "web", "consul", "search", "dbalias", "aa", "bb", "service-with-a-long-name"];
    let addresses =
        ["", "", "", "www.example.org", "db.service.consul", "bb.service.consul", "aa.service.consul", ""];
    let mut index = 0;
    for at in 1..=20_u16 {
        for (name, address) in names.iter().zip(addresses) {
            index += 1;
            let register = Register {
                node: Node {
                    node: [format!("n{at}"), format!("foo{at}"), format!("n{at:03}")][usize::from(at) % 3]
                        .as_str()
                        .into(),
                    address: if at == 7 { "2001:db8::7".to_owned() } else { format!("10.2.0.{at}") },
                    datacenter: "dc1".into(),
                    meta: Some([("rack".to_owned(), "r7".to_owned())].into()),
                    ..Node::default()
                },
                service: Some(Service {
                    id: (*name).into(),
                    service: (*name).into(),
                    address: address.to_owned(),
                    port: i64::from(at),
                    tags: vec!["primary".into(), "v1.2".into()],
                    ..Service::default()
                }),
                checks: Vec::new(),
                skip_node_update: false,
            };
            let envelope = Envelope { now_ms: 0, command: Command::Register(Box::new(register)) };
            machine.apply([(index, &*envelope.encode().unwrap())]).unwrap();
        }
    }
    machine
}

/// Without recursors and with them; what else the settings change is trimmed the same way.
static AGENTS: LazyLock<Vec<Dns>> = LazyLock::new(|| {
    let machine = state();
    let recursor = SocketAddr::from(([127, 0, 0, 1], 9));
    let of = |recursors| {
        let settings = DnsSettings { recursors, enable_truncate: true, ..DnsSettings::default() };
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        Dns::new(DnsFacts::default(), machine.reader(), Arc::new(Leads), settings, Arc::default())
    };
    vec![of(Vec::new()), of(vec![recursor])]
});

fuzz_target!(|packet: &[u8]| {
    for dns in AGENTS.iter() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let mut rng = SmallRng::seed_from_u64(1);
            let mut out = Vec::new();
            let mut verdict = dns.answer(packet, transport, &mut rng, &mut out);
            if let Verdict::Chase(chase) = verdict {
                // The packet itself is as good an answer of a recursor as any.
                let found = chase.questions.iter().map(|_| Some(packet.to_vec())).collect();
                verdict = dns.answer_chased(packet, transport, chase, found, &mut rng, &mut out);
                assert!(!matches!(verdict, Verdict::Chase(_)));
            }
            let plain = transport == Transport::Udp && packet.get(10..12) == Some(&[0, 0]);
            assert!(out.len() <= if plain { 512 } else { usize::from(u16::MAX) });
            assert_eq!(matches!(verdict, Verdict::Reply), !out.is_empty());
        }
    }
});
