//! Groups about this machine: metrics, sockets, the cache.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::go_duration;
use crate::definition::Secret;

/// `telemetry`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Telemetry {
    /// First part of every name; consul.
    pub metrics_prefix: String,
    /// No host name in front of gauges; false.
    pub disable_hostname: bool,
    /// Metrics no rule speaks of are kept; true.
    pub filter_default: bool,
    /// Rules, each `+prefix` or `-prefix`. Live.
    pub prefix_filter: Vec<String>,
    /// How long a metric is shown to Prometheus after its last change; 0 closes that format.
    #[serde(deserialize_with = "go_duration")]
    pub prometheus_retention_time: Duration,
    /// UDP address of a statsd server.
    pub statsd_address: String,
    /// TCP address of a statsite server.
    pub statsite_address: String,
    /// UDP address of a `DogStatsD` server.
    pub dogstatsd_addr: String,
    /// Tags for `DogStatsD`.
    pub dogstatsd_tags: Vec<String>,
    /// The `circonus_*` keys, by full name, as given.
    #[serde(flatten)]
    pub circonus: BTreeMap<String, Secret>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            metrics_prefix: "consul".to_owned(),
            disable_hostname: false,
            filter_default: true,
            prefix_filter: Vec::new(),
            prometheus_retention_time: Duration::ZERO,
            statsd_address: String::new(),
            statsite_address: String::new(),
            dogstatsd_addr: String::new(),
            dogstatsd_tags: Vec::new(),
            circonus: BTreeMap::new(),
        }
    }
}

/// `unix_sockets`: owner and mode of the sockets the agent makes; empty leaves them as they come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnixSockets {
    /// User id.
    pub user: String,
    /// Group id.
    pub group: String,
    /// Mode in octal.
    pub mode: String,
}

/// `cache`. Live.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Fetches per second and entry; no limit.
    pub entry_fetch_rate: f64,
    /// Burst above it; 2.
    pub entry_fetch_max_burst: i64,
}

impl Default for Cache {
    fn default() -> Self {
        Self { entry_fetch_rate: f64::INFINITY, entry_fetch_max_burst: 2 }
    }
}
