//! gRPC health and HTTP/2 pings, against a server made of h2.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use hyper::{HeaderMap, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Status, expect, look, look_within, servers};
use crate::definition::CheckDefinition;

/// A health server whose answer is named by the service asked for.
pub async fn serve(port: u16, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    None => connection(stream).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            connection(stream).await;
                        }
                    }
                }
            });
        }
    });
    address
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(async move {
            let right = request.uri().path() == "/grpc.health.v1.Health/Check"
                && request.headers()["content-type"] == "application/grpc"
                && request.headers()["te"] == "trailers";
            let mut body = request.into_body();
            let mut asked = Vec::new();
            while let Some(Ok(data)) = body.data().await {
                asked.extend_from_slice(&data);
            }
            // Behind the prefix, the tag and the length.
            let service = String::from_utf8_lossy(asked.get(7..).unwrap_or_default()).into_owned();
            assert!(right, "a gRPC request");
            answer(&service, respond).await;
        });
    }
}

async fn answer(service: &str, mut respond: SendResponse<Bytes>) {
    let head = |status: u16| Response::builder().status(status);
    let grpc = |status: u16| head(status).header("content-type", "application/grpc");
    let message = |status: u8| Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]);
    let trailers = |code: &str, text: &str| {
        let mut fields = HeaderMap::new();
        fields.insert("grpc-status", code.parse().unwrap());
        fields.insert("grpc-message", text.parse().unwrap());
        fields
    };
    let answer = match service {
        "" | "SERVING" | "svc/a" => Some(message(1)),
        "UNKNOWN" => Some(message(0)),
        "NOT" => Some(message(2)),
        "EMPTY" => Some(Bytes::from_static(&[0; 5])),
        "BAD" => Some(Bytes::from_static(&[0, 0, 0, 0, 2, 0xff, 0xff])),
        "HUGE" => {
            let mut stream = respond.send_response(grpc(200).body(()).unwrap(), false).unwrap();
            for _ in 0..1000 {
                stream.reserve_capacity(16384);
                while stream.capacity() < 16384 {
                    if std::future::poll_fn(|context| stream.poll_capacity(context)).await.is_none() {
                        return;
                    }
                }
                if stream.send_data(Bytes::from_static(&[0; 16384]), false).is_err() {
                    return;
                }
            }
            return;
        }
        _ => None,
    };
    if let Some(bytes) = answer {
        let mut stream = respond.send_response(grpc(200).body(()).unwrap(), false).unwrap();
        stream.send_data(bytes, false).unwrap();
        stream.send_trailers(trailers("0", "")).unwrap();
        return;
    }
    match service {
        "NOSUCH" => {
            let mut response = grpc(200).body(()).unwrap();
            response.headers_mut().extend(trailers("5", "unknown%20service"));
            respond.send_response(response, true).unwrap();
        }
        "LATE" => {
            let mut stream = respond.send_response(grpc(200).body(()).unwrap(), false).unwrap();
            stream.send_trailers(trailers("12", "not here")).unwrap();
        }
        "HTTP503" => {
            respond
                .send_response(head(503).header("content-type", "text/html").body(()).unwrap(), true)
                .unwrap();
        }
        "RST" => respond.send_reset(h2::Reason::REFUSED_STREAM),
        _ => tokio::time::sleep(Duration::from_secs(60)).await,
    }
}

fn check(target: String) -> CheckDefinition {
    CheckDefinition { grpc: target, timeout: Duration::from_secs(20), ..CheckDefinition::default() }
}

#[tokio::test]
async fn what_servers_say() {
    use Status::{Critical, Passing};
    let server = serve(0, None).await;
    let unhealthy = "gRPC application didn't report service healthy";
    let cases = [
        ("SERVING", Passing, ""),
        ("svc/a", Passing, ""),
        ("NOT", Critical, unhealthy),
        ("UNKNOWN", Critical, unhealthy),
        ("EMPTY", Critical, unhealthy),
        ("NOSUCH", Critical, "rpc error: code = NotFound desc = unknown service"),
        ("LATE", Critical, "rpc error: code = Unimplemented desc = not here"),
        (
            "HTTP503",
            Critical,
            "rpc error: code = Unavailable desc = Service Unavailable: HTTP status code 503; transport: received \
             the unexpected content-type \"text/html\"",
        ),
        (
            "RST",
            Critical,
            "rpc error: code = Unavailable desc = stream terminated by RST_STREAM with error code: REFUSED_STREAM",
        ),
        ("BAD", Critical, "rpc error: code = Internal desc = grpc: failed to unmarshal the received message"),
        (
            "HUGE",
            Critical,
            "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (65536 bytes)",
        ),
    ];
    for (service, status, output) in cases {
        let target = format!("{server}/{service}");
        let got = look(&check(target.clone())).await;
        let want =
            if status == Passing { format!("gRPC check {target}: success") } else { output.to_owned() };
        expect(service, &got, status, &want);
    }
    let got = look(&check(server.to_string())).await;
    expect("the server as a whole", &got, Passing, &format!("gRPC check {server}: success"));
    let slow = CheckDefinition { timeout: Duration::from_millis(200), ..check(format!("{server}/HANG")) };
    let got = look_within(Duration::from_secs(10), &slow).await;
    let want = "rpc error: code = DeadlineExceeded desc = context deadline exceeded";
    expect("no answer", &got, Critical, want);
}

#[tokio::test]
async fn what_is_no_server() {
    let nobody = servers::nobody().await;
    let got = look(&check(nobody.to_string())).await;
    let want = format!(
        "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing dial tcp \
         {nobody}: connect: connection refused\""
    );
    expect("nobody", &got, Status::Critical, &want);
    let http = servers::http(None).await;
    let got = look_within(Duration::from_secs(15), &check(http.to_string())).await;
    expect(
        "another protocol",
        &got,
        Status::Critical,
        "rpc error: code = Unavailable desc = connection closed",
    );
}

#[tokio::test]
async fn over_tls() {
    let (_, acceptor) = servers::certificate(&["127.0.0.1"], &[b"h2"]);
    let server = serve(0, Some(acceptor)).await;
    let secure = CheckDefinition { grpc_use_tls: true, ..check(format!("{server}/SERVING")) };
    let got = look(&secure).await;
    let want = "rpc error: code = Unavailable desc = connection error: desc = \"transport: authentication handshake \
                failed: x509: certificate signed by unknown authority\"";
    expect("not trusted", &got, Status::Critical, want);
    let got = look(&CheckDefinition { tls_skip_verify: true, ..secure.clone() }).await;
    expect("trusted", &got, Status::Passing, &format!("gRPC check {server}/SERVING: success"));

    let ping = CheckDefinition {
        h2ping: server.to_string(),
        timeout: Duration::from_secs(20),
        ..CheckDefinition::default()
    };
    let got = look(&ping).await;
    let want = format!("Failed to dial to {server}: x509: certificate signed by unknown authority");
    expect("ping, not trusted", &got, Status::Critical, &want);
    let got = look(&CheckDefinition { tls_skip_verify: true, ..ping }).await;
    expect("ping, trusted", &got, Status::Passing, "HTTP2 ping was successful");
}

#[tokio::test]
async fn pings() {
    let server = serve(0, None).await;
    let ping = |address: SocketAddr, timeout| CheckDefinition {
        h2ping: address.to_string(),
        h2ping_use_tls: Some(false),
        timeout,
        ..CheckDefinition::default()
    };
    let long = Duration::from_secs(20);
    expect("a pong", &look(&ping(server, long)).await, Status::Passing, "HTTP2 ping was successful");
    let nobody = servers::nobody().await;
    let want = format!("Failed to dial to {nobody}: dial tcp {nobody}: connect: connection refused");
    expect("nobody", &look(&ping(nobody, long)).await, Status::Critical, &want);
    let silent = servers::silent().await;
    let got = look_within(Duration::from_secs(10), &ping(silent, Duration::from_millis(200))).await;
    expect("silence", &got, Status::Critical, "HTTP2 ping failed: context deadline exceeded");
    let http = servers::http(None).await;
    let got = look_within(Duration::from_secs(15), &ping(http, long)).await;
    assert!(got.status == Status::Critical && got.output.starts_with("HTTP2 ping failed: "), "{got:?}");
}
