//! **After the faults stop, all views agree**: every member sees every other that runs as alive, with the
//! tags it has now; sees those that crashed as failed; and all agree on those that said goodbye or crashed while
//! they did. Within [`PATIENCE`] of virtual time.
//!
//! The worlds have all faults there are: lost, doubled and overtaking packets, broken streams, cuts in one and both
//! directions, slow members, clocks that run differently, crashes, restarts with incarnation 1, goodbyes, news.
//!
//! Source: SWIM section 4 (eventual consistency), Serf's anti-entropy.

use std::time::Duration;

use rand::RngExt;

use super::user_events;
use crate::cluster::Cluster;
use crate::faults::Faults;
use crate::world::Conditions;
use crate::{Seed, explore};

/// A goodbye of an earlier life is void after 52 s, found every 15. Sides that forgot each other come together by
/// Serf's attempt to reconnect, one every 30 s to one of the failed; if only one of a dozen still runs, that takes
/// six minutes on average. What gossip missed comes with full exchanges, one every 30 s.
pub const PATIENCE: Duration = Duration::from_secs(1_800);

/// The longest suspicion in a pool of 30, by the slowest clock.
const SUSPICION: Duration = Duration::from_secs(40);

/// A pool in which everything goes wrong that can, and is good again afterwards.
fn live(seed: &Seed) {
    let mut cluster = Cluster::new(seed.number, Conditions::town());
    crate::watch(&mut cluster.world);
    let nodes = match cluster.world.rng().random_range(0..10) {
        0 => cluster.world.rng().random_range(13..=30),
        _ => cluster.world.rng().random_range(3..=12),
    };
    cluster.form(nodes);
    let time = cluster.world.rng().random_range(Duration::from_secs(20)..Duration::from_secs(120));
    Faults::all(time).happen(&mut cluster);
    // Suspicions from the bad times may still turn into deaths, to be objected to; and goodbyes of earlier lives
    // may make a member forget its last way to the others.
    cluster.join_islands();
    cluster.run(SUSPICION);
    cluster.join_islands();
    cluster.settle(PATIENCE, Cluster::agreed).unwrap_or_else(|wrong| panic!("{wrong}"));
    // And it stays so.
    cluster.run(SUSPICION);
    cluster.agreed().unwrap_or_else(|wrong| panic!("agreed, and then: {wrong}"));
    user_events::at_most_once(&cluster);
}

#[test]
fn views_agree_after_any_faults() {
    explore("views_agree_after_any_faults", 1500, live);
}
