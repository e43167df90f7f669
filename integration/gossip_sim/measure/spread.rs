//! How long it takes until all know: a message, a join, a death; and what it costs.

use std::time::Duration;

use tribune::gossip::config::SwimConfig;
use tribune::gossip::wire::Crypto;

use super::{cpu, pool, quiet};
use crate::world::bare::{Bare, formed};
use crate::world::{Conditions, Note, World, addr};

/// Longest message, join or death that is waited for.
const LIMIT: Duration = Duration::from_secs(180);

/// When how many knew.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    pub first: Duration,
    pub half: Duration,
    /// 99 of 100.
    pub most: Duration,
    pub all: Duration,
}

impl Known {
    /// From when each came to know.
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let nth = |at: usize| times.get(at.min(times.len().saturating_sub(1))).copied().unwrap_or_default();
        Self {
            first: nth(0),
            half: nth(times.len() / 2),
            most: nth(times.len() * 99 / 100),
            all: nth(times.len()),
        }
    }
}

/// What something cost, less what would have been anyway.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub packets: u64,
    pub bytes: u64,
    pub received: u64,
    /// Of the whole simulation, its network included.
    pub cpu: Duration,
}

/// Waits until as many as `expected` have noted this, and says when.
fn wait(world: &mut World<Bare>, expected: usize, is_it: impl Fn(&Note) -> bool) -> Vec<Duration> {
    let start = world.now();
    let mut times = Vec::new();
    // Whoever missed it by chance hears of it in a full exchange, later than the limit perhaps.
    let _ = world.run_until(LIMIT, Duration::from_millis(20), |world| {
        let notes = std::mem::take(&mut world.notes);
        times.extend(
            notes.iter().filter(|noted| is_it(&noted.note)).map(|noted| noted.at.saturating_sub(start)),
        );
        times.len() >= expected
    });
    times
}

/// What the pool costs for so long when nothing happens.
fn idle(world: &mut World<Bare>, time: Duration) -> Cost {
    let (before, cpu) = (world.traffic, cpu::spent());
    world.run(time);
    let after = world.traffic;
    Cost {
        packets: after.packets - before.packets,
        bytes: after.bytes - before.bytes,
        received: after.received - before.received,
        cpu: cpu::spent().saturating_sub(cpu),
    }
}

/// A message of so many bytes from the first member to all.
pub fn message(world: &mut World<Bare>, number: u32, size: usize) -> (Known, Cost) {
    let (before, cpu, start) = (world.traffic, cpu::spent(), world.now());
    let nodes = world.nodes.len();
    world.notes.clear();
    world.act(0, |host, _, _| host.cry(number, size));
    let times = wait(world, nodes, |note| *note == Note::Heard(number as usize));
    quiet(world);
    let (after, time) = (world.traffic, world.now().saturating_sub(start));
    let mut cost = Cost {
        packets: after.packets - before.packets,
        bytes: after.bytes - before.bytes,
        received: after.received - before.received,
        cpu: cpu::spent().saturating_sub(cpu),
    };
    let idle = idle(world, time);
    cost.packets = cost.packets.saturating_sub(idle.packets);
    cost.bytes = cost.bytes.saturating_sub(idle.bytes);
    cost.received = cost.received.saturating_sub(idle.received);
    cost.cpu = cost.cpu.saturating_sub(idle.cpu);
    (Known::of(times), cost)
}

/// What a member costs per second when nothing happens: packets, bytes, processor time.
pub fn idle_rate(world: &mut World<Bare>, seconds: u32) -> (f64, f64, Duration) {
    let nodes = u32::try_from(world.nodes.len()).expect("worlds are not that large");
    let cost = idle(world, Duration::from_secs(u64::from(seconds)));
    let each = |number: u64| precise(number) / f64::from(nodes * seconds);
    (each(cost.packets), each(cost.bytes), cost.cpu / (nodes * seconds))
}

/// A new member joins: when the others know.
pub fn join(world: &mut World<Bare>, config: &SwimConfig) -> Known {
    let node = world.add_place();
    world.notes.clear();
    let alone = formed(0);
    world.start(node, |seed, now| Bare::new(node, config, Crypto::plain(), &alone, seed, now));
    world.act(node, |host, now, out| host.join(now, addr(0), out));
    Known::of(wait(world, node, |note| *note == Note::Joined(node)))
}

/// A member dies: when the others know.
pub fn death(world: &mut World<Bare>, node: usize) -> Known {
    world.notes.clear();
    world.stop(node);
    let others = world.up().count();
    Known::of(wait(world, others, |note| *note == Note::Failed(node)))
}

/// A number of packets or bytes, to divide.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub fn precise(number: u64) -> f64 {
    number as f64
}

/// Medians over several worlds of the times a message, a join and a death take.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    pub nodes: usize,
    pub message: Duration,
    pub join: Duration,
    /// The first and the last to know.
    pub found: Duration,
    pub death: Duration,
}

/// Measures a pool of so many members.
pub fn growth(nodes: usize, seeds: impl Iterator<Item = u64>, config: &SwimConfig) -> Growth {
    let (mut messages, mut joins, mut found, mut deaths) = (vec![], vec![], vec![], vec![]);
    for seed in seeds {
        let mut world = pool(nodes, seed, config, Conditions::room());
        messages.push(message(&mut world, 1, 100).0.all);
        joins.push(join(&mut world, config).all);
        quiet(&mut world);
        let death = death(&mut world, nodes / 2);
        found.push(death.first);
        deaths.push(death.all);
    }
    let [message, join, found, death] = [messages, joins, found, deaths].map(super::median);
    Growth { nodes, message, join, found, death }
}
