//! `maint`: takes a node or service out of use for a while.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::client::{Answer, Client};
use super::flags::{Flag, Kind};
use super::invocation::Invocation;
use super::{Command, CommandResult, Failure, Io, Reach, gotext};

pub(super) const COMMAND: Command = Command {
    path: "maint",
    arguments: "[options]",
    synopsis: "Puts a node or service into maintenance, and back",
    help: "Marks the agent's node, or one of its services, as critical on purpose, so that nobody is \
           sent there. Without flags: prints what is in maintenance.\n\n    \
           $ tribune maint -enable -reason='new disk'\n    $ tribune maint -disable -service=web",
    reach: Reach::Agent,
    flags: &[
        Flag::new("disable", Kind::Switch, "End the maintenance."),
        Flag::new("enable", Kind::Switch, "Begin the maintenance."),
        Flag::new("reason", Kind::Text, "Why, for -enable."),
        Flag::new("service", Kind::Text, "Id of the service, instead of the node."),
    ],
    run,
};

/// Id of the check that marks a node.
const NODE_CHECK: &str = "_node_maintenance";
/// How the ids of the checks that mark services begin.
const SERVICE_CHECK: &str = "_service_maintenance:";

#[derive(Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the API's names")]
struct Check {
    #[serde(rename = "CheckID", default)]
    check_id: String,
    #[serde(rename = "Notes", default)]
    notes: String,
    #[serde(rename = "ServiceID", default)]
    service_id: String,
}

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let (enable, disable) = (invocation.is_on("enable"), invocation.is_on("disable"));
    let reason = invocation.text("reason").unwrap_or_default();
    let service = invocation.some_text("service");
    if enable && disable {
        return Err(Failure::text("Only one of -enable or -disable may be provided"));
    }
    if !enable && !reason.is_empty() {
        return Err(Failure::text("Reason may only be provided with -enable"));
    }
    if !enable && !disable && service.is_some() {
        return Err(Failure::text("Service requires either -enable or -disable"));
    }
    let client = Client::connect(invocation, io)?;
    if !enable && !disable {
        return show(&client, io);
    }
    let (path, kind) = match service {
        Some(id) => (format!("/v1/agent/service/maintenance/{id}"), "service"),
        None => ("/v1/agent/maintenance".to_owned(), "node"),
    };
    let doing = if enable { "enabling" } else { "disabling" };
    client
        .put(path)
        .with("enable", enable.to_string())
        .with_some("reason", enable.then_some(reason))
        .send()
        .and_then(Answer::ok)
        .map_err(|error| Failure::Text(format!("Error {doing} {kind} maintenance: {error}")))?;
    let state = if enable { "enabled" } else { "disabled" };
    io.out(&match service {
        Some(id) => format!("Service maintenance is now {state} for {}", gotext::quote(id)),
        None => format!("Node maintenance is now {state}"),
    });
    Ok(())
}

fn show(client: &Client, io: &mut Io) -> CommandResult {
    let node =
        client.node_name().map_err(|error| Failure::Text(format!("Error querying Consul agent: {error}")))?;
    let checks: Option<BTreeMap<String, Check>> = client
        .get("/v1/agent/checks")
        .json()
        .map_err(|error| Failure::Text(format!("Error getting checks: {error}")))?;
    for check in checks.unwrap_or_default().into_values() {
        if check.check_id == NODE_CHECK {
            io.out(&format!("Node:\n  Name:   {node}\n  Reason: {}\n", check.notes));
        } else if check.check_id.starts_with(SERVICE_CHECK) {
            io.out(&format!("Service:\n  ID:     {}\n  Reason: {}\n", check.service_id, check.notes));
        }
    }
    Ok(())
}
