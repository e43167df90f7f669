//! Sidecars: what `Connect.SidecarService` inside a service stands for.

use std::collections::HashSet;
use std::time::Duration;

use super::{LocalSnapshot, Rules, record};
use crate::definition::{CheckDefinition, ServiceDefinition};
use crate::state::metadata;
use crate::state::record::Service;

/// What follows the id and the name of a service in those of its sidecar.
pub const SUFFIX: &str = "-sidecar-proxy";

/// Time between two looks at whether a sidecar listens.
const LISTENING_INTERVAL: Duration = Duration::from_secs(10);

/// The id of a service's sidecar.
pub fn id_of(service_id: &str) -> String {
    format!("{service_id}{SUFFIX}")
}

/// The sidecar of `parent` with the checks it gets, its own or the default ones. What the definition leaves out
/// comes from the parent.
///
/// # Errors
/// Consul's text.
pub(super) fn expand(
    definition: &ServiceDefinition,
    parent: &Service,
    rules: &Rules,
    local: &LocalSnapshot,
) -> Result<(Service, Vec<CheckDefinition>), String> {
    let mut sidecar = record(definition);
    sidecar.id = id_of(&parent.id).into();
    metadata::check_service(&sidecar.kind, &definition.meta)?;
    if sidecar.kind.is_empty() {
        "connect-proxy".clone_into(&mut sidecar.kind);
    }
    if sidecar.service.is_empty() {
        sidecar.service = format!("{}{SUFFIX}", parent.service).into();
    }
    if sidecar.address.is_empty() {
        sidecar.address.clone_from(&parent.address);
    }
    let proxy = &mut sidecar.proxy;
    if proxy.destination_service_name.is_empty() {
        proxy.destination_service_name = parent.service.to_string();
    }
    if proxy.destination_service_id.is_empty() {
        proxy.destination_service_id = parent.id.to_string();
    }
    if proxy.local_service_address.is_empty() {
        "127.0.0.1".clone_into(&mut proxy.local_service_address);
    }
    if proxy.local_service_port < 1 {
        proxy.local_service_port = parent.port;
    }
    if sidecar.tags.is_empty() {
        sidecar.tags.clone_from(&parent.tags);
    }
    if sidecar.meta.is_none() {
        sidecar.meta.clone_from(&parent.meta);
    }
    if sidecar.port < 1 {
        sidecar.port = free_port(&sidecar.id, rules.sidecar_ports, local)?.into();
    }
    let mut checks: Vec<_> = definition.all_checks().cloned().collect();
    if checks.is_empty() {
        checks = default_checks(&sidecar, parent);
    }
    Ok((sidecar, checks))
}

/// The port the sidecar has already, or the lowest one of the range that no service of this agent uses.
fn free_port(id: &str, (first, last): (u16, u16), local: &LocalSnapshot) -> Result<u16, String> {
    if first == 0 || last == 0 {
        return Err("no port provided for sidecar_service and auto-assignment disabled in config".into());
    }
    let mut used = HashSet::new();
    for service in local.services.values() {
        let Some(port) = u16::try_from(service.port).ok().filter(|port| (first..=last).contains(port)) else {
            continue;
        };
        if *service.id == *id {
            return Ok(port);
        }
        used.insert(port);
    }
    (first..=last).find(|port| !used.contains(port)).ok_or_else(|| {
        format!(
            "no port provided for sidecar_service and none left in the configured range [{first}, {last}]"
        )
    })
}

fn default_checks(sidecar: &Service, parent: &Service) -> Vec<CheckDefinition> {
    let address = &sidecar.proxy.local_service_address;
    let address = if address.contains(':') { format!("[{address}]") } else { address.clone() };
    let listening = CheckDefinition {
        name: "Connect Sidecar Listening".into(),
        tcp: format!("{address}:{}", sidecar.port),
        interval: LISTENING_INTERVAL,
        ..CheckDefinition::default()
    };
    let aliasing = CheckDefinition {
        name: format!("Connect Sidecar Aliasing {}", parent.id),
        alias_service: parent.id.to_string(),
        ..CheckDefinition::default()
    };
    vec![listening, aliasing]
}
