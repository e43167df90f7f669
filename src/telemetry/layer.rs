//! The tracing layer: collects an event's fields, names its logger, publishes it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::settings::LogLevel;

use super::Shared;
use super::format::{Event, now};

/// Formats events and hands them to the sinks.
pub(super) struct ConsulLayer {
    shared: Arc<Shared>,
}

impl ConsulLayer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

/// A span's fields, kept with it.
struct SpanFields(Vec<(&'static str, Value)>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ConsulLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if level_of(metadata) >= self.shared.most_verbose() { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        level_of(metadata) >= self.shared.most_verbose()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.shared.most_verbose() {
            LogLevel::Trace => LevelFilter::TRACE,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Error => LevelFilter::ERROR,
        })
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields.others));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(span) = context.span(id)
            && let Some(SpanFields(known)) = span.extensions_mut().get_mut::<SpanFields>()
        {
            for (name, value) in fields.others {
                known.retain(|(old, _)| *old != name);
                known.push((name, value));
            }
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(of_span)) = span.extensions().get::<SpanFields>() {
                fields.others.extend(of_span.iter().cloned());
            }
        }
        let target = fields.log_target.as_deref().unwrap_or(metadata.target());
        let (module, own) = logger(target);
        self.shared.publish(&Event {
            at: now(),
            level: level_of(metadata),
            module,
            own,
            message: fields.message,
            fields: fields.others,
        });
    }
}

fn level_of(metadata: &Metadata<'_>) -> LogLevel {
    match *metadata.level() {
        Level::TRACE => LogLevel::Trace,
        Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warn,
        Level::ERROR => LogLevel::Error,
    }
}

/// Rooms and the logger names Consul's users look for; the longest prefix counts.
const LOGGERS: &[(&str, &str)] = &[
    ("tribune", "agent"),
    ("tribune::actors::dns_responder", "agent.dns"),
    ("tribune::actors::kv_store", "agent.server.fsm"),
    ("tribune::actors::leader", "agent.server"),
    ("tribune::actors::local_state", "agent.anti_entropy"),
    ("tribune::actors::member_list", "agent.serf"),
    ("tribune::actors::raft_node", "agent.server.raft"),
    ("tribune::actors::session_manager", "agent.server.session"),
    ("tribune::dns", "agent.dns"),
    ("tribune::endpoints", "agent.server"),
    ("tribune::gossip", "agent.serf"),
    ("tribune::raft", "agent.server.raft"),
    ("tribune::rpc", "agent.server.rpc"),
    ("tribune::state", "agent.server.fsm"),
    ("tribune::web", "agent.http"),
];

/// The logger's name for a tracing target, and whether it is one of ours. Targets that are logger names
/// already (`agent…`) stay.
fn logger(target: &str) -> (Cow<'static, str>, bool) {
    if target == "agent" || target.starts_with("agent.") {
        return (Cow::Owned(target.to_owned()), true);
    }
    let within =
        |room: &str| target.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let room = LOGGERS.iter().filter(|(room, _)| within(room)).max_by_key(|(room, _)| room.len());
    match room {
        Some((_, name)) => (Cow::Borrowed(*name), true),
        None => (Cow::Owned(target.replace("::", ".")), false),
    }
}

/// An event's or span's fields, the message apart.
#[derive(Default)]
struct Fields {
    message: String,
    /// Target of a record of the `log` crate.
    log_target: Option<String>,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("log.target", Value::String(text)) => self.log_target = Some(text),
            (name, _) if name.starts_with("log.") => {}
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, Value::from(value.to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::from(format!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logger_names() {
        let cases = [
            ("agent", "agent", true),
            ("agent.server.autopilot", "agent.server.autopilot", true),
            ("tribune", "agent", true),
            ("tribune::settings::load", "agent", true),
            ("tribune::web::kv", "agent.http", true),
            ("tribune::website", "agent", true),
            ("tribune::actors::raft_node", "agent.server.raft", true),
            ("actix_server::worker", "actix_server.worker", false),
            ("agentless", "agentless", false),
        ];
        for (target, name, own) in cases {
            assert_eq!(logger(target), (Cow::Borrowed(name), own), "{target}");
        }
    }
}
