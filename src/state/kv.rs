//! How a key's row is laid out in the store.
//!
//! Reads of single keys are the hottest path of the product, so the row is a fixed header in front
//! of the value instead of msgpack: nothing is parsed, copied or allocated to look at it.
//!
//! ```text
//! 0      version = 1
//! 1      session length, 0 for none (ids are at most 255 bytes)
//! 2..10  CreateIndex   10..18 ModifyIndex   18..26 LockIndex   26..34 Flags     (u64, little endian)
//! 34..   session id, then the value
//! ```

use std::sync::Arc;

use bytes::Bytes;

use super::StateError;
use super::record::{Indexes, KvEntry};

const VERSION: u8 = 1;
const HEADER: usize = 34;

/// A row as it lies in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvRow<'a> {
    /// Raft indexes.
    pub indexes: Indexes,
    /// How many times the key was locked.
    pub lock_index: u64,
    /// Opaque number of the client.
    pub flags: u64,
    /// Session that holds it.
    pub session: Option<&'a str>,
    /// Value.
    pub value: &'a [u8],
}

impl<'a> KvRow<'a> {
    /// Reads a row.
    ///
    /// # Errors
    /// [`StateError::Corrupt`] for anything [`KvRow::encode`] did not write.
    pub fn decode(key: &[u8], row: &'a [u8]) -> Result<Self, StateError> {
        let corrupt = |reason: &str| StateError::Corrupt {
            table: "kvs",
            key: key.escape_ascii().to_string(),
            reason: reason.to_owned(),
        };
        let (header, rest) = row.split_first_chunk::<HEADER>().ok_or_else(|| corrupt("too short"))?;
        if header[0] != VERSION {
            return Err(corrupt("unknown version"));
        }
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let (session, value) =
            rest.split_at_checked(usize::from(header[1])).ok_or_else(|| corrupt("session cut off"))?;
        let session = match session {
            [] => None,
            id => Some(std::str::from_utf8(id).map_err(|_| corrupt("session is not text"))?),
        };
        Ok(Self {
            indexes: Indexes { create_index: number(2), modify_index: number(10) },
            lock_index: number(18),
            flags: number(26),
            session,
            value,
        })
    }

    /// Writes a row. A session id longer than 255 bytes cannot occur: ids are UUIDs.
    pub fn encode(&self) -> Vec<u8> {
        let session = self.session.unwrap_or_default();
        let length = u8::try_from(session.len()).unwrap_or(u8::MAX);
        let mut row = Vec::with_capacity(HEADER + session.len() + self.value.len());
        row.extend_from_slice(&[VERSION, length]);
        for number in [self.indexes.create_index, self.indexes.modify_index, self.lock_index, self.flags] {
            row.extend_from_slice(&number.to_le_bytes());
        }
        row.extend_from_slice(&session.as_bytes()[..usize::from(length)]);
        row.extend_from_slice(self.value);
        row
    }

    /// An owned copy with its key.
    pub fn to_entry(&self, key: Bytes) -> KvEntry {
        KvEntry {
            key,
            value: Bytes::copy_from_slice(self.value),
            flags: self.flags,
            lock_index: self.lock_index,
            session: self.session.map(Arc::from),
            indexes: self.indexes,
        }
    }
}

impl<'a> From<&'a KvEntry> for KvRow<'a> {
    fn from(entry: &'a KvEntry) -> Self {
        Self {
            indexes: entry.indexes,
            lock_index: entry.lock_index,
            flags: entry.flags,
            session: entry.session.as_deref(),
            value: &entry.value,
        }
    }
}
