//! The health of the servers: who may be counted on, and since when.

use std::collections::BTreeMap;

use super::{Rules, Standing};

/// What raft says of one member now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sign {
    /// Milliseconds since the leader heard from it; none if not in this term. 0 for the leader.
    pub silent_ms: Option<u64>,
    /// Last entry it is known to have.
    pub last_index: u64,
    /// Its term.
    pub last_term: u64,
}

/// What is thought of one server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// As [`Sign::silent_ms`]; none for a server that cannot be reached, and then the rest is nothing too.
    pub silent_ms: Option<u64>,
    /// Last entry it is known to have.
    pub last_index: u64,
    /// Its term.
    pub last_term: u64,
    /// It may be counted on.
    pub healthy: bool,
    /// Since when it is so, milliseconds since the Unix epoch; 0 for a server that cannot be reached.
    pub stable_since_ms: u64,
}

impl Verdict {
    /// Healthy for so long.
    pub const fn is_stable(&self, for_ms: u64, now_ms: u64) -> bool {
        self.healthy && now_ms.saturating_sub(self.stable_since_ms) >= for_ms
    }
}

/// What healthy servers are measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// The configuration.
    pub rules: Rules,
    /// Last index of the leader.
    pub last_index: u64,
    /// Its term.
    pub last_term: u64,
    /// Milliseconds between two heartbeats: so long a silence says nothing.
    pub heartbeat_ms: u64,
    /// Milliseconds of silence after which a server counts as out of reach.
    pub unreachable_ms: u64,
}

/// The health of all members, by raft ID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    servers: BTreeMap<u64, Verdict>,
}

impl Health {
    /// Looks at all members anew. `standing` is none for a member that gossip does not know.
    pub fn observe(
        &mut self,
        members: impl IntoIterator<Item = (u64, Option<Standing>, Sign)>,
        measure: &Measure,
        now_ms: u64,
    ) {
        let before = std::mem::take(&mut self.servers);
        for (id, standing, sign) in members {
            self.servers.insert(id, judge(before.get(&id), standing, sign, measure, now_ms));
        }
    }

    /// One server's.
    pub fn of(&self, id: u64) -> Option<&Verdict> {
        self.servers.get(&id)
    }

    /// All servers are healthy.
    pub fn is_healthy(&self) -> bool {
        !self.servers.is_empty() && self.servers.values().all(|verdict| verdict.healthy)
    }

    /// How many more voters may fail while the group still works, by Consul's count.
    pub fn failure_tolerance(&self, voters: &[u64]) -> u64 {
        let healthy = voters.iter().filter(|id| self.of(**id).is_some_and(|verdict| verdict.healthy)).count();
        let quorum = voters.len() / 2 + 1;
        u64::try_from(healthy.saturating_sub(quorum)).unwrap_or(u64::MAX)
    }
}

fn judge(
    before: Option<&Verdict>,
    standing: Option<Standing>,
    sign: Sign,
    measure: &Measure,
    now_ms: u64,
) -> Verdict {
    let Some(silent) = sign.silent_ms.filter(|silent| *silent <= measure.unreachable_ms) else {
        return Verdict::default();
    };
    let healthy = standing == Some(Standing::Alive)
        && silent <= measure.rules.contact_ms.saturating_add(measure.heartbeat_ms)
        && sign.last_term == measure.last_term
        && sign.last_index.saturating_add(measure.rules.trailing) >= measure.last_index;
    let stable_since_ms = match before {
        Some(before) if before.healthy == healthy && before.silent_ms.is_some() => before.stable_since_ms,
        _ => now_ms,
    };
    Verdict {
        silent_ms: Some(silent),
        last_index: sign.last_index,
        last_term: sign.last_term,
        healthy,
        stable_since_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURE: Measure = Measure {
        rules: Rules { cleanup: true, contact_ms: 200, trailing: 10, min_quorum: 0, stabilization_ms: 1_000 },
        last_index: 100,
        last_term: 3,
        heartbeat_ms: 50,
        unreachable_ms: 2_000,
    };
    const GOOD: Sign = Sign { silent_ms: Some(20), last_index: 100, last_term: 3 };

    #[test]
    fn who_is_healthy() {
        let alive = Some(Standing::Alive);
        let table = [
            ("well", alive, GOOD, true),
            ("silent within a heartbeat", alive, Sign { silent_ms: Some(250), ..GOOD }, true),
            ("silent", alive, Sign { silent_ms: Some(251), ..GOOD }, false),
            ("never heard", alive, Sign { silent_ms: None, ..GOOD }, false),
            ("a little behind", alive, Sign { last_index: 90, ..GOOD }, true),
            ("behind", alive, Sign { last_index: 89, ..GOOD }, false),
            ("of another term", alive, Sign { last_term: 2, ..GOOD }, false),
            ("failed", Some(Standing::Failed), GOOD, false),
            ("leaving", Some(Standing::Leaving), GOOD, false),
            ("unknown to gossip", None, GOOD, false),
        ];
        for (name, standing, sign, healthy) in table {
            let mut health = Health::default();
            health.observe([(1, standing, sign)], &MEASURE, 5_000);
            assert_eq!(health.of(1).unwrap().healthy, healthy, "{name}");
            assert_eq!(health.is_healthy(), healthy, "{name}");
        }
    }

    #[test]
    fn stable_since_the_last_change() {
        let mut health = Health::default();
        let mut at = |now_ms, sign| {
            health.observe([(1, Some(Standing::Alive), sign)], &MEASURE, now_ms);
            *health.of(1).unwrap()
        };
        assert_eq!(at(1_000, GOOD).stable_since_ms, 1_000);
        let later = at(1_900, GOOD);
        assert_eq!(later.stable_since_ms, 1_000);
        assert!(!later.is_stable(1_000, 1_900) && later.is_stable(1_000, 2_000));
        assert_eq!(at(2_100, Sign { last_index: 0, ..GOOD }).stable_since_ms, 2_100);
        assert_eq!(at(2_200, Sign { silent_ms: None, ..GOOD }), Verdict::default(), "out of reach");
        assert_eq!(at(2_300, GOOD).stable_since_ms, 2_300);
        assert!(!Verdict::default().is_stable(0, 9_999), "what is not healthy is never stable");
    }

    #[test]
    fn tolerance_counts_healthy_voters() {
        // Voters, how many of them are healthy, what Consul says.
        for (voters, healthy, want) in
            [(1, 1, 0), (2, 2, 0), (3, 3, 1), (3, 2, 0), (4, 4, 1), (5, 5, 2), (5, 3, 0)]
        {
            let mut health = Health::default();
            let sign = |id| if id <= healthy { GOOD } else { Sign::default() };
            health.observe((1..=voters).map(|id| (id, Some(Standing::Alive), sign(id))), &MEASURE, 0);
            let ids: Vec<u64> = (1..=voters).collect();
            assert_eq!(health.failure_tolerance(&ids), want, "{healthy} of {voters}");
        }
    }
}
