//! `Operator` and `Status`.

use super::RpcServices;
use super::dispatch::{Replied, request};
use super::read::check_datacenter;
use crate::endpoints::{blocking, operator};
use crate::rpc::codec::to_bytes;
use crate::rpc::shapes::{DcRequest, Query, RaftConfiguration, RaftServer, RaftStats};

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
