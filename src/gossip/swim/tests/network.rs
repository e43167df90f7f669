//! A few members on a network in memory and virtual time: real bytes, no sockets.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::RngExt;

use super::*;
use crate::gossip::effect::{CommandError, ExchangeError, ExchangeId, StreamId};
use crate::gossip::wire::{Keyring, StreamMessage};

/// What is on its way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Travelling {
    Packet { to: SocketAddr, bytes: Vec<u8> },
    Request { to: SocketAddr, bytes: Vec<u8>, exchange: ExchangeId },
    Answer { exchange: ExchangeId, bytes: Option<Vec<u8>> },
}

struct Host {
    swim: Swim,
    log: Log,
    addr: SocketAddr,
    up: bool,
    /// Members on different sides do not hear each other.
    side: u8,
    joins: Vec<Result<(), CommandError>>,
}

struct Network {
    hosts: Vec<Host>,
    now: Moment,
    rng: ChaCha12Rng,
    /// When, in which order, for or from which host.
    travelling: BinaryHeap<Reverse<(Moment, u64, usize, Travelling)>>,
    sent: u64,
    loss: f64,
    seed: u64,
}

impl Network {
    fn new(hosts: u16, seed: u64, config: &SwimConfig) -> Self {
        let mut network = Self {
            hosts: Vec::new(),
            now: Moment(0),
            rng: ChaCha12Rng::seed_from_u64(seed),
            travelling: BinaryHeap::new(),
            sent: 0,
            loss: 0.0,
            seed,
        };
        for number in 1..=hosts {
            network.start(&format!("n{number}"), number, config);
        }
        network
    }

    /// A pool in which everybody knows everybody.
    fn pool(hosts: u16, seed: u64) -> Self {
        let mut network = Self::new(hosts, seed, &SwimConfig::lan());
        for number in 1..hosts {
            network.join(usize::from(number), addr(1));
        }
        network.run(20);
        network.assert_agreed();
        network.forget();
        network
    }

    fn start(&mut self, name: &str, number: u16, config: &SwimConfig) -> usize {
        let setup = setup(name, number, self.seed * 1_000 + self.hosts.len() as u64, config.clone());
        let swim = Swim::new(setup, self.now).unwrap();
        let (log, joins) = Default::default();
        self.hosts.push(Host { swim, log, addr: addr(number), up: true, side: 0, joins });
        self.hosts.len() - 1
    }

    fn forget(&mut self) {
        self.hosts.iter_mut().for_each(|host| host.log.lines.clear());
    }

    fn join(&mut self, host: usize, to: SocketAddr) {
        self.act(host, |host, now, out| host.swim.join(now, JoinKind(0), to, &mut host.log, out));
    }

    /// Lets a host do something, and puts what it sends on its way.
    fn act(&mut self, at: usize, f: impl FnOnce(&mut Host, Moment, &mut Outputs)) {
        let mut out = Outputs::default();
        f(&mut self.hosts[at], self.now, &mut out);
        for (to, bytes) in out.packets.iter() {
            if !self.rng.random_bool(self.loss) {
                self.send(at, Travelling::Packet { to, bytes: bytes.to_vec() });
            }
        }
        for exchange in out.exchanges {
            let request =
                Travelling::Request { to: exchange.to, bytes: exchange.request, exchange: exchange.id };
            self.send(at, request);
        }
    }

    fn send(&mut self, from: usize, what: Travelling) {
        let delay = Duration::from_micros(self.rng.random_range(200..20_000));
        self.sent += 1;
        self.travelling.push(Reverse((self.now + delay, self.sent, from, what)));
    }

    /// Who receives at this address what this host sends.
    fn reached(&self, from: usize, to: SocketAddr) -> Option<usize> {
        let side = self.hosts[from].side;
        self.hosts.iter().rposition(|host| host.addr == to && host.up && host.side == side)
    }

    fn arrive(&mut self, from: usize, what: Travelling) {
        let source = self.hosts[from].addr;
        match what {
            Travelling::Packet { to, mut bytes } => {
                if let Some(at) = self.reached(from, to) {
                    self.act(at, |host, now, out| {
                        host.swim.packet(now, source, &mut bytes, &mut host.log, out);
                    });
                }
            }
            Travelling::Request { to, bytes, exchange } => {
                let mut answer = None;
                if let Some(at) = self.reached(from, to) {
                    // What cannot be read is closed without a word.
                    if let Ok(Some(message)) = self.hosts[at].swim.stream_reader().push(&bytes) {
                        self.act(at, |host, now, out| {
                            host.swim.request(now, StreamId(0), source, message, &mut host.log, out);
                            answer = out.replies.pop().map(|reply| reply.bytes);
                        });
                    }
                }
                self.send(from, Travelling::Answer { exchange, bytes: answer });
            }
            Travelling::Answer { exchange, bytes } => {
                let mut reader = self.hosts[from].swim.stream_reader();
                let mut read = |bytes: Vec<u8>| -> StreamMessage { reader.push(&bytes).unwrap().unwrap() };
                let result =
                    bytes.map(&mut read).ok_or_else(|| ExchangeError::Io("connection refused".to_owned()));
                self.act(from, |host, now, out| {
                    let ended = host.swim.answer(now, exchange, result, &mut host.log, out);
                    host.joins.extend(ended.map(|(_, result)| result));
                });
            }
        }
    }

    fn run(&mut self, seconds: u64) {
        self.run_until(seconds, |_| false);
    }

    /// Runs until something is the case, at most so long; gives the seconds it took.
    fn run_until(&mut self, seconds: u64, done: impl Fn(&Self) -> bool) -> f64 {
        let start = self.now;
        let end = start + Duration::from_secs(seconds);
        while !done(self) {
            let deadlines = self.hosts.iter().enumerate().filter(|(_, host)| host.up);
            let tick = deadlines.map(|(at, host)| (host.swim.deadline(&host.log), at)).min();
            let (tick, host) = tick.unwrap_or((Moment::NEVER, 0));
            let arrival = self.travelling.peek().map_or(Moment::NEVER, |Reverse((at, ..))| *at);
            let next = tick.min(arrival);
            if next > end {
                self.now = end;
                break;
            }
            self.now = self.now.max(next);
            if arrival <= tick {
                if let Some(Reverse((_, _, from, what))) = self.travelling.pop()
                    && self.hosts[from].up
                {
                    self.arrive(from, what);
                }
            } else {
                self.act(host, |host, now, out| host.swim.tick(now, &mut host.log, out));
            }
        }
        self.now.since(start).as_secs_f64()
    }

    /// How everybody who is up sees this member.
    fn views(&self, name: &str) -> Vec<Option<NodeState>> {
        let up = self.hosts.iter().filter(|host| host.up);
        up.map(|host| host.swim.table().get(name.as_bytes()).map(|entry| entry.state)).collect()
    }

    fn all_see(&self, name: &str, state: NodeState) -> bool {
        self.views(name).iter().all(|view| *view == Some(state))
    }

    /// Everybody who is up holds everybody who is up to be alive, and nobody else.
    fn agreed(&self) -> bool {
        let up = self.hosts.iter().filter(|host| host.up).count();
        self.hosts.iter().filter(|host| host.up).all(|host| {
            host.swim.table().count(NodeState::Alive) == up && self.all_see(&name_of(host), NodeState::Alive)
        })
    }

    fn assert_agreed(&self) {
        let counts: Vec<_> =
            self.hosts.iter().map(|host| host.swim.table().count(NodeState::Alive)).collect();
        assert!(self.agreed(), "seed {}: {counts:?}", self.seed);
    }

    fn lines(&self, host: usize, about: &str) -> Vec<&str> {
        let lines = self.hosts[host].log.lines.iter().map(String::as_str);
        lines.filter(|line| line.split(' ').nth(1) == Some(about) && !line.starts_with("acked")).collect()
    }
}

fn name_of(host: &Host) -> String {
    host.swim.local().node.name.to_string()
}

#[test]
fn a_join_makes_everybody_known_to_everybody() {
    for seed in 0..5 {
        let mut network = Network::new(8, seed, &SwimConfig::lan());
        for host in 1..8 {
            network.join(host, addr(1));
        }
        let seconds = network.run_until(30, Network::agreed);
        assert!(seconds < 5.0, "seed {seed}: {seconds}");
        assert!(network.hosts[1..].iter().all(|host| host.joins == [Ok(())]), "seed {seed}");
        assert_eq!(network.lines(0, "n8"), ["joined n8 127.0.0.1:8"], "seed {seed}");
        network.run(60);
        network.assert_agreed();
        assert!(network.hosts.iter().all(|host| host.swim.stats().suspicions == 0), "seed {seed}");
    }
}

#[test]
fn a_join_to_nobody_fails() {
    let mut network = Network::new(1, 1, &SwimConfig::lan());
    network.join(0, addr(77));
    network.run(1);
    let error = ExchangeError::Io("connection refused".to_owned());
    assert_eq!(network.hosts[0].joins, [Err(CommandError::Exchange(error))]);
}

#[test]
fn a_crash_is_found_and_told_once() {
    for seed in 0..5 {
        let mut network = Network::pool(8, seed);
        network.hosts[2].up = false;
        let seconds = network.run_until(60, |network| network.all_see("n3", NodeState::Dead));
        assert!((4.0..25.0).contains(&seconds), "seed {seed}: {seconds}");
        network.run(20);
        for host in [0, 1, 3, 4, 5, 6, 7] {
            assert_eq!(network.lines(host, "n3"), ["left n3 Dead"], "seed {seed}");
        }
        // Long after, it is forgotten, unless somebody was just told anew.
        network.run(120);
        assert!(network.views("n3").iter().all(Option::is_none), "seed {seed}: {:?}", network.views("n3"));
    }
}

#[test]
fn a_goodbye_is_heard_as_one() {
    for seed in 0..5 {
        let mut network = Network::pool(8, seed);
        network.act(4, |host, now, out| host.swim.leave(now, Duration::from_secs(5), &mut host.log, out));
        let seconds = network.run_until(10, |network| network.hosts[4].swim.left());
        assert!(seconds < 5.0, "seed {seed}: {seconds}");
        network.run(3);
        network.hosts[4].up = false;
        network.run(20);
        for host in [0, 1, 2, 3, 5, 6, 7] {
            assert_eq!(network.lines(host, "n5"), ["left n5 Left"], "seed {seed}");
            assert_eq!(network.hosts[host].swim.stats().suspicions, 0, "seed {seed}");
        }
    }
}

#[test]
fn a_wrong_accusation_is_refuted_everywhere() {
    for seed in 0..5 {
        // Large enough that no news misses anybody.
        let mut network = Network::pool(12, seed);
        let mut packet = Vec::new();
        let incarnation = network.hosts[3].swim.local().incarnation;
        suspect("n4", incarnation, "n2").encode(&mut packet);
        network.act(0, |host, now, out| host.swim.packet(now, addr(2), &mut packet, &mut host.log, out));
        network.run(15);
        network.assert_agreed();
        let incarnations = network.hosts.iter().map(|host| host.swim.table().get(b"n4").unwrap().incarnation);
        assert!(incarnations.into_iter().all(|now| now == incarnation + 1), "seed {seed}");
        assert_eq!(network.hosts[3].swim.stats().refutes, 1, "seed {seed}");
        assert!(network.hosts.iter().all(|host| host.log.lines.iter().all(|line| !line.starts_with("left"))));
    }
}

#[test]
fn a_partition_heals() {
    for seed in 0..5 {
        let mut network = Network::pool(8, seed);
        network.hosts[..3].iter_mut().for_each(|host| host.side = 1);
        network.run(30);
        for host in &network.hosts {
            let alive = if host.side == 1 { 3 } else { 5 };
            assert_eq!(host.swim.table().count(NodeState::Alive), alive, "seed {seed}");
        }
        network.hosts.iter_mut().for_each(|host| host.side = 0);
        // The dead are still told for a while, and object; a reconnect of the layer above does it later.
        network.join(0, addr(8));
        network.run(30);
        network.assert_agreed();
    }
}

#[test]
fn a_restart_at_the_same_address_takes_its_place_again() {
    let mut network = Network::pool(5, 3);
    network.hosts[1].up = false;
    network.run(2);
    let again = network.start("n2", 2, &SwimConfig::lan());
    network.join(again, addr(1));
    network.run(30);
    network.assert_agreed();
    assert!(network.hosts[again].swim.local().incarnation > 1, "it had to object to its own past");
}

#[test]
fn a_name_at_two_addresses_is_a_conflict_until_it_may_be_reclaimed() {
    let consul = SwimConfig { dead_node_reclaim: Duration::from_secs(10), ..SwimConfig::lan() };
    let mut network = Network::new(5, 4, &consul);
    for host in 1..5 {
        network.join(host, addr(1));
    }
    network.run(20);
    network.forget();
    let thief = network.start("n2", 22, &consul);
    network.join(thief, addr(1));
    network.run(3);
    assert_eq!(network.lines(0, "n2")[0], "conflict n2 127.0.0.1:2 127.0.0.1:22");
    assert_eq!(network.hosts[2].swim.table().get(b"n2").unwrap().node.addr, addr(2));
    // Once the first one is dead for long enough, the second may have the name.
    network.hosts[1].up = false;
    network.hosts[thief].up = false;
    network.run(40);
    let heir = network.start("n2", 22, &consul);
    network.join(heir, addr(1));
    network.run(20);
    network.assert_agreed();
    assert_eq!(network.hosts[2].swim.table().get(b"n2").unwrap().node.addr, addr(22));
}

#[test]
fn lost_packets_bury_nobody() {
    for seed in 0..3 {
        let mut network = Network::pool(10, seed);
        network.loss = 0.15;
        network.run(300);
        let buried: u64 = network.hosts.iter().map(|host| host.swim.stats().deaths).sum();
        assert_eq!(buried, 0, "seed {seed}");
    }
}

#[test]
fn news_of_the_layer_above_reaches_all() {
    let mut network = Network::pool(10, 6);
    network.hosts[3].log.queue.push(None, Bytes::from_static(b"hello"));
    network.run(5);
    for (at, host) in network.hosts.iter().enumerate().filter(|(at, _)| *at != 3) {
        assert!(host.log.lines.contains(&"user hello".to_owned()), "{at}: {:?}", host.log.lines);
    }
}

#[test]
fn the_same_seed_lives_the_same_life() {
    let life = |seed| {
        let mut network = Network::pool(6, seed);
        network.loss = 0.05;
        network.hosts[2].up = false;
        network.run(60);
        let logs: Vec<_> = network.hosts.iter().map(|host| host.log.lines.clone()).collect();
        let stats: Vec<_> = network.hosts.iter().map(|host| *host.swim.stats()).collect();
        (network.sent, logs, stats)
    };
    assert_eq!(life(1), life(1));
    assert_ne!(life(1).0, life(2).0);
}

#[test]
fn known_members_can_be_preloaded() {
    let mut network = Network::pool(6, 1);
    let table = network.hosts[0].swim.table().clone();
    let new = network.start("new", 50, &SwimConfig::lan());
    network.act(new, |host, now, out| host.swim.preload(now, &table, &mut host.log, out));
    assert_eq!(network.hosts[new].swim.table().len(), 7);
    assert_eq!(network.lines(new, "n3"), ["joined n3 127.0.0.1:3"]);
    network.run(10);
    network.assert_agreed();
}

#[test]
fn a_pool_with_keys_and_compression_works_and_strangers_are_not_heard() {
    let config = SwimConfig { compression: true, ..SwimConfig::lan() };
    let mut network = Network::new(6, 2, &config);
    let keyring = Keyring::of([[7; 16]]).unwrap();
    for host in &mut network.hosts[..5] {
        host.swim.set_crypto(Crypto::new(keyring.clone(), true, true));
    }
    for host in 1..6 {
        network.join(host, addr(1));
    }
    network.run(20);
    assert!(network.hosts[..5].iter().all(|host| host.swim.table().count(NodeState::Alive) == 5));
    assert!(network.hosts[5].joins[0].is_err());
    assert!(network.hosts[..5].iter().all(|host| host.swim.stats().undecryptable == 0));
    let mut packet = Vec::new();
    alive("stranger", 9, 1).encode(&mut packet);
    network.act(0, |host, now, out| host.swim.packet(now, addr(9), &mut packet, &mut host.log, out));
    assert_eq!(network.hosts[0].swim.stats().undecryptable, 1);
    assert_eq!(network.views("stranger"), vec![None; 6]);
}
