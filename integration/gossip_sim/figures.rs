//! The figures of `measure` as properties, and in their long form as tables and plots.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use tribune::gossip::config::SwimConfig;

use crate::measure::lifeguard::{Count, Interval, Parts, grid};
use crate::measure::spread::{Growth, growth, precise};
use crate::plot::{Plot, Series};
use crate::world::Slowness;

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// `a * log10(n) + b` seconds.
fn within(nodes: usize, a: f64, b: f64) -> f64 {
    let nodes = u32::try_from(nodes).expect("worlds are not that large");
    a * f64::from(nodes).log10() + b
}

#[test]
fn news_and_deaths_grow_with_the_logarithm_of_the_pool() {
    for nodes in [16, 64, 256, 1_000] {
        let Growth { message, join, found, death, .. } = growth(nodes, 1..=3, &SwimConfig::lan());
        // A gossip tick every 200 ms; three members told in each.
        for (what, time) in [("a message", message), ("a join", join)] {
            let most = within(nodes, 0.6, 0.6);
            assert!(seconds(time) <= most, "{what} took {time:?} in a pool of {nodes}, not {most} s");
        }
        // A few probes until the first is due, and the shortest suspicion: 4 s * log10(n).
        let most = within(nodes, 6.0, 6.0);
        assert!(
            seconds(found) <= most && seconds(death) <= most,
            "a death took {found:?} to {death:?} of {nodes}"
        );
        assert!(found >= Duration::from_secs(4), "too quick to be true: {found:?}");
    }
}

/// Sums experiments up.
fn sum(experiments: impl Iterator<Item = Interval>, seeds: u64, config: &SwimConfig) -> Count {
    let mut total = Count::default();
    for (experiment, number) in experiments.zip(0..) {
        for seed in 0..seeds {
            total += experiment.run(1 + number * 100 + seed, config);
        }
    }
    total
}

#[test]
fn lifeguard_spares_the_healthy() {
    let count = |parts: Parts| {
        sum(grid(100, &[4, 10], Slowness::Mute, &[8_000, 16_000], &[64, 1_000]), 1, &parts.config(4))
    };
    let (swim, lifeguard) = (count(Parts::None), count(Parts::Ours));
    assert!(swim.fp > 100, "the experiment must hurt plain SWIM: {swim:?}");
    assert!(
        lifeguard.fp * 20 <= swim.fp,
        "false positives with Lifeguard must be at most 5 % of those without: {lifeguard:?}, {swim:?}"
    );
}

fn percent(part: u64, of: u64) -> String {
    if of == 0 { "-".to_owned() } else { format!("{:.2} %", precise(part) / precise(of) * 100.0) }
}

/// Where plots go, if somebody wants them.
fn plots() -> Option<PathBuf> {
    std::env::var_os("TRIBUNE_SIM_PLOTS").map(PathBuf::from)
}

#[test]
fn plot_growth() {
    let Some(dir) = plots() else { return };
    let mut all = Vec::new();
    println!("| nodes | message: last | join: last | death: first | death: last |\n|---|---|---|---|---|");
    for (nodes, seeds) in [(16, 15), (64, 15), (256, 9), (1_000, 5), (10_000, 1)] {
        let growth = growth(nodes, 1..=seeds, &SwimConfig::lan());
        let [message, join, found, death] =
            [growth.message, growth.join, growth.found, growth.death].map(seconds);
        println!("| {nodes} | {message:.2} s | {join:.2} s | {found:.1} s | {death:.1} s |");
        all.push(growth);
    }
    let series = |name: &'static str, time: fn(&Growth) -> Duration| Series {
        name: name.to_owned(),
        points: all.iter().map(|growth| (precise(growth.nodes as u64), seconds(time(growth)))).collect(),
    };
    let news = Plot {
        title: "Until the last member knows",
        x: "members",
        y: "seconds",
        series: vec![series("message", |growth| growth.message), series("join", |growth| growth.join)],
    };
    let deaths = Plot {
        title: "Until a crash is known",
        x: "members",
        y: "seconds",
        series: vec![
            series("to the first", |growth| growth.found),
            series("to the last", |growth| growth.death),
        ],
    };
    std::fs::write(dir.join("gossip_spread.svg"), news.svg()).unwrap();
    std::fs::write(dir.join("gossip_deaths.svg"), deaths.svg()).unwrap();
}

const SLOW: &[usize] = &[1, 4, 8, 12];
const STOP: &[u64] = &[1_000, 2_000, 4_000, 8_000, 16_000, 32_000];
const GO: &[u64] = &[1, 64, 1_000, 4_000, 16_000];

#[test]
fn plot_lifeguard() {
    let Some(dir) = plots() else { return };
    let mut series = Vec::new();
    for suspicion_mult in [4, 5] {
        let mut text = String::new();
        let mut swim = Count::default();
        for parts in Parts::ALL {
            let config = parts.config(suspicion_mult);
            let (mut total, mut points) = (Count::default(), Vec::new());
            for (number, slow) in SLOW.iter().enumerate() {
                let one = &SLOW[number..=number];
                let count = sum(grid(128, one, Slowness::Mute, STOP, GO), 1, &config);
                points.push((precise(*slow as u64), precise(count.fp.max(1))));
                total += count;
            }
            if parts == Parts::None {
                swim = total;
            }
            writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                parts.name(),
                total.fp,
                percent(total.fp, swim.fp),
                total.fp_healthy,
                percent(total.fp_healthy, swim.fp_healthy),
                total.slow
            )
            .unwrap();
            if suspicion_mult == 4 {
                series.push(Series { name: parts.name().to_owned(), points });
            }
        }
        println!(
            "\nsuspicion_mult {suspicion_mult}\n\n| | FP | of SWIM | FP- | of SWIM | slow ones declared dead |"
        );
        println!("|---|---|---|---|---|---|\n{text}");
    }
    let plot = Plot {
        title: "Healthy members declared dead",
        x: "slow members of 128",
        y: "false positives",
        series,
    };
    std::fs::write(dir.join("gossip_lifeguard.svg"), plot.svg()).unwrap();
}

#[test]
fn plot_stopped() {
    if plots().is_none() {
        return;
    }
    println!("members stopped altogether\n\n| | FP | FP- | slow ones declared dead |\n|---|---|---|---|");
    for parts in [Parts::None, Parts::Ours] {
        let count = sum(grid(128, SLOW, Slowness::Stopped, STOP, GO), 1, &parts.config(4));
        println!("| {} | {} | {} | {} |", parts.name(), count.fp, count.fp_healthy, count.slow);
    }
}

#[test]
fn plot_detection() {
    if plots().is_none() {
        return;
    }
    println!("a crash in a healthy pool of 128\n\n| | first | last |\n|---|---|---|");
    for parts in Parts::ALL {
        let growth = growth(128, 1..=15, &parts.config(4));
        println!("| {} | {:.1} s | {:.1} s |", parts.name(), seconds(growth.found), seconds(growth.death));
    }
}
