//! Probes: one look at something, from a definition to a status and a line of output.
//!
//! A probe is a future that needs a tokio runtime and nothing else: it has no state between two looks,
//! knows no actor, no timer of its own but its time limit, and nobody it tells. When to look, how often a
//! failure counts and who is told is the business of `actors::health_check`. Statuses and the words of the
//! output are Consul's, as people's dashboards and tests know them.

use crate::definition::Status;

/// What one look gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it is.
    pub status: Status,
    /// What there is to say about it; valid UTF-8, no longer than the check's limit allows.
    pub output: String,
}
