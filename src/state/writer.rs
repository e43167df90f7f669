//! One batch being applied: the working copy of the view, the changed keys over the store, what
//! was touched, and savepoints to take back a command that fails half-way.
//!
//! Nothing here is visible to readers until the machine has written the batch and published it.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use super::StateError;
use super::kv::KvRow;
use super::record::{Indexes, KvEntry, Session};
use super::rows::{self, RowKey};
use super::store::{Change, ReadStore, Table};
use super::view::View;
use super::watch::{Topic, Touched};

/// Something the rest of the agent acts upon, in the order it happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A session was created; its time to live starts.
    SessionCreated(Arc<Session>),
    /// A session ended, for whatever reason; its timers are void.
    SessionEnded(Arc<str>),
    /// The whole state was replaced: whoever follows it begins anew.
    Replaced,
}

/// Why a command is taken back.
#[derive(Debug)]
pub enum Abort {
    /// The rules say no; the text goes to the caller and the state stays as it was.
    Refused(String),
    /// The store failed; the server must stop.
    Failed(StateError),
}

impl From<StateError> for Abort {
    fn from(error: StateError) -> Self {
        Self::Failed(error)
    }
}

/// Shorthand for a refusal.
pub fn refuse<T>(text: impl Into<String>) -> Result<T, Abort> {
    Err(Abort::Refused(text.into()))
}

/// The working copy of a batch.
pub struct Writer<'a> {
    store: &'a dyn ReadStore,
    /// Working copy of the view.
    pub view: View,
    keys: OrdMap<Bytes, Option<Arc<KvEntry>>>,
    tombstones: OrdMap<Bytes, Option<u64>>,
    dirty: BTreeSet<RowKey>,
    touched: Touched,
    events: Vec<Event>,
    /// Changes of rows that are in no view.
    unseen: Vec<Change>,
    /// Index of the command being applied, as records carry it.
    pub index: u64,
    /// Log index of the command being applied.
    pub log_index: u64,
    /// Leader's clock of the command being applied.
    pub now_ms: u64,
}

/// A point to return to.
pub struct Savepoint {
    view: View,
    keys: OrdMap<Bytes, Option<Arc<KvEntry>>>,
    tombstones: OrdMap<Bytes, Option<u64>>,
    touched: usize,
    events: usize,
}

/// What a finished batch leaves to do.
pub struct Finished {
    /// The view to publish.
    pub view: View,
    /// What to write.
    pub changes: Vec<Change>,
    /// Whom to wake.
    pub touched: Touched,
    /// What happened.
    pub events: Vec<Event>,
}

impl<'a> Writer<'a> {
    /// Starts from the published view.
    pub fn new(store: &'a dyn ReadStore, view: View) -> Self {
        Self {
            store,
            index: view.index,
            log_index: view.applied,
            view,
            unseen: Vec::new(),
            keys: OrdMap::new(),
            tombstones: OrdMap::new(),
            dirty: BTreeSet::new(),
            touched: Vec::new(),
            events: Vec::new(),
            now_ms: 0,
        }
    }

    /// Remembers where things stand. Cheap: everything is structurally shared.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint {
            view: self.view.clone(),
            keys: self.keys.clone(),
            tombstones: self.tombstones.clone(),
            touched: self.touched.len(),
            events: self.events.len(),
        }
    }

    /// Takes everything since the savepoint back. Rows marked dirty stay marked: they are written
    /// from the view, which is the old one again.
    pub fn rollback(&mut self, savepoint: Savepoint) {
        self.view = savepoint.view;
        self.keys = savepoint.keys;
        self.tombstones = savepoint.tombstones;
        self.touched.truncate(savepoint.touched);
        self.events.truncate(savepoint.events);
    }

    /// Turns the batch into changes for the store.
    ///
    /// # Errors
    /// [`StateError::Encode`] if a row cannot be encoded.
    pub fn finish(mut self) -> Result<Finished, StateError> {
        self.view.index = self.index;
        self.view.applied = self.log_index;
        let mut changes = self.unseen;
        changes.reserve(self.keys.len() + self.tombstones.len() + self.dirty.len() + 1);
        for (key, entry) in &self.keys {
            changes.push(match entry {
                Some(entry) => Change::Put(Table::Kvs, key.to_vec(), KvRow::from(&**entry).encode()),
                None => Change::Delete(Table::Kvs, key.to_vec()),
            });
        }
        for (key, index) in &self.tombstones {
            changes.push(match index {
                Some(index) => Change::Put(Table::Tombstones, key.to_vec(), index.to_le_bytes().to_vec()),
                None => Change::Delete(Table::Tombstones, key.to_vec()),
            });
        }
        for row in &self.dirty {
            changes.push(rows::change(&self.view, row)?);
        }
        changes.push(rows::meta_change(&self.view)?);
        Ok(Finished { view: self.view, changes, touched: self.touched, events: self.events })
    }

    /// Goes on to the command at a log index; the state's index keeps its distance to it.
    pub fn advance(&mut self, log_index: u64) {
        self.index += log_index - self.log_index;
        self.log_index = log_index;
    }

    /// Notes a change of a row that is in no view.
    pub fn change(&mut self, change: Change) {
        self.unseen.push(change);
    }

    /// Marks a row of the view to be written with the batch.
    pub fn mark(&mut self, row: RowKey) {
        self.dirty.insert(row);
    }

    /// Notes that something an answer may depend on has changed.
    pub fn touch(&mut self, topic: Topic) {
        if self.touched.last() != Some(&topic) {
            self.touched.push(topic);
        }
    }

    /// Notes an event.
    pub fn emit(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Indexes of a record written now: the creation index survives.
    pub fn indexes(&self, existing: Option<Indexes>) -> Indexes {
        Indexes {
            create_index: existing.map_or(self.index, |indexes| indexes.create_index),
            modify_index: self.index,
        }
    }

    /// A key as it stands in this batch.
    ///
    /// # Errors
    /// [`StateError::Store`] or [`StateError::Corrupt`].
    pub fn key(&self, key: &Bytes) -> Result<Option<Arc<KvEntry>>, StateError> {
        if let Some(changed) = self.keys.get(key) {
            return Ok(changed.clone());
        }
        let mut found = Ok(None);
        self.store.get(Table::Kvs, key, &mut |row| {
            found = KvRow::decode(key, row).map(|row| Some(Arc::new(row.to_entry(key.clone()))));
        })?;
        found
    }

    /// All keys below a prefix as they stand in this batch, in order.
    ///
    /// # Errors
    /// [`StateError::Store`] or [`StateError::Corrupt`].
    pub fn keys_below(&self, prefix: &[u8]) -> Result<Vec<Arc<KvEntry>>, StateError> {
        let mut stored = Vec::new();
        let mut failure = None;
        self.store.scan(Table::Kvs, prefix, &mut |key, row| {
            if self.keys.contains_key(key) {
                return ControlFlow::Continue(());
            }
            match KvRow::decode(key, row) {
                Ok(row) => {
                    stored.push(Arc::new(row.to_entry(Bytes::copy_from_slice(key))));
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = failure {
            return Err(error);
        }
        let changed = self
            .keys
            .range::<_, [u8]>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(_, entry)| entry.clone());
        let before = stored.len();
        stored.extend(changed);
        if before != stored.len() {
            stored.sort_by(|one, other| one.key.cmp(&other.key));
        }
        Ok(stored)
    }

    /// Stores a key.
    pub fn put_key(&mut self, entry: KvEntry) {
        self.view.indexes.kvs = self.index;
        self.touch(Topic::Key(entry.key.clone()));
        self.keys.insert(entry.key.clone(), Some(Arc::new(entry)));
    }

    /// Removes a key without leaving a tombstone.
    pub fn remove_key(&mut self, key: &Bytes) {
        self.view.indexes.kvs = self.index;
        self.touch(Topic::Key(key.clone()));
        self.keys.insert(key.clone(), None);
    }

    /// Leaves a tombstone for a key or prefix.
    pub fn bury(&mut self, key: &Bytes) {
        self.view.indexes.tombstones = self.index;
        self.tombstones.insert(key.clone(), Some(self.index));
    }

    /// Forgets tombstones up to an index. Nothing anybody reads changes but the index of lists below
    /// them, which falls back to that of what is left.
    ///
    /// # Errors
    /// [`StateError::Store`].
    pub fn exhume(&mut self, up_to: u64) -> Result<(), StateError> {
        let mut old: Vec<Bytes> = Vec::new();
        self.store.scan(Table::Tombstones, b"", &mut |key, row| {
            let index = <[u8; 8]>::try_from(row).map_or(0, u64::from_le_bytes);
            if index <= up_to && !self.tombstones.contains_key(key) {
                old.push(Bytes::copy_from_slice(key));
            }
            ControlFlow::Continue(())
        })?;
        old.extend(
            self.tombstones
                .iter()
                .filter(|(_, index)| index.is_some_and(|index| index <= up_to))
                .map(|(key, _)| key.clone()),
        );
        for key in old {
            self.tombstones.insert(key, None);
        }
        Ok(())
    }
}
