//! `kv export`: a part of the store as JSON that `kv import` reads.

use serde::{Deserialize, Serialize};

use super::{list, one_key, path, read_failure};
use crate::cli::client::{Client, NAMESPACE_FLAG};
use crate::cli::invocation::Invocation;
use crate::cli::{Command, CommandResult, Failure, Io, Reach, gotext};

pub(in crate::cli) const COMMAND: Command = Command {
    path: "kv export",
    arguments: "[options] [PREFIX]",
    synopsis: "Prints entries as JSON",
    help: "Prints all entries whose key begins with PREFIX as a JSON list, for 'kv import'.\n\n    \
           $ tribune kv export web/ > web.json",
    reach: Reach::Servers,
    flags: &[NAMESPACE_FLAG],
    run,
};

/// An entry in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Exported {
    /// Key.
    #[serde(default)]
    pub key: String,
    /// Flags.
    #[serde(default)]
    pub flags: u64,
    /// Base64.
    #[serde(default)]
    pub value: String,
}

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let key = one_key(invocation)?;
    let client = Client::connect(invocation, io)?;
    let request = client.get(path(&key)).with("recurse", "").with_switch("stale", invocation.stale());
    let entries: Vec<Exported> = list(request)
        .map_err(|error| read_failure(&error))?
        .into_iter()
        .map(|pair| Exported { key: pair.key, flags: pair.flags, value: pair.value.unwrap_or_default() })
        .collect();
    let json = gotext::indented_json(&entries, "\t")
        .map_err(|error| Failure::Text(format!("Error exporting KV data: {error}")))?;
    io.out(&json);
    Ok(())
}
