//! The fields of the structs that [`super::records`] decodes, as Go spells them. Some take old names
//! in snake case beside the usual ones.

use super::{Shape, Unknown};

pub(super) const REGISTER: Shape = Shape {
    name: "structs.RegisterRequest",
    fields: &[
        "Datacenter",
        "ID",
        "Node",
        "Address",
        "TaggedAddresses",
        "NodeMeta",
        "Service",
        "Check",
        "Checks",
        "SkipNodeUpdate",
        "Token",
        "CreateIndex",
        "ModifyIndex",
    ],
    unknown: Unknown::Refuse,
};

pub(super) const DEREGISTER: Shape = Shape {
    name: "structs.DeregisterRequest",
    fields: &["Datacenter", "Node", "ServiceID", "CheckID", "Token"],
    unknown: Unknown::Refuse,
};

pub(super) const COORDINATE_UPDATE: Shape = Shape {
    name: "structs.CoordinateUpdateRequest",
    fields: &["Datacenter", "Node", "Segment", "Coord", "Token"],
    unknown: Unknown::Refuse,
};

pub(super) const COORDINATE: Shape = Shape {
    name: "coordinate.Coordinate",
    fields: &["Vec", "Error", "Adjustment", "Height"],
    unknown: Unknown::Refuse,
};

pub(super) const NODE: Shape = Shape {
    name: "api.Node",
    fields: &["ID", "Node", "Address", "Datacenter", "TaggedAddresses", "Meta", "CreateIndex", "ModifyIndex"],
    unknown: Unknown::Refuse,
};

pub(super) const SERVICE: Shape = Shape {
    name: "structs.NodeService",
    fields: &[
        "Kind",
        "ID",
        "Service",
        "Tags",
        "Address",
        "TaggedAddresses",
        "Meta",
        "Port",
        "Weights",
        "EnableTagOverride",
        "Proxy",
        "Connect",
        "CreateIndex",
        "ModifyIndex",
    ],
    unknown: Unknown::Refuse,
};

pub(super) const TXN_SERVICE: Shape = Shape {
    name: "api.AgentService",
    fields: &[
        "Kind",
        "ID",
        "Service",
        "Tags",
        "Meta",
        "Port",
        "Address",
        "TaggedAddresses",
        "Weights",
        "EnableTagOverride",
        "CreateIndex",
        "ModifyIndex",
        "ContentHash",
        "Proxy",
        "Connect",
    ],
    unknown: Unknown::Refuse,
};

pub(super) const SERVICE_ADDRESS: Shape =
    Shape { name: "structs.ServiceAddress", fields: &["Address", "Port"], unknown: Unknown::Refuse };

pub(super) const WEIGHTS: Shape =
    Shape { name: "structs.Weights", fields: &["Passing", "Warning"], unknown: Unknown::Refuse };

pub(super) const CONNECT: Shape = Shape {
    name: "structs.ServiceConnect",
    fields: &["Native", "SidecarService", "sidecar_service"],
    unknown: Unknown::Ignore,
};

pub(super) const PROXY: Shape = Shape {
    name: "structs.ConnectProxyConfig",
    fields: &[
        "DestinationServiceName",
        "destination_service_name",
        "DestinationServiceID",
        "destination_service_id",
        "LocalServiceAddress",
        "local_service_address",
        "LocalServicePort",
        "local_service_port",
        "Config",
        "Upstreams",
        "MeshGateway",
        "Expose",
    ],
    unknown: Unknown::Refuse,
};

pub(super) const UPSTREAM: Shape = Shape {
    name: "structs.Upstream",
    fields: &[
        "DestinationType",
        "destination_type",
        "DestinationNamespace",
        "destination_namespace",
        "DestinationName",
        "destination_name",
        "Datacenter",
        "LocalBindAddress",
        "local_bind_address",
        "LocalBindPort",
        "local_bind_port",
        "Config",
        "MeshGateway",
    ],
    unknown: Unknown::Refuse,
};

pub(super) const MESH_GATEWAY: Shape =
    Shape { name: "structs.MeshGatewayConfig", fields: &["Mode"], unknown: Unknown::Refuse };

pub(super) const EXPOSE: Shape =
    Shape { name: "structs.ExposeConfig", fields: &["Checks", "Paths"], unknown: Unknown::Refuse };

pub(super) const EXPOSE_PATH: Shape = Shape {
    name: "structs.ExposePath",
    fields: &[
        "ListenerPort",
        "listener_port",
        "Path",
        "LocalPathPort",
        "local_path_port",
        "Protocol",
        "ParsedFromCheck",
    ],
    unknown: Unknown::Refuse,
};

pub(super) const CHECK: Shape = Shape {
    name: "structs.HealthCheck",
    fields: &[
        "Node",
        "CheckID",
        "Name",
        "Status",
        "Notes",
        "Output",
        "ServiceID",
        "ServiceName",
        "ServiceTags",
        "Type",
        "Definition",
        "CreateIndex",
        "ModifyIndex",
    ],
    unknown: Unknown::Refuse,
};

pub(super) const DEFINITION: Shape = Shape {
    name: "structs.HealthCheckDefinition",
    fields: &[
        "HTTP",
        "TLSSkipVerify",
        "Header",
        "Method",
        "Body",
        "TCP",
        "Interval",
        "OutputMaxSize",
        "Timeout",
        "DeregisterCriticalServiceAfter",
        "ScriptArgs",
        "DockerContainerID",
        "Shell",
        "GRPC",
        "GRPCUseTLS",
        "AliasNode",
        "AliasService",
        "TTL",
    ],
    unknown: Unknown::Ignore,
};

pub(super) const TXN_DEFINITION: Shape = Shape {
    name: "api.HealthCheckDefinition",
    fields: &[
        "HTTP",
        "Header",
        "Method",
        "Body",
        "TLSSkipVerify",
        "TCP",
        "IntervalDuration",
        "TimeoutDuration",
        "DeregisterCriticalServiceAfterDuration",
        "Interval",
        "Timeout",
        "DeregisterCriticalServiceAfter",
    ],
    unknown: Unknown::Ignore,
};
