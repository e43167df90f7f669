//! `services deregister`: by configuration files or by id.

use super::from_files;
use crate::cli::client::{Answer, Client, NAMESPACE_FLAG};
use crate::cli::flags::{Flag, Kind};
use crate::cli::invocation::Invocation;
use crate::cli::{Command, CommandResult, Failure, Io, Reach, gotext};

pub(in crate::cli) const COMMAND: Command = Command {
    path: "services deregister",
    arguments: "[options] [FILE...]",
    synopsis: "Takes services back from the agent",
    help: "Removes services from the agent they were registered with: those of configuration files, or one \
           by its id.\n\n    $ tribune services deregister web.json\n    \
           $ tribune services deregister -id=web",
    reach: Reach::Servers,
    flags: &[NAMESPACE_FLAG, Flag::new("id", Kind::Text, "Id of the service, instead of files.")],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let has_files = !invocation.arguments().is_empty();
    let ids = match invocation.some_text("id") {
        None if has_files => from_files(invocation)?
            .into_iter()
            .map(|service| if service.id.is_empty() { service.name } else { service.id })
            .collect(),
        None => {
            return Err(Failure::text("Service deregistration requires at least one argument or -id."));
        }
        Some(_) if has_files => {
            return Err(Failure::text("Service deregistration requires arguments or -id, not both."));
        }
        Some(id) => vec![id.to_owned()],
    };
    let client = Client::connect(invocation, io)?;
    for id in ids {
        let path = format!("/v1/agent/service/deregister/{id}");
        client.put(path).send().and_then(Answer::ok).map_err(|error| {
            Failure::Text(format!("Error registering service {}: {error}", gotext::quote(&id)))
        })?;
        io.out(&format!("Deregistered service: {id}"));
    }
    Ok(())
}
