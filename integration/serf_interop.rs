//! A stock Serf agent and Tribune in one pool: both speak the same protocol, or they would not see each other.
//!
//! Without a stock agent the tests say that they are skipped, and pass.

use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gossip::{ALIVE, FAILED, LEFT, lan, wait_status};
use crate::support::{Agent, Setup, eventually, stock, until};

/// Serf's own timers are slower than ours.
const LIMIT: Duration = Duration::from_secs(60);
const KEY: &str = "pUqJrVyVRj5jsiYEkM/tFQ==";

/// A running stock agent. Dropping it kills it.
struct Serf {
    binary: PathBuf,
    home: TempDir,
    address: String,
    rpc: String,
    child: Option<Child>,
}

impl Serf {
    /// Starts one beside `agent`, at another port of its address; `None`, said aloud, if there is none.
    fn start(agent: &Agent, name: &str, arguments: &[&str]) -> Option<Self> {
        let binary = stock("serf")?;
        let ip = agent.config()["bind_addr"].as_str().unwrap();
        let held = [0; 2].map(|_| TcpListener::bind((ip, 0)).unwrap());
        let [address, rpc] = [0, 1].map(|at: usize| held[at].local_addr().unwrap().to_string());
        drop(held);
        let home = TempDir::with_prefix("tribune-serf-").unwrap();
        // Every event becomes a line: kind, name, payload.
        let handler = home.path().join("handler");
        let script = format!(
            "#!/bin/sh\nprintf '%s %s ' \"$SERF_EVENT\" \"$SERF_USER_EVENT\" >> {dir}/events\ntr -d '\\n' >> {dir}/events\n\
             echo >> {dir}/events\n",
            dir = home.path().display()
        );
        fs::write(&handler, script).unwrap();
        fs::set_permissions(&handler, fs::Permissions::from_mode(0o755)).unwrap();
        let log = fs::File::create(home.path().join("log")).unwrap();
        let child = Command::new(&binary)
            .arg("agent")
            .args([format!("-node={name}"), format!("-bind={address}"), format!("-rpc-addr={rpc}")])
            .args(["-profile=local", "-log-level=debug"])
            .arg(format!("-event-handler=user={}", handler.display()))
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .unwrap();
        let serf = Self { binary, home, address, rpc, child: Some(child) };
        until("the stock agent", LIMIT, || serf.command(&["info"]).status.success());
        Some(serf)
    }

    fn command(&self, words: &[&str]) -> Output {
        let (first, rest) = words.split_first().unwrap();
        let rpc = format!("-rpc-addr={}", self.rpc);
        Command::new(&self.binary).arg(first).arg(rpc).args(rest).output().unwrap()
    }

    /// How it sees a member: `alive`, `failed`, `left`.
    fn sees(&self, name: &str) -> Option<String> {
        let output = self.command(&["members", "-format=json"]);
        let members: Value = serde_json::from_slice(&output.stdout).ok()?;
        let found = members["members"].as_array()?.iter().find(|member| member["name"] == name)?.clone();
        found["status"].as_str().map(ToOwned::to_owned)
    }

    #[track_caller]
    fn wait(&self, name: &str, wanted: &str) {
        let found = eventually(LIMIT, || (self.sees(name).as_deref() == Some(wanted)).then_some(()));
        assert!(found.is_some(), "{name} is {:?}, not {wanted}\n{}", self.sees(name), self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    fn events(&self) -> Vec<u8> {
        fs::read(self.home.path().join("events")).unwrap_or_default()
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Drop for Serf {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An event as Consul agents send it, in today's msgpack.
fn consul_event(id: &str, name: &str) -> Vec<u8> {
    let mut bytes = b"\x83\xa2ID\xd9\x24".to_vec();
    bytes.extend(id.as_bytes());
    bytes.extend(b"\xa1n");
    bytes.push(0xa0 | u8::try_from(name.len()).unwrap());
    bytes.extend(name.as_bytes());
    bytes.extend(b"\xa1v\x01");
    bytes
}

fn listed(agent: &Agent) -> Vec<Value> {
    agent.get("/v1/event/list").expect(200).json().as_array().cloned().unwrap_or_default()
}

/// Everything two agents do to each other.
fn live_together(encrypt: Option<&str>) {
    let mut setup = Setup::dev().with(json!({ "node_name": "tribune" }));
    let mut arguments = Vec::new();
    let flag = encrypt.map(|key| format!("-encrypt={key}"));
    if let (Some(key), Some(flag)) = (encrypt, &flag) {
        setup = setup.with(json!({ "encrypt": key }));
        arguments.push(flag.as_str());
    }
    let agent = setup.start();
    let Some(serf) = Serf::start(&agent, "stock", &arguments) else { return };

    let joined = serf.command(&["join", &lan(&agent)]);
    assert!(joined.status.success(), "{}\n{}", String::from_utf8_lossy(&joined.stderr), serf.log());
    wait_status(&agent, "stock", ALIVE);
    serf.wait("tribune", "alive");
    // Not Consul's, so none of the catalog's business.
    assert_eq!(agent.get("/v1/catalog/node/stock").expect(200).text().trim(), "null");
    // It measures us as we measure it.
    let rtt = eventually(LIMIT, || {
        let output = serf.command(&["rtt", "tribune"]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    });
    assert!(rtt.is_some_and(|text| text.contains("rtt:")), "{}", serf.log());

    // Its events here, ours there.
    let id = "2db2fd32-b2a8-411e-84b1-5ab19cfbf3d1";
    let fired = std::ffi::OsString::from_vec(consul_event(id, "hello"));
    let output = Command::new(&serf.binary)
        .args(["event", &format!("-rpc-addr={}", serf.rpc), "-coalesce=false", "consul:event:hello"])
        .arg(fired)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    until("its event", LIMIT, || {
        listed(&agent).iter().any(|event| event["ID"] == id && event["Name"] == "hello")
    });
    let plain = serf.command(&["event", "not-consuls", "x"]);
    assert!(plain.status.success());
    let ours = agent.put("/v1/event/fire/deploy", "v1").expect(200).json();
    let (name, id) = (b"user consul:event:deploy ", ours["ID"].as_str().unwrap());
    let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    until("our event", LIMIT, || has(&serf.events(), name) && has(&serf.events(), id.as_bytes()));
    assert_eq!(listed(&agent).len(), 2, "an event that is not Consul's is not listed");

    // It goes, and comes back.
    let left = serf.command(&["leave"]);
    assert!(left.status.success(), "{}", String::from_utf8_lossy(&left.stderr));
    wait_status(&agent, "stock", LEFT);
    drop(serf);
    let mut serf = Serf::start(&agent, "stock", &arguments).unwrap();
    agent.put(&format!("/v1/agent/join/{}", serf.address), "").expect(200);
    wait_status(&agent, "stock", ALIVE);
    serf.wait("tribune", "alive");
    serf.kill();
    wait_status(&agent, "stock", FAILED);

    // We go: once with a goodbye, once without.
    let serf = Serf::start(&agent, "watcher", &arguments).unwrap();
    let mut agent = agent;
    agent.put(&format!("/v1/agent/join/{}", serf.address), "").expect(200);
    serf.wait("tribune", "alive");
    agent.put("/v1/agent/leave", "").expect(200);
    assert_eq!(agent.wait_exit(LIMIT).code(), Some(0));
    serf.wait("tribune", "left");
    agent.restart();
    agent.put(&format!("/v1/agent/join/{}", serf.address), "").expect(200);
    serf.wait("tribune", "alive");
    agent.kill();
    serf.wait("tribune", "failed");
}

#[test]
fn stock_serf_and_tribune_live_together() {
    live_together(None);
}

#[test]
fn stock_serf_and_tribune_live_together_encrypted() {
    live_together(Some(KEY));
}

#[test]
fn a_stock_agent_that_looks_like_a_client_is_in_the_catalog() {
    let agent = Setup::dev().start();
    let id = "99999999-2222-3333-4444-555555555555";
    let id_tag = format!("-tag=id={id}");
    let tags = ["-tag=role=node", "-tag=dc=dc1", "-tag=vsn=2", "-tag=build=1.8.7:", &id_tag];
    let Some(mut serf) = Serf::start(&agent, "client", &tags) else { return };
    agent.put(&format!("/v1/agent/join/{}", serf.address), "").expect(200);
    let health = |wanted: &str| {
        let checks = agent.get("/v1/health/node/client").expect(200).json();
        checks[0]["CheckID"] == "serfHealth" && checks[0]["Status"] == wanted
    };
    until("its health", LIMIT, || health("passing"));
    let node = agent.get("/v1/catalog/node/client").expect(200).json();
    assert_eq!(node["Node"]["ID"], id);
    assert_eq!(node["Node"]["Address"], agent.config()["bind_addr"]);
    assert_eq!(node["Services"], json!({}));
    serf.kill();
    wait_status(&agent, "client", FAILED);
    until("its failure", LIMIT, || health("critical"));
    agent.put("/v1/agent/force-leave/client", "").expect(200);
    until("its removal", LIMIT, || agent.get("/v1/catalog/node/client").expect(200).text().trim() == "null");
}
