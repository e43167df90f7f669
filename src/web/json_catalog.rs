//! The catalog's records as Consul writes them in JSON.
//!
//! Fields stand in the order of Consul's structs. Whether something that is not there is `null`,
//! empty or left out differs from field to field, as it does there.

use std::collections::BTreeMap;

use super::Json;
use crate::duration;
use crate::state::record::{
    Check, CheckDefinition, Coordinate, Expose, FreeForm, Indexes, MeshGateway, Node, NodeCoordinate,
    ProxyConfig, Service, ServiceAddress, ServiceConnect, StringMap, Upstream, Weights,
};
use crate::state::view::Instance;

/// How an empty list of tags is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTags {
    /// `[]`, as in the catalog's own endpoints.
    Empty,
    /// `null`, as in the results of transactions.
    Null,
}

/// A node.
pub fn node(json: &mut Json, node: &Node) {
    json.object(|json| {
        json.key("ID").text(&node.id);
        json.key("Node").text(&node.node);
        json.key("Address").text(&node.address);
        json.key("Datacenter").text(&node.datacenter);
        map_or_null(json.key("TaggedAddresses"), node.tagged_addresses.as_ref());
        map_or_null(json.key("Meta"), node.meta.as_ref());
        indexes(json, node.indexes);
    });
}

/// A service on its node.
pub fn service(json: &mut Json, service: &Service, no_tags: NoTags) {
    json.object(|json| {
        text_if_any(json, "Kind", &service.kind);
        json.key("ID").text(&service.id);
        json.key("Service").text(&service.service);
        tags(json.key("Tags"), &service.tags, no_tags);
        json.key("Address").text(&service.address);
        service_addresses(json, "TaggedAddresses", service.tagged_addresses.as_ref());
        map_or_null(json.key("Meta"), service.meta.as_ref());
        json.key("Port").i64(service.port);
        weights(json.key("Weights"), service.weights);
        json.key("EnableTagOverride").bool(service.enable_tag_override);
        proxy(json.key("Proxy"), &service.proxy);
        connect(json.key("Connect"), &service.connect);
        indexes(json, service.indexes);
    });
}

/// A check.
pub fn check(json: &mut Json, check: &Check, no_tags: NoTags) {
    json.object(|json| {
        json.key("Node").text(&check.node);
        json.key("CheckID").text(&check.check_id);
        json.key("Name").text(&check.name);
        json.key("Status").text(&check.status);
        json.key("Notes").text(&check.notes);
        json.key("Output").text(&check.output);
        json.key("ServiceID").text(&check.service_id);
        json.key("ServiceName").text(&check.service_name);
        tags(json.key("ServiceTags"), &check.service_tags, no_tags);
        json.key("Type").text(&check.kind);
        definition(json.key("Definition"), &check.definition);
        indexes(json, check.indexes);
    });
}

/// An instance as the catalog lists it: node and service in one object.
pub fn catalog_instance(json: &mut Json, instance: &Instance) {
    let (node, service) = (&instance.entry.node, &instance.service);
    json.object(|json| {
        json.key("ID").text(&node.id);
        json.key("Node").text(&node.node);
        json.key("Address").text(&node.address);
        json.key("Datacenter").text(&node.datacenter);
        map_or_null(json.key("TaggedAddresses"), node.tagged_addresses.as_ref());
        map_or_null(json.key("NodeMeta"), node.meta.as_ref());
        json.key("ServiceKind").text(&service.kind);
        json.key("ServiceID").text(&service.id);
        json.key("ServiceName").text(&service.service);
        tags(json.key("ServiceTags"), &service.tags, NoTags::Empty);
        json.key("ServiceAddress").text(&service.address);
        service_addresses(json, "ServiceTaggedAddresses", service.tagged_addresses.as_ref());
        weights(json.key("ServiceWeights"), service.weights);
        json.key("ServiceMeta").text_map(service.meta.iter().flatten());
        json.key("ServicePort").i64(service.port);
        json.key("ServiceEnableTagOverride").bool(service.enable_tag_override);
        proxy(json.key("ServiceProxy"), &service.proxy);
        connect(json.key("ServiceConnect"), &service.connect);
        indexes(json, service.indexes);
    });
}

/// An instance with its node and its checks.
pub fn health_instance(json: &mut Json, instance: &Instance) {
    json.object(|json| {
        node(json.key("Node"), &instance.entry.node);
        service(json.key("Service"), &instance.service, NoTags::Empty);
        json.key("Checks").array(|json| {
            for one in instance.checks() {
                check(json, one, NoTags::Empty);
            }
        });
    });
}

/// A node's coordinate, under a name.
pub fn node_coordinate(json: &mut Json, name: &str, coordinate: &NodeCoordinate) {
    let Coordinate { vec, error, adjustment, height } = &coordinate.coord;
    json.object(|json| {
        json.key("Node").text(name);
        json.key("Segment").text(&coordinate.segment);
        json.key("Coord").object(|json| {
            json.key("Vec").array(|json| {
                for number in vec {
                    json.f64(*number);
                }
            });
            json.key("Error").f64(*error);
            json.key("Adjustment").f64(*adjustment);
            json.key("Height").f64(*height);
        });
    });
}

fn indexes(json: &mut Json, indexes: Indexes) {
    json.key("CreateIndex").u64(indexes.create_index);
    json.key("ModifyIndex").u64(indexes.modify_index);
}

fn map_or_null(json: &mut Json, map: Option<&StringMap>) {
    match map {
        Some(map) => json.text_map(map),
        None => json.null(),
    }
}

fn tags(json: &mut Json, tags: &[String], no_tags: NoTags) {
    if tags.is_empty() && no_tags == NoTags::Null {
        json.null();
    } else {
        json.texts(tags);
    }
}

pub(super) fn text_if_any(json: &mut Json, key: &'static str, text: &str) {
    if !text.is_empty() {
        json.key(key).text(text);
    }
}

pub(super) fn int_if_any(json: &mut Json, key: &'static str, number: i64) {
    if number != 0 {
        json.key(key).i64(number);
    }
}

fn duration_if_any(json: &mut Json, key: &'static str, nanoseconds: i64) {
    if nanoseconds != 0 {
        json.key(key).text(&duration::format(nanoseconds));
    }
}

fn true_if_so(json: &mut Json, key: &'static str, value: bool) {
    if value {
        json.key(key).bool(true);
    }
}

fn service_addresses(
    json: &mut Json,
    key: &'static str,
    addresses: Option<&BTreeMap<String, ServiceAddress>>,
) {
    let Some(addresses) = addresses.filter(|addresses| !addresses.is_empty()) else { return };
    json.key(key).object(|json| {
        for (tag, address) in addresses {
            json.key_text(tag).object(|json| {
                json.key("Address").text(&address.address);
                json.key("Port").i64(address.port);
            });
        }
    });
}

fn weights(json: &mut Json, weights: Weights) {
    json.object(|json| {
        json.key("Passing").i64(weights.passing);
        json.key("Warning").i64(weights.warning);
    });
}

fn connect(json: &mut Json, connect: &ServiceConnect) {
    json.object(|json| {
        true_if_so(json, "Native", connect.native);
        if let Some(sidecar) = &connect.sidecar_service {
            json.key("SidecarService").free(sidecar);
        }
    });
}

fn free_map(json: &mut Json, map: &BTreeMap<String, FreeForm>) {
    json.object(|json| {
        for (key, value) in map {
            json.key_text(key).free(value);
        }
    });
}

fn proxy(json: &mut Json, proxy: &ProxyConfig) {
    json.object(|json| {
        text_if_any(json, "DestinationServiceName", &proxy.destination_service_name);
        text_if_any(json, "DestinationServiceID", &proxy.destination_service_id);
        text_if_any(json, "LocalServiceAddress", &proxy.local_service_address);
        int_if_any(json, "LocalServicePort", proxy.local_service_port);
        if let Some(config) = proxy.config.as_ref().filter(|config| !config.is_empty()) {
            free_map(json.key("Config"), config);
        }
        if !proxy.upstreams.is_empty() {
            json.key("Upstreams").array(|json| proxy.upstreams.iter().for_each(|one| upstream(json, one)));
        }
        mesh_gateway(json.key("MeshGateway"), &proxy.mesh_gateway);
        expose(json.key("Expose"), &proxy.expose);
    });
}

fn upstream(json: &mut Json, upstream: &Upstream) {
    json.object(|json| {
        json.key("DestinationType").text(&upstream.destination_type);
        text_if_any(json, "DestinationNamespace", &upstream.destination_namespace);
        json.key("DestinationName").text(&upstream.destination_name);
        json.key("Datacenter").text(&upstream.datacenter);
        text_if_any(json, "LocalBindAddress", &upstream.local_bind_address);
        int_if_any(json, "LocalBindPort", upstream.local_bind_port);
        match &upstream.config {
            Some(config) => free_map(json.key("Config"), config),
            None => json.key("Config").null(),
        }
        mesh_gateway(json.key("MeshGateway"), &upstream.mesh_gateway);
    });
}

fn mesh_gateway(json: &mut Json, gateway: &MeshGateway) {
    json.object(|json| text_if_any(json, "Mode", &gateway.mode));
}

pub(super) fn expose(json: &mut Json, expose: &Expose) {
    json.object(|json| {
        true_if_so(json, "Checks", expose.checks);
        if expose.paths.is_empty() {
            return;
        }
        json.key("Paths").array(|json| {
            for path in &expose.paths {
                json.object(|json| {
                    int_if_any(json, "ListenerPort", path.listener_port);
                    text_if_any(json, "Path", &path.path);
                    int_if_any(json, "LocalPathPort", path.local_path_port);
                    text_if_any(json, "Protocol", &path.protocol);
                    json.key("ParsedFromCheck").bool(path.parsed_from_check);
                });
            }
        });
    });
}

/// Durations are texts, but for the time to live, which is a number of nanoseconds.
fn definition(json: &mut Json, definition: &CheckDefinition) {
    json.object(|json| {
        duration_if_any(json, "Interval", definition.interval);
        if definition.output_max_size != 0 {
            json.key("OutputMaxSize").u64(definition.output_max_size);
        }
        duration_if_any(json, "Timeout", definition.timeout);
        duration_if_any(json, "DeregisterCriticalServiceAfter", definition.deregister_critical_service_after);
        text_if_any(json, "HTTP", &definition.http);
        true_if_so(json, "TLSSkipVerify", definition.tls_skip_verify);
        if let Some(header) = definition.header.as_ref().filter(|header| !header.is_empty()) {
            json.key("Header").object(|json| {
                for (name, values) in header {
                    tags(json.key_text(name), values, NoTags::Null);
                }
            });
        }
        text_if_any(json, "Method", &definition.method);
        text_if_any(json, "Body", &definition.body);
        text_if_any(json, "TCP", &definition.tcp);
        if !definition.script_args.is_empty() {
            json.key("ScriptArgs").texts(&definition.script_args);
        }
        text_if_any(json, "DockerContainerID", &definition.docker_container_id);
        text_if_any(json, "Shell", &definition.shell);
        text_if_any(json, "GRPC", &definition.grpc);
        true_if_so(json, "GRPCUseTLS", definition.grpc_use_tls);
        text_if_any(json, "AliasNode", &definition.alias_node);
        text_if_any(json, "AliasService", &definition.alias_service);
        int_if_any(json, "TTL", definition.ttl);
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use imbl::OrdMap;

    use super::*;
    use crate::endpoints::decode::{Json as Body, records};
    use crate::state::view::{NodeEntry, fold};

    fn written(write: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::new(false);
        write(&mut json);
        String::from_utf8(json.finish().to_vec()).unwrap()
    }

    fn decoded_service(body: &str) -> Service {
        records::service(Body::parse(body.as_bytes()).unwrap()).unwrap()
    }

    fn decoded_check(body: &str) -> Check {
        records::check(Body::parse(body.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn nodes() {
        let bare = Node { node: "n".into(), address: "1".into(), ..Node::default() };
        assert_eq!(
            written(|json| node(json, &bare)),
            r#"{"ID":"","Node":"n","Address":"1","Datacenter":"","TaggedAddresses":null,"Meta":null,"CreateIndex":0,"ModifyIndex":0}"#
        );
        let empty = Node { tagged_addresses: Some(StringMap::new()), meta: Some(StringMap::new()), ..bare };
        assert!(written(|json| node(json, &empty)).contains(r#""TaggedAddresses":{},"Meta":{},"#));
    }

    #[test]
    fn services() {
        let table = [
            (
                r#"{"ID":"a","Service":"s"}"#,
                r#"{"ID":"a","Service":"s","Tags":[],"Address":"","Meta":null,"Port":0,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":0,"ModifyIndex":0}"#,
            ),
            (
                r#"{"ID":"a","Service":"s","Tags":["<x>"],"Address":"1","Port":5,"Meta":{},"EnableTagOverride":true,
                    "TaggedAddresses":{"wan":{"Address":"2","Port":3}},"Weights":{"Passing":5,"Warning":2},
                    "Connect":{"Native":true},"Proxy":{"Config":{},"Upstreams":[],"Expose":{"Paths":[]}}}"#,
                r#"{"ID":"a","Service":"s","Tags":["\u003cx\u003e"],"Address":"1","TaggedAddresses":{"wan":{"Address":"2","Port":3}},"Meta":{},"Port":5,"Weights":{"Passing":5,"Warning":2},"EnableTagOverride":true,"Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{"Native":true},"CreateIndex":0,"ModifyIndex":0}"#,
            ),
            (
                r#"{"Kind":"connect-proxy","ID":"p","Service":"p","Port":1,"Proxy":{"DestinationServiceName":"web",
                    "DestinationServiceID":"web1","LocalServiceAddress":"l","LocalServicePort":80,
                    "Config":{"b":1,"a":[2.5,null]},"MeshGateway":{"Mode":"local"},
                    "Upstreams":[{"DestinationName":"db","LocalBindPort":9191},{"DestinationType":"service",
                        "DestinationNamespace":"ns","DestinationName":"u","Datacenter":"dc2","LocalBindAddress":"x","Config":{}}],
                    "Expose":{"Checks":true,"Paths":[{"ListenerPort":1,"Path":"/x","Protocol":"http"}]}}}"#,
                r#"{"Kind":"connect-proxy","ID":"p","Service":"p","Tags":[],"Address":"","Meta":null,"Port":1,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"DestinationServiceName":"web","DestinationServiceID":"web1","LocalServiceAddress":"l","LocalServicePort":80,"Config":{"a":[2.5,null],"b":1},"Upstreams":[{"DestinationType":"","DestinationName":"db","Datacenter":"","LocalBindPort":9191,"Config":null,"MeshGateway":{}},{"DestinationType":"service","DestinationNamespace":"ns","DestinationName":"u","Datacenter":"dc2","LocalBindAddress":"x","Config":{},"MeshGateway":{}}],"MeshGateway":{"Mode":"local"},"Expose":{"Checks":true,"Paths":[{"ListenerPort":1,"Path":"/x","Protocol":"http","ParsedFromCheck":false}]}},"Connect":{},"CreateIndex":0,"ModifyIndex":0}"#,
            ),
        ];
        for (body, want) in table {
            assert_eq!(written(|json| service(json, &decoded_service(body), NoTags::Empty)), want, "{body}");
        }
        let bare = decoded_service("{}");
        assert!(written(|json| service(json, &bare, NoTags::Null)).contains(r#""Tags":null"#));
    }

    #[test]
    fn checks() {
        let table = [
            (
                r#"{"Node":"n","CheckID":"c","Status":"passing"}"#,
                r#"{"Node":"n","CheckID":"c","Name":"","Status":"passing","Notes":"","Output":"","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Definition":{},"CreateIndex":0,"ModifyIndex":0}"#,
            ),
            (
                r#"{"Definition":{"Interval":5,"Timeout":"1500ms","TTL":"3h","HTTP":"u","Header":{"a":["b"],"n":null},
                    "TLSSkipVerify":true,"Method":"GET","Body":"b","OutputMaxSize":7,"ScriptArgs":["a"],"TCP":"t",
                    "DockerContainerID":"d","Shell":"s","GRPC":"g","GRPCUseTLS":true,"AliasNode":"an",
                    "AliasService":"as","DeregisterCriticalServiceAfter":"1m"}}"#,
                r#"{"Node":"","CheckID":"","Name":"","Status":"","Notes":"","Output":"","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Definition":{"Interval":"5ns","OutputMaxSize":7,"Timeout":"1.5s","DeregisterCriticalServiceAfter":"1m0s","HTTP":"u","TLSSkipVerify":true,"Header":{"a":["b"],"n":null},"Method":"GET","Body":"b","TCP":"t","ScriptArgs":["a"],"DockerContainerID":"d","Shell":"s","GRPC":"g","GRPCUseTLS":true,"AliasNode":"an","AliasService":"as","TTL":10800000000000},"CreateIndex":0,"ModifyIndex":0}"#,
            ),
        ];
        for (body, want) in table {
            assert_eq!(written(|json| check(json, &decoded_check(body), NoTags::Empty)), want, "{body}");
        }
    }

    #[test]
    fn instances() {
        let service = Arc::new(decoded_service(r#"{"ID":"s1","Service":"s"}"#));
        let checks = [
            r#"{"CheckID":"a","ServiceID":"s1"}"#,
            r#"{"CheckID":"b"}"#,
            r#"{"CheckID":"c","ServiceID":"t"}"#,
        ];
        let checks = checks.map(|body| Arc::new(decoded_check(body)));
        let entry = NodeEntry {
            node: Arc::new(Node { node: "n".into(), ..Node::default() }),
            services: OrdMap::unit(fold("s1"), Arc::clone(&service)),
            checks: checks.into_iter().map(|check| (fold(&check.check_id), check)).collect(),
        };
        let instance = Instance { entry: Arc::new(entry), service };
        assert_eq!(
            written(|json| catalog_instance(json, &instance)),
            r#"{"ID":"","Node":"n","Address":"","Datacenter":"","TaggedAddresses":null,"NodeMeta":null,"ServiceKind":"","ServiceID":"s1","ServiceName":"s","ServiceTags":[],"ServiceAddress":"","ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{},"ServicePort":0,"ServiceEnableTagOverride":false,"ServiceProxy":{"MeshGateway":{},"Expose":{}},"ServiceConnect":{},"CreateIndex":0,"ModifyIndex":0}"#
        );
        let health: serde_json::Value =
            serde_json::from_str(&written(|json| health_instance(json, &instance))).unwrap();
        assert_eq!(health["Node"]["Node"], "n");
        assert_eq!(health["Service"]["ID"], "s1");
        let ids: Vec<_> =
            health["Checks"].as_array().unwrap().iter().map(|check| &check["CheckID"]).collect();
        assert_eq!(ids, ["b", "a"]);
    }

    #[test]
    fn coordinates() {
        let coordinate = NodeCoordinate {
            node: "n".into(),
            segment: String::new(),
            coord: Coordinate { vec: vec![0.0, 1.5], error: 1.5, adjustment: -0.25, height: 1e-5 },
        };
        assert_eq!(
            written(|json| node_coordinate(json, "N", &coordinate)),
            r#"{"Node":"N","Segment":"","Coord":{"Vec":[0,1.5],"Error":1.5,"Adjustment":-0.25,"Height":0.00001}}"#
        );
    }
}
