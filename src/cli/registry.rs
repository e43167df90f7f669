//! The list of commands, and how a command line picks one.

use std::ffi::OsString;

use super::{
    Command, catalog, event, exec, force_leave, info, join, keygen, keyring, kv, leave, lock, maint, members,
    monitor, operator, reload, rtt, services, snapshot, validate, version, watch,
};

/// Commands that are built, but `agent`.
static COMMANDS: &[&Command] = &[
    &catalog::DATACENTERS,
    &catalog::NODES,
    &catalog::SERVICES,
    &event::COMMAND,
    &exec::COMMAND,
    &force_leave::COMMAND,
    &info::COMMAND,
    &join::COMMAND,
    &keygen::COMMAND,
    &keyring::COMMAND,
    &kv::delete::COMMAND,
    &kv::export::COMMAND,
    &kv::get::COMMAND,
    &kv::import::COMMAND,
    &kv::put::COMMAND,
    &leave::COMMAND,
    &lock::COMMAND,
    &maint::COMMAND,
    &members::COMMAND,
    &monitor::COMMAND,
    &operator::autopilot::GET_CONFIG,
    &operator::autopilot::SET_CONFIG,
    &operator::raft::LIST_PEERS,
    &operator::raft::REMOVE_PEER,
    &operator::raft::TRANSFER_LEADER,
    &reload::COMMAND,
    &rtt::COMMAND,
    &services::deregister::COMMAND,
    &services::register::COMMAND,
    &snapshot::inspect::COMMAND,
    &snapshot::restore::COMMAND,
    &snapshot::save::COMMAND,
    &validate::COMMAND,
    &version::COMMAND,
    &watch::COMMAND,
];

/// Words that only hold subcommands.
pub(super) struct Group {
    pub path: &'static str,
    pub synopsis: &'static str,
    pub help: &'static str,
}

static GROUPS: &[Group] = &[
    Group {
        path: "catalog",
        synopsis: "Reads the catalog of nodes and services",
        help: "Reads the servers' catalog.\n\n    $ tribune catalog nodes\n    $ tribune catalog services",
    },
    Group {
        path: "kv",
        synopsis: "Works with the key-value store",
        help: "Reads and writes the key-value store.\n\n    $ tribune kv put web/port 8080\n    \
               $ tribune kv get web/port\n    $ tribune kv delete web/port",
    },
    Group {
        path: "operator",
        synopsis: "Tools for whoever runs the servers",
        help: "Tools that look at the servers as a group. Some can break a cluster: read their help first.",
    },
    Group {
        path: "operator autopilot",
        synopsis: "How the leader looks after the other servers",
        help: "Reads and changes the autopilot configuration.",
    },
    Group {
        path: "operator raft",
        synopsis: "The servers' consensus group",
        help: "Reads and changes the Raft group of the servers.",
    },
    Group {
        path: "services",
        synopsis: "Registers services with the agent",
        help: "Registers services with the agent the command talks to, and takes them back.\n\n    \
               $ tribune services register web.json\n    $ tribune services deregister web.json",
    },
    Group {
        path: "snapshot",
        synopsis: "Saves, inspects and restores the servers' state",
        help: "Saves the whole state of the servers to a file, and brings it back.\n\n    \
               $ tribune snapshot save backup.snap\n    $ tribune snapshot restore backup.snap",
    },
];

/// Commands of Consul that are not built, and the agent, which is run elsewhere.
static OTHERS: &[(&str, &str)] = &[
    ("acl", "Manages tokens, policies and roles"),
    ("agent", "Runs an agent"),
    ("config", "Manages central configuration entries"),
    ("connect", "Manages the service mesh"),
    ("debug", "Records an archive for support"),
    ("intention", "Manages who may talk to whom in the mesh"),
    ("login", "Gets a token from an auth method"),
    ("logout", "Gives a token from login back"),
    ("tls", "Makes certificates"),
];

/// A command, a group, or a name known from Consul.
#[derive(Clone, Copy)]
pub(super) enum Entry {
    /// Can be run.
    Command(&'static Command),
    /// Has subcommands.
    Group(&'static Group),
    /// Path and synopsis of something that is not here.
    NotBuilt(&'static str, &'static str),
}

impl Entry {
    pub fn path(&self) -> &'static str {
        match self {
            Self::Command(command) => command.path,
            Self::Group(group) => group.path,
            Self::NotBuilt(path, _) => path,
        }
    }

    pub fn synopsis(&self) -> &'static str {
        match self {
            Self::Command(command) => command.synopsis,
            Self::Group(group) => group.synopsis,
            Self::NotBuilt(_, synopsis) => synopsis,
        }
    }
}

/// All of them.
pub(super) fn entries() -> impl Iterator<Item = Entry> {
    let commands = COMMANDS.iter().map(|command| Entry::Command(command));
    let groups = GROUPS.iter().map(Entry::Group);
    let others = OTHERS.iter().map(|(path, synopsis)| Entry::NotBuilt(path, synopsis));
    commands.chain(groups).chain(others)
}

/// What a command line names.
pub(super) enum Found {
    /// This.
    Entry(Entry),
    /// No command, or one nobody knows.
    Nothing,
}

fn is_flag(word: &OsString) -> bool {
    word.to_string_lossy().starts_with('-')
}

/// The words before `--`: where flags of the program itself may stand.
fn until_end_mark(words: &[OsString]) -> impl Iterator<Item = &OsString> {
    words.iter().take_while(|word| *word != "--")
}

/// Whether help is asked for, anywhere before `--`.
pub(super) fn asks_for_help(words: &[OsString]) -> bool {
    until_end_mark(words).any(|word| word == "-h" || word == "-help" || word == "--help")
}

/// Whether the version is asked for by a flag before the command.
pub(super) fn asks_for_version(words: &[OsString]) -> bool {
    until_end_mark(words)
        .take_while(|word| is_flag(word))
        .any(|word| word == "-v" || word == "-version" || word == "--version")
}

/// Whether a flag that is neither help nor version stands before the command.
pub(super) fn flag_before_command(words: &[OsString]) -> bool {
    until_end_mark(words).take_while(|word| is_flag(word)).next().is_some()
}

/// The words that may name a command: from the first that is no flag to the next flag.
pub(super) fn command_words(words: &[OsString]) -> Vec<&OsString> {
    until_end_mark(words).skip_while(|word| is_flag(word)).take_while(|word| !is_flag(word)).collect()
}

/// The entry with the longest path the command line begins with, and the words after that path.
pub(super) fn find(words: &[OsString]) -> (Found, &[OsString]) {
    let start = words.iter().take_while(|word| is_flag(word)).count();
    let named = command_words(words);
    let mut best: Option<(Entry, usize)> = None;
    for entry in entries() {
        let path: Vec<&str> = entry.path().split(' ').collect();
        let fits = path.len() <= named.len() && path.iter().zip(&named).all(|(part, word)| *word == *part);
        if fits && best.as_ref().is_none_or(|(_, length)| path.len() > *length) {
            best = Some((entry, path.len()));
        }
    }
    match best {
        Some((entry, length)) => (Found::Entry(entry), words.get(start + length..).unwrap_or_default()),
        None => (Found::Nothing, words.get(start..).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::help;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn command_lines_pick_commands() {
        let cases = [
            ("kv get a", Some("kv get"), "a"),
            ("kv get -keys a", Some("kv get"), "-keys a"),
            ("kv", Some("kv"), ""),
            ("kv bogus", Some("kv"), "bogus"),
            ("kv -x get", Some("kv"), "-x get"),
            ("operator raft list-peers -stale", Some("operator raft list-peers"), "-stale"),
            ("operator raft", Some("operator raft"), ""),
            ("-h kv get", Some("kv get"), ""),
            ("acl token list", Some("acl"), "token list"),
            ("bogus", None, "bogus"),
            ("", None, ""),
            ("-- kv get a", None, "kv get a"),
        ];
        for (line, want, want_rest) in cases {
            let line_words = words(line);
            let (found, rest) = find(&line_words);
            let path = match found {
                Found::Entry(entry) => Some(entry.path()),
                Found::Nothing => None,
            };
            assert_eq!(path, want, "{line}");
            assert_eq!(rest, words(want_rest), "{line}");
        }
    }

    #[test]
    fn help_and_version_flags() {
        let cases = [
            ("-h", true, false),
            ("kv get a -help", true, false),
            ("kv put -- -h", false, false),
            ("-v kv", false, true),
            ("--version", false, true),
            ("kv get -v", false, false),
        ];
        for (line, help, version) in cases {
            assert_eq!(asks_for_help(&words(line)), help, "{line}");
            assert_eq!(asks_for_version(&words(line)), version, "{line}");
        }
    }

    #[test]
    fn every_entry_can_be_described() {
        for entry in entries() {
            assert!(help::of(entry).contains(entry.path()), "{}", entry.path());
            if let Some((parent, _)) = entry.path().rsplit_once(' ') {
                assert!(entries().any(|other| other.path() == parent), "{} has no group", entry.path());
            }
            if let Entry::Command(command) = entry {
                let dump = help::flag_dump(command);
                for flag in command.flags {
                    assert!(dump.contains(&format!("-{}", flag.name)), "{} {}", command.path, flag.name);
                }
            }
        }
    }
}
