//! Two states that have applied the same index are the same (Raft paper, figure 3: state machine
//! safety).

use std::collections::BTreeMap;

use crate::node::State;

#[derive(Debug, Default)]
pub struct SameState {
    hashes: BTreeMap<u64, u64>,
}

impl SameState {
    pub fn check(&mut self, state: &State) {
        if state.applied > 0 {
            let hash = *self.hashes.entry(state.applied).or_insert(state.hash);
            assert_eq!(hash, state.hash, "states differ at index {}", state.applied);
        }
    }
}
