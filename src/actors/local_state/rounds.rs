//! The actor that sends what the catalog lacks, and looks after what is due.
//!
//! Everything is compared with the catalog when it starts, when the leader changes and at an interval; in
//! between only what changed is sent. Changes are never queued one by one: whoever changes something leaves
//! a mark, and the next round sends what the marks say, what is independent together. A failed
//! round is repeated with growing pauses; what the catalog refuses is named, left for the next comparison and keeps
//! nothing else from being sent.
//!
//! Restart: from a factory ([`LocalStateActor::new`] with the same links); it holds nothing.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, WrapFuture};
use futures::stream::{self, StreamExt};
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::catalog::Catalog;
use super::sync::{Settles, Step};
use super::{LocalState, keeper};
use crate::actors::supervision::AliveToken;
use crate::endpoints::{EndpointError, Proposer};

/// Pause after the first failure; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(250);
/// Longest pause after failures.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// Proposals on their way at a time.
const AT_A_TIME: usize = 64;
/// Nodes up to which the interval between comparisons is the configured one; it grows by one for every
/// doubling beyond, as Consul's does.
const SCALE_FROM: usize = 128;

/// How the agents of a cluster spread a comparison that all are asked for at once: so much per node.
const STAGGER_PER_NODE: Duration = Duration::from_millis(10);
/// The most of it.
const STAGGER_MAX: Duration = Duration::from_secs(3);

/// What the actor works with.
#[derive(Clone)]
pub struct LocalStateLinks {
    /// What lives on this agent.
    pub local: Arc<LocalState>,
    /// The catalog.
    pub catalog: Arc<dyn Catalog>,
    /// The way into it.
    pub proposer: Arc<dyn Proposer>,
}

/// Works for a [`LocalState`]. Stop it by dropping its context's address or the arbiter; it has no
/// messages, the local state is its door.
pub struct LocalStateActor {
    links: LocalStateLinks,
    _alive: AliveToken,
}

impl LocalStateActor {
    /// An actor for these links; several at a time would repeat each other's work.
    pub const fn new(links: LocalStateLinks, alive: AliveToken) -> Self {
        Self { links, _alive: alive }
    }
}

impl Actor for LocalStateActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.links.local.full.store(true, Ordering::SeqCst);
        context.spawn(keeper::keep(Arc::clone(&self.links.local)).into_actor(self));
        context.spawn(deregister_overdue(Arc::clone(&self.links.local)).into_actor(self));
        context.spawn(run(self.links.clone()).into_actor(self));
    }
}

/// The rounds, for ever.
async fn run(links: LocalStateLinks) {
    let mut next_full = Instant::now();
    let mut failures = 0_u32;
    let name = links.local.entries.lock().node_name().to_owned();
    links.catalog.registered(&name).await;
    loop {
        let due = Instant::now() >= next_full;
        let asked = links.local.full.swap(false, Ordering::SeqCst);
        let full = asked || due;
        if asked && !due {
            // Whatever made this agent look anew mostly made all others too.
            sleep(stagger(&links)).await;
        }
        let pause = match round(&links, full).await {
            Ok(()) => {
                failures = 0;
                if full {
                    next_full = Instant::now() + pause_between_comparisons(&links);
                }
                next_full.saturating_duration_since(Instant::now())
            }
            Err(error) => {
                warn!(target: "agent", error = %error, "cannot bring the catalog up to date with this agent, trying again");
                links.local.full.fetch_or(full, Ordering::SeqCst);
                let pause = RETRY_MIN.saturating_mul(1 << failures.min(10)).min(RETRY_MAX);
                failures = failures.saturating_add(1);
                // Many agents lose their leader at the same moment.
                pause.mul_f64(rand::random_range(0.5..1.0))
            }
        };
        tokio::select! {
            () = links.local.wake.notified() => {}
            () = sleep(pause) => {}
        }
    }
}

/// A pause by chance that grows with the cluster, up to three seconds.
fn stagger(links: &LocalStateLinks) -> Duration {
    let nodes = u32::try_from(links.catalog.nodes()).unwrap_or(u32::MAX);
    let longest = STAGGER_PER_NODE.saturating_mul(nodes).min(STAGGER_MAX);
    longest.mul_f64(rand::random_range(0.0..1.0))
}

/// The interval and up to half as much more, so that the agents of a cluster spread out.
fn pause_between_comparisons(links: &LocalStateLinks) -> Duration {
    let doublings = (links.catalog.nodes() / SCALE_FROM).checked_ilog2().map_or(0, |log| log + 1);
    let interval = links.local.settings.sync_interval.saturating_mul(1 + doublings);
    interval + interval.mul_f64(rand::random_range(0.0..0.5))
}

/// One round: compares if asked to, then sends what differs.
async fn round(links: &LocalStateLinks, full: bool) -> Result<(), EndpointError> {
    let local = &links.local;
    if full {
        let name = local.entries.lock().node_name().to_owned();
        let known = links.catalog.node(&name).await?;
        let mut entries = local.entries.lock();
        if entries.compare(known.as_deref()) {
            local.publish(&entries);
        }
    }
    loop {
        let plan = local.entries.lock().plan();
        if plan.is_empty() {
            return Ok(());
        }
        if !links.catalog.reachable() {
            return Err(EndpointError::NoLeader);
        }
        send(links, plan.node.into_iter().collect()).await?;
        send(links, plan.gone).await?;
        send(links, plan.registered).await?;
    }
}

/// Sends steps that do not depend on each other. An error means that some are still to be sent.
async fn send(links: &LocalStateLinks, steps: Vec<Step>) -> Result<(), EndpointError> {
    let proposals = steps.into_iter().map(|step| async {
        let outcome = links.proposer.propose(step.command).await;
        (step.settles, outcome)
    });
    let mut done = pin!(stream::iter(proposals).buffer_unordered(AT_A_TIME));
    let mut failure = None;
    while let Some((settles, outcome)) = done.next().await {
        match outcome {
            Ok(_) => {
                links.local.entries.lock().settle(&settles);
                tell(&settles);
            }
            Err(EndpointError::Refused(reason) | EndpointError::Invalid(reason)) => {
                links.local.entries.lock().give_up(&settles);
                tell_refused(&settles, &reason);
            }
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Says what was sent, in the words that people's tools look for.
fn tell(settled: &Settles) {
    match settled {
        Settles::Node(_) => info!(target: "agent", "Synced node info"),
        Settles::Service(service, checks) => {
            info!(target: "agent", service = %service.id, "Synced service");
            for check in checks {
                info!(target: "agent", check = %check.check_id, "Synced check");
            }
        }
        Settles::Check(check) => info!(target: "agent", check = %check.check_id, "Synced check"),
        Settles::GoneService(id) => info!(target: "agent", service = %id, "Deregistered service"),
        Settles::GoneCheck(id) => info!(target: "agent", check = %id, "Deregistered check"),
    }
}

fn tell_refused(refused: &Settles, reason: &str) {
    match refused {
        Settles::Node(_) => warn!(target: "agent", error = reason, "Syncing node info failed."),
        Settles::Service(service, _) => {
            warn!(target: "agent", service = %service.id, error = reason, "Syncing service failed.");
        }
        Settles::Check(check) => {
            warn!(target: "agent", check = %check.check_id, error = reason, "Syncing check failed.");
        }
        Settles::GoneService(id) => {
            warn!(target: "agent", service = %id, error = reason, "Deregistering service failed.");
        }
        Settles::GoneCheck(id) => {
            warn!(target: "agent", check = %id, error = reason, "Deregistering check failed.");
        }
    }
}

/// Has deferred output sent and deregisters services whose check has been critical for too long, for ever.
async fn deregister_overdue(local: Arc<LocalState>) {
    loop {
        let (overdue, next) = {
            let mut entries = local.entries.lock();
            let before = entries.next_deadline();
            let overdue = entries.expire(Instant::now().into_std());
            if entries.next_deadline() != before {
                local.wake.notify_one();
            }
            (overdue, entries.next_deadline())
        };
        for due in overdue {
            match local.remove_service(&due.service_id).await {
                Ok(()) => info!(target: "agent", service = %due.service_id, check = %due.check_id,
                    "Check for service has been critical for too long; deregistered service"),
                Err(EndpointError::NotFound(_)) => {}
                Err(failure) => error!(target: "agent", service = %due.service_id, check = %due.check_id,
                    error = %failure, "unable to deregister service after check has been critical for too long"),
            }
        }
        let sleeping = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = local.timers.notified() => {}
            () = sleeping => {}
        }
    }
}
