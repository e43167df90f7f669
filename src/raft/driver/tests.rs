use super::*;
use crate::raft::log::{LogError, LogWrite, MemoryLog, WriteFault};
use crate::raft::membership::ServerRecord;
use crate::raft::reads::ReadMode;

mod group;
mod hostile;
mod recovery;
mod snapshots;

use group::{Group, Node, Waiter, id_of, server};

#[test]
fn a_lone_server_leads_at_once_and_again_after_a_restart() {
    let mut group = Group::of(&["a"]);
    group.settle();
    assert!(group.node("a").driver.is_ready(), "without a single tick");
    group.propose("a", "one").unwrap();
    group.settle();
    assert_eq!(group.node("a").answered, [("one", Ok(3))]);
    let term = group.node("a").driver.status().term;
    group.node("a").restart();
    group.settle();
    let status = group.node("a").driver.status();
    assert!(status.ready && status.term == term + 1, "{status:?}");
    assert_eq!(status.quorum_heard, Some(u64::MAX));
}

#[test]
fn a_crash_keeps_what_was_acknowledged_and_answers_nothing_else() {
    for (fault, survives) in [(WriteFault::Lost, false), (WriteFault::DurableButUnreported, true)] {
        let mut group = Group::of(&["a"]);
        group.settle();
        group.propose("a", "kept").unwrap();
        group.settle();
        group.node("a").log.fail_next_sync(fault);
        group.propose("a", "in flight").unwrap();
        let node = group.node("a");
        let mut effects = 0;
        let failed = node.driver.pump(&mut |_| effects += 1);
        assert!(matches!(failed, Err(RaftError::Log(LogError::Io { .. }))), "{fault:?}: {failed:?}");
        assert_eq!(effects, 0, "{fault:?}: nothing that depends on the write got out");
        assert!(matches!(node.driver.tick(0), Err(RaftError::Failed)), "{fault:?}: it stays dead");
        assert_eq!(node.driver.take_waiters(), ["in flight"]);
        node.restart();
        group.settle();
        let want: &[&str] = if survives { &["kept", "in flight"] } else { &["kept"] };
        assert_eq!(group.data("a"), want, "{fault:?}");
    }
}

#[test]
fn the_state_may_be_behind_or_before_the_commit_index() {
    let mut group = Group::of(&["a"]);
    for data in ["one", "two", "three"] {
        group.propose("a", data).ok();
        group.settle();
        group.propose("a", data).unwrap();
    }
    group.settle();
    let node = group.node("a");
    let all = node.state.clone();
    let stored = node.log.state().unwrap().hard_state.commit;
    assert!(stored < node.applied, "the commit index lags on disk: {stored}");
    node.restart();
    group.settle();
    assert_eq!(group.node("a").state, all, "ahead of it: nothing comes twice");
    let node = group.node("a");
    node.applied = 0;
    node.state.clear();
    node.restart();
    group.settle();
    assert_eq!(group.node("a").state, all, "behind it: everything comes again");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let mut group = Group::of(&["a"]);
    group.settle();
    for data in ["one", "two", "three"] {
        group.propose("a", data).unwrap();
    }
    group.settle();
    let node = group.node("a");
    let open = |log: &MemoryLog, config: &DriverConfig, applied| {
        Driver::<_, Waiter>::open(config.clone(), log.clone(), applied, 1)
            .err()
            .map(|error| error.to_string())
    };
    let applied = node.applied;
    let other = DriverConfig { id: 99, ..node.config.clone() };
    let compacted = node.log.clone();
    for (name, error, part) in [
        ("state ahead", open(&node.log, &node.config, applied + 7), "entries are missing"),
        ("empty log, old state", open(&MemoryLog::new(), &node.config, 4), "ends at index 0"),
        ("another server's", open(&node.log, &other, applied), "node-id"),
    ] {
        assert!(error.as_ref().is_some_and(|text| text.contains(part)), "{name}: {error:?}");
    }
    node.driver.compact(applied).unwrap();
    node.pump();
    let error = open(&compacted, &node.config, 1);
    assert!(error.as_ref().is_some_and(|text| text.contains("starts after index")), "{error:?}");
    assert_eq!(open(&compacted, &node.config, applied), None);
}

#[test]
fn three_servers_elect_and_replicate() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.ticks(25);
    let leaders: Vec<_> =
        group.nodes.values().filter(|node| node.driver.is_ready()).map(|node| node.name).collect();
    assert_eq!(leaders.len(), 1, "{leaders:?}");
    let leader = leaders[0];
    group.propose(leader, "one").unwrap();
    group.settle();
    for name in ["a", "b", "c"] {
        assert_eq!(group.data(name), ["one"], "{name}");
    }
    let follower = if leader == "a" { "b" } else { "a" };
    let refused = group.propose(follower, "two");
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(id_of(leader)) }), "never forwarded");
}

#[test]
fn a_cut_off_leaders_proposals_are_answered_truthfully() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.elect("a");
    group.cut.insert(id_of("a"));
    group.propose("a", "lost").unwrap();
    group.settle();
    group.ticks(40); // the others wait out the old leader's lease
    let leader = ["b", "c"].into_iter().find(|name| group.node(name).driver.is_ready()).unwrap();
    group.propose(leader, "won").unwrap();
    group.settle();
    assert!(group.node("a").answered.is_empty(), "not decided yet");
    group.cut.clear();
    group.ticks(5);
    assert_eq!(group.node("a").answered, [("lost", Err(ProposeError::Superseded))]);
    for name in ["a", "b", "c"] {
        assert_eq!(group.data(name), ["won"], "{name}");
    }

    group.cut.insert(id_of(leader));
    group.propose(leader, "nobody knows").unwrap();
    group.ticks(60);
    let node = group.node(leader);
    assert_eq!(node.answered.last(), Some(&("nobody knows", Err(ProposeError::OutcomeUnknown))));
    assert_eq!(node.driver.status().role, Role::Candidate, "it noticed that it lost its quorum");
}

#[test]
fn a_leaders_appends_leave_before_its_write_and_a_followers_answer_after() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.elect("a");
    group.propose("a", "one").unwrap();
    group.node("a").log.fail_next_sync(WriteFault::Lost);
    let mut appends = Vec::new();
    let collect = |effect, into: &mut Vec<PeerMessage>| match effect {
        Effect::Send(message) => into.push(message),
        other => panic!("{other:?}"),
    };
    let driver = &mut group.node("a").driver;
    assert!(driver.pump(&mut |effect| collect(effect, &mut appends)).is_err());
    let kinds: Vec<_> = appends.iter().map(|message| message.message.get_msg_type()).collect();
    assert_eq!(kinds, [MessageType::MsgAppend; 2], "sent although our own write failed");

    let append = appends.into_iter().find(|message| message.to() == id_of("b")).unwrap();
    let node = group.node("b");
    node.log.fail_next_sync(WriteFault::Lost);
    node.driver.step(append, 0).unwrap().unwrap();
    assert!(node.driver.pump(&mut |effect| panic!("not before the write: {effect:?}")).is_err());
}

#[test]
fn a_vote_is_durable_before_it_is_sent() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.settle();
    let voter = group.node("b");
    let mut request = Message::default();
    request.set_msg_type(MessageType::MsgRequestVote);
    (request.from, request.to, request.term) = (id_of("a"), voter.config.id, 9);
    (request.index, request.log_term) = (1, 1);
    voter.driver.step(PeerMessage::new(request), 0).unwrap().unwrap();
    let mut sent = 0;
    voter.driver.pump(&mut |effect| sent += u64::from(matches!(effect, Effect::Send(_)))).unwrap();
    let hard_state = voter.log.state().unwrap().hard_state;
    assert_eq!((sent, hard_state.term, hard_state.vote), (1, 9, id_of("a")));
}

/// A heartbeat of the leader at `sent`; its answers are back at `back`.
fn heartbeat(group: &mut Group, leader: &str, sent: u64, back: u64) {
    for _ in 0..2 {
        group.node(leader).driver.tick(sent).unwrap();
    }
    for message in group.node(leader).pump() {
        let to = group.nodes.get_mut(&message.to()).unwrap();
        // Their clocks have nothing to do with it.
        to.driver.step(message, 7).unwrap().unwrap();
        for answer in to.pump() {
            group.node(leader).driver.step(answer, back).unwrap().unwrap();
        }
    }
}

#[test]
fn a_lease_counts_from_what_a_quorum_has_answered() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.elect("a");
    heartbeat(&mut group, "a", 500, 900);
    assert_eq!(
        group.node("a").driver.quorum_heard(),
        Some(500),
        "when it was sent, not when it was answered"
    );
    assert_eq!(group.node("b").driver.quorum_heard(), None, "not the leader");
    group.cut.insert(id_of("b"));
    group.cut.insert(id_of("c"));
    group.node("a").driver.tick(1_000).unwrap();
    group.node("a").driver.tick(1_100).unwrap();
    group.settle();
    assert_eq!(group.node("a").driver.quorum_heard(), Some(500), "nobody has answered since");
}

#[test]
fn a_server_that_has_just_started_gives_no_vote() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.elect("a");
    group.cut.insert(id_of("a"));
    group.node("b").restart();
    let quiet = group.node("b").driver.quiet_until;
    assert!(quiet > group.node("b").config.lease_ticks() as u64);
    let ask = |group: &mut Group| {
        let term = group.node("c").driver.status().term;
        let mut vote = Message::default();
        vote.set_msg_type(MessageType::MsgRequestPreVote);
        (vote.from, vote.to, vote.term) = (id_of("c"), id_of("b"), term + 1);
        let log = &group.node("c").driver.node.raft.raft_log;
        (vote.index, vote.log_term) = (log.last_index(), log.last_term());
        group.node("b").driver.step(PeerMessage::new(vote), 0).unwrap()
    };
    for _ in 0..quiet {
        assert!(ask(&mut group).is_err(), "the life before may have answered a leader");
        group.node("b").driver.tick(0).unwrap();
    }
    assert_eq!(ask(&mut group), Ok(()));
    assert_eq!(group.node("b").pump().len(), 1, "it votes");
}

#[test]
fn reads_are_confirmed_and_wait_for_the_state() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.node("b").driver.read_index(1, ReadMode::Safe);
    group.settle();
    assert!(group.node("b").reads.is_empty(), "no leader yet: kept, not dropped");
    group.elect("a");
    group.propose("a", "one").unwrap();
    group.settle();
    group.ticks(5);
    let at = group.node("a").applied;
    assert_eq!(group.node("b").reads.len(), 1, "asked again once there was a leader");
    group.node("a").driver.read_index(2, ReadMode::Safe);
    group.node("a").driver.read_index(3, ReadMode::Safe);
    group.settle();
    assert_eq!(group.node("a").reads, [(2, Ok(at)), (3, Ok(at))]);
    group.cut.insert(id_of("c"));
    group.node("c").driver.read_index(4, ReadMode::Safe);
    group.ticks(80);
    assert_eq!(group.node("c").reads, [(4, Err(ReadError::NoLeader))]);
}

#[test]
fn a_lone_servers_read_is_confirmed_at_once() {
    let mut group = Group::of(&["a"]);
    group.settle();
    group.node("a").driver.read_index(9, ReadMode::Safe);
    group.settle();
    assert_eq!(group.node("a").reads.len(), 1);
}

#[test]
fn leadership_is_handed_over() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.elect("a");
    assert!(group.node("b").driver.transfer_leader(id_of("c")).is_err(), "only the leader can");
    assert!(group.node("a").driver.transfer_leader(id_of("x")).is_err(), "only to a voter");
    group.node("a").driver.transfer_leader(id_of("c")).unwrap();
    assert_eq!(group.node("a").driver.quorum_heard(), None, "its lease ends here");
    assert_eq!(group.propose("a", "meanwhile"), Err(ProposeError::Busy));
    group.settle();
    assert!(group.node("c").driver.is_ready());
}

#[test]
fn a_hand_over_that_failed_costs_the_lease() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.elect("a");
    group.cut.insert(id_of("c"));
    group.node("a").driver.transfer_leader(id_of("c")).unwrap();
    group.ticks(30);
    assert!(group.node("a").driver.is_ready(), "it leads on");
    group.propose("a", "afterwards").unwrap();
    heartbeat(&mut group, "a", 5_000, 5_001);
    assert_eq!(group.node("a").driver.quorum_heard(), None, "the order to stand may still arrive");
}

#[test]
fn a_leader_that_is_removed_leads_no_more() {
    for names in [&["a", "b"][..], &["a", "b", "c"]] {
        let mut group = Group::of(names);
        group.elect("a");
        group.change("a", &MembershipChange::Remove(id_of("a"))).unwrap();
        group.node("a").driver.read_index(1, ReadMode::Safe);
        group.settle();
        assert_ne!(group.node("a").driver.status().role, Role::Leader, "{names:?}");
        assert_eq!(group.node("a").driver.quorum_heard(), None, "{names:?}: no lease");
        group.ticks(60);
        let leader = names.iter().find(|name| group.node(name).driver.is_ready());
        assert!(leader.is_some_and(|leader| *leader != "a"), "{names:?}: {leader:?}");
        group.node("a").driver.read_index(2, ReadMode::Safe);
        group.ticks(100);
        let read = group.node("a").reads.iter().find(|(ctx, _)| *ctx == 2).copied();
        assert_eq!(read, Some((2, Err(ReadError::NoLeader))), "{names:?}");
    }
}

#[test]
fn a_server_joins_as_learner_with_a_snapshot_and_becomes_a_voter() {
    let mut group = Group::of(&["a"]);
    group.settle();
    group.propose("a", "before").unwrap();
    group.settle();
    group.nodes.insert(id_of("b"), Node::new("b", None));
    group.change("a", &MembershipChange::AddLearner(server("b"))).unwrap();
    let second = group.change("a", &MembershipChange::Remove(5));
    assert_eq!(second, Err(ProposeError::Busy), "one change at a time");
    group.settle();
    group.ticks(10);
    assert!(group.node("a").snapshots_wanted > 0, "the founding is a snapshot, so joining needs one");
    assert_eq!(group.data("b"), ["before"]);
    let members = group.node("b").driver.membership().clone();
    assert_eq!((members.voters.len(), members.learners.len()), (1, 1));
    assert_eq!(members.servers[&id_of("b")], server("b"), "known by node ID, with name and address");

    group.change("a", &MembershipChange::AddVoter(server("b"))).unwrap();
    group.settle();
    group.ticks(3);
    assert_eq!(group.node("a").driver.membership().voters.len(), 2);
    group.propose("a", "by two").unwrap();
    group.settle();
    assert_eq!(group.data("b"), ["before", "by two"]);

    let moved = ServerRecord { address: "elsewhere:8300".into(), ..server("b") };
    group.change("a", &MembershipChange::Update(moved.clone())).unwrap();
    group.settle();
    group.ticks(3);
    assert_eq!(group.node("b").driver.membership().servers[&id_of("b")], moved);
    assert_eq!(group.node("b").driver.membership().voters.len(), 2, "and nothing else changed");

    for name in ["a", "b"] {
        let before = group.node(name).driver.membership().clone();
        group.node(name).restart();
        assert_eq!(group.node(name).driver.membership(), &before, "{name} remembers its members");
    }
    group.ticks(25);
    let leader = if group.node("a").driver.is_ready() { "a" } else { "b" };
    assert!(group.node(leader).driver.is_ready(), "two voters elect again");
    let other = if leader == "a" { "b" } else { "a" };
    group.change(leader, &MembershipChange::Remove(id_of(other))).unwrap();
    group.settle();
    group.propose(leader, "alone").unwrap();
    group.settle();
    assert_eq!(group.data(leader).last().map(String::as_str), Some("alone"));
}

#[test]
fn compaction_leaves_a_log_that_starts_again_and_serves_laggards_by_snapshot() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.elect("a");
    group.cut.insert(id_of("c"));
    for data in ["one", "two", "three", "four"] {
        group.propose("a", data).unwrap();
        group.settle();
    }
    group.ticks(12); // until c no longer counts as alive
    let applied = group.node("a").applied;
    for name in ["a", "b"] {
        group.node(name).driver.compact(applied).unwrap();
        group.settle();
        assert_eq!(group.node(name).driver.status().first_index, applied + 1, "{name}");
        group.node(name).restart();
    }
    group.ticks(25);
    group.cut.clear();
    group.ticks(30);
    let want = group.data("a");
    assert_eq!(group.data("c"), want, "c got a snapshot");
    let node = group.node("c");
    assert_eq!(node.log.state().unwrap().installing, None, "its installation is finished");
    node.restart();
    group.ticks(3);
    assert_eq!(group.data("c"), want);
}

#[test]
fn an_interrupted_installation_is_repeated() {
    let mut log = MemoryLog::with_crashes();
    let founding = Membership::founding([server("a"), server("b")]);
    let config = DriverConfig { bootstrap: Some(founding.clone()), ..DriverConfig::new(id_of("a")) };
    drop(Driver::<_, Waiter>::open(config.clone(), log.clone(), 0, 1).unwrap());
    let manifest = Manifest {
        index: 40,
        term: 3,
        membership: Membership { index: 30, ..founding },
        data: "x".into(),
        ..Manifest::default()
    };
    let hard_state = HardState { term: 3, commit: 40, ..HardState::default() };
    log.write(&LogWrite {
        reset: Some(LogPosition { index: 40, term: 3 }),
        hard_state: Some(hard_state),
        installing: Some(Some(manifest.clone())),
        must_sync: true,
        ..LogWrite::default()
    })
    .unwrap();
    let mut driver = Driver::<_, Waiter>::open(config.clone(), log.clone(), 0, 1).unwrap();
    let mut effects = Vec::new();
    driver.pump(&mut |effect| effects.push(effect)).unwrap();
    assert!(matches!(&effects[0], Effect::InstallSnapshot(found) if *found == manifest), "{effects:?}");
    driver.snapshot_installed(40).unwrap();
    driver.pump(&mut |_| {}).unwrap();
    assert_eq!(log.state().unwrap().installing, None);
    assert!(Driver::<_, Waiter>::open(config, log, 40, 1).is_ok());
}

#[test]
fn a_state_that_is_behind_is_not_flooded() {
    let mut group = Group::of(&["a"]);
    group.settle();
    let node = group.node("a");
    node.config.max_apply_backlog = 10_000;
    node.restart();
    node.pump();
    for sequence in 0..100 {
        let data = Bytes::from(vec![b'x'; 1_000]);
        node.driver.propose(ProposalId { origin: 1, sequence }, data, "x").unwrap();
    }
    let mut handed = 0;
    let mut batches = |node: &mut Node| {
        let mut last = 0;
        node.driver
            .pump(&mut |effect| {
                if let Effect::Apply(batch) = effect {
                    handed += batch.len();
                    last = batch.last().map_or(0, |committed| committed.index);
                }
            })
            .unwrap();
        (handed, last)
    };
    // Whatever raft gives at once may overshoot once (here all: below 1 MiB); then nothing follows.
    let (first, last) = batches(node);
    for sequence in 100..120 {
        let data = Bytes::from(vec![b'x'; 1_000]);
        node.driver.propose(ProposalId { origin: 1, sequence }, data, "x").unwrap();
    }
    assert!(batches(node).0 <= first + 2, "held back while the state is behind");
    let last = last.max(node.driver.status().handed);
    node.driver.applied(last).unwrap();
    assert_eq!(batches(node).0, 120, "and then the rest");
}

#[test]
fn nonsense_from_peers_is_refused_and_harmless() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.elect("a");
    let (a, b) = (id_of("a"), id_of("b"));
    let term = group.node("a").driver.status().term;
    let message = |kind, from, to, change: &dyn Fn(&mut Message)| {
        let mut message = Message::default();
        message.set_msg_type(kind);
        message.from = from;
        message.to = to;
        message.term = term;
        change(&mut message);
        PeerMessage::new(message)
    };
    let nothing: &dyn Fn(&mut Message) = &|_| {};
    for (name, to, message) in [
        ("a proposal", a, message(MessageType::MsgPropose, b, a, nothing)),
        ("for another", a, message(MessageType::MsgHeartbeat, b, 77, nothing)),
        ("heartbeat beyond the log", b, message(MessageType::MsgHeartbeat, a, b, &|m| m.commit = 1_000)),
        ("ack beyond the log", a, message(MessageType::MsgAppendResponse, b, a, &|m| m.index = 1_000)),
        ("ack from a stranger", a, message(MessageType::MsgAppendResponse, 77, a, nothing)),
        ("hand over from a follower", b, message(MessageType::MsgTimeoutNow, id_of("c"), b, nothing)),
        ("hand over forwarded", b, message(MessageType::MsgTransferLeader, a, b, nothing)),
        ("read at a follower", b, message(MessageType::MsgReadIndex, a, b, &|m| m.term = 0)),
        ("snapshot without manifest", b, message(MessageType::MsgSnapshot, a, b, nothing)),
        ("local message", b, message(MessageType::MsgHup, a, b, nothing)),
    ] {
        let node = group.nodes.get_mut(&to).unwrap();
        assert!(node.driver.step(message, 0).unwrap().is_err(), "{name}");
    }
    group.propose("a", "fine").unwrap();
    group.settle();
    assert_eq!(group.data("b"), ["fine"]);
}

#[test]
fn sizes_are_limited() {
    let mut group = Group::of(&["a"]);
    group.settle();
    let id = ProposalId { origin: 1, sequence: 1 };
    let driver = &mut group.node("a").driver;
    assert_eq!(driver.propose(id, Bytes::new(), "x"), Err((ProposeError::Size(0), "x")));
    let large = Bytes::from(vec![0; MAX_PROPOSAL + 1]);
    assert_eq!(driver.propose(id, large, "x"), Err((ProposeError::Size(MAX_PROPOSAL + 1), "x")));
    let half = Bytes::from(vec![0; MAX_PROPOSAL]);
    let taken = (0..6).take_while(|_| driver.propose(id, half.clone(), "x").is_ok()).count();
    assert_eq!(taken, 4, "64 MiB may wait to be committed");
    assert_eq!(driver.propose(id, half, "x"), Err((ProposeError::Busy, "x")));
}

#[test]
fn a_group_is_founded_by_running_servers() {
    let mut group = Group::of(&[]);
    for name in ["a", "b", "c"] {
        group.nodes.insert(id_of(name), Node::new(name, None));
    }
    group.ticks(40);
    assert!(group.node("a").driver.membership().voters.is_empty(), "nobody founds anything alone");
    group.node("a").driver.read_index(7, ReadMode::Lease);
    let founding = Membership::founding(["a", "b", "c"].map(server));
    let empty = MemoryLog::with_crashes;
    let others = Membership::founding(["b", "c"].map(server));
    assert!(group.node("a").driver.found(others, empty(), 1).unwrap().is_err(), "not without itself");
    // The third does not hear of it, and has voted for somebody before.
    for name in ["a", "b"] {
        group.node(name).driver.found(founding.clone(), empty(), 1).unwrap().unwrap();
        group.settle();
    }
    assert_eq!(group.node("a").reads, [(7, Err(ReadError::NoLeader))], "nobody is left waiting");
    assert!(group.node("a").driver.found(founding, empty(), 1).unwrap().is_err(), "once");
    group.elect("a");
    group.propose("a", "one").unwrap();
    group.settle();
    group.ticks(5);
    assert_eq!(group.data("c"), ["one"], "the leader brings the third in");
    assert_eq!(group.node("c").driver.membership().voters.len(), 3);
    group.node("b").restart();
    group.settle();
    assert_eq!(group.node("b").driver.membership().voters.len(), 3, "it is durable");
}

#[test]
fn a_founder_keeps_its_vote() {
    let mut group = Group::of(&["b", "c"]);
    group.nodes.insert(id_of("a"), Node::new("a", None));
    let mut vote = Message::default();
    vote.set_msg_type(MessageType::MsgRequestVote);
    (vote.from, vote.to, vote.term) = (id_of("b"), id_of("a"), 9);
    (vote.index, vote.log_term) = (1, 1);
    group.node("a").driver.step(PeerMessage::new(vote), 0).unwrap().unwrap();
    assert_eq!(group.node("a").pump().len(), 1, "it votes");
    let founding = Membership::founding(["a", "b", "c"].map(server));
    group.node("a").driver.found(founding, MemoryLog::with_crashes(), 1).unwrap().unwrap();
    let state = group.node("a").log.state().unwrap().hard_state;
    assert_eq!((state.term, state.vote, state.commit), (9, id_of("b"), 1));
}

#[test]
fn a_lease_answers_a_followers_read_without_a_round() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.elect("a");
    group.propose("a", "one").unwrap();
    group.settle();
    let at = group.node("a").applied;
    let lease = group.node("a").config.lease_ms;
    // What was answered so far was sent at time 0.
    for (now, asks_others) in [(lease - 1, false), (lease, true)] {
        group.node("b").driver.read_index(now, ReadMode::Lease);
        let asked = group.node("b").pump();
        assert_eq!(asked.len(), 1);
        for message in asked {
            group.node("a").driver.step(message, now).unwrap().unwrap();
        }
        let messages = group.node("a").pump();
        let to_others = messages.iter().any(|message| message.to() == id_of("c"));
        assert_eq!(to_others, asks_others, "at {now}");
        for message in messages.into_iter().filter(|message| message.to() == id_of("b")) {
            group.node("b").driver.step(message, now).unwrap().unwrap();
        }
        group.node("b").pump();
    }
    assert_eq!(group.node("b").reads, [(lease - 1, Ok(at))]);
    // A cut-off leader's lease runs out, and a read that needs none is never answered by one.
    group.node("b").driver.read_index(1, ReadMode::Safe);
    for message in group.node("b").pump() {
        group.node("a").driver.step(message, 0).unwrap().unwrap();
    }
    assert!(group.node("a").pump().iter().any(|message| message.to() == id_of("c")), "asks a quorum");
}

#[test]
fn a_leader_whose_process_is_gone_is_replaced_at_once() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.elect("a");
    group.cut.insert(id_of("a"));
    let stand = |group: &mut Group| {
        group.node("b").driver.campaign().unwrap();
        group.settle();
        group.node("b").driver.is_ready()
    };
    assert!(!group.node("b").driver.peer_gone(id_of("c")), "did not lead");
    assert!(group.node("b").driver.peer_gone(id_of("a")));
    assert!(!stand(&mut group), "the other has heard the leader and does not know yet");
    assert!(group.node("c").driver.peer_gone(id_of("a")));
    assert!(stand(&mut group), "without a tick");
}
