//! `Catalog` and `Health`.

use std::sync::Arc;

use super::RpcServices;
use super::dispatch::{Replied, request};
use super::read::{answer, check_datacenter};
use crate::endpoints::catalog::{
    self as reads, GatewayServices as NoGateways, NodeServices as OnNode, ServiceNames,
};
use crate::endpoints::decode::records::{DeregisterRequest, RegisterRequest};
use crate::endpoints::filter::{CatalogInstanceFields, Fields, HealthInstanceFields};
use crate::endpoints::health::{Checks, ChecksOf};
use crate::endpoints::internal::InstancesAt;
use crate::endpoints::registration;
use crate::endpoints::service_query::{Narrowing, ServiceQuery, Target};
use crate::rpc::codec::to_bytes;
use crate::rpc::shapes::{
    CheckServiceNode, CheckServiceNodes, ChecksInStateRequest, DcRequest, Empty, GatewayServices,
    HealthChecks, NodeRequest, NodeServiceList, NodeServices, NodeServicesList, NodeServicesMap, Nodes,
    Query, QuerySource, ReadOptions, ServiceList, ServiceName, ServiceNode, ServiceNodes, ServiceRequest,
    Services, Tags,
};
use crate::state::record::StringMap;
use crate::state::view::Instance;

/// The node distances are measured from: one of the own datacenter.
fn near(services: &RpcServices, source: &QuerySource) -> String {
    let own = &services.endpoints.settings.datacenter;
    if source.datacenter == *own || source.datacenter.is_empty() {
        source.node.clone()
    } else {
        String::new()
    }
}

pub async fn register(services: &RpcServices, body: &[u8]) -> Replied {
    let wanted: RegisterRequest = request(body)?;
    check_datacenter(services, &wanted.datacenter)?;
    registration::register(&services.endpoints, wanted).await?;
    Ok(to_bytes(&()))
}

pub async fn deregister(services: &RpcServices, body: &[u8]) -> Replied {
    let wanted: DeregisterRequest = request(body)?;
    check_datacenter(services, &wanted.datacenter)?;
    registration::deregister(&services.endpoints, wanted).await?;
    Ok(to_bytes(&()))
}

#[expect(clippy::unnecessary_wraps, reason = "as all methods")]
pub fn datacenters(services: &RpcServices, _: &[u8]) -> Replied {
    let names: Vec<String> =
        reads::datacenters(&services.endpoints).into_iter().map(|name| (*name).to_owned()).collect();
    Ok(to_bytes(&names))
}

pub async fn nodes(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |services, request: DcRequest, options| {
            let near = near(services, &request.source);
            reads::Nodes::new(request.node_meta_filters.unwrap_or_default(), &near, &options.filter)
        },
        |_, nodes| Ok(Nodes { nodes }),
    )
    .await
}

pub async fn services(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |_, request: DcRequest, _| Arc::new(ServiceNames::new(request.node_meta_filters.unwrap_or_default())),
        |names, found| {
            let names = names.list(&found.view).into_iter();
            let owned = |tags: Vec<&str>| Tags(tags.into_iter().map(str::to_owned).collect());
            Ok(Services { services: names.map(|(name, tags)| (name.to_owned(), owned(tags))).collect() })
        },
    )
    .await
}

pub async fn service_list(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |_, request: DcRequest, _| Arc::new(ServiceNames::new(request.node_meta_filters.unwrap_or_default())),
        |names, found| {
            let names = names.list(&found.view).into_iter();
            Ok(ServiceList {
                services: names.map(|(name, _)| ServiceName { name: name.to_owned() }).collect(),
            })
        },
    )
    .await
}

/// The query for the instances of a service.
fn query<F: Fields<Record = Instance>>(
    services: &RpcServices,
    request: &ServiceRequest,
    with_checks: bool,
    options: &ReadOptions,
) -> Arc<ServiceQuery<F>> {
    let target = if request.connect {
        Target::Connect
    } else if request.ingress {
        Target::Ingress
    } else {
        Target::Service
    };
    let narrowing = Narrowing {
        tags: request.tags(),
        node_meta: request.node_meta_filters.clone().unwrap_or_default(),
        near: near(services, &request.source),
        passing: false,
        filter: options.filter.clone(),
    };
    Arc::new(ServiceQuery::new(&request.service_name, target, with_checks, narrowing))
}

pub async fn service_nodes(services: &RpcServices, body: &[u8]) -> Replied {
    let Query { own, .. } = request::<Query<ServiceRequest>>(body)?;
    if own.service_name.is_empty() && !own.service_address.is_empty() {
        return answer(
            services,
            body,
            |_, request: ServiceRequest, _| InstancesAt { address: request.service_address },
            |_, instances| Ok(ServiceNodes { service_nodes: instances.iter().map(flat).collect() }),
        )
        .await;
    }
    if own.service_name.is_empty() {
        let text = "Must provide service name".to_owned();
        return Err(crate::endpoints::EndpointError::Refused(text).into());
    }
    answer(
        services,
        body,
        |services, request: ServiceRequest, options| {
            query::<CatalogInstanceFields>(services, &request, false, options)
        },
        |asked, found| {
            let instances = asked.instances(&found.view)?;
            Ok(ServiceNodes { service_nodes: instances.iter().map(flat).collect() })
        },
    )
    .await
}

fn flat(instance: &Instance) -> ServiceNode {
    ServiceNode { node: Arc::clone(&instance.entry.node), service: Arc::clone(&instance.service) }
}

/// An instance with its node and checks.
pub(super) fn with_checks(instance: &Instance) -> CheckServiceNode {
    CheckServiceNode {
        checks: instance.checks().cloned().collect(),
        node: Arc::clone(&instance.entry.node),
        service: Arc::clone(&instance.service),
    }
}

pub async fn healthy(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |services, request: ServiceRequest, options| {
            query::<HealthInstanceFields>(services, &request, true, options)
        },
        |asked, found| {
            let instances = asked.instances(&found.view)?;
            Ok(CheckServiceNodes { nodes: instances.iter().map(with_checks).collect() })
        },
    )
    .await
}

pub async fn node_services(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |services, request: NodeRequest, options| {
            OnNode::new(&services.endpoints, &request.node, &options.filter)
        },
        |_, found| {
            let node_services = found.map(|found| NodeServicesMap {
                node: Some(found.node),
                services: found
                    .services
                    .into_iter()
                    .map(|service| (service.id.to_string(), service))
                    .collect(),
            });
            Ok(NodeServices { node_services })
        },
    )
    .await
}

pub async fn node_service_list(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |services, request: NodeRequest, options| {
            OnNode::new(&services.endpoints, &request.node, &options.filter)
        },
        |_, found| {
            let node_services = found.map_or_else(NodeServicesList::default, |found| NodeServicesList {
                node: Some(found.node),
                services: found.services,
            });
            Ok(NodeServiceList { node_services })
        },
    )
    .await
}

pub async fn gateway_services(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |_, _: ServiceRequest, _| NoGateways,
        |_, ()| Ok(GatewayServices { services: Empty }),
    )
    .await
}

pub async fn node_checks(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |_, request: NodeRequest, options| {
            Checks::new(ChecksOf::Node(request.node), StringMap::new(), "", &options.filter)
        },
        |_, health_checks| Ok(HealthChecks { health_checks }),
    )
    .await
}

pub async fn service_checks(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |services, request: ServiceRequest, options| {
            let near = near(services, &request.source);
            let meta = request.node_meta_filters.unwrap_or_default();
            Checks::new(ChecksOf::Service(request.service_name), meta, &near, &options.filter)
        },
        |_, health_checks| Ok(HealthChecks { health_checks }),
    )
    .await
}

pub async fn checks_in_state(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |services, request: ChecksInStateRequest, options| {
            let near = near(services, &request.source);
            let meta = request.node_meta_filters.unwrap_or_default();
            Checks::new(ChecksOf::Status(request.state), meta, &near, &options.filter)
        },
        |_, health_checks| Ok(HealthChecks { health_checks }),
    )
    .await
}
