//! From what the files say to what holds: derives what is absent, and finds what does not fit together.
//!
//! All problems are collected; each carries the place of the key it is about. The texts are Consul's where
//! Consul has some.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::error::{Fault, Origin, Problem, SettingsError, Warning};
use super::file::File;
use super::interfaces::Network as Interfaces;
use super::layer::Merged;
use super::resolved::{CheckRules, Coordinates, Encryption, Join, Log, LogLevel, Raft, Settings, Ui};
use super::sockaddr;
use super::{definitions, names, rules};
use crate::definition::Secret;

/// Collects what is found while settings are put together.
pub(crate) struct Findings<'a> {
    merged: &'a Merged,
    interfaces: &'a Interfaces,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(merged: &'a Merged, interfaces: &'a Interfaces) -> Self {
        Self { merged, interfaces, problems: Vec::new(), warnings: Vec::new() }
    }

    fn origin(&self, key: &str) -> Option<Origin> {
        self.merged.origin(key).map(Origin::parse)
    }

    /// A problem with the value of `key`, a dotted path into the layers.
    pub(crate) fn problem(&mut self, key: &str, text: impl Into<String>) {
        let origin = self.origin(key);
        self.problems.push(Problem { origin, fault: Fault::Invalid(text.into()) });
    }

    /// A problem with the value of `key` if `wrong`.
    pub(crate) fn refuse_if(&mut self, wrong: bool, key: &str, text: &str) {
        if wrong {
            self.problem(key, text);
        }
    }

    /// A warning about the value of `key`.
    pub(crate) fn warn(&mut self, key: &str, text: impl Into<String>) {
        let origin = self.origin(key);
        self.warnings.push(Warning { origin, text: text.into() });
    }

    /// The first of the keys that is set, to point at.
    pub(crate) fn first_set<'k>(&self, keys: &[&'k str]) -> &'k str {
        keys.iter().find(|key| self.is_set(key)).copied().unwrap_or_default()
    }

    /// Whether the value of `key` stems from that source.
    pub(crate) fn is_from(&self, key: &str, source: &str) -> bool {
        self.origin(key).is_some_and(|origin| &*origin.source == source)
    }

    /// Whether any source sets `key`.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.merged.is_set(key)
    }

    /// The machine's interfaces.
    pub(crate) fn interfaces(&self) -> &Interfaces {
        self.interfaces
    }

    /// Fills address templates in.
    pub(crate) fn expand(&mut self, key: &str, text: &str) -> Option<String> {
        match sockaddr::expand(text, self.interfaces) {
            Ok(expanded) => Some(expanded),
            Err(error) => {
                self.problem(key, format!("{key}: {error}"));
                None
            }
        }
    }

    /// Fills the templates of a list in; a template may give several entries, separated by blanks.
    fn expand_list(&mut self, key: &str, texts: &[String]) -> Vec<String> {
        let mut list = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            match self.expand(&format!("{key}.{index}"), text) {
                Some(expanded) if expanded != *text => {
                    list.extend(expanded.split_whitespace().map(ToOwned::to_owned));
                }
                Some(expanded) => list.push(expanded),
                None => {}
            }
        }
        list
    }
}

/// What `resolve` gives: the settings and the warnings about them.
pub(crate) type Resolved = (Settings, Vec<Warning>);

/// Derives and checks everything.
pub(crate) fn resolve(
    file: File,
    dev_mode: bool,
    merged: &Merged,
    interfaces: &Interfaces,
) -> Result<Resolved, SettingsError> {
    let mut findings = Findings::new(merged, interfaces);
    let found = &mut findings;
    let network = super::addresses::resolve(&file, found);
    let datacenter = names::datacenter("datacenter", &file.datacenter, found);
    let (acl, primary_datacenter) = names::primary_datacenter(&file, &datacenter, found);
    let node_name = names::node_name(&file, found);
    let node_id = names::node_id(&file.node_id, found);
    let (bootstrap, bootstrap_expect) = rules::bootstrap(&file, found);
    let log = log(&file, found);
    let encryption = encryption(&file, found);
    let tls = super::tls::resolve(&file, found);
    rules::check(&file, dev_mode, acl.enabled, &node_name, found);
    let check_rules = check_rules(&file, found);
    definitions::check(&file, &check_rules, found);
    let alt_domain = names::alt_domain(&file.alt_domain, &datacenter, found);
    let content_path = names::ui_content_path(&file.ui_content_path, found);
    let recursors = recursors(&file.recursors, found);
    let start_join = found.expand_list("start_join", &file.start_join);
    let start_join_wan = found.expand_list("start_join_wan", &file.start_join_wan);
    let retry_join = found.expand_list("retry_join", &file.retry_join);
    let retry_join_wan = found.expand_list("retry_join_wan", &file.retry_join_wan);
    let raft = raft(&file);

    let Findings { problems, warnings, .. } = findings;
    SettingsError::check(problems)?;
    let network = network.ok_or_else(|| SettingsError::plain("no address to bind to"))?;

    let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
    let settings = Settings {
        dev_mode,
        server: file.server,
        bootstrap,
        bootstrap_expect,
        datacenter,
        primary_datacenter,
        node_name,
        node_id,
        node_meta: file.node_meta,
        disable_host_node_id: file.disable_host_node_id,
        data_dir: file.data_dir.as_deref().and_then(path).filter(|_| !dev_mode),
        pid_file: path(&file.pid_file),
        network,
        ports: file.ports,
        translate_wan_addrs: file.translate_wan_addrs,
        unix_sockets: file.unix_sockets,
        domain: names::domain(&file.domain),
        alt_domain,
        recursors,
        dns: file.dns_config,
        http: file.http_config,
        ui: Ui { enabled: file.ui, dir: file.ui_dir.as_deref().and_then(path), content_path },
        enable_debug: file.enable_debug,
        join: Join {
            start_join,
            start_join_wan,
            retry_join,
            retry_interval: file.retry_interval,
            retry_max: count(file.retry_max),
            retry_join_wan,
            retry_interval_wan: file.retry_interval_wan,
            retry_max_wan: count(file.retry_max_wan),
            rejoin_after_leave: file.rejoin_after_leave,
            reconnect_timeout: file.reconnect_timeout,
            reconnect_timeout_wan: file.reconnect_timeout_wan,
        },
        leave_on_terminate: file.leave_on_terminate.unwrap_or(!file.server),
        skip_leave_on_interrupt: file.skip_leave_on_interrupt.unwrap_or(file.server),
        gossip_lan: file.gossip_lan,
        gossip_wan: file.gossip_wan,
        encryption,
        log,
        telemetry: file.telemetry,
        check_rules,
        services: file.services,
        checks: file.checks,
        watches: file.watches,
        config_entries: file.config_entries.bootstrap,
        default_query_time: file.default_query_time,
        max_query_time: file.max_query_time,
        discovery_max_stale: file.discovery_max_stale,
        session_ttl_min: file.session_ttl_min,
        raft,
        protocol: u8::try_from(file.protocol).unwrap_or(2),
        performance: file.performance,
        limits: file.limits,
        autopilot: file.autopilot,
        acl,
        connect: file.connect,
        auto_encrypt: file.auto_encrypt,
        auto_config: file.auto_config,
        tls,
        cache: file.cache,
        coordinates: Coordinates {
            disabled: file.disable_coordinates,
            rate_target: file.sync_coordinate_rate_target,
            interval_min: file.sync_coordinate_interval_min,
            update_period: file.consul.coordinate.update_period,
            update_batch_size: file.consul.coordinate.update_batch_size,
            update_max_batches: file.consul.coordinate.update_max_batches,
        },
        ae_interval: file.ae_interval,
        primary_gateways: file.primary_gateways,
        primary_gateways_interval: file.primary_gateways_interval,
        enable_central_service_config: file.enable_central_service_config,
        disable_remote_exec: file.disable_remote_exec,
        disable_update_check: file.disable_update_check,
        disable_anonymous_signature: file.disable_anonymous_signature,
        disable_http_unprintable_char_filter: file.disable_http_unprintable_char_filter,
    };
    Ok((settings, warnings))
}

/// A count that may have been given below zero.
fn count(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

fn log(file: &File, found: &mut Findings<'_>) -> Log {
    let level = LogLevel::from_name(&file.log_level);
    if level.is_none() {
        found.problem(
            "log_level",
            format!(
                "Invalid log level: {}. Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]",
                file.log_level
            ),
        );
    }
    Log {
        level: level.unwrap_or(LogLevel::Info),
        json: file.log_json,
        file: (!file.log_file.is_empty()).then(|| PathBuf::from(&file.log_file)),
        rotate_bytes: u64::try_from(file.log_rotate_bytes).unwrap_or(0),
        rotate_duration: file.log_rotate_duration,
        rotate_max_files: file.log_rotate_max_files,
        syslog: file.enable_syslog,
        syslog_facility: file.syslog_facility.clone(),
    }
}

fn encryption(file: &File, found: &mut Findings<'_>) -> Encryption {
    use base64::Engine as _;
    let text = file.encrypt.expose();
    if !text.is_empty() {
        match base64::engine::general_purpose::STANDARD.decode(text) {
            Err(error) => found.problem("encrypt", format!("encrypt has invalid key: no base64: {error}")),
            Ok(key) if !matches!(key.len(), 16 | 24 | 32) => {
                found.problem("encrypt", "encrypt has invalid key: key size must be 16, 24 or 32 bytes");
            }
            Ok(_) => {}
        }
    }
    Encryption {
        key: (!text.is_empty()).then(|| Secret::new(text)),
        verify_incoming: file.encrypt_verify_incoming,
        verify_outgoing: file.encrypt_verify_outgoing,
        disable_keyring_file: file.disable_keyring_file,
    }
}

fn check_rules(file: &File, found: &mut Findings<'_>) -> CheckRules {
    let output_max_size = u64::try_from(file.check_output_max_size).unwrap_or(0);
    found.refuse_if(
        output_max_size == 0,
        "check_output_max_size",
        "check_output_max_size must be positive, to discard check output use the discard_check_output flag",
    );
    CheckRules {
        enable_remote_scripts: file.enable_script_checks,
        enable_local_scripts: file.enable_local_script_checks.unwrap_or(file.enable_script_checks),
        update_interval: file.check_update_interval,
        output_max_size,
        discard_output: file.discard_check_output,
        agent_tls: file.enable_agent_tls_for_checks,
        deregister_interval_min: file.check_deregister_interval_min,
        reap_interval: file.check_reap_interval,
    }
}

fn recursors(given: &[String], found: &mut Findings<'_>) -> Vec<String> {
    let mut list = found.expand_list("recursors", given);
    list.retain(|recursor| !recursor.is_empty());
    for recursor in &list {
        let address: Option<IpAddr> = recursor.trim_matches(['[', ']']).parse().ok();
        if address.is_some_and(|address| address.is_unspecified()) {
            found.problem("recursors", "DNS recursor address cannot be 0.0.0.0, :: or [::]");
        }
    }
    list
}

fn raft(file: &File) -> Raft {
    let factor = u32::try_from(file.performance.raft_multiplier).unwrap_or(1);
    let times = |base: Duration| base.saturating_mul(factor);
    Raft {
        protocol: u8::try_from(file.raft_protocol).unwrap_or(3),
        heartbeat_timeout: times(file.consul.raft.heartbeat_timeout),
        election_timeout: times(file.consul.raft.election_timeout),
        leader_lease_timeout: times(file.consul.raft.leader_lease_timeout),
        snapshot_threshold: positive_or(file.raft_snapshot_threshold, 16384),
        snapshot_interval: file.raft_snapshot_interval,
        trailing_logs: positive_or(file.raft_trailing_logs, 10240),
        health_interval: file.consul.server.health_interval.unwrap_or(Duration::from_secs(2)),
    }
}

/// Raft's numbers at or below zero stand for their defaults, as in Consul.
fn positive_or(number: i64, default: u64) -> u64 {
    u64::try_from(number).ok().filter(|number| *number > 0).unwrap_or(default)
}

/// `node_meta` and the metadata of services: Consul's limits, in its words.
pub(crate) fn check_metadata(meta: &BTreeMap<String, String>, reserved_allowed: bool) -> Result<(), String> {
    const MOST_PAIRS: usize = 64;
    const LONGEST_KEY: usize = 128;
    const LONGEST_VALUE: usize = 512;
    if meta.len() > MOST_PAIRS {
        return Err(format!("Node metadata cannot contain more than {MOST_PAIRS} key/value pairs"));
    }
    for (key, value) in meta {
        let reason = if key.is_empty() {
            "Key cannot be blank".to_owned()
        } else if !key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
            "Key contains invalid characters".to_owned()
        } else if key.len() > LONGEST_KEY {
            format!("Key is too long (limit: {LONGEST_KEY} characters)")
        } else if key.starts_with("consul-") && !reserved_allowed {
            "Key prefix 'consul-' is reserved for internal use".to_owned()
        } else if value.len() > LONGEST_VALUE {
            format!("Value is too long (limit: {LONGEST_VALUE} characters)")
        } else {
            continue;
        };
        return Err(format!("Couldn't load metadata pair ('{key}', '{value}'): {reason}"));
    }
    Ok(())
}
