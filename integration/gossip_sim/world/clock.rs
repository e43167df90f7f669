//! Clocks that nobody sets: each runs at its own rate from its own start.

use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use tribune::gossip::Moment;

/// A rate in millionths.
const PAR: u64 = 1_000_000;

/// A host's clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    offset: u64,
    rate: u64,
}

impl Clock {
    /// One that shows the world's time.
    pub fn exact() -> Self {
        Self { offset: 0, rate: PAR }
    }

    /// One with a start of its own that runs up to a tenth too fast or too slow.
    pub fn by_chance(rng: &mut ChaCha12Rng) -> Self {
        Self { offset: rng.random_range(0..1 << 50), rate: rng.random_range(900_000..=1_100_000) }
    }

    /// What it shows when the world is `world` nanoseconds old.
    pub fn shows(self, world: u64) -> Moment {
        let passed = u128::from(world) * u128::from(self.rate) / u128::from(PAR);
        Moment(self.offset + u64::try_from(passed).expect("worlds do not grow that old"))
    }

    /// The first time of the world at which it shows this; `u64::MAX` for never.
    pub fn when(self, shown: Moment) -> u64 {
        if shown == Moment::NEVER {
            return u64::MAX;
        }
        let passed = u128::from(shown.0.saturating_sub(self.offset)) * u128::from(PAR);
        u64::try_from(passed.div_ceil(u128::from(self.rate))).unwrap_or(u64::MAX)
    }
}
