//! A leader whose disk stands still: for a moment it stays in office, for long it does not.

use std::time::Duration;

use serde_json::json;

use crate::ambush::alone;
use crate::shim::Shim;
use crate::support::cluster::{Cluster, ClusterSetup, LIMIT, SERVER};
use crate::support::{Client, eventually, until};

/// A cluster of three whose disks can be slowed down one by one.
fn shimmed() -> Option<(Cluster, Vec<Shim>)> {
    let shims: Option<Vec<Shim>> = (0..3).map(|_| Shim::build()).collect();
    let shims = shims?;
    // With the standard timers: an election after one to two seconds.
    let timers = json!({ "performance": { "raft_multiplier": 5 } });
    let mut cluster = ClusterSetup::new(3, 0).with(timers).prepare();
    for (at, shim) in shims.iter().enumerate() {
        shim.on(&mut cluster.members[at]);
        cluster.start(at);
    }
    cluster.wait_whole();
    Some((cluster, shims))
}

/// The term a server is in. Its figures are those of its last tick, and there are none before the first.
fn term(cluster: &Cluster, at: usize) -> String {
    let found = eventually(LIMIT, || {
        let about = cluster.members[at].get("/v1/agent/self")?.json();
        Some(about["Stats"]["raft"]["term"].as_str()?.to_owned()).filter(|term| term != "0")
    });
    found.expect("a term")
}

#[test]
fn half_a_second_costs_no_leader_his_office() {
    let _one = alone();
    let Some((mut cluster, shims)) = shimmed() else { return };
    let leader = cluster.wait_leader();
    let before = term(&cluster, leader);
    for round in 0..4 {
        shims[leader].disk(500_000);
        assert!(cluster.members[leader].put("/v1/kv/lin/stall", round.to_string()).yes());
        shims[leader].disk(0);
        assert!(cluster.members[leader].put("/v1/kv/lin/after", round.to_string()).yes());
    }
    assert_eq!(
        (cluster.wait_leader(), term(&cluster, leader)),
        (leader, before),
        "nobody stood for election"
    );
}

#[test]
fn a_leader_whose_disk_stands_still_leads_no_more() {
    let _one = alone();
    let Some((mut cluster, shims)) = shimmed() else { return };
    let leader = cluster.wait_leader();
    let other = (leader + 1) % 3;
    // The next sync takes long; those of later writes would take as long again.
    shims[leader].disk(15_000_000);
    let address = cluster.members[leader].http();
    let stuck = std::thread::spawn(move || {
        // It may come to be or not; the leader itself finds out only when its disk is back.
        Client::new(address).patience(Duration::from_secs(1)).put("/v1/kv/lin/stuck", "x").is_ok()
    });
    stuck.join().expect("a client does not panic");
    shims[leader].disk(0);
    // Its disk still stands, for most of the fifteen seconds.
    let client = || cluster.members[other].client().patience(Duration::from_secs(2));
    until("another takes writes", Duration::from_secs(12), || {
        client().put("/v1/kv/lin/goes-on", "y").is_ok_and(|answer| answer.status == 200)
    });
    let its_own = format!("\"{}:{SERVER}\"", cluster.members[leader].ip);
    let says = |at: usize| cluster.members[at].get("/v1/status/leader").expect("an answer").text();
    assert_ne!(says(other), its_own);
    until("it follows once its disk is back", LIMIT, || {
        let value = cluster.members[leader].get("/v1/kv/lin/goes-on?raw");
        value.is_some_and(|answer| answer.text() == "y")
    });
    assert_eq!(says(leader), says(other), "and knows who leads");
}
