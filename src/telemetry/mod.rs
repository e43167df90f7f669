//! Logging: tracing events as Consul's log lines, on stdout, in a rotated file, to syslog, and to whoever
//! watches through `/v1/agent/monitor`.
//!
//! One layer formats an event once and hands the line to every sink that wants its level. Levels can be
//! changed at any time; an event nobody wants costs one atomic load. Other crates' events below WARN are
//! shown at level TRACE only. May not enter: actors, HTTP, the state.

mod file;
mod format;
mod layer;
mod syslog;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::{Log, LogLevel};

use self::file::RotatingFile;
use self::format::Event;
use self::layer::ConsulLayer;
use self::syslog::Syslog;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log file cannot be opened.
    #[error("Failed to setup logging: open {path}: {error}")]
    File {
        /// Its path.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// Syslog cannot be reached, or the facility has no known name.
    #[error("Syslog setup failed: {0}")]
    Syslog(String),
    /// Something else took the process's log already.
    #[error("logging is set up already")]
    AlreadyInstalled,
}

/// Lines a watcher may lag behind before it loses some.
const MONITOR_BACKLOG: usize = 512;

/// A handle on the process's logging; clones are the same.
#[derive(Clone)]
pub struct Telemetry {
    shared: Arc<Shared>,
}

impl Telemetry {
    /// Sets the process's logging up: events, records of the `log` crate, and panics.
    ///
    /// # Errors
    /// [`TelemetryError`]; nothing is installed then.
    pub fn install(log: &Log) -> Result<Self, TelemetryError> {
        let telemetry = Self::new(log)?;
        tracing_subscriber::registry()
            .with(telemetry.layer())
            .try_init()
            .map_err(|_| TelemetryError::AlreadyInstalled)?;
        log_panics();
        Ok(telemetry)
    }

    fn new(log: &Log) -> Result<Self, TelemetryError> {
        let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(Stdout { json: log.json })];
        if let Some(path) = &log.file {
            let file = RotatingFile::open(path, log)
                .map_err(|error| TelemetryError::File { path: path.display().to_string(), error })?;
            sinks.push(Box::new(LogFile { file, json: log.json }));
        }
        if log.syslog {
            sinks.push(Box::new(Syslog::connect(&log.syslog_facility).map_err(TelemetryError::Syslog)?));
        }
        Ok(Self::with_sinks(log.level, sinks))
    }

    fn with_sinks(level: LogLevel, sinks: Vec<Box<dyn Sink>>) -> Self {
        let shared = Shared {
            level: AtomicU8::new(rank(level)),
            most_verbose: AtomicU8::new(rank(level)),
            sinks: Mutex::new(sinks),
            watchers: Mutex::new(Vec::new()),
            next_watcher: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    fn layer(&self) -> ConsulLayer {
        ConsulLayer::new(Arc::clone(&self.shared))
    }

    /// Changes the level of stdout, file and syslog.
    pub fn set_level(&self, level: LogLevel) {
        self.shared.level.store(rank(level), Ordering::Relaxed);
        self.shared.adjust();
    }

    /// The level of stdout, file and syslog.
    pub fn level(&self) -> LogLevel {
        level_of(self.shared.level.load(Ordering::Relaxed))
    }

    /// Starts to watch the log at a level of one's own; ends when the [`Monitor`] is dropped.
    pub fn monitor(&self, level: LogLevel, json: bool) -> Monitor {
        let (sender, lines) = mpsc::channel(MONITOR_BACKLOG);
        let dropped = Arc::new(AtomicU64::new(0));
        let id = self.shared.next_watcher.fetch_add(1, Ordering::Relaxed);
        let watcher = Watcher { id, level, json, sender, dropped: Arc::clone(&dropped) };
        self.shared.watchers.lock().push(watcher);
        self.shared.adjust();
        Monitor { id, lines, dropped, shared: Arc::clone(&self.shared) }
    }
}

/// A view of the log from now on.
pub struct Monitor {
    id: u64,
    lines: mpsc::Receiver<String>,
    dropped: Arc<AtomicU64>,
    shared: Arc<Shared>,
}

impl Monitor {
    /// The next line, without indentation and line end.
    pub async fn next(&mut self) -> Option<String> {
        self.lines.recv().await
    }

    /// The next line if there is one already.
    pub fn try_next(&mut self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// Lines lost because they were not taken fast enough.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.shared.watchers.lock().retain(|watcher| watcher.id != self.id);
        self.shared.adjust();
    }
}

struct Watcher {
    id: u64,
    level: LogLevel,
    json: bool,
    sender: mpsc::Sender<String>,
    dropped: Arc<AtomicU64>,
}

/// Where finished lines go. Called with a lock held: must not log.
trait Sink: Send {
    /// Writes one event; what cannot be written is lost.
    fn write(&mut self, event: &Event);
}

struct Stdout {
    json: bool,
}

impl Sink for Stdout {
    fn write(&mut self, event: &Event) {
        let line = if self.json { format!("{}\n", event.json()) } else { format!("    {}\n", event.text()) };
        // A closed stdout must not take the agent down.
        let _ = io::stdout().lock().write_all(line.as_bytes());
    }
}

struct LogFile {
    file: RotatingFile,
    json: bool,
}

impl Sink for LogFile {
    fn write(&mut self, event: &Event) {
        let line = if self.json { format!("{}\n", event.json()) } else { format!("{}\n", event.text()) };
        if let Err(error) = self.file.write_line(line.as_bytes()) {
            let _ = writeln!(io::stderr(), "log file: {error}");
        }
    }
}

/// What the layer and the handles share.
struct Shared {
    /// Rank of the level of the sinks.
    level: AtomicU8,
    /// Rank of the most talkative level of sinks and watchers.
    most_verbose: AtomicU8,
    sinks: Mutex<Vec<Box<dyn Sink>>>,
    watchers: Mutex<Vec<Watcher>>,
    next_watcher: AtomicU64,
}

impl Shared {
    /// Lets tracing know which events anybody wants.
    fn adjust(&self) {
        let watchers = self.watchers.lock().iter().map(|watcher| rank(watcher.level)).min();
        let own = self.level.load(Ordering::Relaxed);
        self.most_verbose.store(watchers.map_or(own, |rank| rank.min(own)), Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    fn most_verbose(&self) -> LogLevel {
        level_of(self.most_verbose.load(Ordering::Relaxed))
    }

    fn publish(&self, event: &Event) {
        if wants(level_of(self.level.load(Ordering::Relaxed)), event) {
            for sink in self.sinks.lock().iter_mut() {
                sink.write(event);
            }
        }
        for watcher in self.watchers.lock().iter() {
            // Not even at TRACE the chatter of other crates: sending a line makes some, without an end.
            let chatter = !event.own && event.level < LogLevel::Warn;
            if chatter || !wants(watcher.level, event) {
                continue;
            }
            let line = if watcher.json { event.json() } else { event.text() };
            if watcher.sender.try_send(line).is_err() {
                watcher.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Whether a reader at `level` is shown the event; other crates' chatter is for level TRACE only.
fn wants(level: LogLevel, event: &Event) -> bool {
    event.level >= level && (event.own || event.level >= LogLevel::Warn || level == LogLevel::Trace)
}

const fn rank(level: LogLevel) -> u8 {
    level as u8
}

const fn level_of(rank: u8) -> LogLevel {
    match rank {
        0 => LogLevel::Trace,
        1 => LogLevel::Debug,
        2 => LogLevel::Info,
        3 => LogLevel::Warn,
        _ => LogLevel::Error,
    }
}

/// Panics become log lines: a panicking probe must leave a trace.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let reason = panic
            .payload()
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.payload().downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no text".to_owned());
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(target: "agent", %location, thread, error = reason, "panic");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Memory(Arc<Mutex<Vec<String>>>);

    impl Sink for Memory {
        fn write(&mut self, event: &Event) {
            self.0.lock().push(event.text());
        }
    }

    fn without_time(line: &str) -> &str {
        line.split_once(' ').map_or("", |(_, rest)| rest)
    }

    /// One test for all: levels are known to the whole process, and tests share it.
    #[test]
    fn levels_lines_and_watchers() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let telemetry = Telemetry::with_sinks(LogLevel::Info, vec![Box::new(Memory(Arc::clone(&lines)))]);
        let subscriber = tracing_subscriber::registry().with(telemetry.layer());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "agent.server", payload = "node1", "New leader elected");
            tracing::debug!(target: "agent", "hidden");
            telemetry.set_level(LogLevel::Debug);
            tracing::debug!(target: "agent", "shown");
            let mut monitor = telemetry.monitor(LogLevel::Trace, false);
            let mut json = telemetry.monitor(LogLevel::Warn, true);
            tracing::trace!(target: "agent", count = 3, ok = true, text = "with blank", "fine");
            tracing::warn!(target: "agent", error = %"say \"no\"", "bad");
            assert_eq!(
                without_time(&monitor.try_next().unwrap()),
                "[TRACE] agent: fine: count=3 ok=true text=\"with blank\""
            );
            assert_eq!(
                without_time(&monitor.try_next().unwrap()),
                "[WARN]  agent: bad: error=\"say \\\"no\\\"\""
            );
            let line: serde_json::Value = serde_json::from_str(&json.try_next().unwrap()).unwrap();
            assert_eq!(line["@level"], "warn");
            assert_eq!(line["@message"], "bad");
            assert_eq!(line["@module"], "agent");
            assert_eq!(line["error"], "say \"no\"");
            assert!(line["@timestamp"].is_string());
            assert!(json.try_next().is_none());
            for number in 0..MONITOR_BACKLOG + 10 {
                tracing::info!(target: "agent", number, "many");
            }
            assert_eq!(monitor.dropped(), 10);
            drop(monitor);
            drop(json);
            lines.lock().clear();
            tracing::trace!(target: "agent", "nobody listens");
            tracing::info!(target: "other_crate::part", "chatter");
            tracing::warn!(target: "other_crate::part", "serious");
            let span = tracing::info_span!("request", method = "GET");
            span.in_scope(|| tracing::info!(target: "tribune::web::kv", url = "/v1/kv/a", "done"));
        });
        let lines: Vec<String> = lines.lock().iter().map(|line| without_time(line).to_owned()).collect();
        assert_eq!(
            lines,
            ["[WARN]  other_crate.part: serious", "[INFO]  agent.http: done: url=/v1/kv/a method=GET",]
        );
    }
}
