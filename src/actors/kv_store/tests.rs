//! Groups of servers in one process, with the real raft node, state and snapshot files of each, joined by a network
//! that delivers at once: a server that lags too far behind, or is new, gets the state by snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::actors::raft_handle::RaftHandle;
use crate::actors::raft_node::{PeerTransport, RaftNode, RaftOptions};
use crate::actors::supervision::FailStop;
use crate::endpoints::LeaderRead as _;
use crate::raft::{
    DriverConfig, LogStore, Membership, MembershipChange, MemoryLog, PeerMessage, ServerRecord,
};
use crate::state::command::{KvCommand, RestoreChunk, RestoreFinish};
use crate::state::snapshot;
use crate::state::store::MemoryStore;
use crate::state::store_disk::DiskStore;
use crate::state::{Command, Envelope, StateReader, Topic};

#[derive(Debug, Default)]
struct Noted(Mutex<Vec<String>>);

impl FailStop for Noted {
    fn fail_stop(&self, who: &'static str, reason: &str) {
        self.0.lock().unwrap().push(format!("{who}: {reason}"));
    }
}

/// The servers that can be reached, by raft ID.
#[derive(Debug, Default)]
struct Net {
    here: Mutex<BTreeMap<u64, (RaftHandle, SnapshotFiles)>>,
    cut: Mutex<BTreeSet<u64>>,
    snapshots: Mutex<Vec<u64>>,
}

impl Net {
    /// Delivers a message and, before it, the data of the snapshot it announces.
    fn deliver(&self, message: &PeerMessage) -> bool {
        let (from, to) = (message.from(), message.to());
        let cut = self.cut.lock().unwrap();
        if cut.contains(&from) || cut.contains(&to) {
            return true;
        }
        drop(cut);
        let here = self.here.lock().unwrap();
        let (Some((sender, files)), Some((receiver, theirs))) =
            (here.get(&from).cloned(), here.get(&to).cloned())
        else {
            return false;
        };
        drop(here);
        let message = PeerMessage::decode(&message.encode().unwrap()).unwrap();
        let Some(manifest) = message.snapshot() else {
            receiver.step(message);
            return true;
        };
        self.snapshots.lock().unwrap().push(manifest.index);
        std::thread::spawn(move || {
            let copied = copy(&files, &theirs, &manifest);
            if copied.is_ok() {
                receiver.step(message);
            }
            sender.snapshot_sent(to, copied.is_ok());
        });
        true
    }

    fn cut_off(&self, name: &str) {
        self.cut.lock().unwrap().insert(record(name).raft_id());
    }

    fn heal(&self) {
        self.cut.lock().unwrap().clear();
    }

    fn snapshots(&self) -> usize {
        self.snapshots.lock().unwrap().len()
    }
}

fn copy(
    from: &SnapshotFiles,
    to: &SnapshotFiles,
    manifest: &Manifest,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut reader = from.open(&manifest.data)?;
    let mut sink = to.receive(manifest)?;
    let mut piece = vec![0; 10_000];
    loop {
        let read = reader.read(&mut piece)?;
        if read == 0 {
            return Ok(sink.finish()?);
        }
        sink.write(&piece[..read])?;
    }
}

#[derive(Debug, Clone)]
struct Wire(Arc<Net>);

impl PeerTransport for Wire {
    fn find(&self, raft_id: u64) -> Option<ServerRecord> {
        ["a", "b", "c"].map(record).into_iter().find(|server| server.raft_id() == raft_id)
    }

    fn send(&mut self, _: &ServerRecord, message: PeerMessage) -> bool {
        self.0.deliver(&message)
    }
}

fn record(name: &str) -> ServerRecord {
    ServerRecord { node_id: format!("id-{name}"), name: name.into(), address: format!("{name}:8300") }
}

struct Server {
    name: &'static str,
    node: RaftNode,
    kv: KvStore,
    state: StateReader,
    failures: Arc<Noted>,
    events: Arc<Mutex<Vec<Event>>>,
}

/// What survives a crash of a server.
#[derive(Clone)]
struct Disk {
    log: MemoryLog,
    state: MemoryStore,
    files: SnapshotFiles,
}

impl Disk {
    fn new() -> Self {
        Self {
            log: MemoryLog::with_crashes(),
            state: MemoryStore::default(),
            files: SnapshotFiles::unnamed(),
        }
    }
}

fn founders(names: &[&str]) -> Membership {
    Membership::founding(names.iter().map(|name| record(name)))
}

fn start(net: &Arc<Net>, name: &'static str, founding: Option<Membership>, disk: &Disk) -> Server {
    let machine = open_state(Box::new(disk.state.clone()), &disk.files).unwrap();
    start_over(net, name, founding, disk.log.clone(), machine, disk.files.clone(), |applier| applier)
}

fn start_over<L: LogStore + Send + 'static>(
    net: &Arc<Net>,
    name: &'static str,
    founding: Option<Membership>,
    log: L,
    machine: StateMachine,
    files: SnapshotFiles,
    change: impl FnOnce(Applier) -> Applier,
) -> Server {
    let failures = Arc::new(Noted::default());
    let fail_stop: Arc<dyn FailStop> = Arc::<Noted>::clone(&failures);
    let events = Arc::<Mutex<Vec<Event>>>::default();
    let heard = Arc::clone(&events);
    let listener =
        Sender::new(move |changed: StateChanged| heard.lock().unwrap().extend(changed.events.to_vec()));
    let (state, applied_index) = (machine.reader(), machine.applied_index());
    let kv = KvStore::start(machine, files.clone(), 16, listener, Arc::default(), Arc::clone(&fail_stop));
    let me = record(name);
    let options = RaftOptions {
        driver: DriverConfig {
            bootstrap: founding,
            trailing_entries: 8,
            follower_window: 64,
            ..DriverConfig::new(me.raft_id())
        },
        me: me.clone(),
        tick: Duration::from_millis(10),
        applied_index,
        on_leadership: Sender::new(|_| ()),
        metrics: Arc::default(),
    };
    let applier = change(kv.applier());
    let node =
        RaftNode::start(options, log, None, applier, Box::new(Wire(Arc::clone(net))), fail_stop).unwrap();
    net.here.lock().unwrap().insert(me.raft_id(), (node.handle.clone(), files));
    Server { name, node, kv, state, failures, events }
}

impl Server {
    fn key(&self, key: &str) -> Option<Bytes> {
        // A state that is being replaced has no answer yet.
        self.state.kv_get(key.as_bytes(), |row| Bytes::copy_from_slice(row.value)).ok().flatten()
    }

    async fn stop(self, net: &Net) {
        net.here.lock().unwrap().remove(&record(self.name).raft_id());
        let _ = self.node.stop().await;
        let _ = self.kv.stop().await;
    }

    fn replaced(&self) -> usize {
        self.events.lock().unwrap().iter().filter(|event| **event == Event::Replaced).count()
    }
}

fn set(key: &str) -> Bytes {
    let command = Command::Kv(KvCommand {
        verb: KvVerb::Set,
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(key.as_bytes()),
        flags: 0,
        cas: 0,
        session: None,
    });
    Envelope { now_ms: 1, command }.encode().unwrap()
}

async fn write(server: &Server, keys: std::ops::Range<u32>) {
    let writes: Vec<_> = keys.map(|key| server.node.handle.propose(set(&format!("key/{key}")))).collect();
    for answer in futures::future::join_all(writes).await {
        answer.unwrap();
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn leader<'a>(servers: &[&'a Server]) -> &'a Server {
    let mut found = None;
    until("a leader", || {
        found = servers.iter().find(|server| server.node.handle.check_lease().is_ok()).copied();
        found.is_some()
    })
    .await;
    found.unwrap()
}

fn no_failures(servers: &[&Server]) {
    for server in servers {
        assert_eq!(*server.failures.0.lock().unwrap(), Vec::<String>::new(), "{}", server.name);
    }
}

/// All rows of two states, as the snapshots of them.
fn same_state(one: &Server, other: &Server) -> bool {
    let bytes = |server: &Server| {
        let mut bytes = Vec::new();
        snapshot::write(&*server.state.freeze().ok()?, &mut bytes).ok()?;
        Some(bytes)
    };
    matches!((bytes(one), bytes(other)), (Some(one), Some(other)) if one == other)
}

#[test]
fn a_new_server_gets_the_state_and_then_the_log() {
    actix::System::new().block_on(async {
        let net = Arc::<Net>::default();
        let a = start(&net, "a", Some(founders(&["a"])), &Disk::new());
        leader(&[&a]).await;
        write(&a, 0..100).await;
        let b = start(&net, "b", None, &Disk::new());
        let mut parked = b.state.watches().subscribe([Topic::Session("any".into())]);
        a.node.handle.propose_membership(MembershipChange::AddLearner(record("b"))).await.unwrap();
        until("the state", || b.key("key/99").is_some()).await;
        assert!(net.snapshots() >= 1);
        assert!(futures::FutureExt::now_or_never(&mut parked).is_some(), "a replaced state wakes everybody");
        until("the news", || b.replaced() == 1).await;
        a.node.handle.propose_membership(MembershipChange::AddVoter(record("b"))).await.unwrap();
        write(&a, 100..200).await;
        until("the log", || b.key("key/199").is_some()).await;
        until("the same state", || same_state(&a, &b)).await;
        // The snapshot made for one server does not know the next.
        let c = start(&net, "c", None, &Disk::new());
        a.node.handle.propose_membership(MembershipChange::AddVoter(record("c"))).await.unwrap();
        until("the state", || c.key("key/199").is_some()).await;
        write(&a, 200..220).await;
        until("the same state", || same_state(&a, &c)).await;
        no_failures(&[&a, &b, &c]);
        c.stop(&net).await;
        a.stop(&net).await;
        b.stop(&net).await;
    });
}

#[test]
fn a_laggard_gets_a_snapshot_while_the_others_go_on() {
    actix::System::new().block_on(async {
        let net = Arc::<Net>::default();
        let all = founders(&["a", "b", "c"]);
        let directory = TempDir::new().unwrap();
        let servers = ["a", "b", "c"].map(|name| {
            let files = SnapshotFiles::in_directory(&directory.path().join(name)).unwrap();
            start(&net, name, Some(all.clone()), &Disk { files, ..Disk::new() })
        });
        let led_by = leader(&servers.each_ref()).await.name;
        let (laggard, rest): (Vec<_>, Vec<_>) = servers.iter().partition(|server| server.name != led_by);
        let (laggard, led) = (laggard[0], rest[0]);
        net.cut_off(laggard.name);
        for round in 0..20 {
            write(led, round * 50..(round + 1) * 50).await;
        }
        assert!(laggard.key("key/999").is_none());
        let before = net.snapshots();
        net.heal();
        // Others are not held up by it.
        write(led, 1_000..1_400).await;
        until("the laggard", || laggard.key("key/1399").is_some()).await;
        assert!(net.snapshots() > before, "the log no longer had what it lacked");
        until("the same state", || same_state(laggard, led)).await;
        until("the news", || laggard.replaced() >= 1).await;
        no_failures(&servers.each_ref());
        for server in servers {
            server.stop(&net).await;
        }
    });
}

/// A server that got a snapshot and crashed before it was installed: the leader, what survived, and the snapshot.
async fn crashed_before_installing(net: &Arc<Net>) -> (Server, Disk, Manifest) {
    let a = start(net, "a", Some(founders(&["a"])), &Disk::new());
    leader(&[&a]).await;
    write(&a, 0..100).await;
    let disk = Disk::new();
    let machine = open_state(Box::new(disk.state.clone()), &disk.files).unwrap();
    let installs = Arc::<Mutex<Vec<Manifest>>>::default();
    let seen = Arc::clone(&installs);
    let b = start_over(net, "b", None, disk.log.clone(), machine, disk.files.clone(), |applier| Applier {
        snapshots: Some(Sender::new(move |work| {
            if let SnapshotWork::Install(manifest, _) = work {
                seen.lock().unwrap().push(*manifest);
            }
        })),
        ..applier
    });
    a.node.handle.propose_membership(MembershipChange::AddLearner(record("b"))).await.unwrap();
    until("the snapshot", || !installs.lock().unwrap().is_empty()).await;
    b.stop(net).await;
    disk.log.crash();
    let manifest = installs.lock().unwrap()[0].clone();
    (a, disk, manifest)
}

#[test]
fn an_installation_that_was_not_begun_is_done_after_the_restart() {
    actix::System::new().block_on(async {
        let net = Arc::<Net>::default();
        let (a, disk, _) = crashed_before_installing(&net).await;
        let b = start(&net, "b", None, &disk);
        until("the state", || b.key("key/99").is_some()).await;
        until("the news", || b.replaced() == 1).await;
        until("the same state", || same_state(&a, &b)).await;
        no_failures(&[&a, &b]);
        a.stop(&net).await;
        b.stop(&net).await;
    });
}

#[test]
fn an_installation_that_was_cut_off_is_done_again_before_anybody_is_served() {
    actix::System::new().block_on(async {
        let net = Arc::<Net>::default();
        let (a, disk, manifest) = crashed_before_installing(&net).await;
        let mut data = Vec::new();
        disk.files.open(&manifest.data).unwrap().read_to_end(&mut data).unwrap();
        let half = &data[..data.len() / 2];
        snapshot::install(&disk.state, snapshot::Reader::open(half).unwrap()).unwrap_err();
        assert_eq!(snapshot::half_installed(&disk.state).unwrap(), Some(manifest.index));
        let lost = open_state(Box::new(disk.state.clone()), &SnapshotFiles::unnamed()).err();
        assert!(lost.is_some_and(|lost| lost.to_string().contains("must be installed again")));

        let b = start(&net, "b", None, &disk);
        assert!(b.key("key/99").is_some(), "it is whole");
        write(&a, 100..110).await;
        until("the log", || b.key("key/109").is_some()).await;
        until("the same state", || same_state(&a, &b)).await;
        no_failures(&[&a, &b]);
        a.stop(&net).await;
        b.stop(&net).await;
    });
}

#[test]
fn damaged_data_stops_the_server_and_harms_nothing() {
    {
        let directory = TempDir::new().unwrap();
        let files = SnapshotFiles::in_directory(&directory.path().join("snapshots")).unwrap();
        let store =
            DiskStore::open(&directory.path().join("state"), Arc::new(|error| panic!("{error}"))).unwrap();
        let mut machine = StateMachine::open(Box::new(store)).unwrap();
        machine.apply([(2, &set("here")[..])]).unwrap();
        let mut file = files.begin("bad").unwrap();
        snapshot::write(&*machine.reader().freeze().unwrap(), &mut file).unwrap();
        let manifest = file.finish(2).unwrap();
        let path = directory.path().join("snapshots/bad");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        for wanted in [
            Manifest { index: 9, ..manifest.clone() },
            Manifest { index: 9, data: "none".into(), ..manifest },
        ] {
            assert!(snapshots::install(&mut machine, &files, &wanted).is_err());
            assert!(machine.reader().kv_get(b"here", |_| ()).unwrap().is_some(), "still served");
            machine.make_durable().unwrap();
        }
    }
}

#[test]
fn every_server_restores_at_the_same_index() {
    actix::System::new().block_on(async {
        let net = Arc::<Net>::default();
        let all = founders(&["a", "b"]);
        let servers = ["a", "b"].map(|name| start(&net, name, Some(all.clone()), &Disk::new()));
        let led = leader(&servers.each_ref()).await;
        write(led, 0..20).await;
        let archive = crate::state::archive::Moment::take(&led.state)
            .unwrap()
            .write(Vec::new(), &crate::state::archive::ArchiveOrigin::default())
            .unwrap();
        write(led, 20..40).await;
        let propose = |command| led.node.handle.propose(Envelope { now_ms: 5, command }.encode().unwrap());
        let id: Arc<str> = "restore".into();
        let mut chunks = 0;
        for data in archive.chunks(100) {
            let data = Bytes::copy_from_slice(data);
            propose(Command::RestoreChunk(RestoreChunk { id: id.clone(), number: chunks, data }))
                .await
                .unwrap();
            chunks += 1;
        }
        let sha256 = Bytes::copy_from_slice(&sha2::Digest::finalize(
            <sha2::Sha256 as sha2::Digest>::new_with_prefix(&archive),
        ));
        propose(Command::RestoreFinish(RestoreFinish { id, chunks, sha256 })).await.unwrap();
        assert!(led.key("key/19").is_some() && led.key("key/20").is_none());
        until("the same state", || same_state(&servers[0], &servers[1])).await;
        until("everybody hears of it", || servers.iter().all(|server| server.replaced() == 1)).await;
        no_failures(&servers.each_ref());
        for server in servers {
            server.stop(&net).await;
        }
    });
}
