//! Rules asked of Consul 1.8.7 where its documents are silent, each as it answered.

use std::sync::Arc;

use bytes::Bytes;

use super::machine;
use crate::state::command::{Deregister, KvCommand, KvVerb, Register, TxnError, TxnKvVerb, TxnOp, TxnResult};
use crate::state::record::{
    Check, Coordinate, Node, NodeCoordinate, ProxyConfig, Service, Session, SessionBehavior,
};
use crate::state::store::MemoryStore;
use crate::state::{Command, Envelope, Outcome, StateMachine, View};

const SESSION: &str = "0000abcd-0000-0000-0000-000000000001";
const OTHER: &str = "0000abcd-0000-0000-0000-000000000002";
const NODE_ID: &str = "00000000-0000-0000-0000-00000000000a";

/// A state that is driven command by command.
struct Driven {
    machine: StateMachine,
    now_ms: u64,
}

impl Driven {
    fn new() -> Self {
        Self { machine: machine(&MemoryStore::default()), now_ms: 1_000_000 }
    }

    /// Applies a command at the next index.
    fn run(&mut self, command: Command) -> Outcome {
        let data = Envelope { now_ms: self.now_ms, command }.encode().unwrap();
        let index = self.machine.applied_index() + 1;
        self.machine.apply([(index, &data[..])]).unwrap().outcomes.remove(0).unwrap()
    }

    fn register(&mut self, node: &str, service: Option<Service>, checks: Vec<Check>) -> Outcome {
        let node = Node { node: node.into(), address: "1.1.1.1".into(), ..Node::default() };
        self.run(Command::Register(Box::new(Register { node, service, checks, ..Register::default() })))
    }

    fn deregister(&mut self, node: &str, service_id: &str, check_id: &str) {
        let (service_id, check_id) = (service_id.to_owned(), check_id.to_owned());
        self.run(Command::Deregister(Deregister { node: node.into(), service_id, check_id }));
    }

    fn kv(&mut self, verb: KvVerb, key: &'static str, value: &'static str, session: &str) -> Outcome {
        self.run(Command::Kv(kv(verb, key, value, session)))
    }

    fn session(&mut self, id: &str, lock_delay: i64, behavior: SessionBehavior) {
        let session = Session { id: id.into(), node: "n".into(), lock_delay, behavior, ..Session::default() };
        assert_eq!(self.run(Command::SessionCreate(session)), Outcome::Done);
    }

    fn view(&self) -> &View {
        self.machine.view()
    }

    fn now(&self) -> u64 {
        self.view().index
    }

    fn check(&self, node: &str, id: &str) -> Check {
        (*self.view().node(node).unwrap().checks[id]).clone()
    }

    /// (LockIndex, holder, ModifyIndex) of a key.
    fn lock(&self, key: &str) -> Option<(u64, Option<String>, u64)> {
        let look = |row: crate::state::kv::KvRow<'_>| {
            (row.lock_index, row.session.map(str::to_owned), row.indexes.modify_index)
        };
        self.machine.reader().kv_get(key.as_bytes(), look).unwrap()
    }
}

fn service(name: &str, id: &str) -> Service {
    Service { service: name.into(), id: id.into(), ..Service::default() }
}

fn check(node: &str, id: &str, service_id: &str) -> Check {
    Check {
        node: node.into(),
        check_id: id.into(),
        status: "passing".into(),
        service_id: service_id.into(),
        ..Check::default()
    }
}

fn kv(verb: KvVerb, key: &'static str, value: &'static str, session: &str) -> KvCommand {
    KvCommand {
        verb,
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
        flags: 0,
        cas: 0,
        session: (!session.is_empty()).then(|| session.into()),
    }
}

fn refused(text: &str) -> Outcome {
    Outcome::Refused(text.to_owned())
}

const YES: Outcome = Outcome::Bool(true);
const NO: Outcome = Outcome::Bool(false);

#[test]
fn any_registration_of_a_check_moves_the_index_of_checks() {
    let mut state = Driven::new();
    state.register("n", Some(service("web", "web")), vec![check("n", "c", "web")]);
    let first = state.now();
    state.register("n", Some(service("web", "web")), vec![check("n", "c", "web")]);
    assert_eq!(state.view().indexes.checks, state.now());
    assert_eq!(state.view().service_index("web", true), first);
    assert_eq!(state.check("n", "c").indexes.modify_index, first);

    let typed = Check { kind: "http".into(), ..check("n", "c", "web") };
    state.register("n", None, vec![typed]);
    assert_eq!(state.view().service_index("web", true), first, "the kind of a probe is no change");
    assert_eq!(state.check("n", "c").indexes.modify_index, first);
    assert_eq!(state.check("n", "c").kind, "http", "but is stored");
}

#[test]
fn removals_move_more_than_their_table() {
    let mut state = Driven::new();
    state.register("n", Some(service("web", "one")), vec![check("n", "c", "")]);
    state.register("n", Some(service("web", "two")), Vec::new());
    state.deregister("n", "one", "");
    assert_eq!(state.view().indexes.checks, state.now(), "a service without checks");
    assert_eq!(state.view().service_index("web", true), state.now());
    assert_eq!(state.view().indexes.service_extinction, 0);
    state.deregister("n", "two", "");
    let gone = state.now();
    assert_eq!(state.view().indexes.service_extinction, gone);
    state.deregister("n", "", "c");
    assert_eq!(state.view().indexes.services, state.now(), "a node check, without any service");
    assert_eq!(state.view().service_index("web", true), gone);
    assert_eq!(state.view().service_index("never there", true), gone);
    assert_eq!(state.view().service_checks_index("web", false), state.view().indexes.checks);
    assert_eq!(state.view().service_checks_index("web", true), state.now(), "no extinction by metadata");

    state.register("n", Some(service("web", "one")), Vec::new());
    assert_eq!(state.view().service_index("web", true), state.now(), "and back");
    let before = state.now();
    state.deregister("n", "nothing", "");
    state.deregister("nobody", "", "");
    assert_eq!(state.view().indexes.nodes.max(state.view().indexes.services), before);
}

#[test]
fn a_service_renamed_under_its_id_leaves_its_old_index() {
    let mut state = Driven::new();
    let tagged = Service { tags: vec!["a".into()], ..service("old", "s") };
    state.register("n", Some(tagged), vec![check("n", "c", "s")]);
    let first = state.now();
    state.register("n", Some(service("new", "s")), Vec::new());
    let renamed = state.now();
    assert_eq!(state.view().service_index("old", true), first);
    assert_eq!(state.view().service_index("new", true), renamed);
    assert_eq!(state.view().indexes.service_extinction, 0);
    assert!(state.view().instances("old").is_empty());
    assert!(!state.view().services.contains_key("old"), "not listed");
    let shown: Vec<Arc<Check>> = state.view().instances("new")[0].checks().cloned().collect();
    assert_eq!((&*shown[0].service_name, &shown[0].service_tags[..]), ("old", &["a".to_owned()][..]));
    state.deregister("n", "", "c");
    assert_eq!(state.view().service_index("old", true), state.now(), "by the name the check carried");
    assert_eq!(state.view().service_index("new", true), renamed);
    state.deregister("n", "s", "");
    assert_eq!(state.view().service_index("old", true), state.now(), "an extinction comes first");
}

#[test]
fn a_check_that_moves_leaves_the_index_of_its_service() {
    let mut state = Driven::new();
    state.register("n", Some(service("web", "web")), vec![check("n", "c", "WEB")]);
    assert_eq!(state.view().instances("web")[0].checks().count(), 1, "found without regard to case");
    let first = state.now();
    state.register("n", Some(service("db", "db")), vec![check("n", "c", "db")]);
    assert_eq!(state.view().service_index("web", true), first);
    assert_eq!(state.view().service_index("db", true), state.now());
    state.register("n", None, vec![check("n", "c", "")]);
    assert_eq!(state.view().service_index("web", true), state.now(), "a node check shows in all");
}

#[test]
fn connect_answers_by_the_name_or_by_what_is_found() {
    let proxy = |of: &str| {
        let proxy = ProxyConfig { destination_service_name: of.to_owned(), ..ProxyConfig::default() };
        Some(Service { kind: "connect-proxy".into(), proxy, ..service("p", "p") })
    };
    let mut state = Driven::new();
    state.register("n", Some(service("web", "web")), Vec::new());
    let web = state.now();
    state.register("n", proxy("web"), Vec::new());
    assert_eq!(state.view().connect_index("web", false), web, "the catalog by the name");
    assert_eq!(state.view().connect_index("web", true), state.now(), "health by the proxy");
    state.register("n", proxy("ghost"), Vec::new());
    assert_eq!(state.view().connect_index("web", true), web, "nothing found, no extinction yet");
    assert_eq!(state.view().connect_index("ghost", false), state.now(), "no such name: the whole catalog");
    state.deregister("n", "p", "");
    assert_eq!(state.view().connect_index("web", true), state.now());
}

#[test]
fn registrations_are_refused_with_consuls_words() {
    let on_node = " on node \"n\"";
    let bad_meta = Service { meta: Some([("a b".to_owned(), "1".to_owned())].into()), ..service("web", "m") };
    let table = vec![
        ("another node", None, check("other", "c", ""), "check node \"other\" does not match node \"n\"".to_owned()),
        ("another spelling", None, check("N", "c", ""), "check node \"N\" does not match node \"n\"".to_owned()),
        (
            "no service",
            None,
            check("n", "c", "nope"),
            format!("failed inserting check: Missing service registration{on_node}"),
        ),
        (
            "metadata",
            Some(bad_meta),
            check("n", "c", ""),
            "failed inserting service: Invalid Service Meta for node n and serviceID m: Couldn't load metadata \
             pair ('a b', '1'): Key contains invalid characters"
                .to_owned(),
        ),
    ];
    for (name, service, check, text) in table {
        let mut state = Driven::new();
        assert_eq!(state.register("n", service, vec![check]), refused(&text), "{name}");
        assert!(state.view().nodes.is_empty(), "{name}: the node is taken back");
    }
}

#[test]
fn a_node_is_its_id_and_its_spelling_counts() {
    let mut state = Driven::new();
    let node = |name: &str, id: &str| Node { node: name.into(), id: id.into(), ..Node::default() };
    let set = |state: &mut Driven, node: Node, status: Option<&str>| {
        let check = |status: &str| Check { status: status.into(), ..check(&node.node, "serfHealth", "") };
        let checks = status.map(check).into_iter().collect();
        state.run(Command::Register(Box::new(Register { node, checks, ..Register::default() })))
    };
    set(&mut state, node("one", NODE_ID), Some("passing"));
    let created = state.now();
    set(&mut state, node("one", &NODE_ID.to_uppercase()), None);
    let record = state.view().node_by_id(NODE_ID).unwrap().node.clone();
    assert_eq!((record.indexes.create_index, record.indexes.modify_index), (created, state.now()));

    set(&mut state, node("one", NODE_ID), None);
    let taken = "failed inserting node: Error while renaming Node ID: \"00000000-0000-0000-0000-00000000000b\": Node \
                 name ONE is reserved by node 00000000-0000-0000-0000-00000000000a with name one ()";
    let other = NODE_ID.replace('a', "b");
    assert_eq!(set(&mut state, node("ONE", &other), None), refused(taken));

    set(&mut state, node("two", NODE_ID), None);
    assert!(state.view().node("one").is_none(), "renamed");
    let record = &state.view().node("two").unwrap().node;
    assert_eq!((record.indexes.create_index, record.indexes.modify_index), (created, state.now()));
    assert!(state.view().node("two").unwrap().checks.is_empty(), "without what lived on it");

    set(&mut state, node("TWO", ""), None);
    assert_eq!(&*state.view().node("two").unwrap().node.node, "TWO");
    assert!(state.view().node_by_id(NODE_ID).is_none(), "who gives no id takes it away");
}

#[test]
fn a_plain_write_keeps_the_holder_and_forgets_the_count() {
    let mut state = Driven::new();
    state.register("n", None, Vec::new());
    state.session(SESSION, 0, SessionBehavior::Release);
    let holder = Some(SESSION.to_owned());
    assert_eq!(state.kv(KvVerb::Lock, "k", "v", SESSION), YES);
    assert_eq!(state.lock("k"), Some((1, holder.clone(), state.now())));
    state.kv(KvVerb::Set, "k", "w", "");
    assert_eq!(state.lock("k"), Some((0, holder.clone(), state.now())));
    assert_eq!(state.kv(KvVerb::Lock, "k", "again", &SESSION.to_uppercase()), YES, "it has it already");
    assert_eq!(state.lock("k"), Some((0, holder, state.now())));
    assert_eq!(state.kv(KvVerb::Unlock, "k", "free", SESSION), YES);
    assert_eq!(state.lock("k"), Some((0, None, state.now())));
    let freed = state.now();
    assert_eq!(state.kv(KvVerb::Unlock, "k", "free", SESSION), NO);
    state.kv(KvVerb::Set, "k", "free", "");
    assert_eq!(state.lock("k"), Some((0, None, freed)), "what is there already changes nothing");
}

#[test]
fn keys_are_refused_with_consuls_words() {
    let mut state = Driven::new();
    let mut delete_cas =
        |key, cas| state.run(Command::Kv(KvCommand { cas, ..kv(KvVerb::DeleteCas, key, "", "") }));
    assert_eq!([delete_cas("absent", 0), delete_cas("absent", 7)], [YES, YES]);
    let table = [
        ("", "missing session"),
        ("nope", "failed session lookup: index error: UUID must be 36 characters"),
        (OTHER, "invalid session \"0000abcd-0000-0000-0000-000000000002\""),
    ];
    for (session, text) in table {
        assert_eq!(state.kv(KvVerb::Lock, "k", "v", session), refused(text), "{session}");
    }
    assert_eq!(state.kv(KvVerb::Unlock, "k", "v", ""), refused("missing session"));
    assert_eq!(state.kv(KvVerb::Unlock, "k", "v", "nope"), NO);
}

#[test]
fn a_lock_delay_holds_for_the_key_whatever_becomes_of_it() {
    let second = 1_000_000_000;
    for behavior in [SessionBehavior::Release, SessionBehavior::Delete] {
        let mut state = Driven::new();
        state.register("n", None, Vec::new());
        state.session(SESSION, second, behavior);
        state.kv(KvVerb::Lock, "held", "v", SESSION);
        state.kv(KvVerb::Lock, "given back", "v", SESSION);
        state.kv(KvVerb::Unlock, "given back", "v", SESSION);
        state.kv(KvVerb::Lock, "deleted", "v", SESSION);
        state.kv(KvVerb::Delete, "deleted", "", "");
        state.run(Command::SessionDestroy { id: SESSION.into() });
        state.session(OTHER, 0, SessionBehavior::Release);
        assert_eq!(state.kv(KvVerb::Lock, "given back", "v", OTHER), YES, "{behavior:?}");
        assert_eq!(state.kv(KvVerb::Lock, "deleted", "v", OTHER), YES, "{behavior:?}");
        assert_eq!(state.kv(KvVerb::Lock, "held", "v", OTHER), NO, "{behavior:?}");
        assert_eq!(
            state.kv(KvVerb::Lock, "held", "v", ""),
            NO,
            "{behavior:?}: before anything else is looked at"
        );
        state.kv(KvVerb::Set, "held", "anybody may write", "");
        state.kv(KvVerb::Delete, "held", "", "");
        assert_eq!(state.kv(KvVerb::Lock, "held", "v", OTHER), NO, "{behavior:?}: deleted meanwhile");
        state.now_ms += 999;
        assert_eq!(state.kv(KvVerb::Lock, "held", "v", OTHER), NO, "{behavior:?}: 1 ms early");
        state.now_ms += 1;
        assert_eq!(state.kv(KvVerb::Lock, "held", "v", OTHER), YES, "{behavior:?}");
        assert_eq!(state.lock("held"), Some((1, Some(OTHER.to_owned()), state.now())));
    }
}

#[test]
fn a_delayed_lock_is_all_a_transaction_tells() {
    let mut state = Driven::new();
    state.register("n", None, Vec::new());
    state.session(SESSION, 1, SessionBehavior::Release);
    state.kv(KvVerb::Lock, "k", "v", SESSION);
    state.run(Command::SessionDestroy { id: SESSION.into() });
    let op = |verb, key, session| {
        let TxnKvVerb::Write(of) = verb else { unreachable!() };
        TxnOp::Kv { verb, command: kv(of, key, "v", session) }
    };
    let operations = vec![
        op(TxnKvVerb::Write(KvVerb::Set), "z", ""),
        op(TxnKvVerb::Write(KvVerb::Unlock), "z", SESSION),
        op(TxnKvVerb::Write(KvVerb::Lock), "k", "nope"),
    ];
    let delayed = TxnError { op_index: 2, what: "failed to lock key \"k\" due to lock delay".into() };
    assert_eq!(state.run(Command::Txn(operations.clone())), Outcome::TxnFailed(vec![delayed]));
    state.now_ms += 1;
    let failed = vec![
        TxnError {
            op_index: 1,
            what: "failed to unlock key \"z\", lock isn't held, or is held by another session".into(),
        },
        TxnError {
            op_index: 2,
            what: "failed session lookup: index error: UUID must be 36 characters".into(),
        },
    ];
    assert_eq!(state.run(Command::Txn(operations)), Outcome::TxnFailed(failed));
    assert_eq!(state.lock("z"), None);
}

#[test]
fn a_transaction_answers_writes_without_values_and_reads_with_them() {
    let mut state = Driven::new();
    let op = |verb, key| {
        let of = if let TxnKvVerb::Write(of) = verb { of } else { KvVerb::Set };
        TxnOp::Kv { verb, command: kv(of, key, "v", "") }
    };
    let operations = vec![
        op(TxnKvVerb::Write(KvVerb::Set), "t/a"),
        op(TxnKvVerb::Get, "t/a"),
        op(TxnKvVerb::Write(KvVerb::Set), "t/b"),
        op(TxnKvVerb::GetTree, "t/"),
        op(TxnKvVerb::Write(KvVerb::Delete), "t/b"),
        op(TxnKvVerb::CheckIndex, "t/a"),
        op(TxnKvVerb::Write(KvVerb::DeleteTree), "t/"),
        op(TxnKvVerb::CheckNotExists, "t/a"),
    ];
    let mut operations = operations;
    if let TxnOp::Kv { command, .. } = &mut operations[5] {
        command.cas = 1;
    }
    let Outcome::Txn(results) = state.run(Command::Txn(operations)) else { panic!("it goes through") };
    let shown: Vec<(String, String, u64)> = results
        .iter()
        .map(|result| {
            let TxnResult::Kv(entry) = result else { panic!("a key") };
            let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            (text(&entry.key), text(&entry.value), entry.indexes.modify_index)
        })
        .collect();
    let want = [("t/a", ""), ("t/a", "v"), ("t/b", ""), ("t/a", "v"), ("t/b", "v"), ("t/a", "")];
    assert_eq!(shown, want.map(|(key, value)| (key.to_owned(), value.to_owned(), 1)));
    assert_eq!(state.machine.reader().tombstone_index(b"t/").unwrap(), 1);
}

#[test]
fn coordinates_move_their_index_even_of_unknown_nodes() {
    let mut state = Driven::new();
    state.register("n", None, Vec::new());
    let update = |node: &str| {
        let coord = Coordinate { vec: vec![0.0; 8], ..Coordinate::default() };
        Command::UpdateCoordinates(vec![NodeCoordinate { node: node.into(), segment: String::new(), coord }])
    };
    state.run(update("nobody"));
    assert_eq!(state.view().indexes.coordinates, state.now());
    assert!(state.view().coordinates.is_empty());
    state.run(update("N"));
    assert_eq!(state.view().coordinates.len(), 1, "found without regard to case");
    state.deregister("n", "", "");
    assert!(state.view().coordinates.is_empty());
}

#[test]
fn reaping_moves_no_index() {
    let mut state = Driven::new();
    state.kv(KvVerb::Set, "gone/a", "v", "");
    state.kv(KvVerb::Delete, "gone/a", "", "");
    let deleted = state.now();
    assert_eq!(state.machine.reader().tombstone_index(b"gone/").unwrap(), deleted);
    state.run(Command::ReapTombstones { up_to: deleted });
    assert_eq!(state.machine.reader().tombstone_index(b"gone/").unwrap(), 0);
    assert_eq!(state.view().kv_index(), deleted);
}
