//! Several agents in one pool: they find each other, notice who dies and who leaves, hear each other's events and
//! change their keys together.
//!
//! Servers of this version are each a Raft of their own, so every agent here leads itself; gossip is shared.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::agent::run;
use crate::support::{Agent, Setup, eventually, until};

const LIMIT: Duration = Duration::from_secs(30);
const KEY_1: &str = "pUqJrVyVRj5jsiYEkM/tFQ==";
const KEY_2: &str = "AAECAwQFBgcICQoLDA0ODw==";

/// A development agent of this name. Its id stays the same when it is started again.
fn dev(name: &str) -> Setup {
    named(Setup::dev(), name)
}

/// A durable server of this name, whose gossip is as quick as a development agent's.
fn server(name: &str) -> Setup {
    let quick = json!({
        "gossip_interval": "100ms", "probe_interval": "100ms", "probe_timeout": "100ms", "suspicion_mult": 3,
    });
    named(Setup::server(), name).with(json!({ "gossip_lan": quick, "gossip_wan": quick }))
}

fn named(setup: Setup, name: &str) -> Setup {
    let letter = u64::from(name.as_bytes()[0]);
    let id = format!("11111111-2222-3333-4444-{letter:012x}");
    setup.with(json!({ "node_name": name, "node_id": id, "sync_coordinate_interval_min": "50ms" }))
}

/// Where an agent gossips with its datacenter.
pub fn lan(agent: &Agent) -> String {
    let config = agent.config();
    format!("{}:{}", config["bind_addr"].as_str().unwrap(), config["ports"]["serf_lan"])
}

fn wan(agent: &Agent) -> String {
    let config = agent.config();
    format!("{}:{}", config["bind_addr"].as_str().unwrap(), config["ports"]["serf_wan"])
}

#[track_caller]
fn join(agent: &Agent, other: &Agent) {
    agent.put(&format!("/v1/agent/join/{}", lan(other)), "").expect(200);
}

/// How a member stands by Serf's numbers, as the agent sees it.
pub fn status(agent: &Agent, name: &str, wan: bool) -> Option<u64> {
    let path = if wan { "/v1/agent/members?wan=1" } else { "/v1/agent/members" };
    let members = agent.get(path).expect(200).json();
    let found = members.as_array()?.iter().find(|member| member["Name"] == name)?.clone();
    found["Status"].as_u64()
}

#[track_caller]
pub fn wait_status(agent: &Agent, name: &str, wanted: Option<u64>) {
    let found = eventually(LIMIT, || (status(agent, name, false) == wanted).then_some(()));
    assert!(
        found.is_some(),
        "{name} is {:?}, not {wanted:?}, as {} sees it",
        status(agent, name, false),
        agent.http()
    );
}

pub const ALIVE: Option<u64> = Some(1);
pub const LEFT: Option<u64> = Some(3);
pub const FAILED: Option<u64> = Some(4);

/// Status of the catalog's `serfHealth` of a node.
fn serf_health(agent: &Agent, node: &str) -> Option<String> {
    let checks = agent.get(&format!("/v1/health/node/{node}")).expect(200).json();
    let check = checks.as_array()?.iter().find(|check| check["CheckID"] == "serfHealth")?.clone();
    check["Status"].as_str().map(ToOwned::to_owned)
}

fn cli(agent: &Agent, words: &[&str]) -> (Option<i32>, String, String) {
    let address = format!("-http-addr={}", agent.http());
    let mut all = words.to_vec();
    let at = all.iter().position(|word| word.starts_with('-')).unwrap_or(1).max(1).min(all.len());
    all.insert(at, &address);
    run(&all, LIMIT)
}

#[test]
fn agents_find_each_other() {
    let a = dev("a").start();
    let b = dev("b").start();
    let c = dev("c").with(json!({ "retry_join": [lan(&a)], "retry_interval": "100ms" })).start();
    let (code, out, err) = cli(&b, &["join", &lan(&a)]);
    assert_eq!((code, out.trim()), (Some(0), "Successfully joined cluster by contacting 1 nodes."), "{err}");
    let all = [(&a, "a"), (&b, "b"), (&c, "c")];
    for (agent, _) in all {
        for (_, name) in all {
            wait_status(agent, name, ALIVE);
            // Servers of one datacenter meet in the WAN pool by themselves.
            let wan_name = format!("{name}.dc1");
            until("the WAN pool", LIMIT, || status(agent, &wan_name, true) == ALIVE);
            until("the catalog", LIMIT, || serf_health(agent, name).as_deref() == Some("passing"));
        }
    }
    // Another Raft's server is a node like any other, not one that serves this catalog.
    let servers = a.get("/v1/catalog/service/consul").expect(200).json();
    let names: Vec<_> = servers.as_array().unwrap().iter().map(|server| server["Node"].clone()).collect();
    assert_eq!(names, ["a"]);

    let (_, out, _) = cli(&a, &["members"]);
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment"]);
    for (row, (agent, name)) in rows[1..].iter().zip(all) {
        assert_eq!(*row, [name, &lan(agent), "alive", "server", "1.8.7", "2", "dc1", "<all>"]);
    }
    let (_, out, _) = cli(&a, &["members", "-wan"]);
    assert!(out.contains(&format!("c.dc1  {}  alive", wan(&c))), "{out}");
    let (_, out, _) = cli(&a, &["info"]);
    let lan = out.split("serf_lan:").nth(1).unwrap();
    for line in ["\tencrypted = false", "\tfailed = 0", "\thealth_score = 0", "\tmembers = 3"] {
        assert!(lan.contains(line), "{line:?} in {lan}");
    }
    // Coordinates: of the datacenter by the catalog, of the servers by the WAN pool.
    until("its own coordinate", LIMIT, || {
        let nodes = a.get("/v1/coordinate/nodes").expect(200).json();
        nodes.as_array().unwrap().iter().any(|node| node["Node"] == "a")
    });
    let measured = |error: &Value| error.as_f64().is_some_and(|error| error < 1.5);
    until("the coordinates of all servers", LIMIT, || {
        let maps = a.get("/v1/coordinate/datacenters").expect(200).json();
        let servers = maps[0]["Coordinates"].as_array().unwrap().clone();
        servers.len() == 3 && servers.iter().all(|server| measured(&server["Coord"]["Error"]))
    });
    let (code, out, err) = cli(&a, &["rtt", "-wan", "a.dc1", "b.dc1"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains("Estimated a.dc1 <-> b.dc1 rtt:") && out.contains("(using WAN coordinates)"),
        "{out}"
    );
    let metrics = a.get("/v1/agent/metrics").expect(200).json();
    let counters: Vec<_> = metrics["Counters"].as_array().unwrap().clone();
    let count = |name: &str| {
        let found = counters.iter().find(|counter| counter["Name"] == name);
        found.and_then(|counter| counter["Count"].as_u64())
    };
    for name in ["consul.serf.member.join", "consul.memberlist.udp.sent", "consul.memberlist.tcp.accept"] {
        assert!(count(name).is_some(), "{name}: {metrics}");
    }
}

#[test]
fn a_killed_agent_fails_and_comes_back() {
    let a = dev("a").start();
    let mut b = dev("b").with(json!({ "retry_join": [lan(&a)], "retry_interval": "100ms" })).start();
    wait_status(&a, "b", ALIVE);
    until("b in the catalog", LIMIT, || serf_health(&a, "b").as_deref() == Some("passing"));
    b.kill();
    wait_status(&a, "b", FAILED);
    until("b critical", LIMIT, || serf_health(&a, "b").as_deref() == Some("critical"));
    a.wait_output("serf: EventMemberFailed: b ", LIMIT);
    b.start_again();
    wait_status(&a, "b", ALIVE);
    until("b passing again", LIMIT, || serf_health(&a, "b").as_deref() == Some("passing"));
}

#[test]
fn an_agent_that_leaves_is_forgotten_by_the_catalog() {
    let a = dev("a").start();
    let mut b = dev("b").start();
    join(&a, &b);
    wait_status(&a, "b", ALIVE);
    until("b in the catalog", LIMIT, || serf_health(&a, "b").is_some());
    let (code, out, err) = cli(&b, &["leave"]);
    assert_eq!((code, out.trim()), (Some(0), "Graceful leave complete"), "{err}");
    assert_eq!(b.wait_exit(LIMIT).code(), Some(0));
    wait_status(&a, "b", LEFT);
    until("left over WAN as well", LIMIT, || status(&a, "b.dc1", true) == LEFT);
    until("b gone", LIMIT, || a.get("/v1/catalog/node/b").expect(200).text().trim() == "null");
    for text in ["server starting leave", "EventMemberLeave: b ", "Graceful exit completed"] {
        assert!(b.output().contains(text), "{text}");
    }
    let output = a.output();
    assert!(output.contains("serf: EventMemberLeave: b "), "{output}");
    assert!(output.contains("deregistering member: member=b reason=left"), "{output}");
}

#[test]
fn a_second_signal_ends_a_goodbye() {
    let a = dev("a").start();
    let mut b = dev("b").with(json!({ "skip_leave_on_interrupt": false })).start();
    join(&a, &b);
    wait_status(&b, "a", ALIVE);
    b.signal(Signal::INT);
    b.wait_output("server starting leave", LIMIT);
    b.signal(Signal::INT);
    assert_eq!(b.wait_exit(Duration::from_secs(2)).code(), Some(1));
}

#[test]
fn force_leave_removes_the_failed() {
    let a = dev("a").start();
    let mut b = dev("b").start();
    let mut c = dev("c").start();
    join(&a, &b);
    join(&a, &c);
    for name in ["b", "c"] {
        until("a node", LIMIT, || serf_health(&a, name).is_some());
    }
    b.kill();
    c.kill();
    wait_status(&a, "b", FAILED);
    wait_status(&a, "c", FAILED);
    let (code, out, err) = cli(&a, &["force-leave", "b"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", ""));
    wait_status(&a, "b", LEFT);
    until("b gone", LIMIT, || a.get("/v1/catalog/node/b").expect(200).text().trim() == "null");
    let (code, _, err) = cli(&a, &["force-leave", "-prune", "c"]);
    assert_eq!(code, Some(0), "{err}");
    wait_status(&a, "c", None);
    let (code, _, err) = cli(&a, &["force-leave", "nobody"]);
    assert_eq!(code, Some(1));
    let wanted =
        "Error force leaving: Unexpected response code: 500 (agent: No node found with name 'nobody')";
    assert_eq!(err.trim(), wanted);
    // An agent that is alive objects.
    a.put("/v1/agent/force-leave/a", "").expect(200);
    wait_status(&a, "a", ALIVE);
}

#[test]
fn events_reach_every_agent_they_are_for() {
    let a = dev("a").start();
    let b = dev("b").start();
    let c = dev("c").start();
    join(&a, &b);
    join(&b, &c);
    wait_status(&a, "c", ALIVE);
    wait_status(&c, "a", ALIVE);
    let all = a.put("/v1/event/fire/deploy", "v1").expect(200).json();
    let some = c.put("/v1/event/fire/only?node=^[ab]$", "").expect(200).json();
    assert_eq!(all["Payload"], "djE=");
    let ids = |agent: &Agent| {
        let events = agent.get("/v1/event/list").expect(200).json();
        let mut ids: Vec<_> =
            events.as_array().unwrap().iter().map(|event| event["ID"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let mut both = vec![all["ID"].as_str().unwrap().to_owned(), some["ID"].as_str().unwrap().to_owned()];
    both.sort();
    for agent in [&a, &b] {
        until("both events", LIMIT, || ids(agent) == both);
    }
    until("the event for all", LIMIT, || ids(&c) == [all["ID"].as_str().unwrap()]);
    let found = b.get("/v1/event/list?name=deploy").expect(200).json();
    assert_eq!(found[0]["Payload"], "djE=");
    assert!(found[0]["LTime"].as_u64().is_some_and(|time| time > 0));
    let large = a.put("/v1/event/fire/deploy", vec![b'x'; 600]).expect(500).text();
    assert!(large.contains("user event exceeds configured limit of 512 bytes before encoding"), "{large}");
}

#[test]
fn who_does_not_belong_is_refused() {
    let a = dev("a").start();
    let elsewhere = dev("b").with(json!({ "datacenter": "dc2" })).start();
    let twin = dev("c").with(json!({ "node_id": a.config()["node_id"] })).start();
    let encrypted = dev("d").with(json!({ "encrypt": KEY_1 })).start();
    let other_key = dev("e").with(json!({ "encrypt": KEY_2 })).start();
    let own_id = a.config()["node_id"].as_str().unwrap();
    let table = [
        (&elsewhere, &a, "Member 'a' part of wrong datacenter 'dc1'".to_owned()),
        (&a, &elsewhere, "Member 'b' part of wrong datacenter 'dc2'".to_owned()),
        (&twin, &a, format!("Member 'a' has conflicting node ID '{own_id}' with this agent's ID")),
        (&a, &encrypted, "Remote state is encrypted and encryption is not configured".to_owned()),
        (&encrypted, &a, "Encryption is configured but remote state is not encrypted".to_owned()),
    ];
    for (from, to, wanted) in table {
        let text = from.put(&format!("/v1/agent/join/{}", lan(to)), "").expect(500).text();
        let ip = to.config()["bind_addr"].as_str().unwrap();
        assert_eq!(text, format!("1 error occurred:\n\t* Failed to join {ip}: {wanted}\n\n"));
    }
    other_key.put(&format!("/v1/agent/join/{}", lan(&encrypted)), "").expect(500);
    for agent in [&a, &elsewhere, &twin, &encrypted, &other_key] {
        let members = agent.get("/v1/agent/members").expect(200).json();
        assert_eq!(members.as_array().unwrap().len(), 1, "{members}");
    }
    // The datacenters may meet over WAN.
    elsewhere.put(&format!("/v1/agent/join/{}?wan=1", wan(&a)), "").expect(200);
    until("the other datacenter", LIMIT, || status(&a, "b.dc2", true) == ALIVE);
    let nobody = a.put("/v1/agent/join/127.0.0.1:1", "").expect(500).text();
    let wanted = "1 error occurred:\n\t* Failed to join 127.0.0.1: dial tcp 127.0.0.1:1: connect: connection refused\n\n";
    assert_eq!(nobody, wanted);
}

#[test]
fn keys_are_changed_on_all_members_and_kept() {
    let encrypt = json!({ "encrypt": KEY_1 });
    let a = server("a").with(encrypt.clone()).start();
    let mut b = server("b").with(encrypt).start();
    join(&a, &b);
    wait_status(&a, "b", ALIVE);
    wait_status(&b, "a", ALIVE);
    until("the WAN pool", LIMIT, || status(&a, "b.dc1", true) == ALIVE && status(&b, "a.dc1", true) == ALIVE);
    for (words, says) in [
        (["-install", KEY_2], "==> Installing new gossip encryption key..."),
        (["-use", KEY_2], "==> Changing primary gossip encryption key..."),
        (["-remove", KEY_1], "==> Removing gossip encryption key..."),
    ] {
        let (code, out, err) = cli(&a, &["keyring", words[0], words[1]]);
        assert_eq!((code, out.trim()), (Some(0), says), "{err}");
    }
    let (code, out, err) = cli(&b, &["keyring", "-list"]);
    let wanted = format!(
        "==> Gathering installed encryption keys...\n\nWAN:\n  {KEY_2} [2/2]\n\ndc1 (LAN):\n  {KEY_2} [2/2]\n"
    );
    assert_eq!((code, out), (Some(0), wanted), "{err}");
    let primary = a.get("/v1/operator/keyring?local-only=true").expect(200).json();
    assert_eq!(primary[0]["PrimaryKeys"], json!({ KEY_2: 2 }));
    assert_eq!(primary.as_array().unwrap().len(), 1);
    let (code, _, err) = cli(&a, &["keyring", "-remove", KEY_2]);
    assert_eq!(code, Some(1));
    for text in
        ["* dc1 (LAN) error: 2/2 nodes reported failure", "* b: Removing the primary key is not allowed"]
    {
        assert!(err.contains(text), "{text} in {err}");
    }
    for name in ["local.keyring", "remote.keyring"] {
        let file = b.data().join("serf").join(name);
        until("the keyring file", LIMIT, || {
            std::fs::read_to_string(&file).is_ok_and(|text| text == format!("[\n  \"{KEY_2}\"\n]"))
        });
    }
    // The file counts, not the key of the configuration; with it the agents still understand each other.
    b.kill();
    wait_status(&a, "b", FAILED);
    b.restart();
    assert!(b.output().contains("keyring doesn't include key provided with -encrypt, using keyring"));
    wait_status(&a, "b", ALIVE);
    let (_, out, _) = cli(&b, &["info"]);
    assert!(out.contains("encrypted = true"), "{out}");
}

#[test]
fn a_restart_finds_the_former_members_but_not_after_a_goodbye() {
    let a = dev("a").start();
    let mut b = server("b").start();
    join(&b, &a);
    wait_status(&b, "a", ALIVE);
    let snapshot = b.data().join("serf/local.snapshot");
    let alive = format!("alive: a {}", lan(&a));
    until("the snapshot", LIMIT, || {
        std::fs::read_to_string(&snapshot).is_ok_and(|text| text.contains(&alive))
    });
    b.kill();
    wait_status(&a, "b", FAILED);
    b.restart();
    wait_status(&b, "a", ALIVE);
    wait_status(&a, "b", ALIVE);
    b.wait_output("serf: Re-joined to previously known node: a", LIMIT);
    b.put("/v1/agent/leave", "").expect(200);
    assert_eq!(b.wait_exit(LIMIT).code(), Some(0));
    wait_status(&a, "b", LEFT);
    b.restart();
    let members = b.get("/v1/agent/members").expect(200).json();
    assert_eq!(members.as_array().unwrap().len(), 1, "{members}");
    // Unless it is told to.
    join(&b, &a);
    wait_status(&b, "a", ALIVE);
    b.put("/v1/agent/leave", "").expect(200);
    assert_eq!(b.wait_exit(LIMIT).code(), Some(0));
    b.reconfigure(json!({ "rejoin_after_leave": true }));
    b.restart();
    wait_status(&b, "a", ALIVE);
}

#[test]
fn an_agent_that_can_join_nobody_ends() {
    let nobody = "127.0.0.1:1";
    let refused = "Failed to join 127.0.0.1: dial tcp 127.0.0.1:1: connect: connection refused";
    let mut start = dev("a").with(json!({ "start_join": [nobody] })).spawn();
    assert_eq!(start.wait_exit(LIMIT).code(), Some(1));
    assert!(start.stderr().contains(refused), "{}", start.output());
    let retry = json!({ "retry_join": [nobody], "retry_max": 2, "retry_interval": "20ms" });
    let mut retry = dev("b").with(retry).spawn();
    assert_eq!(retry.wait_exit(LIMIT).code(), Some(1));
    let output = retry.output();
    assert!(output.contains("agent: max join LAN retry exhausted, exiting"), "{output}");
    assert_eq!(output.matches("Join cluster failed, will retry").count(), 2, "{output}");
}

#[test]
fn a_gossip_port_in_use_stops_the_start() {
    let a = dev("a").start();
    let taken = json!({
        "bind_addr": a.config()["bind_addr"],
        "ports": { "serf_lan": a.config()["ports"]["serf_lan"] },
    });
    let mut second = dev("b").with(taken).spawn();
    assert_eq!(second.wait_exit(LIMIT).code(), Some(1));
    let wanted = format!("listen tcp {}: bind: address already in use", lan(&a));
    assert!(second.stderr().contains(&wanted), "{}", second.stderr());
}
