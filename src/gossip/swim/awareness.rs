//! How much this member trusts its own judgement (Lifeguard's local health multiplier).
//!
//! A member whose probes fail, whose helpers stay silent, or that has to object to its own death, is
//! probably the one that is slow; it then gives others more time.

use std::time::Duration;

/// The score: 0 is healthy.
#[derive(Debug, Clone)]
pub(super) struct Awareness {
    score: u32,
    worst: u32,
}

impl Awareness {
    /// A healthy one; scores stay below `max`.
    pub(super) fn new(max: u32) -> Self {
        Self { score: 0, worst: max.saturating_sub(1) }
    }

    /// Now.
    pub(super) fn score(&self) -> u32 {
        self.score
    }

    /// It went well.
    pub(super) fn better(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// It went wrong by so much.
    pub(super) fn worse(&mut self, by: u32) {
        self.score = self.score.saturating_add(by).min(self.worst);
    }

    /// How long to wait where the healthy wait this long.
    pub(super) fn scale(&self, interval: Duration) -> Duration {
        interval.saturating_mul(self.score + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_stays_between_healthy_and_worst_and_stretches_time() {
        let mut awareness = Awareness::new(8);
        awareness.better();
        assert_eq!(awareness.score(), 0);
        awareness.worse(3);
        assert_eq!(awareness.scale(Duration::from_secs(1)), Duration::from_secs(4));
        awareness.worse(u32::MAX);
        assert_eq!(awareness.score(), 7);
        awareness.better();
        assert_eq!(awareness.score(), 6);
    }

    #[test]
    fn a_maximum_of_one_switches_it_off() {
        let mut awareness = Awareness::new(1);
        awareness.worse(5);
        assert_eq!(awareness.score(), 0);
    }
}
