//! The disk of a simulated state: what was written is there after a crash of the process, what was
//! made durable is there after a crash of the machine.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imbl::OrdMap;
use tribune::raft::log::WriteFault;
use tribune::raft::{LogError, LogState, LogStore, LogWrite, MemoryLog};
use tribune::state::StateError;
use tribune::state::store::{Change, ReadStore, SharedStore, Table, Visit, WriteStore};

type Rows = OrdMap<(Table, Vec<u8>), Vec<u8>>;

#[derive(Debug, Default)]
struct Images {
    live: Rows,
    durable: Rows,
}

/// All rows but those of one table.
fn without(rows: &Rows, table: Table) -> Rows {
    let others = rows.iter().filter(|((found, _), _)| *found != table);
    others.map(|(key, row)| (key.clone(), row.clone())).collect()
}

/// The store of a state. Clones share the disk.
#[derive(Debug, Clone, Default)]
pub struct StateDisk {
    images: Arc<Mutex<Images>>,
}

impl StateDisk {
    fn images(&self) -> MutexGuard<'_, Images> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Power was gone.
    pub fn crash(&self) {
        let mut images = self.images();
        images.live = images.durable.clone();
    }

    /// A hash over everything in it.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.images().live.hash(&mut hasher);
        hasher.finish()
    }
}

impl ReadStore for StateDisk {
    fn get(&self, table: Table, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StateError> {
        let rows = self.images().live.clone();
        let row = rows.get(&(table, key.to_vec()));
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
        let rows = self.images().live.clone();
        let start = Bound::Included((table, from.max(prefix).to_vec()));
        for ((found, key), row) in rows.range((start, Bound::Unbounded)) {
            if *found != table || !key.starts_with(prefix) || visit(key, row) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
}

impl SharedStore for StateDisk {
    fn freeze(&self) -> Box<dyn ReadStore + '_> {
        let live = self.images().live.clone();
        Box::new(Self { images: Arc::new(Mutex::new(Images { live, durable: Rows::new() })) })
    }
}

impl WriteStore for StateDisk {
    fn write(&self, changes: &[Change]) -> Result<(), StateError> {
        let mut images = self.images();
        for change in changes {
            match change {
                Change::Put(table, key, row) => {
                    images.live.insert((*table, key.clone()), row.clone());
                }
                Change::Delete(table, key) => {
                    images.live.remove(&(*table, key.clone()));
                }
                Change::Clear(table) => images.live = without(&images.live, *table),
            }
        }
        Ok(())
    }

    fn make_durable(&self) -> Result<(), StateError> {
        let mut images = self.images();
        images.durable = images.live.clone();
        Ok(())
    }

    fn clear(&self, table: Table) -> Result<(), StateError> {
        let mut images = self.images();
        images.live = without(&images.live, table);
        Ok(())
    }

    fn reader(&self) -> Arc<dyn SharedStore> {
        Arc::new(self.clone())
    }
}

/// The log's twin in memory, and how often it was synced: who gives out effects knows which of them
/// waited for the disk.
#[derive(Debug, Clone)]
pub struct LogDisk {
    log: MemoryLog,
    syncs: Arc<Mutex<u64>>,
}

impl LogDisk {
    pub fn new() -> Self {
        Self { log: MemoryLog::with_crashes(), syncs: Arc::default() }
    }

    pub fn syncs(&self) -> u64 {
        *self.syncs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn crash(&self) {
        self.log.crash();
    }

    pub fn fail_next_sync(&self, fault: WriteFault) {
        self.log.fail_next_sync(fault);
    }
}

impl LogStore for LogDisk {
    fn place(&self) -> String {
        self.log.place()
    }

    fn state(&self) -> Result<LogState, LogError> {
        self.log.state()
    }

    fn write(&mut self, write: &LogWrite) -> Result<(), LogError> {
        if write.must_sync {
            *self.syncs.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
        self.log.write(write)
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_bytes: u64,
        into: &mut Vec<raft::eraftpb::Entry>,
    ) -> Result<(), LogError> {
        self.log.entries(low, high, max_bytes, into)
    }
}
