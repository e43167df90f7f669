//! Three servers as one raft group: operators' questions on every server, autopilot, leaving, and recovery by hand.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::gossip::lan;
use crate::support::agent::run;
use crate::support::{Agent, Setup, eventually, until};

const LIMIT: Duration = Duration::from_secs(60);

/// A server of a group of three, quick in gossip.
fn server(number: usize, others: &[&Agent]) -> Agent {
    let join: Vec<_> = others.iter().map(|agent| lan(agent)).collect();
    let quick = json!({
        "gossip_interval": "100ms", "probe_interval": "200ms", "probe_timeout": "150ms", "suspicion_mult": 3,
    });
    Setup::server()
        .with(json!({
            "node_name": format!("s{number}"),
            "node_id": format!("11111111-2222-3333-4444-00000000000{number}"),
            "bootstrap_expect": 3,
            "retry_join": join,
            "retry_interval": "100ms",
            "gossip_lan": quick,
            "gossip_wan": quick,
            "performance": { "leave_drain_time": "100ms" },
            "autopilot": { "server_stabilization_time": "1s" },
        }))
        .spawn()
}

fn three() -> [Agent; 3] {
    let first = server(1, &[]);
    let second = server(2, &[&first]);
    let third = server(3, &[&first, &second]);
    let all = [first, second, third];
    for agent in &all {
        agent.wait_ready();
    }
    all
}

/// The raft members as a server knows them, by name; the leader with a `*`, those that do not vote with a `?`.
fn peers(agent: &Agent) -> Option<String> {
    let answer = agent.client().get("/v1/operator/raft/configuration?stale").ok()?;
    let body = answer.json();
    let mut names: Vec<_> = body["Servers"]
        .as_array()?
        .iter()
        .map(|server| {
            let mark = if server["Leader"] == true {
                "*"
            } else if server["Voter"] == true {
                ""
            } else {
                "?"
            };
            format!("{}{mark}", server["Node"].as_str().unwrap_or_default())
        })
        .collect();
    names.sort_unstable();
    Some(names.join(" "))
}

/// Waits until everybody names these members, whoever leads.
#[track_caller]
fn wait_peers(agents: &[&Agent], wanted: &str) {
    for agent in agents {
        let found =
            eventually(LIMIT, || peers(agent).filter(|found| found.replace('*', "") == wanted).map(drop));
        assert!(found.is_some(), "{wanted:?} but {:?}\n{}", peers(agent), agent.output());
    }
}

fn leader(agents: &[Agent]) -> usize {
    let found = eventually(LIMIT, || {
        agents.iter().position(|agent| {
            let own = agent.config()["node_name"].as_str().unwrap_or_default().to_owned() + "*";
            agent.runs() && peers(agent).is_some_and(|found| found.split(' ').any(|name| name == own))
        })
    });
    found.unwrap_or_else(|| panic!("no leader"))
}

fn health(agent: &Agent) -> (u16, Value) {
    let answer = agent.get("/v1/operator/autopilot/health");
    (answer.status, if [200, 429].contains(&answer.status) { answer.json() } else { Value::Null })
}

fn cli(agent: &Agent, words: &[&str]) -> (Option<i32>, String, String) {
    let address = format!("-http-addr={}", agent.http());
    let mut all = words.to_vec();
    let at = all.iter().position(|word| word.starts_with('-')).unwrap_or(all.len());
    all.insert(at, &address);
    run(&all, LIMIT)
}

#[test]
fn three_servers_look_after_each_other() {
    let mut all = three();
    wait_peers(&[&all[0], &all[1], &all[2]], "s1 s2 s3");

    // Every server answers operators, by way of the leader.
    for agent in &all {
        until("all are healthy", LIMIT, || health(agent).0 == 200);
        let (_, body) = health(agent);
        assert_eq!(body["FailureTolerance"], 1, "{body}");
        assert_eq!(body["Servers"].as_array().unwrap().len(), 3, "{body}");
        assert_eq!(agent.get("/v1/status/peers").json().as_array().unwrap().len(), 3);
        let servers = agent.get("/v1/catalog/service/consul").json();
        assert_eq!(servers.as_array().unwrap().len(), 3, "{servers}");
        let unknown = agent.delete("/v1/operator/raft/peer?id=nobody");
        assert_eq!(unknown.status, 500);
        let text = unknown.text().clone();
        assert!(text.ends_with("id \"nobody\" was not found in the Raft configuration"), "{text}");
        let (code, out, err) = cli(agent, &["operator", "raft", "list-peers"]);
        assert_eq!((code, out.lines().count()), (Some(0), 4), "{out}{err}");
        let own = agent.get("/v1/agent/self").json();
        assert_eq!(own["Stats"]["raft"]["num_peers"], "2");
        assert_eq!(
            own["Stats"]["raft"]["latest_configuration"].as_str().unwrap().matches("Suffrage:Voter").count(),
            3
        );
    }

    // The configuration is one for all.
    let follower = (leader(&all) + 1) % 3;
    let words = ["operator", "autopilot", "set-config", "-max-trailing-logs=500"];
    let (code, out, err) = cli(&all[follower], &words);
    assert_eq!((code, out.trim()), (Some(0), "Configuration updated!"), "{err}");
    for agent in &all {
        until("the new configuration", LIMIT, || {
            agent.get("/v1/operator/autopilot/configuration").json()["MaxTrailingLogs"] == 500
        });
    }

    // Leadership goes where it is sent.
    let wanted = format!("11111111-2222-3333-4444-00000000000{}", follower + 1);
    let asked = format!("-id={wanted}");
    let (code, out, err) = cli(&all[(follower + 1) % 3], &["operator", "raft", "transfer-leader", &asked]);
    assert_eq!((code, out.trim()), (Some(0), "Success"), "{err}");
    until("it leads", LIMIT, || leader(&all) == follower);

    // The leader leaves: somebody else leads, and nobody counts on it any more.
    all[follower].put("/v1/agent/leave", "").expect(200);
    assert_eq!(all[follower].wait_exit(LIMIT).code(), Some(0));
    let left = format!("s{}", follower + 1);
    let rest: Vec<&Agent> = all.iter().filter(|agent| agent.runs()).collect();
    let wanted: Vec<_> = ["s1", "s2", "s3"].into_iter().filter(|name| *name != left).collect();
    wait_peers(&rest, &wanted.join(" "));
    rest[0].put("/v1/kv/after", "x").expect(200);
    until("the catalog", LIMIT, || {
        rest[1].get("/v1/catalog/service/consul").json().as_array().map(Vec::len) == Some(2)
    });
    let (_, body) = health(rest[0]);
    assert_eq!(body["FailureTolerance"], 0, "{body}");
}

#[test]
fn a_dead_server_is_removed_and_one_may_be_alone() {
    let mut all = three();
    wait_peers(&[&all[0], &all[1], &all[2]], "s1 s2 s3");
    let dead = (leader(&all) + 1) % 3;
    let begun = Instant::now();
    all[dead].kill();
    let rest: Vec<&Agent> = all.iter().filter(|agent| agent.runs()).collect();
    until("it is missed", LIMIT, || health(rest[0]).0 == 429);
    let wanted: Vec<_> =
        (0..3).filter(|number| *number != dead).map(|number| format!("s{}", number + 1)).collect();
    wait_peers(&rest, &wanted.join(" "));
    println!("removed {:?} after its death", begun.elapsed());
    // One of two is a half: it stays.
    assert!(
        rest[0].output().contains("Attempting removal") || rest[1].output().contains("Attempting removal")
    );
}

#[test]
fn one_of_three_is_recovered_by_hand() {
    let mut all = three();
    all[0].put("/v1/kv/kept", "x").expect(200);
    until("it is everywhere", LIMIT, || all[2].get("/v1/kv/kept?stale").status == 200);
    all[0].kill();
    all[1].kill();
    all[2].signal(Signal::TERM);
    all[2].wait_exit(LIMIT);
    let raft = all[2].data().join("raft");
    assert!(fs::read_to_string(raft.join("peers.info")).unwrap().contains("peers.json"));

    let address =
        format!("{}:{}", all[2].config()["bind_addr"].as_str().unwrap(), all[2].config()["ports"]["server"]);
    fs::write(raft.join("peers.json"), format!("[\"{address}\"]")).unwrap();
    all[2].start_again();
    assert_eq!(all[2].wait_exit(LIMIT).code(), Some(1), "a list of addresses is of no use");
    assert!(all[2].output().contains("raft protocol 2"), "{}", all[2].output());

    let id = &all[2].config()["node_id"];
    let members = json!([{ "id": id, "address": address, "non_voter": false }]);
    fs::write(raft.join("peers.json"), members.to_string()).unwrap();
    all[2].start_again();
    all[2].wait_leader();
    wait_peers(&[&all[2]], "s3");
    assert!(!raft.join("peers.json").exists());
    assert_eq!(all[2].get("/v1/kv/kept?raw").text(), "x");
    all[2].put("/v1/kv/new", "y").expect(200);
    all[2].kill();
    all[2].start_again();
    all[2].wait_leader();
    assert_eq!(all[2].get("/v1/kv/new?raw").text(), "y");
}

#[test]
fn a_fourth_server_gets_a_vote_once_it_is_stable() {
    let all = three();
    for number in 0..200 {
        all[0].put(&format!("/v1/kv/before/{number}"), "x").expect(200);
    }
    let fourth = server(4, &[&all[0], &all[1]]);
    until("it comes without a vote", LIMIT, || peers(&all[0]).is_some_and(|found| found.contains("s4?")));
    wait_peers(&[&all[0], &all[1], &all[2], &fourth], "s1 s2 s3 s4");
    assert_eq!(fourth.get("/v1/kv/before/199?raw").text(), "x");
    until("all are healthy", LIMIT, || health(&fourth).0 == 200);
    assert_eq!(health(&fourth).1["FailureTolerance"], 1);
    until("DNS and the catalog know it", LIMIT, || {
        fourth.get("/v1/catalog/service/consul").json().as_array().map(Vec::len) == Some(4)
    });
    // It can lead, and one of the others can be removed by hand; as long as it lives it comes back.
    let id = "11111111-2222-3333-4444-000000000004";
    all[0].request("POST", &format!("/v1/operator/raft/transfer-leader?id={id}"), b"").expect(200);
    until("it leads", LIMIT, || peers(&all[1]).is_some_and(|found| found.contains("s4*")));
    all[0].delete("/v1/operator/raft/peer?id=11111111-2222-3333-4444-000000000003").expect(200);
    fourth.delete(&format!("/v1/operator/raft/peer?id={id}")).expect(200);
    until("another leads", LIMIT, || {
        peers(&all[1]).is_some_and(|found| found.contains('*') && !found.contains("s4*"))
    });
    all[1].put("/v1/kv/after", "y").expect(200);
    wait_peers(&[&all[0], &all[1], &all[2], &fourth], "s1 s2 s3 s4");
    assert_eq!(fourth.get("/v1/kv/after?raw").text(), "y");
}

#[test]
fn a_client_agent_asks_the_servers_for_operators() {
    let all = three();
    let client = Setup::server()
        .with(json!({
            "node_name": "c1",
            "server": false,
            "bootstrap_expect": 0,
            "retry_join": [lan(&all[0])],
            "retry_interval": "100ms",
        }))
        .spawn();
    until("it knows the servers", LIMIT, || {
        client.client().get("/v1/status/leader").is_ok_and(|answer| answer.text().len() > 4)
    });
    until("all are healthy", LIMIT, || health(&client).0 == 200);
    assert_eq!(peers(&client).unwrap().replace('*', ""), "s1 s2 s3");
    let words = ["operator", "autopilot", "set-config", "-min-quorum=3"];
    let (code, out, err) = cli(&client, &words);
    assert_eq!((code, out.trim()), (Some(0), "Configuration updated!"), "{err}");
    until("the new configuration", LIMIT, || {
        client.get("/v1/operator/autopilot/configuration").json()["MinQuorum"] == 3
    });
    let before = leader(&all);
    let (code, out, err) = cli(&client, &["operator", "raft", "transfer-leader"]);
    assert_eq!((code, out.trim()), (Some(0), "Success"), "{err}");
    until("another leads", LIMIT, || leader(&all) != before);
    let unknown = client.delete("/v1/operator/raft/peer?id=nobody");
    assert_eq!(unknown.status, 500);
    assert!(unknown.text().starts_with("rpc error making call: "), "{}", unknown.text());
}
