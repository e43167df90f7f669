//! What was heard lately: tells news from repeats, for user events and queries.
//!
//! Everything of the last 512 Lamport times is remembered; what is older, or older than a minimum, is not
//! listened to any more. So nothing is given out twice, and nothing has to be remembered for ever.
//!
//! Source: sections 7.5 and 7.6 of the project's notes on the gossip wire. There it is a ring of slots; here a
//! sorted map with the same reach, because most slots are empty most of the time.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::clock::{Clock, LTime};

/// What a message turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Never heard before.
    News,
    /// Heard before.
    Repeat,
    /// Too old to tell, or from before the minimum.
    Old,
}

/// The messages of the last Lamport times.
#[derive(Debug)]
pub struct Window<T> {
    by_time: BTreeMap<LTime, SmallVec<[T; 1]>>,
    /// How many Lamport times are remembered.
    span: u64,
    /// Earlier ones are not listened to.
    minimum: LTime,
    /// Cost of all that is remembered, and how much may be.
    cost: usize,
    most: usize,
}

impl<T> Window<T> {
    /// Of `span` Lamport times, and of messages that together cost at most `most`.
    pub fn new(span: usize, most: usize) -> Self {
        let span = u64::try_from(span).unwrap_or(u64::MAX).max(1);
        Self { by_time: BTreeMap::new(), span, minimum: 0, cost: 0, most }
    }

    /// Listens to nothing earlier than this from now on.
    pub fn raise_minimum(&mut self, minimum: LTime) {
        self.minimum = self.minimum.max(minimum);
    }

    /// The earliest time that is listened to.
    #[cfg(test)]
    pub fn minimum(&self) -> LTime {
        self.minimum
    }

    /// What is remembered, by time.
    pub fn iter(&self) -> impl Iterator<Item = (LTime, &[T])> {
        self.by_time.iter().map(|(ltime, row)| (*ltime, row.as_slice()))
    }

    /// Takes in a message of this time. `same` says whether another is the same; `make` makes what is
    /// remembered of it, and `cost` what that costs.
    ///
    /// If all together cost too much, the earliest times are forgotten and not listened to any more.
    pub fn hear(
        &mut self,
        clock: &mut Clock,
        ltime: LTime,
        same: impl Fn(&T) -> bool,
        make: impl FnOnce() -> T,
        cost: impl Fn(&T) -> usize,
    ) -> Heard {
        clock.witness(ltime);
        let earliest = self.minimum.max(clock.time().saturating_sub(self.span));
        if ltime < earliest || ltime >= clock.time() {
            return Heard::Old;
        }
        let row = self.by_time.entry(ltime).or_default();
        if row.iter().any(same) {
            return Heard::Repeat;
        }
        let item = make();
        self.cost += cost(&item);
        row.push(item);
        while let Some(entry) = self.by_time.first_entry() {
            let first = *entry.key();
            if first >= earliest && self.cost <= self.most {
                break;
            }
            self.cost = self.cost.saturating_sub(entry.get().iter().map(&cost).sum());
            entry.remove();
            self.minimum = self.minimum.max(first + 1);
        }
        Heard::News
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hear(window: &mut Window<u8>, clock: &mut Clock, ltime: LTime, item: u8) -> Heard {
        window.hear(clock, ltime, |other| *other == item, || item, |_| 1)
    }

    #[test]
    fn a_message_is_news_once() {
        let (mut window, mut clock) = (Window::new(512, 1_000), Clock::default());
        assert_eq!(hear(&mut window, &mut clock, 5, 1), Heard::News);
        assert_eq!(hear(&mut window, &mut clock, 5, 1), Heard::Repeat);
        assert_eq!(hear(&mut window, &mut clock, 5, 2), Heard::News, "another one of the same time");
        assert_eq!(hear(&mut window, &mut clock, 6, 1), Heard::News, "the same one at another time");
        assert_eq!(clock.time(), 7);
    }

    #[test]
    fn what_is_older_than_the_window_is_not_heard() {
        let (mut window, mut clock) = (Window::new(512, 1_000), Clock::default());
        assert_eq!(hear(&mut window, &mut clock, 1_000, 1), Heard::News);
        assert_eq!(hear(&mut window, &mut clock, 1_001 - 512, 1), Heard::News, "just young enough");
        assert_eq!(hear(&mut window, &mut clock, 1_001 - 513, 1), Heard::Old);
        assert_eq!(hear(&mut window, &mut clock, 2_000, 1), Heard::News);
        assert_eq!(window.iter().count(), 1, "the old ones are forgotten");
    }

    #[test]
    fn what_is_older_than_the_minimum_is_not_heard() {
        let (mut window, mut clock) = (Window::new(512, 1_000), Clock::default());
        window.raise_minimum(10);
        window.raise_minimum(7);
        assert_eq!(hear(&mut window, &mut clock, 9, 1), Heard::Old);
        assert_eq!(hear(&mut window, &mut clock, 10, 1), Heard::News);
    }

    #[test]
    fn a_forged_time_is_not_heard() {
        let (mut window, mut clock) = (Window::new(512, 1_000), Clock::default());
        assert_eq!(hear(&mut window, &mut clock, u64::MAX, 1), Heard::Old);
        assert_eq!(hear(&mut window, &mut clock, 1, 1), Heard::News);
    }

    #[test]
    fn a_flood_is_bounded_and_still_nothing_is_news_twice() {
        let (mut window, mut clock) = (Window::new(512, 4), Clock::default());
        for item in 0..4 {
            assert_eq!(hear(&mut window, &mut clock, 1 + u64::from(item), item), Heard::News);
        }
        assert_eq!(hear(&mut window, &mut clock, 5, 4), Heard::News);
        assert_eq!(window.iter().count(), 4);
        assert_eq!(hear(&mut window, &mut clock, 1, 0), Heard::Old, "forgotten, so not listened to");
        assert_eq!(hear(&mut window, &mut clock, 2, 1), Heard::Repeat);
    }

    proptest! {
        #[test]
        fn nothing_is_news_twice(
            heard in prop::collection::vec((1..80_u64, 0..4_u8), 0..300),
            span in 1..64_usize,
            most in 1..64_usize,
        ) {
            let (mut window, mut clock) = (Window::new(span, most), Clock::default());
            let mut news = std::collections::BTreeSet::new();
            for (ltime, item) in heard {
                let known = news.contains(&(ltime, item));
                match hear(&mut window, &mut clock, ltime, item) {
                    Heard::News => prop_assert!(news.insert((ltime, item)), "twice: {} {}", ltime, item),
                    Heard::Repeat => prop_assert!(known),
                    Heard::Old => prop_assert!(
                        ltime < window.minimum() || ltime + u64::try_from(span).unwrap() < clock.time()
                    ),
                }
                prop_assert!(window.cost <= most);
                let remembered: usize = window.iter().map(|(_, row)| row.len()).sum();
                prop_assert_eq!(remembered, window.cost);
            }
        }
    }
}
