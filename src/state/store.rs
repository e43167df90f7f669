//! What the state needs of a disk, and a twin of it in memory.
//!
//! One table, one ordered map of bytes to bytes. Batches are atomic. Only the owner of the state
//! writes; anybody may read at any time, and every single read (a get, a scan, a snapshot) sees one
//! moment. The disk form is in `store_disk.rs`, the only file that names RocksDB.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use parking_lot::RwLock;

use super::StateError;

/// The tables on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Applied index, table indexes, membership: what belongs to no record.
    Meta,
    /// Keys; rows as in [`super::kv`].
    Kvs,
    /// Key or prefix -> index of its deletion.
    Tombstones,
    /// Nodes by folded name.
    Nodes,
    /// Services by folded node and id.
    Services,
    /// Checks by folded node and id.
    Checks,
    /// Sessions by id.
    Sessions,
    /// (session, key) for every lock held.
    Locks,
    /// Key -> end of its lock-delay window.
    LockDelays,
    /// Coordinates by folded node and segment.
    Coordinates,
    /// Pieces of an archive that is being restored.
    Restore,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 11] = [
        Self::Meta,
        Self::Kvs,
        Self::Tombstones,
        Self::Nodes,
        Self::Services,
        Self::Checks,
        Self::Sessions,
        Self::Locks,
        Self::LockDelays,
        Self::Coordinates,
        Self::Restore,
    ];

    /// Name on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Kvs => "kvs",
            Self::Tombstones => "tombstones",
            Self::Nodes => "nodes",
            Self::Services => "services",
            Self::Checks => "checks",
            Self::Sessions => "sessions",
            Self::Locks => "locks",
            Self::LockDelays => "lock_delays",
            Self::Coordinates => "coordinates",
            Self::Restore => "restore",
        }
    }
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Store a row.
    Put(Table, Vec<u8>, Vec<u8>),
    /// Remove a row.
    Delete(Table, Vec<u8>),
    /// Remove all rows of a table that were there before the batch.
    Clear(Table),
}

/// Visits rows in key order until told to stop.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Reading, from any thread.
pub trait ReadStore: Send + Sync + std::fmt::Debug {
    /// Hands the row to `visit` if there is one; false if not.
    ///
    /// # Errors
    /// [`StateError::Store`] if the disk fails.
    fn get(&self, table: Table, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StateError>;

    /// Visits all rows whose key starts with `prefix` and is not below `from`, in key order, as of
    /// one moment.
    ///
    /// # Errors
    /// [`StateError::Store`] if the disk fails.
    fn scan_from(&self, table: Table, prefix: &[u8], from: &[u8], visit: Visit<'_>)
    -> Result<(), StateError>;

    /// Visits all rows whose key starts with `prefix`, in key order, as of one moment.
    ///
    /// # Errors
    /// [`StateError::Store`] if the disk fails.
    fn scan(&self, table: Table, prefix: &[u8], visit: Visit<'_>) -> Result<(), StateError> {
        self.scan_from(table, prefix, prefix, visit)
    }
}

/// A living store that can be frozen.
pub trait SharedStore: ReadStore {
    /// All tables as of one moment, for reads that must fit together.
    fn freeze(&self) -> Box<dyn ReadStore + '_>;
}

/// Writing, by the owner of the state only.
pub trait WriteStore: SharedStore {
    /// Writes a batch atomically. It survives a crash of the process; a crash of the machine may
    /// lose it until [`WriteStore::make_durable`] (the raft log replays it).
    ///
    /// # Errors
    /// [`StateError::Store`] if the disk fails; the owner must then stop.
    fn write(&self, changes: &[Change]) -> Result<(), StateError>;

    /// Makes everything written so far survive a crash of the machine.
    ///
    /// # Errors
    /// [`StateError::Store`] if the disk fails; the owner must then stop.
    fn make_durable(&self) -> Result<(), StateError>;

    /// Removes all rows of a table (a snapshot is being installed).
    ///
    /// # Errors
    /// [`StateError::Store`] if the disk fails; the owner must then stop.
    fn clear(&self, table: Table) -> Result<(), StateError>;

    /// The same store for readers.
    fn reader(&self) -> Arc<dyn SharedStore>;
}

/// The rows of each table, in the order of [`Table::ALL`]. Structurally shared: freezing is cheap.
type Rows = [OrdMap<Bytes, Bytes>; Table::ALL.len()];

/// The twin in memory: for `-dev`, simulation and tests.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    rows: Arc<RwLock<Rows>>,
}

impl ReadStore for MemoryStore {
    fn get(&self, table: Table, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StateError> {
        let rows = self.rows.read();
        let row = rows[table as usize].get(key);
        if let Some(row) = row {
            visit(row);
        }
        Ok(row.is_some())
    }

    fn scan_from(
        &self,
        table: Table,
        prefix: &[u8],
        from: &[u8],
        visit: Visit<'_>,
    ) -> Result<(), StateError> {
        // A copy, so that a long scan keeps no write waiting.
        let rows = self.rows.read()[table as usize].clone();
        let start = Bound::Included(from.max(prefix));
        for (key, row) in rows.range::<_, [u8]>((start, Bound::Unbounded)) {
            if !key.starts_with(prefix) || visit(key, row).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl SharedStore for MemoryStore {
    fn freeze(&self) -> Box<dyn ReadStore + '_> {
        Box::new(Self { rows: Arc::new(RwLock::new(self.rows.read().clone())) })
    }
}

impl WriteStore for MemoryStore {
    fn write(&self, changes: &[Change]) -> Result<(), StateError> {
        let mut rows = self.rows.write();
        for change in changes {
            match change {
                Change::Put(table, key, row) => {
                    rows[*table as usize].insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(row));
                }
                Change::Delete(table, key) => {
                    rows[*table as usize].remove(&key[..]);
                }
                Change::Clear(table) => rows[*table as usize] = OrdMap::new(),
            }
        }
        Ok(())
    }

    fn make_durable(&self) -> Result<(), StateError> {
        Ok(())
    }

    fn clear(&self, table: Table) -> Result<(), StateError> {
        self.rows.write()[table as usize] = OrdMap::new();
        Ok(())
    }

    fn reader(&self) -> Arc<dyn SharedStore> {
        Arc::new(self.clone())
    }
}
