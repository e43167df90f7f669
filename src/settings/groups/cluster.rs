//! Groups about the cluster: gossip, autopilot, access control, the mesh.

use std::time::Duration;

use serde::Deserialize;

use super::go_duration;
use crate::definition::Secret;

/// `gossip_lan` and `gossip_wan`. The defaults are those of the LAN; the loader lays the WAN's below
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
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
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
