//! HTTP, in clear text.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Status, expect, look, look_within, servers};
use crate::definition::CheckDefinition;

fn check(url: String) -> CheckDefinition {
    CheckDefinition { http: url, timeout: Duration::from_secs(20), ..CheckDefinition::default() }
}

fn fields(given: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let list = |values: &&[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    given.iter().map(|(name, values)| ((*name).to_owned(), list(values))).collect()
}

#[tokio::test]
async fn statuses() {
    use Status::{Critical, Passing, Warning};
    let server = servers::http(None).await;
    let cases = [
        ("200_OK", Passing, "200 OK"),
        ("204_No_Content", Passing, "204 No Content"),
        ("299_Odd_Words", Passing, "299 Odd Words"),
        ("299_", Passing, "299 "),
        ("300_Multiple_Choices", Critical, "300 Multiple Choices"),
        ("304_Not_Modified", Critical, "304 Not Modified"),
        ("404_Not_Found", Critical, "404 Not Found"),
        ("429_Too_Many_Requests", Warning, "429 Too Many Requests"),
        ("500_Internal_Server_Error", Critical, "500 Internal Server Error"),
    ];
    for (path, status, line) in cases {
        let url = format!("http://{server}/status/{path}");
        let body = if path.starts_with("204") || path.starts_with("304") { "" } else { "the body" };
        let got = look(&check(url.clone())).await;
        expect(path, &got, status, &format!("HTTP GET {url}: {line} Output: {body}"));
    }
}

#[tokio::test]
async fn requests_as_consuls() {
    let server = servers::http(None).await;
    let url = format!("http://{server}/echo?a=b%20c#frag");
    let own = "User-Agent: Consul Health Check\nAccept: text/plain, text/*, */*\nConnection: close\n";
    let got = look(&check(url.clone())).await;
    let want =
        format!("HTTP GET {url}: 200 OK Output: GET /echo?a=b%20c HTTP/1.1\nHost: {server}\n{own}\nBODY ");
    expect("plain", &got, Status::Passing, &want);

    let full = CheckDefinition {
        method: "PUT".to_owned(),
        body: "bb".to_owned(),
        header: fields(&[("X-A", &["1", "2"]), ("Host", &["h.example"]), ("User-Agent", &["me"])]),
        ..check(url)
    };
    let got = look(&full).await.output;
    for part in [
        "PUT /echo?a=b%20c",
        "\nHost: h.example\n",
        "User-Agent: me\n",
        "X-A: 1\nX-A: 2\n",
        "Content-Length: 2\n",
        "BODY bb",
    ] {
        assert!(got.contains(part), "{part} in {got}");
    }
    let got = look(&check(format!("http://user:pass@{server}/echo"))).await.output;
    assert!(got.contains("\nAuthorization: Basic dXNlcjpwYXNz\n"), "{got}");
}

#[tokio::test]
async fn bodies() {
    let server = servers::http(None).await;
    let url = |path: &str| format!("http://{server}/{path}");
    for (path, want) in [
        ("bin", "\u{fffd}\u{fffd} ok x"),
        ("chunked", "abcde"),
        ("until-close", "old"),
        ("short", "xx"),
        ("continue", "after"),
    ] {
        let got = look(&check(url(path))).await;
        expect(path, &got, Status::Passing, &format!("HTTP GET {}: 200 OK Output: {want}", url(path)));
    }
    let capped = CheckDefinition { output_max_size: 15, ..check(url("big")) };
    let want = format!("HTTP GET {}: 200 OK Output: 567890123456789", url("big"));
    expect("the end of a long one", &look(&capped).await, Status::Passing, &want);
    let got = look(&check(url("big"))).await;
    assert_eq!(got.output.len() - 4096, format!("HTTP GET {}: 200 OK Output: ", url("big")).len());

    let slow = CheckDefinition { timeout: Duration::from_millis(200), ..check(url("slow-body")) };
    let got = look_within(Duration::from_secs(10), &slow).await;
    let want = format!("HTTP GET {}: 200 OK Output: xx", url("slow-body"));
    expect("a body that does not end", &got, Status::Passing, &want);
    let endless = CheckDefinition { timeout: Duration::from_millis(500), ..check(url("endless")) };
    let got = look_within(Duration::from_secs(10), &endless).await;
    assert_eq!((got.status, got.output.len() < 5000), (Status::Passing, true), "an endless body");
    let head = look(&CheckDefinition { method: "HEAD".to_owned(), ..check(url("status/200_OK")) }).await;
    assert_eq!(head.output, format!("HTTP HEAD {}: 200 OK Output: ", url("status/200_OK")));
}

#[tokio::test]
async fn redirects() {
    let server = servers::http(None).await;
    let url = |path: &str| format!("http://{server}/{path}");
    let post = |path: &str| CheckDefinition {
        method: "POST".to_owned(),
        body: "bb".to_owned(),
        header: fields(&[("Host", &["h.example"]), ("Cookie", &["a=b"]), ("X-Z", &["z"])]),
        ..check(url(path))
    };
    let moved = look(&post("moved")).await.output;
    let referer = format!("Referer: http://{server}/moved\n");
    for part in ["HTTP POST", "GET /echo", "Host: h.example\n", "Cookie: a=b\n", "BODY ", &referer] {
        assert!(moved.contains(part), "{part} in {moved}");
    }
    assert!(!moved.contains("BODY bb") && !moved.contains("Content-Length"), "{moved}");
    let kept = look(&post("kept")).await.output;
    assert!(kept.contains("POST /echo") && kept.ends_with("BODY bb"), "{kept}");
    let other = look(&post("other")).await.output;
    assert!(other.contains(&format!("Host: localhost:{}\n", server.port())), "{other}");
    assert!(!other.contains("Cookie") && other.contains("X-Z: z"), "{other}");

    let got = look(&check(url("loop"))).await;
    expect("a circle", &got, Status::Critical, "Get \"/loop\": stopped after 10 redirects");
    let got = look(&check(url("nowhere"))).await;
    let want = format!("Get \"{}\": 302 response missing Location header", url("nowhere"));
    expect("to nowhere", &got, Status::Critical, &want);
    let taken = CheckDefinition { disable_redirects: true, ..check(url("moved")) };
    let want = format!("HTTP GET {}: 302 Found Output: moved", url("moved"));
    expect("not followed", &look(&taken).await, Status::Critical, &want);
}

#[tokio::test]
async fn no_answer() {
    let server = servers::http(None).await;
    let nobody = servers::nobody().await;
    let url = |path: &str| format!("http://{server}/{path}");
    let cases = [
        (
            format!("http://{nobody}/x"),
            format!("Get \"http://{nobody}/x\": dial tcp {nobody}: connect: connection refused"),
        ),
        (url("close"), format!("Get \"{}\": EOF", url("close"))),
        ("ftp://127.0.0.1/x".into(), "Get \"ftp://127.0.0.1/x\": unsupported protocol scheme \"ftp\"".into()),
        ("localhost/x".into(), "Get \"localhost/x\": unsupported protocol scheme \"\"".into()),
        (
            "127.0.0.1:25600/x".into(),
            "parse \"127.0.0.1:25600/x\": first path segment in URL cannot contain colon".into(),
        ),
        ("http://".into(), "Get \"http://\": http: no Host in request URL".into()),
        ("http://[::1/x".into(), "parse \"http://[::1/x\": missing ']' in host".into()),
        (
            "http://127.0.0.1:abc/".into(),
            "parse \"http://127.0.0.1:abc/\": invalid port \":abc\" after host".into(),
        ),
        (
            "http://127.0.0.1:99999/".into(),
            "Get \"http://127.0.0.1:99999/\": dial tcp: address 99999: invalid port".into(),
        ),
    ];
    for (target, want) in cases {
        expect(&target, &look(&check(target.clone())).await, Status::Critical, &want);
    }
    let junk = look(&check(url("junk"))).await;
    let start = format!("Get \"{}\": net/http: HTTP/1.x transport connection broken: malformed", url("junk"));
    assert!(junk.status == Status::Critical && junk.output.starts_with(&start), "{junk:?}");
    let head = look_within(Duration::from_secs(10), &check(url("endless-head"))).await;
    assert_eq!(head.status, Status::Critical, "{head:?}");
    let odd = [
        (
            CheckDefinition { method: "A B".into(), ..check(url("")) },
            "net/http: invalid method \"A B\"".to_owned(),
        ),
        (
            CheckDefinition { header: fields(&[("X Y", &["v"])]), ..check(url("")) },
            format!("Get \"{}\": net/http: invalid header field name \"X Y\"", url("")),
        ),
        (
            CheckDefinition { header: fields(&[("X", &["a\nb"])]), ..check(url("")) },
            format!("Get \"{}\": net/http: invalid header field value \"a\\nb\" for key X", url("")),
        ),
    ];
    for (definition, want) in odd {
        expect("a bad request", &look(&definition).await, Status::Critical, &want);
    }
}

#[tokio::test]
async fn out_of_time() {
    let server = servers::http(None).await;
    let silent = servers::silent().await;
    for url in [format!("http://{server}/silent"), format!("http://{silent}/")] {
        let slow = CheckDefinition { timeout: Duration::from_millis(200), ..check(url.clone()) };
        let got = look_within(Duration::from_secs(10), &slow).await;
        let want = format!(
            "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        );
        expect(&url, &got, Status::Critical, &want);
    }
}
