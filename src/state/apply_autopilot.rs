//! The configuration of autopilot: one record, stored whole.

use std::sync::Arc;

use super::record::AutopilotConfig;
use super::rows::RowKey;
use super::writer::Writer;

/// Stores a configuration; false if `cas` is given and is not the ModifyIndex of the one there is (0: of none).
///
/// Nobody waits for it: Consul has no blocking read of it.
pub fn set(writer: &mut Writer<'_>, config: &AutopilotConfig, cas: Option<u64>) -> bool {
    let existing = writer.view.autopilot.as_ref().map(|config| config.indexes);
    if cas.is_some_and(|cas| cas != existing.map_or(0, |indexes| indexes.modify_index)) {
        return false;
    }
    let indexes = writer.indexes(existing);
    writer.view.autopilot = Some(Arc::new(AutopilotConfig { indexes, ..config.clone() }));
    writer.mark(RowKey::Autopilot);
    true
}
