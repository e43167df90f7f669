//! The command line: every `tribune` command but `agent` is an HTTP client.
//!
//! Owns the list of commands, Consul's flags, outputs, texts and exit codes, and a blocking HTTP
//! client that honours `CONSUL_HTTP_ADDR` and its relatives. Knows of the agent only what any HTTP
//! client may know; from the rest of the crate it uses `settings` (Go-style flags, `validate`).
//! Commands read and write through [`Io`], never through the process's own streams or environment,
//! so that tests can run them whole.
//!
//! A command answers [`CommandResult`]; [`run_with`] turns a [`Failure`] into text and exit code:
//! 0 done, 1 any error, 2 where Consul says so (`members` that match nobody), 127 no such command.

mod catalog;
mod child;
mod client;
mod columns;
mod event;
mod exec;
mod flags;
mod force_leave;
mod gojson;
mod gotext;
mod help;
mod info;
mod invocation;
mod io;
mod join;
mod keygen;
mod keyring;
mod kv;
mod leave;
mod lock;
mod maint;
mod members;
mod monitor;
mod operator;
mod registry;
mod reload;
mod rtt;
mod services;
mod signals;
mod snapshot;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod validate;
mod version;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

pub use io::{Environment, Io};
pub use signals::Signal;

use flags::Flag;
use invocation::Invocation;
use registry::{Entry, Found};

/// The agent's own entry: its arguments (without program and command name) to its exit code.
pub type AgentMain = fn(Vec<OsString>) -> ExitCode;

/// What a command comes to; its results are on [`Io`]'s standard output by then.
type CommandResult = Result<(), Failure>;

/// Why a command failed, and what the user is told.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// This text on standard error, exit code 1.
    Text(String),
    /// This text, an empty line and the command's help on standard error, exit code 1.
    Usage(String),
    /// Everything was said already; this exit code.
    Silent(u8),
}

impl Failure {
    /// A failure with this text and exit code 1.
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// One command that is built.
struct Command {
    /// Its words, such as `kv get`.
    path: &'static str,
    /// What follows the path in its usage line.
    arguments: &'static str,
    /// One line for the list of commands.
    synopsis: &'static str,
    /// The help's text: paragraphs, already broken into lines.
    help: &'static str,
    /// Which connection flags it has.
    reach: Reach,
    /// Its own flags, by name.
    flags: &'static [Flag],
    /// Runs it.
    run: fn(&Invocation, &mut Io) -> CommandResult,
}

/// Whom a command talks to, which decides its connection flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Nobody.
    Nobody,
    /// The agent it connects to.
    Agent,
    /// The servers, through the agent: `-datacenter` and `-stale` as well.
    Servers,
}

/// Runs the command line of this process; `args` begins with the program's name.
///
/// `agent` is the long-running agent, which lives outside this room.
pub fn run(args: impl IntoIterator<Item = OsString>, agent: AgentMain) -> ExitCode {
    let words: Vec<OsString> = args.into_iter().skip(1).collect();
    if registry::command_words(&words).first().is_some_and(|first| *first == "agent")
        && !registry::asks_for_help(&words)
    {
        return agent(words.into_iter().skip_while(|word| word != "agent").skip(1).collect());
    }
    ExitCode::from(run_with(&words, &mut Io::process()))
}

/// Runs any command but `agent` on the given streams and environment, and answers its exit code.
/// `words` is the command line without the program's name.
pub fn run_with(words: &[OsString], io: &mut Io) -> u8 {
    let code = dispatch(words, io);
    io.flush();
    code
}

fn dispatch(words: &[OsString], io: &mut Io) -> u8 {
    if registry::asks_for_version(words) {
        version::print_plain(io);
        return 0;
    }
    let help = registry::asks_for_help(words);
    let (found, rest) = registry::find(words);
    let entry = match found {
        Found::Entry(entry) => entry,
        Found::Nothing if help && rest.is_empty() => {
            io.out(&help::top());
            return 0;
        }
        Found::Nothing => {
            io.err(&help::top());
            return 127;
        }
    };
    let text = help::of(entry);
    if help {
        io.out(&text);
        return 0;
    }
    if registry::flag_before_command(words) {
        io.err("Flags of a command stand after its name; the ones before it were not understood.\n");
        io.err(&text);
        return 1;
    }
    let command = match entry {
        Entry::Command(command) => command,
        Entry::Group(_) => {
            io.err(&text);
            return 1;
        }
        Entry::NotBuilt(path, _) => {
            io.err(&format!("'{path}' is not implemented by this version of tribune."));
            return 1;
        }
    };
    let failure = match Invocation::parse(command, rest) {
        Ok(invocation) => match (command.run)(&invocation, io) {
            Ok(()) => return 0,
            Err(failure) => failure,
        },
        Err(flags::FlagError::Help) => {
            io.out(&text);
            return 0;
        }
        Err(flags::FlagError::Bad(error)) => {
            io.err(&error);
            io.err(&help::flag_dump(command));
            return 1;
        }
    };
    match failure {
        Failure::Text(text) => {
            io.err(&text);
            1
        }
        Failure::Usage(reason) => {
            io.err(&reason);
            io.err("");
            io.err(&text);
            1
        }
        Failure::Silent(code) => code,
    }
}
