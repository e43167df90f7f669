//! Handlers through a real listener: what all endpoints share, and the families of this room.

mod agent;

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use super::settings::Network;
use super::testing::{TestServer, read_reply, write_request};
use crate::state::Command;

const JSON: Option<&str> = Some("application/json");
const TEXT: Option<&str> = Some("text/plain; charset=utf-8");

#[test]
fn answers_before_any_endpoint_like_a_serve_mux() {
    let server = TestServer::new();
    let html = Some("text/html; charset=utf-8");
    let table = [
        ("GET", "/", 200, TEXT, None, "Consul Agent"),
        ("GET", "/v1/nope", 404, None, None, ""),
        ("GET", "/v1/", 404, None, None, ""),
        ("GET", "/v1/kv", 301, html, Some("/v1/kv/"), "<a href=\"/v1/kv/\">Moved Permanently</a>.\n\n"),
        ("PUT", "/v1/kv?x=1", 301, None, Some("/v1/kv/?x=1"), ""),
        ("PUT", "/v1/kv/a//b", 301, None, Some("/v1/kv/a/b"), ""),
        ("PUT", "/v1/kv/a/../b", 301, None, Some("/v1/kv/b"), ""),
        (
            "GET",
            "/v1/kv/a/./b%20c?x=1&y",
            301,
            html,
            Some("/v1/kv/a/b%20c?x=1&y"),
            "<a href=\"/v1/kv/a/b%20c?x=1&amp;y\">Moved Permanently</a>.\n\n",
        ),
        ("GET", "/v1//nope", 301, html, Some("/v1/nope"), "<a href=\"/v1/nope\">Moved Permanently</a>.\n\n"),
        ("GET", "/v1/kv/%2e%2e/x", 301, html, Some("/v1/x"), "<a href=\"/v1/x\">Moved Permanently</a>.\n\n"),
        ("GET", "/v1/kv/a%00", 400, None, None, ""),
        ("GET", "/v1/kv/a%E2%80%8B", 400, None, None, ""),
        ("GET", "/v1/kv/%zz", 400, TEXT, None, "400 Bad Request"),
    ];
    for (method, target, status, content_type, location, body) in table {
        let reply = server.send(method, target, &[], b"");
        assert_eq!(reply.status, status, "{method} {target}");
        assert_eq!(reply.header("Content-Type"), content_type, "{method} {target}");
        assert_eq!(reply.header("Location"), location, "{method} {target}");
        assert_eq!(reply.text(), body, "{method} {target}");
        assert_eq!(reply.header("Vary"), None, "{method} {target}");
    }
}

#[test]
fn wrong_methods_and_options_list_what_is_allowed() {
    let server = TestServer::new();
    let kv = "OPTIONS,GET,PUT,DELETE";
    let table = [
        ("POST", "/v1/kv/a", 405, kv, "method POST not allowed"),
        ("HEAD", "/v1/kv/a", 405, kv, ""),
        ("PATCH", "/v1/session/list", 405, "OPTIONS,GET", "method PATCH not allowed"),
        ("GET", "/v1/session/destroy/x", 405, "OPTIONS,PUT", "method GET not allowed"),
        ("OPTIONS", "/v1/kv/a", 200, kv, ""),
        ("OPTIONS", "/v1/status/leader", 200, "OPTIONS,GET", ""),
    ];
    for (method, target, status, allow, body) in table {
        let reply = server.send(method, target, &[], b"");
        let name = format!("{method} {target}");
        assert_eq!(
            (reply.status, reply.header("Allow"), reply.text()),
            (status, Some(allow), body),
            "{name}"
        );
        assert_eq!(reply.header("Content-Type"), if status == 405 { TEXT } else { None }, "{name}");
        assert_eq!(reply.header("Vary"), Some("Accept-Encoding"), "{name}");
    }
}

#[test]
fn parameters_are_checked_in_the_references_words() {
    let server = TestServer::new();
    let table = [
        ("/v1/kv/a?index=abc", 400, "Invalid index"),
        ("/v1/kv/a?index=-1", 400, "Invalid index"),
        ("/v1/kv/a?wait=10", 400, "Invalid wait time"),
        ("/v1/session/list?index=a&wait=b", 400, "Invalid wait time"),
        ("/v1/kv/a?max_stale=a%22b", 400, "Invalid max_stale value \"a\\\"b\""),
        ("/v1/kv/a?stale&consistent", 400, "Cannot specify ?stale with ?consistent, conflicting semantics."),
        (
            "/v1/kv/a?cached&consistent",
            400,
            "Cannot specify ?cached with ?consistent, conflicting semantics.",
        ),
        (
            "/v1/kv/a?ns=team",
            400,
            "Bad request: Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature",
        ),
        ("/v1/kv/a?dc=mars", 500, "No path to datacenter"),
        ("/v1/kv/a?x=%zz", 500, ""),
        ("/v1/status/leader?dc=mars", 500, "No path to datacenter"),
    ];
    for (target, status, body) in table {
        let reply = server.get(target);
        assert_eq!((reply.status, reply.text()), (status, body), "{target}");
        assert_eq!(reply.header("Vary"), Some("Accept-Encoding"), "{target}");
        assert_eq!(reply.header("X-Consul-Index"), None, "{target}");
    }
    for (header, status) in [
        ("Cache-Control: max-age=abc", 400),
        ("Cache-Control: no-cache, stale-if-error=x", 400),
        ("Cache-Control: stale-if-error=5", 404),
        ("X-Consul-Namespace: team", 400),
        ("Authorization: Bearer x", 404),
    ] {
        assert_eq!(server.send("GET", "/v1/kv/a", &[header], b"").status, status, "{header}");
    }
    let failed = server.get("/v1/session/list?dc=mars");
    assert_eq!((failed.status, failed.index()), (500, 1));
    assert_eq!(failed.header("X-Consul-Knownleader"), Some("false"));
}

#[test]
fn a_key_is_stored_read_and_deleted() {
    let server = TestServer::new();
    let missing = server.get("/v1/kv/app/config");
    assert_eq!((missing.status, missing.text(), missing.header("Content-Type")), (404, "", None));
    assert!(missing.index() > 0);

    let stored = server.put("/v1/kv/app/config?flags=42", "hello world");
    assert_eq!((stored.status, stored.text(), stored.header("Content-Type")), (200, "true", JSON));
    assert_eq!(stored.header("X-Consul-Index"), None);

    let found = server.get("/v1/kv/app/config");
    assert_eq!(found.header("X-Consul-Knownleader"), Some("true"));
    assert_eq!(found.header("X-Consul-Lastcontact"), Some("0"));
    assert_eq!(found.header("X-Consul-Effective-Consistency"), None);
    let index = found.index();
    let want = format!(
        "[{{\"LockIndex\":0,\"Key\":\"app/config\",\"Flags\":42,\"Value\":\"aGVsbG8gd29ybGQ=\",\
         \"CreateIndex\":{index},\"ModifyIndex\":{index}}}]"
    );
    assert_eq!(found.text(), want);
    for mode in ["?stale", "?consistent", "?leader"] {
        assert_eq!(server.get(&format!("/v1/kv/app/config{mode}")).text(), want, "{mode}");
    }
    assert!(
        server.get("/v1/kv/app/config?pretty").text().starts_with("[\n    {\n        \"LockIndex\": 0,\n")
    );

    let raw = server.get("/v1/kv/app/config?raw");
    assert_eq!((raw.text(), raw.header("Content-Type")), ("hello world", Some("text/plain")));
    assert_eq!(raw.header("Content-Security-Policy"), Some("sandbox"));
    assert_eq!(raw.header("X-Content-Type-Options"), Some("nosniff"));

    assert_eq!(server.delete("/v1/kv/app/config").text(), "true");
    let gone = server.get("/v1/kv/app/config");
    assert_eq!((gone.status, gone.index()), (404, index + 1));
}

#[test]
fn writes_check_their_arguments() {
    let server = TestServer::new();
    let table = [
        ("PUT", "/v1/kv/", 400, "Missing key name"),
        ("DELETE", "/v1/kv/", 400, "Missing key name"),
        ("GET", "/v1/kv/", 400, "Missing key name"),
        ("PUT", "/v1/kv/x?cas=0&acquire=abc", 400, "Conflicting flags: acquire=abc&cas=0"),
        ("DELETE", "/v1/kv/x?recurse&cas=3", 400, "Conflicting flags: cas=3&recurse="),
        ("PUT", "/v1/kv/x?flags=abc", 500, "strconv.ParseUint: parsing \"abc\": invalid syntax"),
        ("PUT", "/v1/kv/x?cas=", 500, "strconv.ParseUint: parsing \"\": invalid syntax"),
        (
            "PUT",
            "/v1/kv/x?flags=18446744073709551616",
            500,
            "strconv.ParseUint: parsing \"18446744073709551616\": value out of range",
        ),
        ("PUT", "/v1/kv/x?acquire=", 500, "missing session"),
        ("PUT", "/v1/kv/x?release=", 500, "missing session"),
        (
            "PUT",
            "/v1/kv/x?acquire=not-a-uuid",
            500,
            "failed session lookup: index error: UUID must be 36 characters",
        ),
        (
            "PUT",
            "/v1/kv/x?acquire=11111111-2222-3333-4444-555555555555",
            500,
            "invalid session \"11111111-2222-3333-4444-555555555555\"",
        ),
        ("PUT", "/v1/kv/x?release=11111111-2222-3333-4444-555555555555", 200, "false"),
        ("PUT", "/v1/kv/x?index=abc", 400, "Invalid index"),
        ("PUT", "/v1/kv/x?dc=mars", 500, "No path to datacenter"),
    ];
    for (method, target, status, body) in table {
        let reply = server.send(method, target, &[], b"v");
        assert_eq!((reply.status, reply.text()), (status, body), "{method} {target}");
    }
    assert_eq!(server.get("/v1/kv/?keys").text(), "[]");
}

#[test]
fn values_have_a_limit() {
    let server = TestServer::with(|_, endpoints| endpoints.kv_max_value_size = 1024);
    assert_eq!(server.put("/v1/kv/l", &"x".repeat(1024)).text(), "true");
    let refused = server.put("/v1/kv/m", &"x".repeat(1025));
    assert_eq!(refused.status, 413);
    assert_eq!(
        refused.text(),
        "Request body(1025 bytes) too large, max size: 1024 bytes. \
         See https://www.consul.io/docs/agent/options.html#kv_max_value_size."
    );
    let chunked = ["Transfer-Encoding: chunked"];
    let stored = server.send("PUT", "/v1/kv/c", &chunked, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_eq!((stored.status, server.get("/v1/kv/c?raw").text()), (200, "abcde"));
    let body = format!("800\r\n{}\r\n0\r\n\r\n", "x".repeat(2048));
    assert_eq!(server.send("PUT", "/v1/kv/d", &chunked, body.as_bytes()).status, 413);
    assert_eq!(server.get("/v1/kv/?keys").text(), r#"["c","l"]"#);
}

#[test]
fn lists_recurse_and_fold() {
    let server = TestServer::new();
    let missing = server.get("/v1/kv/zzz?keys");
    assert_eq!((missing.status, missing.text()), (404, ""));
    assert_eq!(server.get("/v1/kv/?keys&pretty").text(), "[]\n");
    for key in ["a/1", "a/2/deep", "a/2/deeper", "b"] {
        server.put(&format!("/v1/kv/{key}"), "x");
    }
    let table = [
        ("/v1/kv/?keys", r#"["a/1","a/2/deep","a/2/deeper","b"]"#),
        ("/v1/kv/a?keys", r#"["a/1","a/2/deep","a/2/deeper"]"#),
        ("/v1/kv/?keys&separator=/", r#"["a/","b"]"#),
        ("/v1/kv/a/?keys&seperator=/", r#"["a/1","a/2/"]"#),
        ("/v1/kv/?keys&separator=%23", r#"["a/1","a/2/deep","a/2/deeper","b"]"#),
    ];
    for (target, want) in table {
        assert_eq!(server.get(target).text(), want, "{target}");
    }
    let below = server.get("/v1/kv/a/?recurse&raw").json();
    let keys: Vec<_> = below.as_array().unwrap().iter().map(|entry| entry["Key"].clone()).collect();
    assert_eq!(keys, ["a/1", "a/2/deep", "a/2/deeper"]);

    let before = server.get("/v1/kv/a/?recurse").index();
    server.delete("/v1/kv/a/1");
    let after = server.get("/v1/kv/a/?recurse").index();
    assert!(after > before, "a delete moves the index of its prefix");
    assert!(server.get("/v1/kv/b?recurse").index() < after, "and of no other");
    assert_eq!(server.delete("/v1/kv/?recurse").text(), "true");
    assert_eq!(server.get("/v1/kv/?recurse").status, 404);
}

#[test]
fn a_parked_read_wakes_for_its_own_change_only() {
    let server = TestServer::new();
    server.put("/v1/kv/b", "one");
    let index = server.get("/v1/kv/b").index();
    let reads = ["/v1/kv/b?", "/v1/kv/b?raw&", "/v1/kv/?recurse&", "/v1/kv/b?keys&"];
    let parked: Vec<_> =
        reads.iter().map(|read| server.in_background(&format!("{read}index={index}&wait=60s"))).collect();
    server.await_parked(4);
    let wakes = server.state.watches().wakes();
    server.put("/v1/session/create", "");
    assert_eq!(server.state.watches().wakes(), wakes, "an unrelated write wakes nobody");
    server.put("/v1/kv/b", "two");
    for (read, thread) in reads.iter().zip(parked) {
        let reply = thread.join().unwrap();
        assert_eq!(reply.status, 200, "{read}");
        assert!(reply.index() > index, "{read}");
    }
    server.await_parked(0);
}

#[test]
fn a_wait_ends_without_a_change() {
    let server = TestServer::new();
    server.put("/v1/kv/b", "one");
    let index = server.get("/v1/kv/b").index();
    let start = Instant::now();
    let reply = server.get(&format!("/v1/kv/b?index={index}&wait=200ms"));
    assert!((200..5_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!((reply.status, reply.index()), (200, index));
    let start = Instant::now();
    server.get(&format!("/v1/kv/b?index={}&wait=60s", index - 1));
    server.get("/v1/kv/none?wait=60s");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_client_that_goes_away_leaves_nothing_parked() {
    let server = TestServer::new();
    let mut stream = server.connect();
    write_request(&mut stream, "GET", "/v1/kv/b?index=1000&wait=300s", &[], b"");
    server.await_parked(1);
    drop(stream);
    server.await_parked(0);
}

#[test]
fn shutting_down_answers_parked_reads() {
    let mut server = TestServer::new();
    let parked = server.in_background("/v1/kv/b?index=1000&wait=300s");
    server.await_parked(1);
    let start = Instant::now();
    server.stop();
    assert_eq!(parked.join().unwrap().status, 404);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn without_a_leader_only_stale_reads_answer() {
    let server = TestServer::new();
    server.put("/v1/kv/a", "x");
    server.leader.lost.store(true, std::sync::atomic::Ordering::SeqCst);
    for target in ["/v1/kv/a", "/v1/kv/a?consistent"] {
        let reply = server.get(target);
        assert_eq!((reply.status, reply.text()), (500, "No cluster leader"), "{target}");
    }
    let stale = server.get("/v1/kv/a?stale");
    assert_eq!((stale.status, stale.header("X-Consul-Knownleader")), (200, Some("false")));
    assert_eq!(server.get("/v1/status/leader").text(), "\"\"");
}

#[test]
fn answers_are_compressed_when_asked_for() {
    let server = TestServer::new();
    server.put("/v1/kv/a", &"a".repeat(1000));
    let plain = server.get("/v1/kv/a?raw");
    let packed = server.send("GET", "/v1/kv/a?raw", &["Accept-Encoding: deflate, gzip"], b"");
    assert_eq!(packed.header("Content-Encoding"), Some("gzip"));
    let mut body = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut body).unwrap();
    assert_eq!(body, plain.body);
    assert_eq!(plain.header("Content-Encoding"), None);
    let empty = server.send("GET", "/v1/kv/none", &["Accept-Encoding: gzip"], b"");
    assert_eq!((empty.status, empty.header("Content-Encoding")), (404, None));
}

#[test]
fn the_configuration_guards_and_decorates() {
    let server = TestServer::with(|web, _| {
        web.block_endpoints = vec!["/v1/kv/secret".into()];
        web.allow_write_http_from = vec![Network::parse("10.0.0.0/8").unwrap()];
        web.response_headers = vec![("X-Conformance".into(), "yes".into())];
        web.translate_wan_addrs = true;
        web.always_pretty = true;
        web.ui = true;
    });
    let blocked = server.get("/v1/kv/secret/x");
    assert_eq!((blocked.status, blocked.text()), (403, "Endpoint is blocked by agent configuration"));
    let write = server.put("/v1/kv/a", "x");
    assert_eq!((write.status, write.text()), (403, "Access is restricted"));
    assert_eq!(server.send("OPTIONS", "/v1/kv/a", &[], b"").status, 200);
    let read = server.get("/v1/kv/?keys");
    assert_eq!((read.text(), read.header("X-Conformance")), ("[]\n", Some("yes")));
    assert_eq!(read.header("X-Consul-Translate-Addresses"), Some("true"));
    assert_eq!(server.get("/v1/nope").header("X-Conformance"), None);
    let root = server.get("/");
    assert_eq!((root.status, root.header("Location")), (301, Some("/ui/")));
}

#[test]
fn sessions_live_and_end() {
    let server = TestServer::new();
    let created = server.put("/v1/session/create", r#"{"name":"n","LockDelay":"0s","TTL":"20s"}"#);
    assert_eq!((created.status, created.header("Content-Type")), (200, JSON));
    let id = created.json()["ID"].as_str().unwrap().to_owned();
    let info = server.get(&format!("/v1/session/info/{id}"));
    let index = info.index();
    let want = format!(
        "[{{\"ID\":\"{id}\",\"Name\":\"n\",\"Node\":\"node1\",\"LockDelay\":0,\"Behavior\":\"release\",\
         \"TTL\":\"20s\",\"NodeChecks\":[\"serfHealth\"],\"ServiceChecks\":null,\
         \"CreateIndex\":{index},\"ModifyIndex\":{index}}}]"
    );
    for target in ["/v1/session/list", "/v1/session/node/NODE1", &format!("/v1/session/info/{id}")] {
        assert_eq!(server.get(target).text(), want, "{target}");
    }
    let renewed = server.put(&format!("/v1/session/renew/{id}"), "");
    assert_eq!((renewed.text(), renewed.header("X-Consul-Index")), (&*want, None));
    assert_eq!(server.timers.renewed.lock().as_slice(), std::slice::from_ref(&id));

    assert_eq!(server.put(&format!("/v1/kv/lock?acquire={id}"), "mine").text(), "true");
    assert_eq!(server.get("/v1/kv/lock").json()[0]["Session"], *id);
    let parked = server.in_background(&format!("/v1/session/info/{id}?index={index}&wait=60s"));
    server.await_parked(1);
    assert_eq!(server.put(&format!("/v1/session/destroy/{id}"), "").text(), "true");
    assert_eq!(parked.join().unwrap().text(), "[]");
    assert_eq!(server.get("/v1/kv/lock").json()[0].get("Session"), None);
    assert_eq!(server.put(&format!("/v1/session/destroy/{id}"), "").text(), "true");
}

#[test]
fn sessions_refuse_in_the_references_words() {
    let server = TestServer::new();
    let table = [
        (r#"{"Node":"ghost"}"#, 500, "Missing node registration"),
        (r#"{"Node":""}"#, 500, "Must provide Node"),
        (r#"{"NodeChecks":["nope"]}"#, 500, "Missing check 'nope' registration"),
        (r#"{"Behavior":"keep"}"#, 500, "Invalid Behavior setting 'keep'"),
        (r#"{"TTL":"9s"}"#, 500, "Invalid Session TTL '9000000000', must be between [10s=24h0m0s]"),
        (r#"{"TTL":"often"}"#, 500, "Session TTL 'often' invalid: time: invalid duration \"often\""),
        (r#"{"Name":"#, 400, "Request decode failed: unexpected EOF"),
    ];
    for (body, status, want) in table {
        let reply = server.put("/v1/session/create", body);
        assert_eq!((reply.status, reply.text()), (status, want), "{body}");
    }
    let unknown = "11111111-2222-3333-4444-555555555555";
    let table = [
        ("PUT", format!("/v1/session/renew/{unknown}"), 404, format!("Session id '{unknown}' not found")),
        ("PUT", "/v1/session/renew/".into(), 400, "Missing session".into()),
        ("PUT", "/v1/session/renew/?index=abc".into(), 400, "Invalid index".into()),
        ("PUT", "/v1/session/destroy/".into(), 400, "Missing session".into()),
        ("GET", "/v1/session/info/".into(), 400, "Missing session".into()),
        ("GET", "/v1/session/node/".into(), 400, "Missing node name".into()),
        ("GET", format!("/v1/session/info/{unknown}"), 200, "[]".into()),
        (
            "GET",
            "/v1/session/info/short".into(),
            500,
            "failed session lookup: index error: UUID must be 36 characters".into(),
        ),
    ];
    for (method, target, status, want) in table {
        let reply = server.send(method, &target, &[], b"");
        assert_eq!((reply.status, reply.text()), (status, &*want), "{method} {target}");
    }
    let proposed = server.proposer.proposed.lock();
    let created = proposed.iter().filter(|command| matches!(command, Command::SessionCreate(_))).count();
    assert_eq!(created, 2, "only what the state must judge is proposed");
}

#[test]
fn transactions_write_all_or_nothing() {
    let server = TestServer::new();
    let done = server.put(
        "/v1/txn",
        r#"[{"KV":{"Verb":"set","Key":"a","Value":"aGVsbG8=","Flags":7}},{"KV":{"Verb":"get","Key":"a"}}]"#,
    );
    let index = server.get("/v1/kv/a").index();
    let entry = |value: &str| {
        format!(
            "{{\"KV\":{{\"LockIndex\":0,\"Key\":\"a\",\"Flags\":7,\"Value\":{value},\
             \"CreateIndex\":{index},\"ModifyIndex\":{index}}}}}"
        )
    };
    let want = format!("{{\"Results\":[{},{}],\"Errors\":null}}", entry("null"), entry("\"aGVsbG8=\""));
    assert_eq!((done.status, done.text()), (200, &*want));
    assert_eq!(done.header("X-Consul-Knownleader"), None);

    let table = [
        (
            r#"[{"KV":{"Verb":"set","Key":"b"}},{"KV":{"Verb":"get","Key":"m"}},{"KV":{"Verb":"cas","Key":"c","Index":9}}]"#,
            r#"{"Results":null,"Errors":[{"OpIndex":1,"What":"key \"m\" doesn't exist"},{"OpIndex":2,"What":"failed to set key \"c\", index is stale"}]}"#,
        ),
        (
            r#"[{"KV":{"Verb":"set","Key":"b"}},{"KV":{"Verb":"explode","Key":"z"}}]"#,
            r#"{"Results":null,"Errors":[{"OpIndex":1,"What":"unknown KV verb \"explode\""}]}"#,
        ),
        (
            r#"[{"KV":{"Verb":"set"}},{"KV":{"Verb":"explode","Key":"z"}}]"#,
            r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Must provide key"}]}"#,
        ),
        (
            r#"[{"KV":{"Verb":"lock","Key":"b","Session":"bad"}}]"#,
            r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"failed session lookup: index error: UUID must be 36 characters"}]}"#,
        ),
        (
            r#"[{"Node":{"Verb":"set","Node":{"Node":"n","ID":"bad"}}},{"Service":{"Verb":"set","Node":"n","Service":{"ID":"s"}}}]"#,
            r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Bad node ID: uuid string is wrong length"},{"OpIndex":1,"What":"Must provide service name with ID"}]}"#,
        ),
    ];
    for (body, want) in table {
        let reply = server.put("/v1/txn", body);
        assert_eq!((reply.status, reply.text()), (409, want), "{body}");
    }
    assert_eq!(server.get("/v1/kv/?keys").text(), r#"["a"]"#);
}

#[test]
fn transactions_that_only_read_bypass_the_log() {
    let server = TestServer::new();
    server.put("/v1/kv/t/a", "1");
    server.put("/v1/kv/t/b", "2");
    let proposed = server.proposer.proposed.lock().len();
    let meta = r#""Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":"""#;
    let table = [
        ("[]", 200, r#"{"Results":[],"Errors":null,"#),
        ("null", 200, r#"{"Results":[],"Errors":null,"#),
        (r#"[{},{"KV":null}]"#, 200, r#"{"Results":[],"Errors":null,"#),
        (
            r#"[{"KV":{"Verb":"get-tree","Key":""}}]"#,
            409,
            r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Must provide key"}],"#,
        ),
        (
            r#"[{"KV":{"Verb":"nope","Key":"k"}},{"KV":{"Verb":"check-not-exists","Key":"t/a"}},{"Node":{"Verb":"get","Node":{"Node":"x"}}},{"Check":{"Verb":"get","Check":{"Node":"node1","CheckID":"x"}}}]"#,
            409,
            r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"unknown KV verb \"nope\""},{"OpIndex":1,"What":"key \"t/a\" exists"},{"OpIndex":2,"What":"node \"x\" doesn't exist"},{"OpIndex":3,"What":"check \"x\" on node \"node1\" doesn't exist"}],"#,
        ),
        (
            r#"[{"KV":{"Verb":"check-session","Key":"t/a","Session":"x"}},{"KV":{"Verb":"check-index","Key":"none","Index":1}}]"#,
            409,
            r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"failed session check for key \"t/a\", current session \"\" != \"x\""},{"OpIndex":1,"What":"failed to check index, key \"none\" doesn't exist"}],"#,
        ),
    ];
    for (body, status, want) in table {
        let reply = server.put("/v1/txn", body);
        assert_eq!((reply.status, reply.text()), (status, &*format!("{want}{meta}}}")), "{body}");
        assert_eq!(reply.header("X-Consul-Knownleader"), Some("true"), "{body}");
        assert_eq!(reply.header("X-Consul-Index"), None, "{body}");
    }
    let tree = server.put("/v1/txn?stale", r#"[{"KV":{"Verb":"get-tree","Key":"t/"}}]"#).json();
    let keys: Vec<_> =
        tree["Results"].as_array().unwrap().iter().map(|result| &result["KV"]["Key"]).collect();
    assert_eq!(keys, ["t/a", "t/b"]);
    assert_eq!(server.proposer.proposed.lock().len(), proposed);
}

#[test]
fn transactions_refuse_what_they_cannot_read() {
    let server = TestServer::with(|_, endpoints| endpoints.kv_max_value_size = 4);
    let many = format!("[{}]", vec![r#"{"KV":{"Verb":"set","Key":"k"}}"#; 65].join(","));
    let table = [
        ("", 400, "Failed to parse body: EOF"),
        (
            r#"{"KV":{}}"#,
            400,
            "Failed to parse body: json: cannot unmarshal object into Go value of type api.TxnOps",
        ),
        (r#"[{"Foo":{}}]"#, 400, "Failed to parse body: json: unknown field \"Foo\""),
        (&many, 413, "Transaction contains too many operations (65 > 64)"),
        (
            r#"[{"KV":{"Verb":"set","Key":"k","Value":"MTIzNDU="}}]"#,
            413,
            "Value for key \"k\" is too large (5 > 4 bytes)",
        ),
    ];
    for (body, status, want) in table {
        let reply = server.put("/v1/txn", body);
        assert_eq!((reply.status, reply.text()), (status, want), "{body}");
    }
    let large = server.put("/v1/txn", &"x".repeat(524_289));
    assert_eq!(large.status, 413);
    assert!(large.text().starts_with("Request body(524289 bytes) too large, max size: 524288 bytes."));
    let base64 = server.put("/v1/txn", r#"[{"KV":{"Verb":"set","Key":"k","Value":"not base64!"}}]"#);
    assert_eq!(base64.status, 400);
    assert_eq!(server.put("/v1/txn", "[null]").status, 400);
}

#[test]
fn one_connection_carries_many_requests() {
    let server = TestServer::new();
    let mut stream = server.connect();
    for round in 0..20 {
        write_request(&mut stream, "PUT", "/v1/kv/a", &[], format!("{round}").as_bytes());
        let reply = read_reply(&mut stream, false);
        assert_eq!((reply.status, reply.header("Connection")), (200, None), "{round}");
        write_request(&mut stream, "GET", "/v1/kv/a?raw", &[], b"");
        assert_eq!(read_reply(&mut stream, false).text(), format!("{round}"));
    }
}

#[test]
fn hostile_clients_are_turned_away() {
    let server = TestServer::with(|web, _| {
        web.head_timeout = Duration::from_millis(300);
        web.body_timeout = Duration::from_millis(300);
    });
    // Headers without end.
    let mut stream = server.connect();
    let _ = stream.write_all(b"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nX-Flood: ");
    let flood = vec![b'x'; 1 << 20];
    let sent = (0..10).take_while(|_| stream.write_all(&flood).is_ok()).count();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(sent < 10 || answer.starts_with(b"HTTP/1.1 4"), "{}", answer.escape_ascii());
    // A head that never ends, and a body that never comes.
    for (name, sent) in [
        ("head", &b"GET /v1/kv/a HTTP/1.1\r\nHost:"[..]),
        ("body", b"PUT /v1/kv/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"),
    ] {
        let mut stream = server.connect();
        stream.write_all(sent).unwrap();
        let reply = read_reply(&mut stream, false);
        assert_eq!(reply.status, 408, "{name}");
    }
}

#[test]
fn one_client_cannot_take_all_connections() {
    let server = TestServer::with(|web, _| web.max_connections_per_client = 3);
    let open = || {
        let mut stream = server.connect();
        write_request(&mut stream, "GET", "/v1/kv/none", &[], b"");
        let reply = read_reply(&mut stream, false);
        (stream, reply.status)
    };
    let held: Vec<_> = (0..3).map(|_| open()).collect();
    assert!(held.iter().all(|(_, status)| *status == 404));
    assert_eq!(open().1, 429);
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while open().1 != 404 {
        assert!(Instant::now() < deadline, "the client stays locked out");
    }
}
