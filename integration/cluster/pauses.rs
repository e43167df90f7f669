//! Processes that stand still and then go on as if nothing had happened: a leader that wakes up must
//! find out that it leads no more before it answers anything.

use std::time::Duration;

use crate::ambush::{CLIENT_AGENTS, alone, ambush};
use crate::support::cluster::ClusterSetup;

#[test]
fn leaders_and_followers_freeze_and_wake_up() {
    let _one = alone();
    let mut round = 0;
    ambush("pauses", ClusterSetup::new(3, CLIENT_AGENTS), 10, |cluster, rng| {
        let leader = cluster.wait_leader();
        let victim = if round % 2 == 0 { leader } else { (leader + 1) % cluster.servers().len() };
        round += 1;
        cluster.stop(victim);
        // Election timeouts are one to two seconds.
        std::thread::sleep(Duration::from_millis(rng.between(500, 4_500)));
        cluster.cont(victim);
    });
}
