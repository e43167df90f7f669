//! What the raft node is told, and by whom: the handlers only put into the driver.

use std::time::{Duration, Instant};

use actix::fut::ActorFuture;
use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::{CANDIDACY, DRAIN, RaftNodeActor, State};
use crate::actors::mailbox::Credit;
use crate::actors::raft_handle::{Group, Waiter, refusal};
use crate::endpoints::EndpointError;
use crate::raft::{Manifest, Membership, MembershipChange, MemoryLog, PeerMessage, ReadMode, Status};

/// Propose data; answered through the waiter.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Propose {
    pub(in crate::actors) data: Bytes,
    pub(in crate::actors) waiter: Waiter,
}

impl Handler<Propose> for RaftNodeActor {
    type Result = ();

    fn handle(&mut self, Propose { data, waiter }: Propose, ctx: &mut Self::Context) {
        if self.state != State::Running {
            return waiter.answer(Err(EndpointError::NoLeader));
        }
        let (id, bytes) = (self.next_id(), data.len());
        match self.driver.propose(id, data, waiter) {
            Ok(()) => {
                self.proposals += 1;
                self.put_in(bytes, ctx);
            }
            Err((error, waiter)) => waiter.answer(Err(refusal(error))),
        }
    }
}

/// Propose a change of members; answered through the waiter.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct ProposeMembership {
    pub(in crate::actors) change: MembershipChange,
    pub(in crate::actors) waiter: Waiter,
}

impl Handler<ProposeMembership> for RaftNodeActor {
    type Result = ();

    fn handle(&mut self, message: ProposeMembership, ctx: &mut Self::Context) {
        let id = self.next_id();
        match self.driver.propose_membership(id, &message.change, message.waiter) {
            Ok(()) => self.put_in(0, ctx),
            Err((error, waiter)) => waiter.answer(Err(refusal(error))),
        }
    }
}

/// A message from a peer, and when it arrived.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Step {
    pub(in crate::actors) message: PeerMessage,
    pub(in crate::actors) at: u64,
    pub(in crate::actors) credit: Credit,
}

impl Handler<Step> for RaftNodeActor {
    type Result = ();

    fn handle(&mut self, Step { message, at, credit: _credit }: Step, ctx: &mut Self::Context) {
        let from = message.from();
        let result = match self.driver.step(message, at) {
            Ok(Ok(())) => {
                if self.driver.leader_id() == Some(from) {
                    self.heard_leader = Instant::now();
                }
                Ok(())
            }
            Ok(Err(refused)) => {
                tracing::debug!(peer = from, error = %refused, "raft message refused");
                Ok(())
            }
            Err(error) => Err(error),
        };
        self.check(result, ctx);
        self.put_in(0, ctx);
    }
}

/// Ask for a read index; answered once the state has applied it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct ReadIndex {
    pub(in crate::actors) mode: ReadMode,
    pub(in crate::actors) reply: oneshot::Sender<Result<(), EndpointError>>,
}

impl Handler<ReadIndex> for RaftNodeActor {
    type Result = ();

    fn handle(&mut self, ReadIndex { mode, reply }: ReadIndex, ctx: &mut Self::Context) {
        self.host.next_read += 1;
        self.host.reads.insert(self.host.next_read, reply);
        self.driver.read_index(self.host.next_read, mode);
        self.put_in(0, ctx);
    }
}

/// Found a group with these members, on a server that is in none.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), EndpointError>")]
pub(in crate::actors) struct Found {
    pub(in crate::actors) members: Membership,
}

impl Handler<Found> for RaftNodeActor {
    type Result = Result<(), EndpointError>;

    fn handle(&mut self, message: Found, ctx: &mut Self::Context) -> Self::Result {
        let founded = self.driver.found(message.members, Box::new(MemoryLog::new()), rand::random());
        let outcome = match founded {
            Ok(outcome) => outcome.map_err(refusal),
            Err(error) => {
                let text = error.to_string();
                self.check(Err(error), ctx);
                return Err(EndpointError::Internal(text));
            }
        };
        self.put_in(0, ctx);
        outcome
    }
}

/// Stand for election now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Campaign;

impl Handler<Campaign> for RaftNodeActor {
    type Result = ();

    fn handle(&mut self, _: Campaign, ctx: &mut Self::Context) {
        let stood = self.driver.campaign();
        self.check(stood, ctx);
        self.put_in(0, ctx);
    }
}

/// The state has applied, visibly, up to here.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct AppliedUpTo {
    pub(in crate::actors) index: u64,
}

impl Handler<AppliedUpTo> for RaftNodeActor {
    type Result = ();

    fn handle(&mut self, message: AppliedUpTo, ctx: &mut Self::Context) {
        let applied = self.driver.applied(message.index);
        self.check(applied, ctx);
        self.put_in(0, ctx);
    }
}

/// The state has durably applied up to here.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct CompactTo {
    pub(in crate::actors) index: u64,
}

impl Handler<CompactTo> for RaftNodeActor {
    type Result = ();

    fn handle(&mut self, message: CompactTo, ctx: &mut Self::Context) {
        let compacted = self.driver.compact(message.index);
        self.check(compacted, ctx);
        self.put_in(0, ctx);
    }
}

/// A snapshot has replaced the state.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct SnapshotInstalled {
    pub(in crate::actors) index: u64,
}

impl Handler<SnapshotInstalled> for RaftNodeActor {
    type Result = ();

    fn handle(&mut self, message: SnapshotInstalled, ctx: &mut Self::Context) {
        let installed = self.driver.snapshot_installed(message.index);
        self.check(installed, ctx);
        self.put_in(0, ctx);
    }
}

/// A snapshot can be sent.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct SnapshotReady {
    pub(in crate::actors) manifest: Manifest,
}

impl Handler<SnapshotReady> for RaftNodeActor {
    type Result = ();

    fn handle(&mut self, message: SnapshotReady, ctx: &mut Self::Context) {
        let offered = self.driver.snapshot_ready(message.manifest).map(drop);
        self.check(offered, ctx);
        self.put_in(0, ctx);
    }
}

/// A message could not be sent.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct PeerSendFailed {
    pub(in crate::actors) peer: u64,
}

impl Handler<PeerSendFailed> for RaftNodeActor {
    type Result = ();

    fn handle(&mut self, message: PeerSendFailed, ctx: &mut Self::Context) {
        let reported = self.driver.report_unreachable(message.peer);
        self.check(reported, ctx);
    }
}

/// The process of a peer is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct PeerGone {
    pub(in crate::actors) peer: u64,
}

impl Handler<PeerGone> for RaftNodeActor {
    type Result = ();

    fn handle(&mut self, PeerGone { peer }: PeerGone, ctx: &mut Self::Context) {
        if !self.driver.peer_gone(peer) {
            return;
        }
        tracing::info!(peer, "the leader's process is gone");
        let (least, spread) = CANDIDACY;
        ctx.run_later(least + spread.mul_f64(rand::random()), move |actor, ctx| {
            if actor.driver.leader_id() == Some(peer) {
                let stood = actor.driver.campaign();
                actor.check(stood, ctx);
                actor.put_in(0, ctx);
            }
        });
    }
}

/// The stream of a snapshot ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct SnapshotSent {
    pub(in crate::actors) peer: u64,
    pub(in crate::actors) done: bool,
}

impl Handler<SnapshotSent> for RaftNodeActor {
    type Result = ();

    fn handle(&mut self, message: SnapshotSent, ctx: &mut Self::Context) {
        let reported = self.driver.report_snapshot(message.peer, message.done);
        self.check(reported, ctx);
        self.put_in(0, ctx);
    }
}

/// Hand leadership over.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), EndpointError>")]
pub(in crate::actors) struct TransferLeader {
    pub(in crate::actors) to: u64,
}

impl Handler<TransferLeader> for RaftNodeActor {
    type Result = Result<(), EndpointError>;

    fn handle(&mut self, message: TransferLeader, ctx: &mut Self::Context) -> Self::Result {
        self.driver.transfer_leader(message.to).map_err(refusal)?;
        self.put_in(0, ctx);
        Ok(())
    }
}

/// What the node knows.
#[derive(Debug, Message)]
#[rtype(result = "Status")]
pub(in crate::actors) struct GetStatus;

impl Handler<GetStatus> for RaftNodeActor {
    type Result = actix::MessageResult<GetStatus>;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(self.driver.status())
    }
}

/// What the node knows of the whole group.
#[derive(Debug, Message)]
#[rtype(result = "Group")]
pub(in crate::actors) struct GetGroup;

impl Handler<GetGroup> for RaftNodeActor {
    type Result = actix::MessageResult<GetGroup>;

    fn handle(&mut self, _: GetGroup, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(Group {
            status: self.driver.status(),
            progress: self.driver.progress(),
            now: self.host.published.now(),
        })
    }
}

/// Finish what is under way and stop.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), EndpointError>")]
pub(in crate::actors) struct Shutdown;

impl Handler<Shutdown> for RaftNodeActor {
    type Result = ResponseActFuture<Self, Result<(), EndpointError>>;

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) -> Self::Result {
        self.state = State::Stopping;
        if let Some(successor) = self.driver.successor()
            && self.driver.transfer_leader(successor).is_ok()
        {
            self.put_in(0, ctx);
        }
        let deadline = Instant::now() + DRAIN;
        Box::pin(Drained { deadline, sleep: Box::pin(tokio::time::sleep(Duration::ZERO)) }.map(
            |(), actor, ctx: &mut Context<Self>| {
                let flushed = actor.driver.flush();
                actor.alive.disarm();
                ctx.stop();
                flushed.map_err(|error| EndpointError::Internal(error.to_string()))
            },
        ))
    }
}

/// Waits until nothing is under way, or the deadline.
struct Drained {
    deadline: Instant,
    sleep: std::pin::Pin<Box<tokio::time::Sleep>>,
}

impl ActorFuture<RaftNodeActor> for Drained {
    type Output = ();

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        actor: &mut RaftNodeActor,
        _: &mut Context<RaftNodeActor>,
        task: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        loop {
            if actor.driver.is_idle() || Instant::now() >= self.deadline {
                return std::task::Poll::Ready(());
            }
            std::task::ready!(self.sleep.as_mut().poll(task));
            self.sleep = Box::pin(tokio::time::sleep(Duration::from_millis(2)));
        }
    }
}
