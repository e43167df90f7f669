//! Decoding of the catalog's records, in the two dialects the API has for them: that of the
//! catalog endpoints (Consul's internal structs) and that of transactions (its client structs).
//!
//! Indexes of a body are read where a check-and-set needs them and ignored elsewhere.

use super::shapes::{
    CHECK, CONNECT, COORDINATE, COORDINATE_UPDATE, DEFINITION, DEREGISTER, EXPOSE, EXPOSE_PATH, MESH_GATEWAY,
    NODE, PROXY, REGISTER, SERVICE, SERVICE_ADDRESS, TXN_DEFINITION, TXN_SERVICE, UPSTREAM, WEIGHTS,
};
use super::{Decoded, Json};
use crate::state::record::{
    Check, CheckDefinition, Coordinate, Expose, ExposePath, Indexes, MeshGateway, Node, NodeCoordinate,
    ProxyConfig, Service, ServiceAddress, ServiceConnect, Upstream, Weights,
};

/// Body of `/v1/catalog/register`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegisterRequest {
    /// Datacenter asked for, empty for the own one.
    pub datacenter: String,
    /// The node.
    pub node: Node,
    /// Leave an existing node as it is.
    pub skip_node_update: bool,
    /// A service on it.
    pub service: Option<Service>,
    /// One check.
    pub check: Option<Check>,
    /// More checks.
    pub checks: Vec<Check>,
}

/// Body of `/v1/catalog/deregister`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeregisterRequest {
    /// Datacenter asked for, empty for the own one.
    pub datacenter: String,
    /// Node name.
    pub node: String,
    /// Service id, empty for none.
    pub service_id: String,
    /// Check id, empty for none.
    pub check_id: String,
}

/// Body of `/v1/coordinate/update`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CoordinateUpdate {
    /// Datacenter asked for, empty for the own one.
    pub datacenter: String,
    /// Node, segment and coordinate; no coordinate leaves an empty one.
    pub update: NodeCoordinate,
}

/// Decodes the body of `/v1/catalog/register`.
///
/// # Errors
/// [`super::DecodeError`].
pub fn register(json: Json) -> Decoded<RegisterRequest> {
    let mut request = RegisterRequest::default();
    REGISTER.decode(json, |field, value| {
        let node = &mut request.node;
        match field {
            "Datacenter" => request.datacenter = value.string()?,
            "ID" => node.id = value.string()?,
            "Node" => node.node = value.shared()?,
            "Address" => node.address = value.string()?,
            "TaggedAddresses" => node.tagged_addresses = value.string_map()?,
            "NodeMeta" => node.meta = value.string_map()?,
            "Service" => request.service = Some(service(value)?),
            "Check" => request.check = Some(check(value)?),
            "Checks" => request.checks = value.list("structs.HealthChecks", check)?.unwrap_or_default(),
            "SkipNodeUpdate" => request.skip_node_update = value.bool()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(request)
}

/// Decodes the body of `/v1/catalog/deregister`.
///
/// # Errors
/// [`super::DecodeError`].
pub fn deregister(json: Json) -> Decoded<DeregisterRequest> {
    let mut request = DeregisterRequest::default();
    DEREGISTER.decode(json, |field, value| {
        match field {
            "Datacenter" => request.datacenter = value.string()?,
            "Node" => request.node = value.string()?,
            "ServiceID" => request.service_id = value.string()?,
            "CheckID" => request.check_id = value.string()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(request)
}

/// Decodes the body of `/v1/coordinate/update`.
///
/// # Errors
/// [`super::DecodeError`].
pub fn coordinate_update(json: Json) -> Decoded<CoordinateUpdate> {
    let mut request = CoordinateUpdate::default();
    COORDINATE_UPDATE.decode(json, |field, value| {
        match field {
            "Datacenter" => request.datacenter = value.string()?,
            "Node" => request.update.node = value.shared()?,
            "Segment" => request.update.segment = value.string()?,
            "Coord" => request.update.coord = coordinate(value)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(request)
}

/// Decodes a coordinate.
///
/// # Errors
/// [`super::DecodeError`].
pub fn coordinate(json: Json) -> Decoded<Coordinate> {
    let mut coord = Coordinate::default();
    COORDINATE.decode(json, |field, value| {
        match field {
            "Vec" => coord.vec = value.list("[]float64", Json::float)?.unwrap_or_default(),
            "Error" => coord.error = value.float()?,
            "Adjustment" => coord.adjustment = value.float()?,
            _ => coord.height = value.float()?,
        }
        Ok(())
    })?;
    Ok(coord)
}

/// Decodes the `Node` of a transaction's operation; its `ModifyIndex` is kept for check-and-set.
///
/// # Errors
/// [`super::DecodeError`].
pub fn txn_node(json: Json) -> Decoded<Node> {
    let mut node = Node::default();
    NODE.decode(json, |field, value| {
        match field {
            "ID" => node.id = value.string()?,
            "Node" => node.node = value.shared()?,
            "Address" => node.address = value.string()?,
            "Datacenter" => node.datacenter = value.string()?,
            "TaggedAddresses" => node.tagged_addresses = value.string_map()?,
            "Meta" => node.meta = value.string_map()?,
            _ => index(&mut node.indexes, field, value)?,
        }
        Ok(())
    })?;
    Ok(node)
}

/// Decodes a service as the catalog takes it. Weights out of range become 1 and 1, as they do in
/// Consul's state store.
///
/// # Errors
/// [`super::DecodeError`].
pub fn service(json: Json) -> Decoded<Service> {
    let mut service = Service::default();
    SERVICE.decode(json, |field, value| {
        match field {
            "Kind" => service.kind = value.string()?,
            "TaggedAddresses" => {
                service.tagged_addresses = value.map("map[string]structs.ServiceAddress", service_address)?;
            }
            "Proxy" => service.proxy = proxy(value)?,
            "Connect" => service.connect = connect(value)?,
            _ => common_service(&mut service, field, value)?,
        }
        Ok(())
    })?;
    Ok(service)
}

/// Decodes the `Service` of a transaction's operation. Kind, proxy and connect settings and tagged
/// addresses are checked for their place only: Consul's transactions do not carry them.
///
/// # Errors
/// [`super::DecodeError`].
pub fn txn_service(json: Json) -> Decoded<Service> {
    let mut service = Service::default();
    TXN_SERVICE.decode(json, |field, value| common_service(&mut service, field, value))?;
    Ok(service)
}

fn common_service(service: &mut Service, field: &str, value: Json) -> Decoded<()> {
    match field {
        "ID" => service.id = value.shared()?,
        "Service" => service.service = value.shared()?,
        "Tags" => service.tags = value.strings()?,
        "Address" => service.address = value.string()?,
        "Meta" => service.meta = value.string_map()?,
        "Port" => service.port = value.int()?,
        "Weights" => service.weights = weights(value)?,
        "EnableTagOverride" => service.enable_tag_override = value.bool()?,
        _ => index(&mut service.indexes, field, value)?,
    }
    Ok(())
}

fn index(indexes: &mut Indexes, field: &str, value: Json) -> Decoded<()> {
    match field {
        "CreateIndex" => indexes.create_index = value.uint()?,
        "ModifyIndex" => indexes.modify_index = value.uint()?,
        _ => {}
    }
    Ok(())
}

fn service_address(json: Json) -> Decoded<ServiceAddress> {
    let mut address = ServiceAddress::default();
    SERVICE_ADDRESS.decode(json, |field, value| {
        match field {
            "Address" => address.address = value.string()?,
            _ => address.port = value.int()?,
        }
        Ok(())
    })?;
    Ok(address)
}

fn weights(json: Json) -> Decoded<Weights> {
    let mut weights = Weights { passing: 0, warning: 0 };
    WEIGHTS.decode(json, |field, value| {
        match field {
            "Passing" => weights.passing = value.int()?,
            _ => weights.warning = value.int()?,
        }
        Ok(())
    })?;
    let usable = (1..=65_535).contains(&weights.passing) && (0..=65_535).contains(&weights.warning);
    Ok(if usable { weights } else { Weights::default() })
}

fn connect(json: Json) -> Decoded<ServiceConnect> {
    let mut connect = ServiceConnect::default();
    CONNECT.decode(json, |field, value| {
        match field {
            "Native" => connect.native = value.bool()?,
            _ => connect.sidecar_service = Some(value.free_form()),
        }
        Ok(())
    })?;
    Ok(connect)
}

pub(super) fn proxy(json: Json) -> Decoded<ProxyConfig> {
    let mut proxy = ProxyConfig::default();
    PROXY.decode(json, |field, value| {
        match field {
            "DestinationServiceName" | "destination_service_name" => {
                proxy.destination_service_name = value.string()?;
            }
            "DestinationServiceID" | "destination_service_id" => {
                proxy.destination_service_id = value.string()?;
            }
            "LocalServiceAddress" | "local_service_address" => {
                proxy.local_service_address = value.string()?;
            }
            "LocalServicePort" | "local_service_port" => proxy.local_service_port = value.int()?,
            "Config" => proxy.config = value.map("map[string]interface {}", |value| Ok(value.free_form()))?,
            "Upstreams" => {
                proxy.upstreams = value.list("structs.Upstreams", upstream)?.unwrap_or_default();
            }
            "MeshGateway" => proxy.mesh_gateway = mesh_gateway(value)?,
            _ => proxy.expose = expose(value)?,
        }
        Ok(())
    })?;
    Ok(proxy)
}

fn upstream(json: Json) -> Decoded<Upstream> {
    let mut upstream = Upstream::default();
    UPSTREAM.decode(json, |field, value| {
        match field {
            "DestinationType" | "destination_type" => upstream.destination_type = value.string()?,
            "DestinationNamespace" | "destination_namespace" => {
                upstream.destination_namespace = value.string()?;
            }
            "DestinationName" | "destination_name" => upstream.destination_name = value.string()?,
            "Datacenter" => upstream.datacenter = value.string()?,
            "LocalBindAddress" | "local_bind_address" => upstream.local_bind_address = value.string()?,
            "LocalBindPort" | "local_bind_port" => upstream.local_bind_port = value.int()?,
            "Config" => {
                upstream.config = value.map("map[string]interface {}", |value| Ok(value.free_form()))?;
            }
            _ => upstream.mesh_gateway = mesh_gateway(value)?,
        }
        Ok(())
    })?;
    Ok(upstream)
}

fn mesh_gateway(json: Json) -> Decoded<MeshGateway> {
    let mut gateway = MeshGateway::default();
    MESH_GATEWAY.decode(json, |_, value| {
        gateway.mode = value.string()?;
        Ok(())
    })?;
    Ok(gateway)
}

fn expose(json: Json) -> Decoded<Expose> {
    let mut expose = Expose::default();
    EXPOSE.decode(json, |field, value| {
        match field {
            "Checks" => expose.checks = value.bool()?,
            _ => expose.paths = value.list("[]structs.ExposePath", expose_path)?.unwrap_or_default(),
        }
        Ok(())
    })?;
    Ok(expose)
}

fn expose_path(json: Json) -> Decoded<ExposePath> {
    let mut path = ExposePath::default();
    EXPOSE_PATH.decode(json, |field, value| {
        match field {
            "ListenerPort" | "listener_port" => path.listener_port = value.int()?,
            "Path" => path.path = value.string()?,
            "LocalPathPort" | "local_path_port" => path.local_path_port = value.int()?,
            "Protocol" => path.protocol = value.string()?,
            _ => path.parsed_from_check = value.bool()?,
        }
        Ok(())
    })?;
    Ok(path)
}

/// Decodes a check as the catalog takes it.
///
/// # Errors
/// [`super::DecodeError`].
pub fn check(json: Json) -> Decoded<Check> {
    decode_check(json, definition)
}

/// Decodes the `Check` of a transaction's operation. Its `Type` is dropped, as Consul does.
///
/// # Errors
/// [`super::DecodeError`].
pub fn txn_check(json: Json) -> Decoded<Check> {
    let mut check = decode_check(json, txn_definition)?;
    check.kind.clear();
    Ok(check)
}

fn decode_check(json: Json, definition: fn(Json) -> Decoded<CheckDefinition>) -> Decoded<Check> {
    let mut check = Check::default();
    CHECK.decode(json, |field, value| {
        match field {
            "Node" => check.node = value.shared()?,
            "CheckID" => check.check_id = value.shared()?,
            "Name" => check.name = value.string()?,
            "Status" => check.status = value.string()?,
            "Notes" => check.notes = value.string()?,
            "Output" => check.output = value.string()?,
            "ServiceID" => check.service_id = value.string()?,
            "ServiceName" => check.service_name = value.string()?,
            "ServiceTags" => check.service_tags = value.strings()?,
            "Type" => check.kind = value.string()?,
            "Definition" => check.definition = definition(value)?,
            _ => index(&mut check.indexes, field, value)?,
        }
        Ok(())
    })?;
    Ok(check)
}

/// Decodes a check definition: durations are strings (`"10s"`) or numbers of nanoseconds.
///
/// # Errors
/// [`super::DecodeError`].
pub fn definition(json: Json) -> Decoded<CheckDefinition> {
    let mut definition = CheckDefinition::default();
    DEFINITION.decode(json, |field, value| {
        match field {
            "OutputMaxSize" => definition.output_max_size = value.uint()?,
            "Interval" => definition.interval = value.duration()?,
            "Timeout" => definition.timeout = value.duration()?,
            "DeregisterCriticalServiceAfter" => {
                definition.deregister_critical_service_after = value.duration()?;
            }
            "ScriptArgs" => definition.script_args = value.strings()?,
            "DockerContainerID" => definition.docker_container_id = value.string()?,
            "Shell" => definition.shell = value.string()?,
            "GRPC" => definition.grpc = value.string()?,
            "GRPCUseTLS" => definition.grpc_use_tls = value.bool()?,
            "AliasNode" => definition.alias_node = value.string()?,
            "AliasService" => definition.alias_service = value.string()?,
            "TTL" => definition.ttl = value.duration()?,
            _ => common_definition(&mut definition, field, value)?,
        }
        Ok(())
    })?;
    Ok(definition)
}

/// The client structs carry each duration twice: `IntervalDuration` and, for old clients,
/// `Interval`; the former wins where it is not zero.
fn txn_definition(json: Json) -> Decoded<CheckDefinition> {
    let mut definition = CheckDefinition::default();
    let mut plain = [0; 3];
    TXN_DEFINITION.decode(json, |field, value| {
        match field {
            "IntervalDuration" => definition.interval = strict_duration(value)?,
            "TimeoutDuration" => definition.timeout = strict_duration(value)?,
            "DeregisterCriticalServiceAfterDuration" => {
                definition.deregister_critical_service_after = strict_duration(value)?;
            }
            "Interval" => plain[0] = strict_duration(value)?,
            "Timeout" => plain[1] = strict_duration(value)?,
            "DeregisterCriticalServiceAfter" => plain[2] = strict_duration(value)?,
            _ => common_definition(&mut definition, field, value)?,
        }
        Ok(())
    })?;
    let [interval, timeout, after] = plain;
    for (given, plain) in [
        (&mut definition.interval, interval),
        (&mut definition.timeout, timeout),
        (&mut definition.deregister_critical_service_after, after),
    ] {
        if *given == 0 {
            *given = plain;
        }
    }
    Ok(definition)
}

/// A duration where Consul's client structs want one: string or number, nothing else.
fn strict_duration(value: Json) -> Decoded<i64> {
    match value {
        Json::String(_) | Json::Int(_) | Json::Float(_) => value.duration(),
        other => Err(other.mismatch("time.Duration")),
    }
}

fn common_definition(definition: &mut CheckDefinition, field: &str, value: Json) -> Decoded<()> {
    match field {
        "HTTP" => definition.http = value.string()?,
        "TLSSkipVerify" => definition.tls_skip_verify = value.bool()?,
        "Header" => definition.header = value.map("map[string][]string", Json::strings)?,
        "Method" => definition.method = value.string()?,
        "Body" => definition.body = value.string()?,
        "TCP" => definition.tcp = value.string()?,
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &str) -> Json {
        Json::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn a_registration_with_everything() {
        let request = register(parsed(
            r#"{"ID":"u","node":"n","Address":"a","Datacenter":"dc1","TaggedAddresses":{"lan":"1"},
                "NodeMeta":{"k":"v"},"SkipNodeUpdate":true,
                "Service":{"ID":"s1","Service":"s","Tags":["t"],"Port":80,"Weights":{"Passing":3},
                    "TaggedAddresses":{"wan":{"address":"w","port":1}},"Connect":{"Native":true,"Other":1},
                    "Proxy":{"destination_service_name":"d","Config":{"a":1.5},
                        "Upstreams":[{"DestinationName":"u","LocalBindPort":5}]}},
                "Check":{"Name":"c","Definition":{"Interval":"5s","Timeout":1000,"TTL":null,"Odd":[]}},
                "Checks":[{"CheckID":"d"}]}"#,
        ))
        .unwrap();
        assert_eq!(&*request.node.node, "n");
        assert_eq!(request.node.meta, Some([("k".to_owned(), "v".to_owned())].into()));
        assert!(request.skip_node_update);
        let service = request.service.unwrap();
        assert_eq!(service.weights, Weights { passing: 3, warning: 0 });
        assert_eq!(service.tagged_addresses.unwrap()["wan"], ServiceAddress { address: "w".into(), port: 1 });
        assert!(service.connect.native);
        assert_eq!(service.proxy.destination_service_name, "d");
        assert_eq!(service.proxy.upstreams[0].local_bind_port, 5);
        let definition = request.check.unwrap().definition;
        assert_eq!((definition.interval, definition.timeout, definition.ttl), (5_000_000_000, 1000, 0));
        assert_eq!(&*request.checks[0].check_id, "d");
    }

    #[test]
    fn weights_out_of_range_become_the_default() {
        let table = [
            (r#"{"Passing":5,"Warning":0}"#, (5, 0)),
            (r#"{"Passing":0,"Warning":5}"#, (1, 1)),
            (r#"{"Passing":-1,"Warning":1}"#, (1, 1)),
            (r#"{"Passing":65535,"Warning":65535}"#, (65535, 65535)),
            (r#"{"Passing":65535,"Warning":65536}"#, (1, 1)),
            ("{}", (1, 1)),
        ];
        for (body, (passing, warning)) in table {
            assert_eq!(weights(parsed(body)), Ok(Weights { passing, warning }), "{body}");
        }
    }

    #[test]
    fn refusals() {
        let table = [
            (r#"{"Bogus":1}"#, "json: unknown field \"Bogus\""),
            (r#"{"Service":{"Bogus":1}}"#, "json: unknown field \"Bogus\""),
            (
                r#"{"Service":{"Port":"8"}}"#,
                "json: cannot unmarshal string into Go struct field NodeService.Service.Port of type int",
            ),
            (r#"{"Check":{"Definition":{"Interval":"x"}}}"#, "time: invalid duration \"x\""),
            (
                r#"{"Checks":{}}"#,
                "json: cannot unmarshal object into Go struct field RegisterRequest.Checks of type structs.HealthChecks",
            ),
        ];
        for (body, want) in table {
            assert_eq!(
                register(parsed(body)).map_err(|error| error.to_string()),
                Err(want.to_owned()),
                "{body}"
            );
        }
    }

    #[test]
    fn transactions_have_their_own_dialect() {
        let check = txn_check(parsed(
            r#"{"CheckID":"c","Type":"x","Definition":{"IntervalDuration":5000000000,"Interval":"9s",
                "Timeout":"1s","GRPC":"ignored"}}"#,
        ))
        .unwrap();
        assert_eq!((check.definition.interval, check.definition.timeout), (5_000_000_000, 1_000_000_000));
        assert_eq!((check.kind.as_str(), check.definition.grpc.as_str()), ("", ""));
        assert!(txn_check(parsed(r#"{"Definition":{"Interval":true}}"#)).is_err());
        let service =
            txn_service(parsed(r#"{"ID":"a","Kind":"connect-proxy","ContentHash":"x","ModifyIndex":7}"#));
        let service = service.unwrap();
        assert_eq!((service.kind.as_str(), service.indexes.modify_index), ("", 7));
        assert_eq!(
            txn_node(parsed(r#"{"Node":"n","Meta":{"a":"b"},"ModifyIndex":3}"#))
                .unwrap()
                .indexes
                .modify_index,
            3
        );
    }
}
