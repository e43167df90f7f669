//! Everything that can be read, of the state and of the model, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use bytes::Bytes;

use super::commands::{KEYS, NODE_IDS, NODES, PREFIXES, SERVICES};
use super::model::{Model, low, session_checks};
use crate::state::StateReader;
use crate::state::record::{Check, KvEntry, Node, Service};
use crate::state::view::{TableIndexes, View};

/// An instance as an answer shows it: node, service, checks.
pub type Shown = (Node, Service, Vec<Check>);

impl Model {
    /// Instances that satisfy something, by node and id, with the checks an answer shows.
    pub fn instances(&self, which: impl Fn(&Service) -> bool) -> Vec<Shown> {
        let shown = |((node, id), service): (&(String, String), &Service)| {
            let of_node = |wanted: &str| -> Vec<Check> {
                let checks = self
                    .checks
                    .iter()
                    .filter(|((owner, _), check)| owner == node && low(&check.service_id) == wanted);
                checks.map(|(_, check)| check.clone()).collect()
            };
            let checks = [of_node(""), of_node(id)].concat();
            (self.nodes[node].clone(), service.clone(), checks)
        };
        self.services.iter().filter(|(_, service)| which(service)).map(shown).collect()
    }

    /// Instances of a service.
    pub fn named(&self, name: &str) -> Vec<Shown> {
        self.instances(|service| low(&service.service) == low(name))
    }

    /// Instances that serve a name through Connect.
    pub fn connected(&self, name: &str) -> Vec<Shown> {
        self.instances(|service| destination(service).is_some_and(|destination| destination == low(name)))
    }

    fn catalog_index(&self, checks: bool) -> u64 {
        let index = self.index_of("nodes").max(self.index_of("services"));
        if checks { index.max(self.index_of("checks")) } else { index }
    }

    fn row_index(&self, name: &str, found: bool, checks: bool) -> u64 {
        let extinction = self.index_of("extinction");
        let own = self.index_of(&format!("service.{}", low(name)));
        match (found, extinction, own) {
            (false, 1.., _) => extinction,
            (_, _, 1..) => own,
            _ => self.catalog_index(checks),
        }
    }

    pub fn service_index(&self, name: &str, checks: bool) -> u64 {
        self.row_index(name, !self.named(name).is_empty(), checks)
    }

    pub fn connect_index(&self, name: &str, checks: bool) -> u64 {
        let found = self.connected(name);
        if found.is_empty() || !checks {
            return self.row_index(name, !found.is_empty(), checks);
        }
        found.iter().map(|(_, service, _)| self.row_index(&service.service, true, true)).max().unwrap()
    }
}

fn destination(service: &Service) -> Option<String> {
    if service.kind == "connect-proxy" {
        Some(low(&service.proxy.destination_service_name))
    } else {
        service.connect.native.then(|| low(&service.service))
    }
}

/// Compares every read of the state with the model's.
pub fn compare(model: &Model, reader: &StateReader) {
    let view = reader.view_full();
    assert_eq!(view.index, model.index, "applied index");
    compare_indexes(model, &view);
    compare_catalog(model, &view);
    compare_services(model, &view);
    compare_sessions(model, &view);
    compare_keys(model, reader);
}

fn compare_indexes(model: &Model, view: &View) {
    let want = TableIndexes {
        nodes: model.index_of("nodes"),
        services: model.index_of("services"),
        checks: model.index_of("checks"),
        kvs: model.index_of("kvs"),
        tombstones: model.index_of("tombstones"),
        sessions: model.index_of("sessions"),
        coordinates: model.index_of("coordinates"),
        service_extinction: model.index_of("extinction"),
    };
    assert_eq!(view.indexes, want, "table indexes");
    assert_eq!(view.nodes_index(), want.nodes);
    assert_eq!(view.node_services_index(), want.nodes.max(want.services));
    assert_eq!(view.services_index(), want.services);
    assert_eq!(view.kv_index(), want.kvs.max(want.tombstones));
    for checks in [false, true] {
        assert_eq!(view.catalog_index(checks), model.catalog_index(checks));
        for name in SERVICES.iter().chain(&["ghost"]) {
            let by_meta = if checks { model.row_index(name, true, true) } else { want.checks };
            assert_eq!(view.service_checks_index(name, checks), by_meta, "checks of {name}");
            let asked = format!("{name}, checks {checks}");
            assert_eq!(
                view.service_index(name, checks),
                model.service_index(name, checks),
                "service {asked}"
            );
            assert_eq!(
                view.connect_index(name, checks),
                model.connect_index(name, checks),
                "connect {asked}"
            );
        }
    }
    let own_indexes = model
        .indexes
        .iter()
        .filter_map(|(name, index)| name.strip_prefix("service.").map(|name| (name.to_owned(), *index)));
    let named = view.services.iter().map(|(name, entry)| (name.to_string(), entry.index));
    let idle = view.idle_services.iter().map(|(name, index)| (name.to_string(), *index));
    assert_eq!(named.chain(idle).collect::<BTreeMap<_, _>>(), own_indexes.collect(), "indexes of services");
}

fn compare_catalog(model: &Model, view: &View) {
    let mut nodes = BTreeMap::new();
    let mut services = BTreeMap::new();
    let mut checks = BTreeMap::new();
    for (name, entry) in &view.nodes {
        nodes.insert(name.to_string(), (*entry.node).clone());
        for (id, service) in &entry.services {
            services.insert((name.to_string(), id.to_string()), (**service).clone());
        }
        for (id, check) in &entry.checks {
            checks.insert((name.to_string(), id.to_string()), (**check).clone());
        }
    }
    assert_eq!(nodes, model.nodes, "nodes");
    assert_eq!(services, model.services, "services");
    assert_eq!(checks, model.checks, "checks");
    assert_eq!(view.autopilot.as_deref(), model.autopilot.as_ref(), "autopilot");
    let coordinates = view.coordinates.iter().map(|((node, segment), coordinate)| {
        ((node.to_string(), segment.to_string()), (**coordinate).clone())
    });
    assert_eq!(coordinates.collect::<BTreeMap<_, _>>(), model.coordinates, "coordinates");
    for name in NODES {
        let found = view.node(name).map(|entry| (*entry.node).clone());
        assert_eq!(found, model.nodes.get(&low(name)).cloned(), "node {name}");
    }
    for id in NODE_IDS {
        let found = view.node_by_id(id).map(|entry| &*entry.node);
        assert_eq!(found, model.node_by_id(id), "node with id {id:?}");
    }
    let with_id = model.nodes.values().filter(|node| !node.id.is_empty()).count();
    assert_eq!(view.node_ids.len(), with_id, "node ids");
}

fn compare_services(model: &Model, view: &View) {
    let shown = |instances: Vec<crate::state::view::Instance>| -> Vec<Shown> {
        let shown = instances.into_iter().map(|instance| {
            let checks = instance.checks().map(|check| (**check).clone()).collect();
            ((*instance.entry.node).clone(), (*instance.service).clone(), checks)
        });
        shown.collect()
    };
    for name in SERVICES.iter().chain(&["ghost"]) {
        assert_eq!(shown(view.instances(name)), model.named(name), "instances of {name}");
        assert_eq!(shown(view.connect_instances(name)), model.connected(name), "connect instances of {name}");
    }
    let named: BTreeSet<String> = model.services.values().map(|service| low(&service.service)).collect();
    assert_eq!(
        view.services.keys().map(ToString::to_string).collect::<BTreeSet<_>>(),
        named,
        "service names"
    );
    let connected: BTreeSet<String> = model.services.values().filter_map(destination).collect();
    let found = view.connect.keys().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(found, connected, "connect destinations");
}

fn compare_sessions(model: &Model, view: &View) {
    let sessions = view.sessions.iter().map(|(id, session)| (id.to_string(), (**session).clone()));
    assert_eq!(sessions.collect::<BTreeMap<_, _>>(), model.sessions, "sessions");

    type Sets<K> = BTreeMap<K, BTreeSet<String>>;
    let (mut of_nodes, mut of_checks, mut locks) = (Sets::new(), Sets::new(), BTreeMap::new());
    for (id, session) in &model.sessions {
        of_nodes.entry(low(&session.node)).or_default().insert(id.clone());
        for check in session_checks(session) {
            of_checks.entry((low(&session.node), low(&check))).or_default().insert(id.clone());
        }
    }
    for (key, entry) in &model.keys {
        if let Some(session) = &entry.session {
            locks.entry(session.to_string()).or_insert_with(BTreeSet::new).insert(key.clone());
        }
    }
    let texts = |set: &imbl::OrdSet<std::sync::Arc<str>>| -> BTreeSet<String> {
        set.iter().map(ToString::to_string).collect()
    };
    let found = view.node_sessions.iter().map(|(node, ids)| (node.to_string(), texts(ids)));
    assert_eq!(found.collect::<Sets<_>>(), of_nodes, "sessions of nodes");
    let found = view
        .check_sessions
        .iter()
        .map(|((node, check), ids)| ((node.to_string(), check.to_string()), texts(ids)));
    assert_eq!(found.collect::<Sets<_>>(), of_checks, "sessions of checks");
    let found = view.locks.iter().map(|(id, keys)| (id.to_string(), keys.iter().cloned().collect()));
    assert_eq!(found.collect::<BTreeMap<_, BTreeSet<Bytes>>>(), locks, "locks");
    let delays = view.lock_delays.iter().map(|(key, until)| (key.clone(), *until));
    assert_eq!(delays.collect::<BTreeMap<_, _>>(), model.lock_delays, "lock delays");
}

fn compare_keys(model: &Model, reader: &StateReader) {
    for key in KEYS.iter().chain(&PREFIXES) {
        let key = Bytes::from_static(key);
        let found = reader.kv_get(&key, |row| row.to_entry(key.clone())).unwrap();
        assert_eq!(found.as_ref(), model.keys.get(&key), "key {key:?}");

        let mut below: Vec<KvEntry> = Vec::new();
        reader
            .kv_scan(&key, |key, row| {
                below.push(row.to_entry(Bytes::copy_from_slice(key)));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(below, model.below(&key), "keys below {key:?}");

        let buried = model.tombstones.iter().filter(|(buried, _)| buried.starts_with(&key));
        let want = buried.map(|(_, index)| *index).max().unwrap_or(0);
        assert_eq!(reader.tombstone_index(&key).unwrap(), want, "tombstones below {key:?}");
    }
}
