//! Starting, reloading and stopping: what a service manager and an operator with a typo see.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::support::agent::run;
use crate::support::{Agent, Setup, fixture, until};

const LIMIT: Duration = Duration::from_secs(30);

/// A wrong line in a file that is otherwise right: where it is and what the text must say.
struct Mistake {
    name: &'static str,
    file: &'static str,
    text: &'static str,
    line: usize,
    column: usize,
    says: &'static [&'static str],
}

const MISTAKES: [Mistake; 9] = [
    Mistake {
        name: "unknown key",
        file: "a.json",
        text: "{\n  \"server\": true,\n  \"datacentre\": \"dc1\"\n}",
        line: 3,
        column: 3,
        says: &["datacentre", "datacenter"],
    },
    Mistake {
        name: "unknown nested key",
        file: "a.json",
        text: "{\n  \"ports\": {\n    \"htpp\": 8500\n  }\n}",
        line: 3,
        column: 5,
        says: &["htpp", "http"],
    },
    Mistake {
        name: "number for a text",
        file: "a.json",
        text: "{\n  \"node_name\": 17\n}",
        line: 2,
        column: 16,
        says: &["node_name", "string"],
    },
    Mistake {
        name: "text for a number",
        file: "a.json",
        text: "{\"ports\": {\"http\": \"8500\"}}",
        line: 1,
        column: 20,
        says: &["http"],
    },
    Mistake {
        name: "text for a list",
        file: "a.json",
        text: "{\n\"retry_join\": \"10.0.0.1\"}",
        line: 2,
        column: 15,
        says: &["retry_join"],
    },
    Mistake {
        name: "duration without unit",
        file: "a.json",
        text: "{\n\n  \"retry_interval\": \"30\"\n}",
        line: 3,
        column: 21,
        says: &["retry_interval", "30"],
    },
    Mistake {
        name: "broken JSON",
        file: "a.json",
        text: "{\n  \"server\": true\n  \"ui\": true\n}",
        line: 3,
        column: 3,
        says: &[],
    },
    Mistake {
        name: "unknown key in HCL",
        file: "a.hcl",
        text: "server = true\n\nnode_nam = \"x\"\n",
        line: 3,
        column: 1,
        says: &["node_nam", "node_name"],
    },
    Mistake {
        name: "wrong type in HCL",
        file: "a.hcl",
        text: "ports {\n  http = \"8500\"\n}\n",
        line: 2,
        column: 10,
        says: &["http"],
    },
];

#[test]
fn a_mistake_in_a_file_stops_the_start_and_says_where() {
    for mistake in &MISTAKES {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join(mistake.file);
        std::fs::write(&file, mistake.text).unwrap();
        let path = file.to_str().unwrap();
        let data = dir.path().join("data");
        let start = [
            "agent",
            "-server",
            "-data-dir",
            data.to_str().unwrap(),
            "-bind",
            "127.0.0.1",
            "-config-file",
            path,
        ];
        for (command, expected) in [(&start[..], 1), (&["validate", path][..], 1)] {
            let (code, out, err) = run(command, LIMIT);
            let name = format!("{} ({})", mistake.name, command[0]);
            assert_eq!(code, Some(expected), "{name}\n{out}{err}");
            let place = format!("{path}:{}:{}", mistake.line, mistake.column);
            assert!(err.contains(&place), "{name}: {place} is not in:\n{out}{err}");
            for text in mistake.says {
                assert!(err.contains(text), "{name}: {text:?} is not in:\n{err}");
            }
        }
        assert!(!data.exists(), "{}: a data directory was made although nothing started", mistake.name);
    }
}

#[test]
fn mistakes_on_the_command_line_stop_the_start() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let missing = dir.path().join("none.json");
    let missing = missing.to_str().unwrap();
    let table: [(&str, &[&str], &str); 7] = [
        ("unknown flag", &["agent", "-dev", "-datacentre", "x"], "datacentre"),
        ("no data directory", &["agent", "-server"], "data_dir"),
        ("extra word", &["agent", "-dev", "extra"], "extra"),
        ("missing file", &["agent", "-dev", "-config-file", missing], missing),
        ("bad log level", &["agent", "-dev", "-log-level", "loud"], "loud"),
        ("bad address", &["agent", "-server", "-data-dir", data, "-bind", "nowhere"], "nowhere"),
        (
            "expecting without serving",
            &["agent", "-data-dir", data, "-bind", "127.0.0.1", "-bootstrap-expect", "3"],
            "bootstrap_expect",
        ),
    ];
    for (name, arguments, text) in table {
        let (code, out, err) = run(arguments, LIMIT);
        assert_eq!(code, Some(1), "{name}\n{out}{err}");
        assert!(err.contains(text) || out.contains(text), "{name}: {text:?} is not in:\n{out}{err}");
    }
}

#[test]
fn validate_accepts_what_starts() {
    let dir = TempDir::new().unwrap();
    std::fs::write(
        dir.path().join("a.json"),
        r#"{"server": true, "data_dir": "/nowhere/yet", "bind_addr": "127.0.0.1"}"#,
    )
    .unwrap();
    std::fs::write(dir.path().join("b.hcl"), "node_name = \"b\"\nports {\n  http = 18500\n}\n").unwrap();
    std::fs::write(dir.path().join("readme.txt"), "not configuration").unwrap();
    let (code, out, err) = run(&["validate", dir.path().to_str().unwrap()], LIMIT);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("Configuration is valid!"), "{out}{err}");
    assert!(!Path::new("/nowhere").exists());
}

#[test]
fn a_port_in_use_stops_the_start() {
    let first = Agent::dev();
    let ports = &first.config()["ports"];
    let mut second = Setup::dev()
        .with(json!({ "bind_addr": first.config()["bind_addr"], "client_addr": first.config()["client_addr"], "ports": ports }))
        .spawn();
    let status = second.wait_exit(LIMIT);
    assert_eq!(status.code(), Some(1), "{}", second.output());
    assert!(second.output().contains("in use"), "{}", second.output());
    first.get("/v1/status/leader").expect(200);
}

/// Consul's rule: a signal that does not mean leaving ends the process with 1, one that does with 0.
#[test]
fn signals_end_the_process_with_consuls_exit_codes() {
    let table = [
        ("SIGTERM, server", Signal::TERM, json!({}), 1),
        ("SIGINT, server", Signal::INT, json!({}), 1),
        ("SIGTERM, told to leave", Signal::TERM, json!({ "leave_on_terminate": true }), 0),
        ("SIGINT, told to leave", Signal::INT, json!({ "skip_leave_on_interrupt": false }), 0),
    ];
    for (name, signal, config, code) in table {
        let performance = json!({ "performance": { "leave_drain_time": "100ms" } });
        let mut agent = Setup::server().with(config).with(performance).start();
        fixture::key(&agent, "kept", "value");
        // A parked query must not hold the process up.
        let index = agent.get("/v1/kv/kept").index();
        let parked = crate::support::Parked::start(&agent, "/v1/kv/kept", index, Duration::from_secs(300));
        let start = Instant::now();
        agent.signal(signal);
        let status = agent.wait_exit(LIMIT);
        assert_eq!(status.code(), Some(code), "{name}\n{}", agent.output());
        assert!(start.elapsed() < Duration::from_secs(20), "{name}: {:?}", start.elapsed());
        drop(parked);
        agent.restart();
        assert_eq!(agent.get("/v1/kv/kept?raw").text(), "value", "{name}");
    }
}

#[test]
fn the_pid_file_lives_as_long_as_the_process() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("tribune.pid");
    let mut agent = Setup::dev().with(json!({ "pid_file": file })).start();
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), agent.pid().to_string());
    agent.signal(Signal::TERM);
    agent.wait_exit(LIMIT);
    assert!(!file.exists());
}

#[test]
fn a_hangup_reloads_and_a_broken_file_changes_nothing() {
    let mut agent = Setup::server().with(json!({ "node_meta": { "colour": "red" } })).start();
    let colour = |agent: &Agent| {
        agent.get("/v1/catalog/node/node1").json()["Node"]["Meta"]["colour"].as_str().map(str::to_owned)
    };
    until("the first metadata", LIMIT, || colour(&agent).as_deref() == Some("red"));

    agent.reconfigure(json!({ "node_meta": { "colour": "blue" } }));
    agent.signal(Signal::HUP);
    until("the reloaded metadata", LIMIT, || colour(&agent).as_deref() == Some("blue"));

    agent.reconfigure(json!({ "node_meta": { "colour": "green" }, "node_nam": "typo" }));
    agent.signal(Signal::HUP);
    agent.wait_output("node_nam", LIMIT);
    assert!(agent.runs());
    assert_eq!(colour(&agent).as_deref(), Some("blue"), "half of a broken file was applied");
    fixture::key(&agent, "still", "serving");
}

#[test]
fn json_logs_are_json() {
    let agent = Setup::server().with(json!({ "log_json": true })).start();
    let text = agent.stdout();
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    assert!(!lines.is_empty());
    for line in lines {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["@level", "@message", "@timestamp"] {
            assert!(value.get(field).is_some(), "no {field}: {line}");
        }
    }
}

/// Consul waits out an election first (6 s measured); a lone voter has nobody to wait for.
#[test]
fn a_lone_durable_server_leads_soon() {
    let mut agent = Agent::server();
    fixture::key(&agent, "kept", "value");
    let mut best = Duration::MAX;
    for _ in 0..3 {
        agent.kill();
        let start = Instant::now();
        agent.start_again();
        agent.wait_leader();
        best = best.min(start.elapsed());
    }
    eprintln!("leads after {best:?}");
    assert!(best < Duration::from_millis(1500), "leads after {best:?}");
    assert_eq!(agent.get("/v1/kv/kept?raw").text(), "value");
}
