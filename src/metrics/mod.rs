//! What the agent counts and times: one registry, written by atomics, read by whoever shows it.
//!
//! Recording takes no lock and allocates nothing, so it may stand beside a read of a key. Counts and times
//! are kept twice: since the start, and for the interval that runs, which [`Metrics::roll`] closes every
//! [`INTERVAL`] seconds and keeps as the finished one. Names are those Consul documents; every series is
//! there from the start. May not enter: clocks (durations and times are arguments), HTTP, and the cores,
//! which are measured from their shells.

mod http;
mod names;
mod naming;
mod series;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

pub use http::{HttpRoute, HttpTimers};
pub use names::{Counter, Gauge, Label, Timer};
pub use naming::Naming;
pub use series::{Stats, Totals};

use series::{Counted, Series};

/// Length of an interval, seconds.
pub const INTERVAL: u64 = 10;

/// Labels of a series: name and value.
pub type Labels = Vec<(&'static str, String)>;

/// A timed series, as it is to be shown.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Name without prefix.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// Of the interval asked for, milliseconds.
    pub interval: Stats,
    /// Since the start, milliseconds.
    pub total: Totals,
    /// Median, 0.9 and 0.99 quantile of the last intervals, milliseconds; not a number without values.
    pub quantiles: [f64; 3],
}

/// A counted series, as it is to be shown.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    /// Name without prefix.
    pub name: &'static str,
    /// In the interval asked for.
    pub interval: u64,
    /// Since the start.
    pub total: u64,
}

/// The interval that runs and the one before it, seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    began: u64,
    finished: Option<u64>,
}

/// The registry. Shared by everything that measures.
#[derive(Debug)]
pub struct Metrics {
    timers: Box<[Series]>,
    counters: Box<[Counted]>,
    gauges: Box<[AtomicU64]>,
    http: OnceLock<Arc<HttpTimers>>,
    window: Mutex<Window>,
    naming: Naming,
    node: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Naming::default(), "", 0)
    }
}

impl Metrics {
    /// All series of the agent with this node name, at zero; `now` is the time in seconds since the Unix epoch.
    pub fn new(naming: Naming, node: &str, now: u64) -> Self {
        Self {
            timers: Timer::ALL.iter().map(|_| Series::default()).collect(),
            counters: Counter::ALL.iter().map(|_| Counted::default()).collect(),
            gauges: Gauge::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            http: OnceLock::new(),
            window: Mutex::new(Window { began: now - now % INTERVAL, finished: None }),
            naming,
            node: node.to_owned(),
        }
    }

    /// How names are written, and which are shown.
    pub const fn naming(&self) -> &Naming {
        &self.naming
    }

    /// One more.
    pub fn count(&self, counter: Counter) {
        if let Some(counted) = self.counters.get(counter as usize) {
            counted.add(1);
        }
    }

    /// So many more.
    pub fn add(&self, counter: Counter, more: u64) {
        if let Some(counted) = self.counters.get(counter as usize) {
            counted.add(more);
        }
    }

    /// This took so long.
    pub fn time(&self, timer: Timer, elapsed: Duration) {
        if let Some(series) = self.timers.get(timer as usize) {
            series.record(elapsed);
        }
    }

    /// This is so much now.
    pub fn set(&self, gauge: Gauge, value: u64) {
        if let Some(cell) = self.gauges.get(gauge as usize) {
            cell.store(value, Ordering::Relaxed);
        }
    }

    /// The value last set; 0 before.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges.get(gauge as usize).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// The timers of the HTTP API, made when they are first asked for.
    pub fn http(&self, routes: &[HttpRoute]) -> Arc<HttpTimers> {
        Arc::clone(self.http.get_or_init(|| Arc::new(HttpTimers::new(routes))))
    }

    /// Closes the interval if it is over at `now`, seconds since the Unix epoch. To be called at least
    /// once in every [`INTERVAL`].
    pub fn roll(&self, now: u64) {
        let mut window = self.window.lock();
        let began = now - now % INTERVAL;
        // A clock that was set back begins a new interval too.
        if began == window.began {
            return;
        }
        *window = Window { began, finished: Some(window.began) };
        self.timers.iter().for_each(Series::roll);
        self.counters.iter().for_each(Counted::roll);
        if let Some(http) = self.http.get() {
            http.roll();
        }
    }

    /// Start of the interval that [`Metrics::samples`] and [`Metrics::counts`] show, seconds since the Unix
    /// epoch: the last finished one, or the first before that.
    pub fn shown_interval(&self) -> u64 {
        let window = *self.window.lock();
        window.finished.unwrap_or(window.began)
    }

    /// All timed series by name.
    pub fn samples(&self) -> Vec<Sample> {
        let fixed = Timer::ALL.iter().zip(&self.timers).map(|((name, label), series)| {
            let labels = match *label {
                Label::None => Labels::new(),
                Label::Op(op) => vec![("op", op.to_owned())],
                Label::Node => vec![("node", self.node.clone())],
            };
            series.show((*name).to_owned(), labels)
        });
        let mut samples: Vec<Sample> = fixed.collect();
        if let Some(http) = self.http.get() {
            http.show(&mut samples);
        }
        samples.sort_by(|one, other| (&one.name, &one.labels).cmp(&(&other.name, &other.labels)));
        samples
    }

    /// All counted series by name.
    pub fn counts(&self) -> Vec<Count> {
        let finished = self.window.lock().finished.is_some();
        let shown = Counter::ALL.iter().zip(&self.counters);
        let mut counts: Vec<Count> = shown.map(|(name, counted)| counted.show(name, finished)).collect();
        counts.sort_by_key(|count| count.name);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_finished_by_time() {
        let metrics = Metrics::new(Naming::default(), "node1", 1_005);
        let find = |metrics: &Metrics| {
            let sample = metrics.samples().into_iter().find(|sample| sample.name == "kvs.apply").unwrap();
            let count = metrics.counts().into_iter().find(|count| count.name == "raft.apply").unwrap();
            (sample, count)
        };
        let (sample, count) = find(&metrics);
        assert_eq!((metrics.shown_interval(), sample.interval.count, count.total), (1_000, 0, 0));
        assert!(sample.quantiles.iter().all(|value| value.is_nan()));
        for milliseconds in [1, 3] {
            metrics.time(Timer::KvsApply, Duration::from_millis(milliseconds));
            metrics.count(Counter::RaftApply);
        }
        metrics.roll(1_009);
        let (sample, count) = find(&metrics);
        assert_eq!(
            (sample.interval.count, count.interval),
            (2, 2),
            "the first interval is shown while it runs"
        );
        metrics.roll(1_010);
        metrics.time(Timer::KvsApply, Duration::from_millis(100));
        let (sample, count) = find(&metrics);
        assert_eq!(metrics.shown_interval(), 1_000);
        assert_eq!((sample.interval.count, count.interval, count.total), (2, 2, 2));
        assert_eq!((sample.interval.sum, sample.interval.least, sample.interval.most), (4.0, 1.0, 3.0));
        assert!((sample.interval.mean() - 2.0).abs() < 1e-9);
        assert!((sample.interval.deviation() - 2.0_f64.sqrt()).abs() < 1e-9);
        assert_eq!((sample.total.count, sample.total.sum), (3, 104.0));
        metrics.roll(1_020);
        metrics.roll(1_030);
        let (sample, count) = find(&metrics);
        assert_eq!((sample.interval.count, count.interval, count.total), (0, 0, 2));
        assert_eq!((sample.total.count, sample.total.sum), (3, 104.0));
        assert!(sample.quantiles.iter().all(|value| value.is_nan()), "old values are forgotten");
    }

    #[test]
    fn a_gauge_is_what_was_set() {
        let metrics = Metrics::default();
        metrics.set(Gauge::SessionTtlActive, 4);
        assert_eq!(metrics.gauge(Gauge::SessionTtlActive), 4);
    }
}
