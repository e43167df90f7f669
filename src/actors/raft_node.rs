//! `RaftNodeActor`: the shell around `raft/`, alone on its thread.
//!
//! It feeds the driver with ticks, proposals and peer messages and carries out its effects: sends to
//! peers, hands committed entries to the applier, publishes leadership. Handlers only put in; the
//! pump that writes the log runs once the mailbox is empty, so that everything that was waiting
//! becomes one write and one fsync. A mailbox that never gets empty is pumped after so many messages
//! or bytes.
//!
//! Nobody restarts it: whoever cannot trust the log must not vote. Its failure, or its end without
//! having been asked, stops the process through [`FailStop`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use actix_rt::Arbiter;

use super::mailbox::Sender;
use super::raft_handle::{Progress, Published, RaftHandle, RaftLink, Waiter, unknown};
use super::supervision::{AliveToken, FailStop};
use crate::endpoints::{EndpointError, Leadership, Peer};
use crate::metrics::{Counter, Gauge, Metrics, Timer};
use crate::raft::config::MAX_TICK_BURST;
use crate::raft::log_disk::LogPurger;
use crate::raft::{
    Driver, DriverConfig, LogStore, MembershipChange, ProposalId, RaftError, Role, ServerRecord,
};

mod host;
pub(super) mod messages;
#[cfg(test)]
mod tests;

pub use host::{Applier, ApplyCommitted, FlushWanted, NoPeers, PeerTransport, SnapshotWork};

use host::Host;

/// Name in messages about failures.
const WHO: &str = "raft";
/// Messages after which the log is written even though more are waiting.
const PUMP_AFTER_MESSAGES: usize = 256;
/// Proposed bytes after which the log is written even though more are waiting.
const PUMP_AFTER_BYTES: usize = 4 << 20;
/// How often old log files are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(10);
/// When followers that know their leader to be gone stand for election: after the first, within the second. All are to
/// know it by then, and those that stand together split the votes.
const CANDIDACY: (Duration, Duration) = (Duration::from_millis(60), Duration::from_millis(200));
/// How long a stop waits for what is under way.
const DRAIN: Duration = Duration::from_secs(3);

type Log = Box<dyn LogStore + Send>;

/// What a raft node is started with.
#[derive(Debug)]
pub struct RaftOptions {
    /// This server as its peers should know it; the member record is brought up to date with it.
    pub me: ServerRecord,
    /// Settings of the core.
    pub driver: DriverConfig,
    /// Length of a tick.
    pub tick: Duration,
    /// Applied index from the state's store.
    pub applied_index: u64,
    /// Told whenever what is known of the leadership changes.
    pub on_leadership: Sender<Arc<Leadership>>,
    /// Where it is measured.
    pub metrics: Arc<Metrics>,
}

/// A running raft node.
#[derive(Debug)]
pub struct RaftNode {
    /// For everybody else.
    pub handle: RaftHandle,
    arbiter: Arbiter,
}

impl RaftNode {
    /// Opens the node over its log and starts it on a thread of its own. Needs a running actix system.
    ///
    /// # Errors
    /// [`RaftError`] if log and state do not fit together or the log cannot be used.
    pub fn start<L: LogStore + Send + 'static>(
        options: RaftOptions,
        log: L,
        purger: Option<LogPurger>,
        applier: Applier,
        peers: Box<dyn PeerTransport>,
        fail_stop: Arc<dyn FailStop>,
    ) -> Result<Self, RaftError> {
        let lease = options.tick * u32::try_from(options.driver.lease_ticks()).unwrap_or(1);
        let driver_config =
            DriverConfig { lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX), ..options.driver };
        let driver =
            Driver::open(driver_config, Box::new(log) as Log, options.applied_index, rand::random())?;
        let published = Arc::new(Published::new());
        let arbiter = Arbiter::new();
        let (shared, metrics) = (Arc::clone(&published), Arc::clone(&options.metrics));
        let address = RaftNodeActor::start_in_arbiter(&arbiter.handle(), move |ctx| RaftNodeActor {
            alive: AliveToken::fail_stop(WHO, Arc::clone(&fail_stop)),
            host: Host {
                link: RaftLink::new(ctx.address()),
                applier,
                peers,
                published: shared,
                metrics: Arc::clone(&options.metrics),
                reads: HashMap::new(),
                next_read: 0,
                members: driver.membership().servers.clone(),
                unreachable: Vec::new(),
                changed: true,
                became_ready: false,
                lost: None,
            },
            driver,
            purger,
            fail_stop,
            me: options.me,
            on_leadership: options.on_leadership,
            role: None,
            tick: options.tick,
            lease,
            last_tick: Instant::now(),
            heard_leader: Instant::now(),
            heard: false,
            origin: rand::random(),
            sequence: 0,
            waiting: 0,
            waiting_bytes: 0,
            proposals: 0,
            pump_scheduled: false,
            state: State::Running,
        });
        Ok(Self { handle: RaftHandle::new(address, published, metrics), arbiter })
    }

    /// Finishes what is under way, hands leadership over if somebody can take it, closes the log and
    /// ends the thread.
    ///
    /// # Errors
    /// [`EndpointError::Internal`] if the log could not be closed well; nothing acknowledged is lost.
    pub async fn stop(self) -> Result<(), EndpointError> {
        let stopped = self.handle.shutdown().await;
        self.arbiter.stop();
        // The log is closed by that thread; joining here would block this one's other tasks.
        let joined = actix_rt::task::spawn_blocking(move || self.arbiter.join()).await;
        stopped.and(joined.map_err(|_| unknown())?.map_err(|_| unknown_join()))
    }
}

fn unknown_join() -> EndpointError {
    EndpointError::Internal("the raft thread ended badly".into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// Takes no more proposals.
    Stopping,
    Failed,
}

/// The actor.
pub struct RaftNodeActor {
    driver: Driver<Log, Waiter>,
    host: Host,
    purger: Option<LogPurger>,
    fail_stop: Arc<dyn FailStop>,
    alive: AliveToken,
    me: ServerRecord,
    on_leadership: Sender<Arc<Leadership>>,
    /// The role that was counted last.
    role: Option<Role>,
    tick: Duration,
    lease: Duration,
    last_tick: Instant,
    heard_leader: Instant,
    /// A leader was known at some time.
    heard: bool,
    origin: u64,
    sequence: u64,
    /// Messages and bytes taken since the last pump.
    waiting: usize,
    waiting_bytes: usize,
    /// Proposals among them.
    proposals: u64,
    pump_scheduled: bool,
    state: State,
}

impl RaftNodeActor {
    /// Something was put into the driver: pump once the mailbox is empty, or now if much has come.
    fn put_in(&mut self, bytes: usize, ctx: &mut Context<Self>) {
        self.waiting += 1;
        self.waiting_bytes += bytes;
        if self.waiting >= PUMP_AFTER_MESSAGES || self.waiting_bytes >= PUMP_AFTER_BYTES {
            self.pump(ctx);
        } else if !self.pump_scheduled {
            self.pump_scheduled = true;
            // actix polls what is spawned after it has drained the mailbox.
            ctx.spawn(actix::fut::ready(()).map(|(), actor: &mut Self, ctx| {
                actor.pump_scheduled = false;
                actor.pump(ctx);
            }));
        }
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        let proposals = std::mem::take(&mut self.proposals);
        (self.waiting, self.waiting_bytes) = (0, 0);
        if self.state == State::Failed {
            return;
        }
        let begun = (proposals > 0).then(Instant::now);
        let host = &mut self.host;
        let mut pumped = self.driver.pump(&mut |effect| host.carry_out(effect));
        if let Some(begun) = begun {
            self.host.metrics.time(Timer::RaftDispatchLog, begun.elapsed());
            self.host.metrics.set(Gauge::RaftDispatchNumLogs, proposals);
        }
        if let Some(lost) = self.host.lost.take() {
            pumped = pumped.and(Err(lost));
        }
        for peer in std::mem::take(&mut self.host.unreachable) {
            pumped = pumped.and_then(|()| self.driver.report_unreachable(peer));
        }
        self.check(pumped, ctx);
        self.publish();
        if std::mem::take(&mut self.host.became_ready) {
            self.update_own_record(ctx);
        }
    }

    /// Stops everything at the first error.
    fn check(&mut self, result: Result<(), RaftError>, ctx: &mut Context<Self>) {
        let Err(error) = result else { return };
        if self.state == State::Failed {
            return;
        }
        self.state = State::Failed;
        self.host.published.set_lease(None, Duration::ZERO);
        self.host.published.leadership.store(Arc::default());
        self.fail_stop.fail_stop(WHO, &error.to_string());
        // Only tests get here.
        self.alive.disarm();
        drop(self.driver.take_waiters());
        self.host.reads.clear();
        ctx.stop();
    }

    fn publish(&mut self) {
        if self.state == State::Failed {
            return;
        }
        let heard = if self.driver.is_ready() { self.driver.quorum_heard() } else { None };
        self.host.published.set_lease(heard, self.lease);
        if !std::mem::take(&mut self.host.changed) {
            return;
        }
        let status = self.driver.status();
        let peers = status.membership.servers.iter().map(|(id, server)| Peer {
            id: server.node_id.clone(),
            node: server.name.clone(),
            address: server.address.clone(),
            leader: status.leader == Some(*id),
            voter: status.membership.is_voter(*id),
        });
        let leader = status.leader.and_then(|id| status.membership.servers.get(&id));
        let is_known = status.role != Role::Leader || status.ready;
        self.heard |= leader.is_some() && is_known;
        let leadership = Arc::new(Leadership {
            leader_address: leader.filter(|_| is_known).map(|server| server.address.clone()),
            is_leader: status.ready,
            last_contact: if status.role == Role::Leader {
                Duration::ZERO
            } else {
                self.heard_leader.elapsed()
            },
            heard: self.heard,
            peers: peers.collect(),
        });
        let before = self.host.published.leadership.swap(Arc::clone(&leadership));
        // Time alone is no news.
        let known = Leadership { last_contact: leadership.last_contact, ..(*before).clone() };
        if known != *leadership {
            self.on_leadership.send(leadership);
        }
    }

    /// Figures for people; once a tick is often enough.
    fn publish_progress(&mut self) {
        let status = self.driver.status();
        self.count_role(status.role);
        self.host.published.progress.store(Arc::new(Progress {
            role: status.role,
            term: status.term,
            commit: status.commit,
            applied: status.applied,
            last_index: status.last_index,
            truncated: status.first_index.saturating_sub(1),
            membership_index: status.membership.index,
        }));
    }

    fn count_role(&mut self, role: Role) {
        if self.role.replace(role) == Some(role) {
            return;
        }
        self.host.metrics.count(match role {
            Role::Leader => Counter::RaftStateLeader,
            Role::Follower => Counter::RaftStateFollower,
            Role::Candidate => Counter::RaftStateCandidate,
        });
        if role == Role::Candidate {
            self.host.metrics.count(Counter::RaftHeartbeatTimeout);
        }
    }

    /// A server is its node ID; name and address may have changed since it was last seen.
    fn update_own_record(&mut self, ctx: &mut Context<Self>) {
        if self.host.members.get(&self.me.raft_id()).is_some_and(|known| *known != self.me) {
            let (waiter, _) = Waiter::new(None);
            let change = MembershipChange::Update(self.me.clone());
            let id = self.next_id();
            if let Err((error, _)) = self.driver.propose_membership(id, &change, waiter) {
                tracing::warn!(error = %error, "this server's record among the raft members stays as it was");
            }
            self.put_in(0, ctx);
        }
    }

    fn next_id(&mut self) -> ProposalId {
        self.sequence += 1;
        ProposalId { origin: self.origin, sequence: self.sequence }
    }

    fn make_up_ticks(&mut self, ctx: &mut Context<Self>) {
        let elapsed = self.last_tick.elapsed();
        let due = u32::try_from(elapsed.as_millis() / self.tick.as_millis().max(1)).unwrap_or(u32::MAX);
        self.last_tick += self.tick.saturating_mul(due).min(elapsed);
        for _ in 0..due.min(MAX_TICK_BURST) {
            let ticked = self.driver.tick(self.host.published.now());
            self.check(ticked, ctx);
        }
        self.publish_progress();
        // Time since the leader was heard goes on.
        self.host.changed |= !self.driver.is_ready();
        self.pump(ctx);
    }

    fn purge(&mut self, ctx: &mut Context<Self>) {
        let Some(purger) = self.purger.clone().filter(LogPurger::is_due) else { return };
        let purged = actix_rt::task::spawn_blocking(move || purger.purge());
        ctx.spawn(purged.into_actor(self).map(|purged, actor, ctx| match purged {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => {
                actor.driver.compact_tightly();
                actor.host.applier.flush.send(FlushWanted { raft: actor.host.link.clone() });
            }
            Ok(Err(error)) => actor.check(Err(error.into()), ctx),
            Err(error) => actor.check(Err(RaftError::Broken(error.to_string())), ctx),
        }));
    }
}

impl std::fmt::Debug for RaftNodeActor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftNodeActor").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Actor for RaftNodeActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.last_tick = Instant::now();
        ctx.run_interval(self.tick, Self::make_up_ticks);
        ctx.run_interval(PURGE_EVERY, Self::purge);
        self.pump(ctx);
    }
}
