//! DNS as its users see it: over UDP, TCP, TLS and HTTPS, with recursors behind it, through reloads, and in front
//! of clients that send nonsense or too much of it.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hickory_server::proto::op::ResponseCode;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::agent::{Agent, Setup};
use crate::support::dns::{
    A, SRV, Upstream, addresses, ask, ask_stream, ask_udp, code, connect, decode, framed, query, read_framed,
    socket,
};
use crate::support::rng::Rng;
use crate::support::wait::until;

const LIMIT: Duration = Duration::from_secs(10);

fn dns(agent: &Agent) -> SocketAddr {
    let port = agent.config()["ports"]["dns"].as_u64().and_then(|port| port.try_into().ok());
    SocketAddr::new(agent.http().ip(), port.expect("a port"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Registers `count` instances of a service, on a node each: 10.1.0.1 and so on.
fn register(agent: &Agent, service: &str, count: usize) {
    for first in (0..count).step_by(60) {
        let register: Vec<Value> = (first..count.min(first + 60))
            .map(|n| {
                let address = format!("10.1.{}.{}", n / 250, n % 250 + 1);
                json!({ "Node": { "Verb": "set", "Node": { "Node": format!("n{n}"), "Address": address } } })
            })
            .collect();
        agent.put("/v1/txn", json!(register).to_string()).expect(200);
        let register: Vec<Value> = (first..count.min(first + 60))
            .map(|n| {
                let entry = json!({ "ID": service, "Service": service, "Port": 80 });
                json!({ "Service": { "Verb": "set", "Node": format!("n{n}"), "Service": entry } })
            })
            .collect();
        agent.put("/v1/txn", json!(register).to_string()).expect(200);
    }
}

#[test]
fn lookups_follow_the_catalog() {
    let agent = Agent::dev();
    let server = dns(&agent);
    assert_eq!(code(&ask(server, "web.service.consul", A)), ResponseCode::NXDomain);
    register(&agent, "web", 3);
    let found = ask(server, "web.service.consul", A);
    assert_eq!(addresses(&found), [(ip("10.1.0.1"), 0), (ip("10.1.0.2"), 0), (ip("10.1.0.3"), 0)]);
    assert!(found.metadata.authoritative);
    let mut stream = connect(server);
    let found = ask_stream(&mut stream, &query("_web._tcp.service.consul", SRV, 0));
    assert_eq!(found.answers.len(), 3);
    assert_eq!(
        addresses(&ask_stream(&mut stream, &query("n1.node.dc1.consul", A, 0))),
        [(ip("10.1.0.2"), 0)]
    );
    let gone = json!({ "Node": "n0" }).to_string();
    agent.put("/v1/catalog/deregister", gone).expect(200);
    let found = ask(server, "web.service.consul", A);
    assert_eq!(addresses(&found), [(ip("10.1.0.2"), 0), (ip("10.1.0.3"), 0)]);
    assert_eq!(code(&ask(server, "example.org", A)), ResponseCode::Refused, "nobody to ask");
}

#[test]
fn shortened_answers_are_whole_over_tcp() {
    let agent = Setup::dev().with(json!({ "dns_config": { "enable_truncate": true } })).start();
    let server = dns(&agent);
    register(&agent, "many", 500);
    let short = ask(server, "many.service.consul", A);
    assert!(short.metadata.truncation);
    assert_eq!(short.answers.len(), 3);
    let longer = ask_udp(server, &query("many.service.consul", A, 4096));
    assert!(longer.metadata.truncation && longer.answers.len() > 100, "{}", longer.answers.len());
    let whole = ask_stream(&mut connect(server), &query("many.service.consul", A, 0));
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (500, false));
}

#[test]
fn a_reload_changes_ttls_and_recursors() {
    let (first, second) = (Upstream::start(Some([203, 0, 113, 1])), Upstream::start(Some([203, 0, 113, 2])));
    let mut agent = Setup::dev().with(json!({ "recursors": [first.address.to_string()] })).start();
    let server = dns(&agent);
    register(&agent, "web", 1);
    assert_eq!(addresses(&ask(server, "www.example.org", A)), [(ip("203.0.113.1"), 77)]);
    agent.reconfigure(json!({
        "recursors": [second.address.to_string()],
        "dns_config": { "service_ttl": { "*": "5s", "web": "30s" }, "node_ttl": "7s" },
    }));
    agent.put("/v1/agent/reload", "").expect(200);
    assert_eq!(addresses(&ask(server, "www.example.org", A)), [(ip("203.0.113.2"), 77)]);
    assert_eq!(addresses(&ask(server, "web.service.consul", A)), [(ip("10.1.0.1"), 30)]);
    assert_eq!(addresses(&ask(server, "n0.node.consul", A)), [(ip("10.1.0.1"), 7)]);
    // What cannot be followed changes nothing.
    agent.reconfigure(json!({ "recursors": ["no.such.host.invalid"], "dns_config": { "node_ttl": "8s" } }));
    let refused = agent.put("/v1/agent/reload", "");
    assert_eq!(refused.status, 500, "{}", refused.text());
    assert_eq!(addresses(&ask(server, "n0.node.consul", A)), [(ip("10.1.0.1"), 7)]);
    agent.reconfigure(json!({ "recursors": [] }));
    agent.signal(Signal::HUP);
    until("recursors gone", LIMIT, || code(&ask(server, "www.example.org", A)) == ResponseCode::Refused);
}

#[test]
fn recursors_are_asked_in_order_with_what_the_client_sent() {
    let silent = Upstream::start(None);
    let answering = Upstream::start(Some([203, 0, 113, 9]));
    let own = "127.0.0.1:1";
    let recursors = [silent.address.to_string(), own.to_owned(), answering.address.to_string()];
    let agent = Setup::dev()
        .with(json!({ "recursors": recursors, "dns_config": { "recursor_timeout": "200ms" } }))
        .start();
    let server = dns(&agent);
    let asked = query("WWW.example.org", A, 1400);
    let begun = Instant::now();
    assert_eq!(addresses(&ask_udp(server, &asked)), [(ip("203.0.113.9"), 77)]);
    assert!(begun.elapsed() >= Duration::from_millis(200), "the first one has its time");
    assert_eq!(silent.asked(), [("udp", asked.clone())]);
    assert_eq!(answering.asked(), [("udp", asked.clone())]);
    let mut stream = connect(server);
    // What need not wait does not.
    stream
        .write_all(&[framed(&asked), framed(&query("nobody.node.consul", A, 0))].concat())
        .expect("it is sent");
    let quick = read_framed(&mut stream).expect("an answer");
    assert_ne!(quick[..2], asked[..2]);
    let slow = read_framed(&mut stream).expect("an answer");
    assert_eq!(addresses(&decode(&asked, &slow)), [(ip("203.0.113.9"), 77)]);
    assert_eq!(answering.asked(), [("tcp", asked)]);
}

#[test]
fn an_agent_does_not_ask_itself() {
    let mut agent = Agent::dev();
    let own = dns(&agent).to_string();
    agent.reconfigure(json!({ "recursors": [own], "dns_config": { "recursor_timeout": "300ms" } }));
    agent.put("/v1/agent/reload", "").expect(200);
    let begun = Instant::now();
    assert_eq!(code(&ask(dns(&agent), "example.org", A)), ResponseCode::Refused);
    assert!(begun.elapsed() < Duration::from_millis(300));
    agent.wait_output("a recursor that is this agent is never asked", LIMIT);
}

#[test]
fn nonsense_does_no_harm() {
    let agent = Agent::dev();
    let server = dns(&agent);
    let mut rng = Rng::new(0xd15);
    let good = query("node1.node.consul", A, 1232);
    let socket = socket(server);
    socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a patience");
    let mut buffer = [0; 4096];
    for round in 0..20_000_u32 {
        let mut message = if round % 2 == 0 {
            let length = usize::try_from(rng.between(0, 600)).expect("a length");
            (0..length).map(|_| u8::try_from(rng.between(0, 256)).expect("a byte")).collect()
        } else {
            good.clone()
        };
        if round % 2 == 1 {
            for _ in 0..=rng.between(0, 4) {
                let at = usize::try_from(rng.between(0, message.len() as u64)).expect("a place");
                message[at] = u8::try_from(rng.between(0, 256)).expect("a byte");
            }
            message.truncate(usize::try_from(rng.between(0, message.len() as u64 + 40)).expect("a length"));
        }
        socket.send(&message).expect("it is sent");
        if round % 16 == 0 {
            while socket.recv(&mut buffer).is_ok() {}
        }
    }
    let mut streams: Vec<TcpStream> = (0..50).map(|_| connect(server)).collect();
    for stream in &mut streams {
        let noise: Vec<u8> =
            (0..70_000).map(|_| u8::try_from(rng.between(0, 256)).expect("a byte")).collect();
        // It may be hung up on.
        let _ = stream.write_all(&noise);
    }
    assert_eq!(addresses(&ask(server, "node1.node.consul", A)).len(), 1);
    assert_eq!(addresses(&ask_stream(&mut connect(server), &good)).len(), 1);
    assert!(!agent.output().contains("panicked"), "{}", agent.output());
}

#[test]
fn slow_and_many_connections() {
    let agent = Agent::dev();
    let server = dns(&agent);
    let asked = query("node1.node.consul", A, 0);
    let mut slow = connect(server);
    for byte in framed(&asked) {
        slow.write_all(&[byte]).expect("it is sent");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(code(&decode(&asked, &read_framed(&mut slow).expect("an answer"))), ResponseCode::NoError);
    let before = agent.resident_kib();
    let begun = Instant::now();
    let mut streams: Vec<TcpStream> = (0..400).map(|_| connect(server)).collect();
    for stream in &mut streams {
        assert_eq!(code(&ask_stream(stream, &asked)), ResponseCode::NoError);
    }
    let each = agent.resident_kib().saturating_sub(before) / 400;
    assert!(each < 16, "{each} KiB for each connection");
    // The largest message there can be, most of it after the end of the query.
    let mut large = query("node1.node.consul", A, 0);
    large.resize(65_535, 0);
    let stream = &mut streams[0];
    stream.write_all(&framed(&large)).expect("it is sent");
    decode(&large, &read_framed(stream).expect("an answer"));
    let mut idle = streams.pop().expect("one of them");
    assert_eq!(idle.read(&mut [0; 1]).expect("an end, not an error"), 0);
    assert!(begun.elapsed() > Duration::from_secs(7), "closed after {:?}", begun.elapsed());
}

#[test]
fn over_https() {
    let mut agent = Setup::dev().with(json!({ "dns_config": { "node_ttl": "33s" } })).start();
    let asked = query("node1.node.consul", A, 0);
    let target = format!("/dns-query?dns={}", URL_SAFE_NO_PAD.encode(&asked));
    assert_eq!(agent.get(&target).status, 404, "off unless switched on");
    agent.reconfigure(json!({ "dns_config": { "enable_doh": true } }));
    agent.put("/v1/agent/reload", "").expect(200);
    let media = "application/dns-message";
    let found = agent.get(&target).expect(200);
    assert_eq!(found.header("content-type"), Some(media));
    assert_eq!(found.header("cache-control"), Some("max-age=33"));
    assert_eq!(addresses(&decode(&asked, &found.body)), [(agent.http().ip(), 33)]);
    let post = |media: &str, body: &[u8]| {
        let headers = [("Content-Type", media)];
        agent.client().request("POST", "/dns-query", &headers, body).expect("an answer")
    };
    assert_eq!(addresses(&decode(&asked, &post(media, &asked).expect(200).body)).len(), 1);
    assert_eq!(post("text/plain", &asked).status, 415);
    assert_eq!(post(media, b"short").status, 400);
    assert_eq!(post(media, &vec![0; 70_000]).status, 413);
    assert_eq!(agent.get("/dns-query").status, 400);
    assert_eq!(agent.get("/dns-query?dns=***").status, 400);
    assert_eq!(agent.put("/dns-query", &asked).status, 405);
}

#[test]
fn over_tls() {
    let home = tempfile::tempdir().expect("a directory");
    let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| home.path().join(name));
    let made = |name: &str| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        std::fs::write(&cert_file, made.cert.pem()).expect("it is written");
        std::fs::write(&key_file, made.signing_key.serialize_pem()).expect("it is written");
        made.cert.der().clone()
    };
    let first = made("dns.example");
    // A port that was free a moment ago, on the address that only this agent has.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a free port")
        .port();
    let mut agent = Setup::dev()
        .with(json!({ "ports": { "dns_tls": port }, "cert_file": cert_file, "key_file": key_file }))
        .start();
    let server = SocketAddr::new(agent.http().ip(), port);
    let asked = query("node1.node.consul", A, 0);
    let mut before = tls(server, "dns.example", &first);
    assert_eq!(addresses(&ask_stream(&mut before, &asked)).len(), 1);
    let mut second_query = framed(&asked);
    second_query.extend(framed(&query("nobody.node.consul", A, 0)));
    before.write_all(&second_query).expect("it is sent");
    read_framed(&mut before).expect("an answer");
    read_framed(&mut before).expect("another answer");
    let second = made("dns2.example");
    agent.put("/v1/agent/reload", "").expect(200);
    assert_eq!(addresses(&ask_stream(&mut tls(server, "dns2.example", &second), &asked)).len(), 1);
    assert_eq!(addresses(&ask_stream(&mut before, &asked)).len(), 1, "open connections stay");
    // Those who do not speak TLS are hung up on.
    let mut plain = connect(server);
    plain.write_all(&framed(&asked)).expect("it is sent");
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest);
    assert!(rest.len() < 20, "an alert at most");
    agent.reconfigure(json!({ "cert_file": "/nowhere/cert.pem" }));
    agent.put("/v1/agent/reload", "").expect(200);
    assert_eq!(addresses(&ask_stream(&mut tls(server, "dns2.example", &second), &asked)).len(), 1);
}

/// `verify_incoming` holds for DNS over TLS as for HTTPS.
#[test]
fn over_tls_only_for_clients_with_a_certificate() {
    let home = tempfile::tempdir().expect("a directory");
    let key = || rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = key();
    let authority = params.self_signed(&authority_key).expect("an authority");
    let issuer = rcgen::Issuer::new(params, authority_key);
    let issue = |name: &str| {
        let key = key();
        let params = rcgen::CertificateParams::new([name.to_owned()]).expect("parameters");
        (params.signed_by(&key, &issuer).expect("a certificate"), key)
    };
    let (server, server_key) = issue("dns.example");
    let (client, client_key) = issue("client.example");
    let write = |name: &str, text: String| {
        let file = home.path().join(name);
        std::fs::write(&file, text).expect("it is written");
        file
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a free port")
        .port();
    let agent = Setup::dev()
        .with(json!({
            "ports": { "dns_tls": port },
            "ca_file": write("ca.pem", authority.pem()),
            "cert_file": write("cert.pem", server.pem()),
            "key_file": write("key.pem", server_key.serialize_pem()),
            "verify_incoming_https": true,
        }))
        .start();
    let address = SocketAddr::new(agent.http().ip(), port);
    let asked = query("node1.node.consul", A, 0);
    let proof = (client.der().clone(), client_key.serialize_der());
    let mut known = tls_as(address, "dns.example", authority.der(), Some(proof));
    assert_eq!(addresses(&ask_stream(&mut known, &asked)).len(), 1);
    let mut stranger = tls(address, "dns.example", authority.der());
    let refused = stranger.write_all(&framed(&asked)).is_err() || read_framed(&mut stranger).is_err();
    assert!(refused, "a client without a certificate gets no answer");
}

type TlsClient = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

fn tls(
    server: SocketAddr,
    name: &str,
    certificate: &rustls::pki_types::CertificateDer<'static>,
) -> TlsClient {
    tls_as(server, name, certificate, None)
}

/// With a certificate and key of its own, if any.
fn tls_as(
    server: SocketAddr,
    name: &str,
    certificate: &rustls::pki_types::CertificateDer<'static>,
    proof: Option<(rustls::pki_types::CertificateDer<'static>, Vec<u8>)>,
) -> TlsClient {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match proof {
        Some((certificate, key)) => {
            let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key);
            config.with_client_auth_cert(vec![certificate], key.into()).expect("a certificate with its key")
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"dot".to_vec()];
    let name = name.to_owned().try_into().expect("a name");
    let connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a connection");
    rustls::StreamOwned::new(connection, connect(server))
}

#[test]
fn an_address_that_is_taken_ends_the_start() {
    let first = Agent::dev();
    let taken = dns(&first);
    let mut second = Setup::dev()
        .with(json!({ "addresses": { "dns": taken.ip().to_string() }, "ports": { "dns": taken.port() } }))
        .spawn();
    assert!(!second.wait_exit(LIMIT).success());
    let text = format!("cannot listen for DNS over TCP on {taken}");
    assert!(second.stderr().contains(&text), "{}", second.stderr());
}
