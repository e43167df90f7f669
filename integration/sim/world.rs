//! The world: a heap of events by time, and what each of them does.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tribune::raft::{Effect, EntryKind, Manifest, Membership, PeerMessage, ProposeError, ReadMode};
use tribune::state::Envelope;

use crate::client::{self, Clients, Open, Wish};
use crate::invariants::Invariants;
use crate::lin::{Answer, Call, Operation, check_locks};
use crate::net::Net;
use crate::node::{Node, Op, SimDriver, server};
use crate::oracle::Oracle;

mod faults;

/// Length of a tick in ms.
const TICK: u64 = 100;
/// Clients at work.
const CLIENTS: usize = 4;
/// The wall clock of the first leader at the start, in ms.
const EPOCH: u64 = 1_600_000_000_000;
/// How much earlier than its end a lock-delay may be over, in microseconds: wall clocks differ.
const SLACK: u64 = 400_000;

/// How long a run is and what happens in it.
#[derive(Debug, Clone)]
pub struct Plan {
    pub servers: usize,
    /// Servers that are not members at first.
    pub spares: usize,
    pub faults: bool,
    /// Virtual ms with clients and faults.
    pub busy: u64,
    /// Virtual ms within which the group must have converged afterwards.
    pub calm: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { servers: 3, spares: 1, faults: true, busy: 40_000, calm: 30_000 }
    }
}

#[derive(Debug)]
pub struct Report {
    pub proposed: u64,
    pub acknowledged: u64,
    pub unknown: u64,
    pub reads: u64,
    /// Of them those that a leader answered because of its lease.
    pub leased: u64,
    pub trace: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Tick(usize),
    Deliver(Bytes),
    /// The state of a server gets to work.
    Apply(usize),
    Flush(usize),
    Install(usize, String),
    /// A slow disk is done; what waited for it is under this number.
    Synced(usize, u64),
    Client(usize),
    /// A client waits no longer.
    GiveUp(Op),
    Fault,
    /// A disk is quick again.
    Quick(usize),
    Start(usize),
    Heal,
}

pub struct World {
    plan: Plan,
    now: u64,
    sequence: u64,
    /// (due, sequence, life of the node it is for, event)
    heap: BinaryHeap<Reverse<(u64, u64, u64, Event)>>,
    rng: ChaCha8Rng,
    net: Net,
    nodes: Vec<Node>,
    clients: Clients,
    oracle: Oracle,
    invariants: Invariants,
    /// Data of snapshots, by name; whoever gets the manifest has the data.
    snapshots: BTreeMap<String, Vec<u8>>,
    next_op: Op,
    calm: bool,
    trace: Vec<String>,
    print: bool,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> Self {
        let founding = Membership::founding((0..plan.servers).map(server));
        let mut nodes: Vec<Node> =
            (0..plan.servers).map(|number| Node::new(number, Some(&founding))).collect();
        nodes.extend((0..plan.spares).map(|number| Node::new(plan.servers + number, None)));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        if plan.faults {
            for node in &mut nodes {
                node.rate = rng.random_range(900..=1_100);
                node.ahead = rng.random_range(0..300);
            }
        }
        let net = Net::new(plan.faults);
        Self {
            now: 0,
            sequence: 0,
            heap: BinaryHeap::new(),
            rng,
            net,
            nodes,
            clients: Clients::new(CLIENTS),
            oracle: Oracle::default(),
            invariants: Invariants::default(),
            snapshots: BTreeMap::new(),
            next_op: 0,
            calm: false,
            trace: Vec::new(),
            print: std::env::var_os("TRIBUNE_SIM_TRACE").is_some(),
            plan,
        }
    }

    pub fn run(mut self) -> Report {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
        for client in 0..CLIENTS {
            self.after(500, 0, Event::Client(client));
        }
        if self.plan.faults {
            self.after(1_000, 0, Event::Fault);
        }
        self.until(self.plan.busy);
        // Faults stop: everybody is up and awake, the network whole and quick.
        self.calm = true;
        self.net.heal();
        self.net.faults = false;
        for node in 0..self.nodes.len() {
            self.nodes[node].sync_ms = 0;
            self.nodes[node].paused_until = self.nodes[node].paused_until.min(self.now + 1);
            if self.nodes[node].driver.is_none() {
                self.start(node);
            }
        }
        self.until(self.plan.busy + self.plan.calm);
        self.check_converged();
        self.check_history();
        Report {
            proposed: self.oracle.proposed,
            acknowledged: self.oracle.acknowledged(),
            unknown: self.oracle.unknown,
            reads: self.oracle.reads,
            leased: self.oracle.leased,
            trace: self.trace,
        }
    }

    fn check_converged(&mut self) {
        let ready: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].leads()).collect();
        assert_eq!(ready.len(), 1, "one leader serves in the end");
        let status = self.nodes[ready[0]].driver.as_ref().map(SimDriver::status).unwrap_or_default();
        for node in self.nodes.iter().filter(|node| status.membership.contains(node.id)) {
            assert_eq!(node.applied(), status.applied, "{:016x} has caught up", node.id);
            self.oracle.check(node.applied());
        }
        assert!(self.oracle.acknowledged() > 0 || self.plan.faults, "something was acknowledged");
        // What is there in the end is read once more by everybody: nothing acknowledged is lost.
        for key in 0..client::KEYS {
            let row = self.nodes[ready[0]].read(&client::name(key), |id| self.clients.session(id));
            let (invoked, at) = (self.clients.moment(self.now), self.clients.moment(self.now));
            let answered = Some((at, Answer::Row(row)));
            let call = Call::Get { key };
            self.clients.history.operations.push(Operation { client: u32::MAX, call, invoked, answered });
        }
    }

    fn check_history(&self) {
        crate::lin::require(&self.clients.history, "simulation");
        if let Err(problem) = check_locks(&self.clients.history, SLACK) {
            panic!("{problem}");
        }
    }

    fn after(&mut self, delay: u64, life: u64, event: Event) {
        self.sequence += 1;
        self.heap.push(Reverse((self.now + delay, self.sequence, life, event)));
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        let line = format!("{:>6} {}", self.now, text());
        if self.print {
            eprintln!("{line}");
        }
        self.trace.push(line);
    }

    fn until(&mut self, end: u64) {
        while let Some(Reverse((due, ..))) = self.heap.peek()
            && *due <= end
        {
            let Some(Reverse((due, _, life, event))) = self.heap.pop() else { return };
            self.now = due;
            self.happen(life, event);
        }
        self.now = end;
    }

    /// The node an event is for.
    fn whose(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Tick(node) | Event::Apply(node) | Event::Flush(node) | Event::Install(node, _) => {
                Some(*node)
            }
            Event::Deliver(bytes) => {
                let to = PeerMessage::decode(bytes).expect("what a driver sends can be read").to();
                self.nodes.iter().position(|node| node.id == to)
            }
            _ => None,
        }
    }

    fn happen(&mut self, life: u64, event: Event) {
        // What comes to a node that stands still, or whose disk does, waits in front of it, in order.
        if let Some(node) = self.whose(&event) {
            let busy = !self.nodes[node].late.is_empty();
            let until = self.nodes[node].paused_until.max(if busy { self.now + 1 } else { 0 });
            if until > self.now {
                let delay = until - self.now;
                self.after(delay, life, event);
                return;
            }
        }
        let stale =
            |world: &Self, node: usize| world.nodes[node].life != life || world.nodes[node].driver.is_none();
        match event {
            Event::Tick(node) if !stale(self, node) => {
                let local = self.nodes[node].local(self.now);
                if let Some(driver) = &mut self.nodes[node].driver {
                    driver.tick(local).unwrap();
                }
                self.pump(node);
                self.invariants.check(&self.nodes);
                let jitter = self.rng.random_range(0..3);
                let tick = TICK * self.nodes[node].rate / 1_000;
                self.after(tick - 1 + jitter, life, Event::Tick(node));
            }
            Event::Apply(node) if !stale(self, node) => self.apply(node),
            Event::Flush(node) if !stale(self, node) => {
                let flushed = self.nodes[node].flush();
                if let Some(driver) = &mut self.nodes[node].driver {
                    driver.compact(flushed).unwrap();
                }
                self.pump(node);
                let delay = self.rng.random_range(200..3_000);
                self.after(delay, life, Event::Flush(node));
            }
            Event::Install(node, name) if !stale(self, node) => self.install(node, &name),
            Event::Synced(node, number) if !stale(self, node) => {
                for effect in self.nodes[node].late.remove(&number).into_iter().flatten() {
                    self.carry_out(node, effect);
                }
            }
            Event::Deliver(bytes) => self.deliver(&bytes),
            Event::Client(client) => self.client(client),
            Event::GiveUp(op) => {
                self.clients.give_up(self.now, op);
            }
            Event::Fault if !self.calm => self.fault(),
            Event::Start(node) if !self.calm && self.nodes[node].driver.is_none() => self.start(node),
            Event::Heal => self.net.heal(),
            Event::Quick(node) => self.nodes[node].sync_ms = 0,
            _ => {}
        }
    }

    fn start(&mut self, node: usize) {
        let seed = self.rng.next_u64();
        self.nodes[node].start(seed);
        let life = self.nodes[node].life;
        self.note(|| format!("n{node} starts, life {life}"));
        let (tick, flush) = (self.rng.random_range(1..TICK), self.rng.random_range(200..3_000));
        self.after(tick, life, Event::Tick(node));
        self.after(flush, life, Event::Flush(node));
        self.pump(node);
    }

    fn crash(&mut self, node: usize, machine: bool) {
        self.note(|| format!("n{node} crashes, machine {machine}"));
        let unknown = self.nodes[node].crash(machine);
        self.oracle.unknown += unknown as u64;
        let delay = self.rng.random_range(1..6_000);
        self.after(delay, 0, Event::Start(node));
    }

    fn pump(&mut self, node: usize) {
        let (effects, result) = self.nodes[node].pump();
        let slow = self.nodes[node].sync_ms;
        let mut late = Vec::new();
        for (effect, synced) in effects {
            // What waited for the sync leaves once that is over, and so does all that follows.
            if (synced && slow > 0) || !late.is_empty() {
                late.push(effect);
            } else {
                self.carry_out(node, effect);
            }
        }
        if !late.is_empty() && result.is_ok() {
            let (number, life) = (self.sequence, self.nodes[node].life);
            self.nodes[node].late.insert(number, late);
            self.nodes[node].paused_until = self.nodes[node].paused_until.max(self.now + slow);
            self.after(slow, life, Event::Synced(node, number));
        }
        if let Err(error) = result {
            // The only error there may be is the one that was asked for.
            assert!(error.to_string().contains("the disk is down"), "n{node}: {error}");
            let machine = self.rng.random();
            self.crash(node, machine);
            if self.calm {
                self.start(node);
            }
        }
    }

    fn carry_out(&mut self, node: usize, effect: Effect<Op>) {
        let life = self.nodes[node].life;
        match effect {
            Effect::Send(message) => {
                let bytes = message.encode().unwrap();
                let (from, to) = (message.from(), message.to());
                let (net, rng) = (&self.net, &mut self.rng);
                let delays = net.delays(from, to, rng);
                // A transport does not always notice; when it does, it says so.
                let noticed = delays.is_empty() && self.rng.random();
                if let Some(driver) = &mut self.nodes[node].driver {
                    // Neither matters any more if this pump ended with a failed disk.
                    if noticed {
                        let _ = driver.report_unreachable(to);
                    }
                    if message.snapshot().is_some() {
                        let _ = driver.report_snapshot(to, !delays.is_empty());
                    }
                }
                for delay in delays {
                    self.after(delay, 0, Event::Deliver(bytes.clone()));
                }
            }
            Effect::Apply(batch) => {
                self.nodes[node].queue.extend(batch);
                let delay = self.rng.random_range(0..30);
                self.after(delay, life, Event::Apply(node));
            }
            Effect::Reject { waiter, error } => {
                self.note(|| format!("n{node} op {waiter}: {error:?}"));
                if error == ProposeError::Superseded {
                    self.oracle.refuse(waiter);
                    self.clients.refuse(waiter);
                } else {
                    self.oracle.unknown += 1;
                    self.clients.give_up(self.now, waiter);
                }
            }
            Effect::ReadReady { ctx, index } => {
                assert!(self.nodes[node].applied() >= index, "a read before the state is there");
                self.answer_read(node, ctx);
            }
            Effect::LeaderChanged { leader, term, is_self } => {
                self.note(|| format!("n{node} leader {leader:?} term {term} self {is_self}"));
            }
            Effect::InstallSnapshot(Manifest { data, index, .. }) => {
                self.note(|| format!("n{node} installs snapshot {data} at {index}"));
                self.nodes[node].queue.clear();
                self.nodes[node].installing = Some(data.clone());
                let delay = self.rng.random_range(0..200);
                self.after(delay, life, Event::Install(node, data));
            }
            Effect::SnapshotWanted { .. } => {
                let name = format!("{}-{}", self.nodes[node].id, self.next_op + self.sequence);
                let (index, image) = self.nodes[node].image();
                let manifest = Manifest { index, data: name.clone(), ..Manifest::default() };
                self.snapshots.insert(name, image);
                if let Some(driver) = &mut self.nodes[node].driver {
                    let _ = driver.snapshot_ready(manifest);
                }
            }
            Effect::ReadFailed { ctx, .. } => {
                self.clients.give_up(self.now, ctx);
            }
            Effect::LeaderReady { .. } | Effect::MembershipChanged(_) => {}
        }
    }

    /// Answers a read from the state of a server as it is.
    fn answer_read(&mut self, node: usize, op: Op) {
        self.oracle.answer_read(op, self.nodes[node].applied());
        if let Some(Open { wish: Wish::Call(Call::Get { key }), .. }) = self.clients.open.get(&op) {
            let row = self.nodes[node].read(&client::name(*key), |id| self.clients.session(id));
            self.clients.answer_read(self.now, op, row);
        }
    }

    fn apply(&mut self, number: usize) {
        if self.nodes[number].installing.is_some() {
            return;
        }
        let mut acknowledged = Vec::new();
        for committed in std::mem::take(&mut self.nodes[number].queue) {
            let normal = committed.kind == EntryKind::Normal;
            if normal {
                self.oracle.apply(committed.index, &committed.data);
            }
            let data = if normal { &committed.data[..] } else { &[] };
            let outcome = self.nodes[number].apply(committed.index, data);
            acknowledged.extend(committed.waiter.filter(|_| normal).map(|op| (op, committed.index, outcome)));
        }
        self.invariants.same_state.check(&self.nodes[number]);
        let applied = self.nodes[number].applied();
        if let Some(driver) = &mut self.nodes[number].driver {
            driver.applied(applied).unwrap();
        }
        self.note(|| format!("n{number} applied {applied}"));
        for (op, index, outcome) in acknowledged {
            self.oracle.acknowledge(op, index);
            self.clients.answer(self.now, op, index, &outcome);
        }
        self.pump(number);
    }

    fn install(&mut self, number: usize, name: &str) {
        let node = &mut self.nodes[number];
        if node.installing.as_deref() != Some(name) {
            return; // a newer one has taken its place
        }
        node.installing = None;
        let index = node.install(&self.snapshots[name]);
        if let Some(driver) = &mut node.driver {
            driver.snapshot_installed(index).unwrap();
        }
        self.apply(number);
    }

    fn deliver(&mut self, bytes: &[u8]) {
        let message = PeerMessage::decode(bytes).expect("what a driver sends can be read");
        let to = message.to();
        let Some(node) = self.nodes.iter().position(|node| node.id == to) else { return };
        let local = self.nodes[node].local(self.now);
        if let Some(driver) = &mut self.nodes[node].driver {
            let _ = driver.step(message, local).unwrap();
            self.pump(node);
        }
    }

    /// A client does its next thing, if it waits for nothing.
    fn client(&mut self, client: usize) {
        if !self.clients.open.values().any(|open| open.client == client) {
            self.ask(client);
        }
        // After the faults only a few more: they show that the group serves.
        let pause = if self.calm { 1_000 } else { self.rng.random_range(5..150) };
        if self.now + pause + 10_000 < self.plan.busy + self.plan.calm {
            self.after(pause, 0, Event::Client(client));
        }
    }

    fn ask(&mut self, client: usize) {
        let node = self.rng.random_range(0..self.nodes.len());
        // Mostly whoever believes to lead.
        let leader = self.nodes.iter().position(Node::leads);
        let node = leader.filter(|_| self.rng.random_range(0..4) > 0).unwrap_or(node);
        let wish = self.clients.wish(client, &mut self.rng);
        self.next_op += 1;
        let op = self.next_op;
        let command = self.clients.command(&wish, op);
        let invoked = self.clients.moment(self.now);
        self.clients.open.insert(op, Open { client, wish, invoked });
        let patience = self.rng.random_range(1_000..9_000);
        self.after(patience, 0, Event::GiveUp(op));
        if self.nodes[node].paused_until > self.now || !self.nodes[node].late.is_empty() {
            return; // nobody answers
        }
        match command {
            None => {
                self.oracle.ask(op);
                let mode = if self.rng.random() { ReadMode::Safe } else { ReadMode::Lease };
                if mode == ReadMode::Lease && self.nodes[node].has_lease(self.now) {
                    self.oracle.leased += 1;
                    self.answer_read(node, op);
                    return;
                }
                match &mut self.nodes[node].driver {
                    Some(driver) => driver.read_index(op, mode),
                    None => self.clients.refuse(op),
                }
            }
            Some(command) => {
                let now_ms = EPOCH + self.now + self.nodes[node].ahead;
                let data = Envelope { now_ms, command }.encode().expect("a command can be encoded");
                if self.nodes[node].propose(op, data.clone()).is_ok() {
                    self.oracle.proposed += 1;
                    self.oracle.propose(op, &data);
                } else {
                    self.oracle.refuse(op);
                    self.clients.refuse(op);
                }
            }
        }
        self.pump(node);
    }
}
