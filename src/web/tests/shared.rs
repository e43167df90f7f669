//! What all endpoints share: routing, parameters, waiting, guards and hostile clients.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use super::TEXT;
use crate::cidr::Cidr;
use crate::web::testing::{TestServer, read_reply, write_request};

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
        web.allow_write_http_from = vec!["10.0.0.0/8".parse::<Cidr>().unwrap()];
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
