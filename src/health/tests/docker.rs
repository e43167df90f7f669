//! Docker checks, against a stand-in for the engine on a Unix socket.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::{Settings, Status, expect, look_with, settings};
use crate::definition::CheckDefinition;

type Requests = Arc<Mutex<Vec<String>>>;

/// An engine whose containers are named by what happens in them. The exec's id is the container's name.
struct Engine {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    requests: Requests,
}

fn engine() -> Engine {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let requests = Requests::default();
    let noted = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&noted)));
        }
    });
    Engine { _directory: directory, socket, requests }
}

async fn serve(mut stream: UnixStream, requests: Requests) {
    let mut request = vec![0; 65536];
    let mut filled = 0;
    // Requests are small and come in one or two pieces: a head, and a JSON body if it is a POST.
    while filled == 0 || (request.starts_with(b"POST") && !request[..filled].ends_with(b"}")) {
        match stream.read(&mut request[filled..]).await {
            Ok(0) | Err(_) => return,
            Ok(count) => filled += count,
        }
    }
    let text = String::from_utf8_lossy(&request[..filled]).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    requests.lock().unwrap().push(text);
    let name = path.split('/').nth(2).unwrap_or_default();
    let step = path.rsplit('/').next().unwrap_or_default();
    let plain = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let frame = |stream: u8, text: &[u8]| {
        [&[stream, 0, 0, 0][..], &u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat()
    };
    let output = |bytes: Vec<u8>| [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), bytes].concat();
    let bytes = match (step, name) {
        ("exec", "unknown") => plain("404 Not Found", "{\"message\":\"No such container\"}"),
        ("exec", "paused") => plain("409 Conflict", "{}"),
        ("exec", "broken") => plain("500 Internal Server Error", "boom"),
        ("exec", "junk") => plain("201 Created", "junk"),
        ("exec", name) => plain("201 Created", &format!("{{\"Id\":\"{name}\"}}")),
        ("start", "hang") => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            return;
        }
        ("start", "gone") => plain("404 Not Found", ""),
        ("start", "terminal") => output(b"from a terminal".to_vec()),
        ("start", "huge") => output(frame(1, &vec![b'x'; 65536]).repeat(200)),
        ("start", _) => output([frame(1, b"out\n"), frame(2, b"err\n")].concat()),
        ("json", "inspect") => plain("500 Internal Server Error", "no"),
        ("json", name) => {
            let code = name.strip_prefix("exit-").unwrap_or("0");
            plain("200 OK", &format!("{{\"ExitCode\":{code},\"Running\":false}}"))
        }
        _ => plain("400 Bad Request", ""),
    };
    let _ = stream.write_all(&bytes).await;
}

fn check(container: &str) -> CheckDefinition {
    CheckDefinition {
        docker_container_id: container.to_owned(),
        args: vec!["/bin/check".to_owned(), "a b".to_owned()],
        timeout: Duration::from_secs(20),
        ..CheckDefinition::default()
    }
}

fn at(docker_host: String) -> Settings {
    Settings { docker_host, ..settings() }
}

#[tokio::test]
async fn what_containers_say() {
    use Status::{Critical, Passing, Warning};
    let engine = engine();
    let host = format!("unix://{}", engine.socket.display());
    let both = "out\nerr\n";
    let cases = [
        ("exit-0", Passing, both),
        ("exit-1", Warning, both),
        ("exit-2", Critical, both),
        ("terminal", Passing, "from a terminal"),
        ("unknown", Critical, "create exec failed for unknown container unknown"),
        ("paused", Critical, "create exec failed since container paused is paused or stopped"),
        ("broken", Critical, "create exec failed for container broken with status 500: boom"),
        ("gone", Critical, "start exec failed for container gone: invalid exec id gone"),
        ("inspect", Critical, "inspect exec failed for container inspect with status 500: no"),
    ];
    for (container, status, output) in cases {
        expect(container, &look_with(&check(container), at(host.clone())).await, status, output);
    }
    let junk = look_with(&check("junk"), at(host.clone())).await;
    assert!(junk.output.starts_with("create exec response for container junk cannot be parsed"), "{junk:?}");
    let huge = look_with(&check("huge"), at(host.clone())).await;
    let want = format!("Captured 4096 of 13107200 bytes\n...\n{}", "x".repeat(4096));
    expect("huge", &huge, Passing, &want);
    let slow = CheckDefinition { timeout: Duration::from_millis(200), ..check("hang") };
    let got = look_with(&slow, at(host)).await;
    expect("hangs", &got, Critical, "Timed out (200ms) running check");

    let requests = engine.requests.lock().unwrap();
    let first = requests.first().unwrap();
    assert!(first.starts_with("POST /containers/exit-0/exec HTTP/1.1\r\nHost: docker\r\n"), "{first}");
    assert!(first.contains("\"Cmd\":[\"/bin/check\",\"a b\"]"), "{first}");
}

#[tokio::test]
async fn no_engine() {
    let cases = [
        (
            "unix:///no/such.sock",
            "create exec failed for container c: dial unix /no/such.sock: connect: no such file or directory",
        ),
        ("nonsense", "create exec failed for container c: unable to parse docker host `nonsense`"),
    ];
    for (host, want) in cases {
        expect(host, &look_with(&check("c"), at(host.to_owned())).await, Status::Critical, want);
    }
    // Over TCP, with a path before those of the engine.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let count = stream.read(&mut request).await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
        String::from_utf8_lossy(&request[..count]).into_owned()
    });
    let got = look_with(&check("c"), at(format!("tcp://{address}/base"))).await;
    expect("tcp", &got, Status::Critical, "create exec failed for unknown container c");
    assert!(server.await.unwrap().starts_with("POST /base/containers/c/exec "));
}
