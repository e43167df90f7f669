//! What must hold at every moment; one property per file.

pub mod bounds;
pub mod log_matching;
pub mod one_leader;
pub mod same_state;

use super::node::Node;

/// All of them.
#[derive(Debug, Default)]
pub struct Invariants {
    pub one_leader: one_leader::OneLeader,
    pub same_state: same_state::SameState,
}

impl Invariants {
    /// Checks what can be seen of all nodes at once.
    pub fn check(&mut self, nodes: &[Node]) {
        for node in nodes {
            if let Some(driver) = &node.driver {
                let status = driver.status();
                bounds::check(&status);
                self.one_leader.check(&status);
            }
        }
        log_matching::check(nodes);
    }
}
