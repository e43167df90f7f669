//! What goes wrong, by chance: one fault after the other, until it is enough.

use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;

use crate::cluster::{Cluster, Fate};
use crate::world::{Conditions, Slowness};

/// Which faults there are, and how many at most.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "switches that do not depend on each other")]
pub struct Faults {
    /// How long there are faults.
    pub time: Duration,
    /// Time between two, at most.
    pub pause: Duration,
    /// Whether packets are lost, doubled and overtake each other, and streams break.
    pub bad_network: bool,
    /// Whether the network falls apart, in one direction or both.
    pub cuts: bool,
    /// Whether members stop for a while.
    pub slow: bool,
    /// Whether members crash, and come back.
    pub crashes: bool,
    /// Whether members say goodbye, and come back.
    pub goodbyes: bool,
    /// Whether members change their tags and tell everybody things.
    pub news: bool,
}

impl Faults {
    /// All of them.
    pub fn all(time: Duration) -> Self {
        Self {
            time,
            pause: Duration::from_secs(6),
            bad_network: true,
            cuts: true,
            slow: true,
            crashes: true,
            goodbyes: true,
            news: true,
        }
    }

    /// None of them.
    pub fn none(time: Duration) -> Self {
        Self {
            bad_network: false,
            cuts: false,
            slow: false,
            crashes: false,
            goodbyes: false,
            news: false,
            ..Self::all(time)
        }
    }

    /// Makes them happen; afterwards the network is good again and nobody is slow.
    pub fn happen(&self, cluster: &mut Cluster) {
        let good = cluster.world.net.conditions.clone();
        let end = cluster.world.now() + self.time;
        while cluster.world.now() < end {
            let pause = cluster.world.rng().random_range(Duration::from_millis(10)..self.pause);
            cluster.run(pause.min(end.saturating_sub(cluster.world.now())));
            self.one(cluster, &good);
        }
        cluster.world.net.conditions = good;
        cluster.world.net.heal();
    }

    fn one(&self, cluster: &mut Cluster, good: &Conditions) {
        match cluster.world.rng().random_range(0..11) {
            0 if self.bad_network => {
                let rng = cluster.world.rng();
                let conditions = Conditions {
                    loss: rng.random_range(0.0..0.35),
                    duplication: rng.random_range(0.0..0.2),
                    reordering: rng.random_range(0.0..0.2),
                    broken_streams: rng.random_range(0.0..0.3),
                    ..good.clone()
                };
                cluster.say(|| format!("the network is bad: {conditions:?}"));
                cluster.world.net.conditions = conditions;
            }
            1 if self.bad_network => cluster.world.net.conditions = good.clone(),
            2 if self.cuts => cut(cluster),
            3 if self.cuts => cluster.world.net.heal(),
            4 if self.slow => {
                let time =
                    cluster.world.rng().random_range(Duration::from_millis(100)..Duration::from_secs(20));
                if let Some(node) = cluster.any_member() {
                    let mute = cluster.world.rng().random();
                    let slowness = if mute { Slowness::Mute } else { Slowness::Stopped };
                    cluster.say(|| format!("node {node} is {slowness:?} for {time:?}"));
                    cluster.world.block(node, slowness, time);
                }
            }
            5 if self.crashes && cluster.members().count() > 2 => {
                if let Some(node) = cluster.any_member() {
                    cluster.crash(node);
                }
            }
            6 if self.goodbyes && cluster.members().count() > 2 => {
                if let Some(node) = cluster.any_member() {
                    cluster.leave(node);
                }
            }
            7 => {
                let mut down = cluster.with_fate(Fate::Crashed);
                down.extend(cluster.with_fate(Fate::Left));
                if let Some(node) = down.choose(cluster.world.rng()).copied() {
                    cluster.start(node);
                }
            }
            8 if self.news => {
                if let Some(node) = cluster.any_member() {
                    cluster.change_tags(node);
                }
            }
            9 if self.news => {
                if let Some(node) = cluster.any_member() {
                    cluster.fire(node);
                }
            }
            // A connection breaks, mostly for no reason.
            10 if self.crashes => {
                if let (Some(node), Some(other)) = (cluster.any_member(), cluster.any_member()) {
                    cluster.doubt(node, other);
                }
            }
            _ => {}
        }
    }
}

/// Cuts the network in two, in one direction or both.
fn cut(cluster: &mut Cluster) {
    let (mask, one_way): (u64, bool) = (cluster.world.rng().random(), cluster.world.rng().random_bool(0.3));
    let side_of = |node: usize| u8::from(mask >> (node % 64) & 1 == 1);
    cluster.say(|| format!("cut: {mask:b}, in one way only: {one_way}"));
    if one_way {
        cluster.world.net.split_one_way(side_of);
    } else {
        cluster.world.net.split(side_of);
    }
}
