//! One call of a command: its flags and arguments.

use std::ffi::{OsStr, OsString};

use clap::ArgMatches;

use super::flags::{self, Flag, FlagError};
use super::{Command, Reach, client};

/// A parsed command line. The accessors take the name of a flag the command has declared; a flag it
/// has not declared reads as not given.
pub(super) struct Invocation {
    matches: ArgMatches,
    arguments: Vec<OsString>,
    reach: Reach,
}

/// All flags of a command: its own, then those of its connection.
pub(super) fn flags_of(command: &Command) -> (Vec<&'static Flag>, Vec<&'static Flag>) {
    let own = command.flags.iter().collect();
    let connection = match command.reach {
        Reach::Nobody => Vec::new(),
        Reach::Agent => client::AGENT_FLAGS.iter().collect(),
        Reach::Servers => client::AGENT_FLAGS.iter().chain(client::SERVER_FLAGS).collect(),
    };
    (own, connection)
}

impl Invocation {
    /// Reads what follows the command's name.
    pub fn parse(command: &Command, words: &[OsString]) -> Result<Self, FlagError> {
        let (own, connection) = flags_of(command);
        let all: Vec<&Flag> = own.into_iter().chain(connection).collect();
        let matches = flags::parse(words, &all)?;
        let arguments = matches
            .get_many::<OsString>(flags::ARGUMENTS)
            .map(|list| list.cloned().collect())
            .unwrap_or_default();
        Ok(Self { matches, arguments, reach: command.reach })
    }

    /// The arguments after the flags.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// The argument in this place, with replacement characters where it is not text.
    pub fn argument(&self, place: usize) -> Option<String> {
        self.arguments.get(place).map(|word| lossy(word))
    }

    /// A switch or an optional boolean; off unless given.
    pub fn is_on(&self, name: &str) -> bool {
        self.given_bool(name).unwrap_or(false)
    }

    /// An optional boolean.
    pub fn given_bool(&self, name: &str) -> Option<bool> {
        self.matches.try_get_one::<bool>(name).ok().flatten().copied()
    }

    /// Whether a switch that is on by itself was turned off.
    pub fn is_switched_off(&self, name: &str) -> bool {
        self.given_bool(name) == Some(false)
    }

    /// A text, if given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.matches.try_get_one::<String>(name).ok().flatten().map(String::as_str)
    }

    /// A text, if given and not empty.
    pub fn some_text(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// A whole number, if given.
    pub fn uint(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(|text| flags::parse_uint(text).ok())
    }

    /// A signed number, if given.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.text(name).and_then(|text| flags::parse_int(text).ok())
    }

    /// A repeatable flag's values, in order.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let values = self.matches.try_get_many::<String>(name).ok().flatten();
        values.map(|list| list.map(String::as_str).collect()).unwrap_or_default()
    }

    /// Whether `-stale` was given to a command that has it.
    pub fn stale(&self) -> bool {
        self.reach == Reach::Servers && self.is_on("stale")
    }
}

/// Text with replacement characters where `word` is none.
pub(super) fn lossy(word: &OsStr) -> String {
    word.to_string_lossy().into_owned()
}
