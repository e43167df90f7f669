//! What clients were told, and what must therefore be true.

use std::collections::{BTreeMap, BTreeSet};

use super::node::{Op, State};

#[derive(Debug, Default)]
pub struct Oracle {
    pub proposed: u64,
    /// Operation -> index it was acknowledged at.
    acknowledged: BTreeMap<Op, u64>,
    /// Told for certain that they did not happen.
    refused: BTreeSet<Op>,
    pub unknown: u64,
    /// Highest index a client was told of.
    pub seen: u64,
    pub reads: u64,
    /// Read -> index that was acknowledged to somebody before it was asked.
    open_reads: BTreeMap<u64, u64>,
}

impl Oracle {
    pub fn acknowledge(&mut self, op: Op, index: u64) {
        assert!(!self.refused.contains(&op), "operation {op} was refused and is acknowledged");
        assert_eq!(self.acknowledged.insert(op, index), None, "operation {op} is acknowledged twice");
        self.seen = self.seen.max(index);
    }

    pub fn refuse(&mut self, op: Op) {
        self.refused.insert(op);
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    pub fn ask(&mut self, read: u64) {
        self.open_reads.insert(read, self.seen);
    }

    /// A read may be served from a state that has applied `applied`.
    pub fn answer_read(&mut self, read: u64, applied: u64) {
        if let Some(before) = self.open_reads.remove(&read) {
            assert!(applied >= before, "read {read} at {applied} does not see {before}");
            self.reads += 1;
        }
    }

    /// At the end every state holds what was acknowledged, and nothing that was refused.
    pub fn check(&self, state: &State) {
        for (op, index) in &self.acknowledged {
            assert_eq!(state.ops.get(op), Some(index), "acknowledged operation {op}");
        }
        if let Some(op) = self.refused.iter().find(|op| state.ops.contains_key(op)) {
            panic!("refused operation {op} happened");
        }
    }
}
