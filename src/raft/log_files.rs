//! The files under the log on disk.
//!
//! Our own, for three reasons: descriptors must not leak into the scripts that checks run; an error
//! must name its file, which raft-engine's do not; and a tail that is cut off at recovery must be
//! looked at before it goes, because a torn last write is normal after a crash and anything else is
//! damage.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::log::LogError;

/// Bytes in front of every batch in a log file: its length and compression, and the offset of its
/// index part, both as big-endian 64-bit numbers.
const BATCH_HEADER: usize = 16;
/// Files that hold appended entries; others hold what was rewritten when files were purged.
const APPEND_SUFFIX: &str = "raftlog";

/// What went wrong with files last, and which were read last.
#[derive(Debug, Default)]
pub(super) struct Faults {
    error: Mutex<Option<LogError>>,
    last_read: Mutex<Option<PathBuf>>,
    last_append: Mutex<Option<PathBuf>>,
    last_rewrite: Mutex<Option<PathBuf>>,
}

fn set<T>(slot: &Mutex<Option<T>>, value: T) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
}

fn get<T: Clone>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Faults {
    /// The last error, which is the cause of whatever the engine makes of it.
    pub(super) fn error(&self) -> Option<LogError> {
        get(&self.error)
    }

    fn note(&self, path: &Path, what: &'static str, error: io::Error) -> io::Error {
        let place = path.display().to_string();
        set(&self.error, LogError::Io { place, what, error: error.to_string() });
        error
    }

    fn note_read(&self, path: &Path) {
        let is_append = path.extension().is_some_and(|suffix| suffix == APPEND_SUFFIX);
        let slot = if is_append { &self.last_append } else { &self.last_rewrite };
        for slot in [slot, &self.last_read] {
            if get(slot).as_deref() != Some(path) {
                set(slot, path.to_owned());
            }
        }
    }

    /// The file that was read last.
    pub(super) fn last_read(&self) -> Option<PathBuf> {
        get(&self.last_read)
    }

    /// The file at which reading the directory stopped: each kind is read in order, so it is the last
    /// one read of a kind that has later ones.
    pub(super) fn stopped_at(&self, dir: &Path) -> Option<PathBuf> {
        let newest = |suffix: Option<&std::ffi::OsStr>| {
            let files = std::fs::read_dir(dir).ok()?;
            files.filter_map(|file| Some(file.ok()?.path())).filter(|path| path.extension() == suffix).max()
        };
        [get(&self.last_append), get(&self.last_rewrite)]
            .into_iter()
            .flatten()
            .find(|path| newest(path.extension()).as_ref() != Some(path))
            .or_else(|| get(&self.last_append))
    }
}

/// An open log file.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    path: PathBuf,
    faults: Arc<Faults>,
}

impl LogFile {
    pub(super) fn open(path: &Path, write: bool, faults: Arc<Faults>) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(write).open(path);
        let file = file.map_err(|error| faults.note(path, "open", error))?;
        Ok(Self { file, path: path.to_owned(), faults })
    }

    pub(super) fn create(path: &Path, faults: Arc<Faults>) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| faults.note(path, "create", error))?;
        Ok(Self { file, path: path.to_owned(), faults })
    }

    fn fault(&self, what: &'static str) -> impl Fn(io::Error) -> io::Error + '_ {
        move |error| self.faults.note(&self.path, what, error)
    }

    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata().map_err(self.fault("read the size of"))?.len())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data().map_err(self.fault("sync"))
    }

    /// Cuts at a place the engine knows to be right.
    pub(super) fn truncate(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size).map_err(self.fault("truncate"))
    }

    /// Cuts a tail that recovery could not read, unless it looks like more than one torn write.
    pub(super) fn truncate_torn(&self, offset: u64) -> io::Result<()> {
        let size = self.size()?;
        let mut tail = vec![0; usize::try_from(size.saturating_sub(offset)).unwrap_or(0)];
        self.file.read_exact_at(&mut tail, offset).map_err(self.fault("read"))?;
        let is_append = self.path.extension().is_some_and(|suffix| suffix == APPEND_SUFFIX);
        // Rewritten data may be cut anywhere: its originals are deleted only once it is durable.
        if is_append && let Err(reason) = check_torn(&tail) {
            let place = self.path.display().to_string();
            let reason = format!("at offset {offset}: {reason}");
            set(&self.faults.error, LogError::Corrupt { place, reason });
            return Err(io::Error::new(io::ErrorKind::InvalidData, "refused to cut off damaged data"));
        }
        if let Some(last) = tail.iter().rposition(|byte| *byte != 0) {
            tracing::warn!(
                file = %self.path.display(),
                offset,
                bytes = last + 1,
                "raft log: cut off a write that a crash interrupted"
            );
        }
        self.truncate(offset)
    }

    /// Reserves space, so that appending does not change the file's size each time. On a file system
    /// that cannot, appending grows the file instead.
    pub(super) fn allocate(&self, offset: u64, size: u64) -> io::Result<()> {
        let flags = rustix::fs::FallocateFlags::empty();
        match rustix::fs::fallocate(&self.file, flags, offset, size) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether an unreadable tail can be one interrupted write: every write was synced before the next.
fn check_torn(tail: &[u8]) -> Result<(), &'static str> {
    let Some((header, body)) = tail.split_first_chunk::<BATCH_HEADER>() else { return Ok(()) };
    if header.iter().all(|byte| *byte == 0) {
        return Ok(()); // reserved and never written, or its first block never reached the disk
    }
    if body.iter().all(|byte| *byte == 0) {
        return Ok(()); // the first block ended within the header, and no later one reached the disk
    }
    let number = |half: &[u8]| half.try_into().map_or(u64::MAX, u64::from_be_bytes);
    let (first, second) = header.split_at(8);
    let length = number(first) >> 8;
    if number(second) < BATCH_HEADER as u64 || number(second) > length {
        return Err("neither the start of a write nor empty space");
    }
    let behind = usize::try_from(length).ok().and_then(|length| tail.get(length..)).unwrap_or(&[]);
    if behind.iter().any(|byte| *byte != 0) {
        return Err("a damaged write with another one behind it");
    }
    Ok(())
}

/// A place in a file, to read or write from.
#[derive(Debug)]
pub(super) struct Cursor {
    file: Arc<LogFile>,
    offset: u64,
}

impl Cursor {
    pub(super) fn new(file: Arc<LogFile>) -> Self {
        Self { file, offset: 0 }
    }

    pub(super) fn file(&self) -> &LogFile {
        &self.file
    }

    pub(super) fn set_offset(&mut self, offset: u64) {
        self.offset = offset;
    }
}

impl Read for Cursor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.file.faults.note_read(&self.file.path);
        let read = self.file.file.read_at(buf, self.offset).map_err(self.file.fault("read"))?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Write for Cursor {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // Whole or not at all: the engine goes back to where it was after an error.
        self.file.file.write_all_at(buf, self.offset).map_err(self.file.fault("write"))?;
        self.offset += buf.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, delta) = match to {
            SeekFrom::Start(offset) => (offset, 0),
            SeekFrom::Current(delta) => (self.offset, delta),
            SeekFrom::End(delta) => (self.file.size()?, delta),
        };
        self.offset =
            base.checked_add_signed(delta).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_write_may_be_torn() {
        let batch = |length: u64, offset: u64, body: &[u8]| {
            [&(length << 8).to_be_bytes()[..], &offset.to_be_bytes(), body].concat()
        };
        let torn = batch(40, 20, &[1; 10]);
        let damaged = batch(40, 20, &[1; 24]);
        for (name, tail, ok) in [
            ("nothing", vec![], true),
            ("half a header", vec![0, 0, 9], true),
            ("reserved space", vec![0; 100], true),
            ("header block lost", [vec![0; 64], vec![7; 9]].concat(), true),
            ("torn header, reserved space", [&torn[..7], &[0; 64]].concat(), true),
            ("torn body", torn.clone(), true),
            ("torn body, reserved space", [torn, vec![0; 64]].concat(), true),
            ("damaged last", damaged.clone(), true),
            ("damaged, reserved space", [damaged.clone(), vec![0; 64]].concat(), true),
            ("damaged, more behind", [damaged.clone(), damaged].concat(), false),
            ("junk", vec![0xa5; 64], false),
        ] {
            assert_eq!(check_torn(&tail).is_ok(), ok, "{name}");
        }
    }
}
