//! **A graceful leave is seen as one everywhere**: every member holds it to have left, none to have failed, once
//! it is over, also with packets lost. It takes no longer than the intent and the death may take to be told, and the
//! time the leaver lingers. In a tiny pool with one packet in five lost it can happen that nobody hears the intent, which is
//! sent four times only; then all hold the leaver to have failed, as stock members do. That is counted.
//!
//! Source: section 7.3 of the notes on the gossip wire.

use std::time::Duration;

use rand::RngExt;
use tribune::gossip::Status;

use crate::cluster::{Cluster, Fate};
use crate::world::{Conditions, Sabotage, name};
use crate::{Seed, explore, failure};

/// Serf's broadcast timeout twice, Consul's propagate delay, and some more.
const GOODBYE: Duration = Duration::from_secs(15);
/// What gossip missed comes with full exchanges.
const PATIENCE: Duration = Duration::from_secs(180);

/// Whether nobody heard that this one leaves.
fn unheard(cluster: &Cluster, node: usize) -> bool {
    cluster
        .members()
        .all(|from| cluster.view(from, node).is_none_or(|member| member.status == Status::Failed))
}

fn all_left(cluster: &Cluster, gone: &[usize]) -> Result<(), String> {
    for from in cluster.members() {
        for of in gone {
            let status = cluster.view(from, *of).map(|member| member.status);
            if status != Some(Status::Left) {
                return Err(format!("{} left, but {} sees {status:?}", name(*of), name(from)));
            }
        }
    }
    Ok(())
}

fn live(seed: &Seed, sabotage: Option<Sabotage>) {
    let mut cluster = Cluster::new(seed.number, Conditions::town());
    crate::watch(&mut cluster.world);
    let nodes = cluster.world.rng().random_range(3..=20);
    cluster.form(nodes);
    cluster.world.sabotage = sabotage;
    let loss: f64 = cluster.world.rng().random_range(-0.1..0.2);
    cluster.world.net.conditions.loss = loss.max(0.0);
    let mut gone = Vec::new();
    for _ in 0..cluster.world.rng().random_range(1..=nodes / 2) {
        if let Some(node) = cluster.any_member() {
            cluster.leave(node);
            gone.push(node);
        }
        let pause = cluster.world.rng().random_range(Duration::ZERO..Duration::from_secs(5));
        cluster.run(pause);
    }
    cluster.run(GOODBYE);
    assert_eq!(cluster.with_fate(Fate::Leaving), [0; 0], "a goodbye takes too long");
    if loss > 0.0 && gone.iter().any(|node| unheard(&cluster, *node)) {
        seed.excuse();
        gone.retain(|node| !unheard(&cluster, *node));
    }
    cluster.settle(PATIENCE, |cluster| all_left(cluster, &gone)).unwrap_or_else(|wrong| panic!("{wrong}"));
    cluster.world.net.conditions.loss = 0.0;
    cluster.settle(PATIENCE, Cluster::agreed).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn goodbyes_are_seen_as_such() {
    let excused = explore("goodbyes_are_seen_as_such", 300, |seed| live(seed, None));
    assert!(excused <= 0.02, "nobody heard a goodbye in {} % of the pools", excused * 100.0);
}

#[test]
fn the_harness_notices_when_nobody_announces_its_goodbye() {
    let failure = failure(10, |seed| live(seed, Some(Sabotage::Silence)));
    let (seed, text) = failure.expect("a pool in which goodbyes are not announced must be noticed");
    assert!(text.contains("left, but"), "seed {seed}: {text}");
}
