//! The servers, as a client agent asks them.
//!
//! A client agent has no state. Every read says which [`Question`] it is ([`BlockingRead::question`]);
//! the servers' answer comes back as a [`Piece`] of their state, and the same code that reads a whole
//! state finds, filters and renders what is in the piece. Freshness and waiting are the servers'
//! business; index and age of the answer are theirs too. What is no read of the state has a method of
//! its own in [`Servers`]. May not enter: sockets, encodings; whoever implements [`Servers`] brings them.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, Either, select};
use futures::stream::BoxStream;

use super::blocking::{BlockingRead, Drain};
use super::coordinate::DatacenterMap;
use super::operator::{AdminAnswer, AdminRequest};
use super::query::{Consistency, QueryMeta, QueryOptions};
use super::service_query::Target;
use super::txn;
use super::{EndpointError, Endpoints, Peer, RPC_ERROR};
use crate::state::command::TxnOp;
use crate::state::piece::Piece;
use crate::state::record::{AutopilotConfig, Session, StringMap};

/// What the servers are asked for, with everything they need to know of it. Names, filters and the rest are as
/// the caller gave them; the servers say what is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// One key.
    Key(Bytes),
    /// The keys below a prefix.
    KeysBelow(Bytes),
    /// Their names, each cut after the first separator behind the prefix.
    KeyNames {
        /// The prefix.
        prefix: Bytes,
        /// The separator; empty for whole names.
        separator: Bytes,
    },
    /// Nodes.
    Nodes {
        /// Only with this metadata.
        node_meta: StringMap,
        /// Nearest to this node first; empty for the order of names.
        near: String,
        /// Only those that pass; empty for all.
        filter: String,
    },
    /// A node and its services, by its name or the beginning of its id.
    NodeServices {
        /// Name or beginning of the id.
        node: String,
        /// Only services that pass; empty for all.
        filter: String,
    },
    /// The names of all services with their tags.
    ServiceNames {
        /// Only on nodes with this metadata.
        node_meta: StringMap,
    },
    /// The instances of a service.
    Service(Box<ServiceQuestion>),
    /// The instances at an address.
    ServicesAt(IpAddr),
    /// The checks of a node.
    NodeChecks {
        /// Its name.
        node: String,
        /// Only those that pass; empty for all.
        filter: String,
    },
    /// The checks of all instances of a service.
    ServiceChecks {
        /// Its name.
        service: String,
        /// Only on nodes with this metadata.
        node_meta: StringMap,
        /// Nearest to this node first; empty for the order of nodes.
        near: String,
        /// Only those that pass; empty for all.
        filter: String,
    },
    /// The checks with a status; `any` for all.
    ChecksInState {
        /// The status.
        status: String,
        /// Only on nodes with this metadata.
        node_meta: StringMap,
        /// Nearest to this node first; empty for the order of nodes.
        near: String,
        /// Only those that pass; empty for all.
        filter: String,
    },
    /// One session.
    Session(Arc<str>),
    /// The sessions of a node.
    NodeSessions(String),
    /// All sessions.
    Sessions,
    /// The coordinates of all nodes.
    Coordinates,
    /// The coordinates of one node.
    NodeCoordinates(String),
}

/// Which instances of a service are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceQuestion {
    /// Its name.
    pub name: String,
    /// What the name stands for.
    pub target: Target,
    /// With their checks (`/v1/health`) or without (`/v1/catalog`).
    pub with_checks: bool,
    /// Tags they must all have.
    pub tags: Vec<String>,
    /// Metadata the node must have.
    pub node_meta: StringMap,
    /// Nearest to this node first; empty for the order of nodes.
    pub near: String,
    /// Only those that pass; empty for all.
    pub filter: String,
}

impl ServiceQuestion {
    /// All instances with their checks, in the order of nodes.
    pub fn healthy(name: &str, target: Target) -> Self {
        Self {
            name: name.to_owned(),
            target,
            with_checks: true,
            tags: Vec::new(),
            node_meta: StringMap::new(),
            near: String::new(),
            filter: String::new(),
        }
    }
}

/// What the servers say, or why they could not be asked.
pub type Told<'a, T> = BoxFuture<'a, Result<T, EndpointError>>;

/// An archive as it comes, piece by piece; nothing follows an error.
pub type ArchiveBytes = BoxStream<'static, io::Result<Bytes>>;

/// The servers of the own datacenter, which know the way to those of others.
///
/// Errors are the servers' own behind `rpc error making call: `, as Consul's agents word them, and
/// [`EndpointError::Internal`] when none could be asked.
pub trait Servers: Send + Sync {
    /// How many servers are known.
    fn known(&self) -> usize;

    /// Asks a question. Waits as long as `options` say.
    fn ask<'a>(&'a self, question: &'a Question, options: &'a QueryOptions) -> Told<'a, (QueryMeta, Piece)>;

    /// Has a session created; the server chooses its id.
    fn create_session(&self, session: Session) -> Told<'_, Arc<str>>;

    /// Starts the time to live of a session anew and tells it, if there is one.
    fn renew_session<'a>(&'a self, id: &'a str, options: &'a QueryOptions) -> Told<'a, Option<Arc<Session>>>;

    /// Runs a transaction that only reads.
    fn read_transaction<'a>(
        &'a self,
        operations: Vec<TxnOp>,
        options: &'a QueryOptions,
    ) -> Told<'a, (QueryMeta, txn::Answer)>;

    /// Address of the leader; empty while there is none.
    fn leader<'a>(&'a self, datacenter: Option<&'a str>) -> Told<'a, String>;

    /// Addresses of the servers.
    fn peers<'a>(&'a self, datacenter: Option<&'a str>) -> Told<'a, Vec<String>>;

    /// The raft members.
    fn raft_members<'a>(&'a self, options: &'a QueryOptions) -> Told<'a, Vec<Peer>>;

    /// The configuration of autopilot.
    fn autopilot<'a>(&'a self, options: &'a QueryOptions) -> Told<'a, AutopilotConfig>;

    /// What operators ask of the leader.
    fn admin(&self, request: AdminRequest) -> Told<'_, AdminAnswer>;

    /// The known datacenters, nearest first.
    fn datacenters(&self) -> Told<'_, Vec<String>>;

    /// Where the servers of each datacenter are.
    fn datacenter_maps(&self) -> Told<'_, Vec<DatacenterMap>>;

    /// The whole state as an archive, as it comes.
    fn snapshot<'a>(&'a self, options: &'a QueryOptions) -> Told<'a, (QueryMeta, ArchiveBytes)>;
}

/// Asks, and asks again for a fresher answer if the one that came is older than the options allow.
///
/// # Errors
/// The servers'.
pub async fn ask(
    servers: &dyn Servers,
    question: &Question,
    options: &QueryOptions,
) -> Result<(QueryMeta, Piece), EndpointError> {
    let (meta, piece) = servers.ask(question, options).await?;
    let bounded = options.consistency == Consistency::Stale && !options.max_stale.is_zero();
    if !bounded || meta.last_contact <= options.max_stale {
        return Ok((meta, piece));
    }
    let fresher = QueryOptions { consistency: Consistency::Default, ..options.clone() };
    servers.ask(question, &fresher).await
}

/// Reads what the servers know.
pub(super) async fn read<R: BlockingRead>(
    endpoints: &Endpoints,
    servers: &dyn Servers,
    options: &QueryOptions,
    read: &R,
    drain: &Drain,
) -> Result<(QueryMeta, R::Found), EndpointError> {
    let (mut meta, piece) = match read.question() {
        Some(question) => {
            let asked = Box::pin(ask(servers, &question, options));
            match select(asked, Box::pin(drain.drained())).await {
                Either::Left((told, _)) => told?,
                Either::Right(_) => return Err(EndpointError::Internal("the agent is stopping".into())),
            }
        }
        // Nobody can know anything about it yet.
        None => (QueryMeta { index: 1, known_leader: true, ..QueryMeta::default() }, Piece::default()),
    };
    meta.index = meta.index.max(1);
    meta.consistency = options.consistency;
    let there = Endpoints { state: piece.reader()?, ..endpoints.clone() };
    let (_, found) = read.find(&there, &there.state.view())?;
    Ok((meta, found))
}

/// A refusal that Consul's leader words: agents that are not the leader tell it as having come from there.
pub(super) fn refusal(endpoints: &Endpoints, text: impl Into<String>) -> EndpointError {
    let refused = EndpointError::Refused(text.into());
    if endpoints.far.is_some() || is_elsewhere(endpoints) { told(refused) } else { refused }
}

/// Another server than this one leads.
pub(super) fn is_elsewhere(endpoints: &Endpoints) -> bool {
    let leadership = endpoints.leader.leadership();
    !leadership.is_leader && leadership.leader_address.is_some()
}

/// An error as one hop away from whoever worded it.
pub(super) fn told(error: EndpointError) -> EndpointError {
    match error {
        EndpointError::Refused(text) => EndpointError::Refused(format!("{RPC_ERROR}{text}")),
        other => other,
    }
}

#[cfg(test)]
mod tests;
