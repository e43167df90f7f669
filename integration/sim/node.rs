//! A simulated server: a driver, its log's disk, and the real state machine on a disk of its own.

use std::collections::BTreeMap;

use bytes::Bytes;
use tribune::raft::log::WriteFault;
use tribune::raft::{
    Committed, Driver, DriverConfig, Effect, Membership, MembershipChange, ProposalId, ProposeError,
    RaftError, ServerRecord,
};
use tribune::state::{Outcome, StateMachine, snapshot};

use crate::disk::{LogDisk, StateDisk};
use crate::lin::Row;

/// Number of an operation: a write, a read, or whatever else somebody waits for.
pub type Op = u64;

pub fn server(number: usize) -> ServerRecord {
    ServerRecord {
        node_id: format!("node-{number}"),
        name: format!("n{number}"),
        address: format!("10.0.0.{number}:8300"),
    }
}

pub type SimDriver = Driver<LogDisk, Op>;

/// Effects of a pump; with each whether it waited for a sync.
pub type Pumped = Vec<(Effect<Op>, bool)>;

pub struct Node {
    pub id: u64,
    config: DriverConfig,
    log: LogDisk,
    /// `None` while it is down.
    pub driver: Option<SimDriver>,
    pub disk: StateDisk,
    /// There while it is up.
    pub machine: Option<StateMachine>,
    /// Handed out and not yet applied.
    pub queue: Vec<Committed<Op>>,
    /// The snapshot that is being installed; what is in the queue comes after it.
    pub installing: Option<String>,
    /// Counts starts; events for an earlier life are void.
    pub life: u64,
    /// Nothing happens to it before.
    pub paused_until: u64,
    /// How long a sync takes, in ms.
    pub sync_ms: u64,
    /// Effects that wait for a slow disk, by a number.
    pub late: BTreeMap<u64, Vec<Effect<Op>>>,
    /// Its second, in thousandths of the true one.
    pub rate: u64,
    /// Ms by which its wall clock is ahead.
    pub ahead: u64,
    sequence: u64,
}

impl Node {
    /// `founding` is `None` for a server that is added later.
    pub fn new(number: usize, founding: Option<&Membership>) -> Self {
        let id = server(number).raft_id();
        let config = DriverConfig {
            bootstrap: founding.cloned(),
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
            log: LogDisk::new(),
            driver: None,
            disk: StateDisk::default(),
            machine: None,
            queue: Vec::new(),
            installing: None,
            life: 0,
            paused_until: 0,
            sync_ms: 0,
            late: BTreeMap::new(),
            rate: 1_000,
            ahead: 0,
            sequence: 0,
        }
    }

    /// Whether it is up, leads and is up to date.
    pub fn leads(&self) -> bool {
        self.driver.as_ref().is_some_and(SimDriver::is_ready)
    }

    /// Whether it may answer a read without asking anybody.
    pub fn has_lease(&self, now: u64) -> bool {
        self.driver.as_ref().filter(|driver| driver.is_ready()).is_some_and(|driver| {
            let heard = driver.quorum_heard();
            heard.is_some_and(|heard| self.local(now) < heard.saturating_add(self.config.lease_ms))
        })
    }

    /// What its state has applied; a group is founded at index 1, with nothing in it.
    pub fn applied(&self) -> u64 {
        self.machine.as_ref().map_or(0, StateMachine::applied_index)
    }

    /// Ms of its own clock at a true time.
    pub fn local(&self, now: u64) -> u64 {
        now * 1_000 / self.rate
    }

    pub fn start(&mut self, seed: u64) {
        self.life += 1;
        self.installing = None;
        self.log.crash(); // power on: what was not synced is gone
        let machine =
            StateMachine::open(Box::new(self.disk.clone())).expect("a state opens from its own disk");
        let applied = machine.applied_index();
        let driver = Driver::open(self.config.clone(), self.log.clone(), applied, seed);
        self.driver = Some(driver.expect("a server must start from its own disks"));
        self.machine = Some(machine);
    }

    /// The process is gone. With the machine, also what the state had not flushed. How many waited.
    pub fn crash(&mut self, machine: bool) -> usize {
        let waiting = self.driver.take().map(|mut driver| driver.take_waiters().len()).unwrap_or_default();
        let queued = std::mem::take(&mut self.queue).iter().filter(|one| one.waiter.is_some()).count();
        self.late.clear();
        self.paused_until = 0;
        self.machine = None;
        if machine {
            self.disk.crash();
        }
        self.log.crash();
        waiting + queued
    }

    /// The next write of the log ends this life.
    pub fn fail_next_sync(&self, fault: WriteFault) {
        self.log.fail_next_sync(fault);
    }

    fn next_id(&mut self) -> ProposalId {
        self.sequence += 1;
        ProposalId { origin: self.id ^ (self.life << 32), sequence: self.sequence }
    }

    pub fn propose(&mut self, op: Op, data: Bytes) -> Result<(), ProposeError> {
        let id = self.next_id();
        let Some(driver) = &mut self.driver else { return Err(ProposeError::NotLeader { leader: None }) };
        driver.propose(id, data, op).map_err(|(error, _)| error)
    }

    pub fn change_members(&mut self, op: Op, change: &MembershipChange) -> Result<(), ProposeError> {
        let id = self.next_id();
        let Some(driver) = &mut self.driver else { return Err(ProposeError::NotLeader { leader: None }) };
        driver.propose_membership(id, change, op).map_err(|(error, _)| error)
    }

    /// Effects of a pump, or none if the disk failed in it; with each whether it waited for a sync.
    pub fn pump(&mut self) -> (Pumped, Result<(), RaftError>) {
        let mut effects = Vec::new();
        let (log, before) = (self.log.clone(), self.log.syncs());
        let result = match &mut self.driver {
            Some(driver) => driver.pump(&mut |effect| effects.push((effect, log.syncs() > before))),
            None => Ok(()),
        };
        (effects, result)
    }

    /// Applies one entry.
    pub fn apply(&mut self, index: u64, data: &[u8]) -> Outcome {
        let machine = self.machine.as_mut().expect("it is up");
        assert_eq!(index, machine.applied_index().max(1) + 1, "in order and without gaps");
        let applied = machine.apply([(index, data)]).expect("every command can be applied");
        applied.outcomes.into_iter().next().flatten().expect("it was not applied before")
    }

    /// Makes the state durable; the log may be cut below the index returned.
    pub fn flush(&mut self) -> u64 {
        self.machine.as_ref().map_or(0, |machine| machine.make_durable().expect("the disk works"))
    }

    /// An image of the state, with its index.
    pub fn image(&self) -> (u64, Vec<u8>) {
        use tribune::state::store::SharedStore as _;
        let mut bytes = Vec::new();
        let index = snapshot::write(&*self.disk.freeze(), &mut bytes).expect("memory takes it");
        (index, bytes)
    }

    pub fn install(&mut self, image: &[u8]) -> u64 {
        let machine = self.machine.as_mut().expect("it is up");
        machine.install(image).expect("an image can be installed")
    }

    /// A key as its state holds it; `session` gives the number of a session.
    pub fn read(&self, key: &str, session: impl Fn(&str) -> u32) -> Option<Row> {
        let reader = self.machine.as_ref().expect("it is up").reader();
        let row = reader.kv_get(key.as_bytes(), |row| Row {
            value: Some(u64::from_be_bytes(row.value.try_into().expect("eight bytes"))),
            session: row.session.map(&session),
            lock_index: row.lock_index,
            index: row.indexes.modify_index,
        });
        row.expect("the state can be read")
    }
}
