//! TCP and UDP.

use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

use super::{Status, expect, look, look_within, servers};
use crate::definition::CheckDefinition;

fn tcp(address: &impl ToString) -> CheckDefinition {
    let tcp = address.to_string();
    CheckDefinition { tcp, timeout: Duration::from_secs(20), ..CheckDefinition::default() }
}

fn udp(address: &impl ToString, timeout: Duration) -> CheckDefinition {
    CheckDefinition { udp: address.to_string(), timeout, ..CheckDefinition::default() }
}

#[tokio::test]
async fn tcp_listeners() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let nobody = servers::nobody().await;
    let port = address.port();
    for target in [address.to_string(), format!("localhost:{port}"), format!(":{port}")] {
        expect(
            &target,
            &look(&tcp(&target)).await,
            Status::Passing,
            &format!("TCP connect {target}: Success"),
        );
    }
    let cases = [
        (nobody.to_string(), format!("dial tcp {nobody}: connect: connection refused")),
        (format!("localhost:{}", nobody.port()), format!("dial tcp {nobody}: connect: connection refused")),
        ("127.0.0.1".into(), "dial tcp: address 127.0.0.1: missing port in address".into()),
        ("127.0.0.1:99999".into(), "dial tcp: address 99999: invalid port".into()),
        ("a b:1".into(), "dial tcp: lookup a b: no such host".into()),
    ];
    for (target, want) in cases {
        expect(&target, &look(&tcp(&target)).await, Status::Critical, &want);
    }
    drop(listener);
    assert_eq!(look(&tcp(&address)).await.status, Status::Critical, "a listener that went away");
}

#[tokio::test]
async fn a_listener_that_takes_nobody_in() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // Once its queue is full, the kernel leaves further callers without an answer.
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let caller = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        caller.set_nonblocking(true).unwrap();
        let _ = caller.connect(&address.into());
        waiting.push(caller);
    }
    let check = CheckDefinition { timeout: Duration::from_millis(300), ..tcp(&address) };
    let got = look_within(Duration::from_secs(10), &check).await;
    expect("a full queue", &got, Status::Critical, &format!("dial tcp {address}: i/o timeout"));
}

#[tokio::test]
async fn udp_servers() {
    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = echo.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((count, from)) = echo.recv_from(&mut buffer).await {
            // More than was sent, and more than anybody reads.
            let answer = [&buffer[..count], &vec![b'x'; 60_000]].concat();
            let _ = echo.send_to(&answer, from).await;
        }
    });
    let long = Duration::from_secs(20);
    let success = |address| format!("UDP connect {address}: Success");
    let got = look_within(Duration::from_secs(10), &udp(&address, long)).await;
    expect("an answer", &got, Status::Passing, &success(address));

    let mute = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap();
    let got = look_within(Duration::from_secs(10), &udp(&address, Duration::from_millis(100))).await;
    expect("silence", &got, Status::Passing, &success(address));
    drop(mute);
    let got = look_within(Duration::from_secs(10), &udp(&address, long)).await;
    assert_eq!(got.status, Status::Critical, "{got:?}");
    assert!(got.output.ends_with("connection refused"), "{got:?}");
    let got = look(&udp(&"127.0.0.1", long)).await;
    expect("no port", &got, Status::Critical, "dial udp: address 127.0.0.1: missing port in address");
}
