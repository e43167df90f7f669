//! The key/value store as a newcomer meets it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::{Agent, fixture};

#[test]
fn a_stored_key_comes_back_with_its_whole_record() {
    let agent = Agent::dev();
    assert!(agent.put("/v1/kv/kiririmode", "dislikes onion").yes());
    let answer = agent.get("/v1/kv/kiririmode?pretty").expect(200);
    let record = &answer.json()[0];
    assert_eq!(record["Key"], "kiririmode");
    assert_eq!(record["Value"], STANDARD.encode("dislikes onion"));
    assert_eq!(record["LockIndex"], 0);
    assert_eq!(record["Flags"], 0);
    assert_eq!(record["CreateIndex"], record["ModifyIndex"]);
    assert_eq!(record["ModifyIndex"], answer.index());
    assert!(answer.text().contains("\n    {"), "?pretty indents: {}", answer.text());
    assert_eq!(agent.get("/v1/kv/kiririmode?raw").text(), "dislikes onion");
}

#[test]
fn check_and_set_lets_exactly_one_of_many_writers_win() {
    let agent = Agent::dev();
    fixture::key(&agent, "seat", "free");
    for round in 0..10 {
        let index = agent.get("/v1/kv/seat").index();
        let target = format!("/v1/kv/seat?cas={index}");
        let winners = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|n| {
                    scope.spawn({
                        let (agent, target) = (&agent, &target);
                        // Storing what is there already changes nothing, so each value is new.
                        move || agent.put(target, format!("{round} by {n}")).yes()
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(winners, 1);
    }
}

#[test]
fn what_a_lone_durable_server_stored_is_there_after_an_orderly_restart() {
    let mut agent = Agent::server();
    fixture::key(&agent, "kept", "value");
    fixture::key(&agent, "gone", "value");
    assert!(agent.delete("/v1/kv/gone").yes());
    let before = agent.get("/v1/kv/kept").expect(200);
    let list_index = agent.get("/v1/kv/?keys").index();
    agent.signal(rustix::process::Signal::TERM);
    agent.wait_exit(std::time::Duration::from_secs(30));
    agent.restart();
    let after = agent.get("/v1/kv/kept").expect(200);
    assert_eq!(after.json(), before.json());
    agent.get("/v1/kv/gone").expect(404);
    assert!(agent.get("/v1/kv/?keys").index() >= list_index, "the index of the list went backwards");
}

#[test]
fn a_transaction_changes_everything_or_nothing() {
    let agent = Agent::dev();
    fixture::key(&agent, "t/a", "before");
    let set = |key: &str| json!({ "KV": { "Verb": "set", "Key": key, "Value": STANDARD.encode("after") } });
    let refused =
        json!([set("t/a"), set("t/b"), { "KV": { "Verb": "cas", "Key": "t/a", "Value": "", "Index": 1 } }]);
    let answer = agent.put("/v1/txn", refused.to_string()).expect(409);
    assert_eq!(answer.json()["Errors"][0]["OpIndex"], 2);
    assert_eq!(agent.get("/v1/kv/t/a?raw").text(), "before");
    agent.get("/v1/kv/t/b").expect(404);
    let accepted = agent.put("/v1/txn", json!([set("t/a"), set("t/b")]).to_string()).expect(200).json();
    let indexes: Vec<_> = (0..2).map(|n| accepted["Results"][n]["KV"]["ModifyIndex"].clone()).collect();
    assert_eq!(indexes[0], indexes[1], "one transaction is one index");
    assert_eq!(agent.get("/v1/kv/t/b?raw").text(), "after");
}
