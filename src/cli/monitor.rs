//! `monitor`: the agent's log as it is written.

use std::io::{Read, Write as _};
use std::sync::mpsc::{self, Receiver};

use super::client::{Client, ClientError};
use super::flags::{Flag, Kind};
use super::invocation::Invocation;
use super::signals::{self, First};
use super::{Command, CommandResult, Failure, Io, Reach};

pub(super) const COMMAND: Command = Command {
    path: "monitor",
    arguments: "[options]",
    synopsis: "Prints the agent's log as it is written",
    help: "Prints what the agent logs from now on, until Ctrl-C. The level may be lower than the one \
           the agent itself logs at.",
    reach: Reach::Agent,
    flags: &[
        Flag::new("log-json", Kind::Switch, "Print JSON lines."),
        Flag::new("log-level", Kind::Text, "trace, debug, info, warn or error. Default: info."),
    ],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let client = Client::connect(invocation, io)?;
    let signals = (io.signals)();
    let answer = client
        .get("/v1/agent/monitor")
        .with("loglevel", invocation.some_text("log-level").unwrap_or("INFO"))
        .with_some("logjson", invocation.is_on("log-json").then_some("true"))
        .send();
    let stream = answer
        .and_then(super::client::Answer::stream)
        .map_err(|error: ClientError| Failure::Text(format!("Error starting monitor: {error}")))?;
    let pieces = read_aside(stream);
    loop {
        match signals::first(&signals, &pieces) {
            First::Signal(_) => return Ok(()),
            First::Ended => break,
            First::Result(piece) => {
                // Whoever read our output is gone: nothing is left to do.
                if io.stdout.write_all(&piece).is_err() || !io.flush() {
                    return Ok(());
                }
            }
        }
    }
    // Consul says so on standard output.
    io.out(
        "\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed.",
    );
    Err(Failure::Silent(1))
}

/// Reads in a thread of its own, so that a signal need not wait for the next line. The channel ends
/// with the stream.
fn read_aside(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(16);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 8 * 1024];
        while let Ok(amount @ 1..) = stream.read(&mut buffer) {
            let piece = buffer.get(..amount).unwrap_or_default().to_vec();
            if sender.send(piece).is_err() {
                return;
            }
        }
    });
    receiver
}
