//! Rules for the services, checks and watches of the files. Consul finds some of these only when it
//! registers them at start; here they stop the load, with their place.

use super::file::File;
use super::resolve::{Findings, check_metadata};
use super::resolved::CheckRules;
use crate::definition::{CheckDefinition, ServiceDefinition};

/// Kinds of configuration entries; what they hold is checked when they are written.
const ENTRY_KINDS: &[&str] = &[
    "ingress-gateway",
    "mesh",
    "proxy-defaults",
    "service-defaults",
    "service-intentions",
    "service-resolver",
    "service-router",
    "service-splitter",
    "terminating-gateway",
];

const SCRIPTS_DISABLED: &str = "Scripts are disabled on this agent; to enable, configure \
                                'enable_script_checks' or 'enable_local_script_checks' to true";

/// Checks them all.
pub(crate) fn check(file: &File, rules: &CheckRules, found: &mut Findings<'_>) {
    for (index, service) in file.services.iter().enumerate() {
        check_service(service, &format!("services.{index}"), rules, found);
    }
    for (index, check) in file.checks.iter().enumerate() {
        let key = format!("checks.{index}");
        let name = if check.id.is_empty() { &check.name } else { &check.id };
        let result = if name.is_empty() {
            Err("CheckID missing: give it an id or a name".to_owned())
        } else {
            check.validate().and_then(|()| scripts_allowed(check, rules))
        };
        if let Err(reason) = result {
            found.problem(&key, format!("Failed to register check '{name}': {reason}"));
        }
    }
    for (index, watch) in file.watches.iter().enumerate() {
        if let Err(reason) = watch.validate() {
            found.problem(&format!("watches.{index}"), format!("Failed to parse watch: {reason}"));
        }
    }
    for (index, entry) in file.config_entries.bootstrap.iter().enumerate() {
        let field = |name: &str| {
            let fields = entry.as_object().into_iter().flatten();
            fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).find_map(|(_, value)| value.as_str())
        };
        let kind = field("kind").unwrap_or_default();
        if !ENTRY_KINDS.contains(&kind) {
            found.problem(
                &format!("config_entries.bootstrap.{index}"),
                format!("config_entries.bootstrap[{index}]: invalid config entry kind: {kind}"),
            );
        }
    }
}

fn check_service(service: &ServiceDefinition, key: &str, rules: &CheckRules, found: &mut Findings<'_>) {
    let name = &service.name;
    found.refuse_if(name.is_empty(), key, "Failed to register service \"\": Service name missing");
    if let Some(weights) = service.weights {
        let in_range = |weight: i64| (0..=65535).contains(&weight);
        let reason = if weights.passing < 1 {
            Some("Passing must be greater than 0")
        } else if weights.warning < 0 {
            Some("Warning must be greater or equal than 0")
        } else if !in_range(weights.passing) || !in_range(weights.warning) {
            Some("DNS Weight must be between 0 and 65535")
        } else {
            None
        };
        if let Some(reason) = reason {
            let text = format!("Invalid weight definition for service {name}: {reason}");
            found.problem(&format!("{key}.weights"), text);
        }
    }
    if let Err(reason) = check_metadata(&service.meta, true) {
        found.problem(&format!("{key}.meta"), format!("invalid meta for service {name}: {reason}"));
    }
    let listed =
        service.checks.iter().enumerate().map(|(index, check)| (format!("{key}.checks.{index}"), check));
    let single = service.check.iter().map(|check| (format!("{key}.check"), check));
    for (place, check) in listed.chain(single) {
        if let Err(reason) = check.validate() {
            found.problem(&place, format!("Failed to validate checks for service {name:?}: {reason}"));
        } else if let Err(reason) = scripts_allowed(check, rules) {
            found.problem(&place, format!("Failed to register service {name:?}: {reason}"));
        }
    }
    if let Some(sidecar) = service.connect.as_ref().and_then(|connect| connect.sidecar_service.as_ref())
        && sidecar.connect.as_ref().is_some_and(|connect| connect.sidecar_service.is_some())
    {
        found.problem(
            &format!("{key}.connect.sidecar_service"),
            format!("service {name:?}: a sidecar_service cannot have a nested sidecar_service"),
        );
    }
}

fn scripts_allowed(check: &CheckDefinition, rules: &CheckRules) -> Result<(), String> {
    if check.is_script() && !rules.enable_local_scripts { Err(SCRIPTS_DISABLED.to_owned()) } else { Ok(()) }
}
