//! This agent: what it is, whom it knows, what lives on it, and the switches it has.
//!
//! The facts are given once by whoever builds the agent; members, local services and checks, and
//! the switches (reload, leave) are behind traits that their owners implement.

pub mod content_hash;
pub mod members;
pub mod registration;
mod registry;
pub mod service_health;
pub mod service_view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use imbl::OrdMap;
use tokio::sync::watch;

use super::operator::RaftStatus;
use super::{EndpointError, Endpoints, Leadership};
use crate::definition::Status;
use crate::state::record::{Check, Coordinate, Node, Service, StringMap};
pub use members::{Member, MemberStatus, Members, PoolFigures};
use registration::{CheckRegistration, Registration, Rules, Source};

/// Ports of an agent; 0 for "not served".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentPorts {
    /// HTTP API.
    pub http: u16,
    /// HTTP API over TLS.
    pub https: u16,
    /// DNS.
    pub dns: u16,
    /// gRPC.
    pub grpc: u16,
    /// Gossip in the datacenter.
    pub serf_lan: u16,
    /// Gossip between datacenters.
    pub serf_wan: u16,
    /// Server RPC.
    pub server: u16,
}

/// What an agent is; fixed while it runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentFacts {
    /// Own datacenter.
    pub datacenter: String,
    /// Node name.
    pub node_name: String,
    /// Node UUID.
    pub node_id: String,
    /// It is a server.
    pub server: bool,
    /// Started with `-bootstrap`.
    pub bootstrap: bool,
    /// Version announced, such as `1.8.7`.
    pub version: String,
    /// Word after the version, such as `dev`; mostly empty.
    pub prerelease: String,
    /// Source revision it was built from, empty if unknown.
    pub revision: String,
    /// Address others reach it at in the datacenter.
    pub advertise_lan: String,
    /// Address others reach it at from other datacenters.
    pub advertise_wan: String,
    /// Ports.
    pub ports: AgentPorts,
    /// Metadata of the node as configured.
    pub node_meta: StringMap,
    /// Where its data lies; empty for an agent that keeps everything in memory.
    pub data_dir: String,
    /// How long Prometheus metrics are kept; zero switches them off.
    pub prometheus_retention: Duration,
    /// What registering services and checks with it depends on.
    pub rules: Rules,
    /// Every setting in effect by Consul's runtime name, secrets hidden: `DebugConfig`.
    pub debug_config: serde_json::Map<String, serde_json::Value>,
}

/// The metadata key by which Consul names the network segment; always empty here.
const SEGMENT_META: &str = "consul-network-segment";

/// A node's metadata as the catalog holds it, from the configured one.
pub fn with_segment(mut meta: StringMap) -> StringMap {
    meta.insert(SEGMENT_META.to_owned(), String::new());
    meta
}

impl AgentFacts {
    /// The node's metadata as the catalog holds it.
    pub fn catalog_meta(&self) -> StringMap {
        with_segment(self.node_meta.clone())
    }

    /// The node as the agent wants it in the catalog, its indexes unset.
    pub fn catalog_node(&self) -> Node {
        let mut tagged = StringMap::new();
        for (tag, address) in [("lan", &self.advertise_lan), ("wan", &self.advertise_wan)] {
            tagged.insert(tag.to_owned(), address.clone());
            if let Ok(ip) = address.parse::<std::net::IpAddr>() {
                let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
                tagged.insert(format!("{tag}_{family}"), address.clone());
            }
        }
        Node {
            id: self.node_id.clone(),
            node: self.node_name.as_str().into(),
            address: self.advertise_lan.clone(),
            datacenter: self.datacenter.clone(),
            tagged_addresses: Some(tagged),
            meta: Some(self.catalog_meta()),
            ..Node::default()
        }
    }
}

/// Services and checks of this agent, as they are now. A clone shares everything.
#[derive(Debug, Clone, Default)]
pub struct LocalSnapshot {
    /// Services by id.
    pub services: OrdMap<Arc<str>, Arc<Service>>,
    /// Checks by id.
    pub checks: OrdMap<Arc<str>, Arc<Check>>,
}

/// The owner of this agent's services and checks.
pub trait LocalAgent: Send + Sync {
    /// What there is now.
    fn local(&self) -> Arc<LocalSnapshot>;

    /// Puts the node into maintenance with a reason, or takes it out.
    fn set_node_maintenance(&self, reason: Option<String>);

    /// Puts a service into maintenance with a reason, or takes it out; false if it is unknown.
    fn set_service_maintenance(&self, service_id: &str, reason: Option<String>) -> bool;
}

/// What can be registered with this agent, and taken back.
pub trait LocalRegistry: LocalAgent {
    /// Counts the changes of [`LocalAgent::local`]; wakes those who wait for the next.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Adds or replaces services and their checks. Resolves once they are kept: what came over HTTP is then on disk.
    ///
    /// # Errors
    /// [`EndpointError::Internal`] if they cannot be kept; nothing has changed then.
    fn register_service(
        &self,
        registration: Registration,
        source: Source,
    ) -> BoxFuture<'_, Result<(), EndpointError>>;

    /// Removes a service, its checks and its sidecar.
    ///
    /// # Errors
    /// [`EndpointError::NotFound`] for an unknown service, [`EndpointError::Internal`] if it cannot be removed from disk.
    fn deregister_service(&self, service_id: &str) -> BoxFuture<'_, Result<(), EndpointError>>;

    /// Adds or replaces a check.
    ///
    /// # Errors
    /// As for services.
    fn register_check(
        &self,
        registration: CheckRegistration,
        source: Source,
    ) -> BoxFuture<'_, Result<(), EndpointError>>;

    /// Removes a check.
    ///
    /// # Errors
    /// As for services.
    fn deregister_check(&self, check_id: &str) -> BoxFuture<'_, Result<(), EndpointError>>;

    /// News from whoever a TTL check belongs to.
    ///
    /// # Errors
    /// [`EndpointError::Internal`] with Consul's text if there is no such TTL check.
    fn update_ttl(&self, check_id: &str, status: Status, output: String) -> Result<(), EndpointError>;
}

/// The switches of the agent as a whole.
pub trait AgentControl: Send + Sync {
    /// Reads the configuration again and applies what may change while running.
    ///
    /// # Errors
    /// [`EndpointError::Internal`] with what is wrong in it; nothing is applied then.
    fn reload(&self) -> BoxFuture<'_, Result<(), EndpointError>>;

    /// Leaves the cluster and stops; resolves once everybody was told.
    ///
    /// # Errors
    /// Why it cannot leave.
    fn leave(&self) -> BoxFuture<'_, Result<(), EndpointError>>;
}

/// The handles of the agent endpoints.
#[derive(Clone)]
pub struct Agent {
    /// What it is.
    pub facts: Arc<AgentFacts>,
    /// Whom it knows.
    pub members: Arc<dyn Members>,
    /// What lives on it.
    pub local: Arc<dyn LocalRegistry>,
    /// Its switches.
    pub control: Arc<dyn AgentControl>,
}

/// Figures in groups, all as text, as `consul info` prints them.
pub type Stats = BTreeMap<&'static str, BTreeMap<&'static str, String>>;

const NODE_REASON: &str =
    "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.";
const SERVICE_REASON: &str =
    "Maintenance mode is enabled for this service, but no reason was provided. This is a default message.";

impl Agent {
    /// Puts the node into maintenance or takes it out.
    pub fn node_maintenance(&self, enable: bool, reason: &str) {
        self.local.set_node_maintenance(enable.then(|| reason_or(reason, NODE_REASON)));
    }

    /// Puts a service into maintenance or takes it out.
    ///
    /// # Errors
    /// [`EndpointError::NotFound`] for an unknown service.
    pub fn service_maintenance(
        &self,
        service_id: &str,
        enable: bool,
        reason: &str,
    ) -> Result<(), EndpointError> {
        let reason = enable.then(|| reason_or(reason, SERVICE_REASON));
        if self.local.set_service_maintenance(service_id, reason) {
            Ok(())
        } else {
            Err(EndpointError::NotFound(format!("No service registered with ID {service_id:?}")))
        }
    }

    /// The members of a pool.
    ///
    /// # Errors
    /// [`EndpointError::Refused`] for a segment: only Consul Enterprise has them.
    pub fn members(&self, wan: bool, segment: &str) -> Result<Vec<Member>, EndpointError> {
        // `_all` means every segment, and there is but one.
        if !segment.is_empty() && segment != "_all" {
            return Err(EndpointError::Refused(
                "Network segments are not supported in this version of Consul".to_owned(),
            ));
        }
        Ok(if wan { self.members.wan() } else { self.members.lan() })
    }

    /// This agent as its own member list shows it.
    pub fn own_member(&self) -> Option<Member> {
        self.members.lan().into_iter().find(|member| member.name == self.facts.node_name)
    }

    /// This agent's network coordinate. `None` when coordinates are switched off.
    pub fn own_coordinate(&self, endpoints: &Endpoints) -> Option<Coordinate> {
        (!endpoints.settings.disable_coordinates).then(|| self.members.coordinate())
    }

    /// How many datacenters have a server in the WAN pool, the own one always among them.
    fn known_datacenters(&self) -> usize {
        let wan = self.members.wan();
        let alive = wan.iter().filter(|member| member.status == MemberStatus::Alive);
        let others = alive.filter_map(|member| member.tags.get("dc").map(String::as_str));
        others.chain([self.facts.datacenter.as_str()]).collect::<BTreeSet<_>>().len()
    }

    fn server_stats(&self, leadership: &Leadership) -> BTreeMap<&'static str, String> {
        let facts = &self.facts;
        BTreeMap::from([
            ("acl", "disabled".to_owned()),
            ("bootstrap", facts.bootstrap.to_string()),
            ("known_datacenters", self.known_datacenters().to_string()),
            ("leader", leadership.is_leader.to_string()),
            ("leader_addr", leadership.leader_address.clone().unwrap_or_default()),
            ("server", facts.server.to_string()),
        ])
    }

    /// The figures behind `consul info`.
    pub fn stats(&self, endpoints: &Endpoints, raft: &RaftStatus) -> Stats {
        let leadership = endpoints.leader.leadership();
        let local = self.local.local();
        let checks_of = |kind: &str| local.checks.values().filter(|check| check.kind == kind).count();
        let group = |pairs: &[(&'static str, String)]| pairs.iter().cloned().collect();
        let mut stats = Stats::new();
        let ttls = checks_of("ttl");
        let maintenance = checks_of("maintenance");
        stats.insert(
            "agent",
            group(&[
                ("check_monitors", (local.checks.len() - ttls - maintenance).to_string()),
                ("check_ttls", ttls.to_string()),
                ("checks", local.checks.len().to_string()),
                ("services", local.services.len().to_string()),
            ]),
        );
        let facts = &self.facts;
        stats.insert(
            "build",
            group(&[
                ("prerelease", facts.prerelease.clone()),
                ("revision", facts.revision.clone()),
                ("version", facts.version.clone()),
            ]),
        );
        if let Some(servers) = &endpoints.far {
            let known = servers.known().to_string();
            let pairs =
                [("acl", "disabled".to_owned()), ("known_servers", known), ("server", "false".to_owned())];
            stats.insert("consul", group(&pairs));
        } else {
            stats.insert("consul", self.server_stats(&leadership));
        }
        if facts.server {
            stats.insert("raft", raft.stats(&leadership));
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).to_string();
        stats.insert(
            "runtime",
            group(&[
                ("arch", go_arch(std::env::consts::ARCH).to_owned()),
                ("cpu_count", cores.clone()),
                ("max_procs", cores),
                ("os", std::env::consts::OS.to_owned()),
            ]),
        );
        if let Some(figures) = self.members.figures(false) {
            stats.insert("serf_lan", members::stats(&self.members.lan(), &figures));
        }
        if let Some(figures) = self.members.figures(true) {
            stats.insert("serf_wan", members::stats(&self.members.wan(), &figures));
        }
        stats
    }
}

fn reason_or(reason: &str, default: &str) -> String {
    if reason.is_empty() { default } else { reason }.to_owned()
}

/// Go's name of an architecture, which scripts expect here.
fn go_arch(arch: &'static str) -> &'static str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> AgentFacts {
        AgentFacts {
            datacenter: "dc1".into(),
            node_name: "n1".into(),
            node_id: "11111111-2222-3333-4444-555555555555".into(),
            server: true,
            advertise_lan: "10.0.0.1".into(),
            advertise_wan: "fd00::1".into(),
            node_meta: StringMap::from([("rack".into(), "r1".into())]),
            ..AgentFacts::default()
        }
    }

    #[test]
    fn the_catalog_node_carries_addresses_by_family() {
        let node = facts().catalog_node();
        let tagged: Vec<_> = node.tagged_addresses.unwrap().into_iter().collect();
        let wanted =
            [("lan", "10.0.0.1"), ("lan_ipv4", "10.0.0.1"), ("wan", "fd00::1"), ("wan_ipv6", "fd00::1")];
        assert_eq!(tagged, wanted.map(|(tag, address)| (tag.to_owned(), address.to_owned())));
        let meta = node.meta.unwrap();
        assert_eq!(meta.get("rack").map(String::as_str), Some("r1"));
        assert_eq!(meta.get(SEGMENT_META).map(String::as_str), Some(""));
    }
}
