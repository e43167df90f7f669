//! `event`: fires a user event through gossip.

use serde::Deserialize;

use super::client::Client;
use super::flags::{Flag, Kind};
use super::invocation::Invocation;
use super::{Command, CommandResult, Failure, Io, Reach, gotext};

pub(super) const COMMAND: Command = Command {
    path: "event",
    arguments: "[options] [payload]",
    synopsis: "Fires a user event",
    help: "Fires an event that agents with a matching watch act upon. Filters are regular \
           expressions.\n\n    $ tribune event -name=deploy -service=web 1.4.2\n\n\
           Events are neither ordered nor certain to arrive.",
    reach: Reach::Agent,
    flags: &[
        Flag::new("name", Kind::Text, "Name of the event."),
        Flag::new("node", Kind::Text, "Only agents whose node name matches."),
        Flag::new("service", Kind::Text, "Only agents with a service whose name matches."),
        Flag::new(
            "tag",
            Kind::Text,
            "Only agents where such a service has a tag that matches; needs -service.",
        ),
    ],
    run,
};

#[derive(Debug, Deserialize)]
struct Fired {
    #[serde(rename = "ID")]
    id: String,
}

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let Some(name) = invocation.some_text("name") else {
        return Err(Failure::Usage("Event name must be specified".to_owned()));
    };
    let filters = [("node", "node filter"), ("service", "service filter"), ("tag", "tag filter")];
    for (flag, what) in filters {
        let Some(pattern) = invocation.some_text(flag) else { continue };
        if let Err(error) = regex::Regex::new(pattern) {
            let why = gotext::regex_error(pattern, &error);
            return Err(Failure::Text(format!("Failed to compile {what} regexp: {why}")));
        }
    }
    if invocation.some_text("tag").is_some() && invocation.some_text("service").is_none() {
        return Err(Failure::text("Cannot provide tag filter without service filter."));
    }
    let payload = match invocation.arguments() {
        [] => Vec::new(),
        [payload] => std::os::unix::ffi::OsStrExt::as_bytes(payload.as_os_str()).to_vec(),
        _ => return Err(Failure::Usage("Too many command line arguments.".to_owned())),
    };
    let client = Client::connect(invocation, io)?;
    // Tells an unreachable agent from a refused event.
    client.node_name().map_err(|error| Failure::Text(format!("Error querying Consul agent: {error}")))?;
    let mut request = client.put(format!("/v1/event/fire/{name}"));
    for (flag, _) in filters {
        request = request.with_some(flag, invocation.some_text(flag));
    }
    let fired: Fired = request
        .send_body(&payload)
        .and_then(super::client::Answer::json)
        .map_err(|error| Failure::Text(format!("Error firing event: {error}")))?;
    io.out(&format!("Event ID: {}", fired.id));
    Ok(())
}
