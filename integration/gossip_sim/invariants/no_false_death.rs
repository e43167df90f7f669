//! **No live member is held dead for ever**: members that are slow or badly connected may be suspected and
//! even buried, but once they are well again everybody takes them for alive, within [`PATIENCE`].
//!
//! Source: SWIM section 4.2 (suspicion and objection), Lifeguard section II.

use std::time::Duration;

use rand::RngExt;

use crate::cluster::Cluster;
use crate::faults::Faults;
use crate::world::{Conditions, Sabotage};
use crate::{Seed, explore, failure};

/// Two rounds of full exchanges and a reconnect.
const PATIENCE: Duration = Duration::from_secs(120);

fn live(seed: &Seed, sabotage: Option<Sabotage>) {
    let mut cluster = Cluster::new(seed.number, Conditions::town());
    crate::watch(&mut cluster.world);
    let nodes = cluster.world.rng().random_range(4..=12);
    cluster.form(nodes);
    cluster.world.sabotage = sabotage;
    let faults = Faults { slow: true, bad_network: true, ..Faults::none(Duration::from_secs(60)) };
    Faults { pause: Duration::from_secs(1), ..faults }.happen(&mut cluster);
    cluster.settle(PATIENCE, Cluster::agreed).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn slow_members_are_not_held_dead_for_ever() {
    explore("slow_members_are_not_held_dead_for_ever", 400, |seed| live(seed, None));
}

#[test]
fn the_harness_notices_when_nobody_objects() {
    let failure = failure(20, |seed| live(seed, Some(Sabotage::Submission)));
    let (seed, text) = failure.expect("a pool in which nobody objects to its death must be noticed");
    assert!(text.contains("is up, but"), "seed {seed}: {text}");
}
