//! Peers that say anything at all: a node refuses it or believes it, and goes on.
//!
//! Whatever passes the codec may be false. Raft itself answers much of it with a panic, which would end the
//! server; so what it cannot stand is refused before it hears of it.

use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, MessageType};
use rand::SeedableRng as _;

use super::group::{Group, id_of, server};
use super::*;

const KINDS: [MessageType; 14] = [
    MessageType::MsgAppend,
    MessageType::MsgAppend,
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgTimeoutNow,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
    MessageType::MsgSnapshot,
];

fn change(rng: &mut ChaCha8Rng) -> Bytes {
    let mut change = ConfChangeV2::default();
    let transitions =
        [ConfChangeTransition::Auto, ConfChangeTransition::Implicit, ConfChangeTransition::Explicit];
    change.set_transition(transitions[rng.random_range(0..3)]);
    let kinds = [ConfChangeType::AddNode, ConfChangeType::RemoveNode, ConfChangeType::AddLearnerNode];
    let singles = (0..rng.random_range(0..3)).map(|_| {
        let mut single = ConfChangeSingle::default();
        single.set_change_type(kinds[rng.random_range(0..3)]);
        single.node_id = id_of(["a", "b", "c", "d"][rng.random_range(0..4)]);
        single
    });
    change.set_changes(singles.collect::<Vec<_>>().into());
    protobuf::Message::write_to_bytes(&change).unwrap().into()
}

/// A message to `a` from anybody, near enough to what is true to be believed now and then.
fn message(rng: &mut ChaCha8Rng, status: &Status) -> Message {
    let mut message = Message::default();
    let kind = KINDS[rng.random_range(0..KINDS.len())];
    message.set_msg_type(kind);
    message.to = id_of("a");
    message.from = id_of(["b", "c", "d"][rng.random_range(0..3)]);
    let about = |rng: &mut ChaCha8Rng, number: u64| (number + rng.random_range(0..4)).saturating_sub(1);
    message.term = about(rng, status.term).max(1);
    let base = if rng.random() { status.last_index } else { status.commit };
    message.index = about(rng, base).saturating_sub(rng.random_range(0..3));
    message.log_term =
        if rng.random_range(0..8) == 0 { 0 } else { about(rng, status.term).min(message.term) };
    message.commit = about(rng, base);
    message.commit_term = rng.random_range(0..=message.term);
    message.reject = rng.random_range(0..4) == 0;
    message.reject_hint = about(rng, base);
    match kind {
        MessageType::MsgAppend => {
            let mut entries = Vec::new();
            for at in 1..=rng.random_range(0..4) {
                let mut entry = Entry { index: message.index + at, term: message.term, ..Entry::default() };
                if rng.random() {
                    entry.term = entry.term.min(message.log_term);
                }
                if rng.random_range(0..4) == 0 {
                    entry.set_entry_type(EntryType::EntryConfChangeV2);
                    entry.data = change(rng);
                } else {
                    entry.data = "x".into();
                }
                entries.push(entry);
            }
            entries.sort_by_key(|entry: &Entry| entry.term);
            for (at, entry) in (1..).zip(&mut entries) {
                entry.index = message.index + at;
            }
            message.set_entries(entries.into());
        }
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => {
            if kind == MessageType::MsgReadIndex {
                message.term = 0;
            }
            let data = vec![rng.random_range(0..2); 25];
            message.set_entries(vec![Entry { data: data.into(), ..Entry::default() }].into());
        }
        MessageType::MsgSnapshot => {
            let members = Membership::founding(
                ["a", "b", "c", "d"][..rng.random_range(1..5)].iter().map(|name| server(name)),
            );
            let manifest = Manifest {
                index: message.index,
                term: message.log_term,
                membership: members,
                data: "{}".into(),
                ..Manifest::default()
            };
            message.mut_snapshot().data = manifest.encode().unwrap().into();
        }
        _ => {}
    }
    message
}

/// A node among such peers. How many of their messages it believed.
fn live(seed: u64) -> Result<u32, RaftError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut group = Group::of(&["a", "b", "c"]);
    if rng.random() {
        group.elect(["a", "b"][rng.random_range(0..2)]);
    }
    let node = group.node("a");
    let (mut believed, mut now) = (0, 0);
    for step in 0..120 {
        let message = PeerMessage::new(message(&mut rng, &node.driver.status()));
        let Ok(message) = message.encode().and_then(|bytes| PeerMessage::decode(&bytes)) else { continue };
        now += rng.random_range(0..90);
        believed += u32::from(node.driver.step(message, now)?.is_ok());
        node.pump();
        match rng.random_range(0..10) {
            0..4 => node.driver.tick(now)?,
            4 => node.driver.campaign()?,
            5 => drop(node.driver.propose(ProposalId { origin: 1, sequence: step }, "y".into(), "y")),
            6 => node.driver.read_index(step, ReadMode::Safe),
            _ => {}
        }
        node.pump();
    }
    Ok(believed)
}

#[test]
fn a_node_outlives_whatever_peers_say() {
    let asked = std::env::var("TRIBUNE_HOSTILE_SEEDS").ok().and_then(|text| text.parse().ok());
    for seed in 0..asked.unwrap_or(300) {
        let believed = catch_unwind(AssertUnwindSafe(|| live(seed)));
        assert!(matches!(believed, Ok(Ok(1..))), "seed {seed}: {believed:?}");
    }
}
