//! One member that hears what the test says: a test for each rule.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{address, config, tags};
use crate::gossip::effect::{Command, Done, Event, Everybody, Input, Outputs, StreamId, Ticket};
use crate::gossip::serf::intent::Recent;
use crate::gossip::serf::roster::Roster;
use crate::gossip::serf::{Member, Pool, Status};
use crate::gossip::wire::serf::{
    EVENT_SLOTS, Filter, Join, KeyResponse, Leave, MemberRecord, Query, QueryResponse, Relay, SerfMessage,
    SerfState, StoredEvent, StoredEvents, UserEvent, encode_key_request, encode_tags, flag,
};
use crate::gossip::wire::{Alive, Claim, Message, OUR_VERSIONS, PushPull, StreamMessage};
use crate::gossip::{Moment, PoolConfig};

/// Type byte of a user message.
const USER: u8 = 8;

/// `n0`, and what the others are made to say.
struct Solo {
    pool: Pool,
    now: Moment,
    out: Outputs,
}

impl Solo {
    fn new() -> Self {
        Self::of(config(0))
    }

    fn of(config: PoolConfig) -> Self {
        let pool = Pool::new(config, Box::new(Everybody), Moment(0)).unwrap();
        let mut solo = Self { pool, now: Moment(0), out: Outputs::default() };
        solo.step(Input::Tick);
        solo.out.events.clear();
        solo
    }

    /// With members `n1` to `n3`.
    fn with_others() -> Self {
        let mut solo = Self::new();
        (1..4).for_each(|n| solo.alive(n, 1));
        solo.out.clear();
        solo
    }

    fn step(&mut self, input: Input<'_>) {
        self.pool.step(self.now, input, &mut self.out);
    }

    fn packet(&mut self, bytes: &[u8]) {
        let mut data = bytes.to_vec();
        self.step(Input::Packet { from: address(9), data: &mut data });
    }

    fn say(&mut self, message: &SerfMessage<'_>) {
        let mut bytes = vec![USER];
        message.encode(&mut bytes);
        self.packet(&bytes);
    }

    fn swim(&mut self, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.packet(&bytes);
    }

    fn alive(&mut self, n: u8, incarnation: u32) {
        let (name, mut meta) = (format!("n{n}"), Vec::new());
        encode_tags(&tags(&[("role", "node")]), &mut meta).unwrap();
        self.swim(&Message::Alive(Alive {
            incarnation,
            node: name.as_bytes(),
            addr: Some(address(n)),
            meta: &meta,
            versions: Some(OUR_VERSIONS),
        }));
    }

    fn dead(&mut self, n: u8, from: &str) {
        let name = format!("n{n}");
        self.swim(&Message::Dead(Claim { incarnation: 1, node: name.as_bytes(), from: from.as_bytes() }));
    }

    fn join(&mut self, name: &str, ltime: u64) {
        self.say(&SerfMessage::Join(Join { ltime, node: name.as_bytes() }));
    }

    fn leave(&mut self, name: &str, ltime: u64) {
        self.say(&SerfMessage::Leave(Leave { ltime, node: name.as_bytes(), prune: false }));
    }

    fn prune(&mut self, name: &str, ltime: u64) {
        self.say(&SerfMessage::Leave(Leave { ltime, node: name.as_bytes(), prune: true }));
    }

    fn command(&mut self, command: Command) -> Option<Done> {
        self.step(Input::Command(Ticket(1), command));
        self.out.done.pop().map(|(_, result)| result.unwrap())
    }

    /// Lets time pass, doing what is due.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.pool.deadline() <= end {
            self.now = self.now.max(self.pool.deadline());
            self.step(Input::Tick);
        }
        self.now = end;
    }

    fn status(&self, n: u8) -> Option<Status> {
        self.pool.member(&format!("n{n}")).map(|member| member.status)
    }

    fn intents(&self) -> usize {
        self.pool.queued()[1]
    }

    /// A full exchange with this part of Serf's, of somebody that joins or not.
    fn exchange(&mut self, state: &SerfState<'_>, join: bool) {
        let mut user_state = Vec::new();
        state.encode(&mut user_state);
        let message = StreamMessage::PushPull(PushPull {
            join,
            nodes: Vec::new(),
            user_state: Bytes::from(user_state),
        });
        self.step(Input::Request { stream: StreamId(1), from: address(9), message });
        assert_eq!(self.out.replies.len(), 1);
        self.out.replies.clear();
    }

    /// The answers to queries that went out, and to whom.
    fn sent(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let user = |(to, bytes): (SocketAddr, &[u8])| {
            bytes.strip_prefix(&[USER]).map(|message| (to, message.to_vec()))
        };
        let sent = self.out.packets.iter().filter_map(user).collect();
        self.out.packets.clear();
        sent
    }
}

fn state<'a>(times: &[(&'a str, u64)], left: &[&'a str]) -> SerfState<'a> {
    SerfState {
        ltime: 1,
        status_ltimes: times.iter().map(|(name, ltime)| (name.as_bytes(), *ltime)).collect(),
        left_members: left.iter().map(|name| name.as_bytes()).collect(),
        event_ltime: 1,
        events: Vec::new(),
        event_slots: EVENT_SLOTS,
        query_ltime: 1,
    }
}

fn names(events: &[Event]) -> Vec<String> {
    let name = |event: &Event| match event {
        Event::Joined(who) => format!("joined {} {:?}", who.name, who.status),
        Event::Failed(who) => format!("failed {}", who.name),
        Event::Left(who) => format!("left {}", who.name),
        Event::Reaped(who) => format!("reaped {}", who.name),
        Event::User { ltime, name, .. } => format!("user {name} {ltime}"),
        Event::Query { name, .. } => format!("query {name}"),
        other => format!("{other:?}"),
    };
    events.iter().map(name).collect()
}

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
    let delay = Duration::from_secs(8);
    solo.run(delay - Duration::from_millis(1));
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
        tags: std::sync::Arc::default(),
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

fn question(ltime: u64) -> Query<'static> {
    Query {
        ltime,
        id: 77,
        source: Some(address(1)),
        source_node: b"n1",
        filters: Vec::new(),
        flags: 0,
        relay_factor: 0,
        timeout: Duration::from_secs(3),
        name: b"who",
        payload: Some(b"?"),
    }
}

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
