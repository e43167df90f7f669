//! A service's definition as the body of a registration; what is empty is left out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::definition::{
    CheckDefinition, ConnectDefinition, ExposeDefinition, MeshGatewayDefinition, ProxyDefinition,
    ServiceDefinition, UpstreamDefinition, WeightsDefinition,
};
use crate::duration;

/// An object without the fields that say nothing.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let says_something = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) => true,
    };
    let fields = fields.into_iter().filter(|(_, value)| says_something(value));
    Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

fn time(duration: Duration) -> Value {
    if duration.is_zero() { Value::Null } else { Value::String(duration::format_unsigned(duration)) }
}

/// The body of `/v1/agent/service/register`.
pub(super) fn of(service: &ServiceDefinition) -> Value {
    let tagged: BTreeMap<&String, Value> = service
        .tagged_addresses
        .iter()
        .map(|(tag, address)| (tag, json!({ "Address": address.address, "Port": address.port })))
        .collect();
    object([
        ("Kind", json!(service.kind)),
        ("ID", json!(service.id)),
        ("Name", json!(service.name)),
        ("Tags", json!(service.tags)),
        ("Port", json!(service.port)),
        ("Address", json!(service.address)),
        ("TaggedAddresses", json!(tagged)),
        ("EnableTagOverride", json!(service.enable_tag_override)),
        ("Meta", json!(service.meta)),
        ("Weights", service.weights.map_or(Value::Null, weights)),
        ("Token", json!(service.token.expose())),
        ("Checks", service.all_checks().map(check).collect()),
        ("Proxy", service.proxy.as_ref().map_or(Value::Null, proxy)),
        ("Connect", service.connect.as_ref().map_or(Value::Null, connect)),
    ])
}

/// A weight of 0 says something.
fn weights(weights: WeightsDefinition) -> Value {
    json!({ "Passing": weights.passing, "Warning": weights.warning })
}

fn check(check: &CheckDefinition) -> Value {
    let mut body = object([
        ("CheckID", json!(check.id)),
        ("Name", json!(check.name)),
        ("Notes", json!(check.notes)),
        ("Status", json!(check.status)),
        ("ScriptArgs", json!(check.args)),
        ("HTTP", json!(check.http)),
        ("Header", json!(check.header)),
        ("Method", json!(check.method)),
        ("Body", json!(check.body)),
        ("TCP", json!(check.tcp)),
        ("UDP", json!(check.udp)),
        ("H2PING", json!(check.h2ping)),
        ("OSService", json!(check.os_service)),
        ("Interval", time(check.interval)),
        ("Timeout", time(check.timeout)),
        ("TTL", time(check.ttl)),
        ("DockerContainerID", json!(check.docker_container_id)),
        ("Shell", json!(check.shell)),
        ("GRPC", json!(check.grpc)),
        ("GRPCUseTLS", json!(check.grpc_use_tls)),
        ("TLSServerName", json!(check.tls_server_name)),
        ("TLSSkipVerify", json!(check.tls_skip_verify)),
        ("DisableRedirects", json!(check.disable_redirects)),
        ("AliasNode", json!(check.alias_node)),
        ("AliasService", json!(check.alias_service)),
        ("OutputMaxSize", json!(check.output_max_size)),
        ("SuccessBeforePassing", json!(check.success_before_passing)),
        ("FailuresBeforeWarning", json!(check.failures_before_warning)),
        ("FailuresBeforeCritical", json!(check.failures_before_critical)),
        ("DeregisterCriticalServiceAfter", time(check.deregister_critical_service_after)),
    ]);
    // Here `false` says something: the default is the other one.
    if let (Some(tls), Value::Object(fields)) = (check.h2ping_use_tls, &mut body) {
        fields.insert("H2PingUseTLS".to_owned(), Value::Bool(tls));
    }
    body
}

fn connect(connect: &ConnectDefinition) -> Value {
    let sidecar = connect.sidecar_service.as_deref().map_or(Value::Null, |service| {
        let mut body = of(service);
        // Even an empty one asks for a sidecar.
        if let Value::Object(fields) = &mut body
            && fields.is_empty()
        {
            fields.insert("Port".to_owned(), json!(0));
        }
        body
    });
    object([("Native", json!(connect.native)), ("SidecarService", sidecar)])
}

fn mesh_gateway(gateway: &MeshGatewayDefinition) -> Value {
    object([("Mode", json!(gateway.mode))])
}

fn proxy(proxy: &ProxyDefinition) -> Value {
    object([
        ("DestinationServiceName", json!(proxy.destination_service_name)),
        ("DestinationServiceID", json!(proxy.destination_service_id)),
        ("LocalServiceAddress", json!(proxy.local_service_address)),
        ("LocalServicePort", json!(proxy.local_service_port)),
        ("Config", json!(proxy.config)),
        ("Upstreams", proxy.upstreams.iter().map(upstream).collect()),
        ("MeshGateway", mesh_gateway(&proxy.mesh_gateway)),
        ("Expose", expose(&proxy.expose)),
    ])
}

fn upstream(upstream: &UpstreamDefinition) -> Value {
    object([
        ("DestinationType", json!(upstream.destination_type)),
        ("DestinationName", json!(upstream.destination_name)),
        ("Datacenter", json!(upstream.datacenter)),
        ("LocalBindAddress", json!(upstream.local_bind_address)),
        ("LocalBindPort", json!(upstream.local_bind_port)),
        ("Config", json!(upstream.config)),
        ("MeshGateway", mesh_gateway(&upstream.mesh_gateway)),
    ])
}

fn expose(expose: &ExposeDefinition) -> Value {
    let paths = expose.paths.iter().map(|path| {
        object([
            ("ListenerPort", json!(path.listener_port)),
            ("Path", json!(path.path)),
            ("LocalPathPort", json!(path.local_path_port)),
            ("Protocol", json!(path.protocol)),
        ])
    });
    object([("Checks", json!(expose.checks)), ("Paths", paths.collect())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_is_sent() {
        let service: ServiceDefinition = serde_json::from_value(json!({
            "name": "web", "port": 80, "tags": ["a"], "weights": { "passing": 3, "warning": 0 },
            "check": { "ttl": "90s", "token": "hidden" },
            "checks": [
                { "args": ["a", "b"], "interval": "10s", "timeout": "1500ms" },
                { "h2ping": "x:1", "h2ping_use_tls": false, "interval": "1s" },
            ],
            "connect": { "sidecar_service": {} },
        }))
        .unwrap();
        let want = json!({
            "Name": "web", "Port": 80, "Tags": ["a"], "Weights": { "Passing": 3, "Warning": 0 },
            "Checks": [
                { "ScriptArgs": ["a", "b"], "Interval": "10s", "Timeout": "1.5s" },
                { "H2PING": "x:1", "H2PingUseTLS": false, "Interval": "1s" },
                { "TTL": "1m30s" },
            ],
            "Connect": { "SidecarService": { "Port": 0 } },
        });
        assert_eq!(of(&service), want);
        let proxy: ServiceDefinition = serde_json::from_value(json!({
            "name": "p", "kind": "connect-proxy",
            "proxy": { "destination_service_name": "web", "upstreams": [{ "destination_name": "db", "local_bind_port": 9 }] },
        }))
        .unwrap();
        let want = json!({
            "Name": "p", "Kind": "connect-proxy",
            "Proxy": { "DestinationServiceName": "web", "Upstreams": [{ "DestinationName": "db", "LocalBindPort": 9 }] },
        });
        assert_eq!(of(&proxy), want);
    }
}
