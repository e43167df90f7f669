//! The layered sources as one typed value: every key where it stands, nothing derived yet.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::groups::{
    Acl, AutoConfig, AutoEncrypt, Autopilot, Cache, Connect, DnsConfig, Gossip, Http, Limits, Performance,
    Ports, Telemetry, UnixSockets, go_duration, optional_duration,
};
use crate::cidr::Cidr;
use crate::definition::Secret;
use crate::definition::{CheckDefinition, ServiceDefinition, WatchDefinition};

/// What the sources say together. Keys whose absence matters are optional; what the others default to is
/// in `Default` and documented at [`super::resolved::Settings`].
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "a file has that many switches")]
#[expect(clippy::struct_field_names, reason = "the names are those of the keys")]
pub(crate) struct File {
    pub(crate) acl: Acl,
    pub(crate) acl_datacenter: Option<String>,
    pub(crate) addresses: Addresses,
    pub(crate) advertise_addr: Option<String>,
    pub(crate) advertise_addr_ipv4: Option<String>,
    pub(crate) advertise_addr_ipv6: Option<String>,
    pub(crate) advertise_addr_wan: Option<String>,
    pub(crate) advertise_addr_wan_ipv4: Option<String>,
    pub(crate) advertise_addr_wan_ipv6: Option<String>,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) ae_interval: Duration,
    pub(crate) alt_domain: String,
    pub(crate) auto_config: AutoConfig,
    pub(crate) auto_encrypt: AutoEncrypt,
    pub(crate) autopilot: Autopilot,
    pub(crate) bind_addr: String,
    pub(crate) bootstrap: bool,
    pub(crate) bootstrap_expect: i64,
    pub(crate) cache: Cache,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) check_deregister_interval_min: Duration,
    pub(crate) check_output_max_size: i64,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) check_reap_interval: Duration,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) check_update_interval: Duration,
    pub(crate) checks: Vec<CheckDefinition>,
    pub(crate) client_addr: String,
    pub(crate) config_entries: ConfigEntries,
    pub(crate) connect: Connect,
    pub(crate) consul: Internals,
    pub(crate) data_dir: Option<String>,
    pub(crate) datacenter: String,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) default_query_time: Duration,
    pub(crate) disable_anonymous_signature: bool,
    pub(crate) disable_coordinates: bool,
    pub(crate) disable_host_node_id: bool,
    pub(crate) disable_http_unprintable_char_filter: bool,
    pub(crate) disable_keyring_file: bool,
    pub(crate) disable_remote_exec: bool,
    pub(crate) disable_update_check: bool,
    pub(crate) discard_check_output: bool,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) discovery_max_stale: Duration,
    pub(crate) dns_config: DnsConfig,
    pub(crate) domain: String,
    pub(crate) enable_agent_tls_for_checks: bool,
    pub(crate) enable_central_service_config: bool,
    pub(crate) enable_debug: bool,
    pub(crate) enable_local_script_checks: Option<bool>,
    pub(crate) enable_script_checks: bool,
    pub(crate) enable_syslog: bool,
    pub(crate) encrypt: Secret,
    pub(crate) encrypt_verify_incoming: bool,
    pub(crate) encrypt_verify_outgoing: bool,
    pub(crate) gossip_lan: Gossip,
    pub(crate) gossip_wan: Gossip,
    pub(crate) http_config: Http,
    pub(crate) leave_on_terminate: Option<bool>,
    pub(crate) limits: Limits,
    pub(crate) log_file: String,
    pub(crate) log_json: bool,
    pub(crate) log_level: String,
    pub(crate) log_rotate_bytes: i64,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) log_rotate_duration: Duration,
    pub(crate) log_rotate_max_files: i64,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) max_query_time: Duration,
    pub(crate) node_id: String,
    pub(crate) node_meta: BTreeMap<String, String>,
    pub(crate) node_name: String,
    pub(crate) performance: Performance,
    pub(crate) pid_file: String,
    pub(crate) ports: Ports,
    pub(crate) primary_datacenter: String,
    pub(crate) primary_gateways: Vec<String>,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) primary_gateways_interval: Duration,
    pub(crate) protocol: i64,
    pub(crate) raft_protocol: i64,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) raft_snapshot_interval: Duration,
    pub(crate) raft_snapshot_threshold: i64,
    pub(crate) raft_trailing_logs: i64,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) reconnect_timeout: Duration,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) reconnect_timeout_wan: Duration,
    pub(crate) recursors: Vec<String>,
    pub(crate) rejoin_after_leave: bool,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) retry_interval: Duration,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) retry_interval_wan: Duration,
    pub(crate) retry_join: Vec<String>,
    pub(crate) retry_join_wan: Vec<String>,
    pub(crate) retry_max: i64,
    pub(crate) retry_max_wan: i64,
    pub(crate) serf_lan: Option<String>,
    pub(crate) serf_lan_allowed_cidrs: Vec<Cidr>,
    pub(crate) serf_wan: Option<String>,
    pub(crate) serf_wan_allowed_cidrs: Vec<Cidr>,
    pub(crate) server: bool,
    pub(crate) server_name: String,
    pub(crate) services: Vec<ServiceDefinition>,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) session_ttl_min: Duration,
    pub(crate) skip_leave_on_interrupt: Option<bool>,
    pub(crate) start_join: Vec<String>,
    pub(crate) start_join_wan: Vec<String>,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) sync_coordinate_interval_min: Duration,
    pub(crate) sync_coordinate_rate_target: f64,
    pub(crate) syslog_facility: String,
    pub(crate) tagged_addresses: BTreeMap<String, String>,
    pub(crate) telemetry: Telemetry,
    pub(crate) tls: TlsFile,
    pub(crate) tls_prefer_server_cipher_suites: bool,
    pub(crate) translate_wan_addrs: bool,
    pub(crate) ui: bool,
    pub(crate) ui_config: Emptied,
    pub(crate) ui_content_path: String,
    pub(crate) ui_dir: Option<String>,
    pub(crate) unix_sockets: UnixSockets,
    pub(crate) verify_incoming_https: bool,
    pub(crate) verify_incoming_rpc: bool,
    pub(crate) watches: Vec<WatchDefinition>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            acl: Acl::default(),
            acl_datacenter: None,
            addresses: Addresses::default(),
            advertise_addr: None,
            advertise_addr_ipv4: None,
            advertise_addr_ipv6: None,
            advertise_addr_wan: None,
            advertise_addr_wan_ipv4: None,
            advertise_addr_wan_ipv6: None,
            ae_interval: minutes(1),
            alt_domain: String::new(),
            auto_config: AutoConfig::default(),
            auto_encrypt: AutoEncrypt::default(),
            autopilot: Autopilot::default(),
            bind_addr: "0.0.0.0".to_owned(),
            bootstrap: false,
            bootstrap_expect: 0,
            cache: Cache::default(),
            check_deregister_interval_min: minutes(1),
            check_output_max_size: 4096,
            check_reap_interval: seconds(30),
            check_update_interval: minutes(5),
            checks: Vec::new(),
            client_addr: "127.0.0.1".to_owned(),
            config_entries: ConfigEntries::default(),
            connect: Connect::default(),
            consul: Internals::default(),
            data_dir: None,
            datacenter: "dc1".to_owned(),
            default_query_time: minutes(5),
            disable_anonymous_signature: false,
            disable_coordinates: false,
            disable_host_node_id: true,
            disable_http_unprintable_char_filter: false,
            disable_keyring_file: false,
            disable_remote_exec: true,
            disable_update_check: false,
            discard_check_output: false,
            discovery_max_stale: Duration::ZERO,
            dns_config: DnsConfig::default(),
            domain: "consul.".to_owned(),
            enable_agent_tls_for_checks: false,
            enable_central_service_config: false,
            enable_debug: false,
            enable_local_script_checks: None,
            enable_script_checks: false,
            enable_syslog: false,
            encrypt: Secret::default(),
            encrypt_verify_incoming: true,
            encrypt_verify_outgoing: true,
            gossip_lan: Gossip::default(),
            gossip_wan: Gossip::default(),
            http_config: Http::default(),
            leave_on_terminate: None,
            limits: Limits::default(),
            log_file: String::new(),
            log_json: false,
            log_level: "INFO".to_owned(),
            log_rotate_bytes: 0,
            log_rotate_duration: minutes(24 * 60),
            log_rotate_max_files: 0,
            max_query_time: minutes(10),
            node_id: String::new(),
            node_meta: BTreeMap::new(),
            node_name: String::new(),
            performance: Performance::default(),
            pid_file: String::new(),
            ports: Ports::default(),
            primary_datacenter: String::new(),
            primary_gateways: Vec::new(),
            primary_gateways_interval: seconds(30),
            protocol: 2,
            raft_protocol: 3,
            raft_snapshot_interval: seconds(30),
            raft_snapshot_threshold: 16384,
            raft_trailing_logs: 10240,
            reconnect_timeout: minutes(72 * 60),
            reconnect_timeout_wan: minutes(72 * 60),
            recursors: Vec::new(),
            rejoin_after_leave: false,
            retry_interval: seconds(30),
            retry_interval_wan: seconds(30),
            retry_join: Vec::new(),
            retry_join_wan: Vec::new(),
            retry_max: 0,
            retry_max_wan: 0,
            serf_lan: None,
            serf_lan_allowed_cidrs: Vec::new(),
            serf_wan: None,
            serf_wan_allowed_cidrs: Vec::new(),
            server: false,
            server_name: String::new(),
            services: Vec::new(),
            session_ttl_min: seconds(10),
            skip_leave_on_interrupt: None,
            start_join: Vec::new(),
            start_join_wan: Vec::new(),
            sync_coordinate_interval_min: seconds(15),
            sync_coordinate_rate_target: 64.0,
            syslog_facility: "LOCAL0".to_owned(),
            tagged_addresses: BTreeMap::new(),
            telemetry: Telemetry::default(),
            tls: TlsFile::default(),
            tls_prefer_server_cipher_suites: false,
            translate_wan_addrs: false,
            ui: false,
            ui_config: Emptied {},
            ui_content_path: "/ui/".to_owned(),
            ui_dir: None,
            unix_sockets: UnixSockets::default(),
            verify_incoming_https: false,
            verify_incoming_rpc: false,
            watches: Vec::new(),
        }
    }
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// `addresses`, unexpanded.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Addresses {
    pub(crate) dns: Option<String>,
    pub(crate) grpc: Option<String>,
    pub(crate) http: Option<String>,
    pub(crate) https: Option<String>,
}

/// `config_entries`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ConfigEntries {
    pub(crate) bootstrap: Vec<serde_json::Value>,
}

/// An object whose keys have all moved elsewhere.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Emptied {}

/// `consul`: timings nobody needs to touch, set by `-dev`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Internals {
    pub(crate) coordinate: Coordinates,
    pub(crate) raft: RaftTimings,
    pub(crate) server: ServerInternals,
}

/// `consul.coordinate`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names are those of the keys")]
pub(crate) struct Coordinates {
    pub(crate) update_batch_size: u64,
    pub(crate) update_max_batches: u64,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) update_period: Duration,
}

impl Default for Coordinates {
    fn default() -> Self {
        Self { update_batch_size: 128, update_max_batches: 5, update_period: seconds(5) }
    }
}

/// `consul.raft`: each is multiplied by `performance.raft_multiplier`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names are those of the keys")]
pub(crate) struct RaftTimings {
    #[serde(deserialize_with = "go_duration")]
    pub(crate) election_timeout: Duration,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) heartbeat_timeout: Duration,
    #[serde(deserialize_with = "go_duration")]
    pub(crate) leader_lease_timeout: Duration,
}

impl Default for RaftTimings {
    fn default() -> Self {
        Self {
            election_timeout: seconds(1),
            heartbeat_timeout: seconds(1),
            leader_lease_timeout: Duration::from_millis(500),
        }
    }
}

/// `consul.server`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServerInternals {
    #[serde(deserialize_with = "optional_duration")]
    pub(crate) health_interval: Option<Duration>,
}

/// `tls`, and the older keys that mean the same.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TlsFile {
    pub(crate) defaults: TlsListenerFile,
    pub(crate) grpc: TlsListenerFile,
    pub(crate) https: TlsListenerFile,
    pub(crate) internal_rpc: TlsListenerFile,
}

/// One listener's part of `tls`; what is absent is taken from `defaults`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TlsListenerFile {
    pub(crate) ca_file: Option<String>,
    pub(crate) ca_path: Option<String>,
    pub(crate) cert_file: Option<String>,
    pub(crate) key_file: Option<String>,
    pub(crate) tls_cipher_suites: Option<String>,
    pub(crate) tls_min_version: Option<String>,
    pub(crate) verify_incoming: Option<bool>,
    pub(crate) verify_outgoing: Option<bool>,
    pub(crate) verify_server_hostname: Option<bool>,
}
