//! `snapshot inspect`: what a snapshot is, without a server.

use std::io::BufReader;

use super::{archive, file_argument, open};
use crate::cli::invocation::Invocation;
use crate::cli::{Command, CommandResult, Failure, Io, Reach, columns};

pub(in crate::cli) const COMMAND: Command = Command {
    path: "snapshot inspect",
    arguments: "FILE",
    synopsis: "Checks a snapshot and prints what it is",
    help: "Checks that a snapshot is whole and prints its id, size, index, term and version.",
    reach: Reach::Nobody,
    flags: &[],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let file = file_argument(invocation)?;
    let meta = archive::verify(BufReader::new(open(&file)?), &file)
        .map_err(|error| Failure::Text(format!("Error verifying snapshot: {error}")))?;
    let lines = [
        ("ID", meta.id.clone()),
        ("Size", meta.size.to_string()),
        ("Index", meta.index.to_string()),
        ("Term", meta.term.to_string()),
        ("Version", meta.version.to_string()),
    ];
    io.out(&columns::pairs(&lines));
    io.out("");
    Ok(())
}
