//! Deterministic simulation of raft groups.
//!
//! One thread, a virtual clock, and one seed that decides everything: delays, losses, duplicates and
//! one-way cuts of the network, crashes and what each disk loses in them, pauses, slow disks, clocks
//! of different speed, changes of members and leaders, who writes and reads what and when (reads by read index and by the leader's lease). Nodes are
//! real drivers over the log's twin in memory and the real state machine; messages are encoded and
//! decoded on the way. While it runs the invariants are checked; then the faults stop, and the group
//! must converge and serve. In the end the history of all clients must be linearizable.
//!
//! A failure prints its seed: `TRIBUNE_SIM_SEED=<seed> cargo test --test sim` replays it (with
//! `TRIBUNE_SIM_TRACE=1` it prints every event). `TRIBUNE_SIM_SEEDS=<n>` runs more of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of it is test code")]

mod client;
mod disk;
mod invariants;
#[path = "../lin/mod.rs"]
mod lin;
mod net;
mod node;
mod oracle;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Plan, World};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// Runs many seeds; the one that fails is named.
fn explore(servers: usize, default_seeds: u64) {
    let replay = number("TRIBUNE_SIM_SEED");
    let seeds = match replay {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("TRIBUNE_SIM_SEEDS").unwrap_or(default_seeds),
    };
    let (mut acknowledged, mut installed, mut leased) = (0, 0, 0);
    for seed in seeds {
        let plan = Plan { servers, ..Plan::default() };
        match catch_unwind(AssertUnwindSafe(|| World::new(seed, plan).run())) {
            Ok(report) => {
                acknowledged += report.acknowledged;
                leased += report.leased;
                installed += report.trace.iter().filter(|line| line.contains("installs snapshot")).count();
            }
            Err(cause) => {
                eprintln!(
                    "simulation of {servers} servers failed; replay: TRIBUNE_SIM_SEED={seed} cargo test --test sim"
                );
                std::panic::resume_unwind(cause);
            }
        }
    }
    assert!(acknowledged > 0 && leased > 0, "the simulation must get something done");
    assert!(installed > 0 || servers == 1 || replay.is_some(), "and reach the rarer ways too");
}

#[test]
fn one_server_survives_crashes() {
    explore(1, 60);
}

#[test]
fn three_servers_survive_crashes_and_partitions() {
    explore(3, 100);
}

#[test]
fn five_servers_survive_crashes_and_partitions() {
    explore(5, 40);
}

#[test]
fn a_seed_decides_everything() {
    for seed in [3, 71] {
        let run = || World::new(seed, Plan { servers: 3, ..Plan::default() }).run().trace;
        let (first, second) = (run(), run());
        let differs = first.iter().zip(&second).position(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}: {:?}", differs.map(|at| (&first[at], &second[at])));
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

#[test]
fn without_faults_nothing_is_refused_or_lost() {
    for servers in [1, 3, 5] {
        let plan = Plan { servers, faults: false, ..Plan::default() };
        let report = World::new(7, plan).run();
        assert_eq!(report.unknown, 0, "{servers} servers: {report:?}");
        assert!(report.acknowledged * 10 > report.proposed * 8, "{servers} servers: {report:?}");
        assert!(report.reads > 0, "{servers} servers: {report:?}");
    }
}
