//! When a quorum was last heard: the leader's right to answer reads without asking.
//!
//! Raft has one read mode per node, and it is set to the safe one; the default consistency of the
//! API is served by this check instead. Times are milliseconds of the host's monotonic clock.

use std::collections::BTreeMap;

use super::membership::Membership;

/// Last time each peer answered in the present term.
#[derive(Debug, Default)]
pub struct Lease {
    heard: BTreeMap<u64, u64>,
}

impl Lease {
    pub(super) fn clear(&mut self) {
        self.heard.clear();
    }

    pub(super) fn heard(&mut self, peer: u64, now: u64) {
        self.heard.insert(peer, now);
    }

    /// When this peer last answered.
    pub(super) fn last_heard(&self, peer: u64) -> Option<u64> {
        self.heard.get(&peer).copied()
    }

    /// The latest time by which a quorum had answered; `u64::MAX` if this server is the quorum,
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
