//! `reload`: makes the agent read its configuration again.

use super::client::{Answer, Client};
use super::invocation::Invocation;
use super::{Command, CommandResult, Failure, Io, Reach};

pub(super) const COMMAND: Command = Command {
    path: "reload",
    arguments: "[options]",
    synopsis: "Makes the agent read its configuration again",
    help: "Makes the agent read its configuration files again, like SIGHUP. What cannot change while \
           it runs stays; a configuration with a mistake is refused whole.",
    reach: Reach::Agent,
    flags: &[],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let client = Client::connect(invocation, io)?;
    client
        .put("/v1/agent/reload")
        .send()
        .and_then(Answer::ok)
        .map_err(|error| Failure::Text(format!("Error reloading: {error}")))?;
    io.out("Configuration reload triggered");
    Ok(())
}
