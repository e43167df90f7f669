//! Networks that are cut: the leader alone, a minority, one direction only.

use std::time::Duration;

use crate::ambush::{alone, ambush};
use crate::netns::Net;
use crate::support::cluster::ClusterSetup;

#[test]
fn networks_are_cut_and_heal() {
    let _one = alone();
    let servers = 3;
    let net = match Net::new(servers) {
        Ok(net) => net,
        Err(why) => {
            eprintln!("skipped: networks cannot be made here: {why}");
            return;
        }
    };
    let setup = ClusterSetup::new(servers, 0).places(net.places());
    let mut round = 0;
    ambush("partitions", setup, 24, |cluster, rng| {
        let leader = cluster.wait_leader();
        let others: Vec<usize> = (0..servers).filter(|at| *at != leader).collect();
        let some = others[usize::try_from(rng.between(0, 2)).unwrap()];
        match round % 5 {
            // The leader is alone: it must not answer for the others.
            0 => others.iter().for_each(|other| {
                net.cut(leader, *other);
                net.cut(*other, leader);
            }),
            // It hears nobody, but is heard: its heartbeats must not keep it in office.
            1 => others.iter().for_each(|other| net.cut(*other, leader)),
            // It is not heard, but hears.
            2 => others.iter().for_each(|other| net.cut(leader, *other)),
            // A follower is alone.
            3 => (0..servers).filter(|at| *at != some).for_each(|other| {
                net.cut(some, other);
                net.cut(other, some);
            }),
            // Two do not see each other, the third sees both.
            _ => {
                net.cut(leader, some);
                net.cut(some, leader);
            }
        }
        round += 1;
        std::thread::sleep(Duration::from_millis(rng.between(500, 5_000)));
        net.heal();
    });
    drop(net);
}
