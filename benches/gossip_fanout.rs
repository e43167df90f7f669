//! What it costs until all know: the fan-out of a message in pools of 16 to 10,000 members, and what a received
//! packet costs one member.
//!
//! `cargo bench --bench gossip_fanout` prints the tables beside the figures of hashicorp/memberlist (from a program of
//! its own, on another day on the same kind of machine: orders of magnitude, not percents), then Criterion's.
//! `TRIBUNE_FANOUT_LARGEST=<n>` leaves larger pools out. The world is the one of the simulation
//! (`integration/gossip_sim/world`): real bytes, virtual time, one thread; 10,000 members take some 4 GB.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench that cannot go on ends")]
#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(dead_code, reason = "the world is shared with the simulation, and neither uses all of it")]

#[path = "../integration/gossip_sim/measure/mod.rs"]
mod measure;
#[path = "../integration/gossip_sim/world/mod.rs"]
mod world;

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use tribune::gossip::config::{PoolConfig, SerfConfig, SwimConfig};
use tribune::gossip::effect::Everybody;
use tribune::gossip::wire::serf::{UserEvent, encode_ack_payload, encode_tags};
use tribune::gossip::wire::{
    Ack, Alive, Crypto, Keyring, Message, OUR_VERSIONS, PacketReader, PacketWriter, Ping,
};
use tribune::gossip::{Coordinate, Moment, Outputs, Pool, StreamId};

use measure::spread::{self, precise};
use world::bare::{Bare, formed};
use world::{Conditions, Host, addr, name};

/// Members of the pool that the one that receives is in.
const KNOWN: usize = 256;
const KEY: [u8; 16] = [7; 16];

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// memberlist's figures: half, 99 % and last in ms, packets per node, CPU ms.
fn memberlist(nodes: usize) -> &'static str {
    match nodes {
        16 => "312 / 526 / 526 ms, 7.3, 27 ms",
        64 => "352 / 680 / 760 ms, 6.4, 98 ms",
        256 => "383 / 566 / 716 ms, 11.4, -",
        _ => "-",
    }
}

fn fan_out(largest: usize) {
    println!(
        "A message of 100 B, LAN profile, a network of one room (0.1 to 0.6 ms); times are medians, costs means less the idle traffic; CPU is that of the whole simulation, network included\n"
    );
    println!(
        "| nodes | rounds: half / 99 % / all | ms: half / 99 % / all | packets | per node | bytes | CPU ms | us per node | us per packet | memberlist: times, packets per node, CPU |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let config = SwimConfig::lan();
    let mut idle = Vec::new();
    let sizes = [(16, 200), (64, 100), (256, 30), (1_000, 6), (10_000, 1_u32)];
    for (nodes, messages) in sizes.into_iter().filter(|(nodes, _)| *nodes <= largest) {
        let mut world = measure::pool(nodes, 1, &config, Conditions::room());
        let mut all = Vec::new();
        for number in 0..messages {
            all.push(spread::message(&mut world, number, 100));
        }
        let time = |of: fn(&spread::Known) -> Duration| {
            measure::median(all.iter().map(|(known, _)| of(known)).collect())
        };
        let (half, most, last) =
            (time(|known| known.half), time(|known| known.most), time(|known| known.all));
        let rounds = |time: Duration| time.as_nanos().div_ceil(config.gossip_interval.as_nanos());
        let mean = |of: fn(&spread::Cost) -> u64| {
            precise(all.iter().map(|(_, cost)| of(cost)).sum()) / f64::from(messages)
        };
        let (packets, bytes, received) =
            (mean(|cost| cost.packets), mean(|cost| cost.bytes), mean(|cost| cost.received));
        let cpu = all.iter().map(|(_, cost)| cost.cpu).sum::<Duration>() / messages;
        println!(
            "| {nodes} | {} / {} / {} | {:.0} / {:.0} / {:.0} | {packets:.0} | {:.1} | {bytes:.0} | {:.2} | {:.1} | {:.2} | {} |",
            rounds(half),
            rounds(most),
            rounds(last),
            millis(half),
            millis(most),
            millis(last),
            packets / precise(nodes as u64),
            millis(cpu),
            micros(cpu) / precise(nodes as u64),
            micros(cpu) / received,
            memberlist(nodes)
        );
        // Before the first full exchange, which comes after 30 s at the earliest.
        drop(world);
        let mut world = measure::pool(nodes, 2, &config, Conditions::room());
        let (packets, bytes, cpu) = spread::idle_rate(&mut world, 10);
        let (both, size) = exchange(nodes);
        idle.push(format!(
            "| {nodes} | {packets:.1} | {bytes:.0} | {:.1} | {:.3} | {size} |",
            micros(cpu),
            millis(both) / 2.0
        ));
    }
    println!(
        "\nIdle, each member and second (memberlist: 2.0 to 2.7 packets, 105 to 1,150 B, 352 to 522 us);"
    );
    println!("and a full exchange, which each member starts every 30 s (to 32 members) to 300 s (10,000)\n");
    println!("| nodes | packets | bytes | CPU us | CPU ms of an exchange, each side | bytes, each way |");
    println!("|---|---|---|---|---|---|\n{}\n", idle.join("\n"));
}

/// A full exchange between two members that know the same: what both sides cost together, and the bytes of each way.
fn exchange(nodes: usize) -> (Duration, usize) {
    let table = formed(nodes);
    let member = |node| Bare::new(node, &quiet(), Crypto::plain(), &table, 1, Moment(0));
    let (mut asker, mut asked, mut out) = (member(0), member(1), Outputs::default());
    let mut size = 0;
    let mut once = || {
        let before = Instant::now();
        asker.join(NOW, addr(1), &mut out);
        let exchange = out.exchanges.pop().unwrap();
        size = exchange.request.len();
        let message = asked.stream_reader().push(&exchange.request).unwrap().unwrap();
        asked.request(NOW, StreamId(1), addr(0), message, &mut out);
        let reply = out.replies.pop().unwrap();
        let answer = asker.stream_reader().push(&reply.bytes).unwrap().unwrap();
        asker.answer(NOW, exchange.id, Ok(answer), &mut out);
        let time = before.elapsed();
        out.clear();
        time
    };
    let times = (0..15).map(|_| once()).collect();
    (measure::median(times), size)
}

/// How a packet is wrapped.
#[derive(Clone, Copy)]
struct Wrapping {
    name: &'static str,
    compressed: bool,
    encrypted: bool,
}

const WRAPPINGS: [Wrapping; 4] = [
    Wrapping { name: "plain", compressed: false, encrypted: false },
    Wrapping { name: "LZW", compressed: true, encrypted: false },
    Wrapping { name: "encrypted", compressed: false, encrypted: true },
    Wrapping { name: "encrypted LZW", compressed: true, encrypted: true },
];

impl Wrapping {
    fn crypto(self) -> Crypto {
        let keys: &[[u8; 16]] = if self.encrypted { &[KEY] } else { &[] };
        Crypto::new(Keyring::of(keys).unwrap(), true, true)
    }

    fn packet(self, messages: &[Message<'_>]) -> Vec<u8> {
        let (mut bytes, crypto) = (Vec::new(), self.crypto());
        let mut writer = PacketWriter::default();
        let mut builder = writer.begin(&mut bytes, 1_400, &crypto);
        for message in messages {
            let mut encoded = Vec::new();
            message.encode(&mut encoded);
            if encoded.len() > builder.room() {
                break;
            }
            builder.push(&encoded);
        }
        builder.finish(true, self.compressed, &mut ChaCha12Rng::seed_from_u64(1));
        bytes
    }
}

/// A stack that can be measured.
trait Subject: Host + Sized {
    const NAME: &'static str;

    /// In a pool of [`KNOWN`] members, with nothing to tell.
    fn make(crypto: &Crypto) -> Self;

    /// A message of some 100 B that is heard by the layer above; not the first time.
    fn user(number: u32) -> Vec<u8>;

    fn meta() -> Vec<u8>;
}

/// Nothing happens but what is measured: nobody is probed but once a day.
fn quiet() -> SwimConfig {
    SwimConfig {
        probe_interval: Duration::from_secs(86_400),
        push_pull_interval: Duration::ZERO,
        ..SwimConfig::lan()
    }
}

fn settled<H: Host>(mut host: H) -> H {
    let mut out = Outputs::default();
    for tenths in 0..600 {
        host.tick(Moment(tenths * 100_000_000), &mut out);
        out.clear();
    }
    host
}

impl Subject for Bare {
    const NAME: &'static str = "SWIM";

    fn make(crypto: &Crypto) -> Self {
        settled(Self::new(0, &quiet(), crypto.clone(), &formed(KNOWN), 1, Moment(0)))
    }

    fn user(number: u32) -> Vec<u8> {
        let mut message = number.to_le_bytes().to_vec();
        message.resize(100, 0x2a);
        message
    }

    fn meta() -> Vec<u8> {
        vec![0x61; 120]
    }
}

impl Subject for Pool {
    const NAME: &'static str = "whole stack";

    fn make(crypto: &Crypto) -> Self {
        let make = |node: usize| {
            let config = PoolConfig {
                name: name(node),
                advertise: addr(node),
                tags: std::collections::BTreeMap::new(),
                swim: quiet(),
                serf: SerfConfig::default(),
                keys: crypto
                    .keyring()
                    .map(|keys| keys.list().map(<[u8]>::to_vec).collect())
                    .unwrap_or_default(),
                verify_incoming: true,
                verify_outgoing: true,
                snapshot: None,
                seed: [1; 32],
            };
            Self::new(config, Box::new(Everybody), Moment(0)).unwrap()
        };
        let mut pool = make(0);
        let (plain, mut out, meta) = (crypto, Outputs::default(), Self::meta());
        for node in 1..KNOWN {
            let (name, mut bytes) = (name(node), Vec::new());
            let mut writer = PacketWriter::default();
            let mut builder = writer.begin(&mut bytes, 1_400, plain);
            builder.message(&alive(&name, node, &meta));
            builder.finish(false, false, &mut ChaCha12Rng::seed_from_u64(node as u64));
            Host::packet(&mut pool, Moment(0), addr(node), &mut bytes, &mut out);
            out.clear();
        }
        settled(pool)
    }

    fn user(number: u32) -> Vec<u8> {
        let mut message = Vec::new();
        let name = number.to_string();
        UserEvent {
            ltime: 1 + u64::from(number),
            name: name.as_bytes(),
            payload: Some(&[0x2a; 70]),
            coalesce: false,
        }
        .encode(&mut message);
        message
    }

    fn meta() -> Vec<u8> {
        let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let tags = [
            tag("role", "node"),
            tag("dc", "dc1"),
            tag("segment", ""),
            tag("id", "6a3e1d3c-9a61-4a1b-9a43-b0bb5fd51d5d"),
            tag("vsn", "2"),
            tag("build", "1.8.7:"),
        ];
        let mut meta = Vec::new();
        encode_tags(&tags.into(), &mut meta).unwrap();
        meta
    }
}

fn alive<'a>(name: &'a str, node: usize, meta: &'a [u8]) -> Message<'a> {
    Message::Alive(Alive {
        incarnation: 1,
        node: name.as_bytes(),
        addr: Some(addr(node)),
        meta,
        versions: Some(OUR_VERSIONS),
    })
}

/// Packets of one kind, received in turn by one member.
struct Case<H> {
    kind: &'static str,
    host: H,
    packets: Vec<Vec<u8>>,
    data: Vec<u8>,
    out: Outputs,
    next: usize,
}

/// Long after everything was told.
const NOW: Moment = Moment(61_000_000_000);

impl<H: Subject> Case<H> {
    fn new(kind: &'static str, wrapping: Wrapping, packets: &[Vec<Message<'_>>]) -> Self {
        let packets = packets.iter().map(|messages| wrapping.packet(messages)).collect();
        let host = H::make(&wrapping.crypto());
        let mut case = Self { kind, host, packets, data: Vec::new(), out: Outputs::default(), next: 0 };
        // What was news is heard, and told on.
        for _ in 0..case.packets.len() {
            case.receive();
        }
        for tenths in 0..300 {
            case.host.tick(Moment(NOW.0 + tenths * 100_000_000), &mut case.out);
            case.out.clear();
        }
        case
    }

    fn receive(&mut self) {
        let packet = &self.packets[self.next];
        self.next = (self.next + 1) % self.packets.len();
        // As the socket's buffer would be filled.
        self.data.clear();
        self.data.extend_from_slice(packet);
        self.host.packet(NOW, addr(1), &mut self.data, &mut self.out);
        black_box(&self.out);
        self.out.clear();
    }
}

/// The kinds of packets, with memberlist's microseconds for each wrapping.
fn cases<H: Subject>(wrapping: Wrapping) -> Vec<(Case<H>, [f64; 4])> {
    let users: Vec<Vec<u8>> = (0..12).map(H::user).collect();
    let user = |at: usize| Message::User(&users[at]);
    let names: Vec<String> = (10..30).map(name).collect();
    let meta = H::meta();
    let known: Vec<_> = names.iter().zip(10..).map(|(name, node)| alive(name, node, &meta)).collect();
    let (me, other) = (name(0), name(1));
    let source: Option<SocketAddr> = Some(addr(1));
    let ping = Ping { seq: 77_777, node: me.as_bytes(), source, source_node: other.as_bytes() };
    let of = |kind, packets: &[Vec<Message<'_>>]| Case::new(kind, wrapping, packets);
    vec![
        (
            of("user message, 1.5 per packet", &[vec![user(0)], vec![user(1), user(2)]]),
            [2.0, 15.7, 4.3, 17.6],
        ),
        (of("full of user messages of 100 B", &[(0..12).map(user).collect()]), [15.4, 57.0, 19.3, 75.0]),
        (of("full of known members", &[known]), [62.0, 98.0, 76.0, 118.0]),
        (of("ping, answered", &[vec![Message::Ping(ping)]]), [10.6, 52.0, 14.6, 61.0]),
    ]
}

/// The sequence number of a ping in these outputs.
fn ping_in(out: &Outputs, crypto: &Crypto) -> Option<(SocketAddr, u32)> {
    out.packets.iter().find_map(|(to, bytes)| {
        let mut seq = None;
        let _ = PacketReader::default().read(&mut bytes.to_vec(), crypto, |message| {
            if let Message::Ping(ping) = message {
                seq = Some(ping.seq);
            }
        });
        Some((to, seq?))
    })
}

/// Acks to probes of this member: how long each takes, for so many.
fn acks<H: Subject>(wrapping: Wrapping, iterations: u64) -> Duration {
    let crypto = wrapping.crypto();
    let (mut host, mut out) = (H::make(&crypto), Outputs::default());
    let mut payload = Vec::new();
    encode_ack_payload(&Coordinate::default(), &mut payload);
    // Probes are a day apart.
    let (mut now, mut total, mut done) = (NOW, Duration::ZERO, 0);
    while done < iterations {
        now += Duration::from_secs(86_400);
        host.tick(now, &mut out);
        let ping = ping_in(&out, &crypto);
        out.clear();
        let Some((from, seq)) = ping else { continue };
        let mut packet = wrapping.packet(&[Message::Ack(Ack { seq, payload: Some(&payload) })]);
        now += Duration::from_millis(1);
        let before = Instant::now();
        host.packet(now, from, &mut packet, &mut out);
        total += before.elapsed();
        out.clear();
        done += 1;
    }
    total
}

/// Time of one call in microseconds: the median of many batches.
fn quick(mut work: impl FnMut()) -> f64 {
    const BATCH: u32 = 300;
    let batches = (0..41).map(|_| {
        let before = Instant::now();
        (0..BATCH).for_each(|_| work());
        before.elapsed() / BATCH
    });
    micros(measure::median(batches.collect()))
}

fn packet_table<H: Subject>() {
    println!("CPU per received packet, us: {} (memberlist's; how many times as much)\n", H::NAME);
    println!("| packet | plain | LZW | encrypted | encrypted LZW |\n|---|---|---|---|---|");
    let mut rows: Vec<String> = Vec::new();
    for (column, wrapping) in WRAPPINGS.into_iter().enumerate() {
        let mut line = 0;
        for (mut case, theirs) in cases::<H>(wrapping) {
            let ours = quick(|| case.receive());
            let theirs = theirs[column];
            if column == 0 {
                rows.push(format!("| {} ({} B) |", case.kind, case.packets[0].len()));
            }
            let _ = write!(rows[line], " {ours:.2} ({theirs:.1}; {:.0}x) |", theirs / ours);
            line += 1;
        }
        if column == 0 {
            rows.push("| ack, of a probe |".to_owned());
        }
        let batches = (0..11).map(|_| acks::<H>(wrapping, 100) / 100).collect();
        let _ = write!(rows[line], " {:.2} |", micros(measure::median(batches)));
    }
    println!("{}\n", rows.join("\n"));
}

fn receive(c: &mut Criterion) {
    for wrapping in WRAPPINGS {
        let mut group = c.benchmark_group(format!("gossip_fanout/receive/{}", wrapping.name));
        group
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1))
            .sample_size(30);
        for (mut case, _) in cases::<Bare>(wrapping) {
            group.bench_function(case.kind, |b| b.iter(|| case.receive()));
        }
        group.bench_function("ack of a probe", |b| {
            b.iter_custom(|iterations| acks::<Bare>(wrapping, iterations));
        });
        group.finish();
    }
}

criterion_group!(benches, receive);

fn main() {
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let largest = std::env::var("TRIBUNE_FANOUT_LARGEST").ok().and_then(|text| text.parse().ok());
    fan_out(largest.unwrap_or(if measuring { 10_000 } else { 16 }));
    if measuring {
        packet_table::<Bare>();
        packet_table::<Pool>();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
