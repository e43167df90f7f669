//! Processes that end without a word.

use crate::ambush::{CLIENT_AGENTS, alone, ambush};
use crate::support::cluster::ClusterSetup;

#[test]
fn leaders_followers_and_clients_are_killed() {
    let _one = alone();
    let mut round = 0;
    ambush("kills", ClusterSetup::new(3, CLIENT_AGENTS), 12, |cluster, rng| {
        let leader = cluster.wait_leader();
        let victim = match (round % 4, cluster.clients().next()) {
            (0, _) => leader,
            (1, Some(client)) => client,
            _ => (leader + 1 + usize::try_from(rng.between(0, 2)).unwrap()) % cluster.servers().len(),
        };
        round += 1;
        cluster.kill9(victim);
        // How long it stays away: from nothing to beyond an election.
        std::thread::sleep(std::time::Duration::from_millis(rng.between(0, 2_500)));
        cluster.start(victim);
    });
}

#[test]
fn everybody_is_killed_at_once() {
    let _one = alone();
    ambush("full restarts", ClusterSetup::new(3, CLIENT_AGENTS), 6, |cluster, _| {
        for at in 0..cluster.members.len() {
            cluster.kill9(at);
        }
        for at in 0..cluster.members.len() {
            cluster.start(at);
        }
        cluster.wait_leader();
    });
}
