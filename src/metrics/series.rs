//! The cells that are written, and what is read out of them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Count, INTERVAL, Labels, Sample};

/// The shortest and the longest time told apart, as powers of two of nanoseconds: 1 µs and 18 minutes.
const OCTAVES: std::ops::Range<u32> = 10..40;
/// Steps within an octave: a quantile is right to one part in sixteen.
const STEPS: u32 = 8;
const BUCKETS: usize = ((OCTAVES.end - OCTAVES.start) * STEPS) as usize;
/// The quantiles that are shown.
pub const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// A summary of the values of an interval, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stats {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least, 0 without any.
    pub least: f64,
    /// The greatest.
    pub most: f64,
    squares: f64,
}

impl Stats {
    /// Sum per second.
    pub fn rate(&self) -> f64 {
        self.sum / float(INTERVAL)
    }

    /// Their mean, 0 without any.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / float(self.count) }
    }

    /// Their sample standard deviation, 0 with fewer than two.
    pub fn deviation(&self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        let count = float(self.count);
        let spread = count.mul_add(self.squares, -(self.sum * self.sum));
        (spread.max(0.0) / (count * (count - 1.0))).sqrt()
    }

    /// Of something counted by ones.
    pub fn of_ones(count: u64) -> Self {
        let one = if count == 0 { 0.0 } else { 1.0 };
        Self { count, sum: float(count), least: one, most: one, squares: float(count) }
    }
}

/// All values since the start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// How many.
    pub count: u64,
    /// Their sum, milliseconds.
    pub sum: f64,
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
const fn float(number: u64) -> f64 {
    number as f64
}

fn milliseconds(nanoseconds: u64) -> f64 {
    float(nanoseconds) / 1e6
}

/// The values of the interval that runs.
#[derive(Debug)]
struct Live {
    buckets: [AtomicU32; BUCKETS],
    /// Nanoseconds.
    sum: AtomicU64,
    /// Bits of a float, square milliseconds.
    squares: AtomicU64,
    /// Nanoseconds; the maximum while there are none.
    least: AtomicU64,
    most: AtomicU64,
}

/// The values of an interval, taken out.
#[derive(Debug, Clone)]
struct Interval {
    stats: Stats,
    buckets: Box<[u32]>,
}

#[derive(Debug, Default)]
struct Past {
    totals: Totals,
    /// An interval was finished.
    rolled: bool,
    /// What it held.
    finished: Option<Interval>,
}

/// A timed series.
#[derive(Debug)]
pub struct Series {
    live: Live,
    /// Touched by nobody who records.
    past: Mutex<Past>,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            live: Live {
                buckets: std::array::from_fn(|_| AtomicU32::new(0)),
                sum: AtomicU64::new(0),
                squares: AtomicU64::new(0),
                least: AtomicU64::new(u64::MAX),
                most: AtomicU64::new(0),
            },
            past: Mutex::default(),
        }
    }
}

/// The bucket of a time.
fn bucket(nanoseconds: u64) -> usize {
    let octave = nanoseconds.max(1).ilog2();
    if octave < OCTAVES.start {
        return 0;
    }
    if octave >= OCTAVES.end {
        return BUCKETS - 1;
    }
    let step = (nanoseconds >> (octave - STEPS.ilog2())) & u64::from(STEPS - 1);
    // Both are small: the range of buckets is.
    ((octave - OCTAVES.start) * STEPS) as usize + usize::try_from(step).unwrap_or(0)
}

/// The middle of a bucket, milliseconds.
fn middle(bucket: usize) -> f64 {
    let bucket = u32::try_from(bucket).unwrap_or(0);
    let (octave, step) = (OCTAVES.start + bucket / STEPS, bucket % STEPS);
    float(1 << octave) * (1.0 + (f64::from(step) + 0.5) / f64::from(STEPS)) / 1e6
}

impl Series {
    /// Takes a value in: four atomic steps, most of them uncontended.
    pub fn record(&self, elapsed: Duration) {
        let live = &self.live;
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        if let Some(cell) = live.buckets.get(bucket(nanoseconds)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        live.sum.fetch_add(nanoseconds, Ordering::Relaxed);
        let square = milliseconds(nanoseconds).powi(2);
        let add = |bits| Some((f64::from_bits(bits) + square).to_bits());
        // It always says yes.
        let _ = live.squares.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        if nanoseconds < live.least.load(Ordering::Relaxed) {
            live.least.fetch_min(nanoseconds, Ordering::Relaxed);
        }
        if nanoseconds > live.most.load(Ordering::Relaxed) {
            live.most.fetch_max(nanoseconds, Ordering::Relaxed);
        }
    }

    fn peek(&self) -> Option<Interval> {
        self.live.read(|cell| cell.load(Ordering::Relaxed), |cell, _| cell.load(Ordering::Relaxed))
    }

    /// Finishes the interval.
    pub fn roll(&self) {
        let taken = self.live.read(
            |cell| match cell.load(Ordering::Relaxed) {
                0 => 0,
                _ => cell.swap(0, Ordering::Relaxed),
            },
            |cell, empty| cell.swap(empty, Ordering::Relaxed),
        );
        let mut past = self.past.lock();
        if let Some(interval) = &taken {
            past.totals.count += interval.stats.count;
            past.totals.sum += interval.stats.sum;
        }
        past.rolled = true;
        past.finished = taken;
    }

    /// As it is to be shown under this name.
    pub fn show(&self, name: String, labels: Labels) -> Sample {
        let past = self.past.lock();
        let live = self.peek();
        let running = live.as_ref().map(|interval| interval.stats).unwrap_or_default();
        let finished = past.finished.as_ref();
        let interval =
            if past.rolled { finished.map(|interval| interval.stats).unwrap_or_default() } else { running };
        let total = Totals { count: past.totals.count + running.count, sum: past.totals.sum + running.sum };
        let recent = [finished, live.as_ref()];
        Sample { name, labels, interval, total, quantiles: quantiles(&recent) }
    }
}

impl Live {
    /// Reads everything, by `bucket` for the buckets and `cell` for the rest, which is told what an empty
    /// cell holds. `None` without values.
    fn read(
        &self,
        bucket: impl Fn(&AtomicU32) -> u32,
        cell: impl Fn(&AtomicU64, u64) -> u64,
    ) -> Option<Interval> {
        if self.most.load(Ordering::Relaxed) == 0 && self.least.load(Ordering::Relaxed) == u64::MAX {
            return None;
        }
        let buckets: Box<[u32]> = self.buckets.iter().map(bucket).collect();
        let count = buckets.iter().map(|count| u64::from(*count)).sum();
        let least = match cell(&self.least, u64::MAX) {
            u64::MAX => 0,
            least => least,
        };
        let stats = Stats {
            count,
            sum: milliseconds(cell(&self.sum, 0)),
            least: milliseconds(least),
            most: milliseconds(cell(&self.most, 0)),
            squares: f64::from_bits(cell(&self.squares, 0)),
        };
        Some(Interval { stats, buckets })
    }
}

fn quantiles(intervals: &[Option<&Interval>]) -> [f64; 3] {
    let intervals = || intervals.iter().copied().flatten();
    let count: u64 = intervals().map(|interval| interval.stats.count).sum();
    if count == 0 {
        return [f64::NAN; 3];
    }
    let least = intervals().map(|interval| interval.stats.least).fold(f64::INFINITY, f64::min);
    let most = intervals().map(|interval| interval.stats.most).fold(0.0, f64::max);
    QUANTILES.map(|quantile| {
        let wanted = (quantile * float(count)).ceil();
        let mut seen = 0;
        for at in 0..BUCKETS {
            seen += intervals()
                .filter_map(|interval| interval.buckets.get(at))
                .map(|count| u64::from(*count))
                .sum::<u64>();
            if float(seen) >= wanted {
                return middle(at).clamp(least.min(most), most);
            }
        }
        most
    })
}

/// A counted series.
#[derive(Debug, Default)]
pub struct Counted {
    total: AtomicU64,
    /// Totals at the beginning of the interval that runs, and of the finished one.
    marks: Mutex<(u64, u64)>,
}

impl Counted {
    /// So many more.
    pub fn add(&self, more: u64) {
        self.total.fetch_add(more, Ordering::Relaxed);
    }

    /// Finishes the interval.
    pub fn roll(&self) {
        let mut marks = self.marks.lock();
        *marks = (self.total.load(Ordering::Relaxed), marks.0);
    }

    /// As it is to be shown under this name; `finished`: an interval was finished.
    pub fn show(&self, name: &'static str, finished: bool) -> Count {
        let (running, before) = *self.marks.lock();
        let total = self.total.load(Ordering::Relaxed);
        let interval = if finished { running - before } else { total };
        Count { name, interval, total }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_cover_every_time() {
        for (nanoseconds, want) in
            [(0, 0), (1_023, 0), (1_024, 0), (1_152, 1), (2_048, 8), (u64::MAX, BUCKETS - 1)]
        {
            assert_eq!(bucket(nanoseconds), want, "{nanoseconds}");
        }
    }

    proptest! {
        #[test]
        fn a_bucket_is_as_exact_as_promised(nanoseconds in 1_u64 << OCTAVES.start..1 << OCTAVES.end) {
            let found = middle(bucket(nanoseconds));
            let value = milliseconds(nanoseconds);
            prop_assert!((found - value).abs() <= value / 15.9, "{found} for {value}");
        }

        #[test]
        fn statistics_are_those_of_the_values(values in prop::collection::vec(1_u64..10_000_000_000, 1..200)) {
            let series = Series::default();
            for value in &values {
                series.record(Duration::from_nanos(*value));
            }
            series.roll();
            let sample = series.show(String::new(), Labels::new());
            let found = sample.interval;
            let plain: Vec<f64> = values.iter().map(|value| milliseconds(*value)).collect();
            let count = float(values.len() as u64);
            let mean = plain.iter().sum::<f64>() / count;
            let variance = plain.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
            let near = |one: f64, other: f64| (one - other).abs() <= 1e-3 + other.abs() * 1e-3;
            prop_assert_eq!(found.count, values.len() as u64);
            prop_assert!(near(found.mean(), mean));
            prop_assert!(near(found.deviation(), variance.sqrt()), "{} {}", found.deviation(), variance.sqrt());
            prop_assert!(near(found.least, plain.iter().copied().fold(f64::INFINITY, f64::min)));
            prop_assert!(near(found.most, plain.iter().copied().fold(0.0, f64::max)));
            prop_assert_eq!(sample.total.count, found.count);
            let [median, ninety, last] = sample.quantiles;
            prop_assert!(found.least <= median && median <= ninety && ninety <= last && last <= found.most);
        }
    }
}
