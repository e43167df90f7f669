//! Taking raft's steps, writing them, and handing out what follows; and what comes from peers.

use super::{
    Bytes, Committed, ConfChangeV2, Driver, Effect, Entry, EntryKind, EntryType, LogPosition, LogStore,
    MAX_COMMITTED_PER_READY, Manifest, Membership, Message, MessageType, PeerMessage, ProposalId,
    ProposeError, RaftError, Reads, Refused, SoftState, StateRole,
};

impl<L: LogStore, W> Driver<L, W> {
    /// Carries everything that came in as far as it goes, giving out effects in the order in which
    /// they must be carried out. A leader's messages are given out before the log is written.
    ///
    /// # Errors
    /// [`RaftError`]: the host must stop; effects that depend on the failed write were not given out.
    pub fn pump(&mut self, emit: &mut dyn FnMut(Effect<W>)) -> Result<(), RaftError> {
        self.guarded(|driver| driver.run(emit))?.inspect_err(|_| self.failed = true)?;
        self.redraw_timeout();
        Ok(())
    }

    fn run(&mut self, emit: &mut dyn FnMut(Effect<W>)) -> Result<(), RaftError> {
        self.queued.drain(..).for_each(&mut *emit);
        self.ask_reads();
        loop {
            let mut progressed = false;
            while self.wants_step() {
                self.take_step(emit);
                progressed = true;
            }
            if self.persist(emit)? {
                progressed = true;
            }
            if !progressed {
                break;
            }
        }
        self.announce(emit);
        self.queued.drain(..).for_each(&mut *emit);
        if let Some(to) = self.node.store().take_wanted() {
            self.hold_for_snapshot();
            emit(Effect::SnapshotWanted { to });
        }
        Ok(())
    }

    /// Whether raft has something. While too much waits to be applied, entries to apply alone do not
    /// count.
    fn wants_step(&self) -> bool {
        if !self.node.has_ready() {
            return false;
        }
        if self.backlog_bytes < self.config.max_apply_backlog {
            return true;
        }
        let raft = &self.node.raft;
        !raft.msgs.is_empty()
            || !raft.read_states.is_empty()
            || !raft.raft_log.unstable_entries().is_empty()
            || raft.raft_log.unstable_snapshot().is_some()
            || raft.soft_state() != self.soft
            || raft.hard_state() != self.hard
    }

    /// Takes one step: its changes are staged where raft can read them, its messages let go or held.
    fn take_step(&mut self, emit: &mut dyn FnMut(Effect<W>)) {
        let mut ready = self.node.ready();
        if let Some(soft) = ready.ss() {
            self.soft = SoftState { leader_id: soft.leader_id, raft_state: soft.raft_state };
        }
        if let Some(hard) = ready.hs() {
            if hard.term != self.hard.term {
                self.lease.clear();
            }
            self.hard = hard.clone();
            self.staged.hard_state(hard);
        }
        if ready.must_sync() {
            self.staged.require_sync();
        }
        // Only a leader has these: followers may write while we do.
        for message in ready.take_messages() {
            emit(Effect::Send(self.stamped(message)));
        }
        if !ready.snapshot().is_empty() {
            self.take_snapshot(ready.snapshot());
        }
        let entries = ready.take_entries();
        if !entries.is_empty() {
            if self.node.raft.state != StateRole::Leader
                && let Some(last) = entries.last()
            {
                let bytes = entries.iter().map(|entry| entry.data.len() as u64).sum();
                self.mark_appended(last.index, bytes);
            }
            self.node.mut_store().append(&entries);
            self.staged.append(&entries);
        }
        let held = ready.take_persisted_messages();
        let reads = ready.take_read_states();
        let committed = ready.take_committed_entries();
        self.unreported = Some(ready.number());
        self.node.advance_append_async(ready);
        // Nothing that raft does may come between a step and its advance, so the rest follows here.
        for message in held {
            let send = Effect::Send(self.stamped(message));
            if self.staged.must_sync() { self.held.push(send) } else { emit(send) }
        }
        for read in reads {
            self.reads.confirmed(&read.request_ctx, read.index);
        }
        self.finish_reads();
        if !committed.is_empty() {
            self.hand_out(committed, emit);
        }
    }

    /// Writes what is staged if something depends on it, tells raft what is durable and lets go what
    /// was held. False if there was nothing to do.
    fn persist(&mut self, emit: &mut dyn FnMut(Effect<W>)) -> Result<bool, RaftError> {
        let must_write = self.staged.must_sync();
        if must_write {
            let write = self.staged.take();
            self.node.mut_store().log.write(&write)?;
            self.node.mut_store().persisted();
        }
        let number = self.unreported.take();
        if let Some(number) = number {
            self.node.on_persist_ready(number);
            // To raft a durable snapshot is applied: the entries it stands for are gone, and it looks
            // through what is not applied before it stands for election.
            let truncated = self.node.store().truncated().index;
            if self.node.raft.raft_log.applied() < truncated {
                self.node.advance_apply_to(truncated);
            }
        }
        self.hold_apply = false;
        self.held.drain(..).for_each(emit);
        Ok(must_write || number.is_some())
    }

    fn take_snapshot(&mut self, snapshot: &raft::eraftpb::Snapshot) {
        let metadata = snapshot.get_metadata();
        let position = LogPosition { index: metadata.index, term: metadata.term };
        // `step` has read it before; raft gives back what it was given.
        let manifest = Manifest::decode(snapshot.get_data()).unwrap_or_default();
        self.node.mut_store().reset(position);
        self.staged.reset(position);
        self.membership = Membership { index: position.index, ..manifest.membership.clone() };
        self.staged.membership(&self.membership);
        self.staged.installing(Some(&manifest));
        self.installing = Some(manifest.clone());
        let mut rejected = Vec::new();
        self.pending.covered(position.index, &mut rejected);
        self.queue_rejections(rejected);
        self.handed = position.index;
        self.appended_marks.clear();
        self.held.push(Effect::InstallSnapshot(manifest));
        self.held.push(Effect::MembershipChanged(self.membership.clone()));
        // What is committed behind it must not reach the state before it.
        self.hold_apply = true;
    }

    fn hand_out(&mut self, entries: Vec<Entry>, emit: &mut dyn FnMut(Effect<W>)) {
        let mut batch = Vec::with_capacity(entries.len());
        let mut bytes = 0;
        let mut rejected = Vec::new();
        for mut entry in entries {
            let (index, term) = (entry.index, entry.term);
            let id = ProposalId::from_bytes(entry.get_context());
            let mut waiter = self.pending.committed(index, term, id, &mut rejected);
            bytes += entry.data.len() + 64;
            let (kind, data) = match entry.get_entry_type() {
                EntryType::EntryNormal if entry.data.is_empty() => (EntryKind::Noop, Bytes::new()),
                EntryType::EntryNormal => (EntryKind::Normal, std::mem::take(&mut entry.data)),
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    if let Err(text) = self.change_members(&entry)
                        && let Some(waiter) = waiter.take()
                    {
                        rejected.push((waiter, ProposeError::Membership(text)));
                    }
                    (EntryKind::Membership, Bytes::new())
                }
            };
            self.handed = index;
            batch.push(Committed { index, term, data, waiter, kind });
        }
        self.backlog.push_back((self.handed, bytes));
        self.backlog_bytes += bytes;
        self.throttle();
        let apply = Effect::Apply(batch);
        if self.hold_apply {
            self.held.push(apply);
        } else {
            emit(apply);
        }
        self.queue_rejections(rejected);
    }

    /// Puts a committed change of members into effect. It is durable before the state is told of its
    /// index, so that after a restart either it is stored or its entry comes again.
    fn change_members(&mut self, entry: &Entry) -> Result<(), String> {
        if entry.index <= self.membership.index {
            return Ok(()); // stored before the restart; only the state hears of it again
        }
        if entry.get_entry_type() != EntryType::EntryConfChangeV2 {
            return Err("a form of change that is never proposed".into());
        }
        // From our own log: what peers send is taken apart and written anew by the peer codec.
        let change = <ConfChangeV2 as protobuf::Message>::parse_from_bytes(entry.get_data())
            .map_err(|error| error.to_string())?;
        let state = self.node.apply_conf_change(&change).map_err(|error| {
            // Every server refuses it alike, so the group stays of one mind.
            tracing::warn!(index = entry.index, error = %error, "change of raft members refused");
            error.to_string()
        })?;
        self.membership = self.membership.after(entry.index, &state, &change);
        self.staged.membership(&self.membership);
        self.held.push(Effect::MembershipChanged(self.membership.clone()));
        self.hold_apply = true;
        self.step_down_if_removed();
        Ok(())
    }

    /// A leader that is no member any more goes at once (Raft thesis, 4.2.2). The library would let it
    /// lead on, and then answer reads for a quorum it is not part of, or panic at the next commit. It
    /// may have led without having proposed its removal: the entry can stem from a leader before.
    fn step_down_if_removed(&mut self) {
        if self.is_leader() && !self.membership.is_voter(self.config.id) {
            // Tell the others once more how far is committed: they may need it to go on without us.
            self.node.raft.ping();
            let term = self.node.raft.term;
            self.node.raft.become_follower(term, raft::INVALID_ID);
        }
    }

    /// Raft hands out committed entries with every step; while the state is behind, one at a time.
    pub(super) fn throttle(&mut self) {
        let full = self.backlog_bytes >= self.config.max_apply_backlog;
        let size = if full { 0 } else { MAX_COMMITTED_PER_READY };
        self.node.raft.set_max_committed_size_per_ready(size);
    }

    fn ask_reads(&mut self) {
        let patience = 2 * self.config.heartbeat_ticks as u64;
        if !self.reads.wants_to_ask(self.ticks, patience) {
            return;
        }
        // Raft would drop it in silence.
        let raft = &self.node.raft;
        let useless = if raft.state == StateRole::Leader {
            !raft.commit_to_current_term()
        } else {
            raft.leader_id == raft::INVALID_ID
        };
        if !useless {
            for request in self.reads.requests(self.ticks, patience) {
                self.node.read_index(request);
            }
        }
    }

    fn announce(&mut self, emit: &mut dyn FnMut(Effect<W>)) {
        let patience = 2 * self.config.heartbeat_ticks as u64;
        let is_self = self.is_leader();
        let now = (self.leader(), self.node.raft.term, is_self);
        if now != self.announced {
            self.announced = now;
            self.announced_ready = false;
            self.reads.ask_again(self.ticks, patience);
            emit(Effect::LeaderChanged { leader: now.0, term: now.1, is_self });
        }
        if !self.announced_ready && self.is_ready() {
            self.announced_ready = true;
            self.reads.ask_again(self.ticks, patience);
            emit(Effect::LeaderReady { term: now.1 });
        }
    }

    /// Takes a message from a peer. `now` is the host's monotonic time in ms at which it arrived.
    ///
    /// # Errors
    /// `Ok(Err(Refused))` if the message was refused and changed nothing, [`RaftError`] if the host
    /// must stop.
    pub fn step(&mut self, message: PeerMessage, now: u64) -> Result<Result<(), Refused>, RaftError> {
        let PeerMessage { message, stamp } = message;
        self.now = self.now.max(now);
        if let Err(refused) = self.check(&message) {
            return Ok(Err(refused));
        }
        let (from, term, kind) = (message.from, message.term, message.get_msg_type());
        if kind == MessageType::MsgReadIndex && self.answer_by_lease(&message, now) {
            return Ok(Ok(()));
        }
        let stepped = self.guarded(|driver| driver.node.step(message))?;
        self.redraw_timeout();
        if stepped.is_err() {
            return Ok(Err(Refused("from a server that is not a member")));
        }
        let raft = &self.node.raft;
        if term == raft.term {
            match kind {
                MessageType::MsgHeartbeatResponse | MessageType::MsgAppendResponse if self.is_leader() => {
                    self.lease.heard(from, stamp.min(self.now));
                }
                MessageType::MsgHeartbeat | MessageType::MsgAppend if raft.leader_id == from => {
                    self.echo.saw(from, term, stamp);
                }
                _ => {}
            }
        }
        Ok(Ok(()))
    }

    /// Puts on a message what the leader's lease is made of.
    fn stamped(&self, message: Message) -> PeerMessage {
        let stamp = match message.get_msg_type() {
            MessageType::MsgHeartbeat | MessageType::MsgAppend => self.now,
            MessageType::MsgHeartbeatResponse | MessageType::MsgAppendResponse => {
                self.echo.for_leader(message.to, message.term)
            }
            _ => 0,
        };
        PeerMessage { message, stamp }
    }

    /// Answers a follower's read at once where this leader's lease is enough. False if raft must.
    fn answer_by_lease(&mut self, message: &Message, now: u64) -> bool {
        let enough = message.get_entries().first().is_some_and(|entry| Reads::lease_is_enough(&entry.data));
        if !enough || !self.is_ready() || !self.membership.contains(message.from) {
            return false;
        }
        let until = self.quorum_heard().map_or(0, |heard| heard.saturating_add(self.config.lease_ms));
        if now >= until {
            return false;
        }
        let mut answer = Message::default();
        answer.set_msg_type(MessageType::MsgReadIndexResp);
        answer.from = self.config.id;
        answer.to = message.from;
        answer.term = self.node.raft.term;
        answer.index = self.node.raft.raft_log.committed;
        answer.set_entries(message.get_entries().to_vec().into());
        self.queued.push(Effect::Send(PeerMessage::new(answer)));
        true
    }

    /// What raft would answer with a panic, or with forwarding.
    fn check(&self, message: &Message) -> Result<(), Refused> {
        let raft = &self.node.raft;
        if message.to != self.config.id {
            return Err(Refused("for another server"));
        }
        let last = raft.raft_log.last_index();
        match message.get_msg_type() {
            // A peer that counts on entries we once acknowledged and no longer have.
            MessageType::MsgHeartbeat if message.term >= raft.term && message.commit > last => {
                Err(Refused("the leader counts on entries this server has lost; remove it and join anew"))
            }
            MessageType::MsgAppendResponse
                if raft.state == StateRole::Leader && message.term == raft.term && message.index > last =>
            {
                Err(Refused("acknowledges entries that do not exist"))
            }
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
                if self.ticks < self.quiet_until && raft.leader_id == raft::INVALID_ID =>
            {
                Err(Refused("just started: a leader's lease may count on this server"))
            }
            MessageType::MsgTimeoutNow if message.from != raft.leader_id => {
                Err(Refused("only the leader hands leadership over"))
            }
            MessageType::MsgReadIndex if raft.state != StateRole::Leader => Err(Refused("not the leader")),
            MessageType::MsgSnapshot => {
                let snapshot = message.get_snapshot();
                let metadata = snapshot.get_metadata();
                let sound = Manifest::decode(snapshot.get_data()).is_ok_and(|manifest| {
                    manifest.index == metadata.index
                        && manifest.term == metadata.term
                        && manifest.membership.conf_state() == *metadata.get_conf_state()
                });
                if sound { Ok(()) } else { Err(Refused("snapshot without a sound manifest")) }
            }
            MessageType::MsgPropose | MessageType::MsgTransferLeader => Err(Refused("is not forwarded")),
            _ => Ok(()),
        }
    }
}
