//! What an operator asks of the leader, carried out on the leader.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tracing::info;

use super::HealthWatch;
use crate::actors::raft_handle::{Group, RaftHandle};
use crate::endpoints::operator::admin::find_peer;
use crate::endpoints::operator::{Admin, AdminAnswer, AdminRequest, PeerName};
use crate::endpoints::{EndpointError, LeaderRead};
use crate::raft::{MembershipChange, raft_id};

/// How long a change of members waits for the one before it, and a transfer of leadership for its end.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(20);
/// A server that answered within this may take over.
const LATELY_MS: u64 = 2_000;

/// Serves on the leader; answers [`EndpointError::NoLeader`] elsewhere.
#[derive(Debug, Clone)]
pub struct LeaderAdmin {
    /// The raft node.
    pub raft: RaftHandle,
    /// The health of the servers.
    pub health: HealthWatch,
}

impl LeaderAdmin {
    async fn serve(&self, request: AdminRequest) -> Result<AdminAnswer, EndpointError> {
        if !self.raft.leadership().is_leader {
            return Err(EndpointError::NoLeader);
        }
        match request {
            AdminRequest::RemovePeer(name) => self.remove(&name).await.map(|()| AdminAnswer::Done),
            AdminRequest::Leave(id) => match self.remove(&PeerName::Id(id.clone())).await {
                // It is out already.
                Err(_) if !self.is_member(&id) => Ok(AdminAnswer::Done),
                outcome => outcome.map(|()| AdminAnswer::Done),
            },
            AdminRequest::TransferLeader(to) => {
                self.transfer(to.as_deref()).await.map(|()| AdminAnswer::Done)
            }
            AdminRequest::ServerHealth => {
                Ok(AdminAnswer::Health(self.health.now().as_deref().cloned().unwrap_or_default()))
            }
        }
    }

    fn is_member(&self, id: &str) -> bool {
        self.raft.leadership().peers.iter().any(|peer| peer.id == id)
    }

    async fn remove(&self, name: &PeerName) -> Result<(), EndpointError> {
        let leadership = self.raft.leadership();
        let peer = find_peer(&leadership.peers, name)?;
        let voters = leadership.peers.iter().filter(|peer| peer.voter).count();
        if peer.voter && voters == 1 {
            let text = format!("server {} is the only one that votes and cannot be removed", peer.node);
            return Err(EndpointError::Refused(text));
        }
        // A leader may remove itself, as Consul's does: it leads until that is agreed on, and no longer.
        info!(target: "agent.server", id = %peer.id, address = %peer.address, "removing raft peer as asked");
        let (id, deadline) = (raft_id(&peer.id), Instant::now() + PATIENCE);
        loop {
            match self.raft.propose_membership(MembershipChange::Remove(id)).await {
                // Another change is under way.
                Err(EndpointError::Busy) if Instant::now() < deadline => tokio::time::sleep(LOOK).await,
                outcome => return outcome,
            }
        }
    }

    async fn transfer(&self, to: Option<&str>) -> Result<(), EndpointError> {
        let group = self.raft.group().await?;
        let successor = match to {
            Some(id) => {
                let leadership = self.raft.leadership();
                let peer = find_peer(&leadership.peers, &PeerName::Id(id.to_owned()))?;
                if peer.leader {
                    return Err(EndpointError::Refused(format!("server {} leads already", peer.node)));
                }
                if !peer.voter {
                    return Err(EndpointError::Refused(format!("server {} does not vote", peer.node)));
                }
                raft_id(&peer.id)
            }
            None => best(&group)
                .ok_or_else(|| EndpointError::Refused("there is no other server that can lead".into()))?,
        };
        self.raft.transfer_leader(successor).await?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !self.raft.leadership().is_leader {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(EndpointError::Refused("leadership was not taken over in time".into()))
    }
}

/// The other voter that has most of the log, among those that answer.
fn best(group: &Group) -> Option<u64> {
    let others = group.progress.iter().filter(|member| {
        member.id != group.status.id
            && group.status.membership.is_voter(member.id)
            && member.heard.is_some_and(|heard| group.now.saturating_sub(heard) <= LATELY_MS)
    });
    others.max_by_key(|member| (member.matched, member.id)).map(|member| member.id)
}

impl Admin for LeaderAdmin {
    fn ask(&self, request: AdminRequest) -> BoxFuture<'_, Result<AdminAnswer, EndpointError>> {
        Box::pin(self.serve(request))
    }
}
