//! Clients that are wrong, hostile or half dead: each gets a clear error, everybody else is served
//! meanwhile, nothing is lost and memory stays bounded.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::http::{connect, read_answer};
use crate::support::{Agent, Answer, Setup, fixture, process, until};

const LIMIT: Duration = Duration::from_secs(20);
const MIB: u64 = 1024;

/// The limit Consul has for values and for bodies of transactions.
const VALUE_LIMIT: usize = 512 * 1024;

/// The agent serves, and keeps what it had.
#[track_caller]
fn well(agent: &Agent) {
    let start = Instant::now();
    assert_eq!(agent.get("/v1/kv/kept?raw").text(), "value");
    fixture::key(agent, "alive", "yes");
    assert!(start.elapsed() < Duration::from_secs(5), "others wait for {:?}", start.elapsed());
}

fn agent() -> Agent {
    let agent = Agent::dev();
    fixture::key(&agent, "kept", "value");
    agent
}

/// Sends bytes as they are and reads one answer; none if the connection is just closed.
fn raw(agent: &Agent, bytes: &[u8]) -> Option<Answer> {
    let mut stream = connect(agent.http(), LIMIT).unwrap();
    // The agent may answer and close while there is more to come.
    stream.write_all(bytes).ok();
    read_answer(&mut BufReader::new(stream), false).ok().map(|(answer, _)| answer)
}

#[test]
fn wrong_requests_get_a_clear_error() {
    let agent = agent();
    let unknown = "11111111-2222-3333-4444-555555555555";
    let many: Vec<Value> =
        (0..65).map(|n| json!({ "KV": { "Verb": "get", "Key": n.to_string() } })).collect();
    type Wrong<'a> = (&'a str, &'a str, String, Vec<u8>, &'a [u16], &'a str);
    let table: [Wrong<'_>; 24] = [
        ("value too large", "PUT", "/v1/kv/big".into(), vec![b'x'; VALUE_LIMIT + 1], &[413], "too large"),
        ("transaction too large", "PUT", "/v1/txn".into(), vec![b' '; VALUE_LIMIT + 1], &[413], "too large"),
        ("too many operations", "PUT", "/v1/txn".into(), json!(many).to_string().into(), &[413], "too many"),
        ("broken transaction", "PUT", "/v1/txn".into(), b"[{".into(), &[400], ""),
        ("broken registration", "PUT", "/v1/catalog/register".into(), b"{\"Node\":".into(), &[400], ""),
        ("registration of another shape", "PUT", "/v1/catalog/register".into(), b"[1,2]".into(), &[400], ""),
        (
            "registration of nothing",
            "PUT",
            "/v1/catalog/register".into(),
            b"{}".into(),
            &[400, 500],
            "Must provide",
        ),
        ("wrong type in it", "PUT", "/v1/catalog/register".into(), b"{\"Node\":{}}".into(), &[400], ""),
        ("broken session", "PUT", "/v1/session/create".into(), b"{\"TTL\"".into(), &[400], ""),
        ("bad TTL", "PUT", "/v1/session/create".into(), b"{\"TTL\":\"soon\"}".into(), &[400, 500], "TTL"),
        (
            "bad behaviour",
            "PUT",
            "/v1/session/create".into(),
            b"{\"Behavior\":\"x\"}".into(),
            &[400, 500],
            "ehavior",
        ),
        (
            "unknown node",
            "PUT",
            "/v1/session/create".into(),
            b"{\"Node\":\"x\",\"Checks\":[]}".into(),
            &[400, 500],
            "",
        ),
        ("unknown session", "PUT", format!("/v1/kv/lock?acquire={unknown}"), vec![], &[400, 500], "session"),
        ("renewing it", "PUT", format!("/v1/session/renew/{unknown}"), vec![], &[404], unknown),
        ("bad cas", "PUT", "/v1/kv/k?cas=x".into(), vec![], &[400, 500], "x"),
        ("bad flags", "PUT", "/v1/kv/k?flags=-1".into(), vec![], &[400, 500], ""),
        ("two kinds of write", "PUT", "/v1/kv/k?cas=1&acquire=x".into(), vec![], &[400], ""),
        (
            "bad filter",
            "GET",
            "/v1/catalog/nodes?filter=Node+is+sad".into(),
            vec![],
            &[400, 500],
            "expression",
        ),
        (
            "filter on an unknown field",
            "GET",
            "/v1/catalog/nodes?filter=Nose==a".into(),
            vec![],
            &[400, 500],
            "Selector",
        ),
        ("bad index", "GET", "/v1/kv/kept?index=x".into(), vec![], &[400], "index"),
        ("bad wait", "GET", "/v1/kv/kept?index=1&wait=x".into(), vec![], &[400], "wait"),
        ("unknown datacenter", "GET", "/v1/kv/kept?dc=mars".into(), vec![], &[500], "datacenter"),
        ("wrong method", "DELETE", "/v1/catalog/nodes".into(), vec![], &[405], "not allowed"),
        ("unknown path", "GET", "/v1/nope".into(), vec![], &[404], ""),
    ];
    for (name, method, target, body, statuses, text) in table {
        let answer = agent.request(method, &target, &body);
        assert!(statuses.contains(&answer.status), "{name}: {} {}", answer.status, answer.text());
        assert!(answer.text().contains(text), "{name}: {text:?} is not in {:?}", answer.text());
        assert!(!answer.text().is_empty() || answer.status == 404, "{name}: no text");
        if answer.status == 405 {
            assert_eq!(answer.header("allow"), Some("OPTIONS,GET"), "{name}");
        }
    }
    agent.get("/v1/kv/big").expect(404);
    agent.get("/v1/kv/lock").expect(404);
    well(&agent);
}

#[test]
fn the_largest_value_is_taken_and_given_back() {
    let agent = agent();
    let value = vec![0xa5; VALUE_LIMIT];
    assert!(agent.put("/v1/kv/big", &value).yes());
    assert!(agent.get("/v1/kv/big?raw").body == value);
    assert!(agent.get("/v1/kv/big").json()[0]["Value"] == STANDARD.encode(&value));
}

/// Depth costs stack: a parser that recurses without a limit takes the process with it.
#[test]
fn deep_nesting_is_an_error_and_not_a_crash() {
    let agent = agent();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = open.repeat(100_000) + "1" + &close.repeat(100_000);
        for target in [
            "/v1/txn",
            "/v1/catalog/register",
            "/v1/session/create",
            "/v1/coordinate/update",
            "/v1/catalog/deregister",
        ] {
            let answer = agent.put(target, &deep);
            assert!((400..=413).contains(&answer.status), "{target}: {}", answer.status);
        }
        let inside = format!("{{\"Node\":\"n\",\"Address\":\"a\",\"NodeMeta\":{{\"k\":{deep}}}}}");
        let answer = agent.put("/v1/catalog/register", &inside);
        assert!((400..=413).contains(&answer.status), "inside a field: {}", answer.status);
    }
    let filters = [
        format!("{}Node==a{}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("{}Node==a", "not+".repeat(12_000)),
        format!("Node==a{}", "+or+Node==a".repeat(4_000)),
        "Node+matches+%22(a%7B1000%7D)%7B1000%7D%22".to_owned(),
        "Node+matches+%22(%22".to_owned(),
    ];
    for filter in filters {
        let sent = raw(
            &agent,
            format!("GET /v1/catalog/nodes?filter={filter} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
        );
        let shown: String = filter.chars().take(40).collect();
        if let Some(answer) = sent {
            assert!([200, 400, 414, 431, 500].contains(&answer.status), "{shown}: {}", answer.status);
        }
        assert!(agent.runs(), "{shown}");
    }
    well(&agent);
}

#[test]
fn what_is_not_http_is_refused() {
    let agent = agent();
    let table: [(&str, &[u8]); 9] = [
        ("noise", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello\r\n\r\n"),
        ("no version", b"GET /v1/kv/kept\r\n\r\n"),
        ("bad version", b"GET /v1/kv/kept HTTP/9.9\r\nHost: x\r\n\r\n"),
        ("header without colon", b"GET /v1/kv/kept HTTP/1.1\r\nHost x\r\n\r\n"),
        ("length is no number", b"PUT /v1/kv/kept HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n"),
        ("negative length", b"PUT /v1/kv/kept HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
        ("two lengths", b"PUT /v1/kv/kept HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        ("broken chunk", b"PUT /v1/kv/kept HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n"),
        ("endless chunk size", b"PUT /v1/kv/kept HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nab"),
    ];
    for (name, bytes) in table {
        if let Some(answer) = raw(&agent, bytes) {
            assert!((400..=505).contains(&answer.status), "{name}: {}", answer.status);
        }
        well(&agent);
    }
}

#[test]
fn bodies_in_chunks_and_announced_bodies_arrive() {
    let agent = agent();
    let chunked = b"PUT /v1/kv/chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    assert!(raw(&agent, chunked).unwrap().yes());
    assert_eq!(agent.get("/v1/kv/chunked?raw").text(), "abcdefg");

    let body = "y".repeat(300_000);
    let mut stream = connect(agent.http(), LIMIT).unwrap();
    write!(
        stream,
        "PUT /v1/kv/announced HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).expect("100 Continue before the body");
    assert_eq!(&first, b"HTTP/1.1 100");
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    std::io::BufRead::read_line(&mut reader, &mut String::new()).unwrap();
    std::io::BufRead::read_line(&mut reader, &mut String::new()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    assert!(read_answer(&mut reader, false).unwrap().0.yes());
    assert!(agent.get("/v1/kv/announced?raw").text() == body);
}

#[test]
fn a_half_sent_body_writes_nothing() {
    let agent = agent();
    for length in [10, 100_000, VALUE_LIMIT] {
        let mut stream = connect(agent.http(), LIMIT).unwrap();
        write!(stream, "PUT /v1/kv/half HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\nhalf")
            .unwrap();
        agent.settle();
        agent.get("/v1/kv/half").expect(404);
        drop(stream);
        agent.settle();
        agent.get("/v1/kv/half").expect(404);
    }
    well(&agent);
}

#[test]
fn ten_megabytes_of_headers_are_cut_short() {
    let agent = agent();
    let before = agent.resident_kib();
    for count in [1, 10_000] {
        let header = format!("X-Flood: {}\r\n", "h".repeat(10_000_000 / count));
        let request = format!("GET /v1/kv/kept HTTP/1.1\r\nHost: x\r\n{}\r\n", header.repeat(count));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    if let Some(answer) = raw(&agent, request.as_bytes()) {
                        assert!((400..500).contains(&answer.status), "{count} headers: {}", answer.status);
                    }
                });
            }
        });
        well(&agent);
    }
    let grown = agent.resident_kib().saturating_sub(before);
    assert!(grown < 64 * MIB, "grew by {grown} KiB");
}

#[test]
fn long_urls_are_served_or_refused() {
    let agent = agent();
    for length in [7_000, 66_000, 200_000, 3_000_000] {
        let key = "k".repeat(length);
        let put = format!("PUT /v1/kv/{key} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nlong");
        match raw(&agent, put.as_bytes()) {
            Some(answer) if answer.status == 200 => {
                assert!(
                    agent.get(&format!("/v1/kv/{key}?raw")).text() == "long",
                    "{length}: taken, not given"
                );
            }
            Some(answer) => {
                assert!((400..500).contains(&answer.status), "{length}: {}", answer.status);
                assert!(length > 7_000, "{length} is not long: {} {}", answer.status, answer.text());
            }
            None => assert!(length > 66_000, "{length}: closed without a word"),
        }
        well(&agent);
    }
}

/// Connections that send a byte now and then hold a socket, not a worker and not memory.
#[test]
fn slow_senders_keep_nobody_waiting() {
    process::raise_descriptor_limit();
    let agent = agent();
    let before = agent.resident_kib();
    let mut slow: Vec<TcpStream> = Vec::new();
    for n in 0..400 {
        let mut stream = connect(agent.http(), LIMIT).unwrap();
        let start: &[u8] = match n % 3 {
            0 => b"GET /v1/kv/kept HTT",
            1 => b"GET /v1/kv/kept HTTP/1.1\r\nHost: x\r\nX-Slow: a",
            _ => b"PUT /v1/kv/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na",
        };
        stream.write_all(start).unwrap();
        slow.push(stream);
    }
    for _ in 0..20 {
        for stream in &mut slow {
            // The agent may have lost patience with some by now, which is its right.
            stream.write_all(b"a").ok();
        }
        well(&agent);
    }
    let grown = agent.resident_kib().saturating_sub(before);
    assert!(grown < 64 * MIB, "400 slow connections cost {grown} KiB");
    agent.get("/v1/kv/slow").expect(404);
    drop(slow);
    until("the slow connections to be closed", LIMIT, || process::open_files(agent.pid()) < 200);
    well(&agent);
}

/// What was announced is not set aside: only what came counts, up to the limit for values.
#[test]
fn many_unfinished_large_bodies_stay_within_bounds() {
    let agent = agent();
    let before = agent.resident_kib();
    let mut held: Vec<TcpStream> = Vec::new();
    for announced in [VALUE_LIMIT, 100_000_000, 4_000_000_000] {
        for n in 0..40 {
            let mut stream = connect(agent.http(), Duration::from_secs(2)).unwrap();
            let path = ["/v1/kv/held", "/v1/txn", "/v1/catalog/register"][n % 3];
            write!(stream, "PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {announced}\r\n\r\n").unwrap();
            // Refused at once, or read up to the limit: both end this write sooner or later.
            stream.write_all(&vec![b' '; VALUE_LIMIT - 1]).ok();
            held.push(stream);
        }
        well(&agent);
    }
    let grown = agent.resident_kib().saturating_sub(before);
    assert!(grown < 192 * MIB, "120 unfinished bodies cost {grown} KiB");
    drop(held);
    well(&agent);
}

/// Ends in memory that does not grow with the number of refused requests.
#[test]
fn refusals_leave_nothing_behind() {
    let agent = agent();
    let too_large = vec![b'x'; VALUE_LIMIT + 1];
    let round = || {
        let mut client = agent.client();
        for n in 0..300 {
            client.put("/v1/txn", "[{").unwrap().expect(400);
            assert!(client.get(&format!("/v1/catalog/nodes?filter=a{n}")).unwrap().status >= 400);
            client.put(&format!("/v1/kv/x?acquire=00000000-0000-0000-0000-{n:012}"), "").unwrap();
            if n % 30 == 0 {
                client.put("/v1/kv/big", &too_large).unwrap().expect(413);
            }
        }
    };
    round();
    let before = agent.resident_kib();
    (0..5).for_each(|_| round());
    let grown = agent.resident_kib().saturating_sub(before);
    assert!(grown < 24 * MIB, "1,500 refusals cost {grown} KiB");
    well(&agent);
}

#[test]
fn connections_beyond_the_limit_of_one_client_are_closed() {
    let agent = Setup::dev().with(json!({ "limits": { "http_max_conns_per_client": 20 } })).start();
    fixture::key(&agent, "kept", "value");
    until("the connections of the start to be gone", LIMIT, || agent.get("/v1/kv/kept").status == 200);
    let mut open = Vec::new();
    let served = |stream: &TcpStream| {
        (&*stream).write_all(b"GET /v1/kv/kept?raw HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
        read_answer(&mut BufReader::new(stream), false).ok().filter(|(answer, _)| answer.status == 200)
    };
    for _ in 0..60 {
        let stream = connect(agent.http(), LIMIT).unwrap();
        if served(&stream).is_some() {
            open.push(stream);
        }
    }
    assert!((15..=20).contains(&open.len()), "{} of 60 connections were served", open.len());
    for stream in &open {
        assert!(served(stream).is_some(), "an old connection suffered for the new ones");
    }
    drop(open);
    until("room for new connections", LIMIT, || {
        connect(agent.http(), LIMIT).is_ok_and(|stream| served(&stream).is_some())
    });
}
