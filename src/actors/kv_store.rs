//! KvStoreActor: the shell around the state core.
//!
//! It owns the [`StateMachine`] on a thread of its own, applies what raft has committed, answers the
//! proposers once their command is visible, and tells the others what happened. Its failure is the
//! server's: it never skips an entry and never restarts in place, it stops the process.
//!
//! Accepts [`ApplyCommitted`] (from RaftNodeActor, one batch at a time in log order),
//! [`Flush`] (make everything durable and say up to where) and [`Restore`] (replace the state).

use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, Recipient};
use tracing::{debug, error};

use super::raft_node::{ApplyCommitted, AppliedUpTo, CompactTo};
use super::supervision::FailStop;
use crate::endpoints::{Applied, EndpointError};
use crate::state::{Event, Outcome, StateError, StateMachine};

/// Batches queued before raft has to wait; raft itself hands over one at a time.
const MAILBOX: usize = 64;

/// What happened while a batch was applied, in order. Sent after the batch is visible.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct StateChanged {
    /// The events.
    pub events: Arc<[Event]>,
}

/// Asks to make everything applied durable and to let the log be cut below it.
#[derive(Debug, Message)]
#[rtype(result = "Result<u64, StateError>")]
pub struct Flush;

/// The shell around the state core.
pub struct KvStoreActor {
    machine: StateMachine,
    raft: Recipient<AppliedUpTo>,
    compact: Recipient<CompactTo>,
    listeners: Vec<Recipient<StateChanged>>,
    fail_stop: FailStop,
    compaction: Compaction,
}

/// When the log is cut: after so many entries, keeping so many for followers that lag.
#[derive(Debug, Clone, Copy)]
pub struct Compaction {
    /// Entries applied since the last cut that make the next one due (`raft_snapshot_threshold`).
    pub threshold: u64,
    /// Entries kept below the durable index (`raft_trailing_logs`).
    pub trailing: u64,
    /// Where the log was cut last.
    pub cut_at: u64,
}

impl KvStoreActor {
    /// Takes over a loaded machine.
    pub fn new(
        machine: StateMachine,
        raft: Recipient<AppliedUpTo>,
        compact: Recipient<CompactTo>,
        listeners: Vec<Recipient<StateChanged>>,
        fail_stop: FailStop,
        compaction: Compaction,
    ) -> Self {
        Self { machine, raft, compact, listeners, fail_stop, compaction }
    }

    /// Cuts the log if enough has been applied since the last time.
    fn compact_if_due(&mut self) -> Result<(), StateError> {
        let applied = self.machine.applied_index();
        if applied.saturating_sub(self.compaction.cut_at) < self.compaction.threshold + self.compaction.trailing {
            return Ok(());
        }
        let durable = self.machine.make_durable()?;
        let keep_from = durable.saturating_sub(self.compaction.trailing);
        debug!(target: "agent.server.raft", index = keep_from, "cutting the log");
        self.compaction.cut_at = keep_from;
        self.compact.do_send(CompactTo { index: keep_from });
        Ok(())
    }
}

impl Actor for KvStoreActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<ApplyCommitted> for KvStoreActor {
    type Result = ();

    fn handle(&mut self, batch: ApplyCommitted, _: &mut Self::Context) {
        let entries = batch.entries.iter().map(|entry| (entry.index, entry.data.as_ref()));
        let applied = match self.machine.apply(entries) {
            Ok(applied) => applied,
            Err(failure) => {
                error!(target: "agent.server.fsm", error = %failure, "cannot apply a committed command");
                self.fail_stop.stop(&failure);
                return;
            }
        };
        self.raft.do_send(AppliedUpTo { index: self.machine.applied_index() });
        for (entry, outcome) in batch.entries.into_iter().zip(applied.outcomes) {
            if let Some(waiter) = entry.waiter {
                // A waiter that has gone away needs no answer: its command is applied all the same.
                drop(waiter.send(answer(entry.index, outcome)));
            }
        }
        if !applied.events.is_empty() {
            let events: Arc<[Event]> = applied.events.into();
            for listener in &self.listeners {
                listener.do_send(StateChanged { events: Arc::clone(&events) });
            }
        }
        if let Err(failure) = self.compact_if_due() {
            error!(target: "agent.server.fsm", error = %failure, "cannot make the state durable");
            self.fail_stop.stop(&failure);
        }
    }
}

fn answer(index: u64, outcome: Option<Outcome>) -> Result<Applied, EndpointError> {
    match outcome {
        Some(Outcome::Refused(text)) => Err(EndpointError::Refused(text)),
        Some(outcome) => Ok(Applied { index, outcome }),
        // Only a replay skips entries, and nobody waits for those.
        None => Err(EndpointError::Internal("the command was applied before".into())),
    }
}

impl Handler<Flush> for KvStoreActor {
    type Result = Result<u64, StateError>;

    fn handle(&mut self, _: Flush, _: &mut Self::Context) -> Self::Result {
        self.machine.make_durable()
    }
}
