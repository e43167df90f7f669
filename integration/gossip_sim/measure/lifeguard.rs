//! What slow members do to the healthy ones, with and without Lifeguard.
//!
//! The paper's interval experiment (section V): in a pool of 128, some members stop for a while, all at the same
//! time, go on for a while, and so on for two minutes. A false positive (FP) is a member that was never slow and is
//! declared dead by some member; FP- counts only those declared by members that were never slow either.
//!
//! Source: "Lifeguard: SWIM-ing with Situational Awareness" (Dadgar, Phillips, Currey 2017).

use std::collections::BTreeSet;
use std::time::Duration;

use rand::seq::IteratorRandom;
use tribune::gossip::config::SwimConfig;

use super::pool;
use crate::world::{Conditions, Note, Slowness};

/// How long the pool is left alone before, and how long members are slow.
const QUIET: Duration = Duration::from_secs(15);
const EXPERIMENT: Duration = Duration::from_secs(120);

/// Which parts of Lifeguard are switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// SWIM as published in 2002.
    None,
    /// Local health and nacks.
    Probe,
    /// Suspicions that shorten with confirmations.
    Suspicion,
    /// Suspects are told.
    Buddy,
    /// All three.
    All,
    /// All three, and suspects are probed out of turn by a few: what agents do.
    Ours,
}

impl Parts {
    pub const ALL: [Self; 6] = [Self::None, Self::Probe, Self::Suspicion, Self::Buddy, Self::All, Self::Ours];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "SWIM",
            Self::Probe => "LHA-Probe",
            Self::Suspicion => "LHA-Suspicion",
            Self::Buddy => "Buddy System",
            Self::All => "Lifeguard",
            Self::Ours => "Lifeguard, witnesses",
        }
    }

    /// memberlist's LAN profile with these parts and this multiplier of suspicion (the paper's alpha).
    pub fn config(self, suspicion_mult: u32) -> SwimConfig {
        let full = SwimConfig { suspicion_mult, ..SwimConfig::lan() };
        let none = full.clone().without_lifeguard();
        match self {
            Self::None => none,
            Self::Probe => SwimConfig { awareness_max: full.awareness_max, nacks: true, ..none },
            Self::Suspicion => {
                SwimConfig { suspicion_max_timeout_mult: full.suspicion_max_timeout_mult, ..none }
            }
            Self::Buddy => SwimConfig { tell_suspects: true, ..none },
            Self::All => SwimConfig { witnesses: 0, ..full },
            Self::Ours => full,
        }
    }
}

/// An experiment.
#[derive(Debug, Clone, Copy)]
pub struct Interval {
    pub nodes: usize,
    pub slow: usize,
    pub slowness: Slowness,
    /// How long they are slow, and how long they are well in between.
    pub stop: Duration,
    pub go: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Healthy members declared dead, by anybody.
    pub fp: u64,
    /// By healthy members.
    pub fp_healthy: u64,
    /// Slow members declared dead, by anybody.
    pub slow: u64,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.fp += other.fp;
        self.fp_healthy += other.fp_healthy;
        self.slow += other.slow;
    }
}

impl Interval {
    /// Makes the experiment.
    pub fn run(self, seed: u64, config: &SwimConfig) -> Count {
        let mut world = pool(self.nodes, seed, config, Conditions::room());
        world.run(QUIET);
        world.notes.clear();
        let slow: BTreeSet<usize> = (0..self.nodes).sample(world.rng(), self.slow).into_iter().collect();
        let end = world.now() + EXPERIMENT;
        while world.now() < end {
            for node in &slow {
                world.block(*node, self.slowness, self.stop);
            }
            world.run(self.stop + self.go);
        }
        let mut count = Count::default();
        for noted in &world.notes {
            let Note::Failed(of) = noted.note else { continue };
            if slow.contains(&of) {
                count.slow += 1;
            } else {
                count.fp += 1;
                count.fp_healthy += u64::from(!slow.contains(&noted.node));
            }
        }
        count
    }
}

/// All experiments with these numbers of slow members and these times.
pub fn grid(
    nodes: usize,
    slow: &'static [usize],
    slowness: Slowness,
    stop: &'static [u64],
    go: &'static [u64],
) -> impl Iterator<Item = Interval> {
    let times = move |stop: &'static [u64], go: &'static [u64]| {
        stop.iter().flat_map(move |stop| go.iter().map(move |go| (*stop, *go)))
    };
    slow.iter().flat_map(move |slow| {
        times(stop, go).map(move |(stop, go)| Interval {
            nodes,
            slow: *slow,
            slowness,
            stop: Duration::from_millis(stop),
            go: Duration::from_millis(go),
        })
    })
}
