//! Registering services and checks with the agent: what files and HTTP both define becomes what the
//! agent keeps.
//!
//! [`service`] and [`check`] fill in what a definition leaves out, check it by Consul's rules and in
//! its words, and give a [`Registration`] or [`CheckRegistration`] that
//! [`LocalRegistry`](super::LocalRegistry) stores as it is. May not enter: storage, running of checks.

mod proxy;
mod sidecar;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::LocalSnapshot;
use crate::definition::{CheckDefinition, ServiceDefinition, Status, TaggedAddress, WeightsDefinition};
use crate::endpoints::EndpointError;
use crate::endpoints::registration::{check_address, no_problems, service_problems};
use crate::state::metadata;
use crate::state::record::{Check, Service, ServiceAddress, ServiceConnect, Weights};

/// Who defined something. Decides what survives a reload and what is written to the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A configuration file: gone once no file holds it any more.
    Config,
    /// The HTTP API: kept in the data directory until it is deregistered.
    Api,
}

/// What registering depends on besides the definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Scripts may be defined over HTTP (`enable_script_checks`).
    pub remote_scripts: bool,
    /// Scripts may be defined in files (`enable_script_checks` or `enable_local_script_checks`).
    pub local_scripts: bool,
    /// First and last port given to sidecars without one.
    pub sidecar_ports: (u16, u16),
    /// Longest output kept of a check, in bytes, if its definition does not say (`check_output_max_size`).
    pub output_max_size: usize,
}

/// A check as the agent keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckRegistration {
    /// What the catalog shall hold, with the status before the first run; node, service name and tags are
    /// filled in by the agent.
    pub check: Check,
    /// How it is run; complete: ids, names and limits filled in.
    pub run: CheckDefinition,
}

/// A service with the checks that come with it.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRegistration {
    /// What the catalog shall hold.
    pub service: Service,
    /// Its checks.
    pub checks: Vec<CheckRegistration>,
}

/// What one definition of a service registers: the service, and its sidecar if it asks for one.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// In the order of registration.
    pub services: Vec<ServiceRegistration>,
    /// Checks these services have and this does not name are removed.
    pub replace_existing_checks: bool,
}

/// No check runs more often than this, whatever its definition says.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Output kept if the rules do not say, as Consul's.
const OUTPUT_MAX_SIZE: usize = 4096;
/// Largest DNS weight.
const MAX_WEIGHT: i64 = 65_535;

/// What a definition of a service registers.
///
/// # Errors
/// [`EndpointError::Invalid`] or, where Consul's agent answers 500, [`EndpointError::Refused`]; both with
/// Consul's text.
pub fn service(
    definition: &ServiceDefinition,
    source: Source,
    rules: &Rules,
    local: &LocalSnapshot,
) -> Result<Registration, EndpointError> {
    let mut service = record(definition);
    let nested = definition.connect.as_ref().and_then(|connect| connect.sidecar_service.as_deref());
    verify(definition, &service).map_err(EndpointError::Invalid)?;
    for check in definition.all_checks() {
        check.validate().map_err(|reason| EndpointError::Invalid(format!("Invalid check: {reason}")))?;
    }
    statuses_known(definition).map_err(EndpointError::Invalid)?;
    // The same mistakes inside a sidecar answer 500 in Consul.
    let refused = |text: String| EndpointError::Refused(format!("Bad request: {text}"));
    let nested = match nested {
        Some(nested) => {
            for check in nested.all_checks() {
                let reason = |reason| refused(format!("Invalid check in sidecar_service: {reason}"));
                check.validate().map_err(reason)?;
            }
            statuses_known(nested).map_err(refused)?;
            let sidecar = sidecar::expand(nested, &service, rules, local);
            Some(sidecar.map_err(|reason| refused(format!("Invalid SidecarService: {reason}")))?)
        }
        None => None,
    };
    complete_addresses(&mut service)?;
    let checks = checks_of(&service, definition.all_checks(), source, rules)?;
    let mut services = vec![ServiceRegistration { service, checks }];
    if let Some((mut service, checks)) = nested {
        complete_addresses(&mut service)?;
        let checks = checks_of(&service, checks.iter(), source, rules)?;
        services.push(ServiceRegistration { service, checks });
    }
    for registered in &services {
        warn_of_dns(&registered.service);
    }
    Ok(Registration { services, replace_existing_checks: false })
}

/// What a definition of a check registers.
///
/// # Errors
/// As [`service`]. A service it belongs to must be registered.
pub fn check(
    definition: &CheckDefinition,
    source: Source,
    rules: &Rules,
    local: &LocalSnapshot,
) -> Result<CheckRegistration, EndpointError> {
    let invalid = |text: &str| Err(EndpointError::Invalid(text.to_owned()));
    if definition.name.is_empty() && source == Source::Api {
        return invalid("Missing check name");
    }
    let id = or_else(&definition.id, || definition.name.clone());
    if id.is_empty() {
        return invalid("CheckID missing");
    }
    if !is_status(&definition.status) {
        return invalid("Bad check status");
    }
    definition.validate().map_err(|reason| EndpointError::Invalid(format!("Invalid check: {reason}")))?;
    let owner = match definition.service_id.as_str() {
        "" => None,
        id => match local.services.get(id) {
            Some(service) => Some(service),
            None => return Err(EndpointError::Refused(format!("ServiceID {id:?} does not exist"))),
        },
    };
    let owner = owner.map(|service| &**service);
    let mut registration = complete(definition, id, definition.name.clone(), owner, source, rules)?;
    if source == Source::Config {
        // Consul says nothing of the kind of checks that files define by themselves.
        registration.check.kind.clear();
    }
    Ok(registration)
}

/// What the catalog shall hold of a service, before defaults that depend on more than its definition.
fn record(definition: &ServiceDefinition) -> Service {
    let address = |found: &TaggedAddress| ServiceAddress { address: found.address.clone(), port: found.port };
    let tagged = definition.tagged_addresses.iter().map(|(tag, found)| (tag.clone(), address(found)));
    let tagged: BTreeMap<_, _> = tagged.collect();
    let weights =
        definition.weights.map(|WeightsDefinition { passing, warning }| Weights { passing, warning });
    Service {
        kind: definition.kind.clone(),
        id: or_else(&definition.id, || definition.name.clone()).into(),
        service: definition.name.as_str().into(),
        tags: definition.tags.clone(),
        address: definition.address.clone(),
        tagged_addresses: Some(tagged).filter(|tagged| !tagged.is_empty()),
        meta: Some(definition.meta.clone()).filter(|meta| !meta.is_empty()),
        port: definition.port,
        weights: weights.unwrap_or_default(),
        enable_tag_override: definition.enable_tag_override,
        proxy: definition.proxy.as_ref().map(proxy::record).unwrap_or_default(),
        connect: ServiceConnect {
            native: definition.connect.as_ref().is_some_and(|connect| connect.native),
            sidecar_service: None,
        },
        ..Service::default()
    }
}

/// What must hold for a service before its checks are looked at, in Consul's order.
fn verify(definition: &ServiceDefinition, service: &Service) -> Result<(), String> {
    if definition.name.is_empty() {
        return Err("Missing service name".into());
    }
    check_address(&definition.address)?;
    if let Some(WeightsDefinition { passing, warning }) = definition.weights {
        let refused = if passing < 1 {
            "Passing must be greater than 0"
        } else if warning < 0 {
            "Warning must be greater or equal than 0"
        } else if passing > MAX_WEIGHT || warning > MAX_WEIGHT {
            "DNS Weight must be between 0 and 65535"
        } else {
            ""
        };
        if !refused.is_empty() {
            return Err(format!("Invalid Weights: {refused}"));
        }
    }
    metadata::check_service(&definition.kind, &definition.meta)
        .map_err(|reason| format!("Invalid Service Meta: {reason}"))?;
    let mut problems = service_problems(service);
    if let Some(nested) = definition.connect.as_ref().and_then(|connect| connect.sidecar_service.as_ref()) {
        if !nested.id.is_empty() {
            problems.push("A SidecarService cannot specify an ID as this is managed by the agent".into());
        }
        if nested.connect.as_ref().is_some_and(|connect| connect.sidecar_service.is_some()) {
            problems.push("A SidecarService cannot have a nested SidecarService".into());
        }
    }
    no_problems(&problems)
}

fn statuses_known(definition: &ServiceDefinition) -> Result<(), String> {
    if definition.all_checks().all(|check| is_status(&check.status)) {
        Ok(())
    } else {
        Err("Status for checks must 'passing', 'warning', 'critical'".into())
    }
}

/// The empty one is left to the agent.
fn is_status(status: &str) -> bool {
    status.is_empty() || Status::parse(status).is_some()
}

/// The checks of a service, numbered if there are several. Of several with one id the last counts.
fn checks_of<'a>(
    service: &Service,
    definitions: impl Iterator<Item = &'a CheckDefinition>,
    source: Source,
    rules: &Rules,
) -> Result<Vec<CheckRegistration>, EndpointError> {
    let definitions: Vec<_> = definitions.collect();
    let several = definitions.len() > 1;
    let mut checks: Vec<CheckRegistration> = Vec::with_capacity(definitions.len());
    for (definition, number) in definitions.into_iter().zip(1..) {
        let id = or_else(&definition.id, || {
            let number = if several { format!(":{number}") } else { String::new() };
            format!("service:{}{number}", service.id)
        });
        let name = or_else(&definition.name, || format!("Service '{}' check", service.service));
        checks.retain(|earlier| earlier.run.id != id);
        checks.push(complete(definition, id, name, Some(service), source, rules)?);
    }
    Ok(checks)
}

/// A check with everything filled in.
fn complete(
    definition: &CheckDefinition,
    id: String,
    name: String,
    owner: Option<&Service>,
    source: Source,
    rules: &Rules,
) -> Result<CheckRegistration, EndpointError> {
    if definition.is_script() {
        scripts_allowed(source, rules)?;
    }
    let status = or_else(&definition.status, || Status::Critical.as_str().to_owned());
    let check = Check {
        check_id: id.as_str().into(),
        name: name.clone(),
        status: status.clone(),
        notes: definition.notes.clone(),
        service_id: owner.map(|service| service.id.to_string()).unwrap_or_default(),
        service_name: owner.map(|service| service.service.to_string()).unwrap_or_default(),
        service_tags: owner.map(|service| service.tags.clone()).unwrap_or_default(),
        kind: definition.kind().to_owned(),
        ..Check::default()
    };
    let limit = if rules.output_max_size == 0 { OUTPUT_MAX_SIZE } else { rules.output_max_size };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let run = CheckDefinition {
        id,
        name,
        status,
        service_id: check.service_id.clone(),
        interval: match definition.interval {
            Duration::ZERO => Duration::ZERO,
            interval => interval.max(MIN_INTERVAL),
        },
        output_max_size: match definition.output_max_size {
            wanted if wanted > 0 => wanted.min(limit),
            _ => limit,
        },
        ..definition.clone()
    };
    Ok(CheckRegistration { check, run })
}

fn scripts_allowed(source: Source, rules: &Rules) -> Result<(), EndpointError> {
    let refused = match source {
        Source::Api if !rules.remote_scripts => {
            "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"
        }
        Source::Config if !rules.local_scripts => {
            "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or \
             'enable_local_script_checks' to true"
        }
        Source::Api | Source::Config => return Ok(()),
    };
    Err(EndpointError::Refused(refused.to_owned()))
}

/// Checks the addresses under tags that name an IP version, and adds those that the service's own
/// address gives.
fn complete_addresses(service: &mut Service) -> Result<(), EndpointError> {
    let mut tagged = service.tagged_addresses.take().unwrap_or_default();
    // Consul does not look at `wan_ipv6`.
    for (tag, four) in [("lan_ipv4", true), ("wan_ipv4", true), ("lan_ipv6", false)] {
        let Some(found) = tagged.get(tag) else { continue };
        if is_version_four(&found.address) != Some(four) {
            let version = if four { "ipv4" } else { "ipv6" };
            return Err(EndpointError::Refused(format!(
                "Service tagged address {tag:?} must be a valid {version} address"
            )));
        }
    }
    let tags = match is_version_four(&service.address) {
        Some(true) => ["lan_ipv4", "wan_ipv4"].as_slice(),
        Some(false) => ["lan_ipv6", "wan_ipv6"].as_slice(),
        None => &[],
    };
    for tag in tags {
        tagged
            .entry((*tag).to_owned())
            .or_insert_with(|| ServiceAddress { address: service.address.clone(), port: service.port });
    }
    service.tagged_addresses = Some(tagged).filter(|tagged| !tagged.is_empty());
    Ok(())
}

/// Whether an IP address is one of version 4, also when it is written as one of version 6; `None` if it
/// is no IP address.
fn is_version_four(address: &str) -> Option<bool> {
    Some(match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => address.to_ipv4_mapped().is_some(),
    })
}

/// Names that DNS cannot carry are allowed, but whoever chose them should know.
fn warn_of_dns(service: &Service) {
    const CHARACTERS: &str = "Valid characters include all alpha-numerics and dashes.";
    const LENGTHS: &str = "Valid lengths are between 1 and 63 bytes.";
    let name = &*service.service;
    if !has_dns_characters(name) {
        tracing::warn!(target: "agent", service = %name, "Service name will not be discoverable via DNS due to invalid characters. {CHARACTERS}");
    } else if name.len() > MAX_DNS_LABEL {
        tracing::warn!(target: "agent", service = %name, "Service name will not be discoverable via DNS due to it being too long. {LENGTHS}");
    }
    for tag in &service.tags {
        if !has_dns_characters(tag) {
            tracing::debug!(target: "agent", tag = %tag, "Service tag will not be discoverable via DNS due to invalid characters. {CHARACTERS}");
        } else if tag.len() > MAX_DNS_LABEL {
            tracing::debug!(target: "agent", tag = %tag, "Service tag will not be discoverable via DNS due to it being too long. {LENGTHS}");
        }
    }
}

/// Longest label of a domain name, bytes (RFC 1035, 2.3.4).
const MAX_DNS_LABEL: usize = 63;

fn has_dns_characters(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn or_else(given: &str, default: impl FnOnce() -> String) -> String {
    if given.is_empty() { default() } else { given.to_owned() }
}
