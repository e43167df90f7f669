//! A stock Consul client agent in a datacenter of our servers: it must not notice the difference.
//!
//! Without a stock Consul the test says that it is skipped, and passes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

use crate::ambush::alone;
use crate::support::cluster::{Cluster, ClusterSetup, DNS, LIMIT, Member};
use crate::support::{Client, dns, stock, until};

const CLIENT: usize = 3;

#[test]
fn a_stock_client_agent_lives_among_our_servers() {
    let _one = alone();
    let Some(consul) = stock("consul") else { return };
    let mut cluster = ClusterSetup::new(3, 1).prepare();
    cluster.members[CLIENT].set_binary(consul);
    for at in cluster.servers() {
        cluster.start(at);
    }
    cluster.wait_leader();
    cluster.start(CLIENT);
    cluster.wait_whole();

    keys(&cluster);
    services(&cluster);
    sessions(&cluster);
    events(&cluster);
    leaders_change(&mut cluster);
    it_leaves(&mut cluster);
}

/// Keys through the client: written, read in every mode, waited for, in transactions.
fn keys(cluster: &Cluster) {
    let (client, server) = (&cluster.members[CLIENT], &cluster.members[0]);
    assert!(client.put("/v1/kv/interop/a?flags=7", "one").yes());
    for mode in ["", "?consistent", "?stale"] {
        until("the key", LIMIT, || client.get(&format!("/v1/kv/interop/a{mode}")).is_some());
        let entry = client.get(&format!("/v1/kv/interop/a{mode}")).unwrap().json()[0].clone();
        assert_eq!((&entry["Value"], &entry["Flags"]), (&json!("b25l"), &json!(7)), "{mode}");
    }
    assert_eq!(
        server.get("/v1/kv/interop/a").unwrap().json(),
        client.get("/v1/kv/interop/a").unwrap().json()
    );
    let index = client.get("/v1/kv/interop/a").unwrap().index();
    assert!(!client.put(&format!("/v1/kv/interop/a?cas={}", index + 1), "two").yes());
    assert!(client.put(&format!("/v1/kv/interop/a?cas={index}"), "two").yes());
    assert_eq!(client.client().get("/v1/kv/interop/none").unwrap().status, 404);
    assert_eq!(client.get("/v1/kv/interop/?keys").unwrap().json(), json!(["interop/a"]));
    assert_eq!(client.get("/v1/kv/interop/?recurse").unwrap().json().as_array().map(Vec::len), Some(1));

    // Whoever waits at the client is woken by a write at a server.
    let index = client.get("/v1/kv/interop/a").unwrap().index();
    let (target, address) = (format!("/v1/kv/interop/a?index={index}&wait=60s"), client.http());
    let waiter =
        std::thread::spawn(move || Client::new(address).patience(Duration::from_secs(70)).get(&target));
    assert!(server.put("/v1/kv/interop/a", "three").yes());
    let answer = waiter.join().unwrap().unwrap().expect(200);
    assert_eq!(answer.json()[0]["Value"], json!("dGhyZWU="));
    assert!(answer.index() > index);

    let steps = json!([
        { "KV": { "Verb": "set", "Key": "interop/b", "Value": "Yg==" } },
        { "KV": { "Verb": "get", "Key": "interop/a" } },
    ]);
    let results = client.put("/v1/txn", steps.to_string()).expect(200).json();
    assert_eq!(results["Results"].as_array().map(Vec::len), Some(2), "{results}");
    let steps = json!([{ "KV": { "Verb": "cas", "Key": "interop/b", "Index": 1, "Value": "Yg==" } }]);
    client.put("/v1/txn", steps.to_string()).expect(409);
    assert!(client.client().delete("/v1/kv/interop?recurse").unwrap().yes());
    until("they are gone", LIMIT, || server.get("/v1/kv/interop/?recurse").is_none());
}

/// A service with a check at the client: in the catalog, in health, in DNS, by its status.
fn services(cluster: &Cluster) {
    let (client, server) = (&cluster.members[CLIENT], &cluster.members[0]);
    let definition = json!({
        "Name": "web", "ID": "web-1", "Port": 8080, "Tags": ["v1"], "Meta": { "team": "blue" },
        "Check": { "CheckID": "web-ttl", "TTL": "10m" },
    });
    client.put("/v1/agent/service/register", definition.to_string()).expect(200);
    let healthy = |member: &Member, count: usize| {
        let target = "/v1/health/service/web?passing";
        member.get(target).is_some_and(|answer| answer.json().as_array().map(Vec::len) == Some(count))
    };
    let known = |member: &Member| {
        member.get("/v1/catalog/service/web").is_some_and(|answer| answer.json()[0]["ServiceID"] == "web-1")
    };
    until("the catalog, at the server", LIMIT, || known(server));
    until("the catalog, at the client", LIMIT, || known(client));
    assert!(healthy(server, 0) && healthy(client, 0), "its check does not pass yet");
    client.put("/v1/agent/check/pass/web-ttl", "").expect(200);
    until("its health", LIMIT, || healthy(server, 1) && healthy(client, 1));
    for member in [server, client] {
        let entry = member.get("/v1/health/service/web").unwrap().json()[0].clone();
        assert_eq!(entry["Service"]["Tags"], json!(["v1"]));
        assert_eq!(entry["Service"]["Meta"], json!({ "team": "blue" }));
        assert_eq!(entry["Node"]["Node"], json!("client-1"));
        let at = SocketAddr::new(member.ip.into(), DNS);
        // DNS may answer from a server that is a moment behind.
        let own = [(IpAddr::from(client.ip), 0)];
        for name in ["web.service.consul", "client-1.node.consul"] {
            until(name, LIMIT, || dns::addresses(&dns::ask(at, name, dns::A)) == own);
        }
        let found = dns::addresses(&dns::ask(at, "consul.service.consul", dns::A));
        assert_eq!(found.len(), 3);
    }
    client.put("/v1/agent/check/fail/web-ttl", "").expect(200);
    until("its failure", LIMIT, || healthy(server, 0) && healthy(client, 0));
    client.put("/v1/agent/service/deregister/web-1", "").expect(200);
    until("its end", LIMIT, || {
        server.get("/v1/catalog/service/web").is_some_and(|answer| answer.json() == json!([]))
    });
    let names = |member: &Member, target: &str| {
        let nodes = member.get(target).unwrap().json();
        let nodes = nodes.as_array().unwrap().iter().map(|node| node["Node"].clone());
        nodes.collect::<Vec<Value>>()
    };
    assert_eq!(names(client, "/v1/catalog/nodes"), names(server, "/v1/catalog/nodes"));
    assert_eq!(client.get("/v1/catalog/datacenters").unwrap().json(), json!(["dc1"]));
    assert_eq!(client.get("/v1/catalog/services").unwrap().json(), json!({ "consul": [] }));
}

/// A session of the client, and its locks.
fn sessions(cluster: &Cluster) {
    let (client, server) = (&cluster.members[CLIENT], &cluster.members[0]);
    let body = json!({ "LockDelay": "0s", "TTL": "30s" }).to_string();
    let created = client.put("/v1/session/create", body).expect(200).json();
    let id = created["ID"].as_str().unwrap();
    let info = server.get(&format!("/v1/session/info/{id}")).unwrap().json()[0].clone();
    assert_eq!((&info["Node"], &info["TTL"]), (&json!("client-1"), &json!("30s")));
    let list = client.get("/v1/session/node/client-1").unwrap().json();
    assert_eq!(list[0]["ID"], json!(id));
    client.put(&format!("/v1/session/renew/{id}"), "").expect(200);
    assert!(client.put(&format!("/v1/kv/lock?acquire={id}"), "mine").yes());
    let other = server.put("/v1/session/create", "").expect(200).json();
    let other = other["ID"].as_str().unwrap();
    assert!(!server.put(&format!("/v1/kv/lock?acquire={other}"), "not mine").yes());
    assert!(client.put(&format!("/v1/session/destroy/{id}"), "").yes());
    assert!(server.put(&format!("/v1/kv/lock?acquire={other}"), "mine").yes());
    let refused = client.put(&format!("/v1/kv/lock?acquire={id}"), "");
    assert!(refused.status == 500 && refused.text().contains("invalid session"), "{}", refused.text());
    assert!(server.put(&format!("/v1/session/destroy/{other}"), "").yes());
}

/// Events from either side reach the other.
fn events(cluster: &Cluster) {
    let (client, server) = (&cluster.members[CLIENT], &cluster.members[0]);
    for (from, name) in [(client, "from-stock"), (server, "from-ours")] {
        let id = from.put(&format!("/v1/event/fire/{name}"), "x").expect(200).json()["ID"].clone();
        for member in [client, server] {
            until(name, LIMIT, || {
                let events = member.get("/v1/event/list").map(|answer| answer.json()).unwrap_or_default();
                events.as_array().is_some_and(|all| all.iter().any(|event| event["ID"] == id))
            });
        }
    }
}

/// The client goes on when the server it talks to, or the leader, is gone.
fn leaders_change(cluster: &mut Cluster) {
    let leader = cluster.wait_leader();
    cluster.kill9(leader);
    until("a write under another leader", LIMIT, || {
        let mut client = cluster.members[CLIENT].client();
        client.put("/v1/kv/after", "1").is_ok_and(|answer| answer.status == 200 && answer.yes())
    });
    cluster.start(leader);
    cluster.wait_whole();
}

/// It says goodbye, and the catalog forgets it.
fn it_leaves(cluster: &mut Cluster) {
    cluster.leave(CLIENT);
    until("it has left", LIMIT, || cluster.seen_by(0).contains(&("client-1".to_owned(), 3)));
    let server = &cluster.members[0];
    until("the catalog forgets it", LIMIT, || {
        server.get("/v1/catalog/nodes").is_some_and(|nodes| !nodes.text().contains("client-1"))
    });
}
