//! When checks look for the first time: spread over their interval.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Duration;

/// 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Gives out offsets that are as far from each other as they can be, however many there are. Independent
/// ones would gather: of 2,000 checks at 10s some tenth of a second would get twice as many as another.
#[derive(Debug)]
pub(super) struct Offsets {
    next: AtomicU64,
}

impl Offsets {
    /// Begins at a random place, so that the agents of a cluster do not look at the same moment.
    pub fn random() -> Self {
        Self { next: AtomicU64::new(rand::random()) }
    }

    /// The next offset within `interval`.
    pub fn next(&self, interval: Duration) -> Duration {
        let place = self.next.fetch_add(STEP, Ordering::Relaxed);
        let nanos = (u128::from(place) * interval.as_nanos()) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_for_any_number() {
        let interval = Duration::from_secs(10);
        for count in [1_usize, 10, 200, 2000] {
            let offsets = Offsets::random();
            let mut buckets = [0_usize; 10];
            for _ in 0..count {
                let offset = offsets.next(interval);
                assert!(offset < interval, "{count}");
                buckets[usize::try_from(offset.as_secs()).unwrap()] += 1;
            }
            let (least, most) = (buckets.iter().min().unwrap(), buckets.iter().max().unwrap());
            assert!(most - least <= 4, "{count} checks: {buckets:?}");
        }
    }
}
