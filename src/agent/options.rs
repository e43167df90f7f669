//! What an agent is built from: the settings, resolved to what each part needs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::cluster::{ClusterOptions, StewardOptions};
use super::dns::{DnsLive, DnsOptions};
use super::gossip::GossipOptions;
use crate::actors::health_check::CheckRunSettings;
use crate::actors::local_state::LocalSettings;
use crate::definition::{CheckDefinition, ServiceDefinition, WatchDefinition};
use crate::endpoints::EndpointSettings;
use crate::endpoints::agent::AgentPorts;
use crate::settings::groups::Telemetry;
use crate::state::record::StringMap;
use crate::web::WebSettings;

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the configuration")]
/// Everything needed to build an agent. Made from [`crate::settings`] and the command line.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Print what is started, for people, before the log.
    pub banner: bool,
    /// A development agent: everything in memory, gone when it stops.
    pub dev: bool,
    /// Where a durable agent keeps its data.
    pub data_dir: Option<PathBuf>,
    /// Configured node UUID.
    pub node_id: Option<String>,
    /// It is a server.
    pub server: bool,
    /// `-bootstrap`, or a server that expects nobody else.
    pub bootstrap: bool,
    /// Address announced in the datacenter.
    pub advertise_lan: String,
    /// Address announced to other datacenters.
    pub advertise_wan: String,
    /// Ports.
    pub ports: AgentPorts,
    /// Client addresses as configured, for the banner.
    pub client_addresses: Vec<String>,
    /// What a reload may change, as it is at the start.
    pub live: LiveSettings,
    /// How services and checks of this agent are kept.
    pub local: LocalSettings,
    /// How checks are run.
    pub checks: CheckRunSettings,
    /// The HTTP API.
    pub web: WebSettings,
    /// DNS.
    pub dns: DnsOptions,
    /// Gossip.
    pub gossip: GossipOptions,
    /// What the endpoints need; the node's id is filled in once it is known.
    pub endpoints: EndpointSettings,
    /// The server port and who founds a group.
    pub cluster: ClusterOptions,
    /// How the leader looks after the other servers.
    pub steward: StewardOptions,
    /// How long a server that leaves goes on answering.
    pub leave_drain_time: Duration,
    /// How long a request waits for a leader.
    pub rpc_hold_timeout: Duration,
    /// `performance.raft_multiplier`.
    pub raft_multiplier: u32,
    /// Applied entries after which the log is cut.
    pub raft_snapshot_threshold: u64,
    /// Entries kept when the log is cut.
    pub raft_trailing_logs: u64,
    /// SIGTERM leaves the cluster.
    pub leave_on_terminate: bool,
    /// SIGINT does not leave the cluster.
    pub skip_leave_on_interrupt: bool,
    /// File to hold the process id.
    pub pid_file: Option<PathBuf>,
    /// How long Prometheus metrics are kept.
    pub prometheus_retention: Duration,
    /// `telemetry`: how metrics are named and which are shown.
    pub telemetry: Telemetry,
    /// Every setting in effect, secrets hidden.
    pub debug_config: serde_json::Map<String, serde_json::Value>,
}

/// What a reload changes in a running agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveSettings {
    /// How DNS answers, and who is asked for names of other domains.
    pub dns: DnsLive,
    /// Metadata of the node.
    pub node_meta: StringMap,
    /// Services of this agent.
    pub services: Vec<ServiceDefinition>,
    /// Checks of the node, or of services by id.
    pub checks: Vec<CheckDefinition>,
    /// Watches and their handlers.
    pub watches: Vec<WatchDefinition>,
    /// Rules about which metrics are shown.
    pub prefix_filter: Vec<String>,
    /// Keep no output of checks.
    pub discard_check_output: bool,
}

/// The configuration behind a running agent.
pub trait Configuration {
    /// Reads it again. Changes nothing.
    ///
    /// # Errors
    /// What is wrong in it, for people.
    fn read(&mut self) -> Result<LiveSettings, String>;

    /// What was read last is in effect now.
    fn accepted(&mut self);
}

impl AgentOptions {
    /// Address of the server RPC as peers and `/v1/status/leader` show it.
    pub fn server_address(&self) -> String {
        match self.advertise_lan.parse() {
            Ok(ip) => SocketAddr::new(ip, self.ports.server).to_string(),
            Err(_) => format!("{}:{}", self.advertise_lan, self.ports.server),
        }
    }
}
