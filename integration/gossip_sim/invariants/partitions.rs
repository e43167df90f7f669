//! **A pool that fell apart comes together again**: members, status and tags are the same in all views after the
//! cut heals. Short cuts are healed by gossip to the dead; those longer than that (30 s) and longer than the dead stay
//! in SWIM's tables by Serf's attempts to reconnect, alone.
//!
//! Source: section 7.4 of the notes on the gossip wire.

use std::time::Duration;

use rand::RngExt;

use super::agreement::PATIENCE;
use crate::cluster::Cluster;
use crate::world::{Conditions, Sabotage};
use crate::{Seed, explore, failure};

fn live(seed: &Seed, sabotage: Option<Sabotage>, shortest: u64, longest: u64) {
    let mut cluster = Cluster::new(seed.number, Conditions::town());
    crate::watch(&mut cluster.world);
    let nodes: usize = cluster.world.rng().random_range(2..=16);
    cluster.form(nodes);
    cluster.world.sabotage = sabotage;
    let (sides, first) =
        (cluster.world.rng().random_range(2..=3), cluster.world.rng().random_range(1..nodes));
    cluster
        .world
        .net
        .split(|node| if node < first { 0 } else { 1 + u8::try_from(node % (sides - 1)).unwrap_or(0) });
    let time = cluster.world.rng().random_range(shortest..longest);
    cluster.run(Duration::from_secs(time / 2));
    // What changes while nobody hears it must be known to all in the end.
    for _ in 0..3 {
        if let Some(node) = cluster.any_member() {
            cluster.change_tags(node);
        }
    }
    cluster.run(Duration::from_secs(time / 2));
    cluster.world.net.heal();
    cluster.settle(PATIENCE, Cluster::agreed).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn short_partitions_heal() {
    explore("short_partitions_heal", 150, |seed| live(seed, None, 4, 30));
}

#[test]
fn long_partitions_heal() {
    explore("long_partitions_heal", 250, |seed| live(seed, None, 90, 300));
}

#[test]
fn the_harness_notices_when_nobody_reconnects() {
    let failure = failure(5, |seed| live(seed, Some(Sabotage::Resentment), 200, 300));
    let (seed, text) = failure.expect("a pool that does not reconnect must be noticed");
    assert!(text.contains("is up, but"), "seed {seed}: {text}");
}
