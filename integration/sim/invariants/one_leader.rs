//! At most one leader in a term (Raft paper, figure 3: election safety).

use std::collections::BTreeMap;

use tribune::raft::{Role, Status};

#[derive(Debug, Default)]
pub struct OneLeader {
    leaders: BTreeMap<u64, u64>,
}

impl OneLeader {
    pub fn check(&mut self, status: &Status) {
        if status.role == Role::Leader {
            let leader = *self.leaders.entry(status.term).or_insert(status.id);
            assert_eq!(leader, status.id, "two leaders in term {}", status.term);
        }
    }
}
