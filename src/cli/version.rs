//! `version`: which Consul this speaks for, and which Tribune it is.

use serde::Serialize;

use super::flags::{Flag, Kind};
use super::invocation::Invocation;
use super::{Command, CommandResult, Failure, Io, Reach, gotext};

/// The Consul whose command line and API these are; tools read it from `version`.
const CONSUL_VERSION: &str = "1.8.7";
const PROTOCOL: Protocol = Protocol { default: 2, min: 2, max: 3 };

pub(super) const COMMAND: Command = Command {
    path: "version",
    arguments: "[options]",
    synopsis: "Prints the version",
    help: "Prints the version of Consul that this program stands in for, in Consul's form.",
    reach: Reach::Nobody,
    flags: &[
        Flag::new("detailed", Kind::Switch, "Print Tribune's own version as well."),
        Flag::new("format", Kind::Text, "pretty or json. Default: pretty."),
    ],
    run,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Protocol {
    default: u8,
    min: u8,
    max: u8,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_field_names, reason = "the API's names")]
struct Version {
    version: &'static str,
    revision: &'static str,
    prerelease: &'static str,
    #[serde(rename = "RPC")]
    rpc: Protocol,
    #[serde(skip_serializing_if = "Option::is_none")]
    tribune: Option<&'static str>,
}

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let own = invocation.is_on("detailed").then_some(env!("CARGO_PKG_VERSION"));
    match invocation.text("format").unwrap_or("pretty") {
        "pretty" => {
            print_plain(io);
            if let Some(own) = own {
                io.out(&format!("Tribune v{own}"));
            }
            Ok(())
        }
        "json" => {
            let version = Version {
                version: CONSUL_VERSION,
                revision: "",
                prerelease: "",
                rpc: PROTOCOL,
                tribune: own,
            };
            io.out(&gotext::indented_json(&version, "   ").map_err(Failure::Text)?);
            Ok(())
        }
        other => Err(Failure::Text(format!("Unknown format: {other}"))),
    }
}

/// The form tools parse: two lines and an empty one.
pub(super) fn print_plain(io: &mut Io) {
    let Protocol { default, min, max } = PROTOCOL;
    io.out(&format!("Consul v{CONSUL_VERSION}"));
    io.out(&format!(
        "Protocol {default} spoken by default, understands {min} to {max} (agent will automatically use \
         protocol >{default} when speaking to compatible agents)\n"
    ));
}
