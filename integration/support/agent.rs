//! An agent as a process of its own: started in a directory of its own, on an address of its own,
//! its output kept and shown when the test fails, and never left behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::http::{Answer, Client};
use super::process;
use super::wait::{eventually, until};

/// How long an agent may take until it leads and has registered itself.
pub const START_LIMIT: Duration = Duration::from_secs(40);

/// The binary under test.
pub fn binary() -> PathBuf {
    std::env::var_os("TRIBUNE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_tribune").into(), PathBuf::from)
}

/// What an agent is started with.
#[derive(Debug)]
pub struct Setup {
    mode: Mode,
    config: Value,
    arguments: Vec<String>,
    wrapper: Vec<String>,
    data: Option<PathBuf>,
    program: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// `-dev`: everything in memory.
    Dev,
    /// A lone server with a data directory.
    Server,
    /// A client agent with a data directory.
    Client,
}

impl Setup {
    /// A development agent.
    pub fn dev() -> Self {
        Self::new(Mode::Dev)
    }

    /// A durable single server.
    pub fn server() -> Self {
        Self::new(Mode::Server)
    }

    /// A client agent; somebody has to tell it whom to join.
    pub fn client() -> Self {
        Self::new(Mode::Client)
    }

    fn new(mode: Mode) -> Self {
        let config = json!({
            "node_name": "node1",
            "log_level": "INFO",
            "disable_update_check": true,
            "performance": { "raft_multiplier": 1 },
            "limits": { "http_max_conns_per_client": 600 },
        });
        Self { mode, config, arguments: Vec::new(), wrapper: Vec::new(), data: None, program: None }
    }

    /// Adds to the configuration file; objects are merged, everything else is replaced.
    #[must_use]
    pub fn with(mut self, config: Value) -> Self {
        merge(&mut self.config, config);
        self
    }

    /// Adds command line arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Starts the agent through another program, which must end up executing it.
    #[must_use]
    pub fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(ToString::to_string).collect();
        self
    }

    /// Another binary than the one under test.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// Another data directory than one of its own.
    #[must_use]
    pub fn data(mut self, data: &Path) -> Self {
        self.data = Some(data.to_owned());
        self
    }

    /// Starts the agent and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Agent {
        let agent = self.spawn();
        agent.wait_ready();
        agent
    }

    /// Starts the agent and waits for nothing.
    #[track_caller]
    pub fn spawn(self) -> Agent {
        let home = TempDir::with_prefix("tribune-test-").expect("a directory in the temporary one");
        let ip = own_address();
        let [http, dns, server, serf_lan, serf_wan] = free_ports(ip);
        let mut config = json!({
            "bind_addr": ip.to_string(),
            "client_addr": ip.to_string(),
            "ports": { "http": http, "dns": dns, "server": server, "serf_lan": serf_lan, "serf_wan": serf_wan, "grpc": -1 },
        });
        let data = self.data.clone().unwrap_or_else(|| home.path().join("data"));
        if self.mode == Mode::Server {
            merge(&mut config, json!({ "server": true, "bootstrap_expect": 1, "data_dir": data }));
        }
        if self.mode == Mode::Client {
            merge(&mut config, json!({ "server": false, "data_dir": data }));
        }
        merge(&mut config, self.config.clone());
        let http = SocketAddr::new(ip.into(), http);
        let mut agent = Agent { setup: self, home, data, config, http, child: None, starts: 0 };
        agent.spawn();
        agent
    }
}

/// Merges `from` into `into`: objects by key, anything else by replacing it.
pub fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert_with(|| Value::Object(Map::new())), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// A loopback address that no other agent of this or another test run uses.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let [.., count] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // 127.64.0.0 and up: people's own agents live at the lower end.
    Ipv4Addr::new(127, 64 | (high & 0x3f), low, count.max(1))
}

/// Ports that are free for UDP and TCP at this moment; the address is ours, so they stay free.
fn free_ports<const N: usize>(ip: Ipv4Addr) -> [u16; N] {
    let mut held: Vec<(TcpListener, UdpSocket)> = Vec::new();
    while held.len() < N {
        let tcp = TcpListener::bind((ip, 0)).expect("a free TCP port");
        let port = tcp.local_addr().expect("its own address").port();
        if let Ok(udp) = UdpSocket::bind((ip, port)) {
            held.push((tcp, udp));
        }
    }
    std::array::from_fn(|n| held[n].0.local_addr().expect("its own address").port())
}

/// A running (or killed, or ended) agent. Dropping it kills it.
#[derive(Debug)]
pub struct Agent {
    setup: Setup,
    home: TempDir,
    data: PathBuf,
    config: Value,
    http: SocketAddr,
    child: Option<Child>,
    starts: usize,
}

impl Agent {
    /// A development agent with the usual settings.
    #[track_caller]
    pub fn dev() -> Self {
        Setup::dev().start()
    }

    /// A durable server with the usual settings.
    #[track_caller]
    pub fn server() -> Self {
        Setup::server().start()
    }

    /// Where its HTTP API listens.
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.home.path().join("agent.json")
    }

    /// What is in its configuration file.
    pub const fn config(&self) -> &Value {
        &self.config
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the agent runs").id()
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        process::resident_kib(self.pid())
    }

    /// CPU time used so far.
    pub fn cpu_time(&self) -> Duration {
        process::cpu_time(self.pid())
    }

    /// A client with a connection of its own.
    pub const fn client(&self) -> Client {
        Client::new(self.http)
    }

    /// GET over a fresh connection.
    #[track_caller]
    pub fn get(&self, target: &str) -> Answer {
        self.request("GET", target, b"")
    }

    /// PUT over a fresh connection.
    #[track_caller]
    pub fn put(&self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.request("PUT", target, body.as_ref())
    }

    /// DELETE over a fresh connection.
    #[track_caller]
    pub fn delete(&self, target: &str) -> Answer {
        self.request("DELETE", target, b"")
    }

    /// Any request over a fresh connection.
    #[track_caller]
    pub fn request(&self, method: &str, target: &str, body: &[u8]) -> Answer {
        self.client().request(method, target, &[], body).unwrap_or_else(|error| {
            panic!("{method} {}: {error}", target.chars().take(200).collect::<String>())
        })
    }

    /// Waits until everything sent before has been read by the agent, and some more requests were
    /// served: what was sent first has then been looked at, for all that can be seen from outside.
    pub fn settle(&self) {
        let port = format!(":{:04X}", self.http.port());
        eventually(Duration::from_secs(5), || {
            let table = fs::read_to_string("/proc/net/tcp").ok()?;
            let own = |line: &&str| line.split_whitespace().skip(1).take(2).any(|end| end.ends_with(&port));
            let unread = |line: &str| {
                line.split_whitespace().nth(4).is_some_and(|queues| queues != "00000000:00000000")
            };
            // State 0A is the listening socket; its queue are connections not accepted yet.
            (!table.lines().filter(own).any(unread)).then_some(())
        });
        let mut client = self.client();
        for _ in 0..8 {
            client.get("/v1/status/leader").ok();
        }
    }

    fn spawn(&mut self) {
        assert!(self.child.is_none(), "the agent runs already");
        fs::write(self.config_file(), self.config.to_string())
            .expect("the configuration file can be written");
        let binary = self.setup.program.clone().unwrap_or_else(binary);
        let mut words = self.setup.wrapper.iter().map(std::ffi::OsStr::new).chain([binary.as_os_str()]);
        let mut command = Command::new(words.next().expect("a binary"));
        command.args(words).arg("agent");
        if self.setup.mode == Mode::Dev {
            command.arg("-dev");
        }
        command.arg("-config-file").arg(self.config_file()).args(&self.setup.arguments);
        command.stdin(Stdio::null()).stdout(self.log("stdout")).stderr(self.log("stderr"));
        // A group of its own: Ctrl-C at the test reaches the test only, and scripts it starts die with it.
        command.process_group(0).current_dir(self.home.path());
        self.starts += 1;
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", binary.display())));
    }

    fn log(&self, name: &str) -> File {
        let path = self.home.path().join(name);
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a log file");
        if self.starts > 0 {
            writeln!(file, "--- start {} ---", self.starts + 1).expect("the log file can be written");
        }
        file
    }

    /// Everything it printed on stdout, of this and earlier starts.
    pub fn stdout(&self) -> String {
        fs::read_to_string(self.home.path().join("stdout")).unwrap_or_default()
    }

    /// Everything it printed on stderr, of this and earlier starts.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.home.path().join("stderr")).unwrap_or_default()
    }

    /// Everything it printed since its last start.
    pub fn output(&self) -> String {
        let last = |text: String| match text.rsplit_once("--- start ") {
            Some((_, tail)) => tail.to_owned(),
            None => text,
        };
        last(self.stdout()) + &last(self.stderr())
    }

    /// Waits until it leads.
    #[track_caller]
    pub fn wait_leader(&self) {
        self.wait_for("a leader", |client| {
            let answer = client.get("/v1/status/leader").ok()?;
            (answer.status == 200 && answer.text().trim().len() > 2).then_some(())
        });
    }

    /// Waits until it leads, is registered with its own health, and nothing moves any more.
    #[track_caller]
    pub fn wait_ready(&self) {
        self.wait_leader();
        let name = self.config["node_name"].as_str().unwrap_or("node1");
        let own_health = format!("/v1/health/node/{name}");
        let own_entry = format!("/v1/catalog/node/{name}");
        self.wait_for("its own registration", |client| {
            let health = client.get(&own_health).ok().filter(|answer| answer.status == 200)?;
            let checks = health.json();
            let serf = checks.as_array()?.iter().find(|check| check["CheckID"] == "serfHealth")?.clone();
            let passing = serf["Status"] == "passing";
            let entry = client.get(&own_entry).ok().filter(|answer| answer.status == 200)?.json();
            let addressed = entry["Node"]["TaggedAddresses"]["lan"].is_string();
            (passing && addressed).then_some(())
        });
        let mut before = 0;
        self.wait_for("quiet", |client| {
            let index = client.get("/v1/catalog/nodes").ok()?.index();
            let quiet = format!("/v1/catalog/nodes?index={index}&wait=100ms");
            let after = client.get(&quiet).ok()?.index();
            let settled = index == before && after == index;
            before = after;
            settled.then_some(())
        });
    }

    #[track_caller]
    fn wait_for(&self, what: &str, mut look: impl FnMut(&mut Client) -> Option<()>) {
        let mut client = self.client().patience(Duration::from_secs(5));
        let found = eventually(START_LIMIT, || {
            assert!(self.runs(), "the agent ended while waiting for {what}\n{}", self.output());
            look(&mut client)
        });
        assert!(found.is_some(), "the agent did not get to {what}\n{}", self.output());
    }

    /// The process exists and has not ended.
    pub fn runs(&self) -> bool {
        let Some(child) = &self.child else { return false };
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        // The state follows the command's name, which is in brackets and may hold anything.
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Whoever has ended already cannot be killed; that is as good.
            kill_process_group(pid_of(&child), Signal::KILL).ok();
            child.wait().expect("a child can be waited for");
        }
    }

    /// Sends a signal to the agent alone.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the agent runs");
        kill_process(pid_of(child), signal).expect("the agent can be signalled");
    }

    /// Waits for the agent to end by itself.
    #[track_caller]
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let child = self.child.as_mut().expect("the agent runs");
        let status = eventually(limit, || child.try_wait().expect("a child can be asked"));
        let status = status.unwrap_or_else(|| panic!("still running after {limit:?}\n{}", self.output()));
        self.child = None;
        status
    }

    /// Starts it again on the same directories and ports and waits until it is ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.start_again();
        self.wait_ready();
    }

    /// Starts it again and waits for nothing.
    pub fn start_again(&mut self) {
        self.spawn();
    }

    /// Changes the configuration file; a restart or a reload makes it count.
    pub fn reconfigure(&mut self, change: Value) {
        merge(&mut self.config, change);
        fs::write(self.config_file(), self.config.to_string())
            .expect("the configuration file can be written");
    }

    /// Waits until its output holds this text.
    #[track_caller]
    pub fn wait_output(&self, text: &str, limit: Duration) {
        until(&format!("{text:?} in the output\n{}", self.output()), limit, || self.output().contains(text));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill_process_group(pid_of(&child), Signal::KILL).ok();
            child.wait().ok();
        }
        if std::thread::panicking() {
            for name in ["stdout", "stderr"] {
                eprintln!("--- {name} of the agent at {} (last lines) ---", self.http);
                eprint!("{}", tail(&self.home.path().join(name), 60).unwrap_or_default());
            }
        }
    }
}

pub fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

pub fn tail(path: &Path, lines: usize) -> io::Result<String> {
    let all: Vec<String> = BufReader::new(File::open(path)?).lines().collect::<io::Result<_>>()?;
    Ok(all[all.len().saturating_sub(lines)..].join("\n") + "\n")
}

/// Runs the binary with these arguments to its end, at most `limit`; gives status, stdout, stderr.
#[track_caller]
pub fn run(arguments: &[&str], limit: Duration) -> (Option<i32>, String, String) {
    let home = TempDir::with_prefix("tribune-test-").expect("a directory in the temporary one");
    let [out, err] = ["stdout", "stderr"].map(|name| home.path().join(name));
    let mut child = Command::new(binary())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(File::create(&out).expect("a file"))
        .stderr(File::create(&err).expect("a file"))
        .process_group(0)
        .spawn()
        .expect("the binary starts");
    let start = Instant::now();
    let status = eventually(limit, || child.try_wait().expect("a child can be asked"));
    if status.is_none() {
        kill_process_group(pid_of(&child), Signal::KILL).ok();
        child.wait().ok();
    }
    let [out, err] = [out, err].map(|path| fs::read_to_string(path).unwrap_or_default());
    let status =
        status.unwrap_or_else(|| panic!("{arguments:?} ran for {:?}\n{out}\n{err}", start.elapsed()));
    (status.code(), out, err)
}
