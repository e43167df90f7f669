//! What several members do together.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::world::World;
use super::{address, config, tags};
use crate::gossip::effect::{
    Admission, Command, CommandError, Done, Event, KeyReport, KeyRequest, Query, Ticket,
};
use crate::gossip::{Member, Status};

/// What happened, in words: `joined n1`, `user deploy`, ...
fn words(events: &[Event]) -> Vec<String> {
    let member = |what: &str, member: &Member| format!("{what} {}", member.name);
    let mut words: Vec<String> = events
        .iter()
        .map(|event| match event {
            Event::Joined(who) => member("joined", who),
            Event::Updated(who) => member("updated", who),
            Event::Failed(who) => member("failed", who),
            Event::Left(who) => member("left", who),
            Event::Reaped(who) => member("reaped", who),
            Event::User { name, .. } => format!("user {name}"),
            Event::Query { name, .. } => format!("query {name}"),
            Event::QueryResponse { from, payload, .. } => match payload {
                Some(payload) => format!("answer {from} {}", String::from_utf8_lossy(payload)),
                None => format!("confirmed {from}"),
            },
            Event::Conflict { name, .. } => format!("conflict {name}"),
            Event::KeyringChanged(keys) => format!("keys {}", keys.len()),
            Event::Warning(text) => format!("warning {text}"),
        })
        .collect();
    words.sort();
    words
}

fn user_event(name: &str) -> Command {
    Command::UserEvent { name: name.to_owned(), payload: b"payload".to_vec(), coalesce: false }
}

#[test]
fn all_see_all_exactly_once() {
    let mut world = World::pool(5);
    let everybody: Vec<String> = (0..5).map(|n| format!("joined n{n}")).collect();
    for n in 0..5 {
        assert_eq!(words(&world.events(n)), everybody, "at n{n}");
        assert_eq!(world.host(n).pool.local().name, format!("n{n}"));
        let other = world.host(n).pool.member("n3").unwrap();
        assert_eq!((other.addr, &*other.tags), (address(3), &tags(&[("role", "node"), ("number", "3")])));
    }
}

#[test]
fn a_join_of_nobody_is_an_error() {
    let mut world = World::new();
    world.start(config(0));
    let error = world.join(0, 9).unwrap_err();
    assert_eq!(error.to_string(), "connection refused");
}

#[test]
fn changed_tags_reach_all() {
    let mut world = World::pool(5);
    world.forget_events();
    let generation = world.host(2).pool.generation();
    let new = tags(&[("role", "consul")]);
    assert_eq!(world.ask(1, Command::SetTags(new.clone())), Ok(Done::Tagged));
    world.run(5);
    for n in 0..5 {
        assert_eq!(words(&world.events(n)), ["updated n1"], "at n{n}");
        assert_eq!(*world.host(n).pool.member("n1").unwrap().tags, new);
    }
    assert_eq!(*world.host(1).pool.local().tags, new);
    assert!(world.host(2).pool.generation() > generation);
}

#[test]
fn too_many_tags_are_refused_and_nothing_changes() {
    let mut world = World::pool(2);
    let before = world.host(1).pool.local().clone();
    let error = world.ask(1, Command::SetTags(tags(&[("x", &"y".repeat(512))]))).unwrap_err();
    assert_eq!(error.to_string(), "Encoded length of tags exceeds limit of 512 bytes");
    assert_eq!(*world.host(1).pool.local(), before);
}

#[test]
fn a_user_event_reaches_all_exactly_once() {
    let mut world = World::pool(8);
    world.forget_events();
    assert_eq!(world.ask(3, user_event("one")), Ok(Done::Fired { ltime: 1 }));
    world.run(3);
    assert_eq!(world.ask(4, user_event("two")), Ok(Done::Fired { ltime: 2 }));
    world.run(120);
    for n in 0..8 {
        assert_eq!(words(&world.events(n)), ["user one", "user two"], "at n{n}");
    }
}

#[test]
fn events_from_before_a_join_are_skipped() {
    let mut world = World::pool(3);
    assert_eq!(world.ask(0, user_event("old")), Ok(Done::Fired { ltime: 1 }));
    world.start(config(3));
    let mut curious = config(4);
    curious.serf.ignore_old_events = false;
    world.start(curious);
    assert_eq!(world.join(3, 0), Ok(Done::Joined));
    assert_eq!(world.join(4, 0), Ok(Done::Joined));
    world.run(90);
    let user =
        |words: Vec<String>| words.into_iter().filter(|word| word.starts_with("user")).collect::<Vec<_>>();
    assert_eq!(user(words(&world.events(3))), [""; 0]);
    assert_eq!(user(words(&world.events(4))), ["user old"]);
    assert_eq!(world.ask(2, user_event("new")), Ok(Done::Fired { ltime: 2 }));
    world.run(5);
    assert_eq!(user(words(&world.events(3))), ["user new"]);
    assert_eq!(user(words(&world.events(4))), ["user new"]);
}

/// Starts a query, answers it where it arrives, and gives what the asker heard.
fn query(world: &mut World, asker: u8, query: Query) -> Vec<String> {
    world.forget_events();
    let ticket = world.command(asker, Command::Query(query));
    let mut heard = Vec::new();
    while world.outcome(asker, ticket).is_none() {
        world.run_until(1, |world| {
            world.outcome(asker, ticket).is_some() || world.hosts.values().any(|host| !host.events.is_empty())
        });
        let all: Vec<u8> = (0..10).filter(|n| world.hosts.contains_key(&address(*n))).collect();
        for n in all {
            for event in world.events(n) {
                if let Event::Query { query, ref source, .. } = event {
                    assert_eq!(*source, format!("n{asker}"));
                    let payload = format!("from {n}").into_bytes();
                    assert_eq!(world.ask(n, Command::Respond { query, payload }), Ok(Done::Responded));
                    let again = world.ask(n, Command::Respond { query, payload: vec![] });
                    assert_eq!(again, Err(CommandError::UnknownQuery), "only one answer");
                } else {
                    assert_eq!(n, asker, "{event:?}");
                    heard.push(event);
                }
            }
        }
    }
    assert_eq!(world.outcome(asker, ticket), Some(Ok(Done::Queried)));
    words(&heard)
}

#[test]
fn a_query_is_answered_by_all() {
    let mut world = World::pool(4);
    let asked = Query { name: "who".to_owned(), payload: b"?".to_vec(), ..Query::default() };
    let before = world.now;
    let heard = query(&mut world, 1, asked);
    assert_eq!(heard, ["answer n0 from 0", "answer n1 from 1", "answer n2 from 2", "answer n3 from 3"]);
    assert_eq!(world.now - before, Duration::from_millis(3_200), "the time a small pool takes");
}

#[test]
fn filters_choose_who_is_asked_and_arrivals_are_confirmed() {
    let mut world = World::pool(5);
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(tag, expr)| ((*tag).to_owned(), (*expr).to_owned())).collect()
    };
    let named = Query { name: "q".to_owned(), nodes: vec!["n1".into(), "n3".into()], ..Query::default() };
    assert_eq!(query(&mut world, 0, named.clone()), ["answer n1 from 1", "answer n3 from 3"]);
    let both = Query { tags: pairs(&[("number", "[3-4]"), ("role", "od")]), ack: true, ..named };
    assert_eq!(query(&mut world, 0, both.clone()), ["answer n3 from 3", "confirmed n3"]);
    let nobody = Query { tags: pairs(&[("no such tag", ".")]), ..both.clone() };
    assert_eq!(query(&mut world, 0, nobody), [""; 0]);
    let broken = Query { tags: pairs(&[("role", "(")]), ..both.clone() };
    assert!(matches!(world.ask(0, Command::Query(broken)), Err(CommandError::Filter(_))));
    let reserved = Query { name: "_serf_x".to_owned(), ..both.clone() };
    let error = world.ask(0, Command::Query(reserved)).unwrap_err();
    assert_eq!(error.to_string(), "Queries cannot contain the '_serf_' prefix");
    let long = Query { payload: vec![0; 1_024], ..both };
    let error = world.ask(0, Command::Query(long)).unwrap_err();
    assert_eq!(error.to_string(), "query exceeds limit of 1024 bytes");
}

#[test]
fn a_query_hurt_by_the_network_is_saved_by_relays() {
    let mut world = World::pool(5);
    world.cut.push((address(4), address(0)));
    let lame = Query { name: "q".to_owned(), nodes: vec!["n4".into()], ack: true, ..Query::default() };
    assert_eq!(query(&mut world, 0, lame.clone()), [""; 0]);
    let relayed = Query { relay_factor: 3, ..lame };
    assert_eq!(query(&mut world, 0, relayed), ["answer n4 from 4", "confirmed n4"]);
    let passed: u64 = world.hosts.values().map(|host| host.pool.stats().relayed).sum();
    assert_eq!(passed, 6, "three relays for the confirmation and three for the answer");
    assert!(world.host(0).pool.stats().stray_responses >= 4, "the repeats do not count");
}

#[test]
fn an_answer_that_is_too_long_is_refused() {
    let mut world = World::pool(2);
    world.command(0, Command::Query(Query { name: "q".to_owned(), ..Query::default() }));
    world.run(1);
    let number = world.events(1).iter().find_map(|event| match event {
        Event::Query { query, .. } => Some(*query),
        _ => None,
    });
    let query = number.unwrap();
    let error = world.ask(1, Command::Respond { query, payload: vec![0; 1_024] }).unwrap_err();
    assert_eq!(error.to_string(), "response exceeds limit of 1024 bytes");
    assert_eq!(world.ask(1, Command::Respond { query, payload: vec![] }), Ok(Done::Responded));
}

#[test]
fn a_crash_is_a_failure_and_the_member_may_come_back() {
    let mut world = World::pool(5);
    world.forget_events();
    world.crash(4);
    assert!(world.run_until(60, |world| (0..4).all(|n| world.status(n, 4) == Some(Status::Failed))));
    world.run(30);
    for n in 0..4 {
        assert_eq!(words(&world.events(n)), ["failed n4"], "at n{n}");
    }
    world.start(config(4));
    // Nobody tells it to join: the others try.
    assert!(world.run_until(600, |world| (0..4).all(|n| world.status(n, 4) == Some(Status::Alive))));
    world.run(10);
    for n in 0..4 {
        assert_eq!(words(&world.events(n)), ["joined n4"], "at n{n}");
    }
    assert_eq!(world.sees(4, Status::Alive), 5);
}

#[test]
fn a_failed_member_is_forgotten_in_the_end() {
    let mut world = World::pool_of(3, |config| {
        config.serf.reconnect_timeout = Duration::from_secs(100);
    });
    world.crash(2);
    world.run(60);
    world.forget_events();
    assert_eq!(world.status(0, 2), Some(Status::Failed));
    world.run(120);
    assert_eq!((world.status(0, 2), words(&world.events(0))), (None, vec!["reaped n2".to_owned()]));
    assert!(world.host(0).pool.coordinate_of("n2").is_none());
}

#[test]
fn a_goodbye_is_left_everywhere() {
    let mut world = World::pool(5);
    world.forget_events();
    let before = world.now;
    assert_eq!(world.ask(2, Command::Leave), Ok(Done::Left));
    let took = (world.now - before).as_secs_f64();
    assert!((3.0..13.0).contains(&took), "{took} s");
    assert_eq!(words(&world.events(2)), ["left n2"]);
    world.crash(2);
    world.run(60);
    for n in [0, 1, 3, 4] {
        assert_eq!(words(&world.events(n)), ["left n2"], "at n{n}");
        assert_eq!(world.status(n, 2), Some(Status::Left));
    }
    // A later life is a member like any other.
    world.start(config(2));
    assert_eq!(world.join(2, 0), Ok(Done::Joined));
    world.run(10);
    for n in [0, 1, 3, 4] {
        assert_eq!(
            (words(&world.events(n)), world.status(n, 2)),
            (vec!["joined n2".to_owned()], Some(Status::Alive))
        );
    }
    world.run(120);
    assert_eq!(world.sees(3, Status::Alive), 5, "and stays one");
}

#[test]
fn who_is_alone_leaves_at_once() {
    let mut world = World::new();
    world.start(config(0));
    world.run(1);
    let before = world.now;
    assert_eq!(world.ask(0, Command::Leave), Ok(Done::Left));
    assert_eq!((world.now, world.status(0, 0)), (before, Some(Status::Left)));
    assert_eq!(world.ask(0, Command::Leave), Ok(Done::Left), "again");
    assert_eq!(world.join(0, 1), Err(CommandError::Leaving));
}

#[test]
fn a_failed_member_can_be_made_to_leave() {
    let mut world = World::pool(4);
    world.crash(3);
    assert!(world.run_until(60, |world| (0..3).all(|n| world.status(n, 3) == Some(Status::Failed))));
    world.forget_events();
    let gone = Command::ForceLeave { name: "n3".to_owned(), prune: false };
    assert_eq!(world.ask(0, gone), Ok(Done::ForcedLeave));
    world.run(60);
    for n in 0..3 {
        assert_eq!(words(&world.events(n)), ["left n3"], "at n{n}");
        assert_eq!(world.status(n, 3), Some(Status::Left));
    }
    let unknown = Command::ForceLeave { name: "nobody".to_owned(), prune: false };
    let error = world.ask(0, unknown).unwrap_err();
    assert_eq!(error.to_string(), "No node found with name 'nobody'");
}

#[test]
fn a_failed_member_can_be_pruned() {
    let mut world = World::pool(4);
    world.crash(3);
    assert!(world.run_until(60, |world| (0..3).all(|n| world.status(n, 3) == Some(Status::Failed))));
    world.forget_events();
    assert_eq!(
        world.ask(1, Command::ForceLeave { name: "n3".to_owned(), prune: true }),
        Ok(Done::ForcedLeave)
    );
    world.run(60);
    for n in 0..3 {
        assert_eq!(words(&world.events(n)), ["left n3", "reaped n3"], "at n{n}");
        assert_eq!(world.status(n, 3), None);
    }
}

#[test]
fn a_living_member_objects_to_being_left() {
    let mut world = World::pool(4);
    world.forget_events();
    for prune in [false, true] {
        assert_eq!(world.ask(0, Command::ForceLeave { name: "n3".to_owned(), prune }), Ok(Done::ForcedLeave));
        world.run(30);
        for n in 0..4 {
            assert_eq!(
                (words(&world.events(n)), world.status(n, 3)),
                (vec![], Some(Status::Alive)),
                "at n{n}"
            );
        }
    }
    assert_eq!(world.host(3).pool.stats().refutes, 2);
}

const KEY_1: [u8; 16] = [1; 16];
const KEY_2: [u8; 32] = [2; 32];

fn secret(keys: &[&[u8]]) -> impl Fn(&mut crate::gossip::PoolConfig) {
    let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
    move |config| config.keys.clone_from(&keys)
}

fn keys(world: &mut World, n: u8, request: KeyRequest) -> KeyReport {
    match world.ask(n, Command::Keys { request, relay_factor: 0 }) {
        Ok(Done::Keys(report)) => report,
        other => panic!("{other:?}"),
    }
}

fn counts(pairs: &[(&[u8], usize)]) -> BTreeMap<String, usize> {
    pairs.iter().map(|(key, count)| (BASE64.encode(key), *count)).collect()
}

#[test]
fn keys_are_changed_in_a_running_pool() {
    let mut world = World::pool_of(4, secret(&[&KEY_1]));
    world.forget_events();
    let report = keys(&mut world, 0, KeyRequest::List);
    assert_eq!((report.nodes, report.responses, report.errors), (4, 4, 0));
    assert_eq!((report.keys, report.primary_keys), (counts(&[(&KEY_1, 4)]), counts(&[(&KEY_1, 4)])));

    let report = keys(&mut world, 1, KeyRequest::Install(KEY_2.to_vec()));
    assert_eq!((report.outcome(), report.messages.len()), (Ok(()), 0));
    let report = keys(&mut world, 2, KeyRequest::Use(KEY_2.to_vec()));
    assert_eq!(report.outcome(), Ok(()));
    assert_eq!(world.host(3).pool.keys(), [KEY_2.to_vec(), KEY_1.to_vec()]);

    let report = keys(&mut world, 3, KeyRequest::Remove(KEY_2.to_vec()));
    assert_eq!(report.outcome(), Err("4/4 nodes reported failure".to_owned()));
    assert_eq!(report.messages["n1"], "Removing the primary key is not allowed");
    let report = keys(&mut world, 3, KeyRequest::Remove(KEY_1.to_vec()));
    assert_eq!(report.outcome(), Ok(()));
    let report = keys(&mut world, 0, KeyRequest::List);
    assert_eq!((report.keys, report.primary_keys), (counts(&[(&KEY_2, 4)]), counts(&[(&KEY_2, 4)])));

    for n in 0..4 {
        assert_eq!(words(&world.events(n)), ["keys 1", "keys 2", "keys 2"], "at n{n}");
    }
    world.run(120);
    assert_eq!(world.sees(0, Status::Alive), 4, "the pool goes on");
    assert_eq!(world.events(0), []);

    // Who comes with the old key is not let in; who comes with the new one is.
    let mut stranger = config(5);
    stranger.keys = vec![KEY_1.to_vec()];
    world.start(stranger);
    let error = world.join(5, 0).unwrap_err().to_string();
    assert!(error.contains("could decrypt"), "{error}");
    let mut friend = config(6);
    friend.keys = vec![KEY_2.to_vec()];
    world.start(friend);
    assert_eq!(world.join(6, 0), Ok(Done::Joined));
    world.run(5);
    assert_eq!((world.status(1, 5), world.status(1, 6)), (None, Some(Status::Alive)));
}

#[test]
fn a_key_that_is_none_and_one_that_is_not_there_are_refused() {
    let mut world = World::pool_of(2, secret(&[&KEY_1]));
    let report = keys(&mut world, 0, KeyRequest::Install(vec![1; 5]));
    assert_eq!(report.messages["n0"], "key size must be 16, 24 or 32 bytes");
    let report = keys(&mut world, 0, KeyRequest::Use(KEY_2.to_vec()));
    assert_eq!(report.outcome(), Err("2/2 nodes reported failure".to_owned()));
    assert_eq!(report.messages["n1"], "Requested key is not in the keyring");
}

#[test]
fn without_encryption_there_are_no_keys() {
    let mut world = World::pool(2);
    let report = keys(&mut world, 0, KeyRequest::List);
    assert_eq!(report.messages["n1"], "Keyring is empty (encryption not enabled)");
    assert_eq!((report.errors, report.keys.len(), report.primary_keys.len()), (2, 0, 0));
}

#[test]
fn who_does_not_answer_about_keys_is_missed() {
    let mut world = World::pool_of(3, secret(&[&KEY_1]));
    world.crash(2);
    let before = world.now;
    let report = keys(&mut world, 0, KeyRequest::List);
    assert_eq!(report.outcome(), Err("2/3 nodes reported success".to_owned()));
    assert_eq!(world.now - before, Duration::from_millis(3_200));
}

#[test]
fn a_plain_member_is_not_let_into_an_encrypted_pool() {
    let mut world = World::pool_of(2, secret(&[&KEY_1]));
    world.start(config(3));
    assert!(world.join(3, 0).is_err());
    world.run(5);
    assert_eq!((world.status(0, 3), world.status(3, 0)), (None, None));
}

#[test]
fn a_snapshot_leads_back() {
    let mut world = World::pool(4);
    assert_eq!(world.ask(0, user_event("old")), Ok(Done::Fired { ltime: 1 }));
    world.run(5);
    let file = world.crash(3);
    world.run(60);
    let mut again = config(3);
    again.snapshot = Some(file);
    // It would listen to old events if it had not heard them in its earlier life.
    again.serf.ignore_old_events = false;
    world.start(again);
    let clocks = world.host(3).pool.clocks();
    assert!(clocks.member > 1 && clocks.event == 2, "{clocks:?}");
    let mut previous = world.host(3).pool.previous_members().to_vec();
    previous.sort();
    let others: Vec<_> = (0..3).map(|n| (format!("n{n}"), address(n))).collect();
    assert_eq!(previous, others);
    assert_eq!(world.join(3, 1), Ok(Done::Joined));
    world.run(60);
    assert_eq!(world.sees(0, Status::Alive), 4);
    assert!(!words(&world.events(3)).contains(&"user old".to_owned()));
}

#[test]
fn after_a_goodbye_nothing_leads_back_unless_it_is_wanted() {
    let mut world = World::pool(3);
    assert_eq!(world.ask(2, Command::Leave), Ok(Done::Left));
    let file = world.crash(2);
    for (rejoin, expected) in [(false, 0), (true, 2)] {
        let mut again = config(2);
        again.snapshot = Some(file.clone());
        again.serf.rejoin_after_leave = rejoin;
        world.start(again);
        assert_eq!(world.host(2).pool.previous_members().len(), expected);
    }
}

/// Only members of one datacenter.
struct OneDatacenter;

impl Admission for OneDatacenter {
    fn admit(&self, candidate: &Member, members: &mut dyn Iterator<Item = &Member>) -> Result<(), String> {
        let dc = |member: &Member| member.tags.get("dc").cloned();
        for member in members {
            if dc(member) != dc(candidate) {
                return Err(format!("Member '{}' part of wrong datacenter", candidate.name));
            }
        }
        Ok(())
    }
}

#[test]
fn who_is_not_admitted_stays_outside() {
    let mut world = World::new();
    for (n, dc) in [(0, "dc1"), (1, "dc1"), (2, "dc2")] {
        let mut config = config(n);
        config.tags = tags(&[("dc", dc)]);
        world.start_with(config, Box::new(OneDatacenter));
    }
    assert_eq!(world.join(1, 0), Ok(Done::Joined));
    world.run(5);
    world.forget_events();
    assert!(matches!(world.join(2, 0), Err(CommandError::Refused(_))));
    world.run(30);
    assert_eq!((world.status(0, 2), world.status(1, 2), world.status(2, 0)), (None, None, None));
    assert_eq!(words(&world.events(0)), ["warning merge refused: Member 'n2' part of wrong datacenter"]);
    // One that says it of itself later is not followed.
    assert_eq!(world.ask(1, Command::SetTags(tags(&[("dc", "dc3")]))), Ok(Done::Tagged));
    world.run(60);
    assert_eq!(world.host(0).pool.member("n1").unwrap().tags["dc"], "dc1");
    assert!(words(&world.events(0)).contains(
        &"warning ignoring alive message for 'n1': Member 'n1' part of wrong datacenter".to_owned()
    ));
}

#[test]
fn one_name_at_two_addresses_is_reported_and_both_go_on() {
    let mut world = World::pool(3);
    world.forget_events();
    let mut twin = config(7);
    twin.name = "n1".to_owned();
    world.start(twin);
    let _ = world.join(7, 0);
    world.run(20);
    assert!(words(&world.events(0)).contains(&"conflict n1".to_owned()));
    assert_eq!(world.host(0).pool.member("n1").unwrap().addr, address(1));
    assert_eq!(world.status(1, 1), Some(Status::Alive));
}

#[test]
fn members_learn_where_they_are() {
    let mut world = World::pool(4);
    world.run(120);
    let pool = &world.host(0).pool;
    let there = pool.coordinate_of("n1").unwrap();
    let rtt = pool.coordinate().distance(there);
    assert!((500..12_000).contains(&rtt.as_micros()), "{rtt:?}");
    assert_eq!(pool.stats().bad_coordinates, 0);
}

#[test]
fn a_bad_key_or_too_many_tags_make_no_pool() {
    let mut bad = config(0);
    bad.keys = vec![vec![1; 3]];
    let mut long = config(0);
    long.tags = tags(&[("x", &"y".repeat(600))]);
    let cases = [
        (bad, "key size must be 16, 24 or 32 bytes"),
        (long, "Encoded length of tags exceeds limit of 512 bytes"),
    ];
    for (config, text) in cases {
        let made = crate::gossip::Pool::new(
            config,
            Box::new(crate::gossip::effect::Everybody),
            crate::gossip::Moment(0),
        );
        assert_eq!(made.err().map(|error| error.to_string()), Some(text.to_owned()));
    }
}

#[test]
fn a_preloaded_pool_is_a_pool() {
    let mut world = World::pool(4);
    let mut out = crate::gossip::Outputs::default();
    world.start(config(5));
    let mut host = world.hosts.remove(&address(5)).unwrap();
    host.pool.preload(world.now, &world.host(1).pool, &mut out);
    let (mine, theirs) = (host.pool.member("n2").unwrap(), world.host(1).pool.member("n2").unwrap());
    assert!(std::sync::Arc::ptr_eq(mine, theirs), "members are shared");
    world.hosts.insert(address(5), host);
    world.run(30);
    assert_eq!(world.sees(0, Status::Alive), 5);
    let ticket = Ticket(0);
    assert_eq!(world.outcome(0, ticket), None);
}
