//! What only the leader does: bring the members into the catalog and collect tombstones.
//!
//! A server that starts to lead registers every living member's node with its `serfHealth` check,
//! and servers with the `consul` service; it looks again at an interval, because anybody may have
//! changed the catalog. Tombstones are forgotten once they are older than any blocking query.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, SpawnHandle, WrapFuture};
use tracing::{info, warn};

use super::local_state::sync::{CONSUL_SERVICE, SERF_HEALTH};
use super::session_manager::LeadershipChanged;
use super::supervision::AliveToken;
use crate::endpoints::{EndpointError, Proposer};
use crate::metrics::{Metrics, Timer};
use crate::state::command::Register;
use crate::state::record::{Check, Node, Service, StringMap};
use crate::state::{Command, StateReader};

/// How often the members are compared with the catalog.
const RECONCILE: Duration = Duration::from_secs(60);
/// How soon a failed attempt is repeated.
const RETRY: Duration = Duration::from_millis(200);
/// Tombstones are kept longer than any blocking query can wait.
const TOMBSTONE_TTL: Duration = Duration::from_secs(15 * 60);
/// How exactly tombstone ages are known.
const TOMBSTONE_GRANULARITY: Duration = Duration::from_secs(30);

/// A living member of the LAN pool, as the catalog needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Node UUID.
    pub id: String,
    /// Node name.
    pub name: String,
    /// Address others reach it at.
    pub address: String,
    /// For servers, the port of their RPC and the metadata of the `consul` service.
    pub server: Option<(u16, StringMap)>,
}

/// Who is alive now; gossip answers it, or, until there is gossip, the agent itself.
pub trait LivingMembers: Send + Sync {
    /// The living members, this agent included.
    fn living(&self) -> Vec<Member>;
}

/// The leader's duties.
pub struct Leader {
    datacenter: String,
    state: StateReader,
    proposer: Arc<dyn Proposer>,
    members: Arc<dyn LivingMembers>,
    metrics: Arc<Metrics>,
    leads: bool,
    next: Option<SpawnHandle>,
    /// (when, state index then), oldest first.
    ages: VecDeque<(Instant, u64)>,
    _alive: AliveToken,
}

impl Leader {
    /// Duties that start once [`LeadershipChanged`] says so.
    pub fn new(
        datacenter: String,
        state: StateReader,
        proposer: Arc<dyn Proposer>,
        members: Arc<dyn LivingMembers>,
        metrics: Arc<Metrics>,
        leads: bool,
        alive: AliveToken,
    ) -> Self {
        let ages = VecDeque::new();
        Self { datacenter, state, proposer, members, metrics, leads, next: None, ages, _alive: alive }
    }

    /// Compares the members with the catalog and proposes what differs.
    fn reconcile(&mut self, context: &mut Context<Self>) {
        let begun = Instant::now();
        let commands: Vec<Command> = {
            let view = self.state.view_full();
            self.members
                .living()
                .iter()
                .filter_map(|member| registration(member, &self.datacenter, &view))
                .map(|register| Command::Register(Box::new(register)))
                .collect()
        };
        let proposer = Arc::clone(&self.proposer);
        let work = async move {
            for command in commands {
                proposer.propose(command).await?;
            }
            Ok::<(), EndpointError>(())
        };
        context.spawn(work.into_actor(self).map(move |outcome, leader, context| {
            leader.metrics.time(Timer::LeaderReconcile, begun.elapsed());
            let wait = match outcome {
                Ok(()) => RECONCILE,
                Err(error) => {
                    warn!(target: "agent.leader", error = %error, "cannot bring the members into the catalog");
                    RETRY
                }
            };
            if leader.leads {
                leader.next = Some(context.run_later(wait, Self::reconcile));
            }
        }));
    }

    /// Forgets tombstones that are old enough.
    fn collect_tombstones(&mut self, context: &mut Context<Self>) {
        if !self.leads {
            return;
        }
        let now = Instant::now();
        let view = self.state.view_full();
        let mut up_to = None;
        while let Some((_, index)) =
            self.ages.front().copied().filter(|(seen, _)| now.duration_since(*seen) >= TOMBSTONE_TTL)
        {
            self.ages.pop_front();
            up_to = Some(index);
        }
        if self.ages.back().is_none_or(|(_, index)| *index != view.index) {
            self.ages.push_back((now, view.index));
        }
        let Some(up_to) = up_to.filter(|_| view.indexes.tombstones > 0 || !view.lock_delays.is_empty())
        else {
            return;
        };
        let proposer = Arc::clone(&self.proposer);
        let work = async move { proposer.propose(Command::ReapTombstones { up_to }).await.map(drop) };
        context.spawn(work.into_actor(self).map(move |outcome, leader, _| {
            leader.metrics.time(Timer::LeaderReapTombstones, now.elapsed());
            if let Err(error) = outcome {
                warn!(target: "agent.leader", error = %error, index = up_to, "cannot collect tombstones");
            }
        }));
    }
}

/// What has to be registered for a member; none if the catalog knows it as it is.
fn registration(member: &Member, datacenter: &str, view: &crate::state::View) -> Option<Register> {
    let known = view.node(&member.name);
    let node = Node {
        id: member.id.clone(),
        node: member.name.as_str().into(),
        address: member.address.clone(),
        datacenter: datacenter.to_owned(),
        // Tagged addresses and metadata are the member's own to say, by anti-entropy.
        tagged_addresses: known.and_then(|entry| entry.node.tagged_addresses.clone()),
        meta: known.and_then(|entry| entry.node.meta.clone()),
        ..Node::default()
    };
    let service = member.server.as_ref().map(|(port, meta)| Service {
        id: CONSUL_SERVICE.into(),
        service: CONSUL_SERVICE.into(),
        port: i64::from(*port),
        meta: Some(meta.clone()),
        ..Service::default()
    });
    let check = Check {
        node: member.name.as_str().into(),
        check_id: SERF_HEALTH.into(),
        name: "Serf Health Status".into(),
        status: "passing".into(),
        output: "Agent alive and reachable".into(),
        ..Check::default()
    };
    if let Some(entry) = known {
        let same_node = entry.node.id == node.id && entry.node.address == node.address;
        let same_service = service.as_ref().is_none_or(|wanted| {
            entry
                .services
                .get(CONSUL_SERVICE)
                .is_some_and(|service| service.port == wanted.port && service.meta == wanted.meta)
        });
        let healthy =
            entry.checks.get(&*SERF_HEALTH.to_lowercase()).is_some_and(|check| check.status == "passing");
        if same_node && same_service && healthy {
            return None;
        }
    }
    info!(target: "agent.server", member = %member.name, "member joined, marking health alive");
    Some(Register { node, skip_node_update: false, service, checks: vec![check] })
}

/// The metadata the `consul` service carries for a server of this version.
pub fn server_meta(version: &str) -> StringMap {
    BTreeMap::from(
        [
            ("non_voter", "false"),
            ("raft_version", "3"),
            ("serf_protocol_current", "2"),
            ("serf_protocol_max", "5"),
            ("serf_protocol_min", "1"),
            ("version", version),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    )
}

impl Actor for Leader {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(TOMBSTONE_GRANULARITY, Self::collect_tombstones);
        if self.leads {
            self.reconcile(context);
        }
    }
}

impl Handler<LeadershipChanged> for Leader {
    type Result = ();

    fn handle(&mut self, changed: LeadershipChanged, context: &mut Self::Context) {
        if self.leads == changed.leads {
            return;
        }
        self.leads = changed.leads;
        self.ages.clear();
        if let Some(next) = self.next.take() {
            context.cancel_future(next);
        }
        if self.leads {
            info!(target: "agent.server", "cluster leadership acquired");
            self.reconcile(context);
        } else {
            info!(target: "agent.server", "cluster leadership lost");
        }
    }
}
