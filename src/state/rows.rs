//! How the records of the view lie in the store, and how the view is loaded from it.
//!
//! Rows are one version byte and named-field msgpack, so that fields can be added. Compound keys
//! put a four-byte big-endian length in front of their first part: rows of one node stay together.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StateError;
use super::record::{Check, Node, NodeCoordinate, Service, Session};
use super::store::{Change, ReadStore, Table};
use super::view::{Folded, NodeEntry, TableIndexes, View, fold};

const ROW_VERSION: u8 = 1;
const META_KEY: &[u8] = b"applied";
/// There while a snapshot is being installed; the row is the snapshot's index.
const INSTALLING_KEY: &[u8] = b"installing";
/// The restore under way, beside its pieces.
const RESTORE_KEY: &[u8] = b"under way";
const AUTOPILOT_KEY: &[u8] = b"autopilot";
const SERVICE_INDEX_PREFIX: &[u8] = b"service/";

/// A row of the view that a batch has changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    /// A node by folded name.
    Node(Folded),
    /// A service by folded node and id.
    Service(Folded, Folded),
    /// A check by folded node and id.
    Check(Folded, Folded),
    /// The index of a service name.
    ServiceIndex(Folded),
    /// A session by id.
    Session(Arc<str>),
    /// A lock: session and key.
    Lock(Arc<str>, Bytes),
    /// A lock-delay window by key.
    LockDelay(Bytes),
    /// A coordinate by folded node and segment.
    Coordinate(Folded, Arc<str>),
    /// The restore under way.
    Restore,
    /// The configuration of autopilot.
    Autopilot,
}

#[derive(Debug, Default, Serialize, serde::Deserialize)]
#[serde(default)]
struct Meta {
    /// Log index of what was applied last.
    index: u64,
    /// How far the state's index is ahead of it.
    ahead: u64,
    /// Log index of the last restore.
    restored: u64,
    tables: TableIndexes,
}

fn compound(first: &[u8], second: &[u8]) -> Vec<u8> {
    // A command is far below 4 GiB, so no name is clamped.
    let length = u32::try_from(first.len()).unwrap_or(u32::MAX);
    let mut key = Vec::with_capacity(4 + first.len() + second.len());
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(first);
    key.extend_from_slice(second);
    key
}

fn split(table: Table, key: &[u8]) -> Result<(&[u8], &[u8]), StateError> {
    let corrupt = || corrupt_row(table, key, "compound key cut off");
    let (length, rest) = key.split_first_chunk::<4>().ok_or_else(corrupt)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| corrupt())?;
    rest.split_at_checked(length).ok_or_else(corrupt)
}

fn corrupt_row(table: Table, key: &[u8], reason: impl Into<String>) -> StateError {
    StateError::Corrupt { table: table.name(), key: key.escape_ascii().to_string(), reason: reason.into() }
}

fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, StateError> {
    let mut row = vec![ROW_VERSION];
    let mut serializer = rmp_serde::Serializer::new(&mut row).with_struct_map();
    record.serialize(&mut serializer).map_err(|error| StateError::Encode(error.to_string()))?;
    Ok(row)
}

fn decode<T: DeserializeOwned>(table: Table, key: &[u8], row: &[u8]) -> Result<T, StateError> {
    match row.split_first() {
        Some((&ROW_VERSION, rest)) => {
            rmp_serde::from_slice(rest).map_err(|error| corrupt_row(table, key, error.to_string()))
        }
        Some((version, _)) => Err(corrupt_row(table, key, format!("row version {version}"))),
        None => Err(corrupt_row(table, key, "empty row")),
    }
}

fn decode_index(table: Table, key: &[u8], row: &[u8]) -> Result<u64, StateError> {
    let bytes = <[u8; 8]>::try_from(row).map_err(|_| corrupt_row(table, key, "not an index"))?;
    Ok(u64::from_le_bytes(bytes))
}

fn text(table: Table, key: &[u8], bytes: &[u8]) -> Result<Arc<str>, StateError> {
    std::str::from_utf8(bytes).map(Arc::from).map_err(|_| corrupt_row(table, key, "not text"))
}

fn put_or_delete<T: Serialize>(
    table: Table,
    key: Vec<u8>,
    record: Option<&Arc<T>>,
) -> Result<Change, StateError> {
    Ok(match record {
        Some(record) => Change::Put(table, key, encode(&**record)?),
        None => Change::Delete(table, key),
    })
}

/// The change that brings one row of the store up to the view.
///
/// # Errors
/// [`StateError::Encode`].
pub fn change(view: &View, row: &RowKey) -> Result<Change, StateError> {
    match row {
        RowKey::Node(node) => {
            let record = view.nodes.get(node).map(|entry| &entry.node);
            put_or_delete(Table::Nodes, node.as_bytes().to_vec(), record)
        }
        RowKey::Service(node, id) => {
            let record = view.nodes.get(node).and_then(|entry| entry.services.get(id));
            put_or_delete(Table::Services, compound(node.as_bytes(), id.as_bytes()), record)
        }
        RowKey::Check(node, id) => {
            let record = view.nodes.get(node).and_then(|entry| entry.checks.get(id));
            put_or_delete(Table::Checks, compound(node.as_bytes(), id.as_bytes()), record)
        }
        RowKey::ServiceIndex(name) => {
            let key = [SERVICE_INDEX_PREFIX, name.as_bytes()].concat();
            Ok(match view.own_service_index(name) {
                Some(index) => Change::Put(Table::Meta, key, index.to_le_bytes().to_vec()),
                None => Change::Delete(Table::Meta, key),
            })
        }
        RowKey::Session(id) => put_or_delete(Table::Sessions, id.as_bytes().to_vec(), view.sessions.get(id)),
        RowKey::Lock(session, key) => {
            let row = compound(session.as_bytes(), key);
            let held = view.locks.get(session).is_some_and(|keys| keys.contains(key));
            Ok(if held {
                Change::Put(Table::Locks, row, Vec::new())
            } else {
                Change::Delete(Table::Locks, row)
            })
        }
        RowKey::LockDelay(key) => Ok(match view.lock_delays.get(key) {
            Some(until) => Change::Put(Table::LockDelays, key.to_vec(), until.to_le_bytes().to_vec()),
            None => Change::Delete(Table::LockDelays, key.to_vec()),
        }),
        RowKey::Coordinate(node, segment) => {
            let record = view.coordinates.get(&(node.clone(), segment.clone()));
            put_or_delete(Table::Coordinates, compound(node.as_bytes(), segment.as_bytes()), record)
        }
        RowKey::Restore => put_or_delete(Table::Restore, RESTORE_KEY.to_vec(), view.restore.as_ref()),
        RowKey::Autopilot => put_or_delete(Table::Meta, AUTOPILOT_KEY.to_vec(), view.autopilot.as_ref()),
    }
}

/// All rows of a view.
pub fn all(view: &View) -> impl Iterator<Item = RowKey> {
    let catalog = view.nodes.iter().flat_map(|(node, entry)| {
        let services = entry.services.keys().map(|id| RowKey::Service(node.clone(), id.clone()));
        let checks = entry.checks.keys().map(|id| RowKey::Check(node.clone(), id.clone()));
        std::iter::once(RowKey::Node(node.clone())).chain(services).chain(checks)
    });
    let names = view.services.keys().chain(view.idle_services.keys());
    let locks = view
        .locks
        .iter()
        .flat_map(|(session, keys)| keys.iter().map(|key| RowKey::Lock(session.clone(), key.clone())));
    catalog
        .chain(names.map(|name| RowKey::ServiceIndex(name.clone())))
        .chain(view.sessions.keys().map(|id| RowKey::Session(id.clone())))
        .chain(locks)
        .chain(view.lock_delays.keys().map(|key| RowKey::LockDelay(key.clone())))
        .chain(
            view.coordinates.keys().map(|(node, segment)| RowKey::Coordinate(node.clone(), segment.clone())),
        )
        .chain(view.restore.iter().map(|_| RowKey::Restore))
        .chain(view.autopilot.iter().map(|_| RowKey::Autopilot))
}

/// The row that says up to which index the store has applied; part of every batch.
///
/// # Errors
/// [`StateError::Encode`].
pub fn meta_change(view: &View) -> Result<Change, StateError> {
    let meta = Meta {
        index: view.applied,
        ahead: view.index - view.applied,
        restored: view.restored,
        tables: view.indexes,
    };
    Ok(Change::Put(Table::Meta, META_KEY.to_vec(), encode(&meta)?))
}

fn load_meta(store: &dyn ReadStore) -> Result<Meta, StateError> {
    let mut index = None;
    store.get(Table::Meta, INSTALLING_KEY, &mut |row| {
        index = Some(decode_index(Table::Meta, INSTALLING_KEY, row));
    })?;
    if let Some(index) = index {
        return Err(StateError::HalfInstalled { index: index? });
    }
    let mut meta = Ok(Meta::default());
    store.get(Table::Meta, META_KEY, &mut |row| meta = decode(Table::Meta, META_KEY, row))?;
    meta
}

/// Up to which index a store has applied; 0 for an empty one.
///
/// # Errors
/// [`StateError::HalfInstalled`], [`StateError::Store`] or [`StateError::Corrupt`].
pub fn applied_index(store: &dyn ReadStore) -> Result<u64, StateError> {
    load_meta(store).map(|meta| meta.index)
}

/// Whether a row is the one [`meta_change`] writes.
pub fn is_applied_row(table: Table, key: &[u8]) -> bool {
    table == Table::Meta && key == META_KEY
}

/// The batch that marks a store as one a snapshot is being installed into.
pub fn begin_install(index: u64) -> [Change; 2] {
    [
        Change::Put(Table::Meta, INSTALLING_KEY.to_vec(), index.to_le_bytes().to_vec()),
        Change::Delete(Table::Meta, META_KEY.to_vec()),
    ]
}

/// The change that takes the mark away again.
pub fn end_install() -> Change {
    Change::Delete(Table::Meta, INSTALLING_KEY.to_vec())
}

/// The changes that empty the table of what belongs to no record, but for that mark.
///
/// # Errors
/// [`StateError::Store`].
pub fn clear_meta(store: &dyn ReadStore) -> Result<Vec<Change>, StateError> {
    let mut changes = Vec::new();
    each(store, Table::Meta, b"", |key, _| {
        if key != INSTALLING_KEY {
            changes.push(Change::Delete(Table::Meta, key.to_vec()));
        }
        Ok(())
    })?;
    Ok(changes)
}

/// Visits all rows of a table, stopping at the first error.
fn each(
    store: &dyn ReadStore,
    table: Table,
    prefix: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let mut outcome = Ok(());
    store.scan(table, prefix, &mut |key, row| {
        outcome = visit(key, row);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    outcome
}

/// Reads the whole view back from the store.
///
/// # Errors
/// [`StateError::Store`] if the disk fails, [`StateError::Corrupt`] naming the first row that cannot
/// be read, [`StateError::HalfInstalled`].
pub fn load(store: &dyn ReadStore) -> Result<View, StateError> {
    let mut view = View::default();
    let meta = load_meta(store)?;
    view.index = meta.index + meta.ahead;
    view.applied = meta.index;
    view.restored = meta.restored;
    view.indexes = meta.tables;

    each(store, Table::Nodes, b"", |key, row| {
        let node: Node = decode(Table::Nodes, key, row)?;
        let name = text(Table::Nodes, key, key)?;
        view.index_node(&name, &node);
        view.nodes.insert(
            name,
            Arc::new(NodeEntry { node: Arc::new(node), services: OrdMap::new(), checks: OrdMap::new() }),
        );
        Ok(())
    })?;
    each(store, Table::Services, b"", |key, row| {
        let service: Service = decode(Table::Services, key, row)?;
        let node = text(Table::Services, key, split(Table::Services, key)?.0)?;
        if !view.attach_service(&node, Arc::new(service)) {
            return Err(corrupt_row(Table::Services, key, "its node is missing"));
        }
        Ok(())
    })?;
    each(store, Table::Checks, b"", |key, row| {
        let check: Check = decode(Table::Checks, key, row)?;
        let node = text(Table::Checks, key, split(Table::Checks, key)?.0)?;
        let Some(entry) = view.nodes.get_mut(&node) else {
            return Err(corrupt_row(Table::Checks, key, "its node is missing"));
        };
        Arc::make_mut(entry).checks.insert(fold(&check.check_id), Arc::new(check));
        Ok(())
    })?;
    each(store, Table::Meta, SERVICE_INDEX_PREFIX, |key, row| {
        let name = text(Table::Meta, key, &key[SERVICE_INDEX_PREFIX.len()..])?;
        let index = decode_index(Table::Meta, key, row)?;
        view.set_service_index(&name, index);
        Ok(())
    })?;
    each(store, Table::Sessions, b"", |key, row| {
        let session: Session = decode(Table::Sessions, key, row)?;
        view.index_session(&Arc::new(session));
        Ok(())
    })?;
    each(store, Table::Locks, b"", |row_key, _| {
        let (session, key) = split(Table::Locks, row_key)?;
        let session = text(Table::Locks, row_key, session)?;
        view.locks.entry(session).or_default().insert(Bytes::copy_from_slice(key));
        Ok(())
    })?;
    each(store, Table::LockDelays, b"", |key, row| {
        view.lock_delays.insert(Bytes::copy_from_slice(key), decode_index(Table::LockDelays, key, row)?);
        Ok(())
    })?;
    each(store, Table::Coordinates, b"", |key, row| {
        let coordinate: NodeCoordinate = decode(Table::Coordinates, key, row)?;
        let (node, segment) = split(Table::Coordinates, key)?;
        let node = text(Table::Coordinates, key, node)?;
        let segment = text(Table::Coordinates, key, segment)?;
        view.coordinates.insert((node, segment), Arc::new(coordinate));
        Ok(())
    })?;
    let mut restore = Ok(None);
    store.get(Table::Restore, RESTORE_KEY, &mut |row| {
        restore = decode(Table::Restore, RESTORE_KEY, row).map(|under_way| Some(Arc::new(under_way)));
    })?;
    view.restore = restore?;
    let mut autopilot = None;
    store.get(Table::Meta, AUTOPILOT_KEY, &mut |row| {
        autopilot = Some(decode(Table::Meta, AUTOPILOT_KEY, row));
    })?;
    view.autopilot = autopilot.transpose()?.map(Arc::new);
    Ok(view)
}
