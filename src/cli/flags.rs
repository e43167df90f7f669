//! Flags as commands declare them, and Go's texts for values that do not fit.
//!
//! Commands name their flags in a table of [`Flag`]; from it come clap's command (which stores the
//! values), the help and the dump that follows a bad flag. `settings::goflags` reads the Go way of
//! writing flags.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};

use super::gotext;
use crate::settings::goflags::{self, GoFlagError};

/// How a flag's value is read, and so how a bad one is reported. The kinds that come in twos differ
/// in Consul only by that text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// On or off.
    Switch,
    /// On unless switched off.
    SwitchOff,
    /// On, off or not given.
    Bool,
    /// Any text.
    Text,
    /// A whole number; Go's plain flag.
    Uint,
    /// A whole number, possibly negative; Go's plain flag.
    Int,
    /// A whole number or not given.
    MaybeUint,
    /// A duration such as `1m30s`; Go's plain flag.
    Duration,
    /// A duration or not given.
    MaybeDuration,
    /// Any text, repeatable.
    List,
    /// `key=value`, repeatable.
    Pairs,
}

/// One flag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    pub name: &'static str,
    pub kind: Kind,
    /// What it does, one sentence or two.
    pub help: &'static str,
}

impl Flag {
    pub const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, kind, help }
    }

    /// The word for its value in help texts; none for a switch.
    pub fn placeholder(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Switch | Kind::SwitchOff | Kind::Bool => None,
            Kind::Text | Kind::List => Some("text"),
            Kind::Uint | Kind::Int | Kind::MaybeUint => Some("number"),
            Kind::Duration | Kind::MaybeDuration => Some("duration"),
            Kind::Pairs => Some("key=value"),
        }
    }

    fn clap(&self) -> Arg {
        let arg = Arg::new(self.name).long(self.name);
        match self.kind {
            Kind::Switch => arg.action(ArgAction::SetTrue),
            Kind::Bool | Kind::SwitchOff => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(clap::value_parser!(bool)),
            Kind::List | Kind::Pairs => arg.action(ArgAction::Append).value_parser(self.parser()),
            _ => arg.value_parser(self.parser()),
        }
    }

    /// Refuses what [`Flag::complaint`] complains about; the value stays text.
    fn parser(&self) -> impl Fn(&str) -> Result<String, String> + Clone + Send + Sync + 'static {
        let flag = *self;
        move |value: &str| match flag.complaint(value) {
            None => Ok(value.to_owned()),
            Some(complaint) => Err(complaint),
        }
    }

    /// What is wrong with `value`, as Consul says it.
    fn complaint(&self, value: &str) -> Option<String> {
        let plain = |error: NumberError| match error {
            NumberError::Syntax => "parse error".to_owned(),
            NumberError::Range => "value out of range".to_owned(),
        };
        match self.kind {
            Kind::Switch | Kind::SwitchOff => parse_bool(value).is_none().then(|| "parse error".to_owned()),
            Kind::Bool => parse_bool(value).is_none().then(|| bool_error(value)),
            Kind::Text | Kind::List => None,
            Kind::Uint => parse_uint(value).err().map(plain),
            Kind::Int => parse_int(value).err().map(plain),
            Kind::MaybeUint => parse_uint(value).err().map(|error| {
                let what = match error {
                    NumberError::Syntax => "invalid syntax",
                    NumberError::Range => "value out of range",
                };
                format!("strconv.ParseUint: parsing {}: {what}", gotext::quote(value))
            }),
            Kind::Duration => gotext::parse_duration(value).err().map(|_| "parse error".to_owned()),
            Kind::MaybeDuration => gotext::parse_duration(value).err(),
            Kind::Pairs => {
                (!value.contains('=')).then(|| format!("Missing \"=\" value in argument: {value}"))
            }
        }
    }
}

/// Why a command line was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FlagError {
    /// Help was asked for.
    Help,
    /// This is wrong with it.
    Bad(String),
}

/// Reads `words` (what follows the command's name) by `flags`. Positional arguments are under
/// [`ARGUMENTS`].
pub(super) fn parse(words: &[OsString], flags: &[&Flag]) -> Result<ArgMatches, FlagError> {
    let command = clap::Command::new("tribune")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(flags.iter().map(|flag| flag.clap()))
        .arg(
            Arg::new(ARGUMENTS)
                .num_args(0..)
                .allow_hyphen_values(true)
                .trailing_var_arg(true)
                .value_parser(clap::value_parser!(OsString)),
        );
    let normal =
        goflags::normalise(words.iter().cloned(), &command).map_err(|error| refusal(&error, flags))?;
    command.try_get_matches_from(normal).map_err(|error| FlagError::Bad(error.to_string()))
}

/// Id of the positional arguments.
pub(super) const ARGUMENTS: &str = "";

fn refusal(error: &GoFlagError, flags: &[&Flag]) -> FlagError {
    let complaint = |name: &str, value: &str| {
        flags.iter().find(|flag| flag.name == name).and_then(|flag| flag.complaint(value))
    };
    FlagError::Bad(match error {
        GoFlagError::Help => return FlagError::Help,
        GoFlagError::InvalidValue { flag, value } => {
            let why = complaint(flag, value).unwrap_or_else(|| "parse error".to_owned());
            format!("invalid value {} for flag -{flag}: {why}", gotext::quote(value))
        }
        GoFlagError::InvalidBool { flag, value } => {
            let why = complaint(flag, value).unwrap_or_else(|| "parse error".to_owned());
            format!("invalid boolean value {} for -{flag}: {why}", gotext::quote(value))
        }
        other => other.to_string(),
    })
}

/// Why a text is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberError {
    Syntax,
    Range,
}

/// The spellings Go's `strconv.ParseBool` takes.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Go's complaint about a text that is no boolean.
pub(super) fn bool_error(text: &str) -> String {
    format!("strconv.ParseBool: parsing {}: invalid syntax", gotext::quote(text))
}

/// A number as in Go source: decimal, `0x`, `0o` or `0`, `0b`.
pub(super) fn parse_uint(text: &str) -> Result<u64, NumberError> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = if let Some(digits) = lower.strip_prefix("0x") {
        (digits, 16)
    } else if let Some(digits) = lower.strip_prefix("0b") {
        (digits, 2)
    } else if let Some(digits) = lower.strip_prefix("0o") {
        (digits, 8)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (lower.get(1..).unwrap_or_default(), 8)
    } else {
        (lower.as_str(), 10)
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(NumberError::Syntax);
    }
    u64::from_str_radix(digits, radix).map_err(|_| NumberError::Range)
}

/// Like [`parse_uint`], with a sign.
pub(super) fn parse_int(text: &str) -> Result<i64, NumberError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let size = i128::from(parse_uint(digits)?);
    i64::try_from(if negative { -size } else { size }).map_err(|_| NumberError::Range)
}

/// A duration that may not be negative.
pub(super) fn positive(duration: gotext::GoDuration) -> Option<Duration> {
    u64::try_from(duration).ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::new("on", Kind::Switch, ""),
        Flag::new("maybe", Kind::Bool, ""),
        Flag::new("text", Kind::Text, ""),
        Flag::new("uint", Kind::Uint, ""),
        Flag::new("int", Kind::Int, ""),
        Flag::new("maybe-uint", Kind::MaybeUint, ""),
        Flag::new("wait", Kind::Duration, ""),
        Flag::new("maybe-wait", Kind::MaybeDuration, ""),
        Flag::new("tag", Kind::List, ""),
        Flag::new("meta", Kind::Pairs, ""),
    ];

    fn read(line: &[&str]) -> Result<ArgMatches, FlagError> {
        let words: Vec<OsString> = line.iter().map(OsString::from).collect();
        parse(&words, &FLAGS.iter().collect::<Vec<_>>())
    }

    #[test]
    fn bad_values_have_consuls_texts() {
        let cases: &[(&[&str], &str)] = &[
            (&["-foo"], "flag provided but not defined: -foo"),
            (&["-text"], "flag needs an argument: -text"),
            (&["---x"], "bad flag syntax: ---x"),
            (&["-on=x"], "invalid boolean value \"x\" for -on: parse error"),
            (
                &["-maybe=x"],
                "invalid boolean value \"x\" for -maybe: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            (&["-uint", "x"], "invalid value \"x\" for flag -uint: parse error"),
            (&["-uint", "-1"], "invalid value \"-1\" for flag -uint: parse error"),
            (
                &["-uint", "99999999999999999999"],
                "invalid value \"99999999999999999999\" for flag -uint: value out of range",
            ),
            (
                &["-int", "9223372036854775808"],
                "invalid value \"9223372036854775808\" for flag -int: value out of range",
            ),
            (
                &["-maybe-uint", "-1"],
                "invalid value \"-1\" for flag -maybe-uint: strconv.ParseUint: parsing \"-1\": invalid syntax",
            ),
            (&["-wait", "x"], "invalid value \"x\" for flag -wait: parse error"),
            (&["-maybe-wait", "x"], "invalid value \"x\" for flag -maybe-wait: time: invalid duration \"x\""),
            (
                &["-maybe-wait", "1"],
                "invalid value \"1\" for flag -maybe-wait: time: missing unit in duration \"1\"",
            ),
            (&["-meta", "a"], "invalid value \"a\" for flag -meta: Missing \"=\" value in argument: a"),
        ];
        for (line, want) in cases {
            assert_eq!(read(line).unwrap_err(), FlagError::Bad((*want).to_owned()), "{line:?}");
        }
        assert_eq!(read(&["-h"]).unwrap_err(), FlagError::Help);
    }

    #[test]
    fn good_values_are_kept() {
        let got = read(&["-on", "--maybe=f", "-text=", "-tag=a", "-tag", "b", "-int=-3", "x", "-on=false"])
            .unwrap();
        assert!(got.get_flag("on"));
        assert_eq!(got.get_one::<bool>("maybe"), Some(&false));
        assert_eq!(got.get_one::<String>("text").map(String::as_str), Some(""));
        assert_eq!(got.get_many::<String>("tag").unwrap().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(got.get_one::<String>("int").map(String::as_str), Some("-3"));
        assert_eq!(got.get_many::<OsString>(ARGUMENTS).unwrap().collect::<Vec<_>>(), ["x", "-on=false"]);
    }

    #[test]
    fn numbers_as_in_go_source() {
        let cases = [
            ("0", Ok(0)),
            ("12", Ok(12)),
            ("0x1F", Ok(31)),
            ("0b11", Ok(3)),
            ("0o17", Ok(15)),
            ("017", Ok(15)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("18446744073709551616", Err(NumberError::Range)),
            ("", Err(NumberError::Syntax)),
            ("0x", Err(NumberError::Syntax)),
            ("09", Err(NumberError::Syntax)),
            ("+1", Err(NumberError::Syntax)),
            ("é", Err(NumberError::Syntax)),
        ];
        for (text, want) in cases {
            assert_eq!(parse_uint(text), want, "{text}");
        }
        assert_eq!(parse_int("-0x10"), Ok(-16));
        assert_eq!(parse_int("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(parse_int("--1"), Err(NumberError::Syntax));
    }
}
