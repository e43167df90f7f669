//! The log on disk: the only file that names raft-engine.
//!
//! One region holds everything. Entries are raft's own protobuf form, read from our own disk only;
//! the rest are small records under keys of our own. Every write is one batch and is synced, but for
//! a commit index that goes along with the next.
//!
//! raft-engine panics when a sync fails, when entries leave a gap and on some damage. Such panics
//! become [`LogError`] here, and the log is dead from then on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft::eraftpb::{Entry, HardState};
use raft_engine::env::{FileSystem, Handle, Permission, WriteExt};
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};

use super::codec;
use super::log::{LogError, LogPosition, LogState, LogStore, LogWrite, entry_size};
use super::log_files::{Cursor, Faults, LogFile};
use super::membership::Membership;
use super::snapshot::Manifest;

/// raft-engine keeps many groups' logs; we have one. Never another number.
const REGION: u64 = 1;
/// Files are deleted as a whole, so small ones let go of space early.
const FILE_SIZE: ReadableSize = ReadableSize::mb(8);
/// Files are looked at for deletion above this.
const PURGE_ABOVE: ReadableSize = ReadableSize::mb(64);

const VERSION: u8 = 1;
const SERVER: &[u8] = b"server";
const HARD_STATE: &[u8] = b"hard_state";
const MEMBERSHIP: &[u8] = b"membership";
const TRUNCATED: &[u8] = b"truncated";
const INSTALLING: &[u8] = b"installing";

struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// raft-engine's view of our files.
#[derive(Debug)]
struct Files {
    faults: Arc<Faults>,
}

impl FileSystem for Files {
    type Handle = LogFile;
    type Reader = Cursor;
    type Writer = Cursor;

    fn create<P: AsRef<Path>>(&self, path: P) -> std::io::Result<LogFile> {
        LogFile::create(path.as_ref(), Arc::clone(&self.faults))
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> std::io::Result<LogFile> {
        LogFile::open(path.as_ref(), permission == Permission::ReadWrite, Arc::clone(&self.faults))
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> std::io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> std::io::Result<()> {
        std::fs::rename(from, to)
    }

    fn new_reader(&self, file: Arc<LogFile>) -> std::io::Result<Cursor> {
        Ok(Cursor::new(file))
    }

    fn new_writer(&self, file: Arc<LogFile>) -> std::io::Result<Cursor> {
        Ok(Cursor::new(file))
    }
}

impl Handle for LogFile {
    /// Called by recovery only, for what it could not read.
    fn truncate(&self, offset: usize) -> std::io::Result<()> {
        self.truncate_torn(offset as u64)
    }

    fn file_size(&self) -> std::io::Result<usize> {
        usize::try_from(self.size()?).map_err(std::io::Error::other)
    }

    fn sync(&self) -> std::io::Result<()> {
        LogFile::sync(self)
    }
}

impl WriteExt for Cursor {
    fn truncate(&mut self, offset: usize) -> std::io::Result<()> {
        self.file().truncate(offset as u64)?;
        self.set_offset(offset as u64);
        Ok(())
    }

    fn allocate(&mut self, offset: usize, size: usize) -> std::io::Result<()> {
        self.file().allocate(offset as u64, size as u64)
    }
}

/// The log in a directory.
pub struct LogDisk {
    engine: Arc<Engine<Files>>,
    dir: PathBuf,
    faults: Arc<Faults>,
    /// Kept for its buffer.
    batch: LogBatch,
    dead: bool,
}

impl std::fmt::Debug for LogDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogDisk").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Deletes files of the log that hold nothing any more. Not for the thread that writes the log.
#[derive(Clone)]
pub struct LogPurger {
    engine: Arc<Engine<Files>>,
    dir: PathBuf,
    faults: Arc<Faults>,
}

impl std::fmt::Debug for LogPurger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogPurger").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl LogPurger {
    /// Whether there is enough to look at. Cheap.
    pub fn is_due(&self) -> bool {
        self.engine.get_used_size() as u64 >= PURGE_ABOVE.0
    }

    /// One round. True if old files cannot go because entries in them were not compacted: the state
    /// should be flushed and the log compacted soon.
    ///
    /// # Errors
    /// [`LogError`]: the process must stop.
    pub fn purge(&self) -> Result<bool, LogError> {
        let purged = guarded(&self.dir, &self.faults, || self.engine.purge_expired_files())?;
        Ok(purged.contains(&REGION))
    }
}

/// Runs a call of the engine; its errors and panics become ours.
fn guarded<T>(
    dir: &Path,
    faults: &Faults,
    call: impl FnOnce() -> raft_engine::Result<T>,
) -> Result<T, LogError> {
    let text = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(payload) => payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "the log engine gave up".into()),
    };
    // The file's own error is the cause; the engine's text only what became of it.
    Err(faults
        .error()
        .unwrap_or_else(|| LogError::Corrupt { place: dir.display().to_string(), reason: text }))
}

impl LogDisk {
    /// Opens the log in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`LogError`] naming the file or directory and what to do.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        let place = dir.display().to_string();
        let io = |what| {
            let place = place.clone();
            move |error: std::io::Error| LogError::Io { place, what, error: error.to_string() }
        };
        std::fs::create_dir_all(dir).map_err(io("create"))?;
        let Some(dir_text) = dir.to_str() else {
            return Err(io("open")(std::io::Error::other("its name is not UTF-8")));
        };
        let faults = Arc::new(Faults::default());
        let config = Config {
            dir: dir_text.to_owned(),
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            // Files are then read in order, and an error can be told where it happened.
            recovery_threads: 1,
            // Costs more processor time than it saves on the disk.
            batch_compression_threshold: ReadableSize(0),
            target_file_size: FILE_SIZE,
            purge_threshold: PURGE_ABOVE,
            // A recycled file is not deleted after a kill, and its old content is behind the new.
            enable_log_recycle: false,
            ..Config::default()
        };
        let files = Arc::new(Files { faults: Arc::clone(&faults) });
        let opened = catch_unwind(AssertUnwindSafe(|| Engine::open_with_file_system(config, files)));
        let engine = match opened {
            Ok(Ok(engine)) => engine,
            Ok(Err(raft_engine::Error::Other(error))) if error.to_string().contains("lock file") => {
                return Err(LogError::Locked { place });
            }
            Ok(Err(error)) => return Err(open_error(dir, &faults, &error.to_string())),
            Err(_) => return Err(open_error(dir, &faults, "its files contradict each other")),
        };
        // A new file is not there for sure until its directory is synced, and that one's parent.
        for path in
            [Some(dir), dir.parent().filter(|parent| !parent.as_os_str().is_empty())].into_iter().flatten()
        {
            std::fs::File::open(path).and_then(|dir| dir.sync_all()).map_err(io("sync"))?;
        }
        let mut log = Self {
            engine: Arc::new(engine),
            dir: dir.to_owned(),
            faults,
            batch: LogBatch::default(),
            dead: false,
        };
        log.forget_again()?;
        Ok(log)
    }

    /// Entries that were rewritten and compacted later can come back when the file with the
    /// compaction was deleted. Left there, the next append would leave a gap behind them.
    fn forget_again(&mut self) -> Result<(), LogError> {
        let truncated = self.state()?.truncated;
        if self.engine.first_index(REGION).is_some_and(|first| first <= truncated.index) {
            self.write(&LogWrite { compact: Some(truncated), must_sync: true, ..LogWrite::default() })?;
        }
        Ok(())
    }

    /// For deleting files on another thread, now and then.
    pub fn purger(&self) -> LogPurger {
        LogPurger {
            engine: Arc::clone(&self.engine),
            dir: self.dir.clone(),
            faults: Arc::clone(&self.faults),
        }
    }

    /// Bytes of all files.
    pub fn used(&self) -> usize {
        self.engine.get_used_size()
    }

    fn corrupt(&self, reason: impl Into<String>) -> LogError {
        LogError::Corrupt { place: self.place(), reason: reason.into() }
    }

    fn record<T>(
        &self,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<Option<T>, LogError> {
        let Some(bytes) = self.engine.get(REGION, key) else { return Ok(None) };
        let name = String::from_utf8_lossy(key);
        decode(&bytes).map(Some).map_err(|error| self.corrupt(format!("record {name}: {error}")))
    }

    fn fill(&mut self, write: &LogWrite) -> Result<(), String> {
        let text = |error: raft_engine::Error| error.to_string();
        if let Some(position) = write.reset {
            self.batch.add_command(REGION, Command::Clean);
            // Cleaning takes the records along; those that stay are written again.
            for key in [SERVER, HARD_STATE, MEMBERSHIP, INSTALLING] {
                if let Some(bytes) = self.engine.get(REGION, key) {
                    self.batch.put(REGION, key.to_vec(), bytes).map_err(text)?;
                }
            }
            self.put(TRUNCATED, &(position.index, position.term))?;
        }
        self.batch.add_entries::<Entries>(REGION, &write.entries).map_err(text)?;
        if let Some(position) = write.compact {
            self.batch.add_command(REGION, Command::Compact { index: position.index + 1 });
            self.put(TRUNCATED, &(position.index, position.term))?;
        }
        if let Some(state) = &write.hard_state {
            self.put(HARD_STATE, &(state.term, state.vote, state.commit))?;
        }
        if let Some(membership) = &write.membership {
            self.batch.put(REGION, MEMBERSHIP.to_vec(), membership.encode()?).map_err(text)?;
        }
        match &write.installing {
            Some(Some(manifest)) => {
                self.batch.put(REGION, INSTALLING.to_vec(), manifest.encode()?).map_err(text)?;
            }
            Some(None) => self.batch.delete(REGION, INSTALLING.to_vec()),
            None => {}
        }
        if let Some(server) = write.server {
            self.put(SERVER, &server)?;
        }
        Ok(())
    }

    fn put<T: serde::Serialize>(&mut self, key: &[u8], record: &T) -> Result<(), String> {
        let bytes = codec::encode(VERSION, record)?;
        self.batch.put(REGION, key.to_vec(), bytes).map_err(|error| error.to_string())
    }
}

fn open_error(dir: &Path, faults: &Faults, text: &str) -> LogError {
    if let Some(error) = faults.error() {
        return error;
    }
    let place = faults.stopped_at(dir).unwrap_or_else(|| dir.to_owned());
    LogError::Corrupt { place: place.display().to_string(), reason: text.to_owned() }
}

impl LogStore for LogDisk {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn state(&self) -> Result<LogState, LogError> {
        let decode_numbers = |bytes: &[u8]| codec::decode::<(u64, u64)>(VERSION, bytes);
        let (index, term) = self.record(TRUNCATED, decode_numbers)?.unwrap_or_default();
        let mut state = LogState {
            server: self.record(SERVER, |bytes| codec::decode(VERSION, bytes))?,
            membership: self.record(MEMBERSHIP, Membership::decode)?,
            truncated: LogPosition { index, term },
            installing: self.record(INSTALLING, Manifest::decode)?,
            last_index: index,
            ..LogState::default()
        };
        if let Some((term, vote, commit)) =
            self.record(HARD_STATE, |bytes| codec::decode::<(u64, u64, u64)>(VERSION, bytes))?
        {
            state.hard_state = HardState { term, vote, commit, ..HardState::default() };
        }
        if let (Some(first), Some(last)) = (self.engine.first_index(REGION), self.engine.last_index(REGION))
            && last > index
        {
            // Entries from before the truncation may come back when files were purged; never a gap.
            if first > index + 1 {
                return Err(self.corrupt(format!("entries {} to {} are missing", index + 1, first - 1)));
            }
            state.last_index = last;
        }
        Ok(state)
    }

    fn write(&mut self, write: &LogWrite) -> Result<(), LogError> {
        if self.dead {
            return Err(self.corrupt("an earlier write failed"));
        }
        // Not cleared until the write is known to be good.
        self.dead = true;
        if let Err(error) = self.fill(write) {
            return Err(self.corrupt(format!("a change cannot be encoded: {error}")));
        }
        let (engine, batch) = (&self.engine, &mut self.batch);
        guarded(&self.dir, &self.faults, || engine.write(batch, write.must_sync))?;
        self.dead = false;
        Ok(())
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64, into: &mut Vec<Entry>) -> Result<(), LogError> {
        let mut bytes = 0;
        for index in low..high {
            let read = || self.engine.get_entry::<Entries>(REGION, index);
            let entry = guarded(&self.dir, &self.faults, read).map_err(|error| match error {
                LogError::Corrupt { reason, .. } => {
                    let file = self.faults.last_read().unwrap_or_else(|| self.dir.clone());
                    LogError::Corrupt { place: file.display().to_string(), reason }
                }
                other => other,
            })?;
            let Some(entry) = entry else {
                return Err(self.corrupt(format!("entry {index} is missing")));
            };
            bytes += entry_size(&entry);
            if index > low && bytes > max_bytes {
                break;
            }
            into.push(entry);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
