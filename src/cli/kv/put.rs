//! `kv put`: writes one value, plainly, by check-and-set, or with a lock.

use super::{data, path, writable};
use crate::cli::client::{Answer, Client, NAMESPACE_FLAG};
use crate::cli::flags::{Flag, Kind};
use crate::cli::invocation::Invocation;
use crate::cli::{Command, CommandResult, Failure, Io, Reach, gotext};

pub(in crate::cli) const COMMAND: Command = Command {
    path: "kv put",
    arguments: "[options] KEY [DATA]",
    synopsis: "Writes a value",
    help: "Writes DATA under KEY. DATA may be @FILE to read a file, - to read standard input, or \
           absent for an empty value.\n\n    $ tribune kv put web/port 8080\n    \
           $ tribune kv put web/config @config.json\n\n\
           Write only if nobody else did since index 17:\n\n    \
           $ tribune kv put -cas -modify-index=17 web/port 8081",
    reach: Reach::Servers,
    flags: &[
        NAMESPACE_FLAG,
        Flag::new("acquire", Kind::Switch, "Take the key's lock for -session, and write."),
        Flag::new("base64", Kind::Switch, "DATA is base64."),
        Flag::new("cas", Kind::Switch, "Write only if the entry still has -modify-index."),
        Flag::new("flags", Kind::Uint, "Number to keep with the value; its meaning is yours. Default: 0."),
        Flag::new("modify-index", Kind::Uint, "Index the entry must have for -cas."),
        Flag::new("release", Kind::Switch, "Give the key's lock back for -session, and write."),
        Flag::new("session", Kind::Text, "Session for -acquire and -release."),
    ],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let argument = match invocation.arguments() {
        [] => return Err(Failure::text("Error! Missing KEY argument")),
        [_] => None,
        [_, data] => Some(data),
        more => {
            let count = more.len();
            return Err(Failure::Text(format!("Error! Too many arguments (expected 1 or 2, got {count})")));
        }
    };
    let key = invocation.argument(0).unwrap_or_default();
    let mut value = argument.map(|argument| data(argument, io)).transpose()?.unwrap_or_default();
    if invocation.is_on("base64") {
        // Consul reports this and then writes what it could decode; a half value helps nobody.
        value = gotext::decode_base64(&value)
            .map_err(|error| Failure::Text(format!("Error! Cannot base 64 decode data: {error}")))?;
    }
    let (acquire, release) = (invocation.is_on("acquire"), invocation.is_on("release"));
    let session = invocation.some_text("session").unwrap_or_default();
    if session.is_empty() && (acquire || release) {
        return Err(Failure::text("Error! Missing -session (required with -acquire and -release)"));
    }
    let cas = invocation.is_on("cas");
    let index = invocation.uint("modify-index").unwrap_or(0);
    if cas && index == 0 {
        return Err(Failure::text("Must specify -modify-index with -cas!"));
    }
    let client = Client::connect(invocation, io)?;
    let flags = invocation.uint("flags").unwrap_or(0);
    let request = || client.put(path(&key)).with_some("flags", (flags != 0).then(|| flags.to_string()));
    let send = |request: crate::cli::client::Request<'_>| {
        writable(&key)?;
        request.send_body(&value).and_then(Answer::says_true).map_err(|error| error.to_string())
    };
    let unwritten = |error: String| Failure::Text(format!("Error! Failed writing data: {error}"));
    if cas {
        let done = send(request().with("cas", index.to_string()))
            .map_err(|error| Failure::Text(format!("Error! Did not write to {key}: {error}")))?;
        return report(
            done,
            io,
            &format!("Data written to: {key}"),
            &format!("Did not write to {key}: CAS failed"),
        );
    }
    if acquire {
        let done = send(request().with("acquire", session)).map_err(unwritten)?;
        return report(done, io, &format!("Lock acquired on: {key}"), "Did not acquire lock");
    }
    if release {
        let done = send(request().with("release", session)).map_err(unwritten)?;
        return report(done, io, &format!("Lock released on: {key}"), "Did not release lock");
    }
    send(request()).map_err(unwritten)?;
    io.out(&format!("Success! Data written to: {key}"));
    Ok(())
}

fn report(done: bool, io: &mut Io, success: &str, failure: &str) -> CommandResult {
    if !done {
        return Err(Failure::Text(format!("Error! {failure}")));
    }
    io.out(&format!("Success! {success}"));
    Ok(())
}
