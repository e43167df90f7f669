//! Probes, help with them, and what they teach a member about itself.

use super::*;
use crate::gossip::effect::{ExchangeError, Outputs};
use crate::gossip::wire::{Ack, IndirectPing, Ping, StreamMessage};

fn ack(lab: &Lab, number: u32) -> Message<'static> {
    Message::Ack(Ack { seq: lab.seq.wrapping_add(number), payload: Some(b"where I am") })
}

/// Passes time up to the next probe, and gives its ping.
fn next_probe(lab: &mut Lab) -> String {
    let probes = lab.swim.stats().probes;
    while lab.swim.stats().probes == probes {
        lab.out.packets.clear();
        let deadline = lab.swim.deadline(&lab.log).since(lab.now);
        lab.pass(deadline);
    }
    lab.sent().join(" ")
}

#[test]
fn an_answered_probe_measures_the_way_and_heals() {
    let mut lab = Lab::among(&["b"]);
    lab.swim.state.awareness.worse(2);
    assert_eq!(next_probe(&mut lab), "2: [ping #1 b]");
    lab.now += Duration::from_millis(30);
    let answer = ack(&lab, 1);
    lab.hear(&[answer, answer]);
    assert_eq!(lab.told(), ["acked b after 30ms where I am"]);
    assert_eq!(lab.swim.health_score(), 1);
    assert_eq!(next_probe(&mut lab), "2: [ping #2 b]");
}

#[test]
fn a_silent_member_is_asked_through_others_and_over_a_stream_and_then_suspected() {
    let mut lab = Lab::among(&["b", "c", "d", "e", "f"]);
    let ping = next_probe(&mut lab);
    let (port, name) = (&ping[..1], &ping[ping.len() - 2..ping.len() - 1]);
    lab.pass(Duration::from_millis(499));
    assert_eq!(lab.sent(), [""; 0]);
    lab.pass(Duration::from_millis(1));
    let help = lab.sent();
    assert_eq!(help.len(), 3);
    for request in &help {
        assert!(request.ends_with(&format!("[indirect #1 {name} at {port} or nack]")), "{request}");
        assert!(!request.starts_with(port) && !request.starts_with("1:"), "{request}");
    }
    let [exchange] = &lab.out.exchanges[..] else { panic!("{:?}", lab.out.exchanges) };
    assert_eq!(
        (exchange.to.port().to_string().as_str(), exchange.timeout),
        (port, Duration::from_millis(500))
    );
    lab.pass(Duration::from_millis(499));
    assert_eq!(lab.state(name), Some((NodeState::Alive, 5)));
    lab.pass(Duration::from_millis(1));
    assert_eq!(lab.state(name), Some((NodeState::Suspect, 5)));
    assert_eq!(lab.swim.health_score(), 3, "none of three helpers said a word");
    assert_eq!(lab.swim.stats().failed_probes, 1);
}

#[test]
fn helpers_that_had_no_answer_either_show_that_it_is_not_me() {
    let mut lab = Lab::among(&["b", "c", "d", "e"]);
    next_probe(&mut lab);
    lab.pass(Duration::from_millis(500));
    let nack = Message::Nack(lab.seq.wrapping_add(1));
    lab.hear(&[nack, nack, nack, nack]);
    lab.pass(Duration::from_millis(500));
    assert_eq!((lab.swim.health_score(), lab.swim.stats().failed_probes), (0, 1));
}

#[test]
fn an_answer_through_others_is_an_answer_but_measures_nothing() {
    let mut lab = Lab::among(&["b", "c"]);
    next_probe(&mut lab);
    lab.pass(Duration::from_millis(700));
    let answer = ack(&lab, 1);
    lab.hear(&[answer]);
    lab.pass(Duration::from_millis(300));
    assert_eq!((lab.told().len(), lab.swim.stats().failed_probes), (0, 0));
}

#[test]
fn whoever_is_in_doubt_comes_out_of_turn() {
    // All members of the lab share an address: a few of them are looked after, one after the other at once.
    let mut lab = Lab::among(&["b", "c", "d", "e", "f", "g"]);
    let ip = lab.swim.table().iter().nth(1).unwrap().node.addr.ip();
    lab.swim.doubt(lab.now, ip, &mut lab.log, &mut lab.out);
    lab.swim.doubt(lab.now, std::net::Ipv4Addr::new(1, 2, 3, 4).into(), &mut lab.log, &mut lab.out);
    let mut probed = BTreeSet::new();
    for number in 1..=4 {
        assert!(lab.swim.deadline(&lab.log) <= lab.now, "at once");
        lab.pass(Duration::ZERO);
        probed.insert(lab.sent().join(" "));
        lab.out.packets.clear();
        assert!(lab.swim.deadline(&lab.log) > lab.now, "one at a time");
        let answer = ack(&lab, number);
        lab.hear(&[answer]);
    }
    assert_eq!(probed.len(), 4, "{probed:?}");
    assert!(lab.swim.deadline(&lab.log) > lab.now, "and then in turn again");
}

#[test]
fn a_few_members_look_after_a_suspect_of_others() {
    let suspect = |names: &[&str]| {
        let mut lab = Lab::among(names);
        let claim = Claim { incarnation: 5, node: b"b", from: b"c" };
        lab.hear(&[Message::Suspect(claim)]);
        (lab.swim.deadline(&lab.log) <= lab.now, lab)
    };
    let (at_once, mut lab) = suspect(&["b", "c"]);
    assert!(at_once);
    lab.pass(Duration::ZERO);
    assert_eq!(lab.sent().join(" ").matches("ping #1 b").count(), 1);
    lab.pass(Duration::from_secs(1));
    assert_eq!(lab.swim.stats().failed_probes, 1);
    // In a large pool most leave it to others.
    let names: Vec<String> =
        ["b", "c"].map(String::from).into_iter().chain((0..400).map(|at| format!("m{at}"))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(!suspect(&names).0);
}

#[test]
fn an_answer_over_a_stream_keeps_suspicion_away() {
    for answers in [true, false] {
        let mut lab = Lab::among(&["b"]);
        next_probe(&mut lab);
        lab.pass(Duration::from_millis(500));
        let id = lab.out.exchanges[0].id;
        let seq = lab.seq.wrapping_add(1);
        let result = if answers { Ok(StreamMessage::Ack { seq }) } else { Err(ExchangeError::Timeout) };
        assert_eq!(lab.swim.answer(lab.now, id, result, &mut lab.log, &mut lab.out), None);
        lab.pass(Duration::from_millis(500));
        let state = if answers { NodeState::Alive } else { NodeState::Suspect };
        assert_eq!(lab.state("b"), Some((state, 5)));
        // Nobody could be asked for help, so the failure alone counts.
        assert_eq!(lab.swim.health_score(), u32::from(!answers));
    }
}

#[test]
fn the_unhealthy_wait_longer() {
    let mut lab = Lab::among(&["b"]);
    lab.swim.state.awareness.worse(3);
    next_probe(&mut lab);
    lab.pass(Duration::from_millis(3_999));
    assert_eq!(lab.state("b"), Some((NodeState::Alive, 5)));
    assert_eq!(lab.swim.stats().probes, 1, "one probe at a time");
    lab.pass(Duration::from_millis(1));
    assert_eq!(lab.state("b"), Some((NodeState::Suspect, 5)));
    assert_eq!(lab.swim.stats().probes, 2, "the next one was due long ago");
}

#[test]
fn a_suspect_is_told_with_the_ping() {
    let mut lab = Lab::among(&["b", "c", "d"]);
    lab.hear(&[dead("c", 5, "c"), dead("d", 5, "d"), suspect("b", 5, "c")]);
    lab.quiet();
    assert_eq!(next_probe(&mut lab), "2: crc [ping #1 b] [suspect b 5 by me]");
}

#[test]
fn the_dead_and_those_who_left_are_not_probed() {
    let mut lab = Lab::among(&["b", "c"]);
    lab.hear(&[dead("b", 5, "me"), dead("c", 5, "c")]);
    lab.pass(Duration::from_secs(20));
    assert_eq!(lab.swim.stats().probes, 0);
}

#[test]
fn everybody_is_probed_once_a_round() {
    let names = ["b", "c", "d", "e", "f", "g", "h"];
    let mut lab = Lab::among(&names);
    lab.swim.state.restart_round(lab.now);
    for round in 0..3 {
        let mut probed = BTreeSet::new();
        for number in 1..=7 {
            let ping = next_probe(&mut lab);
            probed.insert(ping[ping.len() - 2..ping.len() - 1].to_owned());
            let answer = ack(&lab, round * 7 + number);
            lab.hear(&[answer]);
        }
        assert_eq!(probed.len(), 7);
    }
}

#[test]
fn the_dead_are_forgotten_when_nobody_tells_them_any_more() {
    let mut lab = Lab::among(&["b", "c", "d"]);
    lab.swim.state.config.push_pull_interval = Duration::ZERO;
    lab.hear(&[dead("b", 5, "me"), dead("c", 5, "c"), dead("d", 5, "me")]);
    lab.pass(Duration::from_secs(20));
    lab.hear(&[alive("d", 4, 6), dead("d", 6, "me")]);
    lab.pass(Duration::from_secs(12));
    assert_eq!((lab.state("b"), lab.state("c")), (None, None));
    assert_eq!(lab.state("d"), Some((NodeState::Dead, 6)));
    lab.pass(Duration::from_secs(20));
    assert_eq!(lab.swim.table().len(), 1);
}

#[test]
fn a_host_that_comes_late_does_not_cost_the_helpers_their_time() {
    let mut lab = Lab::among(&["b", "c"]);
    next_probe(&mut lab);
    lab.now += Duration::from_secs(10);
    lab.swim.tick(lab.now, &mut lab.log, &mut lab.out);
    assert_eq!(lab.swim.stats().failed_probes, 0);
    lab.pass(Duration::from_millis(499));
    assert_eq!(lab.swim.stats().failed_probes, 0);
    lab.pass(Duration::from_millis(1));
    assert_eq!(lab.swim.stats().failed_probes, 1);
}

// For others.

#[test]
fn pings_are_answered_where_they_ask_for_it() {
    let mut lab = Lab::among(&["b"]);
    lab.log.payload = b"here".to_vec();
    let ping = Ping { seq: 7, node: b"me", source: None, source_node: b"" };
    lab.hear(&[Message::Ping(ping), Message::Ping(Ping { source: Some(addr(4)), node: b"", ..ping })]);
    assert_eq!(lab.sent(), ["9: [ack 7 here]", "4: [ack 7 here]"]);
    lab.hear(&[Message::Ping(Ping { node: b"somebody else", ..ping })]);
    assert_eq!((lab.sent().len(), lab.swim.stats().misdirected_pings), (0, 1));
}

fn asks(nack: bool) -> Message<'static> {
    let (target, node, source_node) = (addr(3), &b"c"[..], &b"b"[..]);
    Message::IndirectPing(IndirectPing { seq: 70, target, node, nack, source: Some(addr(2)), source_node })
}

#[test]
fn a_ping_for_another_brings_its_answer_back_once() {
    let mut lab = Lab::among(&["b", "c"]);
    lab.hear(&[asks(true)]);
    assert_eq!(lab.sent(), ["3: [ping #1 c]"]);
    let answer = ack(&lab, 1);
    lab.hear(&[answer, answer]);
    assert_eq!(lab.sent(), ["2: [ack 70]"]);
    lab.pass(Duration::from_millis(600));
    assert!(!lab.sent().iter().any(|packet| packet.contains("nack")));
}

#[test]
fn a_ping_for_another_without_an_answer_is_told_if_wanted() {
    let mut lab = Lab::among(&["b", "c"]);
    lab.swim.state.probe_ticks.next = Moment::NEVER;
    lab.hear(&[asks(true), asks(false)]);
    lab.out.clear();
    lab.pass(Duration::from_millis(499));
    assert_eq!(lab.sent(), [""; 0]);
    lab.pass(Duration::from_millis(1));
    assert_eq!(lab.sent(), ["2: [nack 70]"]);
    let late = ack(&lab, 1);
    lab.hear(&[late]);
    assert_eq!(lab.sent(), [""; 0]);
}

#[test]
fn pings_for_others_are_limited() {
    let mut lab = Lab::among(&["b", "c"]);
    for _ in 0..1_030 {
        lab.hear(&[asks(false)]);
    }
    assert_eq!((lab.sent().len(), lab.swim.stats().too_many_relays), (1_024, 6));
    lab.pass(Duration::from_millis(500));
    lab.out.clear();
    lab.hear(&[asks(false)]);
    assert_eq!(lab.sent().len(), 1);
}

#[test]
fn nothing_is_due_for_gossip_while_there_is_nothing_to_say() {
    let mut lab = Lab::among(&["b"]);
    lab.swim.state.probe_ticks.next = Moment::NEVER;
    let mut ticks = 0;
    let end = lab.now + Duration::from_secs(20);
    while lab.swim.deadline(&lab.log) < end {
        lab.now = lab.swim.deadline(&lab.log);
        lab.swim.tick(lab.now, &mut lab.log, &mut Outputs::default());
        ticks += 1;
    }
    assert!(ticks <= 1, "{ticks}");
    // News waits for the next tick on the grid.
    lab.now = end;
    lab.hear(&[alive("c", 3, 1)]);
    let wait = lab.swim.deadline(&lab.log).since(lab.now);
    assert!(wait > Duration::ZERO && wait <= Duration::from_millis(200), "{wait:?}");
    lab.pass(wait);
    assert_eq!(lab.sent().len(), 2);
}
