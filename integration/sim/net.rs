//! The network: loss, delay, duplication, reordering by delay, and one-way cuts.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

#[derive(Debug)]
pub struct Net {
    /// (from, to) pairs that hear nothing of each other in this direction.
    cuts: BTreeSet<(u64, u64)>,
    pub faults: bool,
}

impl Net {
    pub fn new(faults: bool) -> Self {
        Self { cuts: BTreeSet::new(), faults }
    }

    /// Delays in ms after which copies of a message arrive; none if it is lost.
    pub fn delays(&self, from: u64, to: u64, rng: &mut ChaCha8Rng) -> Vec<u64> {
        if self.cuts.contains(&(from, to)) {
            return Vec::new();
        }
        let usual = |rng: &mut ChaCha8Rng| rng.random_range(1..8);
        if !self.faults {
            return vec![usual(rng)];
        }
        match rng.random_range(0..100) {
            0..3 => Vec::new(),
            3..6 => vec![usual(rng), rng.random_range(1..400)],
            6..12 => vec![rng.random_range(1..400)],
            _ => vec![usual(rng)],
        }
    }

    /// Cuts one direction, or everything to and from one server, or a split down the middle.
    pub fn cut(&mut self, ids: &[u64], rng: &mut ChaCha8Rng) {
        let some = ids[rng.random_range(0..ids.len())];
        match rng.random_range(0..4) {
            0 => self.cuts.extend(ids.iter().map(|id| (some, *id))),
            1 => self.cuts.extend(ids.iter().map(|id| (*id, some))),
            2 => self.cuts.extend(ids.iter().flat_map(|id| [(some, *id), (*id, some)])),
            _ => {
                let (left, right) = ids.split_at(rng.random_range(0..ids.len()));
                for (one, other) in left.iter().flat_map(|one| right.iter().map(move |other| (*one, *other)))
                {
                    self.cuts.extend([(one, other), (other, one)]);
                }
            }
        }
    }

    pub fn heal(&mut self) {
        self.cuts.clear();
    }
}
