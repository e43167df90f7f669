//! What only the leader does: bring the members into the catalog and collect tombstones.
//!
//! A server that leads registers every living member's node with its `serfHealth` check, and servers
//! with the `consul` service; a failed member's check turns critical, and one that left or was
//! forgotten is removed with everything on it. It looks when members change, and at an interval,
//! because anybody may have changed the catalog. Tombstones are forgotten once they are older than
//! any blocking query.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, SpawnHandle, WrapFuture};
use tracing::{info, warn};

use super::kv_store::StateChanged;
use super::local_state::sync::{CONSUL_SERVICE, SERF_HEALTH};
use super::session_manager::LeadershipChanged;
use super::supervision::AliveToken;
use crate::endpoints::{EndpointError, Proposer};
use crate::metrics::{Metrics, Timer};
use crate::state::command::{Deregister, Register};
use crate::state::record::{Check, Node, Service, StringMap};
use crate::state::{Command, Event, StateReader};

/// How often the members are compared with the catalog.
const RECONCILE: Duration = Duration::from_secs(60);
/// Changes of members within this are dealt with together while a comparison is under way.
const TOGETHER: Duration = Duration::from_millis(20);
/// How soon a failed attempt is repeated.
const RETRY: Duration = Duration::from_millis(200);
/// Tombstones are kept longer than any blocking query can wait.
const TOMBSTONE_TTL: Duration = Duration::from_secs(15 * 60);
/// How exactly tombstone ages are known.
const TOMBSTONE_GRANULARITY: Duration = Duration::from_secs(30);

/// How a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It answers.
    Alive,
    /// It says goodbye; what comes of it is not decided yet.
    Leaving,
    /// It does not answer.
    Failed,
    /// It said goodbye.
    Left,
}

/// A member of the LAN pool, as the catalog needs it.
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
    /// How it stands.
    pub standing: Standing,
}

/// Who is in the LAN pool, as far as the catalog is concerned.
pub trait KnownMembers: Send + Sync {
    /// All members that are Consul's, this agent included.
    fn known(&self) -> Vec<Member>;

    /// Whether a member of this name is in the pool, Consul's or not.
    fn knows(&self, name: &str) -> bool;

    /// Name of this agent's node.
    fn own_name(&self) -> &str;
}

/// Members of the LAN pool changed.
#[derive(Debug, Clone, Copy, actix::Message)]
#[rtype(result = "()")]
pub struct MembersChanged {
    /// One was forgotten.
    pub reaped: bool,
}

/// How far the comparison of members and catalog is.
#[derive(Debug, Default)]
struct Round {
    /// Proposals of a comparison are under way.
    comparing: bool,
    /// Members changed since it began.
    again: bool,
    /// The next comparison also removes nodes that are no members any more. Not done by one that leadership
    /// or news of other members cause: after a restart the members have to be found first.
    sweep: bool,
}

/// The leader's duties.
pub struct Leader {
    datacenter: String,
    state: StateReader,
    proposer: Arc<dyn Proposer>,
    members: Arc<dyn KnownMembers>,
    metrics: Arc<Metrics>,
    leads: bool,
    next: Option<SpawnHandle>,
    round: Round,
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
        members: Arc<dyn KnownMembers>,
        metrics: Arc<Metrics>,
        leads: bool,
        alive: AliveToken,
    ) -> Self {
        let ages = VecDeque::new();
        Self {
            datacenter,
            state,
            proposer,
            members,
            metrics,
            leads,
            next: None,
            round: Round::default(),
            ages,
            _alive: alive,
        }
    }

    /// Compares the members with the catalog and proposes what differs.
    fn reconcile(&mut self, context: &mut Context<Self>) {
        let begun = Instant::now();
        let commands = {
            let view = self.state.view_full();
            differences(&*self.members, &self.datacenter, &view, self.round.sweep)
        };
        self.round = Round { comparing: true, again: false, sweep: false };
        let proposer = Arc::clone(&self.proposer);
        let work = async move {
            for command in commands {
                proposer.propose(command).await?;
            }
            Ok::<(), EndpointError>(())
        };
        context.spawn(work.into_actor(self).map(move |outcome, leader, context| {
            leader.round.comparing = false;
            leader.metrics.time(Timer::LeaderReconcile, begun.elapsed());
            let wait = match outcome {
                Ok(()) if leader.round.again => TOGETHER,
                Ok(()) => {
                    leader.schedule_sweep(context);
                    return;
                }
                Err(error) => {
                    warn!(target: "agent.leader", error = %error, "cannot bring the members into the catalog");
                    RETRY
                }
            };
            leader.schedule(wait, context);
        }));
    }

    fn schedule_sweep(&mut self, context: &mut Context<Self>) {
        if let Some(next) = self.next.take() {
            context.cancel_future(next);
        }
        if self.leads {
            self.next = Some(context.run_later(RECONCILE, |leader, context| {
                leader.round.sweep = true;
                leader.reconcile(context);
            }));
        }
    }

    fn schedule(&mut self, wait: Duration, context: &mut Context<Self>) {
        if let Some(next) = self.next.take() {
            context.cancel_future(next);
        }
        if self.leads {
            self.next = Some(context.run_later(wait, Self::reconcile));
        }
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
        let Some(up_to) = up_to.filter(|_| {
            view.indexes.tombstones > 0 || !view.lock_delays.is_empty() || view.restore.is_some()
        }) else {
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

/// What has to be done so that the catalog shows the members as they are. `sweep`: remove nodes that were members
/// and are none any more.
fn differences(
    members: &dyn KnownMembers,
    datacenter: &str,
    view: &crate::state::View,
    sweep: bool,
) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut register = |register: Option<Register>| {
        commands.extend(register.map(|found| Command::Register(Box::new(found))));
    };
    let mut gone = Vec::new();
    for member in members.known() {
        match member.standing {
            Standing::Alive => register(registration(&member, datacenter, view)),
            Standing::Failed => register(failure(&member, view)),
            Standing::Leaving => {}
            Standing::Left => gone.extend(view.node(&member.name).map(|_| (member.name.clone(), "left"))),
        }
    }
    for entry in view.nodes.values().filter(|_| sweep) {
        let name: &str = &entry.node.node;
        if entry.checks.contains_key(&*SERF_HEALTH.to_lowercase()) && !members.knows(name) {
            gone.push((name.to_owned(), "reaped"));
        }
    }
    for (node, reason) in gone {
        if node.eq_ignore_ascii_case(members.own_name()) {
            warn!(target: "agent.server", name = %node, "deregistering self should be done by follower");
            continue;
        }
        info!(target: "agent.server", member = %node, reason, "deregistering member");
        let node = node.as_str().into();
        commands.push(Command::Deregister(Deregister { node, ..Deregister::default() }));
    }
    commands
}

/// What has to be registered for a failed member; none if the catalog does not know it, or knows that already.
fn failure(member: &Member, view: &crate::state::View) -> Option<Register> {
    let known = view.node(&member.name)?;
    let check = known.checks.get(&*SERF_HEALTH.to_lowercase());
    if check.is_some_and(|check| check.status == "critical") {
        return None;
    }
    info!(target: "agent.server", member = %member.name, "member failed, marking health critical");
    let node = Node {
        id: known.node.id.clone(),
        node: known.node.node.clone(),
        address: known.node.address.clone(),
        datacenter: known.node.datacenter.clone(),
        ..Node::default()
    };
    let check = serf_health(&member.name, "critical", "Agent not live or unreachable");
    Some(Register { node, skip_node_update: true, service: None, checks: vec![check] })
}

fn serf_health(node: &str, status: &str, output: &str) -> Check {
    Check {
        node: node.into(),
        check_id: SERF_HEALTH.into(),
        name: "Serf Health Status".into(),
        status: status.into(),
        output: output.into(),
        ..Check::default()
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
    let check = serf_health(&member.name, "passing", "Agent alive and reachable");
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

/// The metadata the `consul` service carries for a server: its version, Raft protocol, whether it votes, and the
/// lowest, highest and spoken version of its gossip protocol.
pub fn server_meta(version: &str, raft_version: u64, non_voter: bool, protocol: [u8; 3]) -> StringMap {
    let [low, high, current] = protocol;
    BTreeMap::from(
        [
            ("non_voter", non_voter.to_string()),
            ("raft_version", raft_version.to_string()),
            ("serf_protocol_current", current.to_string()),
            ("serf_protocol_max", high.to_string()),
            ("serf_protocol_min", low.to_string()),
            ("version", version.to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
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

impl Handler<MembersChanged> for Leader {
    type Result = ();

    fn handle(&mut self, changed: MembersChanged, context: &mut Context<Self>) {
        self.round.sweep |= changed.reaped;
        if self.round.comparing {
            self.round.again = true;
        } else if self.leads {
            self.schedule(Duration::ZERO, context);
        }
    }
}

impl Handler<StateChanged> for Leader {
    type Result = ();

    /// A catalog that was replaced knows the members of another time.
    fn handle(&mut self, changed: StateChanged, context: &mut Context<Self>) {
        if changed.events.contains(&Event::Replaced) {
            self.ages.clear();
            self.handle(MembersChanged { reaped: false }, context);
        }
    }
}

#[cfg(test)]
mod tests;
