//! Blocking queries are woken exactly: by what their answer depends on and by nothing else. A test
//! per endpoint says which writes are related to it and which are not.
//!
//! How a test knows that a query was *not* woken: changes wake in the order of their indexes. A
//! second query, parked on a key that is written after the unrelated write, has been answered; the
//! first one has not; and when the related write wakes it in the end, its answer shows that write.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Agent, Answer, Parked, fixture, until};

/// Longer than any test: a query that comes back by itself would be seen as not woken.
const WAIT: Duration = Duration::from_secs(120);
const LIMIT: Duration = Duration::from_secs(15);

/// A write.
type Write<'a> = &'a dyn Fn(&Agent);

/// Parks `target`, does every unrelated write and sees it stay parked, does the related one and
/// gives the answer.
#[track_caller]
fn exact(agent: &Agent, target: &str, unrelated: &[(&str, Write<'_>)], related: Write<'_>) -> Answer {
    let before = agent.get(target);
    let index = before.index();
    let mut query = Parked::start(agent, target, index, WAIT);
    assert!(query.waits(), "{target} did not park at its own index {index}");
    for (number, (name, write)) in unrelated.iter().enumerate() {
        let sentinel = format!("sentinel/{number}");
        fixture::key(agent, &sentinel, "before");
        let sentinel_index = agent.get(&format!("/v1/kv/{sentinel}")).index();
        let watcher = Parked::start(agent, &format!("/v1/kv/{sentinel}"), sentinel_index, WAIT);
        write(agent);
        fixture::key(agent, &sentinel, "after");
        watcher.answer(LIMIT);
        agent.settle();
        assert!(query.waits(), "{target} was woken by an unrelated write: {name}");
    }
    related(agent);
    let (answer, _) = query.answer(LIMIT);
    assert!(answer.index() > index, "{target}: {} after {index}", answer.index());
    assert_ne!(answer.body, before.body, "{target} was answered before the related write");
    answer
}

fn put_key(key: &'static str) -> impl Fn(&Agent) {
    move |agent| fixture::key(agent, key, "written")
}

fn new_session(agent: &Agent) {
    fixture::session(agent, &json!({ "LockDelay": "0s" }));
}

fn other_node(agent: &Agent) {
    fixture::node(agent, "other");
}

fn other_service(agent: &Agent) {
    fixture::service(agent, "other", "db");
}

fn other_check(agent: &Agent) {
    fixture::check(agent, "other", "disk", "db", "warning");
}

/// Two nodes with a service and a check each.
fn populated() -> Agent {
    let agent = Agent::dev();
    for (node, service, check) in [("ext", "web", "alive"), ("other", "db", "disk")] {
        fixture::service(&agent, node, service);
        fixture::check(&agent, node, check, service, "passing");
    }
    agent
}

#[test]
fn kv_get() {
    let agent = populated();
    fixture::key(&agent, "watched", "1");
    let unrelated: [(&str, Write<'_>); 6] = [
        ("another key", &put_key("unwatched")),
        ("a key below", &put_key("watched/below")),
        ("a shorter key", &put_key("watche")),
        ("deleting another tree", &|agent| assert!(agent.delete("/v1/kv/watched/?recurse").yes())),
        ("a session", &new_session),
        ("a node", &|agent| fixture::node(agent, "new")),
    ];
    let answer = exact(&agent, "/v1/kv/watched", &unrelated, &put_key("watched"));
    assert_eq!(answer.json()[0]["ModifyIndex"], answer.index());
    exact(&agent, "/v1/kv/watched", &[], &|agent| assert!(agent.delete("/v1/kv/watched").yes())).expect(404);
    exact(&agent, "/v1/kv/watched", &[], &put_key("watched")).expect(200);
    exact(&agent, "/v1/kv/watched", &[], &|agent| assert!(agent.delete("/v1/kv/wat?recurse").yes()))
        .expect(404);
}

#[test]
fn kv_get_by_lock() {
    let agent = Agent::dev();
    fixture::key(&agent, "watched", "1");
    let [mine, other] = [0, 1].map(|_| fixture::session(&agent, &json!({ "LockDelay": "0s" })));
    let unrelated: [(&str, Write<'_>); 2] = [
        ("a lock elsewhere", &|agent| assert!(agent.put(&format!("/v1/kv/b?acquire={other}"), "").yes())),
        ("the end of another session", &|agent| {
            assert!(agent.put(&format!("/v1/session/destroy/{other}"), "").yes());
        }),
    ];
    let answer = exact(&agent, "/v1/kv/watched", &unrelated, &|agent| {
        assert!(agent.put(&format!("/v1/kv/watched?acquire={mine}"), "").yes());
    });
    assert_eq!(answer.json()[0]["Session"], json!(mine));
    let answer = exact(&agent, "/v1/kv/watched", &[], &|agent| {
        assert!(agent.put(&format!("/v1/session/destroy/{mine}"), "").yes());
    });
    assert!(answer.json()[0].get("Session").is_none());
}

#[test]
fn kv_list() {
    let agent = populated();
    fixture::key(&agent, "dir/a", "1");
    let unrelated: [(&str, Write<'_>); 4] = [
        ("a key beside the prefix", &put_key("dirs")),
        ("the prefix without its slash", &put_key("dir")),
        ("a session", &new_session),
        ("a check", &other_check),
    ];
    exact(&agent, "/v1/kv/dir/?recurse", &unrelated, &put_key("dir/b/c"));
    exact(&agent, "/v1/kv/dir/?recurse", &[], &|agent| assert!(agent.delete("/v1/kv/dir/a").yes()));
    exact(&agent, "/v1/kv/dir/?recurse", &[], &|agent| assert!(agent.delete("/v1/kv/dir?recurse").yes()));
}

#[test]
fn kv_keys() {
    let agent = populated();
    fixture::key(&agent, "dir/a", "1");
    let unrelated: [(&str, Write<'_>); 3] = [
        ("a key beside the prefix", &put_key("di")),
        ("a session", &new_session),
        ("a service", &other_service),
    ];
    exact(&agent, "/v1/kv/dir/?keys", &unrelated, &put_key("dir/b"));
    exact(&agent, "/v1/kv/dir/?keys&separator=/", &[], &put_key("dir/sub/c"));
}

#[test]
fn catalog_nodes() {
    let agent = populated();
    let unrelated: [(&str, Write<'_>); 4] = [
        ("a key", &put_key("k")),
        ("a session", &new_session),
        ("a service on a known node", &|agent| fixture::service(agent, "other", "cache")),
        ("a check", &other_check),
    ];
    let answer = exact(&agent, "/v1/catalog/nodes", &unrelated, &|agent| fixture::node(agent, "new"));
    assert!(answer.text().contains("\"new\""));
    exact(&agent, "/v1/catalog/nodes", &[], &|agent| fixture::deregister(agent, &json!({ "Node": "new" })));
}

#[test]
fn catalog_node() {
    let agent = populated();
    let unrelated: [(&str, Write<'_>); 5] = [
        ("a key", &put_key("k")),
        ("a session", &new_session),
        ("another node", &|agent| fixture::node(agent, "new")),
        ("a service of another node", &|agent| fixture::service(agent, "other", "cache")),
        ("a check of another node", &other_check),
    ];
    exact(&agent, "/v1/catalog/node/ext", &unrelated, &|agent| fixture::service(agent, "ext", "api"));
    exact(&agent, "/v1/catalog/node/ext", &[], &|agent| {
        fixture::deregister(agent, &json!({ "Node": "ext", "ServiceID": "api" }));
    });
}

#[test]
fn catalog_services() {
    let agent = populated();
    let unrelated: [(&str, Write<'_>); 4] = [
        ("a key", &put_key("k")),
        ("a session", &new_session),
        ("a node", &|agent| fixture::node(agent, "new")),
        ("a check", &other_check),
    ];
    let answer =
        exact(&agent, "/v1/catalog/services", &unrelated, &|agent| fixture::service(agent, "ext", "api"));
    assert!(answer.text().contains("\"api\""));
}

#[test]
fn catalog_service() {
    let agent = populated();
    let unrelated: [(&str, Write<'_>); 6] = [
        ("a key", &put_key("k")),
        ("a session", &new_session),
        ("another node", &|agent| fixture::node(agent, "new")),
        ("another service", &|agent| fixture::service(agent, "other", "cache")),
        ("another service's instance", &|agent| fixture::service(agent, "new", "db")),
        ("another service's check", &other_check),
    ];
    exact(&agent, "/v1/catalog/service/web", &unrelated, &|agent| fixture::service(agent, "other", "web"));
    exact(&agent, "/v1/catalog/service/web", &[], &|agent| {
        fixture::deregister(agent, &json!({ "Node": "other", "ServiceID": "web" }));
    });
    exact(&agent, "/v1/catalog/service/web", &[], &|agent| {
        fixture::register(agent, &json!({ "Node": "ext", "Address": "10.9.9.9" }));
    });
}

#[test]
fn health_node() {
    let agent = populated();
    let unrelated: [(&str, Write<'_>); 4] = [
        ("a key", &put_key("k")),
        ("a session", &new_session),
        ("another node", &|agent| fixture::node(agent, "new")),
        ("another node's check", &other_check),
    ];
    let answer = exact(&agent, "/v1/health/node/ext", &unrelated, &|agent| {
        fixture::check(agent, "ext", "alive", "web", "critical");
    });
    assert_eq!(answer.json()[0]["Status"], "critical");
}

#[test]
fn health_checks() {
    let agent = populated();
    let unrelated: [(&str, Write<'_>); 4] = [
        ("a key", &put_key("k")),
        ("a session", &new_session),
        ("another service's check", &other_check),
        ("another service", &|agent| fixture::service(agent, "other", "cache")),
    ];
    let answer = exact(&agent, "/v1/health/checks/web", &unrelated, &|agent| {
        fixture::check(agent, "ext", "alive", "web", "warning");
    });
    assert_eq!(answer.json()[0]["Status"], "warning");
}

#[test]
fn health_service() {
    let agent = populated();
    let unrelated: [(&str, Write<'_>); 5] = [
        ("a key", &put_key("k")),
        ("a session", &new_session),
        ("another service's check", &other_check),
        ("another service", &|agent| fixture::service(agent, "other", "cache")),
        ("another node", &|agent| fixture::node(agent, "new")),
    ];
    exact(&agent, "/v1/health/service/web", &unrelated, &|agent| {
        fixture::check(agent, "ext", "alive", "web", "critical");
    });
    exact(&agent, "/v1/health/service/web", &[], &|agent| {
        fixture::check(agent, "ext", "node", "", "passing");
    });
    exact(&agent, "/v1/health/service/web", &[], &|agent| fixture::service(agent, "other", "web"));
    exact(&agent, "/v1/health/service/web?passing", &[], &|agent| {
        fixture::check(agent, "other", "up", "web", "critical");
    });
}

#[test]
fn health_state() {
    let agent = populated();
    let unrelated: [(&str, Write<'_>); 3] = [
        ("a key", &put_key("k")),
        ("a session", &new_session),
        ("a node", &|agent| fixture::node(agent, "new")),
    ];
    let answer = exact(&agent, "/v1/health/state/critical", &unrelated, &|agent| {
        fixture::check(agent, "ext", "alive", "web", "critical");
    });
    assert_eq!(answer.json()[0]["CheckID"], "alive");
    exact(&agent, "/v1/health/state/any", &unrelated[..1], &|agent| {
        fixture::check(agent, "ext", "more", "", "passing");
    });
}

#[test]
fn session_info() {
    let agent = populated();
    let id = fixture::session(&agent, &json!({}));
    let unrelated: [(&str, Write<'_>); 4] = [
        ("a key", &put_key("k")),
        ("another session", &new_session),
        ("another node", &other_node),
        ("a lock of this session", &|agent| {
            assert!(agent.put(&format!("/v1/kv/lock?acquire={id}"), "").yes());
        }),
    ];
    let answer = exact(&agent, &format!("/v1/session/info/{id}"), &unrelated, &|agent| {
        assert!(agent.put(&format!("/v1/session/destroy/{id}"), "").yes());
    });
    assert_eq!(answer.json(), json!([]));
}

#[test]
fn session_node() {
    let agent = populated();
    let on = |node: &'static str| {
        move |agent: &Agent| drop(fixture::session(agent, &json!({ "Node": node, "Checks": [] })))
    };
    let unrelated: [(&str, Write<'_>); 3] =
        [("a key", &put_key("k")), ("another node's session", &on("other")), ("a check", &other_check)];
    exact(&agent, "/v1/session/node/ext", &unrelated, &on("ext"));
}

#[test]
fn session_list() {
    let agent = populated();
    let unrelated: [(&str, Write<'_>); 3] =
        [("a key", &put_key("k")), ("a service", &other_service), ("a check", &other_check)];
    exact(&agent, "/v1/session/list", &unrelated, &new_session);
    let id = fixture::session(&agent, &json!({ "Node": "ext", "NodeChecks": ["alive"] }));
    let answer = exact(&agent, "/v1/session/list", &unrelated[..1], &|agent| {
        fixture::deregister(agent, &json!({ "Node": "ext" }));
    });
    assert!(!answer.text().contains(&id));
}

fn coordinate(node: &'static str, x: f64) -> impl Fn(&Agent) {
    move |agent| {
        let body = json!({ "Node": node, "Coord": { "Vec": [x, 0, 0, 0, 0, 0, 0, 0], "Error": 0.5, "Adjustment": 0, "Height": 0.001 } });
        agent.put("/v1/coordinate/update", body.to_string()).expect(200);
        // Updates are written in batches, so the answer comes before the change.
        until("the coordinate", LIMIT, || {
            let answer = agent.get(&format!("/v1/coordinate/node/{node}"));
            answer.status == 200 && answer.json()[0]["Coord"]["Vec"][0].as_f64() == Some(x)
        });
    }
}

#[test]
fn coordinate_nodes() {
    let agent = populated();
    coordinate("ext", 1.0)(&agent);
    let unrelated: [(&str, Write<'_>); 3] =
        [("a key", &put_key("k")), ("a session", &new_session), ("a check", &other_check)];
    exact(&agent, "/v1/coordinate/nodes", &unrelated, &coordinate("other", 2.0));
}

#[test]
fn coordinate_node() {
    let agent = populated();
    coordinate("ext", 1.0)(&agent);
    let unrelated: [(&str, Write<'_>); 3] = [
        ("a key", &put_key("k")),
        ("another node's coordinate", &coordinate("other", 2.0)),
        ("a check", &other_check),
    ];
    exact(&agent, "/v1/coordinate/node/ext", &unrelated, &coordinate("ext", 3.0));
}

fn event(name: &'static str) -> impl Fn(&Agent) {
    move |agent| {
        let id = agent.put(&format!("/v1/event/fire/{name}"), "payload").expect(200).json()["ID"].clone();
        let id = id.as_str().unwrap_or_else(|| panic!("no event id")).to_owned();
        until("the event", LIMIT, || agent.get("/v1/event/list").text().contains(&id));
    }
}

#[test]
fn event_list() {
    let agent = populated();
    event("deploy")(&agent);
    // An event's index is drawn from its id: it need not grow.
    for (target, unrelated) in [
        ("/v1/event/list", vec![]),
        ("/v1/event/list?name=deploy", vec![("another event", event("restart"))]),
    ] {
        let index = agent.get(target).index();
        let mut query = Parked::start(&agent, target, index, WAIT);
        put_key("k")(&agent);
        other_check(&agent);
        for (name, write) in &unrelated {
            write(&agent);
            agent.settle();
            assert!(query.waits(), "{target} was woken by {name}");
        }
        agent.settle();
        assert!(query.waits(), "{target} was woken by the catalog");
        event("deploy")(&agent);
        query.answer(LIMIT).0.expect(200);
    }
}

#[test]
fn a_query_that_nothing_wakes_answers_when_its_wait_is_over() {
    const SHORT: Duration = Duration::from_millis(800);
    let agent = Agent::dev();
    fixture::key(&agent, "watched", "1");
    let index = agent.get("/v1/kv/watched").index();
    let query = Parked::start(&agent, "/v1/kv/watched", index, SHORT);
    put_key("other")(&agent);
    let (answer, took) = query.answer(LIMIT);
    assert_eq!(answer.index(), index);
    assert!(took >= SHORT, "answered after {took:?}");
    // Up to a sixteenth of the wait is added, so that many waiters do not come back together.
    assert!(took < SHORT + SHORT / 16 + Duration::from_secs(2), "answered after {took:?}");
}

#[test]
fn an_index_from_the_past_or_the_future_does_not_hang() {
    let agent = Agent::dev();
    fixture::key(&agent, "watched", "1");
    let index = agent.get("/v1/kv/watched").index();
    let start = Instant::now();
    for past in [0, 1, index - 1] {
        assert_eq!(agent.get(&format!("/v1/kv/watched?index={past}&wait=60s")).index(), index);
    }
    assert!(start.elapsed() < LIMIT, "an old index parked");
    // Such an index was given out by an agent whose data is lost; the wait bounds the damage.
    let future = agent.get(&format!("/v1/kv/watched?index={}&wait=300ms", index + 1_000_000)).expect(200);
    assert_eq!(future.index(), index);
}

#[test]
fn one_write_answers_every_query_parked_on_the_key() {
    let agent = Agent::dev();
    fixture::key(&agent, "watched", "1");
    let index = agent.get("/v1/kv/watched").index();
    let queries: Vec<_> = (0..100).map(|_| Parked::start(&agent, "/v1/kv/watched", index, WAIT)).collect();
    fixture::key(&agent, "watched", "2");
    for query in queries {
        let (answer, _) = query.answer(LIMIT);
        assert_eq!(answer.json()[0]["Value"], "Mg==");
    }
}

#[test]
fn a_query_of_a_client_that_left_is_let_go() {
    let agent = Agent::dev();
    fixture::key(&agent, "watched", "1");
    let index = agent.get("/v1/kv/watched").index();
    let before = crate::support::process::open_files(agent.pid());
    for _ in 0..50 {
        use std::io::Write as _;
        let mut stream = crate::support::http::connect(agent.http(), LIMIT).unwrap();
        write!(stream, "GET /v1/kv/watched?index={index}&wait=600s HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        agent.settle();
    }
    until("the sockets of clients that left to be closed", LIMIT, || {
        crate::support::process::open_files(agent.pid()) <= before + 10
    });
}
