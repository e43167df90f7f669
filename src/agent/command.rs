//! `tribune agent`: from a command line to a running agent.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use tracing::{info, warn};

use super::options::{AgentOptions, LiveSettings};
use crate::settings::flags::{self, Flags, FlagsError};
use crate::settings::goflags::GoFlagError;
use crate::settings::reload::{Effect, changes};
use crate::settings::{Loaded, Settings};
use crate::telemetry::Telemetry;

/// Runs `agent` with the arguments after it; the exit code is the process's.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let flags = match Flags::parse(arguments) {
        Ok(flags) => flags,
        Err(FlagsError::Flag(GoFlagError::Help)) => {
            print(&flags::command().render_long_help().to_string());
            return ExitCode::SUCCESS;
        }
        Err(error) => return refuse(&format!("{error}\n\n{}", flags::command().render_usage())),
    };
    let Loaded { settings, warnings } = match Settings::load(&flags) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error.to_string()),
    };
    let log = match Telemetry::install(&settings.log) {
        Ok(log) => log,
        Err(error) => return refuse(&error.to_string()),
    };
    let options = match AgentOptions::from_settings(&settings) {
        Ok(options) => options,
        Err(error) => return refuse(&error),
    };
    for warning in &warnings {
        warn!(target: "agent", "{warning}");
    }
    let mut current = settings;
    super::run(
        options,
        log.clone(),
        Box::new(move || {
            let Loaded { settings, warnings } =
                Settings::load(&flags).map_err(|error| format!("Failed to reload: {error}"))?;
            for warning in &warnings {
                warn!(target: "agent", "{warning}");
            }
            for change in changes(&current, &settings) {
                match change.effect {
                    Effect::Live if change.key == "log_level" => {
                        log.set_level(settings.log.level);
                        info!(target: "agent", level = settings.log.level.as_str(), "log level changed");
                    }
                    Effect::Live if change.key == "node_meta" => {
                        info!(target: "agent", "node metadata changed");
                    }
                    // Nothing else that may change live is built yet; say so instead of pretending.
                    Effect::Live => {
                        warn!(target: "agent", key = change.key, "this setting cannot be reloaded yet, restart the agent");
                    }
                    Effect::Restart => {
                        warn!(target: "agent", key = change.key, "this setting takes effect after a restart");
                    }
                }
            }
            let live = LiveSettings { node_meta: settings.node_meta.clone() };
            current = settings;
            Ok(live)
        }),
    )
}

fn print(text: &str) {
    // Whoever closed the pipe does not want it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn refuse(reason: &str) -> ExitCode {
    // The exit code says it too.
    let _ = writeln!(std::io::stderr(), "==> {reason}");
    ExitCode::FAILURE
}
