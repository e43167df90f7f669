//! Seeded random choices: a failing run prints its seed, and the seed gives the same choices again.

use std::time::{SystemTime, UNIX_EPOCH};

/// The `SplitMix64` generator. Good enough to choose moments and keys by, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of this run: the variable `TRIBUNE_SEED` if set, else the time of day.
    pub fn seed_of_this_run() -> u64 {
        std::env::var("TRIBUNE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(1, |now| now.as_secs() ^ u64::from(now.subsec_nanos()))
        })
    }

    /// 64 random bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `from..to`.
    pub const fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from)
    }

    /// An independent generator.
    pub const fn fork(&mut self) -> Self {
        Self(self.next())
    }
}
