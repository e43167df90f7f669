//! The agent: builds everything from the options, in order, and takes it down again.
//!
//! ```text
//! data directory -> store -> state machine -> KvStoreActor -> RaftNodeActor
//!                -> SessionManager, Leader, LocalState, DnsResponder (supervised) -> HTTP
//! ```
//!
//! The only place besides `actors/` that knows addresses. It owns the signals: SIGHUP reloads,
//! SIGINT and SIGTERM stop. Going down runs the other way round, each step within a deadline:
//! refuse new work and release parked queries, stop the soft actors, drain raft, make the state
//! durable, end the threads.

pub mod command;
pub mod data_dir;
pub mod dns;
mod footprint;
mod from_settings;
mod links;
mod measure;
pub mod options;
mod proposer;
mod signals;

use std::fs;
use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::actors::health_check::{CheckUpdate, HealthChecks};
use crate::actors::kv_store::KvStore;
use crate::actors::leader::Leader;
use crate::actors::local_state::LocalState;
use crate::actors::local_state::alias::AliasView;
use crate::actors::local_state::disk::{Disk, DiskError};
use crate::actors::local_state::rounds::{LocalStateActor, LocalStateLinks};
use crate::actors::mailbox::Sender;
use crate::actors::raft_node::{NoPeers, RaftNode, RaftOptions};
use crate::actors::session_manager::{LeadershipChanged, SessionManager};
use crate::actors::supervision::{ExitProcess, FailStop, RestartPolicy, supervise};
use crate::actors::watches::Watches;
use crate::endpoints::agent::{Agent, AgentFacts, LocalAgent, LocalRegistry, LoneMember, with_segment};
use crate::endpoints::event::{EventBus, Events, LoneBus};
use crate::endpoints::log::Log;
use crate::endpoints::operator::Operator;
use crate::endpoints::{
    EndpointError, EndpointSettings, Endpoints, LeaderRead, Leadership, Proposer, SessionTimers,
};
use crate::metrics::Metrics;
use crate::raft::{DriverConfig, LogDisk, Membership, MemoryLog, ServerRecord};
use crate::state::store::{MemoryStore, WriteStore};
use crate::state::store_disk::DiskStore;
use crate::state::{StateError, StateMachine};
use crate::telemetry::Telemetry;
use crate::web::dns_query::DnsHandle;
use crate::web::event::EventHandles;
use crate::web::{self, WebHandles};
use data_dir::DataDir;
use dns::RunningDns;
use links::{Alone, LateBound, NoRestore, Request, SessionClocks, Switches};
use options::{AgentOptions, Configuration, LiveSettings};
use proposer::LogProposer;
use signals::{Caught, Signals};

/// The Consul version whose behaviour this is; announced to clients and peers.
pub const COMPATIBLE_VERSION: &str = "1.8.7";
/// Length of a raft tick of a durable agent, per unit of `raft_multiplier`. An election takes 10 to
/// 20 of them.
const TICK: Duration = Duration::from_millis(20);
/// Longest time going down may take.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error("{0}")]
    DataDir(#[from] data_dir::DataDirError),
    /// The state.
    #[error("{0}")]
    State(#[from] StateError),
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
            Ok(running) => {
                info!(target: "agent", "Consul agent running!");
                actix_rt::spawn(footprint::trim_once_settled());
                running.run(configuration).await
            }
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

/// The two kinds of log and store behind one start.
struct Server {
    kv_store: KvStore,
    raft: RaftNode,
    state: crate::state::StateReader,
}

struct Running {
    server: Server,
    web: web::WebStopper,
    dns: RunningDns,
    watches: Watches,
    local: Arc<LocalState>,
    live: watch::Sender<Arc<LiveSettings>>,
    signals: Signals,
    requests: mpsc::UnboundedReceiver<Request>,
    leave_on_terminate: bool,
    skip_leave_on_interrupt: bool,
    _data_dir: Option<DataDir>,
}

fn start_server(
    options: &AgentOptions,
    facts: &AgentFacts,
    data_dir: Option<&DataDir>,
    sessions: &LateBound<SessionManager>,
    leadership: Sender<Arc<Leadership>>,
    metrics: &Arc<Metrics>,
) -> Result<Server, StartError> {
    let fail_stop: Arc<dyn FailStop> = Arc::new(ExitProcess);
    let store: Box<dyn WriteStore> = match data_dir {
        Some(directory) => {
            let fatal = Arc::clone(&fail_stop);
            Box::new(DiskStore::open(
                &directory.join("state"),
                Arc::new(move |error| fatal.fail_stop("state", &error.to_string())),
            )?)
        }
        None => Box::new(MemoryStore::default()),
    };
    let machine = StateMachine::open(store)?;
    let state = machine.reader();
    let applied_index = machine.applied_index();
    // Should the start fail from here on, the process ends with that reason. Dropping the actors on
    // the way out would count as their unexpected death, and hide it.
    let kv_store = ManuallyDrop::new(KvStore::start(
        machine,
        options.raft_snapshot_threshold,
        sessions.sender(),
        Arc::clone(metrics),
        Arc::clone(&fail_stop),
    ));
    let me = ServerRecord {
        node_id: facts.node_id.clone(),
        name: facts.node_name.clone(),
        address: options.server_address(),
    };
    let mut driver = DriverConfig::new(me.raft_id());
    driver.bootstrap = options.bootstrap.then(|| Membership::founding([me.clone()]));
    driver.trailing_entries = options.raft_trailing_logs;
    let raft_options = RaftOptions {
        me,
        driver,
        tick: TICK * options.raft_multiplier.max(1),
        applied_index,
        on_leadership: leadership,
        metrics: Arc::clone(metrics),
    };
    let applier = kv_store.applier();
    let raft = match data_dir {
        Some(directory) => {
            let log = LogDisk::open(&directory.join("raft"))?;
            let purger = log.purger();
            RaftNode::start(raft_options, log, Some(purger), applier, Box::new(NoPeers), fail_stop)?
        }
        None => RaftNode::start(raft_options, MemoryLog::new(), None, applier, Box::new(NoPeers), fail_stop)?,
    };
    Ok(Server { kv_store: ManuallyDrop::into_inner(kv_store), raft, state })
}

fn start(options: &AgentOptions, log: Telemetry) -> Result<Running, StartError> {
    if !options.server {
        let text = "client agents need gossip and server RPC, which this version of tribune does not have \
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
    if options.banner {
        banner(options, &facts);
    }

    let metrics = measure::metrics(&options.telemetry, &facts.node_name);
    actix_rt::spawn(measure::keep_time(Arc::clone(&metrics)));
    let late_sessions = LateBound::<SessionManager>::default();
    let late_leader = LateBound::<Leader>::default();
    let (leadership, led) = watch::channel(Arc::new(Leadership::default()));
    let local = define_local(options, &facts, data_dir.as_ref())?;
    let published = leadership_sender(leadership, &late_sessions, &late_leader, &local);
    let server = start_server(options, &facts, data_dir.as_ref(), &late_sessions, published, &metrics)?;
    let server = ManuallyDrop::new(server);
    let handle = server.raft.handle.clone();
    let state = server.state.clone();
    let leader: Arc<dyn LeaderRead> = Arc::new(handle.clone());
    let proposer: Arc<dyn Proposer> =
        Arc::new(LogProposer::new(handle.clone(), led, options.rpc_hold_timeout, Arc::clone(&metrics)));

    start_soft_actors(&facts, &state, &proposer, &leader, &metrics, &late_sessions, &late_leader);
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
        sessions: Arc::new(SessionClocks(late_sessions)) as Arc<dyn SessionTimers>,
        settings: Arc::new(EndpointSettings { node_id: facts.node_id.clone(), ..options.endpoints.clone() }),
    };
    let (requests, waiting) = mpsc::unbounded_channel();
    let agent = Agent {
        facts: Arc::clone(&facts),
        members: Arc::new(LoneMember::new(&facts)),
        local: Arc::clone(&local) as Arc<dyn LocalRegistry>,
        control: Arc::new(Switches(requests)),
    };
    let events = Arc::new(Events::new(facts.node_name.clone(), Arc::clone(&local) as Arc<dyn LocalAgent>));
    let bus: Arc<dyn EventBus> = Arc::new(LoneBus(Arc::clone(&events)));
    let operator = Operator { raft: Arc::new(handle), restore: Arc::new(NoRestore) };
    let handles = WebHandles::new(endpoints)
        .with(Arc::new(agent))
        .with(Arc::new(EventHandles { events, bus }))
        .with(Arc::new(operator))
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
        watches,
        local,
        live,
        signals,
        requests: waiting,
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
) -> Sender<Arc<Leadership>> {
    let (sessions, leader, local) = (sessions.clone(), leader.clone(), Arc::clone(local));
    Sender::new(move |news: Arc<Leadership>| {
        let changed = LeadershipChanged { leads: news.is_leader };
        let before = leadership.send_replace(Arc::clone(&news));
        if news.leader_address.is_some() && news.leader_address != before.leader_address {
            local.sync_all();
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

/// Starts the actors that hold nothing durable; each is made anew when it dies.
fn start_soft_actors(
    facts: &Arc<AgentFacts>,
    state: &crate::state::StateReader,
    proposer: &Arc<dyn Proposer>,
    leader: &Arc<dyn LeaderRead>,
    metrics: &Arc<Metrics>,
    late_sessions: &LateBound<SessionManager>,
    late_leader: &LateBound<Leader>,
) {
    let here = actix_rt::Arbiter::current();
    let fail_stop: Arc<dyn FailStop> = Arc::new(ExitProcess);
    let (reader, way_in, led) = (state.clone(), Arc::clone(proposer), Arc::clone(leader));
    let measured = Arc::clone(metrics);
    late_sessions.bind(supervise(
        "session manager",
        &here,
        RestartPolicy::default(),
        Arc::clone(&fail_stop),
        move |alive| {
            let leads = led.leadership().is_leader;
            SessionManager::new(reader.clone(), Arc::clone(&way_in), Arc::clone(&measured), leads, alive)
                .start()
        },
    ));
    let (reader, way_in, led) = (state.clone(), Arc::clone(proposer), Arc::clone(leader));
    let (facts, measured) = (Arc::clone(facts), Arc::clone(metrics));
    late_leader.bind(supervise("leader", &here, RestartPolicy::default(), fail_stop, move |alive| {
        let leads = led.leadership().is_leader;
        let members = Arc::new(Alone(Arc::clone(&facts)));
        let (datacenter, measured) = (facts.datacenter.clone(), Arc::clone(&measured));
        Leader::new(datacenter, reader.clone(), Arc::clone(&way_in), members, measured, leads, alive).start()
    }));
}

/// This agent's services and checks: those of its last life, and over them those of the configuration.
fn define_local(
    options: &AgentOptions,
    facts: &AgentFacts,
    data_dir: Option<&DataDir>,
) -> Result<Arc<LocalState>, StartError> {
    let disk = data_dir.map(|directory| Disk::open(directory.path())).transpose()?;
    let local = Arc::new(LocalState::new(facts, options.local.clone(), disk));
    let kept = local.restore();
    let LiveSettings { services, checks, .. } = &options.live;
    let configured =
        local.prepare(services, checks).map_err(|error| StartError::Definition(error.to_string()))?;
    local.configure_first(configured, kept).map_err(|error| StartError::Definition(error.to_string()))?;
    Ok(local)
}

/// Has the checks run.
fn start_checks(
    options: &AgentOptions,
    local: &Arc<LocalState>,
    state: &crate::state::StateReader,
) -> Result<(), StartError> {
    // The local state owns the checks: what they hold of it must not keep it alive.
    let news = Arc::downgrade(local);
    let updates = Sender::new(move |update: CheckUpdate| {
        if let Some(local) = news.upgrade() {
            local.check_updated(&update);
        }
    });
    let alias = AliasView::new(local, state.clone(), options.endpoints.node_name.clone());
    let checks = HealthChecks::new(options.checks.clone(), updates, Arc::new(alias))
        .map_err(|source| StartError::System { doing: "cannot run health checks".into(), source })?;
    local.run_checks(checks);
    Ok(())
}

fn start_local_state(
    local: &Arc<LocalState>,
    state: &crate::state::StateReader,
    proposer: &Arc<dyn Proposer>,
    leader: &Arc<dyn LeaderRead>,
) {
    let links = LocalStateLinks {
        local: Arc::clone(local),
        state: state.clone(),
        proposer: Arc::clone(proposer),
        leader: Arc::clone(leader),
    };
    let fail_stop: Arc<dyn FailStop> = Arc::new(ExitProcess);
    // Nobody sends to it: its door is the shared local state, which outlives it.
    supervise(
        "local state",
        &actix_rt::Arbiter::current(),
        RestartPolicy::default(),
        fail_stop,
        move |alive| LocalStateActor::new(links.clone(), alive).start(),
    );
}

fn facts(options: &AgentOptions, node_id: String) -> AgentFacts {
    AgentFacts {
        datacenter: options.endpoints.datacenter.clone(),
        node_name: options.endpoints.node_name.clone(),
        node_id,
        server: options.server,
        bootstrap: options.bootstrap && !options.dev,
        version: COMPATIBLE_VERSION.to_owned(),
        advertise_lan: options.advertise_lan.clone(),
        advertise_wan: options.advertise_wan.clone(),
        ports: options.ports,
        node_meta: options.live.node_meta.clone(),
        rules: options.local.rules.clone(),
        data_dir: options.data_dir.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        prometheus_retention: options.prometheus_retention,
        debug_config: options.debug_config.clone(),
        ..AgentFacts::default()
    }
}

fn write_pid(path: &Path) -> Result<(), StartError> {
    fs::write(path, format!("{}\n", std::process::id())).map_err(|source| StartError::System {
        doing: format!("cannot write pid_file {}", path.display()),
        source,
    })
}

/// What an operator sees first; tools read it, so its shape is Consul's.
fn banner(options: &AgentOptions, facts: &AgentFacts) {
    let port = |port: u16| if port == 0 { "-1".to_owned() } else { port.to_string() };
    let ports = &facts.ports;
    let text = format!(
        "==> Starting Consul agent...\n\
         \x20          Version: '{}'\n\
         \x20          Node ID: '{}'\n\
         \x20        Node name: '{}'\n\
         \x20       Datacenter: '{}' (Segment: '<all>')\n\
         \x20           Server: {} (Bootstrap: {})\n\
         \x20      Client Addr: [{}] (HTTP: {}, HTTPS: {}, gRPC: {}, DNS: {})\n\
         \x20     Cluster Addr: {} (LAN: {}, WAN: {})\n\
         \x20          Encrypt: Gossip: false, TLS-Outgoing: false, TLS-Incoming: false, \
         Auto-Encrypt-TLS: false\n\n\
         ==> Log data will now stream in as it occurs:\n\n",
        facts.version,
        facts.node_id,
        facts.node_name,
        facts.datacenter,
        facts.server,
        facts.bootstrap,
        options.client_addresses.join(" "),
        port(ports.http),
        port(ports.https),
        port(ports.grpc),
        port(ports.dns),
        facts.advertise_lan,
        port(ports.serf_lan),
        port(ports.serf_wan),
    );
    // Nobody may be reading; the agent runs all the same.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Why the agent stops.
enum Reason {
    /// Asked to leave: exit code 0.
    Leave,
    /// Stopped without leaving: exit code 1, as Consul's.
    Stop,
}

impl Running {
    /// Applies what has changed in the configuration; a wrong one changes nothing.
    async fn reload(&self, configuration: &mut dyn Configuration) -> Result<(), String> {
        info!(target: "agent", "Reloading configuration...");
        let outcome = self.apply(configuration).await;
        match &outcome {
            Ok(()) => info!(target: "agent", "configuration reloaded"),
            Err(failure) => error!(target: "agent", error = %failure, "Reload config failed"),
        }
        outcome
    }

    async fn apply(&self, configuration: &mut dyn Configuration) -> Result<(), String> {
        let live = configuration.read()?;
        let configured = self
            .local
            .prepare(&live.services, &live.checks)
            .map_err(|failure| format!("Failed to reload: {failure}"))?;
        // Nothing is refused from here on.
        self.local.set_meta(with_segment(live.node_meta.clone()));
        self.local.set_discard_output(live.discard_check_output);
        self.dns.reload(&live.dns);
        let established = self.local.configure(configured).await;
        configuration.accepted();
        self.live.send_replace(Arc::new(live));
        established.map_err(|failure| format!("the new configuration is in effect, but: {failure}"))
    }

    async fn run(mut self, mut configuration: Box<dyn Configuration>) -> ExitCode {
        let reason = loop {
            tokio::select! {
                caught = self.signals.next() => match caught {
                    // The log says how it went; nobody waits for an answer.
                    Caught::Hangup => drop(self.reload(&mut *configuration).await),
                    Caught::Interrupt => {
                        info!(target: "agent", signal = "interrupt", "Caught");
                        break if self.skip_leave_on_interrupt { Reason::Stop } else { Reason::Leave };
                    }
                    Caught::Terminate => {
                        info!(target: "agent", signal = "terminated", "Caught");
                        break if self.leave_on_terminate { Reason::Leave } else { Reason::Stop };
                    }
                },
                request = self.requests.recv() => match request {
                    Some(Request::Reload(reply)) => {
                        // Whoever asked may have gone.
                        let outcome = self.reload(&mut *configuration).await;
                        let _ = reply.send(outcome.map_err(EndpointError::Internal));
                    }
                    Some(Request::Leave) | None => break Reason::Leave,
                },
            }
        };
        let code: u8 = match reason {
            Reason::Leave => 0,
            Reason::Stop => {
                info!(target: "agent", "Graceful shutdown disabled. Exiting");
                1
            }
        };
        let mut signals = self.signals;
        let again = async { while signals.next().await == Caught::Hangup {} };
        self.watches.stop();
        let stopping = stop(self.web, self.dns, self.local, self.server);
        tokio::select! {
            stopped = tokio::time::timeout(STOP_LIMIT, stopping) => match stopped {
                Ok(true) => {
                    info!(target: "agent", code, "Exit code");
                    ExitCode::from(code)
                }
                Ok(false) => ExitCode::FAILURE,
                Err(_) => {
                    error!(target: "agent", "shutting down took too long");
                    ExitCode::FAILURE
                }
            },
            () = again => {
                warn!(target: "agent", "second signal, exiting at once");
                ExitCode::FAILURE
            }
        }
    }
}

/// Takes everything down; true if it ended well.
async fn stop(web: web::WebStopper, dns: RunningDns, local: Arc<LocalState>, server: Server) -> bool {
    web.stop().await;
    dns.stop().await;
    local.stop_checks();
    local.keep_now();
    let mut well = true;
    if let Err(failure) = server.raft.stop().await {
        error!(target: "agent.server.raft", error = %failure, "raft did not end well");
        well = false;
    }
    if let Err(failure) = server.kv_store.stop().await {
        error!(target: "agent.server.fsm", error = %failure, "the state did not end well");
        well = false;
    }
    well
}
