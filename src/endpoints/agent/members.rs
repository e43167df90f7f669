//! The members of the gossip pools, as the API shows them.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::endpoints::EndpointError;
use crate::state::record::{Coordinate, StringMap};

/// What is known of a member's life, by Serf's numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MemberStatus {
    /// Nothing.
    #[default]
    None = 0,
    /// It answers.
    Alive = 1,
    /// It says goodbye.
    Leaving = 2,
    /// It said goodbye.
    Left = 3,
    /// It does not answer.
    Failed = 4,
}

impl MemberStatus {
    /// Serf's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Left => "left",
            Self::Failed => "failed",
        }
    }
}

/// A member of a gossip pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Node name; in the WAN pool with the datacenter behind it.
    pub name: String,
    /// IP address.
    pub address: String,
    /// Gossip port.
    pub port: u16,
    /// Tags.
    pub tags: StringMap,
    /// Whether it lives.
    pub status: MemberStatus,
    /// Gossip protocol versions: lowest and highest understood, spoken.
    pub protocol: [u8; 3],
    /// Serf protocol versions: lowest and highest understood, spoken.
    pub delegate: [u8; 3],
}

/// The members this agent knows, and what can be done to them.
pub trait Members: Send + Sync {
    /// Members of the datacenter, this agent included.
    fn lan(&self) -> Vec<Member>;

    /// Servers of all datacenters; empty on client agents.
    fn wan(&self) -> Vec<Member>;

    /// Figures of a pool; none if this agent has no such pool.
    fn figures(&self, wan: bool) -> Option<PoolFigures>;

    /// This agent's place in its datacenter's network, as it estimates it now.
    fn coordinate(&self) -> Coordinate;

    /// Places of the living members of the WAN pool by their names there, as far as they are known.
    fn wan_coordinates(&self) -> BoxFuture<'_, BTreeMap<String, Coordinate>>;

    /// Joins the pool an agent at `address` is in: `host`, `host:port`, IPv6 in brackets if a port follows.
    ///
    /// # Errors
    /// Whatever kept the agent from joining.
    fn join(&self, address: &str, wan: bool) -> BoxFuture<'_, Result<(), EndpointError>>;

    /// Makes a failed member leave; `prune` forgets it at once.
    ///
    /// # Errors
    /// [`EndpointError::Refused`] for unknown members.
    fn force_leave(&self, node: &str, prune: bool) -> BoxFuture<'_, Result<(), EndpointError>>;
}

/// What a pool counts, as `consul info` prints it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolFigures {
    /// How often the own coordinate had to start again.
    pub coordinate_resets: u64,
    /// It speaks encrypted.
    pub encrypted: bool,
    /// Waiting broadcasts of user events.
    pub event_queue: u64,
    /// Clock of user events.
    pub event_time: u64,
    /// Lifeguard's health score; 0 is well.
    pub health_score: u64,
    /// Waiting broadcasts of comings and goings.
    pub intent_queue: u64,
    /// Clock of members.
    pub member_time: u64,
    /// Waiting broadcasts of queries.
    pub query_queue: u64,
    /// Clock of queries.
    pub query_time: u64,
}

/// A pool's group of figures.
pub(super) fn stats(members: &[Member], figures: &PoolFigures) -> BTreeMap<&'static str, String> {
    let count = |status| members.iter().filter(|member| member.status == status).count().to_string();
    BTreeMap::from([
        ("coordinate_resets", figures.coordinate_resets.to_string()),
        ("encrypted", figures.encrypted.to_string()),
        ("event_queue", figures.event_queue.to_string()),
        ("event_time", figures.event_time.to_string()),
        ("failed", count(MemberStatus::Failed)),
        ("health_score", figures.health_score.to_string()),
        ("intent_queue", figures.intent_queue.to_string()),
        ("left", count(MemberStatus::Left)),
        ("member_time", figures.member_time.to_string()),
        ("members", members.len().to_string()),
        ("query_queue", figures.query_queue.to_string()),
        ("query_time", figures.query_time.to_string()),
    ])
}
