//! The hash by which clients wait for a service of this agent to change.
//!
//! Clients compare it with what they have seen, scripts keep it, and an agent that is replaced by this one must
//! not make all of them believe that everything changed: so it is Consul's, bit by bit. That one is FNV-1 over the
//! fields of the answer: each with its name, the fields combined in any order, lists in theirs.

use super::service_view::{ServiceView, view};
use crate::state::record::{
    Expose, ExposePath, FreeForm, MeshGateway, ProxyConfig, Service, ServiceAddress, Upstream,
};

/// The hash of a service as the agent shows it, as it is written: hexadecimal without leading zeros.
pub fn content_hash(service: &Service) -> String {
    format!("{:x}", agent_service(service))
}

/// FNV-1, 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(BASIS, |hash, byte| hash.wrapping_mul(PRIME) ^ u64::from(*byte))
}

fn text(value: &str) -> u64 {
    fnv(value.as_bytes())
}

fn int(value: i64) -> u64 {
    fnv(&value.to_le_bytes())
}

fn boolean(value: bool) -> u64 {
    fnv(&[u8::from(value)])
}

/// What is not there counts as the number 0.
fn nothing() -> u64 {
    int(0)
}

/// Two hashes of which the order matters.
fn pair(first: u64, second: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&second.to_le_bytes());
    fnv(&bytes)
}

fn list(items: impl Iterator<Item = u64>) -> u64 {
    items.fold(0, pair)
}

fn map<'a>(entries: impl Iterator<Item = (&'a String, u64)>) -> u64 {
    entries.fold(0, |hash, (key, value)| hash ^ pair(text(key), value))
}

fn structure<const N: usize>(name: &str, fields: [(&str, u64); N]) -> u64 {
    fields.into_iter().fold(text(name), |hash, (field, value)| hash ^ pair(text(field), value))
}

fn free(value: &FreeForm) -> u64 {
    match value {
        FreeForm::Null => nothing(),
        FreeForm::Bool(value) => boolean(*value),
        // In a value of no fixed shape every number is a float to Go.
        FreeForm::Number(number) => fnv(&number.as_f64().unwrap_or_default().to_le_bytes()),
        FreeForm::String(value) => text(value),
        FreeForm::Array(items) => list(items.iter().map(free)),
        FreeForm::Object(fields) => map(fields.iter().map(|(name, value)| (name, free(value)))),
    }
}

fn agent_service(service: &Service) -> u64 {
    let ServiceView { weights, proxy, native } = view(service);
    let address = |address: &ServiceAddress| {
        structure("ServiceAddress", [("Address", text(&address.address)), ("Port", int(address.port))])
    };
    let weights =
        structure("AgentWeights", [("Passing", int(weights.passing)), ("Warning", int(weights.warning))]);
    let connect = if native {
        structure("AgentServiceConnect", [("Native", boolean(true)), ("SidecarService", nothing())])
    } else {
        nothing()
    };
    structure(
        "AgentService",
        [
            ("Kind", text(&service.kind)),
            ("ID", text(&service.id)),
            ("Service", text(&service.service)),
            ("Tags", list(service.tags.iter().map(|tag| text(tag)))),
            ("Meta", map(service.meta.iter().flatten().map(|(key, value)| (key, text(value))))),
            ("Port", int(service.port)),
            ("Address", text(&service.address)),
            (
                "TaggedAddresses",
                map(service.tagged_addresses.iter().flatten().map(|(tag, found)| (tag, address(found)))),
            ),
            ("Weights", weights),
            ("EnableTagOverride", boolean(service.enable_tag_override)),
            ("CreateIndex", int(0)),
            ("ModifyIndex", int(0)),
            ("ContentHash", text("")),
            ("Proxy", proxy.map_or_else(nothing, proxy_config)),
            ("Connect", connect),
        ],
    )
}

fn proxy_config(proxy: &ProxyConfig) -> u64 {
    structure(
        "AgentServiceConnectProxyConfig",
        [
            ("DestinationServiceName", text(&proxy.destination_service_name)),
            ("DestinationServiceID", text(&proxy.destination_service_id)),
            ("LocalServiceAddress", text(&proxy.local_service_address)),
            ("LocalServicePort", int(proxy.local_service_port)),
            ("Config", map(proxy.config.iter().flatten().map(|(name, value)| (name, free(value))))),
            ("Upstreams", list(proxy.upstreams.iter().map(upstream))),
            ("MeshGateway", mesh_gateway(&proxy.mesh_gateway)),
            ("Expose", expose(&proxy.expose)),
        ],
    )
}

fn upstream(upstream: &Upstream) -> u64 {
    structure(
        "Upstream",
        [
            ("DestinationType", text(&upstream.destination_type)),
            ("DestinationNamespace", text(&upstream.destination_namespace)),
            ("DestinationName", text(&upstream.destination_name)),
            ("Datacenter", text(&upstream.datacenter)),
            ("LocalBindAddress", text(&upstream.local_bind_address)),
            ("LocalBindPort", int(upstream.local_bind_port)),
            ("Config", map(upstream.config.iter().flatten().map(|(name, value)| (name, free(value))))),
            ("MeshGateway", mesh_gateway(&upstream.mesh_gateway)),
        ],
    )
}

fn mesh_gateway(gateway: &MeshGateway) -> u64 {
    structure("MeshGatewayConfig", [("Mode", text(&gateway.mode))])
}

fn expose(expose: &Expose) -> u64 {
    let path = |path: &ExposePath| {
        structure(
            "ExposePath",
            [
                ("ListenerPort", int(path.listener_port)),
                ("Path", text(&path.path)),
                ("LocalPathPort", int(path.local_path_port)),
                ("Protocol", text(&path.protocol)),
                ("ParsedFromCheck", boolean(path.parsed_from_check)),
            ],
        )
    };
    structure(
        "ExposeConfig",
        [("Checks", boolean(expose.checks)), ("Paths", list(expose.paths.iter().map(path)))],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::decode::{Json, records};

    /// What Consul 1.8.7 answered for these services.
    #[test]
    fn hashes_are_consuls() {
        let table = [
            (r#"{"ID":"web","Service":"web"}"#, "5a07705c3d245800"),
            (r#"{"ID":"web","Service":"web","Port":1}"#, "77bcd2b0e29ebf62"),
            (r#"{"ID":"w","Service":"w","Weights":{"Passing":1,"Warning":0}}"#, "a2f34f66b7b53fc"),
            (r#"{"ID":"nat","Service":"nat","Port":1,"Connect":{"Native":true}}"#, "1cfdf230ef166e54"),
            (
                r#"{"ID":"web1","Service":"web","Tags":["v1","primary"],"Meta":{"team":"x","version":"1"},"Port":8080,
                    "Address":"10.1.2.3","TaggedAddresses":{"lan":{"Address":"10.1.2.3","Port":8080},
                    "lan_ipv4":{"Address":"10.1.2.3","Port":8080},"wan":{"Address":"198.18.1.2","Port":80},
                    "wan_ipv4":{"Address":"10.1.2.3","Port":8080}},"Weights":{"Passing":10,"Warning":3},
                    "EnableTagOverride":true}"#,
                "54a5c1b81bad3819",
            ),
            (
                r#"{"Kind":"connect-proxy","ID":"p3","Service":"p3","Port":1,"Proxy":{"DestinationServiceName":"web",
                    "DestinationServiceID":"web1","LocalServiceAddress":"l","LocalServicePort":7,
                    "Config":{"a":1,"b":{"c":[1,2.5,"x",true,null]}},
                    "Upstreams":[{"DestinationType":"service","DestinationName":"db","LocalBindPort":9191,"Config":{"x":1}},
                        {"DestinationType":"prepared_query","DestinationName":"q","Datacenter":"dc2",
                        "LocalBindAddress":"127.0.0.5","LocalBindPort":9,"MeshGateway":{"Mode":"remote"}}],
                    "MeshGateway":{"Mode":"local"},"Expose":{"Checks":true,"Paths":[
                        {"ListenerPort":21500,"Path":"/x","LocalPathPort":80,"Protocol":"http2"}]}}}"#,
                "4b7a1031d9367f6a",
            ),
            // The settings of a proxy mean nothing to a service that is none, and are not shown.
            (r#"{"ID":"web","Service":"web","Proxy":{"DestinationServiceName":"x"}}"#, "5a07705c3d245800"),
        ];
        for (body, wanted) in table {
            let service = records::service(Json::parse(body.as_bytes()).unwrap()).unwrap();
            assert_eq!(content_hash(&service), wanted, "{body}");
        }
    }
}
