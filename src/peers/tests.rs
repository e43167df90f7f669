//! Both ends over real sockets on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::frame::{self, Hello, Kind};
use super::links::LinkNews;
use super::request::Answer;
use super::*;
use crate::endpoints::EndpointError;
use crate::raft::log::MemoryLog;
use crate::raft::{
    Driver, DriverConfig, Effect, Manifest, Membership, MembershipChange, PeerMessage, ProposalId,
    ServerRecord,
};

fn record(name: &str, address: SocketAddr) -> ServerRecord {
    ServerRecord { node_id: format!("id-{name}"), name: name.into(), address: address.to_string() }
}

fn hello(name: &str) -> Hello {
    Hello { datacenter: "dc1".into(), node_id: format!("id-{name}"), name: name.into(), to: String::new() }
}

#[derive(Default)]
struct Desk {
    raft: Mutex<Vec<PeerMessage>>,
}

impl Service for Desk {
    fn raft(&self, message: PeerMessage) {
        self.raft.lock().push(message);
    }

    fn request<'a>(&'a self, from: &'a Hello, request: Request) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            match request {
                Request::Admin(bytes) => Answer::Admin([from.name.as_bytes(), b":", &bytes].concat().into()),
                Request::RenewSession(_) => std::future::pending().await,
                _ => Answer::Failed(EndpointError::NoLeader),
            }
        })
    }
}

struct Nowhere;

impl Directory for Nowhere {
    fn find(&self, _: &str) -> Option<SocketAddr> {
        None
    }
}

#[derive(Default)]
struct News(Mutex<Vec<String>>);

impl LinkNews for News {
    fn unreachable(&self, _: u64) {
        self.0.lock().push("unreachable".into());
    }

    fn gone(&self, _: u64) {
        self.0.lock().push("gone".into());
    }

    fn snapshot_sent(&self, _: u64, done: bool) {
        self.0.lock().push(format!("snapshot {done}"));
    }
}

/// Server `b`: its address, what it was told, its data; and the task that serves it.
async fn serve() -> (SocketAddr, Arc<Desk>, MemoryData, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (desk, data) = (Arc::<Desk>::default(), MemoryData::default());
    let inbound = Inbound::new(hello("b"), Arc::<Desk>::clone(&desk), Arc::new(data.clone()));
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let inbound = inbound.clone();
            connections.spawn(async move {
                assert_eq!(stream.read_u8().await.unwrap(), FIRST_BYTE);
                inbound.serve(stream).await;
            });
        }
    });
    (address, desk, data, task)
}

fn links(data: &MemoryData) -> (Links, Arc<News>) {
    let links = Links::new(
        LinksSettings::new(hello("a")),
        Arc::new(Nowhere),
        Arc::new(data.clone()),
        Handle::current(),
    );
    let news = Arc::<News>::default();
    links.tell(Arc::<News>::clone(&news));
    (links, news)
}

/// A message of raft's from `a` to `b`, by asking for a vote.
fn raft_message() -> PeerMessage {
    let members = [record("a", ([127, 0, 0, 1], 1).into()), record("b", ([127, 0, 0, 1], 2).into())];
    let config = DriverConfig {
        bootstrap: Some(Membership::founding(members.clone())),
        ..DriverConfig::new(members[0].raft_id())
    };
    let mut driver: Driver<_, ()> = Driver::open(config, MemoryLog::new(), 0, 1).unwrap();
    driver.campaign().unwrap();
    let mut found = None;
    driver
        .pump(&mut |effect| {
            if let Effect::Send(message) = effect {
                found = Some(message);
            }
        })
        .unwrap();
    found.unwrap()
}

/// The snapshot that a leader sends to a server with an empty log.
fn snapshot_message(to: &ServerRecord, size: usize) -> PeerMessage {
    let me = record("a", ([127, 0, 0, 1], 1).into());
    let config = DriverConfig {
        bootstrap: Some(Membership::founding([me.clone()])),
        ..DriverConfig::new(me.raft_id())
    };
    let mut leader: Driver<_, ()> = Driver::open(config, MemoryLog::new(), 0, 1).unwrap();
    let mut joined: Driver<_, ()> =
        Driver::open(DriverConfig::new(to.raft_id()), MemoryLog::new(), 0, 1).unwrap();
    let mut applied = 0;
    for round in 0..100 {
        let (mut sent, mut answers) = (Vec::new(), Vec::new());
        leader
            .pump(&mut |effect| match effect {
                Effect::Apply(batch) => applied = batch.last().unwrap().index,
                Effect::Send(message) => sent.push(message),
                _ => {}
            })
            .unwrap();
        leader.applied(applied).unwrap();
        if round == 5 {
            let change = MembershipChange::AddLearner(to.clone());
            leader.propose_membership(ProposalId { origin: 1, sequence: 1 }, &change, ()).unwrap();
        }
        if round == 10 {
            let (data, size) = ("snap".to_owned(), size as u64);
            let manifest = Manifest { index: applied, data, size, ..Manifest::default() };
            leader.snapshot_ready(manifest).unwrap().unwrap();
        }
        for message in sent {
            if message.snapshot().is_some() {
                return message;
            }
            let _ = joined.step(message, 0).unwrap();
        }
        let answer = &mut |effect| {
            if let Effect::Send(message) = effect {
                answers.push(message);
            }
        };
        joined.pump(answer).unwrap();
        for message in answers {
            let _ = leader.step(message, 0).unwrap();
        }
        leader.tick(0).unwrap();
    }
    panic!("no snapshot was sent");
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn messages_and_requests_arrive() {
    let (address, desk, data, _task) = serve().await;
    let (links, _) = links(&data);
    let to = record("b", address);
    let message = raft_message();
    assert!(links.send(&to, &message));
    let requests: Vec<_> = (0..50_u8).map(|number| Request::Admin(Bytes::from(vec![number]))).collect();
    let answers = requests.iter().map(|request| links.request(&to, request));
    for (number, answer) in futures::future::join_all(answers).await.into_iter().enumerate() {
        let want = [b"a:".as_slice(), &[u8::try_from(number).unwrap()]].concat();
        assert_eq!(answer, Ok(Answer::Admin(want.into())));
    }
    until("the message is there", || *desk.raft.lock() == [message.clone()]).await;
}

#[tokio::test]
async fn what_cannot_be_sent_did_not_happen() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (links, news) = links(&MemoryData::default());
    let to = record("b", address);
    let answer = links.request(&to, &Request::Admin(Bytes::new())).await;
    assert_eq!(answer, Err(RequestError::NotSent("b".into())));
    links.send(&to, &raft_message());
    until("raft is told", || news.0.lock().contains(&"unreachable".to_owned())).await;
    let nobody = ServerRecord { address: String::new(), ..to };
    assert_eq!(
        links.request(&nobody, &Request::Admin(Bytes::new())).await,
        Err(RequestError::NotSent("b".into()))
    );
}

#[tokio::test]
async fn what_was_sent_may_have_happened() {
    let (address, _desk, data, task) = serve().await;
    let (links, news) = links(&data);
    let to = record("b", address);
    let request = Request::RenewSession("s".into());
    let asked = links.request(&to, &request);
    let nothing = Request::Admin(Bytes::new());
    let first = links.request(&to, &nothing);
    let (answer, ()) = futures::future::join(asked, async {
        first.await.unwrap();
        task.abort();
    })
    .await;
    assert_eq!(answer, Err(RequestError::Lost("b".into())));
    until("nobody listens any more", || news.0.lock().contains(&"gone".to_owned())).await;
}

#[tokio::test]
async fn the_data_of_a_snapshot_comes_before_its_message() {
    let (address, desk, there, _task) = serve().await;
    let here = MemoryData::default();
    let (links, news) = links(&here);
    let to = record("b", address);
    let data: Bytes = (0..700_000_u32).map(|byte| byte.to_le_bytes()[0]).collect::<Vec<_>>().into();
    let message = snapshot_message(&to, data.len());

    assert!(links.send(&to, &message), "queued, though the data is not there");
    until("a missing snapshot fails", || *news.0.lock() == ["snapshot false"]).await;
    here.keep("snap", data.clone());
    assert!(links.send(&to, &message));
    until("it is there", || news.0.lock().last().is_some_and(|last| last == "snapshot true")).await;
    assert_eq!(there.get("snap"), Some(data));
    assert_eq!(*desk.raft.lock(), [message]);
}

#[tokio::test]
async fn strangers_are_shown_out() {
    let (address, desk, ..) = serve().await;
    let right = Hello { to: "ID-B".into(), ..hello("a") };
    let body = raft_message().encode().unwrap();
    for (what, hello, kind, heard) in [
        ("the right one", right.clone(), Kind::Raft, true),
        ("another datacenter", Hello { datacenter: "dc2".into(), ..right.clone() }, Kind::Raft, false),
        ("for another server", Hello { to: "id-c".into(), ..right.clone() }, Kind::Raft, false),
        ("in the name of another", Hello { node_id: "id-x".into(), ..right.clone() }, Kind::Raft, false),
        ("an answer nobody asked for", right, Kind::Answer, false),
    ] {
        desk.raft.lock().clear();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_u8(FIRST_BYTE).await.unwrap();
        frame::write(&mut stream, Kind::Hello, &hello.encode().unwrap()).await.unwrap();
        // It may be shut in our face.
        let _ = frame::write(&mut stream, kind, &body).await;
        if heard {
            until(what, || desk.raft.lock().len() == 1).await;
        } else {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(rest.is_empty() && desk.raft.lock().is_empty(), "{what}");
        }
    }
}
