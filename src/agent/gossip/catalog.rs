//! What the catalog hears of gossip: members, for the leader, and this agent's coordinate.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use super::members::coordinate;
use super::tags::{Role, role};
use crate::actors::leader::{KnownMembers, Member, Standing, server_meta};
use crate::actors::member_list::PoolHandle;
use crate::endpoints::agent::AgentFacts;
use crate::endpoints::coordinate as places;
use crate::endpoints::decode::records::CoordinateUpdate;
use crate::endpoints::{Endpoints, LeaderRead};
use crate::gossip::serf::{self, Status};
use crate::settings::Coordinates;
use crate::state::record::NodeCoordinate;

/// The LAN pool, as the leader compares it with the catalog.
///
/// A server in the pool that is none of this Raft's is shown as a node like any other: it lives, but it does not serve
/// this catalog, so nobody may find it as a `consul` service. Autopilot takes it into the Raft, unless it has one of its own.
pub struct LanMembers {
    /// The pool.
    pub lan: PoolHandle,
    /// Knows the servers of this Raft.
    pub leader: Arc<dyn LeaderRead>,
    /// This agent.
    pub facts: Arc<AgentFacts>,
}

impl KnownMembers for LanMembers {
    fn known(&self) -> Vec<Member> {
        let leadership = self.leader.leadership();
        let is_peer = |id: &str| leadership.peers.iter().any(|peer| peer.id.eq_ignore_ascii_case(id));
        let members = self.lan.members();
        members.iter().filter_map(|member| self.shown(member, &is_peer)).collect()
    }

    fn knows(&self, name: &str) -> bool {
        self.lan.members().iter().any(|member| member.name.eq_ignore_ascii_case(name))
    }

    fn own_name(&self) -> &str {
        &self.facts.node_name
    }
}

impl LanMembers {
    fn shown(&self, member: &serf::Member, is_peer: &dyn Fn(&str) -> bool) -> Option<Member> {
        let tag = |name: &str| member.tags.get(name).map_or("", String::as_str);
        if tag("dc") != self.facts.datacenter || !tag("segment").is_empty() {
            return None;
        }
        let id = tag("id");
        let server = match role(&member.tags) {
            Role::Stranger => return None,
            Role::Server(server) if member.name == self.facts.node_name || is_peer(id) => {
                let [low, high, current, ..] = member.versions;
                let meta =
                    server_meta(&server.version, server.raft_version, server.non_voter, [low, high, current]);
                Some((server.port, meta))
            }
            Role::Client | Role::Server(_) => None,
        };
        Some(Member {
            id: id.to_owned(),
            name: member.name.clone(),
            address: member.addr.ip().to_string(),
            server,
            standing: match member.status {
                Status::Alive => Standing::Alive,
                Status::Failed => Standing::Failed,
                Status::Left => Standing::Left,
                Status::Leaving | Status::None => Standing::Leaving,
            },
        })
    }
}

/// Tells the catalog where this agent is, as long as it runs. All agents together keep to a rate, so each waits the
/// longer the more there are.
pub async fn send_coordinate(endpoints: Endpoints, lan: PoolHandle, settings: Coordinates) {
    loop {
        let members = lan.members().iter().filter(|member| member.status == Status::Alive).count();
        let pause = pause(&settings, members);
        // Spread over as long again, so that agents started together do not send together.
        tokio::time::sleep(pause + pause.mul_f64(rand::random())).await;
        let update = NodeCoordinate {
            node: endpoints.settings.node_name.as_str().into(),
            segment: String::new(),
            coord: coordinate(&lan.figures().coordinate),
        };
        let datacenter = endpoints.settings.datacenter.clone();
        if let Err(failure) = places::submit(&endpoints, CoordinateUpdate { datacenter, update }).await {
            debug!(target: "agent", error = %failure, "Coordinate update error");
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate, not a count")]
fn pause(settings: &Coordinates, members: usize) -> Duration {
    let seconds = members as f64 / settings.rate_target;
    // A rate of nothing is no rate.
    let scaled = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
    scaled.max(settings.interval_min)
}

/// Proposes the coordinates that came in, together, at the configured interval.
pub async fn write_coordinates(endpoints: Endpoints, settings: Coordinates) {
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let period = settings.update_period.max(Duration::from_millis(1));
    loop {
        tokio::time::sleep(period).await;
        let (size, most) = (count(settings.update_batch_size), count(settings.update_max_batches));
        let (commands, discarded) = endpoints.coordinates.take(size, most);
        if discarded > 0 {
            warn!(target: "agent.server", number_discarded = discarded, "Discarded coordinate updates");
        }
        for command in commands {
            if let Err(failure) = endpoints.proposer.propose(command).await {
                warn!(target: "agent.server", error = %failure, "Batch update failed");
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_agents_the_longer_the_pause() {
        let settings = Coordinates {
            disabled: false,
            rate_target: 64.0,
            interval_min: Duration::from_secs(15),
            update_period: Duration::from_secs(5),
            update_batch_size: 128,
            update_max_batches: 5,
        };
        let table = [(1, 15.0), (960, 15.0), (1_920, 30.0), (6_400, 100.0)];
        for (members, seconds) in table {
            assert_eq!(pause(&settings, members), Duration::from_secs_f64(seconds), "{members}");
        }
        let stopped = Coordinates { rate_target: 0.0, ..settings };
        assert_eq!(pause(&stopped, 10), Duration::from_secs(15));
    }
}
