//! `keygen`: a new gossip encryption key.

use base64::Engine as _;

use super::invocation::Invocation;
use super::{Command, CommandResult, Io, Reach};

pub(super) const COMMAND: Command = Command {
    path: "keygen",
    arguments: "",
    synopsis: "Makes an encryption key for gossip",
    help: "Prints a new random key of 32 bytes in base64, for the configuration key 'encrypt'.",
    reach: Reach::Nobody,
    flags: &[],
    run,
};

#[expect(clippy::unnecessary_wraps, reason = "the signature of all commands")]
fn run(_: &Invocation, io: &mut Io) -> CommandResult {
    let key: [u8; 32] = rand::random();
    io.out(&base64::engine::general_purpose::STANDARD.encode(key));
    Ok(())
}
