//! What an agent does besides its data: metrics, its log over HTTP, the watches of its configuration, and
//! services registered by the command line; and the road from a check to whoever waits for a lock.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::agent::run;
use crate::support::http::connect;
use crate::support::{Agent, Parked, Setup, eventually, fixture, until};

const LIMIT: Duration = Duration::from_secs(20);

fn prometheus(agent: &Agent) -> String {
    agent.get("/v1/agent/metrics?format=prometheus").expect(200).text()
}

#[test]
fn metrics_are_there_from_the_start_and_move() {
    let telemetry = json!({ "telemetry": { "prometheus_retention_time": "1h", "disable_hostname": true } });
    let agent = Setup::dev().with(telemetry).start();
    let has = |line: &str| prometheus(&agent).lines().any(|found| found == line);
    for line in [
        "consul_kvs_apply_count 0",
        "consul_txn_apply_count 0",
        "consul_session_apply_count 0",
        "consul_fsm_kvs_count{op=\"set\"} 0",
        "consul_http_PUT_v1_kv___count 0",
        "consul_api_http_count{method=\"PUT\",path=\"v1_kv_\"} 0",
        "consul_raft_leader_lastContact_count 0",
        "consul_raft_state_leader 1",
        "consul_autopilot_healthy 1",
    ] {
        until(line, Duration::from_secs(10), || has(line));
    }
    for number in 0..3 {
        fixture::key(&agent, "a", &number.to_string());
    }
    fixture::session(&agent, &json!({ "TTL": "60s" }));
    // Writes are answered before they are counted.
    for line in [
        "consul_kvs_apply_count 3",
        "consul_fsm_kvs_count{op=\"set\"} 3",
        "consul_http_PUT_v1_kv___count 3",
        "consul_session_apply_count 1",
        "consul_fsm_session_count{op=\"create\"} 1",
        "consul_session_ttl_active 1",
    ] {
        until(line, Duration::from_secs(10), || has(line));
    }
    let interval = |name: &str| {
        let metrics = agent.get("/v1/agent/metrics").expect(200).json();
        let samples = metrics["Samples"].as_array().cloned().unwrap_or_default();
        samples.into_iter().find(|sample| sample["Name"] == name).unwrap_or_default()
    };
    assert_eq!(interval("consul.txn.apply")["Count"], 0, "{}", interval("consul.txn.apply"));
    until("the writes to be in a finished interval", Duration::from_secs(25), || {
        fixture::key(&agent, "b", "x");
        interval("consul.kvs.apply")["Count"].as_u64() > Some(3)
    });
    let sample = interval("consul.kvs.apply");
    let number = |field: &str| sample[field].as_f64().unwrap_or(-1.0);
    assert!(
        number("Min") > 0.0 && number("Min") <= number("Mean") && number("Mean") <= number("Max"),
        "{sample}"
    );
    assert!((number("Sum") / 10.0 - number("Rate")).abs() < 1e-9, "{sample}");
}

#[test]
fn metrics_are_named_and_filtered_as_configured() {
    let telemetry = json!({ "telemetry": {
        "metrics_prefix": "my", "prefix_filter": ["-my.http", "+my.http.GET.v1.kv"] } });
    let agent = Setup::dev().with(telemetry).start();
    let answer = agent.get("/v1/agent/metrics?format=prometheus").expect(415);
    assert_eq!(answer.text(), "Prometheus is not enabled since its retention time is not positive");
    let text = agent.get("/v1/agent/metrics").expect(200).text();
    for (name, shown) in [
        ("my.kvs.apply", true),
        ("my.http.GET.v1.kv._", true),
        ("my.http.PUT.v1.kv._", false),
        ("consul", false),
    ] {
        assert_eq!(text.contains(&format!("\"{name}")), shown, "{name}");
    }
}

/// The log as it comes, decoded from its chunks.
fn monitor(agent: &Agent, query: &str) -> Receiver<String> {
    let mut stream = connect(agent.http(), Duration::from_secs(60)).expect("a connection");
    write!(stream, "GET /v1/agent/monitor?{query} HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[test]
fn the_log_can_be_watched_at_any_level() {
    let mut agent = Agent::dev();
    let bad = agent.get("/v1/agent/monitor?loglevel=loud").expect(400).text();
    assert_eq!(bad, "Bad request: Unknown log level: loud");
    let (plain, structured, errors) = (
        monitor(&agent, "loglevel=info"),
        monitor(&agent, "loglevel=trace&logjson"),
        monitor(&agent, "loglevel=err"),
    );
    agent.settle();
    agent.put("/v1/agent/maintenance?enable=true&reason=test", "").expect(200);
    let wait = |lines: &Receiver<String>, part: &str| {
        eventually(LIMIT, || lines.try_iter().find(|line| line.contains(part)))
            .unwrap_or_else(|| panic!("{part}"))
    };
    let line = wait(&plain, "_node_maintenance");
    assert!(line.contains(" [INFO]  agent: ") && line.starts_with("20"), "{line}");
    let line: Value = serde_json::from_str(&wait(&structured, "_node_maintenance")).expect("a line of JSON");
    assert!(
        line["@level"].is_string() && line["@module"].is_string() && line["@timestamp"].is_string(),
        "{line}"
    );
    assert!(errors.try_iter().all(|line| !line.contains("_node_maintenance")), "below its level");
    // Whoever watches must not keep the agent from stopping.
    agent.signal(Signal::INT);
    agent.wait_exit(Duration::from_secs(10));
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_watch_runs_its_command_at_the_start_and_once_per_change() {
    let home = tempfile::tempdir().expect("a directory");
    let seen = home.path().join("seen");
    // One write per run, so that a line is there as a whole or not at all.
    let script = format!("line=\"$CONSUL_INDEX $(cat)\"; echo \"$line\" >> {}", seen.display());
    let watches = json!({ "watches": [{ "type": "key", "key": "watched", "args": ["sh", "-c", script] }] });
    let agent = Setup::dev().with(watches).start();
    until("the first run", LIMIT, || lines(&seen).len() == 1);
    assert!(lines(&seen)[0].ends_with(" null"), "{:?}", lines(&seen));
    for number in 0..5 {
        fixture::key(&agent, &format!("other/{number}"), "x");
    }
    let mut want = 1;
    for value in ["one", "two", "three"] {
        fixture::key(&agent, "watched", value);
        want += 1;
        until("a run for the change", LIMIT, || lines(&seen).len() >= want);
        let record = agent.get("/v1/kv/watched").expect(200).json()[0].clone();
        let last = lines(&seen).pop().unwrap_or_default();
        let (index, json) = last.split_once(' ').expect("an index");
        let data: Value = serde_json::from_str(json).expect("JSON on standard input");
        assert_eq!((&data["Value"], &data["ModifyIndex"]), (&record["Value"], &record["ModifyIndex"]));
        assert_eq!(index, record["ModifyIndex"].to_string());
        assert_eq!(lines(&seen).len(), want, "{:?}", lines(&seen));
    }
    fixture::key(&agent, "watched", "three");
    agent.settle();
    assert_eq!(lines(&seen).len(), want, "the same value is no change: {:?}", lines(&seen));
    agent.delete("/v1/kv/watched").expect(200);
    until("a run for the deletion", LIMIT, || lines(&seen).len() == want + 1);
    assert!(lines(&seen)[want].ends_with(" null"));
}

#[test]
fn handlers_do_not_overlap_and_end_with_the_agent() {
    let home = tempfile::tempdir().expect("a directory");
    let [began, pids] = ["began", "pids"].map(|name| home.path().join(name));
    // The first run takes until the test makes the file `go`; the third never ends.
    let script = format!(
        "cd {}; cat >> began; n=$(wc -l < began); if [ $n = 1 ]; then while [ ! -e go ]; do sleep 0.02; done; \
         elif [ $n = 3 ]; then sleep 600 & echo $! > pids.new; mv pids.new pids; wait; fi",
        home.path().display()
    );
    let watches = json!({ "watches": [{ "type": "key", "key": "k", "handler": script }] });
    let mut agent = Setup::dev().with(watches).start();
    until("the first run", LIMIT, || lines(&began).len() == 1);
    for value in ["1", "2", "3"] {
        fixture::key(&agent, "k", value);
    }
    agent.settle();
    assert_eq!(lines(&began).len(), 1, "one at a time");
    std::fs::write(home.path().join("go"), "").expect("a file");
    until("the second run", LIMIT, || lines(&began).len() == 2);
    assert!(
        lines(&began)[1].contains("\"Value\":\"Mw==\""),
        "the changes meanwhile are one: {:?}",
        lines(&began)
    );
    fixture::key(&agent, "k", "4");
    until("the third run", LIMIT, || pids.exists());
    agent.signal(Signal::INT);
    agent.wait_exit(Duration::from_secs(10));
    let pid = lines(&pids)[0].clone();
    until("the handler's children to be gone", LIMIT, || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
    });
}

/// A request as a server of the test saw it: first line, header lines, body.
#[derive(Debug)]
struct Request {
    line: String,
    headers: Vec<String>,
    body: String,
}

/// A server that answers 200 to everything and tells what it was asked.
fn server() -> (SocketAddr, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                    break;
                }
                head.push(line.trim().to_owned());
            }
            let lower: Vec<String> = head.iter().map(|line| line.to_lowercase()).collect();
            let length = lower.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).ok();
            reader
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .ok();
            let body = String::from_utf8_lossy(&body).into_owned();
            let line = head.first().cloned().unwrap_or_default();
            if sender.send(Request { line, headers: lower, body }).is_err() {
                return;
            }
        }
    });
    (address, requests)
}

#[test]
fn watches_of_every_kind_tell_http_servers() {
    let (address, requests) = server();
    let watch = |kind: &str, more: Value| {
        let mut watch = json!({ "type": kind, "handler_type": "http", "http_handler_config": {
            "path": format!("http://{address}/{kind}"), "method": "PUT", "header": { "X-Mine": ["yes"] } } });
        crate::support::agent::merge(&mut watch, more);
        watch
    };
    let watches = [
        watch("key", json!({ "key": "a" })),
        watch("keyprefix", json!({ "prefix": "p/" })),
        watch("services", json!({})),
        watch("nodes", json!({})),
        watch("service", json!({ "service": "web" })),
        watch("checks", json!({ "state": "critical" })),
        watch("event", json!({ "name": "deploy" })),
    ];
    let agent = Setup::dev().with(json!({ "watches": watches })).start();
    let mut seen: Vec<Request> = Vec::new();
    let mut wait = |kind: &str, part: &str| {
        let line = format!("PUT /{kind} ");
        until(&format!("{part} at {kind}"), LIMIT, || {
            seen.extend(requests.try_iter());
            seen.iter().any(|request| request.line.starts_with(&line) && request.body.contains(part))
        });
        let at =
            seen.iter().position(|request| request.line.starts_with(&line) && request.body.contains(part));
        seen.swap_remove(at.expect("it was there"))
    };
    for (kind, first) in
        [("key", "null"), ("keyprefix", "null"), ("service", "[]"), ("event", "[]"), ("nodes", "node1")]
    {
        wait(kind, first);
    }
    fixture::key(&agent, "a", "1");
    let request = wait("key", "\"Value\":\"MQ==\"");
    let index = agent.get("/v1/kv/a").index();
    for header in [
        "content-type: application/json".to_owned(),
        "x-mine: yes".to_owned(),
        format!("x-consul-index: {index}"),
    ] {
        assert!(request.headers.contains(&header), "{header}: {request:?}");
    }
    fixture::key(&agent, "p/1", "1");
    wait("keyprefix", "\"Key\":\"p/1\"");
    fixture::service(&agent, "ext", "web");
    wait("services", "\"web\":[]");
    wait("service", "\"Service\":\"web\"");
    wait("nodes", "\"Node\":\"ext\"");
    fixture::check(&agent, "ext", "alive", "web", "critical");
    wait("checks", "\"CheckID\":\"alive\"");
    agent.put("/v1/event/fire/deploy", "v2").expect(200);
    wait("event", "\"Name\":\"deploy\"");
}

#[test]
fn services_are_registered_by_the_command_line() {
    let agent = Agent::dev();
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("web.hcl");
    let text = r#"service { id = "web-1" name = "web" port = 80 tags = ["a"] check { ttl = "60s" status = "passing" } }"#;
    std::fs::write(&file, text).expect("a file");
    let (file, address) = (file.display().to_string(), format!("-http-addr={}", agent.http()));
    let call = |words: &[&str]| {
        let mut all = vec!["services", words[0], address.as_str()];
        all.extend_from_slice(&words[1..]);
        run(&all, LIMIT)
    };
    let done = |text: &str| (Some(0), format!("{text}\n"), String::new());
    assert_eq!(call(&["register", &file]), done("Registered service: web"));
    let flags =
        ["register", "-name=db", "-port=5432", "-tag=x", "-meta=k=v", "-tagged-address=lan=10.0.0.1:1"];
    assert_eq!(call(&flags), done("Registered service: db"));
    let services = agent.get("/v1/agent/services").expect(200).json();
    assert_eq!((&services["web-1"]["Port"], &services["web-1"]["Tags"]), (&json!(80), &json!(["a"])));
    assert_eq!(
        (&services["db"]["Meta"], &services["db"]["TaggedAddresses"]["lan"]["Address"]),
        (&json!({ "k": "v" }), &json!("10.0.0.1"))
    );
    until("the service to be in the catalog", LIMIT, || {
        agent.get("/v1/health/service/web?passing").json().as_array().is_some_and(|found| found.len() == 1)
    });
    assert_eq!(call(&["deregister", &file]), done("Deregistered service: web-1"));
    assert_eq!(call(&["deregister", "-id=db"]), done("Deregistered service: db"));
    assert_eq!(agent.get("/v1/agent/services").expect(200).json(), json!({}));
    assert_eq!(call(&["register"]).0, Some(1));
}

/// A TTL check of the agent's own turns critical: at one index the check has changed, the session bound to
/// it has ended and its lock is free; and whoever waits for the lock is told.
#[test]
fn a_ttl_check_that_turns_critical_frees_the_lock_and_wakes_who_waits() {
    let agent = Agent::dev();
    let service =
        json!({ "Name": "worker", "Check": { "CheckID": "alive", "TTL": "60s", "Status": "passing" } });
    agent.put("/v1/agent/service/register", service.to_string()).expect(200);
    until("the check to be in the catalog", LIMIT, || {
        agent.get("/v1/health/checks/worker").json()[0]["Status"] == "passing"
    });
    let id = fixture::session(
        &agent,
        &json!({ "NodeChecks": ["serfHealth"], "ServiceChecks": [{ "ID": "alive" }], "LockDelay": "0s" }),
    );
    assert!(agent.put(&format!("/v1/kv/lead?acquire={id}"), "mine").yes());
    let before = agent.get("/v1/kv/lead").index();
    let sessions = agent.get("/v1/session/list").index();
    let key = Parked::start(&agent, "/v1/kv/lead", before, Duration::from_secs(60));
    let list = Parked::start(&agent, "/v1/session/list", sessions, Duration::from_secs(60));

    agent.put("/v1/agent/check/fail/alive?note=gone", "").expect(200);

    let (answer, _) = key.answer(LIMIT);
    let (list, _) = list.answer(LIMIT);
    let lead = &answer.json()[0];
    assert!(lead.get("Session").is_none(), "released: {lead}");
    assert!(answer.index() > before);
    let check = agent.get("/v1/health/checks/worker").expect(200).json()[0].clone();
    assert_eq!((&check["Status"], &check["Output"]), (&json!("critical"), &json!("gone")));
    assert_eq!(lead["ModifyIndex"], check["ModifyIndex"], "check and lock moved at one index");
    assert_eq!(list.index(), answer.index(), "the session ended at that index");
    assert!(!list.text().contains(&id));
}
