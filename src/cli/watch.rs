//! `watch`: waits for a change by blocking queries and shows it, or runs a command with it.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::client::{Client, ClientError};
use super::flags::{self, Flag, Kind};
use super::invocation::Invocation;
use super::signals::{self, First, Signal};
use super::{Command, CommandResult, Failure, Io, Reach, child, gojson, gotext};
use crate::definition::WatchDefinition;
use crate::watch::View;

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

/// The data at one moment, as JSON, and the index to wait behind.
struct Sight {
    json: String,
    index: u64,
}

/// Reads the view from the flags; flags of other types are refused.
fn view(kind: &str, invocation: &Invocation) -> Result<View, String> {
    let text = |name: &str| invocation.text(name).unwrap_or_default().to_owned();
    let used: &[&str] = match kind {
        "key" => &["key"],
        "keyprefix" => &["prefix"],
        "service" => &["service", "tag", "passingonly"],
        "checks" => &["service", "state"],
        "event" => &["name"],
        "connect_roots" | "connect_leaf" | "agent_service" => {
            return Err(format!("Type {kind} is not supported in the CLI tool"));
        }
        _ => &[],
    };
    let passing = match invocation.some_text("passingonly") {
        Some(text) if used.contains(&"passingonly") => flags::parse_bool(text)
            .ok_or_else(|| format!("Failed to parse passingonly flag: {}", flags::bool_error(text)))?,
        _ => false,
    };
    let view = View::of(&WatchDefinition {
        kind: kind.to_owned(),
        key: text("key"),
        prefix: text("prefix"),
        service: text("service"),
        tag: invocation.list("tag").into_iter().map(str::to_owned).collect(),
        passingonly: passing,
        state: text("state"),
        name: text("name"),
        ..WatchDefinition::default()
    })?;
    let left: Vec<&str> = ["key", "name", "passingonly", "prefix", "service", "state", "tag"]
        .into_iter()
        .filter(|name| !used.contains(name) && invocation.list(name).iter().any(|text| !text.is_empty()))
        .collect();
    if left.is_empty() { Ok(view) } else { Err(format!("Invalid parameters: [{}]", left.join(" "))) }
}

/// Asks once; waits behind `index` unless it is 0.
fn look(view: &View, client: &Client, stale: bool, index: u64) -> Result<Sight, ClientError> {
    let request = view
        .query()
        .into_iter()
        .fold(client.get(view.path()), |request, (name, value)| request.with(name, value))
        .with_switch("stale", stale)
        .with_some("index", (index > 0).then(|| index.to_string()));
    let answer = request.send()?;
    let (index, status) = (answer.index(), answer.status());
    let json = view.data(status, &answer.bytes()?).map_err(|error| ClientError::Decode(error.to_string()))?;
    Ok(Sight { json, index })
}

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let Some(kind) = invocation.some_text("type") else {
        return Err(Failure::Usage("Watch type must be specified".to_owned()));
    };
    let view = view(kind, invocation).map_err(Failure::Text)?;
    let client = Arc::new(Client::connect(invocation, io)?);
    client.node_name().map_err(|error| Failure::Text(format!("Error querying Consul agent: {error}")))?;
    let signals = (io.signals)();
    let mut failures = 0_u32;
    let mut last: Option<Sight> = None;
    loop {
        let behind = last.as_ref().map_or(0, |sight| sight.index);
        let (view, client, stale) = (view.clone(), Arc::clone(&client), invocation.stale());
        let looked = signals::aside(move || look(&view, &client, stale, behind));
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
                io.out(&gojson::indent(&sight.json, "    "));
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
        let _ = writeln!(stdin, "{}", sight.json);
    }
    let status = running.wait().map_err(|error| failed(&gotext::os_error(&error)))?;
    if status.success() { Ok(()) } else { Err(failed(&child::describe(status))) }
}
