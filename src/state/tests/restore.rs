//! A restored state is the archived one, on every server, whatever it held before and however its log was cut into
//! batches; and what cannot be restored changes nothing.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::commands::{batch_sizes, commands, settle};
use super::model::Model;
use super::{apply_in_batches, disk_store, machine, rows, view_text};
use crate::state::archive::{ArchiveOrigin, Moment};
use crate::state::command::{KvCommand, KvVerb, RestoreChunk, RestoreFinish};
use crate::state::restore::GIVES_WAY_MS;
use crate::state::store::{MemoryStore, Table, WriteStore};
use crate::state::watch::Topic;
use crate::state::{Command, Envelope, Event, Outcome, StateMachine, View};

const NOW: u64 = 2_000_000;

fn archive_of(machine: &StateMachine) -> Vec<u8> {
    let reader = machine.reader();
    Moment::take(&reader).unwrap().write(Vec::new(), &ArchiveOrigin::default()).unwrap()
}

/// The commands of a restore.
fn restore(id: &str, archive: &[u8], piece: usize) -> Vec<Command> {
    let id: Arc<str> = id.into();
    let mut commands: Vec<Command> = archive
        .chunks(piece)
        .zip(0..)
        .map(|(data, number)| {
            let data = Bytes::copy_from_slice(data);
            Command::RestoreChunk(RestoreChunk { id: id.clone(), number, data })
        })
        .collect();
    let chunks = commands.len().try_into().unwrap();
    let sha256 = Bytes::copy_from_slice(&Sha256::digest(archive));
    commands.push(Command::RestoreFinish(RestoreFinish { id, chunks, sha256 }));
    commands
}

fn entries(from: u64, commands: Vec<Command>) -> Vec<(u64, Envelope)> {
    (from..).zip(commands.into_iter().map(|command| Envelope { now_ms: NOW, command })).collect()
}

/// Applies one command after the last; answers its outcome and the events.
fn apply(machine: &mut StateMachine, now_ms: u64, command: Command) -> (Outcome, Vec<Event>) {
    let data = Envelope { now_ms, command }.encode().unwrap();
    let mut applied = machine.apply([(machine.applied_index() + 1, &data[..])]).unwrap();
    (applied.outcomes.pop().unwrap().unwrap(), applied.events)
}

fn set(key: &'static str) -> Command {
    Command::Kv(KvCommand {
        verb: KvVerb::Set,
        key: key.into(),
        value: "v".into(),
        flags: 0,
        cas: 0,
        session: None,
    })
}

fn filled(keys: &[&'static str]) -> (MemoryStore, StateMachine) {
    let store = MemoryStore::default();
    let mut machine = machine(&store);
    for key in keys {
        apply(&mut machine, NOW, set(key));
    }
    (store, machine)
}

fn has(machine: &StateMachine, key: &str) -> bool {
    machine.reader().kv_get(key.as_bytes(), |_| ()).unwrap().is_some()
}

fn modified(machine: &StateMachine, key: &str) -> u64 {
    machine.reader().kv_get(key.as_bytes(), |row| row.indexes.modify_index).unwrap().unwrap()
}

fn assert_refused(outcome: &Outcome, part: &str) {
    assert!(matches!(outcome, Outcome::Refused(text) if text.contains(part)), "{outcome:?}");
}

/// The rows of records, without those that say where the log is.
fn records(store: &MemoryStore) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let mut rows = rows(store);
    rows.retain(|(table, key, _)| *table != Table::Meta || key != b"applied");
    rows
}

/// What is in a view, whatever its place in the log.
fn content(view: &View) -> String {
    format!("{:#?}", View { index: 0, applied: 0, restored: 0, ..view.clone() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_server_gets_the_archived_state(
        source in commands(0..50),
        target in commands(0..30),
        then in commands(0..10),
        piece in 1_usize..600,
        sizes in batch_sizes(),
    ) {
        let (source, model) = settle(source, Model::default());
        let source_store = MemoryStore::default();
        let mut archived = machine(&source_store);
        apply_in_batches(&mut archived, &source, &sizes, |_, _| ());
        let archive = archive_of(&archived);

        let (mut log, before) = settle(target, Model::default());
        let at = log.last().map_or(1, |(index, _)| index + 1).max(before.index + 1);
        log.extend(entries(at, restore("r", &archive, piece)));
        let (one_store, two_store) = (MemoryStore::default(), MemoryStore::default());
        let (mut one, mut two) = (machine(&one_store), machine(&two_store));
        let (outcomes, events) = apply_in_batches(&mut one, &log, &[1], |_, _| ());
        prop_assert_eq!(outcomes.last().unwrap().as_ref(), Some(&Outcome::Done));
        prop_assert_eq!(events.last(), Some(&Event::Replaced));
        let same = apply_in_batches(&mut two, &log, &sizes, |_, _| ());
        prop_assert_eq!((outcomes, events), same, "batches make no difference");
        prop_assert_eq!(rows(&one_store), rows(&two_store));

        prop_assert!(content(one.view()) == content(archived.view()));
        prop_assert_eq!(records(&one_store), records(&source_store));
        let last = log.last().unwrap().0;
        prop_assert_eq!((one.view().applied, one.view().restored), (last, last));
        prop_assert!(one.view().index > archived.view().index, "what follows is newer than all there is");
        prop_assert_eq!(view_text(&machine(&one_store)), view_text(&one), "and it is found again");

        // A replay from before finds it all done.
        let encoded: Vec<_> = log.iter().map(|(index, envelope)| (*index, envelope.encode().unwrap())).collect();
        let again = one.apply(encoded.iter().map(|(index, data)| (*index, &data[..]))).unwrap();
        prop_assert!(again.outcomes.iter().all(Option::is_none) && again.events.is_empty());

        // It goes on as the archived one would, with other indexes.
        let (then, _) = settle(then, model);
        let first = then.first().map_or(0, |(index, _)| *index);
        let there = one.applied_index() + 1;
        let shifted: Vec<_> = then
            .into_iter()
            .map(|(index, envelope)| (index - first + there, envelope))
            .collect();
        apply_in_batches(&mut one, &shifted, &sizes, |_, _| ());
        apply_in_batches(&mut two, &shifted, &[2], |_, _| ());
        prop_assert_eq!(view_text(&one), view_text(&two));
        prop_assert_eq!(view_text(&machine(&one_store)), view_text(&one));
    }
}

#[test]
fn it_is_so_on_disk_and_wakes_everybody() {
    let (_, source) = filled(&["a", "b", "c"]);
    let archive = archive_of(&source);
    let directory = tempfile::tempdir().unwrap();
    let store = disk_store(&directory);
    let mut target = machine(&store);
    apply(&mut target, NOW, set("z"));
    let reader = target.reader();
    let mut watch = reader.watches().subscribe([Topic::Session("any".into())]);
    for command in restore("r", &archive, 100) {
        assert!((&mut watch).now_or_never().is_none(), "pieces wake nobody");
        assert_eq!(apply(&mut target, NOW, command).0, Outcome::Done);
    }
    assert!((&mut watch).now_or_never().is_some());
    assert!(has(&target, "a") && has(&target, "c") && !has(&target, "z"));
    assert_eq!(
        rows(&store).iter().filter(|(table, ..)| *table == Table::Restore).count(),
        0,
        "pieces are gone"
    );
    let want = view_text(&target);
    drop((store, target, reader, watch));
    assert_eq!(view_text(&machine(&disk_store(&directory))), want);
}

#[test]
fn indexes_go_back_with_the_archive_and_on_from_the_highest() {
    // The archive is older than the log: its indexes come back, the state's index goes on.
    let (_, mut state) = filled(&["a", "b"]);
    let archive = archive_of(&state);
    for key in ["c", "d", "e"] {
        apply(&mut state, NOW, set(key));
    }
    assert_eq!(state.view().kv_index(), 5);
    for command in restore("r", &archive, 1 << 20) {
        apply(&mut state, NOW, command);
    }
    assert_eq!((state.view().kv_index(), state.view().index, state.view().applied), (2, 7, 7));

    // It is ahead of the log: what comes next is higher than all in it.
    let (_, mut other) = filled(&[]);
    for command in restore("r", &archive_of(&state), 1 << 20) {
        apply(&mut other, NOW, command);
    }
    assert_eq!((other.view().applied, other.view().index, other.view().kv_index()), (2, 8, 2));
    assert_eq!(modified(&other, "b"), 2);
    apply(&mut other, NOW, set("c"));
    assert_eq!((other.applied_index(), modified(&other, "c"), other.view().kv_index()), (3, 9, 9));
    // Older archives do not bring it back.
    for command in restore("r", &archive, 1 << 20) {
        apply(&mut other, NOW, command);
    }
    assert_eq!((other.view().applied, other.view().index, other.view().kv_index()), (5, 11, 2));
}

#[test]
fn one_restore_at_a_time() {
    let (_, source) = filled(&["a"]);
    let archive = archive_of(&source);
    let (store, mut target) = filled(&["z"]);
    let pieces = || rows(&store).iter().filter(|(table, ..)| *table == Table::Restore).count();
    let one = restore("one", &archive, 50);
    let two = restore("two", &archive, 60);
    assert!(one.len() > 4 && two.len() > 4);
    apply(&mut target, NOW, one[0].clone());
    apply(&mut target, NOW + 1, one[1].clone());
    assert_refused(&apply(&mut target, NOW + 2, two[0].clone()).0, "another restore is under way");
    assert_refused(&apply(&mut target, NOW + 2, two[1].clone()).0, "not under way any more");
    assert_refused(&apply(&mut target, NOW + 2, one[1].clone()).0, "not under way any more");
    assert_refused(&apply(&mut target, NOW + 2, one[3].clone()).0, "not under way any more");
    assert_refused(&apply(&mut target, NOW + 2, two.last().unwrap().clone()).0, "not under way");
    assert_refused(&apply(&mut target, NOW + 2, one.last().unwrap().clone()).0, "not under way");
    assert_eq!(apply(&mut target, NOW + 2, Command::RestoreAbort { id: "two".into() }).0, Outcome::Done);
    assert_eq!(pieces(), 0, "whoever ends too early gives up");

    // It gives way when nothing comes for too long, to another one or to the collection of tombstones.
    for command in &one[..3] {
        apply(&mut target, NOW + 10, command.clone());
    }
    assert_eq!(pieces(), 4);
    let late = NOW + 10 + GIVES_WAY_MS;
    apply(&mut target, late - 1, Command::ReapTombstones { up_to: 0 });
    assert_eq!(pieces(), 4);
    assert_eq!(apply(&mut target, late, two[0].clone()).0, Outcome::Done);
    assert_eq!(pieces(), 2);
    assert_refused(&apply(&mut target, late, one[3].clone()).0, "not under way");
    apply(&mut target, late + GIVES_WAY_MS, Command::ReapTombstones { up_to: 0 });
    assert_eq!((pieces(), target.view().restore.clone()), (0, None));

    apply(&mut target, late, one[0].clone());
    apply(&mut target, late, Command::RestoreAbort { id: "one".into() });
    assert_eq!(pieces(), 0);
    assert!(has(&target, "z"), "nothing of it all was seen");
}

#[test]
fn what_cannot_be_restored_changes_nothing() {
    let (_, source) = filled(&["a"]);
    let good = archive_of(&source);
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let consul = include_bytes!("../testdata/consul-1.8.7.snap");
    let mut other_sum = restore("r", &good, 100);
    if let Some(Command::RestoreFinish(finish)) = other_sum.last_mut() {
        finish.sha256 = Bytes::from_static(&[0; 32]);
    }
    let cases: [(&str, Vec<Command>, &str); 4] = [
        ("damaged", restore("r", &flipped, 100), "failed to"),
        ("cut off", restore("r", &good[..good.len() - 20], 100), "failed to"),
        ("another sum", other_sum, "it did not arrive as it was sent"),
        ("records without a table", restore("r", consul, 1 << 20), "cannot store its"),
    ];
    for (case, commands, text) in cases {
        let (store, mut target) = filled(&["z"]);
        let (before, kept) = (content(target.view()), records(&store));
        let (outcomes, events) = apply_in_batches(&mut target, &entries(2, commands), &[7], |_, _| ());
        assert_refused(outcomes.last().unwrap().as_ref().unwrap(), text);
        assert!(events.is_empty(), "{case}");
        assert_eq!((content(target.view()), records(&store)), (before, kept), "{case}");
        assert_eq!(view_text(&machine(&store)), view_text(&target), "{case}");
    }
}

#[test]
fn a_snapshot_in_the_middle_carries_the_pieces() {
    let (_, source) = filled(&["a", "b"]);
    let log = entries(2, restore("r", &archive_of(&source), 64));
    let (middle, rest) = log.split_at(log.len() / 2);
    let (store, mut one) = filled(&["z"]);
    apply_in_batches(&mut one, middle, &[1], |_, _| ());
    let mut bytes = Vec::new();
    crate::state::snapshot::write(&*store.reader().freeze(), &mut bytes).unwrap();
    let other_store = MemoryStore::default();
    let mut other = machine(&other_store);
    other.install(&bytes[..]).unwrap();
    apply_in_batches(&mut one, rest, &[1], |_, _| ());
    apply_in_batches(&mut other, rest, &[100], |_, _| ());
    assert!(has(&other, "a") && !has(&other, "z"));
    assert_eq!(view_text(&one), view_text(&other));
    assert_eq!(rows(&store), rows(&other_store));
}
