//! Random values come back as they were, and random bytes never do harm.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::super::codec::frame::{self, Frames, RequestHeader};
use super::super::codec::msgpack::Scanner;
use super::super::codec::{Cursor, Unpack, from_bytes, to_bytes};
use super::super::shapes::*;
use crate::endpoints::decode::records::RegisterRequest;
use crate::state::record::{Check, Indexes, KvEntry, Node, Service, Weights};

fn indexes() -> impl Strategy<Value = Indexes> {
    any::<(u64, u64)>().prop_map(|(create_index, modify_index)| Indexes { create_index, modify_index })
}

fn entry() -> impl Strategy<Value = KvEntry> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..80).prop_map(Bytes::from);
    (bytes(), bytes(), any::<(u64, u64)>(), prop::option::of("[a-f0-9]{36}"), indexes()).prop_map(
        |(key, value, (flags, lock_index), session, indexes)| KvEntry {
            key,
            value,
            flags,
            lock_index,
            session: session.map(Into::into),
            indexes,
        },
    )
}

fn texts() -> impl Strategy<Value = Option<std::collections::BTreeMap<String, String>>> {
    prop::option::of(prop::collection::btree_map(".{0,40}", ".{0,40}", 0..20))
}

fn node() -> impl Strategy<Value = Node> {
    (".{0,300}", ".*", texts(), texts(), indexes()).prop_map(
        |(node, address, meta, tagged_addresses, indexes)| Node {
            node: node.into(),
            address,
            meta,
            tagged_addresses,
            indexes,
            ..Node::default()
        },
    )
}

fn service() -> impl Strategy<Value = Service> {
    (".*", prop::collection::vec(".*", 0..20), any::<(i64, i64, i64)>(), texts(), indexes()).prop_map(
        |(name, tags, (port, passing, warning), meta, indexes)| Service {
            service: name.as_str().into(),
            id: name.into(),
            tags,
            port,
            weights: Weights { passing, warning },
            meta,
            indexes,
            ..Service::default()
        },
    )
}

fn check() -> impl Strategy<Value = Check> {
    (".*", ".*", any::<i64>(), prop::collection::vec(".*", 0..3)).prop_map(
        |(name, output, interval, service_tags)| {
            let mut check = Check { name, output, service_tags, ..Check::default() };
            check.definition.interval = interval;
            check
        },
    )
}

proptest! {
    #[test]
    fn records_come_back(
        entries in prop::collection::vec(entry(), 0..20),
        node in node(),
        service in service(),
        checks in prop::collection::vec(check(), 0..4),
    ) {
        let meta = ReplyMeta { index: u64::MAX, known_leader: true, last_contact: -1, ..ReplyMeta::default() };
        let reply = Reply { common: meta.clone(), own: DirEntries { entries } };
        prop_assert_eq!(&from_bytes::<Reply<DirEntries>>(&to_bytes(&reply)).unwrap(), &reply);

        let register = RegisterRequest {
            node: Node { indexes: Indexes::default(), datacenter: String::new(), ..node.clone() },
            service: Some(service.clone()),
            check: checks.first().cloned(),
            checks: checks.clone(),
            ..RegisterRequest::default()
        };
        prop_assert_eq!(&from_bytes::<RegisterRequest>(&to_bytes(&register)).unwrap(), &register);

        let (node, service) = (Arc::new(node), Arc::new(service));
        let flat = ServiceNode {
            node: Arc::new(Node { indexes: Indexes::default(), ..Node::clone(&node) }),
            service: Arc::clone(&service),
        };
        prop_assert_eq!(&from_bytes::<ServiceNode>(&to_bytes(&flat)).unwrap(), &flat);

        let checks = checks.into_iter().map(Arc::new).collect();
        let nodes = vec![CheckServiceNode { checks, node, service }];
        let reply = Reply { common: meta, own: CheckServiceNodes { nodes } };
        prop_assert_eq!(&from_bytes::<Reply<CheckServiceNodes>>(&to_bytes(&reply)).unwrap(), &reply);
    }

    #[test]
    fn junk_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fn read<T: Unpack>(bytes: &[u8]) {
            let _ = from_bytes::<T>(bytes);
        }
        read::<RequestHeader>(&bytes);
        read::<RegisterRequest>(&bytes);
        read::<TxnRequest>(&bytes);
        read::<SessionApply>(&bytes);
        read::<CoordinateUpdate>(&bytes);
        read::<KeyringRequest>(&bytes);
        read::<AutopilotSetConfig>(&bytes);
        read::<Query<ServiceRequest>>(&bytes);
        read::<Reply<CheckServiceNodes>>(&bytes);
        read::<Reply<NodeServices>>(&bytes);
        read::<Reply<ServiceNodes>>(&bytes);
        read::<OperatorHealth>(&bytes);
        let _ = user_event(&bytes);
        let _ = Frames::new(100).next(&mut BytesMut::from(&*bytes));
    }

    #[test]
    fn changed_messages_do_no_harm(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        for file in ["Catalog_Register_2.req.bin", "Health_ServiceNodes_nonempty.resp.bin", "Txn_Apply.req.bin"] {
            let mut bytes = super::recorded(file);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if cut {
                bytes.truncate(at);
            }
            let _ = Frames::new(1 << 20).next(&mut BytesMut::from(&*bytes));
            let mut cursor = Cursor::new(&bytes);
            // Behind the header, if that is still one.
            if cursor.skip().is_ok() {
                let _ = RegisterRequest::unpack(&mut cursor.clone());
                let _ = Reply::<CheckServiceNodes>::unpack(&mut cursor.clone());
                let _ = TxnRequest::unpack(&mut cursor);
            }
        }
    }

    /// However the bytes come in, the same frames come out.
    #[test]
    fn frames_are_cut_anywhere(sizes in prop::collection::vec(1_usize..50, 1..60)) {
        let mut all = super::recorded("Catalog_NodeServices.resp.bin");
        all.extend(frame::pack(&RequestHeader { seq: 7, service_method: "Status.Ping".into() }, &()));
        all.extend(super::recorded("KVS_Apply_set.req.bin"));
        let whole = |limit| {
            let (mut buffer, mut frames, mut found) = (BytesMut::from(&*all), Frames::new(limit), Vec::new());
            while let Some(frame) = frames.next(&mut buffer).unwrap() {
                found.push(frame);
            }
            assert!(frames.is_idle(&buffer));
            found
        };
        let want = whole(4_096);
        prop_assert_eq!(want.len(), 3);
        let (mut buffer, mut frames, mut found, mut rest) = (BytesMut::new(), Frames::new(4_096), Vec::new(), &*all);
        for size in sizes.iter().cycle() {
            let (some, more) = rest.split_at(rest.len().min(*size));
            buffer.extend_from_slice(some);
            rest = more;
            while let Some(frame) = frames.next(&mut buffer).unwrap() {
                found.push(frame);
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(found, want);
    }
}

#[test]
fn lengths_are_bounded_before_the_bytes_are_here() {
    let mut scanner = Scanner::default();
    assert!(scanner.advance(&[0xdb, 0x7f, 0xff, 0xff, 0xff], 1_000).is_err());
    assert!(Scanner::default().advance(&[0xdd, 0xff, 0xff, 0xff, 0xff], 1_000).is_err());
    assert_eq!(Scanner::default().advance(&[0xda, 0, 3, b'a'], 1_000).unwrap(), None);
    // A list of empty structs must not take much more memory than its bytes.
    let mut list = vec![0xdd, 0, 0x10, 0, 0];
    list.resize(5 + 0x0010_0000, 0x80);
    assert!(from_bytes::<Vec<Check>>(&list).is_err());
    assert!(from_bytes::<Vec<u64>>(&[0xdd, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
}

#[test]
fn reading_is_lenient() {
    // A struct as an array of its fields in order, text as str8 and bin8, nil for anything, unknown keys.
    let array = [0x94, 0xd9, 3, b'd', b'c', b'1', 0xc0, 0xa3, b's', b'e', b't', 0xc4, 1, b't'];
    let request: KvsRequest = from_bytes(&array).unwrap();
    assert_eq!((&*request.datacenter, &*request.op, &*request.token), ("dc1", "set", "t"));
    let map = [0x82, 0xa1, b'x', 0x93, 1, 0x80, 0xc0, 0xa2, b'O', b'p', 0xc0];
    assert_eq!(from_bytes::<KvsRequest>(&map).unwrap(), KvsRequest::default());
    assert_eq!(from_bytes::<KvsRequest>(&[0xc0]).unwrap(), KvsRequest::default());
    assert!(from_bytes::<KvsRequest>(&[0x81, 0xa2, b'O', b'p', 7]).is_err());
    assert!(String::unpack(&mut Cursor::new(&[])).is_err());
}

#[test]
fn times() {
    let zero = [vec![0xaf, 1], vec![0; 12], vec![0xff, 0xff]].concat();
    assert_eq!(to_bytes(&GoTime::default()), zero);
    let time = GoTime::from_millis(1_795_281_090_642);
    assert_eq!(from_bytes::<GoTime>(&to_bytes(&time)).unwrap(), time);
    assert_eq!(time.to_millis(), 1_795_281_090_642);
    assert_eq!(GoTime::default().to_millis(), 0);
    assert_eq!(from_bytes::<GoTime>(&[0xc0]).unwrap(), GoTime::default());
    assert!(from_bytes::<GoTime>(&[0xa1, 1]).is_err());
}
