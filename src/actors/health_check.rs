//! Runs the checks of this agent: one supervised actor each.
//!
//! [`HealthChecks`] is the door. Behind it an actor per check keeps the time and counts failures; the looks
//! themselves are probes of `health`, run on a thread of their own, so that none of them holds up an actor. What
//! comes out goes to a [`Sender`] of [`CheckUpdate`]s, one after every look that counts.

mod actor;
mod cell;
mod offsets;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::mailbox::Sender;
use super::supervision::{ExitProcess, FailStop, RestartPolicy, Supervised, supervise};
use crate::definition::{CheckDefinition, Status};
use crate::endpoints::EndpointError;
use crate::health;
use actor::{HealthCheckActor, Stop};
use cell::{Cell, Kind};
use offsets::Offsets;

pub use crate::health::CheckTls;

/// Threads that wait for the system's resolver, at most. A resolver that hangs can hold up others that ask for names
/// once all of them hang; addresses and the probes' thread are never held up.
const RESOLVING: usize = 32;

/// A check has something to say. Sent after every look that counts, also when nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, actix::Message)]
#[rtype(result = "()")]
pub struct CheckUpdate {
    /// Whose it is.
    pub check_id: Arc<str>,
    /// How it is now.
    pub status: Status,
    /// What it says; what it quotes is capped by the check's `output_max_size`.
    pub output: String,
}

/// A check behind an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasedCheck {
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: Status,
    /// Its output; part of the alias's own while it fails.
    pub output: String,
}

/// What an alias check looks at. Called on the actors' thread: answer from memory.
pub trait AliasSource: Send + Sync {
    /// The checks of the service and of its node, now; those of the node alone if `service_id` is empty.
    /// `node` is this agent's own name if the definition names none. `None`: node or service unknown.
    fn statuses(&self, node: &str, service_id: &str) -> Option<Vec<AliasedCheck>>;

    /// Resolves when they may have changed since it was first polled; may resolve without need.
    fn changed<'a>(&'a self, node: &'a str, service_id: &'a str) -> BoxFuture<'a, ()>;
}

/// What all checks of an agent share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRunSettings {
    /// Name of this node, for aliases that name none.
    pub node_name: String,
    /// Variables that scripts get besides those of the agent.
    pub environment: Vec<(String, String)>,
    /// `check_output_max_size`, in bytes, for checks that do not say.
    pub output_max_size: usize,
    /// Shortest time between two looks; what is shorter is lengthened.
    pub min_interval: Duration,
    /// `User-Agent` of HTTP probes without one.
    pub user_agent: String,
    /// Docker engine, as in `DOCKER_HOST`: `unix://path`, or `tcp://host:port`.
    pub docker_host: String,
    /// Certificates.
    pub tls: CheckTls,
}

impl Default for CheckRunSettings {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            environment: Vec::new(),
            output_max_size: 4096,
            min_interval: Duration::from_secs(1),
            user_agent: "Consul Health Check".to_owned(),
            docker_host: "unix:///var/run/docker.sock".to_owned(),
            tls: CheckTls::default(),
        }
    }
}

/// Runs the checks of this agent, one supervised actor each. Clones share them; the last one to go stops them.
#[derive(Clone)]
pub struct HealthChecks {
    inner: Arc<Inner>,
}

struct Inner {
    node_name: String,
    min_interval: Duration,
    shared: health::Shared,
    updates: Sender<CheckUpdate>,
    alias: Arc<dyn AliasSource>,
    arbiter: ArbiterHandle,
    runtime: Option<tokio::runtime::Runtime>,
    fail_stop: Arc<dyn FailStop>,
    offsets: Arc<Offsets>,
    running: Mutex<HashMap<Arc<str>, Running>>,
}

/// A check that runs.
struct Running {
    cell: Arc<Cell>,
    actor: Supervised<HealthCheckActor>,
}

impl Running {
    fn stop(&self) {
        // In this order: an actor that is just being made looks at the mark when it starts.
        self.cell.mark_stopped();
        self.actor.release();
        if let Some(address) = self.actor.address() {
            address.do_send(Stop);
        }
    }
}

impl HealthChecks {
    /// No checks yet. To be called in the agent's system; the actors live on the arbiter of the caller.
    ///
    /// # Errors
    /// There is no arbiter, the thread for the probes cannot be had, or certificates cannot be read; the text
    /// names them.
    pub fn new(
        settings: CheckRunSettings,
        updates: Sender<CheckUpdate>,
        alias: Arc<dyn AliasSource>,
    ) -> io::Result<Self> {
        let CheckRunSettings {
            node_name,
            environment,
            output_max_size,
            min_interval,
            user_agent,
            docker_host,
            tls,
        } = settings;
        let arbiter =
            Arbiter::try_current().ok_or_else(|| io::Error::other("checks need a running actor system"))?;
        let shared = health::Shared::new(health::Settings {
            environment,
            output_max_size,
            user_agent,
            docker_host,
            tls,
        })
        .map_err(io::Error::other)?;
        // One thread carries all probes: they wait, nearly all of the time.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(RESOLVING)
            .thread_name("probes")
            .enable_all()
            .build()?;
        let inner = Inner {
            node_name,
            min_interval,
            shared,
            updates,
            alias,
            arbiter,
            runtime: Some(runtime),
            fail_stop: Arc::new(ExitProcess),
            offsets: Arc::new(Offsets::random()),
            running: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Starts running a check, replacing one of the same id. `initial` is the status it has now (restored
    /// or from its definition). Sends no update before it returns, so it may be called while holding locks.
    pub fn start(&self, run: &CheckDefinition, initial: Status, initial_output: &str) {
        let inner = &*self.inner;
        let Some(runtime) = &inner.runtime else { return };
        let cell = Arc::new(Cell::new(run, inner.kind(run, initial_output), initial, inner.updates.clone()));
        let factory = {
            let (cell, alias) = (Arc::clone(&cell), Arc::clone(&inner.alias));
            let (probes, offsets) = (runtime.handle().clone(), Arc::clone(&inner.offsets));
            move |alive| {
                actor::start(HealthCheckActor {
                    cell: Arc::clone(&cell),
                    alias: Arc::clone(&alias),
                    probes: probes.clone(),
                    offsets: Arc::clone(&offsets),
                    streak: None,
                    looking: None,
                    alive,
                })
            }
        };
        let id = Arc::clone(&cell.id);
        let mut running = inner.running.lock();
        if let Some(before) = running.remove(&id) {
            before.stop();
        }
        let policy = RestartPolicy::default();
        let actor = supervise("health check", &inner.arbiter, policy, Arc::clone(&inner.fail_stop), factory);
        running.insert(id, Running { cell, actor });
    }

    /// Stops a check and what it started; unknown ones are none. An update that is just being sent may still arrive.
    pub fn stop(&self, check_id: &str) {
        if let Some(running) = self.inner.running.lock().remove(check_id) {
            running.stop();
        }
    }

    /// News for a TTL check: sends the update and starts its time anew. The update is sent before this returns,
    /// so no lock may be held that the receiver takes.
    ///
    /// # Errors
    /// [`EndpointError::Internal`] with Consul's text for an unknown check or one without a TTL.
    pub fn update_ttl(&self, check_id: &str, status: Status, output: String) -> Result<(), EndpointError> {
        let cell = self.inner.running.lock().get(check_id).map(|running| Arc::clone(&running.cell));
        if cell.is_some_and(|cell| cell.renew(status, output)) {
            Ok(())
        } else {
            Err(EndpointError::Internal(format!("CheckID {check_id:?} does not have associated TTL")))
        }
    }
}

impl Inner {
    fn kind(&self, run: &CheckDefinition, initial_output: &str) -> Kind {
        if !run.ttl.is_zero() {
            return Kind::ttl(run.ttl, self.shared.output_max_size(run), initial_output);
        }
        if let Some(probe) = health::Probe::new(run, &self.shared) {
            return Kind::Probe {
                probe: Arc::new(probe),
                interval: run.interval.max(self.min_interval),
                streak: health::Streak::new(run),
            };
        }
        if run.alias_node.is_empty() && run.alias_service.is_empty() {
            return Kind::Nothing;
        }
        let own = run.alias_node.is_empty();
        Kind::Alias {
            node: if own { self.node_name.clone() } else { run.alias_node.clone() },
            // In texts Consul leaves the agent's own name out.
            shown_node: run.alias_node.clone(),
            service_id: run.alias_service.clone(),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for (_, running) in self.running.get_mut().drain() {
            running.stop();
        }
        if let Some(runtime) = self.runtime.take() {
            // Probes end where they are, and take down the processes they started.
            runtime.shutdown_background();
        }
    }
}
