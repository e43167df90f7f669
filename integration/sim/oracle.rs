//! Which entry stands where: every command is applied at one index, on all servers and after every
//! restart, and what was refused never is.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::node::Op;

#[derive(Debug, Default)]
pub struct Oracle {
    pub proposed: u64,
    /// What was proposed, by its bytes; they differ for every operation.
    ops: BTreeMap<Bytes, Op>,
    /// Operation -> index it was applied at, anywhere.
    applied: BTreeMap<Op, u64>,
    /// Operation -> index it was acknowledged at.
    acknowledged: BTreeMap<Op, u64>,
    /// Told for certain that they did not happen.
    refused: BTreeSet<Op>,
    pub unknown: u64,
    pub reads: u64,
    pub leased: u64,
    /// Highest index a client was told of.
    seen: u64,
    /// Read -> index that was acknowledged to somebody before it was asked.
    open_reads: BTreeMap<Op, u64>,
}

impl Oracle {
    pub fn propose(&mut self, op: Op, data: &Bytes) {
        let before = self.ops.insert(data.clone(), op);
        assert_eq!(before, None, "operation {op} has the bytes of another");
    }

    /// A server applies this entry here.
    pub fn apply(&mut self, index: u64, data: &Bytes) {
        let op = self.ops[data];
        let at = *self.applied.entry(op).or_insert(index);
        assert_eq!(at, index, "operation {op} is applied at two places");
        assert!(!self.refused.contains(&op), "operation {op} was refused and is applied");
    }

    pub fn acknowledge(&mut self, op: Op, index: u64) {
        assert!(!self.refused.contains(&op), "operation {op} was refused and is acknowledged");
        assert_eq!(self.acknowledged.insert(op, index), None, "operation {op} is acknowledged twice");
        self.seen = self.seen.max(index);
    }

    pub fn refuse(&mut self, op: Op) {
        assert!(!self.applied.contains_key(&op), "operation {op} is applied and refused");
        self.refused.insert(op);
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    pub fn ask(&mut self, read: Op) {
        self.open_reads.insert(read, self.seen);
    }

    /// A read may be served from a state that has applied `applied`.
    pub fn answer_read(&mut self, read: Op, applied: u64) {
        if let Some(before) = self.open_reads.remove(&read) {
            assert!(applied >= before, "read {read} at {applied} does not see {before}");
            self.reads += 1;
        }
    }

    /// At the end every state has applied what was acknowledged, where it was said to be.
    pub fn check(&self, applied: u64) {
        for (op, index) in &self.acknowledged {
            assert_eq!(self.applied.get(op), Some(index), "acknowledged operation {op}");
            assert!(applied >= *index, "acknowledged operation {op}");
        }
    }
}
