//! Registering and deregistering through the catalog: what is checked and filled in before a
//! command goes to the log.
//!
//! What depends on the state (a check's service, a taken node name, metadata limits) is checked
//! when the command is applied and comes back as [`EndpointError::Refused`].

use std::collections::HashSet;

use super::decode::records::{DeregisterRequest, RegisterRequest};
use super::far::refusal;
use super::query::check_datacenter;
use super::{EndpointError, Endpoints};
use crate::state::Command;
use crate::state::command::{Deregister, Register};
use crate::state::record::{Check, CheckDefinition, Expose, FreeForm, Service, Upstream};

/// `/v1/catalog/register`.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`], [`EndpointError::Refused`] with Consul's text, and what
/// proposing says.
pub async fn register(endpoints: &Endpoints, request: RegisterRequest) -> Result<(), EndpointError> {
    let command = prepare(endpoints, request)?;
    endpoints.proposer.propose(Command::Register(Box::new(command))).await.map(|_| ())
}

/// `/v1/catalog/deregister`. What is not there is as good as deregistered.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`], [`EndpointError::Refused`] with Consul's text, and what
/// proposing says.
pub async fn deregister(endpoints: &Endpoints, request: DeregisterRequest) -> Result<(), EndpointError> {
    check_datacenter(endpoints, Some(&request.datacenter))?;
    if request.node.is_empty() {
        return Err(refusal(endpoints, "Must provide node"));
    }
    endpoints.proposer.propose(Command::Deregister(request.into())).await.map(|_| ())
}

impl From<DeregisterRequest> for Deregister {
    fn from(request: DeregisterRequest) -> Self {
        let DeregisterRequest { node, service_id, check_id, .. } = request;
        Self { node: node.into(), service_id, check_id }
    }
}

pub(super) fn prepare(endpoints: &Endpoints, request: RegisterRequest) -> Result<Register, EndpointError> {
    check_datacenter(endpoints, Some(&request.datacenter))?;
    let RegisterRequest { mut node, skip_node_update, mut service, check, mut checks, .. } = request;
    let refused = |text: String| refusal(endpoints, text);
    check_node_name(&node.node).map_err(refused)?;
    if node.address.is_empty() && !skip_node_update {
        return Err(refusal(endpoints, "Must provide address if SkipNodeUpdate is not set"));
    }
    check_node_id(&node.id).map_err(refused)?;
    node.datacenter.clone_from(&endpoints.settings.datacenter);
    if let Some(service) = &mut service {
        prepare_service(service).map_err(refused)?;
    }
    checks.extend(check);
    for check in &mut checks {
        prepare_check(check);
        if check.node.is_empty() {
            check.node = node.node.clone();
        }
        if check.kind.is_empty() {
            check_kind(&check.definition).clone_into(&mut check.kind);
        }
    }
    Ok(Register { node, skip_node_update, service, checks })
}

/// Checks the name of a node, for registrations and transactions alike.
///
/// # Errors
/// Consul's text.
pub fn check_node_name(name: &str) -> Result<(), String> {
    if name.is_empty() { Err("Must provide node".into()) } else { Ok(()) }
}

/// Checks the id of a node, for registrations and transactions alike: none, or a UUID.
///
/// # Errors
/// Consul's text.
pub fn check_node_id(id: &str) -> Result<(), String> {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    let bytes = id.as_bytes();
    if bytes.is_empty() {
        return Ok(());
    }
    let is_dash = |at: &usize| bytes.get(*at) == Some(&b'-');
    let odd =
        || bytes.iter().enumerate().find(|(at, byte)| !DASHES.contains(at) && !byte.is_ascii_hexdigit());
    let problem = if bytes.len() != 36 {
        "uuid string is wrong length".to_owned()
    } else if !DASHES.iter().all(is_dash) {
        "uuid is improperly formatted".to_owned()
    } else if let Some((_, byte)) = odd() {
        invalid_hex(*byte)
    } else {
        return Ok(());
    };
    Err(format!("Bad node ID: {problem}"))
}

fn invalid_hex(byte: u8) -> String {
    let shown = if byte.is_ascii_graphic() { format!(" '{}'", byte as char) } else { String::new() };
    format!("encoding/hex: invalid byte: U+{byte:04X}{shown}")
}

/// Checks a service and fills in its id, for registrations and transactions alike.
///
/// # Errors
/// Consul's text.
pub fn prepare_service(service: &mut Service) -> Result<(), String> {
    no_problems(&service_problems(service))?;
    if service.id.is_empty() {
        service.id = service.service.clone();
    } else if service.service.is_empty() {
        return Err("Must provide service name with ID".into());
    }
    check_address(&service.address)
}

/// Checks the address of a service: one that means every address helps nobody to find it.
///
/// # Errors
/// Consul's text.
pub fn check_address(address: &str) -> Result<(), String> {
    if matches!(address, "0.0.0.0" | "::" | "[::]") { Err("Invalid service address".into()) } else { Ok(()) }
}

/// Fills in what a check leaves out, for registrations and transactions alike.
pub fn prepare_check(check: &mut Check) {
    if check.check_id.is_empty() {
        check.check_id = check.name.as_str().into();
    }
}

/// The kind of probe a definition describes; empty if it describes none.
pub fn check_kind(definition: &CheckDefinition) -> &'static str {
    let periodic = definition.interval > 0;
    let script = !definition.script_args.is_empty();
    if !definition.grpc.is_empty() && periodic {
        "grpc"
    } else if !definition.http.is_empty() && periodic {
        "http"
    } else if definition.ttl > 0 {
        "ttl"
    } else if !definition.tcp.is_empty() && periodic {
        "tcp"
    } else if !definition.alias_node.is_empty() || !definition.alias_service.is_empty() {
        "alias"
    } else if script && !definition.docker_container_id.is_empty() && periodic {
        "docker"
    } else if script {
        "script"
    } else {
        ""
    }
}

/// Fails with a list of problems, worded as Consul's servers and agents do.
pub(super) fn no_problems(problems: &[String]) -> Result<(), String> {
    if problems.is_empty() {
        return Ok(());
    }
    let word = if problems.len() == 1 { "error" } else { "errors" };
    Err(format!("{} {word} occurred:\n\t* {}\n\n", problems.len(), problems.join("\n\t* ")))
}

/// What is wrong with the proxy and connect settings of a service.
pub(super) fn service_problems(service: &Service) -> Vec<String> {
    let mut problems = Vec::new();
    let proxy = &service.proxy;
    match service.kind.as_str() {
        "connect-proxy" => {
            if proxy.destination_service_name.trim().is_empty() {
                problems
                    .push("Proxy.DestinationServiceName must be non-empty for Connect proxy services".into());
            }
            if service.port == 0 {
                problems.push("Port must be set for a Connect proxy".into());
            }
            if service.connect.native {
                problems.push("A Proxy cannot also be Connect Native, only typical services".into());
            }
            upstream_problems(&proxy.upstreams, &mut problems);
            expose_problems(&proxy.expose, &mut problems);
        }
        kind @ ("mesh-gateway" | "terminating-gateway" | "ingress-gateway") => {
            if service.port == 0 && kind != "ingress-gateway" {
                problems.push(format!("Port must be non-zero for a {kind}"));
            }
            let misplaced = [
                ("DestinationServiceName", !proxy.destination_service_name.is_empty()),
                ("DestinationServiceID", !proxy.destination_service_id.is_empty()),
                ("LocalServiceAddress", !proxy.local_service_address.is_empty()),
                ("LocalServicePort", proxy.local_service_port != 0),
                ("Upstreams", !proxy.upstreams.is_empty()),
            ];
            for (field, _) in misplaced.iter().filter(|(_, given)| *given) {
                problems.push(format!("The Proxy.{field} configuration is invalid for a {kind}"));
            }
        }
        _ => {}
    }
    let inner = service.connect.sidecar_service.as_ref().and_then(|sidecar| field(sidecar, &["Connect"]));
    if inner.is_some_and(|connect| field(connect, &["SidecarService", "sidecar_service"]).is_some()) {
        problems.push("A SidecarService cannot have a nested SidecarService".into());
    }
    problems
}

/// A field of a free-form object by any of its names, whatever their case.
fn field<'a>(object: &'a FreeForm, names: &[&str]) -> Option<&'a FreeForm> {
    let matches = |found: &str| names.iter().any(|name| name.eq_ignore_ascii_case(found));
    object.as_object()?.iter().find(|(name, value)| matches(name) && !value.is_null()).map(|(_, value)| value)
}

fn upstream_problems(upstreams: &[Upstream], problems: &mut Vec<String>) {
    let mut keys = HashSet::new();
    let mut addresses = HashSet::new();
    for upstream in upstreams {
        if !matches!(upstream.destination_type.as_str(), "" | "service" | "prepared_query") {
            problems.push(format!("unknown upstream destination type: {:?}", upstream.destination_type));
            continue;
        }
        if upstream.destination_name.is_empty() {
            problems.push("upstream destination name cannot be empty".into());
            continue;
        }
        if upstream.local_bind_port == 0 {
            problems.push("upstream local bind port cannot be zero".into());
            continue;
        }
        let key = format!(
            "[type={:?}, name={:?}, namespace={:?}, datacenter={:?}]",
            upstream.destination_type,
            upstream.destination_name,
            upstream.destination_namespace,
            upstream.datacenter
        );
        if keys.contains(&key) {
            problems.push(format!("upstreams cannot contain duplicates of {key}"));
            continue;
        }
        keys.insert(key);
        let address = match upstream.local_bind_address.as_str() {
            "" => "127.0.0.1",
            given => given,
        };
        let port = upstream.local_bind_port;
        let address =
            if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
        if !addresses.insert(address.clone()) {
            problems.push(format!(
                "upstreams cannot contain duplicates by local bind address and port; {address:?} is specified twice"
            ));
        }
    }
}

fn expose_problems(expose: &Expose, problems: &mut Vec<String>) {
    let mut ports = HashSet::new();
    for path in &expose.paths {
        if path.path.is_empty() {
            problems.push("expose.paths: empty path exposed".into());
        }
        if !ports.insert(path.listener_port) {
            problems.push("expose.paths: duplicate listener ports exposed".into());
        }
        if !(1..=65_535).contains(&path.listener_port) {
            problems.push(format!("expose.paths: invalid listener port: {}", path.listener_port));
        }
        let protocol = path.protocol.to_lowercase();
        if !matches!(protocol.as_str(), "" | "http" | "http2") {
            problems.push(format!(
                "protocol '{protocol}' not supported for path: {}, must be in: [http http2]",
                path.path
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode::{Json, records};
    use super::super::testing;
    use super::*;

    fn request(body: &str) -> RegisterRequest {
        records::register(Json::parse(body.as_bytes()).unwrap()).unwrap()
    }

    fn refusal(body: &str) -> String {
        prepare(&testing::endpoints(), request(body))
            .map_or_else(|error| error.to_string(), |_| "fine".into())
    }

    #[test]
    fn refusals() {
        let table = [
            (r#"{"Datacenter":"mars"}"#, "No path to datacenter"),
            (r#"{"Address":"1"}"#, "Must provide node"),
            (r#"{"Node":"x"}"#, "Must provide address if SkipNodeUpdate is not set"),
            (r#"{"Node":"x","ID":"nope"}"#, "Must provide address if SkipNodeUpdate is not set"),
            (r#"{"Node":"x","SkipNodeUpdate":true}"#, "fine"),
            (r#"{"Node":"x","Address":"1","ID":"nope"}"#, "Bad node ID: uuid string is wrong length"),
            (
                r#"{"Node":"x","Address":"1","ID":"40e4a748-2192-161a-0510x9bf59fe950b5"}"#,
                "Bad node ID: uuid is improperly formatted",
            ),
            (
                r#"{"Node":"x","Address":"1","ID":"40e4a748-2192-161a-0510-9bf59fe950bX"}"#,
                "Bad node ID: encoding/hex: invalid byte: U+0058 'X'",
            ),
            (r#"{"Node":"x","Address":"1","ID":"40E4a748-2192-161a-0510-9bf59fe950b5"}"#, "fine"),
        ];
        for (body, want) in table {
            assert_eq!(refusal(body), want, "{body}");
        }
    }

    #[test]
    fn refusals_of_services() {
        let table = [
            (r#"{"ID":"only"}"#, "Must provide service name with ID"),
            (r#"{"Service":"a","Address":"0.0.0.0"}"#, "Invalid service address"),
            (r#"{"Service":"a","Address":"[::]"}"#, "Invalid service address"),
            (r#"{"Service":"a","Kind":"bogus","Proxy":{"Upstreams":[{}]}}"#, "fine"),
            (r#"{"Service":"a","Kind":"ingress-gateway"}"#, "fine"),
            (
                r#"{"ID":"only","Kind":"connect-proxy","Proxy":{"DestinationServiceName":"x"}}"#,
                "1 error occurred:\n\t* Port must be set for a Connect proxy\n\n",
            ),
            (
                r#"{"Service":"a","Kind":"connect-proxy","Connect":{"Native":true},
                    "Proxy":{"Upstreams":[{}],"Expose":{"Paths":[{}]}}}"#,
                "6 errors occurred:\n\
                 \t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n\
                 \t* Port must be set for a Connect proxy\n\
                 \t* A Proxy cannot also be Connect Native, only typical services\n\
                 \t* upstream destination name cannot be empty\n\
                 \t* expose.paths: empty path exposed\n\
                 \t* expose.paths: invalid listener port: 0\n\n",
            ),
            (
                r#"{"Service":"a","Kind":"connect-proxy","Port":1,"Proxy":{"DestinationServiceName":"d",
                    "Upstreams":[{"DestinationName":"a","LocalBindPort":6},{"DestinationName":"b","LocalBindPort":6},
                        {"DestinationName":"a","LocalBindPort":7},{"DestinationType":"t"}],
                    "Expose":{"Paths":[{"Path":"/x","ListenerPort":1,"Protocol":"HTTP2"},
                        {"Path":"/y","ListenerPort":1,"Protocol":"tcp"}]}}}"#,
                "5 errors occurred:\n\
                 \t* upstreams cannot contain duplicates by local bind address and port; \"127.0.0.1:6\" is specified twice\n\
                 \t* upstreams cannot contain duplicates of [type=\"\", name=\"a\", namespace=\"\", datacenter=\"\"]\n\
                 \t* unknown upstream destination type: \"t\"\n\
                 \t* expose.paths: duplicate listener ports exposed\n\
                 \t* protocol 'tcp' not supported for path: /y, must be in: [http http2]\n\n",
            ),
            (
                r#"{"Service":"a","Kind":"mesh-gateway","Proxy":{"LocalServicePort":1,"Upstreams":[{}]}}"#,
                "3 errors occurred:\n\
                 \t* Port must be non-zero for a mesh-gateway\n\
                 \t* The Proxy.LocalServicePort configuration is invalid for a mesh-gateway\n\
                 \t* The Proxy.Upstreams configuration is invalid for a mesh-gateway\n\n",
            ),
            (
                r#"{"Service":"a","Connect":{"SidecarService":{"connect":{"sidecar_service":{}}}}}"#,
                "1 error occurred:\n\t* A SidecarService cannot have a nested SidecarService\n\n",
            ),
        ];
        for (service, want) in table {
            let body = format!(r#"{{"Node":"x","Address":"1","Service":{service}}}"#);
            assert_eq!(refusal(&body), want, "{service}");
        }
    }

    #[test]
    fn fills_in_what_is_left_out() {
        let body = r#"{"Node":"x","Address":"1","Service":{"Service":"a"},"Check":{"Name":"c"},
            "Checks":[{"Name":"d","CheckID":"e","Node":"y","Definition":{"TCP":"t","Interval":"5s"}}]}"#;
        let register = prepare(&testing::endpoints(), request(body)).unwrap();
        assert_eq!(register.node.datacenter, "dc1");
        assert_eq!(&*register.service.unwrap().id, "a");
        let checks: Vec<_> =
            register.checks.iter().map(|check| (&*check.check_id, &*check.node, &*check.kind)).collect();
        assert_eq!(checks, [("e", "y", "tcp"), ("c", "x", "")]);
    }

    #[test]
    fn kinds_of_checks() {
        let base = CheckDefinition { interval: 1, ..CheckDefinition::default() };
        let table = [
            ("nothing", CheckDefinition { ..base.clone() }, ""),
            ("grpc", CheckDefinition { grpc: "x".into(), http: "x".into(), ttl: 1, ..base.clone() }, "grpc"),
            ("http", CheckDefinition { http: "x".into(), ttl: 1, ..base.clone() }, "http"),
            ("http without interval", CheckDefinition { http: "x".into(), ..CheckDefinition::default() }, ""),
            ("ttl", CheckDefinition { ttl: 1, tcp: "x".into(), ..base.clone() }, "ttl"),
            ("tcp", CheckDefinition { tcp: "x".into(), alias_node: "x".into(), ..base.clone() }, "tcp"),
            ("alias", CheckDefinition { alias_service: "x".into(), ..base.clone() }, "alias"),
            (
                "docker",
                CheckDefinition {
                    script_args: vec!["x".into()],
                    docker_container_id: "x".into(),
                    ..base.clone()
                },
                "docker",
            ),
            ("script", CheckDefinition { script_args: vec!["x".into()], ..base }, "script"),
        ];
        for (name, definition, want) in table {
            assert_eq!(check_kind(&definition), want, "{name}");
        }
    }
}
