//! Two states that have applied the same index are the same (Raft paper, figure 3: state machine
//! safety).

use std::collections::BTreeMap;

use crate::node::Node;

#[derive(Debug, Default)]
pub struct SameState {
    digests: BTreeMap<u64, u64>,
}

impl SameState {
    pub fn check(&mut self, node: &Node) {
        let applied = node.applied();
        if applied > 1 {
            let digest = node.disk.digest();
            let before = *self.digests.entry(applied).or_insert(digest);
            assert_eq!(before, digest, "states differ at index {applied}");
        }
    }
}
