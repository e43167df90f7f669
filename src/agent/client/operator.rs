//! What operators ask for, of a client agent: handed to the servers.

use std::fs::File;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::servers::{FarSide, PATIENCE};
use super::snapshot;
use crate::endpoints::agent::MemberStatus;
use crate::endpoints::operator::admin::{
    Admin, AdminAnswer, AdminRequest, ClusterHealth, PeerName, ServerHealth,
};
use crate::endpoints::operator::{Operator, RaftInfo, RaftStatus, SnapshotRestore};
use crate::endpoints::{EndpointError, Peer};
use crate::rpc::client::Effect;
use crate::rpc::shapes::{DcRequest, OperatorHealth, Query, RaftRemovePeer, RaftServer, ReadOptions};
use crate::state::archive::ArchiveReader;

/// The handles of the operator endpoints.
pub fn operator(far: &Arc<FarSide>) -> Operator {
    Operator {
        raft: Arc::new(NoRaft),
        restore: Arc::<FarSide>::clone(far),
        admin: Arc::<FarSide>::clone(far),
    }
}

/// There is no raft here.
struct NoRaft;

impl RaftInfo for NoRaft {
    fn raft_status(&self) -> RaftStatus {
        RaftStatus::default()
    }
}

impl SnapshotRestore for FarSide {
    fn restore(&self, archive: ArchiveReader<File>) -> BoxFuture<'_, Result<(), EndpointError>> {
        let (servers, datacenter) = (self.addresses(), self.datacenter(None));
        Box::pin(async move { snapshot::restore(&servers, datacenter, archive.into_source()).await })
    }
}

impl Admin for FarSide {
    fn ask(&self, request: AdminRequest) -> BoxFuture<'_, Result<AdminAnswer, EndpointError>> {
        Box::pin(async move {
            match request {
                AdminRequest::RemovePeer(name) => self.remove_peer(name).await,
                AdminRequest::ServerHealth => self.server_health().await,
                AdminRequest::TransferLeader(_) => Err(EndpointError::NotImplemented(
                    "leadership can be handed over through a server only: its RPC has no word for it"
                        .to_owned(),
                )),
                AdminRequest::Leave(_) => {
                    Err(EndpointError::Internal("a client agent is in no group it could leave".to_owned()))
                }
            }
        })
    }
}

impl FarSide {
    async fn remove_peer(&self, name: PeerName) -> Result<AdminAnswer, EndpointError> {
        let mut request = RaftRemovePeer { datacenter: self.datacenter(None), ..RaftRemovePeer::default() };
        let method = match name {
            PeerName::Id(id) => {
                request.id = id;
                "Operator.RaftRemovePeerByID"
            }
            PeerName::Address(address) => {
                request.address = address;
                "Operator.RaftRemovePeerByAddress"
            }
        };
        let () = self.wire().call(method, &request, Effect::Write, PATIENCE).await?;
        Ok(AdminAnswer::Done)
    }

    async fn server_health(&self) -> Result<AdminAnswer, EndpointError> {
        let own = DcRequest { datacenter: self.datacenter(None), ..DcRequest::default() };
        let request = Query { common: ReadOptions::default(), own };
        let health: OperatorHealth =
            self.wire().call("Operator.ServerHealth", &request, Effect::Read, PATIENCE).await?;
        Ok(AdminAnswer::Health(cluster_health(health)))
    }
}

fn cluster_health(health: OperatorHealth) -> ClusterHealth {
    let servers = health.servers.into_iter().map(|server| ServerHealth {
        id: server.id,
        name: server.name,
        address: server.address,
        serf_status: match server.serf_status {
            1 => MemberStatus::Alive,
            2 => MemberStatus::Leaving,
            3 => MemberStatus::Left,
            4 => MemberStatus::Failed,
            _ => MemberStatus::None,
        },
        version: server.version,
        leader: server.leader,
        voter: server.voter,
        last_contact_ns: server.last_contact,
        last_term: server.last_term,
        last_index: server.last_index,
        healthy: server.healthy,
        stable_since_ms: server.stable_since.to_millis(),
    });
    ClusterHealth {
        healthy: health.healthy,
        failure_tolerance: health.failure_tolerance,
        servers: servers.collect(),
    }
}

/// A raft member, as the endpoints have it.
pub fn peer(server: RaftServer) -> Peer {
    Peer {
        id: server.id,
        node: server.node,
        address: server.address,
        leader: server.leader,
        voter: server.voter,
    }
}
