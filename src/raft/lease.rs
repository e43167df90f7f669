//! When a quorum was last heard: the leader's right to answer reads without asking (Raft thesis, 6.4.1).
//!
//! Raft has one read mode per node, and it is set to the safe one; the default consistency of the
//! API is served by this check instead. Times are milliseconds of the leader's monotonic clock.
//!
//! A leader writes the time on what it sends, and followers give the latest they have seen back with
//! every answer. A lease counts from there, so it does not matter how long an answer was under way: a
//! follower has counted its election timeout anew since that time, and gives no vote before it is
//! over. What it promised in a life before it forgets, so for a while after its start it gives none
//! either. Two ways round the timeout are left: a leader that hands over has no lease any more in its
//! term, and one whose process is known to be gone ([`super::Driver::peer_gone`]) answers nobody.

use std::collections::BTreeMap;

use super::membership::Membership;

/// What each peer last answered in the present term: when that was sent to it.
#[derive(Debug, Default)]
pub struct Lease {
    heard: BTreeMap<u64, u64>,
}

impl Lease {
    pub(super) fn clear(&mut self) {
        self.heard.clear();
    }

    /// A peer has answered something that was sent at this time, or later.
    pub(super) fn heard(&mut self, peer: u64, sent: u64) {
        let latest = self.heard.entry(peer).or_default();
        *latest = sent.max(*latest);
    }

    /// When was sent what this peer last answered.
    pub(super) fn last_heard(&self, peer: u64) -> Option<u64> {
        self.heard.get(&peer).copied()
    }

    /// The latest time such that a quorum has answered what was sent then; `u64::MAX` if this server is the quorum,
    /// `None` if never.
    pub(super) fn quorum_heard(&self, me: u64, members: &Membership) -> Option<u64> {
        let incoming = self.majority(me, &members.voters)?;
        if members.voters_outgoing.is_empty() {
            return Some(incoming);
        }
        Some(incoming.min(self.majority(me, &members.voters_outgoing)?))
    }

    fn majority(&self, me: u64, voters: &[u64]) -> Option<u64> {
        let mut times: Vec<Option<u64>> = voters
            .iter()
            .map(|id| if *id == me { Some(u64::MAX) } else { self.heard.get(id).copied() })
            .collect();
        times.sort_unstable();
        // Ascending: half of them (rounded down) may be older.
        times.get(voters.len().saturating_sub(1) - voters.len() / 2).copied().flatten()
    }
}

/// What a follower gives back to its leader.
#[derive(Debug, Default)]
pub(super) struct Echo {
    leader: u64,
    term: u64,
    stamp: u64,
}

impl Echo {
    /// A message with this time came from the leader of this term, and the election timeout counts anew.
    pub(super) fn saw(&mut self, leader: u64, term: u64, stamp: u64) {
        if (leader, term) == (self.leader, self.term) {
            self.stamp = self.stamp.max(stamp);
        } else {
            *self = Self { leader, term, stamp };
        }
    }

    /// The time for an answer to this leader in this term; 0 if it has sent none.
    pub(super) fn for_leader(&self, leader: u64, term: u64) -> u64 {
        if (leader, term) == (self.leader, self.term) { self.stamp } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn majority_counts() {
        let members = |voters: &[u64]| Membership { voters: voters.to_vec(), ..Membership::default() };
        let heard = |pairs: &[(u64, u64)]| Lease { heard: pairs.iter().copied().collect() };
        for (name, lease, voters, want) in [
            ("alone", heard(&[]), members(&[1]), Some(u64::MAX)),
            ("two, silent", heard(&[]), members(&[1, 2]), None),
            ("two", heard(&[(2, 5)]), members(&[1, 2]), Some(5)),
            ("three, one heard", heard(&[(2, 5)]), members(&[1, 2, 3]), Some(5)),
            ("three, both heard", heard(&[(2, 5), (3, 9)]), members(&[1, 2, 3]), Some(9)),
            ("four need two others", heard(&[(2, 5), (3, 9)]), members(&[1, 2, 3, 4]), Some(5)),
            ("five", heard(&[(2, 5), (3, 9), (4, 7)]), members(&[1, 2, 3, 4, 5]), Some(7)),
            ("not a voter", heard(&[(2, 5), (3, 6)]), members(&[2, 3, 4]), Some(5)),
        ] {
            assert_eq!(lease.quorum_heard(1, &voters), want, "{name}");
        }
    }
}
