//! Turns a command line in the style of Go's `flag` package into one that clap reads.
//!
//! Consul's flags have one dash or two, take their value after `=` or as the next argument, and end
//! at the first argument that is no flag; a boolean takes a value only after `=`. The rules and the
//! error texts are those of Go's package `flag`, as Consul prints them. Nothing here knows which
//! flags exist: that comes from the [`clap::Command`].
//!
//! How a command declares its flags:
//! - a value flag: `ArgAction::Set` (the last one wins) or `ArgAction::Append` (all are kept);
//! - a boolean: `ArgAction::SetTrue`, or, where absence must differ from `-x=false`,
//!   `ArgAction::Set` with `num_args(0..=1)` and a `bool` value parser.

use std::collections::VecDeque;
use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};

/// Why a command line is refused; the texts are Go's.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum GoFlagError {
    /// `-h` or `-help` was given and the command has no such flag: print the help on stdout, exit 0.
    #[error("flag: help requested")]
    Help,
    /// No such flag.
    #[error("flag provided but not defined: -{0}")]
    NotDefined(String),
    /// Something like `---x` or `-=x`; carries the whole argument.
    #[error("bad flag syntax: {0}")]
    BadSyntax(String),
    /// A value flag at the very end of the command line.
    #[error("flag needs an argument: -{0}")]
    NeedsArgument(String),
    /// The value does not fit the flag's type.
    #[error("invalid value {value:?} for flag -{flag}: parse error")]
    InvalidValue {
        /// Name of the flag, without dashes.
        flag: String,
        /// What was given.
        value: String,
    },
    /// A boolean flag with a value that is none.
    #[error("invalid boolean value {value:?} for -{flag}: parse error")]
    InvalidBool {
        /// Name of the flag, without dashes.
        flag: String,
        /// What was given.
        value: String,
    },
}

/// Rewrites `args` (without the program's name) into the form clap expects: `--name=value` for every
/// flag, then, if anything is left, `--` and the arguments as they stand. A name of a subcommand of
/// `command` is passed on and what follows it is read against that subcommand. Parse the result with
/// `no_binary_name(true)`.
///
/// Values are checked against the value parsers of `command`, so that the text of a bad value is the
/// one Go would print; what clap finds missing afterwards (required arguments) stays clap's business.
/// A flag's name or value that is not UTF-8 is read with replacement characters; the arguments after
/// the flags are passed on untouched.
///
/// # Errors
/// [`GoFlagError`], at the first argument that does not fit.
///
/// # Examples
/// `-dev -http-port 80 x -y` becomes `--dev --http-port=80 -- x -y`.
pub fn normalise(
    args: impl IntoIterator<Item = OsString>,
    command: &Command,
) -> Result<Vec<OsString>, GoFlagError> {
    let mut rest: VecDeque<OsString> = args.into_iter().collect();
    let mut output = Vec::new();
    let mut command = command;
    loop {
        output.append(&mut read_flags(&mut rest, command)?);
        let Some(first) = rest.pop_front() else { return Ok(output) };
        let subcommand = command.find_subcommand(&first);
        if subcommand.is_none() {
            output.push(OsString::from("--"));
        }
        output.push(first);
        let Some(found) = subcommand else {
            output.extend(rest);
            return Ok(output);
        };
        command = found;
    }
}

/// Reads flags up to the first argument that is none, which it leaves in `rest`.
fn read_flags(rest: &mut VecDeque<OsString>, command: &Command) -> Result<Vec<OsString>, GoFlagError> {
    let mut given = Given::default();
    while let Some(argument) = rest.pop_front() {
        if argument == "--" {
            break;
        }
        let token = argument.to_string_lossy().into_owned();
        if token == "-" || !token.starts_with('-') {
            rest.push_front(argument);
            break;
        }
        let (name, inline) = split_flag(&token)?;
        let Some(flag) = find_flag(command, name) else {
            return Err(match name {
                "h" | "help" => GoFlagError::Help,
                _ => GoFlagError::NotDefined(name.to_owned()),
            });
        };
        if is_boolean(flag) {
            let text = inline.unwrap_or("true");
            let on = parse_bool(text)
                .ok_or_else(|| GoFlagError::InvalidBool { flag: name.to_owned(), value: text.to_owned() })?;
            given.set_bool(flag, on);
        } else {
            let value = match inline {
                Some(value) => value.to_owned(),
                None => rest
                    .pop_front()
                    .ok_or_else(|| GoFlagError::NeedsArgument(name.to_owned()))?
                    .to_string_lossy()
                    .into_owned(),
            };
            if !fits(flag, &value) {
                return Err(GoFlagError::InvalidValue { flag: name.to_owned(), value });
            }
            given.set_value(flag, &value);
        }
    }
    Ok(given.arguments.into_iter().map(|(_, argument)| argument).collect())
}

/// What was given so far: flag id and clap's spelling, in order, without what a later one replaced.
#[derive(Default)]
struct Given {
    arguments: Vec<(String, OsString)>,
}

impl Given {
    fn set_bool(&mut self, flag: &Arg, on: bool) {
        self.forget(flag);
        if flag.get_action().takes_values() {
            self.push(flag, &on.to_string());
        } else if on {
            self.arguments.push((flag.get_id().to_string(), OsString::from(spelling(flag))));
        }
    }

    fn set_value(&mut self, flag: &Arg, value: &str) {
        if !matches!(flag.get_action(), ArgAction::Append) {
            self.forget(flag);
        }
        self.push(flag, value);
    }

    fn push(&mut self, flag: &Arg, value: &str) {
        let argument = OsString::from(format!("{}={value}", spelling(flag)));
        self.arguments.push((flag.get_id().to_string(), argument));
    }

    fn forget(&mut self, flag: &Arg) {
        self.arguments.retain(|(id, _)| id != flag.get_id().as_str());
    }
}

/// `-name=value` into name and value.
fn split_flag(token: &str) -> Result<(&str, Option<&str>), GoFlagError> {
    let bare = token.strip_prefix("--").or_else(|| token.strip_prefix('-')).unwrap_or(token);
    if bare.is_empty() || bare.starts_with(['-', '=']) {
        return Err(GoFlagError::BadSyntax(token.to_owned()));
    }
    Ok(match bare.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (bare, None),
    })
}

/// The flag of that name; names of one letter are clap's short flags.
fn find_flag<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional()).find(|arg| {
        arg.get_long() == Some(name)
            || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
            || arg.get_short().is_some_and(|short| name.len() == 1 && name.starts_with(short))
    })
}

/// How clap spells the flag.
fn spelling(flag: &Arg) -> String {
    match (flag.get_long(), flag.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => format!("--{}", flag.get_id()),
    }
}

/// A boolean in Go's sense: its value, if any, stands after `=`.
fn is_boolean(flag: &Arg) -> bool {
    !flag.get_action().takes_values() || flag.get_num_args().is_some_and(|count| count.min_values() == 0)
}

/// The spellings of Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Whether the flag's own value parser takes `value`. clap offers no way to ask a parser directly, so
/// a command of this one flag is asked.
fn fits(flag: &Arg, value: &str) -> bool {
    let alone = Command::new("flag").no_binary_name(true).disable_help_flag(true).arg(flag.clone());
    match alone.try_get_matches_from([format!("{}={value}", spelling(flag))]) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue),
    }
}

#[cfg(test)]
mod tests {
    use clap::value_parser;
    use proptest::prelude::*;

    use super::*;

    fn command() -> Command {
        Command::new("agent")
            .arg(Arg::new("dev").long("dev").action(ArgAction::SetTrue))
            .arg(
                Arg::new("ui")
                    .long("ui")
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .value_parser(value_parser!(bool)),
            )
            .arg(Arg::new("n").short('n').value_parser(value_parser!(i64)).allow_negative_numbers(true))
            .arg(Arg::new("port").long("http-port").alias("port").value_parser(value_parser!(i64)))
            .arg(Arg::new("join").long("join").action(ArgAction::Append))
            .arg(Arg::new("node").long("node"))
            .arg(Arg::new("rest").num_args(0..))
            .subcommand(
                Command::new("put")
                    .arg(Arg::new("cas").long("cas").action(ArgAction::SetTrue))
                    .arg(Arg::new("words").num_args(0..)),
            )
    }

    fn run(line: &[&str]) -> Result<Vec<String>, GoFlagError> {
        let output = normalise(line.iter().map(OsString::from), &command())?;
        Ok(output.into_iter().map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn good_command_lines() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("nothing", &[], &[]),
            ("one dash", &["-dev"], &["--dev"]),
            ("two dashes", &["--dev"], &["--dev"]),
            ("boolean with value", &["-dev=T"], &["--dev"]),
            ("switched off again", &["-dev", "-dev=false"], &[]),
            ("three-state boolean on", &["-ui"], &["--ui=true"]),
            ("three-state boolean off", &["-ui=0"], &["--ui=false"]),
            ("value apart", &["-http-port", "80"], &["--http-port=80"]),
            ("value inline", &["-http-port=80"], &["--http-port=80"]),
            ("alias", &["-port=80"], &["--http-port=80"]),
            ("last one wins", &["-node=a", "-node", "b"], &["--node=b"]),
            ("all are kept", &["-join=a", "-join", "b"], &["--join=a", "--join=b"]),
            ("empty value", &["-node="], &["--node="]),
            ("empty value apart", &["-node", ""], &["--node="]),
            ("value with =", &["-node=a=b"], &["--node=a=b"]),
            ("value like a flag", &["-node", "-dev"], &["--node=-dev"]),
            ("short name", &["-n", "-3"], &["-n=-3"]),
            ("short name, two dashes", &["--n=3"], &["-n=3"]),
            ("stops at first non-flag", &["-dev", "x", "-ui"], &["--dev", "--", "x", "-ui"]),
            ("a boolean takes no next argument", &["-ui", "false"], &["--ui=true", "--", "false"]),
            ("a dash is no flag", &["-", "-dev"], &["--", "-", "-dev"]),
            ("end mark", &["-dev", "--", "-ui"], &["--dev", "--", "-ui"]),
            ("end mark alone", &["--"], &[]),
            ("empty argument", &["", "-dev"], &["--", "", "-dev"]),
            ("subcommand", &["-dev", "put", "-cas", "k", "-v"], &["--dev", "put", "--cas", "--", "k", "-v"]),
        ];
        for (name, line, want) in cases {
            let got = run(line).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(&got, want, "{name}");
            let parsed = command().no_binary_name(true).try_get_matches_from(&got);
            assert!(parsed.is_ok(), "{name}: clap refuses {got:?}: {:?}", parsed.err());
        }
    }

    #[test]
    fn bad_command_lines() {
        let cases: &[(&str, &[&str], &str)] = &[
            ("unknown", &["-foo"], "flag provided but not defined: -foo"),
            ("unknown with value", &["--foo=1"], "flag provided but not defined: -foo"),
            ("unknown in subcommand", &["put", "-dev"], "flag provided but not defined: -dev"),
            ("number", &["-n", "x"], "invalid value \"x\" for flag -n: parse error"),
            ("number inline", &["--http-port=x"], "invalid value \"x\" for flag -http-port: parse error"),
            ("number of empty text", &["-http-port="], "invalid value \"\" for flag -http-port: parse error"),
            ("boolean", &["-ui=yes"], "invalid boolean value \"yes\" for -ui: parse error"),
            ("empty boolean", &["-dev="], "invalid boolean value \"\" for -dev: parse error"),
            ("value missing", &["-node"], "flag needs an argument: -node"),
            ("three dashes", &["---dev"], "bad flag syntax: ---dev"),
            ("no name", &["-=x"], "bad flag syntax: -=x"),
            ("help", &["-help"], "flag: help requested"),
            ("short help", &["put", "-h"], "flag: help requested"),
        ];
        for (name, line, want) in cases {
            assert_eq!(run(line).unwrap_err().to_string(), *want, "{name}");
        }
    }

    proptest! {
        /// Whatever stands on the command line, it is refused with a text or clap takes it.
        #[test]
        fn never_panics(line in proptest::collection::vec("(-{0,3}(dev|ui|n|node|join|foo)?=?)?\\PC{0,4}", 0..6)) {
            if let Ok(output) = normalise(line.iter().map(OsString::from), &command()) {
                let parsed = command().no_binary_name(true).try_get_matches_from(&output);
                prop_assert!(parsed.is_ok(), "{output:?}: {:?}", parsed.err());
            }
        }
    }
}
