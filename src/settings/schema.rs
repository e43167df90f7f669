//! Every key a configuration may hold, with the type of its value: what files are checked against.
//!
//! The names are those of Consul 1.8.7, plus those that newer versions gave to the same things, which are
//! moved to the older place. Which value a key means when it is absent is not said here but by the
//! `Default` of the type that holds it ([`super::file`], [`super::groups`]).

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

use Kind::{Bool, Cidr, Duration, Float, Free, Int, List, Map, Object, Port, Text, TextOrTexts, Uint};

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

static ACL: Group = Group {
    keys: &[
        key("default_policy", Text),
        key("disabled_ttl", Duration),
        key("down_policy", Text),
        key("enable_key_list_policy", Bool),
        key("enable_token_persistence", Bool),
        key("enable_token_replication", Bool),
        key("enabled", Bool),
        key("msp_disable_bootstrap", Bool).enterprise(),
        key("policy_ttl", Duration),
        key("role_ttl", Duration),
        key("token_ttl", Duration),
        key("tokens", Object(&ACL_TOKENS)),
    ],
};

static ACL_TOKENS: Group = Group {
    keys: &[
        key("agent", Text),
        key("agent_master", Text),
        key("agent_recovery", Text).moved("acl.tokens.agent_master"),
        key("config_file_service_registration", Text).no_effect(NOT_HERE),
        key("default", Text),
        key("dns", Text).no_effect(NOT_HERE),
        key("initial_management", Text).moved("acl.tokens.master"),
        key("managed_service_provider", List(&Free)).enterprise(),
        key("master", Text),
        key("replication", Text),
    ],
};

static ADDRESSES: Group = Group {
    keys: &[
        key("dns", Text),
        key("grpc", Text),
        key("grpc_tls", Text).no_effect(NOT_HERE),
        key("http", Text),
        key("https", Text),
    ],
};

static AUTO_CONFIG: Group = Group {
    keys: &[
        key("authorization", Object(&AUTO_CONFIG_AUTHORIZATION)),
        key("dns_sans", TEXTS),
        key("enabled", Bool),
        key("intro_token", Text),
        key("intro_token_file", Text),
        key("ip_sans", TEXTS),
        key("server_addresses", TEXTS),
    ],
};

static AUTO_CONFIG_AUTHORIZATION: Group =
    Group { keys: &[key("enabled", Bool), key("static", Object(&AUTO_CONFIG_STATIC))] };

static AUTO_CONFIG_STATIC: Group = Group {
    keys: &[
        key("allow_reuse", Bool),
        key("bound_audiences", TEXTS),
        key("bound_issuer", Text),
        key("claim_assertions", TEXTS),
        key("claim_mappings", Map(&Text)),
        key("clock_skew_leeway", Duration),
        key("expiration_leeway", Duration),
        key("jwks_ca_cert", Text),
        key("jwks_url", Text),
        key("jwt_supported_algs", TEXTS),
        key("jwt_validation_pub_keys", TEXTS),
        key("list_claim_mappings", Map(&Text)),
        key("not_before_leeway", Duration),
        key("oidc_discovery_ca_cert", Text),
        key("oidc_discovery_url", Text),
    ],
};

static AUTO_ENCRYPT: Group =
    Group { keys: &[key("allow_tls", Bool), key("dns_san", TEXTS), key("ip_san", TEXTS), key("tls", Bool)] };

static AUTOPILOT: Group = Group {
    keys: &[
        key("cleanup_dead_servers", Bool),
        key("disable_upgrade_migration", Bool).enterprise(),
        key("last_contact_threshold", Duration),
        key("max_trailing_logs", Int),
        key("min_quorum", Uint),
        key("redundancy_zone_tag", Text).enterprise(),
        key("server_stabilization_time", Duration),
        key("upgrade_version_tag", Text).enterprise(),
    ],
};

static CACHE: Group = Group { keys: &[key("entry_fetch_max_burst", Int), key("entry_fetch_rate", Float)] };

static CONFIG_ENTRIES: Group = Group { keys: &[key("bootstrap", List(&Free))] };

static CONNECT: Group = Group {
    keys: &[
        key("ca_config", Free),
        key("ca_provider", Text),
        key("enable_mesh_gateway_wan_federation", Bool),
        key("enable_serverless_plugin", Bool).no_effect(NOT_HERE),
        key("enabled", Bool),
    ],
};

static CONSUL: Group = Group {
    keys: &[
        key("coordinate", Object(&CONSUL_COORDINATE)),
        key("raft", Object(&CONSUL_RAFT)),
        key("server", Object(&CONSUL_SERVER)),
    ],
};

static CONSUL_COORDINATE: Group = Group {
    keys: &[key("update_batch_size", Uint), key("update_max_batches", Uint), key("update_period", Duration)],
};

static CONSUL_RAFT: Group = Group {
    keys: &[
        key("election_timeout", Duration),
        key("heartbeat_timeout", Duration),
        key("leader_lease_timeout", Duration),
    ],
};

static CONSUL_SERVER: Group = Group { keys: &[key("health_interval", Duration)] };

static DNS: Group = Group {
    keys: &[
        key("a_record_limit", Int),
        key("allow_stale", Bool),
        key("cache_max_age", Duration),
        key("disable_compression", Bool),
        key("enable_additional_node_meta_txt", Bool),
        key("enable_truncate", Bool),
        key("max_stale", Duration),
        key("node_ttl", Duration),
        key("only_passing", Bool),
        key("prefer_namespace", Bool).enterprise(),
        key("recursor_strategy", Text),
        key("recursor_timeout", Duration),
        key("service_ttl", Map(&Duration)),
        key("soa", Object(&DNS_SOA)),
        key("udp_answer_limit", Int),
        key("use_cache", Bool),
    ],
};

static DNS_SOA: Group =
    Group { keys: &[key("expire", Uint), key("min_ttl", Uint), key("refresh", Uint), key("retry", Uint)] };

static GOSSIP: Group = Group {
    keys: &[
        key("gossip_interval", Duration),
        key("gossip_nodes", Uint),
        key("probe_interval", Duration),
        key("probe_timeout", Duration),
        key("retransmit_mult", Uint),
        key("suspicion_mult", Uint),
    ],
};

static HTTP: Group = Group {
    keys: &[
        key("allow_write_http_from", List(&Cidr)),
        key("block_endpoints", TEXTS),
        key("max_header_bytes", Uint).no_effect(NOT_HERE),
        key("response_headers", Map(&Text)),
        key("use_cache", Bool),
    ],
};

static LIMITS: Group = Group {
    keys: &[
        key("http_max_conns_per_client", Int),
        key("https_handshake_timeout", Duration),
        key("kv_max_value_size", Uint),
        key("request_limits", Free).no_effect(NOT_HERE),
        key("rpc_client_timeout", Duration).no_effect(NOT_HERE),
        key("rpc_handshake_timeout", Duration),
        key("rpc_max_burst", Int),
        key("rpc_max_conns_per_client", Int),
        key("rpc_rate", Float),
        key("txn_max_req_len", Uint),
    ],
};

static LOCALITY: Group = Group { keys: &[key("region", Text), key("zone", Text)] };

static PEERING: Group = Group { keys: &[key("enabled", Bool), key("test_allow_peer_registrations", Bool)] };

static PERFORMANCE: Group = Group {
    keys: &[
        key("grpc_keepalive_interval", Duration).no_effect(NOT_HERE),
        key("grpc_keepalive_timeout", Duration).no_effect(NOT_HERE),
        key("leave_drain_time", Duration),
        key("raft_multiplier", Int),
        key("rpc_hold_timeout", Duration),
    ],
};

static PORTS: Group = Group {
    keys: &[
        key("dns", Port),
        key("expose_max_port", Port),
        key("expose_min_port", Port),
        key("grpc", Port),
        key("grpc_tls", Port).no_effect(NOT_HERE),
        key("http", Port),
        key("https", Port),
        key("proxy_max_port", Port),
        key("proxy_min_port", Port),
        key("serf_lan", Port),
        key("serf_wan", Port),
        key("server", Port),
        key("sidecar_max_port", Port),
        key("sidecar_min_port", Port),
    ],
};

static RPC: Group = Group { keys: &[key("enable_streaming", Bool)] };

static TELEMETRY: Group = Group {
    keys: &[
        key("circonus_api_app", Text),
        key("circonus_api_token", Text),
        key("circonus_api_url", Text),
        key("circonus_broker_id", Text),
        key("circonus_broker_select_tag", Text),
        key("circonus_check_display_name", Text),
        key("circonus_check_force_metric_activation", Text),
        key("circonus_check_id", Text),
        key("circonus_check_instance_id", Text),
        key("circonus_check_search_tag", Text),
        key("circonus_check_tags", Text),
        key("circonus_submission_interval", Text),
        key("circonus_submission_url", Text),
        key("disable_compat_1.9", Bool).no_effect(NOT_HERE),
        key("disable_hostname", Bool),
        key("disable_per_tenancy_usage_metrics", Bool).no_effect(NOT_HERE),
        key("dogstatsd_addr", Text),
        key("dogstatsd_tags", TEXTS),
        key("enable_host_metrics", Bool).no_effect(NOT_HERE),
        key("filter_default", Bool),
        key("metrics_prefix", Text),
        key("prefix_filter", TEXTS),
        key("prometheus_retention_time", Duration),
        key("retry_failed_connection", Bool).no_effect(NOT_HERE),
        key("statsd_address", Text),
        key("statsite_address", Text),
    ],
};

static TLS: Group = Group {
    keys: &[
        key("defaults", Object(&TLS_DEFAULTS)),
        key("grpc", Object(&TLS_GRPC)),
        key("https", Object(&TLS_DEFAULTS)),
        key("internal_rpc", Object(&TLS_RPC)),
    ],
};

static TLS_DEFAULTS: Group = Group {
    keys: &[
        key("ca_file", Text),
        key("ca_path", Text),
        key("cert_file", Text),
        key("key_file", Text),
        key("tls_cipher_suites", Text),
        key("tls_min_version", Text),
        key("verify_incoming", Bool),
        key("verify_outgoing", Bool),
    ],
};

static TLS_GRPC: Group = Group {
    keys: &[
        key("ca_file", Text),
        key("ca_path", Text),
        key("cert_file", Text),
        key("key_file", Text),
        key("tls_cipher_suites", Text),
        key("tls_min_version", Text),
        key("use_auto_cert", Bool).no_effect(NOT_HERE),
        key("verify_incoming", Bool),
    ],
};

static TLS_RPC: Group = Group {
    keys: &[
        key("ca_file", Text),
        key("ca_path", Text),
        key("cert_file", Text),
        key("key_file", Text),
        key("tls_cipher_suites", Text),
        key("tls_min_version", Text),
        key("verify_incoming", Bool),
        key("verify_outgoing", Bool),
        key("verify_server_hostname", Bool),
    ],
};

static UI_CONFIG: Group = Group {
    keys: &[
        key("content_path", Text).moved("ui_content_path"),
        key("dashboard_url_templates", Map(&Text)).no_effect(NOT_HERE),
        key("dir", Text).moved("ui_dir"),
        key("enabled", Bool).moved("ui"),
        key("metrics_provider", Text).no_effect(NOT_HERE),
        key("metrics_provider_files", TEXTS).no_effect(NOT_HERE),
        key("metrics_provider_options_json", Text).no_effect(NOT_HERE),
        key("metrics_proxy", Free).no_effect(NOT_HERE),
    ],
};

static UNIX_SOCKETS: Group = Group { keys: &[key("group", Text), key("mode", Text), key("user", Text)] };

/// A service definition.
pub(crate) static SERVICE: Group = Group {
    keys: &[
        key("address", Text),
        key("check", Object(&CHECK)),
        key("checks", List(&Object(&CHECK))),
        key("connect", Object(&SERVICE_CONNECT)),
        key("enable_tag_override", Bool),
        key("id", Text),
        key("kind", Text),
        key("locality", Object(&LOCALITY)).no_effect(NOT_HERE),
        key("meta", Map(&Text)),
        key("name", Text),
        key("namespace", Text).enterprise(),
        key("partition", Text).enterprise(),
        key("port", Int),
        key("proxy", Object(&PROXY)),
        key("socket_path", Text).no_effect(NOT_HERE),
        key("tagged_addresses", Map(&Object(&SERVICE_ADDRESS))),
        key("tags", TEXTS),
        key("token", Text),
        key("weights", Object(&WEIGHTS)),
    ],
};

static SERVICE_ADDRESS: Group = Group { keys: &[key("address", Text), key("port", Int)] };

static SERVICE_CONNECT: Group =
    Group { keys: &[key("native", Bool), key("sidecar_service", Object(&SERVICE))] };

static WEIGHTS: Group = Group { keys: &[key("passing", Int), key("warning", Int)] };

static PROXY: Group = Group {
    keys: &[
        key("config", Free),
        key("destination_service_id", Text),
        key("destination_service_name", Text),
        key("expose", Object(&PROXY_EXPOSE)),
        key("local_service_address", Text),
        key("local_service_port", Int),
        key("mesh_gateway", Object(&MESH_GATEWAY)),
        key("mode", Text).no_effect(NOT_HERE),
        key("upstreams", List(&Object(&UPSTREAM))),
    ],
};

static MESH_GATEWAY: Group = Group { keys: &[key("mode", Text)] };

static PROXY_EXPOSE: Group =
    Group { keys: &[key("checks", Bool), key("paths", List(&Object(&PROXY_EXPOSE_PATH)))] };

static PROXY_EXPOSE_PATH: Group = Group {
    keys: &[key("listener_port", Int), key("local_path_port", Int), key("path", Text), key("protocol", Text)],
};

static UPSTREAM: Group = Group {
    keys: &[
        key("config", Free),
        key("datacenter", Text),
        key("destination_name", Text),
        key("destination_namespace", Text).enterprise(),
        key("destination_type", Text),
        key("local_bind_address", Text),
        key("local_bind_port", Int),
        key("mesh_gateway", Object(&MESH_GATEWAY)),
    ],
};

/// A check definition. The old spellings without underscores are still taken.
pub(crate) static CHECK: Group = Group {
    keys: &[
        key("alias_node", Text),
        key("alias_service", Text),
        key("args", TEXTS),
        key("body", Text),
        key("deregister_critical_service_after", Duration),
        key("deregistercriticalserviceafter", Duration).alias("deregister_critical_service_after"),
        key("docker_container_id", Text),
        key("dockercontainerid", Text).alias("docker_container_id"),
        key("failures_before_critical", Uint),
        key("grpc", Text),
        key("grpc_use_tls", Bool),
        key("header", Map(&TEXTS)),
        key("http", Text),
        key("id", Text),
        key("interval", Duration),
        key("method", Text),
        key("name", Text),
        key("namespace", Text).enterprise(),
        key("notes", Text),
        key("output_max_size", Int),
        key("scriptargs", TEXTS).alias("args"),
        key("service_id", Text),
        key("serviceid", Text).alias("service_id"),
        key("shell", Text),
        key("status", Text),
        key("success_before_passing", Uint),
        key("tcp", Text),
        key("timeout", Duration),
        key("tls_skip_verify", Bool),
        key("tlsskipverify", Bool).alias("tls_skip_verify"),
        key("token", Text),
        key("ttl", Duration),
    ],
};

/// A watch.
pub(crate) static WATCH: Group = Group {
    keys: &[
        key("args", TEXTS),
        key("datacenter", Text),
        key("handler", Text),
        key("handler_type", Text),
        key("http_handler_config", Object(&WATCH_HTTP)),
        key("key", Text),
        key("name", Text),
        key("passingonly", Bool),
        key("prefix", Text),
        key("service", Text),
        key("service_id", Text),
        key("stale", Bool),
        key("state", Text),
        key("tag", TextOrTexts),
        key("token", Text),
        key("type", Text),
    ],
};

static WATCH_HTTP: Group = Group {
    keys: &[
        key("header", Map(&TEXTS)),
        key("method", Text),
        key("path", Text),
        key("timeout", Duration),
        key("tls_skip_verify", Bool),
    ],
};
