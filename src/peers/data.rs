//! Where the data of snapshots lies, as the wire needs it: to be read for a peer, to be written from one.
//!
//! All calls block; they are made from threads that may.

use std::collections::HashMap;
use std::io::{self, Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::raft::Manifest;

/// Data of snapshots by the name in their manifests.
pub trait SnapshotData: Send + Sync {
    /// Opens data for reading from its beginning.
    ///
    /// # Errors
    /// The system's; `NotFound` once it was replaced by newer data.
    fn open(&self, manifest: &Manifest) -> io::Result<Box<dyn Read + Send>>;

    /// Begins to take in data. If it is here already, what is written replaces it.
    ///
    /// # Errors
    /// The system's.
    fn receive(&self, manifest: &Manifest) -> io::Result<Box<dyn SnapshotSink>>;
}

/// Data on its way in. Dropped before [`SnapshotSink::finish`] it leaves nothing behind.
pub trait SnapshotSink: Send {
    /// Takes the next piece.
    ///
    /// # Errors
    /// The system's, or more than the manifest announced.
    fn write(&mut self, piece: &[u8]) -> io::Result<()>;

    /// It is all there: checks size and sum and keeps it durably.
    ///
    /// # Errors
    /// The system's, or `InvalidData`.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Data in memory, without sums: for tests.
#[derive(Debug, Clone, Default)]
pub struct MemoryData(Arc<Mutex<HashMap<String, Bytes>>>);

impl MemoryData {
    /// Keeps data under a name.
    pub fn keep(&self, name: &str, data: Bytes) {
        self.0.lock().insert(name.to_owned(), data);
    }

    /// The data of this name.
    pub fn get(&self, name: &str) -> Option<Bytes> {
        self.0.lock().get(name).cloned()
    }
}

impl SnapshotData for MemoryData {
    fn open(&self, manifest: &Manifest) -> io::Result<Box<dyn Read + Send>> {
        let data = self.get(&manifest.data).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(data)))
    }

    fn receive(&self, manifest: &Manifest) -> io::Result<Box<dyn SnapshotSink>> {
        Ok(Box::new(MemorySink { keep: self.clone(), manifest: manifest.clone(), data: Vec::new() }))
    }
}

struct MemorySink {
    keep: MemoryData,
    manifest: Manifest,
    data: Vec<u8>,
}

impl SnapshotSink for MemorySink {
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.data.extend_from_slice(piece);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        if self.data.len() as u64 != self.manifest.size {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.keep.keep(&self.manifest.data, self.data.into());
        Ok(())
    }
}
