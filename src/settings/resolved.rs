//! The settings of an agent: typed, validated, everything derived.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::groups::{
    Acl, AutoConfig, AutoEncrypt, Autopilot, Cache, Connect, DnsConfig, Gossip, Http, Limits, Performance,
    Ports, Telemetry, UnixSockets,
};
use super::net::Listener;
use crate::cidr::Cidr;
use crate::definition::Secret;
use crate::definition::{CheckDefinition, ServiceDefinition, WatchDefinition};

/// Everything an agent is told before it starts. Each field names its key and Consul's default.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "an agent has that many switches")]
pub struct Settings {
    /// `-dev`: state in memory only, leader at once.
    pub dev_mode: bool,
    /// `server`; false.
    pub server: bool,
    /// `bootstrap`: this server elects itself; false. Also set by `bootstrap_expect = 1`.
    pub bootstrap: bool,
    /// `bootstrap_expect`: elect a leader once so many servers are there; 0 for not at all.
    pub bootstrap_expect: u32,
    /// `datacenter`, in lower case; dc1.
    pub datacenter: String,
    /// `primary_datacenter`, in lower case; with access control on the own datacenter, else empty.
    pub primary_datacenter: String,
    /// `node_name`; the host name.
    pub node_name: String,
    /// `node_id`: a UUID in lower case; none means that of the data directory, or a new one.
    pub node_id: Option<String>,
    /// `node_meta`. Live.
    pub node_meta: BTreeMap<String, String>,
    /// `disable_host_node_id`: a new node id is random, not made from the machine's; true.
    pub disable_host_node_id: bool,
    /// `data_dir`; none only in development mode.
    pub data_dir: Option<PathBuf>,
    /// `pid_file`.
    pub pid_file: Option<PathBuf>,

    /// Where the agent listens and is reached.
    pub network: Network,
    /// `ports`.
    pub ports: Ports,
    /// `translate_wan_addrs`: other datacenters are shown WAN addresses; false.
    pub translate_wan_addrs: bool,
    /// `unix_sockets`.
    pub unix_sockets: UnixSockets,

    /// `domain`, in lower case with the final dot; `consul.`.
    pub domain: String,
    /// `alt_domain`, in lower case with the final dot.
    pub alt_domain: Option<String>,
    /// `recursors`, with templates expanded. Live.
    pub recursors: Vec<String>,
    /// `dns_config`. Live.
    pub dns: DnsConfig,
    /// `http_config`.
    pub http: Http,
    /// The web UI.
    pub ui: Ui,
    /// `enable_debug`: profiling endpoints; false.
    pub enable_debug: bool,

    /// Finding and keeping other agents.
    pub join: Join,
    /// `leave_on_terminate`: leave on SIGTERM; true on clients, false on servers.
    pub leave_on_terminate: bool,
    /// `skip_leave_on_interrupt`: do not leave on SIGINT; true on servers, false on clients.
    pub skip_leave_on_interrupt: bool,
    /// `gossip_lan`.
    pub gossip_lan: Gossip,
    /// `gossip_wan`.
    pub gossip_wan: Gossip,
    /// Encryption of gossip.
    pub encryption: Encryption,

    /// Logging.
    pub log: Log,
    /// `telemetry`.
    pub telemetry: Telemetry,

    /// How checks run.
    pub check_rules: CheckRules,
    /// `services`. Live.
    pub services: Vec<ServiceDefinition>,
    /// `checks` of the node, or of services by id. Live.
    pub checks: Vec<CheckDefinition>,
    /// `watches`. Live.
    pub watches: Vec<WatchDefinition>,
    /// `config_entries.bootstrap`, as given. Live.
    pub config_entries: Vec<serde_json::Value>,

    /// `default_query_time`: wait of a blocking query that does not say; 300s.
    pub default_query_time: Duration,
    /// `max_query_time`: longest wait of a blocking query; 600s.
    pub max_query_time: Duration,
    /// `discovery_max_stale`: oldest answer of a stale read of the discovery endpoints, 0 for not stale; 0.
    pub discovery_max_stale: Duration,
    /// `session_ttl_min`: smallest session TTL; 10s.
    pub session_ttl_min: Duration,

    /// Raft.
    pub raft: Raft,
    /// `protocol`: spoken by default; 2.
    pub protocol: u8,
    /// `performance`.
    pub performance: Performance,
    /// `limits`.
    pub limits: Limits,
    /// `autopilot`.
    pub autopilot: Autopilot,
    /// `acl`.
    pub acl: Acl,
    /// `connect`.
    pub connect: Connect,
    /// `auto_encrypt`.
    pub auto_encrypt: AutoEncrypt,
    /// `auto_config`.
    pub auto_config: AutoConfig,
    /// `tls` and the older keys that mean the same. Live: files are read again.
    pub tls: Tls,
    /// `cache`. Live.
    pub cache: Cache,
    /// Network coordinates.
    pub coordinates: Coordinates,

    /// `ae_interval`: pause between two full syncs with the catalog; 1m.
    pub ae_interval: Duration,
    /// `primary_gateways`: mesh gateways of the primary datacenter.
    pub primary_gateways: Vec<String>,
    /// `primary_gateways_interval`; 30s.
    pub primary_gateways_interval: Duration,
    /// `enable_central_service_config`: service defaults are merged into registrations; false.
    pub enable_central_service_config: bool,
    /// `disable_remote_exec`; true.
    pub disable_remote_exec: bool,
    /// `disable_update_check`; false. Nothing is asked either way.
    pub disable_update_check: bool,
    /// `disable_anonymous_signature`; false. Nothing is sent either way.
    pub disable_anonymous_signature: bool,
    /// `disable_http_unprintable_char_filter`: keys may hold unprintable characters in paths; false.
    pub disable_http_unprintable_char_filter: bool,
}

/// Where the agent listens and is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// `bind_addr`: for gossip and server RPC; `0.0.0.0`.
    pub bind: IpAddr,
    /// `advertise_addr`: told to the cluster; `bind_addr`, or the only private IPv4 (public IPv6) address when
    /// that is `0.0.0.0` (`::`).
    pub advertise_lan: IpAddr,
    /// `advertise_addr_wan`: told to other datacenters; as on the LAN.
    pub advertise_wan: IpAddr,
    /// Server RPC: bind address.
    pub rpc_bind: SocketAddr,
    /// Server RPC: advertised address.
    pub rpc_advertise: SocketAddr,
    /// LAN gossip: bind address (`serf_lan`).
    pub serf_lan_bind: SocketAddr,
    /// LAN gossip: advertised address.
    pub serf_lan_advertise: SocketAddr,
    /// WAN gossip: bind address (`serf_wan`) and advertised address; none with the port off.
    pub serf_wan: Option<(SocketAddr, SocketAddr)>,
    /// `serf_lan_allowed_cidrs`: where members may come from; empty for anywhere.
    pub serf_lan_allowed_cidrs: Vec<Cidr>,
    /// `serf_wan_allowed_cidrs`.
    pub serf_wan_allowed_cidrs: Vec<Cidr>,
    /// `client_addr`: default of the four below; `127.0.0.1`.
    pub client: Vec<IpAddr>,
    /// `addresses.dns`; empty when off.
    pub dns: Vec<SocketAddr>,
    /// Addresses of DNS over TLS: those of DNS with `ports.dns_tls`; empty when off.
    pub dns_tls: Vec<SocketAddr>,
    /// `addresses.http`; empty when off.
    pub http: Vec<Listener>,
    /// `addresses.https`; empty when off.
    pub https: Vec<Listener>,
    /// `addresses.grpc`; empty when off.
    pub grpc: Vec<Listener>,
    /// `tagged_addresses`, with `lan`, `wan` and their `_ipv4` and `_ipv6` forms filled in.
    pub tagged_addresses: BTreeMap<String, String>,
}

/// The web UI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ui {
    /// `ui`: the built-in one; false.
    pub enabled: bool,
    /// `ui_dir`: files of another one, which then is served instead.
    pub dir: Option<PathBuf>,
    /// `ui_content_path`, with slashes at both ends; `/ui/`.
    pub content_path: String,
}

/// Finding and keeping other agents; templates are expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// `start_join`: the start fails when none can be reached.
    pub start_join: Vec<String>,
    /// `start_join_wan`.
    pub start_join_wan: Vec<String>,
    /// `retry_join`: tried until one can be reached.
    pub retry_join: Vec<String>,
    /// `retry_interval`; 30s.
    pub retry_interval: Duration,
    /// `retry_max`: attempts before the agent gives up and ends, 0 for no end; 0.
    pub retry_max: u32,
    /// `retry_join_wan`.
    pub retry_join_wan: Vec<String>,
    /// `retry_interval_wan`; 30s.
    pub retry_interval_wan: Duration,
    /// `retry_max_wan`; 0.
    pub retry_max_wan: u32,
    /// `rejoin_after_leave`: join the former members although the agent left; false.
    pub rejoin_after_leave: bool,
    /// `reconnect_timeout`: a failed member is forgotten after so long; 72h.
    pub reconnect_timeout: Duration,
    /// `reconnect_timeout_wan`; 72h.
    pub reconnect_timeout_wan: Duration,
}

/// Encryption of gossip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// `encrypt`: 16, 24 or 32 bytes in base64.
    pub key: Option<Secret>,
    /// `encrypt_verify_incoming`: refuse plain packets; true.
    pub verify_incoming: bool,
    /// `encrypt_verify_outgoing`: send no plain packets; true.
    pub verify_outgoing: bool,
    /// `disable_keyring_file`: keep the keyring in memory only; false.
    pub disable_keyring_file: bool,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything, per packet.
    Trace,
    /// Per request.
    Debug,
    /// Changes of state.
    Info,
    /// Something works worse than it should.
    Warn,
    /// The operator must act.
    Error,
}

impl LogLevel {
    /// Reads Consul's names, in any letter case; `ERR` is `ERROR`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "TRACE" => Self::Trace,
            "DEBUG" => Self::Debug,
            "INFO" => Self::Info,
            "WARN" => Self::Warn,
            "ERR" | "ERROR" => Self::Error,
            _ => return None,
        })
    }

    /// The name in a log line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `log_level`; INFO. Live.
    pub level: LogLevel,
    /// `log_json`: one JSON object a line; false.
    pub json: bool,
    /// `log_file`: a directory, or the beginning of file names; none logs to stdout alone.
    pub file: Option<PathBuf>,
    /// `log_rotate_bytes`: a new file after so many bytes, 0 for no limit; 0.
    pub rotate_bytes: u64,
    /// `log_rotate_duration`: a new file after so long; 24h.
    pub rotate_duration: Duration,
    /// `log_rotate_max_files`: old files kept, 0 for all, below 0 for none; 0.
    pub rotate_max_files: i64,
    /// `enable_syslog`; false.
    pub syslog: bool,
    /// `syslog_facility`; LOCAL0.
    pub syslog_facility: String,
}

/// How checks run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct CheckRules {
    /// `enable_script_checks`: scripts registered over HTTP may run; false.
    pub enable_remote_scripts: bool,
    /// `enable_local_script_checks`: scripts from files may run; as the former.
    pub enable_local_scripts: bool,
    /// `check_update_interval`: changes of output alone reach the catalog after so long; 5m.
    pub update_interval: Duration,
    /// `check_output_max_size`: bytes of output kept; 4096.
    pub output_max_size: u64,
    /// `discard_check_output`: keep no output; false. Live.
    pub discard_output: bool,
    /// `enable_agent_tls_for_checks`: checks use the agent's certificates; false.
    pub agent_tls: bool,
    /// `check_deregister_interval_min`: smallest `deregister_critical_service_after`; 1m.
    pub deregister_interval_min: Duration,
    /// `check_reap_interval`: between two looks for services to deregister; 30s.
    pub reap_interval: Duration,
}

/// Raft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raft {
    /// `raft_protocol`; 3.
    pub protocol: u8,
    /// A follower that has not heard the leader for so long stands for election:
    /// 1s times `performance.raft_multiplier`.
    pub heartbeat_timeout: Duration,
    /// A candidate that has not won for so long tries again; likewise.
    pub election_timeout: Duration,
    /// A leader that has not heard a quorum for so long steps down: 500ms times the multiplier.
    pub leader_lease_timeout: Duration,
    /// `raft_snapshot_threshold`: entries between two snapshots; 16384.
    pub snapshot_threshold: u64,
    /// `raft_snapshot_interval`: between two looks whether to make one; 30s.
    pub snapshot_interval: Duration,
    /// `raft_trailing_logs`: entries kept behind a snapshot; 10240.
    pub trailing_logs: u64,
    /// Pause between two runs of autopilot's health checks; 2s.
    pub health_interval: Duration,
}

/// Network coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Coordinates {
    /// `disable_coordinates`; false.
    pub disabled: bool,
    /// Updates of all agents together per second; 64.
    pub rate_target: f64,
    /// Shortest pause between two updates of an agent; 15s.
    pub interval_min: Duration,
    /// Servers write updates after so long; 5s, 100ms in development mode.
    pub update_period: Duration,
    /// Updates in one write; 128.
    pub update_batch_size: u64,
    /// Writes in one period; 5.
    pub update_max_batches: u64,
}

/// Oldest TLS version spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.0
    Tls10,
    /// 1.1
    Tls11,
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

impl TlsVersion {
    /// Reads `tls12` and `TLSv1_2`; empty means 1.2.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "tls10" | "TLSv1_0" => Self::Tls10,
            "tls11" | "TLSv1_1" => Self::Tls11,
            "" | "TLS_AUTO" | "tls12" | "TLSv1_2" => Self::Tls12,
            "tls13" | "TLSv1_3" => Self::Tls13,
            _ => return None,
        })
    }
}

/// TLS by interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Server RPC.
    pub internal_rpc: TlsEnd,
    /// HTTPS API.
    pub https: TlsEnd,
    /// gRPC.
    pub grpc: TlsEnd,
    /// `verify_server_hostname`: servers must show a certificate of their own kind and datacenter; false.
    pub verify_server_hostname: bool,
    /// `server_name`: for certificates; the node name if empty.
    pub server_name: String,
    /// `tls_prefer_server_cipher_suites`; false. Without meaning since TLS 1.3.
    pub prefer_server_cipher_suites: bool,
}

/// TLS of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsEnd {
    /// `ca_file`.
    pub ca_file: Option<PathBuf>,
    /// `ca_path`.
    pub ca_path: Option<PathBuf>,
    /// `cert_file`.
    pub cert_file: Option<PathBuf>,
    /// `key_file`.
    pub key_file: Option<PathBuf>,
    /// `tls_cipher_suites`, in Go's names; empty for the usual ones.
    pub cipher_suites: Vec<String>,
    /// `tls_min_version`; tls12.
    pub min_version: TlsVersion,
    /// `verify_incoming`: the other side must show a certificate; false.
    pub verify_incoming: bool,
    /// `verify_outgoing`: speak TLS and check the other side; false.
    pub verify_outgoing: bool,
}
