use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::raft::membership::ServerRecord;
use crate::raft::{Driver, DriverConfig, Effect, ProposalId, RaftError};

fn entries(indexes: std::ops::RangeInclusive<u64>, term: u64, size: usize) -> Vec<Entry> {
    indexes
        .map(|index| {
            let data: Bytes = vec![u8::try_from(index % 251).unwrap(); size].into();
            Entry { index, term, data, ..Entry::default() }
        })
        .collect()
}

fn append(log: &mut LogDisk, entries: Vec<Entry>) {
    log.write(&LogWrite { entries, must_sync: true, ..LogWrite::default() }).unwrap();
}

fn read(log: &LogDisk, low: u64, high: u64) -> Vec<(u64, u64, usize)> {
    let mut found = Vec::new();
    log.entries(low, high, u64::MAX, &mut found).unwrap();
    found.iter().map(|entry| (entry.index, entry.term, entry.data.len())).collect()
}

fn newest(dir: &TempDir) -> PathBuf {
    let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|suffix| suffix == "raftlog")).max().unwrap()
}

#[test]
fn everything_comes_back_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let membership = Membership::founding([ServerRecord::default()]);
    let manifest = Manifest { index: 7, term: 2, membership: membership.clone(), ..Manifest::default() };
    let hard_state = HardState { term: 4, vote: 9, commit: 3, ..HardState::default() };
    {
        let mut log = LogDisk::open(dir.path()).unwrap();
        assert_eq!(log.state().unwrap(), LogState::default(), "new");
        let write = LogWrite {
            entries: entries(1..=5, 3, 10),
            hard_state: Some(hard_state.clone()),
            membership: Some(membership.clone()),
            installing: Some(Some(manifest.clone())),
            server: Some(42),
            must_sync: true,
            ..LogWrite::default()
        };
        log.write(&write).unwrap();
        append(&mut log, entries(4..=6, 4, 20)); // overwrites a tail
        assert!(
            matches!(LogDisk::open(dir.path()), Err(LogError::Locked { .. })),
            "a second process is refused"
        );
    }
    let mut log = LogDisk::open(dir.path()).unwrap();
    let state = log.state().unwrap();
    assert_eq!(state.hard_state, hard_state);
    assert_eq!(state.membership, Some(membership));
    assert_eq!(state.installing, Some(manifest));
    assert_eq!((state.server, state.last_index), (Some(42), 6));
    assert_eq!(read(&log, 3, 7), [(3, 3, 10), (4, 4, 20), (5, 4, 20), (6, 4, 20)]);
    let mut found = Vec::new();
    log.entries(1, 7, 50, &mut found).unwrap();
    assert_eq!(found.len(), 1, "limited, but never to nothing");

    log.write(&LogWrite { installing: Some(None), must_sync: true, ..LogWrite::default() }).unwrap();
    let compact = LogPosition { index: 4, term: 4 };
    log.write(&LogWrite { compact: Some(compact), must_sync: true, ..LogWrite::default() }).unwrap();
    drop(log);
    let mut log = LogDisk::open(dir.path()).unwrap();
    let state = log.state().unwrap();
    assert_eq!((state.truncated, state.last_index, state.installing), (compact, 6, None));
    assert_eq!(read(&log, 5, 7), [(5, 4, 20), (6, 4, 20)]);
    assert!(log.entries(4, 5, u64::MAX, &mut found).is_err(), "compacted");

    let reset = LogPosition { index: 100, term: 9 };
    let write = LogWrite {
        reset: Some(reset),
        entries: entries(101..=102, 9, 5),
        must_sync: true,
        ..LogWrite::default()
    };
    log.write(&write).unwrap();
    append(&mut log, entries(103..=103, 9, 5));
    drop(log);
    let log = LogDisk::open(dir.path()).unwrap();
    let state = log.state().unwrap();
    assert_eq!((state.truncated, state.last_index, state.server), (reset, 103, Some(42)));
    assert_eq!(state.hard_state, hard_state, "a snapshot leaves the vote alone");
    assert_eq!(read(&log, 101, 104).len(), 3);
}

#[test]
fn a_whole_log_compacted_away_continues() {
    let dir = TempDir::new().unwrap();
    let mut log = LogDisk::open(dir.path()).unwrap();
    append(&mut log, entries(1..=9, 1, 10));
    let compact = Some(LogPosition { index: 9, term: 1 });
    log.write(&LogWrite { compact, must_sync: true, ..LogWrite::default() }).unwrap();
    assert_eq!(log.state().unwrap().last_index, 9);
    drop(log);
    let mut log = LogDisk::open(dir.path()).unwrap();
    assert_eq!(log.state().unwrap().last_index, 9);
    append(&mut log, entries(10..=12, 2, 10));
    drop(log);
    let log = LogDisk::open(dir.path()).unwrap();
    assert_eq!((log.state().unwrap().truncated.index, log.state().unwrap().last_index), (9, 12));
}

#[test]
fn entries_that_come_back_after_a_purge_are_forgotten_again() {
    let dir = TempDir::new().unwrap();
    let mut log = LogDisk::open(dir.path()).unwrap();
    append(&mut log, entries(1..=5, 1, 10));
    // The truncation without its compaction: as if the file with that one had been deleted.
    log.put(TRUNCATED, &(20_u64, 1_u64)).unwrap();
    log.engine.write(&mut log.batch, true).unwrap();
    drop(log);
    let mut log = LogDisk::open(dir.path()).unwrap();
    assert_eq!(log.state().unwrap().last_index, 20);
    append(&mut log, entries(21..=22, 2, 10));
    drop(log);
    assert_eq!(read(&LogDisk::open(dir.path()).unwrap(), 21, 23), [(21, 2, 10), (22, 2, 10)]);
}

/// Cuts the last file so that its last write is torn.
fn tear(dir: &TempDir) -> PathBuf {
    let path = newest(dir);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 7).unwrap();
    path
}

#[test]
fn a_torn_last_write_is_cut_off() {
    let dir = TempDir::new().unwrap();
    let mut log = LogDisk::open(dir.path()).unwrap();
    append(&mut log, entries(1..=5, 1, 100));
    append(&mut log, entries(6..=8, 1, 100));
    drop(log);
    tear(&dir);
    let mut log = LogDisk::open(dir.path()).unwrap();
    assert_eq!(log.state().unwrap().last_index, 5, "whole batches only");
    append(&mut log, entries(6..=7, 2, 10));
    drop(log);
    assert_eq!(LogDisk::open(dir.path()).unwrap().state().unwrap().last_index, 7);
}

#[test]
fn reserved_space_after_a_kill_is_no_damage() {
    let dir = TempDir::new().unwrap();
    let mut log = LogDisk::open(dir.path()).unwrap();
    append(&mut log, entries(1..=5, 1, 100));
    drop(log);
    let mut file = OpenOptions::new().append(true).open(newest(&dir)).unwrap();
    file.write_all(&vec![0; 100_000]).unwrap();
    assert_eq!(LogDisk::open(dir.path()).unwrap().state().unwrap().last_index, 5);
}

#[test]
fn damage_before_other_writes_is_refused_and_named() {
    for (name, at_write) in [("first write of the last file", 0), ("a later one", 3)] {
        let dir = TempDir::new().unwrap();
        let mut log = LogDisk::open(dir.path()).unwrap();
        for number in 1..=6 {
            append(&mut log, entries(number..=number, 1, 1_000));
        }
        drop(log);
        let path = newest(&dir);
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let before = file.metadata().unwrap().len();
        let bytes = std::fs::read(&path).unwrap();
        // Writes follow each other; where the file's header ends, a chain of six begins.
        let chain = |start: usize| {
            let mut ends = Vec::new();
            let mut at = start;
            while let Some(header) = bytes.get(at..at + 8) {
                at += usize::try_from(u64::from_be_bytes(header.try_into().unwrap()) >> 8).unwrap().max(1);
                ends.push(at as u64);
            }
            ends
        };
        let ends = (8..128).map(chain).find(|ends| ends.len() == 6 && ends[5] == before).unwrap();
        // The end of a write is its index part, which is checked when the file is read.
        let end = ends[at_write];
        file.write_all_at(&[0xff; 4], end - 8).unwrap();
        let Err(error) = LogDisk::open(dir.path()) else { panic!("{name}: opened") };
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()), "{name}: names the file: {text}");
        assert!(text.contains("backup"), "{name}: names a remedy: {text}");
        assert_eq!(file.metadata().unwrap().len(), before, "{name}: nothing was cut off");
    }
}

#[test]
fn damage_in_older_files_is_refused_and_named() {
    let dir = TempDir::new().unwrap();
    let mut log = LogDisk::open(dir.path()).unwrap();
    for number in 1..=40 {
        append(&mut log, entries(number..=number, 1, 500_000));
    }
    drop(log);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|suffix| suffix == "raftlog"));
    files.sort();
    assert!(files.len() >= 3, "several files: {files:?}");
    let damaged = &files[1];
    let file = OpenOptions::new().write(true).open(damaged).unwrap();
    let size = file.metadata().unwrap().len();
    file.write_all_at(&[0xa5; 64], size - 64).unwrap();
    let Err(error) = LogDisk::open(dir.path()) else { panic!("opened") };
    assert!(error.to_string().contains(damaged.to_str().unwrap()), "{error}");
    std::fs::remove_file(damaged).unwrap();
    let error = match LogDisk::open(dir.path()) {
        Ok(log) => log.state().unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, LogError::Corrupt { .. }), "a missing file leaves a gap: {error}");
}

#[test]
fn damaged_data_is_found_when_it_is_read() {
    let dir = TempDir::new().unwrap();
    let mut log = LogDisk::open(dir.path()).unwrap();
    for number in 1..=5 {
        append(&mut log, entries(number..=number, 1, 1_000));
    }
    let path = newest(&dir);
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[0xff; 8], 200).unwrap();
    let mut found = Vec::new();
    let error = log.entries(1, 2, u64::MAX, &mut found).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    drop(log);
    // A state that had not applied it must not go on without it.
    let driver = LogDisk::open(dir.path()).and_then(|mut log| {
        let membership = Membership::founding([ServerRecord::default()]);
        let id = ServerRecord::default().raft_id();
        let hard_state = HardState { term: 1, commit: 5, ..HardState::default() };
        let membership = Membership { index: 0, ..membership };
        log.write(&LogWrite {
            server: Some(id),
            membership: Some(membership),
            hard_state: Some(hard_state),
            must_sync: true,
            ..LogWrite::default()
        })?;
        Ok((id, log))
    });
    let (id, log) = driver.unwrap();
    let failed = Driver::<_, ()>::open(DriverConfig::new(id), log, 0, 1).and_then(|mut driver| {
        driver.pump(&mut |effect| assert!(!matches!(effect, Effect::Apply(_)), "{effect:?}"))
    });
    assert!(matches!(failed, Err(RaftError::Log(LogError::Corrupt { .. }))), "{failed:?}");
}

#[test]
fn files_are_deleted_once_they_are_compacted() {
    let dir = TempDir::new().unwrap();
    let mut log = LogDisk::open(dir.path()).unwrap();
    let purger = log.purger();
    let mut last = 0;
    while log.used() < 80 << 20 {
        append(&mut log, entries(last + 1..=last + 8, 1, 500_000));
        last += 8;
    }
    assert!(purger.purge().unwrap(), "asks for compaction first");
    let full = log.used();
    let compact = Some(LogPosition { index: last - 10, term: 1 });
    log.write(&LogWrite { compact, must_sync: true, ..LogWrite::default() }).unwrap();
    assert!(!purger.purge().unwrap());
    assert!(log.used() < full / 2, "{} of {full} bytes left", log.used());
    drop((log, purger));
    let log = LogDisk::open(dir.path()).unwrap();
    let state = log.state().unwrap();
    assert_eq!((state.truncated.index, state.last_index), (last - 10, last));
    assert_eq!(read(&log, last - 9, last + 1).len(), 10);
}

#[test]
fn descriptors_are_not_inherited() {
    let dir = TempDir::new().unwrap();
    let mut log = LogDisk::open(dir.path()).unwrap();
    append(&mut log, entries(1..=1, 1, 10));
    let listing = std::process::Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    assert!(!listing.contains(dir.path().to_str().unwrap()), "{listing}");
}

#[test]
fn an_unusable_directory_is_named() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, b"in the way").unwrap();
    let error = LogDisk::open(&path).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
}

#[test]
fn a_driver_restarts_from_disk() {
    let dir = TempDir::new().unwrap();
    let me = ServerRecord { node_id: "n".into(), ..ServerRecord::default() };
    let config = DriverConfig {
        bootstrap: Some(Membership::founding([me.clone()])),
        ..DriverConfig::new(me.raft_id())
    };
    let mut applied = 0;
    for round in 0..3_u64 {
        let log = LogDisk::open(dir.path()).unwrap();
        let mut driver = Driver::<_, u64>::open(config.clone(), log, applied, round).unwrap();
        let mut answered = Vec::new();
        let mut pump = |driver: &mut Driver<_, u64>| {
            let mut last = 0;
            driver
                .pump(&mut |effect| {
                    if let Effect::Apply(batch) = effect {
                        for committed in batch {
                            last = committed.index;
                            answered.extend(committed.waiter);
                        }
                    }
                })
                .unwrap();
            driver.applied(last).unwrap();
        };
        pump(&mut driver);
        assert!(driver.is_ready(), "round {round}");
        for sequence in 0..10 {
            let id = ProposalId { origin: round, sequence };
            driver.propose(id, Bytes::from_static(b"data"), sequence).unwrap();
        }
        pump(&mut driver);
        applied = driver.status().applied;
        if round == 1 {
            driver.flush().unwrap();
        }
        assert_eq!(answered, (0..10).collect::<Vec<_>>(), "round {round}");
    }
    // A state that is ahead of a log whose end is gone must not be served.
    tear(&dir);
    let log = LogDisk::open(dir.path()).unwrap();
    let error = Driver::<_, u64>::open(config, log, applied, 9).err().map(|error| error.to_string());
    assert!(error.as_ref().is_some_and(|text| text.contains("entries are missing")), "{error:?}");
}
