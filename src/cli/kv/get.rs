//! `kv get`: one value, a prefix, or the names of keys.

use std::io::Write as _;

use super::{KvPair, list, one_key, path, read_failure};
use crate::cli::client::{Client, ClientError, NAMESPACE_FLAG};
use crate::cli::flags::{Flag, Kind};
use crate::cli::invocation::Invocation;
use crate::cli::{Command, CommandResult, Failure, Io, Reach, columns};

pub(in crate::cli) const COMMAND: Command = Command {
    path: "kv get",
    arguments: "[options] [KEY_OR_PREFIX]",
    synopsis: "Reads values or lists keys",
    help: "Prints the value of a key. A key that does not exist is an error; a key without a value \
           prints an empty line.\n\n\
           One value:\n\n    $ tribune kv get web/port\n\n\
           Everything below a prefix, or only the names there:\n\n    \
           $ tribune kv get -recurse web/\n    $ tribune kv get -keys web/",
    reach: Reach::Servers,
    flags: &[
        NAMESPACE_FLAG,
        Flag::new("base64", Kind::Switch, "Print values in base64."),
        Flag::new("detailed", Kind::Switch, "Print indexes, flags and session as well."),
        Flag::new(
            "keys",
            Kind::Switch,
            "Print the names of the keys that begin with the prefix, up to the separator.",
        ),
        Flag::new("recurse", Kind::Switch, "Print all entries whose key begins with the prefix."),
        Flag::new(
            "separator",
            Kind::Text,
            "With -keys: cut names after its first appearance behind the prefix. Default: /.",
        ),
    ],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let key = one_key(invocation)?;
    let key = key.strip_prefix('/').unwrap_or(&key);
    let (keys, recurse) = (invocation.is_on("keys"), invocation.is_on("recurse"));
    if key.is_empty() && !keys && !recurse {
        return Err(Failure::text("Error! Missing KEY argument"));
    }
    let client = Client::connect(invocation, io)?;
    let request = client.get(path(key)).with_switch("stale", invocation.stale());
    if keys {
        let separator = invocation.text("separator").unwrap_or("/");
        let answer = request
            .with("keys", "")
            .with_some("separator", Some(separator).filter(|text| !text.is_empty()))
            .send()
            .map_err(|error| read_failure(&error))?;
        if answer.status() == 404 {
            return Ok(());
        }
        let names: Option<Vec<String>> = answer.json().map_err(|error| read_failure(&error))?;
        for name in names.unwrap_or_default() {
            io.out(&name);
        }
        return Ok(());
    }
    let found = list(request.with_switch("recurse", recurse)).map_err(|error| read_failure(&error))?;
    if found.is_empty() && !recurse {
        return Err(Failure::Text(format!("Error! No key exists at: {key}")));
    }
    print(&found, invocation, recurse, io).map_err(|error| read_failure(&error))
}

fn print(found: &[KvPair], invocation: &Invocation, recurse: bool, io: &mut Io) -> Result<(), ClientError> {
    let detailed = invocation.is_on("detailed");
    for (number, pair) in found.iter().enumerate() {
        let value = if invocation.is_on("base64") {
            pair.value.clone().unwrap_or_default().into_bytes()
        } else {
            super::bytes(pair)?
        };
        if detailed {
            if number > 0 {
                io.out("");
            }
            let mut record = detail(pair).into_bytes();
            if value.is_empty() {
                // Consul does not pad a name that nothing follows at the end of its table.
                record.truncate(record.trim_ascii_end().len());
            }
            record.extend_from_slice(&value);
            io.out_bytes(&record);
            continue;
        }
        if recurse {
            // Values may be any bytes, so name and value are written, not formatted.
            let _ = write!(io.stdout, "{}:", pair.key);
        }
        io.out_bytes(&value);
    }
    Ok(())
}

/// Everything about an entry but its value, whose name waits at the end.
fn detail(pair: &KvPair) -> String {
    let session = if pair.session.is_empty() { "-" } else { &pair.session };
    let lines = [
        ("CreateIndex", pair.create_index.to_string()),
        ("Flags", pair.flags.to_string()),
        ("Key", pair.key.clone()),
        ("LockIndex", pair.lock_index.to_string()),
        ("ModifyIndex", pair.modify_index.to_string()),
        ("Session", session.to_owned()),
        ("Value", String::new()),
    ];
    columns::pairs(&lines)
}
