//! The servers, as the endpoints of a client agent know them: questions and writes as calls of Consul's RPC.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::pieces::{Asked, IntoPiece};
use super::snapshot;
use super::wire::Wire;
use crate::agent::options::AgentOptions;
use crate::dial::source_of;
use crate::endpoints::coordinate::DatacenterMap;
use crate::endpoints::decode::records::{DeregisterRequest, RegisterRequest};
use crate::endpoints::far::{ArchiveBytes, Question, Servers, ServiceQuestion, Told};
use crate::endpoints::operator::{AdminAnswer, AdminRequest};
use crate::endpoints::query::{Consistency, QueryMeta, QueryOptions};
use crate::endpoints::service_query::Target;
use crate::endpoints::{Applied, EndpointError, Peer, Proposer, txn};
use crate::metrics::Metrics;
use crate::rpc::client::Effect;
use crate::rpc::codec::{Fields, Unpack};
use crate::rpc::shapes::{self, Query, QuerySource, ReadOptions, Reply};
use crate::state::command::{KvVerb, Register, TxnOp};
use crate::state::piece::Piece;
use crate::state::record::{AutopilotConfig, Session, StringMap};
use crate::state::{Command, Outcome};

/// How long a call may take that waits for nothing but a leader.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The servers of the own datacenter.
pub struct FarSide {
    wire: Wire,
    datacenter: String,
    default_wait: Duration,
    longest_wait: Duration,
}

impl FarSide {
    /// Asks the servers that `servers` names, whoever they are at the time.
    pub fn new(
        options: &AgentOptions,
        servers: watch::Receiver<Vec<SocketAddr>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            wire: Wire::new(
                servers,
                source_of(options.cluster.listen.ip()),
                options.rpc_hold_timeout,
                &options.endpoints.datacenter,
                metrics,
            ),
            datacenter: options.endpoints.datacenter.clone(),
            default_wait: options.endpoints.default_query_time,
            longest_wait: options.endpoints.max_query_time,
        }
    }

    /// The way to the servers.
    pub(super) const fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Addresses of the servers, the one to be asked first.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.wire.servers()
    }

    /// The datacenter asked for, or the own one.
    pub(super) fn datacenter(&self, asked: Option<&str>) -> String {
        asked.filter(|name| !name.is_empty()).unwrap_or(&self.datacenter).to_owned()
    }

    /// How long a read may take: as long as the server waits at most, and some.
    fn patience(&self, options: &QueryOptions) -> Duration {
        if options.min_index == 0 {
            return PATIENCE;
        }
        let wait = if options.max_wait.is_zero() { self.default_wait } else { options.max_wait };
        let wait = wait.min(self.longest_wait);
        wait + wait / 16 + PATIENCE
    }

    async fn read<Q, A>(
        &self,
        method: &'static str,
        own: Q,
        filter: &str,
        options: &QueryOptions,
    ) -> Result<(QueryMeta, A), EndpointError>
    where
        Q: Fields + Sync,
        A: Fields,
    {
        let request = Query { common: ReadOptions::new(options, filter), own };
        let reply: Reply<A> = self.wire.call(method, &request, Effect::Read, self.patience(options)).await?;
        Ok((QueryMeta::from(&reply.common), reply.own))
    }

    /// Reads a piece.
    async fn piece<Q, A>(
        &self,
        method: &'static str,
        own: Q,
        about: About<'_>,
        options: &QueryOptions,
    ) -> Result<(QueryMeta, Piece), EndpointError>
    where
        Q: Fields + Sync,
        A: Fields + IntoPiece,
    {
        let About { filter, near, node_meta } = about;
        let (meta, reply) = self.read::<Q, A>(method, own, filter, options).await?;
        Ok((meta, reply.into_piece(Asked { near, node_meta })))
    }

    fn source(&self, near: &str) -> QuerySource {
        if near.is_empty() {
            return QuerySource::default();
        }
        QuerySource { datacenter: self.datacenter.clone(), node: near.to_owned(), ..QuerySource::default() }
    }

    async fn instances(
        &self,
        question: &ServiceQuestion,
        options: &QueryOptions,
    ) -> Result<(QueryMeta, Piece), EndpointError> {
        let request = shapes::ServiceRequest {
            connect: question.target == Target::Connect,
            ingress: question.target == Target::Ingress,
            datacenter: self.datacenter(options.datacenter.as_deref()),
            node_meta_filters: some(&question.node_meta),
            service_name: question.name.clone(),
            service_tags: question.tags.clone(),
            tag_filter: !question.tags.is_empty(),
            source: self.source(&question.near),
            ..shapes::ServiceRequest::default()
        };
        let about = About { filter: &question.filter, near: &question.near, node_meta: &question.node_meta };
        if question.with_checks {
            let method = "Health.ServiceNodes";
            self.piece::<_, shapes::CheckServiceNodes>(method, request, about, options).await
        } else {
            let method = "Catalog.ServiceNodes";
            self.piece::<_, shapes::ServiceNodes>(method, request, about, options).await
        }
    }

    async fn ask_by_name(
        &self,
        question: &Question,
        options: &QueryOptions,
    ) -> Result<(QueryMeta, Piece), EndpointError> {
        let datacenter = self.datacenter(options.datacenter.as_deref());
        let node = |node: &str| shapes::NodeRequest { datacenter: datacenter.clone(), node: node.to_owned() };
        match question {
            Question::Key(key) => {
                let own = shapes::KeyRequest { datacenter, key: shapes::Key(key.clone()) };
                self.piece::<_, shapes::DirEntries>("KVS.Get", own, PLAIN, options).await
            }
            Question::KeysBelow(prefix) => {
                let own = shapes::KeyRequest { datacenter, key: shapes::Key(prefix.clone()) };
                self.piece::<_, shapes::DirEntries>("KVS.List", own, PLAIN, options).await
            }
            Question::KeyNames { prefix, separator } => {
                let (prefix, separator) = (shapes::Key(prefix.clone()), shapes::Key(separator.clone()));
                let own = shapes::KeyListRequest { datacenter, prefix, separator };
                self.piece::<_, shapes::KeyList>("KVS.ListKeys", own, PLAIN, options).await
            }
            Question::Nodes { node_meta, near, filter } => {
                let own = shapes::DcRequest {
                    datacenter,
                    node_meta_filters: some(node_meta),
                    source: self.source(near),
                };
                let about = About { filter, near, node_meta };
                self.piece::<_, shapes::Nodes>("Catalog.ListNodes", own, about, options).await
            }
            Question::NodeServices { node: name, filter } => {
                let about = About { filter, ..PLAIN };
                let method = "Catalog.NodeServiceList";
                self.piece::<_, shapes::NodeServiceList>(method, node(name), about, options).await
            }
            Question::ServiceNames { node_meta } => {
                let own = shapes::DcRequest {
                    datacenter,
                    node_meta_filters: some(node_meta),
                    ..shapes::DcRequest::default()
                };
                let about = About { node_meta, ..PLAIN };
                self.piece::<_, shapes::Services>("Catalog.ListServices", own, about, options).await
            }
            Question::Service(question) => self.instances(question, options).await,
            Question::ServicesAt(ip) => {
                let own = shapes::ServiceRequest {
                    datacenter,
                    service_address: ip.to_string(),
                    ..shapes::ServiceRequest::default()
                };
                self.piece::<_, shapes::ServiceNodes>("Catalog.ServiceNodes", own, PLAIN, options).await
            }
            Question::NodeSessions(name) => {
                self.piece::<_, shapes::Sessions>("Session.NodeSessions", node(name), PLAIN, options).await
            }
            Question::Session(id) => {
                let own = shapes::SessionRequest::new(&datacenter, id);
                self.piece::<_, shapes::Sessions>("Session.Get", own, PLAIN, options).await
            }
            Question::Sessions => {
                let own = shapes::SessionRequest::new(&datacenter, "");
                self.piece::<_, shapes::Sessions>("Session.List", own, PLAIN, options).await
            }
            Question::Coordinates => {
                let own = shapes::DcRequest { datacenter, ..shapes::DcRequest::default() };
                self.piece::<_, shapes::Coordinates>("Coordinate.ListNodes", own, PLAIN, options).await
            }
            Question::NodeCoordinates(name) => {
                self.piece::<_, shapes::Coordinates>("Coordinate.Node", node(name), PLAIN, options).await
            }
            checks => self.checks(checks, datacenter, options).await,
        }
    }

    async fn checks(
        &self,
        question: &Question,
        datacenter: String,
        options: &QueryOptions,
    ) -> Result<(QueryMeta, Piece), EndpointError> {
        type Checks = shapes::HealthChecks;
        match question {
            Question::ServiceChecks { service, node_meta, near, filter } => {
                let own = shapes::ServiceRequest {
                    datacenter,
                    service_name: service.clone(),
                    node_meta_filters: some(node_meta),
                    source: self.source(near),
                    ..shapes::ServiceRequest::default()
                };
                let about = About { filter, near, node_meta };
                self.piece::<_, Checks>("Health.ServiceChecks", own, about, options).await
            }
            Question::ChecksInState { status, node_meta, near, filter } => {
                let own = shapes::ChecksInStateRequest {
                    datacenter,
                    state: status.clone(),
                    node_meta_filters: some(node_meta),
                    source: self.source(near),
                };
                let about = About { filter, near, node_meta };
                self.piece::<_, Checks>("Health.ChecksInState", own, about, options).await
            }
            Question::NodeChecks { node, filter } => {
                let own = shapes::NodeRequest { datacenter, node: node.clone() };
                let about = About { filter, ..PLAIN };
                self.piece::<_, Checks>("Health.NodeChecks", own, about, options).await
            }
            other => Err(EndpointError::Internal(format!("nobody can be asked {other:?}"))),
        }
    }

    async fn write(&self, command: Command) -> Result<Outcome, EndpointError> {
        let (wire, own) = (&self.wire, &*self.datacenter);
        match command {
            Command::Kv(command) => {
                let told =
                    matches!(command.verb, KvVerb::Cas | KvVerb::Lock | KvVerb::Unlock | KvVerb::DeleteCas);
                let request = shapes::KvsRequest::new(own, command);
                let done: bool = wire.call("KVS.Apply", &request, Effect::Write, PATIENCE).await?;
                // Of the other verbs the reply says nothing.
                Ok(if told { Outcome::Bool(done) } else { Outcome::Done })
            }
            Command::Register(register) => {
                let request = registration(own, *register);
                let () = wire.call("Catalog.Register", &request, Effect::Write, PATIENCE).await?;
                Ok(Outcome::Done)
            }
            Command::Deregister(gone) => {
                let request = DeregisterRequest {
                    datacenter: own.to_owned(),
                    node: gone.node.to_string(),
                    service_id: gone.service_id,
                    check_id: gone.check_id,
                };
                let () = wire.call("Catalog.Deregister", &request, Effect::Write, PATIENCE).await?;
                Ok(Outcome::Done)
            }
            Command::SessionDestroy { id } => {
                let request = shapes::SessionApply::destroy(own, &id);
                let _: String = wire.call("Session.Apply", &request, Effect::Write, PATIENCE).await?;
                Ok(Outcome::Done)
            }
            Command::Txn(operations) => {
                let request = shapes::TxnRequest {
                    datacenter: own.to_owned(),
                    ops: operations.into_iter().map(Into::into).collect(),
                    token: String::new(),
                };
                let reply: shapes::TxnResponse =
                    wire.call("Txn.Apply", &request, Effect::Write, PATIENCE).await?;
                Ok(match transaction(reply) {
                    txn::Answer::Done(results) => Outcome::Txn(results),
                    txn::Answer::Failed(errors) => Outcome::TxnFailed(errors),
                })
            }
            Command::Autopilot { config, cas } => {
                let mut config = shapes::AutopilotConfig::from(&*config);
                config.modify_index = cas.unwrap_or(0);
                let request = shapes::AutopilotSetConfig {
                    cas: cas.is_some(),
                    config,
                    datacenter: own.to_owned(),
                    token: String::new(),
                };
                let method = "Operator.AutopilotSetConfiguration";
                Ok(Outcome::Bool(wire.call(method, &request, Effect::Write, PATIENCE).await?))
            }
            Command::UpdateCoordinates(updates) => {
                for update in updates {
                    let request = shapes::CoordinateUpdate::new(own, update);
                    let () = wire.call("Coordinate.Update", &request, Effect::Write, PATIENCE).await?;
                }
                Ok(Outcome::Done)
            }
            // Sessions are created by a call of their own; the rest is the leader's.
            other => {
                Err(EndpointError::Internal(format!("no server takes {:?} from a client", other.kind())))
            }
        }
    }
}

/// What a question says besides its subject.
#[derive(Clone, Copy)]
struct About<'a> {
    filter: &'a str,
    near: &'a str,
    node_meta: &'a StringMap,
}

static NO_META: StringMap = StringMap::new();
const PLAIN: About<'static> = About { filter: "", near: "", node_meta: &NO_META };

fn some(node_meta: &StringMap) -> Option<StringMap> {
    (!node_meta.is_empty()).then(|| node_meta.clone())
}

fn registration(datacenter: &str, register: Register) -> RegisterRequest {
    let Register { node, skip_node_update, service, mut checks } = register;
    // As Consul's agents do: one travels by itself.
    let check = if checks.len() == 1 { checks.pop() } else { None };
    RegisterRequest { datacenter: datacenter.to_owned(), node, skip_node_update, service, check, checks }
}

fn transaction(reply: shapes::TxnResponse) -> txn::Answer {
    if reply.errors.is_empty() {
        txn::Answer::Done(reply.results.into_iter().filter_map(shapes::TxnResult::into_result).collect())
    } else {
        txn::Answer::Failed(reply.errors.into_iter().map(Into::into).collect())
    }
}

impl Servers for FarSide {
    fn known(&self) -> usize {
        self.wire.known()
    }

    fn ask<'a>(&'a self, question: &'a Question, options: &'a QueryOptions) -> Told<'a, (QueryMeta, Piece)> {
        Box::pin(self.ask_by_name(question, options))
    }

    fn create_session(&self, session: Session) -> Told<'_, Arc<str>> {
        Box::pin(async move {
            let request = shapes::SessionApply::create(&self.datacenter, session);
            let id: String = self.wire.call("Session.Apply", &request, Effect::Write, PATIENCE).await?;
            Ok(id.into())
        })
    }

    fn renew_session<'a>(&'a self, id: &'a str, options: &'a QueryOptions) -> Told<'a, Option<Arc<Session>>> {
        Box::pin(async move {
            let datacenter = self.datacenter(options.datacenter.as_deref());
            let own = shapes::SessionRequest::new(&datacenter, id);
            let (_, reply) = self.read::<_, shapes::Sessions>("Session.Renew", own, "", options).await?;
            Ok(reply.sessions.into_iter().next())
        })
    }

    fn read_transaction<'a>(
        &'a self,
        operations: Vec<TxnOp>,
        options: &'a QueryOptions,
    ) -> Told<'a, (QueryMeta, txn::Answer)> {
        Box::pin(async move {
            let own = shapes::TxnReadRequest {
                datacenter: self.datacenter(options.datacenter.as_deref()),
                ops: operations.into_iter().map(Into::into).collect(),
            };
            let (meta, reply) = self.read::<_, shapes::TxnResponse>("Txn.Read", own, "", options).await?;
            Ok((meta, transaction(reply)))
        })
    }

    fn leader<'a>(&'a self, datacenter: Option<&'a str>) -> Told<'a, String> {
        Box::pin(async move { self.status("Status.Leader", datacenter).await })
    }

    fn peers<'a>(&'a self, datacenter: Option<&'a str>) -> Told<'a, Vec<String>> {
        Box::pin(async move { self.status("Status.Peers", datacenter).await })
    }

    fn admin(&self, request: AdminRequest) -> Told<'_, AdminAnswer> {
        Box::pin(self.ask_leader(request))
    }

    fn datacenters(&self) -> Told<'_, Vec<String>> {
        Box::pin(async move {
            let request = Query { common: ReadOptions::default(), own: () };
            self.wire.call("Catalog.ListDatacenters", &request, Effect::Read, PATIENCE).await
        })
    }

    fn datacenter_maps(&self) -> Told<'_, Vec<DatacenterMap>> {
        Box::pin(async move {
            let maps: Vec<shapes::DatacenterMap> =
                self.wire.call("Coordinate.ListDatacenters", &(), Effect::Read, PATIENCE).await?;
            let map = |map: shapes::DatacenterMap| DatacenterMap {
                datacenter: map.datacenter,
                area: map.area_id.into(),
                servers: map.coordinates,
            };
            Ok(maps.into_iter().map(map).collect())
        })
    }

    fn raft_members<'a>(&'a self, options: &'a QueryOptions) -> Told<'a, Vec<Peer>> {
        Box::pin(async move {
            let reply: shapes::RaftConfiguration =
                self.about_datacenter("Operator.RaftGetConfiguration", options).await?;
            Ok(reply.servers.into_iter().map(Into::into).collect())
        })
    }

    fn autopilot<'a>(&'a self, options: &'a QueryOptions) -> Told<'a, AutopilotConfig> {
        Box::pin(async move {
            let reply: shapes::AutopilotConfig =
                self.about_datacenter("Operator.AutopilotGetConfiguration", options).await?;
            Ok(reply.into())
        })
    }

    fn snapshot<'a>(&'a self, options: &'a QueryOptions) -> Told<'a, (QueryMeta, ArchiveBytes)> {
        Box::pin(async move {
            let datacenter = self.datacenter(options.datacenter.as_deref());
            let stale = options.consistency == Consistency::Stale;
            snapshot::save(&self.addresses(), datacenter, stale).await
        })
    }
}

impl FarSide {
    async fn status<A: Unpack>(
        &self,
        method: &'static str,
        datacenter: Option<&str>,
    ) -> Result<A, EndpointError> {
        let options = QueryOptions { datacenter: datacenter.map(str::to_owned), ..QueryOptions::default() };
        self.about_datacenter(method, &options).await
    }

    pub(super) async fn about_datacenter<A: Unpack>(
        &self,
        method: &'static str,
        options: &QueryOptions,
    ) -> Result<A, EndpointError> {
        let datacenter = self.datacenter(options.datacenter.as_deref());
        let own = shapes::DcRequest { datacenter, ..shapes::DcRequest::default() };
        let request = Query { common: ReadOptions::new(options, ""), own };
        self.wire.call(method, &request, Effect::Read, PATIENCE).await
    }
}

impl Proposer for FarSide {
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, EndpointError>> {
        Box::pin(async move { Ok(Applied { index: 0, outcome: self.write(command).await? }) })
    }
}
