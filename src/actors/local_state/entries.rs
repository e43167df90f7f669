//! What lives on this agent, what of it the catalog has, and what must be sent to make them equal.
//!
//! Pure: no clock, no actor, no proposer. The agent is the authority for its own node: what the
//! catalog holds beyond it is removed, what differs is registered again. Two entries are the
//! leader's and left alone: the `serfHealth` check and, on servers, the `consul` service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::endpoints::agent::LocalSnapshot;
use crate::state::Command;
use crate::state::command::{Deregister, Register};
use crate::state::record::{Check, Indexes, Node, Service, StringMap};
use crate::state::view::NodeEntry;

/// The check the leader keeps for every member.
pub const SERF_HEALTH: &str = "serfHealth";
/// The service the leader keeps for every server.
pub const CONSUL_SERVICE: &str = "consul";
/// The check that puts a node into maintenance.
pub const NODE_MAINTENANCE: &str = "_node_maintenance";
/// What stands in front of a service's id in its maintenance check.
pub const SERVICE_MAINTENANCE: &str = "_service_maintenance:";

/// Something on this agent and whether the catalog is known to have it so.
#[derive(Debug, Clone)]
struct Entry<T> {
    value: Arc<T>,
    in_sync: bool,
}

/// One thing to send, and what it settles.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What to propose.
    pub command: Command,
    /// What is in sync once it is applied.
    pub settles: Settles,
}

/// What a [`Step`] settles, as it was when the step was planned: what changed meanwhile stays
/// unsettled.
#[derive(Debug, Clone, PartialEq)]
pub enum Settles {
    /// The node itself.
    Node,
    /// A service, and the node.
    Service(Arc<Service>),
    /// A check, and the node.
    Check(Arc<Check>),
    /// A service that is to be gone.
    GoneService(Arc<str>),
    /// A check that is to be gone.
    GoneCheck(Arc<str>),
}

/// Everything that lives on this agent.
#[derive(Debug, Clone)]
pub struct Entries {
    node: Node,
    server: bool,
    node_in_sync: bool,
    services: BTreeMap<Arc<str>, Entry<Service>>,
    checks: BTreeMap<Arc<str>, Entry<Check>>,
    gone_services: BTreeSet<Arc<str>>,
    gone_checks: BTreeSet<Arc<str>>,
}

impl Entries {
    /// Nothing but the node. `server` protects the `consul` service.
    pub const fn new(node: Node, server: bool) -> Self {
        Self {
            node,
            server,
            node_in_sync: false,
            services: BTreeMap::new(),
            checks: BTreeMap::new(),
            gone_services: BTreeSet::new(),
            gone_checks: BTreeSet::new(),
        }
    }

    /// Name of the node.
    pub fn node_name(&self) -> &Arc<str> {
        &self.node.node
    }

    /// For readers.
    pub fn snapshot(&self) -> LocalSnapshot {
        let services = self.services.iter();
        let checks = self.checks.iter();
        LocalSnapshot {
            services: services.map(|(id, entry)| (Arc::clone(id), Arc::clone(&entry.value))).collect(),
            checks: checks.map(|(id, entry)| (Arc::clone(id), Arc::clone(&entry.value))).collect(),
        }
    }

    /// Adds or replaces a service.
    pub fn put_service(&mut self, service: Service) {
        let id = Arc::clone(&service.id);
        self.gone_services.remove(&id);
        self.services.insert(id, Entry { value: Arc::new(service), in_sync: false });
    }

    /// Removes a service and its checks; false if it is unknown.
    pub fn remove_service(&mut self, id: &str) -> bool {
        let Some((id, _)) = self.services.remove_entry(id) else { return false };
        // The catalog removes the checks along with their service.
        self.checks.retain(|_, check| check.value.service_id != *id);
        self.gone_services.insert(id);
        true
    }

    /// Adds or replaces a check; name, tags and node are filled in from what it belongs to. One that
    /// equals what is there already changes nothing.
    pub fn put_check(&mut self, mut check: Check) {
        check.node = Arc::clone(&self.node.node);
        if let Some(service) = self.services.get(&*check.service_id) {
            check.service_name = service.value.service.to_string();
            check.service_tags.clone_from(&service.value.tags);
        }
        let id = Arc::clone(&check.check_id);
        self.gone_checks.remove(&id);
        if self.checks.get(&id).is_none_or(|known| *known.value != check) {
            self.checks.insert(id, Entry { value: Arc::new(check), in_sync: false });
        }
    }

    /// Removes a check; false if it is unknown.
    pub fn remove_check(&mut self, id: &str) -> bool {
        let Some((id, _)) = self.checks.remove_entry(id) else { return false };
        self.gone_checks.insert(id);
        true
    }

    /// Replaces the node's metadata.
    pub fn set_meta(&mut self, meta: StringMap) {
        if self.node.meta.as_ref() != Some(&meta) {
            self.node.meta = Some(meta);
            self.node_in_sync = false;
        }
    }

    /// Puts the node into maintenance for a reason or takes it out.
    pub fn set_node_maintenance(&mut self, reason: Option<String>) {
        match reason {
            // Being in maintenance already, it stays there for the first reason.
            Some(_) if self.checks.contains_key(NODE_MAINTENANCE) => {}
            Some(notes) => self.put_check(Check {
                check_id: NODE_MAINTENANCE.into(),
                name: "Node Maintenance Mode".to_owned(),
                notes,
                ..maintenance()
            }),
            None => {
                self.remove_check(NODE_MAINTENANCE);
            }
        }
    }

    /// Puts a service into maintenance for a reason or takes it out; false if it is unknown.
    pub fn set_service_maintenance(&mut self, service_id: &str, reason: Option<String>) -> bool {
        if !self.services.contains_key(service_id) {
            return false;
        }
        let check_id = format!("{SERVICE_MAINTENANCE}{service_id}");
        match reason {
            Some(_) if self.checks.contains_key(&*check_id) => {}
            Some(notes) => self.put_check(Check {
                check_id: check_id.into(),
                name: "Service Maintenance Mode".to_owned(),
                notes,
                service_id: service_id.to_owned(),
                ..maintenance()
            }),
            None => {
                self.remove_check(&check_id);
            }
        }
        true
    }

    /// Looks at what the catalog has of this node and marks whatever differs.
    pub fn compare(&mut self, catalog: Option<&NodeEntry>) {
        let nothing =
            NodeEntry { node: Arc::default(), services: imbl::OrdMap::new(), checks: imbl::OrdMap::new() };
        let catalog = catalog.unwrap_or(&nothing);
        self.node_in_sync = same_node(&catalog.node, &self.node);
        for entry in self.services.values_mut() {
            let known = catalog.services.values().find(|known| known.id == entry.value.id);
            entry.in_sync = known
                .is_some_and(|known| **known == Service { indexes: known.indexes, ..(*entry.value).clone() });
        }
        for entry in self.checks.values_mut() {
            let known = catalog.checks.values().find(|known| known.check_id == entry.value.check_id);
            entry.in_sync = known
                .is_some_and(|known| **known == Check { indexes: known.indexes, ..(*entry.value).clone() });
        }
        self.gone_services = catalog
            .services
            .values()
            .map(|known| &known.id)
            .filter(|id| !(self.server && ***id == *CONSUL_SERVICE))
            .filter(|id| !self.services.contains_key(&***id))
            .cloned()
            .collect();
        self.gone_checks = catalog
            .checks
            .values()
            .filter(|known| *known.check_id != *SERF_HEALTH)
            // Those of a service that goes, go with it.
            .filter(|known| !self.gone_services.contains(&*known.service_id))
            .map(|known| &known.check_id)
            .filter(|id| !self.checks.contains_key(&***id))
            .cloned()
            .collect();
    }

    /// What is to be sent, in order: what goes, then services, checks, and the node if nothing else
    /// carries it.
    pub fn plan(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let deregister = |service_id: &str, check_id: &str| {
            Command::Deregister(Deregister {
                node: Arc::clone(&self.node.node),
                service_id: service_id.to_owned(),
                check_id: check_id.to_owned(),
            })
        };
        for id in &self.gone_services {
            steps.push(Step { command: deregister(id, ""), settles: Settles::GoneService(Arc::clone(id)) });
        }
        for id in &self.gone_checks {
            steps.push(Step { command: deregister("", id), settles: Settles::GoneCheck(Arc::clone(id)) });
        }
        let mut node_in_sync = self.node_in_sync;
        let mut register = |service: Option<Service>, checks: Vec<Check>| {
            let skip_node_update = std::mem::replace(&mut node_in_sync, true);
            let node = self.node.clone();
            Command::Register(Box::new(Register { node, skip_node_update, service, checks }))
        };
        for entry in self.services.values().filter(|entry| !entry.in_sync) {
            let command = register(Some((*entry.value).clone()), Vec::new());
            steps.push(Step { command, settles: Settles::Service(Arc::clone(&entry.value)) });
        }
        for entry in self.checks.values().filter(|entry| !entry.in_sync) {
            let command = register(None, vec![(*entry.value).clone()]);
            steps.push(Step { command, settles: Settles::Check(Arc::clone(&entry.value)) });
        }
        if !node_in_sync {
            let command = Command::Register(Box::new(Register {
                node: self.node.clone(),
                skip_node_update: false,
                service: None,
                checks: Vec::new(),
            }));
            steps.push(Step { command, settles: Settles::Node });
        }
        steps
    }

    /// Notes that a step was applied.
    pub fn settle(&mut self, settled: &Settles) {
        match settled {
            Settles::Node => {}
            Settles::Service(service) => {
                if let Some(entry) = self.services.get_mut(&service.id) {
                    entry.in_sync |= Arc::ptr_eq(&entry.value, service);
                }
            }
            Settles::Check(check) => {
                if let Some(entry) = self.checks.get_mut(&check.check_id) {
                    entry.in_sync |= Arc::ptr_eq(&entry.value, check);
                }
            }
            Settles::GoneService(id) => {
                self.gone_services.remove(id);
                return;
            }
            Settles::GoneCheck(id) => {
                self.gone_checks.remove(id);
                return;
            }
        }
        self.node_in_sync = true;
    }
}

/// What maintenance checks have in common.
fn maintenance() -> Check {
    Check { status: "critical".to_owned(), kind: "maintenance".to_owned(), ..Check::default() }
}

fn same_node(known: &Node, own: &Node) -> bool {
    *known
        == Node { indexes: Indexes { ..known.indexes }, datacenter: known.datacenter.clone(), ..own.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        Node {
            id: "11111111-2222-3333-4444-555555555555".into(),
            node: "n1".into(),
            address: "10.0.0.1".into(),
            datacenter: "dc1".into(),
            tagged_addresses: Some(StringMap::from([("lan".into(), "10.0.0.1".into())])),
            meta: Some(StringMap::new()),
            indexes: Indexes::default(),
        }
    }

    fn catalog(node: Node, services: &[Service], checks: &[Check]) -> NodeEntry {
        let indexes = Indexes { create_index: 3, modify_index: 4 };
        NodeEntry {
            node: Arc::new(Node { indexes, ..node }),
            services: services
                .iter()
                .map(|found| (Arc::clone(&found.id), Arc::new(Service { indexes, ..found.clone() })))
                .collect(),
            checks: checks
                .iter()
                .map(|found| (Arc::clone(&found.check_id), Arc::new(Check { indexes, ..found.clone() })))
                .collect(),
        }
    }

    fn service(id: &str) -> Service {
        Service { id: id.into(), service: "web".into(), tags: vec!["a".into()], ..Service::default() }
    }

    fn check(id: &str, service_id: &str) -> Check {
        Check { node: "n1".into(), check_id: id.into(), service_id: service_id.into(), ..Check::default() }
    }

    fn words(entries: &Entries) -> Vec<String> {
        entries
            .plan()
            .iter()
            .map(|step| match (&step.command, &step.settles) {
                (Command::Register(register), settles) => {
                    let node = if register.skip_node_update { "" } else { "+node" };
                    match settles {
                        Settles::Service(service) => format!("service {}{node}", service.id),
                        Settles::Check(check) => format!("check {}{node}", check.check_id),
                        other => format!("{other:?}").to_lowercase(),
                    }
                }
                (_, settles) => format!("{settles:?}"),
            })
            .collect()
    }

    fn settle_all(entries: &mut Entries) {
        for step in entries.plan() {
            entries.settle(&step.settles);
        }
    }

    #[test]
    fn a_fresh_agent_sends_its_node() {
        let mut entries = Entries::new(node(), true);
        entries.compare(None);
        assert_eq!(words(&entries), ["node"]);
        settle_all(&mut entries);
        assert_eq!(entries.plan(), []);
    }

    #[test]
    fn a_node_is_sent_when_anything_of_it_differs() {
        type Change = fn(&mut Node);
        let table: [(&str, Change, bool); 6] = [
            ("the same", |_| {}, false),
            ("another id", |node| node.id = "x".into(), true),
            ("another address", |node| node.address = "10.0.0.2".into(), true),
            ("no tagged addresses", |node| node.tagged_addresses = None, true),
            ("no metadata", |node| node.meta = None, true),
            ("only the datacenter is unset", |node| node.datacenter = String::new(), false),
        ];
        for (case, change, sent) in table {
            let mut known = node();
            change(&mut known);
            let mut entries = Entries::new(node(), true);
            entries.compare(Some(&catalog(known, &[], &[])));
            assert_eq!(entries.plan().len(), usize::from(sent), "{case}");
        }
    }

    #[test]
    fn the_leaders_entries_are_left_alone() {
        let consul = Service { id: "consul".into(), service: "consul".into(), ..Service::default() };
        let known = catalog(node(), &[consul], &[check("serfHealth", "")]);
        let mut server = Entries::new(node(), true);
        server.compare(Some(&known));
        assert_eq!(server.plan(), []);
        let mut client = Entries::new(node(), false);
        client.compare(Some(&known));
        assert_eq!(words(&client), ["GoneService(\"consul\")"]);
    }

    #[test]
    fn what_only_the_catalog_has_goes_and_checks_go_with_their_service() {
        let known = catalog(
            node(),
            &[service("old")],
            &[check("of-old", "old"), check("stray", ""), check("serfHealth", "")],
        );
        let mut entries = Entries::new(node(), true);
        entries.compare(Some(&known));
        assert_eq!(words(&entries), ["GoneService(\"old\")", "GoneCheck(\"stray\")"]);
        settle_all(&mut entries);
        assert_eq!(entries.plan(), []);
    }

    #[test]
    fn only_what_changed_is_sent() {
        let mut entries = Entries::new(node(), true);
        entries.compare(Some(&catalog(node(), &[], &[])));
        entries.put_service(service("w1"));
        entries.put_check(check("c", "w1"));
        assert_eq!(words(&entries), ["service w1", "check c"]);
        let snapshot = entries.snapshot();
        assert_eq!(
            (&*snapshot.checks["c"].service_name, &snapshot.checks["c"].service_tags[..]),
            ("web", &["a".to_owned()][..])
        );
        settle_all(&mut entries);
        entries.put_check(check("c", "w1"));
        assert_eq!(entries.plan(), [], "an equal check is no change");
        entries.put_check(Check { status: "passing".into(), ..check("c", "w1") });
        assert_eq!(words(&entries), ["check c"]);
    }

    #[test]
    fn what_changes_while_it_is_sent_is_sent_again() {
        let mut entries = Entries::new(node(), true);
        entries.compare(Some(&catalog(node(), &[], &[])));
        entries.put_check(check("c", ""));
        let sent = entries.plan();
        entries.put_check(Check { status: "passing".into(), ..check("c", "") });
        entries.settle(&sent[0].settles);
        assert_eq!(words(&entries), ["check c"]);
    }

    #[test]
    fn removing_what_was_sent_takes_it_out_of_the_catalog() {
        let mut entries = Entries::new(node(), true);
        entries.compare(Some(&catalog(node(), &[], &[])));
        entries.put_service(service("w1"));
        entries.put_check(check("c", "w1"));
        settle_all(&mut entries);
        assert!(entries.remove_service("w1"));
        assert!(!entries.remove_service("w1"));
        assert_eq!(words(&entries), ["GoneService(\"w1\")"]);
        assert!(entries.snapshot().checks.is_empty());
    }

    #[test]
    fn maintenance() {
        let mut entries = Entries::new(node(), true);
        entries.compare(Some(&catalog(node(), &[], &[])));
        entries.set_node_maintenance(Some("upgrade".into()));
        entries.set_node_maintenance(Some("another reason".into()));
        let check = Arc::clone(&entries.snapshot().checks[NODE_MAINTENANCE]);
        assert_eq!((&*check.notes, &*check.status, &*check.kind), ("upgrade", "critical", "maintenance"));
        settle_all(&mut entries);
        entries.set_node_maintenance(None);
        entries.set_node_maintenance(None);
        assert_eq!(words(&entries), ["GoneCheck(\"_node_maintenance\")"]);

        assert!(!entries.set_service_maintenance("w1", Some("x".into())), "unknown service");
        entries.put_service(service("w1"));
        assert!(entries.set_service_maintenance("w1", Some("broken".into())));
        let check = Arc::clone(&entries.snapshot().checks["_service_maintenance:w1"]);
        assert_eq!((&*check.service_id, &*check.service_name), ("w1", "web"));
        assert!(entries.set_service_maintenance("w1", None));
        assert!(entries.snapshot().checks.is_empty());
    }
}
