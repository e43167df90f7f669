//! `snapshot save`: asks for the state, checks what arrived, and only then gives it its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;

use super::{archive, file_argument};
use crate::cli::client::{Answer, Client};
use crate::cli::invocation::Invocation;
use crate::cli::{Command, CommandResult, Failure, Io, Reach, gotext};

pub(in crate::cli) const COMMAND: Command = Command {
    path: "snapshot save",
    arguments: "[options] FILE",
    synopsis: "Saves the servers' state to a file",
    help: "Saves the state of the servers, at one moment, to FILE. With access control the file holds \
           secrets: it is readable by you alone.\n\n    $ tribune snapshot save backup.snap\n\n\
           Use -stale when there is no leader.",
    reach: Reach::Servers,
    flags: &[],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let file = file_argument(invocation)?;
    let client = Client::connect(invocation, io)?;
    let stream = client
        .get("/v1/snapshot")
        .with_switch("stale", invocation.stale())
        .send()
        .and_then(Answer::stream)
        .map_err(|error| Failure::Text(format!("Error saving snapshot: {error}")))?;
    let unverified = format!("{file}.unverified.tmp{}", std::process::id());
    let saved = keep(stream, &unverified, &file);
    if saved.is_err() {
        // Nothing of a failed attempt stays.
        let _ = fs::remove_file(&unverified);
    }
    io.out(&format!("Saved and verified snapshot to index {}", saved?));
    Ok(())
}

/// Writes, verifies and names the file; answers the snapshot's index.
fn keep(mut stream: impl Read, unverified: &str, file: &str) -> Result<u64, Failure> {
    let failed = |doing: &str, error: &io::Error| {
        Failure::Text(format!(
            "Error writing unverified snapshot file: {doing} {unverified}: {}",
            gotext::os_error(error)
        ))
    };
    let mut target = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(unverified)
        .map_err(|error| failed("open", &error))?;
    io::copy(&mut stream, &mut target).map_err(|error| failed("write", &error))?;
    target.sync_all().map_err(|error| failed("sync", &error))?;
    let written = File::open(unverified).map_err(|error| failed("open", &error))?;
    let meta = archive::verify(io::BufReader::new(written), unverified)
        .map_err(|error| Failure::Text(format!("Error verifying snapshot file: {error}")))?;
    fs::rename(unverified, file).map_err(|error| {
        let why = gotext::os_error(&error);
        Failure::Text(format!(
            "Error renaming {} to {}: {why}",
            gotext::quote(unverified),
            gotext::quote(file)
        ))
    })?;
    Ok(meta.index)
}
