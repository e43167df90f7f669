//! What operators ask for, of a client agent: handed to the servers.

use std::fs::File;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::servers::{FarSide, PATIENCE};
use super::snapshot;
use crate::endpoints::EndpointError;
use crate::endpoints::operator::{
    Admin, AdminAnswer, AdminRequest, Operator, PeerName, RaftInfo, RaftStatus, SnapshotRestore,
};
use crate::endpoints::query::QueryOptions;
use crate::rpc::client::Effect;
use crate::rpc::shapes::{OperatorHealth, RaftRemovePeer, TransferLeader, Transferred};
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
        Box::pin(self.ask_leader(request))
    }
}

impl FarSide {
    /// Hands on what operators ask of the leader.
    pub(super) async fn ask_leader(&self, request: AdminRequest) -> Result<AdminAnswer, EndpointError> {
        let datacenter = self.datacenter(None);
        let member = RaftRemovePeer { datacenter: datacenter.clone(), ..RaftRemovePeer::default() };
        let remove = async |method, member| {
            let () = self.wire().call(method, &member, Effect::Write, PATIENCE).await?;
            Ok(AdminAnswer::Done)
        };
        match request {
            AdminRequest::RemovePeer(PeerName::Id(id)) => {
                remove("Operator.RaftRemovePeerByID", RaftRemovePeer { id, ..member }).await
            }
            AdminRequest::RemovePeer(PeerName::Address(address)) => {
                remove("Operator.RaftRemovePeerByAddress", RaftRemovePeer { address, ..member }).await
            }
            AdminRequest::TransferLeader(to) => {
                let id = to.unwrap_or_default();
                let request = TransferLeader { datacenter, id, ..TransferLeader::default() };
                let method = "Operator.TransferLeader";
                let done: Transferred = self.wire().call(method, &request, Effect::Write, PATIENCE).await?;
                let refused = || EndpointError::Refused("leadership was not taken over".into());
                done.success.then_some(AdminAnswer::Done).ok_or_else(refused)
            }
            AdminRequest::ServerHealth => {
                let options = QueryOptions::default();
                let health: OperatorHealth = self.about_datacenter("Operator.ServerHealth", &options).await?;
                Ok(AdminAnswer::Health(health.into()))
            }
            AdminRequest::Leave(_) => {
                Err(EndpointError::Internal("a client agent is in no raft group".into()))
            }
        }
    }
}
