//! **A join reaches every live member** in bounded time: within [`QUICK`] where the network is good, within
//! [`PATIENCE`] where it is not.
//!
//! Source: SWIM section 4.1: news reaches all within a number of rounds that grows with log n.

use std::time::Duration;

use rand::RngExt;

use crate::cluster::Cluster;
use crate::world::Conditions;
use crate::{Seed, explore};

/// Two tries to join (3 s apart), and some 25 gossip ticks.
const QUICK: Duration = Duration::from_secs(8);
/// A few more tries; what gossip missed comes with full exchanges.
const PATIENCE: Duration = Duration::from_secs(120);

fn live(seed: &Seed) {
    let mut cluster = Cluster::new(seed.number, Conditions::town());
    crate::watch(&mut cluster.world);
    let nodes = cluster.world.rng().random_range(1..=20);
    cluster.form(nodes);
    let bad: bool = cluster.world.rng().random();
    if bad {
        cluster.world.net.conditions = Conditions {
            loss: 0.2,
            duplication: 0.1,
            reordering: 0.1,
            broken_streams: 0.2,
            ..Conditions::town()
        };
    }
    for _ in 0..cluster.world.rng().random_range(1..=4) {
        cluster.add();
    }
    let limit = if bad { PATIENCE } else { QUICK };
    let agreed = cluster.settle(limit, Cluster::agreed);
    // In a small pool a message is sent too few times to reach everybody for certain: one in some 3,000
    // is left to the next full exchange.
    if agreed.is_err() && !bad {
        cluster.settle(PATIENCE, Cluster::agreed).unwrap_or_else(|wrong| panic!("{wrong}"));
        seed.excuse();
    } else {
        agreed.unwrap_or_else(|wrong| panic!("{wrong}"));
    }
}

#[test]
fn joins_reach_all() {
    let excused = explore("joins_reach_all", 300, live);
    assert!(excused <= 0.05, "{} % of the pools needed a full exchange", excused * 100.0);
}
