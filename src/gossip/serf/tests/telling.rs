//! User events, queries and the snapshot (7.5, 7.6, 8.6): a test for each rule.

use std::time::Duration;

use bytes::Bytes;

use super::solo::{Solo, names, question, state};
use super::{address, config};
use crate::gossip::effect::{Command, Done, Event, Input, StreamId, Ticket};
use crate::gossip::wire::serf::{
    EVENT_SLOTS, Filter, KeyResponse, MemberRecord, Query, QueryResponse, Relay, SerfMessage, SerfState,
    StoredEvent, StoredEvents, UserEvent, encode_key_request, flag,
};
use crate::gossip::wire::{PushPull, StreamMessage};

// 7.5

fn told(ltime: u64, name: &str, coalesce: bool) -> SerfMessage<'_> {
    SerfMessage::UserEvent(UserEvent { ltime, name: name.as_bytes(), payload: None, coalesce })
}

#[test]
fn a_user_event_is_given_out_and_told_on_once() {
    let mut solo = Solo::with_others();
    solo.say(&told(5, "a", false));
    solo.say(&told(5, "a", false));
    solo.say(&told(5, "b", false));
    assert_eq!(names(&solo.out.events), ["user a 5", "user b 5"]);
    assert_eq!((solo.pool.queued()[3], solo.pool.stats().repeated_events), (2, 1));
}

#[test]
fn user_events_too_old_are_dropped() {
    let mut solo = Solo::new();
    solo.say(&told(1_000, "new", false));
    solo.say(&told(400, "old", false));
    assert_eq!(names(&solo.out.events), ["user new 1000"]);
    assert_eq!(solo.pool.stats().old_events, 1);
}

#[test]
fn user_events_come_with_full_exchanges_too() {
    let mut solo = Solo::new();
    let events = vec![StoredEvents {
        ltime: 5,
        events: vec![
            StoredEvent { name: b"a", payload: None },
            StoredEvent { name: b"b", payload: Some(b"x") },
        ],
    }];
    let state = SerfState { event_ltime: 6, events, ..state(&[], &[]) };
    solo.say(&told(5, "a", false));
    // Somebody else joins here: that is no reason to skip anything.
    solo.exchange(&state, true);
    solo.exchange(&state, false);
    assert_eq!(names(&solo.out.events), ["user a 5", "user b 5"]);
}

#[test]
fn only_the_answer_to_a_join_makes_events_old() {
    let mut solo = Solo::new();
    solo.step(Input::Command(Ticket(1), Command::Join { address: address(9) }));
    let exchange = solo.out.exchanges.pop().unwrap();
    // Somebody else joins here while this one's own join is under way.
    solo.exchange(&SerfState { event_ltime: 5, ..state(&[], &[]) }, true);
    solo.say(&told(3, "e", false));
    assert_eq!(solo.pool.stats().events, 1);
    let mut user_state = Vec::new();
    SerfState { event_ltime: 5, ..state(&[], &[]) }.encode(&mut user_state);
    let answer =
        StreamMessage::PushPull(PushPull { join: true, nodes: Vec::new(), user_state: user_state.into() });
    solo.step(Input::Answer { exchange: exchange.id, result: Ok(answer) });
    solo.say(&told(4, "e", false));
    assert_eq!((solo.pool.stats().events, solo.pool.stats().old_events), (1, 1));
}

#[test]
fn a_full_exchange_carries_what_was_heard() {
    let mut solo = Solo::with_others();
    solo.say(&told(5, "a", false));
    solo.leave("n1", 3);
    solo.dead(1, "n1");
    let nothing = PushPull { join: false, nodes: Vec::new(), user_state: Bytes::new() };
    let message = StreamMessage::PushPull(nothing);
    solo.step(Input::Request { stream: StreamId(1), from: address(9), message });
    let reply = solo.out.replies.pop().unwrap();
    let Ok(Some(StreamMessage::PushPull(told))) = solo.pool.stream_reader().push(&reply.bytes) else {
        panic!("no exchange");
    };
    let Ok(SerfMessage::State(mut state)) = SerfMessage::decode(&told.user_state) else { panic!("no state") };
    state.status_ltimes.sort_unstable();
    assert_eq!(state.status_ltimes, [(&b"n0"[..], 0), (b"n1", 3), (b"n2", 0), (b"n3", 0)]);
    assert_eq!(state.left_members, [b"n1"]);
    assert_eq!((state.ltime, state.event_ltime, state.query_ltime), (4, 6, 1));
    assert_eq!((state.event_slots, state.events.len()), (EVENT_SLOTS, 1));
}

#[test]
fn user_events_that_are_too_long_are_refused() {
    let mut solo = Solo::new();
    let mut fire = |size: usize| {
        let payload = vec![b'x'; size];
        solo.step(Input::Command(
            Ticket(1),
            Command::UserEvent { name: "e".to_owned(), payload, coalesce: false },
        ));
        solo.out.done.pop().unwrap().1.map_err(|error| error.to_string())
    };
    assert_eq!(fire(512).unwrap_err(), "user event exceeds configured limit of 512 bytes before encoding");
    assert_eq!(
        fire(511).unwrap_err(),
        "encoded user event exceeds configured limit of 512 bytes after encoding"
    );
    assert_eq!(fire(470), Ok(Done::Fired { ltime: 1 }), "what failed took no time");
}

#[test]
fn events_are_coalesced_if_it_is_configured_and_they_allow_it() {
    let mut config = config(0);
    config.serf.coalesce_period = Duration::from_secs(3);
    let mut solo = Solo::of(config);
    solo.say(&told(1, "deploy", true));
    solo.say(&told(2, "deploy", true));
    solo.say(&told(3, "urgent", false));
    solo.say(&told(4, "deploy", true));
    assert_eq!(names(&solo.out.events), ["user urgent 3"]);
    solo.run(Duration::from_secs(3));
    assert_eq!(names(&solo.out.events), ["user urgent 3", "user deploy 4"]);
}

// 7.6

#[test]
fn a_query_is_given_out_told_on_and_confirmed_once() {
    let mut solo = Solo::with_others();
    let query = Query { flags: flag::ACK, ..question(4) };
    solo.say(&SerfMessage::Query(query.clone()));
    solo.say(&SerfMessage::Query(query));
    assert_eq!((names(&solo.out.events), solo.pool.queued()[2]), (vec!["query who".to_owned()], 1));
    let sent = solo.sent();
    let confirmation = QueryResponse { ltime: 4, id: 77, from: b"n0", flags: flag::ACK, payload: None };
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0].0, SerfMessage::decode(&sent[0].1)),
        (address(1), Ok(SerfMessage::QueryResponse(confirmation)))
    );
}

#[test]
fn a_query_for_others_is_told_on_and_one_not_to_be_told_on_is_not() {
    let mut solo = Solo::with_others();
    let filters = vec![Filter::Nodes(vec![b"n2"])];
    solo.say(&SerfMessage::Query(Query { filters, flags: flag::ACK, ..question(4) }));
    assert_eq!((solo.out.events.len(), solo.pool.queued()[2], solo.sent().len()), (0, 1, 0));
    solo.say(&SerfMessage::Query(Query { flags: flag::NO_BROADCAST, ..question(5) }));
    assert_eq!((solo.out.events.len(), solo.pool.queued()[2]), (1, 1));
}

#[test]
fn a_query_cannot_be_answered_after_its_time() {
    let mut solo = Solo::with_others();
    solo.say(&SerfMessage::Query(question(4)));
    let Some(Event::Query { query, .. }) = solo.out.events.pop() else { panic!("no query") };
    solo.run(Duration::from_secs(4));
    solo.step(Input::Command(Ticket(5), Command::Respond { query, payload: vec![] }));
    let error = solo.out.done.pop().unwrap().1.unwrap_err();
    assert_eq!(error.to_string(), "query is unknown or past its deadline");
}

#[test]
fn an_answer_is_passed_on_and_nothing_else_is() {
    let mut solo = Solo::with_others();
    let mut answer = Vec::new();
    QueryResponse { ltime: 1, id: 2, from: b"n3", flags: 0, payload: Some(b"x") }.encode(&mut answer);
    solo.say(&SerfMessage::Relay(Relay { to: Some(address(2)), name: b"n2", message: &answer }));
    assert_eq!(solo.sent(), [(address(2), answer)]);
    let mut event = Vec::new();
    told(5, "a", false).encode(&mut event);
    solo.say(&SerfMessage::Relay(Relay { to: Some(address(2)), name: b"n2", message: &event }));
    assert_eq!((solo.sent(), solo.pool.stats().malformed), (vec![], 1));
}

/// The payload of the answer to one of Serf's own queries.
fn internal(solo: &mut Solo, ltime: u64, name: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    solo.say(&SerfMessage::Query(Query { name, payload: Some(payload), ..question(ltime) }));
    let sent = solo.sent();
    let (to, message) = sent.first()?;
    assert_eq!((*to, sent.len()), (address(1), 1));
    match SerfMessage::decode(message) {
        Ok(SerfMessage::QueryResponse(response)) => {
            assert_eq!((response.flags, response.from), (0, &b"n0"[..]));
            response.payload.map(<[u8]>::to_vec)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_has_a_name_is_answered_but_not_about_oneself() {
    let mut solo = Solo::with_others();
    let payload = internal(&mut solo, 1, b"_serf_conflict", b"n2").unwrap();
    let record = MemberRecord::decode(&payload).unwrap();
    assert_eq!((record.name, record.addr, record.status), (&b"n2"[..], Some(address(2)), 1));
    assert_eq!(internal(&mut solo, 2, b"_serf_conflict", b"nobody"), Some(vec![6, 0xc0]));
    assert_eq!(internal(&mut solo, 3, b"_serf_conflict", b"n0"), None);
    assert_eq!(internal(&mut solo, 4, b"_serf_ping", b""), None);
    assert_eq!(internal(&mut solo, 5, b"_serf_whatever", b""), None);
    assert_eq!(names(&solo.out.events), [""; 0], "none of this is the host's");
}

#[test]
fn a_long_list_of_keys_is_cut() {
    let mut config = config(0);
    config.keys = (0..60).map(|n| vec![n; 32]).collect();
    config.verify_incoming = false;
    config.verify_outgoing = false;
    let mut solo = Solo::of(config);
    (1..4).for_each(|n| solo.alive(n, 1));
    solo.out.clear();
    let mut request = Vec::new();
    encode_key_request(b"", &mut request);
    let payload = internal(&mut solo, 1, b"_serf_list-keys", &request).unwrap();
    let response = KeyResponse::decode(&payload).unwrap();
    let count = response.keys.len();
    assert!((15..25).contains(&count), "{count}");
    let message = format!("truncated key list response, showing first {count} of 60 keys");
    assert_eq!((String::from_utf8_lossy(response.message), response.result), (message.into(), true));
    assert_eq!(response.primary, response.keys[0]);
}

#[test]
fn too_many_messages_do_not_wait() {
    let mut solo = Solo::with_others();
    for ltime in 1..20_000 {
        solo.say(&told(ltime, "flood", false));
        solo.out.clear();
    }
    assert!(solo.pool.queued()[3] <= 2 * 4_096, "{:?}", solo.pool.queued());
    assert!(solo.pool.stats().dropped >= 19_999 - 2 * 4_096);
}

#[test]
fn what_fits_into_no_packet_is_not_told_on() {
    let mut solo = Solo::with_others();
    let payload = vec![1; 2_000];
    let event = UserEvent { ltime: 1, name: b"big", payload: Some(&payload), coalesce: false };
    solo.say(&SerfMessage::UserEvent(event));
    assert_eq!((solo.out.events.len(), solo.pool.queued()[3], solo.pool.stats().dropped), (1, 0, 1));
}

// 8.6

#[test]
fn the_snapshot_is_written_as_things_happen() {
    let mut solo = Solo::new();
    solo.alive(1, 1);
    solo.dead(1, "n2");
    solo.say(&told(8, "a", false));
    solo.join("n1", 3);
    solo.run(Duration::from_secs(1));
    solo.command(Command::Leave);
    let file = String::from_utf8_lossy(&solo.out.snapshot).into_owned();
    let lines: Vec<&str> = file.lines().collect();
    let expected = [
        "alive: n0 10.0.0.0:8301",
        "alive: n1 10.0.0.1:8301",
        "not-alive: n1",
        "clock: 3",
        "event-clock: 8",
        "leave",
    ];
    assert_eq!(lines, expected);
}
