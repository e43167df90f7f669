//! `join`: makes the agent join a cluster.

use super::client::{Answer, Client};
use super::flags::{Flag, Kind};
use super::invocation::Invocation;
use super::{Command, CommandResult, Failure, Io, Reach};

pub(super) const COMMAND: Command = Command {
    path: "join",
    arguments: "[options] ADDRESS ...",
    synopsis: "Makes the agent join a cluster",
    help: "Makes the agent contact members of a cluster; one that answers is enough.\n\n    \
           $ tribune join 10.0.0.1 10.0.0.2",
    reach: Reach::Agent,
    flags: &[Flag::new("wan", Kind::Switch, "Join the servers of another datacenter.")],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    if invocation.arguments().is_empty() {
        return Err(Failure::Usage("At least one address to join must be specified.".to_owned()));
    }
    let client = Client::connect(invocation, io)?;
    let mut joined = 0_usize;
    for place in 0..invocation.arguments().len() {
        let address = invocation.argument(place).unwrap_or_default();
        let request = client
            .put(format!("/v1/agent/join/{address}"))
            .with_some("wan", invocation.is_on("wan").then_some("1"));
        match request.send().and_then(Answer::ok) {
            Ok(_) => joined += 1,
            Err(error) => io.err(&format!("Error joining address '{address}': {error}")),
        }
    }
    if joined == 0 {
        return Err(Failure::text("Failed to join any nodes."));
    }
    io.out(&format!("Successfully joined cluster by contacting {joined} nodes."));
    Ok(())
}
