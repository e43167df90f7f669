//! What a received packet costs a member of a pool of 1,000, decoding and answering included.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::net::SocketAddr;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use tribune::gossip::config::SwimConfig;
use tribune::gossip::effect::Outputs;
use tribune::gossip::swim::{Name, Nobody, Swim, SwimSetup};
use tribune::gossip::time::Moment;
use tribune::gossip::wire::{Alive, Crypto, Message, OUR_VERSIONS, PacketWriter, Ping};

const META: &[u8] = &[7; 100];

fn addr(number: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], number))
}

fn alive(name: &str, number: u16) -> Message<'_> {
    Message::Alive(Alive {
        incarnation: 1,
        node: name.as_bytes(),
        addr: Some(addr(number)),
        meta: META,
        versions: Some(OUR_VERSIONS),
    })
}

fn packet(messages: &[Message<'_>]) -> Vec<u8> {
    let (mut bytes, crypto) = (Vec::new(), Crypto::plain());
    let mut writer = PacketWriter::default();
    let mut builder = writer.begin(&mut bytes, 65_000, &crypto);
    for message in messages {
        assert!(builder.message(message));
    }
    builder.finish(false, false, &mut ChaCha12Rng::seed_from_u64(1));
    bytes
}

fn pool() -> Swim {
    let setup = SwimSetup {
        name: Name::from("me"),
        addr: addr(1),
        meta: Bytes::from_static(META),
        versions: OUR_VERSIONS,
        config: SwimConfig { retransmit_mult: 1, ..SwimConfig::lan() },
        crypto: Crypto::plain(),
        rng: ChaCha12Rng::seed_from_u64(1),
    };
    let mut swim = Swim::new(setup, Moment(0)).unwrap();
    let mut out = Outputs::default();
    for number in 2..1_002 {
        let mut packet = packet(&[alive(&format!("node-{number:05}"), number)]);
        swim.packet(Moment(0), addr(9), &mut packet, &mut Nobody, &mut out);
    }
    // Until all news is spread.
    let mut now = Moment(0);
    while swim.queued() > 0 {
        now.0 += 200_000_000;
        swim.tick(now, &mut Nobody, &mut out);
        out.clear();
    }
    swim
}

fn receive(c: &mut Criterion) {
    let mut group = c.benchmark_group("gossip_swim/receive");
    let known: Vec<String> = (100..112).map(|number| format!("node-{number:05}")).collect();
    let known: Vec<_> = known.iter().zip(100..).map(|(name, number)| alive(name, number)).collect();
    let ping = Ping { seq: 77_777, node: b"me", source: Some(addr(3)), source_node: b"node-00003" };
    for (what, bytes) in [
        ("user_message", packet(&[Message::User(&[5; 100])])),
        ("12_known_alive", packet(&known)),
        ("ping_to_ack", packet(&[Message::Ping(ping)])),
    ] {
        let mut swim = pool();
        let mut out = Outputs::default();
        let mut data = bytes.clone();
        group.bench_function(what, |b| {
            b.iter(|| {
                data.copy_from_slice(&bytes);
                swim.packet(Moment(0), addr(9), &mut data, &mut Nobody, &mut out);
                out.clear();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, receive);
criterion_main!(benches);
