//! The newest entries, in memory: those that are staged but not yet durable, and some behind them.
//!
//! Raft reads entries it has handed over for writing back at once, to commit them and to send them
//! to followers; with this cache that neither waits for the disk nor reads it.

use std::collections::VecDeque;

use raft::eraftpb::Entry;

use super::log::entry_size;

/// Durable entries are kept up to this many bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Entries without gaps, the newest of the log.
#[derive(Debug, Default)]
pub(super) struct EntryCache {
    entries: VecDeque<Entry>,
    bytes: u64,
}

impl EntryCache {
    pub(super) fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.index)
    }

    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        let offset = index.checked_sub(self.first_index()?)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// Appends; what is there from the first new index on is replaced.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        while let Some(last) = self.entries.back()
            && last.index >= first.index
        {
            self.bytes -= entry_size(last);
            self.entries.pop_back();
        }
        if self.entries.back().is_some_and(|last| last.index + 1 != first.index) {
            self.clear();
        }
        self.bytes += entries.iter().map(entry_size).sum::<u64>();
        self.entries.extend(entries.iter().cloned());
    }

    /// Everything up to `durable` can be read from the log: keep only as much as is useful.
    pub(super) fn trim(&mut self, durable: u64) {
        while self.bytes > MAX_BYTES {
            match self.entries.front() {
                Some(entry) if entry.index <= durable => {
                    self.bytes -= entry_size(entry);
                    self.entries.pop_front();
                }
                _ => break,
            }
        }
    }

    /// Forgets entries up to and including `index`.
    pub(super) fn compact(&mut self, index: u64) {
        while let Some(entry) = self.entries.front()
            && entry.index <= index
        {
            self.bytes -= entry_size(entry);
            self.entries.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(indexes: std::ops::RangeInclusive<u64>, term: u64, size: usize) -> Vec<Entry> {
        indexes.map(|index| Entry { index, term, data: vec![0; size].into(), ..Entry::default() }).collect()
    }

    #[test]
    fn overwrites_and_forgets() {
        let mut cache = EntryCache::default();
        cache.append(&entries(5..=9, 1, 10));
        cache.append(&entries(8..=10, 2, 10));
        assert_eq!(cache.get(7).map(|entry| entry.term), Some(1));
        assert_eq!(cache.get(8).map(|entry| entry.term), Some(2));
        assert_eq!(cache.get(11), None);
        assert_eq!(cache.get(4), None);
        cache.compact(9);
        assert_eq!(cache.first_index(), Some(10));
        cache.append(&entries(20..=21, 3, 10));
        assert_eq!(cache.first_index(), Some(20), "a gap empties it");
    }

    #[test]
    fn keeps_what_is_not_durable() {
        let mut cache = EntryCache::default();
        cache.append(&entries(1..=8, 1, 300_000));
        cache.trim(2);
        assert_eq!(cache.first_index(), Some(3), "the rest is not durable yet");
        cache.trim(8);
        assert!(cache.first_index() > Some(4) && cache.bytes <= MAX_BYTES);
    }
}
