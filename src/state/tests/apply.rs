//! The state against the model, command by command and in batches.

use proptest::prelude::*;

use super::commands::{batch_sizes, commands, settle};
use super::model::Model;
use super::{apply_in_batches, disk_store, machine, reads, rows, view_text};
use crate::state::store::MemoryStore;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_read_is_the_models(commands in commands(1..60)) {
        let (entries, _) = settle(commands, Model::default());
        let store = MemoryStore::default();
        let mut machine = machine(&store);
        let mut model = Model::default();
        for (index, envelope) in &entries {
            let want = model.apply(*index, envelope);
            let data = envelope.encode().unwrap();
            let applied = machine.apply([(*index, &data[..])]).unwrap();
            prop_assert_eq!(&applied.outcomes, &vec![Some(want)], "outcome of {:?}", envelope);
            let events = std::mem::take(&mut model.events);
            prop_assert_eq!(&applied.events, &events, "events of {:?}", envelope);
            reads::compare(&model, &machine.reader());
        }
    }

    #[test]
    fn batches_do_not_matter(commands in commands(1..80), sizes in batch_sizes()) {
        let (entries, model) = settle(commands, Model::default());
        let (one_store, batch_store) = (MemoryStore::default(), MemoryStore::default());
        let (mut one_by_one, mut in_batches) = (machine(&one_store), machine(&batch_store));
        let want = apply_in_batches(&mut one_by_one, &entries, &[1], |_, _| ());
        let found = apply_in_batches(&mut in_batches, &entries, &sizes, |_, _| ());
        prop_assert_eq!(found, want);
        reads::compare(&model, &in_batches.reader());
        prop_assert_eq!(view_text(&in_batches), view_text(&one_by_one));
        prop_assert_eq!(rows(&batch_store), rows(&one_store));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn on_disk_every_read_is_the_models(commands in commands(30..80), sizes in batch_sizes()) {
        let (entries, model) = settle(commands, Model::default());
        let directory = tempfile::tempdir().unwrap();
        let store = disk_store(&directory);
        let mut machine = machine(&store);
        apply_in_batches(&mut machine, &entries, &sizes, |_, _| ());
        reads::compare(&model, &machine.reader());
    }
}
