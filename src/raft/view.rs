//! The log as raft reads it: what is durable and what is staged, as one.

use std::cell::{Cell, RefCell};

use raft::eraftpb::{Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::cache::EntryCache;
use super::log::{LogError, LogPosition, LogStore, entry_size};
use super::membership::Membership;
use super::snapshot::Manifest;

/// Raft's storage over a [`LogStore`].
#[derive(Debug)]
pub(super) struct LogView<L> {
    pub(super) log: L,
    cache: EntryCache,
    truncated: LogPosition,
    last_index: u64,
    /// Last index that is durable.
    durable: u64,
    initial: RaftState,
    snapshot: Option<Manifest>,
    /// Peer for which raft wanted a snapshot when none was at hand.
    wanted: Cell<Option<u64>>,
    /// Why a read failed; raft only has a panic for it.
    error: RefCell<Option<LogError>>,
}

impl<L: LogStore> LogView<L> {
    pub(super) fn new(
        log: L,
        hard_state: HardState,
        members: &Membership,
        truncated: LogPosition,
        last: u64,
    ) -> Self {
        Self {
            log,
            cache: EntryCache::default(),
            truncated,
            last_index: last,
            durable: last,
            initial: RaftState::new(hard_state, members.conf_state()),
            snapshot: None,
            wanted: Cell::new(None),
            error: RefCell::new(None),
        }
    }

    pub(super) fn truncated(&self) -> LogPosition {
        self.truncated
    }

    pub(super) fn append(&mut self, entries: &[Entry]) {
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            self.cache.append(entries);
            self.last_index = last.index;
            self.durable = self.durable.min(first.index - 1);
        }
    }

    pub(super) fn reset(&mut self, position: LogPosition) {
        self.cache.clear();
        self.truncated = position;
        self.last_index = position.index;
        self.durable = self.durable.min(position.index);
    }

    pub(super) fn compact(&mut self, position: LogPosition) {
        self.cache.compact(position.index);
        self.truncated = position;
        if self.snapshot.as_ref().is_some_and(|manifest| manifest.index < position.index) {
            self.snapshot = None;
        }
    }

    /// Everything staged has been written.
    pub(super) fn persisted(&mut self) {
        self.durable = self.last_index;
        self.cache.trim(self.durable);
    }

    pub(super) fn offer_snapshot(&mut self, manifest: Manifest) {
        self.snapshot = Some(manifest);
    }

    pub(super) fn take_wanted(&self) -> Option<u64> {
        self.wanted.take()
    }

    pub(super) fn take_error(&self) -> Option<LogError> {
        self.error.borrow_mut().take()
    }

    fn keep(&self, error: LogError) -> raft::Error {
        let text = error.to_string();
        *self.error.borrow_mut() = Some(error);
        StorageError::Other(text.into()).into()
    }
}

impl<L: LogStore> Storage for LogView<L> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.truncated.index {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last_index + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let max_bytes = max_size.into().unwrap_or(u64::MAX);
        let mut found = Vec::new();
        let cached = self.cache.first_index().map_or(high, |first| first.clamp(low, high));
        if low < cached {
            self.log.entries(low, cached, max_bytes, &mut found).map_err(|error| self.keep(error))?;
        }
        if low + found.len() as u64 == cached {
            let mut bytes: u64 = found.iter().map(entry_size).sum();
            for index in cached..high {
                let Some(entry) = self.cache.get(index) else {
                    return Err(StorageError::Unavailable.into());
                };
                bytes = bytes.saturating_add(entry_size(entry));
                if bytes > max_bytes && !found.is_empty() {
                    break;
                }
                found.push(entry.clone());
            }
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.truncated.index {
            return Ok(self.truncated.term);
        }
        if index < self.truncated.index {
            return Err(StorageError::Compacted.into());
        }
        if index > self.last_index {
            return Err(StorageError::Unavailable.into());
        }
        if let Some(entry) = self.cache.get(index) {
            return Ok(entry.term);
        }
        let mut found = Vec::new();
        self.log.entries(index, index + 1, u64::MAX, &mut found).map_err(|error| self.keep(error))?;
        found.first().map(|entry| entry.term).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        // One made before a server was added does not know it, and that server's raft would not have it.
        let usable = self.snapshot.as_ref().filter(|manifest| {
            manifest.index >= request_index.max(self.truncated.index) && manifest.membership.contains(to)
        });
        let Some((manifest, data)) = usable.and_then(|manifest| Some((manifest, manifest.encode().ok()?)))
        else {
            self.wanted.set(Some(to));
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        };
        let mut snapshot = Snapshot { data: data.into(), ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        metadata.index = manifest.index;
        metadata.term = manifest.term;
        metadata.set_conf_state(manifest.membership.conf_state());
        Ok(snapshot)
    }
}
