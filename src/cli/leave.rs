//! `leave`: makes the agent leave the cluster and end.

use super::client::{Answer, Client};
use super::invocation::{Invocation, lossy};
use super::registry::Entry;
use super::{Command, CommandResult, Failure, Io, Reach, help};

pub(super) const COMMAND: Command = Command {
    path: "leave",
    arguments: "[options]",
    synopsis: "Makes the agent leave the cluster and end",
    help: "Makes the agent tell the cluster that it leaves, and end. Returns when that is done.",
    reach: Reach::Agent,
    flags: &[],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    if !invocation.arguments().is_empty() {
        let words: Vec<String> = invocation.arguments().iter().map(|word| lossy(word)).collect();
        io.err(&format!("Error found unexpected args: [{}]", words.join(" ")));
        io.out(&help::of(Entry::Command(&COMMAND)));
        return Err(Failure::Silent(1));
    }
    let client = Client::connect(invocation, io)?;
    client
        .put("/v1/agent/leave")
        .send()
        .and_then(Answer::ok)
        .map_err(|error| Failure::Text(format!("Error leaving: {error}")))?;
    io.out("Graceful leave complete");
    Ok(())
}
