//! What a command sees of the world: three streams, the environment, signals.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufWriter, Read, Write};
use std::sync::mpsc::Receiver;

use super::signals::{self, Signal};

/// Environment variables, by name.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The variable's value, if it is set, not empty and text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(std::ffi::OsStr::new(name))
            .and_then(|value| value.to_str())
            .filter(|value| !value.is_empty())
    }

    /// All variables, for a child process.
    pub fn iter(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter()
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(variables: T) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Streams and surroundings of one command.
pub struct Io {
    /// Standard input.
    pub stdin: Box<dyn Read>,
    /// Standard output: results.
    pub stdout: Box<dyn Write>,
    /// Standard error: errors and usage.
    pub stderr: Box<dyn Write>,
    /// Environment variables.
    pub env: Environment,
    /// Starts listening for signals; called only by commands that outlive a request.
    pub signals: fn() -> Receiver<Signal>,
}

impl Io {
    /// Those of this process.
    pub fn process() -> Self {
        Self {
            stdin: Box::new(std::io::stdin()),
            stdout: Box::new(BufWriter::new(std::io::stdout())),
            stderr: Box::new(std::io::stderr()),
            env: std::env::vars_os().collect(),
            signals: signals::listen,
        }
    }

    /// Prints `text` and a line end on standard output.
    pub fn out(&mut self, text: &str) {
        self.out_bytes(text.as_bytes());
    }

    /// Prints bytes, as they are, and a line end on standard output.
    pub fn out_bytes(&mut self, bytes: &[u8]) {
        // A reader that went away (`| head`) is no error of the command.
        let _ = self.stdout.write_all(bytes).and_then(|()| self.stdout.write_all(b"\n"));
    }

    /// Prints `text` and a line end on standard error, after everything printed so far.
    pub fn err(&mut self, text: &str) {
        self.flush();
        let _ = writeln!(self.stderr, "{text}");
    }

    /// Hands everything printed to the outside; false when standard output is gone.
    pub fn flush(&mut self) -> bool {
        self.stdout.flush().is_ok()
    }
}
