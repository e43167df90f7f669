//! The one way in: commands are stamped with the leader's clock, encoded and given to raft.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::actors::raft_handle::RaftHandle;
use crate::endpoints::{Applied, EndpointError, Leadership, Proposer};
use crate::metrics::{Counter, Metrics, Timer};
use crate::state::{Command, CommandKind, Envelope};

/// Proposes to the raft node of this server.
pub struct LogProposer {
    raft: RaftHandle,
    leadership: watch::Receiver<Arc<Leadership>>,
    /// How long a write waits for a leader before it is refused.
    hold: Duration,
    metrics: Arc<Metrics>,
}

impl LogProposer {
    /// Proposes through `raft`; `leadership` follows what it publishes.
    pub const fn new(
        raft: RaftHandle,
        leadership: watch::Receiver<Arc<Leadership>>,
        hold: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { raft, leadership, hold, metrics }
    }

    /// A write that found no leader did not happen: it waits for one and is proposed again.
    async fn propose_when_led(&self, command: Command) -> Result<Applied, EndpointError> {
        let deadline = Instant::now() + self.hold;
        let mut leadership = self.leadership.clone();
        loop {
            leadership.mark_unchanged();
            match self.raft.propose(stamp(command.clone())?).await {
                Err(EndpointError::NoLeader) => {}
                answer => return answer,
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err(EndpointError::NoLeader);
            }
            // A change may have come between the answer and this wait; look again soon anyway.
            let pause = rest.min(Duration::from_millis(250));
            let _ = tokio::time::timeout(pause, leadership.changed()).await;
        }
    }
}

fn stamp(command: Command) -> Result<bytes::Bytes, EndpointError> {
    // A clock before 1970 gives 0: windows then end at once, which is what no window would do.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    Ok(Envelope { now_ms, command }.encode()?)
}

/// The series a write is timed under, from proposal to answer.
const fn timer(kind: CommandKind) -> Option<Timer> {
    match kind {
        CommandKind::Kv(_) => Some(Timer::KvsApply),
        CommandKind::Register => Some(Timer::CatalogRegister),
        CommandKind::Deregister => Some(Timer::CatalogDeregister),
        CommandKind::SessionCreate | CommandKind::SessionDestroy => Some(Timer::SessionApply),
        CommandKind::Txn => Some(Timer::TxnApply),
        CommandKind::ReapTombstones | CommandKind::UpdateCoordinates => None,
    }
}

impl Proposer for LogProposer {
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, EndpointError>> {
        let (begun, timer) = (Instant::now(), timer(command.kind()));
        self.metrics.count(Counter::ClientRpc);
        let measured = move |answer: Result<Applied, EndpointError>| {
            if let Some(timer) = timer {
                self.metrics.time(timer, begun.elapsed());
            }
            if answer.is_err() {
                self.metrics.count(Counter::ClientRpcFailed);
            }
            answer
        };
        if self.leadership.borrow().is_leader {
            // The usual case keeps no copy of the command.
            match stamp(command) {
                Ok(data) => Box::pin(self.raft.propose(data).map(measured)),
                Err(error) => Box::pin(std::future::ready(Err(error))),
            }
        } else {
            Box::pin(self.propose_when_led(command).map(measured))
        }
    }
}
