//! The records of the tables: what Consul's catalog, sessions, coordinates and key space are made of.
//!
//! Field names on disk and in commands are Consul's own (`PascalCase`), so a row reads like the
//! API object it becomes; what a record mostly does not have is left out of rows and commands. Only the raft indexes stay together in one [`Indexes`]. Absent and empty maps are kept apart (`None` against an empty map)
//! because the HTTP API shows the difference (`null` against `{}`).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use crate::definition::Status;

/// A string map as Consul uses it for metadata.
pub type StringMap = BTreeMap<String, String>;

/// Whether a field says no more than leaving it out does: most checks have no definition, most
/// services no proxy, and the field names would cost more than all the rest.
fn is_default<T: Default + PartialEq>(field: &T) -> bool {
    *field == T::default()
}

/// A value of no fixed shape (proxy configuration and the like), kept as it was given.
pub type FreeForm = serde_json::Value;

/// The raft index at which a record was created and last changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Indexes {
    /// Index of the command that created the record.
    pub create_index: u64,
    /// Index of the last command that changed it.
    pub modify_index: u64,
}

/// How the leader looks after the other servers. Durations are nanoseconds, as Go's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutopilotConfig {
    /// Remove servers that failed.
    pub cleanup_dead_servers: bool,
    /// A server the leader has not heard of for longer is not healthy.
    pub last_contact_threshold: i64,
    /// A server that lacks more entries of the log is not healthy.
    pub max_trailing_logs: u64,
    /// Failed servers are kept rather than leaving fewer voters than these.
    pub min_quorum: u64,
    /// How long a new server must be healthy before it votes.
    pub server_stabilization_time: i64,
    /// Consul Enterprise; kept for its clients.
    pub redundancy_zone_tag: String,
    /// Consul Enterprise; kept for its clients.
    pub disable_upgrade_migration: bool,
    /// Consul Enterprise; kept for its clients.
    pub upgrade_version_tag: String,
    /// Raft indexes.
    pub indexes: Indexes,
}

/// A node of the catalog.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    /// UUID in lower case, or empty for nodes registered without one.
    #[serde(rename = "ID")]
    pub id: String,
    /// Name as registered; looked up without regard to case.
    pub node: Arc<str>,
    /// IP address or host name.
    pub address: String,
    /// Datacenter the node lives in.
    pub datacenter: String,
    /// Addresses by tag (`lan`, `wan`, …).
    #[serde(skip_serializing_if = "is_default")]
    pub tagged_addresses: Option<StringMap>,
    /// Free metadata.
    #[serde(skip_serializing_if = "is_default")]
    pub meta: Option<StringMap>,
    /// Raft indexes.
    #[serde(skip_serializing_if = "is_default")]
    pub indexes: Indexes,
}

/// An address a service is reachable at under some tag.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceAddress {
    /// IP address or host name.
    pub address: String,
    /// TCP or UDP port.
    pub port: i64,
}

/// DNS weights of an instance by its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Weights {
    /// Weight while all checks pass.
    pub passing: i64,
    /// Weight while a check warns.
    pub warning: i64,
}

impl Default for Weights {
    /// Consul's defaults: 1 and 1.
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// `MeshGateway` of a proxy or upstream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MeshGateway {
    /// `""`, `none`, `local` or `remote`.
    pub mode: String,
}

/// One path a proxy exposes without mutual TLS.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExposePath {
    /// Port the proxy listens on.
    pub listener_port: i64,
    /// HTTP path.
    pub path: String,
    /// Port of the service behind it.
    pub local_path_port: i64,
    /// `http` or `http2`.
    pub protocol: String,
    /// Set when the path stems from a registered check.
    pub parsed_from_check: bool,
}

/// `Expose` of a proxy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Expose {
    /// Expose the paths of all HTTP and gRPC checks.
    pub checks: bool,
    /// Paths exposed besides.
    pub paths: Vec<ExposePath>,
}

/// One upstream of a proxy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Upstream {
    /// `service` or `prepared_query`.
    pub destination_type: String,
    /// Enterprise namespace, always empty here.
    pub destination_namespace: String,
    /// Name of the destination.
    pub destination_name: String,
    /// Datacenter of the destination.
    pub datacenter: String,
    /// Address the proxy binds for it.
    pub local_bind_address: String,
    /// Port the proxy binds for it.
    pub local_bind_port: i64,
    /// Opaque settings.
    pub config: Option<BTreeMap<String, FreeForm>>,
    /// Gateway mode for this upstream.
    pub mesh_gateway: MeshGateway,
}

/// `Proxy` of a service of kind `connect-proxy` or a gateway.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ProxyConfig {
    /// Service the proxy stands in front of.
    pub destination_service_name: String,
    /// Its instance.
    #[serde(rename = "DestinationServiceID")]
    pub destination_service_id: String,
    /// Address of the local instance.
    pub local_service_address: String,
    /// Port of the local instance.
    pub local_service_port: i64,
    /// Opaque settings.
    #[serde(skip_serializing_if = "is_default")]
    pub config: Option<BTreeMap<String, FreeForm>>,
    /// Upstreams.
    #[serde(skip_serializing_if = "is_default")]
    pub upstreams: Vec<Upstream>,
    /// Gateway mode.
    #[serde(skip_serializing_if = "is_default")]
    pub mesh_gateway: MeshGateway,
    /// Exposed paths.
    #[serde(skip_serializing_if = "is_default")]
    pub expose: Expose,
}

/// `Connect` of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceConnect {
    /// The service speaks mutual TLS itself.
    pub native: bool,
    /// A sidecar definition, kept as given (agents expand it before it reaches the catalog).
    pub sidecar_service: Option<FreeForm>,
}

/// A service instance on a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Service {
    /// `""`, `connect-proxy`, `mesh-gateway`, `terminating-gateway` or `ingress-gateway`.
    #[serde(skip_serializing_if = "is_default")]
    pub kind: String,
    /// Identifier, unique on its node without regard to case.
    #[serde(rename = "ID")]
    pub id: Arc<str>,
    /// Service name.
    pub service: Arc<str>,
    /// Tags in the order given.
    pub tags: Vec<String>,
    /// Address, empty when the node's is meant.
    #[serde(skip_serializing_if = "is_default")]
    pub address: String,
    /// Addresses by tag.
    #[serde(skip_serializing_if = "is_default")]
    pub tagged_addresses: Option<BTreeMap<String, ServiceAddress>>,
    /// Free metadata.
    #[serde(skip_serializing_if = "is_default")]
    pub meta: Option<StringMap>,
    /// Port.
    pub port: i64,
    /// DNS weights.
    #[serde(skip_serializing_if = "is_default")]
    pub weights: Weights,
    /// The catalog's tags win over the agent's during anti-entropy.
    #[serde(skip_serializing_if = "is_default")]
    pub enable_tag_override: bool,
    /// Proxy settings; default unless `kind` says so.
    #[serde(skip_serializing_if = "is_default")]
    pub proxy: ProxyConfig,
    /// Connect settings.
    #[serde(skip_serializing_if = "is_default")]
    pub connect: ServiceConnect,
    /// Raft indexes.
    #[serde(skip_serializing_if = "is_default")]
    pub indexes: Indexes,
}

/// What a check does; durations are nanoseconds, 0 meaning "not set".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckDefinition {
    /// URL of an HTTP check.
    #[serde(skip_serializing_if = "is_default")]
    #[serde(rename = "HTTP")]
    pub http: String,
    /// Skip certificate verification.
    #[serde(skip_serializing_if = "is_default")]
    #[serde(rename = "TLSSkipVerify")]
    pub tls_skip_verify: bool,
    /// Request headers.
    #[serde(skip_serializing_if = "is_default")]
    pub header: Option<BTreeMap<String, Vec<String>>>,
    /// Request method.
    #[serde(skip_serializing_if = "is_default")]
    pub method: String,
    /// Request body.
    #[serde(skip_serializing_if = "is_default")]
    pub body: String,
    /// Address of a TCP check.
    #[serde(skip_serializing_if = "is_default")]
    #[serde(rename = "TCP")]
    pub tcp: String,
    /// Time between runs.
    #[serde(skip_serializing_if = "is_default")]
    pub interval: i64,
    /// Bytes of output kept.
    #[serde(skip_serializing_if = "is_default")]
    pub output_max_size: u64,
    /// Time limit of a run.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: i64,
    /// Deregister the service when critical for so long.
    #[serde(skip_serializing_if = "is_default")]
    pub deregister_critical_service_after: i64,
    /// Command of a script check.
    #[serde(skip_serializing_if = "is_default")]
    pub script_args: Vec<String>,
    /// Container of a Docker check.
    #[serde(skip_serializing_if = "is_default")]
    #[serde(rename = "DockerContainerID")]
    pub docker_container_id: String,
    /// Shell used in the container.
    #[serde(skip_serializing_if = "is_default")]
    pub shell: String,
    /// Address of a gRPC check.
    #[serde(skip_serializing_if = "is_default")]
    #[serde(rename = "GRPC")]
    pub grpc: String,
    /// gRPC over TLS.
    #[serde(skip_serializing_if = "is_default")]
    #[serde(rename = "GRPCUseTLS")]
    pub grpc_use_tls: bool,
    /// Node of an alias check.
    #[serde(skip_serializing_if = "is_default")]
    pub alias_node: String,
    /// Service of an alias check.
    #[serde(skip_serializing_if = "is_default")]
    pub alias_service: String,
    /// Time to live of a TTL check.
    #[serde(skip_serializing_if = "is_default")]
    #[serde(rename = "TTL")]
    pub ttl: i64,
}

/// A health check of a node or of one of its services.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Check {
    /// Node it belongs to.
    pub node: Arc<str>,
    /// Identifier, unique on its node without regard to case.
    #[serde(rename = "CheckID")]
    pub check_id: Arc<str>,
    /// Human name.
    pub name: String,
    /// `passing`, `warning`, `critical` or, as Consul lets writers do, any other word.
    pub status: String,
    /// Human notes.
    #[serde(skip_serializing_if = "is_default")]
    pub notes: String,
    /// Output of the last run.
    pub output: String,
    /// Service instance it belongs to, empty for a node check.
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    /// Name of that service, filled in by the catalog.
    pub service_name: String,
    /// Tags of that service, filled in by the catalog.
    #[serde(skip_serializing_if = "is_default")]
    pub service_tags: Vec<String>,
    /// Kind of probe (`http`, `tcp`, `ttl`, …).
    #[serde(skip_serializing_if = "is_default")]
    #[serde(rename = "Type")]
    pub kind: String,
    /// What the probe does.
    #[serde(skip_serializing_if = "is_default")]
    pub definition: CheckDefinition,
    /// Raft indexes.
    #[serde(skip_serializing_if = "is_default")]
    pub indexes: Indexes,
}

/// What happens to a session's locks when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionBehavior {
    /// Locks are released, values stay.
    #[default]
    Release,
    /// Locked keys are deleted.
    Delete,
}

/// A check of a service a session depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceCheckRef {
    /// Check identifier on the session's node.
    #[serde(rename = "ID")]
    pub id: String,
    /// Enterprise namespace, always empty here.
    pub namespace: String,
}

/// A session: the holder of locks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Session {
    /// UUID, chosen by the proposer.
    #[serde(rename = "ID")]
    pub id: Arc<str>,
    /// Human name.
    pub name: String,
    /// Node it is bound to.
    pub node: Arc<str>,
    /// Nanoseconds during which locks may not be taken again once the session is invalidated. Kept
    /// as given; the rules cap it at 60 s and take anything below zero for none.
    pub lock_delay: i64,
    /// What happens to its locks.
    pub behavior: SessionBehavior,
    /// Time to live as given (`"30s"`), empty for none.
    #[serde(rename = "TTL")]
    pub ttl: String,
    /// Checks it depends on, in the old form that names no kind.
    pub checks: Vec<String>,
    /// Node checks it depends on.
    pub node_checks: Vec<String>,
    /// Service checks it depends on.
    pub service_checks: Option<Vec<ServiceCheckRef>>,
    /// Raft indexes.
    pub indexes: Indexes,
}

impl Session {
    /// Ids of all checks it depends on, whatever their kind.
    pub fn check_ids(&self) -> impl Iterator<Item = &String> {
        let service_checks = self.service_checks.iter().flatten().map(|check| &check.id);
        self.checks.iter().chain(&self.node_checks).chain(service_checks)
    }
}

/// A network coordinate (Vivaldi, as Serf computes it); times in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Coordinate {
    /// Position in Euclidean space.
    pub vec: Vec<f64>,
    /// Confidence, smaller is better.
    pub error: f64,
    /// Offset for high-latency hosts.
    pub adjustment: f64,
    /// Access-link height.
    pub height: f64,
}

/// A node's coordinate in a network segment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeCoordinate {
    /// Node name.
    pub node: Arc<str>,
    /// Segment, always empty here.
    pub segment: String,
    /// The coordinate.
    pub coord: Coordinate,
}

/// A key with everything Consul keeps about it. The stored form is in [`super::kv`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KvEntry {
    /// Key; any bytes, in practice UTF-8.
    pub key: Bytes,
    /// Value, at most 512 KB by default.
    pub value: Bytes,
    /// Opaque number of the client.
    pub flags: u64,
    /// How many times the key was locked.
    pub lock_index: u64,
    /// Session that holds it, if any.
    pub session: Option<Arc<str>>,
    /// Raft indexes.
    pub indexes: Indexes,
}
