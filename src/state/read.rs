//! The readers' handle: the published snapshot, the key space and the watch registry together.

use std::ops::ControlFlow;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::StateError;
use super::kv::KvRow;
use super::store::{SharedStore, Table};
use super::view::View;
use super::watch::Watches;

/// Everything a reader needs; clones are cheap and share one state.
#[derive(Debug, Clone)]
pub struct StateReader {
    view: Arc<ArcSwap<View>>,
    store: Arc<dyn SharedStore>,
    watches: Arc<Watches>,
}

impl StateReader {
    /// Built by the owner of the state.
    pub fn new(view: Arc<ArcSwap<View>>, store: Arc<dyn SharedStore>, watches: Arc<Watches>) -> Self {
        Self { view, store, watches }
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

    /// The store, for reads over several rows that must fit together ([`SharedStore::freeze`]).
    pub fn store(&self) -> &dyn SharedStore {
        &*self.store
    }

    /// Looks at one key.
    ///
    /// # Errors
    /// [`StateError::Store`] or [`StateError::Corrupt`].
    pub fn kv_get<R>(&self, key: &[u8], look: impl FnOnce(KvRow<'_>) -> R) -> Result<Option<R>, StateError> {
        let mut look = Some(look);
        let mut answer = Ok(None);
        self.store.get(Table::Kvs, key, &mut |row| {
            answer = KvRow::decode(key, row).map(|row| look.take().map(|look| look(row)));
        })?;
        answer
    }

    /// Visits the keys of a prefix in order.
    ///
    /// # Errors
    /// [`StateError::Store`] or [`StateError::Corrupt`].
    pub fn kv_scan(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], KvRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        let mut failure = None;
        self.store.scan(Table::Kvs, prefix, &mut |key, row| match KvRow::decode(key, row) {
            Ok(row) => visit(key, row),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failure.map_or(Ok(()), Err)
    }

    /// Highest index at which something below a prefix was deleted, as far as it is remembered;
    /// 0 for none. Keeps the index of recursive reads from going back after deletes.
    ///
    /// # Errors
    /// [`StateError::Store`] or [`StateError::Corrupt`].
    pub fn tombstone_index(&self, prefix: &[u8]) -> Result<u64, StateError> {
        let mut highest = 0;
        self.store.scan(Table::Tombstones, prefix, &mut |_, row| {
            if let Ok(index) = <[u8; 8]>::try_from(row) {
                highest = highest.max(u64::from_le_bytes(index));
            }
            ControlFlow::Continue(())
        })?;
        Ok(highest)
    }
}
