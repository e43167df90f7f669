//! A test for each rule of section 6.5, in its order.

use super::*;
use NodeState::{Alive as Living, Dead, Left, Suspect};

fn with_meta<'a>(message: Message<'a>, meta: &'a [u8]) -> Message<'a> {
    match message {
        Message::Alive(alive) => Message::Alive(Alive { meta, ..alive }),
        other => other,
    }
}

fn with_versions(message: Message<'_>, versions: Option<[u8; 6]>) -> Message<'_> {
    match message {
        Message::Alive(alive) => Message::Alive(Alive { versions, ..alive }),
        other => other,
    }
}

// alive

#[test]
fn alive_about_me_is_ignored_while_i_leave() {
    let mut lab = Lab::among(&["b"]);
    lab.swim.leave(lab.now, Duration::from_secs(5), &mut lab.log, &mut lab.out);
    lab.hear(&[alive("me", 1, 99)]);
    assert_eq!(lab.state("me"), Some((Left, 1)));
}

#[test]
fn an_unknown_member_joins() {
    let mut lab = Lab::new();
    lab.quiet();
    lab.hear(&[with_meta(alive("b", 2, 1), b"tags")]);
    assert_eq!(lab.told(), ["joined b 127.0.0.1:2"]);
    assert_eq!(lab.queued(), ["alive b 1 at 2 tags"]);
    assert_eq!(lab.state("b"), Some((Living, 1)));
    let b = lab.swim.table().get(b"b").unwrap();
    assert_eq!((&b.node.meta[..], b.node.versions), (&b"tags"[..], Some(OUR_VERSIONS)));
}

#[test]
fn an_unknown_member_of_no_incarnation_is_nobody() {
    let mut lab = Lab::new();
    lab.hear(&[alive("b", 2, 0)]);
    assert_eq!((lab.told().len(), lab.state("b")), (0, None));
}

#[test]
fn port_zero_is_my_own_port() {
    let mut lab = Lab::new();
    lab.hear(&[alive("b", 0, 1)]);
    assert_eq!(lab.told(), ["joined b 127.0.0.1:1"]);
}

#[test]
fn an_old_or_known_incarnation_is_no_news() {
    for incarnation in [4, 5] {
        let mut lab = Lab::among(&["b"]);
        lab.hear(&[with_meta(alive("b", 2, incarnation), b"other")]);
        assert_eq!((lab.told().len(), lab.queued().len()), (0, 0));
        assert_eq!(lab.swim.table().get(b"b").unwrap().node.meta, "");
    }
}

#[test]
fn a_newer_incarnation_is_taken_over_and_passed_on() {
    let mut lab = Lab::among(&["b"]);
    let before = lab.swim.table().get(b"b").unwrap().node.clone();
    lab.hear(&[alive("b", 2, 6)]);
    assert_eq!(lab.told(), [""; 0], "nothing the layer above would see has changed");
    assert_eq!(lab.queued(), ["alive b 6 at 2"]);
    assert!(Arc::ptr_eq(&before, &lab.swim.table().get(b"b").unwrap().node));
    lab.hear(&[with_meta(alive("b", 2, 7), b"new")]);
    assert_eq!(lab.told(), ["updated b new"]);
}

#[test]
fn versions_that_are_not_told_stay_as_they_were() {
    let mut lab = Lab::among(&["b"]);
    lab.hear(&[with_versions(alive("b", 2, 6), None)]);
    assert_eq!(lab.state("b"), Some((Living, 6)));
    assert_eq!(lab.swim.table().get(b"b").unwrap().node.versions, Some(OUR_VERSIONS));
}

#[test]
fn impossible_versions_are_ignored() {
    for versions in [[0, 5, 2, 2, 5, 4], [1, 0, 2, 2, 5, 4], [3, 2, 2, 2, 5, 4]] {
        let mut lab = Lab::new();
        lab.hear(&[with_versions(alive("b", 2, 6), Some(versions))]);
        assert_eq!((lab.state("b"), lab.swim.stats().invalid_members), (None, 1));
    }
}

#[test]
fn another_address_of_a_living_or_suspected_member_is_a_conflict() {
    let mut lab = Lab::among(&["b", "c", "d"]);
    lab.hear(&[alive("b", 7, 9)]);
    assert_eq!(lab.told(), ["conflict b 127.0.0.1:2 127.0.0.1:7"]);
    lab.hear(&[suspect("b", 5, "c"), alive("b", 7, 9)]);
    assert_eq!(lab.told(), ["conflict b 127.0.0.1:2 127.0.0.1:7"]);
    assert_eq!(lab.state("b"), Some((Suspect, 5)));
    lab.hear(&[alive("me", 7, 9)]);
    assert_eq!(lab.told(), ["conflict me 127.0.0.1:1 127.0.0.1:7"]);
    assert_eq!((lab.state("me"), lab.swim.stats().conflicts), (Some((Living, 1)), 3));
}

#[test]
fn who_left_may_come_back_elsewhere_in_any_incarnation() {
    let mut lab = Lab::among(&["b"]);
    lab.hear(&[dead("b", 5, "b")]);
    assert_eq!(lab.told(), ["left b Left"]);
    lab.hear(&[alive("b", 7, 1)]);
    assert_eq!(lab.told(), ["joined b 127.0.0.1:7"]);
    assert_eq!(lab.state("b"), Some((Living, 1)));
}

#[test]
fn a_dead_members_name_may_be_reclaimed_after_a_while() {
    let mut lab = Lab::among(&["b"]);
    lab.hear(&[dead("b", 5, "c")]);
    lab.now += Duration::from_secs(30);
    lab.hear(&[alive("b", 7, 9)]);
    assert_eq!(lab.told(), ["left b Dead", "conflict b 127.0.0.1:2 127.0.0.1:7"]);
    lab.now += Duration::from_millis(1);
    lab.hear(&[alive("b", 7, 1)]);
    assert_eq!(lab.told(), ["joined b 127.0.0.1:7"]);
}

#[test]
fn a_dead_members_name_is_not_reclaimed_unless_that_is_configured() {
    let mut lab = Lab::with(SwimConfig::lan());
    lab.meet(&["b"]);
    lab.hear(&[dead("b", 5, "c")]);
    lab.now += Duration::from_secs(3_600);
    lab.hear(&[alive("b", 7, 9)]);
    assert_eq!(lab.told(), ["left b Dead", "conflict b 127.0.0.1:2 127.0.0.1:7"]);
}

#[test]
fn an_old_incarnation_of_me_is_ignored() {
    let mut lab = Lab::new();
    lab.hear(&[suspect("me", 7, "b")]);
    lab.quiet();
    lab.hear(&[with_meta(alive("me", 1, 7), b"old")]);
    assert_eq!((lab.state("me"), lab.queued().len()), (Some((Living, 8)), 0));
}

#[test]
fn my_own_words_are_no_reason_to_object_but_other_words_are() {
    let mut lab = Lab::new();
    lab.quiet();
    lab.hear(&[alive("me", 1, 1)]);
    assert_eq!((lab.state("me"), lab.queued().len()), (Some((Living, 1)), 0));
    lab.hear(&[with_meta(alive("me", 1, 1), b"forged")]);
    assert_eq!(lab.queued(), ["alive me 2 at 1"]);
    lab.hear(&[with_versions(alive("me", 1, 2), Some([1, 5, 2, 2, 5, 5]))]);
    assert_eq!(lab.queued(), ["alive me 3 at 1"]);
    lab.hear(&[alive("me", 1, 20)]);
    assert_eq!(lab.queued(), ["alive me 21 at 1"]);
    assert_eq!(lab.told(), [""; 0]);
}

#[test]
fn news_of_life_ends_a_suspicion() {
    let mut lab = Lab::among(&["b", "c"]);
    lab.hear(&[suspect("b", 5, "c"), alive("b", 2, 6)]);
    lab.swim.state.probe_ticks.next = Moment::NEVER;
    lab.pass(Duration::from_secs(60));
    assert_eq!(lab.state("b"), Some((Living, 6)));
    assert_eq!(lab.told(), [""; 0]);
}

#[test]
fn the_dead_join_again() {
    let mut lab = Lab::among(&["b"]);
    lab.hear(&[dead("b", 5, "c"), alive("b", 2, 5)]);
    assert_eq!(lab.told(), ["left b Dead"], "not in the incarnation they died in");
    lab.hear(&[alive("b", 2, 6)]);
    assert_eq!(lab.told(), ["joined b 127.0.0.1:2"]);
}

#[test]
fn the_unwelcome_are_refused_when_they_come_come_back_or_change() {
    let mut lab = Lab::among(&["b"]);
    lab.log.unwelcome.extend([b"b".to_vec(), b"c".to_vec()]);
    lab.hear(&[alive("c", 3, 1), with_meta(alive("b", 2, 6), b"new"), alive("b", 2, 7)]);
    assert_eq!((lab.state("c"), lab.state("b")), (None, Some((Living, 7))));
    assert_eq!((lab.told().len(), lab.swim.stats().refused), (0, 2));
    lab.hear(&[dead("b", 7, "b"), alive("b", 2, 8)]);
    assert_eq!((lab.state("b"), lab.swim.stats().refused), (Some((Left, 7)), 3));
}

// suspect

#[test]
fn suspicions_of_the_unknown_and_of_old_incarnations_are_ignored() {
    let mut lab = Lab::among(&["b"]);
    lab.hear(&[suspect("x", 5, "c"), suspect("b", 4, "c")]);
    assert_eq!((lab.state("b"), lab.queued().len()), (Some((Living, 5)), 0));
}

#[test]
fn a_living_member_becomes_suspect_and_then_dead() {
    let mut lab = Lab::among(&["b"]);
    lab.swim.state.probe_ticks.next = Moment::NEVER;
    lab.hear(&[suspect("b", 6, "c")]);
    assert_eq!(lab.state("b"), Some((Suspect, 6)));
    assert_eq!(lab.queued(), ["suspect b 6 by c"]);
    assert_eq!(lab.told(), [""; 0], "a suspicion is no news for the layer above");
    lab.pass(Duration::from_millis(3_999));
    assert_eq!(lab.state("b"), Some((Suspect, 6)));
    lab.pass(Duration::from_millis(1));
    assert_eq!(lab.state("b"), Some((Dead, 6)));
    assert_eq!(lab.told(), ["left b Dead"]);
    assert_eq!(lab.queued(), ["dead b 6 by me"]);
}

#[test]
fn further_accusers_are_passed_on_once_each_and_shorten_the_wait() {
    let mut lab = Lab::among(&["b", "c", "d"]);
    lab.swim.state.probe_ticks.next = Moment::NEVER;
    lab.hear(&[suspect("b", 5, "c")]);
    assert_eq!(lab.queued(), ["suspect b 5 by c"]);
    lab.quiet();
    lab.hear(&[suspect("b", 5, "c")]);
    assert_eq!(lab.queued(), [""; 0]);
    lab.hear(&[suspect("b", 5, "d"), suspect("b", 5, "d")]);
    assert_eq!(lab.queued(), ["suspect b 5 by d"]);
    lab.hear(&[suspect("b", 5, "e")]);
    assert_eq!(lab.queued(), ["suspect b 5 by e"]);
    lab.quiet();
    lab.hear(&[suspect("b", 5, "f")]);
    assert_eq!(lab.queued(), [""; 0], "two are enough");
    // 24 s with one accuser, 4 s with all.
    lab.pass(Duration::from_secs(4));
    assert_eq!(lab.state("b"), Some((Dead, 5)));
}

#[test]
fn the_dead_and_those_who_left_are_not_suspected() {
    let mut lab = Lab::among(&["b", "c"]);
    lab.hear(&[dead("b", 5, "me"), dead("c", 5, "c")]);
    lab.hear(&[suspect("b", 9, "d"), suspect("c", 9, "d")]);
    assert_eq!((lab.state("b"), lab.state("c")), (Some((Dead, 5)), Some((Left, 5))));
}

#[test]
fn i_object_to_suspicions_and_to_my_death() {
    let mut lab = Lab::new();
    let mut incarnations = Vec::new();
    for message in [
        suspect("me", 1, "b"),
        suspect("me", 7, "b"),
        suspect("me", 7, "b"),
        suspect("me", 3, "b"),
        dead("me", 20, "b"),
        dead("me", 21, "me"),
    ] {
        lab.hear(&[message]);
        incarnations.push(lab.state("me").unwrap().1);
    }
    assert_eq!(incarnations, [2, 8, 8, 8, 21, 22], "as measured on stock agents");
    assert_eq!(lab.queued(), ["alive me 22 at 1"]);
    assert_eq!(lab.swim.health_score(), 4);
    assert_eq!(lab.swim.stats().refutes, 4);
    assert_eq!(lab.swim.local().incarnation, 22);
}

#[test]
fn the_last_incarnation_of_all_is_kept() {
    let mut lab = Lab::new();
    lab.hear(&[suspect("me", u32::MAX, "b"), dead("me", u32::MAX, "b"), alive("me", 1, u32::MAX)]);
    assert_eq!(lab.state("me"), Some((Living, u32::MAX)));
}

// dead

#[test]
fn deaths_of_the_unknown_and_of_old_incarnations_are_ignored() {
    let mut lab = Lab::among(&["b"]);
    lab.hear(&[dead("x", 5, "c"), dead("b", 4, "c")]);
    assert_eq!((lab.state("b"), lab.queued().len(), lab.told().len()), (Some((Living, 5)), 0, 0));
}

#[test]
fn a_death_is_told_once_and_ends_a_suspicion() {
    let mut lab = Lab::among(&["b", "c"]);
    lab.hear(&[suspect("b", 5, "c"), dead("b", 5, "c"), dead("b", 6, "c"), dead("b", 6, "b")]);
    assert_eq!(lab.told(), ["left b Dead"]);
    assert_eq!(lab.queued(), ["dead b 5 by c"]);
    assert_eq!(lab.swim.state.suspicions.deadline(), Moment::NEVER);
}

#[test]
fn who_reports_its_own_death_has_left() {
    let mut lab = Lab::among(&["b"]);
    lab.hear(&[dead("b", 6, "b")]);
    assert_eq!(lab.state("b"), Some((Left, 6)));
    assert_eq!((lab.swim.stats().goodbyes, lab.swim.stats().deaths), (1, 0));
}

// leave, and what this member says of itself

#[test]
fn a_goodbye_is_over_when_it_was_sent_often_enough() {
    let mut lab = Lab::among(&["b"]);
    lab.swim.state.probe_ticks.next = Moment::NEVER;
    lab.swim.leave(lab.now, Duration::from_secs(5), &mut lab.log, &mut lab.out);
    assert_eq!(lab.told(), ["left me Left"]);
    assert!(!lab.swim.left());
    let mut goodbyes = 0;
    for _ in 0..10 {
        lab.pass(Duration::from_millis(200));
        goodbyes += lab.sent().iter().filter(|packet| packet.contains("[dead me 1 by me]")).count();
    }
    assert_eq!(goodbyes, 4);
    assert!(lab.swim.left());
    // It still answers.
    lab.hear(&[Message::Ping(crate::gossip::wire::Ping {
        seq: 7,
        node: b"me",
        source: None,
        source_node: b"",
    })]);
    assert_eq!(lab.sent(), ["9: [ack 7]"]);
}

#[test]
fn a_goodbye_nobody_hears_is_over_at_once_and_one_that_cannot_be_sent_after_a_while() {
    let mut lab = Lab::new();
    lab.swim.leave(lab.now, Duration::from_secs(5), &mut lab.log, &mut lab.out);
    assert!(lab.swim.left());
    let mut lab = Lab::with(SwimConfig { gossip_nodes: 0, ..SwimConfig::lan() });
    lab.meet(&["b"]);
    lab.swim.state.probe_ticks.next = Moment::NEVER;
    lab.swim.leave(lab.now, Duration::from_secs(5), &mut lab.log, &mut lab.out);
    lab.pass(Duration::from_millis(4_999));
    assert!(!lab.swim.left());
    lab.pass(Duration::from_millis(1));
    assert!(lab.swim.left());
}

#[test]
fn suspicions_and_deaths_do_not_bother_who_leaves() {
    let mut lab = Lab::among(&["b"]);
    lab.swim.leave(lab.now, Duration::from_secs(5), &mut lab.log, &mut lab.out);
    lab.hear(&[suspect("me", 9, "b"), dead("me", 9, "b")]);
    assert_eq!(lab.state("me"), Some((Left, 1)));
    assert_eq!(lab.queued(), ["dead me 1 by me"]);
}

#[test]
fn a_new_meta_is_a_new_incarnation() {
    let mut lab = Lab::among(&["b"]);
    let meta = Bytes::from_static(b"new");
    lab.swim.set_meta(lab.now, meta, &mut lab.log, &mut lab.out).unwrap();
    assert_eq!(lab.told(), ["updated me new"]);
    assert_eq!(lab.queued(), ["alive me 2 at 1 new"]);
    let long = Bytes::from(vec![0; 513]);
    let error = lab.swim.set_meta(lab.now, long, &mut lab.log, &mut lab.out);
    assert_eq!((error, lab.state("me")), (Err(SwimError::Meta(513)), Some((Living, 2))));
}
