//! The parts of an agent, each with what it is started from; [`super::start`] puts them in order.

use std::fs;
use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::Actor as _;

use super::cluster::RaftLinks;
use super::data_dir::DataDir;
use super::gossip::LanMembers;
use super::links::LateBound;
use super::options::{AgentOptions, LiveSettings};
use super::recovery::Recovery;
use super::{COMPATIBLE_VERSION, StartError};
use crate::actors::health_check::{CheckUpdate, HealthChecks};
use crate::actors::kv_store::{KvStore, StateChanged, open_state};
use crate::actors::leader::Leader;
use crate::actors::local_state::LocalState;
use crate::actors::local_state::alias::{AliasView, Others};
use crate::actors::local_state::catalog::Catalog;
use crate::actors::local_state::disk::Disk;
use crate::actors::local_state::rounds::{LocalStateActor, LocalStateLinks};
use crate::actors::mailbox::Sender;
use crate::actors::raft_node::{PeerTransport, RaftNode, RaftOptions};
use crate::actors::session_manager::SessionManager;
use crate::actors::snapshot_files::SnapshotFiles;
use crate::actors::supervision::{ExitProcess, FailStop, RestartPolicy, supervise};
use crate::endpoints::agent::AgentFacts;
use crate::endpoints::{LeaderRead, Leadership, Proposer};
use crate::metrics::Metrics;
use crate::peers::Links;
use crate::raft::{DriverConfig, LogDisk, Membership, MemoryLog, ServerRecord};
use crate::state::store::{MemoryStore, WriteStore};
use crate::state::store_disk::DiskStore;
use crate::state::{Event, StateReader};

/// Length of a raft tick of a durable agent, per unit of `raft_multiplier`. An election takes 10 to
/// 20 of them.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// How long a write waits for a quorum before its caller is told that the outcome is unknown.
const OUTCOME: Duration = Duration::from_secs(30);

/// The two kinds of log and store behind one start.
pub struct Server {
    /// The state.
    pub kv_store: KvStore,
    /// The log.
    pub raft: RaftNode,
    /// The published state.
    pub state: StateReader,
}

/// This server as its peers know it.
pub fn own_record(options: &AgentOptions, facts: &AgentFacts) -> ServerRecord {
    ServerRecord {
        node_id: facts.node_id.clone(),
        name: facts.node_name.clone(),
        address: options.server_address(),
    }
}

/// Whom a server's state and log speak to.
pub struct ServerLinks {
    /// Told what happens in the state.
    pub followers: Sender<StateChanged>,
    /// Told of leadership.
    pub leadership: Sender<Arc<Leadership>>,
    /// The other servers.
    pub peers: Links,
}

/// Opens the state and the log, and starts both. `snapshots` holds the data of snapshots.
pub fn start_server(
    options: &AgentOptions,
    facts: &AgentFacts,
    data_dir: Option<&DataDir>,
    snapshots: SnapshotFiles,
    links: ServerLinks,
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
    let machine = open_state(store, &snapshots)?;
    let state = machine.reader();
    let applied_index = machine.applied_index();
    // Should the start fail from here on, the process ends with that reason. Dropping the actors on
    // the way out would count as their unexpected death, and hide it.
    let kv_store = ManuallyDrop::new(KvStore::start(
        machine,
        snapshots,
        options.raft_snapshot_threshold,
        links.followers,
        Arc::clone(metrics),
        Arc::clone(&fail_stop),
    ));
    let me = own_record(options, facts);
    let mut driver = DriverConfig::new(me.raft_id());
    driver.bootstrap = options.bootstrap.then(|| Membership::founding([me.clone()]));
    driver.trailing_entries = options.raft_trailing_logs;
    let tick = TICK * options.raft_multiplier.max(1);
    let ticks = |time: Duration| time.as_millis().div_ceil(tick.as_millis().max(1));
    driver.read_ticks = u64::try_from(ticks(options.rpc_hold_timeout)).unwrap_or(u64::MAX).max(1);
    driver.proposal_ticks = u64::try_from(ticks(OUTCOME)).unwrap_or(u64::MAX);
    let recovery = data_dir.map(|directory| Recovery::find(&directory.join("raft"))).transpose()?.flatten();
    driver.recover = recovery.as_ref().map(|recovery| recovery.members.clone());
    let raft_options = RaftOptions {
        me,
        driver,
        tick,
        applied_index,
        on_leadership: links.leadership,
        metrics: Arc::clone(metrics),
    };
    let applier = kv_store.applier();
    let peers: Box<dyn PeerTransport> = Box::new(RaftLinks(links.peers));
    let raft = match data_dir {
        Some(directory) => {
            let log = LogDisk::open(&directory.join("raft"))?;
            let purger = log.purger();
            RaftNode::start(raft_options, log, Some(purger), applier, peers, fail_stop)?
        }
        None => RaftNode::start(raft_options, MemoryLog::new(), None, applier, peers, fail_stop)?,
    };
    // The node has opened its log, so it is in there.
    recovery.map(Recovery::done).transpose()?;
    Ok(Server { kv_store: ManuallyDrop::into_inner(kv_store), raft, state })
}

/// Where the data of snapshots lies.
pub fn snapshot_files(data_dir: Option<&DataDir>) -> Result<SnapshotFiles, StartError> {
    Ok(match data_dir {
        Some(directory) => SnapshotFiles::in_directory(&directory.join("raft/snapshots"))?,
        None => SnapshotFiles::unnamed(),
    })
}

/// Tells what happened in the state to those who follow it.
pub fn state_followers(
    sessions: &LateBound<SessionManager>,
    leader: &LateBound<Leader>,
) -> Sender<StateChanged> {
    let (sessions, leader) = (sessions.clone(), leader.clone());
    Sender::new(move |changed: StateChanged| {
        if changed.events.contains(&Event::Replaced) {
            leader.send(changed.clone());
        }
        sessions.send(changed);
    })
}

/// Starts the actors that hold nothing durable; each is made anew when it dies.
pub fn start_soft_actors(
    members: &Arc<LanMembers>,
    state: &StateReader,
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
    let (members, measured) = (Arc::clone(members), Arc::clone(metrics));
    late_leader.bind(supervise("leader", &here, RestartPolicy::default(), fail_stop, move |alive| {
        let leads = led.leadership().is_leader;
        let (datacenter, measured) = (members.facts.datacenter.clone(), Arc::clone(&measured));
        let members = Arc::<LanMembers>::clone(&members);
        Leader::new(datacenter, reader.clone(), Arc::clone(&way_in), members, measured, leads, alive).start()
    }));
}

/// This agent's services and checks: those of its last life, and over them those of the configuration.
pub fn define_local(
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
pub fn start_checks(
    options: &AgentOptions,
    local: &Arc<LocalState>,
    others: Others,
) -> Result<(), StartError> {
    // The local state owns the checks: what they hold of it must not keep it alive.
    let news = Arc::downgrade(local);
    let updates = Sender::new(move |update: CheckUpdate| {
        if let Some(local) = news.upgrade() {
            local.check_updated(&update);
        }
    });
    let alias = AliasView::new(local, others, options.endpoints.node_name.clone());
    let checks = HealthChecks::new(options.checks.clone(), updates, Arc::new(alias))
        .map_err(|source| StartError::System { doing: "cannot run health checks".into(), source })?;
    local.run_checks(checks);
    Ok(())
}

/// Has the catalog follow this agent's services and checks.
pub fn start_local_state(local: &Arc<LocalState>, catalog: Arc<dyn Catalog>, proposer: &Arc<dyn Proposer>) {
    let links = LocalStateLinks { local: Arc::clone(local), catalog, proposer: Arc::clone(proposer) };
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

/// What the agent is.
pub fn facts(options: &AgentOptions, node_id: String) -> AgentFacts {
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

/// Writes the file that holds the process id.
pub fn write_pid(path: &Path) -> Result<(), StartError> {
    fs::write(path, format!("{}\n", std::process::id())).map_err(|source| StartError::System {
        doing: format!("cannot write pid_file {}", path.display()),
        source,
    })
}

/// What an operator sees first; tools read it, so its shape is Consul's.
pub fn banner(options: &AgentOptions, facts: &AgentFacts, encrypted: bool) {
    let port = |port: u16| if port == 0 { "-1".to_owned() } else { port.to_string() };
    let ports = &facts.ports;
    let text = format!(
        "==> Starting Consul agent...\n\
         \x20          Version: '{}'\n\
         \x20          Node ID: '{}'\n\
         \x20        Node name: '{}'\n\
         \x20       Datacenter: '{}' (Segment: '{}')\n\
         \x20           Server: {} (Bootstrap: {})\n\
         \x20      Client Addr: [{}] (HTTP: {}, HTTPS: {}, gRPC: {}, DNS: {})\n\
         \x20     Cluster Addr: {} (LAN: {}, WAN: {})\n\
         \x20          Encrypt: Gossip: {encrypted}, TLS-Outgoing: false, TLS-Incoming: false, \
         Auto-Encrypt-TLS: false\n\n\
         ==> Log data will now stream in as it occurs:\n\n",
        facts.version,
        facts.node_id,
        facts.node_name,
        facts.datacenter,
        if facts.server { "<all>" } else { "" },
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
