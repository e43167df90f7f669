//! Drivers joined by a network that delivers at once, each with a small state.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use crate::raft::log::MemoryLog;
use crate::raft::membership::ServerRecord;

pub(super) type Waiter = &'static str;

pub(super) fn server(name: &str) -> ServerRecord {
    ServerRecord { node_id: format!("id-{name}"), name: name.into(), address: format!("{name}:8300") }
}

pub(super) fn id_of(name: &str) -> u64 {
    server(name).raft_id()
}

pub(super) struct Node {
    pub(super) name: &'static str,
    pub(super) driver: Driver<MemoryLog, Waiter>,
    pub(super) log: MemoryLog,
    pub(super) config: DriverConfig,
    /// The "state": data by index, and how far it is applied.
    pub(super) state: BTreeMap<u64, Bytes>,
    pub(super) applied: u64,
    pub(super) answered: Vec<(Waiter, Result<u64, ProposeError>)>,
    pub(super) reads: Vec<(u64, Result<u64, ReadError>)>,
    pub(super) snapshots_wanted: usize,
    /// Snapshots take their time: the test makes them.
    pub(super) makes_none: bool,
    pub(super) starts: u64,
}

/// Drivers joined by a network that delivers at once.
pub(super) struct Group {
    pub(super) nodes: BTreeMap<u64, Node>,
    pub(super) cut: BTreeSet<u64>,
    pub(super) sequence: u64,
}

impl Node {
    pub(super) fn new(name: &'static str, bootstrap: Option<Membership>) -> Self {
        let log = MemoryLog::with_crashes();
        let config = DriverConfig {
            bootstrap,
            trailing_entries: 0,
            proposal_ticks: 50,
            ..DriverConfig::new(id_of(name))
        };
        let driver = Driver::open(config.clone(), log.clone(), 0, id_of(name)).unwrap();
        let (state, answered, reads) = Default::default();
        Self {
            name,
            driver,
            log,
            config,
            state,
            applied: 0,
            answered,
            reads,
            snapshots_wanted: 0,
            makes_none: false,
            starts: 1,
        }
    }

    pub(super) fn restart(&mut self) {
        self.log.crash();
        self.starts += 1;
        self.driver =
            Driver::open(self.config.clone(), self.log.clone(), self.applied, self.config.id ^ self.starts)
                .unwrap();
    }

    /// A snapshot of the state.
    pub(super) fn snapshot(&self) -> Manifest {
        let state: BTreeMap<_, _> = self.state.iter().map(|(index, data)| (*index, data.to_vec())).collect();
        let data = serde_json::to_string(&state).unwrap();
        Manifest { index: self.applied, data, ..Manifest::default() }
    }

    /// Pumps until nothing happens, applying at once; gives the messages.
    pub(super) fn pump(&mut self) -> Vec<PeerMessage> {
        let mut messages = Vec::new();
        loop {
            let mut effects = Vec::new();
            self.driver.pump(&mut |effect| effects.push(effect)).unwrap();
            if effects.is_empty() {
                return messages;
            }
            for effect in effects {
                match effect {
                    Effect::Send(message) => messages.push(message),
                    Effect::Apply(batch) => {
                        for committed in batch {
                            assert_eq!(committed.index, self.applied.max(1) + 1, "{}: in order", self.name);
                            self.applied = committed.index;
                            if committed.kind == EntryKind::Normal {
                                self.state.insert(committed.index, committed.data);
                            }
                            if let Some(waiter) = committed.waiter {
                                self.answered.push((waiter, Ok(committed.index)));
                            }
                        }
                        self.driver.applied(self.applied).unwrap();
                    }
                    Effect::Reject { waiter, error } => self.answered.push((waiter, Err(error))),
                    Effect::ReadReady { ctx, index } => self.reads.push((ctx, Ok(index))),
                    Effect::ReadFailed { ctx, error } => self.reads.push((ctx, Err(error))),
                    Effect::InstallSnapshot(manifest) => {
                        self.applied = manifest.index;
                        self.state = serde_json::from_str::<BTreeMap<u64, Vec<u8>>>(&manifest.data)
                            .unwrap()
                            .into_iter()
                            .map(|(index, data)| (index, data.into()))
                            .collect();
                        self.driver.snapshot_installed(manifest.index).unwrap();
                    }
                    Effect::SnapshotWanted { .. } => {
                        self.snapshots_wanted += 1;
                        if self.makes_none {
                            continue;
                        }
                        let manifest = self.snapshot();
                        self.driver.snapshot_ready(manifest).unwrap();
                    }
                    Effect::LeaderChanged { .. }
                    | Effect::LeaderReady { .. }
                    | Effect::MembershipChanged(_) => {}
                }
            }
        }
    }
}

impl Group {
    pub(super) fn of(names: &[&'static str]) -> Self {
        let founding = Membership::founding(names.iter().map(|name| server(name)));
        let node = |name: &&'static str| (id_of(name), Node::new(name, Some(founding.clone())));
        Self { nodes: names.iter().map(node).collect(), cut: BTreeSet::new(), sequence: 0 }
    }

    pub(super) fn settle(&mut self) {
        loop {
            let mut messages = Vec::new();
            for node in self.nodes.values_mut() {
                messages.extend(node.pump());
            }
            if messages.is_empty() {
                return;
            }
            for message in messages {
                let message = PeerMessage::decode(&message.encode().unwrap()).unwrap();
                if self.cut.contains(&message.from()) || self.cut.contains(&message.to()) {
                    continue;
                }
                let snapshot = message.snapshot().is_some();
                let (from, to) = (message.from(), message.to());
                if let Some(node) = self.nodes.get_mut(&to) {
                    let _ = node.driver.step(message, 0).unwrap();
                }
                if snapshot {
                    self.nodes.get_mut(&from).unwrap().driver.report_snapshot(to, true).unwrap();
                }
            }
        }
    }

    pub(super) fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            for node in self.nodes.values_mut() {
                node.driver.tick(0).unwrap();
            }
            self.settle();
        }
    }

    pub(super) fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(&id_of(name)).unwrap()
    }

    pub(super) fn elect(&mut self, name: &str) {
        self.node(name).driver.campaign().unwrap();
        self.settle();
        assert!(self.node(name).driver.is_ready(), "{name} leads");
    }

    pub(super) fn propose(&mut self, name: &str, data: &'static str) -> Result<(), ProposeError> {
        self.sequence += 1;
        let id = ProposalId { origin: 7, sequence: self.sequence };
        let taken = self.node(name).driver.propose(id, Bytes::from_static(data.as_bytes()), data);
        taken.map_err(|(error, _)| error)
    }

    pub(super) fn change(&mut self, name: &str, change: &MembershipChange) -> Result<(), ProposeError> {
        self.sequence += 1;
        let id = ProposalId { origin: 7, sequence: self.sequence };
        let taken = self.node(name).driver.propose_membership(id, change, "change");
        taken.map_err(|(error, _)| error)
    }

    pub(super) fn data(&mut self, name: &str) -> Vec<String> {
        let state = &self.node(name).state;
        state.values().map(|data| String::from_utf8_lossy(data).into_owned()).collect()
    }
}
