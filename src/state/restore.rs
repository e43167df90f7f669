//! Restoring an archive: how it comes in through the log, and how it replaces the state.
//!
//! Every server must replace its state at the same log index, so the archive travels in commands: pieces first, each
//! kept in a table nobody reads ([`chunk`]), then one that puts them together and replaces all tables in one atomic
//! write ([`finish`]). One restore is under way at a time; one that goes on no more gives way after [`GIVES_WAY_MS`].
//!
//! Records keep the indexes they have in the archive, as Consul's do, and indexes of tables may go back. What comes
//! after a restore must have higher ones than all of them, so the state's index runs ahead of the log's if the archive
//! holds indexes the log has not reached ([`View::index`], [`View::applied`]).
//!
//! All of it is a function of the log: the pieces, their order, the leader's clock in the commands.

use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::StateError;
use super::archive::{ArchiveError, ArchiveReader, ArchiveRecord, IndexKey, RecordKind};
use super::command::{Outcome, RestoreChunk, RestoreFinish};
use super::kv::KvRow;
use super::rows::{self, RowKey};
use super::store::{Change, ReadStore, Table};
use super::view::{NodeEntry, View, fold};
use super::writer::{Abort, Writer, refuse};

/// Bytes of an archive in one command.
pub const CHUNK_BYTES: usize = 1 << 20;
/// A restore of which nothing came for so many milliseconds gives way to another one and is forgotten.
pub const GIVES_WAY_MS: u64 = 60_000;

/// A restore whose pieces are coming in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnderWay {
    /// Its id, chosen by whoever restores.
    pub id: Arc<str>,
    /// Pieces so far.
    pub chunks: u32,
    /// Leader's clock at the last one, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

impl UnderWay {
    fn gives_way(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.at_ms) >= GIVES_WAY_MS
    }
}

const NOT_UNDER_WAY: &str =
    "failed to restore snapshot: this restore is not under way any more; restore again";

fn chunk_key(number: u32) -> Vec<u8> {
    [&b"chunk/"[..], &number.to_be_bytes()].concat()
}

/// Keeps a piece. Piece 0 begins a restore.
pub(super) fn chunk(writer: &mut Writer<'_>, command: &RestoreChunk) -> Result<Outcome, Abort> {
    let now_ms = writer.now_ms;
    let so_far = match writer.view.restore.clone() {
        Some(under_way) if under_way.id == command.id => under_way.chunks,
        Some(other) if command.number == 0 && !other.gives_way(now_ms) => {
            return refuse("failed to restore snapshot: another restore is under way, try again later");
        }
        _ if command.number > 0 => return refuse(NOT_UNDER_WAY),
        _ => {
            forget(writer);
            0
        }
    };
    if command.number != so_far {
        return refuse(NOT_UNDER_WAY);
    }
    writer.change(Change::Put(Table::Restore, chunk_key(command.number), command.data.to_vec()));
    let under_way = UnderWay { id: command.id.clone(), chunks: so_far + 1, at_ms: now_ms };
    writer.view.restore = Some(Arc::new(under_way));
    writer.mark(RowKey::Restore);
    Ok(Outcome::Done)
}

/// Gives a restore up.
pub(super) fn abort(writer: &mut Writer<'_>, id: &str) -> Outcome {
    if writer.view.restore.as_ref().is_some_and(|under_way| &*under_way.id == id) {
        forget(writer);
    }
    Outcome::Done
}

/// Forgets a restore that goes on no more.
pub(super) fn forget_stale(writer: &mut Writer<'_>) {
    if writer.view.restore.as_ref().is_some_and(|under_way| under_way.gives_way(writer.now_ms)) {
        forget(writer);
    }
}

fn forget(writer: &mut Writer<'_>) {
    if let Some(under_way) = writer.view.restore.take() {
        for number in 0..under_way.chunks {
            writer.change(Change::Delete(Table::Restore, chunk_key(number)));
        }
        writer.mark(RowKey::Restore);
    }
}

/// What became of the last command of a restore.
pub(super) enum Finish {
    /// The state to write, all of it, and to publish.
    Replaced(Box<View>, Vec<Change>),
    /// The archive cannot be restored; the state stays.
    Refused(String),
}

/// Puts the pieces together and builds the state of the archive in them, as of log index `index`. Needs memory for
/// all of it: what is to be one atomic write must be whole.
///
/// # Errors
/// [`StateError`]: the server must stop.
pub(super) fn finish(
    store: &dyn ReadStore,
    view: &View,
    index: u64,
    command: &RestoreFinish,
) -> Result<Finish, StateError> {
    let Some(under_way) = &view.restore else { return Ok(Finish::Refused(NOT_UNDER_WAY.into())) };
    if under_way.id != command.id || under_way.chunks != command.chunks {
        return Ok(Finish::Refused(NOT_UNDER_WAY.into()));
    }
    let failure = RefCell::new(None);
    let rebuilt = rebuild(Chunks::new(store, command.chunks, &failure), command);
    // A store that fails looks to the reader like an archive that ends.
    if let Some(failure) = failure.into_inner() {
        return Err(failure);
    }
    let (rebuilt, last_index) = match rebuilt {
        Ok(rebuilt) => rebuilt,
        Err(ArchiveError::State(error)) => return Err(error),
        Err(error) => return Ok(Finish::Refused(error.to_string())),
    };
    let highest = rebuilt.highest.max(last_index);
    let mut next = match rebuilt.into_view() {
        Ok(next) => next,
        Err(text) => return Ok(Finish::Refused(text)),
    };
    let ahead = (view.index - view.applied).max((highest + 1).saturating_sub(index));
    next.0.applied = index;
    next.0.index = index + ahead;
    next.0.restored = index;
    let changes = replace_all(store, &next.0, next.1)?;
    Ok(Finish::Replaced(Box::new(next.0), changes))
}

/// The whole state as one batch: everything out, everything in.
fn replace_all(store: &dyn ReadStore, view: &View, puts: Vec<Change>) -> Result<Vec<Change>, StateError> {
    let mut changes = rows::clear_meta(store)?;
    changes.extend(Table::ALL.into_iter().filter(|table| *table != Table::Meta).map(Change::Clear));
    changes.extend(puts);
    for row in rows::all(view) {
        changes.push(rows::change(view, &row)?);
    }
    changes.push(rows::meta_change(view)?);
    Ok(changes)
}

fn rebuild(mut chunks: Chunks<'_>, command: &RestoreFinish) -> Result<(Rebuilt, u64), ArchiveError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = chunks.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    if hash.finalize()[..] != command.sha256[..] {
        return Err(ArchiveError::File("it did not arrive as it was sent".into()));
    }
    let mut archive = ArchiveReader::open(chunks)?;
    archive.refuse_all_but(&RecordKind::STORED)?;
    let mut rebuilt = Rebuilt::default();
    archive.for_each(|record| {
        rebuilt.take(record);
        Ok::<(), ArchiveError>(())
    })?;
    Ok((rebuilt, archive.meta().index))
}

/// A state in the making.
#[derive(Default)]
struct Rebuilt {
    view: View,
    puts: Vec<Change>,
    /// (session, key) of what is locked.
    held: Vec<(Arc<str>, Bytes)>,
    /// Set last: they may stand before what they are the indexes of.
    indexes: Vec<(IndexKey, u64)>,
    /// Highest index of any record.
    highest: u64,
    /// Why it cannot be.
    refused: Option<String>,
}

impl Rebuilt {
    fn saw(&mut self, index: u64) {
        self.highest = self.highest.max(index);
    }

    fn take(&mut self, record: ArchiveRecord) {
        match record {
            ArchiveRecord::Node(node) => {
                self.saw(node.indexes.modify_index);
                let name = fold(&node.node);
                self.view.index_node(&name, &node);
                let entry = NodeEntry {
                    node: Arc::new(node),
                    services: imbl::OrdMap::new(),
                    checks: imbl::OrdMap::new(),
                };
                self.view.nodes.insert(name, Arc::new(entry));
            }
            ArchiveRecord::Service { node, service } => {
                self.saw(service.indexes.modify_index);
                let id = service.id.clone();
                if !self.view.attach_service(&fold(&node), Arc::new(*service)) {
                    self.orphan("service", &id, &node);
                }
            }
            ArchiveRecord::Check(check) => {
                self.saw(check.indexes.modify_index);
                match self.view.nodes.get_mut(&fold(&check.node)) {
                    Some(entry) => {
                        Arc::make_mut(entry).checks.insert(fold(&check.check_id), Arc::new(*check));
                    }
                    None => self.orphan("check", &check.check_id, &check.node),
                }
            }
            ArchiveRecord::Coordinate(coordinate) => {
                let key = (fold(&coordinate.node), Arc::from(coordinate.segment.as_str()));
                self.view.coordinates.insert(key, Arc::new(coordinate));
            }
            ArchiveRecord::Session(session) => {
                self.saw(session.indexes.modify_index);
                self.view.index_session(&Arc::new(session));
            }
            ArchiveRecord::Kv(entry) => {
                self.saw(entry.indexes.modify_index);
                self.puts.push(Change::Put(Table::Kvs, entry.key.to_vec(), KvRow::from(&entry).encode()));
                self.held.extend(entry.session.map(|session| (session, entry.key)));
            }
            ArchiveRecord::Tombstone { key, index } => {
                self.saw(index);
                let row = index.to_le_bytes().to_vec();
                self.puts.push(Change::Put(Table::Tombstones, key.to_vec(), row));
            }
            ArchiveRecord::Index { key, index } => {
                self.saw(index);
                self.indexes.push((key, index));
            }
            ArchiveRecord::LockDelay { key, until_ms } => {
                self.view.lock_delays.insert(key, until_ms);
            }
            ArchiveRecord::Autopilot(config) => {
                self.saw(config.indexes.modify_index);
                self.view.autopilot = Some(Arc::new(config));
            }
            // Refused before, or of no use.
            ArchiveRecord::Other { .. } => {}
        }
    }

    fn orphan(&mut self, what: &str, id: &str, node: &str) {
        self.refused.get_or_insert_with(|| {
            format!("failed to restore snapshot: {what} {id:?} is on node {node:?}, which is missing")
        });
    }

    /// The view and the rows that are not in it.
    fn into_view(self) -> Result<(View, Vec<Change>), String> {
        let Self { mut view, puts, held, indexes, refused, .. } = self;
        if let Some(text) = refused {
            return Err(text);
        }
        for (session, key) in held {
            if view.sessions.contains_key(&session) {
                view.locks.entry(session).or_default().insert(key);
            }
        }
        for (key, index) in indexes {
            match key {
                IndexKey::Nodes => view.indexes.nodes = index,
                IndexKey::Services => view.indexes.services = index,
                IndexKey::Checks => view.indexes.checks = index,
                IndexKey::Kvs => view.indexes.kvs = index,
                IndexKey::Tombstones => view.indexes.tombstones = index,
                IndexKey::Sessions => view.indexes.sessions = index,
                IndexKey::Coordinates => view.indexes.coordinates = index,
                IndexKey::ServiceExtinction => view.indexes.service_extinction = index,
                IndexKey::Service(name) => view.set_service_index(&fold(&name), index),
                IndexKey::Other(_) => {}
            }
        }
        Ok((view, puts))
    }
}

/// The pieces in the store, one after the other.
struct Chunks<'a> {
    store: &'a dyn ReadStore,
    count: u32,
    /// Number of the next piece.
    next: u32,
    piece: Vec<u8>,
    /// Read of `piece`.
    at: usize,
    failure: &'a RefCell<Option<StateError>>,
}

impl<'a> Chunks<'a> {
    fn new(store: &'a dyn ReadStore, count: u32, failure: &'a RefCell<Option<StateError>>) -> Self {
        Self { store, count, next: 0, piece: Vec::new(), at: 0, failure }
    }

    fn fetch(&mut self) -> Result<(), StateError> {
        self.piece.clear();
        self.at = 0;
        let key = chunk_key(self.next);
        let piece = &mut self.piece;
        if !self.store.get(Table::Restore, &key, &mut |row| piece.extend_from_slice(row))? {
            return Err(StateError::Corrupt {
                table: Table::Restore.name(),
                key: key.escape_ascii().to_string(),
                reason: "a piece of the archive is missing".into(),
            });
        }
        self.next += 1;
        Ok(())
    }
}

impl Read for Chunks<'_> {
    /// Fills all of `into` if there is so much: how the archive was cut must not show.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            if self.at == self.piece.len() {
                if self.next == self.count {
                    break;
                }
                if let Err(error) = self.fetch() {
                    let text = error.to_string();
                    *self.failure.borrow_mut() = Some(error);
                    return Err(io::Error::other(text));
                }
                continue;
            }
            let rest = &self.piece[self.at..];
            let read = rest.len().min(into.len() - filled);
            into[filled..filled + read].copy_from_slice(&rest[..read]);
            self.at += read;
            filled += read;
        }
        Ok(filled)
    }
}

impl Seek for Chunks<'_> {
    /// To the beginning only.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if to != SeekFrom::Start(0) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.next = 0;
        self.piece.clear();
        self.at = 0;
        Ok(0)
    }
}
