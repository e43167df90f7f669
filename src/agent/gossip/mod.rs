//! Gossip as a part of the agent: its pools from the settings, whom they join, what the rest of the agent learns from
//! them, and their end.
//!
//! Knows what the core must not: datacenters, servers, the catalog, files.

mod admission;
mod catalog;
mod join;
mod keyring_file;
mod members;
mod options;
mod servers;
mod tags;

pub use catalog::{LanMembers, send_coordinate, write_coordinates};
pub use keyring_file::KeyringFileError;
pub use members::{NEW_LEADER, Pools};
pub use options::GossipOptions;
pub use servers::LanServers;
pub use tags::{expected_servers, server_port};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::Arbiter;
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use self::admission::{LanRules, WanRules};
use self::join::Retry;
use self::keyring_file::KeyringFile;
use self::options::PoolOptions;
use self::tags::{Role, ServerFacts, role};
use super::StartError;
use super::data_dir::DataDir;
use super::links::Request;
use crate::actors::leader::MembersChanged;
use crate::actors::mailbox::Sender;
use crate::actors::member_list::{self, Area, MemberEvent, Plan, PoolHandle, SnapshotFile};
use crate::actors::supervision::ExitProcess;
use crate::endpoints::agent::AgentFacts;
use crate::endpoints::event::Events;
use crate::gossip::serf::{Member, Status};
use crate::gossip::{Command, Event, PoolConfig};
use crate::metrics::Metrics;
use crate::settings::Join;

/// Longest goodbye to one pool: its broadcasts, the wait after them, and some.
const GOODBYE: Duration = Duration::from_secs(9);
/// Between two looks for servers of the LAN pool that are not in the WAN pool.
const FLOOD: Duration = Duration::from_secs(60);

/// The pools of a running agent.
pub struct RunningGossip {
    pools: Arc<Pools>,
    join: Join,
    server: bool,
    arbiter: Arbiter,
}

impl RunningGossip {
    /// Binds the sockets and starts the pools.
    ///
    /// # Errors
    /// [`StartError`] names the address or file that cannot be used.
    pub fn start(
        options: &GossipOptions,
        facts: &AgentFacts,
        data_dir: Option<&DataDir>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let arbiter = Arbiter::new();
        let start = Starter { options, facts, data_dir, metrics, arbiter: &arbiter };
        let wan = options.wan.as_ref().map(|wan| start.wan(wan)).transpose()?;
        let lan = start.lan(&options.lan)?;
        let default_ports = (options.lan.bind.port(), options.wan.as_ref().map_or(0, |wan| wan.bind.port()));
        let pools = Pools { lan, wan, datacenter: facts.datacenter.clone(), default_ports };
        let gossip =
            Self { pools: Arc::new(pools), join: options.join.clone(), server: facts.server, arbiter };
        gossip.follow_servers(&facts.node_name);
        Ok(gossip)
    }

    /// The pools.
    pub fn pools(&self) -> Arc<Pools> {
        Arc::clone(&self.pools)
    }

    /// They speak encrypted.
    pub fn encrypted(&self) -> bool {
        self.pools.lan.encrypted()
    }

    /// Has somebody look at the members when they change.
    pub fn tell_changes(&self, who: Sender<MembersChanged>) {
        self.pools.lan.subscribe(Sender::new(move |happened: MemberEvent| match happened.event {
            Event::Joined(_) | Event::Updated(_) | Event::Failed(_) | Event::Left(_) => {
                who.send(MembersChanged { reaped: false });
            }
            Event::Reaped(_) => who.send(MembersChanged { reaped: true }),
            _ => {}
        }));
    }

    /// Keeps the user events that are for this agent.
    pub fn tell_events(&self, events: &Arc<Events>) {
        let (events, server) = (Arc::clone(events), self.server);
        self.pools.lan.subscribe(Sender::new(move |happened: MemberEvent| {
            members::receive(&events, server, &happened);
        }));
    }

    /// Tells everybody that this server leads now.
    pub fn announce_leader(pools: &Arc<Pools>, name: &str) {
        let (pools, payload) = (Arc::clone(pools), name.as_bytes().to_vec());
        let event = Command::UserEvent { name: NEW_LEADER.to_owned(), payload, coalesce: false };
        actix_rt::spawn(async move {
            if let Err(failure) = pools.lan.command(event).await {
                warn!(target: "agent.server", error = %failure, "failed to broadcast new leader event");
            }
        });
    }

    /// Joins whom `start_join` and `start_join_wan` name.
    ///
    /// # Errors
    /// What went wrong, if nobody could be joined: the agent must not start then.
    pub async fn join_at_start(&self) -> Result<(), String> {
        for (addresses, wan) in [(&self.join.start_join, false), (&self.join.start_join_wan, true)] {
            if !addresses.is_empty() {
                self.pools.join_all(addresses, wan).await.map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// Joins whom `retry_join` and `retry_join_wan` name, in the background. An agent that gives up ends.
    pub fn keep_joining(&self, requests: &mpsc::UnboundedSender<Request>) {
        let join = &self.join;
        let (lan_port, wan_port) = self.pools.default_ports;
        let lan = Retry {
            addresses: join.retry_join.clone(),
            interval: join.retry_interval,
            most: join.retry_max,
            default_port: lan_port,
        };
        let wan = Retry {
            addresses: join.retry_join_wan.clone(),
            interval: join.retry_interval_wan,
            most: join.retry_max_wan,
            default_port: wan_port,
        };
        for (pool, retry) in [(Some(&self.pools.lan), lan), (self.pools.wan.as_ref(), wan)] {
            if retry.addresses.is_empty() {
                continue;
            }
            let Some(pool) = pool.cloned() else {
                warn!(target: "agent", "retry_join_wan is of no use to an agent without a WAN pool");
                continue;
            };
            let requests = requests.clone();
            actix_rt::spawn(async move {
                if let Err(failure) = join::retry(&pool, retry).await {
                    error!(target: "agent", error = %failure, "Retry join failed");
                    // Should it be stopping already, that is as good.
                    let _ = requests.send(Request::GiveUp);
                }
            });
        }
    }

    /// Says goodbye to both pools, WAN first.
    pub async fn leave(&self) {
        if self.server {
            info!(target: "agent.server", "server starting leave");
        } else {
            info!(target: "agent.client", "client starting leave");
        }
        for pool in self.pools.wan.iter().chain([&self.pools.lan]) {
            match tokio::time::timeout(GOODBYE, pool.leave()).await {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => {
                    error!(target: "agent", pool = pool.area().title(), error = %failure, "failed to leave");
                }
                Err(_) => warn!(target: "agent", pool = pool.area().title(), "leaving took too long"),
            }
        }
    }

    /// Closes the sockets.
    pub async fn stop(&self) {
        for pool in self.pools.wan.iter().chain([&self.pools.lan]) {
            pool.stop().await;
        }
        self.arbiter.stop();
    }

    /// Logs servers that come and go, and has those of the datacenter in the WAN pool too.
    fn follow_servers(&self, own: &str) {
        if !self.server {
            self.pools.lan.subscribe(Sender::new(|happened: MemberEvent| log_server(&happened)));
            return;
        }
        for pool in self.pools.wan.iter().chain([&self.pools.lan]) {
            pool.subscribe(Sender::new(|happened: MemberEvent| log_server(&happened)));
        }
        let Some(wan) = self.pools.wan.clone() else { return };
        let (own, lan, datacenter) = (own.to_owned(), self.pools.lan.clone(), self.pools.datacenter.clone());
        let (wake, mut woken) = tokio::sync::watch::channel(());
        lan.subscribe(Sender::new(move |happened: MemberEvent| {
            if matches!(happened.event, Event::Joined(_) | Event::Updated(_)) {
                wake.send_replace(());
            }
        }));
        actix_rt::spawn(async move {
            loop {
                for address in missing_in_wan(&lan, &wan, &own, &datacenter) {
                    debug!(target: "agent.server", %address, "joining a server of this datacenter over WAN");
                    if let Err(failure) = wan.join(address).await {
                        debug!(target: "agent.server", %address, error = %failure, "Failed to flood-join server");
                    }
                }
                tokio::select! {
                    changed = woken.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep(FLOOD) => {}
                }
            }
        });
    }
}

/// Addresses of the RPC of the living servers of a datacenter, in order of their names.
pub fn servers(members: &[Arc<Member>], datacenter: &str) -> Vec<SocketAddr> {
    let here = |member: &&Arc<Member>| {
        member.status == Status::Alive && member.tags.get("dc").is_some_and(|dc| dc == datacenter)
    };
    let mut servers: Vec<_> = members
        .iter()
        .filter(here)
        .filter_map(|member| match role(&member.tags) {
            Role::Server(server) => Some((&member.name, SocketAddr::new(member.addr.ip(), server.port))),
            Role::Client | Role::Stranger => None,
        })
        .collect();
    servers.sort();
    servers.into_iter().map(|(_, address)| address).collect()
}

/// WAN addresses of the servers of this datacenter that are not alive in the WAN pool.
fn missing_in_wan(lan: &PoolHandle, wan: &PoolHandle, own: &str, datacenter: &str) -> Vec<SocketAddr> {
    let known = wan.members();
    let alive = |name: &str| known.iter().any(|member| member.name == name && member.status == Status::Alive);
    let address = |member: &Arc<Member>| match role(&member.tags) {
        Role::Server(server) if member.name != own && member.status == Status::Alive => {
            let port = server.wan_join_port?;
            let name = format!("{}.{datacenter}", member.name);
            (!alive(&name)).then(|| SocketAddr::new(member.addr.ip(), port))
        }
        _ => None,
    };
    lan.members().iter().filter_map(address).collect()
}

/// Servers in the log, in Consul's words.
fn log_server(happened: &MemberEvent) {
    let (member, word, added) = match &happened.event {
        Event::Joined(member) => (member, "member-join", true),
        Event::Failed(member) => (member, "member-failed", false),
        Event::Left(member) => (member, "member-leave", false),
        Event::Reaped(member) => (member, "member-reap", false),
        _ => return,
    };
    let Role::Server(server) = role(&member.tags) else { return };
    if happened.area == Area::ServerWan {
        info!(target: "agent.server", event = word, server = %member.name, area = "wan", "Handled event for server in area");
        return;
    }
    let datacenter = member.tags.get("dc").map_or("", String::as_str);
    let address = SocketAddr::new(member.addr.ip(), server.port);
    let server = format!("{} (Addr: tcp/{address}) (DC: {datacenter})", member.name);
    match (happened.area, added) {
        (Area::ClientLan, true) => info!(target: "agent.client", %server, "adding server"),
        (Area::ClientLan, false) => info!(target: "agent.client", %server, "removing server"),
        (_, true) => info!(target: "agent.server", %server, "Adding LAN server"),
        (_, false) => info!(target: "agent.server", %server, "Removing LAN server"),
    }
}

/// What both pools are started from.
struct Starter<'a> {
    options: &'a GossipOptions,
    facts: &'a AgentFacts,
    data_dir: Option<&'a DataDir>,
    metrics: &'a Arc<Metrics>,
    arbiter: &'a Arbiter,
}

impl Starter<'_> {
    fn lan(&self, pool: &PoolOptions) -> Result<PoolHandle, StartError> {
        let (facts, allowed) = (self.facts, pool.allowed.clone());
        let (datacenter, node_name, node_id) =
            (facts.datacenter.clone(), facts.node_name.clone(), facts.node_id.clone());
        let rules: member_list::Rules = Arc::new(move || {
            Box::new(LanRules {
                datacenter: datacenter.clone(),
                node_name: node_name.clone(),
                node_id: node_id.clone(),
                allowed: allowed.clone(),
            })
        });
        let area = if facts.server { Area::ServerLan } else { Area::ClientLan };
        let tags = tags::own(facts, self.options.server);
        self.start(area, pool, facts.node_name.clone(), tags, rules, "local")
    }

    fn wan(&self, pool: &PoolOptions) -> Result<PoolHandle, StartError> {
        let allowed = pool.allowed.clone();
        let rules: member_list::Rules = Arc::new(move || Box::new(WanRules { allowed: allowed.clone() }));
        let server = ServerFacts { wan_join_port: None, ..self.options.server };
        let tags = tags::own(self.facts, server);
        let name = format!("{}.{}", self.facts.node_name, self.facts.datacenter);
        self.start(Area::ServerWan, pool, name, tags, rules, "remote")
    }

    fn start(
        &self,
        area: Area,
        pool: &PoolOptions,
        name: String,
        tags: tags::Tags,
        rules: member_list::Rules,
        file: &str,
    ) -> Result<PoolHandle, StartError> {
        let encryption = &self.options.encryption;
        let (keys, keyring) =
            keyring_file::load(encryption, self.data_dir, &format!("{file}.keyring"), area.title())?;
        let snapshot = match self.data_dir {
            Some(directory) => {
                let path = directory.join("serf").join(format!("{file}.snapshot"));
                let (file, content) = SnapshotFile::open(&path)?;
                Some((Arc::new(file), content))
            }
            None => None,
        };
        let (snapshot, content) = snapshot.unzip();
        let config = PoolConfig {
            name,
            advertise: pool.advertise,
            tags,
            swim: pool.swim.clone(),
            serf: pool.serf.clone(),
            keys,
            verify_incoming: encryption.verify_incoming,
            verify_outgoing: encryption.verify_outgoing,
            snapshot: None,
            seed: [0; 32],
        };
        let mut plan = Plan::new(area, pool.bind, config, rules, Arc::clone(self.metrics));
        plan.allowed.clone_from(&pool.allowed);
        plan.snapshot = snapshot;
        let subscribers = keyring.map(remember_keys).into_iter().collect();
        Ok(member_list::start(plan, content, &self.arbiter.handle(), Arc::new(ExitProcess), subscribers)?)
    }
}

/// Writes the keys down whenever they change.
fn remember_keys(file: KeyringFile) -> Sender<MemberEvent> {
    Sender::new(move |happened: MemberEvent| {
        if let Event::KeyringChanged(keys) = &happened.event {
            file.keep(keys);
        }
    })
}
