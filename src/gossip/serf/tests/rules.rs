//! Clocks and members (7.2 to 7.4): a test for each rule.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::address;
use super::solo::{Solo, USER, names, question, state};
use crate::gossip::Moment;
use crate::gossip::effect::{Command, Input, StreamId};
use crate::gossip::serf::intent::Recent;
use crate::gossip::serf::roster::Roster;
use crate::gossip::serf::{Member, Status};
use crate::gossip::wire::serf::{Join, SerfMessage, SerfState, UserEvent};
use crate::gossip::wire::{OUR_VERSIONS, PushPull, StreamMessage};

// 7.2

#[test]
fn every_message_moves_its_clock() {
    let mut solo = Solo::new();
    solo.join("x", 10);
    assert_eq!(solo.pool.clocks().member, 11);
    solo.leave("x", 20);
    assert_eq!(solo.pool.clocks().member, 21);
    solo.say(&SerfMessage::UserEvent(UserEvent { ltime: 30, name: b"e", payload: None, coalesce: false }));
    assert_eq!(solo.pool.clocks().event, 31);
    solo.say(&SerfMessage::Query(question(40)));
    let clocks = solo.pool.clocks();
    assert_eq!((clocks.member, clocks.event, clocks.query), (21, 31, 41));
}

#[test]
fn a_full_exchange_moves_all_clocks_to_those_of_the_other_side() {
    let mut solo = Solo::new();
    solo.exchange(&SerfState { ltime: 8, event_ltime: 9, query_ltime: 10, ..state(&[], &[]) }, false);
    let clocks = solo.pool.clocks();
    assert_eq!((clocks.member, clocks.event, clocks.query), (8, 9, 10));
}

// 7.3

#[test]
fn an_intent_about_nobody_known_is_remembered_and_told_on_once() {
    let mut solo = Solo::new();
    solo.leave("n1", 5);
    solo.leave("n1", 5);
    solo.join("n1", 4);
    assert_eq!(solo.intents(), 1);
    solo.alive(1, 1);
    assert_eq!(names(&solo.out.events), ["joined n1 Leaving"]);
    solo.join("n1", 5);
    assert_eq!((solo.status(1), solo.intents()), (Some(Status::Leaving), 1), "its time came with it");
    solo.join("n1", 6);
    assert_eq!((solo.status(1), solo.intents()), (Some(Status::Alive), 2));
}

#[test]
fn an_intent_about_nobody_known_is_forgotten() {
    let mut solo = Solo::new();
    solo.leave("n1", 5);
    solo.run(Duration::from_secs(330));
    solo.alive(1, 1);
    assert_eq!(solo.status(1), Some(Status::Alive));
}

#[test]
fn a_goodbye_without_an_end_is_void_after_a_while() {
    let member = |name: &str| Member {
        name: name.to_owned(),
        addr: address(1),
        tags: Arc::default(),
        status: Status::Alive,
        versions: OUR_VERSIONS,
    };
    let (mut roster, mut recent) = (Roster::new(member("me"), 1), Recent::default());
    let at = |seconds: u64| Moment(seconds * 1_000_000_000);
    let patience = Duration::from_secs(50);
    let status = |roster: &Roster| roster.get(b"x").map(|member| member.status);
    roster.lives(member("x"), &recent);
    assert!(roster.leave_intent("x", 5, &mut recent, at(1)).news);
    for seconds in [10, 30, 60] {
        roster.void_goodbyes(at(seconds), patience);
        assert_eq!(status(&roster), Some(Status::Leaving), "first seen at 10 s");
    }
    let generation = roster.generation();
    roster.void_goodbyes(at(61), patience);
    assert_eq!(status(&roster), Some(Status::Alive));
    assert!(roster.generation() > generation);
    // Not without a new one, which has all the time again.
    assert!(!roster.leave_intent("x", 5, &mut recent, at(62)).news);
    assert!(roster.leave_intent("x", 6, &mut recent, at(63)).news);
    roster.void_goodbyes(at(200), patience);
    assert_eq!(status(&roster), Some(Status::Leaving));
    assert!(roster.gone(b"x", at(201)).is_some_and(|member| member.status == Status::Left));
    roster.void_goodbyes(at(400), patience);
    assert_eq!(status(&roster), Some(Status::Left));
}

#[test]
fn who_is_told_of_a_later_time_than_its_own_objects() {
    let mut solo = Solo::with_others();
    solo.exchange(&SerfState { ltime: 30, ..state(&[("n0", 20)], &[]) }, false);
    assert_eq!((solo.pool.stats().refutes, solo.intents(), solo.pool.clocks().member), (1, 1, 31));
    solo.exchange(&SerfState { ltime: 31, ..state(&[("n0", 30)], &[]) }, false);
    assert_eq!((solo.pool.stats().refutes, solo.intents()), (1, 1), "its own word");
}

#[test]
fn who_says_goodbye_and_dies_has_left() {
    let mut solo = Solo::with_others();
    solo.leave("n1", 5);
    assert_eq!((solo.status(1), names(&solo.out.events)), (Some(Status::Leaving), vec![]));
    solo.dead(1, "n1");
    assert_eq!((solo.status(1), names(&solo.out.events)), (Some(Status::Left), vec!["left n1".to_owned()]));
    solo.leave("n1", 6);
    solo.dead(1, "n2");
    assert_eq!(solo.out.events.len(), 1);
}

#[test]
fn who_dies_without_a_goodbye_has_failed_whoever_says_so() {
    let mut solo = Solo::with_others();
    solo.dead(1, "n1");
    solo.dead(2, "n3");
    assert_eq!(names(&solo.out.events), ["failed n1", "failed n2"]);
    solo.alive(1, 2);
    assert_eq!((solo.status(1), solo.out.events.len()), (Some(Status::Alive), 3));
}

#[test]
fn a_goodbye_said_for_a_failed_member_makes_it_left() {
    let mut solo = Solo::with_others();
    solo.dead(1, "n2");
    solo.leave("n1", 5);
    assert_eq!(names(&solo.out.events), ["failed n1", "left n1"]);
    assert_eq!((solo.status(1), solo.intents()), (Some(Status::Left), 1));
}

#[test]
fn intents_that_are_not_newer_change_nothing() {
    let mut solo = Solo::with_others();
    solo.leave("n1", 5);
    solo.join("n1", 5);
    solo.leave("n1", 4);
    assert_eq!((solo.status(1), solo.intents()), (Some(Status::Leaving), 1));
}

#[test]
fn a_member_that_is_about_to_leave_is_pruned_when_it_had_the_time() {
    let mut solo = Solo::with_others();
    solo.prune("n1", 5);
    solo.prune("n2", 5);
    solo.join("n2", 6);
    solo.run(Duration::from_millis(7_999));
    assert_eq!(solo.status(1), Some(Status::Leaving));
    solo.run(Duration::from_millis(1));
    assert_eq!((solo.status(1), names(&solo.out.events)), (None, vec!["reaped n1".to_owned()]));
    assert_eq!(solo.status(2), Some(Status::Alive), "it came back");
}

#[test]
fn a_left_member_is_pruned_at_once() {
    let mut solo = Solo::with_others();
    solo.leave("n1", 5);
    solo.dead(1, "n1");
    solo.prune("n1", 6);
    assert_eq!(names(&solo.out.events), ["left n1", "reaped n1"]);
}

#[test]
fn who_is_said_to_leave_and_does_not_objects_with_a_later_time() {
    let mut solo = Solo::with_others();
    solo.leave("n0", 50);
    solo.leave("n0", 50);
    assert_eq!((solo.status(0), solo.intents(), solo.pool.clocks().member), (Some(Status::Alive), 1, 52));
    let mut told = Vec::new();
    Join { ltime: 51, node: b"n0" }.encode(&mut told);
    solo.run(Duration::from_secs(1));
    let found =
        solo.out.packets.iter().any(|(_, packet)| packet.windows(told.len()).any(|part| part == told));
    assert!(found, "a join of time 51 went out");
}

#[test]
fn who_leaves_does_not_object() {
    let mut solo = Solo::with_others();
    solo.command(Command::Leave);
    solo.leave("n0", 50);
    assert_eq!((solo.status(0), solo.pool.stats().refutes), (Some(Status::Leaving), 0));
}

#[test]
fn a_full_exchange_tells_who_left_and_who_joined() {
    let mut solo = Solo::with_others();
    solo.leave("n2", 3);
    solo.dead(3, "n2");
    solo.out.clear();
    solo.exchange(&state(&[("n1", 7), ("n2", 8), ("n3", 9), ("n9", 4)], &["n1", "n3"]), false);
    assert_eq!(solo.status(1), Some(Status::Leaving), "until SWIM says so too");
    assert_eq!(solo.status(2), Some(Status::Alive));
    assert_eq!(names(&solo.out.events), ["left n3"]);
    assert_eq!(solo.pool.clocks().member, 11, "one later than the latest goodbye");
    assert_eq!(solo.intents(), 1, "only what came by gossip is told on");
}

#[test]
fn two_members_do_not_drive_each_others_clocks() {
    let mut solo = Solo::with_others();
    solo.leave("n1", 5);
    solo.dead(1, "n1");
    for _ in 0..10 {
        let ltime = solo.pool.clocks().member;
        solo.exchange(&SerfState { ltime, ..state(&[("n1", ltime - 1)], &["n1"]) }, false);
    }
    assert_eq!(solo.pool.clocks().member, 6);
}

#[test]
fn forged_times_and_names_are_not_heard() {
    let mut solo = Solo::with_others();
    solo.leave("n1", u64::MAX);
    solo.say(&SerfMessage::Join(Join { ltime: 3, node: b"\xff\xfe" }));
    solo.say(&SerfMessage::Join(Join { ltime: 3, node: b"" }));
    solo.exchange(&state(&[("n2", u64::MAX)], &["n2"]), false);
    assert_eq!((solo.status(1), solo.status(2)), (Some(Status::Alive), Some(Status::Alive)));
    assert_eq!((solo.pool.clocks().member, solo.intents()), (4, 0));
    assert_eq!(solo.pool.stats().malformed, 4);
}

fn someone(name: &str) -> Member {
    Member {
        name: name.to_owned(),
        addr: address(1),
        tags: Arc::default(),
        status: Status::Alive,
        versions: OUR_VERSIONS,
    }
}

proptest! {
    /// Whatever the order in which intents arrive, and whenever the member itself does.
    #[test]
    fn any_order_of_intents_ends_in_the_same_status(
        order in prop::collection::vec(any::<bool>(), 1..10).prop_flat_map(|said| {
            let numbered: Vec<(u64, bool)> = (1..).zip(said).collect();
            Just(numbered).prop_shuffle()
        }),
        arrival in 0..10_usize,
    ) {
        let (mut roster, mut recent) = (Roster::new(someone("n0"), 1), Recent::default());
        for (at, (ltime, join)) in order.iter().enumerate() {
            if at == arrival.min(order.len() - 1) {
                roster.lives(someone("n1"), &recent);
            }
            if *join {
                roster.join_intent("n1", *ltime, &mut recent, Moment(0));
            } else {
                roster.leave_intent("n1", *ltime, &mut recent, Moment(0));
            }
        }
        let (_, joined) = order.iter().max().unwrap();
        let expected = if *joined { Status::Alive } else { Status::Leaving };
        prop_assert_eq!(roster.get(b"n1").map(|member| member.status), Some(expected));
    }

    /// The roster against a plain map.
    #[test]
    fn the_roster_finds_what_it_holds(steps in prop::collection::vec((0..4_u8, 0..12_u8), 0..200)) {
        let (mut roster, recent) = (Roster::new(someone("n0"), 1), Recent::default());
        let mut model = std::collections::BTreeMap::from([("n0".to_owned(), Status::Alive)]);
        for (step, who) in steps {
            let name = format!("n{who}");
            let generation = roster.generation();
            let before = model.clone();
            match step {
                0 | 1 => {
                    roster.lives(someone(&name), &recent);
                    model.insert(name.clone(), Status::Alive);
                }
                2 => {
                    roster.gone(name.as_bytes(), Moment(0));
                    if model.get(&name) == Some(&Status::Alive) {
                        model.insert(name.clone(), Status::Failed);
                    }
                }
                _ => {
                    roster.erase(&name);
                    if who != 0 {
                        model.remove(&name);
                    }
                }
            }
            let members: std::collections::BTreeMap<String, Status> =
                roster.members().map(|member| (member.name.clone(), member.status)).collect();
            prop_assert_eq!((&members, roster.len()), (&model, model.len()));
            for name in model.keys() {
                prop_assert!(roster.get(name.as_bytes()).is_some_and(|member| member.name == *name));
            }
            prop_assert!(before == model || roster.generation() > generation);
            let gone = model.values().filter(|status| **status == Status::Failed).count();
            prop_assert_eq!(roster.present(), model.len() - gone);
        }
    }

    /// Whatever bytes come as a user message or as the state of a full exchange.
    #[test]
    fn junk_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), kind in 0..10_u8) {
        let mut solo = Solo::with_others();
        solo.packet(&[&[USER, kind][..], &bytes].concat());
        let user_state = Bytes::from([&[kind][..], &bytes].concat());
        let message = StreamMessage::PushPull(PushPull { join: true, nodes: Vec::new(), user_state });
        solo.step(Input::Request { stream: StreamId(1), from: address(9), message });
    }
}

// 7.4

#[test]
fn a_left_member_is_forgotten_after_a_day() {
    let mut solo = Solo::with_others();
    solo.leave("n1", 5);
    solo.dead(1, "n1");
    solo.out.clear();
    solo.run(Duration::from_secs(24 * 3_600 - 20));
    assert_eq!(solo.status(1), Some(Status::Left));
    solo.run(Duration::from_secs(60));
    assert_eq!(solo.status(1), None);
    assert!(names(&solo.out.events).contains(&"reaped n1".to_owned()));
}
