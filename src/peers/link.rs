//! The link to one peer: a queue, and the task that empties it over a connection.
//!
//! The task dials when there is something to send. What cannot be sent is dropped at once rather than kept: raft sends
//! anew, and a request's caller is told that nothing came of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::FIRST_BYTE;
use super::frame::{self, FrameError, Kind, Reader};
use super::links::Shared;
use super::request::{self, Answer, RequestError};
use crate::dial::connect;
use crate::raft::ServerRecord;

/// Bytes that may wait for one peer; a follower that is slow holds no more.
const MAX_QUEUED_BYTES: usize = 64 << 20;
/// Messages that may wait for one peer.
const MAX_QUEUED: usize = 8_192;
/// Written together at most.
const TOGETHER: usize = 256;
/// Pauses between attempts to reach a peer, doubling from the first to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(320));

/// Pauses before the looks whether a peer that hung up has died.
const DEATH_LOOKS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(5), Duration::from_millis(15), Duration::from_millis(30)];

type Reply = oneshot::Sender<Result<Answer, RequestError>>;

/// What waits in a link's queue.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A raft message.
    Raft(Bytes),
    /// A request, and where its answer goes.
    Request { body: Bytes, reply: Reply },
}

impl Outgoing {
    fn size(&self) -> usize {
        match self {
            Self::Raft(body) | Self::Request { body, .. } => body.len(),
        }
    }
}

/// A link, for whoever sends.
#[derive(Debug)]
pub(super) struct Link {
    queue: mpsc::UnboundedSender<Outgoing>,
    load: Arc<Load>,
}

/// How much waits.
#[derive(Debug, Default)]
struct Load {
    bytes: AtomicUsize,
    messages: AtomicUsize,
}

impl Load {
    fn add(&self, what: &Outgoing) {
        self.bytes.fetch_add(what.size(), Ordering::Relaxed);
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&self, what: &Outgoing) {
        self.bytes.fetch_sub(what.size(), Ordering::Relaxed);
        self.messages.fetch_sub(1, Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= MAX_QUEUED_BYTES
            || self.messages.load(Ordering::Relaxed) >= MAX_QUEUED
    }
}

impl Link {
    pub(super) fn start(peer: ServerRecord, shared: Arc<Shared>, runtime: &Handle) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        let load = Arc::<Load>::default();
        let task = Task { peer, shared, waiting, load: Arc::clone(&load), up: false };
        runtime.spawn(task.run());
        Self { queue, load }
    }

    /// Queues; gives it back if too much waits.
    pub(super) fn queue(&self, what: Outgoing) -> Result<(), Outgoing> {
        if self.load.is_full() {
            return Err(what);
        }
        self.load.add(&what);
        self.queue.send(what).map_err(|refused| refused.0)
    }
}

/// Requests that left and are not answered, by number.
type Pending = Mutex<HashMap<u64, Reply>>;

struct Task {
    peer: ServerRecord,
    shared: Arc<Shared>,
    waiting: mpsc::UnboundedReceiver<Outgoing>,
    load: Arc<Load>,
    /// The last attempt to reach the peer was a success.
    up: bool,
}

impl Task {
    async fn run(mut self) {
        let mut pause = BACK_OFF.0;
        let mut batch = Vec::with_capacity(TOGETHER);
        while self.waiting.recv_many(&mut batch, TOGETHER).await > 0 {
            for what in &batch {
                self.load.remove(what);
            }
            match dial(&self.shared, &self.peer).await {
                Ok(stream) => {
                    self.reached(true, None);
                    let ended = self.talk(stream, &mut batch).await;
                    self.reached(false, Some(&ended));
                    // A connection that ends at once must not be dialled in a tight circle.
                    pause = BACK_OFF.0;
                    self.look_whether_gone().await;
                }
                Err(error) => {
                    self.reached(false, Some(&error));
                    // What came during the attempt fares alike.
                    while let Ok(what) = self.waiting.try_recv() {
                        self.load.remove(&what);
                        batch.push(what);
                    }
                }
            }
            self.drop_all(&mut batch);
            sleep(pause).await;
            pause = (pause * 2).min(BACK_OFF.1);
        }
    }

    /// A peer that hung up may have died: then its address refuses, once the system has closed all it had open.
    /// The next message dials anew.
    async fn look_whether_gone(&self) {
        for pause in DEATH_LOOKS {
            sleep(pause).await;
            if let Err(FrameError::Io(error)) = dial(&self.shared, &self.peer).await
                && error.kind() == std::io::ErrorKind::ConnectionRefused
            {
                if let Some(news) = self.shared.news() {
                    news.gone(self.peer.raft_id());
                }
                return;
            }
        }
    }

    fn reached(&mut self, up: bool, error: Option<&FrameError>) {
        let name = &self.peer.name;
        match error {
            Some(error) if self.up => {
                info!(target: "agent.server.raft", peer = %name, error = %error, "lost the connection to a server");
            }
            Some(error) => {
                debug!(target: "agent.server.raft", peer = %name, error = %error, "cannot reach a server");
            }
            None => debug!(target: "agent.server.raft", peer = %name, "connected to a server"),
        }
        self.up = up;
    }

    fn drop_all(&self, batch: &mut Vec<Outgoing>) {
        let mut lost_raft = false;
        for what in batch.drain(..) {
            match what {
                Outgoing::Raft(_) => lost_raft = true,
                Outgoing::Request { reply, .. } => {
                    // Whoever asked may have gone.
                    let _ = reply.send(Err(RequestError::NotSent(self.peer.name.clone())));
                }
            }
        }
        if lost_raft && let Some(news) = self.shared.news() {
            news.unreachable(self.peer.raft_id());
        }
    }

    /// Sends the batch and all that follows until the connection ends; what of the batch did not leave stays in it.
    async fn talk(&mut self, stream: TcpStream, batch: &mut Vec<Outgoing>) -> FrameError {
        let (from, to) = stream.into_split();
        let pending = Pending::default();
        let writing = write_all(&mut self.waiting, &self.load, to, batch, &pending);
        let ended = tokio::select! {
            error = writing => error,
            error = read_answers(Reader::new(from), &pending) => error,
        };
        let unanswered = std::mem::take(&mut *pending.lock());
        for reply in unanswered.into_values() {
            // Whoever asked may have gone.
            let _ = reply.send(Err(RequestError::Lost(self.peer.name.clone())));
        }
        if let Some(news) = self.shared.news() {
            news.unreachable(self.peer.raft_id());
        }
        ended
    }
}

async fn write_all(
    waiting: &mut mpsc::UnboundedReceiver<Outgoing>,
    load: &Load,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    batch: &mut Vec<Outgoing>,
    pending: &Pending,
) -> FrameError {
    let mut number = 0;
    let mut out = BytesMut::with_capacity(16 << 10);
    loop {
        {
            let mut pending = pending.lock();
            for what in batch.drain(..) {
                match what {
                    Outgoing::Raft(body) => frame::put(&mut out, Kind::Raft, &body),
                    // Nobody waits for it any more, and it has not left.
                    Outgoing::Request { reply, .. } if reply.is_closed() => {}
                    Outgoing::Request { body, reply } => {
                        number += 1;
                        frame::put_numbered(&mut out, Kind::Request, number, &body);
                        pending.insert(number, reply);
                    }
                }
            }
        }
        if let Err(error) = to.write_all(&out).await {
            return error.into();
        }
        out.clear();
        if waiting.recv_many(batch, TOGETHER).await == 0 {
            return std::io::Error::from(std::io::ErrorKind::NotConnected).into();
        }
        for what in batch.iter() {
            load.remove(what);
        }
    }
}

async fn read_answers(mut from: Reader<tokio::net::tcp::OwnedReadHalf>, pending: &Pending) -> FrameError {
    loop {
        let read = from.next().await.and_then(|(kind, body)| match kind {
            Kind::Answer => {
                let (number, body) = frame::numbered(body)?;
                let answer: Answer = request::decode(&body).map_err(FrameError::Malformed)?;
                Ok((number, answer))
            }
            other => Err(FrameError::Kind(other as u8)),
        });
        match read {
            Ok((number, answer)) => {
                if let Some(reply) = pending.lock().remove(&number) {
                    // Whoever asked may have gone.
                    let _ = reply.send(Ok(answer));
                }
            }
            Err(error) => return error,
        }
    }
}

/// Connects to a peer and says hello.
///
/// # Errors
/// [`FrameError::Io`], or [`FrameError::Stranger`] if nobody knows where it is.
pub(super) async fn dial(shared: &Shared, peer: &ServerRecord) -> Result<TcpStream, FrameError> {
    let address = shared
        .address(peer)
        .ok_or_else(|| FrameError::Stranger(format!("nobody knows where server {} is", peer.name)))?;
    let limit = shared.settings.dial_timeout;
    let mut stream = timeout(limit, connect(shared.settings.source, address))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(&stream);
    // A network that is cut must be noticed before an election is over, not after minutes.
    socket.set_tcp_user_timeout(Some(shared.settings.dead_after))?;
    socket.set_tcp_keepalive(
        &socket2::TcpKeepalive::new()
            .with_time(shared.settings.dead_after)
            .with_interval(Duration::from_secs(1)),
    )?;
    let mut out = BytesMut::new();
    out.extend_from_slice(&[FIRST_BYTE]);
    frame::put(&mut out, Kind::Hello, &shared.hello(peer).encode()?);
    timeout(limit, stream.write_all(&out))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    Ok(stream)
}
