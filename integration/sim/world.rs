//! The world: a heap of events by time, and what each of them does.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tribune::raft::log::WriteFault;
use tribune::raft::{Effect, Manifest, Membership, PeerMessage, ProposeError};

use crate::invariants::Invariants;
use crate::net::Net;
use crate::node::{Node, Op, State, server};
use crate::oracle::Oracle;

/// Length of a tick in ms.
const TICK: u64 = 100;

/// How long a run is and what happens in it.
#[derive(Debug, Clone)]
pub struct Plan {
    pub servers: usize,
    pub faults: bool,
    /// Virtual ms with clients and faults.
    pub busy: u64,
    /// Virtual ms within which the group must have converged afterwards.
    pub calm: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { servers: 3, faults: true, busy: 40_000, calm: 30_000 }
    }
}

#[derive(Debug)]
pub struct Report {
    pub proposed: u64,
    pub acknowledged: u64,
    pub unknown: u64,
    pub reads: u64,
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
    Client,
    Fault,
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
    oracle: Oracle,
    invariants: Invariants,
    /// Data of snapshots, by name; whoever gets the manifest has the data.
    snapshots: BTreeMap<String, State>,
    next_op: Op,
    next_read: u64,
    calm: bool,
    trace: Vec<String>,
    print: bool,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> Self {
        let founding = Membership::founding((0..plan.servers).map(server));
        let nodes = (0..plan.servers).map(|number| Node::new(number, &founding)).collect();
        let net = Net::new(plan.faults);
        Self {
            now: 0,
            sequence: 0,
            heap: BinaryHeap::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            net,
            nodes,
            oracle: Oracle::default(),
            invariants: Invariants::default(),
            snapshots: BTreeMap::new(),
            next_op: 0,
            next_read: 0,
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
        self.after(500, 0, Event::Client);
        if self.plan.faults {
            self.after(1_000, 0, Event::Fault);
        }
        self.until(self.plan.busy);
        // Faults stop: everybody is up, the network whole and quick.
        self.calm = true;
        self.net.heal();
        self.net.faults = false;
        for node in 0..self.nodes.len() {
            if self.nodes[node].driver.is_none() {
                self.start(node);
            }
        }
        self.until(self.plan.busy + self.plan.calm);
        self.check_converged();
        Report {
            proposed: self.oracle.proposed,
            acknowledged: self.oracle.acknowledged(),
            unknown: self.oracle.unknown,
            reads: self.oracle.reads,
            trace: self.trace,
        }
    }

    fn check_converged(&mut self) {
        let ready = self.nodes.iter().filter(|node| node.leads()).count();
        assert_eq!(ready, 1, "one leader serves in the end");
        let last = self.nodes.iter().map(|node| node.state.applied).max();
        for node in &self.nodes {
            assert_eq!(Some(node.state.applied), last, "{} has caught up", node.id);
            self.oracle.check(&node.state);
        }
        assert!(self.oracle.seen > 0 || self.plan.faults, "something was acknowledged");
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

    fn happen(&mut self, life: u64, event: Event) {
        let stale =
            |world: &Self, node: usize| world.nodes[node].life != life || world.nodes[node].driver.is_none();
        match event {
            Event::Tick(node) if !stale(self, node) => {
                if let Some(driver) = &mut self.nodes[node].driver {
                    driver.tick().unwrap();
                }
                self.pump(node);
                self.invariants.check(&self.nodes);
                let jitter = self.rng.random_range(0..3);
                self.after(TICK - 1 + jitter, life, Event::Tick(node));
            }
            Event::Apply(node) if !stale(self, node) => self.apply(node),
            Event::Flush(node) if !stale(self, node) => {
                let flushed = self.nodes[node].state.clone();
                if let Some(driver) = &mut self.nodes[node].driver {
                    driver.compact(flushed.applied).unwrap();
                }
                self.nodes[node].flushed = flushed;
                self.pump(node);
                let delay = self.rng.random_range(200..3_000);
                self.after(delay, life, Event::Flush(node));
            }
            Event::Install(node, name) if !stale(self, node) => self.install(node, &name),
            Event::Deliver(bytes) => self.deliver(&bytes),
            Event::Client => self.client(),
            Event::Fault if !self.calm => self.fault(),
            Event::Start(node) if !self.calm && self.nodes[node].driver.is_none() => self.start(node),
            Event::Heal => self.net.heal(),
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
        let unknown = self.nodes[node].crash(machine).len();
        self.oracle.unknown += unknown as u64;
        let delay = self.rng.random_range(1..6_000);
        self.after(delay, 0, Event::Start(node));
    }

    fn pump(&mut self, node: usize) {
        let (effects, result) = self.nodes[node].pump();
        for effect in effects {
            self.carry_out(node, effect);
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
                match error {
                    ProposeError::Superseded => self.oracle.refuse(waiter),
                    _ => self.oracle.unknown += 1,
                }
            }
            Effect::ReadReady { ctx, index } => {
                assert!(self.nodes[node].state.applied >= index, "a read before the state is there");
                self.oracle.answer_read(ctx, self.nodes[node].state.applied);
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
                let manifest = self.nodes[node].manifest(name.clone());
                self.snapshots.insert(name, self.nodes[node].state.clone());
                if let Some(driver) = &mut self.nodes[node].driver {
                    let _ = driver.snapshot_ready(manifest);
                }
            }
            Effect::ReadFailed { .. } | Effect::LeaderReady { .. } | Effect::MembershipChanged(_) => {}
        }
    }

    fn apply(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        if node.installing.is_some() {
            return;
        }
        let mut acknowledged = Vec::new();
        for committed in std::mem::take(&mut node.queue) {
            node.state.apply(committed.index, committed.kind, &committed.data);
            self.invariants.same_state.check(&node.state);
            acknowledged.extend(committed.waiter.map(|op| (op, committed.index)));
        }
        let applied = node.state.applied;
        if let Some(driver) = &mut node.driver {
            driver.applied(applied).unwrap();
        }
        self.note(|| format!("n{number} applied {applied}"));
        for (op, index) in acknowledged {
            self.oracle.acknowledge(op, index);
        }
        self.pump(number);
    }

    fn install(&mut self, number: usize, name: &str) {
        let node = &mut self.nodes[number];
        if node.installing.as_deref() != Some(name) {
            return; // a newer one has taken its place
        }
        node.installing = None;
        let image = &self.snapshots[name];
        node.state = image.clone();
        node.flushed = image.clone();
        let index = image.applied;
        if let Some(driver) = &mut node.driver {
            driver.snapshot_installed(index).unwrap();
        }
        self.apply(number);
    }

    fn deliver(&mut self, bytes: &[u8]) {
        let message = PeerMessage::decode(bytes).expect("what a driver sends can be read");
        let to = message.to();
        let Some(node) = self.nodes.iter().position(|node| node.id == to) else { return };
        if let Some(driver) = &mut self.nodes[node].driver {
            let _ = driver.step(message, self.now).unwrap();
            self.pump(node);
        }
    }

    fn client(&mut self) {
        for _ in 0..self.rng.random_range(0..4) {
            let node = self.rng.random_range(0..self.nodes.len());
            // Mostly to whoever believes to lead.
            let leader = self.nodes.iter().position(Node::leads);
            let node = leader.filter(|_| self.rng.random_range(0..4) > 0).unwrap_or(node);
            if self.rng.random_range(0..4) == 0 {
                self.next_read += 1;
                self.oracle.ask(self.next_read);
                let read = self.next_read;
                if let Some(driver) = &mut self.nodes[node].driver {
                    driver.read_index(read, tribune::raft::ReadMode::Safe);
                }
            } else {
                self.next_op += 1;
                let op = self.next_op;
                match self.nodes[node].propose(op) {
                    Ok(()) => self.oracle.proposed += 1,
                    Err(op) => self.oracle.refuse(op),
                }
            }
            self.pump(node);
        }
        // After the faults only a few more: they show that the group serves.
        let pause = if self.calm { 2_000 } else { self.rng.random_range(5..120) };
        if self.now + pause + 5_000 < self.plan.busy + self.plan.calm {
            self.after(pause, 0, Event::Client);
        }
    }

    fn fault(&mut self) {
        let node = self.rng.random_range(0..self.nodes.len());
        match self.rng.random_range(0..10) {
            0..3 => {
                let fault =
                    if self.rng.random() { WriteFault::Lost } else { WriteFault::DurableButUnreported };
                self.note(|| format!("n{node} disk: {fault:?} at the next sync"));
                self.nodes[node].fail_next_sync(fault);
            }
            3..5 if self.nodes[node].driver.is_some() => {
                let machine = self.rng.random();
                self.crash(node, machine);
            }
            5..8 if self.nodes.len() > 1 => {
                let ids: Vec<u64> = self.nodes.iter().map(|node| node.id).collect();
                self.net.cut(&ids, &mut self.rng);
                self.note(|| "network cut".into());
                let delay = self.rng.random_range(100..8_000);
                self.after(delay, 0, Event::Heal);
            }
            8 => {
                let leader = self.nodes.iter_mut().find(|node| node.leads());
                if let Some(driver) = leader.and_then(|node| node.driver.as_mut())
                    && let Some(to) = driver.successor()
                {
                    driver.transfer_leader(to).unwrap();
                }
            }
            _ => {}
        }
        let delay = self.rng.random_range(100..2_500);
        self.after(delay, 0, Event::Fault);
    }
}
