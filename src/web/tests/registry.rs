//! Registering with the agent over a real listener. What is registered is kept by a stand-in for the agent's
//! local state: no check runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::testing::{TestReply, TestServer};
use crate::definition::Status;
use crate::endpoints::EndpointError;
use crate::endpoints::agent::registration::{CheckRegistration, Registration, Rules, Source};
use crate::endpoints::agent::{Agent, AgentControl, AgentFacts, LocalAgent, LocalRegistry, LocalSnapshot};
use crate::endpoints::testing::LoneMember;
use crate::state::record::Check;

#[derive(Default)]
struct StandIn {
    local: ArcSwap<LocalSnapshot>,
    changes: watch::Sender<u64>,
}

impl StandIn {
    fn change(&self, change: impl FnOnce(&mut LocalSnapshot)) {
        let mut local = LocalSnapshot::clone(&self.local.load());
        change(&mut local);
        self.local.store(Arc::new(local));
        self.changes.send_modify(|count| *count += 1);
    }
}

impl LocalAgent for StandIn {
    fn local(&self) -> Arc<LocalSnapshot> {
        self.local.load_full()
    }

    fn set_node_maintenance(&self, _: Option<String>) {}

    fn set_service_maintenance(&self, service_id: &str, _: Option<String>) -> bool {
        self.local.load().services.contains_key(service_id)
    }
}

impl LocalRegistry for StandIn {
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn register_service(&self, new: Registration, _: Source) -> BoxFuture<'_, Result<(), EndpointError>> {
        self.change(|local| {
            for registered in new.services {
                let id = Arc::clone(&registered.service.id);
                if new.replace_existing_checks {
                    local.checks = local
                        .checks
                        .iter()
                        .filter(|(_, check)| *check.service_id != *id)
                        .map(|(id, check)| (id.clone(), check.clone()))
                        .collect();
                }
                local.services.insert(id, Arc::new(registered.service));
                for found in registered.checks {
                    local.checks.insert(Arc::clone(&found.check.check_id), Arc::new(found.check));
                }
            }
        });
        ready(Ok(())).boxed()
    }

    fn deregister_service(&self, id: &str) -> BoxFuture<'_, Result<(), EndpointError>> {
        if !self.local.load().services.contains_key(id) {
            return ready(Err(EndpointError::NotFound("unknown".into()))).boxed();
        }
        self.change(|local| drop(local.services.remove(id)));
        ready(Ok(())).boxed()
    }

    fn register_check(&self, new: CheckRegistration, _: Source) -> BoxFuture<'_, Result<(), EndpointError>> {
        self.change(|local| drop(local.checks.insert(Arc::clone(&new.check.check_id), Arc::new(new.check))));
        ready(Ok(())).boxed()
    }

    fn deregister_check(&self, id: &str) -> BoxFuture<'_, Result<(), EndpointError>> {
        self.change(|local| drop(local.checks.remove(id)));
        ready(Ok(())).boxed()
    }

    fn update_ttl(&self, id: &str, status: Status, output: String) -> Result<(), EndpointError> {
        let Some(check) = self.local.load().checks.get(id).cloned() else {
            return Err(EndpointError::Internal(format!("CheckID {id:?} does not have associated TTL")));
        };
        let check = Check { status: status.as_str().to_owned(), output, ..Check::clone(&check) };
        self.change(|local| drop(local.checks.insert(id.into(), Arc::new(check))));
        Ok(())
    }
}

impl AgentControl for StandIn {
    fn reload(&self) -> BoxFuture<'_, Result<(), EndpointError>> {
        ready(Ok(())).boxed()
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), EndpointError>> {
        ready(Ok(())).boxed()
    }
}

fn start() -> TestServer {
    let rules = Rules { sidecar_ports: (21_000, 21_255), ..Rules::default() };
    let facts = Arc::new(AgentFacts { node_name: "node1".into(), rules, ..AgentFacts::default() });
    let stand_in = Arc::new(StandIn::default());
    let agent = Agent {
        members: Arc::new(LoneMember::new(&facts)),
        facts,
        local: stand_in.clone(),
        control: stand_in,
    };
    TestServer::with_handles(|_, _| {}, |_, handles| handles.with(Arc::new(agent)))
}

fn put(server: &TestServer, target: &str, body: &str) -> (u16, String) {
    let reply = server.put(&format!("/v1/agent/{target}"), body);
    (reply.status, reply.text().to_owned())
}

fn fine() -> (u16, String) {
    (200, String::new())
}

#[test]
fn a_service_is_registered_shown_and_removed() {
    let server = start();
    let body = r#"{"ID":"w1","Name":"web","Port":80,"Kind":"connect-proxy","Tags":["<t>"],
        "Proxy":{"DestinationServiceName":"d","Config":{"a":1},"Upstreams":[{"DestinationName":"u","LocalBindPort":1}]},
        "Checks":[{"TTL":"5s"}]}"#;
    assert_eq!(put(&server, "service/register", body), fine());
    let shown = json!({"Kind": "connect-proxy", "ID": "w1", "Service": "web", "Tags": ["<t>"], "Meta": {}, "Port": 80,
        "Address": "", "Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": false,
        "Proxy": {"DestinationServiceName": "d", "Config": {"a": 1}, "MeshGateway": {}, "Expose": {},
            "Upstreams": [{"DestinationType": "service", "DestinationName": "u", "LocalBindPort": 1, "MeshGateway": {}}]}});
    assert_eq!(server.get("/v1/agent/services").json(), json!({"w1": shown}));
    assert_eq!(server.get("/v1/agent/services?filter=Service==other").json(), json!({}));
    let one = server.get("/v1/agent/service/w1");
    let hash = one.header("X-Consul-Contenthash").unwrap().to_owned();
    assert_eq!(one.json()["ContentHash"], json!(hash));
    assert_eq!(server.get("/v1/agent/checks").json()["service:w1"]["ServiceTags"], json!(["<t>"]));

    assert_eq!(
        put(&server, "service/register?replace-existing-checks", r#"{"ID":"w1","Name":"web"}"#),
        fine()
    );
    assert_eq!(server.get("/v1/agent/checks").json(), json!({}));
    for _ in 0..2 {
        assert_eq!(put(&server, "service/deregister/w1", ""), fine());
    }
    assert_eq!(server.get("/v1/agent/services").json(), json!({}));
}

#[test]
fn what_is_wrong_is_said_in_consuls_order() {
    let server = start();
    let namespace =
        "Bad request: Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature";
    let table = [
        ("service/register?ns=x", "{", 400, namespace),
        ("service/register", "", 400, "Request decode failed: EOF"),
        ("service/register", "{", 400, "Request decode failed: unexpected EOF"),
        ("service/register", "null", 400, "Missing service name"),
        ("service/register", r#"{"Bogus":1}"#, 400, "Request decode failed: json: unknown field \"Bogus\""),
        ("service/deregister/", "", 500, "ServiceID missing"),
        ("service/deregister/?ns=x", "", 400, namespace),
        ("service/maintenance/?ns=x", "", 400, "Missing service ID"),
        ("service/maintenance/w?ns=x", "", 400, "Missing value for enable"),
        ("service/maintenance/w?ns=x&enable=", "", 400, "Invalid value for enable: \"\""),
        ("service/maintenance/w?ns=x&enable=true", "", 400, namespace),
        ("check/register?ns=x", "", 400, namespace),
        ("check/register", "", 400, "Request decode failed: EOF"),
        ("check/register", "{}", 400, "Missing check name"),
        ("check/deregister/", "", 500, "CheckID missing"),
        ("check/pass/none", "", 500, "CheckID \"none\" does not have associated TTL"),
        ("check/fail/?ns=x", "", 400, namespace),
        ("check/update/x?ns=x", "", 400, "Request decode failed: EOF"),
        ("check/update/x?ns=x", r#"{"Status":"purple"}"#, 400, "Invalid check status: 'purple'"),
        ("check/update/x?ns=x", r#"{"Status":"passing"}"#, 400, namespace),
    ];
    for (target, body, status, text) in table {
        assert_eq!(put(&server, target, body), (status, text.to_owned()), "{target} {body}");
    }
    let table = [
        (
            "services?filter=Bogus==x",
            500,
            "Failed to create boolean expression evaluator: Selector \"Bogus\" is not valid",
        ),
        ("checks?filter=Bogus==x", 500, "Selector \"Bogus\" is not valid"),
        ("service/x?wait=soon&index=x", 400, "Invalid wait time"),
        ("service/x?index=x&ns=x", 400, "Invalid index"),
        ("service/x?ns=x", 400, namespace),
        ("service/x?hash=1", 404, "unknown service ID: x"),
        ("health/service/id/?ns=x", 500, "Bad request: Missing serviceID"),
        ("health/service/name/", 500, "Bad request: Missing service Name"),
        ("health/service/name/x?ns=x", 400, namespace),
    ];
    for (target, status, text) in table {
        let reply = server.get(&format!("/v1/agent/{target}"));
        assert_eq!((reply.status, reply.text()), (status, text), "{target}");
    }
}

#[test]
fn ttl_checks_take_news() {
    let server = start();
    assert_eq!(put(&server, "check/register", r#"{"ID":"a/b","Name":"c","TTL":"1h","Notes":"n"}"#), fine());
    let table = [
        ("check/pass/a/b?note=all+good", "", "passing", "all good"),
        ("check/warn/a/b", "", "warning", ""),
        ("check/fail/a/b?note=oom", "", "critical", "oom"),
        ("check/update/a/b?note=x", r#"{"Status":"passing","Output":"two\nlines"}"#, "passing", "two\nlines"),
    ];
    for (target, body, status, output) in table {
        assert_eq!(put(&server, target, body), fine(), "{target}");
        let check = server.get("/v1/agent/checks").json()["a/b"].take();
        assert_eq!((&check["Status"], &check["Output"]), (&json!(status), &json!(output)), "{target}");
        assert_eq!((&check["Notes"], &check["Type"]), (&json!("n"), &json!("ttl")));
    }
    assert_eq!(server.get("/v1/agent/checks?filter=Status==critical").json(), json!({}));
    assert_eq!(put(&server, "check/deregister/a/b", ""), fine());
    assert_eq!(server.get("/v1/agent/checks").json(), json!({}));
}

fn health(reply: &TestReply) -> (u16, &str, Value) {
    (reply.status, reply.header("X-Consul-Reason").unwrap(), reply.json())
}

#[test]
fn the_health_of_a_service_has_a_code() {
    let server = start();
    for (id, status) in [("w1", "passing"), ("w2", "warning")] {
        let body = format!(
            r#"{{"ID":"{id}","Name":"web","Tags":["t"],"Check":{{"TTL":"1h","Status":"{status}"}}}}"#
        );
        assert_eq!(put(&server, "service/register", &body), fine());
    }
    let get = |target: &str| server.get(&format!("/v1/agent/health/service/{target}"));
    let (status, reason, body) = {
        let reply = get("id/w1");
        let (status, reason, body) = health(&reply);
        (status, reason.to_owned(), body)
    };
    assert_eq!((status, &*reason, &body["AggregatedStatus"]), (200, "passing", &json!("passing")));
    assert_eq!(body["Service"]["ID"], "w1");
    assert_eq!(
        body["Checks"][0],
        json!({"Node": "", "CheckID": "service:w1", "Name": "Service 'web' check", "Status": "passing", "Notes": "",
            "Output": "", "ServiceID": "w1", "ServiceName": "web", "ServiceTags": ["t"], "Type": "",
            "Definition": {"Interval": "0s", "Timeout": "0s", "DeregisterCriticalServiceAfter": "0s", "HTTP": "",
                "Header": null, "Method": "", "Body": "", "TLSSkipVerify": false, "TCP": ""},
            "CreateIndex": 0, "ModifyIndex": 0})
    );
    let reply = get("name/web");
    let (status, reason, body) = health(&reply);
    assert_eq!((status, reason, body.as_array().unwrap().len()), (429, "warning", 2));
    assert_eq!(put(&server, "check/fail/service:w2", ""), fine());
    let table = [
        ("id/w1?format=text", 200, "text/plain", "passing"),
        ("id/w2?format=text", 503, "text/plain", "critical"),
        ("name/web?format=text", 503, "text/plain", "critical"),
        ("id/none?format=text", 404, "application/json", "\"ServiceId none not found\""),
        (
            "id/none",
            404,
            "application/json",
            r#"{"AggregatedStatus":"critical","Service":null,"Checks":null}"#,
        ),
        ("name/none?format=text", 404, "text/plain", "ServiceName none Not Found"),
        ("name/none", 404, "application/json", "[]"),
    ];
    for (target, status, kind, text) in table {
        let reply = get(target);
        assert_eq!((reply.status, reply.text()), (status, text), "{target}");
        assert_eq!(reply.header("Content-Type"), Some(kind), "{target}");
        assert!(reply.header("X-Consul-Reason").is_some(), "{target}");
    }
    let plain = server.send("GET", "/v1/agent/health/service/id/w1", &["Accept: text/plain, */*"], b"");
    assert_eq!(plain.text(), "passing");
}

#[test]
fn a_service_is_waited_for_by_its_hash() {
    let mut server = start();
    let register = |server: &TestServer, port: u16| {
        assert_eq!(put(server, "service/register", &format!(r#"{{"Name":"web","Port":{port}}}"#)), fine());
    };
    register(&server, 1);
    let hash = server.get("/v1/agent/service/web").json()["ContentHash"].as_str().unwrap().to_owned();
    let target = format!("/v1/agent/service/web?hash={hash}");
    assert_eq!(server.get("/v1/agent/service/web?hash=other&wait=10m").json()["ContentHash"], json!(hash));
    assert_eq!(server.get(&format!("{target}&wait=10ms")).json()["ContentHash"], json!(hash), "time is up");

    let waiting = server.in_background(&format!("{target}&wait=10m"));
    server.await_parked(1);
    assert_eq!(put(&server, "service/register", r#"{"Name":"another"}"#), fine());
    register(&server, 1);
    register(&server, 2);
    assert_eq!(waiting.join().unwrap().json()["Port"], 2);

    register(&server, 1);
    server.await_parked(0);
    let waiting = server.in_background(&format!("{target}&wait=10m"));
    server.await_parked(1);
    assert_eq!(put(&server, "service/deregister/web", ""), fine());
    assert_eq!(waiting.join().unwrap().status, 404);

    register(&server, 1);
    server.await_parked(0);
    let waiting = server.in_background(&format!("{target}&wait=10m"));
    server.await_parked(1);
    server.stop();
    assert_eq!(waiting.join().unwrap().json()["Port"], 1, "a shutdown ends the wait");
}
