//! Connections that peers dial: their messages go to raft, their requests are carried out side by side.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::data::SnapshotData;
use super::frame::{self, FrameError, Hello, Kind, Reader};
use super::request::{self, Answer, Request};
use super::snapshot;
use crate::endpoints::EndpointError;
use crate::raft::{PeerMessage, raft_id};

/// How long a dialler may take to say who it is.
const HELLO: Duration = Duration::from_secs(5);
/// Requests of one connection that are carried out at a time; the next is answered "busy".
const MAX_REQUESTS: usize = 2_048;
/// Written together at most.
const TOGETHER: usize = 256;

/// Who takes what peers send.
pub trait Service: Send + Sync {
    /// A raft message that is sound in itself.
    fn raft(&self, message: PeerMessage);

    /// A request; what comes back is sent.
    fn request<'a>(&'a self, from: &'a Hello, request: Request) -> BoxFuture<'a, Answer>;
}

/// Serves connections of peers; clones share everything.
#[derive(Clone)]
pub struct Inbound {
    me: Arc<Hello>,
    service: Arc<dyn Service>,
    data: Arc<dyn SnapshotData>,
}

impl Inbound {
    /// For this server, named by `node_id` and `datacenter` of `me`.
    pub fn new(me: Hello, service: Arc<dyn Service>, data: Arc<dyn SnapshotData>) -> Self {
        Self { me: Arc::new(me), service, data }
    }

    /// Serves a connection whose first byte was read, until it ends.
    pub async fn serve(&self, stream: TcpStream) {
        let peer = stream.peer_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string());
        match self.run(stream).await {
            Ok(()) => {}
            Err(FrameError::Io(error)) => {
                debug!(target: "agent.server.raft", peer, error = %error, "a server hung up");
            }
            Err(error) => {
                warn!(target: "agent.server.raft", peer, error = %error, "closing the connection of a server");
            }
        }
    }

    async fn run(&self, stream: TcpStream) -> Result<(), FrameError> {
        stream.set_nodelay(true)?;
        let (from, to) = stream.into_split();
        let mut from = Reader::new(from);
        let first = timeout(HELLO, from.next())
            .await
            .map_err(|_| FrameError::Io(std::io::ErrorKind::TimedOut.into()))??;
        let hello = match first {
            (Kind::Hello, body) => Hello::decode(&body)?,
            (kind, _) => return Err(FrameError::Kind(kind as u8)),
        };
        self.check(&hello)?;
        let (answers, waiting) = mpsc::unbounded_channel();
        tokio::select! {
            ended = self.read(&hello, &mut from, answers) => ended,
            ended = write_answers(to, waiting) => ended,
        }
    }

    fn check(&self, hello: &Hello) -> Result<(), FrameError> {
        if hello.datacenter != self.me.datacenter {
            return Err(FrameError::Stranger(format!(
                "server {} is of datacenter {:?}",
                hello.name, hello.datacenter
            )));
        }
        // Addresses pass from one server to another; node IDs do not.
        if !hello.to.eq_ignore_ascii_case(&self.me.node_id) {
            return Err(FrameError::Stranger(format!(
                "server {} takes this one for node {}",
                hello.name, hello.to
            )));
        }
        Ok(())
    }

    async fn read(
        &self,
        hello: &Hello,
        from: &mut Reader<OwnedReadHalf>,
        answers: mpsc::UnboundedSender<Bytes>,
    ) -> Result<(), FrameError> {
        let places = Arc::new(Semaphore::new(MAX_REQUESTS));
        let (hello, id) = (Arc::new(hello.clone()), raft_id(&hello.node_id));
        loop {
            let (kind, body) = from.next().await?;
            match kind {
                Kind::Raft => self.service.raft(message(&body, id)?),
                Kind::Request => {
                    let (number, body) = frame::numbered(body)?;
                    self.carry_out(&hello, number, &body, &places, &answers);
                }
                Kind::Snapshot => {
                    let message = message(&body, id)?;
                    snapshot::receive(Arc::clone(&self.data), &message, from).await?;
                    self.service.raft(message);
                    let mut out = Vec::new();
                    snapshot::confirm(&mut out).await?;
                    // The connection may have ended; then the sender sends anew.
                    let _ = answers.send(out.into());
                }
                other => return Err(FrameError::Kind(other as u8)),
            }
        }
    }

    fn carry_out(
        &self,
        hello: &Arc<Hello>,
        number: u64,
        body: &[u8],
        places: &Arc<Semaphore>,
        answers: &mpsc::UnboundedSender<Bytes>,
    ) {
        let answers = answers.clone();
        let send = move |answer: &Answer| {
            let body = request::encode(answer).unwrap_or_default();
            let mut out = BytesMut::new();
            frame::put_numbered(&mut out, Kind::Answer, number, &body);
            // The connection may have ended; whoever asked is told that the outcome is unknown.
            let _ = answers.send(out.freeze());
        };
        let request: Request = match request::decode(body) {
            Ok(request) => request,
            Err(error) => {
                let text = format!("this server cannot read the request: {error}");
                return send(&Answer::Failed(EndpointError::Internal(text)));
            }
        };
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            return send(&Answer::Failed(EndpointError::Busy));
        };
        let (service, hello) = (Arc::clone(&self.service), Arc::clone(hello));
        tokio::spawn(async move {
            let _place = place;
            send(&service.request(&hello, request).await);
        });
    }
}

/// A raft message of this peer.
fn message(body: &[u8], from: u64) -> Result<PeerMessage, FrameError> {
    let message = PeerMessage::decode(body).map_err(|error| FrameError::Malformed(error.to_string()))?;
    if message.from() == from {
        Ok(message)
    } else {
        Err(FrameError::Stranger("a message in the name of another server".into()))
    }
}

async fn write_answers(
    mut to: OwnedWriteHalf,
    mut waiting: mpsc::UnboundedReceiver<Bytes>,
) -> Result<(), FrameError> {
    let mut batch = Vec::with_capacity(TOGETHER);
    let mut out = BytesMut::new();
    while waiting.recv_many(&mut batch, TOGETHER).await > 0 {
        batch.drain(..).for_each(|answer| out.extend_from_slice(&answer));
        to.write_all(&out).await?;
        out.clear();
    }
    Ok(())
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbound").field("me", &self.me).finish_non_exhaustive()
    }
}
