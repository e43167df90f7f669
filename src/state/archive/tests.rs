use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::container::hex;
use super::*;
use crate::state::kv::KvRow;
use crate::state::record::{
    CheckDefinition, Coordinate, Expose, ExposePath, Indexes, MeshGateway, ProxyConfig, ServiceAddress,
    ServiceCheckRef, ServiceConnect, SessionBehavior, Upstream, Weights,
};
use crate::state::store::{Change, MemoryStore, Table, WriteStore};
use crate::state::view::{NodeEntry, ServiceEntry, TableIndexes, fold};

const CONSUL: &[u8] = include_bytes!("../testdata/consul-1.8.7.snap");
const CONSUL_DECODED: &str = include_str!("../testdata/consul-1.8.7.json");

type Records = Result<(ArchiveMeta, Vec<ArchiveRecord>), ArchiveError>;

fn read_all(archive: &[u8]) -> Records {
    let mut reader = ArchiveReader::open(Cursor::new(archive))?;
    let mut records = Vec::new();
    reader.for_each(|record| {
        records.push(record);
        Ok::<(), ArchiveError>(())
    })?;
    Ok((reader.meta().clone(), records))
}

fn write_all(view: &View, store: &MemoryStore) -> Vec<u8> {
    let origin = ArchiveOrigin {
        term: 2,
        servers: vec![ArchiveServer { id: "n1".into(), address: "127.0.0.1:8300".into(), voter: true }],
        configuration_index: 1,
        saved_ms: 1_795_281_122_114,
    };
    write_archive(Vec::new(), &origin, view, store).unwrap()
}

/// The files of an archive, to be put together again differently.
fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(entry.path().unwrap().to_str().unwrap().to_owned(), bytes);
    }
    files
}

fn pack(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(gzip);
    for (name, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn sums(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut text = String::new();
    for (name, bytes) in entries {
        let sum = hex(&Sha256::digest(bytes));
        text.extend([&sum, "  ", name, "\n"]);
    }
    text.into_bytes()
}

/// An archive around any `state.bin`, sums and sizes right.
fn archive_of(state: &[u8]) -> Vec<u8> {
    let meta = json!({"Version": 1, "ID": "2-7-1", "Index": 7, "Term": 2, "Size": state.len()}).to_string();
    let entries = [("meta.json", meta.as_bytes()), ("state.bin", state)];
    pack(&[entries[0], entries[1], ("SHA256SUMS", &sums(&entries))])
}

#[test]
fn a_captured_archive_of_consul_decodes_fully() {
    let (meta, records) = read_all(CONSUL).unwrap();
    assert_eq!((meta.id.as_str(), meta.index, meta.term), ("2-77-1795281122114", 77, 2));
    assert_eq!(meta.servers.len(), 1);
    assert!(meta.servers[0].voter);

    let decoded: Value = serde_json::from_str(CONSUL_DECODED).unwrap();
    let wanted = decoded["records"].as_array().unwrap();
    // The chunking state at the end is empty and yields nothing.
    assert_eq!(records.len(), wanted.len() - 1);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for (record, wanted) in records.iter().zip(wanted) {
        let fields = &wanted["record"];
        let case = format!("{wanted}");
        match record {
            ArchiveRecord::Node(node) => {
                assert_eq!(*node.node, text(&fields["Node"]), "{case}");
                assert_eq!(node.id, text(&fields["ID"]), "{case}");
                assert_eq!(serde_json::to_value(&node.meta).unwrap(), fields["NodeMeta"], "{case}");
                let tagged = serde_json::to_value(&node.tagged_addresses).unwrap();
                assert_eq!(tagged, fields["TaggedAddresses"], "{case}");
                assert_eq!(json!(node.indexes.modify_index), fields["ModifyIndex"], "{case}");
            }
            ArchiveRecord::Service { node, service } => {
                assert_eq!(**node, text(&fields["Node"]), "{case}");
                same(&serde_json::to_value(service).unwrap(), &fields["Service"], &case);
            }
            ArchiveRecord::Check(check) => {
                same(&serde_json::to_value(check).unwrap(), &fields["Check"], &case);
            }
            ArchiveRecord::Coordinate(found) => {
                same(&serde_json::to_value(found).unwrap(), &fields[0], &case);
            }
            ArchiveRecord::Autopilot(found) => {
                same(&serde_json::to_value(found).unwrap(), fields, &case);
            }
            ArchiveRecord::Session(found) => {
                same(&serde_json::to_value(found).unwrap(), fields, &case);
            }
            ArchiveRecord::Kv(found) => {
                assert_eq!(found.key, text(&fields["Key"]), "{case}");
                assert_eq!(json!(found.indexes.create_index), fields["CreateIndex"], "{case}");
                assert_eq!(json!(found.lock_index), fields["LockIndex"], "{case}");
                assert_eq!(json!(found.flags), fields["Flags"], "{case}");
                assert_eq!(found.session.as_deref().unwrap_or_default(), text(&fields["Session"]), "{case}");
                match &fields["Value"] {
                    Value::Object(bytes) => assert_eq!(hex(&found.value), text(&bytes["hex"]), "{case}"),
                    value => assert_eq!(found.value, text(value), "{case}"),
                }
            }
            ArchiveRecord::Tombstone { key, index } => {
                assert_eq!(*key, text(&fields["Key"]), "{case}");
                assert_eq!(json!(index), fields["ModifyIndex"], "{case}");
            }
            ArchiveRecord::Index { key, index } => {
                assert_eq!(key.name(), text(&fields["Key"]), "{case}");
                assert_eq!(json!(index), fields["Value"], "{case}");
            }
            ArchiveRecord::LockDelay { .. } => panic!("Consul writes none: {case}"),
            ArchiveRecord::Other { kind, value } => {
                assert_eq!(json!(kind.code()), wanted["type"], "{case}");
                assert!(!value.is_empty(), "{case}");
            }
        }
    }
}

/// Every field of our row must be the field of Consul's record; absent lists and nulls are one.
fn same(ours: &Value, theirs: &Value, case: &str) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, value) in ours {
                if key == "indexes" || key == "Indexes" {
                    assert_eq!(value["CreateIndex"], theirs["CreateIndex"], "{case}");
                    assert_eq!(value["ModifyIndex"], theirs["ModifyIndex"], "{case}");
                } else {
                    same(value, theirs.get(key).unwrap_or(&Value::Null), &format!("{key} of {case}"));
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{case}");
            ours.iter().zip(theirs).for_each(|(ours, theirs)| same(ours, theirs, case));
        }
        (Value::Array(ours), Value::Null) => assert!(ours.is_empty(), "{case}"),
        (Value::Number(ours), Value::Number(theirs)) => {
            // serde_json reads the last digit of a float roughly.
            let (ours, theirs) = (ours.as_f64().unwrap(), theirs.as_f64().unwrap());
            assert!((ours - theirs).abs() <= 1e-15 * theirs.abs(), "{case}: {ours} {theirs}");
        }
        (ours, theirs) => assert_eq!(ours, theirs, "{case}"),
    }
}

#[test]
fn what_cannot_be_stored_is_named() {
    let reader = ArchiveReader::open(Cursor::new(CONSUL)).unwrap();
    let stored = [&RecordKind::STORED[..], &[RecordKind::Intention]].concat();
    let error = reader.refuse_all_but(&stored).unwrap_err().to_string();
    assert!(error.contains("ACL token records (4)"), "{error}");
    assert!(error.contains("config entry records"), "{error}");
    assert!(!error.contains("federation"), "{error}");
    assert!(!error.contains("intention"), "{error}");
}

#[test]
fn damaged_archives_are_refused_in_consuls_words() {
    let good = files(CONSUL);
    let (meta, state, list) = (&good["meta.json"][..], &good["state.bin"][..], &good["SHA256SUMS"][..]);
    let mut bad_state = state.to_vec();
    *bad_state.last_mut().unwrap() ^= 0x55;
    let swapped = |from: &str, to: &str| {
        let meta = String::from_utf8(meta.to_vec()).unwrap().replace(from, to).into_bytes();
        let entries = [("meta.json", &meta[..]), ("state.bin", state)];
        pack(&[entries[0], entries[1], ("SHA256SUMS", &sums(&entries))])
    };
    let mut gzip_junk = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip_junk.write_all(&b"hello".repeat(500)).unwrap();
    let file = "failed to read snapshot file: ";
    let integrity = "failed to read snapshot file: failed checking integrity of snapshot: ";
    let mut junk_tail = state.to_vec();
    junk_tail.extend_from_slice(&[99, 0x80]);
    let cases: Vec<(&str, Vec<u8>, String)> = vec![
        ("empty", vec![], "failed to decompress snapshot: EOF".into()),
        ("junk", b"this is not".to_vec(), "failed to decompress snapshot: gzip: invalid header".into()),
        (
            "cut off",
            CONSUL[..3000].to_vec(),
            format!("{file}failed to read or write snapshot data: unexpected EOF"),
        ),
        (
            "no tar",
            gzip_junk.finish().unwrap(),
            format!("{file}failed reading snapshot: archive/tar: invalid tar header"),
        ),
        (
            "a file too many",
            pack(&[("meta.json", meta), ("state.bin", state), ("x.bin", b"x"), ("SHA256SUMS", list)]),
            format!("{file}unexpected file \"x.bin\" in snapshot"),
        ),
        (
            "no sums",
            pack(&[("meta.json", meta), ("state.bin", state)]),
            format!("{integrity}file missing for \"meta.json\""),
        ),
        (
            "no state",
            pack(&[("meta.json", meta), ("SHA256SUMS", list)]),
            format!("{integrity}hash check failed for \"state.bin\""),
        ),
        (
            "no meta",
            pack(&[("state.bin", state), ("SHA256SUMS", list)]),
            format!("{integrity}hash check failed for \"meta.json\""),
        ),
        (
            "wrong state",
            pack(&[("meta.json", meta), ("state.bin", &bad_state), ("SHA256SUMS", list)]),
            format!("{integrity}hash check failed for \"state.bin\""),
        ),
        (
            "bad line in the sums",
            pack(&[("meta.json", meta), ("state.bin", state), ("SHA256SUMS", b"abc\n")]),
            format!("{integrity}unexpected EOF"),
        ),
        ("nothing inside", pack(&[]), format!("{integrity}file missing for \"meta.json\"")),
        (
            "a later version",
            swapped("\"Version\":1", "\"Version\":2"),
            "Raft error when restoring snapshot: unsupported snapshot version 2".into(),
        ),
        (
            "wrong size",
            swapped("21119", "2"),
            "Raft error when restoring snapshot: failed to write snapshot, size didn't match (21119 != 2)"
                .into(),
        ),
        (
            "unknown record",
            archive_of(&junk_tail),
            "failed to restore snapshot: Unrecognized msg type 99".into(),
        ),
        (
            "half a record",
            archive_of(&state[..state.len() - 3]),
            "failed to restore snapshot: bad chunking state record: unexpected EOF".into(),
        ),
        (
            "empty state",
            archive_of(b""),
            "failed to restore snapshot: bad header record: unexpected EOF".into(),
        ),
    ];
    for (case, archive, wanted) in cases {
        let error = read_all(&archive).expect_err(case).to_string();
        assert_eq!(error, wanted, "{case}");
    }
}

#[test]
fn a_damaged_meta_file_is_refused() {
    let good = files(CONSUL);
    let entries = [("meta.json", &b"{"[..]), ("state.bin", &good["state.bin"][..])];
    let archive = pack(&[entries[0], entries[1], ("SHA256SUMS", &sums(&entries))]);
    let error = read_all(&archive).unwrap_err().to_string();
    assert!(
        error.starts_with("failed to read snapshot file: failed to decode snapshot metadata: "),
        "{error}"
    );
}

#[test]
fn promises_of_great_length_cost_nothing() {
    let header = b"\x81\xa9LastIndex\x07";
    let cases: [(&str, &[u8], &str); 4] = [
        ("a value of 4 GiB", b"\x02\x81\xa5Value\xdb\xff\xff\xff\xff", "longer than 536870912 bytes"),
        ("an array of 4 G items", b"\x06\xdd\xff\xff\xff\xff", "longer than 16777216 bytes"),
        (
            "a large tag list, cut off",
            b"\x00\x81\xa7Service\x81\xa4Tags\xdd\x00\x0f\xff\xff",
            "unexpected EOF",
        ),
        ("no value at all", b"\x02\xc1", "byte 0xc1 starts no msgpack value"),
    ];
    for (case, record, wanted) in cases {
        let error = read_all(&archive_of(&[&header[..], record].concat())).expect_err(case).to_string();
        assert!(error.ends_with(wanted), "{case}: {error}");
    }
    let mut nested =
        [&header[..], b"\x00\x82\xa4Node\xa1n\xa7Service\x81\xa5Proxy\x81\xa6Config\x81\xa1x"].concat();
    nested.extend(std::iter::repeat_n(0x91, 5_000));
    nested.push(0xc0);
    let error = read_all(&archive_of(&nested)).unwrap_err().to_string();
    assert!(error.ends_with("nested deeper than 128 levels"), "{error}");
}

#[test]
fn new_forms_of_msgpack_read_too() {
    let state =
        b"\x81\xa9LastIndex\xcd\x00\x07\x02\x83\xd9\x03Key\xc4\x01k\xa5Value\xc5\x00\x02vv\xa5Flags\xd0\x05";
    let (_, records) = read_all(&archive_of(state)).unwrap();
    let entry = KvEntry { key: "k".into(), value: "vv".into(), flags: 5, ..KvEntry::default() };
    assert_eq!(records, [ArchiveRecord::Kv(entry)]);
}

#[test]
fn the_tar_is_one_stock_consul_takes() {
    let archive = write_all(&View::default(), &MemoryStore::default());
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(&archive[..]).read_to_end(&mut tar).unwrap();
    assert!(tar.ends_with(&[0; 1024]));
    let used = tar.len() - 1024;
    assert_ne!(tar[used - 512..used], [0; 512], "no padding beyond the two closing blocks");
    let names: Vec<String> = {
        let mut archive = tar::Archive::new(&tar[..]);
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    };
    assert_eq!(names, ["meta.json", "state.bin", "SHA256SUMS"]);
    let meta: Value = serde_json::from_slice(&files(&archive)["meta.json"]).unwrap();
    assert_eq!(meta["Peers"], "ka4xMjcuMC4wLjE6ODMwMA==");
    assert_eq!(meta["ID"], "2-0-1795281122114");
}

// ---- random states ----

#[derive(Debug, Clone)]
struct World {
    view: View,
    store: MemoryStore,
    records: Vec<ArchiveRecord>,
}

/// Builds a state from records, and says in which order they must come back.
fn world(index: u64, nodes: Vec<NodeRows>, rest: Rest) -> World {
    let mut view = View { index, ..View::default() };
    let mut entries: BTreeMap<Arc<str>, NodeRows> = BTreeMap::new();
    for rows in nodes {
        entries.insert(fold(&rows.node.node), rows);
    }
    let mut records = Vec::new();
    for (key, until_ms) in &rest.lock_delays {
        view.lock_delays.insert(key.clone(), *until_ms);
        records.push(ArchiveRecord::LockDelay { key: key.clone(), until_ms: *until_ms });
    }
    for (folded, rows) in entries {
        records.push(ArchiveRecord::Node(rows.node.clone()));
        let name = Arc::clone(&rows.node.node);
        let mut entry =
            NodeEntry { node: Arc::new(rows.node), services: OrdMap::new(), checks: OrdMap::new() };
        for service in rows.services {
            entry.services.insert(fold(&service.id), Arc::new(service));
        }
        for mut check in rows.checks {
            check.node = Arc::clone(&name);
            entry.checks.insert(fold(&check.check_id), Arc::new(check));
        }
        for service in entry.services.values() {
            let service = Box::new((**service).clone());
            records.push(ArchiveRecord::Service { node: Arc::clone(&name), service });
        }
        for check in entry.checks.values() {
            records.push(ArchiveRecord::Check(Box::new((**check).clone())));
        }
        view.nodes.insert(folded, Arc::new(entry));
    }
    for coordinate in rest.coordinates {
        let key = (fold(&coordinate.node), Arc::from(coordinate.segment.as_str()));
        view.coordinates.insert(key, Arc::new(coordinate));
    }
    records.extend(view.coordinates.values().map(|found| ArchiveRecord::Coordinate((**found).clone())));
    for session in rest.sessions {
        view.sessions.insert(Arc::clone(&session.id), Arc::new(session));
    }
    records.extend(view.sessions.values().map(|found| ArchiveRecord::Session((**found).clone())));
    let store = MemoryStore::default();
    let mut changes = Vec::new();
    for (key, entry) in &rest.keys {
        changes.push(Change::Put(Table::Kvs, key.clone(), KvRow::from(entry).encode()));
        let mut entry = entry.clone();
        entry.key = Bytes::from(key.clone());
        records.push(ArchiveRecord::Kv(entry));
    }
    for (key, index) in &rest.tombstones {
        changes.push(Change::Put(Table::Tombstones, key.clone(), index.to_le_bytes().to_vec()));
        records.push(ArchiveRecord::Tombstone { key: key.clone().into(), index: *index });
    }
    store.write(&changes).unwrap();
    view.autopilot = rest.autopilot.map(Arc::new);
    records.extend(view.autopilot.iter().map(|config| ArchiveRecord::Autopilot((**config).clone())));
    view.indexes = rest.indexes;
    let tables = [
        (IndexKey::Checks, view.indexes.checks),
        (IndexKey::Coordinates, view.indexes.coordinates),
        (IndexKey::Kvs, view.indexes.kvs),
        (IndexKey::Nodes, view.indexes.nodes),
        (IndexKey::ServiceExtinction, view.indexes.service_extinction),
        (IndexKey::Services, view.indexes.services),
        (IndexKey::Sessions, view.indexes.sessions),
        (IndexKey::Tombstones, view.indexes.tombstones),
    ];
    for (name, index) in rest.services {
        view.services.insert(fold(&name), ServiceEntry { index, ..ServiceEntry::default() });
    }
    let services =
        view.services.iter().map(|(name, entry)| (IndexKey::Service(name.to_string()), entry.index));
    records.extend(
        tables
            .into_iter()
            .chain(services)
            .filter(|(_, index)| *index > 0)
            .map(|(key, index)| ArchiveRecord::Index { key, index }),
    );
    World { view, store, records }
}

#[derive(Debug, Clone)]
struct NodeRows {
    node: Node,
    services: Vec<Service>,
    checks: Vec<Check>,
}

#[derive(Debug, Clone)]
struct Rest {
    coordinates: Vec<NodeCoordinate>,
    sessions: Vec<Session>,
    keys: BTreeMap<Vec<u8>, KvEntry>,
    tombstones: BTreeMap<Vec<u8>, u64>,
    lock_delays: BTreeMap<Bytes, u64>,
    indexes: TableIndexes,
    services: BTreeMap<String, u64>,
    autopilot: Option<AutopilotConfig>,
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-zA-Z0-9._-]{1,40}", "\\PC{0,12}"]
}

fn name() -> impl Strategy<Value = Arc<str>> {
    "[a-zA-Z0-9._-]{1,40}".prop_map(Arc::from)
}

fn free_form() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9)
            .prop_filter("whole floats come back as integers", |f: &f64| f.fract() != 0.0)
            .prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,8}", inner, 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn config() -> impl Strategy<Value = Option<BTreeMap<String, Value>>> {
    prop::option::of(prop::collection::btree_map("[a-z]{1,8}", free_form(), 0..3))
}

fn string_map() -> impl Strategy<Value = Option<BTreeMap<String, String>>> {
    prop::option::of(prop::collection::btree_map(text(), text(), 0..20))
}

fn strings() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(), 0..20)
}

fn indexes() -> impl Strategy<Value = Indexes> {
    any::<(u64, u64)>().prop_map(|(create_index, modify_index)| Indexes { create_index, modify_index })
}

fn gateway() -> impl Strategy<Value = MeshGateway> {
    text().prop_map(|mode| MeshGateway { mode })
}

fn expose() -> impl Strategy<Value = Expose> {
    let path = (any::<(i64, i64, bool)>(), text(), text()).prop_map(|(numbers, path, protocol)| ExposePath {
        listener_port: numbers.0,
        path,
        local_path_port: numbers.1,
        protocol,
        parsed_from_check: numbers.2,
    });
    (any::<bool>(), prop::collection::vec(path, 0..3)).prop_map(|(checks, paths)| Expose { checks, paths })
}

fn upstream() -> impl Strategy<Value = Upstream> {
    ((text(), text(), text(), text(), text()), any::<i64>(), config(), gateway()).prop_map(
        |(texts, local_bind_port, config, mesh_gateway)| Upstream {
            destination_type: texts.0,
            destination_namespace: texts.1,
            destination_name: texts.2,
            datacenter: texts.3,
            local_bind_address: texts.4,
            local_bind_port,
            config,
            mesh_gateway,
        },
    )
}

fn proxy() -> impl Strategy<Value = ProxyConfig> {
    let upstreams = prop::collection::vec(upstream(), 0..3);
    ((text(), text(), text()), any::<i64>(), config(), upstreams, gateway(), expose()).prop_map(
        |(texts, local_service_port, config, upstreams, mesh_gateway, expose)| ProxyConfig {
            destination_service_name: texts.0,
            destination_service_id: texts.1,
            local_service_address: texts.2,
            local_service_port,
            config,
            upstreams,
            mesh_gateway,
            expose,
        },
    )
}

fn service() -> impl Strategy<Value = Service> {
    let addresses = prop::option::of(prop::collection::btree_map(
        text(),
        (text(), any::<i64>()).prop_map(|(address, port)| ServiceAddress { address, port }),
        0..4,
    ));
    let sidecar = prop::option::of(free_form()).prop_map(|value| value.filter(|value| !value.is_null()));
    (
        (text(), name(), name(), strings(), text()),
        (addresses, string_map(), any::<(i64, i64, i64, bool, bool)>()),
        (proxy(), sidecar, indexes()),
    )
        .prop_map(
            |(
                (kind, id, service, tags, address),
                (tagged_addresses, meta, numbers),
                (proxy, sidecar_service, indexes),
            )| {
                Service {
                    kind,
                    id,
                    service,
                    tags,
                    address,
                    tagged_addresses,
                    meta,
                    port: numbers.0,
                    weights: Weights { passing: numbers.1, warning: numbers.2 },
                    enable_tag_override: numbers.3,
                    proxy,
                    connect: ServiceConnect { native: numbers.4, sidecar_service },
                    indexes,
                }
            },
        )
}

fn check() -> impl Strategy<Value = Check> {
    let header = prop::option::of(prop::collection::btree_map(text(), strings(), 0..3));
    (
        (name(), text(), text(), text(), text()),
        (text(), text(), strings(), text(), indexes()),
        (any::<(i64, i64, i64, i64, u64, bool, bool)>(), header, strings(), text(), text()),
    )
        .prop_map(|(first, second, (numbers, header, script_args, http, tcp))| Check {
            node: "".into(),
            check_id: first.0,
            name: first.1,
            status: first.2,
            notes: first.3,
            output: first.4,
            service_id: second.0,
            service_name: second.1,
            service_tags: second.2,
            kind: second.3.clone(),
            definition: CheckDefinition {
                http,
                tcp,
                header,
                script_args,
                interval: numbers.0,
                timeout: numbers.1,
                ttl: numbers.2,
                deregister_critical_service_after: numbers.3,
                output_max_size: numbers.4,
                tls_skip_verify: numbers.5,
                grpc_use_tls: numbers.6,
                method: second.3.clone(),
                body: second.3.clone(),
                docker_container_id: second.3.clone(),
                shell: second.3.clone(),
                grpc: second.3.clone(),
                alias_node: second.3.clone(),
                alias_service: second.3,
            },
            indexes: second.4,
        })
}

fn node_rows() -> impl Strategy<Value = NodeRows> {
    (
        (name(), text(), text(), text()),
        (string_map(), string_map(), indexes()),
        prop::collection::vec(service(), 0..4),
        prop::collection::vec(check(), 0..4),
    )
        .prop_map(
            |((node, id, address, datacenter), (tagged_addresses, meta, indexes), services, checks)| {
                let node = Node { id, node, address, datacenter, tagged_addresses, meta, indexes };
                NodeRows { node, services, checks }
            },
        )
}

fn session() -> impl Strategy<Value = Session> {
    let refs = (text(), text()).prop_map(|(id, namespace)| ServiceCheckRef { id, namespace });
    (
        (name(), text(), name(), text()),
        any::<(i64, bool)>(),
        (strings(), strings()),
        prop::option::of(prop::collection::vec(refs, 0..3)),
        indexes(),
    )
        .prop_map(
            |(
                (id, name, node, ttl),
                (lock_delay, delete),
                (checks, node_checks),
                service_checks,
                indexes,
            )| Session {
                id,
                name,
                node,
                lock_delay,
                behavior: if delete { SessionBehavior::Delete } else { SessionBehavior::Release },
                ttl,
                checks,
                node_checks,
                service_checks,
                indexes,
            },
        )
}

fn rest() -> impl Strategy<Value = Rest> {
    let floats = prop::collection::vec(-1e3..1e3_f64, 0..9);
    let coordinate =
        (name(), text(), floats, any::<(u32, u32, u32)>()).prop_map(|(node, segment, vec, numbers)| {
            NodeCoordinate {
                node,
                segment,
                coord: Coordinate {
                    vec,
                    error: numbers.0.into(),
                    adjustment: numbers.1.into(),
                    height: numbers.2.into(),
                },
            }
        });
    let bytes = || prop::collection::vec(any::<u8>(), 0..24);
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        prop::collection::vec(any::<u8>(), 70_000..70_010),
    ];
    let key = (value, any::<(u64, u64)>(), prop::option::of(name()), indexes()).prop_map(
        |(value, (flags, lock_index), session, indexes)| KvEntry {
            key: Bytes::new(),
            value: value.into(),
            flags,
            lock_index,
            session,
            indexes,
        },
    );
    (
        prop::collection::vec(coordinate, 0..4),
        prop::collection::vec(session(), 0..4),
        prop::collection::btree_map(bytes(), key, 0..8),
        prop::collection::btree_map(bytes(), any::<u64>(), 0..4),
        prop::collection::btree_map(bytes().prop_map(Bytes::from), any::<u64>(), 0..4),
        any::<[u64; 8]>(),
        prop::collection::btree_map("[a-z]{1,9}", any::<u64>(), 0..4),
    )
        .prop_map(|(coordinates, sessions, keys, tombstones, lock_delays, n, services)| Rest {
            coordinates,
            sessions,
            keys,
            tombstones,
            lock_delays,
            indexes: TableIndexes {
                nodes: n[0],
                services: n[1],
                checks: n[2],
                kvs: n[3],
                tombstones: n[4],
                sessions: n[5],
                coordinates: n[6],
                service_extinction: n[7],
            },
            services,
            autopilot: (n[0] % 2 == 0).then(|| AutopilotConfig {
                cleanup_dead_servers: n[1] % 2 == 0,
                last_contact_threshold: -1,
                max_trailing_logs: n[2],
                redundancy_zone_tag: "zone".into(),
                indexes: Indexes { create_index: 1, modify_index: n[3] },
                ..AutopilotConfig::default()
            }),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn writing_and_reading_is_the_identity(
        index in any::<u64>(),
        nodes in prop::collection::vec(node_rows(), 0..4),
        rest in rest(),
    ) {
        let World { view, store, records } = world(index, nodes, rest);
        let archive = write_all(&view, &store);
        let (meta, read) = read_all(&archive).unwrap();
        prop_assert_eq!(meta.index, index);
        prop_assert_eq!(read, records);
    }

    #[test]
    fn junk_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = read_all(&bytes);
        let _ = read_all(&archive_of(&bytes));
    }

    #[test]
    fn damaged_records_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut state = files(CONSUL)["state.bin"].clone();
        let at = at.index(state.len());
        state[at] = byte;
        let _ = read_all(&archive_of(&state));
        state.truncate(cut.index(state.len()));
        let _ = read_all(&archive_of(&state));
    }

    #[test]
    fn damaged_archives_never_pass_as_another_state(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut archive = CONSUL.to_vec();
        let at = at.index(archive.len());
        archive[at] ^= flip;
        // A flipped bit in gzip's header or a tar time stamp is harmless; anything else must show.
        if let Ok((_, records)) = read_all(&archive) {
            prop_assert_eq!(records, read_all(CONSUL).unwrap().1);
        }
    }
}

/// Prints what a save costs: `cargo test --release -- --ignored --nocapture cost_of_a_save`.
#[test]
#[ignore = "a measurement, not a check"]
fn cost_of_a_save() {
    let store = MemoryStore::default();
    let mut seed = 1_u64;
    let changes: Vec<Change> = (0..100_000)
        .map(|number| {
            let value: Vec<u8> = (0..32)
                .flat_map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    seed.to_le_bytes()
                })
                .collect();
            let row =
                KvRow { indexes: Indexes::default(), lock_index: 0, flags: 0, session: None, value: &value };
            Change::Put(Table::Kvs, format!("bench/key/{number:06}").into_bytes(), row.encode())
        })
        .collect();
    store.write(&changes).unwrap();
    let before = std::time::Instant::now();
    let archive = write_all(&View::default(), &store);
    println!("100,000 keys of 256 random bytes: {:?}, {} bytes", before.elapsed(), archive.len());
    let before = std::time::Instant::now();
    read_all(&archive).unwrap();
    println!("checked and read in {:?}", before.elapsed());
}

/// The state a list of records describes, as far as the tables hold it.
fn world_of(index: u64, records: Vec<ArchiveRecord>) -> World {
    let mut nodes: Vec<NodeRows> = Vec::new();
    let mut rest = Rest {
        coordinates: Vec::new(),
        sessions: Vec::new(),
        keys: BTreeMap::new(),
        tombstones: BTreeMap::new(),
        lock_delays: BTreeMap::new(),
        indexes: TableIndexes::default(),
        services: BTreeMap::new(),
        autopilot: None,
    };
    for record in records {
        match record {
            ArchiveRecord::Node(node) => {
                nodes.push(NodeRows { node, services: Vec::new(), checks: Vec::new() });
            }
            ArchiveRecord::Service { service, .. } => nodes.last_mut().unwrap().services.push(*service),
            ArchiveRecord::Check(check) => nodes.last_mut().unwrap().checks.push(*check),
            ArchiveRecord::Coordinate(coordinate) => rest.coordinates.push(coordinate),
            ArchiveRecord::Session(session) => rest.sessions.push(session),
            ArchiveRecord::Autopilot(config) => rest.autopilot = Some(config),
            ArchiveRecord::Kv(entry) => {
                rest.keys.insert(entry.key.to_vec(), entry);
            }
            ArchiveRecord::Tombstone { key, index } => {
                rest.tombstones.insert(key.to_vec(), index);
            }
            ArchiveRecord::LockDelay { key, until_ms } => {
                rest.lock_delays.insert(key, until_ms);
            }
            ArchiveRecord::Index { key, index } => match key {
                IndexKey::Nodes => rest.indexes.nodes = index,
                IndexKey::Services => rest.indexes.services = index,
                IndexKey::Checks => rest.indexes.checks = index,
                IndexKey::Kvs => rest.indexes.kvs = index,
                IndexKey::Tombstones => rest.indexes.tombstones = index,
                IndexKey::Sessions => rest.indexes.sessions = index,
                IndexKey::Coordinates => rest.indexes.coordinates = index,
                IndexKey::ServiceExtinction => rest.indexes.service_extinction = index,
                IndexKey::Service(name) => {
                    rest.services.insert(name, index);
                }
                IndexKey::Other(_) => {}
            },
            ArchiveRecord::Other { .. } => {}
        }
    }
    world(index, nodes, rest)
}

#[test]
fn what_was_read_from_consul_is_written_back_the_same() {
    let (meta, records) = read_all(CONSUL).unwrap();
    let World { view, store, .. } = world_of(meta.index, records.clone());
    let archive = write_all(&view, &store);
    let (_, again) = read_all(&archive).unwrap();
    let kept = |record: &ArchiveRecord| {
        !matches!(record, ArchiveRecord::Other { .. } | ArchiveRecord::Index { key: IndexKey::Other(_), .. })
    };
    let index = |record: &ArchiveRecord| matches!(record, ArchiveRecord::Index { .. });
    let (wanted, wanted_indexes): (Vec<_>, Vec<_>) =
        records.into_iter().filter(kept).partition(|record| !index(record));
    let (found, found_indexes): (Vec<_>, Vec<_>) = again.into_iter().partition(|record| !index(record));
    assert_eq!(found, wanted);
    assert_eq!(found_indexes.len(), wanted_indexes.len());
    for index in wanted_indexes {
        assert!(found_indexes.contains(&index), "{index:?}");
    }
}
