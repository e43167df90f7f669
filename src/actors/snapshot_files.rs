//! Where the data of raft snapshots lies: made here to be streamed to a peer, or received from one to be installed.
//!
//! ```text
//! <data_dir>/raft/snapshots/<name>          whole: synced, then renamed to this
//!                           <name>.<n>.part being written; removed at the next start
//! ```
//!
//! The name is the manifest's, chosen by whoever made the data, the same on every server that has it. Without a data
//! directory the data lies in files without a name, among the system's temporary ones: not even a crash leaves them.
//!
//! At most [`KEPT`] are kept, the newest; one that is open goes with its last reader. The checksum in a manifest is
//! `sha256:` and the hash of all data in lower-case hex digits.
//!
//! All calls block. Memory is bounded by what the caller hands over.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::peers::{SnapshotData, SnapshotSink};
use crate::raft::Manifest;

#[cfg(test)]
mod tests;

/// Snapshots kept: the one being streamed or installed, and its successor.
pub const KEPT: usize = 2;
/// Snapshots received at once. More than one comes only while the group changes its leader.
const RECEIVED_AT_ONCE: usize = 2;
/// End of the name of what is not whole.
const PART: &str = ".part";
const MAX_NAME: usize = 128;
const WRITE_BUFFER: usize = 256 << 10;

/// Why data of a snapshot cannot be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFileError {
    /// The disk failed.
    #[error("cannot {doing} {place}: {source}; free space or repair the disk, then try again")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// File or directory.
        place: String,
        /// The system's answer.
        source: io::Error,
    },
    /// No data of that name: never here, or replaced by newer data.
    #[error("there is no snapshot data named {0:?}")]
    Missing(String),
    /// The name is none that this code gives.
    #[error("{0:?} is no name for snapshot data")]
    Name(String),
    /// Other data came than was announced.
    #[error("snapshot data {name:?} is not what was announced: {reason}")]
    Mismatch {
        /// Name in the manifest.
        name: String,
        /// What differs.
        reason: &'static str,
    },
    /// Too many are being received.
    #[error("another snapshot is being received")]
    Busy,
}

impl From<SnapshotFileError> for io::Error {
    fn from(error: SnapshotFileError) -> Self {
        let kind = match &error {
            SnapshotFileError::Io { source, .. } => source.kind(),
            SnapshotFileError::Missing(_) => io::ErrorKind::NotFound,
            SnapshotFileError::Name(_) => io::ErrorKind::InvalidInput,
            SnapshotFileError::Mismatch { .. } => io::ErrorKind::InvalidData,
            SnapshotFileError::Busy => io::ErrorKind::ResourceBusy,
        };
        Self::new(kind, error)
    }
}

/// A snapshot that is whole.
#[derive(Debug)]
struct Whole {
    name: String,
    /// Held open where the file has no name.
    file: Option<Arc<File>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Oldest first.
    whole: VecDeque<Whole>,
    /// Counts up, so that no two parts have one name.
    parts: u64,
    receiving: usize,
}

#[derive(Debug)]
struct Shared {
    /// None: files without names.
    directory: Option<PathBuf>,
    kept: Mutex<Kept>,
}

/// The data of this server's snapshots; clones share it.
#[derive(Debug, Clone)]
pub struct SnapshotFiles {
    shared: Arc<Shared>,
}

impl SnapshotFiles {
    /// Those in a directory, which is made once it is needed. Removes what a crash left half-written.
    ///
    /// # Errors
    /// [`SnapshotFileError::Io`].
    pub fn in_directory(directory: &Path) -> Result<Self, SnapshotFileError> {
        let files = Self::new(Some(directory.to_owned()));
        let failed = |doing| io_error(doing, directory);
        let listed = match fs::read_dir(directory) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            Err(error) => return Err(failed("read")(error)),
        };
        let mut found = Vec::new();
        for entry in listed {
            let entry = entry.map_err(failed("read"))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.ends_with(PART) {
                fs::remove_file(entry.path()).map_err(failed("clean"))?;
            } else if check_name(&name).is_ok() {
                let written = entry.metadata().and_then(|data| data.modified()).map_err(failed("read"))?;
                found.push((written, name));
            }
        }
        found.sort();
        {
            let mut kept = files.shared.kept.lock();
            kept.whole.extend(found.into_iter().map(|(_, name)| Whole { name, file: None }));
            files.prune(&mut kept);
        }
        Ok(files)
    }

    /// Those of a server without a data directory.
    pub fn unnamed() -> Self {
        Self::new(None)
    }

    fn new(directory: Option<PathBuf>) -> Self {
        Self { shared: Arc::new(Shared { directory, kept: Mutex::default() }) }
    }

    /// Begins to write a snapshot under a new name: letters, digits and `-`, unique among all servers.
    ///
    /// # Errors
    /// [`SnapshotFileError::Name`] or [`SnapshotFileError::Io`].
    pub fn begin(&self, name: &str) -> Result<SnapshotWriter, SnapshotFileError> {
        check_name(name)?;
        let (part, file) = self.create(name)?;
        Ok(SnapshotWriter {
            files: self.clone(),
            name: name.to_owned(),
            part,
            out: BufWriter::with_capacity(WRITE_BUFFER, file),
            hash: Sha256::new(),
            size: 0,
        })
    }

    /// Begins to receive the data a manifest announces. If it is here already it is replaced once the new is whole.
    ///
    /// # Errors
    /// [`SnapshotFileError::Busy`], [`SnapshotFileError::Name`] or [`SnapshotFileError::Io`].
    pub fn receive(&self, manifest: &Manifest) -> Result<SnapshotReceiver, SnapshotFileError> {
        let place = ReceiverPlace::take(self)?;
        let writer = self.begin(&manifest.data)?;
        Ok(SnapshotReceiver {
            writer,
            size: manifest.size,
            checksum: manifest.checksum.clone(),
            _place: place,
        })
    }

    /// Opens the data of this name for reading from its beginning. It stays readable while it is open, even if newer
    /// data takes its place.
    ///
    /// # Errors
    /// [`SnapshotFileError::Missing`] or [`SnapshotFileError::Io`].
    pub fn open(&self, name: &str) -> Result<SnapshotReader, SnapshotFileError> {
        let missing = || SnapshotFileError::Missing(name.to_owned());
        let kept = self.shared.kept.lock();
        let whole = kept.whole.iter().rev().find(|whole| whole.name == name).ok_or_else(missing)?;
        let file = match (&whole.file, &self.shared.directory) {
            (Some(file), _) => Arc::clone(file),
            (None, Some(directory)) => {
                let path = directory.join(name);
                Arc::new(File::open(&path).map_err(|error| {
                    if error.kind() == io::ErrorKind::NotFound {
                        missing()
                    } else {
                        io_error("open", &path)(error)
                    }
                })?)
            }
            (None, None) => return Err(missing()),
        };
        drop(kept);
        let size = file.metadata().map_err(io_error("read", Path::new(name)))?.len();
        Ok(SnapshotReader { file, at: 0, size })
    }

    /// Removes data that is of no more use.
    pub fn remove(&self, name: &str) {
        let mut kept = self.shared.kept.lock();
        let found = kept.whole.iter().position(|whole| whole.name == name);
        if let Some(old) = found.and_then(|at| kept.whole.remove(at)) {
            self.discard(&old);
        }
    }

    /// Names of what is here, oldest first.
    pub fn names(&self) -> Vec<String> {
        self.shared.kept.lock().whole.iter().map(|whole| whole.name.clone()).collect()
    }

    /// Makes the file of a part.
    fn create(&self, name: &str) -> Result<(Option<PathBuf>, File), SnapshotFileError> {
        let number = {
            let mut kept = self.shared.kept.lock();
            kept.parts += 1;
            kept.parts
        };
        let directory = match &self.shared.directory {
            Some(directory) => {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(directory)
                    .map_err(io_error("make", directory))?;
                directory.clone()
            }
            None => std::env::temp_dir(),
        };
        let mut path = directory.join(format!("{name}.{number}{PART}"));
        if self.shared.directory.is_none() {
            path = directory.join(format!("tribune-{}-{name}.{number}{PART}", std::process::id()));
        }
        let failed = || io_error("write", &path);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed())?;
        if self.shared.directory.is_some() {
            return Ok((Some(path), file));
        }
        fs::remove_file(&path).map_err(failed())?;
        Ok((None, file))
    }

    /// Takes up what is whole.
    fn keep(&self, whole: Whole) {
        let mut kept = self.shared.kept.lock();
        kept.whole.retain(|old| old.name != whole.name);
        kept.whole.push_back(whole);
        self.prune(&mut kept);
    }

    fn prune(&self, kept: &mut Kept) {
        while kept.whole.len() > KEPT {
            if let Some(old) = kept.whole.pop_front() {
                self.discard(&old);
            }
        }
    }

    /// A file without a name goes with its last reader by itself.
    fn discard(&self, old: &Whole) {
        if let Some(directory) = &self.shared.directory
            && let Err(error) = fs::remove_file(directory.join(&old.name))
        {
            tracing::warn!(snapshot = old.name, error = %error, "cannot remove the data of an old snapshot");
        }
    }
}

/// One of the places for receivers.
struct ReceiverPlace(SnapshotFiles);

impl ReceiverPlace {
    fn take(files: &SnapshotFiles) -> Result<Self, SnapshotFileError> {
        let mut kept = files.shared.kept.lock();
        if kept.receiving >= RECEIVED_AT_ONCE {
            return Err(SnapshotFileError::Busy);
        }
        kept.receiving += 1;
        Ok(Self(files.clone()))
    }
}

impl Drop for ReceiverPlace {
    fn drop(&mut self) {
        self.0.shared.kept.lock().receiving -= 1;
    }
}

/// A snapshot being written. Dropped before it is finished it leaves nothing behind.
pub struct SnapshotWriter {
    files: SnapshotFiles,
    name: String,
    /// Where it lies until it is whole; none for a file without a name.
    part: Option<PathBuf>,
    out: BufWriter<File>,
    hash: Sha256,
    size: u64,
}

impl SnapshotWriter {
    /// Bytes written so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Makes it durable and gives it its name; answers the manifest of state at `index`. Term and members are the raft
    /// node's to fill in.
    ///
    /// # Errors
    /// [`SnapshotFileError::Io`]; nothing is kept then.
    pub fn finish(self, index: u64) -> Result<Manifest, SnapshotFileError> {
        let (data, size, checksum) = (self.name.clone(), self.size, checksum(&self.hash));
        self.keep()?;
        Ok(Manifest { index, data, size, checksum, ..Manifest::default() })
    }

    fn keep(mut self) -> Result<(), SnapshotFileError> {
        let failed = |doing| io_error(doing, self.part.as_deref().unwrap_or(Path::new("a temporary file")));
        self.out.flush().map_err(failed("write"))?;
        let file = self.out.get_ref();
        let name = self.name.clone();
        let whole = if let (Some(part), Some(directory)) = (&self.part, &self.files.shared.directory) {
            file.sync_all().map_err(failed("sync"))?;
            fs::rename(part, directory.join(&name)).map_err(failed("rename"))?;
            // The name is there for sure once its directory is synced, and the directory once its parent is.
            for directory in [Some(directory.as_path()), directory.parent()].into_iter().flatten() {
                File::open(directory)
                    .and_then(|directory| directory.sync_all())
                    .map_err(io_error("sync", directory))?;
            }
            Whole { name, file: None }
        } else {
            let file = file.try_clone().map_err(failed("keep"))?;
            Whole { name, file: Some(Arc::new(file)) }
        };
        self.part = None;
        self.files.keep(whole);
        Ok(())
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if let Some(part) = self.part.take() {
            // What stays is removed at the next start.
            let _ = fs::remove_file(part);
        }
    }
}

/// A snapshot being received. Dropped before it is finished it leaves nothing behind.
pub struct SnapshotReceiver {
    writer: SnapshotWriter,
    size: u64,
    checksum: String,
    _place: ReceiverPlace,
}

impl SnapshotReceiver {
    /// Takes the next piece.
    ///
    /// # Errors
    /// [`SnapshotFileError::Mismatch`] for more than was announced, or [`SnapshotFileError::Io`].
    pub fn write(&mut self, piece: &[u8]) -> Result<(), SnapshotFileError> {
        if self.writer.size + piece.len() as u64 > self.size {
            return Err(self.mismatch("it is larger"));
        }
        let name = self.writer.name.clone();
        self.writer.write_all(piece).map_err(io_error("write", Path::new(&name)))
    }

    /// It is all there: checks size and checksum and keeps it, durably.
    ///
    /// # Errors
    /// [`SnapshotFileError::Mismatch`] or [`SnapshotFileError::Io`]; nothing is kept then.
    pub fn finish(self) -> Result<(), SnapshotFileError> {
        if self.writer.size != self.size {
            return Err(self.mismatch("it is smaller"));
        }
        if checksum(&self.writer.hash) != self.checksum {
            return Err(self.mismatch("its checksum is another"));
        }
        self.writer.keep()
    }

    fn mismatch(&self, reason: &'static str) -> SnapshotFileError {
        SnapshotFileError::Mismatch { name: self.writer.name.clone(), reason }
    }
}

/// The data of a snapshot, read from its beginning.
#[derive(Debug)]
pub struct SnapshotReader {
    file: Arc<File>,
    at: u64,
    size: u64,
}

impl SnapshotReader {
    /// Bytes in all.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl SnapshotData for SnapshotFiles {
    fn open(&self, manifest: &Manifest) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Self::open(self, &manifest.data)?))
    }

    fn receive(&self, manifest: &Manifest) -> io::Result<Box<dyn SnapshotSink>> {
        Ok(Box::new(Self::receive(self, manifest)?))
    }
}

impl SnapshotSink for SnapshotReceiver {
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        Ok(Self::write(self, piece)?)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(Self::finish(*self)?)
    }
}

fn checksum(hash: &Sha256) -> String {
    use std::fmt::Write as _;
    let digest = hash.clone().finalize();
    digest.iter().fold(String::from("sha256:"), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Names come from peers, too: they must never lead out of the directory.
fn check_name(name: &str) -> Result<(), SnapshotFileError> {
    let fine = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if fine { Ok(()) } else { Err(SnapshotFileError::Name(name.to_owned())) }
}

fn io_error(doing: &'static str, place: &Path) -> impl FnOnce(io::Error) -> SnapshotFileError + use<> {
    let place = place.display().to_string();
    move |source| SnapshotFileError::Io { doing, place, source }
}
