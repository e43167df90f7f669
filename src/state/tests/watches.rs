//! Wakes are exact: whoever's answer changed is woken, and nobody else is.
//!
//! What an answer is, is computed from the model for every topic there is. Two things are woken
//! although their answer stayed, both because Consul moves their index and answers:
//! - a check registered anew without a change: `Checks` and the node's `NodeChecks`,
//! - a coordinate sent anew without a change: `Coordinates` and the node's `Coordinate`;
//!
//! and where a command changes something and changes it back (a transaction, a registration that
//! names a check twice), the answer changed in between.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::FutureExt;
use proptest::prelude::*;

use super::commands::{KEYS, NODES, PREFIXES, SERVICES, SESSIONS, commands, settle};
use super::machine;
use super::model::{Model, low};
use crate::state::command::{Command, Outcome, TxnCatalogVerb, TxnOp};
use crate::state::store::MemoryStore;
use crate::state::watch::{Topic, Watch};

fn topics() -> BTreeSet<Topic> {
    let mut topics =
        BTreeSet::from([Topic::Nodes, Topic::Services, Topic::Checks, Topic::Sessions, Topic::Coordinates]);
    for key in KEYS.iter().chain(&PREFIXES) {
        topics.extend([Topic::Key(Bytes::from_static(key)), Topic::KeyPrefix(Bytes::from_static(key))]);
    }
    for node in NODES {
        for topic in [Topic::Node, Topic::NodeChecks, Topic::NodeSessions, Topic::Coordinate] {
            topics.insert(topic(low(node).into()));
        }
    }
    for service in SERVICES.iter().chain(&["ghost"]) {
        topics.extend([Topic::Service(low(service).into()), Topic::Connect(low(service).into())]);
    }
    topics.extend(SESSIONS.map(|session| Topic::Session(session.into())));
    topics
}

/// The answer a topic stands for.
fn answer(model: &Model, topic: &Topic) -> String {
    match topic {
        Topic::Key(key) => format!("{:?}", model.keys.get(key)),
        Topic::KeyPrefix(prefix) => format!("{:?}", model.below(prefix)),
        Topic::Nodes => format!("{:?}", model.nodes),
        Topic::Node(node) => format!("{:?} {:?}", model.nodes.get(&**node), model.services_of(node)),
        Topic::NodeChecks(node) => {
            let of_node = model.checks.iter().filter(|((owner, _), _)| **owner == **node);
            format!("{:?}", of_node.collect::<Vec<_>>())
        }
        Topic::Services => format!("{:?}", model.services),
        Topic::Service(name) => {
            let carrying = model.checks.values().filter(|check| low(&check.service_name) == **name);
            format!("{:?} {:?}", model.named(name), carrying.collect::<Vec<_>>())
        }
        Topic::Connect(name) => format!("{:?}", model.connected(name)),
        Topic::Checks => format!("{:?}", model.checks),
        Topic::Sessions => format!("{:?}", model.sessions),
        Topic::Session(id) => format!("{:?}", model.sessions.get(&**id)),
        Topic::NodeSessions(node) => {
            let of_node = model.sessions.values().filter(|session| low(&session.node) == **node);
            format!("{:?}", of_node.collect::<Vec<_>>())
        }
        Topic::Coordinates => format!("{:?}", model.coordinates),
        Topic::Coordinate(node) => {
            let of_node = model.coordinates.iter().filter(|((owner, _), _)| **owner == **node);
            format!("{:?}", of_node.collect::<Vec<_>>())
        }
    }
}

type Answers = BTreeMap<Topic, String>;

fn answers(model: &Model, topics: &BTreeSet<Topic>) -> Answers {
    topics.iter().map(|topic| (topic.clone(), answer(model, topic))).collect()
}

fn changed(before: &Answers, after: &Answers) -> BTreeSet<Topic> {
    before.keys().filter(|topic| before[topic] != after[topic]).cloned().collect()
}

/// What Consul wakes although the answer stays, see the module's text.
fn woken_for_nothing(command: &Command) -> BTreeSet<Topic> {
    let checks = |node: &str| [Topic::Checks, Topic::NodeChecks(low(node).into())];
    match command {
        Command::Register(command) => command.checks.iter().flat_map(|check| checks(&check.node)).collect(),
        Command::Txn(operations) => {
            let checked = operations.iter().filter_map(|operation| match operation {
                TxnOp::Check { verb: TxnCatalogVerb::Set | TxnCatalogVerb::Cas, check } => Some(&check.node),
                _ => None,
            });
            checked.flat_map(|node| checks(node)).collect()
        }
        Command::UpdateCoordinates(updates) => {
            let nodes = updates.iter().map(|update| Topic::Coordinate(low(&update.node).into()));
            nodes.chain([Topic::Coordinates]).collect()
        }
        _ => BTreeSet::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whoever_is_concerned_is_woken_and_nobody_else(commands in commands(1..50)) {
        let topics = topics();
        let (entries, _) = settle(commands, Model::default());
        let mut machine = machine(&MemoryStore::default());
        let watches = std::sync::Arc::clone(machine.reader().watches());
        let mut waiting: BTreeMap<Topic, Watch> =
            topics.iter().map(|topic| (topic.clone(), watches.subscribe([topic.clone()]))).collect();
        let mut model = Model::default();
        let mut before = answers(&model, &topics);
        for (index, envelope) in &entries {
            let mut on_the_way = BTreeSet::new();
            let mut last = before.clone();
            let outcome = model.apply_watched(*index, envelope, &mut |model| {
                let now = answers(model, &topics);
                on_the_way.extend(changed(&last, &now));
                last = now;
            });
            let after = answers(&model, &topics);
            let must = changed(&before, &after);
            let mut may = must.clone();
            if !matches!(outcome, Outcome::TxnFailed(_) | Outcome::Refused(_)) {
                may.extend(on_the_way);
                may.extend(woken_for_nothing(&envelope.command));
            }

            let data = envelope.encode().unwrap();
            machine.apply([(*index, &data[..])]).unwrap();
            let mut woken = BTreeSet::new();
            for (topic, watch) in &mut waiting {
                if (&mut *watch).now_or_never().is_some() {
                    woken.insert(topic.clone());
                    watch.rearm();
                }
            }
            let slept: Vec<_> = must.difference(&woken).collect();
            prop_assert!(slept.is_empty(), "missed {:?} by {:?}", slept, envelope);
            let for_nothing: Vec<_> = woken.difference(&may).collect();
            prop_assert!(for_nothing.is_empty(), "woken for nothing {:?} by {:?}", for_nothing, envelope);
            before = after;
        }
        drop(waiting);
        prop_assert_eq!(watches.parked(), 0);
    }
}
