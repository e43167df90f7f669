//! Sessions against each other and against bytes by hand.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::time::timeout;

use super::header::{Flags, Header, Kind, LENGTH};
use super::{MuxError, MuxStream, Pings, Session, WINDOW, Write as _};
use crate::rpc::codec::frame::{RequestHeader, pack};
use crate::state::record::KvEntry;

const LIMIT: usize = 4 << 20;

fn sessions() -> (Session, Session) {
    let (one, other) = duplex(64 * 1024);
    let ((r1, w1), (r2, w2)) = (split(one), split(other));
    (Session::client(r1, w1, LIMIT), Session::server(r2, w2, LIMIT))
}

/// A frame with so many bytes of body.
fn message(seq: u64, size: usize) -> Vec<u8> {
    let entry = KvEntry { value: vec![b'x'; size].into(), ..KvEntry::default() };
    pack(&RequestHeader { seq, service_method: "KVS.Apply".into() }, &entry)
}

async fn echo(mut stream: MuxStream) {
    while let Ok(Some((header, body))) = stream.frame().await {
        let whole = [&header[..], &body[..]].concat();
        if stream.send(&whole).await.is_err() {
            return;
        }
    }
}

fn serve(session: &Session) {
    let session = session.clone();
    tokio::spawn(async move {
        while let Some(stream) = session.accept().await {
            tokio::spawn(echo(stream));
        }
    });
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), work).await.expect("in time")
}

#[tokio::test]
async fn frames_larger_than_windows_go_there_and_back() {
    let (client, server) = sessions();
    serve(&server);
    let mut tasks = Vec::new();
    for size in [0, 1, 1_000, WINDOW as usize + 1, 1 << 20, 3 << 20] {
        let mut stream = client.open().unwrap();
        tasks.push(tokio::spawn(async move {
            for seq in 1..4 {
                let sent = message(seq, size);
                stream.send(&sent).await.unwrap();
                let (header, body) = stream.frame().await.unwrap().unwrap();
                assert!([&header[..], &body[..]].concat() == sent, "{size}");
            }
        }));
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
    soon(async {
        while server.streams() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.streams(), 0);
}

#[tokio::test]
async fn an_end_reaches_everybody() {
    let (client, server) = sessions();
    let mut stream = client.open().unwrap();
    let mut there = soon(server.accept()).await.unwrap();
    assert!(client.is_usable());
    server.go_away();
    drop(stream.send(&message(1, 1)).await);
    assert!(soon(there.frame()).await.unwrap().is_some());
    // What came after the go-away was read, so it was too.
    there.send(&message(1, 1)).await.unwrap();
    assert!(soon(stream.frame()).await.unwrap().is_some());
    assert!(!client.is_usable());
    assert_eq!(client.open().err(), Some(MuxError::GoneAway));
    server.close();
    assert!(soon(stream.frame()).await.is_err());
    assert!(soon(server.accept()).await.is_none());
    assert_eq!(there.send(b"x").await, Err(MuxError::Shutdown));
}

#[tokio::test]
async fn a_dropped_stream_ends_cleanly_or_by_reset() {
    let (client, server) = sessions();
    let mut stream = client.open().unwrap();
    stream.send(&message(1, 1)).await.unwrap();
    let mut there = soon(server.accept()).await.unwrap();
    assert!(soon(there.frame()).await.unwrap().is_some());
    drop(stream);
    assert_eq!(soon(there.frame()).await, Ok(None));
    drop(there);

    let mut stream = client.open().unwrap();
    stream.await_answer(true);
    stream.send(&message(1, 1)).await.unwrap();
    let mut there = soon(server.accept()).await.unwrap();
    assert!(soon(there.frame()).await.unwrap().is_some());
    drop(stream);
    soon(there.given_up()).await;
    assert_eq!(there.send(b"x").await, Err(MuxError::Reset));
}

/// The other side by hand.
struct Hand(DuplexStream);

impl Hand {
    async fn send(&mut self, kind: Kind, flags: Flags, stream: u32, length: u32, data: &[u8]) {
        let mut bytes = Vec::new();
        Header { kind, flags, stream, length }.write(&mut bytes);
        bytes.extend_from_slice(data);
        self.0.write_all(&bytes).await.unwrap();
    }

    async fn next(&mut self) -> Header {
        let mut bytes = [0; LENGTH];
        soon(self.0.read_exact(&mut bytes)).await.unwrap();
        Header::read(&bytes).unwrap().unwrap()
    }
}

fn by_hand() -> (Hand, Session) {
    let (one, other) = duplex(1 << 20);
    let (read, write) = split(other);
    (Hand(one), Session::server(read, write, LIMIT))
}

#[tokio::test]
async fn answers_as_stock_agents_do() {
    let (mut hand, server) = by_hand();
    let header = |kind, flags, stream, length| Header { kind, flags, stream, length };
    hand.send(Kind::WindowUpdate, Flags::SYN, 1, 0, b"").await;
    assert_eq!(hand.next().await, header(Kind::WindowUpdate, Flags::ACK, 1, 0));
    let mut one = soon(server.accept()).await.unwrap();
    // A stream may also be opened by its first data.
    let sent = message(1, 10);
    hand.send(Kind::Data, Flags::SYN, 3, u32::try_from(sent.len()).unwrap(), &sent).await;
    assert_eq!(hand.next().await, header(Kind::WindowUpdate, Flags::ACK, 3, 0));
    let mut two = soon(server.accept()).await.unwrap();
    assert!(soon(two.frame()).await.unwrap().is_some());
    hand.send(Kind::Ping, Flags::SYN, 0, 77, b"").await;
    assert_eq!(hand.next().await, header(Kind::Ping, Flags::ACK, 0, 77));
    // Half a window is credited again.
    let half = vec![0xc0; WINDOW as usize / 2];
    hand.send(Kind::Data, Flags::NONE, 1, WINDOW / 2, &half).await;
    assert_eq!(hand.next().await, header(Kind::WindowUpdate, Flags::NONE, 1, WINDOW / 2));
    assert!(soon(one.frame()).await.is_ok());
    hand.send(Kind::WindowUpdate, Flags::FIN, 3, 0, b"").await;
    assert_eq!(soon(two.frame()).await, Ok(None));
    drop(two);
    assert_eq!(hand.next().await, header(Kind::WindowUpdate, Flags::FIN, 3, 0));
    // Nobody has this stream; what comes for it is passed over.
    hand.send(Kind::Data, Flags::NONE, 3, 2, b"xx").await;
    hand.send(Kind::Ping, Flags::SYN, 0, 78, b"").await;
    assert_eq!(hand.next().await, header(Kind::Ping, Flags::ACK, 0, 78));
}

#[tokio::test]
async fn breaking_the_rules_ends_the_session() {
    let cases: [(&str, Vec<u8>); 6] = [
        ("version", vec![1; 12]),
        ("type", vec![0, 9, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
        ("stream of our side", vec![0, 1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0]),
        ("stream 0", vec![0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("more than the window", vec![0, 0, 0, 1, 0, 0, 0, 1, 0, 4, 0, 1]),
        ("window overflow", {
            let open = [0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
            let window = [0, 1, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
            [open, window].concat()
        }),
    ];
    for (name, bytes) in cases {
        let (mut hand, server) = by_hand();
        hand.0.write_all(&bytes).await.unwrap();
        soon(async {
            // Accepted streams may come first.
            while server.accept().await.is_some() {}
        })
        .await;
        assert!(matches!(server.closed(), Some(MuxError::Protocol(_))), "{name}: {:?}", server.closed());
        let mut rest = Vec::new();
        soon(hand.0.read_to_end(&mut rest)).await.unwrap();
    }
}

#[tokio::test]
async fn streams_are_bounded() {
    let (mut hand, server) = by_hand();
    let most = u32::try_from(super::MAX_STREAMS).unwrap();
    for at in 0..most {
        hand.send(Kind::WindowUpdate, Flags::SYN, 2 * at + 1, 0, b"").await;
        assert_eq!(hand.next().await.flags, Flags::ACK);
    }
    hand.send(Kind::WindowUpdate, Flags::SYN, 2 * most + 1, 0, b"").await;
    assert_eq!(hand.next().await.flags, Flags::RST);
    assert_eq!(server.streams(), super::MAX_STREAMS);
}

#[tokio::test]
async fn who_does_not_answer_pings_is_let_go() {
    let (one, other) = duplex(1 << 20);
    let (read, write) = split(other);
    let pings = Pings { interval: Duration::from_millis(100), timeout: Duration::from_secs(1) };
    let (mut hand, server) = (Hand(one), Session::start(read, write, LIMIT, true, pings));
    let ping = hand.next().await;
    assert_eq!((ping.kind, ping.flags, ping.length), (Kind::Ping, Flags::SYN, 0));
    hand.send(Kind::Ping, Flags::ACK, 0, 0, b"").await;
    let ping = hand.next().await;
    assert_eq!((ping.kind, ping.length), (Kind::Ping, 1));
    assert!(server.accept().await.is_none());
    assert_eq!(server.closed(), Some(MuxError::Connection("keepalive timeout".into())));
}
