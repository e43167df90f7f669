//! What the rest of the process holds of the raft node: a handle to propose and to read leadership.
//!
//! Leadership and lease are published by the node and read here without its mailbox. Proposals and
//! confirmed reads go through it, bounded by credits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::Addr;
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::mailbox::{Credit, Credits};
use super::raft_node::RaftNodeActor;
use super::raft_node::messages::{
    AppliedUpTo, Campaign, CompactTo, Found, GetGroup, GetStatus, PeerGone, PeerSendFailed, Propose,
    ProposeMembership, ReadIndex, Shutdown, SnapshotInstalled, SnapshotReady, SnapshotSent, Step,
    TransferLeader,
};
use crate::endpoints::operator::{RaftInfo, RaftStatus};
use crate::endpoints::{Applied, EndpointError, LeaderRead, Leadership};
use crate::metrics::{Counter, Metrics, Timer};
use crate::raft::{
    Manifest, Membership, MembershipChange, PeerMessage, PeerProgress, ProposeError, ReadMode, Role,
    ServerRecord, Status,
};

/// Proposals that may wait at once; the next is answered "busy".
pub const MAX_WAITING_PROPOSALS: usize = 1_024;
/// Peer messages that may wait at once; the next is dropped and counted.
pub const MAX_WAITING_PEER_MESSAGES: usize = 4_096;

/// Whoever waits for a proposal. Dropping it unanswered tells them that the outcome is unknown.
#[derive(Debug)]
pub struct Waiter {
    since: Instant,
    reply: oneshot::Sender<Result<Applied, EndpointError>>,
    _credit: Option<Credit>,
}

impl Waiter {
    pub(super) fn new(credit: Option<Credit>) -> (Self, oneshot::Receiver<Result<Applied, EndpointError>>) {
        let (reply, answer) = oneshot::channel();
        (Self { since: Instant::now(), reply, _credit: credit }, answer)
    }

    /// Time since the proposal.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Answers, and gives the waiter's place free.
    pub fn answer(self, answer: Result<Applied, EndpointError>) {
        // Whoever went away does not need it.
        let _ = self.reply.send(answer);
    }
}

/// What the node publishes.
#[derive(Debug)]
pub(super) struct Published {
    /// Zero of the times below.
    pub(super) base: Instant,
    /// Milliseconds since `base` until which default reads may be served: 0 for never, the maximum
    /// for a leader that is the only voter.
    lease_until: AtomicU64,
    pub(super) leadership: ArcSwap<Leadership>,
    pub(super) progress: ArcSwap<Progress>,
    dropped_peer_messages: AtomicU64,
}

/// How far the node is, for whoever looks at its figures.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) role: Role,
    pub(super) term: u64,
    pub(super) commit: u64,
    pub(super) applied: u64,
    pub(super) last_index: u64,
    pub(super) truncated: u64,
    pub(super) membership_index: u64,
}

/// What a node knows of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Of itself.
    pub status: Status,
    /// Of all members; empty unless it leads.
    pub progress: Vec<PeerProgress>,
    /// Its time in ms, as in [`PeerProgress::heard`].
    pub now: u64,
}

/// The lease of a leader that is the only voter.
const LONE: u64 = u64::MAX;

impl Published {
    pub(super) fn new() -> Self {
        Self {
            base: Instant::now(),
            lease_until: AtomicU64::new(0),
            leadership: ArcSwap::default(),
            progress: ArcSwap::default(),
            dropped_peer_messages: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// `heard`: when a quorum had answered, as [`Status::quorum_heard`].
    pub(super) fn set_lease(&self, heard: Option<u64>, length: Duration) {
        let length = u64::try_from(length.as_millis()).unwrap_or(0);
        let until = match heard {
            Some(LONE) => LONE,
            Some(heard) => heard.saturating_add(length).min(LONE - 1),
            None => 0,
        };
        self.lease_until.store(until, Ordering::Release);
    }
}

/// Handle to the raft node; clones share it.
#[derive(Debug, Clone)]
pub struct RaftHandle {
    address: Addr<RaftNodeActor>,
    credits: Credits,
    peer_credits: Credits,
    published: Arc<Published>,
    metrics: Arc<Metrics>,
}

/// What an applier reports to the raft node; cheap to clone.
#[derive(Debug, Clone)]
pub struct RaftLink {
    address: Arc<Addr<RaftNodeActor>>,
}

impl RaftLink {
    pub(super) fn new(address: Addr<RaftNodeActor>) -> Self {
        Self { address: Arc::new(address) }
    }

    /// Everything up to `index` is applied and visible to readers.
    pub fn applied(&self, index: u64) {
        self.address.do_send(AppliedUpTo { index });
    }

    /// Everything up to `index` is applied and survives a crash of the machine: the log may forget it.
    pub fn compact_to(&self, index: u64) {
        self.address.do_send(CompactTo { index });
    }

    /// The snapshot with this index has replaced the state, durably.
    pub fn snapshot_installed(&self, index: u64) {
        self.address.do_send(SnapshotInstalled { index });
    }

    /// A snapshot is ready to be sent.
    pub fn snapshot_ready(&self, manifest: Manifest) {
        self.address.do_send(SnapshotReady { manifest });
    }
}

impl RaftHandle {
    pub(super) fn new(
        address: Addr<RaftNodeActor>,
        published: Arc<Published>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            address,
            credits: Credits::new(MAX_WAITING_PROPOSALS),
            peer_credits: Credits::new(MAX_WAITING_PEER_MESSAGES),
            published,
            metrics,
        }
    }

    /// Proposes data and waits until the applier has answered for it: applied, visible, and on the
    /// disks of a quorum.
    ///
    /// # Errors
    /// [`EndpointError::Busy`] and [`EndpointError::NoLeader`]: it did not happen.
    /// [`EndpointError::Internal`]: whether it happens is unknown. And whatever the applier says.
    pub fn propose(
        &self,
        data: Bytes,
    ) -> impl Future<Output = Result<Applied, EndpointError>> + Send + use<> {
        self.metrics.count(Counter::RaftApply);
        let sent = self.credits.try_take().map(|credit| {
            let (waiter, answer) = Waiter::new(Some(credit));
            self.address.do_send(Propose { data, waiter });
            answer
        });
        async move {
            match sent {
                Some(answer) => answer.await.unwrap_or_else(|_| Err(unknown())),
                None => Err(EndpointError::Busy),
            }
        }
    }

    /// Proposes a change of members and waits until it is applied.
    ///
    /// # Errors
    /// As [`RaftHandle::propose`], and [`EndpointError::Refused`] for a change that makes no sense now.
    pub async fn propose_membership(&self, change: MembershipChange) -> Result<(), EndpointError> {
        let credit = self.credits.try_take().ok_or(EndpointError::Busy)?;
        let (waiter, answer) = Waiter::new(Some(credit));
        self.address.do_send(ProposeMembership { change, waiter });
        answer.await.unwrap_or_else(|_| Err(unknown())).map(drop)
    }

    /// Gives a message from a peer to the node; dropped and counted when too many wait. The data of a
    /// snapshot must have been received before.
    pub fn step(&self, message: PeerMessage) {
        match self.peer_credits.try_take() {
            Some(credit) => self.address.do_send(Step { message, at: self.published.now(), credit }),
            None => {
                self.published.dropped_peer_messages.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Peer messages dropped so far.
    pub fn dropped_peer_messages(&self) -> u64 {
        self.published.dropped_peer_messages.load(Ordering::Relaxed)
    }

    /// A message could not be sent to this peer.
    pub fn peer_send_failed(&self, peer: u64) {
        self.address.do_send(PeerSendFailed { peer });
    }

    /// The process of this peer is gone; if it led, the others elect another one at once.
    pub fn peer_gone(&self, peer: u64) {
        self.address.do_send(PeerGone { peer });
    }

    /// Streaming a snapshot to this peer ended.
    pub fn snapshot_sent(&self, peer: u64, done: bool) {
        self.address.do_send(SnapshotSent { peer, done });
    }

    /// Hands leadership to a voter; done once [`LeaderRead::leadership`] says so.
    ///
    /// # Errors
    /// [`EndpointError::NoLeader`] if this server does not lead, [`EndpointError::Refused`] if that
    /// one is no other voter.
    pub async fn transfer_leader(&self, to: u64) -> Result<(), EndpointError> {
        self.address.send(TransferLeader { to }).await.map_err(|_| unknown())?
    }

    /// Founds a group with these servers, if this one is in none.
    ///
    /// # Errors
    /// [`EndpointError::Refused`] if it is in one, [`EndpointError::Internal`] if the node has stopped.
    pub async fn found(&self, servers: Vec<ServerRecord>) -> Result<(), EndpointError> {
        self.address.send(Found { members: Membership::founding(servers) }).await.map_err(|_| unknown())?
    }

    /// Stands for election now, if this server may. Others that hear a leader are not disturbed.
    pub fn campaign(&self) {
        self.address.do_send(Campaign);
    }

    /// Asks for a read index, wherever the leader is.
    fn read_index(&self, mode: ReadMode) -> BoxFuture<'_, Result<(), EndpointError>> {
        let (reply, answer) = oneshot::channel();
        self.address.do_send(ReadIndex { mode, reply });
        Box::pin(async move { answer.await.unwrap_or(Err(EndpointError::NoLeader)) })
    }

    /// What the node knows, asked through its mailbox.
    ///
    /// # Errors
    /// [`EndpointError::Internal`] if it has stopped.
    pub async fn status(&self) -> Result<Status, EndpointError> {
        self.address.send(GetStatus).await.map_err(|_| unknown())
    }

    /// What the node knows of the whole group, asked through its mailbox.
    ///
    /// # Errors
    /// [`EndpointError::Internal`] if it has stopped.
    pub async fn group(&self) -> Result<Group, EndpointError> {
        self.address.send(GetGroup).await.map_err(|_| unknown())
    }

    /// What an applier needs.
    pub fn link(&self) -> RaftLink {
        RaftLink::new(self.address.clone())
    }

    pub(super) async fn shutdown(&self) -> Result<(), EndpointError> {
        self.address.send(Shutdown).await.map_err(|_| unknown())?
    }
}

impl LeaderRead for RaftHandle {
    fn leadership(&self) -> Arc<Leadership> {
        self.published.leadership.load_full()
    }

    fn check_lease(&self) -> Result<(), EndpointError> {
        match self.published.lease_until.load(Ordering::Acquire) {
            LONE => Ok(()),
            0 => Err(EndpointError::NoLeader),
            until if self.published.now() < until => Ok(()),
            _ => Err(EndpointError::NoLeader),
        }
    }

    fn barrier(&self) -> Result<Option<BoxFuture<'_, Result<(), EndpointError>>>, EndpointError> {
        self.metrics.count(Counter::RaftVerifyLeader);
        if self.published.lease_until.load(Ordering::Acquire) == LONE {
            // Alone, nobody else can have been elected; and a write is answered only when it is
            // published, so whatever was acknowledged before this read is visible to it.
            return Ok(None);
        }
        let (asked, confirmed) = (Instant::now(), self.read_index(ReadMode::Safe));
        Ok(Some(Box::pin(async move {
            let answer = confirmed.await;
            self.metrics.time(Timer::RpcConsistentRead, asked.elapsed());
            answer
        })))
    }

    fn lease(&self) -> Result<Option<BoxFuture<'_, Result<(), EndpointError>>>, EndpointError> {
        match self.check_lease() {
            Ok(()) => Ok(None),
            // Another server leads, or one will in a moment: the node asks it until it has waited long enough.
            Err(_) => Ok(Some(self.read_index(ReadMode::Lease))),
        }
    }
}

impl RaftInfo for RaftHandle {
    /// As of the node's last tick.
    fn raft_status(&self) -> RaftStatus {
        let progress = self.published.progress.load();
        RaftStatus {
            state: match progress.role {
                Role::Leader => "Leader",
                Role::Follower => "Follower",
                Role::Candidate => "Candidate",
            },
            term: progress.term,
            applied_index: progress.applied,
            commit_index: progress.commit,
            last_log_index: progress.last_index,
            last_log_term: progress.term,
            last_snapshot_index: progress.truncated,
            fsm_pending: progress.commit.saturating_sub(progress.applied),
            configuration_index: progress.membership_index,
            ..RaftStatus::default()
        }
    }
}

pub(super) fn unknown() -> EndpointError {
    EndpointError::Internal("the server is stopping; whether the write happened is unknown".into())
}

/// What a proposer is told.
pub(super) fn refusal(error: ProposeError) -> EndpointError {
    match error {
        // A superseded entry is certain not to happen, so "no leader" is as true and as retryable.
        ProposeError::NotLeader { .. } | ProposeError::Superseded => EndpointError::NoLeader,
        ProposeError::Busy => EndpointError::Busy,
        ProposeError::Size(_) => EndpointError::TooLarge(error.to_string()),
        ProposeError::Membership(text) => EndpointError::Refused(text),
        ProposeError::OutcomeUnknown | ProposeError::Failed => EndpointError::Internal(error.to_string()),
    }
}
