//! Raft logs through slog; this hands its lines to `tracing`.
//!
//! What raft calls information is debugging to an operator, so it arrives a level lower; changes of
//! leader and members are logged by the host.

use std::fmt::Write as _;

use slog::{Drain, Key, Level, Logger, Never, OwnedKVList, Record, Serializer};

struct ToTracing;

struct Fields(String);

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}").map_err(slog::Error::from)
    }
}

macro_rules! at_level {
    ($level:expr, $then:ident, $record:expr) => {
        match $level {
            Level::Critical | Level::Error => $then!(tracing::Level::ERROR, $record),
            Level::Warning => $then!(tracing::Level::WARN, $record),
            Level::Info => $then!(tracing::Level::DEBUG, $record),
            Level::Debug | Level::Trace => $then!(tracing::Level::TRACE, $record),
        }
    };
}

macro_rules! enabled {
    ($level:expr, $record:expr) => {
        tracing::enabled!(target: "raft", $level)
    };
}

macro_rules! line {
    ($level:expr, $record:expr) => {{
        let record: &Record<'_> = $record;
        let mut fields = Fields(String::new());
        // A value that cannot be printed must not keep the line from being logged.
        let _ = slog::KV::serialize(&record.kv(), record, &mut fields);
        tracing::event!(target: "raft", $level, "{}{}", record.msg(), fields.0);
    }};
}

impl Drain for ToTracing {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), Never> {
        if self.is_enabled(record.level()) {
            at_level!(record.level(), line, record);
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        at_level!(level, enabled, ())
    }
}

/// A logger for a raft node.
pub(super) fn logger() -> Logger {
    Logger::root(ToTracing, slog::o!())
}
