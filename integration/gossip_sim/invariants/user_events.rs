//! **User events are given out at most once** in a life of a member, whatever the network does: always,
//! everywhere.
//!
//! **And at least once** to every member that had entered the pool before the event was fired and lived
//! until the end, if the one that fired it had and did too: even across cuts, since full exchanges carry what was heard.
//! Within the limits of the window: fewer than 512 events are fired meanwhile; and the Lamport time of the event is
//! not before the one that the member was told when it entered. Whoever fired it had not heard of that time then, and
//! to the member it is an old event, which Consul's members skip.
//!
//! Source: section 7.5 of the notes on the gossip wire.

use std::time::Duration;

use rand::RngExt;

use super::agreement::PATIENCE;
use crate::cluster::{Cluster, Fate};
use crate::faults::Faults;
use crate::world::{Conditions, name};
use crate::{Seed, explore};

/// Nobody was given an event twice.
pub fn at_most_once(cluster: &Cluster) {
    for (node, fact) in cluster.facts.iter().enumerate() {
        for (event, times) in &fact.heard {
            assert_eq!(*times, 1, "{} was given event {event} {times} times", name(node));
        }
    }
}

/// Everybody that should have been given the events was.
///
/// # Errors
/// The first who was not.
pub fn at_least_once(cluster: &Cluster) -> Result<(), String> {
    let lives = |node: usize, life: u32| {
        cluster.facts[node].fate == Fate::Up && cluster.world.nodes[node].life == life
    };
    for (event, fired) in cluster.fired.iter().enumerate() {
        if !lives(fired.by, fired.life) || !fired.witnesses.contains(&(fired.by, fired.life)) {
            continue;
        }
        for (node, life) in fired.witnesses.iter().filter(|(node, life)| lives(*node, *life)) {
            if fired.ltime < cluster.facts[*node].since {
                continue;
            }
            if !cluster.facts[*node].heard.contains_key(&event) {
                return Err(format!(
                    "{} in its life {life} was not given event {event}, fired at {:?} by {}",
                    name(*node),
                    fired.at,
                    name(fired.by)
                ));
            }
        }
    }
    Ok(())
}

fn live(seed: &Seed) {
    let mut cluster = Cluster::new(seed.number, Conditions::town());
    crate::watch(&mut cluster.world);
    let nodes = cluster.world.rng().random_range(3..=12);
    cluster.form(nodes);
    let time = Duration::from_secs(60);
    let some: bool = cluster.world.rng().random();
    let faults = Faults {
        pause: Duration::from_secs(2),
        goodbyes: false,
        crashes: some,
        cuts: !some,
        ..Faults::all(time)
    };
    faults.happen(&mut cluster);
    cluster.join_islands();
    assert!(cluster.fired.len() < 512, "more events than a window holds");
    let all = |cluster: &Cluster| cluster.agreed().and_then(|()| at_least_once(cluster));
    cluster.settle(PATIENCE, all).unwrap_or_else(|wrong| panic!("{wrong}"));
    at_most_once(&cluster);
}

#[test]
fn user_events_reach_all_exactly_once() {
    explore("user_events_reach_all_exactly_once", 400, live);
}
