//! Objects of the top level.

use super::Kind::{Bool, Cidr, Duration, Float, Free, Int, List, Map, Object, Port, Text, Uint};
use super::{Group, NOT_HERE, TEXTS, key};

pub(super) static ACL: Group = Group {
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

pub(super) static ADDRESSES: Group = Group {
    keys: &[
        key("dns", Text),
        key("grpc", Text),
        key("grpc_tls", Text).no_effect(NOT_HERE),
        key("http", Text),
        key("https", Text),
    ],
};

pub(super) static AUTO_CONFIG: Group = Group {
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

pub(super) static AUTO_ENCRYPT: Group =
    Group { keys: &[key("allow_tls", Bool), key("dns_san", TEXTS), key("ip_san", TEXTS), key("tls", Bool)] };

pub(super) static AUTOPILOT: Group = Group {
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

pub(super) static CACHE: Group =
    Group { keys: &[key("entry_fetch_max_burst", Int), key("entry_fetch_rate", Float)] };

pub(super) static CONFIG_ENTRIES: Group = Group { keys: &[key("bootstrap", List(&Free))] };

pub(super) static CONNECT: Group = Group {
    keys: &[
        key("ca_config", Free),
        key("ca_provider", Text),
        key("enable_mesh_gateway_wan_federation", Bool),
        key("enable_serverless_plugin", Bool).no_effect(NOT_HERE),
        key("enabled", Bool),
    ],
};

pub(super) static CONSUL: Group = Group {
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

pub(super) static DNS: Group = Group {
    keys: &[
        key("a_record_limit", Int),
        key("allow_stale", Bool),
        key("cache_max_age", Duration),
        key("disable_compression", Bool),
        key("enable_additional_node_meta_txt", Bool),
        key("enable_doh", Bool),
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

pub(super) static GOSSIP: Group = Group {
    keys: &[
        key("gossip_interval", Duration),
        key("gossip_nodes", Uint),
        key("probe_interval", Duration),
        key("probe_timeout", Duration),
        key("retransmit_mult", Uint),
        key("suspicion_mult", Uint),
    ],
};

pub(super) static HTTP: Group = Group {
    keys: &[
        key("allow_write_http_from", List(&Cidr)),
        key("block_endpoints", TEXTS),
        key("max_header_bytes", Uint).no_effect(NOT_HERE),
        key("response_headers", Map(&Text)),
        key("use_cache", Bool),
    ],
};

pub(super) static LIMITS: Group = Group {
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

pub(super) static LOCALITY: Group = Group { keys: &[key("region", Text), key("zone", Text)] };

pub(super) static PEERING: Group =
    Group { keys: &[key("enabled", Bool), key("test_allow_peer_registrations", Bool)] };

pub(super) static PERFORMANCE: Group = Group {
    keys: &[
        key("grpc_keepalive_interval", Duration).no_effect(NOT_HERE),
        key("grpc_keepalive_timeout", Duration).no_effect(NOT_HERE),
        key("leave_drain_time", Duration),
        key("raft_multiplier", Int),
        key("rpc_hold_timeout", Duration),
    ],
};

pub(super) static PORTS: Group = Group {
    keys: &[
        key("dns", Port),
        key("dns_tls", Port),
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

pub(super) static RPC: Group = Group { keys: &[key("enable_streaming", Bool)] };

pub(super) static TELEMETRY: Group = Group {
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

pub(super) static TLS: Group = Group {
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

pub(super) static UI_CONFIG: Group = Group {
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

pub(super) static UNIX_SOCKETS: Group =
    Group { keys: &[key("group", Text), key("mode", Text), key("user", Text)] };
