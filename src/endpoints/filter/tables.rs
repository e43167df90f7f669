//! Which fields of which record a filter can ask for: Consul's lists, with its names.
//!
//! Not among them, as in Consul: raft indexes, opaque proxy configuration, check definitions and
//! sidecar definitions.

use super::field::{Fields, Path, Resolved};
use crate::state::record::{
    Check, Expose, ExposePath, MeshGateway, Node, ProxyConfig, Service, ServiceAddress, ServiceConnect,
    Upstream, Weights,
};
use crate::state::view::Instance;

/// A node (`/v1/catalog/nodes`).
#[derive(Debug)]
pub struct NodeFields;

impl Fields for NodeFields {
    type Record = Node;

    fn resolve(path: Path<'_>) -> Resolved<Node> {
        let Some((field, on)) = path.next() else { return path.unknown() };
        match field {
            "ID" => on.string(|node| &node.id),
            "Node" => on.string(|node| &node.node),
            "Address" => on.string(|node| &node.address),
            "Datacenter" => on.string(|node| &node.datacenter),
            "TaggedAddresses" => on.string_map(|node| node.tagged_addresses.as_ref()),
            "Meta" => on.string_map(|node| node.meta.as_ref()),
            _ => path.unknown(),
        }
    }
}

/// A service of a node (`/v1/catalog/node`, `/v1/catalog/node-services`).
#[derive(Debug)]
pub struct ServiceFields;

impl Fields for ServiceFields {
    type Record = Service;

    fn resolve(path: Path<'_>) -> Resolved<Service> {
        let Some((field, on)) = path.next() else { return path.unknown() };
        match field {
            "Kind" => on.string(|service| &service.kind),
            "ID" => on.string(|service| &service.id),
            "Service" => on.string(|service| &service.service),
            "Tags" => on.strings(|service| &service.tags),
            "Address" => on.string(|service| &service.address),
            "TaggedAddresses" => {
                on.struct_map::<_, AddressFields>(|service| service.tagged_addresses.as_ref())
            }
            "Meta" => on.string_map(|service| service.meta.as_ref()),
            "Port" => on.int(|service| service.port),
            "Weights" => on.nested::<_, WeightsFields>(|service| &service.weights),
            "EnableTagOverride" => on.bool(|service| service.enable_tag_override),
            "Proxy" => on.nested::<_, ProxyFields>(|service| &service.proxy),
            "Connect" => on.nested::<_, ConnectFields>(|service| &service.connect),
            _ => path.unknown(),
        }
    }
}

/// A check (`/v1/health/node`, `/v1/health/checks`, `/v1/health/state`).
#[derive(Debug)]
pub struct CheckFields;

impl Fields for CheckFields {
    type Record = Check;

    fn resolve(path: Path<'_>) -> Resolved<Check> {
        let Some((field, on)) = path.next() else { return path.unknown() };
        match field {
            "Node" => on.string(|check| &check.node),
            "CheckID" => on.string(|check| &check.check_id),
            "Name" => on.string(|check| &check.name),
            "Status" => on.string(|check| &check.status),
            "Notes" => on.string(|check| &check.notes),
            "Output" => on.string(|check| &check.output),
            "ServiceID" => on.string(|check| &check.service_id),
            "ServiceName" => on.string(|check| &check.service_name),
            "ServiceTags" => on.strings(|check| &check.service_tags),
            "Type" => on.string(|check| &check.kind),
            _ => path.unknown(),
        }
    }
}

/// An instance as the catalog lists it, flat (`/v1/catalog/service`, `/v1/catalog/connect`).
#[derive(Debug)]
pub struct CatalogInstanceFields;

impl Fields for CatalogInstanceFields {
    type Record = Instance;

    fn resolve(path: Path<'_>) -> Resolved<Instance> {
        let Some((field, on)) = path.next() else { return path.unknown() };
        match field {
            "ID" => on.string(|instance| &instance.entry.node.id),
            "Node" => on.string(|instance| &instance.entry.node.node),
            "Address" => on.string(|instance| &instance.entry.node.address),
            "Datacenter" => on.string(|instance| &instance.entry.node.datacenter),
            "TaggedAddresses" => on.string_map(|instance| instance.entry.node.tagged_addresses.as_ref()),
            "NodeMeta" => on.string_map(|instance| instance.entry.node.meta.as_ref()),
            "ServiceKind" => on.string(|instance| &instance.service.kind),
            "ServiceID" => on.string(|instance| &instance.service.id),
            "ServiceName" => on.string(|instance| &instance.service.service),
            "ServiceTags" => on.strings(|instance| &instance.service.tags),
            "ServiceAddress" => on.string(|instance| &instance.service.address),
            "ServiceTaggedAddresses" => {
                on.struct_map::<_, AddressFields>(|instance| instance.service.tagged_addresses.as_ref())
            }
            "ServiceWeights" => on.nested::<_, WeightsFields>(|instance| &instance.service.weights),
            "ServiceMeta" => on.string_map(|instance| instance.service.meta.as_ref()),
            "ServicePort" => on.int(|instance| instance.service.port),
            "ServiceEnableTagOverride" => on.bool(|instance| instance.service.enable_tag_override),
            "ServiceProxy" => on.nested::<_, ProxyFields>(|instance| &instance.service.proxy),
            "ServiceConnect" => on.nested::<_, ConnectFields>(|instance| &instance.service.connect),
            _ => path.unknown(),
        }
    }
}

/// An instance with its node and checks (`/v1/health/service` and its relatives).
#[derive(Debug)]
pub struct HealthInstanceFields;

impl Fields for HealthInstanceFields {
    type Record = Instance;

    fn resolve(path: Path<'_>) -> Resolved<Instance> {
        let Some((field, on)) = path.next() else { return path.unknown() };
        match field {
            "Node" => on.nested::<_, NodeFields>(|instance| &instance.entry.node),
            "Service" => on.nested::<_, ServiceFields>(|instance| &instance.service),
            "Checks" => {
                on.list::<_, CheckFields>(|instance, test| instance.checks().any(|check| test(check)))
            }
            _ => path.unknown(),
        }
    }
}

struct AddressFields;

impl Fields for AddressFields {
    type Record = ServiceAddress;

    fn resolve(path: Path<'_>) -> Resolved<ServiceAddress> {
        let Some((field, on)) = path.next() else { return path.unknown() };
        match field {
            "Address" => on.string(|address| &address.address),
            "Port" => on.int(|address| address.port),
            _ => path.unknown(),
        }
    }
}

struct WeightsFields;

impl Fields for WeightsFields {
    type Record = Weights;

    fn resolve(path: Path<'_>) -> Resolved<Weights> {
        let Some((field, on)) = path.next() else { return path.unknown() };
        match field {
            "Passing" => on.int(|weights| weights.passing),
            "Warning" => on.int(|weights| weights.warning),
            _ => path.unknown(),
        }
    }
}

struct ConnectFields;

impl Fields for ConnectFields {
    type Record = ServiceConnect;

    fn resolve(path: Path<'_>) -> Resolved<ServiceConnect> {
        let Some((field, on)) = path.next() else { return path.unknown() };
        match field {
            "Native" => on.bool(|connect| connect.native),
            _ => path.unknown(),
        }
    }
}

struct ProxyFields;

impl Fields for ProxyFields {
    type Record = ProxyConfig;

    fn resolve(path: Path<'_>) -> Resolved<ProxyConfig> {
        let Some((field, on)) = path.next() else { return path.unknown() };
        match field {
            "DestinationServiceName" => on.string(|proxy| &proxy.destination_service_name),
            "DestinationServiceID" => on.string(|proxy| &proxy.destination_service_id),
            "LocalServiceAddress" => on.string(|proxy| &proxy.local_service_address),
            "LocalServicePort" => on.int(|proxy| proxy.local_service_port),
            "Upstreams" => on.list::<_, UpstreamFields>(|proxy, test| proxy.upstreams.iter().any(test)),
            "MeshGateway" => on.nested::<_, MeshGatewayFields>(|proxy| &proxy.mesh_gateway),
            "Expose" => on.nested::<_, ExposeFields>(|proxy| &proxy.expose),
            _ => path.unknown(),
        }
    }
}

struct UpstreamFields;

impl Fields for UpstreamFields {
    type Record = Upstream;

    fn resolve(path: Path<'_>) -> Resolved<Upstream> {
        let Some((field, on)) = path.next() else { return path.unknown() };
        match field {
            "DestinationType" => on.string(|upstream| &upstream.destination_type),
            "DestinationNamespace" => on.string(|upstream| &upstream.destination_namespace),
            "DestinationName" => on.string(|upstream| &upstream.destination_name),
            "Datacenter" => on.string(|upstream| &upstream.datacenter),
            "LocalBindAddress" => on.string(|upstream| &upstream.local_bind_address),
            "LocalBindPort" => on.int(|upstream| upstream.local_bind_port),
            "MeshGateway" => on.nested::<_, MeshGatewayFields>(|upstream| &upstream.mesh_gateway),
            _ => path.unknown(),
        }
    }
}

struct MeshGatewayFields;

impl Fields for MeshGatewayFields {
    type Record = MeshGateway;

    fn resolve(path: Path<'_>) -> Resolved<MeshGateway> {
        let Some((field, on)) = path.next() else { return path.unknown() };
        match field {
            "Mode" => on.string(|gateway| &gateway.mode),
            _ => path.unknown(),
        }
    }
}

struct ExposeFields;

impl Fields for ExposeFields {
    type Record = Expose;

    fn resolve(path: Path<'_>) -> Resolved<Expose> {
        let Some((field, on)) = path.next() else { return path.unknown() };
        match field {
            "Checks" => on.bool(|expose| expose.checks),
            "Paths" => on.list::<_, ExposePathFields>(|expose, test| expose.paths.iter().any(test)),
            _ => path.unknown(),
        }
    }
}

struct ExposePathFields;

impl Fields for ExposePathFields {
    type Record = ExposePath;

    fn resolve(path: Path<'_>) -> Resolved<ExposePath> {
        let Some((field, on)) = path.next() else { return path.unknown() };
        match field {
            "ListenerPort" => on.int(|exposed| exposed.listener_port),
            "Path" => on.string(|exposed| &exposed.path),
            "LocalPathPort" => on.int(|exposed| exposed.local_path_port),
            "Protocol" => on.string(|exposed| &exposed.protocol),
            "ParsedFromCheck" => on.bool(|exposed| exposed.parsed_from_check),
            _ => path.unknown(),
        }
    }
}
