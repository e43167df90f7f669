//! What goes wrong: disks, crashes, pauses, cuts, and changes of members and leaders at a bad time.

use rand::RngExt;
use tribune::raft::log::WriteFault;
use tribune::raft::{Membership, MembershipChange};

use super::{Event, World};
use crate::node::server;

impl World {
    pub(super) fn fault(&mut self) {
        let node = self.rng.random_range(0..self.nodes.len());
        match self.rng.random_range(0..16) {
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
            9..11 => {
                // Mostly the leader: it must not answer by what it knew before.
                let leader = self.nodes.iter().position(crate::node::Node::leads);
                let node = leader.filter(|_| self.rng.random_range(0..3) > 0).unwrap_or(node);
                let pause = self.rng.random_range(100..6_000);
                self.note(|| format!("n{node} stands still for {pause}"));
                self.nodes[node].paused_until = self.now + pause;
            }
            11..13 => {
                let sync = self.rng.random_range(1..400);
                self.note(|| format!("n{node} syncs take {sync}"));
                self.nodes[node].sync_ms = sync;
                let delay = self.rng.random_range(500..5_000);
                self.after(delay, 0, Event::Quick(node));
            }
            _ => self.change_members(node),
        }
        let delay = self.rng.random_range(100..2_500);
        self.after(delay, 0, Event::Fault);
    }

    /// Whoever leads adds, promotes or removes a server.
    fn change_members(&mut self, about: usize) {
        let Some(leader) = self.nodes.iter().position(crate::node::Node::leads) else { return };
        let members =
            self.nodes[leader].driver.as_ref().map(|driver| driver.membership().clone()).unwrap_or_default();
        let change = self.change(&members, about);
        self.next_op += 1;
        let op = self.next_op;
        let outcome = self.nodes[leader].change_members(op, &change).err();
        self.note(|| format!("n{leader} {change:?}: {outcome:?}"));
        self.pump(leader);
    }

    fn change(&mut self, members: &Membership, about: usize) -> MembershipChange {
        let record = server(about);
        let id = record.raft_id();
        if !members.contains(id) {
            return MembershipChange::AddLearner(record);
        }
        if !members.is_voter(id) {
            return MembershipChange::AddVoter(record);
        }
        match self.rng.random_range(0..3) {
            0 => MembershipChange::Update(record),
            // As many as there were at first stay, so that a fault leaves a quorum.
            _ if members.voters.len() <= self.plan.servers => {
                let outside = (0..self.nodes.len()).find(|node| !members.is_voter(self.nodes[*node].id));
                match outside.map(server) {
                    Some(other) if members.contains(other.raft_id()) => MembershipChange::AddVoter(other),
                    Some(other) => MembershipChange::AddLearner(other),
                    None => MembershipChange::Update(record),
                }
            }
            _ => MembershipChange::Remove(id),
        }
    }
}
