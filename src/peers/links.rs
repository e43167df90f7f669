//! The links to all peers: what the raft node and the forwarding of requests hold.
//!
//! Sending never blocks: a message goes into the queue of its peer's link, or is refused when that is full. Links are
//! made when first needed and stay; one that has nothing to say holds no connection.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::data::SnapshotData;
use super::frame::Hello;
use super::link::{Link, Outgoing};
use super::request::{self, Answer, Request, RequestError};
use super::snapshot;
use crate::raft::{PeerMessage, ServerRecord};

/// Where a server is reached now. Gossip knows better than a record that was written at some time.
pub trait Directory: Send + Sync {
    /// Address of the server port of the server with this node UUID, if it is known.
    fn find(&self, node_id: &str) -> Option<SocketAddr>;

    /// The server with this raft ID, if it is known.
    fn server(&self, _raft_id: u64) -> Option<ServerRecord> {
        None
    }
}

/// What happens to a link that the raft node must hear.
pub trait LinkNews: Send + Sync {
    /// Messages to this peer (by raft ID) were lost.
    fn unreachable(&self, peer: u64);

    /// The process of this peer has ended: it hung up, and nobody listens at its address any more.
    fn gone(&self, peer: u64);

    /// Streaming a snapshot to this peer ended, well or not.
    fn snapshot_sent(&self, peer: u64, done: bool);
}

/// What the links are made with.
#[derive(Clone)]
pub struct LinksSettings {
    /// How this server introduces itself; [`Hello::to`] is filled in.
    pub me: Hello,
    /// Where connections come from; none if the system is to choose.
    pub source: Option<IpAddr>,
    /// Longest wait for a connection.
    pub dial_timeout: Duration,
    /// A connection on which nothing gets through for so long is given up.
    pub dead_after: Duration,
}

impl LinksSettings {
    /// With the times for servers of one datacenter.
    pub const fn new(me: Hello) -> Self {
        Self { me, source: None, dial_timeout: Duration::from_secs(1), dead_after: Duration::from_secs(3) }
    }
}

/// What all links share.
pub(super) struct Shared {
    pub(super) settings: LinksSettings,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) news: Mutex<Option<Arc<dyn LinkNews>>>,
    pub(super) data: Arc<dyn SnapshotData>,
}

impl Shared {
    pub(super) fn news(&self) -> Option<Arc<dyn LinkNews>> {
        self.news.lock().clone()
    }

    pub(super) fn address(&self, peer: &ServerRecord) -> Option<SocketAddr> {
        self.directory.find(&peer.node_id).or_else(|| peer.address.parse().ok())
    }

    pub(super) fn hello(&self, peer: &ServerRecord) -> Hello {
        Hello { to: peer.node_id.clone(), ..self.settings.me.clone() }
    }
}

/// The links to all peers; clones share them.
#[derive(Clone)]
pub struct Links {
    shared: Arc<Shared>,
    by_peer: Arc<Mutex<HashMap<u64, Link>>>,
    runtime: Handle,
}

impl Links {
    /// Links that live on this runtime.
    pub fn new(
        settings: LinksSettings,
        directory: Arc<dyn Directory>,
        data: Arc<dyn SnapshotData>,
        runtime: Handle,
    ) -> Self {
        let shared = Shared { settings, directory, news: Mutex::new(None), data };
        Self { shared: Arc::new(shared), by_peer: Arc::default(), runtime }
    }

    /// The server with this raft ID, if it is known.
    pub fn server(&self, raft_id: u64) -> Option<ServerRecord> {
        self.shared.directory.server(raft_id)
    }

    /// Who hears of losses. The raft node is started with these links, so it comes later than they.
    pub fn tell(&self, news: Arc<dyn LinkNews>) {
        *self.shared.news.lock() = Some(news);
    }

    /// Sends a raft message; false if it cannot even be queued. A snapshot's data goes first.
    pub fn send(&self, to: &ServerRecord, message: &PeerMessage) -> bool {
        let Ok(body) = message.encode() else { return false };
        match message.snapshot() {
            None => self.queue(to, Outgoing::Raft(body)).is_ok(),
            Some(manifest) => {
                self.runtime.spawn(snapshot::send(Arc::clone(&self.shared), to.clone(), manifest, body));
                true
            }
        }
    }

    /// Asks a server. Takes as long as the server does: bound it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request(&self, to: &ServerRecord, request: &Request) -> Result<Answer, RequestError> {
        let not_sent = || RequestError::NotSent(to.name.clone());
        let body = request::encode(request).map_err(|_| not_sent())?;
        let (reply, answer) = oneshot::channel();
        self.queue(to, Outgoing::Request { body, reply }).map_err(|_| not_sent())?;
        answer.await.unwrap_or_else(|_| Err(RequestError::Lost(to.name.clone())))
    }

    fn queue(&self, to: &ServerRecord, what: Outgoing) -> Result<(), Outgoing> {
        let mut links = self.by_peer.lock();
        let link = links
            .entry(to.raft_id())
            .or_insert_with(|| Link::start(to.clone(), Arc::clone(&self.shared), &self.runtime));
        link.queue(what)
    }
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}
