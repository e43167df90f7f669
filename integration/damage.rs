//! Disks that fail: torn log tails, flipped bits, no space left, two processes on one directory.
//! The rule everywhere: serve what was acknowledged or refuse with a text that says which file and
//! what to do; never serve something else.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::{Agent, Rng, Setup, eventually, fixture, process};

const EXIT_LIMIT: Duration = Duration::from_secs(30);

/// All files below a directory, the latest written last.
fn files(dir: &Path, wanted: impl Fn(&str) -> bool + Copy) -> Vec<PathBuf> {
    fn collect(dir: &Path, wanted: impl Fn(&str) -> bool + Copy, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                collect(&entry, wanted, into);
            } else if entry.file_name().and_then(|name| name.to_str()).is_some_and(wanted) {
                into.push(entry);
            }
        }
    }
    let mut found = Vec::new();
    collect(dir, wanted, &mut found);
    found.sort_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).expect("a time"));
    found
}

fn newest_log(agent: &Agent) -> PathBuf {
    files(agent.data(), |name| Path::new(name).extension().is_some_and(|ending| ending == "raftlog"))
        .pop()
        .expect("a log file")
}

/// Where the written part of a preallocated file ends.
fn written_end(path: &Path) -> u64 {
    let bytes = fs::read(path).expect("a readable file");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1)
}

/// Writes keys until told to stop or until the agent fails; gives what was acknowledged.
fn fill(agent: &Agent, prefix: &str, count: usize, size: usize) -> BTreeMap<String, String> {
    let mut client = agent.client().patience(Duration::from_secs(20));
    let mut acknowledged = BTreeMap::new();
    for n in 0..count {
        let (key, value) = (format!("{prefix}/{n}"), format!("{n}:{}", "v".repeat(size)));
        match client.put(&format!("/v1/kv/{key}"), &value) {
            Ok(answer) if answer.status == 200 => acknowledged.insert(key, value),
            _ => break,
        };
    }
    acknowledged
}

#[track_caller]
fn all_there(agent: &Agent, acknowledged: &BTreeMap<String, String>) {
    let mut client = agent.client();
    for (key, value) in acknowledged {
        let answer = client.get(&format!("/v1/kv/{key}?raw")).expect("an answer");
        assert_eq!((answer.status, answer.text() == *value), (200, true), "{key} was acknowledged");
    }
}

/// The agent has refused: exit code, and a text that names the place and a way out.
#[track_caller]
fn refused(agent: &mut Agent, places: &[&str]) {
    let output_before_exit = EXIT_LIMIT;
    let status = agent.wait_exit(output_before_exit);
    let output = agent.output();
    assert!(!status.success(), "exit status {status}\n{output}");
    assert!(places.iter().any(|place| output.contains(place)), "none of {places:?} is named in:\n{output}");
    let remedies = ["restore", "remove", "move", "free", "snapshot", "replace"];
    let lower = output.to_lowercase();
    assert!(remedies.iter().any(|word| lower.contains(word)), "no remedy in:\n{output}");
    assert!(!output.contains("RUST_BACKTRACE"), "a panic is not an error text:\n{output}");
}

/// The files below a directory with what is in them.
type Image = BTreeMap<PathBuf, Vec<u8>>;

fn image(dir: &Path) -> Image {
    files(dir, |_| true)
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).expect("a readable file")))
        .collect()
}

fn put_back(dir: &Path, image: &Image) {
    for path in files(dir, |_| true) {
        if !image.contains_key(&path) {
            fs::remove_file(path).unwrap();
        }
    }
    for (path, bytes) in image {
        fs::write(path, bytes).unwrap();
    }
}

/// Where two states of a file differ, from the first byte to the last.
fn difference(before: &[u8], after: &[u8]) -> std::ops::Range<usize> {
    let at = |bytes: &[u8], n: usize| bytes.get(n).copied().unwrap_or(0);
    let differs = |n: &usize| at(before, *n) != at(after, *n);
    let length = before.len().max(after.len());
    let first = (0..length).find(differs).unwrap_or(length);
    let last = (first..length).rfind(differs).unwrap_or(first);
    first..last + 1
}

/// What a crash of the machine leaves: writes that nobody was answered yet, cut off anywhere. Made
/// from a genuine one: the files before it, and then any number of its bytes in the log.
#[test]
fn a_write_that_a_crash_cut_off_costs_nothing_acknowledged() {
    let mut rng = Rng::new(7);
    let mut agent = Agent::server();
    let mut acknowledged = BTreeMap::new();
    for (round, part) in [0.0, 0.1, 0.4, 0.7, 0.95, 1.0].into_iter().enumerate() {
        acknowledged.extend(fill(&agent, &format!("round-{round}"), 30, 300));
        agent.kill();
        let before = image(agent.data());
        agent.restart();
        let unanswered = format!("{}:{}", rng.next(), "u".repeat(3_000));
        fixture::key(&agent, "unanswered", &unanswered);
        agent.kill();
        let log = newest_log(&agent);
        let after = fs::read(&log).unwrap();
        let changed = difference(before.get(&log).map_or(&[], Vec::as_slice), &after);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "small"
        )]
        let written = 1 + (part * (changed.len() - 1) as f64) as usize;
        put_back(agent.data(), &before);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&log).unwrap();
        file.write_all_at(&after[changed.start..changed.start + written], changed.start as u64).unwrap();
        drop(file);
        agent.restart();
        all_there(&agent, &acknowledged);
        let found = agent.get("/v1/kv/unanswered?raw");
        assert!(found.text() == unanswered || part < 1.0, "the whole write is in the log");
        fixture::key(&agent, "unanswered", &format!("after round {round}"));
    }
}

/// Waits until the agent serves (true) or has ended (false).
#[track_caller]
fn serves(agent: &Agent) -> bool {
    let decided = eventually(EXIT_LIMIT, || {
        if !agent.runs() {
            return Some(false);
        }
        let answer = agent.client().get("/v1/status/leader").ok()?;
        (answer.status == 200 && answer.text().trim().len() > 2).then_some(true)
    });
    decided.unwrap_or_else(|| panic!("neither serves nor refuses\n{}", agent.output()))
}

/// Damage that cannot come from a crash, only from a disk that lies: acknowledged records torn off,
/// or something else in their place. Either the state still has all of it, or the agent must not
/// start as if nothing were missing.
#[test]
fn a_log_that_lost_acknowledged_writes_is_not_served_as_whole() {
    type Damage = fn(&Path, u64);
    let table: [(&str, Damage); 6] = [
        ("a few bytes cut off", |path, end| cut(path, end - 9)),
        ("a record or two cut off", |path, end| cut(path, end - 700)),
        ("many records cut off", |path, end| cut(path, end - 20_000)),
        ("noise behind the end", |path, end| write_at(path, end, &[0xa5; 300])),
        ("noise in the last record", |path, end| write_at(path, end - 60, &[0xa5; 20])),
        ("noise in the middle", |path, end| write_at(path, end / 2, &[0xa5; 100])),
    ];
    for (name, damage) in table {
        let mut agent = Agent::server();
        let acknowledged = fill(&agent, "kept", 100, 300);
        assert_eq!(acknowledged.len(), 100);
        agent.kill();
        let log = newest_log(&agent);
        damage(&log, written_end(&log));
        agent.start_again();
        if serves(&agent) {
            eprintln!("{name}: serves");
            all_there(&agent, &acknowledged);
            fixture::key(&agent, "new", "after the loss");
            agent.kill();
            agent.restart();
            all_there(&agent, &acknowledged);
            assert_eq!(agent.get("/v1/kv/new?raw").text(), "after the loss");
        } else {
            eprintln!("{name}: refuses");
            refused(&mut agent, &[&log.display().to_string(), &log.parent().unwrap().display().to_string()]);
        }
    }
}

fn cut(path: &Path, size: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(size).unwrap();
}

fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

/// A durable server whose keys have reached RocksDB's sorted files, stopped.
fn stored() -> (Agent, BTreeMap<String, String>) {
    let mut agent = Agent::server();
    let acknowledged = fill(&agent, "stored", 3_000, 700);
    assert_eq!(acknowledged.len(), 3_000);
    for _ in 0..2 {
        agent.signal(rustix::process::Signal::TERM);
        agent.wait_exit(EXIT_LIMIT);
        agent.start_again();
        agent.wait_leader();
    }
    agent.kill();
    (agent, acknowledged)
}

#[test]
fn flipped_bits_in_a_table_file_are_never_served() {
    let (mut agent, acknowledged) = stored();
    let tables =
        files(agent.data(), |name| Path::new(name).extension().is_some_and(|ending| ending == "sst"));
    let largest = tables.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).expect("a table file");
    let length = fs::metadata(largest).unwrap().len();
    let file = OpenOptions::new().read(true).write(true).open(largest).unwrap();
    // A byte in every block of the data part.
    for at in (100..length * 6 / 10).step_by(1_500) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x55], at).unwrap();
    }
    drop(file);
    agent.start_again();
    let mut client = agent.client().patience(Duration::from_secs(5));
    let mut wrong_answers = 0;
    if serves(&agent) {
        for (key, value) in &acknowledged {
            let Ok(answer) = client.get(&format!("/v1/kv/{key}?raw")) else { break };
            match answer.status {
                200 => assert!(answer.text() == *value, "{key}: wrong data was served"),
                404 => panic!("{key}: a damaged key was served as missing"),
                _ => wrong_answers += 1,
            }
        }
        client.get("/v1/kv/stored/?recurse").ok().filter(|answer| answer.status == 200).inspect(|answer| {
            let records = answer.json();
            assert_eq!(
                records.as_array().map_or(0, Vec::len),
                acknowledged.len(),
                "a list lost damaged keys"
            );
        });
    }
    refused(&mut agent, &[".sst"]);
    eprintln!("refused after {wrong_answers} errors");
}

#[test]
fn a_damaged_table_directory_stops_the_start() {
    for name in ["CURRENT", "MANIFEST"] {
        let (mut agent, _) = stored();
        let file =
            files(agent.data(), |found| found.starts_with(name)).pop().expect("a file of the state's store");
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, bytes.iter().map(|byte| byte ^ 0x55).collect::<Vec<_>>()).unwrap();
        agent.start_again();
        let data = agent.data().display().to_string();
        refused(&mut agent, &[&data]);
    }
}

/// A file system of its own in memory, unmounted in the end. None where that is not allowed.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(megabytes: u32) -> Option<Self> {
        let dir = tempfile::TempDir::with_prefix("tribune-disk-").expect("a directory");
        let size = format!("size={megabytes}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self { dir })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.dir.path()).status().ok();
    }
}

/// Either it has ended with a clear text, or it still answers, and then rightly.
#[track_caller]
fn failed_cleanly(agent: &mut Agent, acknowledged: &BTreeMap<String, String>, reasons: &[&str]) {
    let answers = eventually(Duration::from_secs(10), || {
        if !agent.runs() {
            return Some(false);
        }
        let answer =
            agent.client().patience(Duration::from_secs(5)).put("/v1/kv/probe", "x".repeat(100_000)).ok()?;
        assert!(
            answer.status != 200 || agent.get("/v1/kv/probe").status == 200,
            "acknowledged and not there"
        );
        Some(true)
    });
    if answers == Some(true) {
        all_there(agent, acknowledged);
        agent.kill();
    } else {
        let data = agent.data().display().to_string();
        let status = agent.wait_exit(EXIT_LIMIT);
        let output = agent.output();
        assert!(!status.success(), "{status}\n{output}");
        assert!(reasons.iter().any(|reason| output.contains(reason)), "none of {reasons:?} in:\n{output}");
        assert!(output.contains(&data), "the place is not named:\n{output}");
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let Some(disk) = SmallDisk::mount(128) else {
        eprintln!("SKIPPED: mounting a tmpfs is not allowed here; the file size test stands in for it");
        return;
    };
    let mut agent = Setup::server().data(&disk.dir.path().join("data")).start();
    let mut acknowledged = fill(&agent, "before", 50, 1_000);
    let filler = disk.dir.path().join("filler");
    let free = 3 << 20;
    let mut size = 120 << 20;
    // Leaves some room, however much the agent has taken for itself.
    while size > 0 && fs::write(&filler, vec![1; size]).is_err() {
        size -= 1 << 20;
    }
    OpenOptions::new().write(true).open(&filler).unwrap().set_len(size.saturating_sub(free) as u64).unwrap();
    let more = fill(&agent, "while", 2_000, 60_000);
    assert!(more.len() < 2_000, "the disk never became full");
    acknowledged.extend(more);
    failed_cleanly(&mut agent, &acknowledged, &["No space left", "no space left", "full"]);
    agent.kill();
    fs::remove_file(&filler).unwrap();
    agent.restart();
    all_there(&agent, &acknowledged);
    fixture::key(&agent, "after", "there is room again");
}

#[test]
fn files_that_may_not_grow_lose_nothing_that_was_acknowledged() {
    // The shell makes "too large" an error of the write instead of a deadly signal.
    let mut agent = Setup::server().through(&["sh", "-c", r#"trap "" XFSZ; exec "$0" "$@""#]).start();
    let mut acknowledged = fill(&agent, "before", 50, 1_000);
    let end = written_end(&newest_log(&agent));
    process::limit_file_size(agent.pid(), Some(end + (512 << 10))).unwrap();
    let more = fill(&agent, "while", 2_000, 60_000);
    assert!(more.len() < 2_000, "the limit was never met");
    acknowledged.extend(more);
    failed_cleanly(&mut agent, &acknowledged, &["File too large", "file too large"]);
    agent.kill();
    agent.restart();
    all_there(&agent, &acknowledged);
    fixture::key(&agent, "after", "there is room again");
}

#[test]
fn a_second_process_on_the_same_data_directory_is_refused() {
    let mut first = Agent::server();
    fixture::key(&first, "mine", "first");
    let mut second = Setup::server().data(first.data()).with(json!({ "node_name": "node2" })).spawn();
    let status = second.wait_exit(EXIT_LIMIT);
    assert!(!status.success(), "{status}");
    let (output, data) = (second.output(), first.data().display().to_string());
    assert!(output.contains(&data), "{data} is not named in:\n{output}");
    assert!(first.runs());
    assert_eq!(first.get("/v1/kv/mine?raw").text(), "first");
    fixture::key(&first, "mine", "still");
    first.kill();
    first.restart();
    assert_eq!(first.get("/v1/kv/mine?raw").text(), "still");
}

#[test]
fn a_data_directory_that_cannot_be_written_stops_the_start() {
    let mut agent = Setup::server().data(Path::new("/proc/tribune")).spawn();
    let status = agent.wait_exit(EXIT_LIMIT);
    assert!(!status.success(), "{status}");
    assert!(agent.output().contains("/proc/tribune"), "{}", agent.output());
}
