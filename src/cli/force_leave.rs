//! `force-leave`: declares a failed member gone.

use super::client::{Answer, Client};
use super::flags::{Flag, Kind};
use super::invocation::Invocation;
use super::{Command, CommandResult, Failure, Io, Reach};

pub(super) const COMMAND: Command = Command {
    path: "force-leave",
    arguments: "[options] NAME",
    synopsis: "Declares a failed member gone",
    help: "Puts a failed member into the state \"left\", so that nobody tries to reach it again. A \
           member that is alive comes back by itself.",
    reach: Reach::Agent,
    flags: &[Flag::new("prune", Kind::Switch, "Forget the member entirely.")],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let (Some(name), 1) = (invocation.argument(0), invocation.arguments().len()) else {
        return Err(Failure::Usage("A single node name must be specified to force leave.".to_owned()));
    };
    let client = Client::connect(invocation, io)?;
    client
        .put(format!("/v1/agent/force-leave/{name}"))
        .with_some("prune", invocation.is_on("prune").then_some("1"))
        .send()
        .and_then(Answer::ok)
        .map_err(|error| Failure::Text(format!("Error force leaving: {error}")))?;
    Ok(())
}
