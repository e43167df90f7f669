//! `watch`: waits for a change by blocking queries and shows it, or runs a command with it.

mod shape;

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use serde_json::value::RawValue;

use super::client::{Client, ClientError, Request};
use super::flags::{self, Flag, Kind};
use super::invocation::Invocation;
use super::kv::{self, KvPair};
use super::signals::{self, First, Signal};
use super::{Command, CommandResult, Failure, Io, Reach, child, gojson, gotext};

pub(super) const COMMAND: Command = Command {
    path: "watch",
    arguments: "[options] [COMMAND...]",
    synopsis: "Waits for changes and runs a command",
    help: "Watches one view of the data. With COMMAND: runs it now and after every change, with the \
           data as JSON on its standard input. Without: prints the data once.\n\n    \
           $ tribune watch -type=service -service=web reload-proxy\n    \
           $ tribune watch -type=key -key=web/port",
    reach: Reach::Servers,
    flags: &[
        Flag::new("key", Kind::Text, "Key to watch, for type key."),
        Flag::new("name", Kind::Text, "Event name to watch, for type event. Default: all."),
        Flag::new("passingonly", Kind::Text, "true: only instances whose checks all pass, for type service."),
        Flag::new("prefix", Kind::Text, "Prefix to watch, for type keyprefix."),
        Flag::new("service", Kind::Text, "Service to watch, for type service; filters type checks."),
        Flag::new(
            "shell",
            Kind::SwitchOff,
            "Run the command by the shell ($SHELL, else /bin/sh). Default: true.",
        ),
        Flag::new("state", Kind::Text, "State of the checks to watch, for type checks. Default: any."),
        Flag::new("tag", Kind::List, "Tag the instances must have, for type service. May be repeated."),
        Flag::new("type", Kind::Text, "key, keyprefix, services, nodes, service, checks or event."),
    ],
    run,
};

/// First pause after a failed query; it grows with the square of the failures in a row.
const RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(180);

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
enum View {
    Key(String),
    Prefix(String),
    Services,
    Nodes,
    Service { name: String, tags: Vec<String>, passing: bool },
    Checks { service: Option<String>, state: Option<String> },
    Event(Option<String>),
}

/// The data at one moment, as JSON, and the index to wait behind.
struct Sight {
    json: String,
    index: u64,
}

impl View {
    /// Reads the view from the flags; flags of other types are refused.
    fn from_flags(kind: &str, invocation: &Invocation) -> Result<Self, String> {
        let text = |name: &str| invocation.some_text(name).map(str::to_owned);
        let (view, used): (_, &[&str]) = match kind {
            "key" => (Self::Key(text("key").ok_or("Must specify a single key to watch")?), &["key"]),
            "keyprefix" => {
                (Self::Prefix(text("prefix").ok_or("Must specify a single prefix to watch")?), &["prefix"])
            }
            "services" => (Self::Services, &[]),
            "nodes" => (Self::Nodes, &[]),
            "service" => {
                let passing = match invocation.some_text("passingonly") {
                    None => false,
                    Some(text) => flags::parse_bool(text).ok_or_else(|| {
                        format!("Failed to parse passingonly flag: {}", flags::bool_error(text))
                    })?,
                };
                let name = text("service").ok_or("Must specify a single service to watch")?;
                let tags = invocation.list("tag").into_iter().map(str::to_owned).collect();
                (Self::Service { name, tags, passing }, &["service", "tag", "passingonly"])
            }
            "checks" => {
                let (service, state) = (text("service"), text("state"));
                if service.is_some() && state.is_some() {
                    return Err("Cannot specify service and state".to_owned());
                }
                (Self::Checks { service, state }, &["service", "state"])
            }
            "event" => (Self::Event(text("name")), &["name"]),
            "connect_roots" | "connect_leaf" | "agent_service" => {
                return Err(format!("Type {kind} is not supported in the CLI tool"));
            }
            other => return Err(format!("Unsupported watch type: {other}")),
        };
        let left: Vec<&str> = ["key", "name", "passingonly", "prefix", "service", "state", "tag"]
            .into_iter()
            .filter(|name| !used.contains(name) && invocation.list(name).iter().any(|text| !text.is_empty()))
            .collect();
        if left.is_empty() { Ok(view) } else { Err(format!("Invalid parameters: [{}]", left.join(" "))) }
    }

    fn request<'a>(&self, client: &'a Client) -> Request<'a> {
        match self {
            Self::Key(key) => client.get(kv::path(key)),
            Self::Prefix(prefix) => client.get(kv::path(prefix)).with("recurse", ""),
            Self::Services => client.get("/v1/catalog/services"),
            Self::Nodes => client.get("/v1/catalog/nodes"),
            Self::Service { name, tags, passing } => tags.iter().fold(
                client.get(format!("/v1/health/service/{name}")).with_some("passing", passing.then_some("1")),
                |request, tag| request.with("tag", tag.as_str()),
            ),
            Self::Checks { service: Some(service), .. } => client.get(format!("/v1/health/checks/{service}")),
            Self::Checks { state, .. } => {
                client.get(format!("/v1/health/state/{}", state.as_deref().unwrap_or("any")))
            }
            Self::Event(name) => client.get("/v1/event/list").with_some("name", name.as_deref()),
        }
    }

    /// Asks once; waits behind `index` unless it is 0.
    fn look(&self, client: &Client, stale: bool, index: u64) -> Result<Sight, ClientError> {
        let request = self
            .request(client)
            .with_switch("stale", stale)
            .with_some("index", (index > 0).then(|| index.to_string()));
        let answer = request.send()?;
        let index = answer.index();
        let unset = |error: serde_json::Error| ClientError::Decode(error.to_string());
        let json = match self {
            Self::Key(_) | Self::Prefix(_) if answer.status() == 404 => "null".to_owned(),
            Self::Key(_) => {
                let pairs: Vec<KvPair> = answer.json()?;
                serde_json::to_string(&pairs.first()).map_err(unset)?
            }
            Self::Prefix(_) => serde_json::to_string(&answer.json::<Vec<KvPair>>()?).map_err(unset)?,
            Self::Service { .. } => {
                serde_json::to_string(&answer.json::<Vec<shape::ServiceEntry>>()?).map_err(unset)?
            }
            Self::Checks { .. } => {
                serde_json::to_string(&answer.json::<Vec<shape::HealthCheck>>()?).map_err(unset)?
            }
            _ => answer.json::<Box<RawValue>>()?.get().to_owned(),
        };
        Ok(Sight { json, index })
    }
}

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let Some(kind) = invocation.some_text("type") else {
        return Err(Failure::Usage("Watch type must be specified".to_owned()));
    };
    let view = View::from_flags(kind, invocation).map_err(Failure::Text)?;
    let client = Arc::new(Client::connect(invocation, io)?);
    client.node_name().map_err(|error| Failure::Text(format!("Error querying Consul agent: {error}")))?;
    let signals = (io.signals)();
    let mut failures = 0_u32;
    let mut last: Option<Sight> = None;
    loop {
        let behind = last.as_ref().map_or(0, |sight| sight.index);
        let (view, client, stale) = (view.clone(), Arc::clone(&client), invocation.stale());
        let looked = signals::aside(move || view.look(&client, stale, behind));
        let sight = match signals::first(&signals, &looked) {
            First::Signal(_) | First::Ended => return Ok(()),
            First::Result(Ok(sight)) => sight,
            First::Result(Err(error)) => {
                failures = failures.saturating_add(1);
                let pause = RETRY.saturating_mul(failures.saturating_mul(failures)).min(LONGEST_RETRY);
                let (why, seconds) = (gotext::quote(&error.to_string()), pause.as_secs());
                io.err(&format!(
                    "[ERROR] watch.watch: Watch errored: type={kind} error={why} retry={seconds}s"
                ));
                if !wait(&signals, pause) {
                    return Ok(());
                }
                continue;
            }
        };
        failures = 0;
        let changed = last.as_ref().is_none_or(|before| before.json != sight.json);
        if changed {
            if invocation.arguments().is_empty() {
                let indented = gojson::indent(&sight.json, "    ");
                io.out(&gotext::escape_html(&indented));
                return Ok(());
            }
            handle(invocation, &sight, io)?;
        }
        // An index that went back is a server that lost its state: begin again.
        let index = if sight.index < behind { 0 } else { sight.index };
        last = Some(Sight { json: sight.json, index });
    }
}

/// Pauses; false when asked to stop.
fn wait(signals: &Receiver<Signal>, pause: Duration) -> bool {
    match signals.recv_timeout(pause) {
        Ok(_) => false,
        Err(RecvTimeoutError::Timeout) => true,
        Err(RecvTimeoutError::Disconnected) => {
            std::thread::sleep(pause);
            true
        }
    }
}

/// Runs the command with the data.
fn handle(invocation: &Invocation, sight: &Sight, io: &mut Io) -> CommandResult {
    io.flush();
    let failed = |why: &str| Failure::Text(format!("Error executing handler: {why}"));
    let mut command = child::command(invocation.arguments(), !invocation.is_switched_off("shell"), &io.env);
    command.env("CONSUL_INDEX", sight.index.to_string()).stdin(Stdio::piped());
    let mut running = command.spawn().map_err(|error| {
        Failure::Text(format!("Error starting handler: {}", child::start_error(&command, &error)))
    })?;
    if let Some(mut stdin) = running.stdin.take() {
        // A command that does not read its input is none of our business.
        let _ = writeln!(stdin, "{}", gotext::escape_html(&gojson::compact(&sight.json)));
    }
    let status = running.wait().map_err(|error| failed(&gotext::os_error(&error)))?;
    if status.success() { Ok(()) } else { Err(failed(&child::describe(status))) }
}
