//! Autopilot: the shell around the core of that name, at work on the leader.
//!
//! It looks at gossip and at raft when members change and at an interval, publishes the health of the servers, and carries
//! out what the core plans: one change of members, then it looks again. The first leader also writes the configuration that
//! its settings ask for. Nothing is kept: an incarnation that leads looks at everything anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, SpawnHandle, WrapFuture};
use arc_swap::ArcSwapOption;
use futures::future::BoxFuture;
use tracing::{debug, error, info, warn};

use super::leader::MembersChanged;
use super::raft_handle::{Group, RaftHandle};
use super::session_manager::LeadershipChanged;
use super::supervision::AliveToken;
use crate::autopilot::health::{Health, Measure, Sign};
use crate::autopilot::plan::{self, Scene, Step};
use crate::autopilot::{Rules, Seen, Standing};
use crate::endpoints::agent::MemberStatus;
use crate::endpoints::operator::{ClusterHealth, ServerHealth};
use crate::endpoints::{EndpointError, LeaderRead as _, Proposer};
use crate::metrics::{Gauge, Metrics};
use crate::raft::{MembershipChange, PeerProgress, ServerRecord};
use crate::state::record::AutopilotConfig;
use crate::state::{Command, StateReader};

mod admin;
#[cfg(test)]
mod tests;

pub use admin::LeaderAdmin;

/// Rounds between two attempts to remove dead servers.
const CLEAN_ROUNDS: u32 = 5;
/// Rounds between two looks for living servers that are no members, besides those that news cause.
const ADMIT_ROUNDS: u32 = 30;
/// Heartbeats without an answer after which a server counts as out of reach, and the least such time.
const UNREACHABLE: (u32, Duration) = (10, Duration::from_secs(1));
/// A member that raft has not heard for so long, in this leader's time, is quiet.
const QUIET: Duration = Duration::from_secs(5);

/// A server that could not be taken in is tried again after so long.
const LATER: Duration = Duration::from_secs(10);

/// The servers of this datacenter, as gossip knows them.
pub trait ServerPool: Send + Sync {
    /// All of them, this one included.
    fn servers(&self) -> Vec<Seen>;

    /// Says goodbye for a server that failed.
    ///
    /// # Errors
    /// Why it could not be said.
    fn force_leave(&self, name: &str) -> BoxFuture<'_, Result<(), EndpointError>>;

    /// Asks a server for the members of the raft group it is in; empty if it is in none.
    ///
    /// # Errors
    /// It does not answer.
    fn group<'a>(
        &'a self,
        server: &'a ServerRecord,
    ) -> BoxFuture<'a, Result<Vec<ServerRecord>, EndpointError>>;
}

/// The health of the servers, published by whoever leads; none elsewhere. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct HealthWatch(Arc<ArcSwapOption<ClusterHealth>>);

impl HealthWatch {
    /// As of the last look.
    pub fn now(&self) -> Option<Arc<ClusterHealth>> {
        self.0.load_full()
    }
}

/// What autopilot is started with; every incarnation anew.
#[derive(Clone)]
pub struct AutopilotParts {
    /// The raft node.
    pub raft: RaftHandle,
    /// Where the configuration is read.
    pub state: StateReader,
    /// Where the first one is written.
    pub proposer: Arc<dyn Proposer>,
    /// Gossip.
    pub pool: Arc<dyn ServerPool>,
    /// Where health is published.
    pub health: HealthWatch,
    /// The configuration to begin with, until there is one.
    pub seed: AutopilotConfig,
    /// Where health is measured.
    pub metrics: Arc<Metrics>,
    /// Between two looks.
    pub pause: Duration,
    /// Between two heartbeats of raft.
    pub heartbeat: Duration,
}

/// The actor.
#[expect(clippy::struct_excessive_bools, reason = "independent flags, not the states of one machine")]
pub struct Autopilot {
    parts: AutopilotParts,
    leads: bool,
    since: Instant,
    /// A look or what it led to is under way.
    busy: bool,
    /// Members changed meanwhile.
    again: bool,
    /// Servers that are no members are taken in with the next look.
    admit: bool,
    /// Dead servers are removed with the next look, if they may be.
    clean: bool,
    rounds: u32,
    next: Option<SpawnHandle>,
    /// Everybody this leader has seen, even if gossip has forgotten them.
    seen: BTreeMap<u64, Seen>,
    health: Health,
    /// Servers that are not taken in before this time.
    later: BTreeMap<u64, Instant>,
    _alive: AliveToken,
}

/// What a look leads to.
enum Work {
    Seed,
    ForceLeave(Vec<String>),
    Change(Step),
}

impl Autopilot {
    /// At work once [`LeadershipChanged`] says so.
    pub fn new(parts: AutopilotParts, leads: bool, alive: AliveToken) -> Self {
        Self {
            parts,
            leads,
            since: Instant::now(),
            busy: false,
            again: false,
            admit: true,
            clean: false,
            rounds: 0,
            next: None,
            seen: BTreeMap::new(),
            health: Health::default(),
            later: BTreeMap::new(),
            _alive: alive,
        }
    }

    /// Looks now, or as soon as what is under way is done.
    fn begin(&mut self, context: &mut Context<Self>) {
        if self.busy {
            self.again = true;
        }
        if self.busy || !self.leads {
            return;
        }
        (self.busy, self.again) = (true, false);
        let raft = self.parts.raft.clone();
        let group = async move { raft.group().await };
        context.spawn(group.into_actor(self).map(|group, autopilot, context| match group {
            Ok(group) if autopilot.leads && group.status.ready => autopilot.look(&group, context),
            _ => autopilot.end(false, context),
        }));
    }

    /// What is under way is done. `more`: something changed, so there may be more to do.
    fn end(&mut self, more: bool, context: &mut Context<Self>) {
        self.busy = false;
        if let Some(next) = self.next.take() {
            context.cancel_future(next);
        }
        if !self.leads {
            return;
        }
        if more || self.again {
            self.begin(context);
            return;
        }
        self.next = Some(context.run_later(self.parts.pause, |autopilot, context| {
            autopilot.rounds = autopilot.rounds.wrapping_add(1);
            autopilot.admit |= autopilot.rounds.is_multiple_of(ADMIT_ROUNDS);
            autopilot.clean |= autopilot.rounds.is_multiple_of(CLEAN_ROUNDS);
            autopilot.begin(context);
        }));
    }

    fn look(&mut self, group: &Group, context: &mut Context<Self>) {
        self.meet();
        let now_ms = wall_ms();
        let known = self.parts.state.view().autopilot.clone();
        let missing = known.is_none();
        let rules = Rules::from(known.as_deref().unwrap_or(&self.parts.seed));
        self.observe(group, rules, now_ms);
        let Some(work) = (if missing { Some(Work::Seed) } else { self.plan(group, &rules, now_ms) }) else {
            return self.end(false, context);
        };
        let parts = self.parts.clone();
        let newcomer =
            if let Work::Change(Step::Add(server)) = &work { Some(server.raft_id()) } else { None };
        let carried_out = async move { carry_out(&parts, work).await };
        context.spawn(carried_out.into_actor(self).map(move |outcome, autopilot, context| {
            if let Err(error) = &outcome {
                warn!(target: "agent.server.autopilot", error = %error, "cannot change the servers as planned");
            }
            // As in Consul: somebody came, so those whose place is taken may go.
            autopilot.clean |= newcomer.is_some() && outcome.is_ok();
            if let (Some(id), Err(_)) = (newcomer, &outcome) {
                autopilot.later.insert(id, Instant::now() + LATER);
            }
            // One that cannot be taken in stands in nobody's way.
            autopilot.end(outcome.is_ok() || newcomer.is_some(), context);
        }));
    }

    /// Takes up what gossip knows; whom it has forgotten is remembered as such.
    fn meet(&mut self) {
        let now: BTreeMap<u64, Seen> =
            self.parts.pool.servers().into_iter().map(|seen| (seen.server.raft_id(), seen)).collect();
        for (id, before) in &mut self.seen {
            if !now.contains_key(id) {
                before.standing = Standing::Reaped;
            }
        }
        self.seen.extend(now);
    }

    fn observe(&mut self, group: &Group, rules: Rules, now_ms: u64) {
        let status = &group.status;
        let own = group.progress.iter().find(|member| member.id == status.id);
        let (count, least) = UNREACHABLE;
        let measure = Measure {
            rules,
            last_index: status.last_index,
            last_term: own.map_or(status.term, |own| own.term),
            heartbeat_ms: ms(self.parts.heartbeat),
            unreachable_ms: ms((self.parts.heartbeat * count).max(least)),
        };
        let members = group.progress.iter().map(|member| {
            let standing = self.seen.get(&member.id).map(|seen| seen.standing);
            let sign = Sign {
                silent_ms: silent_ms(member, group.now),
                last_index: member.matched,
                last_term: member.term,
            };
            (member.id, standing, sign)
        });
        self.health.observe(members.collect::<Vec<_>>(), &measure, now_ms);
        let shown = self.shown(group);
        let metrics = &self.parts.metrics;
        metrics.set(Gauge::AutopilotHealthy, u64::from(shown.healthy));
        metrics.set(Gauge::AutopilotFailureTolerance, shown.failure_tolerance);
        self.parts.health.0.store(Some(Arc::new(shown)));
    }

    /// The health as operators see it.
    fn shown(&self, group: &Group) -> ClusterHealth {
        let status = &group.status;
        let servers = status.membership.servers.iter().map(|(id, server)| {
            let seen = self.seen.get(id);
            let verdict = self.health.of(*id).copied().unwrap_or_default();
            let contact = verdict.silent_ms.map(|silent| silent.saturating_mul(1_000_000));
            ServerHealth {
                id: server.node_id.clone(),
                name: server.name.clone(),
                address: server.address.clone(),
                serf_status: seen.map_or(MemberStatus::None, |seen| match seen.standing {
                    Standing::Alive => MemberStatus::Alive,
                    Standing::Leaving => MemberStatus::Leaving,
                    Standing::Failed => MemberStatus::Failed,
                    Standing::Left => MemberStatus::Left,
                    Standing::Reaped => MemberStatus::None,
                }),
                version: seen.map(|seen| seen.version.clone()).unwrap_or_default(),
                leader: *id == status.id,
                voter: status.membership.is_voter(*id),
                last_contact_ns: contact.and_then(|nanos| i64::try_from(nanos).ok()).unwrap_or(-1),
                last_term: verdict.last_term,
                last_index: verdict.last_index,
                healthy: verdict.healthy,
                stable_since_ms: verdict.stable_since_ms,
            }
        });
        ClusterHealth {
            healthy: self.health.is_healthy(),
            failure_tolerance: self.health.failure_tolerance(&status.membership.voters),
            servers: servers.collect(),
        }
    }

    /// The first thing to do.
    fn plan(&mut self, group: &Group, rules: &Rules, now_ms: u64) -> Option<Work> {
        let members = &group.status.membership;
        let quiet = self.quiet(group);
        let scene = Scene {
            me: group.status.id,
            members,
            seen: &self.seen,
            quiet: &quiet,
            health: &self.health,
            rules,
            now_ms,
        };
        let mut steps = plan::follow(&scene);
        let mut deferred = false;
        steps.retain(|step| match step {
            Step::Conflict(_) if !self.admit => false,
            Step::Conflict(name) => {
                error!(target: "agent.server", member = %name, "this server and the member are both in bootstrap mode; \
                    only one should be, not adding Raft peer");
                false
            }
            Step::Add(server) => {
                let later = self.later.get(&server.raft_id());
                let now = later.is_none_or(|later| Instant::now() >= *later);
                deferred |= self.admit && !now;
                self.admit && now
            }
            _ => true,
        });
        if steps.is_empty() {
            self.admit = deferred;
            steps = plan::promote(&scene);
        }
        if !steps.is_empty() {
            return steps.into_iter().next().map(Work::Change);
        }
        if !std::mem::take(&mut self.clean) {
            return None;
        }
        let steps = plan::clean(&scene).unwrap_or_else(|kept| {
            debug!(target: "agent.server.autopilot", reason = %kept, "dead servers are kept");
            Vec::new()
        });
        let (farewells, changes): (Vec<_>, Vec<_>) =
            steps.into_iter().partition(|step| matches!(step, Step::ForceLeave(_)));
        let names: Vec<_> = farewells
            .into_iter()
            .filter_map(|step| if let Step::ForceLeave(name) = step { Some(name) } else { None })
            .collect();
        if names.is_empty() {
            changes.into_iter().next().map(Work::Change)
        } else {
            Some(Work::ForceLeave(names))
        }
    }

    /// Members that raft has not heard for long.
    fn quiet(&self, group: &Group) -> BTreeSet<u64> {
        let limit = QUIET.max(self.parts.heartbeat * UNREACHABLE.0);
        let long = |member: &&PeerProgress| match silent_ms(member, group.now) {
            Some(silent) => silent > ms(limit),
            None => self.since.elapsed() > limit,
        };
        group.progress.iter().filter(long).map(|member| member.id).collect()
    }
}

async fn carry_out(parts: &AutopilotParts, work: Work) -> Result<(), EndpointError> {
    let change = match work {
        Work::Seed => {
            let config = Box::new(parts.seed.clone());
            return parts.proposer.propose(Command::Autopilot { config, cas: Some(0) }).await.map(drop);
        }
        Work::ForceLeave(names) => {
            for name in names {
                info!(target: "agent.server.autopilot", %name, "Attempting removal of failed server node");
                parts.pool.force_leave(&name).await?;
            }
            return Ok(());
        }
        Work::Change(Step::Add(server)) => {
            refuse_strangers(parts, &server).await?;
            info!(target: "agent.server", name = %server.name, address = %server.address, "adding raft peer without a vote");
            MembershipChange::AddLearner(server)
        }
        Work::Change(Step::Promote(server)) => {
            info!(target: "agent.server.autopilot", id = %server.node_id, address = %server.address,
                name = %server.name, "Promoting server to voter");
            MembershipChange::AddVoter(server)
        }
        Work::Change(Step::Update(server)) => {
            info!(target: "agent.server", name = %server.name, address = %server.address, "updating raft peer");
            MembershipChange::Update(server)
        }
        Work::Change(Step::Remove { id, name, why }) => {
            info!(target: "agent.server", %name, reason = why, "removing raft peer");
            MembershipChange::Remove(id)
        }
        Work::Change(Step::ForceLeave(_) | Step::Conflict(_)) => return Ok(()),
    };
    parts.raft.propose_membership(change).await
}

/// A server whose group has another history would lose all it knows.
async fn refuse_strangers(parts: &AutopilotParts, server: &ServerRecord) -> Result<(), EndpointError> {
    let group = parts.pool.group(server).await?;
    let leadership = parts.raft.leadership();
    let shared = |other: &ServerRecord| {
        other.node_id != server.node_id && leadership.peers.iter().any(|peer| peer.id == other.node_id)
    };
    // One that was removed or restored still knows some of us.
    if group.is_empty() || group.iter().any(shared) {
        return Ok(());
    }
    let text = format!("server {} is in a raft group of its own, not adding Raft peer", server.name);
    Err(EndpointError::Refused(text))
}

/// Milliseconds since the leader heard of this member; 0 for itself.
fn silent_ms(member: &PeerProgress, now: u64) -> Option<u64> {
    member.heard.map(|heard| now.saturating_sub(heard))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn wall_ms() -> u64 {
    // A clock before 1970 gives 0: then everything is stable since ever.
    ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

impl std::fmt::Debug for Autopilot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Autopilot").field("leads", &self.leads).finish_non_exhaustive()
    }
}

impl Actor for Autopilot {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.begin(context);
    }
}

impl Handler<LeadershipChanged> for Autopilot {
    type Result = ();

    fn handle(&mut self, changed: LeadershipChanged, context: &mut Self::Context) {
        if self.leads == changed.leads {
            return;
        }
        self.leads = changed.leads;
        if let Some(next) = self.next.take() {
            context.cancel_future(next);
        }
        self.seen.clear();
        self.later.clear();
        self.health = Health::default();
        self.parts.health.0.store(None);
        if self.leads {
            (self.since, self.rounds, self.admit, self.clean) = (Instant::now(), 0, true, false);
            self.begin(context);
        }
    }
}

impl Handler<MembersChanged> for Autopilot {
    type Result = ();

    fn handle(&mut self, _: MembersChanged, context: &mut Self::Context) {
        self.admit = true;
        self.begin(context);
    }
}
