//! `kv delete`: removes a key, or everything below a prefix.

use super::{one_key, path};
use crate::cli::client::{Answer, Client, NAMESPACE_FLAG};
use crate::cli::flags::{Flag, Kind};
use crate::cli::invocation::Invocation;
use crate::cli::{Command, CommandResult, Failure, Io, Reach};

pub(in crate::cli) const COMMAND: Command = Command {
    path: "kv delete",
    arguments: "[options] KEY_OR_PREFIX",
    synopsis: "Deletes a key or all below a prefix",
    help: "Deletes a key; it is no error if there is none.\n\n    $ tribune kv delete web/port\n\n\
           Everything whose key begins with a prefix:\n\n    $ tribune kv delete -recurse web/",
    reach: Reach::Servers,
    flags: &[
        NAMESPACE_FLAG,
        Flag::new("cas", Kind::Switch, "Delete only if the entry still has -modify-index."),
        Flag::new("modify-index", Kind::Uint, "Index the entry must have for -cas."),
        Flag::new("recurse", Kind::Switch, "Delete all entries whose key begins with the prefix."),
    ],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let key = one_key(invocation)?;
    let key = key.strip_prefix('/').unwrap_or(&key);
    let (cas, recurse) = (invocation.is_on("cas"), invocation.is_on("recurse"));
    if key.is_empty() && !recurse {
        return Err(Failure::text("Error! Missing KEY argument"));
    }
    let index = invocation.uint("modify-index").unwrap_or(0);
    if cas && recurse {
        return Err(Failure::text("Cannot specify both -cas and -recurse!"));
    }
    if cas && index == 0 {
        return Err(Failure::text("Must specify -modify-index with -cas!"));
    }
    let client = Client::connect(invocation, io)?;
    let request = client
        .delete(path(key))
        .with_switch("recurse", recurse)
        .with_some("cas", cas.then(|| index.to_string()));
    let done = request.send().and_then(Answer::says_true).map_err(|error| {
        Failure::Text(if recurse {
            format!("Error! Did not delete prefix {key}: {error}")
        } else if cas {
            format!("Error! Did not delete key {key}: {error}")
        } else {
            format!("Error deleting key {key}: {error}")
        })
    })?;
    if cas && !done {
        return Err(Failure::Text(format!("Error! Did not delete key {key}: CAS failed")));
    }
    io.out(&if recurse {
        format!("Success! Deleted keys with prefix: {key}")
    } else {
        format!("Success! Deleted key: {key}")
    });
    Ok(())
}
