//! A snapshot installed anywhere is the state it was taken of, and one that is damaged or cut off
//! anywhere never becomes anybody's state.

use futures::FutureExt;
use proptest::prelude::*;
use proptest::sample::Index;

use super::commands::{KEYS, batch_sizes, commands, settle};
use super::model::Model;
use super::{apply_in_batches, disk_store, machine, reads, rows, view_text};
use crate::state::snapshot::{self, SnapshotError};
use crate::state::store::{MemoryStore, SharedStore, WriteStore};
use crate::state::watch::Topic;
use crate::state::{Command, StateError, StateMachine};

type Commands = Vec<(u64, Command)>;

/// A state that went through some commands, and the model of it.
fn state_after(commands: Commands, sizes: &[usize]) -> (MemoryStore, StateMachine, Model) {
    let (entries, model) = settle(commands, Model::default());
    let store = MemoryStore::default();
    let mut machine = machine(&store);
    apply_in_batches(&mut machine, &entries, sizes, |_, _| ());
    (store, machine, model)
}

fn taken(store: &dyn SharedStore, index: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert_eq!(snapshot::write(&*store.freeze(), &mut bytes).unwrap(), index);
    bytes
}

fn is_half_installed(error: Option<&StateError>) -> bool {
    matches!(error, Some(StateError::HalfInstalled { .. }))
}

/// Installs into a machine over `store` and goes on from there.
fn install_and_go_on(
    store: &(impl WriteStore + Clone + 'static),
    target: &mut StateMachine,
    source: (&MemoryStore, &mut StateMachine, Model),
    then: Commands,
) {
    let (source_store, live, model) = source;
    let bytes = taken(source_store, live.applied_index());
    assert_eq!(snapshot::verify(&bytes[..]).unwrap(), live.applied_index());
    let reader = target.reader();
    let mut watch = reader.watches().subscribe([Topic::Session("any".into())]);
    assert_eq!(target.install(&bytes[..]).unwrap(), live.applied_index());
    assert!((&mut watch).now_or_never().is_some(), "everybody is woken");
    let rows_now = |store: &dyn WriteStore| rows(&*store.reader().freeze());
    assert_eq!(rows_now(store), rows_now(source_store));
    assert_eq!(view_text(target), view_text(live));
    reads::compare(&Model { events: Vec::new(), ..model.clone() }, &reader);

    let (entries, model) = settle(then, model);
    let want = apply_in_batches(live, &entries, &[1], |_, _| ());
    assert_eq!(apply_in_batches(target, &entries, &[3], |_, _| ()), want);
    reads::compare(&model, &reader);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn snapshot_and_install_are_the_identity(
        source in commands(0..50),
        target in commands(0..30),
        then in commands(0..20),
        sizes in batch_sizes(),
    ) {
        let (source_store, mut live, model) = state_after(source, &sizes);
        let (store, mut target, _) = state_after(target, &sizes);
        install_and_go_on(&store, &mut target, (&source_store, &mut live, model), then);
    }

    #[test]
    fn a_damaged_snapshot_is_never_served(
        source in commands(5..40),
        target in commands(5..30),
        at in any::<Index>(),
        flip in prop_oneof![Just(None), (1..=255_u8).prop_map(Some)],
    ) {
        let (source_store, live, _) = state_after(source, &[1]);
        let good = taken(&source_store, live.applied_index());
        let at = at.index(good.len());
        let mut bad = good.clone();
        match flip {
            Some(bits) => bad[at] ^= bits,
            None => bad.truncate(at),
        }
        prop_assert!(snapshot::verify(&bad[..]).is_err());

        let (store, mut target, _) = state_after(target, &[1]);
        let before = (view_text(&target), rows(&store));
        let reader = target.reader();
        let error = target.install(&bad[..]).unwrap_err();
        let in_head = at < 20 && !matches!((flip, at), (Some(_), 12..));
        if in_head {
            prop_assert!(matches!(
                error,
                SnapshotError::NotASnapshot | SnapshotError::Version(_) | SnapshotError::Truncated
            ));
            prop_assert_eq!((view_text(&target), rows(&store)), before, "nothing has happened");
            prop_assert_eq!(target.apply([(1_000, &[][..])]).unwrap().outcomes.len(), 1);
        } else {
            prop_assert!(matches!(error, SnapshotError::Damaged(_) | SnapshotError::Truncated), "{}", error);
            for key in KEYS {
                prop_assert!(matches!(reader.kv_get(key, |_| ()), Err(StateError::Installing)));
            }
            prop_assert!(matches!(reader.kv_scan(b"", |_, _| std::ops::ControlFlow::Continue(())), Err(StateError::Installing)));
            let applied = target.apply([(1_000, &[][..])]).err();
            prop_assert!(is_half_installed(applied.as_ref()), "applied to a half-installed state");
            let reopened = StateMachine::open(Box::new(store.clone())).err();
            prop_assert!(is_half_installed(reopened.as_ref()), "opened a half-installed state");
            prop_assert!(snapshot::write(&store, std::io::sink()).is_err(), "nor passed on");
            // A good one heals the store.
            snapshot::install(&store, snapshot::Reader::open(&good[..]).unwrap()).unwrap();
            prop_assert_eq!(view_text(&machine(&store)), view_text(&live));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn so_it_is_on_disk(source in commands(20..60), target in commands(20..60), then in commands(0..20)) {
        let (source_store, mut live, model) = state_after(source, &[4]);
        let directory = tempfile::tempdir().unwrap();
        let store = disk_store(&directory);
        let mut on_disk = machine(&store);
        let (entries, _) = settle(target, Model::default());
        apply_in_batches(&mut on_disk, &entries, &[4], |_, _| ());
        install_and_go_on(&store, &mut on_disk, (&source_store, &mut live, model), then);
        let want = view_text(&on_disk);
        drop((store, on_disk));
        prop_assert_eq!(view_text(&machine(&disk_store(&directory))), want);
    }
}

#[test]
fn many_frames_arrive_whole() {
    let store = MemoryStore::default();
    let rows_of = |n: u32| {
        crate::state::store::Change::Put(
            crate::state::store::Table::Tombstones,
            format!("key/{n:06}").into_bytes(),
            vec![7; 100],
        )
    };
    store.write(&(0..20_000).map(rows_of).collect::<Vec<_>>()).unwrap();
    let bytes = taken(&store, 0);
    let target = MemoryStore::default();
    snapshot::install(&target, snapshot::Reader::open(&bytes[..]).unwrap()).unwrap();
    assert_eq!(rows(&target), rows(&store));
}

#[test]
fn a_wrong_length_allocates_nothing() {
    let mut bytes = b"TRIBSNAP\0\0\0\x01\0\0\0\0\0\0\0\x05".to_vec();
    bytes.extend(u32::MAX.to_be_bytes());
    assert!(matches!(snapshot::verify(&bytes[..]), Err(SnapshotError::Damaged("frame too large"))));
    bytes.truncate(20);
    bytes.extend((200_u32 << 20).to_be_bytes());
    assert!(matches!(snapshot::verify(&bytes[..]), Err(SnapshotError::Truncated)));
}
