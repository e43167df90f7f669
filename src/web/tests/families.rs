//! Keys, sessions and transactions over HTTP.

use super::JSON;
use crate::state::Command;
use crate::web::testing::TestServer;

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
