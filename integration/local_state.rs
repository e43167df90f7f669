//! Services and checks of an agent: what survives a crash and a reload, and that the catalog follows.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Agent, Setup, fixture, until};

const LIMIT: Duration = Duration::from_secs(20);

/// A web server that can be told to accept and say nothing.
struct Server {
    address: SocketAddr,
    silent: Arc<AtomicBool>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let silent = Arc::new(AtomicBool::new(false));
        let mute = Arc::clone(&silent);
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut head = [0; 1024];
                // A connection that says nothing is held as well.
                if !mute.load(Ordering::SeqCst) && stream.read(&mut head).is_ok() {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup");
                } else {
                    held.push(stream);
                }
            }
        });
        Self { address, silent }
    }
}

#[track_caller]
fn register(agent: &Agent, service: &Value) {
    agent.put("/v1/agent/service/register", service.to_string()).expect(200);
}

/// Status of a check, as the agent knows it.
fn local_status(agent: &Agent, check: &str) -> String {
    agent.get("/v1/agent/checks").expect(200).json()[check]["Status"].as_str().unwrap_or("none").to_owned()
}

/// Status of a check of the agent's node, as the catalog knows it.
fn status(agent: &Agent, check: &str) -> String {
    let checks = agent.get("/v1/health/node/node1").json();
    let found = checks.as_array().into_iter().flatten().find(|found| found["CheckID"] == check);
    found.and_then(|found| found["Status"].as_str()).unwrap_or("none").to_owned()
}

/// Services of the agent's node in the catalog, by id.
fn services(agent: &Agent) -> Value {
    agent.get("/v1/catalog/node/node1").expect(200).json()["Services"].clone()
}

/// Waits until so many checks are passing and warning on disk, and no other: statuses are written soon after they
/// change, not before they are seen, and not before the first is reported.
#[track_caller]
fn kept(agent: &Agent, passing: usize, warning: usize) {
    let states = agent.data().join("checks/state");
    until("statuses are on disk", LIMIT, || {
        let files = fs::read_dir(&states).unwrap();
        let texts: Vec<_> =
            files.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok()).collect();
        let with = |status: &str| texts.iter().filter(|text| text.contains(status)).count();
        (with("\"passing\""), with("\"warning\""), texts.len()) == (passing, warning, passing + warning)
    });
}

#[test]
fn services_and_statuses_are_there_after_a_kill_before_any_probe_ended() {
    let server = Server::start();
    let mut agent = Setup::server()
        .with(json!({ "services": [{ "name": "file", "check": {
            "id": "of-file", "http": format!("http://{}/", server.address), "interval": "1s", "timeout": "60s" } }] }))
        .start();
    register(
        &agent,
        &json!({ "Name": "web", "Port": 80, "Tags": ["a"], "Checks": [
            { "CheckID": "probe", "HTTP": format!("http://{}/", server.address), "Interval": "1s", "Timeout": "60s" },
            { "CheckID": "said", "HTTP": format!("http://{}/", server.address), "Interval": "1s", "Timeout": "60s",
              "Status": "passing" },
            { "CheckID": "ttl", "TTL": "10m" },
        ]}),
    );
    agent.put("/v1/agent/check/warn/ttl?note=so%20so", "").expect(200);
    agent.put("/v1/agent/check/register", json!({ "Name": "lone", "TTL": "10m" }).to_string()).expect(200);
    agent.put("/v1/agent/service/maintenance/web?enable=true&reason=why", "").expect(200);
    for check in ["of-file", "probe"] {
        until("probes pass", LIMIT, || status(&agent, check) == "passing");
    }
    until("what was said arrives", LIMIT, || status(&agent, "ttl") == "warning");
    // That its first news only says what its definition said, makes no difference.
    kept(&agent, 3, 1);

    agent.kill();
    // No probe of the next life ends.
    server.silent.store(true, Ordering::SeqCst);
    agent.restart();
    let checks = agent.get("/v1/agent/checks").expect(200).json();
    let statuses: Vec<_> = ["of-file", "probe", "said", "ttl", "lone", "_service_maintenance:web"]
        .into_iter()
        .map(|id| checks[id]["Status"].as_str().unwrap_or("none"))
        .collect();
    assert_eq!(statuses, ["passing", "passing", "passing", "warning", "critical", "critical"]);
    assert_eq!(checks["ttl"]["Output"], "so so");
    assert_eq!(checks["_service_maintenance:web"]["Notes"], "why");
    let found = agent.get("/v1/agent/services").expect(200).json();
    assert_eq!((&found["web"]["Port"], &found["web"]["Tags"]), (&json!(80), &json!(["a"])));
    until("the catalog agrees", LIMIT, || status(&agent, "probe") == "passing");

    agent.put("/v1/agent/service/deregister/web", "").expect(200);
    until("it is gone", LIMIT, || services(&agent).get("web").is_none());
    agent.kill();
    agent.restart();
    assert_eq!(local_status(&agent, "probe"), "none", "what was deregistered stays away");
    assert_eq!(local_status(&agent, "lone"), "critical");
    assert_eq!(local_status(&agent, "of-file"), "passing");
}

#[test]
fn a_damaged_file_is_named_and_harms_nothing_else() {
    let mut agent = Agent::server();
    for name in ["one", "two"] {
        register(&agent, &json!({ "Name": name }));
    }
    agent.kill();
    let directory = agent.data().join("services");
    let file = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| fs::read_to_string(path).unwrap().contains("\"two\""))
        .unwrap();
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    agent.restart();
    let found = agent.get("/v1/agent/services").expect(200).json();
    assert!(found.get("one").is_some() && found.get("two").is_none(), "{found}");
    agent.wait_output(file.file_name().unwrap().to_str().unwrap(), LIMIT);
    assert!(file.with_extension("corrupt").exists(), "it is kept aside");
    register(&agent, &json!({ "Name": "two" }));
    agent.kill();
    agent.restart();
    assert!(agent.get("/v1/agent/services").expect(200).json().get("two").is_some());
}

#[test]
fn a_reload_changes_what_changed_and_nothing_else() {
    let mut agent = Setup::server()
        .with(json!({ "services": [
            { "name": "stays", "check": { "id": "stays", "ttl": "10m" } },
            { "name": "changes", "tags": ["old"], "check": { "id": "changes", "ttl": "10m" } },
            { "name": "goes", "check": { "id": "goes", "ttl": "10m" } },
        ], "checks": [{ "id": "lone", "name": "lone", "ttl": "10m" }] }))
        .start();
    register(&agent, &json!({ "Name": "http", "Check": { "CheckID": "http", "TTL": "10m" } }));
    for check in ["stays", "changes", "goes", "lone", "http"] {
        agent.put(&format!("/v1/agent/check/pass/{check}?note=well"), "").expect(200);
    }
    agent.reconfigure(json!({
        "log_level": "DEBUG",
        "node_meta": { "rack": "r2" },
        "services": [
            { "name": "stays", "check": { "id": "stays", "ttl": "10m" } },
            { "name": "changes", "tags": ["new"], "check": { "id": "changes", "ttl": "20m", "notes": "longer" } },
            { "name": "comes", "check": { "id": "comes", "ttl": "10m", "status": "warning" } },
        ],
        "checks": [],
    }));
    agent.put("/v1/agent/reload", "").expect(200);
    let checks = agent.get("/v1/agent/checks").expect(200).json();
    let known: Vec<_> =
        checks.as_object().unwrap().iter().map(|(id, check)| (id.as_str(), &check["Status"])).collect();
    assert_eq!(
        known,
        [
            ("changes", &json!("passing")),
            ("comes", &json!("warning")),
            ("http", &json!("passing")),
            ("stays", &json!("passing")),
        ]
    );
    assert_eq!(checks["changes"]["Notes"], "longer");
    assert_eq!(checks["changes"]["Output"], "well");
    until("the catalog follows", LIMIT, || {
        let found = services(&agent);
        found["changes"]["Tags"] == json!(["new"])
            && found.get("goes").is_none()
            && found.get("comes").is_some()
    });
    let node = agent.get("/v1/catalog/node/node1").json();
    assert_eq!(node["Node"]["Meta"]["rack"], "r2");

    // By signal, what a file says wins over what HTTP said.
    register(&agent, &json!({ "Name": "stays", "Port": 99 }));
    agent.signal(Signal::HUP);
    until("the file wins", LIMIT, || agent.get("/v1/agent/service/stays").json()["Port"] == 0);
    kept(&agent, 3, 0);
    agent.kill();
    agent.restart();
    assert_eq!(agent.get("/v1/agent/service/stays").json()["Port"], 0);
    assert_eq!(local_status(&agent, "stays"), "passing");
}

#[test]
fn an_invalid_configuration_changes_nothing_and_says_why() {
    let mut agent = Setup::server()
        .with(json!({ "services": [{ "name": "web", "check": { "id": "web", "ttl": "10m" } }] }))
        .start();
    agent.put("/v1/agent/check/pass/web", "").expect(200);
    let good = fs::read_to_string(agent.config_file()).unwrap();
    for (change, reason) in [
        (
            json!({ "log_level": "DEBUG", "services": [{ "name": "bad", "check": { "id": "x", "ttl": "1s", "interval": "1s" } }] }),
            "Interval and TTL cannot both be specified",
        ),
        (
            json!({ "services": [{ "name": "bad", "check": { "id": "x", "args": ["/bin/true"], "interval": "1s" } }] }),
            "Scripts are disabled",
        ),
        (
            json!({ "services": [], "checks": [{ "id": "c", "name": "c", "service_id": "web", "ttl": "10m" }] }),
            "does not exist",
        ),
        (json!({ "no_such_key": 1 }), "no_such_key"),
    ] {
        agent.reconfigure(change);
        let answer = agent.put("/v1/agent/reload", "").expect(500).text();
        assert!(answer.contains(reason), "{answer}");
        agent.signal(Signal::HUP);
        agent.wait_output(reason, LIMIT);
        let found = agent.get("/v1/agent/services").expect(200).json();
        assert_eq!(found.as_object().unwrap().keys().collect::<Vec<_>>(), ["web"]);
        assert_eq!(local_status(&agent, "web"), "passing");
        assert!(!agent.output().contains("[DEBUG]"), "the log level stays too");
        fs::write(agent.config_file(), &good).unwrap();
    }
    agent.put("/v1/agent/reload", "").expect(200);
}

#[test]
fn the_agent_has_the_last_word_on_its_node() {
    let agent = Setup::dev().with(json!({ "ae_interval": "1s" })).start();
    register(&agent, &json!({ "Name": "web", "Tags": ["a"], "Check": { "CheckID": "c", "TTL": "10m" } }));
    register(&agent, &json!({ "Name": "open", "Tags": ["a"], "EnableTagOverride": true }));
    until("both are there", LIMIT, || {
        services(&agent).get("open").is_some() && status(&agent, "c") == "critical"
    });

    let node = |rest: Value| {
        let mut body =
            json!({ "Node": "node1", "Address": agent.http().ip().to_string(), "SkipNodeUpdate": true });
        crate::support::agent::merge(&mut body, rest);
        body
    };
    fixture::register(&agent, &node(json!({ "Service": { "Service": "stray" } })));
    until("a stray service goes", LIMIT, || services(&agent).get("stray").is_none());
    fixture::deregister(&agent, &json!({ "Node": "node1", "ServiceID": "web" }));
    until("a removed one comes back with its check", LIMIT, || {
        services(&agent).get("web").is_some() && status(&agent, "c") == "critical"
    });
    for name in ["web", "open"] {
        let service = json!({ "Service": name, "Tags": ["z"], "EnableTagOverride": name == "open" });
        fixture::register(&agent, &node(json!({ "Service": service })));
    }
    until("tags are put right, and taken over where that is allowed", LIMIT, || {
        let found = services(&agent);
        let local = agent.get("/v1/agent/services").json();
        found["web"]["Tags"] == json!(["a"])
            && found["open"]["Tags"] == json!(["z"])
            && local["open"]["Tags"] == json!(["z"])
    });
    fixture::deregister(&agent, &json!({ "Node": "node1" }));
    until("everything comes back", LIMIT, || {
        let found = agent.get("/v1/catalog/node/node1").json();
        found["Services"].get("web").is_some() && found["Node"]["TaggedAddresses"]["lan"].is_string()
    });
}

#[test]
fn a_service_that_is_critical_for_too_long_is_deregistered() {
    let mut agent = Agent::server();
    register(
        &agent,
        &json!({ "Name": "dying", "Check": { "CheckID": "c", "TTL": "1s", "DeregisterCriticalServiceAfter": "2s" } }),
    );
    agent.put("/v1/agent/check/pass/c", "").expect(200);
    until("it is there", LIMIT, || status(&agent, "c") == "passing");
    until("it goes", LIMIT, || services(&agent).get("dying").is_none());
    agent.wait_output("Check for service has been critical for too long; deregistered service", LIMIT);
    agent.kill();
    agent.restart();
    assert!(agent.get("/v1/agent/services").expect(200).json().get("dying").is_none());
}

/// The sample directory, on this test's address.
fn sample(into: &Path, agent: &Agent) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let mut text = fs::read_to_string(&path).unwrap();
        let ports = &agent.config()["ports"];
        text = text.replace("127.0.0.1", &agent.http().ip().to_string()).replace("server-1", "node1");
        for (name, known) in [
            ("http", "8500"),
            ("dns", "8600"),
            ("server", "8300"),
            ("serf_lan", "8301"),
            ("serf_wan", "8302"),
        ] {
            text = text.replace(known, &ports[name].to_string());
        }
        fs::write(into.join(path.file_name().unwrap()), text).unwrap();
    }
}

#[test]
fn the_sample_directory_starts_and_its_services_pass() {
    let directory = tempfile::TempDir::with_prefix("tribune-test-").unwrap();
    let mut agent = Setup::server().arguments(&["-config-dir", directory.path().to_str().unwrap()]).spawn();
    agent.kill();
    sample(directory.path(), &agent);
    agent.restart();
    until("both services pass with all their checks", LIMIT, || {
        let passing = |name: &str| {
            let found = agent.get(&format!("/v1/health/service/{name}?passing")).json();
            found[0]["Checks"].as_array().map_or(0, Vec::len)
        };
        // Their own and serfHealth.
        passing("api") == 4 && passing("backup") == 2
    });
}
