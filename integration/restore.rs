//! Saving the state and restoring it, with agents of their own; and the plug pulled in the middle of it.

use std::io;
use std::time::Duration;

use serde_json::json;

use crate::support::{Agent, Parked, Rng, Setup, until};

const LIMIT: Duration = Duration::from_secs(20);

fn keys(agent: &Agent) -> Vec<String> {
    let found = agent.get("/v1/kv/?keys");
    if found.status == 404 { Vec::new() } else { serde_json::from_value(found.json()).unwrap() }
}

#[test]
fn a_restore_brings_everything_back_and_wakes_who_waits() {
    let mut agent = Setup::server().start();
    agent.put("/v1/kv/keep", "before").expect(200);
    agent
        .put(
            "/v1/catalog/register",
            json!({ "Node": "ext", "Address": "1.0.0.9", "Service": { "Service": "web" } }).to_string(),
        )
        .expect(200);
    let session =
        agent.put("/v1/session/create", r#"{"Name":"s","TTL":"10s"}"#).expect(200).json()["ID"].clone();
    let session = session.as_str().unwrap();
    assert!(agent.put(&format!("/v1/kv/lock?acquire={session}"), "x").yes());
    let archive = agent.get("/v1/snapshot").expect(200).body;

    agent.put("/v1/kv/keep", "after").expect(200);
    agent.put("/v1/kv/extra", "x").expect(200);
    agent.put(&format!("/v1/session/destroy/{session}"), "").expect(200);
    agent.put("/v1/catalog/deregister", r#"{"Node":"ext"}"#).expect(200);
    let index = agent.get("/v1/kv/extra").index();
    let mut parked = Parked::start(&agent, "/v1/kv/extra", index, Duration::from_secs(60));
    assert!(parked.waits());
    agent.put("/v1/snapshot", &archive).expect(200);
    let (answer, _) = parked.answer(LIMIT);
    assert_eq!(answer.status, 404, "the key is not of this state");
    assert!(answer.index() < index, "its index went back");

    let check = |agent: &Agent| {
        assert_eq!(agent.get("/v1/kv/keep?raw").text(), "before");
        assert_eq!(keys(agent), ["keep", "lock"]);
        assert_eq!(agent.get("/v1/catalog/node/ext").json()["Services"]["web"]["Service"], "web");
        assert_eq!(agent.get("/v1/kv/lock").json()[0]["Session"], session);
    };
    check(&agent);
    let before = agent.get("/v1/kv/lock").index();
    agent.put("/v1/kv/new", "x").expect(200);
    assert!(agent.get("/v1/kv/new").index() > before.max(index), "what is new is newer than all that was");
    agent.delete("/v1/kv/new").expect(200);
    agent.kill();
    agent.start_again();
    agent.wait_ready();
    check(&agent);
    // The clock of a session that came with the archive runs as any other's: twice its TTL.
    until("the end of the session", Duration::from_secs(60), || {
        agent.get(&format!("/v1/session/info/{session}")).json() == json!([])
    });
}

#[test]
fn a_fresh_server_takes_over_an_archive_of_a_longer_history() {
    let old = Setup::server().start();
    for number in 0..60 {
        old.put(&format!("/v1/kv/k/{number}"), "v").expect(200);
    }
    let (archive, modified) =
        (old.get("/v1/snapshot").expect(200).body, old.get("/v1/kv/k/59").json()[0].clone());
    drop(old);
    let new = Setup::dev().start();
    new.put("/v1/snapshot", &archive).expect(200);
    assert_eq!(new.get("/v1/kv/k/59").json()[0], modified, "records keep their indexes");
    let index = new.get("/v1/kv/k?recurse").index();
    let parked = Parked::start(&new, "/v1/kv/k?recurse", index, Duration::from_secs(60));
    new.put("/v1/kv/k/59", "w").expect(200);
    let (answer, _) = parked.answer(LIMIT);
    assert!(
        answer.index() > index,
        "whoever waits for more than the archive's index hears of the next write"
    );
    until("the agent's own node", LIMIT, || new.get("/v1/catalog/node/node1").json() != json!(null));
    new.put("/v1/snapshot", "no archive").expect(500);
}

/// Kills in the middle of restores: the state is the old one or the archive's, whole.
#[test]
fn a_kill_leaves_the_old_state_or_the_new_one() {
    let seed = Rng::seed_of_this_run();
    println!("TRIBUNE_SEED={seed}");
    let mut rng = Rng::new(seed);
    let mut agent = Setup::server().start();
    let noise: Vec<String> = (0..24)
        .map(|_| (0..120_000).map(|_| char::from(b'0' + u8::try_from(rng.between(0, 75)).unwrap())).collect())
        .collect();
    for (number, value) in noise.iter().enumerate() {
        agent.put(&format!("/v1/kv/a/{number}"), value).expect(200);
    }
    let archive = agent.get("/v1/snapshot").expect(200).body;
    let whole = keys(&agent);
    for round in 0..6 {
        agent.delete("/v1/kv/?recurse").expect(200);
        agent.put("/v1/kv/old", "x").expect(200);
        let mut client = agent.client();
        let body = archive.clone();
        let restoring =
            std::thread::spawn(move || -> io::Result<u16> { Ok(client.put("/v1/snapshot", body)?.status) });
        std::thread::sleep(Duration::from_millis(rng.between(0, 400)));
        agent.kill();
        let answered = restoring.join().unwrap().is_ok_and(|status| status == 200);
        agent.start_again();
        agent.wait_ready();
        let found = keys(&agent);
        assert!(
            found == whole || (found == ["old"] && !answered),
            "round {round}: {} keys, {answered}",
            found.len()
        );
        if found == whole {
            for (number, value) in noise.iter().enumerate() {
                assert_eq!(&agent.get(&format!("/v1/kv/a/{number}?raw")).text(), value, "round {round}");
            }
        }
    }
    // Half a restore that the kill left gives way within a minute; the state is not in its way.
    agent.put("/v1/kv/last", "x").expect(200);
}
