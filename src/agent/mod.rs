//! The agent: builds everything from the options, in order, and takes it down again.
//!
//! ```text
//! data directory -> gossip pools -> store -> state machine -> KvStoreActor -> RaftNodeActor
//!                -> SessionManager, Leader, LocalState, DnsResponder (supervised) -> HTTP
//! ```
//!
//! The only place besides `actors/` that knows addresses. It owns the signals: SIGHUP reloads,
//! SIGINT and SIGTERM stop. Going down runs the other way round, each step within a deadline:
//! refuse new work and release parked queries, stop the soft actors, drain raft, make the state
//! durable, end the threads.

pub mod client;
mod cluster;
pub mod command;
pub mod data_dir;
pub mod dns;
mod farewell;
mod footprint;
mod from_settings;
pub mod gossip;
mod ground;
mod links;
mod measure;
pub mod options;
mod parts;
mod proposer;
mod recovery;
mod restore;
mod running;
mod signals;

use std::fs;
use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::error;

use crate::actors::autopilot::{Autopilot, LeaderAdmin};
use crate::actors::leader::{Leader, MembersChanged};
use crate::actors::local_state::LocalState;
use crate::actors::local_state::alias::Others;
use crate::actors::local_state::catalog::Here;
use crate::actors::local_state::disk::DiskError;
use crate::actors::mailbox::Sender;
use crate::actors::session_manager::{LeadershipChanged, SessionManager};
use crate::actors::watches::Watches;
use crate::endpoints::blocking::Drain;
use crate::endpoints::operator::{Admin, Operator};
use crate::endpoints::{EndpointSettings, Endpoints, LeaderRead, Leadership, Proposer, SessionTimers};
use crate::metrics::Metrics;
use crate::rpc::server::RpcServices;
use crate::state::StateError;
use crate::telemetry::Telemetry;
use crate::web;
use cluster::{Cluster, ClusterAdmin, Desk, start_autopilot};
use dns::RunningDns;
use farewell::Farewell;
use gossip::{LanMembers, LanServers, RunningGossip};
use ground::{Ground, Opening};
use links::{LateBound, LeaderClocks, SessionClocks};
use options::{AgentOptions, Configuration, LiveSettings};
use parts::{
    ServerLinks, TICK, own_record, snapshot_files, start_checks, start_local_state, start_server,
    start_soft_actors, state_followers,
};
use proposer::LogProposer;
use restore::LogRestore;
use running::{Running, ServerSide};

/// The Consul version whose behaviour this is; announced to clients and peers.
pub const COMPATIBLE_VERSION: &str = "1.8.7";
/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error("{0}")]
    DataDir(#[from] data_dir::DataDirError),
    /// The state.
    #[error("{0}")]
    State(#[from] StateError),
    /// The state, or a snapshot that was being installed.
    #[error("{0}")]
    Snapshot(#[from] crate::actors::kv_store::SnapshotWorkError),
    /// The data of snapshots.
    #[error("{0}")]
    SnapshotFiles(#[from] crate::actors::snapshot_files::SnapshotFileError),
    /// The log.
    #[error("{0}")]
    Raft(#[from] crate::raft::RaftError),
    /// The log's files.
    #[error("{0}")]
    Log(#[from] crate::raft::LogError),
    /// The HTTP API.
    #[error("{0}")]
    Web(#[from] web::server::StartError),
    /// DNS.
    #[error("{0}")]
    Dns(#[from] crate::dns::listen::ListenError),
    /// The certificates of DNS over TLS.
    #[error("ports.dns_tls: {0}")]
    DnsTls(#[from] crate::dns::listen::tls::TlsError),
    /// Signals cannot be received, or the pid file cannot be written.
    #[error("{doing}: {source}")]
    System {
        /// What was attempted.
        doing: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Gossip.
    #[error("{0}")]
    Gossip(#[from] crate::actors::member_list::PoolStartError),
    /// Where gossip remembers its members.
    #[error("{0}")]
    GossipSnapshot(#[from] crate::actors::member_list::SnapshotError),
    /// Where the gossip keys are kept.
    #[error("{0}")]
    Keyring(#[from] gossip::KeyringFileError),
    /// Members given by hand.
    #[error("{0}")]
    Recovery(#[from] recovery::RecoveryError),
    /// Where services and checks are kept.
    #[error("{0}")]
    Disk(#[from] DiskError),
    /// A service or check of the configuration.
    #[error("{0}")]
    Definition(String),
    /// What is asked for is not built yet.
    #[error("{0}")]
    NotBuilt(String),
}

/// Runs an agent until it is told to stop. The exit code is Consul's: 0 after leaving, 1 otherwise.
pub fn run(options: AgentOptions, log: Telemetry, configuration: Box<dyn Configuration>) -> ExitCode {
    actix::System::new().block_on(async move {
        let pid_file = options.pid_file.clone();
        let started = start(&options, log);
        // Thousands of definitions may be in it.
        drop(options);
        let outcome = match started {
            Ok(running) => running.run(configuration).await,
            Err(failure) => {
                error!(target: "agent", error = %failure, "cannot start");
                // Logs may go elsewhere; whoever started us must see the reason.
                let _ = writeln!(std::io::stderr(), "==> {failure}");
                ExitCode::FAILURE
            }
        };
        if let Some(path) = pid_file {
            // It may be gone already; there is nobody to tell.
            let _ = fs::remove_file(path);
        }
        outcome
    })
}

fn start(options: &AgentOptions, log: Telemetry) -> Result<Running, StartError> {
    if !options.server {
        return client::start(options, log);
    }
    let ground = Ground::lay(options)?;
    let Ground { data_dir, facts, metrics, gossip, local, .. } = &ground;
    let late_sessions = LateBound::<SessionManager>::default();
    let late_leader = LateBound::<Leader>::default();
    let late_autopilot = LateBound::<Autopilot>::default();
    let (leadership, led) = watch::channel(Arc::new(Leadership::default()));
    let published = leadership_sender(
        leadership,
        &late_sessions,
        (&late_leader, &late_autopilot),
        local,
        (gossip.pools(), &facts.node_name),
    );
    let snapshots = snapshot_files(data_dir.as_ref())?;
    let data = Arc::new(snapshots.clone());
    let cluster = Cluster::start(&options.cluster, facts, gossip.pools().lan.clone(), data)?;
    let links = cluster.links();
    let followers = state_followers(&late_sessions, &late_leader);
    let speaks_to = ServerLinks { followers, leadership: published, peers: links.clone() };
    let server = start_server(options, facts, data_dir.as_ref(), snapshots, speaks_to, metrics)?;
    let server = ManuallyDrop::new(server);
    let handle = server.raft.handle.clone();
    let state = server.state.clone();
    let leader: Arc<dyn LeaderRead> = Arc::new(handle.clone());
    let way_in =
        Arc::new(LogProposer::new(handle.clone(), led, options.rpc_hold_timeout, links, Arc::clone(metrics)));
    let proposer: Arc<dyn Proposer> = Arc::<LogProposer>::clone(&way_in);
    let clocks = SessionClocks(late_sessions.clone());
    let health = start_autopilot(
        &options.steward,
        TICK * options.raft_multiplier.max(1),
        &handle,
        &state,
        &proposer,
        Arc::new(LanServers { pools: gossip.pools(), links: cluster.links() }),
        metrics,
        &late_autopilot,
    );
    let leader_admin = LeaderAdmin { raft: handle.clone(), health };
    let admin: Arc<dyn Admin> = Arc::new(ClusterAdmin {
        here: leader_admin.clone(),
        proposer: Arc::clone(&way_in),
        hold: options.steward.hold,
    });
    let farewell = Farewell {
        raft: handle.clone(),
        admin: Arc::clone(&admin),
        node_id: facts.node_id.clone(),
        drain: options.leave_drain_time,
    };
    let desk = Desk {
        admin: leader_admin,
        raft: handle.clone(),
        proposer: Arc::clone(&way_in),
        sessions: Arc::new(clocks.clone()),
        promises: Arc::default(),
    };

    let members = Arc::new(LanMembers {
        lan: gossip.pools().lan.clone(),
        leader: Arc::clone(&leader),
        facts: Arc::clone(facts),
    });
    start_soft_actors(&members, &state, &proposer, &leader, metrics, &late_sessions, &late_leader);
    gossip.tell_changes(late_leader.sender());
    gossip.tell_changes(late_autopilot.sender());
    let catalog = Arc::new(Here { state: state.clone(), leader: Arc::clone(&leader) });
    start_local_state(local, catalog, &proposer);
    start_checks(options, local, Others::Here(state.clone()))?;
    let dns = RunningDns::start(
        &options.dns,
        &options.live.dns,
        state.clone(),
        Arc::clone(&leader),
        None,
        Arc::clone(metrics),
    )?;
    let endpoints = Endpoints {
        state,
        proposer,
        leader,
        sessions: Arc::new(LeaderClocks { here: clocks, leader: Arc::new(handle.clone()), proposer: way_in })
            as Arc<dyn SessionTimers>,
        coordinates: Arc::default(),
        settings: Arc::new(EndpointSettings { node_id: facts.node_id.clone(), ..options.endpoints.clone() }),
        far: None,
    };
    let coordinates = &options.gossip.coordinates;
    actix_rt::spawn(gossip::write_coordinates(endpoints.clone(), coordinates.clone()));
    if !coordinates.disabled {
        let lan = gossip.pools().lan.clone();
        actix_rt::spawn(gossip::send_coordinate(endpoints.clone(), lan, coordinates.clone()));
    }
    let operator = Operator {
        raft: Arc::new(handle.clone()),
        restore: Arc::new(LogRestore::new(Arc::clone(&endpoints.proposer))),
        admin,
    };
    let rpc = Arc::new(RpcServices {
        endpoints: endpoints.clone(),
        operator: operator.clone(),
        members: gossip.pools(),
        events: gossip.pools(),
        keyring: gossip.pools(),
        drain: Drain::default(),
        spool: facts.data_dir.clone(),
    });
    cluster.serve(own_record(options, facts), &handle, desk, rpc);
    let server =
        Some(ServerSide { server: ManuallyDrop::into_inner(server), cluster, farewell: Arc::new(farewell) });
    ground.open(options, log, Opening { endpoints, dns, operator, server })
}

/// Spreads what raft publishes to those who wait for a leader and to those who act when we lead.
fn leadership_sender(
    leadership: watch::Sender<Arc<Leadership>>,
    sessions: &LateBound<SessionManager>,
    (leader, autopilot): (&LateBound<Leader>, &LateBound<Autopilot>),
    local: &Arc<LocalState>,
    (pools, name): (Arc<gossip::Pools>, &str),
) -> Sender<Arc<Leadership>> {
    let (sessions, leader, local) = (sessions.clone(), leader.clone(), Arc::clone(local));
    let autopilot = autopilot.clone();
    let name = name.to_owned();
    Sender::new(move |news: Arc<Leadership>| {
        let changed = LeadershipChanged { leads: news.is_leader };
        let before = leadership.send_replace(Arc::clone(&news));
        if news.leader_address.is_some() && news.leader_address != before.leader_address {
            local.sync_all();
        }
        if news.is_leader && !before.is_leader {
            RunningGossip::announce_leader(&pools, &name);
        }
        sessions.send(changed);
        leader.send(changed);
        autopilot.send(changed);
        if news.is_leader && news.peers != before.peers {
            // Who is a raft peer is shown as a server in the catalog.
            leader.send(MembersChanged { reaped: false });
        }
    })
}

/// Hands what a reload changed to the watches and the metrics.
async fn follow_reloads(
    mut live: watch::Receiver<Arc<LiveSettings>>,
    watches: Watches,
    metrics: Arc<Metrics>,
    filter_default: bool,
) {
    while live.changed().await.is_ok() {
        let settings = Arc::clone(&live.borrow_and_update());
        watches.replace(settings.watches.clone());
        metrics.naming().set_filter(settings.prefix_filter.iter().map(String::as_str), filter_default);
    }
}
