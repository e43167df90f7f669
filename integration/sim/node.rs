//! A simulated server: a driver, its log's disk, and a small state with a disk of its own.

use std::collections::BTreeMap;

use bytes::Bytes;
use tribune::raft::log::WriteFault;
use tribune::raft::{
    Committed, Driver, DriverConfig, Effect, EntryKind, Manifest, Membership, MemoryLog, ProposalId,
    RaftError, ServerRecord,
};

/// Number of an operation of a client.
pub type Op = u64;

/// What a state machine knows: every operation, in order, and a hash over all of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub applied: u64,
    pub hash: u64,
    pub ops: BTreeMap<Op, u64>,
}

impl State {
    pub fn apply(&mut self, index: u64, kind: EntryKind, data: &Bytes) {
        // A group is founded at index 1, with nothing in it.
        assert_eq!(index, self.applied.max(1) + 1, "in order and without gaps");
        self.applied = index;
        self.hash = (self.hash ^ index).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
        if kind == EntryKind::Normal {
            let op = u64::from_be_bytes(data[..8].try_into().unwrap());
            self.hash = (self.hash ^ op).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let before = self.ops.insert(op, index);
            assert_eq!(before, None, "operation {op} applied twice, at {index} too");
        }
    }
}

pub fn server(number: usize) -> ServerRecord {
    ServerRecord {
        node_id: format!("node-{number}"),
        name: format!("n{number}"),
        address: format!("10.0.0.{number}:8300"),
    }
}

pub type SimDriver = Driver<MemoryLog, Op>;

pub struct Node {
    pub id: u64,
    config: DriverConfig,
    log: MemoryLog,
    /// `None` while it is down.
    pub driver: Option<SimDriver>,
    pub state: State,
    /// What of the state survives a crash of the machine.
    pub flushed: State,
    /// Handed out and not yet applied.
    pub queue: Vec<Committed<Op>>,
    /// The snapshot that is being installed; what is in the queue comes after it.
    pub installing: Option<String>,
    /// Counts starts; events for an earlier life are void.
    pub life: u64,
    sequence: u64,
}

impl Node {
    pub fn new(number: usize, founding: &Membership) -> Self {
        let id = server(number).raft_id();
        let config = DriverConfig {
            bootstrap: Some(founding.clone()),
            trailing_entries: 8,
            proposal_ticks: 40,
            read_ticks: 30,
            follower_window: 40,
            max_apply_backlog: 2_000,
            ..DriverConfig::new(id)
        };
        Self {
            id,
            config,
            log: MemoryLog::with_crashes(),
            driver: None,
            state: State::default(),
            flushed: State::default(),
            queue: Vec::new(),
            installing: None,
            life: 0,
            sequence: 0,
        }
    }

    /// Whether it is up, leads and is up to date.
    pub fn leads(&self) -> bool {
        self.driver.as_ref().is_some_and(SimDriver::is_ready)
    }

    pub fn start(&mut self, seed: u64) {
        self.life += 1;
        self.installing = None;
        self.log.crash(); // power on: what was not synced is gone
        let driver = Driver::open(self.config.clone(), self.log.clone(), self.state.applied, seed);
        self.driver = Some(driver.expect("a server must start from its own disks"));
    }

    /// The process is gone. With the machine, also what the state had not flushed.
    pub fn crash(&mut self, machine: bool) -> Vec<Op> {
        let waiting = self.driver.take().map(|mut driver| driver.take_waiters()).unwrap_or_default();
        let queued = std::mem::take(&mut self.queue).into_iter().filter_map(|committed| committed.waiter);
        let unknown = waiting.into_iter().chain(queued).collect();
        if machine {
            self.state = self.flushed.clone();
        }
        self.log.crash();
        unknown
    }

    /// The next write of the log ends this life.
    pub fn fail_next_sync(&self, fault: WriteFault) {
        self.log.fail_next_sync(fault);
    }

    pub fn propose(&mut self, op: Op) -> Result<(), Op> {
        let Some(driver) = &mut self.driver else { return Err(op) };
        self.sequence += 1;
        let id = ProposalId { origin: self.id ^ (self.life << 32), sequence: self.sequence };
        let data = [&op.to_be_bytes()[..], &[0; 24]].concat();
        driver.propose(id, data.into(), op).map_err(|(_, op)| op)
    }

    /// Effects of a pump, or none if the disk failed in it.
    pub fn pump(&mut self) -> (Vec<Effect<Op>>, Result<(), RaftError>) {
        let mut effects = Vec::new();
        let result = match &mut self.driver {
            Some(driver) => driver.pump(&mut |effect| effects.push(effect)),
            None => Ok(()),
        };
        (effects, result)
    }

    /// A manifest of the state as it is.
    pub fn manifest(&self, name: String) -> Manifest {
        Manifest { index: self.state.applied, data: name, ..Manifest::default() }
    }
}
