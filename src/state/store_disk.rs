//! The store on disk: RocksDB, a column family per table. The only file that names it.
//!
//! The write-ahead log is on but not synced: a killed process loses nothing, and what a crashed
//! machine loses the raft log replays. Memory is bounded as a whole, not per table: one block cache
//! with index and filter blocks inside, one write-buffer budget, few open files.
//!
//! A corrupt file is never read around: the error goes to whoever asked *and* to the `fatal` hook,
//! which stops the process.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ChecksumType, ColumnFamily, ColumnFamilyDescriptor, DB,
    DBCompressionType, DBRecoveryMode, DataBlockIndexType, ErrorKind, IteratorMode, Options, ReadOptions,
    SnapshotWithThreadMode, WriteBatch, WriteOptions,
};

use super::StateError;
use super::store::{Change, ReadStore, SharedStore, Table, Visit, WriteStore};

/// Block cache over all tables, index and filter blocks included.
const BLOCK_CACHE_BYTES: usize = 24 << 20;
/// Unflushed writes over all tables.
const WRITE_BUFFERS_BYTES: usize = 8 << 20;
/// Unflushed writes of the key table; the others get a quarter.
const KEY_BUFFER_BYTES: usize = 4 << 20;
const OPEN_FILES: i32 = 256;
const WAL_BYTES: u64 = 32 << 20;

/// Called with an error after which the process must not go on.
pub type Fatal = Arc<dyn Fn(&StateError) + Send + Sync>;

struct Shared {
    db: DB,
    path: PathBuf,
    fatal: Fatal,
}

/// The store in a directory.
#[derive(Clone)]
pub struct DiskStore {
    shared: Arc<Shared>,
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore").field("path", &self.shared.path).finish()
    }
}

fn table_options(cache: &Cache, buffer_bytes: usize) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    // Whole index and filter blocks would outgrow a shard of the small cache, and every read then
    // loads them anew; in parts they stay.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_metadata_block_size(4096);
    blocks.set_pin_top_level_index_and_filter(true);
    blocks.set_format_version(5);
    // The default, CRC32C, is several times slower where the build may not assume SSE 4.2.
    blocks.set_checksum_type(ChecksumType::XXH3);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(buffer_bytes);
    options.set_max_write_buffer_number(2);
    options.set_compression_type(DBCompressionType::Lz4);
    options
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
    options.set_max_open_files(OPEN_FILES);
    options.set_max_background_jobs(2);
    options.set_max_total_wal_size(WAL_BYTES);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_paranoid_checks(true);
    // An unfinished record at the very end is what a crash leaves; anything else is damage.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options
}

impl DiskStore {
    /// Opens or creates the store in a directory.
    ///
    /// # Errors
    /// [`StateError::Store`] naming the directory, the cause and what can be done about it.
    pub fn open(path: &Path, fatal: Fatal) -> Result<Self, StateError> {
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let families = Table::ALL.map(|table| {
            let buffer = if table == Table::Kvs { KEY_BUFFER_BYTES } else { KEY_BUFFER_BYTES / 4 };
            ColumnFamilyDescriptor::new(table.name(), table_options(&cache, buffer))
        });
        let db = DB::open_cf_descriptors(&database_options(), path, families)
            .map_err(|error| describe(path, "open", &error))?;
        Ok(Self { shared: Arc::new(Shared { db, path: path.to_owned(), fatal }) })
    }

    fn family(&self, table: Table) -> Result<&ColumnFamily, StateError> {
        self.shared
            .db
            .cf_handle(table.name())
            .ok_or_else(|| StateError::Store(format!("table {} is missing", table.name())))
    }

    /// Reports a failure; those that mean damage or a dead disk also reach the hook.
    fn failed(&self, doing: &str, error: &rocksdb::Error) -> StateError {
        let failure = describe(&self.shared.path, doing, error);
        if matches!(error.kind(), ErrorKind::Corruption | ErrorKind::IOError) {
            (self.shared.fatal)(&failure);
        }
        failure
    }

    fn get_with(
        &self,
        table: Table,
        key: &[u8],
        options: &ReadOptions,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, StateError> {
        let family = self.family(table)?;
        let row = self
            .shared
            .db
            .get_pinned_cf_opt(family, key, options)
            .map_err(|error| self.failed("read", &error))?;
        if let Some(row) = &row {
            visit(row);
        }
        Ok(row.is_some())
    }

    /// Has a batch remove all rows the table has now.
    fn clear_in(&self, batch: &mut WriteBatch, table: Table) -> Result<(), StateError> {
        let family = self.family(table)?;
        let Some(last) = self.shared.db.iterator_cf(family, IteratorMode::End).next() else {
            return Ok(());
        };
        let (last, _) = last.map_err(|error| self.failed("read", &error))?;
        // The range ends before `last`.
        batch.delete_range_cf(family, b"".as_slice(), &last);
        batch.delete_cf(family, &last);
        Ok(())
    }

    fn scan_with(
        &self,
        table: Table,
        prefix: &[u8],
        from: &[u8],
        mut options: ReadOptions,
        visit: Visit<'_>,
    ) -> Result<(), StateError> {
        let family = self.family(table)?;
        if let Some(end) = end_of(prefix) {
            options.set_iterate_upper_bound(end);
        }
        // The raw iterator lends its rows; the other one copies each.
        let mut rows = self.shared.db.raw_iterator_cf_opt(family, options);
        rows.seek(from.max(prefix));
        while let Some((key, value)) = rows.item() {
            if visit(key, value).is_break() {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(|error| self.failed("read", &error))
    }
}

/// The first key after all keys with a prefix; none if there is no such key.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Says what failed, where, and what an operator can do.
fn describe(path: &Path, doing: &str, error: &rocksdb::Error) -> StateError {
    let remedy = match error.kind() {
        ErrorKind::Corruption => {
            "a file is damaged; stop the agent, move the directory away and let the server rebuild it \
             from its peers or from a snapshot (`snapshot restore`)"
        }
        ErrorKind::IOError if error.as_ref().contains("lock") || error.as_ref().contains("LOCK") => {
            "another process uses this directory; stop it or choose another data_dir"
        }
        ErrorKind::IOError if error.as_ref().contains("No space") => {
            "the disk is full; free space and start the agent again, nothing acknowledged is lost"
        }
        ErrorKind::IOError => {
            "check the disk and the permissions of the directory, then start the agent again"
        }
        _ => "start the agent again; if it persists, restore a snapshot",
    };
    StateError::Store(format!("cannot {doing} {}: {}: {remedy}", path.display(), error.as_ref()))
}

impl ReadStore for DiskStore {
    fn get(&self, table: Table, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StateError> {
        let family = self.family(table)?;
        let row = self.shared.db.get_pinned_cf(family, key).map_err(|error| self.failed("read", &error))?;
        if let Some(row) = &row {
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
        self.scan_with(table, prefix, from, ReadOptions::default(), visit)
    }
}

impl SharedStore for DiskStore {
    fn freeze(&self) -> Box<dyn ReadStore + '_> {
        Box::new(Frozen { store: self, snapshot: self.shared.db.snapshot() })
    }
}

impl WriteStore for DiskStore {
    fn write(&self, changes: &[Change]) -> Result<(), StateError> {
        let mut batch = WriteBatch::default();
        for change in changes {
            match change {
                Change::Put(table, key, value) => batch.put_cf(self.family(*table)?, key, value),
                Change::Delete(table, key) => batch.delete_cf(self.family(*table)?, key),
                Change::Clear(table) => self.clear_in(&mut batch, *table)?,
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(false);
        self.shared.db.write_opt(batch, &options).map_err(|error| self.failed("write", &error))
    }

    fn make_durable(&self) -> Result<(), StateError> {
        self.shared.db.flush_wal(true).map_err(|error| self.failed("sync", &error))
    }

    fn clear(&self, table: Table) -> Result<(), StateError> {
        let mut batch = WriteBatch::default();
        self.clear_in(&mut batch, table)?;
        self.shared.db.write(batch).map_err(|error| self.failed("write", &error))
    }

    fn reader(&self) -> Arc<dyn SharedStore> {
        Arc::new(self.clone())
    }
}

/// All tables as of one moment.
struct Frozen<'a> {
    store: &'a DiskStore,
    snapshot: SnapshotWithThreadMode<'a, DB>,
}

impl fmt::Debug for Frozen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frozen").field("store", self.store).finish_non_exhaustive()
    }
}

impl Frozen<'_> {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options
    }
}

impl ReadStore for Frozen<'_> {
    fn get(&self, table: Table, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StateError> {
        self.store.get_with(table, key, &self.options(), visit)
    }

    fn scan_from(
        &self,
        table: Table,
        prefix: &[u8],
        from: &[u8],
        visit: Visit<'_>,
    ) -> Result<(), StateError> {
        let mut options = self.options();
        // Long scans (snapshots) must not throw the readers' blocks out of the cache.
        options.fill_cache(false);
        self.store.scan_with(table, prefix, from, options, visit)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    fn collect(store: &dyn ReadStore, table: Table, prefix: &[u8]) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        store
            .scan(table, prefix, &mut |key, _| {
                keys.push(key.to_vec());
                ControlFlow::Continue(())
            })
            .unwrap();
        keys
    }

    fn open(path: &Path) -> DiskStore {
        DiskStore::open(path, Arc::new(|error| panic!("{error}"))).unwrap()
    }

    fn put(key: &[u8]) -> Change {
        Change::Put(Table::Kvs, key.to_vec(), b"v".to_vec())
    }

    #[test]
    fn rows_survive_a_reopen_and_scans_stay_in_their_prefix() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        store.write(&[put(b"a/1"), put(b"a/2"), put(b"b"), put(b"a\xff"), put(b"\xff\xff")]).unwrap();
        store.make_durable().unwrap();
        drop(store);
        let store = open(directory.path());
        assert_eq!(collect(&store, Table::Kvs, b"a/"), [b"a/1".to_vec(), b"a/2".to_vec()]);
        assert_eq!(collect(&store, Table::Kvs, b"\xff"), [b"\xff\xff".to_vec()]);
        assert_eq!(collect(&store, Table::Kvs, b"").len(), 5);
        assert!(collect(&store, Table::Nodes, b"").is_empty());
        store.clear(Table::Kvs).unwrap();
        assert!(collect(&store, Table::Kvs, b"").is_empty());
    }

    #[test]
    fn a_frozen_view_does_not_see_later_writes() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        store.write(&[put(b"a")]).unwrap();
        let frozen = store.freeze();
        store.write(&[put(b"b"), Change::Delete(Table::Kvs, b"a".to_vec())]).unwrap();
        assert_eq!(collect(&*frozen, Table::Kvs, b""), [b"a".to_vec()]);
        assert_eq!(collect(&store, Table::Kvs, b""), [b"b".to_vec()]);
    }

    #[test]
    fn a_second_owner_is_refused_with_the_directory_named() {
        let directory = tempfile::tempdir().unwrap();
        let _store = open(directory.path());
        let error = DiskStore::open(directory.path(), Arc::new(|_| ())).unwrap_err().to_string();
        assert!(error.contains(&directory.path().display().to_string()), "{error}");
        assert!(error.contains("another process"), "{error}");
    }
}
