//! The file in which a pool remembers its members, `serf/local.snapshot` or `serf/remote.snapshot`.
//!
//! Lines are the core's. They are written by a thread of the runtime's pool, one write at a time, so that a slow disk
//! does not hold up gossip; what waits meanwhile is bounded. Nothing in it is precious: it tells whom to ask first after
//! a restart.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::warn;

use crate::gossip::serf::{Member, Status};

/// Bytes that may wait for the disk.
const WAITING: usize = 1 << 20;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub struct SnapshotError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Replaces everything that is in the file.
    whole: bool,
    writing: bool,
}

/// The file of one pool.
pub struct SnapshotFile {
    path: PathBuf,
    waiting: Mutex<Waiting>,
    disk: Mutex<Option<File>>,
}

impl SnapshotFile {
    /// Opens or makes the file, and reads what an earlier life left in it.
    ///
    /// # Errors
    /// [`SnapshotError`] names the file.
    pub fn open(path: &Path) -> Result<(Self, Vec<u8>), SnapshotError> {
        let wrong = |doing| move |source| SnapshotError { doing, path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            let mut builder = fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(wrong("create the directory of"))?;
        }
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(wrong("read")(error)),
        };
        let file = append(path).map_err(wrong("open"))?;
        let disk = Mutex::new(Some(file));
        Ok((Self { path: path.to_owned(), waiting: Mutex::default(), disk }, content))
    }

    /// Adds lines, or replaces all of them; they are written soon. Must be called within a runtime.
    pub fn append(self: &Arc<Self>, lines: &[u8], anew: bool) {
        let mut waiting = self.waiting.lock();
        if anew {
            waiting.lines.clear();
            waiting.whole = true;
        } else if waiting.lines.len() + lines.len() > WAITING {
            // The disk stands still. What is lost is made good when the file is next written whole.
            return;
        }
        waiting.lines.extend_from_slice(lines);
        if !waiting.writing {
            waiting.writing = true;
            let file = Arc::clone(self);
            tokio::task::spawn_blocking(move || file.write_waiting());
        }
    }

    /// Writes what waits, now.
    pub fn flush(&self) {
        self.write_waiting();
    }

    fn write_waiting(&self) {
        loop {
            // Taken in the order of the locks, so that lines stay in order.
            let mut disk = self.disk.lock();
            let (lines, whole) = {
                let mut waiting = self.waiting.lock();
                if waiting.lines.is_empty() && !waiting.whole {
                    waiting.writing = false;
                    return;
                }
                (std::mem::take(&mut waiting.lines), std::mem::take(&mut waiting.whole))
            };
            if let Err(error) = self.write(&mut disk, &lines, whole) {
                warn!(target: "agent", path = %self.path.display(), %error, "cannot write the snapshot of gossip");
            }
        }
    }

    fn write(&self, disk: &mut Option<File>, lines: &[u8], whole: bool) -> io::Result<()> {
        if whole {
            let temporary = self.path.with_extension("snapshot.compact");
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&temporary)?;
            file.write_all(lines)?;
            fs::rename(&temporary, &self.path)?;
            *disk = None;
        }
        let file = match disk {
            Some(file) => file,
            None => disk.insert(append(&self.path)?),
        };
        if whole { Ok(()) } else { file.write_all(lines) }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o644).open(path)
}

/// What is to be remembered of these members, as the lines of a snapshot.
pub(super) fn lines_of(members: &[Arc<Member>], clocks: (u64, u64, u64)) -> Vec<u8> {
    let mut lines = Vec::new();
    for member in members.iter().filter(|member| member.status == Status::Alive) {
        // Writing to memory cannot fail.
        let _ = writeln!(lines, "alive: {} {}", member.name, member.addr);
    }
    let (member, event, query) = clocks;
    let _ = write!(lines, "clock: {member}\nevent-clock: {event}\nquery-clock: {query}\n");
    lines
}
