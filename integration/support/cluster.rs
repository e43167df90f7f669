//! A whole datacenter as processes: servers and client agents, one address each, all with the same
//! standard ports, as on machines of their own.
//!
//! Members are numbered from 0, servers first. What a member prints is kept over its restarts and
//! shown when the test fails. Dropping the cluster kills what still runs.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::agent::{binary, merge, own_address, pid_of, tail};
use super::http::{Answer, Client};
use super::wait::eventually;

/// How long anything may take that ends in a whole cluster.
pub const LIMIT: Duration = Duration::from_secs(60);
/// The standard ports.
pub const HTTP: u16 = 8500;
pub const DNS: u16 = 8600;
pub const SERVER: u16 = 8300;
pub const LAN: u16 = 8301;

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct ClusterSetup {
    servers: usize,
    clients: usize,
    config: Value,
    environment: Vec<(String, String)>,
    /// Address and launching words of every member; by default a loopback address and none.
    places: Vec<(Ipv4Addr, Vec<String>)>,
    dev: bool,
}

impl ClusterSetup {
    /// So many servers and client agents. Timers are quick.
    pub fn new(servers: usize, clients: usize) -> Self {
        let quick = json!({
            "gossip_interval": "100ms", "probe_interval": "200ms", "probe_timeout": "100ms", "suspicion_mult": 3,
        });
        let config = json!({
            "log_level": "INFO",
            "disable_update_check": true,
            "performance": { "raft_multiplier": 1 },
            "limits": { "http_max_conns_per_client": 600, "rpc_max_conns_per_client": 600 },
            "gossip_lan": quick,
            "retry_interval": "500ms",
            "sync_coordinate_interval_min": "1s",
        });
        Self { servers, clients, config, environment: Vec::new(), places: Vec::new(), dev: false }
    }

    /// Adds to everybody's configuration.
    #[must_use]
    pub fn with(mut self, config: Value) -> Self {
        merge(&mut self.config, config);
        self
    }

    /// Everybody's environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where the members run: their addresses, and the words that start a program there.
    #[must_use]
    pub fn places(mut self, places: Vec<(Ipv4Addr, Vec<String>)>) -> Self {
        self.places = places;
        self
    }

    /// Starts everybody and waits until they are one cluster.
    #[track_caller]
    pub fn start(self) -> Cluster {
        let mut cluster = self.prepare();
        for at in 0..cluster.members.len() {
            cluster.start(at);
        }
        cluster.wait_whole();
        cluster
    }

    /// Makes the directories and files of everybody and starts nobody.
    #[track_caller]
    pub fn prepare(self) -> Cluster {
        let count = self.servers + self.clients;
        let places = if self.places.is_empty() {
            (0..count).map(|_| (own_address(), Vec::new())).collect()
        } else {
            self.places.clone()
        };
        let join: Vec<String> = places[..self.servers].iter().map(|(ip, _)| ip.to_string()).collect();
        let member = |at: usize| {
            let home = TempDir::with_prefix("tribune-cluster-").expect("a directory in the temporary one");
            let server = at < self.servers;
            let (ip, launcher) = places[at].clone();
            let name = if server {
                format!("server-{}", at + 1)
            } else {
                format!("client-{}", at + 1 - self.servers)
            };
            let mut config = json!({
                "node_name": name, "bind_addr": ip.to_string(), "client_addr": ip.to_string(),
                "data_dir": home.path().join("data"), "retry_join": join,
            });
            if server {
                merge(&mut config, json!({ "server": true, "bootstrap_expect": self.servers }));
            }
            merge(&mut config, self.config.clone());
            Member {
                name,
                ip,
                server,
                home,
                config,
                launcher,
                environment: self.environment.clone(),
                binary: binary(),
                child: None,
                starts: 0,
            }
        };
        Cluster { members: (0..count).map(member).collect(), servers: self.servers }
    }
}

/// One agent.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    pub ip: Ipv4Addr,
    pub server: bool,
    home: TempDir,
    config: Value,
    launcher: Vec<String>,
    environment: Vec<(String, String)>,
    binary: PathBuf,
    child: Option<Child>,
    starts: usize,
}

impl Member {
    /// Where its HTTP API listens.
    pub fn http(&self) -> SocketAddr {
        SocketAddr::new(self.ip.into(), HTTP)
    }

    /// A client with a connection of its own.
    pub fn client(&self) -> Client {
        Client::new(self.http()).patience(Duration::from_secs(10))
    }

    /// GET; `None` if there was no answer with status 200.
    pub fn get(&self, target: &str) -> Option<Answer> {
        self.client().get(target).ok().filter(|answer| answer.status == 200)
    }

    /// PUT; any answer.
    #[track_caller]
    pub fn put(&self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.client().put(target, body).unwrap_or_else(|error| panic!("{}: PUT {target}: {error}", self.name))
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the member runs").id()
    }

    /// Its directory, with its data in `data`.
    pub fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// Another program for the next start, such as a Consul one.
    pub fn set_binary(&mut self, binary: PathBuf) {
        self.binary = binary;
    }

    /// Changes its configuration; the next start makes it count.
    pub fn reconfigure(&mut self, change: Value) {
        merge(&mut self.config, change);
    }

    /// A variable of its environment, from its next start on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let file = self.home.path().join("agent.json");
        fs::write(&file, self.config.to_string()).expect("the configuration file can be written");
        let mut words = self.launcher.clone();
        words.push(self.binary.display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("agent").arg("-config-file").arg(file);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.starts += 1;
        let log = || {
            let path = self.home.path().join("log");
            OpenOptions::new().create(true).append(true).open(path).expect("a log file")
        };
        writeln!(log(), "--- start {} ---", self.starts).ok();
        command.stdin(Stdio::null()).stdout(log()).stderr(log());
        command.process_group(0).current_dir(self.home.path());
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{words:?}: {error}")));
    }

    /// The process exists and has not ended.
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill_process_group(pid_of(&child), Signal::KILL).ok();
            child.wait().ok();
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the member runs");
        kill_process(pid_of(child), signal).expect("it can be signalled");
    }

    /// Waits for it to end by itself.
    #[track_caller]
    pub fn wait_exit(&mut self) {
        let child = self.child.as_mut().expect("the member runs");
        let ended = eventually(LIMIT, || child.try_wait().expect("a child can be asked"));
        assert!(ended.is_some(), "{} still runs\n{}", self.name, self.log(60));
        self.child = None;
    }

    /// The last lines it printed.
    pub fn log(&self, lines: usize) -> String {
        tail(&self.home.path().join("log"), lines).unwrap_or_default()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} at {} (last lines) ---\n{}", self.name, self.ip, self.log(40));
        }
    }
}

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    pub members: Vec<Member>,
    servers: usize,
}

impl Cluster {
    /// Numbers of the servers.
    pub fn servers(&self) -> std::ops::Range<usize> {
        0..self.servers
    }

    /// Numbers of the client agents.
    pub fn clients(&self) -> std::ops::Range<usize> {
        self.servers..self.members.len()
    }

    /// Starts a member and waits for nothing.
    pub fn start(&mut self, at: usize) {
        self.members[at].start();
    }

    /// SIGKILL, and waits for the end.
    pub fn kill9(&mut self, at: usize) {
        self.members[at].kill();
    }

    /// Freezes a member.
    pub fn stop(&self, at: usize) {
        self.members[at].signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn cont(&self, at: usize) {
        self.members[at].signal(Signal::CONT);
    }

    /// Asks it to end, as an init system does, and starts it again.
    pub fn restart(&mut self, at: usize) {
        self.members[at].signal(Signal::TERM);
        self.members[at].wait_exit();
        self.start(at);
    }

    /// It says goodbye and ends.
    #[track_caller]
    pub fn leave(&mut self, at: usize) {
        self.members[at].put("/v1/agent/leave", "").expect(200);
        self.members[at].wait_exit();
    }

    /// The leader, as a member that may be asked sees it; it must run itself.
    pub fn leader(&mut self) -> Option<usize> {
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            if !member.runs() {
                continue;
            }
            let mut client = Client::new(member.http()).patience(Duration::from_secs(1));
            let Ok(answer) = client.get("/v1/status/leader") else { continue };
            let text = answer.text().trim().trim_matches('"').to_owned();
            let found = self.members.iter().position(|member| text == format!("{}:{SERVER}", member.ip));
            if let Some(found) = found.filter(|found| self.members[*found].child.is_some()) {
                return Some(found);
            }
        }
        None
    }

    /// Waits for a leader.
    #[track_caller]
    pub fn wait_leader(&mut self) -> usize {
        let found = eventually(LIMIT, || self.leader());
        found.unwrap_or_else(|| panic!("no leader within {LIMIT:?}"))
    }

    /// How a member sees the others: (name, Serf's number of the status).
    pub fn seen_by(&self, at: usize) -> Vec<(String, u64)> {
        let Some(answer) = self.members[at].get("/v1/agent/members") else { return Vec::new() };
        let members = answer.json();
        let of = |member: &Value| Some((member["Name"].as_str()?.to_owned(), member["Status"].as_u64()?));
        members.as_array().map(|all| all.iter().filter_map(of).collect()).unwrap_or_default()
    }

    /// Waits until every running member sees so many alive.
    #[track_caller]
    pub fn wait_alive(&mut self, count: usize) {
        for at in 0..self.members.len() {
            if !self.members[at].runs() {
                continue;
            }
            let alive =
                |cluster: &Self| cluster.seen_by(at).iter().filter(|(_, status)| *status == 1).count();
            let found = eventually(LIMIT, || (alive(self) == count).then_some(()));
            assert!(
                found.is_some(),
                "{} sees {:?}, not {count} alive",
                self.members[at].name,
                self.seen_by(at)
            );
        }
    }

    /// Addresses of the Raft peers, as a member sees them.
    pub fn peers(&self, at: usize) -> Vec<String> {
        let answer = self.members[at].get("/v1/status/peers");
        let peers = answer.map(|answer| answer.json()).unwrap_or_default();
        let text = |peer: &Value| Some(peer.as_str()?.to_owned());
        let mut peers: Vec<String> = peers.as_array().into_iter().flatten().filter_map(text).collect();
        peers.sort();
        peers
    }

    /// Waits until everybody runs, sees everybody, knows a leader, all servers are peers, and all
    /// nodes are in the catalog and healthy.
    #[track_caller]
    pub fn wait_whole(&mut self) {
        self.wait_leader();
        self.wait_alive(self.members.len());
        let mut peers: Vec<String> =
            self.servers().map(|at| format!("{}:{SERVER}", self.members[at].ip)).collect();
        peers.sort();
        for at in 0..self.members.len() {
            let found = eventually(LIMIT, || (self.peers(at) == peers).then_some(()));
            assert!(found.is_some(), "{} knows the peers {:?}", self.members[at].name, self.peers(at));
            let nodes = |cluster: &Self| {
                let checks = cluster.members[at].get("/v1/health/state/passing")?.json();
                let serf = |check: &&Value| check["CheckID"] == "serfHealth";
                Some(checks.as_array()?.iter().filter(serf).count())
            };
            let found = eventually(LIMIT, || (nodes(self) == Some(self.members.len())).then_some(()));
            assert!(found.is_some(), "{} sees {:?} healthy nodes", self.members[at].name, nodes(self));
        }
    }

    /// Nobody that should run has ended.
    #[track_caller]
    pub fn assert_all_run(&mut self) {
        for member in &mut self.members {
            assert!(member.child.is_none() || member.runs(), "{} has ended\n{}", member.name, member.log(60));
        }
    }
}
