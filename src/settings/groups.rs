//! The groups of settings that are read as they stand in the files: one type per object, with Consul's
//! defaults. What must be derived from several keys is in [`super::resolved`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::duration;
use super::net::Cidr;
use super::secret::Secret;

/// Reads a Go duration.
pub(crate) fn go_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration::parse_unsigned(&text).map_err(serde::de::Error::custom)
}

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

/// `gossip_lan` and `gossip_wan`. The defaults are those of the LAN; [`super::load`] lays the WAN's below
/// the files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gossip {
    /// Between two gossip rounds; LAN 200ms, WAN 500ms.
    #[serde(deserialize_with = "go_duration")]
    pub gossip_interval: Duration,
    /// Peers told in a round; 3.
    pub gossip_nodes: u32,
    /// Between two probes; LAN 1s, WAN 5s.
    #[serde(deserialize_with = "go_duration")]
    pub probe_interval: Duration,
    /// How long a probe may take; LAN 500ms, WAN 3s.
    #[serde(deserialize_with = "go_duration")]
    pub probe_timeout: Duration,
    /// Factor of the time a member stays suspect; LAN 4, WAN 6.
    pub suspicion_mult: u32,
    /// Factor of how often a message is sent on; 4.
    pub retransmit_mult: u32,
}

impl Default for Gossip {
    fn default() -> Self {
        Self {
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            suspicion_mult: 4,
            retransmit_mult: 4,
        }
    }
}

/// `autopilot`: what a new cluster starts with; later the replicated configuration counts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Autopilot {
    /// Remove dead servers once a new one joins; true.
    pub cleanup_dead_servers: bool,
    /// A server not heard for longer is unhealthy; 200ms.
    #[serde(deserialize_with = "go_duration")]
    pub last_contact_threshold: Duration,
    /// A server further behind is unhealthy; 250.
    pub max_trailing_logs: i64,
    /// Dead servers are kept rather than going below this many; 0.
    pub min_quorum: u64,
    /// How long a new server must be healthy before it votes; 10s.
    #[serde(deserialize_with = "go_duration")]
    pub server_stabilization_time: Duration,
}

impl Default for Autopilot {
    fn default() -> Self {
        Self {
            cleanup_dead_servers: true,
            last_contact_threshold: Duration::from_millis(200),
            max_trailing_logs: 250,
            min_quorum: 0,
            server_stabilization_time: Duration::from_secs(10),
        }
    }
}

/// `acl`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Acl {
    /// Access control is on; false.
    pub enabled: bool,
    /// `allow` or `deny`, where no rule speaks; allow.
    pub default_policy: String,
    /// `allow`, `deny`, `extend-cache` or `async-cache`, when the servers cannot be asked; extend-cache.
    pub down_policy: String,
    /// How long a policy is cached; 30s.
    #[serde(deserialize_with = "go_duration")]
    pub policy_ttl: Duration,
    /// How long a role is cached; 0.
    #[serde(deserialize_with = "go_duration")]
    pub role_ttl: Duration,
    /// How long a token is cached; 30s.
    #[serde(deserialize_with = "go_duration")]
    pub token_ttl: Duration,
    /// How long it is remembered that the servers have access control off; 120s.
    #[serde(deserialize_with = "go_duration")]
    pub disabled_ttl: Duration,
    /// The `list` rule of key policies is honoured; false.
    pub enable_key_list_policy: bool,
    /// Tokens are replicated from the primary datacenter; false.
    pub enable_token_replication: bool,
    /// Tokens set over HTTP are kept in the data directory; false.
    pub enable_token_persistence: bool,
    /// The agent's tokens. Live.
    pub tokens: AclTokens,
}

impl Default for Acl {
    fn default() -> Self {
        Self {
            enabled: false,
            default_policy: "allow".to_owned(),
            down_policy: "extend-cache".to_owned(),
            policy_ttl: Duration::from_secs(30),
            role_ttl: Duration::ZERO,
            token_ttl: Duration::from_secs(30),
            disabled_ttl: Duration::from_secs(120),
            enable_key_list_policy: false,
            enable_token_replication: false,
            enable_token_persistence: false,
            tokens: AclTokens::default(),
        }
    }
}

/// `acl.tokens`; empty means none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AclTokens {
    /// All rights; made by the servers if missing.
    pub master: Secret,
    /// Rights on this agent only, when the servers cannot be asked.
    pub agent_master: Secret,
    /// For requests without a token.
    pub default: Secret,
    /// For the agent's own writes.
    pub agent: Secret,
    /// For replication from the primary datacenter.
    pub replication: Secret,
}

/// `connect`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Connect {
    /// The mesh's certificate authority and intentions are on; false, true in development mode.
    pub enabled: bool,
    /// Provider of the certificate authority: `consul`, `vault` or `aws-pca`; consul.
    pub ca_provider: String,
    /// The provider's own settings.
    pub ca_config: Option<serde_json::Value>,
    /// Servers of several datacenters reach each other through mesh gateways; false.
    pub enable_mesh_gateway_wan_federation: bool,
}

impl Default for Connect {
    fn default() -> Self {
        Self {
            enabled: false,
            ca_provider: "consul".to_owned(),
            ca_config: None,
            enable_mesh_gateway_wan_federation: false,
        }
    }
}

/// `auto_encrypt`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoEncrypt {
    /// A client asks the servers for its certificate; false.
    pub tls: bool,
    /// A server hands certificates out; false.
    pub allow_tls: bool,
    /// More names for the certificate.
    pub dns_san: Vec<String>,
    /// More addresses for the certificate.
    pub ip_san: Vec<String>,
}

/// `auto_config`: read and kept; not acted on yet.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoConfig {
    /// A client asks the servers for its settings; false.
    pub enabled: bool,
    /// Token to introduce itself with.
    pub intro_token: Secret,
    /// File holding it.
    pub intro_token_file: String,
    /// Servers to ask.
    pub server_addresses: Vec<String>,
    /// More names for the certificate.
    pub dns_sans: Vec<String>,
    /// More addresses for the certificate.
    pub ip_sans: Vec<String>,
    /// How servers check introductions, as given.
    pub authorization: Option<serde_json::Value>,
}

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
    /// UDP address of a DogStatsD server.
    pub dogstatsd_addr: String,
    /// Tags for DogStatsD.
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
