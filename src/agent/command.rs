//! `tribune agent`: from a command line to a running agent.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use tracing::{info, warn};

use super::options::{AgentOptions, Configuration, LiveSettings};
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
    super::run(options, log.clone(), Box::new(Files { flags, log, current: settings, next: None }))
}

/// The files and flags behind a running agent.
struct Files {
    flags: Flags,
    log: Telemetry,
    current: Settings,
    /// Read and not yet in effect.
    next: Option<Settings>,
}

impl Configuration for Files {
    fn read(&mut self) -> Result<LiveSettings, String> {
        let Loaded { settings, warnings } =
            Settings::load(&self.flags).map_err(|error| format!("Failed to reload: {error}"))?;
        for warning in &warnings {
            warn!(target: "agent", "{warning}");
        }
        let live =
            LiveSettings::from_settings(&settings).map_err(|error| format!("Failed to reload: {error}"))?;
        self.next = Some(settings);
        Ok(live)
    }

    fn accepted(&mut self) {
        let Some(next) = self.next.take() else { return };
        for change in changes(&self.current, &next) {
            match (change.effect, change.key) {
                (Effect::Live, "log_level") => {
                    self.log.set_level(next.log.level);
                    info!(target: "agent", level = next.log.level.as_str(), "log level changed");
                }
                (Effect::Live, key) if APPLIED.contains(&key) => {
                    info!(target: "agent", key, "setting reloaded");
                }
                // Not built to change live yet; say so instead of pretending.
                (Effect::Live, key) => {
                    warn!(target: "agent", key, "this setting cannot be reloaded yet, restart the agent");
                }
                (Effect::Restart, key) => {
                    warn!(target: "agent", key, "this setting takes effect after a restart");
                }
            }
        }
        self.current = next;
    }
}

/// Keys of what [`LiveSettings`] carries.
const APPLIED: &[&str] = &[
    "node_meta",
    "services",
    "checks",
    "watches",
    "telemetry.prefix_filter",
    "discard_check_output",
    "dns_config",
    "recursors",
];

fn print(text: &str) {
    // Whoever closed the pipe does not want it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn refuse(reason: &str) -> ExitCode {
    // The exit code says it too.
    let _ = writeln!(std::io::stderr(), "==> {reason}");
    ExitCode::FAILURE
}
