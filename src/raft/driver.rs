//! The driver: owns raft's node and keeps the order of things.
//!
//! Calls put something in (a tick, a message, a proposal) and change memory only. [`Driver::pump`]
//! then gives out what has to be done, and writes the log in between: everything that came in since
//! the last pump becomes one write and one fsync.
//!
//! Within a pump the driver uses raft's asynchronous form: it takes steps ("readies") and stages
//! their changes where raft can already read them, lets a leader's messages go, writes once, tells
//! raft what is durable, and only then lets go what was held back (votes, append answers, entries
//! that follow a change of members). To move the write to another thread, `persist` is cut in two;
//! nothing else changes.
//!
//! Raft panics on broken invariants. The driver turns that into [`RaftError`] and is dead from then
//! on: its process must stop.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use raft::eraftpb::{ConfChangeV2, Entry, EntryType, HardState, Message, MessageType};
use raft::{RawNode, SoftState, StateRole, Storage};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::config::{DriverConfig, MAX_COMMITTED_PER_READY, MAX_PROPOSAL};
use super::effect::{Committed, Effect, EntryKind, ProposalId, ProposeError, ReadError};
use super::lease::{Echo, Lease};
use super::log::{LogPosition, LogStore};
use super::membership::{Membership, MembershipChange};
use super::peer_codec::PeerMessage;
use super::pending::Pending;
use super::reads::{ReadMode, Reads};
use super::snapshot::Manifest;
use super::staged::Staged;
use super::view::LogView;
use super::{RaftError, logger};

mod open;
mod snapshots;
mod steps;
#[cfg(test)]
mod tests;

/// What a node is to the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Follows, or waits.
    #[default]
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// What a node knows of itself and the group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Raft ID.
    pub id: u64,
    /// Role.
    pub role: Role,
    /// Leads and has applied everything committed before it did.
    pub ready: bool,
    /// Term.
    pub term: u64,
    /// Raft ID of the leader.
    pub leader: Option<u64>,
    /// First index in the log.
    pub first_index: u64,
    /// Last index in the log.
    pub last_index: u64,
    /// Commit index.
    pub commit: u64,
    /// Last index handed out for applying.
    pub handed: u64,
    /// Last index reported applied.
    pub applied: u64,
    /// A snapshot is being installed into the state; until then the state is older than the log.
    pub installing: bool,
    /// Members.
    pub membership: Membership,
    /// Proposals that wait for their entry.
    pub waiting_proposals: usize,
    /// Reads that wait.
    pub waiting_reads: usize,
    /// Host's time in ms when it sent what a quorum has answered; `u64::MAX` if this server is the quorum.
    pub quorum_heard: Option<u64>,
}

/// How far a leader knows a member to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerProgress {
    /// Raft ID.
    pub id: u64,
    /// Last entry it is known to have.
    pub matched: u64,
    /// Term of that entry; 0 if the log has forgotten it.
    pub term: u64,
    /// Host's time in ms when it was sent what it last answered to in this term; none if never. For the leader
    /// itself `u64::MAX`.
    pub heard: Option<u64>,
}

/// A peer message that was not taken, and why. It has changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("raft message refused: {0}")]
pub struct Refused(pub &'static str);

/// Owner of one raft node. `W` is whatever the host answers a proposal with.
#[expect(clippy::struct_excessive_bools, reason = "independent flags, not the states of one machine")]
pub struct Driver<L: LogStore, W> {
    config: DriverConfig,
    node: RawNode<LogView<L>>,
    rng: ChaCha8Rng,
    /// Election timeout drawn from our generator, and the (term, role) it was drawn for.
    timeout: usize,
    drawn_for: (u64, StateRole),
    ticks: u64,
    pending: Pending<W>,
    reads: Reads,
    lease: Lease,
    echo: Echo,
    /// The host's time in ms as last heard of: never later than it is.
    now: u64,
    /// Term in which leadership was to be handed over, if ever. The order may arrive at any time since, and
    /// who follows it does not wait for a lease to end.
    transferred: u64,
    /// Tick until which no vote is given: a life before this one may have answered a leader, and its lease
    /// counts on that.
    quiet_until: u64,
    membership: Membership,
    /// What the last step showed of raft's own states.
    soft: SoftState,
    hard: HardState,
    staged: Staged,
    /// Number of the last step that was staged and not reported durable.
    unreported: Option<u64>,
    /// Effects that wait for the staged changes to be durable.
    held: Vec<Effect<W>>,
    /// An `Apply` is among them; later ones must queue behind it.
    hold_apply: bool,
    /// Effects of calls, given out by the next pump.
    queued: Vec<Effect<W>>,
    handed: u64,
    applied: u64,
    /// (last index, bytes) of batches handed out and not applied.
    backlog: VecDeque<(u64, usize)>,
    backlog_bytes: usize,
    installing: Option<Manifest>,
    hold: Option<snapshots::Hold>,
    /// Index at every further MiB of appended entries, for the byte limit of what trails.
    appended_marks: VecDeque<u64>,
    appended_bytes: u64,
    /// Compact next time without leaving anything behind for laggards.
    tight: bool,
    announced: (Option<u64>, u64, bool),
    announced_ready: bool,
    failed: bool,
}

/// Bytes between two marks in `appended_marks`.
const MARK_BYTES: u64 = 1 << 20;

impl<L: LogStore, W> Driver<L, W> {
    /// Runs `call`; a panic of raft becomes an error and the end of this driver.
    fn guarded<T>(&mut self, call: impl FnOnce(&mut Self) -> T) -> Result<T, RaftError> {
        if self.failed {
            return Err(RaftError::Failed);
        }
        match catch_unwind(AssertUnwindSafe(|| call(self))) {
            Ok(value) => Ok(value),
            Err(payload) => {
                self.failed = true;
                let text = payload
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                    .unwrap_or_else(|| "unknown".into());
                // A failed read reaches us as raft's panic about it; the read's own error says more.
                let read = self.node.store().take_error();
                Err(read.map_or(RaftError::Broken(text), RaftError::Log))
            }
        }
    }

    /// One tick of time has passed. `now` is the host's monotonic time in ms.
    ///
    /// # Errors
    /// [`RaftError`]: the host must stop.
    pub fn tick(&mut self, now: u64) -> Result<(), RaftError> {
        self.ticks += 1;
        self.now = self.now.max(now);
        self.guarded(|driver| driver.node.tick())?;
        self.redraw_timeout();
        let mut late = Vec::new();
        self.pending.expire(self.ticks, &mut late);
        self.queue_rejections(late);
        let mut failed = Vec::new();
        self.reads.expire(self.ticks, &mut failed);
        self.queued
            .extend(failed.into_iter().map(|ctx| Effect::ReadFailed { ctx, error: ReadError::NoLeader }));
        Ok(())
    }

    /// Proposes data. The waiter comes back in the entry's [`Committed`], or in [`Effect::Reject`].
    ///
    /// # Errors
    /// Nothing was appended, and the waiter comes back with the reason.
    pub fn propose(&mut self, id: ProposalId, data: Bytes, waiter: W) -> Result<(), (ProposeError, W)> {
        if data.is_empty() || data.len() > MAX_PROPOSAL {
            return Err((ProposeError::Size(data.len()), waiter));
        }
        self.append(id, Entry { data, ..Entry::default() }, waiter)
    }

    /// Proposes a change of members. One at a time: the one before must be applied.
    ///
    /// # Errors
    /// Nothing was appended, and the waiter comes back with the reason.
    pub fn propose_membership(
        &mut self,
        id: ProposalId,
        change: &MembershipChange,
        waiter: W,
    ) -> Result<(), (ProposeError, W)> {
        if !self.is_leader() {
            return Err((ProposeError::NotLeader { leader: self.leader() }, waiter));
        }
        // Raft would turn a second change into an empty entry.
        if self.node.raft.has_pending_conf() {
            return Err((ProposeError::Busy, waiter));
        }
        let encoded =
            self.membership.check(change).and_then(|()| self.membership.encode_change(change)).and_then(
                |change| protobuf::Message::write_to_bytes(&change).map_err(|error| error.to_string()),
            );
        match encoded {
            Ok(data) => {
                let mut entry = Entry::default();
                entry.set_entry_type(EntryType::EntryConfChangeV2);
                entry.data = data.into();
                self.append(id, entry, waiter)
            }
            Err(text) => Err((ProposeError::Membership(text), waiter)),
        }
    }

    fn append(&mut self, id: ProposalId, mut entry: Entry, waiter: W) -> Result<(), (ProposeError, W)> {
        if self.failed {
            return Err((ProposeError::Failed, waiter));
        }
        // A follower's raft would forward it, and "taken" would mean nothing.
        if !self.is_leader() {
            return Err((ProposeError::NotLeader { leader: self.leader() }, waiter));
        }
        let bytes = entry.data.len() as u64;
        entry.context = id.to_bytes().to_vec().into();
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.config.id;
        message.set_entries(vec![entry].into());
        match self.guarded(|driver| driver.node.raft.step(message)) {
            Ok(Ok(())) => {
                let raft = &self.node.raft;
                let (index, term) = (raft.raft_log.last_index(), raft.term);
                self.pending.register(index, term, id, self.ticks + self.config.proposal_ticks, waiter);
                self.mark_appended(index, bytes);
                Ok(())
            }
            Ok(Err(raft::Error::ProposalDropped)) if !self.membership.contains(self.config.id) => {
                Err((ProposeError::NotLeader { leader: None }, waiter)) // removed, and leads on a little
            }
            Ok(Err(raft::Error::ProposalDropped)) => Err((ProposeError::Busy, waiter)),
            Ok(Err(error)) => Err((ProposeError::Membership(error.to_string()), waiter)),
            Err(_) => Err((ProposeError::Failed, waiter)),
        }
    }

    /// Asks for a read index. `ctx` comes back in [`Effect::ReadReady`] or [`Effect::ReadFailed`].
    pub fn read_index(&mut self, ctx: u64, mode: ReadMode) {
        if let Err(error) = self.reads.add(ctx, self.ticks + self.config.read_ticks, mode) {
            self.queued.push(Effect::ReadFailed { ctx, error });
        }
    }

    /// The state has applied, visibly, everything up to `index`.
    ///
    /// # Errors
    /// [`RaftError`]: the host must stop.
    pub fn applied(&mut self, index: u64) -> Result<(), RaftError> {
        let index = index.min(self.handed);
        if index <= self.applied {
            return Ok(());
        }
        self.applied = index;
        while let Some((last, bytes)) = self.backlog.front().copied()
            && last <= index
        {
            self.backlog.pop_front();
            self.backlog_bytes -= bytes;
        }
        self.throttle();
        if index > self.node.raft.raft_log.applied() {
            self.guarded(|driver| driver.node.advance_apply_to(index))?;
        }
        self.finish_reads();
        // A lone voter whose log held a change of members may not stand before that is applied.
        if self.membership.is_lone_voter(self.config.id) && self.leader().is_none() {
            self.campaign()?;
        }
        Ok(())
    }

    /// Stands for election now.
    ///
    /// # Errors
    /// [`RaftError`]: the host must stop.
    pub fn campaign(&mut self) -> Result<(), RaftError> {
        if self.node.raft.promotable() && !self.is_leader() {
            // Refused only while a change of members is not applied; then ticks try again.
            let _ = self.guarded(|driver| driver.node.campaign())?;
            self.redraw_timeout();
        }
        Ok(())
    }

    /// The process of this peer is known to be gone. If it led, this server no longer holds others' candidacies against
    /// them (they need not wait for an election timeout, which is for leaders that may still live). True if it led.
    pub fn peer_gone(&mut self, peer: u64) -> bool {
        let raft = &mut self.node.raft;
        if raft.state != StateRole::Follower || raft.leader_id != peer {
            return false;
        }
        raft.election_elapsed = raft.election_elapsed.max(self.config.election_ticks);
        true
    }

    /// Hands leadership to a voter. What is proposed meanwhile is refused as busy.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] or [`ProposeError::Membership`].
    pub fn transfer_leader(&mut self, to: u64) -> Result<(), ProposeError> {
        if !self.is_leader() {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        if !self.membership.is_voter(to) || to == self.config.id {
            return Err(ProposeError::Membership(format!("raft ID {to:016x} is no other voter")));
        }
        self.transferred = self.node.raft.term;
        self.guarded(|driver| driver.node.transfer_leader(to)).map_err(|_| ProposeError::Failed)
    }

    /// A message to this peer could not be sent.
    ///
    /// # Errors
    /// [`RaftError`]: the host must stop.
    pub fn report_unreachable(&mut self, peer: u64) -> Result<(), RaftError> {
        self.guarded(|driver| driver.node.report_unreachable(peer))
    }

    /// Takes all waiters out, for a host that stops.
    pub fn take_waiters(&mut self) -> Vec<W> {
        self.pending.drain().collect()
    }

    /// Writes what only waited for company (the commit index), so that a clean stop leaves it.
    ///
    /// # Errors
    /// [`RaftError::Log`].
    pub fn flush(&mut self) -> Result<(), RaftError> {
        if self.failed || self.staged.is_empty() {
            return Ok(());
        }
        self.staged.require_sync();
        let write = self.staged.take();
        let written = self.node.mut_store().log.write(&write);
        self.failed = written.is_err();
        Ok(written?)
    }

    /// What is known now.
    pub fn status(&self) -> Status {
        let raft = &self.node.raft;
        Status {
            id: self.config.id,
            role: match raft.state {
                StateRole::Leader => Role::Leader,
                StateRole::Follower => Role::Follower,
                StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            },
            ready: self.is_ready(),
            term: raft.term,
            leader: self.leader(),
            first_index: self.node.store().truncated().index + 1,
            last_index: raft.raft_log.last_index(),
            commit: raft.raft_log.committed,
            handed: self.handed,
            applied: self.applied,
            installing: self.installing.is_some(),
            membership: self.membership.clone(),
            waiting_proposals: self.pending.len(),
            waiting_reads: self.reads.len(),
            quorum_heard: self.quorum_heard(),
        }
    }

    /// How far all members are, as far as a leader knows; empty elsewhere.
    pub fn progress(&self) -> Vec<PeerProgress> {
        if !self.is_leader() {
            return Vec::new();
        }
        let log = &self.node.raft.raft_log;
        let of = |id: u64, matched: u64| {
            let me = id == self.config.id;
            let matched = if me { log.last_index() } else { matched };
            let heard = if me { Some(u64::MAX) } else { self.lease.last_heard(id) };
            PeerProgress { id, matched, term: log.term(matched).unwrap_or(0), heard }
        };
        self.node.raft.prs().iter().map(|(id, progress)| of(*id, progress.matched)).collect()
    }

    /// Members now.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Whether this node leads and has applied everything committed before it did.
    pub fn is_ready(&self) -> bool {
        // With a snapshot on its way into the state, raft's applied index is ahead of the state's.
        let raft = &self.node.raft;
        self.is_leader() && self.applied >= raft.raft_log.applied() && raft.apply_to_current_term()
    }

    /// Host's time in ms at which this leader sent what a quorum has answered; `u64::MAX` if it is the quorum.
    /// None in a term in which leadership was to be handed over: the next leader does not wait for a lease.
    pub fn quorum_heard(&self) -> Option<u64> {
        if self.is_leader() && self.transferred < self.node.raft.term {
            self.lease.quorum_heard(self.config.id, &self.membership)
        } else {
            None
        }
    }

    /// (index, term, proposal) of the entries `low..high`, for tests and inspection; fewer if some
    /// are gone.
    pub fn log_entries(&self, low: u64, high: u64) -> Vec<(u64, u64, Bytes)> {
        let store = self.node.store();
        let context = raft::GetEntriesContext::empty(false);
        let entries = store.entries(low, high, None, context).unwrap_or_default();
        entries.into_iter().map(|entry| (entry.index, entry.term, entry.data)).collect()
    }

    /// Raft ID of the leader.
    pub fn leader_id(&self) -> Option<u64> {
        self.leader()
    }

    /// Nobody waits for a proposal, and all that was handed out is applied.
    pub fn is_idle(&self) -> bool {
        self.pending.len() == 0 && self.applied >= self.handed
    }

    /// The other voter that has most of the log, if this node leads and one is alive.
    pub fn successor(&self) -> Option<u64> {
        if !self.is_leader() {
            return None;
        }
        let progress = self.node.raft.prs().iter();
        let others = progress.filter(|(id, progress)| {
            **id != self.config.id && progress.recent_active && self.membership.is_voter(**id)
        });
        others.max_by_key(|(id, progress)| (progress.matched, **id)).map(|(id, _)| *id)
    }

    fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    fn leader(&self) -> Option<u64> {
        Some(self.node.raft.leader_id).filter(|id| *id != raft::INVALID_ID)
    }

    fn mark_appended(&mut self, index: u64, bytes: u64) {
        self.appended_bytes += bytes;
        if self.appended_bytes >= MARK_BYTES {
            self.appended_bytes = 0;
            self.appended_marks.push_back(index);
            while self.appended_marks.len() as u64 > (self.config.trailing_bytes / MARK_BYTES).max(1) {
                self.appended_marks.pop_front();
            }
        }
    }

    fn finish_reads(&mut self) {
        let mut ready = Vec::new();
        self.reads.applied(self.applied, &mut ready);
        let index = self.applied;
        self.queued.extend(ready.into_iter().map(|ctx| Effect::ReadReady { ctx, index }));
    }

    fn queue_rejections(&mut self, rejected: Vec<(W, ProposeError)>) {
        self.queued.extend(rejected.into_iter().map(|(waiter, error)| Effect::Reject { waiter, error }));
    }

    /// Raft draws election timeouts from the thread's generator, whenever term or role change. Ours
    /// replaces that, so that a run depends on its seed only.
    fn redraw_timeout(&mut self) {
        let raft = &mut self.node.raft;
        let now = (raft.term, raft.state);
        if now != self.drawn_for {
            self.drawn_for = now;
            self.timeout = self.rng.random_range(self.config.election_ticks..2 * self.config.election_ticks);
        }
        raft.set_randomized_election_timeout(self.timeout);
    }
}
