//! Names: node, datacenters, domains, paths.

use super::file::File;
use super::groups::Acl;
use super::resolve::Findings;

/// A datacenter's name in lower case.
pub(crate) fn datacenter(key: &str, given: &str, found: &mut Findings<'_>) -> String {
    let name = given.to_lowercase();
    if name.is_empty() {
        found.problem(key, format!("{key} cannot be empty"));
    } else if !is_datacenter(&name) {
        found.problem(key, format!("{key} cannot be {name:?}. Please use only [a-z0-9-_]"));
    }
    name
}

fn is_datacenter(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
}

/// The access control settings and the primary datacenter. The older `acl_datacenter` switches access
/// control on as well as naming the datacenter.
pub(crate) fn primary_datacenter(file: &File, own: &str, found: &mut Findings<'_>) -> (Acl, String) {
    let mut acl = file.acl.clone();
    let mut primary = file.primary_datacenter.to_lowercase();
    let mut key = "primary_datacenter";
    if let Some(old) = &file.acl_datacenter {
        found.warn(
            "acl_datacenter",
            "The 'acl_datacenter' field is deprecated. Use the 'primary_datacenter' field instead.",
        );
        if primary.is_empty() {
            primary = old.to_lowercase();
            key = "acl_datacenter";
        }
        acl.enabled = acl.enabled || !found.is_set("acl.enabled");
    }
    if !primary.is_empty() && !is_datacenter(&primary) {
        found.problem(key, format!("{key} cannot be {primary:?}. Please use only [a-z0-9-_]"));
    }
    if acl.enabled && primary.is_empty() {
        own.clone_into(&mut primary);
    }
    if !acl.tokens.replication.is_empty() {
        acl.enable_token_replication = true;
    }
    if acl.enabled {
        let default = acl.default_policy.as_str();
        if !matches!(default, "allow" | "deny") {
            found.problem("acl.default_policy", format!("Unsupported default ACL policy: {default}"));
        }
        let down = acl.down_policy.as_str();
        if !matches!(down, "allow" | "deny" | "extend-cache" | "async-cache") {
            found.problem("acl.down_policy", format!("Unsupported down ACL policy: {down}"));
        }
    }
    (acl, primary)
}

/// The node's name, else the host's.
pub(crate) fn node_name(file: &File, found: &mut Findings<'_>) -> String {
    let given = file.node_name.trim();
    let name = if given.is_empty() {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    } else {
        given.to_owned()
    };
    if name.is_empty() {
        found.problem("node_name", "node_name cannot be empty");
    } else if name.chars().any(|c| !c.is_ascii_alphanumeric() && c != '-') {
        found.warn(
            "node_name",
            format!(
                "Node name {name:?} will not be discoverable via DNS due to invalid characters. Valid characters \
                 include all alpha-numerics and dashes."
            ),
        );
    } else if name.len() > 63 {
        found.warn(
            "node_name",
            format!(
                "Node name {name:?} will not be discoverable via DNS due to it being too long. Valid lengths are \
                 between 1 and 63 bytes."
            ),
        );
    }
    name
}

/// The node's id in lower case.
pub(crate) fn node_id(given: &str, found: &mut Findings<'_>) -> Option<String> {
    if given.is_empty() {
        return None;
    }
    let id = given.to_lowercase();
    // The hyphenated form only: other agents compare ids as text.
    if id.len() != 36 || uuid::Uuid::try_parse(&id).is_err() {
        found.problem(
            "node_id",
            format!("specified NodeID is invalid: {given:?} is no UUID such as 5d1b7a2e-0c4f-4a51-9a5e-6d2c1f0b8e37"),
        );
    }
    Some(id)
}

/// A domain in lower case with its final dot.
pub(crate) fn domain(given: &str) -> String {
    let mut domain = given.to_lowercase();
    if !domain.ends_with('.') {
        domain.push('.');
    }
    domain
}

/// The second domain, which must not hide names of the first.
pub(crate) fn alt_domain(given: &str, datacenter: &str, found: &mut Findings<'_>) -> Option<String> {
    if given.is_empty() {
        return None;
    }
    let first = given.split_once('.').map(|(first, _)| first.to_lowercase());
    let reserved = ["service", "connect", "node", "query", "addr", datacenter];
    if first.is_some_and(|first| reserved.contains(&first.as_str())) {
        found.problem(
            "alt_domain",
            format!("alt_domain cannot start with {{service,connect,node,query,addr,{datacenter}}}"),
        );
    }
    Some(domain(given))
}

/// The UI's path with a slash at both ends.
pub(crate) fn ui_content_path(given: &str, found: &mut Findings<'_>) -> String {
    let trimmed = given.trim_matches('/');
    let path = if trimmed.is_empty() { "/".to_owned() } else { format!("/{trimmed}/") };
    if !path.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/')) {
        found.problem(
            "ui_content_path",
            format!("ui-content-path can only contain alphanumeric, -, _, or /. received: {path}"),
        );
    }
    path
}
