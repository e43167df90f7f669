//! The actor of a check: keeps its time, and has the looking done elsewhere.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use futures::future::{Either, FutureExt as _, select};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::AliasSource;
use super::cell::{Cell, Kind};
use super::offsets::Offsets;
use crate::actors::supervision::AliveToken;
use crate::definition::Status;
use crate::health::{Outcome, Probe, Streak, alias};

/// An alias looks again after this long, should it have missed a change.
const ALIAS_REFRESH: Duration = Duration::from_secs(60);
/// Time between two looks of an alias: changes that come together are looked at together.
const ALIAS_PAUSE: Duration = Duration::from_millis(20);

/// Runs one check.
pub(super) struct HealthCheckActor {
    /// The check.
    pub cell: Arc<Cell>,
    /// What aliases look at.
    pub alias: Arc<dyn AliasSource>,
    /// Where probes run.
    pub probes: Handle,
    /// When to begin.
    pub offsets: Arc<Offsets>,
    /// What has been counted.
    pub streak: Option<Streak>,
    /// The probe at work.
    pub looking: Option<Looking>,
    /// Tells of its end.
    pub alive: AliveToken,
}

/// The check is no longer wanted.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

/// Starts an actor on the current arbiter.
pub(super) fn start(actor: HealthCheckActor) -> Addr<HealthCheckActor> {
    actor.start()
}

impl Actor for HealthCheckActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if self.cell.stopped() {
            self.alive.disarm();
            context.stop();
            return;
        }
        let cell = Arc::clone(&self.cell);
        match &self.cell.kind {
            Kind::Probe { probe, interval, streak } => {
                let first = Instant::now() + self.offsets.next(*interval);
                self.streak = Some(streak.clone());
                let looking = look(Arc::clone(probe), first, *interval, context.address());
                self.looking = Some(Looking(self.probes.spawn(looking)));
            }
            Kind::Ttl { .. } => {
                context.spawn(watch_ttl(cell).into_actor(self));
            }
            Kind::Alias { .. } => {
                context.spawn(follow_alias(cell, Arc::clone(&self.alias)).into_actor(self));
            }
            Kind::Nothing => {}
        }
    }
}

impl Handler<Stop> for HealthCheckActor {
    type Result = ();

    fn handle(&mut self, _: Stop, context: &mut Self::Context) {
        self.alive.disarm();
        context.stop();
    }
}

/// The looking of a check, which ends with its actor.
pub(super) struct Looking(JoinHandle<()>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A probe looked.
#[derive(Message)]
#[rtype(result = "()")]
struct Looked(Outcome);

impl Handler<Looked> for HealthCheckActor {
    type Result = ();

    fn handle(&mut self, Looked(Outcome { status, output }): Looked, _: &mut Self::Context) {
        let Some(streak) = &mut self.streak else { return };
        match streak.count(status) {
            Some(status) => self.cell.tell(Outcome { status, output }),
            None => tell_of_waiting(&self.cell, status),
        }
    }
}

/// Looks at every interval, for ever, on the probes' thread; the actor is only woken by what was seen. A look
/// that takes longer than the interval lets the next ones fall out; the rest stay where they are, so that checks
/// remain spread.
async fn look(probe: Arc<Probe>, first: Instant, interval: Duration, actor: Addr<HealthCheckActor>) {
    let mut next = first;
    loop {
        sleep_until(next).await;
        // Boxed, as a look needs some KiB for a moment and then nothing for seconds.
        let outcome = AssertUnwindSafe(Box::pin(probe.run()))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Outcome::critical("The check itself failed; see the agent's log"));
        actor.do_send(Looked(outcome));
        let late = Instant::now().saturating_duration_since(next);
        let missed = late.as_nanos() / interval.as_nanos().max(1);
        next += interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1));
    }
}

fn tell_of_waiting(cell: &Cell, status: Status) {
    let text = if status == Status::Critical {
        "Check failed but has not reached failure threshold"
    } else {
        "Check passed but has not reached success threshold"
    };
    tracing::debug!(target: "agent", check = %cell.id, status = status.as_str(), "{text}");
}

/// Waits for the end of a TTL check's time, for ever.
async fn watch_ttl(cell: Arc<Cell>) {
    let never = Notify::new();
    let renewed = match &cell.kind {
        Kind::Ttl { renewed, .. } => renewed,
        _ => &never,
    };
    loop {
        match cell.expire() {
            // News in the meantime move the deadline: it is looked at again when it would have been reached.
            Some(left) => sleep(left).await,
            None => renewed.notified().await,
        }
    }
}

/// Follows what an alias stands for, for ever.
async fn follow_alias(cell: Arc<Cell>, source: Arc<dyn AliasSource>) {
    let Kind::Alias { node, shown_node, service_id } = &cell.kind else { return };
    let mut last: Option<Outcome> = None;
    loop {
        let mut changed = source.changed(node, service_id);
        // Polled before the look, so that a change after it is not missed.
        let again = futures::poll!(&mut changed).is_ready();
        let checks = source.statuses(node, service_id);
        let checks = checks.as_ref().map(|checks| {
            checks.iter().map(|check| (check.name.as_str(), check.status, check.output.as_str()))
        });
        let seen = alias::look(checks, shown_node, service_id);
        if last.as_ref() != Some(&seen) {
            cell.tell(seen.clone());
            last = Some(seen);
        }
        sleep(ALIAS_PAUSE).await;
        if !again {
            match select(changed, pin!(sleep(ALIAS_REFRESH))).await {
                Either::Left(_) | Either::Right(_) => {}
            }
        }
    }
}
