//! The state as one stream: how a server that lags too far behind, or is new, gets all of it at once.
//!
//! It carries rows as they lie in the store, so it is as fast as the disk and knows no record type.
//! It is for servers of one build family among each other; what users save and restore is Consul's
//! archive, which is not written here.
//!
//! ```text
//! "TRIBSNAP"  version u32  applied index u64
//! frame:      length u32 (of what follows, never 0)  table u8  rows
//!   row:      key length u32  key  value length u32  value
//! end:        0 u32  number of rows u64  SHA-256 of everything before these 32 bytes
//! ```
//! Numbers are big endian. Every frame is one batch for the store that receives it.
//!
//! Installing replaces all there is. It begins by writing a mark next to which no state may be
//! opened and ends by removing it in the batch that brings the applied index: a crash or a damaged
//! stream in between leaves a store that says so.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;

use sha2::{Digest, Sha256};

use super::store::{Change, ReadStore, Table, WriteStore};
use super::{StateError, rows};

const MAGIC: [u8; 8] = *b"TRIBSNAP";
const VERSION: u32 = 1;
/// A frame is closed once it is this large.
const FRAME_BYTES: usize = 256 << 10;
/// No frame is larger: one row more than [`FRAME_BYTES`], and no row comes near this.
const MAX_FRAME_BYTES: u32 = 256 << 20;

/// Why a snapshot cannot be written, read or installed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The stream could not be read or written.
    #[error("snapshot stream: {0}")]
    Io(#[source] io::Error),
    /// The stream does not begin as a snapshot does.
    #[error("this is not a snapshot of the state")]
    NotASnapshot,
    /// Written by a build this one does not understand.
    #[error("snapshot has version {0}, this build reads {VERSION}")]
    Version(u32),
    /// The stream ends before the snapshot does.
    #[error("snapshot is cut off")]
    Truncated,
    /// The stream holds something no snapshot holds, or its checksum is wrong.
    #[error("snapshot is damaged: {0}")]
    Damaged(&'static str),
    /// The store could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<io::Error> for SnapshotError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(error) }
    }
}

/// The number of a table in the stream. Numbers are never used again.
const fn code(table: Table) -> u8 {
    match table {
        Table::Meta => 1,
        Table::Kvs => 2,
        Table::Tombstones => 3,
        Table::Nodes => 4,
        Table::Services => 5,
        Table::Checks => 6,
        Table::Sessions => 7,
        Table::Locks => 8,
        Table::LockDelays => 9,
        Table::Coordinates => 10,
        Table::Restore => 11,
    }
}

fn table_of(wanted: u8) -> Result<Table, SnapshotError> {
    let found = Table::ALL.into_iter().find(|table| code(*table) == wanted);
    found.ok_or(SnapshotError::Damaged("unknown table"))
}

/// Writes all tables of a store, which must stand still meanwhile
/// ([`super::store::SharedStore::freeze`]); answers the applied index.
///
/// # Errors
/// [`SnapshotError::Io`] if the stream fails, [`SnapshotError::State`] if the store does or holds a
/// half-installed snapshot.
pub fn write(store: &dyn ReadStore, to: impl Write) -> Result<u64, SnapshotError> {
    let index = rows::applied_index(store)?;
    let mut out = HashWriter { to, hash: Sha256::new() };
    out.write_all(&MAGIC)?;
    out.write_all(&VERSION.to_be_bytes())?;
    out.write_all(&index.to_be_bytes())?;
    let mut count: u64 = 0;
    let mut frame = Vec::with_capacity(FRAME_BYTES + FRAME_BYTES / 4);
    for table in Table::ALL {
        let mut outcome = Ok(());
        store.scan(table, b"", &mut |key, row| {
            if frame.is_empty() {
                frame.push(code(table));
            }
            outcome = push(&mut frame, key).and_then(|()| push(&mut frame, row));
            count += 1;
            if outcome.is_ok() && frame.len() >= FRAME_BYTES {
                outcome = out.frame(&mut frame);
            }
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome?;
        if !frame.is_empty() {
            out.frame(&mut frame)?;
        }
    }
    out.write_all(&[0; 4])?;
    out.write_all(&count.to_be_bytes())?;
    let HashWriter { mut to, hash } = out;
    to.write_all(&hash.finalize())?;
    to.flush()?;
    Ok(index)
}

fn push(frame: &mut Vec<u8>, bytes: &[u8]) -> Result<(), SnapshotError> {
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length < MAX_FRAME_BYTES / 4);
    let length = length.ok_or(SnapshotError::Damaged("a row is larger than a snapshot can carry"))?;
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(bytes);
    Ok(())
}

/// Passes bytes on and remembers their checksum.
struct HashWriter<W> {
    to: W,
    hash: Sha256,
}

impl<W: Write> HashWriter<W> {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.hash.update(bytes);
        self.to.write_all(bytes).map_err(SnapshotError::Io)
    }

    /// Writes a frame and empties it.
    fn frame(&mut self, frame: &mut Vec<u8>) -> Result<(), SnapshotError> {
        let length = u32::try_from(frame.len()).map_err(|_| SnapshotError::Damaged("frame too large"))?;
        self.write_all(&length.to_be_bytes())?;
        self.write_all(frame)?;
        frame.clear();
        Ok(())
    }
}

/// A snapshot being read. What it hands out is to be believed only once [`Reader::next_frame`] has
/// answered that there is no more: the checksum comes last.
pub struct Reader<R> {
    from: R,
    hash: Sha256,
    index: u64,
    frame: Vec<u8>,
    count: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// [`SnapshotError::NotASnapshot`], [`SnapshotError::Version`], [`SnapshotError::Truncated`] or
    /// [`SnapshotError::Io`].
    pub fn open(from: R) -> Result<Self, SnapshotError> {
        let mut reader = Self { from, hash: Sha256::new(), index: 0, frame: Vec::new(), count: 0 };
        if reader.array()? != MAGIC {
            return Err(SnapshotError::NotASnapshot);
        }
        let version = u32::from_be_bytes(reader.array()?);
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        reader.index = u64::from_be_bytes(reader.array()?);
        Ok(reader)
    }

    /// Applied index of the state inside.
    pub fn index(&self) -> u64 {
        self.index
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        self.hash.update(bytes);
        Ok(bytes)
    }

    /// Reads the next frame and hands its rows to `visit`; false after the last, checksum proven.
    ///
    /// # Errors
    /// [`SnapshotError::Truncated`], [`SnapshotError::Damaged`] or [`SnapshotError::Io`].
    pub fn next_frame(&mut self, mut visit: impl FnMut(Table, &[u8], &[u8])) -> Result<bool, SnapshotError> {
        let length = u32::from_be_bytes(self.array()?);
        if length == 0 {
            return self.end().map(|()| false);
        }
        if length > MAX_FRAME_BYTES {
            return Err(SnapshotError::Damaged("frame too large"));
        }
        // Grows with what really arrives, so a wrong length costs nothing.
        self.frame.clear();
        let read = (&mut self.from).take(u64::from(length)).read_to_end(&mut self.frame)?;
        if read < length as usize {
            return Err(SnapshotError::Truncated);
        }
        self.hash.update(&self.frame);
        let (table, mut rest) = self.frame.split_first().ok_or(SnapshotError::Truncated)?;
        let table = table_of(*table)?;
        while !rest.is_empty() {
            let (key, after_key) = cut(rest)?;
            let (row, after_row) = cut(after_key)?;
            visit(table, key, row);
            self.count += 1;
            rest = after_row;
        }
        Ok(true)
    }

    fn end(&mut self) -> Result<(), SnapshotError> {
        let count = u64::from_be_bytes(self.array()?);
        let want = self.hash.clone().finalize();
        let mut found = [0; 32];
        self.from.read_exact(&mut found)?;
        if found != want[..] {
            return Err(SnapshotError::Damaged("its checksum is wrong"));
        }
        if count != self.count {
            return Err(SnapshotError::Damaged("rows are missing"));
        }
        Ok(())
    }
}

/// A piece and what comes after it.
type Cut<'a> = (&'a [u8], &'a [u8]);

/// Cuts a piece with its length in front off.
fn cut(bytes: &[u8]) -> Result<Cut<'_>, SnapshotError> {
    let damaged = SnapshotError::Damaged("a row is cut off");
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Err(damaged) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    rest.split_at_checked(length).ok_or(damaged)
}

/// Index of the snapshot whose installation into a store was begun and not ended, if so.
///
/// # Errors
/// [`StateError::Store`] or [`StateError::Corrupt`].
pub fn half_installed(store: &dyn ReadStore) -> Result<Option<u64>, StateError> {
    match rows::applied_index(store) {
        Ok(_) => Ok(None),
        Err(StateError::HalfInstalled { index }) => Ok(Some(index)),
        Err(error) => Err(error),
    }
}

/// Reads a snapshot through without keeping anything; answers its applied index. Worth it before
/// [`install`] wherever the stream can be read twice: a damaged one then costs nothing.
///
/// # Errors
/// Whatever is wrong with it.
pub fn verify(from: impl Read) -> Result<u64, SnapshotError> {
    let mut reader = Reader::open(from)?;
    while reader.next_frame(|_, _, _| ())? {}
    Ok(reader.index())
}

/// Replaces everything in a store by a snapshot and makes it durable. Nobody may read the store
/// meanwhile; a running state goes through [`super::StateMachine::install`].
///
/// # Errors
/// Whatever is wrong with the stream, or [`SnapshotError::State`]. The store is then marked as
/// half-installed: opening a state on it fails until an install succeeds.
pub fn install<R: Read>(store: &dyn WriteStore, mut from: Reader<R>) -> Result<(), SnapshotError> {
    store.write(&rows::begin_install(from.index()))?;
    store.make_durable()?;
    for table in Table::ALL {
        if table == Table::Meta {
            store.write(&rows::clear_meta(store)?)?;
        } else {
            store.clear(table)?;
        }
    }
    // The row with the applied index waits for the last batch.
    let mut applied = Vec::new();
    loop {
        let mut changes = Vec::new();
        let more = from.next_frame(|table, key, row| {
            let change = Change::Put(table, key.to_vec(), row.to_vec());
            if rows::is_applied_row(table, key) { applied.push(change) } else { changes.push(change) }
        })?;
        if !more {
            break;
        }
        store.write(&changes)?;
    }
    applied.push(rows::end_install());
    store.write(&applied)?;
    store.make_durable()?;
    if rows::applied_index(store)? != from.index() {
        store.write(&rows::begin_install(from.index()))?;
        return Err(SnapshotError::Damaged("its head and its rows disagree about the index"));
    }
    Ok(())
}
