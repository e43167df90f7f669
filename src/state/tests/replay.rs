//! Crashes: whatever of the last batches is lost, opening the store and replaying the log from
//! anywhere at or before the loss gives the state of a run without a crash.

use proptest::prelude::*;
use proptest::sample::Index;

use super::commands::{Entry, batch_sizes, commands, settle};
use super::model::Model;
use super::{apply_in_batches, copy, disk_store, machine, rows, view_text};
use crate::state::store::{MemoryStore, WriteStore};

/// An uninterrupted run: the stores as they were after each batch, with the number of entries in them.
fn run(entries: &[Entry], sizes: &[usize]) -> (MemoryStore, Vec<(usize, MemoryStore)>, String) {
    let store = MemoryStore::default();
    let mut machine = machine(&store);
    let mut borders = vec![(0, copy(&store))];
    apply_in_batches(&mut machine, entries, sizes, |_, applied| borders.push((applied, copy(&store))));
    (store, borders, view_text(&machine))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_replay_from_anywhere_ends_in_the_same_state(
        commands in commands(1..60),
        sizes in batch_sizes(),
        replay_sizes in batch_sizes(),
        crash in any::<Index>(),
        replay_from in any::<Index>(),
    ) {
        let (entries, _) = settle(commands, Model::default());
        let (store, borders, want) = run(&entries, &sizes);
        let (survived, crashed) = crash.get(&borders);
        let mut again = machine(crashed);
        let applied = again.applied_index();
        prop_assert_eq!(applied, if *survived == 0 { 0 } else { entries[*survived - 1].0 });
        let from = replay_from.index(*survived + 1);
        let (outcomes, _) = apply_in_batches(&mut again, &entries[from..], &replay_sizes, |_, _| ());
        for ((index, _), outcome) in entries[from..].iter().zip(&outcomes) {
            prop_assert_eq!(outcome.is_none(), *index <= applied, "entry {} was applied twice or not at all", index);
        }
        prop_assert_eq!(view_text(&again), want);
        prop_assert_eq!(rows(crashed), rows(&store));
    }

    #[test]
    fn what_is_loaded_is_what_was_live(commands in commands(1..60), sizes in batch_sizes()) {
        let (entries, _) = settle(commands, Model::default());
        let store = MemoryStore::default();
        let mut live = machine(&store);
        apply_in_batches(&mut live, &entries, &sizes, |live, _| {
            assert_eq!(view_text(&machine(&store)), view_text(live));
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn what_is_loaded_from_disk_is_what_was_live(commands in commands(20..80), sizes in batch_sizes()) {
        let (entries, _) = settle(commands, Model::default());
        let half = entries.len() / 2;
        let directory = tempfile::tempdir().unwrap();
        let mut live = machine(&disk_store(&directory));
        apply_in_batches(&mut live, &entries[..half], &sizes, |_, _| ());
        let before = view_text(&live);
        drop(live);

        let store = disk_store(&directory);
        let mut live = machine(&store);
        prop_assert_eq!(view_text(&live), before);
        apply_in_batches(&mut live, &entries, &sizes, |_, _| ());
        live.make_durable().unwrap();
        let (memory, _, want) = run(&entries, &sizes);
        prop_assert_eq!(view_text(&live), want);
        prop_assert_eq!(rows(&*store.reader().freeze()), rows(&memory));
    }
}
