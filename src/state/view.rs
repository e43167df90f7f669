//! The published snapshot: the small, hot, joined tables as immutable, structurally shared maps.
//!
//! Cloning a [`View`] is a handful of reference counts; the writer clones it, changes the clone and
//! publishes it. Readers hold one for the length of a request and never see a half-applied command.
//! Key values are not here (they stay in the store); their table indexes are.
//!
//! Lookups ignore the case of node names, service names, service ids and check ids, as Consul's do.
//! Every read says which index it answers for; the rules are Consul 1.8's (which table or service
//! index covers which query) and are what blocking clients rely on.

use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};

use super::record::{AutopilotConfig, Check, Node, NodeCoordinate, Service, Session};
use super::restore::UnderWay;

/// A name in lookup form: lower case.
pub type Folded = Arc<str>;

/// Brings a name into lookup form.
pub fn fold(name: &str) -> Folded {
    if name.chars().any(char::is_uppercase) { name.to_lowercase().into() } else { name.into() }
}

/// Whether two names are one in lookup form.
pub fn same_name(one: &str, other: &str) -> bool {
    one == other || fold(one) == fold(other)
}

/// A node with everything that lives on it.
#[derive(Debug, Clone)]
pub struct NodeEntry {
    /// The node.
    pub node: Arc<Node>,
    /// Its services by folded id.
    pub services: OrdMap<Folded, Arc<Service>>,
    /// Its checks by folded id, those of its services included.
    pub checks: OrdMap<Folded, Arc<Check>>,
}

/// The instances of one service name.
#[derive(Debug, Clone, Default)]
pub struct ServiceEntry {
    /// Index of the last change to an instance, its node or its checks.
    pub index: u64,
    /// (folded node, folded service id), in answer order.
    pub instances: OrdSet<(Folded, Folded)>,
}

/// Highest index of every table; 0 while nothing was ever written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct TableIndexes {
    /// Node records.
    pub nodes: u64,
    /// Service instances.
    pub services: u64,
    /// Checks.
    pub checks: u64,
    /// Keys.
    pub kvs: u64,
    /// Tombstones of deleted keys.
    pub tombstones: u64,
    /// Sessions.
    pub sessions: u64,
    /// Coordinates.
    pub coordinates: u64,
    /// When a service name last lost its last instance.
    pub service_extinction: u64,
}

/// One service instance, joined with its node.
#[derive(Debug, Clone)]
pub struct Instance {
    /// The node and all that lives on it.
    pub entry: Arc<NodeEntry>,
    /// The instance.
    pub service: Arc<Service>,
}

impl Instance {
    /// The node's own checks first, then those of this instance, each by check id.
    pub fn checks(&self) -> impl Iterator<Item = &Arc<Check>> {
        let own = |check: &&Arc<Check>| same_name(&check.service_id, &self.service.id);
        let node = self.entry.checks.values().filter(|check| check.service_id.is_empty());
        node.chain(self.entry.checks.values().filter(own))
    }
}

/// The published snapshot.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Index of the state, which records and answers carry: that of the last applied log entry, and ahead of it once
    /// a state with higher indexes was restored.
    pub index: u64,
    /// Log index of the last applied entry.
    pub applied: u64,
    /// Log index at which a restore replaced the whole state last; 0 for never. Indexes may have gone back there.
    pub restored: u64,
    /// A restore whose pieces are coming in.
    pub restore: Option<Arc<UnderWay>>,
    /// Nodes by folded name.
    pub nodes: OrdMap<Folded, Arc<NodeEntry>>,
    /// Folded node names by node id (lower-case UUID).
    pub node_ids: OrdMap<Arc<str>, Folded>,
    /// Service names by folded name.
    pub services: OrdMap<Folded, ServiceEntry>,
    /// Indexes of service names that lost their last instance by a rename, not by a removal: Consul
    /// 1.8 forgets a name's index with a removal only. By folded name, never one of `services`.
    pub idle_services: OrdMap<Folded, u64>,
    /// (folded node, folded service id) of instances reachable through Connect, by folded destination.
    pub connect: OrdMap<Folded, OrdSet<(Folded, Folded)>>,
    /// Sessions by id.
    pub sessions: OrdMap<Arc<str>, Arc<Session>>,
    /// Session ids by folded node.
    pub node_sessions: OrdMap<Folded, OrdSet<Arc<str>>>,
    /// Keys locked by each session.
    pub locks: OrdMap<Arc<str>, OrdSet<Bytes>>,
    /// Ids of the sessions that depend on a check, by (folded node, folded check id).
    pub check_sessions: OrdMap<(Folded, Folded), OrdSet<Arc<str>>>,
    /// Coordinates by folded node and segment.
    pub coordinates: OrdMap<(Folded, Arc<str>), Arc<NodeCoordinate>>,
    /// Until when a key may not be locked (leader's clock, ms since the epoch).
    pub lock_delays: OrdMap<Bytes, u64>,
    /// How the leader looks after the other servers; none until the first leader has said so.
    pub autopilot: Option<Arc<AutopilotConfig>>,
    /// Highest index of every table.
    pub indexes: TableIndexes,
}

impl View {
    /// A node by name.
    pub fn node(&self, name: &str) -> Option<&Arc<NodeEntry>> {
        self.nodes.get(&*fold(name))
    }

    /// A node by its UUID.
    pub fn node_by_id(&self, id: &str) -> Option<&Arc<NodeEntry>> {
        self.nodes.get(self.node_ids.get(&*id.to_lowercase())?)
    }

    /// The instances of a service by name, ordered by node, then id.
    pub fn instances(&self, name: &str) -> Vec<Instance> {
        self.services.get(&*fold(name)).map_or_else(Vec::new, |entry| self.join(&entry.instances))
    }

    /// The instances that serve a name through Connect: native ones and proxies for it.
    pub fn connect_instances(&self, name: &str) -> Vec<Instance> {
        self.connect.get(&*fold(name)).map_or_else(Vec::new, |instances| self.join(instances))
    }

    fn join(&self, keys: &OrdSet<(Folded, Folded)>) -> Vec<Instance> {
        keys.iter()
            .filter_map(|(node, id)| {
                let entry = self.nodes.get(node)?;
                let service = entry.services.get(id)?;
                Some(Instance { entry: Arc::clone(entry), service: Arc::clone(service) })
            })
            .collect()
    }

    /// Index for a list of node records.
    pub fn nodes_index(&self) -> u64 {
        self.indexes.nodes
    }

    /// Index for what lives on a node (`/v1/catalog/node`).
    pub fn node_services_index(&self) -> u64 {
        self.indexes.nodes.max(self.indexes.services)
    }

    /// Index for the list of service names.
    pub fn services_index(&self) -> u64 {
        self.indexes.services
    }

    /// Index for the instances of a service: the service's own; with no instances the index at which
    /// a service name last lost its last one; else that of the whole catalog. `checks` says whether
    /// the answer holds checks.
    pub fn service_index(&self, name: &str, checks: bool) -> u64 {
        let name = fold(name);
        self.name_index(&name, self.services.contains_key(&name), checks)
    }

    /// Index for the instances that serve a name through Connect (`connect_instances`). With
    /// `checks` (`/v1/health/connect`) it follows the services found, without
    /// (`/v1/catalog/connect`) the name asked for.
    pub fn connect_index(&self, name: &str, checks: bool) -> u64 {
        let name = fold(name);
        let found = self.connect.get(&name);
        if !checks {
            return self.name_index(&name, found.is_some(), false);
        }
        let services = found.into_iter().flat_map(|instances| self.join(instances));
        services
            .map(|instance| self.name_index(&fold(&instance.service.service), true, true))
            .max()
            .unwrap_or_else(|| self.name_index(&name, false, true))
    }

    fn name_index(&self, name: &Folded, found: bool, checks: bool) -> u64 {
        if !found && self.indexes.service_extinction > 0 {
            return self.indexes.service_extinction;
        }
        match self.services.get(name) {
            Some(entry) => entry.index,
            None => self.idle_services.get(name).copied().unwrap_or_else(|| self.catalog_index(checks)),
        }
    }

    /// Index for the checks of a service (`/v1/health/checks`): that of the whole table or, asked for
    /// by node metadata, the service's own without regard to extinctions.
    pub fn service_checks_index(&self, name: &str, by_node_meta: bool) -> u64 {
        if by_node_meta { self.name_index(&fold(name), true, true) } else { self.indexes.checks }
    }

    /// Index of the whole catalog.
    pub fn catalog_index(&self, checks: bool) -> u64 {
        let index = self.indexes.nodes.max(self.indexes.services);
        if checks { index.max(self.indexes.checks) } else { index }
    }

    /// Index for keys that do not exist and for the whole key space.
    pub fn kv_index(&self) -> u64 {
        self.indexes.kvs.max(self.indexes.tombstones)
    }
}

/// Edits that keep the derived indexes of the view true. Only the state's own writer and loader
/// use them, on a copy nobody else sees yet.
impl View {
    /// Notes a node's id.
    pub(super) fn index_node(&mut self, name: &Folded, node: &Node) {
        if !node.id.is_empty() {
            self.node_ids.insert(node.id.to_lowercase().into(), name.clone());
        }
    }

    /// Forgets a node's id, unless another node has taken it.
    pub(super) fn unindex_node(&mut self, name: &Folded, node: &Node) {
        let id: Arc<str> = node.id.to_lowercase().into();
        if self.node_ids.get(&id) == Some(name) {
            self.node_ids.remove(&id);
        }
    }

    /// Puts a service on its node; false if there is no such node.
    pub(super) fn attach_service(&mut self, node: &Folded, service: Arc<Service>) -> bool {
        let Some(entry) = self.nodes.get_mut(node) else { return false };
        let key = (node.clone(), fold(&service.id));
        let name = fold(&service.service);
        let index = self.idle_services.remove(&name);
        let named = self.services.entry(name).or_default();
        named.instances.insert(key.clone());
        named.index = index.unwrap_or(named.index);
        if let Some(destination) = connect_destination(&service) {
            self.connect.entry(destination).or_default().insert(key.clone());
        }
        Arc::make_mut(entry).services.insert(key.1, service);
        true
    }

    /// Takes a service off its node. A name that loses its last instance by it goes to the idle ones.
    pub(super) fn detach_service(&mut self, node: &Folded, service: &Service) {
        let key = (node.clone(), fold(&service.id));
        if let Some(entry) = self.nodes.get_mut(node) {
            Arc::make_mut(entry).services.remove(&key.1);
        }
        let name = fold(&service.service);
        if let Some(named) = self.services.get_mut(&name) {
            named.instances.remove(&key);
            if named.instances.is_empty() {
                let index = named.index;
                self.services.remove(&name);
                self.idle_services.insert(name, index);
            }
        }
        if let Some(destination) = connect_destination(service)
            && let Some(instances) = self.connect.get_mut(&destination)
        {
            instances.remove(&key);
            if instances.is_empty() {
                self.connect.remove(&destination);
            }
        }
    }

    /// Sets the index of a service name, be there instances or not.
    pub(super) fn set_service_index(&mut self, name: &Folded, index: u64) {
        match self.services.get_mut(name) {
            Some(entry) => entry.index = index,
            None => {
                self.idle_services.insert(name.clone(), index);
            }
        }
    }

    /// Index of a service name, if it has one.
    pub(super) fn own_service_index(&self, name: &Folded) -> Option<u64> {
        self.services.get(name).map(|entry| entry.index).or_else(|| self.idle_services.get(name).copied())
    }

    /// Adds a session with its derived indexes.
    pub(super) fn index_session(&mut self, session: &Arc<Session>) {
        let node = fold(&session.node);
        for check in session_checks(session) {
            self.check_sessions.entry((node.clone(), check)).or_default().insert(session.id.clone());
        }
        self.node_sessions.entry(node).or_default().insert(session.id.clone());
        self.sessions.insert(session.id.clone(), Arc::clone(session));
    }

    /// Removes a session from everything but its locks.
    pub(super) fn unindex_session(&mut self, session: &Session) {
        let node = fold(&session.node);
        for check in session_checks(session) {
            remove_from(&mut self.check_sessions, &(node.clone(), check), &session.id);
        }
        remove_from(&mut self.node_sessions, &node, &session.id);
        self.sessions.remove(&session.id);
    }
}

/// The folded name under which a service is reachable through Connect, if it is.
pub fn connect_destination(service: &Service) -> Option<Folded> {
    if service.kind == "connect-proxy" {
        Some(fold(&service.proxy.destination_service_name))
    } else {
        service.connect.native.then(|| fold(&service.service))
    }
}

/// Folded ids of all checks a session depends on.
fn session_checks(session: &Session) -> impl Iterator<Item = Folded> {
    session.check_ids().map(|check| fold(check))
}

fn remove_from<K: Ord + Clone>(map: &mut OrdMap<K, OrdSet<Arc<str>>>, key: &K, id: &Arc<str>) {
    if let Some(set) = map.get_mut(key) {
        set.remove(id);
        if set.is_empty() {
            map.remove(key);
        }
    }
}
