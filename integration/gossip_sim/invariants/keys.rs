//! **Keys can be replaced in a running pool**: a new key is installed, used, and the old one removed, by commands of
//! one member, while packets are lost and everybody keeps telling things. Nobody is lost, nobody is ever held
//! failed, and in the end all encrypt with the new key and none has the old one.
//!
//! Source: section 7.6 of the notes on the gossip wire.

use std::time::Duration;

use rand::RngExt;
use tribune::gossip::effect::KeyRequest;
use tribune::gossip::{Command, Done};

use super::user_events;
use crate::cluster::Cluster;
use crate::world::Conditions;
use crate::{Seed, explore};

/// An operator tries again until all members have answered.
const TRIES: usize = 20;

fn live(seed: &Seed) {
    let mut cluster = Cluster::new(seed.number, Conditions::town());
    let (old, new) = (vec![1; 16], vec![2; 32]);
    cluster.keys = vec![old.clone()];
    crate::watch(&mut cluster.world);
    let nodes = cluster.world.rng().random_range(3..=10);
    cluster.form(nodes);
    let loss: f64 = cluster.world.rng().random_range(-0.02..0.05);
    cluster.world.net.conditions.loss = loss.max(0.0);
    for request in
        [KeyRequest::Install(new.clone()), KeyRequest::Use(new.clone()), KeyRequest::Remove(old.clone())]
    {
        let mut tries = 0;
        loop {
            tries += 1;
            let by = cluster.any_member().expect("all are up");
            cluster.fire(by);
            let ticket = cluster.command(0, Command::Keys { request: request.clone(), relay_factor: 1 });
            cluster.run(Duration::from_secs(8));
            let report = match cluster.done.remove(&ticket) {
                Some(Ok(Done::Keys(report))) => report,
                other => panic!("{request:?} ended as {other:?}"),
            };
            if report.outcome().is_ok() {
                break;
            }
            assert!(tries < TRIES, "{request:?} was not done by all: {report:?}");
        }
    }
    cluster.run(Duration::from_secs(60));
    for (node, pool) in cluster.world.hosts() {
        assert_eq!(pool.keys(), std::slice::from_ref(&new), "keys of {node}");
    }
    assert_eq!(cluster.failures, [], "nobody died");
    let all = |cluster: &Cluster| cluster.agreed().and_then(|()| user_events::at_least_once(cluster));
    cluster.settle(Duration::from_secs(120), all).unwrap_or_else(|wrong| panic!("{wrong}"));
    user_events::at_most_once(&cluster);
}

#[test]
fn keys_are_replaced_without_losing_anybody() {
    explore("keys_are_replaced_without_losing_anybody", 100, live);
}
