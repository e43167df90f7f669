//! `info`: the agent's own figures.

use std::collections::BTreeMap;

use serde_json::Value;

use super::client::Client;
use super::invocation::Invocation;
use super::{Command, CommandResult, Failure, Io, Reach};

pub(super) const COMMAND: Command = Command {
    path: "info",
    arguments: "[options]",
    synopsis: "Prints figures about the agent",
    help: "Prints what the agent says about its parts, for people who look for a fault.",
    reach: Reach::Agent,
    flags: &[],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let client = Client::connect(invocation, io)?;
    let own: BTreeMap<String, Value> = client
        .get("/v1/agent/self")
        .json()
        .map_err(|error| Failure::Text(format!("Error querying agent: {error}")))?;
    let Some(sections) = own.get("Stats").and_then(Value::as_object) else {
        return Err(Failure::text("Agent response did not contain 'Stats' key"));
    };
    let sections: BTreeMap<_, _> = sections.iter().collect();
    for (name, figures) in sections {
        io.out(&format!("{name}:"));
        let figures: BTreeMap<_, _> = figures.as_object().into_iter().flatten().collect();
        for (key, value) in figures {
            match value {
                Value::String(text) => io.out(&format!("\t{key} = {text}")),
                other => io.out(&format!("\t{key} = {other}")),
            }
        }
    }
    Ok(())
}
