//! Registering services and checks with the agent: what files and HTTP both define becomes what the
//! agent keeps.
//!
//! [`service`] and [`check`] fill in what a definition leaves out, check it by Consul's rules and in
//! its words, and give a [`Registration`] or [`CheckRegistration`] that
//! [`LocalRegistry`](super::LocalRegistry) stores as it is. May not enter: storage, running of checks.

use super::LocalSnapshot;
use crate::definition::{CheckDefinition, ServiceDefinition};
use crate::endpoints::EndpointError;
use crate::state::record::{Check, Service};

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

/// What a definition of a service registers.
///
/// # Errors
/// [`EndpointError::Invalid`] with Consul's text.
pub fn service(
    definition: &ServiceDefinition,
    source: Source,
    rules: &Rules,
    local: &LocalSnapshot,
) -> Result<Registration, EndpointError> {
    let _ = (definition, source, rules, local);
    Err(EndpointError::NotImplemented("registering services with the agent".to_owned()))
}

/// What a definition of a check registers.
///
/// # Errors
/// [`EndpointError::Invalid`] with Consul's text.
pub fn check(
    definition: &CheckDefinition,
    source: Source,
    rules: &Rules,
    local: &LocalSnapshot,
) -> Result<CheckRegistration, EndpointError> {
    let _ = (definition, source, rules, local);
    Err(EndpointError::NotImplemented("registering checks with the agent".to_owned()))
}
