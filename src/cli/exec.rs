//! `exec`: Consul's way to run a command on many nodes. No agent here takes part in it.

use super::client::Client;
use super::flags::{Flag, Kind};
use super::invocation::Invocation;
use super::{Command, CommandResult, Failure, Io, Reach, gotext};

pub(super) const COMMAND: Command = Command {
    path: "exec",
    arguments: "[options] COMMAND...",
    synopsis: "Runs a command on many nodes (disabled)",
    help: "Would run a command on the nodes whose agents allow it. Agents refuse unless they are configured \
           with disable_remote_exec = false, and those of this version always refuse: whoever can write a \
           key could run anything anywhere. Use ssh or a configuration tool.",
    reach: Reach::Agent,
    flags: &[
        Flag::new("node", Kind::Text, "Only nodes whose name matches this regular expression."),
        Flag::new("prefix", Kind::Text, "Prefix of the keys that hold the request. Default: _rexec."),
        Flag::new("service", Kind::Text, "Only nodes with a service whose name matches."),
        Flag::new("shell", Kind::SwitchOff, "Run the command by the shell. Default: true."),
        Flag::new(
            "tag",
            Kind::Text,
            "Only nodes where such a service has a tag that matches; needs -service.",
        ),
        Flag::new("verbose", Kind::Switch, "Print every step."),
        Flag::new("wait", Kind::Duration, "How long to wait without an answer. Default: 2s."),
        Flag::new("wait-repl", Kind::Duration, "How long to wait for replication. Default: 200ms."),
    ],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    if invocation.arguments().is_empty() {
        return Err(Failure::Usage("Must specify a command to execute".to_owned()));
    }
    for (flag, what) in [("node", "node filter"), ("service", "service filter"), ("tag", "tag filter")] {
        let Some(pattern) = invocation.some_text(flag) else { continue };
        if let Err(error) = regex::Regex::new(pattern) {
            let why = gotext::regex_error(pattern, &error);
            return Err(Failure::Text(format!("Failed to compile {what} regexp: {why}")));
        }
    }
    if invocation.some_text("tag").is_some() && invocation.some_text("service").is_none() {
        return Err(Failure::text("Cannot provide tag filter without service filter."));
    }
    let node = Client::connect(invocation, io)?
        .node_name()
        .map_err(|error| Failure::Text(format!("Error querying Consul agent: {error}")))?;
    Err(Failure::Text(format!(
        "Remote execution is disabled: the agent of {node} and all agents of this version run no commands of \
         others (disable_remote_exec). Nothing was executed."
    )))
}
