//! **Round trip times are estimated within 20 %** in the median over all pairs, after a warm-up of ten
//! minutes, in a pool on a plane with heights and jitter and with clocks that are off by up to a tenth.
//!
//! Source: Vivaldi (Dabek et al. 2004); section 7.7 of the notes on the gossip wire.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::world::{Conditions, name};
use crate::{Seed, explore};

const WARM_UP: Duration = Duration::from_secs(600);

fn live(seed: &Seed) {
    let mut cluster = Cluster::formed(seed.number, 24, Conditions::town());
    cluster.run(WARM_UP);
    let mut errors = Vec::new();
    for (from, pool) in cluster.world.hosts() {
        for to in cluster.members().filter(|to| *to != from) {
            let net = &cluster.world.net;
            let truth = 2.0 * (net.base(from, to) + net.conditions.jitter / 2).as_secs_f64();
            let Some(coordinate) = pool.coordinate_of(&name(to)) else { continue };
            let estimate = pool.coordinate().distance(coordinate).as_secs_f64();
            errors.push((estimate - truth).abs() / truth);
        }
    }
    assert_eq!(errors.len(), 24 * 23, "everybody has probed everybody");
    errors.sort_by(f64::total_cmp);
    let median = errors[errors.len() / 2];
    assert!(median < 0.2, "the median estimate is off by {:.1} %", median * 100.0);
}

#[test]
fn round_trips_are_estimated() {
    explore("round_trips_are_estimated", 6, live);
}
