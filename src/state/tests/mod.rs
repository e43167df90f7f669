//! Proof of the state core: random command sequences against a simple model, crashes and replays,
//! exactness of wakes, snapshots, and the rules asked of Consul 1.8.7 as tables.

mod apply;
mod commands;
mod consul;
mod model;
mod reads;
mod replay;
mod restore;
mod snapshots;
mod watches;

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::command::Outcome;
use super::machine::StateMachine;
use super::store::{Change, MemoryStore, ReadStore, Table, WriteStore};
use super::store_disk::DiskStore;
use super::writer::Event;
use commands::Entry;

/// Every row of every table.
type Rows = Vec<(Table, Vec<u8>, Vec<u8>)>;

fn rows(store: &dyn ReadStore) -> Rows {
    let mut rows = Vec::new();
    for table in Table::ALL {
        store
            .scan(table, b"", &mut |key, row| {
                rows.push((table, key.to_vec(), row.to_vec()));
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    rows
}

/// A store with the same rows that shares nothing.
fn copy(store: &dyn ReadStore) -> MemoryStore {
    let copy = MemoryStore::default();
    let puts = rows(store).into_iter().map(|(table, key, row)| Change::Put(table, key, row));
    copy.write(&puts.collect::<Vec<_>>()).unwrap();
    copy
}

fn machine(store: &(impl WriteStore + Clone + 'static)) -> StateMachine {
    StateMachine::open(Box::new(store.clone())).unwrap()
}

fn disk_store(directory: &tempfile::TempDir) -> DiskStore {
    DiskStore::open(directory.path(), Arc::new(|error| panic!("{error}"))).unwrap()
}

/// Everything the view holds, derived parts included.
fn view_text(machine: &StateMachine) -> String {
    assert!(Arc::ptr_eq(machine.view(), &machine.reader().view_full()), "the published view is the live one");
    format!("{:#?}", machine.view())
}

/// Applies entries in batches of the sizes given, which repeat; answers what they answered.
fn apply_in_batches(
    machine: &mut StateMachine,
    entries: &[Entry],
    sizes: &[usize],
    mut after_batch: impl FnMut(&StateMachine, usize),
) -> (Vec<Option<Outcome>>, Vec<Event>) {
    let encoded: Vec<(u64, Bytes)> =
        entries.iter().map(|(index, envelope)| (*index, envelope.encode().unwrap())).collect();
    let (mut outcomes, mut events) = (Vec::new(), Vec::new());
    let mut rest = &encoded[..];
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        rest = after;
        let applied = machine.apply(batch.iter().map(|(index, data)| (*index, &data[..]))).unwrap();
        outcomes.extend(applied.outcomes);
        events.extend(applied.events);
        after_batch(machine, encoded.len() - rest.len());
    }
    (outcomes, events)
}
