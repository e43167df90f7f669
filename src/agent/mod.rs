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

mod cluster;
pub mod command;
pub mod data_dir;
pub mod dns;
mod footprint;
mod from_settings;
pub mod gossip;
mod links;
mod measure;
pub mod options;
mod parts;
mod proposer;
mod restore;
mod running;
mod signals;

use std::fs;
use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tracing::{error, info};

use crate::actors::leader::Leader;
use crate::actors::local_state::LocalState;
use crate::actors::local_state::disk::DiskError;
use crate::actors::mailbox::Sender;
use crate::actors::session_manager::{LeadershipChanged, SessionManager};
use crate::actors::watches::Watches;
use crate::endpoints::agent::{Agent, LocalAgent, LocalRegistry};
use crate::endpoints::blocking::Drain;
use crate::endpoints::event::Events;
use crate::endpoints::log::Log;
use crate::endpoints::operator::Operator;
use crate::endpoints::{EndpointSettings, Endpoints, LeaderRead, Leadership, Proposer, SessionTimers};
use crate::metrics::Metrics;
use crate::rpc::server::RpcServices;
use crate::state::StateError;
use crate::telemetry::Telemetry;
use crate::web::dns_query::DnsHandle;
use crate::web::event::EventHandles;
use crate::web::operator::keyring::KeyringHandle;
use crate::web::{self, WebHandles};
use cluster::{Cluster, Desk};
use data_dir::DataDir;
use dns::RunningDns;
use gossip::{LanMembers, RunningGossip};
use links::{LateBound, LeaderClocks, SessionClocks, Switches};
use options::{AgentOptions, Configuration, LiveSettings};
use parts::{
    banner, define_local, facts, own_record, snapshot_files, start_checks, start_local_state, start_server,
    start_soft_actors, state_followers, write_pid,
};
use proposer::LogProposer;
use restore::LogRestore;
use running::Running;
use signals::Signals;

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
        let text = "client agents need server RPC, which this version of tribune does not have \
                    yet; start it with -server or -dev";
        return Err(StartError::NotBuilt(text.into()));
    }
    // Before anything else: a signal that comes while we start must not kill us half-way.
    let signals = Signals::listen()
        .map_err(|source| StartError::System { doing: "cannot listen for signals".into(), source })?;
    let data_dir = options.data_dir.as_deref().filter(|_| !options.dev).map(DataDir::take).transpose()?;
    let node_id = match &data_dir {
        Some(directory) => directory.node_id(options.node_id.as_deref())?,
        None => match &options.node_id {
            Some(id) => data_dir::parse_node_id(id, "the configuration (node_id)")?,
            None => uuid::Uuid::new_v4(),
        },
    };
    if let Some(path) = &options.pid_file {
        write_pid(path)?;
    }
    let facts = Arc::new(facts(options, node_id.to_string()));
    let metrics = measure::metrics(&options.telemetry, &facts.node_name);
    actix_rt::spawn(measure::keep_time(Arc::clone(&metrics)));
    // Binds before anything durable is opened: the commonest mistake is a second agent on the same ports.
    let gossip = RunningGossip::start(&options.gossip, &facts, data_dir.as_ref(), &metrics)?;
    if options.banner {
        banner(options, &facts, gossip.encrypted());
    }
    let late_sessions = LateBound::<SessionManager>::default();
    let late_leader = LateBound::<Leader>::default();
    let (leadership, led) = watch::channel(Arc::new(Leadership::default()));
    let local = define_local(options, &facts, data_dir.as_ref())?;
    let published = leadership_sender(
        leadership,
        &late_sessions,
        &late_leader,
        &local,
        (gossip.pools(), &facts.node_name),
    );
    let snapshots = snapshot_files(data_dir.as_ref())?;
    let data = Arc::new(snapshots.clone());
    let cluster = Cluster::start(&options.cluster, &facts, gossip.pools().lan.clone(), data)?;
    let links = cluster.links();
    let followers = state_followers(&late_sessions, &late_leader);
    let server = start_server(
        options,
        &facts,
        data_dir.as_ref(),
        followers,
        snapshots,
        published,
        links.clone(),
        &metrics,
    )?;
    let server = ManuallyDrop::new(server);
    let handle = server.raft.handle.clone();
    let state = server.state.clone();
    let leader: Arc<dyn LeaderRead> = Arc::new(handle.clone());
    let way_in = Arc::new(LogProposer::new(
        handle.clone(),
        led,
        options.rpc_hold_timeout,
        links,
        Arc::clone(&metrics),
    ));
    let proposer: Arc<dyn Proposer> = Arc::<LogProposer>::clone(&way_in);
    let clocks = SessionClocks(late_sessions.clone());
    let desk = Desk {
        raft: handle.clone(),
        proposer: Arc::clone(&way_in),
        sessions: Arc::new(clocks.clone()),
        promises: Arc::default(),
    };

    let members = Arc::new(LanMembers {
        lan: gossip.pools().lan.clone(),
        leader: Arc::clone(&leader),
        facts: Arc::clone(&facts),
    });
    start_soft_actors(&members, &state, &proposer, &leader, &metrics, &late_sessions, &late_leader);
    gossip.tell_leader(late_leader);
    start_local_state(&local, &state, &proposer, &leader);
    start_checks(options, &local, &state)?;
    // Parts that follow the configuration subscribe to this.
    let (live, _) = watch::channel(Arc::new(options.live.clone()));

    let dns = RunningDns::start(
        &options.dns,
        &options.live.dns,
        state.clone(),
        Arc::clone(&leader),
        Arc::clone(&metrics),
    )?;
    let endpoints = Endpoints {
        state,
        proposer,
        leader,
        sessions: Arc::new(LeaderClocks { here: clocks, leader: Arc::new(handle.clone()), proposer: way_in })
            as Arc<dyn SessionTimers>,
        coordinates: Arc::default(),
        settings: Arc::new(EndpointSettings { node_id: facts.node_id.clone(), ..options.endpoints.clone() }),
    };
    let coordinates = &options.gossip.coordinates;
    actix_rt::spawn(gossip::write_coordinates(endpoints.clone(), coordinates.clone()));
    if !coordinates.disabled {
        let lan = gossip.pools().lan.clone();
        actix_rt::spawn(gossip::send_coordinate(endpoints.clone(), lan, coordinates.clone()));
    }
    let (requests, waiting) = mpsc::unbounded_channel();
    let agent = Agent {
        facts: Arc::clone(&facts),
        members: gossip.pools(),
        local: Arc::clone(&local) as Arc<dyn LocalRegistry>,
        control: Arc::new(Switches(requests.clone())),
    };
    let events = Arc::new(Events::new(facts.node_name.clone(), Arc::clone(&local) as Arc<dyn LocalAgent>));
    gossip.tell_events(&events);
    let restore = Arc::new(LogRestore::new(Arc::clone(&endpoints.proposer)));
    let operator = Operator { raft: Arc::new(handle.clone()), restore };
    let rpc = Arc::new(RpcServices {
        endpoints: endpoints.clone(),
        operator: operator.clone(),
        members: gossip.pools(),
        events: gossip.pools(),
        keyring: gossip.pools(),
        drain: Drain::default(),
        spool: facts.data_dir.clone(),
    });
    cluster.serve(own_record(options, &facts), &handle, desk, rpc);
    let handles = WebHandles::new(endpoints)
        .with(Arc::new(agent))
        .with(Arc::new(EventHandles { events, bus: gossip.pools() }))
        .with(Arc::new(operator))
        .with(Arc::new(KeyringHandle(gossip.pools())))
        .with(Arc::new(DnsHandle(dns.over_https())))
        .with(Arc::clone(&metrics))
        .with(Arc::new(Log(Arc::new(measure::ProcessLog(log)))));
    let started = web::start(options.web.clone(), handles, web::routes())?;
    for address in &started.addresses {
        info!(target: "agent", address = %address, network = "tcp", "Started HTTP server");
    }
    actix_rt::spawn(started.server);
    let watches = Watches::new(started.addresses.first().copied(), actix_rt::Arbiter::current());
    watches.replace(options.live.watches.clone());
    actix_rt::spawn(follow_reloads(
        live.subscribe(),
        watches.clone(),
        Arc::clone(&metrics),
        options.telemetry.filter_default,
    ));
    Ok(Running {
        server: ManuallyDrop::into_inner(server),
        web: started.stopper,
        dns,
        gossip,
        cluster,
        watches,
        local,
        live,
        signals,
        requests: waiting,
        requester: requests,
        leave_on_terminate: options.leave_on_terminate,
        skip_leave_on_interrupt: options.skip_leave_on_interrupt,
        _data_dir: data_dir,
    })
}

/// Spreads what raft publishes to those who wait for a leader and to those who act when we lead.
fn leadership_sender(
    leadership: watch::Sender<Arc<Leadership>>,
    sessions: &LateBound<SessionManager>,
    leader: &LateBound<Leader>,
    local: &Arc<LocalState>,
    (pools, name): (Arc<gossip::Pools>, &str),
) -> Sender<Arc<Leadership>> {
    let (sessions, leader, local) = (sessions.clone(), leader.clone(), Arc::clone(local));
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
