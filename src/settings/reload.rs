//! What a new configuration changes against the running one, and which of it can be applied live.

use super::resolved::Settings;

/// Whether a changed key can take effect while the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Applied by a reload.
    Live,
    /// Kept as it was until the agent is started again.
    Restart,
}

/// A key whose value is another one now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Full name of the key, or of the object if its keys share one fate.
    pub key: &'static str,
    /// What a reload does about it.
    pub effect: Effect,
}

/// Compares field by field. Takes the struct apart completely, so that a new field does not compile until
/// it is said here what a reload does about it.
macro_rules! compare {
    ($changes:ident, $type:ident, $old:expr, $new:expr; $($field:ident => $effect:ident $key:literal,)*
     ; inside $($inner:ident),*) => {{
        let $type { $($field: _,)* $($inner: _,)* } = $new;
        $(if $old.$field != $new.$field {
            $changes.push(Change { key: $key, effect: Effect::$effect });
        })*
    }};
}

/// Every changed key, in the order of [`Settings`]. Nothing is changed when the list is empty.
#[expect(clippy::float_cmp, reason = "both were read from text: equal texts give equal numbers")]
pub fn changes(old: &Settings, new: &Settings) -> Vec<Change> {
    use super::groups::{Acl, Limits, Telemetry};
    use super::resolved::{CheckRules, Log};
    let mut changes = Vec::new();
    compare!(changes, Settings, old, new;
        dev_mode => Restart "-dev",
        server => Restart "server",
        bootstrap => Restart "bootstrap",
        bootstrap_expect => Restart "bootstrap_expect",
        datacenter => Restart "datacenter",
        primary_datacenter => Restart "primary_datacenter",
        node_name => Restart "node_name",
        node_id => Restart "node_id",
        node_meta => Live "node_meta",
        disable_host_node_id => Restart "disable_host_node_id",
        data_dir => Restart "data_dir",
        pid_file => Restart "pid_file",
        network => Restart "addresses",
        ports => Restart "ports",
        translate_wan_addrs => Restart "translate_wan_addrs",
        unix_sockets => Restart "unix_sockets",
        domain => Restart "domain",
        alt_domain => Restart "alt_domain",
        recursors => Live "recursors",
        dns => Live "dns_config",
        http => Restart "http_config",
        ui => Restart "ui",
        enable_debug => Restart "enable_debug",
        join => Restart "retry_join",
        leave_on_terminate => Restart "leave_on_terminate",
        skip_leave_on_interrupt => Restart "skip_leave_on_interrupt",
        gossip_lan => Restart "gossip_lan",
        gossip_wan => Restart "gossip_wan",
        encryption => Restart "encrypt",
        services => Live "services",
        checks => Live "checks",
        watches => Live "watches",
        config_entries => Live "config_entries.bootstrap",
        default_query_time => Restart "default_query_time",
        max_query_time => Restart "max_query_time",
        discovery_max_stale => Restart "discovery_max_stale",
        session_ttl_min => Restart "session_ttl_min",
        raft => Restart "performance.raft_multiplier",
        protocol => Restart "protocol",
        performance => Restart "performance",
        autopilot => Restart "autopilot",
        connect => Restart "connect",
        auto_encrypt => Restart "auto_encrypt",
        auto_config => Restart "auto_config",
        tls => Live "tls",
        cache => Live "cache",
        coordinates => Restart "disable_coordinates",
        ae_interval => Restart "ae_interval",
        primary_gateways => Restart "primary_gateways",
        primary_gateways_interval => Restart "primary_gateways_interval",
        enable_central_service_config => Restart "enable_central_service_config",
        disable_remote_exec => Restart "disable_remote_exec",
        disable_update_check => Restart "disable_update_check",
        disable_anonymous_signature => Restart "disable_anonymous_signature",
        disable_http_unprintable_char_filter => Restart "disable_http_unprintable_char_filter",
        ; inside log, telemetry, check_rules, limits, acl);
    compare!(changes, Log, old.log, new.log;
        level => Live "log_level",
        json => Restart "log_json",
        file => Restart "log_file",
        rotate_bytes => Restart "log_rotate_bytes",
        rotate_duration => Restart "log_rotate_duration",
        rotate_max_files => Restart "log_rotate_max_files",
        syslog => Restart "enable_syslog",
        syslog_facility => Restart "syslog_facility",
        ; inside);
    compare!(changes, Telemetry, old.telemetry, new.telemetry;
        metrics_prefix => Restart "telemetry.metrics_prefix",
        disable_hostname => Restart "telemetry.disable_hostname",
        filter_default => Restart "telemetry.filter_default",
        prefix_filter => Live "telemetry.prefix_filter",
        prometheus_retention_time => Restart "telemetry.prometheus_retention_time",
        statsd_address => Restart "telemetry.statsd_address",
        statsite_address => Restart "telemetry.statsite_address",
        dogstatsd_addr => Restart "telemetry.dogstatsd_addr",
        dogstatsd_tags => Restart "telemetry.dogstatsd_tags",
        circonus => Restart "telemetry.circonus",
        ; inside);
    compare!(changes, CheckRules, old.check_rules, new.check_rules;
        enable_remote_scripts => Restart "enable_script_checks",
        enable_local_scripts => Restart "enable_local_script_checks",
        update_interval => Restart "check_update_interval",
        output_max_size => Restart "check_output_max_size",
        discard_output => Live "discard_check_output",
        agent_tls => Restart "enable_agent_tls_for_checks",
        deregister_interval_min => Restart "check_deregister_interval_min",
        reap_interval => Restart "check_reap_interval",
        ; inside);
    compare!(changes, Limits, old.limits, new.limits;
        http_max_conns_per_client => Live "limits.http_max_conns_per_client",
        https_handshake_timeout => Restart "limits.https_handshake_timeout",
        rpc_handshake_timeout => Restart "limits.rpc_handshake_timeout",
        rpc_max_conns_per_client => Live "limits.rpc_max_conns_per_client",
        rpc_rate => Live "limits.rpc_rate",
        rpc_max_burst => Live "limits.rpc_max_burst",
        kv_max_value_size => Restart "limits.kv_max_value_size",
        txn_max_req_len => Restart "limits.txn_max_req_len",
        ; inside);
    compare!(changes, Acl, old.acl, new.acl;
        enabled => Restart "acl.enabled",
        default_policy => Restart "acl.default_policy",
        down_policy => Restart "acl.down_policy",
        policy_ttl => Restart "acl.policy_ttl",
        role_ttl => Restart "acl.role_ttl",
        token_ttl => Restart "acl.token_ttl",
        disabled_ttl => Restart "acl.disabled_ttl",
        enable_key_list_policy => Restart "acl.enable_key_list_policy",
        enable_token_replication => Restart "acl.enable_token_replication",
        enable_token_persistence => Restart "acl.enable_token_persistence",
        tokens => Live "acl.tokens",
        ; inside);
    changes
}
