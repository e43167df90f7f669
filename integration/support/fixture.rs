//! Requests that many tests make: registering nodes, services and checks, creating sessions.

use serde_json::{Value, json};

use super::agent::Agent;

/// Registers a node without anything on it.
#[track_caller]
pub fn node(agent: &Agent, node: &str) {
    register(agent, &json!({ "Node": node, "Address": "10.1.2.3" }));
}

/// Registers a service instance, named like its id, on a node.
#[track_caller]
pub fn service(agent: &Agent, node: &str, service: &str) {
    register(
        agent,
        &json!({ "Node": node, "Address": "10.1.2.3", "Service": { "Service": service, "Port": 80 } }),
    );
}

/// Registers a check on a node, or on a service of it, in the given state.
#[track_caller]
pub fn check(agent: &Agent, node: &str, check: &str, service: &str, status: &str) {
    register(
        agent,
        &json!({ "Node": node, "Address": "10.1.2.3", "SkipNodeUpdate": true, "Check": {
            "Node": node, "CheckID": check, "Name": check, "ServiceID": service, "Status": status } }),
    );
}

/// Registers whatever is given.
#[track_caller]
pub fn register(agent: &Agent, body: &Value) {
    assert!(agent.put("/v1/catalog/register", body.to_string()).yes());
}

/// Removes a node, or a service or check of it.
#[track_caller]
pub fn deregister(agent: &Agent, body: &Value) {
    assert!(agent.put("/v1/catalog/deregister", body.to_string()).yes());
}

/// Creates a session and gives its id.
#[track_caller]
pub fn session(agent: &Agent, body: &Value) -> String {
    let answer = agent.put("/v1/session/create", body.to_string()).expect(200).json();
    answer["ID"].as_str().unwrap_or_else(|| panic!("no session id: {answer}")).to_owned()
}

/// Stores a key.
#[track_caller]
pub fn key(agent: &Agent, key: &str, value: &str) {
    assert!(agent.put(&format!("/v1/kv/{key}"), value).yes(), "{key}");
}
