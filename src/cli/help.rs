//! Help texts, made from what the commands declare.

use std::fmt::Write as _;

use super::flags::Flag;
use super::registry::{Entry, entries};
use super::{Command, Reach, invocation};

/// The list of all commands.
pub(super) fn top() -> String {
    let mut text = String::from("Usage: tribune [-version] [-help] <command> [<args>]\n\nCommands:\n");
    list(&mut text, entries().filter(|entry| !entry.path().contains(' ')), "");
    text
}

/// The help of a command or group.
pub(super) fn of(entry: Entry) -> String {
    match entry {
        Entry::Command(command) => of_command(command),
        Entry::Group(group) => {
            let mut text = format!("Usage: tribune {} <subcommand> [options] [args]\n\n", group.path);
            paragraph(&mut text, group.help, 2);
            text.push_str("\nSubcommands:\n");
            let prefix = format!("{} ", group.path);
            let below = entries().filter(|entry| {
                entry.path().strip_prefix(prefix.as_str()).is_some_and(|last| !last.contains(' '))
            });
            list(&mut text, below, &prefix);
            text
        }
        Entry::NotBuilt(path, synopsis) => {
            format!("Usage: tribune {path}\n\n  {synopsis}\n\n  Not implemented by this version of tribune.")
        }
    }
}

fn of_command(command: &Command) -> String {
    let mut text = format!("Usage: tribune {} {}", command.path, command.arguments).trim_end().to_owned();
    text.push_str("\n\n");
    paragraph(&mut text, command.help, 2);
    let (own, connection) = invocation::flags_of(command);
    if command.reach != Reach::Nobody {
        text.push_str("\nConnection options\n");
        flags(&mut text, connection);
    }
    if !own.is_empty() {
        text.push_str("\nOptions\n");
        flags(&mut text, own);
    }
    text
}

/// The list of flags that follows a bad one.
pub(super) fn flag_dump(command: &Command) -> String {
    let (own, connection) = invocation::flags_of(command);
    let mut all: Vec<&Flag> = own.into_iter().chain(connection).collect();
    all.sort_by_key(|flag| flag.name);
    let mut text = String::from("Usage:");
    for flag in all {
        let _ = write!(text, "\n  -{}", flag.name);
        if let Some(placeholder) = flag.placeholder() {
            let _ = write!(text, " {placeholder}");
        }
        let _ = write!(text, "\n    \t{}", flag.help);
    }
    text
}

fn flags(text: &mut String, mut flags: Vec<&Flag>) {
    flags.sort_by_key(|flag| flag.name);
    for flag in flags {
        let _ = write!(text, "\n  -{}", flag.name);
        if let Some(placeholder) = flag.placeholder() {
            let _ = write!(text, "=<{placeholder}>");
        }
        text.push('\n');
        paragraph(text, flag.help, 5);
    }
}

/// Lines of name and synopsis; `prefix` is cut from the names.
fn list(text: &mut String, entries: impl Iterator<Item = Entry>, prefix: &str) {
    let mut lines: Vec<(String, &str)> = entries
        .map(|entry| (entry.path().strip_prefix(prefix).unwrap_or(entry.path()).to_owned(), entry.synopsis()))
        .collect();
    lines.sort();
    let widest = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, synopsis) in lines {
        let _ = writeln!(text, "    {name:widest$}    {synopsis}");
    }
}

/// `help` broken into lines of at most 72 characters, each indented by `indent`. A line that begins
/// with blanks (an example) and an empty one stay as they are.
fn paragraph(text: &mut String, help: &str, indent: usize) {
    const WIDTH: usize = 72;
    let margin = " ".repeat(indent);
    for block in help.split('\n') {
        if block.is_empty() || block.starts_with(' ') {
            let _ = writeln!(text, "{}", format!("{margin}{block}").trim_end());
            continue;
        }
        let mut line = margin.clone();
        for word in block.split_whitespace() {
            if line.len() > indent && line.len() + 1 + word.len() > WIDTH {
                let _ = writeln!(text, "{line}");
                line.clone_from(&margin);
            }
            if line.len() > indent {
                line.push(' ');
            }
            line.push_str(word);
        }
        let _ = writeln!(text, "{line}");
    }
}
