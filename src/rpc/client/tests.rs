//! Calls to servers made by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{ClientOptions, Effect, Router, RouterOptions, RpcClient, RpcError};
use crate::rpc::codec::frame::{ResponseHeader, pack, request_header};
use crate::rpc::mux::{MuxStream, Session, Write as _};

/// What a server by hand does with a call.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Answers with its name.
    Answer(&'static str),
    /// Answers with an error.
    Refuse(&'static str),
    /// Lets the connection go.
    HangUp,
    /// Never answers.
    Silence,
}

struct Server {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

async fn server(manner: Manner) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (calls, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = Server { address, calls: Arc::clone(&calls), connections: Arc::clone(&connections) };
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            connections.fetch_add(1, Ordering::SeqCst);
            let calls = Arc::clone(&calls);
            tokio::spawn(async move {
                assert_eq!(connection.read_u8().await.unwrap(), 4);
                let (read, write) = connection.into_split();
                let session = Session::server(read, write, 1 << 20);
                while let Some(stream) = session.accept().await {
                    tokio::spawn(answer(session.clone(), stream, manner, Arc::clone(&calls)));
                }
            });
        }
    });
    server
}

async fn answer(session: Session, mut stream: MuxStream, manner: Manner, calls: Arc<AtomicUsize>) {
    while let Ok(Some((header, _))) = stream.frame().await {
        calls.fetch_add(1, Ordering::SeqCst);
        let request = request_header(&header).unwrap();
        let header = |error: &str| ResponseHeader {
            error: error.to_owned(),
            seq: request.seq,
            service_method: request.service_method.clone(),
        };
        let bytes = match manner {
            Manner::Answer(name) => pack(&header(""), &name),
            Manner::Refuse(text) => pack(&header(text), &()),
            Manner::HangUp => return session.close(),
            Manner::Silence => return stream.given_up().await,
        };
        stream.send(&bytes).await.unwrap();
    }
}

fn client() -> Arc<RpcClient> {
    Arc::new(RpcClient::new(ClientOptions::default()))
}

async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

fn router(servers: &[SocketAddr], hold: Duration) -> Router {
    let router = Router::new(client(), RouterOptions { hold, ..RouterOptions::default() });
    // One after the other, each at the end, so that the order is known.
    router.adopt(servers);
    router
}

#[tokio::test]
async fn one_connection_carries_all_calls() {
    let server = server(Manner::Answer("a")).await;
    let client = client();
    let calls = (0..50).map(|_| client.call::<String>(server.address, "Status.Leader", &(), None));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer, Ok("a".to_owned()));
    }
    assert_eq!(client.call::<String>(server.address, "Status.Leader", &(), None).await, Ok("a".to_owned()));
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    client.close_idle(Instant::now());
    assert_eq!(client.slots.lock().len(), 1);
    client.close_idle(Instant::now() + Duration::from_secs(127));
    assert_eq!(client.slots.lock().len(), 0);
    assert_eq!(client.call::<String>(server.address, "Status.Leader", &(), None).await, Ok("a".to_owned()));
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn failures_say_what_is_known() {
    let (client, limit) = (client(), Some(Duration::from_millis(50)));
    let refused = server(Manner::Refuse("Missing node registration")).await;
    let error = client.call::<()>(refused.address, "Session.Apply", &(), None).await.unwrap_err();
    assert_eq!(error, RpcError::Server("Missing node registration".into()));
    assert_eq!(error.to_string(), "rpc error making call: Missing node registration");
    let gone = server(Manner::HangUp).await;
    let error = client.call::<()>(gone.address, "Session.Apply", &(), None).await.unwrap_err();
    assert!(matches!(error, RpcError::Unknown(_)), "{error}");
    let silent = server(Manner::Silence).await;
    let error = client.call::<()>(silent.address, "Session.Apply", &(), limit).await.unwrap_err();
    assert_eq!(error, RpcError::Timeout);
    let odd = server(Manner::Answer("text")).await;
    let error = client.call::<u64>(odd.address, "Session.Apply", &(), None).await.unwrap_err();
    assert!(matches!(error, RpcError::Malformed(_)), "{error}");
    let nobody = nobody().await;
    let error = client.call::<()>(nobody, "Session.Apply", &(), None).await.unwrap_err();
    let text = format!(
        "rpc error getting client: failed to get conn: dial tcp {nobody}: connect: connection refused"
    );
    assert_eq!(error.to_string(), text);
    assert!(matches!(error, RpcError::NotSent(_)));
}

#[tokio::test]
async fn reads_go_elsewhere_and_writes_only_if_that_does_no_harm() {
    let hold = Duration::from_secs(7);
    let (good, gone) = (server(Manner::Answer("good")).await, server(Manner::HangUp).await);
    let nobody = nobody().await;
    let read = |router: Router, effect| async move {
        let answer = router.call::<String>("KVS.Get", &(), effect, None).await;
        (answer, router.servers())
    };
    let (answer, order) = read(router(&[gone.address, nobody, good.address], hold), Effect::Read).await;
    assert_eq!(answer, Ok("good".to_owned()));
    assert_eq!(order, [good.address, gone.address, nobody]);
    let (answer, order) = read(router(&[nobody, good.address], hold), Effect::Write).await;
    assert_eq!(answer, Ok("good".to_owned()));
    assert_eq!(order, [good.address, nobody]);
    let (answer, order) = read(router(&[gone.address, good.address], hold), Effect::Write).await;
    assert!(matches!(answer, Err(RpcError::Unknown(_))));
    assert_eq!(order, [good.address, gone.address]);
    let (answer, _) = read(router(&[], hold), Effect::Write).await;
    assert_eq!(answer, Err(RpcError::NoServers));
    assert_eq!(answer.unwrap_err().to_string(), "No known Consul servers");
}

#[tokio::test]
async fn a_missing_leader_is_waited_for() {
    let hold = Duration::from_millis(200);
    let leaderless = server(Manner::Refuse("rpc error making call: No cluster leader")).await;
    let router = router(&[leaderless.address], hold);
    let begun = Instant::now();
    let error = router.call::<bool>("KVS.Apply", &(), Effect::Write, None).await.unwrap_err();
    assert!(error.is_no_leader(), "{error}");
    assert!(leaderless.calls.load(Ordering::SeqCst) > 3);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let refused = server(Manner::Refuse("Permission denied")).await;
    router.set_servers(&[refused.address]);
    assert!(router.call::<bool>("KVS.Apply", &(), Effect::Write, None).await.is_err());
    assert_eq!(refused.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_list_follows_gossip() {
    let (one, two) = (server(Manner::Answer("one")).await, server(Manner::Answer("two")).await);
    let dead = nobody().await;
    let router = router(&[one.address], Duration::from_secs(1));
    router.set_servers(&[one.address, two.address, dead]);
    assert_eq!(router.known(), 3);
    for _ in 0..4 {
        router.rebalance().await;
        assert_ne!(router.servers()[0], dead);
        assert_eq!(router.known(), 3);
    }
    router.set_servers(&[two.address]);
    assert_eq!(router.servers(), [two.address]);
    assert_eq!(router.call::<String>("Status.Leader", &(), Effect::Read, None).await, Ok("two".to_owned()));
}
