//! Any message, encoded and decoded, is itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use crate::gossip::coordinate::Coordinate;
use crate::gossip::wire::event::ConsulEvent;
use crate::gossip::wire::serf::{
    EVENT_SLOTS, Filter, Join, KeyResponse, Leave, MAX_META, MemberRecord, Query, QueryResponse, Relay,
    SerfMessage, SerfState, StoredEvent, StoredEvents, UserEvent, decode_ack_payload, decode_key_request,
    decode_tags, encode_ack_payload, encode_key_request, encode_tags,
};
use crate::gossip::wire::{
    Ack, Alive, Claim, Crypto, IndirectPing, Keyring, Message, NodeState, PacketReader, PacketWriter, Ping,
    PushPull, PushPullNode, StreamMessage, StreamReader, Versions, encode_stream,
};

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..8), vec(any::<u8>(), 28..36), vec(any::<u8>(), 250..260)]
}

fn ip() -> impl Strategy<Value = IpAddr> {
    any::<IpAddr>().prop_map(|ip| ip.to_canonical())
}

fn addr() -> impl Strategy<Value = SocketAddr> {
    (ip(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn source() -> impl Strategy<Value = Option<SocketAddr>> {
    option::of((ip(), 1..=u16::MAX).prop_map(|(ip, port)| SocketAddr::new(ip, port)))
}

fn payload() -> impl Strategy<Value = Option<Vec<u8>>> {
    option::of(vec(any::<u8>(), 0..300))
}

/// Everything a message of a datagram may be made from.
#[derive(Debug, Clone)]
struct Parts {
    kind: u8,
    number: u32,
    names: [Vec<u8>; 2],
    addr: SocketAddr,
    source: Option<SocketAddr>,
    payload: Option<Vec<u8>>,
    flag: bool,
    versions: Option<Versions>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let versions = option::of(any::<[u8; 6]>());
    (0..8_u8, any::<u32>(), [name(), name()], addr(), source(), payload(), any::<bool>(), versions).prop_map(
        |(kind, number, names, addr, source, payload, flag, versions)| Parts {
            kind,
            number,
            names,
            addr,
            source,
            payload,
            flag,
            versions,
        },
    )
}

impl Parts {
    fn message(&self) -> Message<'_> {
        let [node, other] = &self.names;
        let claim = Claim { incarnation: self.number, node, from: other };
        match self.kind {
            0 => Message::Ping(Ping { seq: self.number, node, source: self.source, source_node: other }),
            1 => Message::IndirectPing(IndirectPing {
                seq: self.number,
                target: self.addr,
                node,
                nack: self.flag,
                source: self.source,
                source_node: other,
            }),
            2 => Message::Ack(Ack { seq: self.number, payload: self.payload.as_deref() }),
            3 => Message::Nack(self.number),
            4 => Message::Suspect(claim),
            5 => Message::Dead(claim),
            6 => Message::Alive(Alive {
                incarnation: self.number,
                node,
                addr: Some(self.addr),
                meta: other,
                versions: self.versions,
            }),
            _ => Message::User(node),
        }
    }
}

fn crypto() -> impl Strategy<Value = Crypto> {
    let size = prop_oneof![Just(16_usize), Just(24), Just(32)];
    (option::of(size), prop_oneof![Just(&b""[..]), Just(&b"label"[..])]).prop_map(|(size, label)| {
        let key = size.map(|size| vec![5; size]);
        Crypto::new(Keyring::of(key).unwrap(), true, true).with_label(label)
    })
}

fn node() -> impl Strategy<Value = PushPullNode> {
    let state = prop_oneof![
        Just(NodeState::Alive),
        Just(NodeState::Suspect),
        Just(NodeState::Dead),
        Just(NodeState::Left)
    ];
    let versions = option::of(any::<[u8; 6]>());
    (vec(any::<u8>(), 1..40), option::of(addr()), name(), any::<u32>(), state, versions).prop_map(
        |(name, addr, meta, incarnation, state, versions)| PushPullNode {
            name: name.into(),
            // Without an address there is no port to keep either.
            addr,
            meta: meta.into(),
            incarnation,
            state,
            versions,
        },
    )
}

fn stream_message() -> impl Strategy<Value = StreamMessage> {
    let all = (any::<bool>(), vec(node(), 0..20), vec(any::<u8>(), 0..2_000));
    prop_oneof![
        (any::<u32>(), name()).prop_map(|(seq, node)| StreamMessage::Ping { seq, node: node.into() }),
        any::<u32>().prop_map(|seq| StreamMessage::Ack { seq }),
        vec(any::<u8>(), 0..2_000).prop_map(|bytes| StreamMessage::User(Bytes::from(bytes))),
        ".*".prop_map(StreamMessage::Error),
        all.prop_map(|(join, nodes, state)| StreamMessage::PushPull(PushPull {
            join,
            nodes,
            user_state: state.into()
        })),
    ]
}

proptest! {
    #[test]
    fn messages(parts in parts()) {
        let message = parts.message();
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        prop_assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn packets(all in vec(parts(), 1..20), crypto in crypto(), crc: bool, compress: bool, seed: u64) {
        let mut out = Vec::new();
        let mut writer = PacketWriter::default();
        let mut builder = writer.begin(&mut out, 1_400, &crypto);
        for parts in &all {
            prop_assert!(builder.message(&parts.message()));
        }
        builder.finish(crc, compress, &mut ChaCha12Rng::seed_from_u64(seed));
        let mut at = 0;
        let report = PacketReader::default().read(&mut out, &crypto, |message| {
            assert_eq!(message, all[at].message());
            at += 1;
        });
        prop_assert_eq!(report.map(|report| (report.messages, report.malformed)), Ok((all.len(), 0)));
    }

    #[test]
    fn streams(message in stream_message(), crypto in crypto(), compress: bool, seed: u64, chunk in 1..500_usize) {
        let mut out = Vec::new();
        encode_stream(&message, compress, &crypto, &mut ChaCha12Rng::seed_from_u64(seed), &mut out);
        let mut reader = StreamReader::new(crypto);
        let mut found = None;
        for piece in out.chunks(chunk) {
            prop_assert!(found.is_none());
            found = reader.push(piece).unwrap();
        }
        prop_assert_eq!(found, Some(message));
    }

    #[test]
    fn serf(
        numbers in any::<[u64; 3]>(),
        small in any::<[u32; 2]>(),
        names in vec(name(), 3),
        lists in (vec(name(), 0..20), vec(name(), 0..20)),
        payload in payload(),
        addr in option::of(addr()),
        flag: bool,
        relay_factor: u8,
        nanoseconds in 0..=i64::MAX,
    ) {
        let [one, two, three] = [&names[0][..], &names[1], &names[2]];
        let payload = payload.as_deref();
        let strings: Vec<&[u8]> = lists.0.iter().map(Vec::as_slice).collect();
        let mut slots: BTreeMap<usize, StoredEvents<'_>> = BTreeMap::new();
        for (at, name) in lists.1.iter().enumerate() {
            let ltime = numbers[1].wrapping_add(at as u64);
            let event = StoredEvent { name, payload };
            let slot = usize::try_from(ltime % EVENT_SLOTS as u64).unwrap();
            slots.insert(slot, StoredEvents { ltime, events: vec![event; 1 + at % 3] });
        }
        let mut relayed = Vec::new();
        Join { ltime: numbers[0], node: one }.encode(&mut relayed);
        let filters = vec![
            Filter::Nodes(strings.clone()),
            Filter::Tag { tag: one, expr: two },
            Filter::Unreadable(b"\x07unknown"),
        ];
        let messages = [
            SerfMessage::Leave(Leave { ltime: numbers[0], node: one, prune: flag }),
            SerfMessage::Join(Join { ltime: numbers[0], node: one }),
            SerfMessage::UserEvent(UserEvent { ltime: numbers[0], name: one, payload, coalesce: flag }),
            SerfMessage::State(SerfState {
                ltime: numbers[0],
                status_ltimes: strings.iter().map(|name| (*name, numbers[2])).collect(),
                left_members: strings.clone(),
                event_ltime: numbers[1],
                events: slots.into_values().collect(),
                event_slots: EVENT_SLOTS,
                query_ltime: numbers[2],
            }),
            SerfMessage::Query(Query {
                ltime: numbers[0],
                id: small[0],
                source: addr,
                source_node: one,
                filters: if flag { filters } else { Vec::new() },
                flags: small[1],
                relay_factor,
                timeout: Duration::from_nanos(nanoseconds.unsigned_abs()),
                name: two,
                payload,
            }),
            SerfMessage::QueryResponse(QueryResponse {
                ltime: numbers[0],
                id: small[0],
                from: one,
                flags: small[1],
                payload,
            }),
            SerfMessage::Relay(Relay { to: addr, name: three, message: &relayed }),
        ];
        for message in messages {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            prop_assert_eq!(SerfMessage::decode(&bytes), Ok(message));
        }

        let mut bytes = Vec::new();
        encode_key_request(one, &mut bytes);
        prop_assert_eq!(decode_key_request(&bytes), Ok(one));
        let response = KeyResponse { result: flag, message: one, keys: strings, primary: two };
        bytes.clear();
        response.encode(&mut bytes);
        prop_assert_eq!(KeyResponse::decode(&bytes), Ok(response));
        let event = ConsulEvent {
            id: one,
            name: two,
            payload: three,
            node_filter: two,
            service_filter: three,
            tag_filter: one,
            version: 1,
        };
        bytes.clear();
        event.encode(&mut bytes);
        prop_assert_eq!(ConsulEvent::decode(&bytes), Ok(event));
    }

    #[test]
    fn tags_and_members(
        tags in btree_map(".{0,20}", ".{0,40}", 0..12),
        name in name(),
        addr in option::of(addr()),
        status: u8,
        versions: [u8; 6],
    ) {
        let mut meta = b"before".to_vec();
        if encode_tags(&tags, &mut meta).is_ok() {
            prop_assert!(meta.len() - 6 <= MAX_META);
            prop_assert_eq!(decode_tags(&meta[6..]), Ok(tags.clone()));
        } else {
            prop_assert_eq!(&meta, b"before");
        }
        let record = MemberRecord { name: &name, addr, tags, status, versions };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        prop_assert_eq!(MemberRecord::decode(&bytes), Ok(record));
    }

    #[test]
    fn coordinates(vec: [f64; 8], error: f64, adjustment: f64, height: f64) {
        let coordinate = Coordinate { vec, error, adjustment, height };
        let mut bytes = Vec::new();
        encode_ack_payload(&coordinate, &mut bytes);
        // Not-a-number included, so bits are compared.
        let bits = |of: &Coordinate| {
            (of.vec.map(f64::to_bits), [of.error, of.adjustment, of.height].map(f64::to_bits))
        };
        let found = decode_ack_payload(&bytes).unwrap().unwrap();
        prop_assert_eq!(bits(&found), bits(&coordinate));
        // Another version, another number of dimensions, nothing.
        bytes[0] = 2;
        prop_assert_eq!(decode_ack_payload(&bytes), Ok(None));
        prop_assert_eq!(decode_ack_payload(b"\x01\x81\xa3Vec\x91\x00"), Ok(None));
        prop_assert_eq!(decode_ack_payload(b""), Ok(None));
    }
}

#[test]
fn meta_without_the_mark_is_a_role() {
    assert_eq!(decode_tags(b"web"), Ok(BTreeMap::from([("role".to_owned(), "web".to_owned())])));
    assert_eq!(decode_tags(b"\xff\x80"), Ok(BTreeMap::new()));
    let large = BTreeMap::from([("k".to_owned(), "v".repeat(507))]);
    let mut out = Vec::new();
    assert!(encode_tags(&large, &mut out).is_err() && out.is_empty());
    let fits = BTreeMap::from([("k".to_owned(), "v".repeat(505))]);
    assert_eq!(encode_tags(&fits, &mut out).map(|()| out.len()), Ok(MAX_META));
}
