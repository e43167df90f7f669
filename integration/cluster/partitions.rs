//! Networks that are cut: the leader alone, a minority, a client agent, one direction only.

use std::time::Duration;

use crate::ambush::{CLIENT_AGENTS, alone, ambush};
use crate::netns::Net;
use crate::support::cluster::ClusterSetup;

#[test]
fn networks_are_cut_and_heal() {
    let _one = alone();
    let servers = 3;
    let net = match Net::new(servers + CLIENT_AGENTS) {
        Ok(net) => net,
        Err(why) => {
            eprintln!("skipped: networks cannot be made here: {why}");
            return;
        }
    };
    let setup = ClusterSetup::new(servers, CLIENT_AGENTS).places(net.places());
    let (client, mut round) = (servers, 0);
    ambush("partitions", setup, 24, |cluster, rng| {
        let leader = cluster.wait_leader();
        let others: Vec<usize> = (0..servers).filter(|at| *at != leader).collect();
        let some = others[usize::try_from(rng.between(0, 2)).unwrap()];
        match round % 7 {
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
            4 => {
                net.cut(leader, some);
                net.cut(some, leader);
            }
            // A client agent loses the leader, or is not heard by anybody.
            5 => {
                net.cut(leader, client);
                net.cut(client, leader);
            }
            _ => (0..servers).for_each(|server| net.cut(client, server)),
        }
        round += 1;
        std::thread::sleep(Duration::from_millis(rng.between(500, 5_000)));
        net.heal();
    });
    drop(net);
}
