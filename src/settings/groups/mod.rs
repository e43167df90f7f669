//! The groups of settings that are read as they stand in the files: one type per object, with Consul's
//! defaults. What must be derived from several keys is in [`super::Settings`].

mod cluster;
mod machine;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::cidr::Cidr;
use crate::duration;

pub(crate) use crate::definition::go_duration;
pub use cluster::{Acl, AclTokens, AutoConfig, AutoEncrypt, Autopilot, Connect, Gossip};
pub use machine::{Cache, Telemetry, UnixSockets};

/// Reads a Go duration for a key that may be absent.
pub(crate) fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    go_duration(deserializer).map(Some)
}

fn duration_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Duration>, D::Error> {
    BTreeMap::<String, String>::deserialize(deserializer)?
        .into_iter()
        .map(|(key, text)| {
            duration::parse_unsigned(&text).map(|value| (key, value)).map_err(serde::de::Error::custom)
        })
        .collect()
}

/// A port; 0 and below mean "off".
fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    Ok(u16::try_from(i64::deserialize(deserializer)?).ok().filter(|port| *port > 0))
}

/// One end of a port range; below 0 counts as 0.
fn range_port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    Ok(u16::try_from(i64::deserialize(deserializer)?).unwrap_or(0))
}

/// `ports`: `None` is "off".
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ports {
    /// DNS, UDP and TCP; 8600.
    #[serde(deserialize_with = "port")]
    pub dns: Option<u16>,
    /// DNS over TLS; off.
    #[serde(deserialize_with = "port")]
    pub dns_tls: Option<u16>,
    /// HTTP API; 8500.
    #[serde(deserialize_with = "port")]
    pub http: Option<u16>,
    /// HTTPS API; off.
    #[serde(deserialize_with = "port")]
    pub https: Option<u16>,
    /// gRPC; off, 8502 in development mode.
    #[serde(deserialize_with = "port")]
    pub grpc: Option<u16>,
    /// LAN gossip; 8301.
    #[serde(deserialize_with = "port")]
    pub serf_lan: Option<u16>,
    /// WAN gossip, servers only; 8302.
    #[serde(deserialize_with = "port")]
    pub serf_wan: Option<u16>,
    /// Server RPC; 8300.
    #[serde(deserialize_with = "port")]
    pub server: Option<u16>,
    /// First port given to sidecars; 21000. Both ends 0: none are given.
    #[serde(deserialize_with = "range_port")]
    pub sidecar_min_port: u16,
    /// Last port given to sidecars; 21255.
    #[serde(deserialize_with = "range_port")]
    pub sidecar_max_port: u16,
    /// First port for exposed checks; 21500. Both ends 0: none are given.
    #[serde(deserialize_with = "range_port")]
    pub expose_min_port: u16,
    /// Last port for exposed checks; 21755.
    #[serde(deserialize_with = "range_port")]
    pub expose_max_port: u16,
    /// First port of managed proxies, which are gone; 20000.
    #[serde(deserialize_with = "range_port")]
    pub proxy_min_port: u16,
    /// Last port of managed proxies, which are gone; 20255.
    #[serde(deserialize_with = "range_port")]
    pub proxy_max_port: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            dns: Some(8600),
            dns_tls: None,
            http: Some(8500),
            https: None,
            grpc: None,
            serf_lan: Some(8301),
            serf_wan: Some(8302),
            server: Some(8300),
            sidecar_min_port: 21000,
            sidecar_max_port: 21255,
            expose_min_port: 21500,
            expose_max_port: 21755,
            proxy_min_port: 20000,
            proxy_max_port: 20255,
        }
    }
}

/// `dns_config`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct DnsConfig {
    /// Any server may answer, not only the leader; true.
    pub allow_stale: bool,
    /// An answer older than this is asked for again at the leader; 87600h.
    #[serde(deserialize_with = "go_duration")]
    pub max_stale: Duration,
    /// TTL of node answers; 0.
    #[serde(deserialize_with = "go_duration")]
    pub node_ttl: Duration,
    /// TTL of service answers by service name; a trailing `*` stands for any ending.
    #[serde(deserialize_with = "duration_map")]
    pub service_ttl: BTreeMap<String, Duration>,
    /// Leave instances with warning checks out; false.
    pub only_passing: bool,
    /// Most answers of a plain UDP reply, 0 to 8 (more counts as 8); 3.
    pub udp_answer_limit: i64,
    /// Most address records of a reply, 0 for no limit; 0.
    pub a_record_limit: i64,
    /// Set TC on shortened replies; false.
    pub enable_truncate: bool,
    /// No name compression; false.
    pub disable_compression: bool,
    /// How long a recursor may take; 2s.
    #[serde(deserialize_with = "go_duration")]
    pub recursor_timeout: Duration,
    /// `sequential` or `random` choice of the recursor; sequential.
    pub recursor_strategy: String,
    /// Node metadata as TXT in the additional section; true.
    pub enable_additional_node_meta_txt: bool,
    /// Serve DNS over HTTPS, as `/dns-query` of the HTTP API; false.
    pub enable_doh: bool,
    /// Numbers of the SOA record.
    pub soa: Soa,
    /// Answer from the agent's cache; false.
    pub use_cache: bool,
    /// Oldest cached answer that is used, 0 for any; 0.
    #[serde(deserialize_with = "go_duration")]
    pub cache_max_age: Duration,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            allow_stale: true,
            max_stale: Duration::from_secs(87600 * 3600),
            node_ttl: Duration::ZERO,
            service_ttl: BTreeMap::new(),
            only_passing: false,
            udp_answer_limit: 3,
            a_record_limit: 0,
            enable_truncate: false,
            disable_compression: false,
            recursor_timeout: Duration::from_secs(2),
            recursor_strategy: "sequential".to_owned(),
            enable_additional_node_meta_txt: true,
            enable_doh: false,
            soa: Soa::default(),
            use_cache: false,
            cache_max_age: Duration::ZERO,
        }
    }
}

/// `dns_config.soa`, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Soa {
    /// 3600.
    pub refresh: u32,
    /// 600.
    pub retry: u32,
    /// 86400.
    pub expire: u32,
    /// 0.
    pub min_ttl: u32,
}

impl Default for Soa {
    fn default() -> Self {
        Self { refresh: 3600, retry: 600, expire: 86400, min_ttl: 0 }
    }
}

/// `http_config`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Path prefixes answered with 403.
    pub block_endpoints: Vec<String>,
    /// Networks writes of this agent's own endpoints may come from; empty for all.
    pub allow_write_http_from: Vec<Cidr>,
    /// Headers put on every answer.
    pub response_headers: BTreeMap<String, String>,
    /// `?cached` is honoured; true.
    pub use_cache: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            block_endpoints: Vec::new(),
            allow_write_http_from: Vec::new(),
            response_headers: BTreeMap::new(),
            use_cache: true,
        }
    }
}

/// `performance`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Performance {
    /// Factor of the Raft timeouts, 1 to 10: raising it tolerates slower machines and networks, lowering it
    /// finds a dead leader sooner; 5, 1 in development mode.
    pub raft_multiplier: i64,
    /// How long a leaving server still answers; 5s.
    #[serde(deserialize_with = "go_duration")]
    pub leave_drain_time: Duration,
    /// How long a request waits for a leader before it fails; 7s.
    #[serde(deserialize_with = "go_duration")]
    pub rpc_hold_timeout: Duration,
}

impl Default for Performance {
    fn default() -> Self {
        Self {
            raft_multiplier: 5,
            leave_drain_time: Duration::from_secs(5),
            rpc_hold_timeout: Duration::from_secs(7),
        }
    }
}

/// `limits`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// HTTP connections per client address, 0 or below for no limit; 200. Live.
    pub http_max_conns_per_client: i64,
    /// How long a TLS handshake of the API may take; 5s.
    #[serde(deserialize_with = "go_duration")]
    pub https_handshake_timeout: Duration,
    /// How long a handshake of server RPC may take; 5s.
    #[serde(deserialize_with = "go_duration")]
    pub rpc_handshake_timeout: Duration,
    /// RPC connections per client address, 0 or below for no limit; 100. Live.
    pub rpc_max_conns_per_client: i64,
    /// RPC requests per second this agent may send to servers, below 0 for no limit; -1. Live.
    pub rpc_rate: f64,
    /// Burst above `rpc_rate`; 1000. Live.
    pub rpc_max_burst: i64,
    /// Largest value of a key in bytes; 524288.
    pub kv_max_value_size: u64,
    /// Largest transaction in bytes; 524288.
    pub txn_max_req_len: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            http_max_conns_per_client: 200,
            https_handshake_timeout: Duration::from_secs(5),
            rpc_handshake_timeout: Duration::from_secs(5),
            rpc_max_conns_per_client: 100,
            rpc_rate: -1.0,
            rpc_max_burst: 1000,
            kv_max_value_size: 512 * 1024,
            txn_max_req_len: 512 * 1024,
        }
    }
}
