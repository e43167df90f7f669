//! `snapshot`: the servers' state as a file.

mod archive;
pub(super) mod inspect;
pub(super) mod restore;
pub(super) mod save;

use std::fs::File;

use super::invocation::Invocation;
use super::{Failure, gotext};

#[cfg(test)]
pub(super) fn archive_for_tests(state: &[u8]) -> Vec<u8> {
    archive::tests::build(state, false)
}

/// The one argument.
fn file_argument(invocation: &Invocation) -> Result<String, Failure> {
    match (invocation.argument(0), invocation.arguments().len()) {
        (Some(file), 1) => Ok(file),
        (None, _) => Err(Failure::text("Missing FILE argument")),
        (_, count) => Err(Failure::Text(format!("Too many arguments (expected 1, got {count})"))),
    }
}

fn open(file: &str) -> Result<File, Failure> {
    File::open(file).map_err(|error| {
        Failure::Text(format!("Error opening snapshot file: open {file}: {}", gotext::os_error(&error)))
    })
}
