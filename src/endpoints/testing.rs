//! What tests of endpoints share: a view built by hand, and endpoints around it that write nowhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use imbl::OrdMap;
use parking_lot::Mutex;

use super::agent::{AgentFacts, Member, MemberStatus, Members, PoolFigures};
use super::coordinate::DatacenterMap;
use super::decode::records::RegisterRequest;
use super::event::{EventBus, Events, UserEvent};
use super::far::{ArchiveBytes, Question, Servers, Told};
use super::operator::{AdminAnswer, AdminRequest};
use super::query::{QueryMeta, QueryOptions};
use super::{
    Applied, EndpointError, EndpointSettings, Endpoints, LeaderRead, Leadership, Peer, Proposer,
    SessionTimers, txn,
};
use crate::state::command::{Register, TxnOp};
use crate::state::piece::Piece;
use crate::state::record::{AutopilotConfig, Check, Coordinate, Node, ProxyConfig, Service, Session};
use crate::state::store::{MemoryStore, WriteStore};
use crate::state::view::{Instance, NodeEntry, fold};
use crate::state::{Command, StateReader, View};

struct Nobody;

impl Proposer for Nobody {
    fn propose(&self, _: Command) -> BoxFuture<'_, Result<Applied, EndpointError>> {
        Box::pin(async { Err(EndpointError::NoLeader) })
    }
}

impl LeaderRead for Nobody {
    fn leadership(&self) -> Arc<Leadership> {
        Arc::default()
    }

    fn check_lease(&self) -> Result<(), EndpointError> {
        Ok(())
    }

    fn barrier(&self) -> Result<Option<BoxFuture<'_, Result<(), EndpointError>>>, EndpointError> {
        Ok(None)
    }
}

impl SessionTimers for Nobody {
    fn renew(&self, _: &str) -> BoxFuture<'_, Result<(), EndpointError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Endpoints of `node1` in `dc1` over an empty state; nothing can be written.
pub fn endpoints() -> Endpoints {
    endpoints_with(View::default())
}

/// Endpoints of `node1` in `dc1` over this state; nothing can be written.
pub fn endpoints_with(view: View) -> Endpoints {
    let view = Arc::new(ArcSwap::from_pointee(view));
    let store = MemoryStore::default().reader();
    endpoints_over(StateReader::new(view, store, Arc::default(), Arc::default()))
}

/// What a registration becomes when it is proposed.
pub fn registration(request: RegisterRequest) -> Register {
    super::registration::prepare(&endpoints(), request).expect("a sound registration")
}

/// Endpoints of `node1` in `dc1` that read this state; nothing can be written.
pub fn endpoints_over(state: StateReader) -> Endpoints {
    Endpoints {
        state,
        proposer: Arc::new(Nobody),
        leader: Arc::new(Nobody),
        sessions: Arc::new(Nobody),
        coordinates: Arc::default(),
        settings: Arc::new(EndpointSettings {
            datacenter: "dc1".into(),
            node_name: "node1".into(),
            node_id: String::new(),
            kv_max_value_size: 512 * 1024,
            txn_max_req_len: 512 * 1024,
            session_ttl_min: Duration::from_secs(10),
            default_query_time: Duration::from_secs(300),
            max_query_time: Duration::from_secs(600),
            disable_coordinates: false,
        }),
        far: None,
    }
}

/// A view built by hand; every part must come after what it hangs on.
#[derive(Debug, Default)]
#[must_use]
pub struct Scene {
    view: View,
}

impl Scene {
    /// A node with metadata.
    pub fn node(mut self, name: &str, meta: &[(&str, &str)]) -> Self {
        let meta = meta.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let node = Node { node: name.into(), meta: Some(meta), ..Node::default() };
        let entry = NodeEntry { node: Arc::new(node), services: OrdMap::new(), checks: OrdMap::new() };
        self.view.nodes.insert(fold(name), Arc::new(entry));
        self
    }

    /// Gives a node an id.
    pub fn id(mut self, node: &str, id: &str) -> Self {
        self.change(node, |entry| {
            entry.node = Arc::new(Node { id: id.to_owned(), ..Node::clone(&entry.node) });
        });
        self.view.node_ids.insert(id.to_lowercase().into(), fold(node));
        self
    }

    /// A service on a node.
    pub fn service(self, node: &str, id: &str, name: &str, tags: &[&str]) -> Self {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        self.with(node, Service { id: id.into(), service: name.into(), tags, ..Service::default() })
    }

    /// A Connect proxy for a service, on a node.
    pub fn proxy(mut self, node: &str, id: &str, name: &str, of: &str) -> Self {
        let proxy = ProxyConfig { destination_service_name: of.to_owned(), ..ProxyConfig::default() };
        self = self.with(
            node,
            Service {
                kind: "connect-proxy".into(),
                id: id.into(),
                service: name.into(),
                proxy,
                ..Service::default()
            },
        );
        self.view.connect.entry(fold(of)).or_default().insert((fold(node), fold(id)));
        self
    }

    /// A check on a node or, with a service id, on that service.
    pub fn check(mut self, node: &str, id: &str, service_id: &str, status: &str) -> Self {
        self.change(node, |entry| {
            let service = entry.services.get(&fold(service_id));
            let check = Check {
                node: node.into(),
                check_id: id.into(),
                name: id.into(),
                status: status.into(),
                service_id: service_id.into(),
                service_name: service.map(|service| service.service.to_string()).unwrap_or_default(),
                ..Check::default()
            };
            entry.checks.insert(fold(id), Arc::new(check));
        });
        self
    }

    /// The view.
    pub fn view(self) -> View {
        self.view
    }

    fn with(mut self, node: &str, service: Service) -> Self {
        let key = (fold(node), fold(&service.id));
        self.view.services.entry(fold(&service.service)).or_default().instances.insert(key);
        self.change(node, |entry| {
            entry.services.insert(fold(&service.id), Arc::new(service));
        });
        self
    }

    fn change(&mut self, node: &str, change: impl FnOnce(&mut NodeEntry)) {
        let entry = self.view.nodes.get_mut(&fold(node)).expect("the node comes first");
        change(Arc::make_mut(entry));
    }
}

/// The service ids of instances.
pub fn names(instances: &[Instance]) -> String {
    instances.iter().map(|instance| &*instance.service.id).collect::<Vec<_>>().join(" ")
}

/// An agent that is alone in its pools.
pub struct LoneMember {
    lan: Member,
    wan: Option<Member>,
}

impl LoneMember {
    /// The agent of these facts; in the pool between datacenters only if it is a server.
    pub fn new(facts: &AgentFacts) -> Self {
        let role = if facts.server { "consul" } else { "node" };
        let tags = [("dc", facts.datacenter.as_str()), ("id", &facts.node_id), ("role", role)];
        let lan = Member {
            name: facts.node_name.clone(),
            address: facts.advertise_lan.clone(),
            port: facts.ports.serf_lan,
            tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            status: MemberStatus::Alive,
            protocol: [1, 5, 2],
            delegate: [2, 5, 4],
        };
        let wan = facts.server.then(|| Member {
            name: format!("{}.{}", facts.node_name, facts.datacenter),
            address: facts.advertise_wan.clone(),
            port: facts.ports.serf_wan,
            ..lan.clone()
        });
        Self { lan, wan }
    }
}

impl Members for LoneMember {
    fn lan(&self) -> Vec<Member> {
        vec![self.lan.clone()]
    }

    fn wan(&self) -> Vec<Member> {
        self.wan.iter().cloned().collect()
    }

    fn figures(&self, wan: bool) -> Option<PoolFigures> {
        (!wan || self.wan.is_some()).then(PoolFigures::default)
    }

    fn coordinate(&self) -> Coordinate {
        Coordinate { vec: vec![0.0; 8], error: 1.5, adjustment: 0.0, height: 10.0e-6 }
    }

    fn wan_coordinates(&self) -> BoxFuture<'_, BTreeMap<String, Coordinate>> {
        let known = self.wan.iter().map(|member| (member.name.clone(), self.coordinate())).collect();
        Box::pin(std::future::ready(known))
    }

    fn join(&self, address: &str, _: bool) -> BoxFuture<'_, Result<(), EndpointError>> {
        let text = format!("Failed to join {address}");
        Box::pin(async move { Err(EndpointError::Refused(text)) })
    }

    fn force_leave(&self, node: &str, _: bool) -> BoxFuture<'_, Result<(), EndpointError>> {
        let error = EndpointError::Refused(format!("agent: No node found with name '{node}'"));
        Box::pin(async move { Err(error) })
    }
}

/// The bus of an agent that is alone: what it fires, it hears.
pub struct LoneBus {
    events: Arc<Events>,
    clock: AtomicU64,
}

impl LoneBus {
    /// A bus to these events.
    pub fn new(events: &Arc<Events>) -> Self {
        Self { events: Arc::clone(events), clock: AtomicU64::new(0) }
    }
}

impl EventBus for LoneBus {
    fn fire(&self, mut event: UserEvent) -> BoxFuture<'_, Result<(), EndpointError>> {
        event.lamport_time = self.clock.fetch_add(1, Ordering::Relaxed) + 1;
        self.events.receive(event);
        Box::pin(async { Ok(()) })
    }
}

/// Servers that have a state and tell all of it, whatever they are asked; they write nothing.
pub struct Mirror {
    pub(super) view: View,
    /// How old their answers are.
    pub last_contact: Duration,
    /// They do not answer.
    pub silent: bool,
    pub(super) asked: Mutex<Vec<(Question, QueryOptions)>>,
}

impl Mirror {
    /// With this state.
    pub fn new(view: View) -> Self {
        Self { view, last_contact: Duration::ZERO, silent: false, asked: Mutex::default() }
    }

    /// What they were asked so far.
    pub fn asked(&self) -> Vec<(Question, QueryOptions)> {
        self.asked.lock().clone()
    }

    fn piece(&self) -> Piece {
        let mut piece = Piece::default();
        for entry in self.view.nodes.values() {
            piece.node(Node::clone(&entry.node));
            for service in entry.services.values() {
                piece.service(&entry.node.node, Service::clone(service));
            }
            for check in entry.checks.values() {
                piece.check(Check::clone(check));
            }
        }
        piece
    }
}

fn unasked<'a, T: Send + 'a>() -> Told<'a, T> {
    Box::pin(async { Err(EndpointError::NotImplemented("the mirror only shows".into())) })
}

impl Servers for Mirror {
    fn known(&self) -> usize {
        1
    }

    fn ask<'a>(&'a self, question: &'a Question, options: &'a QueryOptions) -> Told<'a, (QueryMeta, Piece)> {
        self.asked.lock().push((question.clone(), options.clone()));
        let meta = QueryMeta {
            index: 7,
            known_leader: true,
            last_contact: self.last_contact,
            ..QueryMeta::default()
        };
        let told = (!self.silent).then(|| (meta, self.piece()));
        Box::pin(async { told.ok_or_else(|| EndpointError::Internal("No known Consul servers".into())) })
    }

    fn create_session(&self, _: Session) -> Told<'_, Arc<str>> {
        unasked()
    }

    fn renew_session<'a>(&'a self, _: &'a str, _: &'a QueryOptions) -> Told<'a, Option<Arc<Session>>> {
        unasked()
    }

    fn read_transaction<'a>(
        &'a self,
        _: Vec<TxnOp>,
        _: &'a QueryOptions,
    ) -> Told<'a, (QueryMeta, txn::Answer)> {
        unasked()
    }

    fn leader<'a>(&'a self, _: Option<&'a str>) -> Told<'a, String> {
        unasked()
    }

    fn peers<'a>(&'a self, _: Option<&'a str>) -> Told<'a, Vec<String>> {
        unasked()
    }

    fn raft_members<'a>(&'a self, _: &'a QueryOptions) -> Told<'a, Vec<Peer>> {
        unasked()
    }

    fn autopilot<'a>(&'a self, _: &'a QueryOptions) -> Told<'a, AutopilotConfig> {
        unasked()
    }

    fn admin(&self, _: AdminRequest) -> Told<'_, AdminAnswer> {
        unasked()
    }

    fn datacenters(&self) -> Told<'_, Vec<String>> {
        unasked()
    }

    fn datacenter_maps(&self) -> Told<'_, Vec<DatacenterMap>> {
        unasked()
    }

    fn snapshot<'a>(&'a self, _: &'a QueryOptions) -> Told<'a, (QueryMeta, ArchiveBytes)> {
        unasked()
    }
}
