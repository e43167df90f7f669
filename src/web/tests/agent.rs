//! The agent, event, operator, snapshot and UI families over a real listener.

use std::fs::File;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;

use super::super::event::EventHandles;
use super::super::testing::TestServer;
use crate::actors::local_state::LocalState;
use crate::endpoints::EndpointError;
use crate::endpoints::agent::{Agent, AgentControl, AgentFacts, AgentPorts, LocalAgent};
use crate::endpoints::event::Events;
use crate::endpoints::operator::{
    Admin, AdminAnswer, AdminRequest, ClusterHealth, Operator, RaftInfo, RaftStatus, ServerHealth,
    SnapshotRestore,
};
use crate::endpoints::testing::{LoneBus, LoneMember};
use crate::state::archive::{ArchiveReader, ArchiveRecord};

/// Counts how often it was told what, and keeps restored records.
#[derive(Default)]
struct Switches {
    reloads: Mutex<u32>,
    leaves: Mutex<u32>,
    restored: Mutex<Vec<ArchiveRecord>>,
    asked: Mutex<Vec<AdminRequest>>,
}

impl AgentControl for Switches {
    fn reload(&self) -> BoxFuture<'_, Result<(), EndpointError>> {
        *self.reloads.lock() += 1;
        futures::future::ready(Ok(())).boxed()
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), EndpointError>> {
        *self.leaves.lock() += 1;
        futures::future::ready(Ok(())).boxed()
    }
}

impl RaftInfo for Switches {
    fn raft_status(&self) -> RaftStatus {
        RaftStatus { state: "Leader", term: 7, last_log_index: 12, ..RaftStatus::default() }
    }
}

impl SnapshotRestore for Switches {
    fn restore(&self, mut archive: ArchiveReader<File>) -> BoxFuture<'_, Result<(), EndpointError>> {
        let done = archive.for_each(|record| {
            self.restored.lock().push(record);
            Ok::<(), EndpointError>(())
        });
        futures::future::ready(done).boxed()
    }
}

/// A leader with one healthy follower or, once somebody asked for a transfer, with one that is gone.
impl Admin for Switches {
    fn ask(&self, request: AdminRequest) -> BoxFuture<'_, Result<AdminAnswer, EndpointError>> {
        let mut asked = self.asked.lock();
        let answer = match &request {
            AdminRequest::RemovePeer(name) if !name.names("known", "127.0.0.1:8300") => Err(name.unknown()),
            AdminRequest::ServerHealth => {
                let healthy = asked.is_empty();
                let (last_contact_ns, last_index) = if healthy { (24_030_111, 12) } else { (-1, 0) };
                let stable_since_ms = if healthy { 1_795_289_110_999 } else { 0 };
                let server = ServerHealth {
                    last_contact_ns,
                    last_index,
                    healthy,
                    stable_since_ms,
                    ..ServerHealth::default()
                };
                Ok(AdminAnswer::Health(ClusterHealth {
                    healthy,
                    failure_tolerance: 0,
                    servers: vec![server],
                }))
            }
            _ => Ok(AdminAnswer::Done),
        };
        if answer == Ok(AdminAnswer::Done) {
            asked.push(request);
        }
        futures::future::ready(answer).boxed()
    }
}

fn start(ui: bool) -> (TestServer, Arc<Switches>) {
    let switches = Arc::new(Switches::default());
    let facts = Arc::new(AgentFacts {
        datacenter: "dc1".into(),
        node_name: "node1".into(),
        node_id: "11111111-2222-3333-4444-555555555555".into(),
        server: true,
        version: "9.9.9".into(),
        advertise_lan: "127.0.0.1".into(),
        advertise_wan: "127.0.0.1".into(),
        ports: AgentPorts { serf_lan: 8301, serf_wan: 8302, server: 8300, ..AgentPorts::default() },
        debug_config: serde_json::Map::from_iter([("Some".to_owned(), json!({"Thing": 1}))]),
        ..AgentFacts::default()
    });
    let local = Arc::new(LocalState::new(&facts, crate::actors::local_state::LocalSettings::default(), None));
    let events = Arc::new(Events::new("node1", Arc::clone(&local) as Arc<dyn LocalAgent>));
    let agent = Agent { members: Arc::new(LoneMember::new(&facts)), facts, local, control: switches.clone() };
    let operator = Operator { raft: switches.clone(), restore: switches.clone(), admin: switches.clone() };
    let server = TestServer::with_handles(
        |settings, _| settings.ui = ui,
        |_, handles| {
            let bus = Arc::new(LoneBus::new(&events));
            handles
                .with(Arc::new(agent))
                .with(Arc::new(operator))
                .with(Arc::new(EventHandles { events, bus }))
        },
    );
    (server, switches)
}

#[test]
fn the_agent_tells_what_it_is() {
    let (server, _) = start(false);
    let own = server.get("/v1/agent/self").json();
    assert_eq!(own["Config"]["NodeName"], "node1");
    assert_eq!(own["Config"]["Server"], true);
    assert_eq!(own["DebugConfig"], json!({"Some": {"Thing": 1}}));
    assert_eq!(own["Coord"]["Vec"].as_array().unwrap().len(), 8);
    assert_eq!(own["Member"]["Tags"]["role"], "consul");
    assert_eq!(own["Stats"]["consul"]["leader"], "true");
    assert_eq!(own["Stats"]["raft"]["term"], "7");
    assert_eq!(own["Stats"]["agent"]["checks"], "0");
    assert_eq!(own["Meta"], json!({"consul-network-segment": ""}));

    let table = [
        ("lan", "/v1/agent/members", "node1", 8301),
        ("wan", "/v1/agent/members?wan=1", "node1.dc1", 8302),
        ("wan without a value", "/v1/agent/members?wan", "node1", 8301),
        ("all segments", "/v1/agent/members?segment=_all", "node1", 8301),
    ];
    for (case, target, name, port) in table {
        let found = server.get(target).json();
        assert_eq!((&found[0]["Name"], &found[0]["Port"]), (&json!(name), &json!(port)), "{case}");
    }
    let segment = server.get("/v1/agent/members?segment=x");
    assert_eq!(segment.status, 500);
    assert_eq!(segment.text(), "Network segments are not supported in this version of Consul");

    assert_eq!(server.get("/v1/agent/metrics").json()["Points"], json!([]));
    assert_eq!(server.get("/v1/agent/metrics?format=prometheus").status, 415);
    assert!(server.get("/v1/agent/host").json()["CollectionTime"].is_u64());
}

#[test]
fn maintenance_shows_in_the_agents_checks() {
    let (server, _) = start(false);
    let table = [
        ("no value", "/v1/agent/maintenance", 400, "Missing value for enable"),
        (
            "an odd value",
            "/v1/agent/maintenance?enable=perhaps",
            400,
            "Invalid value for enable: \"perhaps\"",
        ),
        ("no service", "/v1/agent/service/maintenance/?enable=true", 400, "Missing service ID"),
        (
            "an unknown service",
            "/v1/agent/service/maintenance/w?enable=1",
            404,
            "No service registered with ID \"w\"",
        ),
        ("on", "/v1/agent/maintenance?enable=true&reason=up%20grade", 200, ""),
    ];
    for (case, target, status, text) in table {
        let reply = server.put(target, "");
        assert_eq!((reply.status, reply.text()), (status, text), "{case}");
    }
    let wanted = json!({"_node_maintenance": {
        "Node": "node1", "CheckID": "_node_maintenance", "Name": "Node Maintenance Mode", "Status": "critical",
        "Notes": "up grade", "Output": "", "ServiceID": "", "ServiceName": "", "ServiceTags": [],
        "Type": "maintenance", "Definition": {}, "CreateIndex": 0, "ModifyIndex": 0}});
    assert_eq!(server.get("/v1/agent/checks").json(), wanted);
    assert_eq!(server.get("/v1/agent/checks?filter=Status==passing").json(), json!({}));
    assert_eq!(server.get("/v1/agent/checks?filter=a").status, 500);
    server.put("/v1/agent/maintenance?enable=0", "");
    assert_eq!(server.get("/v1/agent/checks").json(), json!({}));
    assert_eq!(server.get("/v1/agent/services").json(), json!({}));
    assert_eq!(server.get("/v1/agent/service/x").text(), "unknown service ID: x");
}

#[test]
fn switches_and_what_is_not_built() {
    let (server, switches) = start(false);
    assert_eq!(server.put("/v1/agent/reload", "").status, 200);
    assert_eq!(server.put("/v1/agent/leave", "").status, 200);
    assert_eq!((*switches.reloads.lock(), *switches.leaves.lock()), (1, 1));
    assert_eq!(server.get("/v1/agent/reload").header("Allow"), Some("OPTIONS,PUT"));
    let nobody = server.put("/v1/agent/force-leave/nobody", "");
    assert_eq!((nobody.status, nobody.text()), (500, "agent: No node found with name 'nobody'"));
    let reply = server.put("/v1/agent/join/1.2.3.4", "{}");
    assert_eq!((reply.status, reply.text()), (500, "Failed to join 1.2.3.4"));
    assert_eq!(server.get("/v1/agent/service/register").status, 405);
}

#[test]
fn events_are_listed_and_waited_for() {
    let (server, _) = start(false);
    assert_eq!(server.put("/v1/event/fire/", "").text(), "Missing name");
    assert_eq!(server.put("/v1/event/fire/x?dc=mars", "").text(), "No path to datacenter");
    let empty = server.get("/v1/event/list");
    assert_eq!((empty.index(), empty.json()), (1, json!([])));

    let fired = server.put("/v1/event/fire/deploy/it?node=%5Enode", "v1").json();
    assert_eq!(
        (&fired["Name"], &fired["Payload"], &fired["LTime"]),
        (&json!("deploy/it"), &json!("djE="), &json!(0))
    );
    let listed = server.get("/v1/event/list");
    assert_eq!(listed.json()[0]["ID"], fired["ID"]);
    assert_eq!(listed.json()[0]["LTime"], 1);
    assert!(listed.index() > 1);
    assert_eq!(listed.header("X-Consul-Knownleader"), None);

    let started = std::time::Instant::now();
    let waiting = server.in_background(&format!("/v1/event/list?index={}&wait=60s", listed.index()));
    server.await_parked(1);
    server.put("/v1/event/fire/second", "");
    let after = waiting.join().unwrap().json();
    assert!(started.elapsed().as_secs() < 30);
    assert_eq!(after.as_array().unwrap().len(), 2);
    assert_eq!(after[1]["Payload"], json!(null));
    assert_eq!(server.get("/v1/event/list?name=second").json().as_array().unwrap().len(), 1);
    // An index nobody had answers at once.
    assert_eq!(server.get("/v1/event/list?index=5&wait=60s").status, 200);
    let large = server.put("/v1/event/fire/big", &"x".repeat(1000));
    assert_eq!(large.status, 500);
    assert!(large.text().contains("before encoding"), "{}", large.text());
}

#[test]
fn a_shutdown_releases_those_who_wait_for_events() {
    let (mut server, _) = start(false);
    let waiting = server.in_background("/v1/event/list?index=1&wait=600s");
    server.await_parked(1);
    server.stop();
    assert_eq!(waiting.join().unwrap().json(), json!([]));
}

#[test]
fn operators_questions() {
    let (server, switches) = start(false);
    let configuration = server.get("/v1/operator/raft/configuration").json();
    assert_eq!(configuration["Index"], 0);
    assert_eq!(configuration["Servers"][0]["Leader"], true);
    assert_eq!(server.get("/v1/operator/raft/configuration?dc=mars").status, 500);
    let table = [
        (
            "none",
            "",
            400,
            "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
        ),
        ("both", "?id=x&address=y", 400, "Bad request: Must specify only one of ?id or ?address"),
        (
            "unknown",
            "?address=1.2.3.4:1",
            500,
            "address \"1.2.3.4:1\" was not found in the Raft configuration",
        ),
    ];
    for (case, query, status, text) in table {
        let reply = server.delete(&format!("/v1/operator/raft/peer{query}"));
        assert_eq!((reply.status, reply.text()), (status, text), "{case}");
    }
    let health = server.get("/v1/operator/autopilot/health");
    assert_eq!(health.status, 200);
    let one = &health.json()["Servers"][0];
    assert_eq!((&one["LastIndex"], &one["LastContact"]), (&json!(12), &json!("24.030111ms")));
    assert_eq!(one["StableSince"], "2026-11-21T19:25:10Z");

    assert_eq!(server.delete("/v1/operator/raft/peer?id=known").status, 200);
    let transferred = server.send("POST", "/v1/operator/raft/transfer-leader?id=x", &[], b"");
    assert_eq!(transferred.json(), json!({"Success": true}));
    let last = switches.asked.lock().last().cloned();
    assert_eq!(last, Some(AdminRequest::TransferLeader(Some("x".into()))));

    let health = server.get("/v1/operator/autopilot/health");
    assert_eq!(health.status, 429, "somebody is missing");
    let one = &health.json()["Servers"][0];
    assert_eq!((&one["LastContact"], &one["StableSince"]), (&json!("-1ns"), &json!("0001-01-01T00:00:00Z")));
}

#[test]
fn autopilots_configuration() {
    let (server, _) = start(false);
    let path = "/v1/operator/autopilot/configuration";
    assert_eq!(server.get(path).status, 500, "no leader has written one");
    let body = r#"{"CleanupDeadServers":true,"LastContactThreshold":"500ms","MaxTrailingLogs":300}"#;
    assert_eq!(server.put(&format!("{path}?cas=0"), body).text(), "true");
    let first = server.get(path).json();
    assert_eq!((&first["LastContactThreshold"], &first["MinQuorum"]), (&json!("500ms"), &json!(0)));
    assert_eq!(first["ServerStabilizationTime"], "0s");
    let index = first["ModifyIndex"].as_u64().unwrap();
    assert_eq!(server.put(&format!("{path}?cas={}", index + 1), body).text(), "false");
    assert_eq!(server.put(&format!("{path}?cas={index}"), "{}").text(), "true");
    assert_eq!(server.put(path, body).text(), "true");
    let last = server.get(path).json();
    assert_eq!(last["CreateIndex"], first["CreateIndex"]);
    assert!(last["ModifyIndex"].as_u64() > Some(index + 1));
    let table = [
        (path.to_owned(), "{\"CleanupDeadServers\":", "Bad request: Error parsing autopilot config: "),
        (
            path.to_owned(),
            r#"{"LastContactThreshold":"soon"}"#,
            "Bad request: Error parsing autopilot config: ",
        ),
        (path.to_owned(), r#"{"max_trailing_logs":17}"#, "Bad request: Error parsing autopilot config: "),
        (
            format!("{path}?cas=abc"),
            "{}",
            "Bad request: Error parsing cas value: strconv.ParseUint: parsing \"abc\": invalid syntax",
        ),
    ];
    for (target, body, text) in table {
        let reply = server.put(&target, body);
        assert_eq!(reply.status, 400, "{body}");
        assert!(reply.text().starts_with(text), "{}", reply.text());
    }
}

#[test]
fn a_snapshot_goes_out_and_comes_in() {
    let (server, switches) = start(false);
    // More than the pieces in flight hold, so that it is really streamed.
    let value = (0..400_000_u32).map(|n| char::from(b'!' + (n.wrapping_mul(2_654_435_761) >> 25) as u8 % 90));
    server.put("/v1/kv/large", &value.collect::<String>());
    for number in 0..20 {
        server.put(&format!("/v1/kv/small/{number}"), "v");
    }
    let saved = server.get("/v1/snapshot");
    assert_eq!(saved.header("Content-Type"), Some("application/x-gzip"));
    assert_eq!(saved.header("X-Consul-Knownleader"), Some("true"));
    assert_eq!(saved.index(), server.state.view().index);

    let restored = server.send("PUT", "/v1/snapshot", &[], &saved.body);
    assert_eq!((restored.status, restored.text()), (200, ""));
    let keys =
        switches.restored.lock().iter().filter(|record| matches!(record, ArchiveRecord::Kv(_))).count();
    assert_eq!(keys, 21);

    let mut damaged = saved.body.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    let refused = server.send("PUT", "/v1/snapshot", &[], &damaged);
    assert_eq!(refused.status, 500);
    assert!(refused.text().starts_with("failed to "), "{}", refused.text());
    let table = [
        ("no archive", "PUT", "/v1/snapshot", 500, "failed to decompress snapshot: gzip: invalid header"),
        ("elsewhere", "GET", "/v1/snapshot?dc=mars", 500, "No path to datacenter"),
        ("another method", "POST", "/v1/snapshot", 405, "method POST not allowed"),
        ("stale", "PUT", "/v1/snapshot?stale", 500, "stale not allowed for restore"),
    ];
    for (case, method, target, status, text) in table {
        let reply = server.send(method, target, &[], b"no archive");
        assert_eq!((reply.status, reply.text()), (status, text), "{case}");
    }
    assert_eq!(server.get("/v1/snapshot?stale&consistent").status, 200);
}

#[test]
fn the_page_is_there_only_if_wanted() {
    let (server, _) = start(true);
    for target in ["/ui/", "/ui/dc1/services"] {
        let page = server.get(target);
        assert_eq!(page.header("Content-Type"), Some("text/html; charset=utf-8"), "{target}");
        assert!(page.text().starts_with("<!doctype html>"), "{target}");
        assert_eq!(page.header("Vary"), None, "{target}");
    }
    assert_eq!(server.get("/ui").header("Location"), Some("/ui/"));
    assert_eq!(server.get("/").header("Location"), Some("/ui/"));
    assert!(server.get("/robots.txt").text().contains("User-agent"));
    let (server, _) = start(false);
    assert_eq!(server.get("/").text(), "Consul Agent");
    for target in ["/ui/", "/robots.txt"] {
        let reply = server.get(target);
        assert_eq!((reply.status, reply.text()), (404, ""), "{target}");
    }
}
