//! When a look counts: how many in a row it takes until a check changes (`success_before_passing`,
//! `failures_before_warning`, `failures_before_critical`).

use crate::definition::{CheckDefinition, Status};

/// Counts looks of the same kind in a row. A warning counts as a success, as it does in Consul.
#[derive(Debug, Clone)]
pub struct Streak {
    before_passing: u32,
    before_warning: u32,
    before_critical: u32,
    successes: u32,
    failures: u32,
}

impl Streak {
    /// The thresholds of a definition. The first look counts at once, whatever they are.
    pub fn new(check: &CheckDefinition) -> Self {
        let before_critical = check.failures_before_critical;
        let before_warning =
            if check.failures_before_warning == 0 { before_critical } else { check.failures_before_warning };
        Self {
            before_passing: check.success_before_passing,
            before_warning,
            before_critical,
            successes: check.success_before_passing,
            failures: before_critical,
        }
    }

    /// Counts a look. What the check is now, or nothing if there have not been enough of them: status and
    /// output then stay as they are.
    pub const fn count(&mut self, seen: Status) -> Option<Status> {
        match seen {
            Status::Passing | Status::Warning => {
                self.successes = self.successes.saturating_add(1);
                self.failures = 0;
                if self.successes >= self.before_passing { Some(seen) } else { None }
            }
            Status::Critical => {
                self.failures = self.failures.saturating_add(1);
                self.successes = 0;
                if self.failures >= self.before_critical {
                    Some(Status::Critical)
                } else if self.failures >= self.before_warning {
                    Some(Status::Warning)
                } else {
                    None
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let cases = [
            ("without thresholds", [0, 0, 0], "pcwp", "pcwp"),
            ("the first failure counts", [0, 0, 3], "ccpccc", "ccp--c"),
            ("the first success counts", [3, 0, 0], "pcpppp", "pc--pp"),
            ("a warning breaks a run of failures", [0, 0, 2], "pcwcc", "p-w-c"),
            ("a warning is a success", [2, 0, 0], "cwwp", "c-wp"),
            ("failures warn first", [0, 2, 4], "pccccp", "p-wwcp"),
            ("one and none are the same", [1, 0, 1], "cpcp", "cpcp"),
        ];
        for (name, [passing, warning, critical], seen, want) in cases {
            let mut streak = Streak::new(&CheckDefinition {
                success_before_passing: passing,
                failures_before_warning: warning,
                failures_before_critical: critical,
                ..CheckDefinition::default()
            });
            let got: String = seen
                .chars()
                .map(|letter| {
                    let status = match letter {
                        'p' => Status::Passing,
                        'w' => Status::Warning,
                        _ => Status::Critical,
                    };
                    streak.count(status).map_or('-', |now| now.as_str().chars().next().unwrap())
                })
                .collect();
            assert_eq!(got, want, "{name}");
        }
    }
}
