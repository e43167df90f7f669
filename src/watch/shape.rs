//! Data in the form handlers know: fields in this order, and all of a check's definition.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An entry of the key-value store.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KvPair {
    /// Key.
    pub key: String,
    /// Index of its creation.
    #[serde(default)]
    pub create_index: u64,
    /// Index of its last change.
    #[serde(default)]
    pub modify_index: u64,
    /// How often it was locked.
    #[serde(default)]
    pub lock_index: u64,
    /// Flags.
    #[serde(default)]
    pub flags: u64,
    /// Base64; none when the value is empty.
    pub value: Option<String>,
    /// Session that holds the lock.
    #[serde(default)]
    pub session: String,
}

fn no_duration() -> String {
    "0s".to_owned()
}

/// An instance of a service with its node and checks.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ServiceEntry {
    node: Box<RawValue>,
    service: Service,
    checks: Option<Vec<HealthCheck>>,
}

#[expect(clippy::struct_field_names, reason = "the API's names")]
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Service {
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(rename = "ID")]
    id: String,
    service: String,
    tags: Option<Vec<String>>,
    meta: Option<BTreeMap<String, String>>,
    port: i64,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tagged_addresses: Option<Box<RawValue>>,
    weights: Weights,
    enable_tag_override: bool,
    create_index: u64,
    modify_index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Weights {
    passing: i64,
    warning: i64,
}

/// A check of a node or service.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct HealthCheck {
    node: String,
    #[serde(rename = "CheckID")]
    id: String,
    name: String,
    status: String,
    notes: String,
    output: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    service_name: String,
    service_tags: Option<Vec<String>>,
    #[serde(rename = "Type")]
    kind: String,
    definition: Definition,
    create_index: u64,
    modify_index: u64,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    #[serde(default = "no_duration")]
    interval: String,
    #[serde(default = "no_duration")]
    timeout: String,
    #[serde(default = "no_duration")]
    deregister_critical_service_after: String,
    #[serde(rename = "HTTP", default)]
    http: String,
    #[serde(default)]
    header: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default)]
    method: String,
    #[serde(default)]
    body: String,
    #[serde(rename = "TLSSkipVerify", default)]
    tls_skip_verify: bool,
    #[serde(rename = "TCP", default)]
    tcp: String,
}

impl Default for Definition {
    fn default() -> Self {
        Self {
            interval: no_duration(),
            timeout: no_duration(),
            deregister_critical_service_after: no_duration(),
            http: String::new(),
            header: None,
            method: String::new(),
            body: String::new(),
            tls_skip_verify: false,
            tcp: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_filled_in() {
        let text =
            r#"{"Node":"n","CheckID":"c","Definition":{"HTTP":"http://x","Interval":"10s"},"ModifyIndex":3}"#;
        let check: HealthCheck = serde_json::from_str(text).unwrap();
        let want = r#"{"Node":"n","CheckID":"c","Name":"","Status":"","Notes":"","Output":"","ServiceID":"","ServiceName":"","ServiceTags":null,"Type":"","Definition":{"Interval":"10s","Timeout":"0s","DeregisterCriticalServiceAfter":"0s","HTTP":"http://x","Header":null,"Method":"","Body":"","TLSSkipVerify":false,"TCP":""},"CreateIndex":0,"ModifyIndex":3}"#;
        assert_eq!(serde_json::to_string(&check).unwrap(), want);
    }
}
