//! What alias checks look at: the checks of a service or a node, here or anywhere in the catalog.

use std::sync::{Arc, Weak};

use futures::future::BoxFuture;

use super::LocalState;
use crate::actors::health_check::{AliasSource, AliasedCheck};
use crate::definition::Status;
use crate::endpoints::agent::LocalAgent;
use crate::state::record::Check;
use crate::state::view::{fold, same_name};
use crate::state::{StateReader, Topic};

/// This agent's own checks from local state, those of other nodes from the catalog.
pub struct AliasView {
    local: Weak<LocalState>,
    state: StateReader,
    node_name: String,
}

impl AliasView {
    /// Looks at both. Does not keep the local state alive, whose checks it serves.
    pub fn new(local: &Arc<LocalState>, state: StateReader, node_name: String) -> Self {
        Self { local: Arc::downgrade(local), state, node_name }
    }
}

impl AliasSource for AliasView {
    fn statuses(&self, node: &str, service_id: &str) -> Option<Vec<AliasedCheck>> {
        if same_name(node, &self.node_name) {
            let local = self.local.upgrade()?.local();
            if !service_id.is_empty() && !local.services.contains_key(service_id) {
                return None;
            }
            return Some(matching(local.checks.values(), |of| of == service_id));
        }
        let view = self.state.view();
        let entry = view.node(node)?;
        if !service_id.is_empty() && !entry.services.contains_key(&fold(service_id)) {
            return None;
        }
        Some(matching(entry.checks.values(), |of| same_name(of, service_id)))
    }

    fn changed<'a>(&'a self, node: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        if same_name(node, &self.node_name) {
            let Some(mut counter) = self.local.upgrade().map(|local| local.statuses.subscribe()) else {
                return Box::pin(std::future::pending());
            };
            return Box::pin(async move {
                // The sender lives in the local state; once that is gone, nothing changes any more.
                if counter.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            });
        }
        let name = fold(node);
        let topics = [Topic::Node(Arc::clone(&name)), Topic::NodeChecks(name)];
        Box::pin(self.state.watches().subscribe(topics))
    }
}

/// The checks of the node, and those whose service fits.
fn matching<'a>(
    checks: impl Iterator<Item = &'a Arc<Check>>,
    fits: impl Fn(&str) -> bool,
) -> Vec<AliasedCheck> {
    checks
        .filter(|check| check.service_id.is_empty() || fits(&check.service_id))
        .map(|check| AliasedCheck {
            name: check.name.clone(),
            // Writers to the catalog may use other words; those are no good news.
            status: Status::parse(&check.status).unwrap_or(Status::Critical),
            output: check.output.clone(),
        })
        .collect()
}
