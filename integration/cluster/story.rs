//! The story a newcomer reads and plays, from start to end: a datacenter of three servers and five
//! client agents, looked at from all sides; a server dies; a web server is found by DNS once it runs;
//! a key is written here and read there. Then leader election by sessions and locks: who gets the lock,
//! who waits, and everything that ends a session.
//!
//! It prints what it sees, as on a terminal (`scripts/story`), and every step is checked.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ambush::alone;
use crate::support::agent::run;
use crate::support::cluster::{Cluster, ClusterSetup, DNS, LIMIT, Member};
use crate::support::{Client, dns, eventually, until};

/// Numbers of the members.
const SERVER_1: usize = 0;
const SERVER_2: usize = 1;
const SERVER_3: usize = 2;
const CLIENT_1: usize = 3;
const CLIENT_2: usize = 4;
const CLIENT_3: usize = 5;
const CLIENT_5: usize = 7;

#[test]
fn the_story_of_a_datacenter() {
    let _one = alone();
    let mut cluster = ClusterSetup::new(3, 5).prepare();
    // One agent lets its DNS answers be kept for a while.
    cluster.members[CLIENT_2].reconfigure(json!({
        "dns_config": { "node_ttl": "10s", "service_ttl": { "*": "5s", "web": "30s" } },
    }));
    // And some may answer DNS only with what the leader knows; at least one of these two servers does not lead.
    for at in [SERVER_2, SERVER_3, CLIENT_1] {
        cluster.members[at].reconfigure(json!({ "dns_config": { "allow_stale": false } }));
    }
    for at in 0..cluster.members.len() {
        cluster.start(at);
    }
    cluster.wait_whole();

    first_look(&cluster);
    a_server_dies(&mut cluster);
    a_web_server_is_found(&cluster);
    a_key_goes_round(&cluster);
    dns_answers_may_be_kept(&cluster);
    a_leader_is_elected(&cluster);
    sessions_end(&cluster);
    lock_delays(&cluster);
    a_session_has_a_time_to_live(&cluster);
    a_client_leaves(&mut cluster);
}

fn say(text: &str) {
    println!("\n== {text}");
}

/// Runs a command of the binary against a member and prints both.
#[track_caller]
fn command(member: &Member, words: &[&str]) -> String {
    println!("\n{}$ tribune {}", member.name, words.join(" "));
    let address = format!("-http-addr={}", member.http());
    let mut all = words.to_vec();
    all.push(&address);
    let (code, out, err) = run(&all, LIMIT);
    print!("{out}{err}");
    assert_eq!(code, Some(0), "{words:?}: {err}");
    out
}

/// Rows of a table by the name in the first column.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect()
}

/// Addresses of a name and their TTLs, by `dig` where there is one.
fn addresses(member: &Member, name: &str) -> Vec<(IpAddr, u32)> {
    let server = SocketAddr::new(member.ip.into(), DNS);
    println!("\n{}$ dig +noall +answer @{} -p {DNS} {name}", member.name, member.ip);
    let own = dns::addresses(&dns::ask(server, name, dns::A));
    let dig = Command::new("dig")
        .args(["+noall", "+answer", &format!("@{}", member.ip), "-p", &DNS.to_string(), name])
        .output();
    match dig {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            print!("{text}");
            let found =
                text.lines().filter_map(|line| line.split_whitespace().nth(4)?.parse::<IpAddr>().ok());
            let mut found: Vec<IpAddr> = found.collect();
            found.sort();
            assert_eq!(
                found,
                own.iter().map(|(address, _)| *address).collect::<Vec<_>>(),
                "dig sees the same"
            );
        }
        _ => own.iter().for_each(|(address, ttl)| println!("{name}.\t{ttl}\tIN\tA\t{address}")),
    }
    own
}

fn only_addresses(member: &Member, name: &str) -> Vec<IpAddr> {
    addresses(member, name).into_iter().map(|(address, _)| address).collect()
}

fn ips(cluster: &Cluster, members: &[usize]) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = members.iter().map(|at| cluster.members[*at].ip.into()).collect();
    ips.sort();
    ips
}

fn first_look(cluster: &Cluster) {
    say("three servers and five clients");
    let server = &cluster.members[SERVER_1];
    let table = command(server, &["members"]);
    let rows_of_members = rows(&table);
    assert_eq!(rows_of_members.len(), 8);
    for row in &rows_of_members {
        let kind = if row[0].starts_with("server") { "server" } else { "client" };
        assert_eq!((row[2], row[3]), ("alive", kind), "{row:?}");
    }
    let table = command(server, &["operator", "raft", "list-peers"]);
    let states: Vec<&str> = rows(&table).iter().map(|row| row[3]).collect();
    assert_eq!(states.iter().filter(|state| **state == "leader").count(), 1, "{table}");
    assert_eq!(states.iter().filter(|state| **state == "follower").count(), 2, "{table}");

    for at in [SERVER_1, SERVER_2, SERVER_3, CLIENT_1] {
        let found = addresses(&cluster.members[at], "consul.service.consul");
        assert_eq!(found.iter().map(|(address, _)| *address).collect::<Vec<_>>(), ips(cluster, &[0, 1, 2]));
        assert!(found.iter().all(|(_, ttl)| *ttl == 0), "by default nothing may be kept");
    }

    println!("\n{}$ curl http://{}/v1/catalog/nodes | jq -r '.[].Address'", server.name, server.http());
    let nodes = server.get("/v1/catalog/nodes").unwrap().json();
    let mut found: Vec<IpAddr> = nodes
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            let address = node["Address"].as_str().unwrap();
            println!("{address}");
            address.parse().unwrap()
        })
        .collect();
    found.sort();
    assert_eq!(found, ips(cluster, &[0, 1, 2, 3, 4, 5, 6, 7]));
}

fn a_server_dies(cluster: &mut Cluster) {
    say("server 3 is killed");
    cluster.kill9(SERVER_3);
    let gone = cluster.members[SERVER_3].name.clone();
    until("it has failed", LIMIT, || cluster.seen_by(SERVER_1).contains(&(gone.clone(), 4)));
    let server = &cluster.members[SERVER_1];
    let table = command(server, &["members"]);
    for row in rows(&table) {
        assert_eq!(row[2], if row[0] == gone { "failed" } else { "alive" }, "{table}");
    }
    let left = ips(cluster, &[SERVER_1, SERVER_2]);
    until("two addresses", LIMIT, || {
        let reply = dns::ask(SocketAddr::new(server.ip.into(), DNS), "consul.service.consul", dns::A);
        dns::addresses(&reply).len() == 2
    });
    assert_eq!(only_addresses(server, "consul.service.consul"), left);
    cluster.wait_leader();
}

/// A web server as small as can be.
fn serve(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut buffer = [0; 4096];
            if !stream.read(&mut buffer).is_ok_and(|length| length > 0) {
                continue;
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nIt works!")
                .ok();
        }
    });
}

fn a_web_server_is_found(cluster: &Cluster) {
    say("a service is registered with client 1, whose web server does not run yet");
    let (server, client) = (&cluster.members[SERVER_1], &cluster.members[CLIENT_1]);
    let free = TcpListener::bind((client.ip, 0)).unwrap();
    let at = free.local_addr().unwrap();
    drop(free);
    let definition = json!({
        "Name": "apache", "Port": at.port(),
        "Check": {
            "Name": format!("http on port {}", at.port()), "HTTP": format!("http://{at}"),
            "Method": "GET", "Interval": "1s", "Timeout": "1s",
        },
    });
    println!("$ curl -XPUT -d@web.json http://{}/v1/agent/service/register", client.http());
    client.put("/v1/agent/service/register", definition.to_string()).expect(200);
    until("the catalog knows it", LIMIT, || {
        let services = server.get("/v1/catalog/service/apache");
        services.is_some_and(|services| services.json().as_array().is_some_and(|all| all.len() == 1))
    });
    assert_eq!(only_addresses(server, "apache.service.consul"), [] as [IpAddr; 0], "its check fails");
    say("the web server is started");
    serve(TcpListener::bind(at).unwrap());
    until("DNS finds it", LIMIT, || {
        let reply = dns::ask(SocketAddr::new(server.ip.into(), DNS), "apache.service.consul", dns::A);
        !dns::addresses(&reply).is_empty()
    });
    assert_eq!(only_addresses(server, "apache.service.consul"), ips(cluster, &[CLIENT_1]));
}

fn a_key_goes_round(cluster: &Cluster) {
    say("a key is written through client 3 and read through server 2");
    let (client, server) = (&cluster.members[CLIENT_3], &cluster.members[SERVER_2]);
    println!("$ curl -XPUT -d 'dislikes onion' http://{}/v1/kv/kiririmode", client.http());
    let answer = client.put("/v1/kv/kiririmode", "dislikes onion");
    println!("{}", answer.text());
    assert!(answer.yes());
    println!("$ curl http://{}/v1/kv/kiririmode?pretty", server.http());
    let answer = server.get("/v1/kv/kiririmode?pretty").unwrap();
    println!("{}", answer.text());
    let entry = answer.json()[0].clone();
    assert_eq!((&entry["Key"], &entry["Value"]), (&json!("kiririmode"), &json!("ZGlzbGlrZXMgb25pb24=")));
    assert_eq!((&entry["LockIndex"], &entry["Flags"]), (&json!(0), &json!(0)));
    assert_eq!(entry["CreateIndex"], entry["ModifyIndex"]);
    assert_eq!(server.get("/v1/kv/kiririmode?raw").unwrap().text(), "dislikes onion");
}

fn dns_answers_may_be_kept(cluster: &Cluster) {
    say("client 2 lets DNS answers be kept: 10 s for nodes, 30 s for web, 5 s for other services");
    let (client, keeper) = (&cluster.members[CLIENT_3], &cluster.members[CLIENT_2]);
    for name in ["web", "db"] {
        client.put("/v1/agent/service/register", json!({ "Name": name, "Port": 1 }).to_string()).expect(200);
    }
    for (name, ttl) in [("web.service.consul", 30), ("db.service.consul", 5), ("client-3.node.consul", 10)] {
        until(name, LIMIT, || {
            !dns::addresses(&dns::ask(SocketAddr::new(keeper.ip.into(), DNS), name, dns::A)).is_empty()
        });
        assert_eq!(addresses(keeper, name), [(client.ip.into(), ttl)]);
    }
}

/// A new session, by the member's own words about it.
#[track_caller]
fn session(member: &Member, body: &Value) -> String {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    println!("$ curl -XPUT -d '{body}' http://{}/v1/session/create", member.http());
    let answer = member.put("/v1/session/create", body).expect(200);
    println!("{}", answer.text());
    answer.json()["ID"].as_str().unwrap().to_owned()
}

#[track_caller]
fn ask_lock(member: &Member, verb: &str, key: &str, session: &str) -> bool {
    println!("$ curl -XPUT -d {} http://{}/v1/kv/{key}?{verb}={session}", member.name, member.http());
    let yes = member.put(&format!("/v1/kv/{key}?{verb}={session}"), &member.name).yes();
    println!("{yes}");
    yes
}

fn entry(member: &Member, key: &str) -> Value {
    member.get(&format!("/v1/kv/{key}?consistent")).unwrap().json()[0].clone()
}

const LEADER: &str = "service/web/leader";

fn a_leader_is_elected(cluster: &Cluster) {
    say("two clients want to lead: each has a session, one gets the lock");
    let (one, other) = (&cluster.members[CLIENT_1], &cluster.members[CLIENT_2]);
    let first = session(one, &Value::Null);
    let second = session(other, &json!({ "Name": "my-service-lock" }));
    // What a session is if nothing is said.
    let info = one.get(&format!("/v1/session/info/{first}")).unwrap().json();
    assert_eq!(info[0]["Node"], json!(one.name));
    assert_eq!(info[0]["LockDelay"], json!(15_000_000_000_u64));
    assert_eq!(info[0]["NodeChecks"], json!(["serfHealth"]));

    assert!(ask_lock(one, "acquire", LEADER, &first));
    assert!(!ask_lock(other, "acquire", LEADER, &second));
    let held = entry(other, LEADER);
    println!("{held}");
    assert_eq!((&held["Session"], &held["LockIndex"]), (&json!(first), &json!(1)), "anybody sees who leads");
    // The lock is advisory: anybody can write.
    assert!(other.put(&format!("/v1/kv/{LEADER}"), "not the leader").yes());
    assert!(ask_lock(one, "acquire", LEADER, &first), "again, by the same session");

    say("anybody may give the lock back who knows the session");
    let before = entry(other, LEADER);
    assert!(ask_lock(other, "release", LEADER, &first));
    let after = entry(one, LEADER);
    assert_eq!(after["Session"], Value::Null);
    assert_eq!(after["LockIndex"], before["LockIndex"]);
    assert!(after["ModifyIndex"].as_u64() > before["ModifyIndex"].as_u64());
    assert!(ask_lock(other, "acquire", LEADER, &second), "a lock that was given back has no lock-delay");
    assert_eq!(entry(one, LEADER)["LockIndex"].as_u64(), after["LockIndex"].as_u64().map(|index| index + 1));
    assert!(ask_lock(other, "release", LEADER, &second));
}

/// A session of a node with a check holds a key; then `end` happens. Whoever waits is woken, and the
/// key is free at once, as there is no lock-delay.
#[track_caller]
fn ends(cluster: &Cluster, what: &str, end: impl FnOnce(&Member, &str, &str)) {
    say(&format!("a session ends: {what}"));
    let (member, waiting) = (&cluster.members[CLIENT_1], &cluster.members[CLIENT_3]);
    let node = format!("worker-{}", what.replace(' ', "-"));
    let registration = json!({
        "Node": node, "Address": "192.0.2.7",
        "Check": { "CheckID": "works", "Name": "works", "Status": "passing" },
    });
    member.put("/v1/catalog/register", registration.to_string()).expect(200);
    let held = session(member, &json!({ "Node": node, "NodeChecks": ["works"], "LockDelay": "0s" }));
    let key = format!("service/{node}/leader");
    assert!(ask_lock(member, "acquire", &key, &held));
    let before = entry(waiting, &key);
    let index = before["ModifyIndex"].as_u64().unwrap();
    let target = format!("/v1/kv/{key}?index={index}&wait=60s");
    let address = waiting.http();
    println!("$ curl http://{address}{target}");
    let (send, woken) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let mut client = Client::new(address).patience(Duration::from_secs(70));
        send.send(()).ok();
        client.get(&target)
    });
    woken.recv().ok();
    let start = Instant::now();
    end(member, &node, &held);
    let answer = waiter.join().unwrap().unwrap().expect(200);
    println!("{}", answer.text());
    assert!(start.elapsed() < Duration::from_secs(30), "it was woken, it did not wait in vain");
    let after = answer.json()[0].clone();
    assert_eq!(after["Session"], Value::Null, "nobody leads");
    assert_eq!(after["LockIndex"], before["LockIndex"]);
    assert!(after["ModifyIndex"].as_u64().unwrap() > index);
    let info = member.get(&format!("/v1/session/info/{held}?consistent")).unwrap().json();
    assert!(info.as_array().is_none_or(Vec::is_empty), "{info}");
    let refused = member.put(&format!("/v1/kv/{key}?acquire={held}"), "");
    assert!(refused.status == 500 && refused.text().contains("invalid session"), "{}", refused.text());
    let next = session(member, &json!({ "LockDelay": "0s" }));
    assert!(ask_lock(member, "acquire", &key, &next), "it can be taken at once");
    assert!(member.put(&format!("/v1/session/destroy/{next}"), "").yes());
}

fn sessions_end(cluster: &Cluster) {
    ends(cluster, "destroyed", |member, _, session| {
        assert!(member.put(&format!("/v1/session/destroy/{session}"), "").yes());
    });
    ends(cluster, "check removed", |member, node, _| {
        let body = json!({ "Node": node, "CheckID": "works" }).to_string();
        member.put("/v1/catalog/deregister", body).expect(200);
    });
    ends(cluster, "node removed", |member, node, _| {
        member.put("/v1/catalog/deregister", json!({ "Node": node }).to_string()).expect(200);
    });
    ends(cluster, "check critical", |member, node, _| {
        let body = json!({
            "Node": node, "Address": "192.0.2.7",
            "Check": { "CheckID": "works", "Name": "works", "Status": "critical" },
        });
        member.put("/v1/catalog/register", body.to_string()).expect(200);
    });
}

fn lock_delays(cluster: &Cluster) {
    say("a lock whose session ended cannot be taken for 15 s");
    let (one, other) = (&cluster.members[CLIENT_1], &cluster.members[CLIENT_2]);
    let (first, second) = (session(one, &Value::Null), session(other, &Value::Null));
    assert!(ask_lock(one, "acquire", "delayed", &first));
    assert!(one.put(&format!("/v1/session/destroy/{first}"), "").yes());
    let start = Instant::now();
    assert!(!ask_lock(other, "acquire", "delayed", &second), "not yet");
    let mut client = other.client();
    let target = format!("/v1/kv/delayed?acquire={second}");
    let got = eventually(LIMIT, || client.put(&target, "").ok()?.yes().then(|| start.elapsed()));
    let got = got.expect("the lock is free in the end");
    println!("free after {got:?}");
    assert!((Duration::from_secs(14)..Duration::from_secs(25)).contains(&got), "{got:?}");
}

fn a_session_has_a_time_to_live(cluster: &Cluster) {
    say("a session with a TTL lives as long as it is renewed");
    let (one, other) = (&cluster.members[CLIENT_1], &cluster.members[CLIENT_2]);
    let held = session(one, &json!({ "TTL": "10s", "LockDelay": "0s" }));
    assert!(ask_lock(one, "acquire", "mortal", &held));
    let renewed = other.put(&format!("/v1/session/renew/{held}"), "").expect(200);
    println!("{}", renewed.text());
    let start = Instant::now();
    until("its end", LIMIT, || entry(other, "mortal")["Session"].is_null());
    let lived = start.elapsed();
    println!("gone after {lived:?}");
    assert!(lived > Duration::from_secs(9), "not before its time: {lived:?}");
}

fn a_client_leaves(cluster: &mut Cluster) {
    say("client 5 leaves");
    cluster.leave(CLIENT_5);
    let name = cluster.members[CLIENT_5].name.clone();
    until("it has left", LIMIT, || cluster.seen_by(SERVER_1).contains(&(name.clone(), 3)));
    command(&cluster.members[SERVER_1], &["members"]);
    let server = &cluster.members[SERVER_1];
    until("the catalog forgets it", LIMIT, || {
        server.get("/v1/catalog/nodes").is_some_and(|nodes| !nodes.text().contains(&name))
    });
}
