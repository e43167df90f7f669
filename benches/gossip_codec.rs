//! What the gossip wire costs per packet: reading and writing the packets that pools really exchange.
//!
//! `cargo bench --bench gossip_codec`. The `weezl` crate is measured beside our LZW as the reference.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on ends")]
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use tribune::gossip::wire::serf::{Join, SerfMessage, UserEvent};
use tribune::gossip::wire::{
    Ack, Alive, Crypto, Keyring, Message, OUR_VERSIONS, PacketReader, PacketWriter, Ping, PushPull,
    PushPullNode, StreamMessage, StreamReader, encode_stream,
};

fn plain() -> Crypto {
    Crypto::plain()
}

fn encrypted() -> Crypto {
    Crypto::new(Keyring::of([[7; 32]]).unwrap(), true, true)
}

/// A packet of these messages.
fn packet(messages: &[Message<'_>], crc: bool, compress: bool, crypto: &Crypto) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = PacketWriter::default();
    let mut builder = writer.begin(&mut out, 65_000, crypto);
    for message in messages {
        assert!(builder.message(message));
    }
    builder.finish(crc, compress, &mut ChaCha12Rng::from_seed([3; 32]));
    out
}

const META: &[u8] = b"\xff\x84\xa4role\xa4node\xa2dc\xa3dc1\xa7segment\xa0\xa3vsn\xa12";

fn alive(at: u16, name: &str) -> Message<'_> {
    let addr = SocketAddr::from(([10, 0, 1, 7], 8_000 + at));
    Message::Alive(Alive {
        incarnation: 3,
        node: name.as_bytes(),
        addr: Some(addr),
        meta: META,
        versions: Some(OUR_VERSIONS),
    })
}

fn read(reader: &mut PacketReader, crypto: &Crypto, packet: &[u8], buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(packet);
    let report = reader.read(buffer, crypto, |message| {
        black_box(message);
    });
    assert!(report.is_ok_and(|report| report.malformed == 0));
}

fn packets(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    let (mut reader, mut buffer) = (PacketReader::default(), Vec::new());
    let mut event = Vec::new();
    UserEvent { ltime: 5, name: b"deploy", payload: Some(b"version 1.2.3"), coalesce: false }
        .encode(&mut event);
    let user = [Message::User(&event)];
    let names: Vec<String> = (0..40).map(|at| format!("node-{at:04}.example")).collect();
    let alives: Vec<Message<'_>> = (0..).zip(&names).map(|(at, name)| alive(at, name)).collect();
    let ping = Message::Ping(Ping {
        seq: 81_234,
        node: b"node-0001.example",
        source: Some(SocketAddr::from(([10, 0, 1, 7], 8_301))),
        source_node: b"node-0002.example",
    });

    // Each figure includes copying the packet, as the buffer of a socket would be written.
    let cases = [
        ("user", packet(&user, false, false, &plain()), plain()),
        ("user, crc", packet(&user, true, false, &plain()), plain()),
        ("user, encrypted", packet(&user, false, false, &encrypted()), encrypted()),
        ("ping", packet(&[ping], false, false, &plain()), plain()),
        ("ping, encrypted", packet(&[ping], false, false, &encrypted()), encrypted()),
        ("12 alive, crc", packet(&alives[..12], true, false, &plain()), plain()),
        ("12 alive, crc, encrypted", packet(&alives[..12], true, false, &encrypted()), encrypted()),
        ("11 alive, compressed", packet(&alives[..11], false, true, &plain()), plain()),
    ];
    for (name, packet, crypto) in &cases {
        group.bench_function(format!("{name} ({} bytes)", packet.len()), |b| {
            b.iter(|| read(&mut reader, crypto, packet, &mut buffer));
        });
    }
    group.bench_function("serf user event", |b| {
        b.iter(|| SerfMessage::decode(black_box(&event)));
    });
    group.finish();

    let mut group = c.benchmark_group("write");
    let mut writer = PacketWriter::default();
    let mut rng = ChaCha12Rng::from_seed([5; 32]);
    let (mut out, plain, encrypted) = (Vec::new(), plain(), encrypted());
    let mut write = |messages: &[Message<'_>], crc, compress, crypto: &Crypto| {
        out.clear();
        let mut builder = writer.begin(&mut out, 1_400, crypto);
        for message in messages {
            builder.message(black_box(message));
        }
        builder.finish(crc, compress, &mut rng);
        black_box(&out);
    };
    group.bench_function("ping", |b| b.iter(|| write(&[ping], false, false, &plain)));
    group.bench_function("ping, encrypted", |b| b.iter(|| write(&[ping], false, false, &encrypted)));
    let ack = Message::Ack(Ack { seq: 81_234, payload: Some(&[1; 130]) });
    group.bench_function("ack", |b| b.iter(|| write(&[ack], false, false, &plain)));
    let mut intent = Vec::new();
    Join { ltime: 7, node: b"node-0001.example" }.encode(&mut intent);
    let both = [ping, Message::User(&intent)];
    group.bench_function("ping and intent", |b| b.iter(|| write(&both, false, false, &plain)));
    group.bench_function("12 alive, crc", |b| b.iter(|| write(&alives[..12], true, false, &plain)));
    group.bench_function("11 alive, compressed", |b| b.iter(|| write(&alives[..11], false, true, &plain)));
    group.finish();
}

fn lzw(c: &mut Criterion) {
    let names: Vec<String> = (0..11).map(|at| format!("node-{at:04}.example")).collect();
    let alives: Vec<Message<'_>> = (0..).zip(&names).map(|(at, name)| alive(at, name)).collect();
    let text = packet(&alives, false, false, &plain());
    let packed = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8).encode(&text).unwrap();
    let mut group = c.benchmark_group("weezl");
    let mut out = vec![0; 65_536];
    let mut decoder = weezl::decode::Decoder::new(weezl::BitOrder::Lsb, 8);
    group.bench_function(format!("decode {} to {}, kept", packed.len(), text.len()), |b| {
        b.iter(|| {
            decoder.reset();
            let (mut read, mut written) = (0, 0);
            while !decoder.has_ended() {
                let done = decoder.decode_bytes(&packed[read..], &mut out[written..]);
                (read, written) = (read + done.consumed_in, written + done.consumed_out);
            }
            assert_eq!((read, written), (packed.len(), text.len()));
        });
    });
    let mut encoder = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8);
    group.bench_function(format!("encode {} to {}, kept", text.len(), packed.len()), |b| {
        b.iter(|| {
            encoder.reset();
            encoder.finish();
            let (mut read, mut written) = (0, 0);
            while written < packed.len() {
                let done = encoder.encode_bytes(&text[read..], &mut out[written..]);
                (read, written) = (read + done.consumed_in, written + done.consumed_out);
            }
            assert_eq!((read, written), (text.len(), packed.len()));
        });
    });
    group.finish();
}

fn streams(c: &mut Criterion) {
    let mut group = c.benchmark_group("stream");
    group.sample_size(20);
    let nodes = (0..1_000_u16).map(|at| PushPullNode {
        name: format!("node-{at:04}.example").into(),
        addr: Some(SocketAddr::from(([10, 0, 1, 7], 8_000 + at))),
        meta: META.into(),
        incarnation: 3,
        versions: Some(OUR_VERSIONS),
        ..PushPullNode::default()
    });
    let message = StreamMessage::PushPull(PushPull {
        join: false,
        nodes: nodes.collect(),
        user_state: vec![7; 30_000].into(),
    });
    let mut rng = ChaCha12Rng::from_seed([5; 32]);
    for (name, compress, crypto) in
        [("plain", false, plain()), ("compressed", true, plain()), ("encrypted", false, encrypted())]
    {
        let mut bytes = Vec::new();
        encode_stream(&message, compress, &crypto, &mut rng, &mut bytes);
        group.bench_function(format!("read 1,000 nodes, {name} ({} bytes)", bytes.len()), |b| {
            b.iter(|| {
                let mut reader = StreamReader::new(crypto.clone());
                let mut message = None;
                for chunk in bytes.chunks(16_384) {
                    message = reader.push(chunk).unwrap();
                }
                assert!(message.is_some());
                message
            });
        });
        group.bench_function(format!("write 1,000 nodes, {name}"), |b| {
            b.iter(|| {
                bytes.clear();
                encode_stream(&message, compress, &crypto, &mut rng, &mut bytes);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, packets, lzw, streams);
criterion_main!(benches);
