//! SessionManager: the clocks of sessions.
//!
//! It owns a deadline for every session with a TTL while this server leads, renews it when the
//! holder says so and proposes the end of a session whose deadline has passed. What an end sets off
//! (locks, keys, lock-delay windows) is decided where it is applied, in the state core, at one index.
//!
//! Deadlines are twice the TTL, as Consul's are: the TTL is what the holder must keep, not what it
//! may count on. A new leader, and a restarted manager, give every session its full time again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture};
use tracing::{debug, warn};

use super::kv_store::StateChanged;
use super::supervision::AliveToken;
use crate::duration;
use crate::endpoints::Proposer;
use crate::metrics::{Gauge, Metrics, Timer};
use crate::state::record::Session;
use crate::state::{Command, Event, StateReader};

/// A session is ended after so many times its TTL without a renewal.
const TTL_MULTIPLIER: u32 = 2;
/// How long to wait before an end that could not be proposed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Starts a session's time anew.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Renew {
    /// Session id.
    pub id: Arc<str>,
}

/// This server has become the leader, or is no longer.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct LeadershipChanged {
    /// It leads.
    pub leads: bool,
}

/// The deadlines, apart from the actor so that they can be tested without a clock.
#[derive(Debug, Default)]
struct Deadlines {
    of: HashMap<Arc<str>, (Instant, Duration)>,
    /// May hold outdated entries; `of` decides.
    queue: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
}

impl Deadlines {
    fn set(&mut self, id: Arc<str>, now: Instant, time: Duration) {
        let at = now + time;
        self.of.insert(id.clone(), (at, time));
        self.queue.push(Reverse((at, id)));
        self.shrink();
    }

    /// Renewals leave outdated entries behind; without this a busy session would fill the heap.
    fn shrink(&mut self) {
        if self.queue.len() > 64 && self.queue.len() > 4 * self.of.len() {
            self.queue = self.of.iter().map(|(id, (at, _))| Reverse((*at, id.clone()))).collect();
        }
    }

    fn renew(&mut self, id: &Arc<str>, now: Instant) {
        if let Some((_, time)) = self.of.get(id) {
            let time = *time;
            self.set(id.clone(), now, time);
        }
    }

    fn forget(&mut self, id: &str) {
        self.of.remove(id);
    }

    /// The earliest deadline.
    fn next(&mut self) -> Option<Instant> {
        while let Some(Reverse((at, id))) = self.queue.peek() {
            if self.of.get(id).is_some_and(|(due, _)| due == at) {
                return Some(*at);
            }
            self.queue.pop();
        }
        None
    }

    /// Takes out what is due.
    fn take_due(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut due = Vec::new();
        while self.next().is_some_and(|at| at <= now) {
            if let Some(Reverse((_, id))) = self.queue.pop() {
                self.of.remove(&id);
                due.push(id);
            }
        }
        due
    }
}

/// The clocks of sessions.
pub struct SessionManager {
    state: StateReader,
    proposer: Arc<dyn Proposer>,
    deadlines: Deadlines,
    leads: bool,
    timer: Option<(Instant, SpawnHandle)>,
    metrics: Arc<Metrics>,
    _alive: AliveToken,
}

impl SessionManager {
    /// A manager that starts its clocks at once if this server leads.
    pub fn new(
        state: StateReader,
        proposer: Arc<dyn Proposer>,
        metrics: Arc<Metrics>,
        leads: bool,
        alive: AliveToken,
    ) -> Self {
        Self { state, proposer, deadlines: Deadlines::default(), leads, timer: None, metrics, _alive: alive }
    }

    /// Gives every session its full time.
    fn restart_clocks(&mut self) {
        self.deadlines = Deadlines::default();
        if self.leads {
            let now = Instant::now();
            let view = self.state.view_full();
            for session in view.sessions.values() {
                self.watch(session, now);
            }
        }
    }

    fn watch(&mut self, session: &Session, now: Instant) {
        // Endpoints have checked it; one that cannot be read has no clock.
        let ttl = duration::parse(&session.ttl).ok().and_then(|ttl| u64::try_from(ttl).ok());
        if let Some(ttl) = ttl.filter(|ttl| *ttl > 0) {
            let time = Duration::from_nanos(ttl).saturating_mul(TTL_MULTIPLIER);
            self.deadlines.set(session.id.clone(), now, time);
        }
    }

    /// Keeps exactly one timer, for the earliest deadline.
    fn arm(&mut self, context: &mut Context<Self>) {
        let next = self.deadlines.next();
        let clocks = u64::try_from(self.deadlines.of.len()).unwrap_or(u64::MAX);
        self.metrics.set(Gauge::SessionTtlActive, clocks);
        if self.timer.as_ref().map(|(at, _)| *at) == next {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            context.cancel_future(timer);
        }
        if let Some(at) = next {
            let wait = at.saturating_duration_since(Instant::now());
            let timer = context.run_later(wait, |manager, context| {
                manager.timer = None;
                manager.expire(context);
            });
            self.timer = Some((at, timer));
        }
    }

    fn expire(&mut self, context: &mut Context<Self>) {
        for id in self.deadlines.take_due(Instant::now()) {
            debug!(target: "agent.server", session = %id, "session TTL expired");
            self.end(id, context);
        }
        self.arm(context);
    }

    fn end(&mut self, id: Arc<str>, context: &mut Context<Self>) {
        let proposer = Arc::clone(&self.proposer);
        let session = id.clone();
        let begun = Instant::now();
        let proposal =
            async move { proposer.propose(Command::SessionDestroy { id: session }).await.map(drop) };
        context.spawn(proposal.into_actor(self).map(move |outcome, manager, context| {
            manager.metrics.time(Timer::SessionTtlInvalidate, begun.elapsed());
            if let Err(error) = outcome
                && manager.leads
            {
                warn!(target: "agent.server", session = %id, error = %error, "cannot end an expired session, trying again");
                manager.deadlines.set(id, Instant::now(), RETRY);
                manager.arm(context);
            }
        }));
    }
}

impl Actor for SessionManager {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(1024);
        self.restart_clocks();
        self.arm(context);
    }
}

impl Handler<Renew> for SessionManager {
    type Result = ();

    fn handle(&mut self, renew: Renew, context: &mut Self::Context) {
        self.deadlines.renew(&renew.id, Instant::now());
        self.arm(context);
    }
}

impl Handler<StateChanged> for SessionManager {
    type Result = ();

    fn handle(&mut self, changed: StateChanged, context: &mut Self::Context) {
        if !self.leads {
            return;
        }
        for event in changed.events.iter() {
            match event {
                Event::SessionCreated(session) => self.watch(session, Instant::now()),
                Event::SessionEnded(id) => self.deadlines.forget(id),
                Event::Replaced => self.restart_clocks(),
            }
        }
        self.arm(context);
    }
}

impl Handler<LeadershipChanged> for SessionManager {
    type Result = ();

    fn handle(&mut self, changed: LeadershipChanged, context: &mut Self::Context) {
        if self.leads != changed.leads {
            self.leads = changed.leads;
            self.restart_clocks();
            self.arm(context);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order_and_renewals_move_them() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut deadlines = Deadlines::default();
        deadlines.set("a".into(), start, second);
        deadlines.set("b".into(), start, 3 * second);
        deadlines.set("c".into(), start, 2 * second);
        assert_eq!(deadlines.next(), Some(start + second));
        deadlines.renew(&"a".into(), start + second / 2);
        deadlines.renew(&"unknown".into(), start);
        deadlines.forget("c");
        assert_eq!(deadlines.next(), Some(start + 3 * second / 2));
        assert!(deadlines.take_due(start + second).is_empty());
        assert_eq!(deadlines.take_due(start + 3 * second), ["a".into(), "b".into()]);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn many_renewals_do_not_pile_up() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.set("a".into(), start, Duration::from_secs(10));
        for n in 0..10_000 {
            deadlines.renew(&"a".into(), start + Duration::from_millis(n));
        }
        assert!(deadlines.queue.len() <= 65, "{}", deadlines.queue.len());
    }
}
