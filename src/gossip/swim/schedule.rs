//! When what is due: the grid of ticks, the order of probes, and how both depend on the pool's size.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha12Rng;

use crate::gossip::time::Moment;

/// Up to this many members, full exchanges are not stretched.
const UNSTRETCHED: u32 = 32;

/// How often each message is sent in a pool of `members`: `mult * ceil(log10(n + 1))`.
pub fn transmits(mult: u32, members: usize) -> u32 {
    mult.saturating_mul(members.checked_ilog10().map_or(0, |digits| digits + 1))
}

/// Between two full exchanges in a pool of `members`: `interval * (ceil(log2(n) - log2(32)) + 1)` beyond 32.
pub(super) fn push_pull_interval(interval: Duration, members: usize) -> Duration {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    if members <= UNSTRETCHED {
        return interval;
    }
    // The exponent of the smallest power of two that is not below.
    let log2 = u32::BITS - (members - 1).leading_zeros();
    interval.saturating_mul(log2 - UNSTRETCHED.ilog2() + 1)
}

/// Ticks at equal distances, from a random start on, so that members do not march in step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticker {
    pub(super) next: Moment,
    interval: Duration,
}

impl Ticker {
    /// One that never ticks if the interval is zero.
    pub(super) fn new(now: Moment, interval: Duration, rng: &mut ChaCha12Rng) -> Self {
        let next = if interval.is_zero() { Moment::NEVER } else { now + interval + stagger(interval, rng) };
        Self { next, interval }
    }

    /// Whether a tick is due; then the next one is the first on the grid after now.
    pub(super) fn due(&mut self, now: Moment) -> bool {
        let due = self.next <= now;
        self.skip(now);
        due
    }

    /// Passes over what is due.
    pub(super) fn skip(&mut self, now: Moment) {
        if self.next <= now && !self.interval.is_zero() {
            let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
            let late = now.0 - self.next.0;
            self.next = Moment(now.0.saturating_add(interval - late % interval));
        }
    }
}

/// A random part of an interval.
pub(super) fn stagger(interval: Duration, rng: &mut ChaCha12Rng) -> Duration {
    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    if nanos == 0 { Duration::ZERO } else { Duration::from_nanos(rng.random_range(0..nanos)) }
}

/// The order in which members are probed: shuffled anew after each round, so that everybody is probed within
/// two rounds at most (SWIM, section 4.3).
#[derive(Debug, Default)]
pub(super) struct ProbeOrder {
    places: Vec<u32>,
    next: usize,
}

impl ProbeOrder {
    /// Adds a new member at a random point of the round.
    pub(super) fn insert(&mut self, place: u32, rng: &mut ChaCha12Rng) {
        self.places.push(place);
        let last = self.places.len() - 1;
        self.places.swap(rng.random_range(0..=last), last);
    }

    /// The next one; `None` at the end of the round.
    pub(super) fn next(&mut self) -> Option<u32> {
        let place = self.places.get(self.next).copied()?;
        self.next += 1;
        Some(place)
    }

    /// Starts a round over so many members.
    pub(super) fn restart(&mut self, members: usize, rng: &mut ChaCha12Rng) {
        self.next = 0;
        self.places.clear();
        self.places.extend(0..u32::try_from(members).unwrap_or(u32::MAX));
        for last in (1..self.places.len()).rev() {
            self.places.swap(rng.random_range(0..=last), last);
        }
    }

    /// All places, in the order of this round.
    pub(super) fn places(&self) -> &[u32] {
        &self.places
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn messages_are_sent_more_often_in_larger_pools() {
        let times = [0, 1, 9, 10, 99, 100, 9_999, 10_000].map(|members| transmits(4, members));
        assert_eq!(times, [0, 4, 4, 8, 8, 12, 16, 20]);
    }

    #[test]
    fn full_exchanges_are_stretched_beyond_32_members() {
        let seconds = [1, 32, 33, 64, 65, 128, 10_000]
            .map(|members| push_pull_interval(Duration::from_secs(30), members).as_secs());
        assert_eq!(seconds, [30, 30, 60, 60, 90, 90, 300]);
    }

    #[test]
    fn ticks_stay_on_their_grid_however_late_the_host_is() {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let start = Moment(5_000_000_000);
        let mut ticker = Ticker::new(start, Duration::from_secs(1), &mut rng);
        let first = ticker.next;
        assert!(first >= start + Duration::from_secs(1) && first < start + Duration::from_secs(2));
        assert!(!ticker.due(Moment(first.0 - 1)));
        assert!(ticker.due(first));
        assert_eq!(ticker.next, first + Duration::from_secs(1));
        assert!(ticker.due(first + Duration::from_millis(3_700)));
        assert_eq!(ticker.next, first + Duration::from_secs(4));
        let mut never = Ticker::new(start, Duration::ZERO, &mut rng);
        assert!(!never.due(first));
    }

    #[test]
    fn a_round_meets_everybody_once() {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let mut order = ProbeOrder::default();
        for place in 0..5 {
            order.insert(place, &mut rng);
        }
        for members in [5, 7, 0, 2] {
            let mut round: Vec<u32> = std::iter::from_fn(|| order.next()).collect();
            let all = round.len();
            round.sort_unstable();
            assert!(round.into_iter().eq(0..u32::try_from(all).unwrap()));
            order.restart(members, &mut rng);
            assert_eq!(order.places().len(), members);
        }
    }
}
