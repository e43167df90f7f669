//! Clocks that jump, and disks that are slow.
//!
//! The wall clock is in commands (lock-delays are measured by the leader's), so a jump may make a
//! lock-delay shorter or longer, and nothing else. Order and leases are the business of the monotonic
//! clock, which does not jump.

use std::time::Duration;

use serde_json::json;

use crate::ambush::{CLIENT_AGENTS, alone, ambush};
use crate::shim::Shim;
use crate::support::cluster::ClusterSetup;

#[test]
fn clocks_jump_and_disks_are_slow() {
    let _one = alone();
    let Some(shim) = Shim::build() else { return };
    let setup = shim.around(ClusterSetup::new(3, CLIENT_AGENTS));
    let (mut round, mut offset) = (0, 0);
    ambush("clocks and disks", setup, 8, |cluster, rng| {
        cluster.wait_leader();
        round += 1;
        if round % 2 == 0 {
            // Backwards only: that makes lock-delays longer. Shorter ones would be counted as a fault.
            offset -= i64::try_from(rng.between(0, 3_600_000)).unwrap();
            shim.clock(offset);
        } else {
            shim.disk(i64::try_from(rng.between(1_000, 300_000)).unwrap());
        }
        std::thread::sleep(Duration::from_millis(rng.between(500, 2_000)));
        shim.disk(0);
    });
}

/// A clock that jumps ahead ends a lock-delay early; one that jumps back keeps it. Both are seen, so
/// the shim works.
#[test]
fn a_lock_delay_goes_by_the_leaders_wall_clock() {
    let _one = alone();
    let Some(shim) = Shim::build() else { return };
    let mut cluster = shim.around(ClusterSetup::new(3, 0)).start();
    let leader = cluster.wait_leader();
    let member = &cluster.members[leader];
    let session = || {
        let body = json!({ "LockDelay": "60s", "Checks": [], "NodeChecks": [] }).to_string();
        member.put("/v1/session/create", body).expect(200).json()["ID"].as_str().unwrap().to_owned()
    };
    let (first, second) = (session(), session());
    assert!(member.put(&format!("/v1/kv/lin/lock?acquire={first}"), "1").yes());
    assert!(member.put(&format!("/v1/session/destroy/{first}"), "").yes());
    let acquire = || member.put(&format!("/v1/kv/lin/lock?acquire={second}"), "2").yes();
    assert!(!acquire(), "within the lock-delay");
    shim.clock(-3_600_000);
    assert!(!acquire(), "an hour back");
    shim.clock(50_000);
    assert!(!acquire(), "ten seconds are left");
    shim.clock(70_000);
    assert!(acquire(), "over");
}
