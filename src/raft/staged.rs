//! What waits for the next write: the changes of several steps, merged into one.

use raft::eraftpb::{Entry, HardState};

use super::log::{LogPosition, LogWrite};
use super::membership::Membership;
use super::snapshot::Manifest;

/// Changes that readers of the log already see and the disk does not.
#[derive(Debug, Default)]
pub(super) struct Staged {
    write: LogWrite,
}

impl Staged {
    /// Something staged must be durable before what depends on it may happen.
    pub(super) fn must_sync(&self) -> bool {
        self.write.must_sync
    }

    pub(super) fn require_sync(&mut self) {
        self.write.must_sync = true;
    }

    pub(super) fn append(&mut self, entries: &[Entry]) {
        if let Some(first) = entries.first() {
            // A later step may have overwritten what an earlier one appended.
            let keep = self.write.entries.partition_point(|entry| entry.index < first.index);
            self.write.entries.truncate(keep);
            self.write.entries.extend_from_slice(entries);
        }
    }

    /// A snapshot replaces the log.
    pub(super) fn reset(&mut self, position: LogPosition) {
        self.write.entries.clear();
        self.write.compact = None;
        self.write.reset = Some(position);
        self.write.must_sync = true;
    }

    /// Synced like all else: with at most one write under way a torn tail is one write long, and
    /// anything whole behind it means damage.
    pub(super) fn compact(&mut self, position: LogPosition) {
        self.write.compact = Some(position);
        self.write.must_sync = true;
    }

    /// Without [`Staged::require_sync`] it goes along with the next write that needs one.
    pub(super) fn hard_state(&mut self, hard_state: &HardState) {
        self.write.hard_state = Some(hard_state.clone());
    }

    pub(super) fn membership(&mut self, membership: &Membership) {
        self.write.membership = Some(membership.clone());
        self.write.must_sync = true;
    }

    pub(super) fn installing(&mut self, manifest: Option<&Manifest>) {
        self.write.installing = Some(manifest.cloned());
        self.write.must_sync = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.write == LogWrite::default()
    }

    pub(super) fn take(&mut self) -> LogWrite {
        std::mem::take(&mut self.write)
    }
}
