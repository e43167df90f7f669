//! What a pool counts, under the names Consul documents.

use crate::gossip::serf::Pool;
use crate::metrics::Metrics;

/// What was counted when it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Measure {}

impl Measure {
    /// Adds what was counted since the last time.
    pub fn take(&mut self, _pool: &Pool, _metrics: &Metrics) {}
}
