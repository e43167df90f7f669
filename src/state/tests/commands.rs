//! Random commands from a small universe of names, so that they meet each other all the time.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::model::{Model, low};
use crate::state::command::{
    Command, Deregister, Envelope, KvCommand, KvVerb, Register, TxnCatalogVerb, TxnKvVerb, TxnOp,
};
use crate::state::record::{
    AutopilotConfig, Check, Coordinate, Indexes, Node, NodeCoordinate, ProxyConfig, Service, ServiceCheckRef,
    ServiceConnect, Session, SessionBehavior, StringMap,
};

/// Node names; one comes in two spellings.
pub const NODES: [&str; 4] = ["n1", "N1", "n2", "n3"];
pub const NODE_IDS: [&str; 4] = [
    "",
    "00000000-0000-0000-0000-00000000000a",
    "00000000-0000-0000-0000-00000000000A",
    "00000000-0000-0000-0000-00000000000b",
];
pub const SERVICE_IDS: [&str; 3] = ["s1", "S1", "s2"];
pub const SERVICES: [&str; 4] = ["web", "WEB", "db", "api"];
pub const CHECKS: [&str; 4] = ["c1", "C1", "c2", "serfHealth"];
pub const SESSIONS: [&str; 4] = [
    "00000000-0000-0000-0000-000000000001",
    "00000000-0000-0000-0000-000000000002",
    "00000000-0000-0000-0000-000000000003",
    "00000000-0000-0000-0000-000000000004",
];
pub const KEYS: [&[u8]; 7] = [b"", b"a", b"a/", b"a/b", b"a/b/c", b"b", b"a/\xff"];
/// Prefixes that are read, those of keys besides.
pub const PREFIXES: [&[u8]; 4] = [b"a/b/", b"zz", b"\xff", b"a/\xff\xff"];

/// Stands for "the index the record has now" until [`settle`] knows it.
const CURRENT: u64 = u64::MAX;

fn name(names: &'static [&'static str]) -> impl Strategy<Value = Arc<str>> {
    select(names).prop_map(Arc::from)
}

fn text(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(texts).prop_map(str::to_owned)
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![1 => select(&KEYS[..]), 1 => select(&KEYS[1..4])].prop_map(Bytes::from_static)
}

fn wanted_index() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(CURRENT), 1 => Just(0), 1 => 1..40_u64]
}

fn kv_verb() -> impl Strategy<Value = KvVerb> {
    prop_oneof![
        4 => Just(KvVerb::Set),
        2 => Just(KvVerb::Cas),
        6 => Just(KvVerb::Lock),
        2 => Just(KvVerb::Unlock),
        2 => Just(KvVerb::Delete),
        1 => Just(KvVerb::DeleteCas),
        1 => Just(KvVerb::DeleteTree),
    ]
}

fn kv_command() -> impl Strategy<Value = KvCommand> {
    let session =
        prop_oneof![8 => select(&SESSIONS[..]).prop_map(Some), 1 => Just(Some("")), 1 => Just(None)];
    (kv_verb(), key(), select(&["", "x", "yy"][..]), 0..2_u64, wanted_index(), session).prop_map(
        |(verb, key, value, flags, cas, session)| KvCommand {
            verb,
            key,
            value: Bytes::from_static(value.as_bytes()),
            flags,
            cas,
            session: session.map(Arc::from),
        },
    )
}

fn string_map() -> impl Strategy<Value = Option<StringMap>> {
    select(vec![None, Some(BTreeMap::new()), Some(BTreeMap::from([("k".to_owned(), "v".to_owned())]))])
}

fn node() -> impl Strategy<Value = Node> {
    (select(&NODE_IDS[..]), name(&NODES), text(&["10.0.0.1", "10.0.0.2"]), string_map()).prop_map(
        |(id, node, address, meta)| Node {
            id: id.to_owned(),
            node,
            address,
            datacenter: "dc1".to_owned(),
            tagged_addresses: None,
            meta,
            indexes: Indexes::default(),
        },
    )
}

fn service() -> impl Strategy<Value = Service> {
    let bad_meta = Some(BTreeMap::from([("not allowed".to_owned(), "v".to_owned())]));
    let meta = prop_oneof![9 => string_map(), 1 => Just(bad_meta)];
    let destination = option::weighted(0.3, text(&["web", "db"]));
    let tags = select(vec![vec![], vec!["t".to_owned()]]);
    (name(&SERVICE_IDS), name(&SERVICES), tags, 0..2_i64, meta, destination, prop::bool::weighted(0.2))
        .prop_map(|(id, service, tags, port, meta, destination, native)| Service {
            kind: destination.as_ref().map(|_| "connect-proxy".to_owned()).unwrap_or_default(),
            id,
            service,
            tags,
            port,
            meta,
            proxy: ProxyConfig {
                destination_service_name: destination.unwrap_or_default(),
                ..ProxyConfig::default()
            },
            connect: ServiceConnect { native, sidecar_service: None },
            ..Service::default()
        })
}

fn check() -> impl Strategy<Value = Check> {
    let status = prop_oneof![
        5 => Just("passing"),
        2 => Just("critical"),
        1 => Just("warning"),
        1 => Just(""),
    ];
    let service_id = prop_oneof![2 => Just(""), 3 => select(&SERVICE_IDS[..])];
    (
        name(&NODES),
        name(&CHECKS),
        status,
        text(&["", "out"]),
        service_id,
        prop_oneof![9 => Just(""), 1 => Just("web")],
        prop_oneof![3 => Just(""), 1 => Just("http")],
    )
        .prop_map(|(node, check_id, status, output, service_id, service_name, kind)| Check {
            node,
            check_id,
            status: status.to_owned(),
            output,
            service_id: service_id.to_owned(),
            service_name: service_name.to_owned(),
            kind: kind.to_owned(),
            ..Check::default()
        })
}

fn register() -> impl Strategy<Value = Register> {
    let checks = vec((check(), prop::bool::weighted(0.9)), 0..3);
    (node(), prop::bool::weighted(0.2), option::of(service()), checks).prop_map(
        |(node, skip_node_update, service, checks)| {
            let checks = checks.into_iter().map(|(check, same_node)| {
                if same_node { Check { node: node.node.clone(), ..check } } else { check }
            });
            Register { checks: checks.collect(), node, skip_node_update, service }
        },
    )
}

fn deregister() -> impl Strategy<Value = Deregister> {
    let service = prop_oneof![1 => Just(""), 1 => select(&SERVICE_IDS[..])];
    let check = prop_oneof![1 => Just(""), 4 => select(&CHECKS[..])];
    (name(&NODES), service, check).prop_map(|(node, service_id, check_id)| Deregister {
        node,
        service_id: service_id.to_owned(),
        check_id: check_id.to_owned(),
    })
}

fn session() -> impl Strategy<Value = Session> {
    let lock_delay = select(vec![0, -5, 1, 1_000_000, 15_000_000_000, 100_000_000_000]);
    let behavior = select(vec![SessionBehavior::Release, SessionBehavior::Delete]);
    let service_checks = option::weighted(0.3, vec(text(&CHECKS), 0..2));
    let checks = (vec(text(&CHECKS), 0..2), vec(text(&CHECKS), 0..2), service_checks);
    (name(&SESSIONS), name(&NODES), lock_delay, behavior, checks).prop_map(
        |(id, node, lock_delay, behavior, (checks, node_checks, service_checks))| Session {
            checks,
            id,
            node,
            lock_delay,
            behavior,
            node_checks,
            service_checks: service_checks.map(|ids| {
                ids.into_iter().map(|id| ServiceCheckRef { id, ..ServiceCheckRef::default() }).collect()
            }),
            ..Session::default()
        },
    )
}

fn coordinates() -> impl Strategy<Value = Vec<NodeCoordinate>> {
    let one =
        (name(&NODES), text(&["", "seg"]), 0..3_u8).prop_map(|(node, segment, height)| NodeCoordinate {
            node,
            segment,
            coord: Coordinate { vec: vec![0.5; 2], height: f64::from(height), ..Coordinate::default() },
        });
    vec(one, 0..3)
}

fn catalog_verb() -> impl Strategy<Value = TxnCatalogVerb> {
    prop_oneof![
        1 => Just(TxnCatalogVerb::Get),
        4 => Just(TxnCatalogVerb::Set),
        2 => Just(TxnCatalogVerb::Cas),
        1 => Just(TxnCatalogVerb::Delete),
        1 => Just(TxnCatalogVerb::DeleteCas),
    ]
}

fn txn_kv_verb() -> impl Strategy<Value = TxnKvVerb> {
    prop_oneof![
        10 => kv_verb().prop_map(TxnKvVerb::Write),
        1 => Just(TxnKvVerb::Get),
        1 => Just(TxnKvVerb::GetTree),
        1 => Just(TxnKvVerb::CheckSession),
        1 => Just(TxnKvVerb::CheckIndex),
        1 => Just(TxnKvVerb::CheckNotExists),
    ]
}

fn operation() -> impl Strategy<Value = TxnOp> {
    prop_oneof![
        4 => (txn_kv_verb(), kv_command()).prop_map(|(verb, command)| TxnOp::Kv { verb, command }),
        1 => (catalog_verb(), node(), wanted_index()).prop_map(|(verb, mut node, wanted)| {
            node.indexes.modify_index = wanted;
            TxnOp::Node { verb, node }
        }),
        1 => (catalog_verb(), name(&NODES), service(), wanted_index()).prop_map(
            |(verb, node, mut service, wanted)| {
                service.indexes.modify_index = wanted;
                TxnOp::Service { verb, node, service: Box::new(service) }
            }
        ),
        1 => (catalog_verb(), check(), wanted_index()).prop_map(|(verb, mut check, wanted)| {
            check.indexes.modify_index = wanted;
            TxnOp::Check { verb, check: Box::new(check) }
        }),
    ]
}

fn autopilot() -> impl Strategy<Value = Command> {
    (any::<bool>(), 0..300_u64, option::of(wanted_index())).prop_map(|(cleanup, trailing, cas)| {
        let config = AutopilotConfig {
            cleanup_dead_servers: cleanup,
            max_trailing_logs: trailing,
            ..AutopilotConfig::default()
        };
        Command::Autopilot { config: Box::new(config), cas }
    })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        12 => kv_command().prop_map(Command::Kv),
        8 => register().prop_map(|command| Command::Register(Box::new(command))),
        1 => deregister().prop_map(Command::Deregister),
        3 => session().prop_map(Command::SessionCreate),
        2 => name(&SESSIONS).prop_map(|id| Command::SessionDestroy { id }),
        4 => vec(operation(), 1..4).prop_map(Command::Txn),
        1 => (0..40_u64).prop_map(|up_to| Command::ReapTombstones { up_to }),
        1 => coordinates().prop_map(Command::UpdateCoordinates),
        1 => autopilot(),
    ]
}

/// Two nodes with a service and checks that pass, and sessions that hang on them: what locks need.
fn opening() -> impl Strategy<Value = Vec<Command>> {
    let registered = ["n1", "n2"].map(|node| {
        let check = |id: &str, service_id: &str| Check {
            node: node.into(),
            check_id: id.into(),
            status: "passing".into(),
            service_id: service_id.into(),
            ..Check::default()
        };
        Command::Register(Box::new(Register {
            node: Node { node: node.into(), address: "10.0.0.1".into(), ..Node::default() },
            service: Some(Service { id: "s1".into(), service: "web".into(), ..Service::default() }),
            checks: vec![check("c1", ""), check("c2", "s1")],
            ..Register::default()
        }))
    });
    vec((session(), select(&["n1", "N2"][..]), select(&["", "c1", "C2"][..])), SESSIONS.len()).prop_map(
        move |sessions| {
            let create = |((session, node, check), id): ((Session, &str, &str), &str)| {
                let node_checks = if check.is_empty() { Vec::new() } else { vec![check.to_owned()] };
                let (id, node) = (id.into(), node.into());
                let checks = Vec::new();
                Command::SessionCreate(Session {
                    id,
                    node,
                    checks,
                    node_checks,
                    service_checks: None,
                    ..session
                })
            };
            registered.iter().cloned().chain(sessions.into_iter().zip(SESSIONS).map(create)).collect()
        },
    )
}

/// A sequence of commands with the time that passes before each, in milliseconds. Most begin with
/// something to take locks with.
pub fn commands(
    length: impl Into<prop::collection::SizeRange>,
) -> impl Strategy<Value = Vec<(u64, Command)>> {
    let passed = prop_oneof![3 => 0..3_u64, 1 => 0..30_000_u64];
    let opening = option::weighted(0.8, opening());
    (opening, vec((passed, command()), length)).prop_map(|(opening, commands)| {
        let opening = opening.into_iter().flatten().map(|command| (0, command));
        opening.chain(commands).collect()
    })
}

/// Batch sizes, as long as anybody asks.
pub fn batch_sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(1..9_usize, 1..20)
}

/// A log entry: index and command.
pub type Entry = (u64, Envelope);

/// Makes log entries of commands: some indexes are left out (the log holds other entries too), the
/// clock runs, and a wish for "the present index" is fulfilled. The model is the state before the
/// commands, and the one after them comes back.
pub fn settle(commands: Vec<(u64, Command)>, mut model: Model) -> (Vec<Entry>, Model) {
    let mut entries = Vec::with_capacity(commands.len());
    let (mut index, mut now_ms) = (model.index.max(1), model.now.max(1_000_000));
    for (passed, command) in commands {
        index += 1 + passed % 2;
        now_ms += passed;
        let envelope = Envelope { now_ms, command: with_current_indexes(command, &model) };
        model.apply(index, &envelope);
        entries.push((index, envelope));
    }
    (entries, model)
}

fn with_current_indexes(mut command: Command, model: &Model) -> Command {
    match &mut command {
        Command::Kv(command) => kv_current(command, model),
        Command::Autopilot { cas: Some(cas), .. } if *cas == CURRENT => {
            *cas = model.autopilot.as_ref().map_or(0, |config| config.indexes.modify_index);
        }
        Command::Txn(operations) => {
            for operation in operations {
                match operation {
                    TxnOp::Kv { command, .. } => kv_current(command, model),
                    TxnOp::Node { node, .. } => {
                        let found = model.nodes.get(&low(&node.node)).map(|found| found.indexes);
                        node.indexes = current(node.indexes, found);
                    }
                    TxnOp::Service { node, service, .. } => {
                        let found = model.services.get(&(low(node), low(&service.id)));
                        service.indexes = current(service.indexes, found.map(|found| found.indexes));
                    }
                    TxnOp::Check { check, .. } => {
                        let found = model.checks.get(&(low(&check.node), low(&check.check_id)));
                        check.indexes = current(check.indexes, found.map(|found| found.indexes));
                    }
                }
            }
        }
        _ => {}
    }
    command
}

fn kv_current(command: &mut KvCommand, model: &Model) {
    let found = model.keys.get(&command.key).map(|found| found.indexes);
    if command.verb == KvVerb::Unlock && command.cas == CURRENT {
        let holder = model.keys.get(&command.key).and_then(|found| found.session.clone());
        command.session = holder.or(command.session.take());
    }
    let given = Indexes { create_index: 0, modify_index: command.cas };
    command.cas = current(given, found).modify_index;
}

fn current(given: Indexes, found: Option<Indexes>) -> Indexes {
    let modify_index = if given.modify_index == CURRENT {
        found.map_or(0, |found| found.modify_index)
    } else {
        given.modify_index
    };
    Indexes { modify_index, ..given }
}
