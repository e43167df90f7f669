//! How a server leaves for good, so that the group does not count on it any more.
//!
//! Leadership is handed over first, then gossip says goodbye, and then the leader takes it out of the raft group, as it
//! does with everybody who left. This server waits for that, because a group of two could not go on without it otherwise,
//! and goes on answering for a while, because others may not know yet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::actors::raft_handle::RaftHandle;
use crate::endpoints::LeaderRead;
use crate::endpoints::operator::{Admin, AdminRequest};

/// How long it waits to be taken out.
const REMOVAL: Duration = Duration::from_secs(5);
/// How long handing over may take.
const TRANSFER: Duration = Duration::from_secs(6);
/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(200);

/// What leaving takes.
pub struct Farewell {
    /// The raft node of this server.
    pub raft: RaftHandle,
    /// The way to the leader.
    pub admin: Arc<dyn Admin>,
    /// This server.
    pub node_id: String,
    /// `performance.leave_drain_time`.
    pub drain: Duration,
}

impl Farewell {
    /// How much longer than others a server that leaves may take to stop.
    pub fn limit(&self) -> Duration {
        self.drain + REMOVAL + TRANSFER
    }

    /// Whether somebody else is in the group: a lone server has nobody to leave it to.
    fn has_others(&self) -> bool {
        let leadership = self.raft.leadership();
        let is_me = |id: &str| id.eq_ignore_ascii_case(&self.node_id);
        leadership.peers.iter().any(|peer| is_me(&peer.id))
            && leadership.peers.iter().any(|peer| peer.voter && !is_me(&peer.id))
    }

    /// Before the goodbye: somebody else shall lead.
    pub async fn hand_over(&self) {
        if !self.raft.leadership().is_leader || !self.has_others() {
            return;
        }
        match timeout(TRANSFER, self.admin.ask(AdminRequest::TransferLeader(None))).await {
            Ok(Ok(_)) => info!(target: "agent.server", "handed leadership over"),
            Ok(Err(error)) => warn!(target: "agent.server", error = %error, "cannot hand leadership over"),
            Err(_) => warn!(target: "agent.server", "handing leadership over took too long"),
        }
    }

    /// After the goodbye: waits until the group does without this server, and a while longer.
    pub async fn part(&self) {
        if !self.has_others() {
            return;
        }
        let deadline = Instant::now() + REMOVAL;
        let mut removed = false;
        while !removed && Instant::now() < deadline {
            let rest = deadline.saturating_duration_since(Instant::now());
            let asked = self.admin.ask(AdminRequest::Leave(self.node_id.clone()));
            removed = timeout(rest, asked).await.is_ok_and(|answer| answer.is_ok());
            if !removed {
                sleep(AGAIN).await;
            }
        }
        if !removed {
            warn!(target: "agent.server", "failed to leave Raft configuration gracefully, timeout");
        }
        info!(target: "agent.server", drain_time = ?self.drain, "Waiting to drain RPC traffic");
        sleep(self.drain).await;
    }
}
