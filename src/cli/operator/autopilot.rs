//! `operator autopilot`: how the leader looks after the other servers.

use serde_json::{Map, Value};

use crate::cli::client::{Answer, Client, ClientError, Request};
use crate::cli::flags::{Flag, Kind};
use crate::cli::invocation::Invocation;
use crate::cli::{Command, CommandResult, Failure, Io, Reach, gotext};

pub(in crate::cli) const GET_CONFIG: Command = Command {
    path: "operator autopilot get-config",
    arguments: "[options]",
    synopsis: "Prints the autopilot configuration",
    help: "Prints how the leader looks after the other servers.",
    reach: Reach::Servers,
    flags: &[],
    run: get_config,
};

pub(in crate::cli) const SET_CONFIG: Command = Command {
    path: "operator autopilot set-config",
    arguments: "[options]",
    synopsis: "Changes the autopilot configuration",
    help: "Changes how the leader looks after the other servers. What is not given stays.",
    reach: Reach::Servers,
    flags: &[
        Flag::new(
            "cleanup-dead-servers",
            Kind::Bool,
            "Whether to remove a dead server once another has joined.",
        ),
        Flag::new("disable-upgrade-migration", Kind::Bool, "Consul Enterprise."),
        Flag::new(
            "last-contact-threshold",
            Kind::MaybeDuration,
            "How long a healthy server may go without hearing from the leader.",
        ),
        Flag::new(
            "max-trailing-logs",
            Kind::MaybeUint,
            "How many log entries a healthy server may be behind.",
        ),
        Flag::new("min-quorum", Kind::MaybeUint, "Fewest servers to keep when removing dead ones."),
        Flag::new("redundancy-zone-tag", Kind::Text, "Consul Enterprise."),
        Flag::new(
            "server-stabilization-time",
            Kind::MaybeDuration,
            "How long a new server must be healthy before it votes.",
        ),
        Flag::new("upgrade-version-tag", Kind::Text, "Consul Enterprise."),
    ],
    run: set_config,
};

/// API names, their flags, and whether the value prints in quotes; in the order they are printed.
const FIELDS: &[(&str, &str, bool)] = &[
    ("CleanupDeadServers", "cleanup-dead-servers", false),
    ("LastContactThreshold", "last-contact-threshold", false),
    ("MaxTrailingLogs", "max-trailing-logs", false),
    ("MinQuorum", "min-quorum", false),
    ("ServerStabilizationTime", "server-stabilization-time", false),
    ("RedundancyZoneTag", "redundancy-zone-tag", true),
    ("DisableUpgradeMigration", "disable-upgrade-migration", false),
    ("UpgradeVersionTag", "upgrade-version-tag", true),
];

const PATH: &str = "/v1/operator/autopilot/configuration";

fn read(request: Request<'_>) -> Result<Map<String, Value>, Failure> {
    request.json().map_err(|error: ClientError| {
        Failure::Text(format!("Error querying Autopilot configuration: {error}"))
    })
}

fn get_config(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let client = Client::connect(invocation, io)?;
    let configuration = read(client.get(PATH).with_switch("stale", invocation.stale()))?;
    for (name, _, quoted) in FIELDS {
        let value = match configuration.get(*name) {
            Some(Value::String(text)) if *quoted => gotext::quote(text),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => if *quoted { "\"\"" } else { "0" }.to_owned(),
            Some(other) => other.to_string(),
        };
        io.out(&format!("{name} = {value}"));
    }
    Ok(())
}

fn set_config(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let client = Client::connect(invocation, io)?;
    let mut configuration = read(client.get(PATH))?;
    for (name, flag, _) in FIELDS {
        let given = invocation.given_bool(flag).map(Value::from).or_else(|| {
            match SET_CONFIG.flags.iter().find(|known| known.name == *flag).map(|known| known.kind) {
                Some(Kind::MaybeUint) => invocation.uint(flag).map(Value::from),
                _ => invocation.text(flag).map(Value::from),
            }
        });
        if let Some(value) = given {
            configuration.insert((*name).to_owned(), value);
        }
    }
    let failed = |why: String| Failure::Text(format!("Error setting Autopilot configuration: {why}"));
    let index = configuration.get("ModifyIndex").and_then(Value::as_u64).unwrap_or(0);
    let body = serde_json::to_vec(&configuration).map_err(|error| failed(error.to_string()))?;
    let done = client
        .put(PATH)
        .with("cas", index.to_string())
        .send_body(&body)
        .and_then(Answer::says_true)
        .map_err(|error| failed(error.to_string()))?;
    if !done {
        return Err(Failure::text("Configuration could not be atomically updated, please try again"));
    }
    io.out("Configuration updated!");
    Ok(())
}
