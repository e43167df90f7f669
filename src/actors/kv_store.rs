//! KvStoreActor: the shell around the state core.
//!
//! It owns the [`StateMachine`] on a thread of its own, applies what raft has committed, answers the
//! proposers once their command is visible, and tells the others what happened. Its failure is the
//! server's: it never skips an entry and never restarts in place, it stops the process.
//!
//! Accepts [`ApplyCommitted`] (one batch at a time, in log order), [`FlushWanted`] (make everything
//! durable so that the log may be cut), [`SnapshotWork`] (make a snapshot for a peer, install one) and [`Close`] (the
//! last word before the thread ends).

use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, ActorContext, Addr, Context, Handler, Message};
use actix_rt::Arbiter;
use tracing::debug;

use super::mailbox::Sender;
use super::raft_handle::RaftLink;
use super::raft_node::{Applier, ApplyCommitted, FlushWanted, SnapshotWork};
use super::snapshot_files::SnapshotFiles;
use super::supervision::{AliveToken, FailStop};
use crate::endpoints::{Applied, EndpointError};
use crate::metrics::{Metrics, Timer};
use crate::raft::Manifest;
use crate::state::command::KvVerb;
use crate::state::{CommandKind, Event, Outcome, StateError, StateMachine};

mod snapshots;
#[cfg(test)]
mod tests;

pub use snapshots::{SnapshotWorkError, open_state};

use snapshots::Maker;

/// Name in messages about failures.
const WHO: &str = "state";

/// What happened while a batch was applied, in order. Sent after the batch is visible.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct StateChanged {
    /// The events.
    pub events: Arc<[Event]>,
}

/// Makes everything durable and stops the actor.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StateError>")]
pub struct Close;

/// The running actor, for whoever starts and stops it.
pub struct KvStore {
    address: Addr<KvStoreActor>,
    arbiter: Arbiter,
}

impl KvStore {
    /// Starts the actor on a thread of its own. After every `cut_after` applied entries the state is
    /// made durable and raft is told that the log may be cut. `files` holds the data of snapshots.
    pub fn start(
        machine: StateMachine,
        files: SnapshotFiles,
        cut_after: u64,
        listener: Sender<StateChanged>,
        metrics: Arc<Metrics>,
        fail_stop: Arc<dyn FailStop>,
    ) -> Self {
        let arbiter = Arbiter::new();
        let address = KvStoreActor::start_in_arbiter(&arbiter.handle(), move |_| KvStoreActor {
            alive: AliveToken::fail_stop(WHO, Arc::clone(&fail_stop)),
            cut_at: machine.applied_index(),
            snapshots: Maker::new(machine.reader(), files),
            machine,
            cut_after,
            listener,
            metrics,
            fail_stop,
        });
        Self { address, arbiter }
    }

    /// What the raft node hands its entries to.
    pub fn applier(&self) -> Applier {
        Applier {
            apply: Sender::from(self.address.clone()),
            flush: Sender::from(self.address.clone()),
            snapshots: Some(Sender::from(self.address.clone())),
        }
    }

    /// Makes everything durable and ends the thread.
    ///
    /// # Errors
    /// [`StateError::Store`]; nothing acknowledged is lost, the log still has it.
    pub async fn stop(self) -> Result<(), StateError> {
        let gone = |_| StateError::Store("the state's thread ended early".into());
        let closed = self.address.send(Close).await.map_err(gone).and_then(|closed| closed);
        self.arbiter.stop();
        let joined = actix_rt::task::spawn_blocking(move || self.arbiter.join()).await;
        closed.and(joined.map(drop).map_err(|_| StateError::Store("the state's thread ended badly".into())))
    }
}

/// The shell around the state core.
pub struct KvStoreActor {
    machine: StateMachine,
    snapshots: Maker,
    cut_after: u64,
    /// Applied index when the log was last offered for cutting.
    cut_at: u64,
    listener: Sender<StateChanged>,
    metrics: Arc<Metrics>,
    fail_stop: Arc<dyn FailStop>,
    alive: AliveToken,
}

impl KvStoreActor {
    fn fail(&self, failure: &StateError) {
        self.fail_stop.fail_stop(WHO, &failure.to_string());
    }

    /// A batch is one write; each of its commands counts for an equal part of it.
    fn measure(&self, kinds: &[CommandKind], begun: Instant) {
        let each = begun.elapsed() / u32::try_from(kinds.len()).unwrap_or(u32::MAX).max(1);
        for kind in kinds {
            self.metrics.time(Timer::RaftFsmApply, each);
            if let Some(timer) = timer(*kind) {
                self.metrics.time(timer, each);
            }
        }
    }

    /// Makes the state durable and lets the log be cut below it.
    fn offer_cut(&mut self, raft: &RaftLink) {
        match self.machine.make_durable() {
            Ok(durable) => {
                debug!(target: "agent.server.raft", index = durable, "state is durable, the log may be cut");
                self.cut_at = durable;
                raft.compact_to(durable);
            }
            Err(failure) => self.fail(&failure),
        }
    }
}

impl Actor for KvStoreActor {
    type Context = Context<Self>;
}

impl Handler<ApplyCommitted> for KvStoreActor {
    type Result = ();

    fn handle(&mut self, mut batch: ApplyCommitted, _: &mut Self::Context) {
        let begun = Instant::now();
        let waiters: Vec<_> =
            batch.entries.iter_mut().map(|entry| (entry.index, entry.waiter.take())).collect();
        let entries = batch.entries.iter().map(|entry| (entry.index, entry.data.as_ref()));
        let applied = self.machine.apply_answering(entries, |outcomes| {
            for ((index, waiter), outcome) in waiters.into_iter().zip(outcomes.drain(..)) {
                if let Some(waiter) = waiter {
                    waiter.answer(answer(index, outcome));
                }
            }
        });
        let applied = match applied {
            Ok(applied) => applied,
            Err(failure) => return self.fail(&failure),
        };
        batch.raft.applied(self.machine.applied_index());
        self.measure(&applied.kinds, begun);
        if !applied.events.is_empty() {
            self.listener.send(StateChanged { events: applied.events.into() });
        }
        if self.machine.applied_index() >= self.cut_at + self.cut_after {
            self.offer_cut(&batch.raft);
        }
    }
}

/// The series a command is applied under; Consul has none for restores.
const fn timer(kind: CommandKind) -> Option<Timer> {
    Some(match kind {
        CommandKind::Kv(KvVerb::Set) => Timer::FsmKvsSet,
        CommandKind::Kv(KvVerb::Cas) => Timer::FsmKvsCas,
        CommandKind::Kv(KvVerb::Lock) => Timer::FsmKvsLock,
        CommandKind::Kv(KvVerb::Unlock) => Timer::FsmKvsUnlock,
        CommandKind::Kv(KvVerb::Delete) => Timer::FsmKvsDelete,
        CommandKind::Kv(KvVerb::DeleteCas) => Timer::FsmKvsDeleteCas,
        CommandKind::Kv(KvVerb::DeleteTree) => Timer::FsmKvsDeleteTree,
        CommandKind::Register => Timer::FsmRegister,
        CommandKind::Deregister => Timer::FsmDeregister,
        CommandKind::SessionCreate => Timer::FsmSessionCreate,
        CommandKind::SessionDestroy => Timer::FsmSessionDestroy,
        CommandKind::Txn => Timer::FsmTxn,
        CommandKind::ReapTombstones => Timer::FsmTombstone,
        CommandKind::UpdateCoordinates => Timer::FsmCoordinates,
        CommandKind::Autopilot => Timer::FsmAutopilot,
        CommandKind::Restore => return None,
    })
}

fn answer(index: u64, outcome: Option<Outcome>) -> Result<Applied, EndpointError> {
    match outcome {
        Some(Outcome::Refused(text)) => Err(EndpointError::Refused(text)),
        Some(outcome) => Ok(Applied { index, outcome }),
        // Only a replay skips entries, and nobody waits for those.
        None => Err(EndpointError::Internal("the command was applied before".into())),
    }
}

impl Handler<FlushWanted> for KvStoreActor {
    type Result = ();

    fn handle(&mut self, wanted: FlushWanted, _: &mut Self::Context) {
        self.offer_cut(&wanted.raft);
    }
}

impl KvStoreActor {
    /// Replaces the state. Everybody who follows it begins anew, and everybody who waits is woken.
    fn install(&mut self, manifest: &Manifest, raft: &RaftLink) {
        // After a restart the state may have it although the log does not know yet.
        if self.machine.applied_index() < manifest.index {
            let index = manifest.index;
            if let Err(failure) = snapshots::install(&mut self.machine, self.snapshots.files(), manifest) {
                return self.fail_stop.fail_stop(WHO, &cannot_install(index, &failure));
            }
            self.listener.send(StateChanged { events: Arc::new([Event::Replaced]) });
        }
        self.cut_at = self.machine.applied_index();
        raft.snapshot_installed(manifest.index);
    }
}

fn cannot_install(index: u64, failure: &SnapshotWorkError) -> String {
    format!(
        "cannot install the snapshot of index {index} that the leader sent: {failure}. Start again; if it persists, \
         remove this server from the cluster, move its data directory away and let it join anew"
    )
}

impl Handler<SnapshotWork> for KvStoreActor {
    type Result = ();

    fn handle(&mut self, work: SnapshotWork, _: &mut Self::Context) {
        match work {
            SnapshotWork::Make(raft) => self.snapshots.make(raft),
            SnapshotWork::Install(manifest, raft) => self.install(&manifest, &raft),
        }
    }
}

impl Handler<Close> for KvStoreActor {
    type Result = Result<(), StateError>;

    fn handle(&mut self, _: Close, context: &mut Self::Context) -> Self::Result {
        self.alive.disarm();
        context.stop();
        self.machine.make_durable().map(drop)
    }
}
