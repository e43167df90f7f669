//! A world of virtual nodes: one thread, one clock, one seed that decides everything.
//!
//! What happens is in a heap ordered by (time, sequence). Packets and streams are real bytes: what a node
//! sends is encoded, and decoded by who gets it. Nodes have clocks of their own, which nobody sets and which
//! run at different rates; a node can be slow ([`Slowness`]), and takes in later, at once, what came meanwhile.
//!
//! Where chance could get in from outside, and how it is kept out: nodes get their seeds from the world's; maps
//! are ordered or seeded; no address of memory is compared or hashed; wall-clock time is only measured, for
//! [`World::metered`], and never decides anything.
//!
//! ```text
//!   node ─ Outputs ─▶ sabotage? ─▶ Net: cut, loss, delay, copies ─▶ heap ─▶ blocked? ─▶ node
//!                                                                            └▶ backlog, at once later
//! ```

pub mod bare;
mod clock;
pub mod host;
mod net;
mod sabotage;
mod trace;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use tribune::gossip::wire::StreamReader;
use tribune::gossip::{Exchange, ExchangeError, ExchangeId, Moment, Outputs, StreamId};

pub use clock::Clock;
pub use host::{Host, Note, addr, name};
pub use net::{Conditions, Net};
pub use sabotage::Sabotage;
pub use trace::Trace;

/// Packets that wait for a blocked node; more are dropped, as by a socket's buffer.
const BACKLOG: usize = 4_096;
/// After this many ticks that leave a deadline in the past, a node is stuck.
const STUCK: u32 = 1_000;

/// What a slow node does not do for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slowness {
    /// Anything: the process has no processor, or its machine is suspended. Afterwards what is due and what came are
    /// dealt with, in either order.
    Stopped,
    /// Sending and receiving: its timers run, but what it sends waits, and so does what comes. This is how Lifeguard's
    /// authors slowed members down.
    Mute,
}

/// Something on its way.
#[derive(Debug)]
enum Happening {
    Packet { to: usize, from: SocketAddr, bytes: Vec<u8> },
    Request { to: usize, from: SocketAddr, exchange: u64, bytes: Vec<u8> },
    Answer { exchange: u64, result: Result<Vec<u8>, ExchangeError> },
    Timer { node: usize },
    Unblock { node: usize },
}

/// An exchange that a node waits for.
struct Pending {
    node: usize,
    life: u32,
    id: ExchangeId,
    reader: StreamReader,
}

/// A place in the world, and the host that lives there.
pub struct Node<H> {
    pub host: Option<H>,
    /// How many hosts lived here before.
    pub life: u32,
    clock: Clock,
    /// When the next timer is set; earlier ones in the heap are void.
    timer: u64,
    blocked_until: u64,
    slowness: Slowness,
    backlog: VecDeque<Happening>,
    /// What a mute node wants to send.
    held_packets: Vec<(usize, Vec<u8>)>,
    held_exchanges: Vec<Exchange>,
    /// Ticks in a row that left the deadline in the past.
    stuck: u32,
}

/// What a node said, when.
#[derive(Debug, Clone, PartialEq)]
pub struct Noted {
    pub at: Duration,
    pub node: usize,
    pub note: Note,
}

/// What went over the network so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams sent, and their bytes.
    pub packets: u64,
    pub bytes: u64,
    /// Datagrams that arrived at a host that is up.
    pub received: u64,
    /// Datagrams lost, cut off, or without anybody at their address.
    pub lost: u64,
    /// Streams opened.
    pub streams: u64,
}

/// Sees a host after each of its steps.
pub trait Watcher<H> {
    fn saw(&mut self, at: Duration, node: usize, life: u32, host: &H);
}

/// The world.
pub struct World<H> {
    now: u64,
    rng: ChaCha12Rng,
    pub nodes: Vec<Node<H>>,
    pub net: Net,
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    free: Vec<usize>,
    sequence: u64,
    exchanges: BTreeMap<u64, Pending>,
    next_exchange: u64,
    pub notes: Vec<Noted>,
    pub traffic: Traffic,
    pub trace: Option<Trace>,
    pub sabotage: Option<Sabotage>,
    pub watcher: Option<Box<dyn Watcher<H>>>,
    /// Time spent in hosts, if measured.
    pub metered: Option<Duration>,
    /// Whether clocks differ.
    pub skewed: bool,
    out: Outputs,
    fresh: Vec<Note>,
    spare: Vec<Vec<u8>>,
}

impl<H: Host> World<H> {
    /// An empty one.
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        Self {
            now: 0,
            rng: ChaCha12Rng::seed_from_u64(seed),
            nodes: Vec::new(),
            net: Net::new(conditions),
            heap: BinaryHeap::new(),
            happenings: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            exchanges: BTreeMap::new(),
            next_exchange: 0,
            notes: Vec::new(),
            traffic: Traffic::default(),
            trace: None,
            sabotage: None,
            watcher: None,
            metered: None,
            skewed: true,
            out: Outputs::default(),
            fresh: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// How old the world is.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// Tells whoever reads the trace.
    pub fn say(&self, text: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace.say(self.now, text);
        }
    }

    /// Chance, for whoever plays with this world.
    pub fn rng(&mut self) -> &mut ChaCha12Rng {
        &mut self.rng
    }

    /// Adds a place for a node; nobody lives there yet.
    pub fn add_place(&mut self) -> usize {
        let clock = if self.skewed { Clock::by_chance(&mut self.rng) } else { Clock::exact() };
        self.net.add(&mut self.rng);
        self.nodes.push(Node {
            host: None,
            life: 0,
            clock,
            timer: u64::MAX,
            blocked_until: 0,
            slowness: Slowness::Stopped,
            backlog: VecDeque::new(),
            held_packets: Vec::new(),
            held_exchanges: Vec::new(),
            stuck: 0,
        });
        self.nodes.len() - 1
    }

    /// A host moves in. `make` gets the seed it shall have, and its clock's time.
    pub fn start(&mut self, node: usize, make: impl FnOnce(u64, Moment) -> H) {
        let seed = self.rng.random();
        let place = &mut self.nodes[node];
        assert!(place.host.is_none(), "somebody lives there");
        place.host = Some(make(seed, place.clock.shows(self.now)));
        place.life += 1;
        (place.timer, place.blocked_until) = (u64::MAX, 0);
        self.set_timer(node);
    }

    /// A host is gone, and with it all it had to do.
    pub fn stop(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        place.host = None;
        place.timer = u64::MAX;
        place.backlog.clear();
        place.held_packets.clear();
        place.held_exchanges.clear();
        place.blocked_until = 0;
    }

    /// Whether somebody lives there.
    pub fn is_up(&self, node: usize) -> bool {
        self.nodes[node].host.is_some()
    }

    /// The nodes that are up.
    pub fn up(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|node| self.is_up(*node))
    }

    /// The hosts that are up.
    pub fn hosts(&self) -> impl Iterator<Item = (usize, &H)> {
        self.nodes.iter().enumerate().filter_map(|(node, place)| Some((node, place.host.as_ref()?)))
    }

    /// A node is slow for so long; if it is slow already, perhaps longer.
    pub fn block(&mut self, node: usize, slowness: Slowness, time: Duration) {
        let until = self.now + nanos(time);
        let place = &mut self.nodes[node];
        if place.host.is_some() && place.blocked_until < until {
            if place.blocked_until <= self.now {
                place.slowness = slowness;
            }
            place.blocked_until = until;
            self.push(until, Happening::Unblock { node });
        }
    }

    /// Whether a node is slow at the moment.
    pub fn is_blocked(&self, node: usize) -> bool {
        self.nodes[node].blocked_until > self.now
    }

    fn is_stopped(&self, node: usize) -> bool {
        self.is_blocked(node) && self.nodes[node].slowness == Slowness::Stopped
    }

    /// Lets a host do something now, even if it is blocked.
    pub fn act(&mut self, node: usize, f: impl FnOnce(&mut H, Moment, &mut Outputs)) {
        self.step(node, "act", &[], f);
    }

    /// Lets so much time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + nanos(time);
        while let Some(Reverse((at, _, slot))) = self.heap.peek().copied()
            && at <= end
        {
            self.heap.pop();
            self.now = at;
            self.free.push(slot);
            if let Some(happening) = self.happenings[slot].take() {
                self.happen(happening);
            }
        }
        self.now = end;
    }

    /// Lets time pass until something is the case, looking every `every`; says how long it took.
    ///
    /// # Errors
    /// It was not the case within `limit`.
    pub fn run_until(
        &mut self,
        limit: Duration,
        every: Duration,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Result<Duration, Duration> {
        let start = self.now();
        while !done(self) {
            if self.now() >= start + limit {
                return Err(limit);
            }
            self.run(every);
        }
        Ok(self.now().saturating_sub(start))
    }

    fn push(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        let slot = if let Some(slot) = self.free.pop() {
            self.happenings[slot] = Some(happening);
            slot
        } else {
            self.happenings.push(Some(happening));
            self.happenings.len() - 1
        };
        self.heap.push(Reverse((at, self.sequence, slot)));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Timer { node } => {
                // A timer that was set anew, or whose host is busy, is void.
                if self.nodes[node].timer == self.now && !self.is_stopped(node) {
                    self.nodes[node].timer = u64::MAX;
                    self.step(node, "tick", &[], |_, _, _| {});
                }
            }
            Happening::Unblock { node } => {
                if !self.is_blocked(node) {
                    self.unblock(node);
                }
            }
            Happening::Packet { to, from, mut bytes } => {
                if self.is_blocked(to) {
                    if self.nodes[to].backlog.len() < BACKLOG {
                        self.nodes[to].backlog.push_back(Happening::Packet { to, from, bytes });
                    } else {
                        self.traffic.lost += 1;
                    }
                    return;
                }
                if self.is_up(to) {
                    self.traffic.received += 1;
                    // Nothing of it may be left over when it was read, but the trace wants it as it came.
                    let traced = if self.trace.is_some() { bytes.clone() } else { Vec::new() };
                    self.step(to, "packet", &traced, |host, now, out| {
                        host.packet(now, from, &mut bytes, out);
                    });
                } else {
                    self.traffic.lost += 1;
                }
                self.spare.push(bytes);
            }
            Happening::Request { to, from, exchange, bytes } => {
                if self.is_blocked(to) {
                    self.nodes[to].backlog.push_back(Happening::Request { to, from, exchange, bytes });
                } else {
                    self.serve(to, from, exchange, &bytes);
                }
            }
            Happening::Answer { exchange, result } => self.end_exchange(exchange, result),
        }
    }

    /// A slow node is well again.
    fn unblock(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        let backlog = std::mem::take(&mut place.backlog);
        let packets = std::mem::take(&mut place.held_packets);
        let exchanges = std::mem::take(&mut place.held_exchanges);
        if place.slowness == Slowness::Stopped && self.rng.random() {
            self.step(node, "tick", &[], |_, _, _| {});
        }
        for (to, bytes) in packets {
            self.send(node, to, &bytes);
        }
        for exchange in exchanges {
            self.open(node, exchange);
        }
        for happening in backlog {
            self.happen(happening);
        }
        self.step(node, "tick", &[], |_, _, _| {});
    }

    /// A stream's request reached a node.
    fn serve(&mut self, to: usize, from: SocketAddr, exchange: u64, bytes: &[u8]) {
        let Some(host) = &self.nodes[to].host else {
            let gone = ExchangeError::Io("connection reset by peer".to_owned());
            return self.answer(to, exchange, Err(gone));
        };
        let mut reader = host.stream_reader();
        let closed = ExchangeError::Io("EOF".to_owned());
        let mut answer = Err(closed);
        match read(&mut reader, bytes, &mut self.rng) {
            Ok(Some(message)) => {
                let stream = StreamId(exchange);
                self.step(to, "request", bytes, |host, now, out| {
                    host.request(now, stream, from, message, out);
                    if let Some(at) = out.replies.iter().position(|reply| reply.stream == stream) {
                        answer = Ok(out.replies.swap_remove(at).bytes);
                    }
                });
            }
            Ok(None) => {}
            Err(error) => {
                if let Some(bytes) = reader.refusal(&error, &mut self.rng) {
                    answer = Ok(bytes);
                }
            }
        }
        self.answer(to, exchange, answer);
    }

    /// A stream's answer goes back; if it does not get through, the asker's time runs out.
    fn answer(&mut self, node: usize, exchange: u64, mut result: Result<Vec<u8>, ExchangeError>) {
        let Some(asker) = self.exchanges.get(&exchange).map(|pending| pending.node) else { return };
        if !self.net.reaches(node, asker) {
            return;
        }
        if let (Some(sabotage), Ok(bytes)) = (self.sabotage, &mut result) {
            *bytes = sabotage.stream(name(node).as_bytes(), bytes, &mut self.rng).unwrap_or_default();
        }
        let delay = self.net.way(node, asker, &mut self.rng) + self.net.resent(&mut self.rng);
        self.push(self.now + nanos(delay), Happening::Answer { exchange, result });
    }

    fn end_exchange(&mut self, exchange: u64, result: Result<Vec<u8>, ExchangeError>) {
        let Some(pending) = self.exchanges.get(&exchange) else { return };
        let node = pending.node;
        if self.nodes[node].life != pending.life || !self.is_up(node) {
            self.exchanges.remove(&exchange);
            return;
        }
        if self.is_blocked(node) {
            self.nodes[node].backlog.push_back(Happening::Answer { exchange, result });
            return;
        }
        let Some(mut pending) = self.exchanges.remove(&exchange) else { return };
        let result = result.and_then(|bytes| match read(&mut pending.reader, &bytes, &mut self.rng) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(ExchangeError::Io("unexpected EOF".to_owned())),
            Err(error) => Err(error.into()),
        });
        self.step(node, "answer", &[], |host, now, out| host.answer(now, pending.id, result, out));
    }

    /// Lets a host do something and whatever is due, and sees to what comes out of it.
    fn step(
        &mut self,
        node: usize,
        what: &'static str,
        bytes: &[u8],
        f: impl FnOnce(&mut H, Moment, &mut Outputs),
    ) {
        let place = &mut self.nodes[node];
        let Some(host) = &mut place.host else { return };
        if let Some(trace) = &mut self.trace {
            trace.note(self.now, node, what, bytes);
        }
        let now = place.clock.shows(self.now);
        let mut out = std::mem::take(&mut self.out);
        let started = self.metered.map(|_| Instant::now());
        f(host, now, &mut out);
        if host.deadline() <= now {
            host.tick(now, &mut out);
        }
        if let (Some(metered), Some(started)) = (&mut self.metered, started) {
            *metered += started.elapsed();
        }
        host.take_notes(&mut out, &mut self.fresh);
        if let Some(watcher) = &mut self.watcher {
            watcher.saw(Duration::from_nanos(self.now), node, place.life, host);
        }
        place.stuck = if host.deadline() <= now { place.stuck + 1 } else { 0 };
        assert!(place.stuck < STUCK, "{} has a deadline that does not pass", name(node));
        self.set_timer(node);
        let at = self.now();
        self.notes.extend(self.fresh.drain(..).map(|note| Noted { at, node, note }));
        let held = self.is_blocked(node);
        for (to, packet) in out.packets.iter() {
            let to = host::located(to);
            if held {
                let held = &mut self.nodes[node].held_packets;
                if held.len() < BACKLOG {
                    held.push((to, packet.to_vec()));
                }
            } else {
                self.send(node, to, packet);
            }
        }
        for exchange in out.exchanges.drain(..) {
            if held {
                self.nodes[node].held_exchanges.push(exchange);
            } else {
                self.open(node, exchange);
            }
        }
        out.clear();
        self.out = out;
    }

    fn set_timer(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        let Some(host) = &place.host else { return };
        // One that is in the past was not dealt with; it is given another chance a moment later.
        let due = place.clock.when(host.deadline()).max(self.now + 1);
        if due < place.timer || place.timer <= self.now {
            place.timer = due;
            self.push(due, Happening::Timer { node });
        }
    }

    fn send(&mut self, from: usize, to: usize, bytes: &[u8]) {
        self.traffic.packets += 1;
        self.traffic.bytes += bytes.len() as u64;
        let Conditions { loss, duplication, reordering, .. } = self.net.conditions;
        let lost = loss > 0.0 && self.rng.random_bool(loss);
        if lost || to >= self.nodes.len() || !self.net.reaches(from, to) {
            self.traffic.lost += 1;
            return;
        }
        let mut copies = 1;
        if duplication > 0.0 && self.rng.random_bool(duplication) {
            copies += 1;
        }
        for _ in 0..copies {
            let mut delay = self.net.way(from, to, &mut self.rng);
            if reordering > 0.0 && self.rng.random_bool(reordering) {
                delay += Duration::from_millis(self.rng.random_range(1..400));
            }
            let mut copy = self.spare.pop().unwrap_or_default();
            copy.clear();
            match self.sabotage {
                None => copy.extend_from_slice(bytes),
                Some(sabotage) => copy = sabotage.packet(name(from).as_bytes(), bytes, &mut self.rng),
            }
            if !copy.is_empty() {
                let packet = Happening::Packet { to, from: addr(from), bytes: copy };
                self.push(self.now + nanos(delay), packet);
            }
        }
    }

    /// Opens a stream: a round trip for the connection, then the request.
    fn open(&mut self, node: usize, exchange: Exchange) {
        self.traffic.streams += 1;
        let number = self.next_exchange;
        self.next_exchange += 1;
        let place = &self.nodes[node];
        let Some(host) = &place.host else { return };
        let reader = host.stream_reader();
        self.exchanges.insert(number, Pending { node, life: place.life, id: exchange.id, reader });
        let timeout = Happening::Answer { exchange: number, result: Err(ExchangeError::Timeout) };
        self.push(self.now + nanos(exchange.timeout), timeout);
        let to = host::located(exchange.to);
        if to >= self.nodes.len() || !self.net.reaches(node, to) || !self.net.reaches(to, node) {
            return;
        }
        let way = self.net.way(node, to, &mut self.rng);
        let delay = 3 * way + self.net.resent(&mut self.rng);
        let broken = self.net.conditions.broken_streams;
        if broken > 0.0 && self.rng.random_bool(broken) {
            let reset = ExchangeError::Io("connection reset by peer".to_owned());
            let result = Err(reset);
            // It ends before the answer could be there; whether the request was, is another matter.
            self.push(self.now + nanos(delay), Happening::Answer { exchange: number, result });
            if self.rng.random() {
                return;
            }
        } else if !self.is_up(to) {
            // The machine is there and refuses, or is not and stays silent.
            if self.rng.random() {
                let result = Err(ExchangeError::Io("connection refused".to_owned()));
                self.push(self.now + nanos(2 * way), Happening::Answer { exchange: number, result });
            }
            return;
        }
        let bytes = match self.sabotage {
            None => Some(exchange.request),
            Some(sabotage) => sabotage.stream(name(node).as_bytes(), &exchange.request, &mut self.rng),
        };
        if let Some(bytes) = bytes {
            let request = Happening::Request { to, from: addr(node), exchange: number, bytes };
            self.push(self.now + nanos(delay), request);
        }
    }
}

/// Reads a stream that arrives in pieces.
fn read(
    reader: &mut StreamReader,
    bytes: &[u8],
    rng: &mut ChaCha12Rng,
) -> Result<Option<tribune::gossip::wire::StreamMessage>, tribune::gossip::wire::WireError> {
    let (first, second) = bytes.split_at(rng.random_range(0..=bytes.len()));
    match reader.push(first)? {
        Some(message) => Ok(Some(message)),
        None => reader.push(second),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("worlds do not grow that old")
}
