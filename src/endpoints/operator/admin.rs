//! What only the leader can do to the raft group, asked from anywhere.
//!
//! A request travels to the leader as it is, so that every server answers an operator alike.

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Endpoints, Operator};
use crate::endpoints::agent::MemberStatus;
use crate::endpoints::{EndpointError, Peer, query};

/// A raft member as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerName {
    /// By node UUID.
    Id(String),
    /// By `ip:port` of its RPC.
    Address(String),
}

impl PeerName {
    /// Whether it names this one.
    pub fn names(&self, id: &str, address: &str) -> bool {
        match self {
            Self::Id(wanted) => wanted == id,
            Self::Address(wanted) => wanted == address,
        }
    }

    /// What is said of one that is no member.
    pub fn unknown(&self) -> EndpointError {
        let (name, value) = match self {
            Self::Id(id) => ("id", id),
            Self::Address(address) => ("address", address),
        };
        EndpointError::Refused(format!("{name} {value:?} was not found in the Raft configuration"))
    }
}

/// Something the leader is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminRequest {
    /// Take a member out of the group.
    RemovePeer(PeerName),
    /// Hand leadership to this server, by node UUID, or to the one that has most of the log.
    TransferLeader(Option<String>),
    /// The health of all servers.
    ServerHealth,
    /// The server with this node UUID stops for good: take it out of the group.
    Leave(String),
}

/// What the leader answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminAnswer {
    /// It is done.
    Done,
    /// [`AdminRequest::ServerHealth`].
    Health(ClusterHealth),
}

/// The health of all servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterHealth {
    /// All of them may be counted on.
    pub healthy: bool,
    /// How many more voters may fail.
    pub failure_tolerance: u64,
    /// The servers.
    pub servers: Vec<ServerHealth>,
}

/// The health of one server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHealth {
    /// Node UUID.
    pub id: String,
    /// Node name.
    pub name: String,
    /// `ip:port` of its RPC.
    pub address: String,
    /// How gossip knows it.
    pub serf_status: MemberStatus,
    /// Version of its build.
    pub version: String,
    /// It leads.
    pub leader: bool,
    /// It votes.
    pub voter: bool,
    /// Nanoseconds since it was heard; -1 for one that cannot be reached.
    pub last_contact_ns: i64,
    /// Its last raft term.
    pub last_term: u64,
    /// Its last raft index.
    pub last_index: u64,
    /// It may be counted on.
    pub healthy: bool,
    /// Since when it is so, milliseconds since the Unix epoch; 0 for one that cannot be reached.
    pub stable_since_ms: u64,
}

/// The way to the leader, for what an operator asks.
pub trait Admin: Send + Sync {
    /// Asks.
    ///
    /// # Errors
    /// [`EndpointError::NoLeader`], or why it cannot be done.
    fn ask(&self, request: AdminRequest) -> BoxFuture<'_, Result<AdminAnswer, EndpointError>>;
}

/// Asks the leader; a client, which has no way to it of its own, asks the servers to do so.
async fn ask(
    endpoints: &Endpoints,
    operator: Option<&Operator>,
    request: AdminRequest,
) -> Result<AdminAnswer, EndpointError> {
    match (&endpoints.far, operator) {
        (Some(servers), _) => servers.admin(request).await,
        (None, Some(operator)) => operator.admin.ask(request).await,
        (None, None) => Err(EndpointError::NoLeader),
    }
}

async fn done(
    endpoints: &Endpoints,
    operator: Option<&Operator>,
    request: AdminRequest,
) -> Result<(), EndpointError> {
    match ask(endpoints, operator, request).await? {
        AdminAnswer::Done => Ok(()),
        AdminAnswer::Health(_) => Err(EndpointError::Internal("the leader answered something else".into())),
    }
}

/// Removes a raft member named by id or by address.
///
/// # Errors
/// [`EndpointError::Invalid`] unless exactly one is given, [`EndpointError::Refused`] for an unknown one and for one that
/// cannot be removed, [`EndpointError::NoLeader`].
pub async fn remove_peer(
    endpoints: &Endpoints,
    operator: Option<&Operator>,
    datacenter: Option<&str>,
    id: Option<&str>,
    address: Option<&str>,
) -> Result<(), EndpointError> {
    let invalid = |text: &str| EndpointError::Invalid(format!("Bad request: {text}"));
    let name = match (id, address) {
        (None, None) => {
            return Err(invalid(
                "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
            ));
        }
        (Some(_), Some(_)) => return Err(invalid("Must specify only one of ?id or ?address")),
        (Some(id), None) => PeerName::Id(id.to_owned()),
        (None, Some(address)) => PeerName::Address(address.to_owned()),
    };
    query::check_datacenter(endpoints, datacenter)?;
    done(endpoints, operator, AdminRequest::RemovePeer(name)).await
}

/// Hands leadership over, to the server with this node UUID or to the best one.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`], [`EndpointError::Refused`] if there is nobody to take it, [`EndpointError::NoLeader`].
pub async fn transfer_leader(
    endpoints: &Endpoints,
    operator: Option<&Operator>,
    datacenter: Option<&str>,
    to: Option<&str>,
) -> Result<(), EndpointError> {
    query::check_datacenter(endpoints, datacenter)?;
    done(endpoints, operator, AdminRequest::TransferLeader(to.map(str::to_owned))).await
}

/// The health of the servers.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`], [`EndpointError::NoLeader`].
pub async fn server_health(
    endpoints: &Endpoints,
    operator: Option<&Operator>,
    datacenter: Option<&str>,
) -> Result<ClusterHealth, EndpointError> {
    query::check_datacenter(endpoints, datacenter)?;
    match ask(endpoints, operator, AdminRequest::ServerHealth).await? {
        AdminAnswer::Health(health) => Ok(health),
        AdminAnswer::Done => Err(EndpointError::Internal("the leader answered something else".into())),
    }
}

/// The member an operator means.
///
/// # Errors
/// [`EndpointError::Refused`] if there is none.
pub fn find_peer<'a>(peers: &'a [Peer], name: &PeerName) -> Result<&'a Peer, EndpointError> {
    peers.iter().find(|peer| name.names(&peer.id, &peer.address)).ok_or_else(|| name.unknown())
}
