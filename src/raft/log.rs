//! What raft needs of a log on disk, and a twin of it in memory.
//!
//! A log holds entries, the hard state, the membership and the position it was truncated at, and
//! takes all changes of one step as one atomic write. The disk form is in `log_disk.rs`, the only
//! file that names raft-engine. The twin serves `-dev`, tests and simulation; it models a disk that
//! loses what was not synced when it crashes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft::eraftpb::{Entry, HardState};

use super::membership::Membership;
use super::snapshot::Manifest;

/// Why a log cannot be used. Each text names the place and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Another process has it open.
    #[error("raft log in {place} is in use by another process: stop it, or use another data directory")]
    Locked {
        /// Directory of the log.
        place: String,
    },
    /// Reading or writing failed.
    #[error(
        "raft log: cannot {what} {place}: {error}. Free space or repair the disk, its permissions or its \
         mount, then start again; nothing acknowledged is lost"
    )]
    Io {
        /// File or directory.
        place: String,
        /// What was tried, as in "write".
        what: &'static str,
        /// The system's text.
        error: String,
    },
    /// What is there cannot be right.
    #[error(
        "raft log {place} is damaged: {reason}. Do not delete single files. Restore the data directory from \
         a backup; or, if other servers hold the data, move it away, remove this server from the cluster \
         and let it join anew"
    )]
    Corrupt {
        /// File or directory.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

/// A position in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Index.
    pub index: u64,
    /// Term of the entry there.
    pub term: u64,
}

/// What a log held when it was opened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogState {
    /// Raft ID of the server that writes it.
    pub server: Option<u64>,
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// Members, none before the first write.
    pub membership: Option<Membership>,
    /// Last position whose entry is gone; its term is kept, the next entry is checked against it.
    pub truncated: LogPosition,
    /// A snapshot that is being installed into the state.
    pub installing: Option<Manifest>,
    /// Last index; that of `truncated` if there are no entries.
    pub last_index: u64,
}

/// One atomic change. Its parts take effect in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogWrite {
    /// Forget all entries: a snapshot replaces everything up to here.
    pub reset: Option<LogPosition>,
    /// Append; an entry replaces what is there from its index on.
    pub entries: Vec<Entry>,
    /// Forget entries up to and including this position.
    pub compact: Option<LogPosition>,
    /// New hard state.
    pub hard_state: Option<HardState>,
    /// New members.
    pub membership: Option<Membership>,
    /// Begin (`Some(Some)`) or end (`Some(None)`) of installing a snapshot.
    pub installing: Option<Option<Manifest>>,
    /// Who writes this log.
    pub server: Option<u64>,
    /// Must survive a crash before anything that depends on it happens.
    pub must_sync: bool,
}

/// A log.
pub trait LogStore {
    /// Where it is, for messages.
    fn place(&self) -> String;

    /// What it holds.
    ///
    /// # Errors
    /// [`LogError`] if it cannot be read or contradicts itself.
    fn state(&self) -> Result<LogState, LogError>;

    /// Writes atomically; durable on return if [`LogWrite::must_sync`].
    ///
    /// # Errors
    /// [`LogError`]; the caller must then stop, as nobody knows what the disk holds.
    fn write(&mut self, write: &LogWrite) -> Result<(), LogError>;

    /// Appends the entries `low..high` to `into`, in order, stopping before the one with which their
    /// data would exceed `max_bytes`, but never before the first.
    ///
    /// # Errors
    /// [`LogError`] if one is missing or cannot be read.
    fn entries(&self, low: u64, high: u64, max_bytes: u64, into: &mut Vec<Entry>) -> Result<(), LogError>;
}

impl<L: LogStore + ?Sized> LogStore for Box<L> {
    fn place(&self) -> String {
        (**self).place()
    }

    fn state(&self) -> Result<LogState, LogError> {
        (**self).state()
    }

    fn write(&mut self, write: &LogWrite) -> Result<(), LogError> {
        (**self).write(write)
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64, into: &mut Vec<Entry>) -> Result<(), LogError> {
        (**self).entries(low, high, max_bytes, into)
    }
}

/// Rough size of an entry, for limits.
pub(super) fn entry_size(entry: &Entry) -> u64 {
    (entry.data.len() + entry.context.len() + 32) as u64
}

/// What a crash does to a [`MemoryLog`] at its next synced write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFault {
    /// The write is lost, with everything unsynced before it.
    Lost,
    /// The write is durable, but the writer never hears of it.
    DurableButUnreported,
}

#[derive(Debug, Clone, Default)]
struct Image {
    state: LogState,
    entries: BTreeMap<u64, Entry>,
}

impl Image {
    fn apply(&mut self, write: &LogWrite) {
        if let Some(position) = write.reset {
            self.entries.clear();
            self.state.truncated = position;
            self.state.last_index = position.index;
        }
        if let Some(first) = write.entries.first() {
            self.entries.split_off(&first.index);
            self.state.last_index = write.entries.last().map_or(0, |last| last.index);
            self.entries.extend(write.entries.iter().map(|entry| (entry.index, entry.clone())));
        }
        if let Some(position) = write.compact {
            self.entries = self.entries.split_off(&(position.index + 1));
            self.state.truncated = position;
            self.state.last_index = self.state.last_index.max(position.index);
        }
        if let Some(hard_state) = &write.hard_state {
            self.state.hard_state = hard_state.clone();
        }
        if let Some(membership) = &write.membership {
            self.state.membership = Some(membership.clone());
        }
        if let Some(installing) = &write.installing {
            self.state.installing.clone_from(installing);
        }
        if write.server.is_some() {
            self.state.server = write.server;
        }
    }
}

#[derive(Debug, Default)]
struct Disk {
    /// What readers see.
    live: Image,
    /// What survives a crash; `None` for a log that is never crashed.
    durable: Option<Image>,
    /// Written and not yet synced.
    unsynced: Vec<LogWrite>,
    fault: Option<WriteFault>,
    down: bool,
}

impl Disk {
    fn sync(&mut self, unsynced: impl IntoIterator<Item = LogWrite>) {
        if let Some(durable) = &mut self.durable {
            for write in unsynced {
                durable.apply(&write);
            }
        }
    }
}

/// The twin in memory. Clones share the disk, so that a "restarted" node finds what its former self
/// made durable.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog {
    disk: Arc<Mutex<Disk>>,
}

impl MemoryLog {
    /// A log that lives as long as the process.
    pub fn new() -> Self {
        Self::default()
    }

    /// A log that can crash.
    pub fn with_crashes() -> Self {
        let disk = Disk { durable: Some(Image::default()), ..Disk::default() };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next synced write brings the disk down.
    pub fn fail_next_sync(&self, fault: WriteFault) {
        self.disk().fault = Some(fault);
    }

    /// Power is back: what was not synced is gone, and the disk works again.
    pub fn crash(&self) {
        let mut disk = self.disk();
        disk.unsynced.clear();
        disk.fault = None;
        disk.down = false;
        if let Some(durable) = &disk.durable {
            disk.live = durable.clone();
        }
    }
}

impl LogStore for MemoryLog {
    fn place(&self) -> String {
        "memory".into()
    }

    fn state(&self) -> Result<LogState, LogError> {
        Ok(self.disk().live.state.clone())
    }

    fn write(&mut self, write: &LogWrite) -> Result<(), LogError> {
        let mut disk = self.disk();
        let failed = LogError::Io { place: "memory".into(), what: "write", error: "the disk is down".into() };
        if disk.down {
            return Err(failed);
        }
        if disk.durable.is_none() {
            disk.live.apply(write);
            return Ok(());
        }
        match disk.fault.filter(|_| write.must_sync) {
            Some(WriteFault::Lost) => {
                disk.down = true;
                return Err(failed);
            }
            Some(WriteFault::DurableButUnreported) => {
                let unsynced = std::mem::take(&mut disk.unsynced);
                disk.sync(unsynced.into_iter().chain([write.clone()]));
                disk.down = true;
                return Err(failed);
            }
            None => {}
        }
        disk.live.apply(write);
        if write.must_sync {
            let unsynced = std::mem::take(&mut disk.unsynced);
            disk.sync(unsynced.into_iter().chain([write.clone()]));
        } else {
            disk.unsynced.push(write.clone());
        }
        Ok(())
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64, into: &mut Vec<Entry>) -> Result<(), LogError> {
        let disk = self.disk();
        let mut bytes = 0;
        for (count, index) in (low..high).enumerate() {
            let Some(entry) = disk.live.entries.get(&index) else {
                let reason = format!("entry {index} is missing");
                return Err(LogError::Corrupt { place: "memory".into(), reason });
            };
            bytes += entry_size(entry);
            if count > 0 && bytes > max_bytes {
                break;
            }
            into.push(entry.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, ..Entry::default() }
    }

    #[test]
    fn a_crash_loses_what_was_not_synced() {
        let mut log = MemoryLog::with_crashes();
        let write =
            |index, must_sync| LogWrite { entries: vec![entry(index, 1)], must_sync, ..LogWrite::default() };
        log.write(&write(1, true)).unwrap();
        log.write(&write(2, false)).unwrap();
        assert_eq!(log.state().unwrap().last_index, 2, "visible before it is synced");
        log.crash();
        assert_eq!(log.state().unwrap().last_index, 1, "gone after the crash");
        log.write(&write(2, false)).unwrap();
        log.write(&write(3, true)).unwrap();
        log.crash();
        assert_eq!(log.state().unwrap().last_index, 3, "a sync covers what was written before it");
        for (fault, last) in [(WriteFault::Lost, 3), (WriteFault::DurableButUnreported, 4)] {
            log.fail_next_sync(fault);
            assert!(log.write(&write(4, true)).is_err());
            assert!(log.write(&write(5, true)).is_err(), "{fault:?}: stays down");
            log.crash();
            assert_eq!(log.state().unwrap().last_index, last, "{fault:?}");
        }
    }

    #[test]
    fn a_write_takes_effect_in_order() {
        let mut log = MemoryLog::new();
        let entries = (1..=5).map(|index| entry(index, 1)).collect();
        log.write(&LogWrite { entries, ..LogWrite::default() }).unwrap();
        let write = LogWrite {
            entries: vec![entry(4, 2)],
            compact: Some(LogPosition { index: 2, term: 1 }),
            ..LogWrite::default()
        };
        log.write(&write).unwrap();
        let mut found = Vec::new();
        log.entries(3, 5, u64::MAX, &mut found).unwrap();
        assert_eq!(found.iter().map(|entry| (entry.index, entry.term)).collect::<Vec<_>>(), [(3, 1), (4, 2)]);
        assert!(log.entries(2, 3, u64::MAX, &mut found).is_err(), "compacted");
        assert_eq!(log.state().unwrap().last_index, 4);
        let reset = LogPosition { index: 9, term: 3 };
        log.write(&LogWrite { reset: Some(reset), ..LogWrite::default() }).unwrap();
        let state = log.state().unwrap();
        assert_eq!((state.truncated, state.last_index), (reset, 9));
    }
}
