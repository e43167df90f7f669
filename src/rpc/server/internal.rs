//! `Internal` and `Coordinate`.

use std::sync::Arc;

use super::RpcServices;
use super::catalog::with_checks;
use super::dispatch::{Replied, request};
use super::read::{answer, check_datacenter, reply};
use crate::endpoints::EndpointError;
use crate::endpoints::blocking;
use crate::endpoints::coordinate::{self as places, Coordinates};
use crate::endpoints::internal::{NodeDump, ServiceDump};
use crate::endpoints::keyring::KeyOperation;
use crate::rpc::codec::to_bytes;
use crate::rpc::shapes::{
    self, CheckServiceNodes, CoordinateUpdate, DatacenterMap, DcRequest, EventFire, KeyringRequest,
    KeyringResponses, NodeRequest, Query, ServiceDumpRequest, user_event,
};
use crate::state::view::NodeEntry;

fn dumped(entry: &Arc<NodeEntry>) -> shapes::NodeInfo {
    let node = &entry.node;
    shapes::NodeInfo {
        address: node.address.clone(),
        checks: entry.checks.values().cloned().collect(),
        id: node.id.clone(),
        meta: node.meta.clone(),
        node: node.node.to_string(),
        services: entry.services.values().cloned().collect(),
        tagged_addresses: node.tagged_addresses.clone(),
    }
}

pub async fn node_info(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |_, request: NodeRequest, options| NodeDump::new(Some(request.node), &options.filter),
        |_, nodes| Ok(shapes::NodeDump { dump: nodes.iter().map(dumped).collect() }),
    )
    .await
}

pub async fn node_dump(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |_, _: DcRequest, options| NodeDump::new(None, &options.filter),
        |_, nodes| Ok(shapes::NodeDump { dump: nodes.iter().map(dumped).collect() }),
    )
    .await
}

pub async fn service_dump(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |_, request: ServiceDumpRequest, options| {
            ServiceDump::new(request.use_service_kind.then_some(request.service_kind), &options.filter)
        },
        |_, instances| Ok(CheckServiceNodes { nodes: instances.iter().map(with_checks).collect() }),
    )
    .await
}

pub async fn fire(services: &RpcServices, body: &[u8]) -> Replied {
    let Query { common, own: EventFire { datacenter, name, payload } } = request(body)?;
    check_datacenter(services, &datacenter)?;
    let mut event = user_event(&payload)?;
    event.name = name;
    services.events.fire(event).await?;
    let meta = blocking::meta(&services.endpoints, &common.to_options(&datacenter), 0);
    Ok(reply(&meta, ()))
}

pub async fn keyring(services: &RpcServices, body: &[u8]) -> Replied {
    let Query { common, own } = request::<Query<KeyringRequest>>(body)?;
    check_datacenter(services, &own.datacenter)?;
    let operation = match own.operation.as_str() {
        "list" => KeyOperation::List { local_only: own.local_only },
        "install" => KeyOperation::Install(own.key),
        "use" => KeyOperation::Use(own.key),
        "remove" => KeyOperation::Remove(own.key),
        other => {
            return Err(EndpointError::Refused(format!("Invalid keyring operation: {other}")).into());
        }
    };
    let pools = services.keyring.operate(operation, own.relay_factor).await?;
    let meta = blocking::meta(&services.endpoints, &common.to_options(&own.datacenter), 0);
    Ok(reply(&meta, KeyringResponses { responses: pools.into_iter().map(Into::into).collect() }))
}

pub async fn coordinate_datacenters(services: &RpcServices, _: &[u8]) -> Replied {
    let maps = places::datacenters(&services.endpoints, &*services.members).await;
    let maps: Vec<DatacenterMap> = maps.into_iter().map(Into::into).collect();
    Ok(to_bytes(&maps))
}

pub async fn coordinates(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |_, _: DcRequest, _| Coordinates::default(),
        |_, coordinates| Ok(shapes::Coordinates { coordinates }),
    )
    .await
}

pub async fn coordinate(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |_, request: NodeRequest, _| Coordinates { node: Some(request.node), segment: None },
        |_, coordinates| Ok(shapes::Coordinates { coordinates }),
    )
    .await
}

pub fn update_coordinate(services: &RpcServices, body: &[u8]) -> Replied {
    let update: CoordinateUpdate = request(body)?;
    check_datacenter(services, &update.datacenter)?;
    places::update(&services.endpoints, update.into())?;
    Ok(to_bytes(&()))
}
