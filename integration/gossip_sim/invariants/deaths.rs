//! **A death reaches every live member** in bounded time: probing finds it, suspicion runs out, gossip tells it.
//! And it is told of nobody else.
//!
//! Source: SWIM section 3.2 and 4.3 (time-bounded completeness); Lifeguard for the length of suspicion.

use std::time::Duration;

use rand::RngExt;
use tribune::gossip::Status;

use crate::cluster::Cluster;
use crate::world::{Conditions, name};
use crate::{Seed, explore};

/// In a pool of 20: a round of probes (each up to 1 s, by slow clocks a tenth more), the longest suspicion
/// (6 * 4 * 1.3 s) and gossip. With several deaths at once probes wait for each other.
const PATIENCE: Duration = Duration::from_secs(90);

fn live(seed: &Seed) {
    let mut cluster = Cluster::new(seed.number, Conditions::town());
    crate::watch(&mut cluster.world);
    let nodes = cluster.world.rng().random_range(3..=20);
    cluster.form(nodes);
    let loss: f64 = cluster.world.rng().random_range(-0.05..0.05);
    cluster.world.net.conditions.loss = loss.max(0.0);
    let mut dead = Vec::new();
    for _ in 0..cluster.world.rng().random_range(1..=nodes / 2) {
        if let Some(node) = cluster.any_member() {
            cluster.crash(node);
            dead.push(node);
        }
    }
    let all_failed = |cluster: &Cluster| {
        for from in cluster.members() {
            for of in &dead {
                let status = cluster.view(from, *of).map(|member| member.status);
                if status != Some(Status::Failed) {
                    return Err(format!("{} died, but {} sees {status:?}", name(*of), name(from)));
                }
            }
        }
        Ok(())
    };
    cluster.settle(PATIENCE, all_failed).unwrap_or_else(|wrong| panic!("{wrong}"));
    let wrong: Vec<_> = cluster.failures.iter().filter(|(_, _, of)| !dead.contains(of)).collect();
    assert!(wrong.is_empty(), "live members were buried: {wrong:?}");
}

#[test]
fn deaths_reach_all() {
    explore("deaths_reach_all", 300, live);
}
