use super::*;
use crate::cli::testing::{Server, run};

type Words<'a> = &'a [&'a str];
type Env<'a> = &'a [(&'a str, &'a str)];

fn get_value(server: &Server, words: &[&str], env: &[(&str, &str)]) -> crate::cli::testing::Seen {
    let all: Vec<&str> = ["kv", "get"].into_iter().chain(words.iter().copied()).chain(["a"]).collect();
    let outcome = server.run_with(&all, env, b"");
    assert_eq!(outcome.stdout, "hi\n", "{outcome:?}");
    server.take().remove(0)
}

fn server() -> Server {
    Server::start(&[("GET /v1/kv/a", 200, r#"[{"Key":"a","Value":"aGk="}]"#)])
}

#[test]
fn flags_win_over_the_environment() {
    let server = server();
    let address = server.address.to_string();
    let seen = get_value(
        &server,
        &["-http-addr", &address, "-token=flag"],
        &[("CONSUL_HTTP_ADDR", "127.0.0.1:1"), ("CONSUL_HTTP_TOKEN", "env")],
    );
    assert_eq!(seen.header("X-Consul-Token"), Some("flag"));
    let seen = get_value(&server, &["-http-addr="], &[("CONSUL_HTTP_TOKEN", "env")]);
    assert_eq!(seen.header("X-Consul-Token"), Some("env"));
    assert_eq!(seen.header("Host"), Some(address.as_str()));
}

#[test]
fn token_files_win_over_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let (full, empty) = (directory.path().join("full"), directory.path().join("empty"));
    std::fs::write(&full, " tok\n").unwrap();
    std::fs::write(&empty, "\n").unwrap();
    let (full, empty) = (full.display().to_string(), empty.display().to_string());
    let server = server();
    let cases: &[(Words<'_>, Env<'_>, Option<&str>)] = &[
        (&["-token=x", "-token-file", &full], &[], Some("tok")),
        (&["-token=x"], &[("CONSUL_HTTP_TOKEN_FILE", &full)], Some("tok")),
        (&["-token-file", &empty], &[("CONSUL_HTTP_TOKEN", "e")], Some("e")),
        (&[], &[], None),
    ];
    for (words, env, want) in cases {
        assert_eq!(get_value(&server, words, env).header("X-Consul-Token"), *want, "{words:?} {env:?}");
    }
}

#[test]
fn what_is_sent_along() {
    let server = server();
    let seen = get_value(
        &server,
        &["-stale", "-datacenter=d c", "-namespace=n"],
        &[("CONSUL_HTTP_AUTH", "user:pa:ss")],
    );
    assert_eq!(seen.line, "GET /v1/kv/a?dc=d+c&ns=n&stale=");
    assert_eq!(seen.header("Authorization"), Some("Basic dXNlcjpwYTpzcw=="));
    let seen = get_value(&server, &[], &[("CONSUL_HTTP_AUTH", "user"), ("CONSUL_NAMESPACE", "m")]);
    assert_eq!(seen.line, "GET /v1/kv/a?ns=m");
    assert_eq!(seen.header("Authorization"), Some("Basic dXNlcjo="));
}

#[test]
fn a_unix_socket_is_an_address() {
    use std::io::Write as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let amount = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n[\"dc1\"]").unwrap();
        String::from_utf8_lossy(&head[..amount]).into_owned()
    });
    let address = format!("unix://{}", path.display());
    let outcome = run(&["catalog", "datacenters"], &[("CONSUL_HTTP_ADDR", &address)], b"");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "dc1\n"), "{outcome:?}");
    assert!(server.join().unwrap().starts_with("GET /v1/catalog/datacenters HTTP/1.1\r\n"));
}

#[test]
fn failures_name_the_request() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = silent.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in silent.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 1024]);
        }
    });
    let plain = server().address.to_string();
    let cases: &[(String, Env<'_>, String)] = &[
        (
            free.to_string(),
            &[],
            format!("Error querying Consul agent: Get \"http://{free}/v1/kv/a\": dial tcp {free}: connect: connection refused"),
        ),
        (
            "unix:///no.sock".to_owned(),
            &[],
            "Error querying Consul agent: Get \"http://%2Fno.sock/v1/kv/a\": dial unix /no.sock: connect: no such file or directory".to_owned(),
        ),
        (
            silent_address.clone(),
            &[],
            format!("Error querying Consul agent: Get \"http://{silent_address}/v1/kv/a\": EOF"),
        ),
        (
            plain.clone(),
            &[("CONSUL_HTTP_SSL", "1")],
            format!("Error querying Consul agent: Get \"https://{plain}/v1/kv/a\": http: server gave HTTP response to HTTPS client"),
        ),
        ("tcp://x".to_owned(), &[], "Error connecting to Consul agent: Unknown protocol scheme: tcp".to_owned()),
        (
            free.to_string(),
            &[("CONSUL_HTTP_TOKEN_FILE", "/no")],
            "Error connecting to Consul agent: Error loading token file: open /no: no such file or directory".to_owned(),
        ),
        (
            free.to_string(),
            &[("CONSUL_CACERT", "/no")],
            "Error connecting to Consul agent: Error loading CA File: open /no: no such file or directory".to_owned(),
        ),
    ];
    for (address, env, want) in cases {
        let mut all = vec![("CONSUL_HTTP_ADDR", address.as_str())];
        all.extend_from_slice(env);
        let outcome = run(&["kv", "get", "a"], &all, b"");
        assert_eq!((outcome.code, outcome.stderr.trim_end()), (1, want.as_str()), "{address} {env:?}");
    }
}

#[test]
fn a_boolean_variable_that_is_none_is_reported_and_ignored() {
    let server = server();
    let outcome = server.run_with(&["kv", "get", "a"], &[("CONSUL_HTTP_SSL", "x")], b"");
    assert_eq!(outcome.code, 0);
    assert!(outcome.stderr.contains("could not parse CONSUL_HTTP_SSL"), "{outcome:?}");
}

#[test]
fn error_bodies_are_shown_as_they_came() {
    let status = ClientError::Status { code: 500, body: "two\nlines\n".to_owned() };
    assert_eq!(status.to_string(), "Unexpected response code: 500 (two\nlines\n)");
}

/// A client of nobody, for tests of what needs no answer.
pub(in crate::cli) fn unreachable_client() -> Client {
    Client::new(Options { address: "127.0.0.1:1".to_owned(), ..Options::default() }).unwrap()
}
