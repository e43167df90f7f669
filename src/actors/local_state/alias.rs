//! What alias checks look at: the checks of a service or a node, here or anywhere in the catalog.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::LocalState;
use super::catalog::joined;
use crate::actors::health_check::{AliasSource, AliasedCheck};
use crate::definition::Status;
use crate::endpoints::EndpointError;
use crate::endpoints::agent::LocalAgent;
use crate::endpoints::far::{Question, Servers};
use crate::endpoints::query::{Consistency, QueryOptions};
use crate::state::record::Check;
use crate::state::view::{Folded, NodeEntry, fold, same_name};
use crate::state::{StateReader, Topic};

/// This agent's own checks from local state, those of other nodes from the catalog.
pub struct AliasView {
    local: Weak<LocalState>,
    catalog: Others,
    node_name: String,
}

/// Where other nodes are looked up.
pub enum Others {
    /// In the state of this server.
    Here(StateReader),
    /// With the servers.
    There(Told),
}

/// What the servers last said of the nodes that aliases stand for.
pub struct Told {
    servers: Arc<dyn Servers>,
    nodes: Mutex<HashMap<Folded, Known>>,
}

/// What is known of a node, as of an index.
struct Known {
    index: u64,
    entry: Option<Arc<NodeEntry>>,
}

/// How long a question waits for a change.
const WAIT: Duration = Duration::from_secs(60);
/// Pause after a question nobody answered.
const PAUSE: Duration = Duration::from_secs(5);

impl Told {
    /// Knows nothing yet.
    pub fn new(servers: Arc<dyn Servers>) -> Self {
        Self { servers, nodes: Mutex::default() }
    }

    /// Asks for a node's checks, waiting for them to change if they are known already.
    async fn hear(&self, node: &str) -> Result<(), EndpointError> {
        let name = fold(node);
        let min_index = self.nodes.lock().get(&name).map_or(0, |known| known.index);
        let options = QueryOptions {
            consistency: Consistency::Stale,
            min_index,
            max_wait: WAIT,
            ..QueryOptions::default()
        };
        let checks = Question::NodeChecks { node: node.to_owned(), filter: String::new() };
        let (meta, checks) = self.servers.ask(&checks, &options).await?;
        let options = QueryOptions { min_index: 0, ..options };
        let services = Question::NodeServices { node: node.to_owned(), filter: String::new() };
        let (_, services) = self.servers.ask(&services, &options).await?;
        let entry = joined(services.view(), checks.view(), node);
        // An index that went back tells of another state: nothing must be waited for in it.
        let index = if meta.index < min_index { 0 } else { meta.index };
        self.nodes.lock().insert(name, Known { index, entry });
        Ok(())
    }
}

impl AliasView {
    /// Looks at both. Does not keep the local state alive, whose checks it serves.
    pub fn new(local: &Arc<LocalState>, catalog: Others, node_name: String) -> Self {
        Self { local: Arc::downgrade(local), catalog, node_name }
    }

    fn other(&self, node: &str) -> Option<Arc<NodeEntry>> {
        match &self.catalog {
            Others::Here(state) => state.view().node(node).cloned(),
            Others::There(told) => told.nodes.lock().get(&fold(node))?.entry.clone(),
        }
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
        let entry = self.other(node)?;
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
        match &self.catalog {
            Others::Here(state) => {
                let name = fold(node);
                let topics = [Topic::Node(Arc::clone(&name)), Topic::NodeChecks(name)];
                Box::pin(state.watches().subscribe(topics))
            }
            Others::There(told) => Box::pin(async move {
                if let Err(failure) = told.hear(node).await {
                    tracing::debug!(target: "agent", node, error = %failure, "cannot follow the checks of an alias");
                    sleep(PAUSE).await;
                }
            }),
        }
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
