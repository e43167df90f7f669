//! Snapshots of the state, and what the log forgets: both decide from where on peers can be served.

use raft::{ProgressState, SnapshotStatus};

use super::{Driver, LogPosition, LogStore, MARK_BYTES, Manifest, RaftError};

/// Election timeouts for which the log is held for a snapshot that nobody has asked for again.
const HOLD: u64 = 10;

/// What the log keeps because a peer is to get a snapshot: what follows that, or the snapshot would be of no use by
/// the time it is made, and so would the next one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    /// The snapshot will be of this index or a later one.
    index: u64,
    /// Tick at which it was wanted last.
    wanted: u64,
}

impl<L: LogStore, W> Driver<L, W> {
    /// A peer wants a snapshot and there is none.
    pub(super) fn hold_for_snapshot(&mut self) {
        let index = self.held_for_snapshot().unwrap_or(self.applied);
        self.hold = Some(Hold { index, wanted: self.ticks });
    }

    fn held_for_snapshot(&self) -> Option<u64> {
        let patience = HOLD * self.config.election_ticks as u64;
        self.hold.filter(|hold| self.ticks < hold.wanted + patience).map(|hold| hold.index)
    }

    /// The snapshot of [`Effect::InstallSnapshot`] is in the state, durably.
    ///
    /// # Errors
    /// [`RaftError`]: the host must stop.
    pub fn snapshot_installed(&mut self, index: u64) -> Result<(), RaftError> {
        if self.installing.as_ref().is_some_and(|manifest| manifest.index <= index) {
            self.installing = None;
            self.staged.installing(None);
        }
        self.applied(index)
    }

    /// A snapshot of the state as of `manifest.index` can be sent. Term and members are filled in
    /// here; `None` if it is too old to be of use, and then another one is asked for when needed.
    ///
    /// # Errors
    /// [`RaftError`]: the host must stop.
    pub fn snapshot_ready(&mut self, mut manifest: Manifest) -> Result<Option<Manifest>, RaftError> {
        let truncated = self.node.store().truncated().index;
        if manifest.index < truncated.max(self.membership.index) || manifest.index > self.applied {
            return Ok(None);
        }
        let index = manifest.index;
        let Ok(term) = self.guarded(|driver| driver.node.raft.raft_log.term(index))? else {
            return Ok(None);
        };
        manifest.term = term;
        manifest.membership = self.membership.clone();
        self.hold = Some(Hold { index, wanted: self.ticks });
        self.node.mut_store().offer_snapshot(manifest.clone());
        Ok(Some(manifest))
    }

    /// The state has durably applied everything up to `to`: forget what nobody needs any more. Keeps
    /// what live followers lack and some entries behind. Takes effect with the next pump.
    ///
    /// # Errors
    /// [`RaftError`]: the host must stop.
    pub fn compact(&mut self, to: u64) -> Result<(), RaftError> {
        let mut target = to.min(self.applied);
        if self.is_leader() {
            let floor = target.saturating_sub(self.config.follower_window);
            if let Some(hold) = self.held_for_snapshot().filter(|index| *index >= floor) {
                target = target.min(hold);
            }
            for (id, progress) in self.node.raft.prs().iter() {
                // A server that gets a snapshot needs what follows that, or it would need the next one at once.
                let has = match progress.state {
                    ProgressState::Snapshot => progress.pending_snapshot,
                    _ => progress.matched,
                };
                if *id != self.config.id && progress.recent_active && has >= floor {
                    target = target.min(has);
                }
            }
        }
        if !std::mem::take(&mut self.tight) {
            let by_bytes = self.trailing_by_bytes().unwrap_or(0);
            let by_count = target.saturating_sub(self.config.trailing_entries);
            target = by_count.max(by_bytes.min(target));
            // Too little to be worth a write.
            if target < self.node.store().truncated().index + self.config.trailing_entries / 8 {
                return Ok(());
            }
        }
        if target <= self.node.store().truncated().index {
            return Ok(());
        }
        let Ok(term) = self.guarded(|driver| driver.node.raft.raft_log.term(target))? else {
            return Ok(());
        };
        let position = LogPosition { index: target, term };
        self.node.mut_store().compact(position);
        self.staged.compact(position);
        Ok(())
    }

    /// The log's files hold too much: the next compaction leaves nothing for laggards.
    pub fn compact_tightly(&mut self) {
        self.tight = true;
    }

    /// The stream of a snapshot to this peer ended, well or not. Without it the peer stays paused.
    ///
    /// # Errors
    /// [`RaftError`]: the host must stop.
    pub fn report_snapshot(&mut self, peer: u64, done: bool) -> Result<(), RaftError> {
        let status = if done { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.guarded(|driver| driver.node.report_snapshot(peer, status))
    }

    /// The index with about `trailing_bytes` of entries behind it; `None` while there are fewer.
    fn trailing_by_bytes(&self) -> Option<u64> {
        let full = self.appended_marks.len() as u64 >= (self.config.trailing_bytes / MARK_BYTES).max(1);
        self.appended_marks.front().copied().filter(|_| full)
    }
}
