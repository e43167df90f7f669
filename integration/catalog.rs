//! The catalog: what disappears with what, and that an index never goes backwards while it does.

use serde_json::json;

use crate::support::{Agent, fixture};

#[test]
fn a_removed_node_takes_its_services_checks_and_sessions_along() {
    let agent = Agent::dev();
    fixture::service(&agent, "ext", "web");
    fixture::check(&agent, "ext", "alive", "", "passing");
    fixture::check(&agent, "ext", "port", "web", "passing");
    let id = fixture::session(&agent, &json!({ "Node": "ext", "NodeChecks": ["alive"], "LockDelay": "0s" }));
    assert!(agent.put(&format!("/v1/kv/lock?acquire={id}"), "held").yes());
    let before = agent.get("/v1/kv/lock").expect(200);

    fixture::deregister(&agent, &json!({ "Node": "ext" }));

    assert!(agent.get("/v1/catalog/node/ext").text().trim() == "null", "the node is gone");
    for (what, target) in [
        ("service", "/v1/catalog/service/web"),
        ("checks", "/v1/health/checks/web"),
        ("node checks", "/v1/health/node/ext"),
        ("session", &format!("/v1/session/info/{id}")),
    ] {
        assert_eq!(agent.get(target).expect(200).json(), json!([]), "{what}");
    }
    let after = agent.get("/v1/kv/lock").expect(200);
    assert!(after.json()[0].get("Session").is_none(), "the lock is released: {}", after.text());
    assert_eq!(after.json()[0]["LockIndex"], before.json()[0]["LockIndex"], "LockIndex stays");
    assert!(after.index() > before.index(), "ModifyIndex moves");
    assert!(!agent.get("/v1/catalog/services").text().contains("web"));
}

#[test]
fn indexes_only_grow_while_things_come_and_go() {
    let agent = Agent::dev();
    let targets = [
        "/v1/catalog/nodes",
        "/v1/catalog/services",
        "/v1/catalog/service/web",
        "/v1/health/service/web",
        "/v1/health/checks/web",
        "/v1/health/state/any",
        "/v1/session/list",
        "/v1/kv/?keys",
        "/v1/kv/dir/?recurse",
        "/v1/kv/dir/leaf",
    ];
    let mut highest = [0; 11];
    let mut look = |step: &str| {
        for (target, highest) in targets.iter().zip(&mut highest) {
            let index = agent.get(target).index();
            assert!(index > 0, "{target} after {step}: index 0");
            assert!(index >= *highest, "{target} after {step}: {index} after {highest}");
            *highest = index;
        }
    };
    look("the start");
    for round in 0..3 {
        fixture::service(&agent, "ext", "web");
        look("a registration");
        fixture::check(&agent, "ext", "alive", "web", "passing");
        look("a check");
        let id = fixture::session(
            &agent,
            &json!({ "Node": "ext", "NodeChecks": ["alive"], "Behavior": "delete", "LockDelay": "0s" }),
        );
        fixture::key(&agent, "dir/leaf", &round.to_string());
        assert!(agent.put(&format!("/v1/kv/dir/lock?acquire={id}"), "held").yes());
        look("a lock");
        assert!(agent.delete("/v1/kv/dir/leaf").yes());
        look("a delete");
        fixture::deregister(&agent, &json!({ "Node": "ext", "ServiceID": "web" }));
        look("a removed service");
        fixture::deregister(&agent, &json!({ "Node": "ext" }));
        look("a removed node");
        assert!(agent.delete("/v1/kv/dir?recurse").yes());
        look("a deleted tree");
    }
}
