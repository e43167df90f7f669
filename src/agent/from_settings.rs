//! How the settings become what the parts of an agent are built from.

use serde_json::{Map, Value, json};

use super::cluster::{ClusterOptions, StewardOptions};
use super::dns::{DnsLive, DnsOptions};
use super::gossip::GossipOptions;
use super::options::{AgentOptions, LiveSettings};
use crate::actors::health_check::{CheckRunSettings, CheckTls};
use crate::actors::local_state::LocalSettings;
use crate::actors::local_state::entries::OutputRules;
use crate::endpoints::EndpointSettings;
use crate::endpoints::agent::AgentPorts;
use crate::endpoints::agent::registration::Rules;
use crate::settings::Listener;
use crate::settings::Settings;
use crate::web::WebSettings;

impl AgentOptions {
    /// Picks out and converts what this build serves.
    ///
    /// # Errors
    /// A setting that asks for something that is not built yet, named with what to do about it.
    pub fn from_settings(settings: &Settings) -> Result<Self, String> {
        let network = &settings.network;
        let ports = &settings.ports;
        let port = |port: Option<u16>| port.unwrap_or(0);
        Ok(Self {
            banner: !settings.log.json,
            dev: settings.dev_mode,
            data_dir: settings.data_dir.clone(),
            node_id: settings.node_id.clone(),
            server: settings.server,
            bootstrap: settings.bootstrap || settings.dev_mode || settings.bootstrap_expect == 1,
            advertise_lan: network.advertise_lan.to_string(),
            advertise_wan: network.advertise_wan.to_string(),
            ports: AgentPorts {
                http: port(ports.http),
                https: port(ports.https),
                dns: port(ports.dns),
                grpc: port(ports.grpc),
                serf_lan: port(ports.serf_lan),
                serf_wan: port(ports.serf_wan),
                server: port(ports.server),
            },
            client_addresses: network.client.iter().map(ToString::to_string).collect(),
            live: LiveSettings::from_settings(settings)?,
            local: local(settings),
            checks: checks(settings),
            web: web(settings)?,
            dns: DnsOptions::from_settings(settings),
            gossip: GossipOptions::from_settings(settings)?,
            endpoints: EndpointSettings {
                datacenter: settings.datacenter.clone(),
                node_name: settings.node_name.clone(),
                node_id: String::new(),
                kv_max_value_size: size(settings.limits.kv_max_value_size),
                txn_max_req_len: size(settings.limits.txn_max_req_len),
                session_ttl_min: settings.session_ttl_min,
                default_query_time: settings.default_query_time,
                max_query_time: settings.max_query_time,
                disable_coordinates: settings.coordinates.disabled,
            },
            cluster: ClusterOptions {
                listen: network.rpc_bind,
                handshake_timeout: settings.limits.rpc_handshake_timeout,
                max_connections_per_client: match settings.limits.rpc_max_conns_per_client {
                    most if most > 0 => usize::try_from(most).unwrap_or(usize::MAX),
                    _ => usize::MAX,
                },
                expect: settings.bootstrap_expect,
            },
            steward: StewardOptions::from_settings(settings),
            leave_drain_time: settings.performance.leave_drain_time,
            rpc_hold_timeout: settings.performance.rpc_hold_timeout,
            raft_multiplier: u32::try_from(settings.performance.raft_multiplier).unwrap_or(1).clamp(1, 10),
            raft_snapshot_threshold: settings.raft.snapshot_threshold,
            raft_trailing_logs: settings.raft.trailing_logs,
            leave_on_terminate: settings.leave_on_terminate,
            skip_leave_on_interrupt: settings.skip_leave_on_interrupt,
            pid_file: settings.pid_file.clone(),
            prometheus_retention: settings.telemetry.prometheus_retention_time,
            telemetry: settings.telemetry.clone(),
            debug_config: debug_config(settings),
        })
    }
}

impl LiveSettings {
    /// Picks out what a reload may change.
    ///
    /// # Errors
    /// A setting that cannot be followed, in words for the user.
    pub fn from_settings(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            node_meta: settings.node_meta.clone(),
            services: settings.services.clone(),
            checks: settings.checks.clone(),
            watches: settings.watches.clone(),
            prefix_filter: settings.telemetry.prefix_filter.clone(),
            discard_check_output: settings.check_rules.discard_output,
            dns: DnsLive::from_settings(settings)?,
        })
    }
}

fn local(settings: &Settings) -> LocalSettings {
    let rules = &settings.check_rules;
    LocalSettings {
        output: OutputRules { update_interval: rules.update_interval, discard: rules.discard_output },
        sync_interval: settings.ae_interval,
        rules: Rules {
            remote_scripts: rules.enable_remote_scripts,
            local_scripts: rules.enable_local_scripts,
            sidecar_ports: (settings.ports.sidecar_min_port, settings.ports.sidecar_max_port),
            output_max_size: size(rules.output_max_size),
        },
    }
}

fn checks(settings: &Settings) -> CheckRunSettings {
    let rules = &settings.check_rules;
    let tls = if rules.agent_tls {
        let own = &settings.tls.internal_rpc;
        CheckTls {
            ca_file: own.ca_file.clone(),
            ca_path: own.ca_path.clone(),
            cert_file: own.cert_file.clone(),
            key_file: own.key_file.clone(),
            server_name: settings.tls.server_name.clone(),
        }
    } else {
        CheckTls::default()
    };
    let defaults = CheckRunSettings::default();
    CheckRunSettings {
        node_name: settings.node_name.clone(),
        output_max_size: size(rules.output_max_size),
        docker_host: std::env::var("DOCKER_HOST").unwrap_or(defaults.docker_host),
        tls,
        ..CheckRunSettings::default()
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn web(settings: &Settings) -> Result<WebSettings, String> {
    if !settings.network.https.is_empty() {
        return Err(
            "ports.https: HTTPS is not implemented by this version of tribune; leave the port at -1".into()
        );
    }
    let mut listen = Vec::new();
    for listener in &settings.network.http {
        match listener {
            Listener::Ip(address) => listen.push(*address),
            Listener::Unix(path) => {
                return Err(format!(
                    "addresses.http: Unix sockets are not implemented by this version of tribune (unix://{})",
                    path.display()
                ));
            }
        }
    }
    let http = &settings.http;
    Ok(WebSettings {
        listen,
        always_pretty: settings.dev_mode,
        ui: settings.ui.enabled,
        enable_debug: settings.enable_debug,
        response_headers: http
            .response_headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        block_endpoints: http.block_endpoints.clone(),
        allow_write_http_from: http.allow_write_http_from.clone(),
        http_use_cache: http.use_cache,
        translate_wan_addrs: settings.translate_wan_addrs,
        disable_unprintable_filter: settings.disable_http_unprintable_char_filter,
        discovery_max_stale: settings.discovery_max_stale,
        max_connections_per_client: usize::try_from(settings.limits.http_max_conns_per_client).unwrap_or(0),
        ..WebSettings::default()
    })
}

/// The settings in effect by Consul's runtime names, as `/v1/agent/self` shows them. Secrets are
/// not among them.
fn debug_config(settings: &Settings) -> Map<String, Value> {
    let network = &settings.network;
    let milliseconds = |duration: std::time::Duration| format!("{}ms", duration.as_millis());
    let addresses = |addresses: &[Listener]| {
        addresses.iter().map(|address| format!("tcp://{address}")).collect::<Vec<_>>()
    };
    let fields = json!({
        "AdvertiseAddrLAN": network.advertise_lan.to_string(),
        "AdvertiseAddrWAN": network.advertise_wan.to_string(),
        "BindAddr": network.bind.to_string(),
        "Bootstrap": settings.bootstrap,
        "BootstrapExpect": settings.bootstrap_expect,
        "ClientAddrs": network.client.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "DataDir": settings.data_dir.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        "Datacenter": settings.datacenter,
        "DefaultQueryTime": milliseconds(settings.default_query_time),
        "DevMode": settings.dev_mode,
        "DisableCoordinates": settings.coordinates.disabled,
        "DisableHTTPUnprintableCharFilter": settings.disable_http_unprintable_char_filter,
        "DisableRemoteExec": settings.disable_remote_exec,
        "EnableDebug": settings.enable_debug,
        "EnableUI": settings.ui.enabled,
        "HTTPAddrs": addresses(&network.http),
        "HTTPBlockEndpoints": settings.http.block_endpoints,
        "HTTPMaxConnsPerClient": settings.limits.http_max_conns_per_client,
        "HTTPPort": settings.ports.http.map_or(-1, i32::from),
        "HTTPSPort": settings.ports.https.map_or(-1, i32::from),
        "HTTPUseCache": settings.http.use_cache,
        "KVMaxValueSize": settings.limits.kv_max_value_size,
        "LeaveOnTerm": settings.leave_on_terminate,
        "LogLevel": settings.log.level.as_str(),
        "MaxQueryTime": milliseconds(settings.max_query_time),
        "NodeMeta": settings.node_meta,
        "NodeName": settings.node_name,
        "PidFile": settings.pid_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        "PrimaryDatacenter": settings.primary_datacenter,
        "RPCHoldTimeout": milliseconds(settings.performance.rpc_hold_timeout),
        "SerfPortLAN": settings.ports.serf_lan.map_or(-1, i32::from),
        "SerfPortWAN": settings.ports.serf_wan.map_or(-1, i32::from),
        "ServerMode": settings.server,
        "ServerPort": settings.ports.server.map_or(-1, i32::from),
        "SessionTTLMin": milliseconds(settings.session_ttl_min),
        "SkipLeaveOnInt": settings.skip_leave_on_interrupt,
        "TranslateWANAddrs": settings.translate_wan_addrs,
        "TxnMaxReqLen": settings.limits.txn_max_req_len,
    });
    match fields {
        Value::Object(mut fields) => {
            fields.extend(super::dns::debug_config(settings));
            fields
        }
        _ => Map::new(),
    }
}
