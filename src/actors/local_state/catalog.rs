//! The catalog, as this agent's services and checks are compared with it: on a server its own state, on a client
//! what the servers say.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::timeout;

use super::sync::SERF_HEALTH;
use crate::endpoints::far::{self, Question, Servers};
use crate::endpoints::query::{Consistency, QueryOptions};
use crate::endpoints::{EndpointError, LeaderRead};
use crate::state::piece::Piece;
use crate::state::view::{NodeEntry, View, fold};
use crate::state::{StateReader, Topic};

/// How long the leader gets to register this node first. It writes the bare node with `serfHealth`;
/// what is sent before would be overwritten.
const LEADER_FIRST: Duration = Duration::from_secs(5);
/// How old an answer may be that a client compares itself with.
const OLDEST: Duration = Duration::from_secs(2);
/// A client leaves the leader so long, and up to as long again, to hear of it by gossip.
const HEARD_BY_GOSSIP: Duration = Duration::from_secs(1);

/// The catalog, from here.
pub trait Catalog: Send + Sync {
    /// What it has of a node.
    ///
    /// # Errors
    /// [`EndpointError`] when that cannot be known now; it is asked again later.
    fn node<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Arc<NodeEntry>>, EndpointError>>;

    /// How many nodes there are, about.
    fn nodes(&self) -> usize;

    /// Whether there is anybody to send anything to.
    fn reachable(&self) -> bool;

    /// Waits until the leader has registered this node, but not for ever: it may know it from before.
    fn registered<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()>;
}

/// The catalog in the state of this server.
pub struct Here {
    /// The state.
    pub state: StateReader,
    /// Whether there is a leader.
    pub leader: Arc<dyn LeaderRead>,
}

impl Catalog for Here {
    fn node<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Arc<NodeEntry>>, EndpointError>> {
        Box::pin(async move {
            if !self.reachable() {
                return Err(EndpointError::NoLeader);
            }
            Ok(self.state.view().node(name).cloned())
        })
    }

    fn nodes(&self) -> usize {
        self.state.view().nodes.len()
    }

    fn reachable(&self) -> bool {
        self.leader.leadership().leader_address.is_some()
    }

    fn registered<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let name = fold(name);
            let registered = || {
                let view = self.state.view();
                view.nodes.get(&name).is_some_and(|node| node.checks.contains_key(&fold(SERF_HEALTH)))
            };
            let topics = [Topic::Node(Arc::clone(&name)), Topic::NodeChecks(Arc::clone(&name))];
            let mut watch = pin!(self.state.watches().subscribe(topics));
            let wait = async {
                loop {
                    watch.rearm();
                    if registered() {
                        return;
                    }
                    watch.as_mut().await;
                }
            };
            // Either way the rounds begin.
            let _ = timeout(LEADER_FIRST, wait).await;
        })
    }
}

/// The catalog of the servers.
pub struct There {
    /// The servers.
    pub servers: Arc<dyn Servers>,
    /// How many members the pool has.
    pub members: Box<dyn Fn() -> usize + Send + Sync>,
}

impl There {
    async fn ask(&self, question: Question) -> Result<Piece, EndpointError> {
        let options =
            QueryOptions { consistency: Consistency::Stale, max_stale: OLDEST, ..QueryOptions::default() };
        far::ask(&*self.servers, &question, &options).await.map(|(_, piece)| piece)
    }
}

impl Catalog for There {
    fn node<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Arc<NodeEntry>>, EndpointError>> {
        Box::pin(async move {
            let filter = String::new();
            let services =
                self.ask(Question::NodeServices { node: name.to_owned(), filter: filter.clone() }).await?;
            let checks = self.ask(Question::NodeChecks { node: name.to_owned(), filter }).await?;
            Ok(joined(services.view(), checks.view(), name))
        })
    }

    fn nodes(&self) -> usize {
        (self.members)()
    }

    fn reachable(&self) -> bool {
        self.servers.known() > 0
    }

    fn registered<'a>(&'a self, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(tokio::time::sleep(HEARD_BY_GOSSIP.mul_f64(rand::random_range(1.0..2.0))))
    }
}

/// A node from what two questions told of it. One that only has checks is as good as unknown.
pub(super) fn joined(services: &View, checks: &View, name: &str) -> Option<Arc<NodeEntry>> {
    let entry = services.node(name)?;
    let checks = checks.node(name).map(|entry| entry.checks.clone()).unwrap_or_default();
    Some(Arc::new(NodeEntry { checks, ..NodeEntry::clone(entry) }))
}
