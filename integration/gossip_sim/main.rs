//! Deterministic simulation of gossip pools: hundreds to thousands of members in one thread on a network of
//! our own making.
//!
//! `world` is the world: the heap of what happens, clocks, network, hosts. `cluster` runs whole stacks in it and
//! knows what should be true, `faults` makes things go wrong, `invariants` has one property per file with the worlds it
//! is looked for in. `measure` has the figures: Lifeguard against plain SWIM, growth with the size of the pool, fan-out.
//!
//! A failure names its seed and how to replay it. Environment:
//!
//! | Variable | Effect |
//! |---|---|
//! | `TRIBUNE_SIM_SEED=<n>` | only this seed |
//! | `TRIBUNE_SIM_TRACE=1` | prints every step; best with one seed and one test |
//! | `TRIBUNE_SIM_SEEDS=<factor>` | so many times as many seeds |
//! | `TRIBUNE_SIM_PLOTS=<dir>` | the tests named `plot_…` print their tables (with `--nocapture`) and write plots into the directory; an hour |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of it is test code")]
#![allow(dead_code, reason = "the world is shared with the bench, and neither uses all of it")]

mod cluster;
mod faults;
mod figures;
mod invariants;
mod measure;
mod plot;
mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use tribune::gossip::Moment;

use cluster::Cluster;
use faults::Faults;
use invariants::incarnations::Incarnations;
use world::{Clock, Conditions, Host, Trace, World};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// The number all of a world follows from.
#[derive(Debug, Clone)]
pub(crate) struct Seed {
    number: u64,
    excused: Rc<Cell<u32>>,
}

impl Seed {
    fn new(number: u64) -> Self {
        Self { number, excused: Rc::default() }
    }

    /// Something rare but allowed happened; who explores counts.
    fn excuse(&self) {
        self.excused.set(self.excused.get() + 1);
    }
}

/// What is looked at in every world: incarnations. And the trace, if somebody wants to read it.
pub(crate) fn watch<H: Host>(world: &mut World<H>) {
    world.watcher = Some(Box::new(Incarnations::default()));
    if number("TRIBUNE_SIM_TRACE").is_some() {
        world.trace = Some(Trace::new(true));
    }
}

/// Lives many worlds; the seed that fails is named. Says what share of them was excused for something.
pub(crate) fn explore(test: &str, default_seeds: u64, live: impl Fn(&Seed)) -> f64 {
    let seeds = match number("TRIBUNE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + default_seeds * number("TRIBUNE_SIM_SEEDS").unwrap_or(1),
    };
    let (mut lived, mut excused) = (0, 0);
    for number in seeds {
        let seed = Seed::new(number);
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| live(&seed))) {
            eprintln!("replay: TRIBUNE_SIM_SEED={number} cargo test --release --test gossip_sim -- {test}");
            std::panic::resume_unwind(cause);
        }
        lived += 1;
        excused += seed.excused.get();
    }
    f64::from(excused) / f64::from(lived)
}

/// The first seed that fails, and why: for worlds that are broken on purpose.
pub(crate) fn failure(seeds: u64, live: impl Fn(&Seed)) -> Option<(u64, String)> {
    (1..=seeds).find_map(|number| {
        let cause = catch_unwind(AssertUnwindSafe(|| live(&Seed::new(number)))).err()?;
        let text = cause.downcast_ref::<String>().cloned();
        Some((number, text.unwrap_or_else(|| "no text".to_owned())))
    })
}

#[test]
fn a_seed_decides_everything() {
    let live = |seed: u64| {
        let mut cluster = Cluster::new(seed, Conditions::town());
        cluster.world.trace = Some(Trace::new(false));
        cluster.form(6);
        Faults::all(Duration::from_secs(60)).happen(&mut cluster);
        cluster.run(Duration::from_secs(30));
        (cluster.world.trace.as_ref().map(Trace::hash), cluster.world.traffic)
    };
    for seed in [1, 2, 3] {
        assert_eq!(live(seed), live(seed), "seed {seed}");
    }
    assert_ne!(live(1), live(2));
}

#[test]
fn a_deadline_is_reached_exactly_when_the_clock_says() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    for _ in 0..1_000 {
        let clock = Clock::by_chance(&mut rng);
        let due = Moment(clock.shows(0).0 + rng.random_range(0..1 << 45));
        let when = clock.when(due);
        assert!(clock.shows(when) >= due);
        assert!(when == 0 || clock.shows(when - 1) < due);
    }
    assert_eq!(Clock::exact().when(Moment::NEVER), u64::MAX);
}
