//! Every key a configuration may hold, with the type of its value: what files are checked against.
//!
//! The names are those of Consul 1.8.7, plus those that newer versions gave to the same things, which are
//! moved to the older place. Which value a key means when it is absent is not said here but by the
//! `Default` of the type that holds it ([`super::file`], [`super::groups`]).

mod definitions;
mod objects;

/// A type of values.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number; a fraction is cut off.
    Int,
    /// A whole number of at least 0.
    Uint,
    /// A port; 0 and below mean "off".
    Port,
    /// A number.
    Float,
    /// A string.
    Text,
    /// A string in Go's duration syntax, not negative.
    Duration,
    /// A string holding a network such as `10.0.0.0/8`.
    Cidr,
    /// A list.
    List(&'static Kind),
    /// A string or a list of strings.
    TextOrTexts,
    /// An object whose keys are free.
    Map(&'static Kind),
    /// An object of known keys.
    Object(&'static Group),
    /// Any object, kept as it is.
    Free,
}

/// The keys of an object.
#[derive(Debug)]
pub(crate) struct Group {
    /// The keys; order is that of the documentation.
    pub(crate) keys: &'static [Key],
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    /// It is read.
    Read,
    /// It is another name of the key with this full path, which wins if both are given in a file.
    Moved(&'static str),
    /// It is another spelling of this key of the same object, which wins if both are given.
    Alias(&'static str),
    /// It belongs to Consul Enterprise: a warning, no effect.
    Enterprise,
    /// It is taken without effect, with a warning that ends in this text.
    NoEffect(&'static str),
    /// It is refused with this text.
    Refused(&'static str),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// Name in lower case.
    pub(crate) name: &'static str,
    /// Type of the value.
    pub(crate) kind: Kind,
    /// What becomes of it.
    pub(crate) fate: Fate,
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, fate: Fate::Read }
}

impl Key {
    const fn moved(self, to: &'static str) -> Self {
        Self { fate: Fate::Moved(to), ..self }
    }

    const fn alias(self, of: &'static str) -> Self {
        Self { fate: Fate::Alias(of), ..self }
    }

    const fn enterprise(self) -> Self {
        Self { fate: Fate::Enterprise, ..self }
    }

    const fn no_effect(self, why: &'static str) -> Self {
        Self { fate: Fate::NoEffect(why), ..self }
    }

    const fn refused(self, why: &'static str) -> Self {
        Self { fate: Fate::Refused(why), ..self }
    }
}

use Kind::{Bool, Cidr, Duration, Float, Free, Int, List, Map, Object, Text};
use definitions::{CHECK, SERVICE, WATCH};
use objects::{
    ACL, ADDRESSES, AUTO_CONFIG, AUTO_ENCRYPT, AUTOPILOT, CACHE, CONFIG_ENTRIES, CONNECT, CONSUL, DNS,
    GOSSIP, HTTP, LIMITS, LOCALITY, PEERING, PERFORMANCE, PORTS, RPC, TELEMETRY, TLS, UI_CONFIG,
    UNIX_SOCKETS,
};

const TEXTS: Kind = List(&Text);
const DEPRECATED: &str = "is deprecated and should be removed";
const NOT_HERE: &str = "is accepted but has no effect";

/// The top level.
pub(crate) static ROOT: Group = Group {
    keys: &[
        key("acl", Object(&ACL)),
        key("acl_agent_master_token", Text).moved("acl.tokens.agent_master"),
        key("acl_agent_token", Text).moved("acl.tokens.agent"),
        key("acl_datacenter", Text),
        key("acl_default_policy", Text).moved("acl.default_policy"),
        key("acl_disabled_ttl", Duration).moved("acl.disabled_ttl"),
        key("acl_down_policy", Text).moved("acl.down_policy"),
        key("acl_enable_key_list_policy", Bool).moved("acl.enable_key_list_policy"),
        key("acl_enforce_version_8", Bool).no_effect(DEPRECATED),
        key("acl_master_token", Text).moved("acl.tokens.master"),
        key("acl_replication_token", Text).moved("acl.tokens.replication"),
        key("acl_token", Text).moved("acl.tokens.default"),
        key("acl_ttl", Duration).moved("acl.token_ttl"),
        key("addresses", Object(&ADDRESSES)),
        key("advertise_addr", Text),
        key("advertise_addr_ipv4", Text),
        key("advertise_addr_ipv6", Text),
        key("advertise_addr_wan", Text),
        key("advertise_addr_wan_ipv4", Text),
        key("advertise_addr_wan_ipv6", Text),
        key("advertise_reconnect_timeout", Duration).no_effect(NOT_HERE),
        key("ae_interval", Duration),
        key("alt_domain", Text),
        key("audit", Free).enterprise(),
        key("auto_config", Object(&AUTO_CONFIG)),
        key("auto_encrypt", Object(&AUTO_ENCRYPT)),
        key("auto_reload_config", Bool).no_effect(NOT_HERE),
        key("autopilot", Object(&AUTOPILOT)),
        key("bind_addr", Text),
        key("bootstrap", Bool),
        key("bootstrap_expect", Int),
        key("ca_file", Text).moved("tls.defaults.ca_file"),
        key("ca_path", Text).moved("tls.defaults.ca_path"),
        key("cache", Object(&CACHE)),
        key("cert_file", Text).moved("tls.defaults.cert_file"),
        key("check", Object(&CHECK)),
        key("check_deregister_interval_min", Duration),
        key("check_output_max_size", Int),
        key("check_reap_interval", Duration),
        key("check_update_interval", Duration),
        key("checks", List(&Object(&CHECK))),
        key("client_addr", Text),
        key("config_entries", Object(&CONFIG_ENTRIES)),
        key("connect", Object(&CONNECT)),
        key("consul", Object(&CONSUL)),
        key("data_dir", Text),
        key("datacenter", Text),
        key("default_query_time", Duration),
        key("disable_anonymous_signature", Bool),
        key("disable_coordinates", Bool),
        key("disable_host_node_id", Bool),
        key("disable_http_unprintable_char_filter", Bool),
        key("disable_keyring_file", Bool),
        key("disable_remote_exec", Bool),
        key("disable_update_check", Bool),
        key("discard_check_output", Bool),
        key("discovery_max_stale", Duration),
        key("dns_config", Object(&DNS)),
        key("domain", Text),
        key("enable_acl_replication", Bool).moved("acl.enable_token_replication"),
        key("enable_agent_tls_for_checks", Bool),
        key("enable_central_service_config", Bool),
        key("enable_debug", Bool),
        key("enable_local_script_checks", Bool),
        key("enable_script_checks", Bool),
        key("enable_syslog", Bool),
        key("encrypt", Text),
        key("encrypt_verify_incoming", Bool),
        key("encrypt_verify_outgoing", Bool),
        key("experiments", TEXTS).no_effect(NOT_HERE),
        key("gossip_lan", Object(&GOSSIP)),
        key("gossip_wan", Object(&GOSSIP)),
        key("http_config", Object(&HTTP)),
        key("key_file", Text).moved("tls.defaults.key_file"),
        key("leave_on_terminate", Bool),
        key("license_path", Text).enterprise(),
        key("limits", Object(&LIMITS)),
        key("locality", Object(&LOCALITY)).no_effect(NOT_HERE),
        key("log_file", Text),
        key("log_json", Bool),
        key("log_level", Text),
        key("log_rotate_bytes", Int),
        key("log_rotate_duration", Duration),
        key("log_rotate_max_files", Int),
        key("max_query_time", Duration),
        key("node_id", Text),
        key("node_meta", Map(&Text)),
        key("node_name", Text),
        key("non_voting_server", Bool).enterprise(),
        key("partition", Text).enterprise(),
        key("peering", Object(&PEERING)).no_effect(NOT_HERE),
        key("performance", Object(&PERFORMANCE)),
        key("pid_file", Text),
        key("ports", Object(&PORTS)),
        key("primary_datacenter", Text),
        key("primary_gateways", TEXTS),
        key("primary_gateways_interval", Duration),
        key("protocol", Int),
        key("raft_boltdb", Free).no_effect(NOT_HERE),
        key("raft_logstore", Free).no_effect(NOT_HERE),
        key("raft_protocol", Int),
        key("raft_snapshot_interval", Duration),
        key("raft_snapshot_threshold", Int),
        key("raft_trailing_logs", Int),
        key("read_replica", Bool).enterprise(),
        key("reconnect_timeout", Duration),
        key("reconnect_timeout_wan", Duration),
        key("recursors", TEXTS),
        key("rejoin_after_leave", Bool),
        key("reporting", Free).enterprise(),
        key("retry_interval", Duration),
        key("retry_interval_wan", Duration),
        key("retry_join", TEXTS),
        key("retry_join_wan", TEXTS),
        key("retry_max", Int),
        key("retry_max_wan", Int),
        key("revision", Text).no_effect(NOT_HERE),
        key("rpc", Object(&RPC)).no_effect(NOT_HERE),
        key("segment", Text).refused("Network segments are not supported in this version of Consul"),
        key("segments", List(&Free)).refused("Network segments are not supported in this version of Consul"),
        key("serf_lan", Text),
        key("serf_lan_allowed_cidrs", List(&Cidr)),
        key("serf_wan", Text),
        key("serf_wan_allowed_cidrs", List(&Cidr)),
        key("server", Bool),
        key("server_name", Text),
        key("service", Object(&SERVICE)),
        key("services", List(&Object(&SERVICE))),
        key("session_ttl_min", Duration),
        key("skip_leave_on_interrupt", Bool),
        key("snapshot_agent", Free).enterprise(),
        key("start_join", TEXTS),
        key("start_join_wan", TEXTS),
        key("sync_coordinate_interval_min", Duration),
        key("sync_coordinate_rate_target", Float),
        key("syslog_facility", Text),
        key("tagged_addresses", Map(&Text)),
        key("telemetry", Object(&TELEMETRY)),
        key("tls", Object(&TLS)),
        key("tls_cipher_suites", Text).moved("tls.defaults.tls_cipher_suites"),
        key("tls_min_version", Text).moved("tls.defaults.tls_min_version"),
        key("tls_prefer_server_cipher_suites", Bool),
        key("translate_wan_addrs", Bool),
        key("ui", Bool),
        key("ui_config", Object(&UI_CONFIG)),
        key("ui_content_path", Text),
        key("ui_dir", Text),
        key("unix_sockets", Object(&UNIX_SOCKETS)),
        key("use_streaming_backend", Bool).no_effect(NOT_HERE),
        key("verify_incoming", Bool).moved("tls.defaults.verify_incoming"),
        key("verify_incoming_https", Bool),
        key("verify_incoming_rpc", Bool),
        key("verify_outgoing", Bool).moved("tls.defaults.verify_outgoing"),
        key("verify_server_hostname", Bool).moved("tls.internal_rpc.verify_server_hostname"),
        key("version", Text).no_effect(NOT_HERE),
        key("version_prerelease", Text).no_effect(NOT_HERE),
        key("watches", List(&Object(&WATCH))),
        key("xds", Free).no_effect(NOT_HERE),
    ],
};
