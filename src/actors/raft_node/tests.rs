use std::sync::Mutex;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::actors::mailbox::Sender;
use crate::actors::raft_handle::MAX_WAITING_PROPOSALS;
use crate::endpoints::{Applied, LeaderRead};
use crate::raft::log::WriteFault;
use crate::raft::{EntryKind, LogDisk, Membership, MemoryLog};
use crate::state::Outcome;

#[derive(Debug, Default)]
struct Noted(Mutex<Vec<String>>);

impl FailStop for Noted {
    fn fail_stop(&self, who: &'static str, reason: &str) {
        self.0.lock().unwrap().push(format!("{who}: {reason}"));
    }
}

/// A state of a list: what was applied, and the batches it came in.
#[derive(Debug, Default)]
struct State {
    data: Vec<Bytes>,
    applied: u64,
    batches: usize,
    held: Option<Vec<ApplyCommitted>>,
}

impl State {
    fn apply(&mut self, batch: ApplyCommitted) {
        self.batches += 1;
        let mut waiters = Vec::new();
        for entry in batch.entries {
            assert!(entry.index > self.applied, "once and in order");
            self.applied = entry.index;
            if entry.kind == EntryKind::Normal {
                self.data.push(entry.data);
            }
            waiters.extend(entry.waiter.map(|waiter| (waiter, entry.index)));
        }
        for (waiter, index) in waiters {
            waiter.answer(Ok(Applied { index, outcome: Outcome::Done }));
        }
        batch.raft.applied(self.applied);
    }
}

fn applier(state: &Arc<Mutex<State>>) -> Applier {
    let (apply, flush) = (Arc::clone(state), Arc::clone(state));
    Applier {
        apply: Sender::new(move |batch| {
            let mut state = apply.lock().unwrap();
            match &mut state.held {
                Some(held) => held.push(batch),
                None => state.apply(batch),
            }
        }),
        flush: Sender::new(move |wanted: FlushWanted| wanted.raft.compact_to(flush.lock().unwrap().applied)),
        snapshots: None,
    }
}

fn me(address: &str) -> ServerRecord {
    ServerRecord { node_id: "the-node-id".into(), name: "alpha".into(), address: address.into() }
}

fn start<L: LogStore + Send + 'static>(
    log: L,
    state: &Arc<Mutex<State>>,
    me: ServerRecord,
) -> Result<(RaftNode, Arc<Noted>), RaftError> {
    let noted = Arc::new(Noted::default());
    let options = RaftOptions {
        driver: DriverConfig {
            bootstrap: Some(Membership::founding([me.clone()])),
            ..DriverConfig::new(me.raft_id())
        },
        me,
        tick: Duration::from_millis(20),
        applied_index: state.lock().unwrap().applied,
        on_leadership: Sender::new(|_| ()),
        metrics: Arc::default(),
    };
    let fail_stop: Arc<dyn FailStop> = Arc::<Noted>::clone(&noted);
    let node = RaftNode::start(options, log, None, applier(state), Box::new(NoPeers), fail_stop)?;
    Ok((node, noted))
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn writes_are_answered_and_found_again() {
    actix::System::new().block_on(async {
        let dir = TempDir::new().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let begun = Instant::now();
        let (node, _) = start(LogDisk::open(dir.path()).unwrap(), &state, me("a:1")).unwrap();
        let handle = node.handle.clone();
        until("leads", || handle.check_lease().is_ok()).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "a lone server waits for nobody");
        assert!(matches!(handle.barrier(), Ok(None)), "a lone leader's read needs no confirmation");
        let leadership = handle.leadership();
        assert!(leadership.is_leader && leadership.peers[0].leader && leadership.peers[0].voter);
        assert_eq!(leadership.leader_address.as_deref(), Some("a:1"));

        let before = state.lock().unwrap().batches;
        let writes: Vec<_> = (0..200_u8).map(|number| handle.propose(Bytes::from(vec![number]))).collect();
        let answers = futures::future::join_all(writes).await;
        let indexes: Vec<u64> = answers.into_iter().map(|answer| answer.unwrap().index).collect();
        assert!(indexes.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{indexes:?}");
        assert!(state.lock().unwrap().batches - before < 100, "what waits is written together");
        node.stop().await.unwrap();
        assert_eq!(handle.propose(Bytes::from_static(b"late")).await, Err(unknown()));

        // With another address, the member record follows.
        let (node, _) = start(LogDisk::open(dir.path()).unwrap(), &state, me("a:2")).unwrap();
        let handle = node.handle.clone();
        until("the new address", || handle.leadership().leader_address.as_deref() == Some("a:2")).await;
        assert_eq!(handle.status().await.unwrap().membership.voters.len(), 1);
        assert_eq!(state.lock().unwrap().data.len(), 200, "nothing was applied twice");
        node.stop().await.unwrap();
    });
}

#[test]
fn what_waits_is_bounded() {
    actix::System::new().block_on(async {
        let state = Arc::<Mutex<State>>::default();
        let (node, _) = start(MemoryLog::new(), &state, me("a:1")).unwrap();
        let handle = node.handle.clone();
        until("leads", || handle.check_lease().is_ok()).await;
        state.lock().unwrap().held = Some(Vec::new());
        let waiting: Vec<_> =
            (0..MAX_WAITING_PROPOSALS).map(|_| handle.propose(Bytes::from_static(b"x"))).collect();
        assert_eq!(handle.propose(Bytes::from_static(b"x")).await, Err(EndpointError::Busy));
        let size = crate::raft::config::MAX_PROPOSAL + 1;
        // Let the held batches go and everybody is answered.
        let release = || {
            let mut state = state.lock().unwrap();
            let held = state.held.take().unwrap_or_default();
            for batch in held {
                state.apply(batch);
            }
        };
        release();
        for answer in futures::future::join_all(waiting).await {
            answer.unwrap();
        }
        let large = handle.propose(Bytes::from(vec![0; size])).await;
        assert!(matches!(large, Err(EndpointError::TooLarge(_))), "{large:?}");
        node.stop().await.unwrap();
    });
}

#[test]
fn a_failing_log_stops_the_process() {
    actix::System::new().block_on(async {
        let state = Arc::<Mutex<State>>::default();
        let log = MemoryLog::with_crashes();
        let (node, noted) = start(log.clone(), &state, me("a:1")).unwrap();
        let handle = node.handle.clone();
        until("leads", || handle.check_lease().is_ok()).await;
        log.fail_next_sync(WriteFault::Lost);
        let answer = handle.propose(Bytes::from_static(b"x")).await;
        assert!(matches!(answer, Err(EndpointError::Internal(_))), "unknown, never acknowledged: {answer:?}");
        until("fail-stop", || !noted.0.lock().unwrap().is_empty()).await;
        let reasons = noted.0.lock().unwrap().clone();
        assert!(reasons.len() == 1 && reasons[0].contains("cannot write"), "{reasons:?}");
        assert_eq!(handle.check_lease(), Err(EndpointError::NoLeader));
        assert!(state.lock().unwrap().data.is_empty());
        let _ = node.stop().await;
    });
}

#[test]
fn a_panic_of_the_actor_stops_the_process() {
    actix::System::new().block_on(async {
        let state = Arc::<Mutex<State>>::default();
        let (node, noted) = start(MemoryLog::new(), &state, me("a:1")).unwrap();
        until("leads", || node.handle.check_lease().is_ok()).await;
        // An applier that panics does so on the raft thread here, inside the pump.
        let poison = Arc::clone(&state);
        let _ = std::thread::spawn(move || {
            let _guard = poison.lock().unwrap();
            panic!("poisons the state on purpose");
        })
        .join();
        let answer = node.handle.propose(Bytes::from_static(b"x")).await;
        assert!(matches!(answer, Err(EndpointError::Internal(_))), "{answer:?}");
        until("fail-stop", || !noted.0.lock().unwrap().is_empty()).await;
        let _ = node.stop().await;
    });
}

#[test]
fn a_log_that_does_not_fit_is_refused_at_start() {
    actix::System::new().block_on(async {
        let state = Arc::new(Mutex::new(State { applied: 9, ..State::default() }));
        let refused = start(MemoryLog::new(), &state, me("a:1")).err().map(|error| error.to_string());
        assert!(refused.as_ref().is_some_and(|text| text.contains("entries are missing")), "{refused:?}");
    });
}
