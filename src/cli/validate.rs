//! `validate`: looks for mistakes in configuration files without starting anything.

use std::path::PathBuf;

use super::flags::{Flag, Kind};
use super::invocation::Invocation;
use super::{Command, CommandResult, Failure, Io, Reach};
use crate::settings::{self, tree::Format};

pub(super) const COMMAND: Command = Command {
    path: "validate",
    arguments: "[options] FILE_OR_DIRECTORY...",
    synopsis: "Checks configuration files",
    help: "Reads configuration files and directories as the agent would and reports the first \
           mistake, with its place. Nothing is started or written.",
    reach: Reach::Nobody,
    flags: &[
        Flag::new("config-format", Kind::Text, "hcl or json, whatever the files' extensions."),
        Flag::new("quiet", Kind::Switch, "Print nothing when all is well."),
    ],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let format = match invocation.text("config-format").unwrap_or_default() {
        "" => None,
        "hcl" => Some(Format::Hcl),
        "json" => Some(Format::Json),
        _ => return Err(Failure::text("-config-format must be either 'hcl' or 'json'")),
    };
    if invocation.arguments().is_empty() {
        return Err(Failure::text("Must specify at least one config file or directory"));
    }
    let paths: Vec<PathBuf> = invocation.arguments().iter().map(PathBuf::from).collect();
    let warnings =
        check(&paths, format).map_err(|error| Failure::Text(format!("Config validation failed: {error}")))?;
    for warning in warnings {
        io.err(&warning);
    }
    if !invocation.is_on("quiet") {
        io.out("Configuration is valid!");
    }
    Ok(())
}

/// Hands over to `settings`; answers the warnings, or what is wrong.
fn check(paths: &[PathBuf], format: Option<Format>) -> Result<Vec<String>, String> {
    match settings::validate(paths, format) {
        Ok(warnings) => Ok(warnings.iter().map(ToString::to_string).collect()),
        Err(error) => Err(error.to_string()),
    }
}
