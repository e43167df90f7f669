//! The readers' handle: the published snapshot, the key space and the watch registry together.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};

use super::StateError;
use super::kv::KvRow;
use super::store::{ReadStore, SharedStore, Table};
use super::view::View;
use super::watch::Watches;

/// Keeps readers from the store while a snapshot is being installed, when it holds parts of two
/// states. Reading costs two loads: a read counts only if the gate was open, and the same, before it
/// and after it.
#[derive(Debug, Default)]
pub struct Gate(AtomicU64);

impl Gate {
    /// From now on reads fail, those under way included.
    pub(super) fn close(&self) {
        self.0.fetch_or(1, Ordering::SeqCst);
    }

    /// The store is whole again.
    pub(super) fn open(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn pass<T>(&self, read: impl FnOnce() -> Result<T, StateError>) -> Result<T, StateError> {
        let before = self.0.load(Ordering::Acquire);
        if before % 2 == 1 {
            return Err(StateError::Installing);
        }
        let answer = read();
        if self.0.load(Ordering::Acquire) == before { answer } else { Err(StateError::Installing) }
    }
}

/// Everything a reader needs; clones are cheap and share one state.
#[derive(Debug, Clone)]
pub struct StateReader {
    view: Arc<ArcSwap<View>>,
    store: Arc<dyn SharedStore>,
    watches: Arc<Watches>,
    gate: Arc<Gate>,
}

impl StateReader {
    /// Built by the owner of the state.
    pub fn new(
        view: Arc<ArcSwap<View>>,
        store: Arc<dyn SharedStore>,
        watches: Arc<Watches>,
        gate: Arc<Gate>,
    ) -> Self {
        Self { view, store, watches, gate }
    }

    /// The snapshot published last. Take it once per evaluation.
    ///
    /// The store may already be a moment ahead of it (a batch is written, then published). That
    /// never shows anything that could still be lost: what is in the store is committed.
    pub fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// The snapshot as an owned pointer, for work that outlives the request's thread.
    pub fn view_full(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Where blocking reads subscribe.
    pub fn watches(&self) -> &Arc<Watches> {
        &self.watches
    }

    /// The store as of one moment, for reads over several rows that must fit together.
    ///
    /// # Errors
    /// [`StateError::Installing`] while a snapshot replaces the state.
    pub fn freeze(&self) -> Result<Box<dyn ReadStore + '_>, StateError> {
        self.gate.pass(|| Ok(self.store.freeze()))
    }

    /// The store itself. While a snapshot is being installed it holds parts of two states; every
    /// other way to read notices that.
    pub fn store(&self) -> &dyn SharedStore {
        &*self.store
    }

    /// Looks at one key.
    ///
    /// # Errors
    /// [`StateError::Store`], [`StateError::Corrupt`] or [`StateError::Installing`].
    pub fn kv_get<R>(&self, key: &[u8], look: impl FnOnce(KvRow<'_>) -> R) -> Result<Option<R>, StateError> {
        let mut look = Some(look);
        let mut answer = Ok(None);
        self.gate.pass(|| {
            self.store.get(Table::Kvs, key, &mut |row| {
                answer = KvRow::decode(key, row).map(|row| look.take().map(|look| look(row)));
            })
        })?;
        answer
    }

    /// Visits the keys of a prefix in order.
    ///
    /// # Errors
    /// [`StateError::Store`], [`StateError::Corrupt`] or [`StateError::Installing`].
    pub fn kv_scan(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], KvRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        let mut failure = None;
        self.gate.pass(|| {
            self.store.scan(Table::Kvs, prefix, &mut |key, row| match KvRow::decode(key, row) {
                Ok(row) => visit(key, row),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            })
        })?;
        failure.map_or(Ok(()), Err)
    }

    /// Highest index at which something below a prefix was deleted, as far as it is remembered;
    /// 0 for none. Keeps the index of recursive reads from going back after deletes.
    ///
    /// # Errors
    /// [`StateError::Store`], [`StateError::Corrupt`] or [`StateError::Installing`].
    pub fn tombstone_index(&self, prefix: &[u8]) -> Result<u64, StateError> {
        let mut highest = 0;
        self.gate.pass(|| {
            self.store.scan(Table::Tombstones, prefix, &mut |_, row| {
                if let Ok(index) = <[u8; 8]>::try_from(row) {
                    highest = highest.max(u64::from_le_bytes(index));
                }
                ControlFlow::Continue(())
            })
        })?;
        Ok(highest)
    }
}
