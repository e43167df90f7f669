//! A unit of systemd, asked for by `systemctl is-active`: what talks to the bus stays in one place.

use std::time::Duration;

use super::Outcome;
use super::script::{Ended, run, timed_out};

/// Bytes of systemctl's output looked at.
const MOST_OUTPUT: usize = 256;

/// Asks for the state of a unit.
#[derive(Debug)]
pub(super) struct OsServiceProbe {
    /// Name of the unit; `.service` if it has no kind.
    pub unit: String,
    /// Time limit.
    pub limit: Duration,
    /// The program that is asked.
    pub systemctl: String,
}

impl OsServiceProbe {
    /// One look.
    pub async fn run(&self) -> Outcome {
        let args = [&self.systemctl, "is-active", "--", &self.unit].map(str::to_owned);
        match run(&args, &[], self.limit, MOST_OUTPUT).await {
            // Not knowing is no failure of the unit, and Consul does not make one of it.
            Ended::NotStarted(text) => Outcome::warning(text),
            Ended::TimedOut(_) => Outcome::critical(timed_out(self.limit)),
            Ended::Exited(_, tail) => self.judge(tail.into_text().trim()),
        }
    }

    fn judge(&self, state: &str) -> Outcome {
        match state.lines().next().unwrap_or_default() {
            "active" | "reloading" | "refreshing" => {
                Outcome::passing(format!("Service \"{}\" is healthy", self.unit))
            }
            "inactive" | "failed" | "deactivating" | "maintenance" | "unknown" => {
                Outcome::critical(format!("OS Service unhealthy: \"{}\" is {state}", self.unit))
            }
            "activating" => Outcome::warning(format!("Service \"{}\" is activating", self.unit)),
            // Such as "System has not been booted with systemd as init system (PID 1)."
            other => Outcome::warning(format!("Service \"{}\": {other}", self.unit)),
        }
    }
}
