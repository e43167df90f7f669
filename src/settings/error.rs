//! Where a setting stands, what is wrong with it, and how that is told.

use std::fmt;
use std::sync::Arc;

/// A place in a source of settings. Lines and columns count from 1, columns in characters; line 0 means
/// the source as a whole (a flag, a file that cannot be read).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// File name as given, or something like `flag -http-port`.
    pub source: Arc<str>,
    /// Line, from 1; 0 for the whole source.
    pub line: u32,
    /// Column in characters, from 1; 0 for the whole source.
    pub column: u32,
}

impl Origin {
    /// A source as a whole.
    pub fn whole(source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), line: 0, column: 0 }
    }
}

impl Origin {
    /// The place that [`Origin`]'s text form names.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = text.rsplitn(3, ':');
        let column = parts.next().and_then(|part| part.parse().ok());
        let line = parts.next().and_then(|part| part.parse().ok());
        match (parts.next(), line, column) {
            (Some(source), Some(line), Some(column)) => Self { source: source.into(), line, column },
            _ => Self::whole(text),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if self.line > 0 { write!(f, ":{}:{}", self.line, self.column) } else { Ok(()) }
    }
}

/// What is wrong in one place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A file or directory cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The text is no JSON or HCL.
    #[error("{0}")]
    Syntax(String),
    /// No such key. Both names are full paths.
    #[error("invalid config key {key} (nearest valid key: {nearest})")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// The valid key most like it.
        nearest: String,
    },
    /// A value of another type than the key has.
    #[error("'{key}' expected {expected}, got {found}")]
    WrongType {
        /// Full path of the key.
        key: String,
        /// What belongs there, in words, with an example where that helps.
        expected: &'static str,
        /// What stands there, in words.
        found: String,
    },
    /// The type is right, the value is not, alone or beside others.
    #[error("{0}")]
    Invalid(String),
}

/// A fault and its place, if it has one (derived values and sums of several keys have none).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, if it can be said.
    pub origin: Option<Origin>,
    /// What.
    pub fault: Fault,
}

impl Problem {
    /// A fault at a place.
    pub fn at(origin: Origin, fault: Fault) -> Self {
        Self { origin: Some(origin), fault }
    }

    /// The file that could not be parsed, for faults that stem from one file alone.
    fn unparsable(&self) -> Option<&Arc<str>> {
        match (&self.origin, &self.fault) {
            (Some(origin), Fault::Syntax(_) | Fault::UnknownKey { .. } | Fault::WrongType { .. }) => {
                Some(&origin.source)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

/// Something that works but should be looked at; printed at start, never fatal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where, if it can be said.
    pub origin: Option<Origin>,
    /// What, in Consul's words where Consul has some.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Why settings were refused: everything that was found, never only the first thing. When one comes
/// back, nothing was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// What is wrong; at least one entry, in the order of the sources.
    pub problems: Vec<Problem>,
}

impl std::error::Error for SettingsError {}

impl SettingsError {
    /// A single problem without a place.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { problems: vec![Problem { origin: None, fault: Fault::Invalid(text.into()) }] }
    }

    /// `Err` with the problems, if there are any.
    pub(crate) fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }
}

/// Consul's layout: faults of a file under `failed to parse FILE: N errors occurred:`, one to a line; a
/// lone other fault without frame; several others under `N errors occurred:`.
impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: Vec<(Option<&Arc<str>>, Vec<&Problem>)> = Vec::new();
        for problem in &self.problems {
            let file = problem.unparsable();
            match groups.last_mut() {
                Some((last, members)) if *last == file => members.push(problem),
                _ => groups.push((file, vec![problem])),
            }
        }
        for (number, (file, members)) in groups.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            match (file, members.as_slice()) {
                (None, [only]) => write!(f, "{only}")?,
                (file, members) => {
                    if let Some(file) = file {
                        write!(f, "failed to parse {file}: ")?;
                    }
                    let plural = if members.len() == 1 { "error" } else { "errors" };
                    write!(f, "{} {plural} occurred:", members.len())?;
                    for member in members {
                        write!(f, "\n\t* {member}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_like_consuls() {
        let source: Arc<str> = Arc::from("a.hcl");
        let at = |line, column| Origin { source: Arc::clone(&source), line, column };
        let unknown =
            Problem::at(at(3, 5), Fault::UnknownKey { key: "ports.foo".into(), nearest: "ports.dns".into() });
        let plain = Problem { origin: None, fault: Fault::Invalid("data_dir cannot be empty".into()) };
        let cases = [
            ("one plain", vec![plain.clone()], "data_dir cannot be empty"),
            (
                "one of a file",
                vec![unknown.clone()],
                "failed to parse a.hcl: 1 error occurred:\n\t* a.hcl:3:5: invalid config key ports.foo \
                 (nearest valid key: ports.dns)",
            ),
            (
                "two plain",
                vec![plain.clone(), plain],
                "2 errors occurred:\n\t* data_dir cannot be empty\n\t* data_dir cannot be empty",
            ),
        ];
        for (name, problems, want) in cases {
            assert_eq!(SettingsError { problems }.to_string(), want, "{name}");
        }
    }
}
