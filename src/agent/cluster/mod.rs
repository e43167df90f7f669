//! The servers of a datacenter as one cluster: the server port, the links between servers, how a group is founded.
//!
//! ```text
//!  server port --0x54--> peers::Inbound --> Desk --> raft, proposer, sessions
//!              --0, 4, 5--> Consul's RPC
//!  raft node --> Links --> other servers
//! ```
//!
//! All of it runs on a thread of its own, so that neither a slow disk nor a busy HTTP worker stands before heartbeats.

mod desk;
mod directory;
mod founding;
mod port;
mod steward;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

use super::StartError;
use crate::actors::member_list::PoolHandle;
use crate::actors::raft_handle::RaftHandle;
use crate::actors::raft_node::PeerTransport;
use crate::dial::source_of;
use crate::endpoints::agent::AgentFacts;
use crate::peers::frame::Hello;
use crate::peers::{Inbound, Links, LinksSettings, SnapshotData};
use crate::raft::{PeerMessage, ServerRecord};
use crate::rpc::server::{self, RpcServices};

pub use desk::Desk;
pub use steward::{ClusterAdmin, StewardOptions, start_autopilot};

use directory::LanDirectory;
use founding::Founding;
use port::{Door, Doors, ServerPort};

/// What the cluster is started with.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The server port.
    pub listen: SocketAddr,
    /// How long a connection may take to say what it is.
    pub handshake_timeout: Duration,
    /// Connections of one address; more are closed at once.
    pub max_connections_per_client: usize,
    /// Servers that found a group together; 0 and 1 found none with others.
    pub expect: u32,
}

/// The running cluster part of a server.
pub struct Cluster {
    runtime: Background,
    links: Links,
    port: ServerPort,
    options: ClusterOptions,
    hello: Hello,
    data: Arc<dyn SnapshotData>,
    lan: PoolHandle,
    rpc: Mutex<Option<Arc<RpcServices>>>,
    stop: watch::Sender<bool>,
}

impl Cluster {
    /// Binds the server port and prepares the links; nothing is served before [`Cluster::serve`].
    ///
    /// # Errors
    /// [`StartError::System`] names the address that cannot be used.
    pub fn start(
        options: &ClusterOptions,
        facts: &AgentFacts,
        lan: PoolHandle,
        data: Arc<dyn SnapshotData>,
    ) -> Result<Self, StartError> {
        let system = |doing: String| move |source: std::io::Error| StartError::System { doing, source };
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .thread_name("cluster")
            .enable_all()
            .build()
            .map_err(system("cannot start the cluster's thread".into()))?;
        let port = ServerPort::bind(options)
            .map_err(system(format!("cannot listen on the server port {} (ports.server)", options.listen)))?;
        let hello = Hello {
            datacenter: facts.datacenter.clone(),
            node_id: facts.node_id.clone(),
            name: facts.node_name.clone(),
            to: String::new(),
        };
        let directory = LanDirectory { lan: lan.clone(), datacenter: facts.datacenter.clone() };
        let links = Links::new(
            LinksSettings { source: source_of(options.listen.ip()), ..LinksSettings::new(hello.clone()) },
            Arc::new(directory),
            Arc::clone(&data),
            runtime.handle().clone(),
        );
        let (stop, _) = watch::channel(false);
        Ok(Self {
            runtime: Background { handle: runtime.handle().clone(), runtime: Some(runtime) },
            links,
            port,
            options: options.clone(),
            hello,
            data,
            lan,
            rpc: Mutex::new(None),
            stop,
        })
    }

    /// The links to the other servers.
    pub fn links(&self) -> Links {
        self.links.clone()
    }

    /// Serves peers and, over Consul's RPC, everybody else; founds a group with others if it is to.
    pub fn serve(&self, me: ServerRecord, raft: &RaftHandle, desk: Desk, rpc: Arc<RpcServices>) {
        self.links.tell(Arc::new(raft.clone()));
        let promises = desk.promises();
        let inbound = Inbound::new(self.hello.clone(), Arc::new(desk), Arc::clone(&self.data));
        let single = Arc::clone(&rpc);
        let multiplexed = Arc::clone(&rpc);
        let snapshots = Arc::clone(&rpc);
        let doors = Doors {
            peers: Some(doubted(&self.lan, move |stream| {
                let inbound = inbound.clone();
                async move { inbound.serve(stream).await }
            })),
            single: Some(Arc::new(move |stream, _| Box::pin(server::serve(stream, Arc::clone(&single))))),
            multiplexed: Some(doubted(&self.lan, move |stream| {
                server::serve_multiplexed(stream, Arc::clone(&multiplexed))
            })),
            snapshot: Some(Arc::new(move |stream, _| {
                Box::pin(server::serve_snapshot(stream, Arc::clone(&snapshots)))
            })),
        };
        *self.rpc.lock() = Some(rpc);
        self.runtime.handle.spawn(self.port.clone().run(doors, self.stop.subscribe()));
        if self.options.expect > 1 {
            let founding = Founding {
                expect: self.options.expect,
                me,
                datacenter: self.hello.datacenter.clone(),
                lan: self.lan.clone(),
                raft: raft.clone(),
                links: self.links.clone(),
                promises,
            };
            self.runtime.handle.spawn(founding.run());
        }
    }

    /// Closes the port and has parked queries answer; connections end with the runtime.
    pub fn close(&self) {
        if let Some(rpc) = &*self.rpc.lock() {
            rpc.drain.release(rpc.endpoints.state.watches());
        }
        self.stop.send_replace(true);
    }

    /// Ends everything. Waits for nobody.
    pub fn stop(self) {
        self.close();
    }
}

/// A runtime that may be let go anywhere: it waits for nobody, and tokio's own end panics where nobody may wait.
struct Background {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl crate::peers::links::LinkNews for RaftHandle {
    fn unreachable(&self, peer: u64) {
        self.peer_send_failed(peer);
    }

    fn gone(&self, peer: u64) {
        self.peer_gone(peer);
    }

    fn snapshot_sent(&self, peer: u64, done: bool) {
        Self::snapshot_sent(self, peer, done);
    }
}

/// A door that tells gossip when a connection has ended: whoever was at its other end may have died. Without it the
/// next probe of them would come in its turn.
fn doubted<F>(lan: &PoolHandle, serve: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Door
where
    F: Future<Output = ()> + Send + 'static,
{
    let lan = lan.clone();
    Arc::new(move |stream, peer: SocketAddr| {
        let (lan, served) = (lan.clone(), serve(stream));
        Box::pin(async move {
            served.await;
            lan.doubt(peer.ip());
        })
    })
}

/// The links, as the raft node knows them.
pub struct RaftLinks(pub Links);

impl PeerTransport for RaftLinks {
    fn send(&mut self, to: &ServerRecord, message: PeerMessage) -> bool {
        self.0.send(to, &message)
    }

    fn find(&self, raft_id: u64) -> Option<ServerRecord> {
        self.0.server(raft_id)
    }
}
