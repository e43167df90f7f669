//! Who is woken by what: every read of the catalog families against the real state machine. A
//! write to another node, service or check must wake nobody; a write to what was read must.

use futures::FutureExt as _;
use std::sync::Arc;

use super::blocking::BlockingRead;
use super::catalog::{NodeServices, Nodes, ServiceNames};
use super::coordinate::Coordinates;
use super::decode::{Json, records};
use super::filter::{CatalogInstanceFields, HealthInstanceFields};
use super::health::{Checks, ChecksOf};
use super::service_query::{Narrowing, ServiceQuery, Target};
use super::testing::{endpoints_over, registration};
use crate::state::machine::StateMachine;
use crate::state::record::StringMap;
use crate::state::store::MemoryStore;
use crate::state::{Command, Envelope};

/// A body for one of `register`, `deregister` or `coordinate`.
type Write = (&'static str, &'static str);

const SCENE: [Write; 4] = [
    (
        "register",
        r#"{"Node":"a","Address":"1","Service":{"ID":"w1","Service":"web"},
        "Check":{"CheckID":"c1","ServiceID":"w1","Status":"passing"}}"#,
    ),
    (
        "register",
        r#"{"Node":"b","Address":"1","Service":{"ID":"d1","Service":"db"},
        "Check":{"CheckID":"c2","ServiceID":"d1","Status":"passing"}}"#,
    ),
    ("register", r#"{"Node":"c","Address":"1"}"#),
    (
        "register",
        r#"{"Node":"c","Address":"1","Service":{"Kind":"connect-proxy","ID":"p1","Service":"web-proxy",
        "Port":1,"Proxy":{"DestinationServiceName":"web"}}}"#,
    ),
];

const OTHER_SERVICE: Write =
    ("register", r#"{"Node":"b","Address":"1","Service":{"ID":"d2","Service":"db"}}"#);
const OTHER_NODE: Write = ("register", r#"{"Node":"b","Address":"2"}"#);
const OTHER_CHECK: Write = (
    "register",
    r#"{"Node":"b","Address":"1","Check":{"CheckID":"c2","ServiceID":"d1","Status":"critical"}}"#,
);
const OTHER_COORDINATE: Write = ("coordinate", r#"{"Node":"b","Coord":{"Vec":[1,0,0,0,0,0,0,0]}}"#);
const SAME_AGAIN: Write = ("register", r#"{"Node":"a","Address":"1","Service":{"ID":"w1","Service":"web"}}"#);
const MORE: Write = ("register", r#"{"Node":"b","Address":"1","Service":{"ID":"w2","Service":"web"}}"#);
const LESS: Write = ("deregister", r#"{"Node":"a","ServiceID":"w1"}"#);
const CHECK: Write = (
    "register",
    r#"{"Node":"a","Address":"1","Check":{"CheckID":"c1","ServiceID":"w1","Status":"critical"}}"#,
);
const NODE_CHECK: Write =
    ("register", r#"{"Node":"a","Address":"1","Check":{"CheckID":"n","Status":"passing"}}"#);
const NODE: Write = ("register", r#"{"Node":"a","Address":"9"}"#);
const NODE_GONE: Write = ("deregister", r#"{"Node":"a"}"#);
const PROXY_CHECK: Write = (
    "register",
    r#"{"Node":"c","Address":"1","Check":{"CheckID":"pc","ServiceID":"p1","Status":"passing"}}"#,
);
const COORDINATE: Write = ("coordinate", r#"{"Node":"a","Coord":{"Vec":[1,0,0,0,0,0,0,0]}}"#);

fn command((kind, body): Write) -> Command {
    let json = Json::parse(body.as_bytes()).unwrap();
    match kind {
        "register" => Command::Register(Box::new(registration(records::register(json).unwrap()))),
        "deregister" => Command::Deregister(records::deregister(json).unwrap().into()),
        _ => Command::UpdateCoordinates(vec![records::coordinate_update(json).unwrap().update]),
    }
}

fn apply(machine: &mut StateMachine, write: Write) {
    let entry = Envelope { now_ms: 0, command: command(write) }.encode().unwrap();
    let applied = machine.apply([(machine.applied_index() + 1, &*entry)]).unwrap();
    assert_eq!(applied.outcomes, [Some(crate::state::Outcome::Done)], "{}", write.1);
}

/// Whether a read that waits is woken by a write.
fn is_woken<R: BlockingRead>(read: impl FnOnce(&super::Endpoints) -> R, write: Write) -> bool {
    let mut machine = StateMachine::open(Box::new(MemoryStore::default())).unwrap();
    for write in SCENE {
        apply(&mut machine, write);
    }
    let endpoints = endpoints_over(machine.reader());
    let topics = read(&endpoints).topics();
    let mut watch = endpoints.state.watches().subscribe(topics);
    assert!((&mut watch).now_or_never().is_none());
    apply(&mut machine, write);
    (&mut watch).now_or_never().is_some()
}

/// Checks one read: what must not wake it and what must.
fn wakes<R: BlockingRead>(
    name: &str,
    read: impl Fn(&super::Endpoints) -> R,
    asleep: &[Write],
    awake: &[Write],
) {
    for write in asleep {
        assert!(!is_woken(&read, *write), "{name} was woken by {}", write.1);
    }
    for write in awake {
        assert!(is_woken(&read, *write), "{name} slept through {}", write.1);
    }
}

fn query(target: Target) -> impl Fn(&super::Endpoints) -> Arc<ServiceQuery<HealthInstanceFields>> {
    move |_| Arc::new(ServiceQuery::new("web", target, true, Narrowing::default()))
}

#[test]
fn instances() {
    let elsewhere = [OTHER_SERVICE, OTHER_NODE, OTHER_CHECK, OTHER_COORDINATE, COORDINATE, SAME_AGAIN];
    wakes(
        "health service",
        query(Target::Service),
        &elsewhere,
        &[MORE, LESS, CHECK, NODE_CHECK, NODE, NODE_GONE],
    );
    let catalog = |_: &super::Endpoints| {
        Arc::new(ServiceQuery::<CatalogInstanceFields>::new(
            "web",
            Target::Service,
            false,
            Narrowing::default(),
        ))
    };
    wakes("catalog service", catalog, &elsewhere, &[MORE, LESS, NODE, NODE_GONE]);
    wakes("health connect", query(Target::Connect), &elsewhere, &[PROXY_CHECK]);
    wakes("health connect", query(Target::Connect), &[NODE, CHECK], &[]);
}

#[test]
fn lists() {
    let nodes = |_: &super::Endpoints| Nodes::new(StringMap::new(), "", "");
    wakes("nodes", nodes, &[OTHER_SERVICE, OTHER_CHECK, COORDINATE], &[OTHER_NODE, NODE, NODE_GONE]);
    let node = |endpoints: &super::Endpoints| NodeServices::new(endpoints, "A", "");
    wakes("node", node, &[OTHER_SERVICE, OTHER_NODE, OTHER_CHECK, MORE, CHECK], &[LESS, NODE, NODE_GONE]);
    let names = |_: &super::Endpoints| Arc::new(ServiceNames::new(StringMap::new()));
    wakes(
        "services",
        names,
        &[OTHER_NODE, OTHER_CHECK, CHECK, SAME_AGAIN],
        &[OTHER_SERVICE, MORE, LESS, NODE_GONE],
    );
}

#[test]
fn checks() {
    let of = |of: ChecksOf| move |_: &super::Endpoints| Checks::new(of.clone(), StringMap::new(), "", "");
    let node = of(ChecksOf::Node("a".into()));
    wakes(
        "of a node",
        node,
        &[OTHER_CHECK, OTHER_NODE, OTHER_SERVICE],
        &[CHECK, NODE_CHECK, LESS, NODE_GONE],
    );
    let service = of(ChecksOf::Service("web".into()));
    wakes("of a service", service, &[OTHER_CHECK, OTHER_NODE, OTHER_SERVICE], &[CHECK, LESS, NODE_GONE]);
    let state = of(ChecksOf::Status("any".into()));
    wakes("by status", state, &[OTHER_NODE, OTHER_SERVICE, NODE], &[CHECK, OTHER_CHECK, LESS, NODE_GONE]);
}

#[test]
fn coordinates() {
    let one = |_: &super::Endpoints| Coordinates { node: Some("a".into()), segment: None };
    wakes("one", one, &[OTHER_COORDINATE, NODE, CHECK], &[COORDINATE]);
    let all = |_: &super::Endpoints| Coordinates::default();
    wakes("all", all, &[NODE, CHECK], &[COORDINATE, OTHER_COORDINATE]);
}
