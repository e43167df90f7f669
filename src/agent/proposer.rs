//! The one way in: commands go to the leader, which stamps them with its clock and gives them to raft.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::actors::raft_handle::RaftHandle;
use crate::endpoints::{Applied, EndpointError, Leadership, Proposer, RPC_ERROR};
use crate::metrics::{Counter, Metrics, Timer};
use crate::peers::request::Answer;
use crate::peers::{Links, Request, RequestError};
use crate::raft::ServerRecord;
use crate::state::{Command, CommandKind, Envelope};

/// How long a write waits for a leader that is none any more: its answer may be on the way.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Longest pause between two looks for a leader.
const LOOK: Duration = Duration::from_millis(250);

/// Proposes to the raft node of this server, or to the leader's.
pub struct LogProposer {
    raft: RaftHandle,
    leadership: watch::Receiver<Arc<Leadership>>,
    /// How long a write waits for a leader before it is refused.
    hold: Duration,
    links: Links,
    metrics: Arc<Metrics>,
}

impl LogProposer {
    /// Proposes through `raft`; `leadership` follows what it publishes.
    pub const fn new(
        raft: RaftHandle,
        leadership: watch::Receiver<Arc<Leadership>>,
        hold: Duration,
        links: Links,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { raft, leadership, hold, links, metrics }
    }

    /// Proposes for another server.
    ///
    /// # Errors
    /// As [`Proposer::propose`]; [`EndpointError::NoLeader`] at once if this server does not lead.
    pub async fn propose_here(&self, command: Command) -> Result<Applied, EndpointError> {
        self.raft.propose(stamp(command)?).await
    }

    /// Asks the leader, wherever it is; answered with [`EndpointError::NoLeader`] if it did not happen for want of one.
    ///
    /// # Errors
    /// What the request came to.
    pub async fn ask_leader(&self, request: &Request) -> Result<Answer, EndpointError> {
        let Some(leader) = self.leader() else { return Err(EndpointError::NoLeader) };
        let outcome = tokio::select! {
            answer = self.links.request(&leader, request) => answer,
            () = self.deposed(&leader) => Err(RequestError::Lost(leader.name.clone())),
        };
        match outcome {
            Ok(Answer::Failed(EndpointError::Refused(text))) => {
                Err(EndpointError::Refused(format!("{RPC_ERROR}{text}")))
            }
            Ok(Answer::Failed(error)) => Err(error),
            Ok(answer) => Ok(answer),
            Err(error) => Err(error.into()),
        }
    }

    fn leader(&self) -> Option<ServerRecord> {
        let leadership = self.leadership.borrow();
        let leader = leadership.peers.iter().find(|peer| peer.leader)?;
        Some(ServerRecord {
            node_id: leader.id.clone(),
            name: leader.node.clone(),
            address: leader.address.clone(),
        })
    }

    /// Resolves a while after another server than this one leads.
    async fn deposed(&self, leader: &ServerRecord) {
        let mut leadership = self.leadership.clone();
        let other = |now: &Arc<Leadership>| {
            now.is_leader || now.peers.iter().any(|peer| peer.leader && peer.id != leader.node_id)
        };
        if leadership.wait_for(other).await.is_err() {
            return std::future::pending().await;
        }
        sleep(LAST_WORDS).await;
    }

    /// A write that found no leader did not happen: it waits for one and is proposed again.
    async fn propose_when_led(&self, command: Command) -> Result<Applied, EndpointError> {
        let deadline = Instant::now() + self.hold;
        let mut leadership = self.leadership.clone();
        // The leader puts its own time in.
        let request = Request::Propose(Envelope { now_ms: 0, command: command.clone() }.encode()?);
        loop {
            leadership.mark_unchanged();
            let answer = if leadership.borrow().is_leader {
                self.propose_here(command.clone()).await
            } else {
                self.ask_leader(&request).await.and_then(applied)
            };
            match answer {
                Err(EndpointError::NoLeader) => {}
                answer => return answer,
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err(EndpointError::NoLeader);
            }
            // A change may have come between the answer and this wait; look again soon anyway.
            let _ = timeout(rest.min(LOOK), leadership.changed()).await;
        }
    }
}

fn applied(answer: Answer) -> Result<Applied, EndpointError> {
    match answer {
        Answer::Applied(applied) => Ok(applied),
        _ => {
            Err(EndpointError::Internal("the leader answered something else; the outcome is unknown".into()))
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
        CommandKind::ReapTombstones
        | CommandKind::UpdateCoordinates
        | CommandKind::Restore
        | CommandKind::Autopilot => None,
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
