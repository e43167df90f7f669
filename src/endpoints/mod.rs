//! What each API does, once, for every transport: arguments in, answer out.
//!
//! HTTP today and RPC later call the same functions. Owns the business rules of every endpoint
//! family: validation and its texts, which index an answer carries, what it waits for, filters and
//! sorting. May not enter: actix-web, hickory, RocksDB, raft. Writes go through [`Proposer`], reads
//! through the published snapshot behind [`Endpoints::state`].

pub mod agent;
pub mod blocking;
pub mod catalog;
pub mod coordinate;
pub mod decode;
pub mod dns_query;
pub mod event;
pub mod far;
pub mod filter;
pub mod health;
pub mod host;
pub mod internal;
pub mod keyring;
pub mod kv;
pub mod log;
pub mod near;
pub mod operator;
pub mod query;
pub mod registration;
pub mod service_query;
pub mod session;
pub mod status;
#[cfg(test)]
pub mod testing;
pub mod txn;
pub mod txn_operation;
#[cfg(test)]
mod wake_tests;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::state::{Command, Outcome, StateReader};

/// What Consul's agents put before the words of an error that another agent told them, once per hop.
pub const RPC_ERROR: &str = "rpc error making call: ";

/// An applied command: its raft index and what applying it gave back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Raft index of the command.
    pub index: u64,
    /// Its outcome; never [`Outcome::Refused`] (that arrives as [`EndpointError::Refused`]).
    pub outcome: Outcome,
}

/// The one way in: a command goes to the log and comes back applied and durable.
pub trait Proposer: Send + Sync {
    /// Proposes a command, stamped with the leader's clock.
    ///
    /// # Errors
    /// [`EndpointError::NoLeader`], [`EndpointError::Busy`], [`EndpointError::Refused`], or
    /// [`EndpointError::Internal`] when the outcome is unknown.
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, EndpointError>>;
}

/// A raft peer as `/v1/status` and `/v1/operator/raft` show it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// Node UUID.
    pub id: String,
    /// Node name.
    pub node: String,
    /// `ip:port` of its server RPC.
    pub address: String,
    /// It leads now.
    pub leader: bool,
    /// It votes.
    pub voter: bool,
}

/// What this agent knows of the cluster's leadership.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// RPC address of the leader, none while there is no leader.
    pub leader_address: Option<String>,
    /// This agent leads.
    pub is_leader: bool,
    /// Time since the leader was heard; 0 on the leader.
    pub last_contact: Duration,
    /// A leader was known at some time since this agent started. Before, its state may be anything's.
    pub heard: bool,
    /// Raft members.
    pub peers: Vec<Peer>,
}

/// Questions about leadership, answered without a mailbox where possible.
pub trait LeaderRead: Send + Sync {
    /// What is known now.
    fn leadership(&self) -> Arc<Leadership>;

    /// Whether this agent leads and holds its lease: a quorum has answered what it sent lately.
    /// Cheap enough for every read.
    ///
    /// # Errors
    /// [`EndpointError::NoLeader`].
    fn check_lease(&self) -> Result<(), EndpointError>;

    /// Default mode: what the leader would show now. `None` on a leader with its lease; elsewhere a
    /// future that asks the leader how far the state must be and waits until it is here.
    ///
    /// # Errors
    /// [`EndpointError::NoLeader`], at once or from the future.
    fn lease(&self) -> Result<Option<BoxFuture<'_, Result<(), EndpointError>>>, EndpointError> {
        self.check_lease().map(|()| None)
    }

    /// `?consistent`: confirms leadership for this read and waits until everything committed
    /// before it is in the published snapshot. `None` when nothing needs waiting for (a leader
    /// that is the only voter), so that the common small case stays off the mailbox.
    ///
    /// # Errors
    /// [`EndpointError::NoLeader`], at once or from the future.
    fn barrier(&self) -> Result<Option<BoxFuture<'_, Result<(), EndpointError>>>, EndpointError>;
}

/// Session timers, owned by the session manager on the leader.
pub trait SessionTimers: Send + Sync {
    /// Starts the time to live of a session anew.
    fn renew(&self, id: &str) -> BoxFuture<'_, Result<(), EndpointError>>;
}

/// Why an endpoint refused. Knows no HTTP; each transport maps it.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointError {
    /// The caller's arguments are wrong (HTTP 400).
    #[error("{0}")]
    Invalid(String),
    /// The rules of the state or of Consul's RPC layer say no (HTTP 500, as Consul answers).
    #[error("{0}")]
    Refused(String),
    /// Not there (HTTP 404).
    #[error("{0}")]
    NotFound(String),
    /// Forbidden (HTTP 403).
    #[error("{0}")]
    Forbidden(String),
    /// Too large (HTTP 413).
    #[error("{0}")]
    TooLarge(String),
    /// No leader is known, or this agent cannot prove it leads (HTTP 500).
    #[error("No cluster leader")]
    NoLeader,
    /// Another datacenter than the known ones (HTTP 500).
    #[error("No path to datacenter")]
    NoPathToDatacenter,
    /// The bound on waiting writes is reached; nothing was proposed (HTTP 503).
    #[error("too many writes are waiting, try again")]
    Busy,
    /// Not built yet (HTTP 501).
    #[error("{0}")]
    NotImplemented(String),
    /// Something broke inside (HTTP 500).
    #[error("{0}")]
    Internal(String),
}

impl From<crate::state::StateError> for EndpointError {
    fn from(error: crate::state::StateError) -> Self {
        Self::Internal(error.to_string())
    }
}

/// Settings the endpoints need.
#[derive(Debug, Clone)]
pub struct EndpointSettings {
    /// Own datacenter.
    pub datacenter: String,
    /// Own node name.
    pub node_name: String,
    /// Own node UUID.
    pub node_id: String,
    /// Largest value of a key in bytes.
    pub kv_max_value_size: usize,
    /// Largest body of a transaction in bytes.
    pub txn_max_req_len: usize,
    /// Smallest session TTL accepted.
    pub session_ttl_min: Duration,
    /// How long a blocking query waits when it does not say.
    pub default_query_time: Duration,
    /// How long a blocking query waits at most.
    pub max_query_time: Duration,
    /// Coordinates are switched off.
    pub disable_coordinates: bool,
}

/// The handles every endpoint works with; shared by all transports.
#[derive(Clone)]
pub struct Endpoints {
    /// The one way out.
    pub state: StateReader,
    /// The one way in.
    pub proposer: Arc<dyn Proposer>,
    /// Leadership.
    pub leader: Arc<dyn LeaderRead>,
    /// Session timers.
    pub sessions: Arc<dyn SessionTimers>,
    /// Coordinates on their way to [`Endpoints::proposer`].
    pub coordinates: Arc<coordinate::CoordinateBatch>,
    /// Settings.
    pub settings: Arc<EndpointSettings>,
    /// The servers, on an agent that is none: its own state is empty then, and everything is asked there.
    pub far: Option<Arc<dyn far::Servers>>,
}
