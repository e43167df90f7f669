//! What this server does for its peers.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::founding::Promises;
use super::steward;
use crate::actors::autopilot::LeaderAdmin;
use crate::actors::raft_handle::RaftHandle;
use crate::agent::proposer::LogProposer;
use crate::endpoints::{EndpointError, LeaderRead, SessionTimers};
use crate::peers::Service;
use crate::peers::frame::Hello;
use crate::peers::request::{Answer, Promise, Request};
use crate::raft::{PeerMessage, ServerRecord};
use crate::state::Envelope;

/// Takes peers' messages and requests.
pub struct Desk {
    /// The raft node of this server.
    pub raft: RaftHandle,
    /// The way into its log.
    pub proposer: Arc<LogProposer>,
    /// Session timers of this server.
    pub sessions: Arc<dyn SessionTimers>,
    /// Serves operators if this server leads.
    pub admin: LeaderAdmin,
    /// Promises to founders.
    pub promises: Arc<Promises>,
}

impl Desk {
    /// The promises it gives.
    pub(super) fn promises(&self) -> Arc<Promises> {
        Arc::clone(&self.promises)
    }

    async fn propose(&self, bytes: &[u8]) -> Result<Answer, EndpointError> {
        // What this build cannot read must not get into the log, where it would stop every server.
        let envelope = Envelope::decode(bytes)?;
        self.proposer.propose_here(envelope.command).await.map(Answer::Applied)
    }

    async fn renew(&self, session: &str) -> Result<Answer, EndpointError> {
        if !self.raft.leadership().is_leader {
            return Err(EndpointError::NoLeader);
        }
        // Without a lease it asks a quorum.
        if let Some(led) = self.raft.lease()? {
            led.await?;
        }
        self.sessions.renew(session).await.map(|()| Answer::Done)
    }

    fn in_group(&self) -> bool {
        !self.raft.leadership().peers.is_empty()
    }

    fn group(&self) -> Vec<ServerRecord> {
        let leadership = self.raft.leadership();
        let peers = leadership.peers.iter().map(|peer| ServerRecord {
            node_id: peer.id.clone(),
            name: peer.node.clone(),
            address: peer.address.clone(),
        });
        peers.collect()
    }

    fn promise(&self, founder: &str) -> Promise {
        if self.in_group() { Promise::InGroup } else { self.promises.give(founder) }
    }
}

impl Service for Desk {
    fn raft(&self, message: PeerMessage) {
        self.raft.step(message);
    }

    fn request<'a>(&'a self, from: &'a Hello, request: Request) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let done = match request {
                Request::Propose(bytes) => self.propose(&bytes).await,
                Request::RenewSession(session) => self.renew(&session).await,
                Request::Admin(request) => steward::serve(&self.admin, &request).await,
                Request::Promise(founder) => Ok(Answer::Promise(self.promise(&founder.node_id))),
                Request::Found(servers) if self.promises.is_given_to(&from.node_id) => {
                    self.raft.found(servers).await.map(|()| Answer::Done)
                }
                Request::Group => Ok(Answer::Group(self.group())),
                Request::Found(_) => Err(EndpointError::Refused("no promise was given".into())),
            };
            done.unwrap_or_else(Answer::Failed)
        })
    }
}
