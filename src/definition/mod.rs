//! Services, checks and watches as their owners define them, in files or over HTTP, and the words they
//! share: a check's [`Status`], a [`Secret`].
//!
//! Plain data that every room may name and that names none but `duration`; only rules that need no state live here.
//! What an id or a name defaults to, and whether a definition can be registered, is the business of
//! the agent's registration (`endpoints::agent`).

mod secret;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::duration;

pub use secret::Secret;

/// Health of a check, in Consul's words. Ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// `passing`
    Passing,
    /// `warning`
    Warning,
    /// `critical`
    Critical,
}

impl Status {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The status a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Passing, Self::Warning, Self::Critical].into_iter().find(|status| status.as_str() == word)
    }
}

/// Reads a Go duration.
pub(crate) fn go_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration::parse_unsigned(&text).map_err(serde::de::Error::custom)
}

/// Writes what [`go_duration`] reads.
fn as_go_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&duration::format_unsigned(*duration))
}

/// `services { … }`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceDefinition {
    /// Id, the name if empty.
    pub id: String,
    /// Name.
    pub name: String,
    /// `""`, `connect-proxy`, `mesh-gateway`, `terminating-gateway` or `ingress-gateway`.
    pub kind: String,
    /// Tags in the order given.
    pub tags: Vec<String>,
    /// Address, the node's if empty.
    pub address: String,
    /// Addresses by tag (`lan`, `wan`, `lan_ipv4`, …).
    pub tagged_addresses: BTreeMap<String, TaggedAddress>,
    /// Free metadata.
    pub meta: BTreeMap<String, String>,
    /// Port, 0 for none.
    pub port: i64,
    /// Token for the service's registration.
    pub token: Secret,
    /// The catalog's tags win over these.
    pub enable_tag_override: bool,
    /// DNS weights, 1 and 1 if absent.
    pub weights: Option<WeightsDefinition>,
    /// A check of its own.
    pub check: Option<CheckDefinition>,
    /// More checks.
    pub checks: Vec<CheckDefinition>,
    /// Proxy settings, for the kinds that are proxies.
    pub proxy: Option<ProxyDefinition>,
    /// Connect settings.
    pub connect: Option<ConnectDefinition>,
}

impl ServiceDefinition {
    /// All its checks: the lone one after the listed ones, as Consul orders them.
    pub fn all_checks(&self) -> impl Iterator<Item = &CheckDefinition> {
        self.checks.iter().chain(&self.check)
    }
}

/// An address of a service under a tag.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaggedAddress {
    /// IP address or host name.
    pub address: String,
    /// Port.
    pub port: i64,
}

/// `weights`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WeightsDefinition {
    /// While all checks pass; at least 1.
    pub passing: i64,
    /// While a check warns; 0 takes the instance out.
    pub warning: i64,
}

impl Default for WeightsDefinition {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// `connect` of a service.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectDefinition {
    /// The service speaks mutual TLS itself.
    pub native: bool,
    /// A proxy to be registered with it.
    pub sidecar_service: Option<Box<ServiceDefinition>>,
}

/// `proxy` of a service.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyDefinition {
    /// Service the proxy stands in front of.
    pub destination_service_name: String,
    /// Its instance.
    pub destination_service_id: String,
    /// Address of the local instance.
    pub local_service_address: String,
    /// Port of the local instance.
    pub local_service_port: i64,
    /// Opaque settings.
    pub config: Option<serde_json::Value>,
    /// Upstreams.
    pub upstreams: Vec<UpstreamDefinition>,
    /// Gateway mode.
    pub mesh_gateway: MeshGatewayDefinition,
    /// Paths exposed without mutual TLS.
    pub expose: ExposeDefinition,
}

/// `mesh_gateway`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeshGatewayDefinition {
    /// `""`, `none`, `local` or `remote`.
    pub mode: String,
}

/// `expose` of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExposeDefinition {
    /// Expose the paths of all HTTP and gRPC checks.
    pub checks: bool,
    /// Paths exposed besides.
    pub paths: Vec<ExposePathDefinition>,
}

/// One exposed path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExposePathDefinition {
    /// Port the proxy listens on.
    pub listener_port: i64,
    /// HTTP path.
    pub path: String,
    /// Port of the service behind it.
    pub local_path_port: i64,
    /// `http` or `http2`.
    pub protocol: String,
}

/// One upstream of a proxy.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamDefinition {
    /// `service` or `prepared_query`.
    pub destination_type: String,
    /// Name of the destination.
    pub destination_name: String,
    /// Datacenter of the destination.
    pub datacenter: String,
    /// Address the proxy binds for it.
    pub local_bind_address: String,
    /// Port the proxy binds for it.
    pub local_bind_port: i64,
    /// Opaque settings.
    pub config: Option<serde_json::Value>,
    /// Gateway mode for this upstream.
    pub mesh_gateway: MeshGatewayDefinition,
}

/// `checks { … }`, of the node or of a service. Written, its token included, only to the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckDefinition {
    /// Id; derived from name or service if empty.
    pub id: String,
    /// Name; derived from the service if empty.
    pub name: String,
    /// Notes for humans.
    pub notes: String,
    /// Service a top-level check belongs to, by id.
    pub service_id: String,
    /// Token for the check's registration.
    #[serde(serialize_with = "Secret::serialize_exposed")]
    pub token: Secret,
    /// State before the first run; critical if empty.
    pub status: String,
    /// Command of a script check.
    pub args: Vec<String>,
    /// URL of an HTTP check.
    pub http: String,
    /// Request headers.
    pub header: BTreeMap<String, Vec<String>>,
    /// Request method; GET if empty.
    pub method: String,
    /// Request body.
    pub body: String,
    /// Address of a TCP check.
    pub tcp: String,
    /// Time between runs; 0 for none.
    #[serde(deserialize_with = "go_duration", serialize_with = "as_go_duration")]
    pub interval: Duration,
    /// Container of a Docker check.
    pub docker_container_id: String,
    /// Shell used in the container.
    pub shell: String,
    /// Address (and service) of a gRPC check.
    pub grpc: String,
    /// gRPC over TLS.
    pub grpc_use_tls: bool,
    /// Address of a UDP check (since Consul 1.12).
    pub udp: String,
    /// Address of an HTTP/2 ping check (since Consul 1.10).
    pub h2ping: String,
    /// HTTP/2 ping over TLS; true unless said otherwise, as Consul's.
    pub h2ping_use_tls: Option<bool>,
    /// Name of a systemd unit (since Consul 1.16).
    pub os_service: String,
    /// Name the server's certificate must carry, instead of the address's.
    pub tls_server_name: String,
    /// Answers of an HTTP check that point elsewhere are taken as they are, not followed (since Consul 1.17).
    pub disable_redirects: bool,
    /// Do not verify the certificate.
    pub tls_skip_verify: bool,
    /// Node of an alias check.
    pub alias_node: String,
    /// Service of an alias check.
    pub alias_service: String,
    /// Time limit of a run; 0 for the kind's default.
    #[serde(deserialize_with = "go_duration", serialize_with = "as_go_duration")]
    pub timeout: Duration,
    /// Time to live of a TTL check; 0 for none.
    #[serde(deserialize_with = "go_duration", serialize_with = "as_go_duration")]
    pub ttl: Duration,
    /// Bytes of output kept; 0 for the agent's `check_output_max_size`.
    pub output_max_size: i64,
    /// Runs that must pass in a row before the check does.
    pub success_before_passing: u32,
    /// Runs that must fail in a row before the check warns; `failures_before_critical` if 0 (since Consul 1.12).
    pub failures_before_warning: u32,
    /// Runs that must fail in a row before the check does.
    pub failures_before_critical: u32,
    /// Deregister the service once critical for so long; 0 for never.
    #[serde(deserialize_with = "go_duration", serialize_with = "as_go_duration")]
    pub deregister_critical_service_after: Duration,
}

impl CheckDefinition {
    /// Runs a command on this machine or in a container.
    pub fn is_script(&self) -> bool {
        !self.args.is_empty()
    }

    /// Whether the definition says one thing that can be run, by Consul's rules and in its words.
    ///
    /// # Errors
    /// The reason.
    pub fn validate(&self) -> Result<(), String> {
        let by_interval = self.is_script()
            || !self.http.is_empty()
            || !self.tcp.is_empty()
            || !self.grpc.is_empty()
            || !self.udp.is_empty()
            || !self.h2ping.is_empty()
            || !self.os_service.is_empty();
        let has_interval = !self.interval.is_zero();
        let has_ttl = !self.ttl.is_zero();
        let refused = if has_interval && has_ttl {
            "Interval and TTL cannot both be specified"
        } else if by_interval && !has_interval {
            "Interval must be > 0 for Script, HTTP, or TCP checks"
        } else if by_interval && self.is_alias() {
            "Interval cannot be set for Alias checks"
        } else if self.is_alias() && has_ttl {
            "TTL must be not be set for Alias checks"
        } else if !by_interval && !self.is_alias() && !has_ttl {
            "TTL must be > 0 for TTL checks"
        } else if self.output_max_size < 0 {
            "MaxOutputMaxSize must be positive"
        } else {
            return Ok(());
        };
        Err(refused.to_owned())
    }

    /// Follows the health of another service or node.
    pub fn is_alias(&self) -> bool {
        !self.alias_node.is_empty() || !self.alias_service.is_empty()
    }

    /// The kind of probe it asks for, by Consul's word and in its order; empty if it asks for none.
    pub fn kind(&self) -> &'static str {
        let repeats = !self.interval.is_zero();
        match () {
            () if !self.grpc.is_empty() && repeats => "grpc",
            () if !self.http.is_empty() && repeats => "http",
            () if !self.ttl.is_zero() => "ttl",
            () if !self.tcp.is_empty() && repeats => "tcp",
            () if !self.udp.is_empty() && repeats => "udp",
            () if self.is_alias() => "alias",
            () if self.is_script() && !self.docker_container_id.is_empty() && repeats => "docker",
            () if self.is_script() => "script",
            () if !self.h2ping.is_empty() && repeats => "h2ping",
            () if !self.os_service.is_empty() && repeats => "os_service",
            () => "",
        }
    }
}

/// `watches { … }`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchDefinition {
    /// `key`, `keyprefix`, `services`, `nodes`, `service`, `checks`, `event`, `connect_roots`,
    /// `connect_leaf` or `agent_service`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Datacenter to ask, the agent's own if empty.
    pub datacenter: String,
    /// Token to ask with.
    pub token: Secret,
    /// Any server may answer.
    pub stale: bool,
    /// Command in one string, run by the shell; the older form.
    pub handler: String,
    /// Command to run.
    pub args: Vec<String>,
    /// `script` or `http`; script if empty.
    pub handler_type: String,
    /// Where an `http` handler posts to.
    pub http_handler_config: Option<WatchHttp>,
    /// Key, for `key`.
    pub key: String,
    /// Prefix, for `keyprefix`.
    pub prefix: String,
    /// Service, for `service`, `checks` and `connect_leaf`.
    pub service: String,
    /// Service id, for `agent_service`.
    pub service_id: String,
    /// Tags, for `service`: one string or a list.
    #[serde(deserialize_with = "one_or_more")]
    pub tag: Vec<String>,
    /// Passing instances only, for `service`.
    pub passingonly: bool,
    /// State, for `checks`.
    pub state: String,
    /// Event name, for `event`.
    pub name: String,
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }
    Ok(match OneOrMore::deserialize(deserializer)? {
        OneOrMore::One(text) => vec![text],
        OneOrMore::More(list) => list,
    })
}

impl WatchDefinition {
    /// Whether the watch can be run, by Consul's rules and in its words.
    ///
    /// # Errors
    /// The reason.
    pub fn validate(&self) -> Result<(), String> {
        let script = !self.handler.is_empty();
        let args = !self.args.is_empty();
        let needs = |value: &str, what: &str| {
            if value.is_empty() { Err(format!("Must specify a single {what} to watch")) } else { Ok(()) }
        };
        match self.kind.as_str() {
            "" => return Err("Watch type must be specified".to_owned()),
            "key" => needs(&self.key, "key")?,
            "keyprefix" => needs(&self.prefix, "prefix")?,
            "service" | "connect_leaf" => needs(&self.service, "service")?,
            "agent_service" => needs(&self.service_id, "service_id")?,
            "checks" if !self.service.is_empty() && !self.state.is_empty() => {
                return Err("Cannot specify service and state".to_owned());
            }
            "checks" | "services" | "nodes" | "event" | "connect_roots" => {}
            other => return Err(format!("Unsupported watch type: {other}")),
        }
        match self.handler_type.as_str() {
            "http" => match &self.http_handler_config {
                None => Err("Handler type 'http' requires 'http_handler_config' to be set".to_owned()),
                Some(target) if target.path.is_empty() => {
                    Err("Requires 'path' to be set in 'http_handler_config'".to_owned())
                }
                Some(_) if script || args => Err("Only one watch handler allowed".to_owned()),
                Some(_) => Ok(()),
            },
            "" | "script" if script && args => Err("Only one watch handler allowed".to_owned()),
            "" | "script" if !script && !args => Err("Must define a watch handler".to_owned()),
            "" | "script" => Ok(()),
            other => Err(format!("Handler type '{other}' not recognized")),
        }
    }
}

/// `http_handler_config` of a watch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchHttp {
    /// URL.
    pub path: String,
    /// Method; POST.
    pub method: String,
    /// Time limit; 10s.
    #[serde(deserialize_with = "go_duration")]
    pub timeout: Duration,
    /// Request headers.
    pub header: BTreeMap<String, Vec<String>>,
    /// Do not verify the certificate.
    pub tls_skip_verify: bool,
}

impl Default for WatchHttp {
    fn default() -> Self {
        Self {
            path: String::new(),
            method: "POST".to_owned(),
            timeout: Duration::from_secs(10),
            header: BTreeMap::new(),
            tls_skip_verify: false,
        }
    }
}
