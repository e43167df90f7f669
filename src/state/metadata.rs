//! What Consul allows as metadata of nodes and services.

use super::record::StringMap;

const MAX_PAIRS: usize = 64;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 512;
const RESERVED_PREFIX: &str = "consul-";
/// The one reserved key a mesh gateway may carry.
const WAN_FEDERATION: &str = "consul-wan-federation";

/// Checks the metadata of a service of some kind.
///
/// # Errors
/// Consul's words for the first pair that is not allowed.
pub fn check_service(kind: &str, meta: &StringMap) -> Result<(), String> {
    let allowed: &[&str] = if kind == "mesh-gateway" { &[WAN_FEDERATION] } else { &[] };
    check(meta, allowed)
}

/// Checks the metadata of a node that was not written by an agent itself.
///
/// # Errors
/// Consul's words for the first pair that is not allowed.
pub fn check_node(meta: &StringMap) -> Result<(), String> {
    check(meta, &[])
}

fn check(meta: &StringMap, allowed: &[&str]) -> Result<(), String> {
    if meta.len() > MAX_PAIRS {
        return Err(format!("Node metadata cannot contain more than {MAX_PAIRS} key/value pairs"));
    }
    for (key, value) in meta {
        if let Err(reason) = check_pair(key, value, allowed) {
            return Err(format!("Couldn't load metadata pair ('{key}', '{value}'): {reason}"));
        }
    }
    Ok(())
}

fn check_pair(key: &str, value: &str, allowed: &[&str]) -> Result<(), String> {
    if key.is_empty() {
        return Err("Key cannot be blank".into());
    }
    if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
        return Err("Key contains invalid characters".into());
    }
    if key.len() > MAX_KEY {
        return Err(format!("Key is too long (limit: {MAX_KEY} characters)"));
    }
    if key.starts_with(RESERVED_PREFIX) && !allowed.contains(&key) {
        return Err(format!("Key prefix '{RESERVED_PREFIX}' is reserved for internal use"));
    }
    if value.len() > MAX_VALUE {
        return Err(format!("Value is too long (limit: {MAX_VALUE} characters)"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        let long_key = "k".repeat(129);
        let long_value = "v".repeat(513);
        let table = [
            ("plain", "a-b_C1", "anything at all", true),
            ("blank key", "", "x", false),
            ("space in key", "a b", "x", false),
            ("long key", &long_key, "x", false),
            ("long value", "k", &long_value, false),
            ("reserved", "consul-thing", "x", false),
        ];
        for (name, key, value, fine) in table {
            let meta = StringMap::from([(key.to_owned(), value.to_owned())]);
            assert_eq!(check_service("", &meta).is_ok(), fine, "{name}");
        }
        let gateway = StringMap::from([(WAN_FEDERATION.to_owned(), "1".to_owned())]);
        assert!(check_service("mesh-gateway", &gateway).is_ok());
        assert!(check_service("", &gateway).is_err());
        let many = (0..65).map(|n| (n.to_string(), String::new())).collect();
        assert!(check_service("", &many).is_err());
    }
}
