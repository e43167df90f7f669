//! `LocalState`: this agent's services and checks, and the anti-entropy that keeps the catalog equal
//! to them.
//!
//! The truth is in [`LocalState`], a handle anybody may hold and read without a mailbox; it outlives
//! the actors that work for it. What changes is published at once, the maps being shared: a check that
//! says something new costs the same among ten others and among thousands.
//!
//! | file | what |
//! |---|---|
//! | [`entries`], [`sync`], [`deadlines`] | the core: what there is, what the catalog lacks, what is due |
//! | `registry` | registering and deregistering, over HTTP |
//! | [`configured`] | what the configuration defines, at the start and at a reload |
//! | [`disk`], `keeper` | the data directory: definitions at once, statuses soon after they change |
//! | [`alias`] | what alias checks look at |
//! | [`catalog`] | the catalog, here or with the servers |
//! | [`rounds`] | the actor that sends what the catalog lacks |

pub mod alias;
pub mod catalog;
pub mod configured;
pub mod deadlines;
pub mod disk;
pub mod entries;
mod keeper;
mod registry;
pub mod rounds;
pub mod sync;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tracing::{debug, info};

use super::health_check::{CheckUpdate, HealthChecks};
use crate::definition::Status;
use crate::endpoints::agent::registration::{Rules, Source};
use crate::endpoints::agent::{AgentFacts, LocalAgent, LocalSnapshot};
use crate::state::record::StringMap;
use disk::{Disk, Kept, KeptCheck};
use entries::{Change, Entries, OutputRules};
use keeper::Keeper;

/// How local state behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSettings {
    /// What becomes of changing output.
    pub output: OutputRules,
    /// Everything is compared with the catalog after so long (`ae_interval`), and up to half as much more.
    pub sync_interval: Duration,
    /// What may be registered.
    pub rules: Rules,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self {
            output: OutputRules::default(),
            sync_interval: Duration::from_secs(60),
            rules: Rules::default(),
        }
    }
}

/// This agent's services and checks. Clones of the `Arc` share them.
pub struct LocalState {
    entries: Mutex<Entries>,
    published: ArcSwap<LocalSnapshot>,
    settings: LocalSettings,
    /// Has the next round begin.
    wake: Notify,
    /// Has the deadlines looked at again.
    timers: Notify,
    /// That round shall compare everything.
    full: AtomicBool,
    /// Counts changes of any kind.
    changes: watch::Sender<u64>,
    /// Counts changes of definitions and statuses, not of output alone.
    statuses: watch::Sender<u64>,
    /// Held by whoever registers or deregisters, as that waits for the disk in between.
    turn: tokio::sync::Mutex<()>,
    keeper: Option<Keeper>,
    checks: OnceLock<HealthChecks>,
}

impl LocalState {
    /// With nothing but the node itself. Without a disk nothing outlives the process.
    pub fn new(facts: &AgentFacts, settings: LocalSettings, disk: Option<Disk>) -> Self {
        Self {
            entries: Mutex::new(Entries::new(facts.catalog_node(), facts.server, settings.output)),
            published: ArcSwap::default(),
            settings,
            wake: Notify::new(),
            timers: Notify::new(),
            full: AtomicBool::new(true),
            changes: watch::Sender::new(0),
            statuses: watch::Sender::new(0),
            turn: tokio::sync::Mutex::new(()),
            keeper: disk.map(Keeper::new),
            checks: OnceLock::new(),
        }
    }

    /// Puts back the services that the data directory holds, and gives its checks: those may belong to services
    /// of the configuration, so [`LocalState::configure_first`] takes them. To be called once, before anything
    /// is registered, on a thread that may wait.
    pub fn restore(&self) -> Vec<KeptCheck> {
        let Some(keeper) = &self.keeper else { return Vec::new() };
        let Kept { services, checks, statuses } = keeper.disk().load();
        // Those whose check is not defined any more are forgotten when the keeper begins to work.
        keeper.note(statuses.iter().map(|kept| Arc::clone(&kept.check_id)));
        keeper.remember(statuses);
        self.change(|entries| {
            for kept in services {
                debug!(target: "agent", service = %kept.service.id, "restored service definition from file");
                entries.put_service(kept.service, Source::Api, kept.sidecar_of);
            }
        });
        checks
    }

    /// Has all checks run from now on, and those that come later. Only the first call counts.
    pub fn run_checks(&self, checks: HealthChecks) {
        let entries = self.entries.lock();
        let checks = self.checks.get_or_init(|| checks);
        for (id, _) in entries.checks() {
            if let Some((run, status, output)) = entries.run(id) {
                checks.start(run, status, output);
            }
        }
    }

    /// Ends the running of all checks, and what they started. For the end of the agent.
    pub fn stop_checks(&self) {
        let Some(checks) = self.checks.get() else { return };
        let ids: Vec<_> = self.local().checks.keys().cloned().collect();
        for id in ids {
            checks.stop(&id);
        }
    }

    /// Changes the entries, publishes them and has them sent.
    fn change<R>(&self, change: impl FnOnce(&mut Entries) -> R) -> R {
        let mut entries = self.entries.lock();
        let result = change(&mut entries);
        self.publish(&entries);
        drop(entries);
        self.statuses.send_modify(|count| *count += 1);
        self.wake.notify_one();
        self.timers.notify_one();
        result
    }

    /// Under the lock, so that a newer snapshot is never replaced by an older one.
    fn publish(&self, entries: &Entries) {
        self.published.store(Arc::new(entries.snapshot()));
        self.changes.send_modify(|count| *count += 1);
    }

    /// News of a check, from whoever runs it.
    pub fn check_updated(&self, update: &CheckUpdate) {
        self.update(&update.check_id, update.status, &update.output);
    }

    fn update(&self, check_id: &str, status: Status, output: &str) {
        let mut entries = self.entries.lock();
        let change = entries.update_check(check_id, status, output, Instant::now(), rand::random());
        if change == Change::Nothing {
            return;
        }
        self.publish(&entries);
        drop(entries);
        match change {
            Change::Status => {
                self.statuses.send_modify(|count| *count += 1);
                self.note([Arc::from(check_id)]);
                self.wake.notify_one();
                self.timers.notify_one();
            }
            Change::Output { wake: true } => {
                self.wake.notify_one();
                self.timers.notify_one();
            }
            Change::Output { wake: false } | Change::Nothing => {}
        }
    }

    /// Has the statuses of these checks written or forgotten.
    fn note(&self, check_ids: impl IntoIterator<Item = Arc<str>>) {
        if let Some(keeper) = &self.keeper {
            keeper.note(check_ids);
        }
    }

    /// Writes at once what [`Keeper`] would write soon. For the end of the agent.
    pub fn keep_now(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.write_noted(&self.entries);
        }
    }

    /// Replaces the node's metadata, as the catalog shall hold it.
    pub fn set_meta(&self, meta: StringMap) {
        self.change(|entries| entries.set_meta(meta));
    }

    /// Keeps the output of checks from now on, or no more (`discard_check_output`).
    pub fn set_discard_output(&self, discard: bool) {
        self.change(|entries| entries.set_discard_output(discard));
    }

    /// What may be registered here.
    pub const fn rules(&self) -> &Rules {
        &self.settings.rules
    }

    /// Has everything compared with the catalog anew: the leader changed, a snapshot was restored.
    pub fn sync_all(&self) {
        self.full.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }
}

impl LocalAgent for LocalState {
    fn local(&self) -> Arc<LocalSnapshot> {
        self.published.load_full()
    }

    fn set_node_maintenance(&self, reason: Option<String>) {
        let enabled = reason.is_some();
        if self.change(|entries| entries.set_node_maintenance(reason, Instant::now())) {
            self.note([entries::NODE_MAINTENANCE.into()]);
            if enabled {
                info!(target: "agent", "Node entered maintenance mode");
            } else {
                info!(target: "agent", "Node left maintenance mode");
            }
        }
    }

    fn set_service_maintenance(&self, service_id: &str, reason: Option<String>) -> bool {
        let enabled = reason.is_some();
        let now = Instant::now();
        let Some(check_id) = self.change(|entries| entries.set_service_maintenance(service_id, reason, now))
        else {
            return false;
        };
        self.note([check_id.into()]);
        if enabled {
            info!(target: "agent", service = service_id, "Service entered maintenance mode");
        } else {
            info!(target: "agent", service = service_id, "Service left maintenance mode");
        }
        true
    }
}

#[cfg(test)]
#[path = "local_state/tests.rs"]
mod tests;
