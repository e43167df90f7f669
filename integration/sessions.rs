//! Sessions and locks: how a session ends, what happens to its locks at that very index, and that
//! neither a crash nor a clock shortens the time nobody else may take them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Agent, Parked, Setup, fixture, until};

const LIMIT: Duration = Duration::from_secs(20);

fn exists(agent: &Agent, id: &str) -> bool {
    agent.get(&format!("/v1/session/info/{id}")).expect(200).json() != json!([])
}

fn record(agent: &Agent, key: &str) -> Value {
    agent.get(&format!("/v1/kv/{key}")).expect(200).json()[0].clone()
}

#[test]
fn a_lock_has_one_holder_and_counts_how_often_it_was_taken() {
    let agent = Agent::dev();
    let [a, b] = ["a", "b"].map(|name| fixture::session(&agent, &json!({ "Name": name, "LockDelay": "0s" })));
    assert!(agent.put(&format!("/v1/kv/lead?acquire={a}"), "a").yes());
    assert!(!agent.put(&format!("/v1/kv/lead?acquire={b}"), "b").yes(), "somebody holds it");
    assert!(agent.put(&format!("/v1/kv/lead?acquire={a}"), "a again").yes(), "its holder may take it again");
    assert_eq!(record(&agent, "lead")["LockIndex"], 1, "taking it again is no new lock");
    assert!(!agent.put(&format!("/v1/kv/lead?release={b}"), "").yes(), "only its holder releases it");
    assert!(agent.put(&format!("/v1/kv/lead?release={a}"), "free").yes());
    assert!(agent.put(&format!("/v1/kv/lead?acquire={b}"), "b").yes());
    let lead = record(&agent, "lead");
    assert_eq!((&lead["LockIndex"], &lead["Session"]), (&json!(2), &json!(b)));
    assert!(agent.put("/v1/kv/lead", "anybody").yes(), "locks are advisory");
    assert_eq!(record(&agent, "lead")["Session"], json!(b));
}

#[test]
fn behaviour_decides_between_releasing_and_deleting() {
    let agent = Agent::dev();
    for (behaviour, status) in [("release", 200), ("delete", 404)] {
        let id = fixture::session(&agent, &json!({ "Behavior": behaviour, "LockDelay": "0s" }));
        let keys = ["one", "two"].map(|key| format!("{behaviour}/{key}"));
        for key in &keys {
            assert!(agent.put(&format!("/v1/kv/{key}?acquire={id}"), "x").yes());
        }
        assert!(agent.put(&format!("/v1/session/destroy/{id}"), "").yes());
        for key in &keys {
            let answer = agent.get(&format!("/v1/kv/{key}"));
            assert_eq!(answer.status, status, "{key}");
            assert!(!answer.text().contains("Session"), "{key}: {}", answer.text());
        }
    }
}

/// One command ends the session, frees its locks and wakes who waits: there is no index at which
/// the check is critical and the lock still held.
#[test]
fn a_critical_check_frees_the_locks_at_its_own_index() {
    let agent = Agent::dev();
    fixture::node(&agent, "ext");
    fixture::check(&agent, "ext", "alive", "", "passing");
    let id = fixture::session(&agent, &json!({ "Node": "ext", "NodeChecks": ["alive"], "LockDelay": "3s" }));
    assert!(agent.put(&format!("/v1/kv/lead?acquire={id}"), "mine").yes());
    let index = agent.get("/v1/kv/lead").index();
    let sessions = agent.get("/v1/session/list").index();
    let key = Parked::start(&agent, "/v1/kv/lead", index, Duration::from_secs(60));
    let list = Parked::start(&agent, "/v1/session/list", sessions, Duration::from_secs(60));

    fixture::check(&agent, "ext", "alive", "", "critical");

    let (answer, _) = key.answer(LIMIT);
    let (list, _) = list.answer(LIMIT);
    let lead = &answer.json()[0];
    assert!(lead.get("Session").is_none(), "released: {lead}");
    assert_eq!(lead["LockIndex"], 1, "LockIndex stays");
    let checks = agent.get("/v1/health/node/ext").expect(200).json();
    assert_eq!(checks[0]["Status"], "critical");
    assert_eq!(lead["ModifyIndex"], checks[0]["ModifyIndex"], "check and lock moved at one index");
    assert_eq!(list.index(), answer.index(), "the session ended at that index");
    assert!(!list.text().contains(&id));
    let next = fixture::session(&agent, &json!({}));
    assert!(!agent.put(&format!("/v1/kv/lead?acquire={next}"), "").yes(), "the lock-delay has begun");
}

#[test]
fn a_removed_check_ends_the_sessions_that_need_it() {
    let agent = Agent::dev();
    fixture::node(&agent, "ext");
    fixture::check(&agent, "ext", "alive", "", "passing");
    fixture::check(&agent, "ext", "other", "", "passing");
    let bound = fixture::session(&agent, &json!({ "Node": "ext", "NodeChecks": ["alive"] }));
    let free = fixture::session(&agent, &json!({ "Node": "ext", "Checks": [] }));
    fixture::deregister(&agent, &json!({ "Node": "ext", "CheckID": "other" }));
    assert!(exists(&agent, &bound), "another check went");
    fixture::check(&agent, "ext", "alive", "", "warning");
    assert!(exists(&agent, &bound), "a warning ends nothing");
    fixture::deregister(&agent, &json!({ "Node": "ext", "CheckID": "alive" }));
    assert!(!exists(&agent, &bound));
    assert!(exists(&agent, &free));
}

#[test]
fn a_lock_delay_survives_a_crash() {
    const DELAY: Duration = Duration::from_secs(6);
    let mut agent = Agent::server();
    let id = fixture::session(&agent, &json!({ "LockDelay": "6s", "Checks": [] }));
    assert!(agent.put(&format!("/v1/kv/lead?acquire={id}"), "mine").yes());
    let ending = Instant::now();
    assert!(agent.put(&format!("/v1/session/destroy/{id}"), "").yes());
    agent.kill();
    agent.start_again();
    agent.wait_leader();
    let next = fixture::session(&agent, &json!({ "Checks": [] }));
    let target = format!("/v1/kv/lead?acquire={next}");
    let mut refusals = 0;
    until("the lock after its delay", LIMIT, || {
        let taken = agent.put(&target, "next").yes();
        refusals += u32::from(!taken);
        taken
    });
    let waited = ending.elapsed();
    assert!(waited >= DELAY, "taken {waited:?} after the old session's end");
    assert!(refusals > 0, "the restart took longer than the delay: nothing was proved");
    assert_eq!(record(&agent, "lead")["LockIndex"], 2);
}

#[test]
fn a_lock_and_its_session_survive_a_crash() {
    let mut agent = Agent::server();
    let id = fixture::session(&agent, &json!({ "Name": "holder", "Checks": [] }));
    assert!(agent.put(&format!("/v1/kv/lead?acquire={id}"), "mine").yes());
    let before = record(&agent, "lead");
    agent.kill();
    agent.restart();
    assert!(exists(&agent, &id));
    assert_eq!(record(&agent, "lead"), before);
    let other = fixture::session(&agent, &json!({ "Checks": [] }));
    assert!(!agent.put(&format!("/v1/kv/lead?acquire={other}"), "").yes(), "still held");
}

#[test]
fn a_session_lives_by_its_renewals_and_ends_by_its_ttl() {
    const TTL: Duration = Duration::from_secs(2);
    let agent = Setup::dev().with(json!({ "session_ttl_min": "1s" })).start();
    let id = fixture::session(&agent, &json!({ "TTL": "2s", "LockDelay": "0s", "Behavior": "delete" }));
    assert!(agent.put(&format!("/v1/kv/mine?acquire={id}"), "x").yes());
    let born = Instant::now();
    let mut renewed = Instant::now();
    until("three TTLs with renewals", LIMIT, || {
        if renewed.elapsed() > TTL / 4 {
            renewed = Instant::now();
            agent.put(&format!("/v1/session/renew/{id}"), "").expect(200);
        }
        born.elapsed() > TTL * 3
    });
    assert!(exists(&agent, &id), "a renewed session lives on");
    let last = Instant::now();
    agent.put(&format!("/v1/session/renew/{id}"), "").expect(200);
    until("the session's end by TTL", TTL * 2 + Duration::from_secs(4), || !exists(&agent, &id));
    assert!(last.elapsed() >= TTL, "ended {:?} after its last renewal", last.elapsed());
    agent.get("/v1/kv/mine").expect(404);
    agent.put(&format!("/v1/session/renew/{id}"), "").expect(404);
}

#[test]
fn a_ttl_survives_a_crash() {
    let mut agent = Setup::server().with(json!({ "session_ttl_min": "1s" })).start();
    let id = fixture::session(&agent, &json!({ "TTL": "2s", "Checks": [] }));
    agent.kill();
    agent.restart();
    until("the session's end by TTL after the restart", LIMIT, || !exists(&agent, &id));
}
