//! Client agents: of our own servers, and of a stock Consul server. What a user does with a server works through a
//! client just so, in the same words; and a client outlives its servers.
//!
//! Without a stock Consul its tests say that they are skipped, and pass.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::RData;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::gossip::{ALIVE, LEFT, lan, status};
use crate::support::dns::{A, SRV, addresses, ask, code};
use crate::support::{Agent, Parked, Setup, stock, until};

/// Stock servers elect and anti-entropy waits at their own pace.
const LIMIT: Duration = Duration::from_secs(60);
const PTR: u16 = 12;

/// A stock server; `None`, said aloud, without a binary.
fn stock_server() -> Option<Agent> {
    let consul = stock("consul")?;
    Some(Setup::server().program(&consul).with(json!({ "node_name": "server" })).start())
}

fn own_server() -> Agent {
    Setup::server().with(json!({ "node_name": "server" })).start()
}

/// A client of a server.
fn client_of(server: &Agent) -> Agent {
    Setup::client().with(json!({ "node_name": "client", "retry_join": [lan(server)] })).start()
}

fn dns(agent: &Agent) -> SocketAddr {
    let port = agent.config()["ports"]["dns"].as_u64().and_then(|port| port.try_into().ok());
    SocketAddr::new(agent.http().ip(), port.expect("a port"))
}

/// The same answer from both.
#[track_caller]
fn same(server: &Agent, client: &Agent, target: &str) {
    let (wanted, found) = (server.get(target), client.get(target));
    assert_eq!(
        (found.status, found.header("x-consul-index"), found.text()),
        (wanted.status, wanted.header("x-consul-index"), wanted.text()),
        "{target}"
    );
}

/// The same refusal from both, with the words that say it came from a server.
#[track_caller]
fn refused(server: &Agent, client: &Agent, target: &str, body: &str) {
    let (wanted, found) = (server.put(target, body), client.put(target, body));
    assert_eq!(found.status, wanted.status, "{target}: {}", found.text());
    assert_eq!(found.text(), format!("rpc error making call: {}", wanted.text()), "{target}");
}

fn keys(server: &Agent, client: &Agent) {
    for (key, value) in [("a/b", "one"), ("a/c/d", "two"), ("z", "")] {
        assert!(client.put(&format!("/v1/kv/{key}?flags=7"), value).expect(200).yes());
    }
    for target in [
        "/v1/kv/a/b",
        "/v1/kv/a/b?raw",
        "/v1/kv/a/b?stale",
        "/v1/kv/a/b?consistent",
        "/v1/kv/a?recurse",
        "/v1/kv/?recurse",
        "/v1/kv/?keys&separator=/",
        "/v1/kv/a/?keys",
        "/v1/kv/none",
        "/v1/kv/none?keys",
        "/v1/kv/none?recurse",
    ] {
        same(server, client, target);
    }
    let index = client.get("/v1/kv/a/b").expect(200).index();
    assert!(!client.put("/v1/kv/a/b?cas=1", "no").expect(200).yes());
    assert!(client.put(&format!("/v1/kv/a/b?cas={index}"), "yes").expect(200).yes());
    assert_eq!(server.get("/v1/kv/a/b?raw").expect(200).text(), "yes");

    let index = client.get("/v1/kv/a/b").expect(200).index();
    let mut parked = Parked::start(client, "/v1/kv/a/b", index, Duration::from_secs(60));
    assert!(parked.waits());
    server.put("/v1/kv/a/b", "woken").expect(200);
    assert!(parked.answer(LIMIT).0.index() > index);

    assert!(client.delete("/v1/kv/a?recurse").expect(200).yes());
    same(server, client, "/v1/kv/?keys");
    refused(server, client, "/v1/kv/a?acquire=", "x");
    let unknown = "/v1/kv/a?acquire=40e4a748-2192-161a-0510-9bf59fe950b5";
    refused(server, client, unknown, "x");
}

fn catalog(server: &Agent, client: &Agent) {
    let register = json!({
        "Node": "outside", "Address": "10.0.0.9", "NodeMeta": { "rack": "r1" },
        "Service": { "ID": "web1", "Service": "web", "Tags": ["v1"], "Port": 80, "Address": "10.0.0.10" },
        "Check": { "CheckID": "c", "Name": "c", "Status": "passing", "ServiceID": "web1" },
    });
    client.put("/v1/catalog/register", register.to_string()).expect(200);
    let proxy = json!({
        "Kind": "connect-proxy", "ID": "proxy", "Service": "proxy", "Port": 1,
        "Proxy": { "DestinationServiceName": "web" },
    });
    let register =
        json!({ "Node": "outside", "Address": "10.0.0.9", "SkipNodeUpdate": true, "Service": proxy });
    client.put("/v1/catalog/register", register.to_string()).expect(200);
    for target in [
        "/v1/catalog/nodes",
        "/v1/catalog/nodes?node-meta=rack:r1",
        "/v1/catalog/nodes?near=server",
        "/v1/catalog/services",
        "/v1/catalog/services?node-meta=rack:r1",
        "/v1/catalog/service/web?tag=v1",
        "/v1/catalog/service/none",
        "/v1/catalog/connect/web",
        "/v1/catalog/node/outside",
        "/v1/catalog/node/none",
        "/v1/catalog/node-services/outside?filter=Port==9",
        "/v1/catalog/datacenters",
        "/v1/health/node/outside",
        "/v1/health/checks/web?node-meta=rack:r1",
        "/v1/health/state/passing",
        "/v1/health/service/web?passing",
        "/v1/health/service/web?filter=Service.Port==80",
        "/v1/health/connect/web",
        "/v1/coordinate/node/none",
        "/v1/status/leader",
        "/v1/status/peers",
    ] {
        same(server, client, target);
    }
    refused(server, client, "/v1/catalog/register", r#"{"Address": "10.0.0.9"}"#);
    let operations = json!([
        { "KV": { "Verb": "set", "Key": "t", "Value": "eA==" } },
        { "KV": { "Verb": "get", "Key": "t" } },
        { "Node": { "Verb": "get", "Node": { "Node": "outside" } } },
    ]);
    let done = client.put("/v1/txn", operations.to_string()).expect(200).json();
    assert_eq!(done["Results"][1]["KV"]["Value"], "eA==");
    assert_eq!(done["Results"][2]["Node"]["Address"], "10.0.0.9");
    let reads = json!([{ "KV": { "Verb": "get", "Key": "t" } }, { "KV": { "Verb": "get", "Key": "none" } }]);
    let failed = client.put("/v1/txn", reads.to_string()).expect(409).json();
    assert_eq!(failed["Errors"][0]["OpIndex"], 1);
}

fn sessions(server: &Agent, client: &Agent) {
    let asked = json!({ "TTL": "60s", "Behavior": "delete" }).to_string();
    let created = client.put("/v1/session/create", asked).expect(200).json();
    let id = created["ID"].as_str().expect("an id").to_owned();
    for target in
        ["/v1/session/list".to_owned(), format!("/v1/session/info/{id}"), "/v1/session/node/client".into()]
    {
        same(server, client, &target);
    }
    let renewed = client.put(&format!("/v1/session/renew/{id}"), "").expect(200).json();
    assert_eq!(renewed[0]["ID"], id.as_str());
    assert!(client.put(&format!("/v1/kv/lock?acquire={id}"), "held").expect(200).yes());
    assert_eq!(client.get("/v1/kv/lock").expect(200).json()[0]["Session"], id.as_str());
    assert!(client.put(&format!("/v1/session/destroy/{id}"), "").expect(200).yes());
    client.get("/v1/kv/lock").expect(404);
    let gone = client.put(&format!("/v1/session/renew/{id}"), "").expect(404);
    assert_eq!(gone.text(), format!("Session id '{id}' not found"));
    refused(server, client, "/v1/session/create", r#"{"Node": "none"}"#);
    refused(server, client, "/v1/session/renew/none", "");
}

/// What is registered with the client appears in the catalog, follows its check and goes again.
fn local_services(server: &Agent, client: &Agent) {
    let service = json!({ "Name": "api", "Port": 9000, "Check": { "TTL": "600s" } });
    client.put("/v1/agent/service/register", service.to_string()).expect(200);
    let status = || {
        let entries = server.get("/v1/health/service/api").json();
        let checks = entries[0]["Checks"].as_array().cloned().unwrap_or_default();
        let own = checks.into_iter().find(|check| check["CheckID"] == "service:api");
        own.map(|check| check["Status"].as_str().unwrap_or_default().to_owned())
    };
    until("a critical service", LIMIT, || status().as_deref() == Some("critical"));
    client.put("/v1/agent/check/pass/service:api", "").expect(200);
    until("a passing service", LIMIT, || status().as_deref() == Some("passing"));
    same(server, client, "/v1/catalog/node/client");

    // An alias of a node that is none of the agent's.
    let alias = json!({ "Name": "other", "AliasNode": "outside", "AliasService": "web1" });
    client.put("/v1/agent/check/register", alias.to_string()).expect(200);
    let alias = || client.get("/v1/agent/checks").json()["other"]["Status"].clone();
    until("a passing alias", LIMIT, || alias() == "passing");

    client.put("/v1/agent/check/deregister/other", "").expect(200);
    client.put("/v1/agent/service/deregister/api", "").expect(200);
    until("no service", LIMIT, || server.get("/v1/catalog/service/api").json() == json!([]));
}

fn names(client: &Agent) {
    let server = dns(client);
    let found =
        |name| addresses(&ask(server, name, A)).into_iter().map(|(ip, _)| ip.to_string()).collect::<Vec<_>>();
    assert_eq!(found("web.service.consul"), ["10.0.0.10"]);
    assert_eq!(found("v1.web.service.consul"), ["10.0.0.10"]);
    assert_eq!(found("outside.node.consul"), ["10.0.0.9"]);
    assert_eq!(found("client.node.dc1.consul"), [client.http().ip().to_string()]);
    assert_eq!(code(&ask(server, "none.service.consul", A)), ResponseCode::NXDomain);
    assert_eq!(code(&ask(server, "none.node.consul", A)), ResponseCode::NXDomain);
    let answer = ask(server, "_web._v1.service.consul", SRV);
    assert!(matches!(&answer.answers[0].data, RData::SRV(srv) if srv.port == 80), "{answer:?}");
    for (address, name) in
        [("9.0.0.10", "outside.node.dc1.consul."), ("10.0.0.10", "web.service.dc1.consul.")]
    {
        let answer = ask(server, &format!("{address}.in-addr.arpa"), PTR);
        assert!(
            matches!(&answer.answers[0].data, RData::PTR(ptr) if ptr.0.to_string() == name),
            "{answer:?}"
        );
    }
}

fn events(server: &Agent, client: &Agent) {
    let heard = |agent: &Agent, name: &str| {
        agent
            .get(&format!("/v1/event/list?name={name}"))
            .json()
            .as_array()
            .is_some_and(|list| list.len() == 1)
    };
    client.put("/v1/event/fire/up", "payload").expect(200);
    server.put("/v1/event/fire/down", "payload").expect(200);
    until("the event of the client", LIMIT, || heard(server, "up"));
    until("the event of the server", LIMIT, || heard(client, "down"));
}

fn itself(server: &Agent, client: &Agent) {
    assert_eq!(status(server, "client", false), ALIVE);
    assert_eq!(status(client, "server", false), ALIVE);
    let about = client.get("/v1/agent/self").expect(200).json();
    assert_eq!(about["Config"]["Server"], false);
    let figures = json!({ "acl": "disabled", "known_servers": "1", "server": "false" });
    assert_eq!(about["Stats"]["consul"], figures);
    assert_eq!((about["Stats"].get("raft"), about["Stats"].get("serf_wan")), (None, None));
    assert_eq!(client.get("/v1/agent/members?wan=1").expect(200).json(), Value::Null);
    let answer = client.put("/v1/agent/join/127.0.0.1?wan=1", "").expect(500);
    assert_eq!(answer.text(), "Must be a server to join WAN cluster");
    let answer = client.get("/v1/operator/keyring").expect(500);
    assert_eq!(answer.text(), "keyring operations must run against a server node");
}

fn operators(server: &Agent, client: &Agent) {
    same(server, client, "/v1/operator/raft/configuration");
    same(server, client, "/v1/operator/autopilot/configuration");
    // A server looks at its peers every other second, and knows nothing before.
    until("the health of the servers", LIMIT, || {
        client.get("/v1/operator/autopilot/health").json()["Servers"][0]["Name"] == "server"
    });
}

/// A snapshot taken and put back through a client.
fn snapshots(server: &Agent, client: &Agent) {
    client.put("/v1/kv/saved", "before").expect(200);
    let archive = client.get("/v1/snapshot").expect(200);
    assert!(archive.index() > 0);
    client.put("/v1/kv/saved", "after").expect(200);
    client.put("/v1/snapshot", &archive.body).expect(200);
    until("the key as it was", LIMIT, || server.get("/v1/kv/saved?raw").text() == "before");
    let wrong = client.put("/v1/snapshot", "no archive").expect(500);
    assert!(wrong.text().contains("gzip"), "{}", wrong.text());
}

/// Everything a user does, through a client.
fn serves(server: &Agent) {
    let mut client = client_of(server);
    itself(server, &client);
    keys(server, &client);
    catalog(server, &client);
    sessions(server, &client);
    local_services(server, &client);
    names(&client);
    events(server, &client);
    operators(server, &client);
    snapshots(server, &client);
    // Clients leave when they are told to end.
    client.signal(Signal::TERM);
    assert_eq!(client.wait_exit(LIMIT).code(), Some(0));
    until("the client to have left", LIMIT, || status(server, "client", false) == LEFT);
    until("its node to be gone", LIMIT, || server.get("/v1/catalog/node/client").json() == Value::Null);
}

/// Servers go and come again; what is the client's own goes on.
fn outlives(mut server: Agent) {
    let quick =
        json!({ "gossip_lan": { "probe_interval": "200ms", "probe_timeout": "100ms", "suspicion_mult": 1 } });
    let named = json!({ "node_name": "client", "retry_join": [lan(&server)] });
    let client = Setup::client().with(named).with(quick).start();
    client.put("/v1/kv/kept", "value").expect(200);
    server.kill();
    until("nobody to be asked", LIMIT, || {
        let answer = client.get("/v1/kv/kept");
        answer.status == 500 && answer.text() == "No known Consul servers"
    });
    assert_eq!(code(&ask(dns(&client), "web.service.consul", A)), ResponseCode::ServFail);
    client.put("/v1/agent/service/register", r#"{"Name": "late", "Port": 1}"#).expect(200);
    assert_eq!(client.get("/v1/agent/services").expect(200).json()["late"]["Port"], 1);
    client.put("/v1/kv/kept", "lost").expect(500);
    server.start_again();
    until("the late service", LIMIT, || {
        let answer = client.get("/v1/catalog/service/late");
        answer.status == 200 && answer.json()[0]["ServicePort"] == 1
    });
    assert_eq!(client.get("/v1/kv/kept?raw").expect(200).text(), "value");
}

#[test]
fn a_client_serves_what_its_server_does() {
    serves(&own_server());
}

#[test]
fn a_client_of_a_stock_server_serves_what_it_does() {
    if let Some(server) = stock_server() {
        serves(&server);
    }
}

#[test]
fn a_client_outlives_its_server() {
    outlives(own_server());
}

#[test]
fn a_client_outlives_a_stock_server() {
    if let Some(server) = stock_server() {
        outlives(server);
    }
}
