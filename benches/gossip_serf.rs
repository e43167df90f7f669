//! What the Serf layer adds to a packet: an answered ping moves the coordinate, a user event comes again and
//! again, an intent is old.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use tribune::gossip::coordinate::{Coordinate, Vivaldi};
use tribune::gossip::effect::Everybody;
use tribune::gossip::wire::serf::{Join, SerfMessage, UserEvent};
use tribune::gossip::{Input, Moment, Outputs, Pool, PoolConfig, SerfConfig, SwimConfig};

fn coordinates(c: &mut Criterion) {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let names: Vec<String> = (0..1_000).map(|n| format!("node-{n}.example.internal")).collect();
    let mut me = Vivaldi::new();
    let mut there = Coordinate::default();
    let mut turn = 0_u32;
    c.bench_function("coordinate/observe_1000_members", |b| {
        b.iter(|| {
            turn = turn.wrapping_add(1);
            let name = names.get(turn as usize % names.len()).map_or("", String::as_str);
            there.vec[0] = f64::from(turn % 17) * 1e-3;
            let rtt = Duration::from_micros(u64::from(900 + turn % 300));
            black_box(me.observe(name, &there, rtt, &mut rng)).is_ok()
        });
    });
    c.bench_function("coordinate/distance", |b| b.iter(|| black_box(me.place()).distance(black_box(&there))));
}

fn pool() -> Option<Pool> {
    let config = PoolConfig {
        name: "node-0".to_owned(),
        advertise: SocketAddr::from(([10, 0, 0, 1], 8301)),
        tags: [("role".to_owned(), "node".to_owned())].into(),
        swim: SwimConfig::lan(),
        serf: SerfConfig::default(),
        keys: Vec::new(),
        verify_incoming: true,
        verify_outgoing: true,
        snapshot: None,
        seed: [7; 32],
    };
    Pool::new(config, Box::new(Everybody), Moment(0)).ok()
}

fn packet(message: &SerfMessage<'_>) -> Vec<u8> {
    let mut bytes = vec![8];
    message.encode(&mut bytes);
    bytes
}

fn messages(c: &mut Criterion) {
    let from = SocketAddr::from(([10, 0, 0, 2], 8301));
    let event =
        |ltime| UserEvent { ltime, name: b"consul:event:deploy", payload: Some(&[7; 100]), coalesce: false };
    let Some(mut pool) = pool() else { return };
    let mut out = Outputs::default();
    // A window full of events, as in a busy pool.
    for ltime in 1..=512 {
        let mut data = packet(&SerfMessage::UserEvent(event(ltime)));
        pool.step(Moment(0), Input::Packet { from, data: &mut data }, &mut out);
        out.clear();
    }
    let repeat = packet(&SerfMessage::UserEvent(event(300)));
    let old_join = packet(&SerfMessage::Join(Join { ltime: 0, node: b"node-0" }));
    let mut data = Vec::new();
    for (name, bytes) in [("repeated_event", &repeat), ("old_join", &old_join)] {
        c.bench_function(&format!("serf/step_{name}"), |b| {
            b.iter(|| {
                data.clear();
                data.extend_from_slice(bytes);
                pool.step(Moment(0), Input::Packet { from, data: &mut data }, &mut out);
            });
        });
        let message = bytes.get(1..).unwrap_or_default();
        c.bench_function(&format!("serf/decode_{name}"), |b| {
            b.iter(|| SerfMessage::decode(black_box(message)).is_ok());
        });
    }
    let mut ltime = 512;
    c.bench_function("serf/step_new_event", |b| {
        b.iter(|| {
            ltime += 1;
            data = packet(&SerfMessage::UserEvent(event(ltime)));
            pool.step(Moment(0), Input::Packet { from, data: &mut data }, &mut out);
            out.clear();
        });
    });
}

criterion_group!(benches, coordinates, messages);
criterion_main!(benches);
