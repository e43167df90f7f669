//! Servers that are restarted one after the other, as for an upgrade.

use crate::ambush::{CLIENT_AGENTS, alone, ambush};
use crate::support::cluster::ClusterSetup;

#[test]
fn a_rolling_restart_goes_unnoticed() {
    let _one = alone();
    ambush("rolling restarts", ClusterSetup::new(3, CLIENT_AGENTS), 6, |cluster, _| {
        for at in 0..cluster.members.len() {
            cluster.restart(at);
            cluster.wait_whole();
        }
    });
}
