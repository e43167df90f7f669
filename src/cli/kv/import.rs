//! `kv import`: writes what `kv export` printed.

use super::export::Exported;
use super::{data, write};
use crate::cli::client::{Client, NAMESPACE_FLAG};
use crate::cli::invocation::Invocation;
use crate::cli::{Command, CommandResult, Failure, Io, Reach, gotext};

pub(in crate::cli) const COMMAND: Command = Command {
    path: "kv import",
    arguments: "[options] DATA",
    synopsis: "Writes entries from JSON",
    help: "Writes the entries of a JSON list made by 'kv export'. DATA is the JSON itself, @FILE, or \
           - for standard input.\n\n    $ tribune kv import @web.json\n\n\
           Entries are written one by one; the first failure stops the rest.",
    reach: Reach::Servers,
    flags: &[NAMESPACE_FLAG],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let argument = match invocation.arguments() {
        [] => return Err(Failure::text("Error! Missing DATA argument")),
        [argument] if argument.is_empty() => return Err(Failure::text("Error! Empty DATA argument")),
        [argument] => argument,
        more => {
            let count = more.len();
            return Err(Failure::Text(format!("Error! Too many arguments (expected 1, got {count})")));
        }
    };
    let text = data(argument, io)?;
    let client = Client::connect(invocation, io)?;
    let entries: Option<Vec<Exported>> = serde_json::from_slice(&text).map_err(|error| {
        Failure::Text(format!("Cannot unmarshal data: {}", gotext::json_error(&error, &text)))
    })?;
    for Exported { key, flags, value } in entries.unwrap_or_default() {
        let value = gotext::decode_base64(value.as_bytes())
            .map_err(|error| Failure::Text(format!("Error base 64 decoding value for key {key}: {error}")))?;
        write(&client, &key, flags, &value)
            .map_err(|error| Failure::Text(format!("Error! Failed writing data for key {key}: {error}")))?;
        io.out(&format!("Imported: {key}"));
    }
    Ok(())
}
