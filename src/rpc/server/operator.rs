//! `Operator` and `Status`.

use super::RpcServices;
use super::dispatch::{Replied, request};
use super::read::check_datacenter;
use crate::endpoints::{blocking, operator};
use crate::rpc::codec::to_bytes;
use crate::rpc::shapes::{
    AutopilotConfig, AutopilotSetConfig, DcRequest, OperatorHealth, Query, RaftConfiguration, RaftRemovePeer,
    RaftServer, RaftStats, TransferLeader, Transferred,
};

#[expect(clippy::unnecessary_wraps, reason = "as all methods")]
pub fn ping(_: &RpcServices, _: &[u8]) -> Replied {
    Ok(to_bytes(&()))
}

#[expect(clippy::unnecessary_wraps, reason = "as all methods")]
pub fn leader(services: &RpcServices, _: &[u8]) -> Replied {
    let leadership = services.endpoints.leader.leadership();
    Ok(to_bytes(&leadership.leader_address.as_deref().unwrap_or_default()))
}

#[expect(clippy::unnecessary_wraps, reason = "as all methods")]
pub fn peers(services: &RpcServices, _: &[u8]) -> Replied {
    let leadership = services.endpoints.leader.leadership();
    let addresses: Vec<String> = leadership.peers.iter().map(|peer| peer.address.clone()).collect();
    Ok(to_bytes(&addresses))
}

#[expect(clippy::unnecessary_wraps, reason = "as all methods")]
pub fn raft_stats(services: &RpcServices, _: &[u8]) -> Replied {
    let leadership = services.endpoints.leader.leadership();
    let status = services.operator.raft.raft_status();
    let stats = status.stats(&leadership);
    Ok(to_bytes(&RaftStats {
        last_contact: stats.get("last_contact").cloned().unwrap_or_default(),
        last_index: status.last_log_index,
        last_term: status.last_log_term,
    }))
}

pub async fn raft_configuration(services: &RpcServices, body: &[u8]) -> Replied {
    let Query { common, own } = request::<Query<DcRequest>>(body)?;
    check_datacenter(services, &own.datacenter)?;
    let options = common.to_options(&own.datacenter);
    blocking::refresh(&services.endpoints, &options).await?;
    let leadership = operator::raft_configuration(&services.endpoints, &options)?;
    Ok(to_bytes(&RaftConfiguration {
        index: services.operator.raft.raft_status().configuration_index,
        servers: leadership.peers.iter().map(RaftServer::from).collect(),
    }))
}

pub async fn autopilot(services: &RpcServices, body: &[u8]) -> Replied {
    let Query { common, own } = request::<Query<DcRequest>>(body)?;
    let options = common.to_options(&own.datacenter);
    let config = operator::autopilot::configuration(&services.endpoints, &options).await?;
    Ok(to_bytes(&AutopilotConfig::from(&*config)))
}

pub async fn set_autopilot(services: &RpcServices, body: &[u8]) -> Replied {
    let AutopilotSetConfig { cas, config, datacenter, .. } = request(body)?;
    let cas = cas.then_some(config.modify_index);
    let datacenter = Some(datacenter.as_str());
    let set = operator::autopilot::set_configuration(&services.endpoints, datacenter, config.into(), cas);
    Ok(to_bytes(&set.await?))
}

pub async fn server_health(services: &RpcServices, body: &[u8]) -> Replied {
    let Query { own, .. } = request::<Query<DcRequest>>(body)?;
    let datacenter = Some(own.datacenter.as_str());
    let health =
        operator::admin::server_health(&services.endpoints, Some(&services.operator), datacenter).await?;
    Ok(to_bytes(&OperatorHealth::from(&health)))
}

/// By id or by address: the method's name says which field counts.
pub async fn remove_peer(services: &RpcServices, body: &[u8], by_id: bool) -> Replied {
    let RaftRemovePeer { address, datacenter, id, .. } = request(body)?;
    let (id, address) = if by_id { (Some(id.as_str()), None) } else { (None, Some(address.as_str())) };
    let datacenter = Some(datacenter.as_str());
    operator::admin::remove_peer(&services.endpoints, Some(&services.operator), datacenter, id, address)
        .await?;
    Ok(to_bytes(&()))
}

pub async fn transfer_leader(services: &RpcServices, body: &[u8]) -> Replied {
    let TransferLeader { datacenter, id, .. } = request(body)?;
    let (datacenter, to) = (Some(datacenter.as_str()), Some(id.as_str()).filter(|id| !id.is_empty()));
    operator::admin::transfer_leader(&services.endpoints, Some(&services.operator), datacenter, to).await?;
    Ok(to_bytes(&Transferred { success: true }))
}
