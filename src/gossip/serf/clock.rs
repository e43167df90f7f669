//! Lamport clocks: the order of what is told, without anybody's watch.
//!
//! Source: "Time, Clocks, and the Ordering of Events in a Distributed System" (Lamport 1978); section 7.2 of
//! the project's notes on the gossip wire.

/// A Lamport time.
pub type LTime = u64;

/// Later times are taken for forgeries, unless the clock is there already: one that was dragged to the end of
/// its range could not tell anything new from anything old.
const LATEST: LTime = 1 << 62;
/// How far a clock beyond [`LATEST`] still follows others.
const SLACK: LTime = 1 << 32;

/// A Lamport clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock(LTime);

impl Default for Clock {
    fn default() -> Self {
        Self(1)
    }
}

impl Clock {
    /// What it shows: the time of the next message.
    pub fn time(self) -> LTime {
        self.0
    }

    /// Gives out the time of a message, and moves on.
    pub fn tick(&mut self) -> LTime {
        let time = self.0;
        self.witness(time);
        time
    }

    /// Whether a time can be one of this pool.
    pub fn believes(self, time: LTime) -> bool {
        time <= LATEST || time.saturating_sub(self.0) <= SLACK
    }

    /// Moves beyond a time that was heard of, if it is believed.
    pub fn witness(&mut self, time: LTime) {
        if time >= self.0 && self.believes(time) {
            self.0 = time.saturating_add(1);
        }
    }
}

/// The three clocks of a pool, as they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Of joining and leaving.
    pub member: LTime,
    /// Of user events.
    pub event: LTime,
    /// Of queries.
    pub query: LTime,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_clock_begins_at_one_and_gives_each_time_once() {
        let mut clock = Clock::default();
        assert_eq!((clock.tick(), clock.tick(), clock.time()), (1, 2, 3));
    }

    #[test]
    fn a_forged_time_does_not_drag_the_clock() {
        let mut clock = Clock::default();
        clock.witness(u64::MAX);
        clock.witness(LATEST + 1);
        assert_eq!(clock.time(), 1);
        clock.witness(LATEST);
        assert_eq!((clock.tick(), clock.tick(), clock.time()), (LATEST + 1, LATEST + 2, LATEST + 3));
        assert!(clock.believes(LATEST + 4) && !clock.believes(u64::MAX));
    }

    proptest! {
        #[test]
        fn what_is_told_is_later_than_all_that_was_heard(heard in prop::collection::vec(0..=LATEST, 0..50)) {
            let mut clock = Clock::default();
            for time in &heard {
                let before = clock.time();
                clock.witness(*time);
                prop_assert!(clock.time() >= before && clock.time() > *time);
            }
            let latest = heard.iter().max().copied().unwrap_or(0);
            prop_assert_eq!(clock.time(), latest.saturating_add(1).max(1));
        }
    }
}
