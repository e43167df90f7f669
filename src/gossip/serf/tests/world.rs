//! Pools on a network in memory and in virtual time. Everything that passes between them is bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::{SocketAddr, address, config};
use crate::gossip::effect::{
    Admission, Command, CommandError, Done, Event, Everybody, ExchangeError, ExchangeId, Input, Outputs,
    StreamId, Ticket,
};
use crate::gossip::serf::{Pool, Status};
use crate::gossip::wire::{StreamMessage, StreamReader};
use crate::gossip::{Moment, PoolConfig};

pub(super) struct Host {
    pub(super) pool: Pool,
    pub(super) events: Vec<Event>,
    pub(super) done: BTreeMap<Ticket, Result<Done, CommandError>>,
    pub(super) file: Vec<u8>,
}

enum Delivery {
    Packet { from: SocketAddr, bytes: Vec<u8> },
    Request { from: SocketAddr, exchange: ExchangeId, bytes: Vec<u8> },
    Answer { exchange: ExchangeId, result: Result<StreamMessage, ExchangeError> },
}

pub(super) struct World {
    pub(super) now: Moment,
    pub(super) hosts: BTreeMap<SocketAddr, Host>,
    queue: BTreeMap<(Moment, u64), (SocketAddr, Delivery)>,
    /// Datagrams from the first to the second are lost.
    pub(super) cut: Vec<(SocketAddr, SocketAddr)>,
    seq: u64,
    rng: ChaCha12Rng,
    out: Outputs,
}

/// Reads one message, its bytes in pieces.
fn read(
    mut reader: StreamReader,
    bytes: &[u8],
    rng: &mut ChaCha12Rng,
) -> Result<StreamMessage, (ExchangeError, Option<Vec<u8>>)> {
    for piece in bytes.chunks(97) {
        match reader.push(piece) {
            Ok(Some(message)) => return Ok(message),
            Ok(None) => {}
            Err(error) => {
                let refusal = reader.refusal(&error, rng);
                return Err((error.into(), refusal));
            }
        }
    }
    Err((ExchangeError::Io("EOF".to_owned()), None))
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: Moment(0),
            hosts: BTreeMap::new(),
            queue: BTreeMap::new(),
            cut: Vec::new(),
            seq: 0,
            rng: ChaCha12Rng::seed_from_u64(4),
            out: Outputs::default(),
        }
    }

    /// `count` members that have joined the first one.
    pub(super) fn pool(count: u8) -> Self {
        Self::pool_of(count, |_| {})
    }

    pub(super) fn pool_of(count: u8, change: impl Fn(&mut PoolConfig)) -> Self {
        let mut world = Self::new();
        for n in 0..count {
            let mut config = config(n);
            change(&mut config);
            world.start(config);
        }
        for n in 1..count {
            assert_eq!(world.join(n, 0), Ok(Done::Joined));
        }
        // News reach nearly all by gossip, and all by the next full exchange.
        let all = |world: &Self| (0..count).all(|n| world.sees(n, Status::Alive) == usize::from(count));
        assert!(world.run_until(120, all));
        world.run(5);
        world
    }

    pub(super) fn start(&mut self, config: PoolConfig) {
        self.start_with(config, Box::new(Everybody));
    }

    pub(super) fn start_with(&mut self, config: PoolConfig, admission: Box<dyn Admission>) {
        let at = config.advertise;
        let file = config.snapshot.clone().unwrap_or_default();
        let pool = Pool::new(config, admission, self.now).unwrap();
        self.hosts.insert(at, Host { pool, events: Vec::new(), done: BTreeMap::new(), file });
    }

    /// Stops a member without a word; its file stays behind.
    pub(super) fn crash(&mut self, n: u8) -> Vec<u8> {
        self.hosts.remove(&address(n)).unwrap().file
    }

    pub(super) fn host(&self, n: u8) -> &Host {
        &self.hosts[&address(n)]
    }

    /// How many members the n-th one sees in this status.
    pub(super) fn sees(&self, n: u8, status: Status) -> usize {
        self.host(n).pool.members().filter(|member| member.status == status).count()
    }

    /// How the n-th member sees the other one.
    pub(super) fn status(&self, n: u8, other: u8) -> Option<Status> {
        self.host(n).pool.member(&format!("n{other}")).map(|member| member.status)
    }

    /// What happened at the n-th member since this was asked last.
    pub(super) fn events(&mut self, n: u8) -> Vec<Event> {
        std::mem::take(&mut self.hosts.get_mut(&address(n)).unwrap().events)
    }

    pub(super) fn forget_events(&mut self) {
        for host in self.hosts.values_mut() {
            host.events.clear();
        }
    }

    /// Gives a command; its outcome is awaited elsewhere.
    pub(super) fn command(&mut self, n: u8, command: Command) -> Ticket {
        self.seq += 1;
        let ticket = Ticket(self.seq);
        self.step(address(n), Input::Command(ticket, command));
        ticket
    }

    pub(super) fn outcome(&self, n: u8, ticket: Ticket) -> Option<Result<Done, CommandError>> {
        self.host(n).done.get(&ticket).cloned()
    }

    /// Gives a command and waits up to 30 s for its outcome.
    pub(super) fn ask(&mut self, n: u8, command: Command) -> Result<Done, CommandError> {
        let ticket = self.command(n, command);
        assert!(self.run_until(30, |world| world.outcome(n, ticket).is_some()), "the command did not end");
        self.outcome(n, ticket).unwrap()
    }

    pub(super) fn join(&mut self, n: u8, to: u8) -> Result<Done, CommandError> {
        self.ask(n, Command::Join { address: address(to) })
    }

    fn step(&mut self, at: SocketAddr, input: Input<'_>) {
        let Some(host) = self.hosts.get_mut(&at) else { return };
        host.pool.step(self.now, input, &mut self.out);
        self.carry_out(at, None);
    }

    /// Carries out what a step asked for. `request`: whose request it answered.
    fn carry_out(&mut self, at: SocketAddr, request: Option<(SocketAddr, ExchangeId)>) {
        let mut out = std::mem::take(&mut self.out);
        let mut sent = Vec::new();
        for (to, bytes) in out.packets.iter() {
            assert!(bytes.len() <= 1_400, "a packet of {} bytes", bytes.len());
            if !self.cut.contains(&(at, to)) {
                sent.push((to, Delivery::Packet { from: at, bytes: bytes.to_vec() }));
            }
        }
        for exchange in out.exchanges.drain(..) {
            let (to, id) = (exchange.to, exchange.id);
            if self.hosts.contains_key(&to) && !self.cut.contains(&(at, to)) {
                sent.push((to, Delivery::Request { from: at, exchange: id, bytes: exchange.request }));
            } else {
                let refused = Err(ExchangeError::Io("connection refused".to_owned()));
                sent.push((at, Delivery::Answer { exchange: id, result: refused }));
            }
        }
        if let Some((from, exchange)) = request {
            let reply = out.replies.drain(..).next().map(|reply| reply.bytes);
            sent.push((from, self.answer(from, exchange, reply.as_deref())));
        }
        assert!(out.replies.is_empty(), "a reply to nobody");
        for (to, delivery) in sent {
            self.send(to, delivery);
        }
        if let Some(host) = self.hosts.get_mut(&at) {
            host.events.append(&mut out.events);
            if out.snapshot_anew {
                host.file.clear();
            }
            host.file.append(&mut out.snapshot);
            for (ticket, outcome) in out.done.drain(..) {
                assert!(host.done.insert(ticket, outcome).is_none(), "a command ended twice");
            }
        }
        out.clear();
        self.out = out;
    }

    /// What the one that opened a stream makes of the answer.
    fn answer(&mut self, to: SocketAddr, exchange: ExchangeId, bytes: Option<&[u8]>) -> Delivery {
        let reader = self.hosts.get(&to).map(|host| host.pool.stream_reader());
        let result = match (reader, bytes) {
            (Some(reader), Some(bytes)) => read(reader, bytes, &mut self.rng).map_err(|(error, _)| error),
            _ => Err(ExchangeError::Io("EOF".to_owned())),
        };
        Delivery::Answer { exchange, result }
    }

    fn send(&mut self, to: SocketAddr, delivery: Delivery) {
        self.seq += 1;
        let delay = Duration::from_micros(self.rng.random_range(500..3_000));
        self.queue.insert((self.now + delay, self.seq), (to, delivery));
    }

    /// Goes on to the next thing that happens, at most until `end`.
    fn advance(&mut self, end: Moment) {
        let due = self.hosts.iter().map(|(at, host)| (host.pool.deadline(), *at)).min();
        let arrival = self.queue.keys().next().map_or(Moment::NEVER, |(at, _)| *at);
        match due {
            Some((due, at)) if due < arrival && due <= end => {
                self.now = self.now.max(due);
                self.step(at, Input::Tick);
                let again =
                    |world: &Self| world.hosts.get(&at).is_some_and(|host| host.pool.deadline() <= world.now);
                if again(self) {
                    // A probe that ends may make a suspicion due that was not.
                    self.step(at, Input::Tick);
                    assert!(!again(self), "a deadline that does not move");
                }
            }
            _ if arrival <= end => {
                let Some((_, (to, delivery))) = self.queue.pop_first() else { return };
                self.now = self.now.max(arrival);
                self.deliver(to, delivery);
            }
            _ => self.now = end,
        }
    }

    fn deliver(&mut self, to: SocketAddr, delivery: Delivery) {
        match delivery {
            Delivery::Packet { from, mut bytes } => self.step(to, Input::Packet { from, data: &mut bytes }),
            Delivery::Answer { exchange, result } => self.step(to, Input::Answer { exchange, result }),
            Delivery::Request { from, exchange, bytes } => {
                let Some(host) = self.hosts.get_mut(&to) else {
                    let refused = Err(ExchangeError::Io("connection refused".to_owned()));
                    return self.send(from, Delivery::Answer { exchange, result: refused });
                };
                match read(host.pool.stream_reader(), &bytes, &mut self.rng) {
                    Ok(message) => {
                        let input = Input::Request { stream: StreamId(1), from, message };
                        host.pool.step(self.now, input, &mut self.out);
                        self.carry_out(to, Some((from, exchange)));
                    }
                    Err((_, refusal)) => {
                        let answer = self.answer(from, exchange, refusal.as_deref());
                        self.send(from, answer);
                    }
                }
            }
        }
    }

    /// Lets so many seconds pass.
    pub(super) fn run(&mut self, seconds: u64) {
        self.run_until(seconds, |_| false);
    }

    /// Lets time pass until something holds, at most so many seconds. Returns whether it does.
    pub(super) fn run_until(&mut self, seconds: u64, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + Duration::from_secs(seconds);
        while !holds(self) {
            if self.now >= end {
                return false;
            }
            self.advance(end);
        }
        true
    }
}
