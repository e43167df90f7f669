//! Rules between keys, and ranges of single ones.

use std::path::Path;

use super::file::File;
use super::resolve::{Findings, check_metadata};

/// `bootstrap` and `bootstrap_expect` as they hold.
pub(crate) fn bootstrap(file: &File, found: &mut Findings<'_>) -> (bool, u32) {
    const TABLE: &str = "See https://www.consul.io/docs/internals/consensus.html#deployment-table";
    let expect = file.bootstrap_expect;
    let key = "bootstrap_expect";
    let mut bootstrap = file.bootstrap;
    let mut holds = u32::try_from(expect.max(0)).unwrap_or(0);
    if expect < 0 {
        found.problem(
            key,
            format!("bootstrap_expect cannot be {expect}. Must be greater than or equal to zero"),
        );
    } else if expect > i64::from(u32::MAX) {
        found.problem(key, format!("bootstrap_expect cannot be {expect}"));
    }
    if expect > 0 && !file.server {
        found.problem(key, "'bootstrap_expect > 0' requires 'server = true'");
    }
    if expect > 1 && bootstrap {
        found.problem(key, "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive");
    }
    if bootstrap && !file.server {
        found.problem("bootstrap", "'bootstrap = true' requires 'server = true'");
    }
    match expect {
        1 => {
            found.warn(key, "BootstrapExpect is set to 1; this is the same as Bootstrap mode.");
            bootstrap = true;
            holds = 0;
        }
        2 => found.warn(
            key,
            format!(
                "bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance. {TABLE}"
            ),
        ),
        even if even > 2 && even % 2 == 0 => found.warn(
            key,
            format!(
                "bootstrap_expect is even number: A cluster with an even number of servers does not achieve \
                 optimum fault tolerance. {TABLE}"
            ),
        ),
        _ => {}
    }
    if expect > 1 {
        found.warn(key, format!("bootstrap_expect > 0: expecting {expect} servers"));
    }
    if bootstrap {
        found.warn("bootstrap", "bootstrap = true: do not enable unless necessary");
    }
    (bootstrap, holds)
}

/// Everything that needs no derivation.
pub(crate) fn check(
    file: &File,
    dev_mode: bool,
    acl_enabled: bool,
    node_name: &str,
    found: &mut Findings<'_>,
) {
    data_dir(file, dev_mode, found);
    ranges(file, found);
    mesh(file, node_name, found);
    if let Err(reason) = check_metadata(&file.node_meta, false) {
        found.problem("node_meta", format!("node_meta invalid: {reason}"));
    }
    // Development mode switches the built-in UI on, but does not insist on it.
    let ui_asked_for = file.ui && !found.is_from("ui", super::load::DEV_SOURCE);
    found.refuse_if(
        ui_asked_for && file.ui_dir.as_ref().is_some_and(|dir| !dir.is_empty()),
        "ui_dir",
        "Both the ui and ui-dir flags were specified, please provide only one.\nIf trying to use your own web \
         UI resources, use the ui-dir flag.\nThe web UI is included in the binary so use ui to enable it",
    );
    if file.enable_script_checks && !acl_enabled && file.http_config.allow_write_http_from.is_empty() {
        found.warn(
            "enable_script_checks",
            "using enable-script-checks without ACLs and without allow_write_http_from is DANGEROUS, use \
             enable-local-script-checks instead, see \
             https://www.hashicorp.com/blog/protecting-consul-from-rce-risk-in-specific-configurations/",
        );
    }
    for (index, rule) in file.telemetry.prefix_filter.iter().enumerate() {
        let key = format!("telemetry.prefix_filter.{index}");
        if rule.is_empty() {
            found.warn(&key, "Cannot have empty filter rule in prefix_filter");
        } else if !rule.starts_with(['+', '-']) {
            found.warn(&key, format!("Filter rule must begin with either '+' or '-': {rule:?}"));
        }
    }
}

fn data_dir(file: &File, dev_mode: bool, found: &mut Findings<'_>) {
    match file.data_dir.as_deref() {
        None | Some("") if !dev_mode => found.problem("data_dir", "data_dir cannot be empty"),
        Some(dir) if !dir.is_empty() && Path::new(dir).exists() && !Path::new(dir).is_dir() => {
            found.problem("data_dir", format!("data_dir {dir:?} is not a directory"));
        }
        _ => {}
    }
}

fn ranges(file: &File, found: &mut Findings<'_>) {
    let multiplier = file.performance.raft_multiplier;
    if !(1..=10).contains(&multiplier) {
        found.problem(
            "performance.raft_multiplier",
            format!("performance.raft_multiplier cannot be {multiplier}. Must be between 1 and 10"),
        );
    }
    let not_negative = [
        ("dns_config.udp_answer_limit", file.dns_config.udp_answer_limit),
        ("dns_config.a_record_limit", file.dns_config.a_record_limit),
        ("autopilot.max_trailing_logs", file.autopilot.max_trailing_logs),
    ];
    for (key, value) in not_negative {
        if value < 0 {
            found.problem(key, format!("{key} cannot be {value}. Must be greater than or equal to zero"));
        }
    }
    let strategy = &file.dns_config.recursor_strategy;
    if !matches!(strategy.as_str(), "" | "sequential" | "random") {
        found.problem(
            "dns_config.recursor_strategy",
            format!("dns_config.recursor_strategy must be \"sequential\" or \"random\", was {strategy:?}"),
        );
    }
    let ports = &file.ports;
    for (kind, low, high) in [
        ("sidecar", ports.sidecar_min_port, ports.sidecar_max_port),
        ("expose", ports.expose_min_port, ports.expose_max_port),
        ("proxy", ports.proxy_min_port, ports.proxy_max_port),
    ] {
        if low > high {
            found.problem(
                &format!("ports.{kind}_min_port"),
                format!("{kind}_min_port must be less than {kind}_max_port. To disable, set both to zero."),
            );
        }
    }
    if file.cache.entry_fetch_rate <= 0.0 {
        found.problem(
            "cache.entry_fetch_rate",
            format!("cache.entry_fetch_rate must be strictly positive, was: {}", file.cache.entry_fetch_rate),
        );
    }
    if file.cache.entry_fetch_max_burst <= 0 {
        found.problem(
            "cache.entry_fetch_max_burst",
            format!(
                "cache.entry_fetch_max_burst must be strictly positive, was: {}",
                file.cache.entry_fetch_max_burst
            ),
        );
    }
    if !(2..=3).contains(&file.protocol) {
        found.problem(
            "protocol",
            format!("Protocol version '{}' is not supported. Must be in range: [2, 3]", file.protocol),
        );
    }
    if !(1..=3).contains(&file.raft_protocol) {
        found.problem(
            "raft_protocol",
            format!("raft_protocol: Protocol version {} must be >= 1 and <= 3", file.raft_protocol),
        );
    }
    let mode = &file.unix_sockets.mode;
    if !mode.is_empty() && u32::from_str_radix(mode, 8).is_err() {
        found.problem("unix_sockets.mode", format!("unix_sockets.mode: {mode:?} is no octal number"));
    }
}

fn mesh(file: &File, node_name: &str, found: &mut Findings<'_>) {
    let connect = &file.connect;
    if connect.enabled && !matches!(connect.ca_provider.as_str(), "" | "consul" | "vault" | "aws-pca") {
        found.problem("connect.ca_provider", format!("{} is not a valid CA provider", connect.ca_provider));
    }
    let federation = "connect.enable_mesh_gateway_wan_federation";
    if connect.enable_mesh_gateway_wan_federation {
        found.refuse_if(
            !connect.enabled,
            federation,
            "'connect.enable_mesh_gateway_wan_federation=true' requires 'connect.enabled=true'",
        );
        found.refuse_if(
            node_name.contains('/'),
            "node_name",
            "'connect.enable_mesh_gateway_wan_federation = true' requires that 'node_name' not contain '/' \
             characters",
        );
    }
    if !file.primary_gateways.is_empty() {
        found.refuse_if(!file.server, "primary_gateways", "'primary_gateways' requires 'server = true'");
        found.refuse_if(
            file.server && !connect.enable_mesh_gateway_wan_federation,
            "primary_gateways",
            "'primary_gateways' requires 'connect.enable_mesh_gateway_wan_federation = true'",
        );
    }
    let auto = &file.auto_encrypt;
    found.refuse_if(
        auto.allow_tls && !file.server,
        "auto_encrypt.allow_tls",
        "auto_encrypt.allow_tls can only be used on a server.",
    );
    found.refuse_if(
        auto.tls && file.server,
        "auto_encrypt.tls",
        "auto_encrypt.tls can only be used on a client.",
    );
    let verifies =
        file.tls.internal_rpc.verify_incoming.or(file.tls.defaults.verify_incoming).unwrap_or(false)
            || file.verify_incoming_rpc;
    if auto.allow_tls && file.server && !verifies {
        found.warn(
            "auto_encrypt.allow_tls",
            "if auto_encrypt.allow_tls is turned on, either verify_incoming or verify_incoming_rpc should be \
             enabled. It is necessary to turn it off during a migration to TLS, but it should definitely be \
             turned on afterwards.",
        );
    }
    found.refuse_if(
        file.auto_config.enabled,
        "auto_config.enabled",
        "auto_config.enabled is not supported; configure the client with files instead",
    );
}
