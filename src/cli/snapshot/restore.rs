//! `snapshot restore`: gives the servers a saved state.

use super::{file_argument, open};
use crate::cli::client::{Answer, Client};
use crate::cli::invocation::Invocation;
use crate::cli::{Command, CommandResult, Failure, Io, Reach};

pub(in crate::cli) const COMMAND: Command = Command {
    path: "snapshot restore",
    arguments: "[options] FILE",
    synopsis: "Replaces the servers' state by a saved one",
    help: "Replaces the whole state of the servers by the one in FILE. What was written since is lost.\n\n    \
           $ tribune snapshot restore backup.snap",
    reach: Reach::Servers,
    flags: &[],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let file = file_argument(invocation)?;
    let client = Client::connect(invocation, io)?;
    let mut content = open(&file)?;
    client
        .put("/v1/snapshot")
        .send_stream(&mut content)
        .and_then(Answer::ok)
        .map_err(|error| Failure::Text(format!("Error restoring snapshot: {error}")))?;
    io.out("Restored snapshot");
    Ok(())
}
