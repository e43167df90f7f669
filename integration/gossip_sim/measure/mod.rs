//! Figures: how news spreads, how deaths are found, and what slow members do to the others.
//!
//! All in worlds of bare SWIM members that know each other from the beginning.

pub mod cpu;
pub mod lifeguard;
pub mod spread;

use std::time::Duration;

use tribune::gossip::config::SwimConfig;
use tribune::gossip::wire::Crypto;

use crate::world::bare::{Bare, formed};
use crate::world::{Conditions, World};

/// A pool of so many members that know each other and have nothing to tell.
pub fn pool(nodes: usize, seed: u64, config: &SwimConfig, conditions: Conditions) -> World<Bare> {
    let mut world = World::new(seed, conditions);
    let table = formed(nodes);
    for _ in 0..nodes {
        world.add_place();
    }
    for node in 0..nodes {
        world.start(node, |seed, now| Bare::new(node, config, Crypto::plain(), &table, seed, now));
    }
    quiet(&mut world);
    world.notes.clear();
    world
}

/// Lets time pass until nobody has anything to tell.
pub fn quiet(world: &mut World<Bare>) -> Duration {
    let nobody = |world: &mut World<Bare>| world.hosts().all(|(_, host)| host.is_quiet());
    let ended = world.run_until(Duration::from_secs(120), Duration::from_millis(100), nobody);
    ended.unwrap_or_else(|_| {
        let talkers: Vec<_> = world
            .hosts()
            .filter(|(_, host)| !host.is_quiet())
            .map(|(node, host)| (node, host.swim.queued(), host.swim.table().len()))
            .collect();
        panic!("retransmissions must end, but not so of {talkers:?}")
    })
}

/// The one in the middle; zero of none.
pub fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}
