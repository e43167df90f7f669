//! What all fault tests have in common: a cluster, clients at work, faults for a while, and then the
//! proof that everything is as it should be.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::support::cluster::{Cluster, ClusterSetup, LIMIT};
use crate::support::{Rng, eventually};
use crate::workload::Workload;

/// How many tests share `TRIBUNE_FAULT_SECONDS`.
const TESTS: u64 = 6;
/// Clients at work.
const CLIENTS: u32 = 6;
/// Client agents of a cluster of these tests.
pub const CLIENT_AGENTS: usize = 1;

/// One test at a time: each is a whole cluster.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long faults go on in one test; `short` unless a long run is asked for.
pub fn duration(short: u64) -> Duration {
    let asked = std::env::var("TRIBUNE_FAULT_SECONDS").ok().and_then(|text| text.parse::<u64>().ok());
    Duration::from_secs(asked.map_or(short, |total| total / TESTS))
}

/// Runs `fault` again and again on a cluster at work, for so long, then checks. Each call of `fault`
/// is one fault; it ends with everybody running, though not yet well.
#[track_caller]
pub fn ambush(what: &str, setup: ClusterSetup, short: u64, mut fault: impl FnMut(&mut Cluster, &mut Rng)) {
    let seed = Rng::seed_of_this_run();
    let mut rng = Rng::new(seed);
    let seed = format!("{what}, TRIBUNE_SEED={seed}");
    eprintln!("{seed}");
    let mut cluster = setup.start();
    let members = cluster.members.iter().map(crate::support::cluster::Member::http).collect();
    let workload = Workload::start(members, cluster.servers().len(), CLIENTS, &mut rng);
    let end = Instant::now() + duration(short);
    let mut faults = 0;
    loop {
        // Some work must be done between two faults, however slow the machine.
        let before = workload.answered();
        let worked = eventually(LIMIT, || (workload.answered() >= before + 100).then_some(()));
        assert!(worked.is_some(), "{seed}: nothing is answered any more after {faults} faults");
        if Instant::now() >= end && faults > 0 {
            break;
        }
        fault(&mut cluster, &mut rng);
        cluster.assert_all_run();
        faults += 1;
    }
    cluster.wait_whole();
    let answered = workload.finish(&seed);
    assert!(answered > 100 * faults, "{seed}: only {answered} answers: nothing was proved");
    converged(&mut cluster, &seed);
    eprintln!("{seed}: {faults} faults");
}

/// All servers hold the same keys, each by its own word.
#[track_caller]
pub fn converged(cluster: &mut Cluster, seed: &str) {
    let found = eventually(LIMIT, || {
        let texts: Option<Vec<String>> = cluster
            .servers()
            .map(|at| Some(cluster.members[at].get("/v1/kv/lin?recurse&stale")?.text()))
            .collect();
        texts.filter(|texts| texts.windows(2).all(|pair| pair[0] == pair[1]))
    });
    assert!(found.is_some(), "{seed}: the servers do not hold the same keys");
}
