//! Real connections to a server over the real state machine in memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{RpcServices, serve, serve_multiplexed};
use crate::endpoints::agent::{AgentFacts, LocalAgent, LocalSnapshot};
use crate::endpoints::event::Events;
use crate::endpoints::keyring::{KeyOperation, Keyring, PoolKeys};
use crate::endpoints::operator::{
    Admin, AdminAnswer, AdminRequest, Operator, RaftInfo, RaftStatus, SnapshotRestore,
};
use crate::endpoints::query::{QueryMeta, QueryOptions};
use crate::endpoints::testing::{LoneBus, LoneMember, endpoints_over};
use crate::endpoints::{Applied, EndpointError, Endpoints, LeaderRead, Leadership, Peer, Proposer};
use crate::rpc::client::{ClientOptions, RpcClient, RpcError};
use crate::rpc::codec::Unpack;
use crate::rpc::codec::frame::{Frames, RequestHeader, ResponseHeader, pack};
use crate::rpc::shapes::*;
use crate::rpc::tests::recorded;
use crate::state::archive::ArchiveReader;
use crate::state::command::{KvCommand, KvVerb, Register};
use crate::state::machine::StateMachine;
use crate::state::record::{Check, Node, Session};
use crate::state::store::MemoryStore;
use crate::state::{Command, Envelope, Outcome};

/// Applies proposals at once.
struct Applying(Mutex<StateMachine>);

impl Proposer for Applying {
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, EndpointError>> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let data = Envelope { now_ms: u64::try_from(now.as_millis()).unwrap(), command }.encode().unwrap();
        let mut machine = self.0.lock();
        let index = machine.applied_index() + 1;
        let outcome = machine.apply([(index, &data[..])]).unwrap().outcomes.pop().flatten().unwrap();
        let result = match outcome {
            Outcome::Refused(text) => Err(EndpointError::Refused(text)),
            outcome => Ok(Applied { index, outcome }),
        };
        futures::future::ready(result).boxed()
    }
}

/// Leads, alone; restores nothing and has no keys.
struct Alone;

impl LeaderRead for Alone {
    fn leadership(&self) -> Arc<Leadership> {
        let peer = Peer { address: "127.0.0.1:8300".into(), leader: true, voter: true, ..Peer::default() };
        let leader_address = Some(peer.address.clone());
        Arc::new(Leadership { leader_address, is_leader: true, peers: vec![peer], ..Leadership::default() })
    }

    fn check_lease(&self) -> Result<(), EndpointError> {
        Ok(())
    }

    fn barrier(&self) -> Result<Option<BoxFuture<'_, Result<(), EndpointError>>>, EndpointError> {
        Ok(None)
    }
}

impl RaftInfo for Alone {
    fn raft_status(&self) -> RaftStatus {
        RaftStatus { last_log_index: 17, last_log_term: 2, ..RaftStatus::default() }
    }
}

impl SnapshotRestore for Alone {
    fn restore(&self, _: ArchiveReader<std::fs::File>) -> BoxFuture<'_, Result<(), EndpointError>> {
        futures::future::ready(Ok(())).boxed()
    }
}

impl Admin for Alone {
    fn ask(&self, _: AdminRequest) -> BoxFuture<'_, Result<AdminAnswer, EndpointError>> {
        futures::future::ready(Ok(AdminAnswer::Done)).boxed()
    }
}

impl Keyring for Alone {
    fn operate(&self, _: KeyOperation, _: u8) -> BoxFuture<'_, Result<Vec<PoolKeys>, EndpointError>> {
        futures::future::ready(Ok(Vec::new())).boxed()
    }
}

impl LocalAgent for Alone {
    fn local(&self) -> Arc<LocalSnapshot> {
        Arc::default()
    }

    fn set_node_maintenance(&self, _: Option<String>) {}

    fn set_service_maintenance(&self, _: &str, _: Option<String>) -> bool {
        false
    }
}

struct Server {
    address: SocketAddr,
    services: Arc<RpcServices>,
}

/// A server of dc1 with the node `cli1`; serves many streams a connection, or one.
async fn server(many: bool) -> Server {
    let machine = StateMachine::open(Box::new(MemoryStore::default())).unwrap();
    let state = machine.reader();
    let endpoints = Endpoints {
        proposer: Arc::new(Applying(Mutex::new(machine))),
        leader: Arc::new(Alone),
        ..endpoints_over(state)
    };
    let serf = Check {
        node: "cli1".into(),
        check_id: "serfHealth".into(),
        status: "passing".into(),
        ..Check::default()
    };
    let node = Node { node: "cli1".into(), address: "127.0.0.1".into(), ..Node::default() };
    let register = Register { node, checks: vec![serf], ..Register::default() };
    endpoints.proposer.propose(Command::Register(Box::new(register))).await.unwrap();
    let events = Arc::new(Events::new("node1", Arc::new(Alone)));
    let services = Arc::new(RpcServices {
        endpoints,
        operator: Operator { raft: Arc::new(Alone), restore: Arc::new(Alone), admin: Arc::new(Alone) },
        members: Arc::new(LoneMember::new(&AgentFacts::default())),
        events: Arc::new(LoneBus::new(&events)),
        keyring: Arc::new(Alone),
        drain: crate::endpoints::blocking::Drain::default(),
        spool: String::new(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::clone(&services);
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let services = Arc::clone(&served);
            tokio::spawn(async move {
                assert_eq!(connection.read_u8().await.unwrap(), if many { 4 } else { 0 });
                if many {
                    serve_multiplexed(connection, services).await;
                } else {
                    serve(connection, services).await;
                }
            });
        }
    });
    Server { address, services }
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), work).await.expect("in time")
}

fn set(key: &str, value: &str) -> KvsRequest {
    let command = KvCommand {
        verb: KvVerb::Set,
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        flags: 0,
        cas: 0,
        session: None,
    };
    KvsRequest::new("dc1", command)
}

fn get(key: &str, index: u64) -> Query<KeyRequest> {
    let options =
        QueryOptions { min_index: index, max_wait: Duration::from_secs(60), ..QueryOptions::default() };
    let key = Key(Bytes::copy_from_slice(key.as_bytes()));
    Query { common: ReadOptions::new(&options, ""), own: KeyRequest { datacenter: "dc1".into(), key } }
}

struct Caller {
    client: Arc<RpcClient>,
    server: SocketAddr,
}

impl Caller {
    async fn call<R: Unpack>(
        &self,
        method: &str,
        request: &impl crate::rpc::codec::Pack,
    ) -> Result<R, RpcError> {
        soon(self.client.call(self.server, method, request, None)).await
    }
}

async fn caller() -> (Caller, Server) {
    let server = server(true).await;
    let client = Arc::new(RpcClient::new(ClientOptions::default()));
    (Caller { client, server: server.address }, server)
}

/// The recorded bytes of a stock client, sent as they were sent.
#[tokio::test]
async fn a_recorded_connection_is_answered() {
    let server = server(true).await;
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    connection.write_all(&recorded("conn_client_to_server.bin")).await.unwrap();
    let mut bytes = Vec::new();
    let mut frames = Vec::new();
    soon(async {
        // The acknowledged stream, four answers, the answered ping.
        while frames.len() < 6 {
            assert!(connection.read_buf(&mut bytes).await.unwrap() > 0);
            frames = split(&bytes);
        }
    })
    .await;
    assert_eq!((frames[0].0, frames[0].1), (1, 2), "{frames:?}");
    let pong = frames.iter().filter(|frame| (frame.0, frame.1) == (2, 2)).count();
    assert_eq!(pong, 1);
    let data: Vec<u8> =
        frames.iter().filter(|frame| frame.0 == 0).flat_map(|frame| frame.2.clone()).collect();
    let (mut buffer, mut cut) = (bytes::BytesMut::from(&*data), Frames::new(1 << 20));
    let mut methods = Vec::new();
    while let Some((header, _)) = cut.next(&mut buffer).unwrap() {
        let header: ResponseHeader = crate::rpc::codec::from_bytes(&header).unwrap();
        assert_eq!(header.error, "");
        methods.push(header.service_method);
    }
    let want = ["Catalog.NodeServiceList", "Health.NodeChecks", "Catalog.Register", "Coordinate.Update"];
    assert_eq!(methods.len(), want.len(), "{methods:?}");
    let view = server.services.endpoints.state.view_full();
    assert!(view.node("cli1").is_some_and(|entry| entry.node.tagged_addresses.is_some()));
}

/// Type, flags and payload of yamux frames.
fn split(mut bytes: &[u8]) -> Vec<(u8, u16, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<12>() {
        let length = u32::from_be_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let length = if head[1] == 0 { length } else { 0 };
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        found.push((head[1], u16::from_be_bytes([head[2], head[3]]), payload.to_vec()));
        bytes = rest;
    }
    found
}

#[tokio::test]
async fn keys_are_written_read_and_waited_for() {
    let (caller, _server) = caller().await;
    assert_eq!(caller.call::<bool>("KVS.Apply", &set("a/b", "1")).await, Ok(false));
    let first: Reply<DirEntries> = caller.call("KVS.Get", &get("a/b", 0)).await.unwrap();
    assert_eq!(&*first.own.entries[0].value, b"1");
    assert!(first.common.known_leader && first.common.index > 0);
    let waiting = get("a/b", first.common.index);
    let (woken, ()) = futures::join!(caller.call::<Reply<DirEntries>>("KVS.Get", &waiting), async {
        assert_eq!(caller.call::<bool>("KVS.Apply", &set("a/b", "2")).await, Ok(false));
    });
    let woken = woken.unwrap();
    assert_eq!(&*woken.own.entries[0].value, b"2");
    assert!(woken.common.index > first.common.index);
    let large = "x".repeat(500_000);
    assert_eq!(caller.call::<bool>("KVS.Apply", &set("a/c", &large)).await, Ok(false));
    let list: Reply<DirEntries> = caller.call("KVS.List", &get("a/", 0)).await.unwrap();
    assert_eq!(list.own.entries.iter().map(|entry| entry.value.len()).collect::<Vec<_>>(), [1, 500_000]);
    let missing: Reply<DirEntries> = caller.call("KVS.Get", &get("none", 0)).await.unwrap();
    assert!(missing.own.entries.is_empty() && missing.common.index > 0);
    let keys = KeyListRequest {
        datacenter: "dc1".into(),
        prefix: Key(Bytes::new()),
        separator: Key(Bytes::from_static(b"/")),
    };
    let keys: Reply<KeyList> =
        caller.call("KVS.ListKeys", &Query { common: ReadOptions::default(), own: keys }).await.unwrap();
    assert_eq!(keys.own.keys, [Key(Bytes::from_static(b"a/"))]);
}

#[tokio::test]
async fn a_thousand_wait_on_one_connection() {
    let (caller, server) = caller().await;
    caller.call::<bool>("KVS.Apply", &set("k", "1")).await.unwrap();
    let first: Reply<DirEntries> = caller.call("KVS.Get", &get("k", 0)).await.unwrap();
    let waiting = get("k", first.common.index);
    let reads = (0..1_000).map(|_| caller.call::<Reply<DirEntries>>("KVS.Get", &waiting));
    let all = futures::future::join_all(reads);
    let write = async {
        let watches = server.services.endpoints.state.watches();
        while watches.parked() < 1_000 {
            tokio::task::yield_now().await;
        }
        caller.call::<bool>("KVS.Apply", &set("k", "2")).await.unwrap();
    };
    let (all, ()) = futures::join!(all, soon(write));
    assert!(all.into_iter().all(|reply| &*reply.unwrap().own.entries[0].value == b"2"));
}

#[tokio::test]
async fn sessions_keep_the_checks_an_agent_settled() {
    let (caller, server) = caller().await;
    let session =
        Session { node: "cli1".into(), node_checks: vec!["serfHealth".into()], ..Session::default() };
    let id: String = caller.call("Session.Apply", &SessionApply::create("dc1", session)).await.unwrap();
    let ask = |id: &str| Query { common: ReadOptions::default(), own: SessionRequest::new("dc1", id) };
    let found: Reply<Sessions> = caller.call("Session.Get", &ask(&id)).await.unwrap();
    assert_eq!(found.own.sessions[0].node_checks, ["serfHealth"]);
    assert_eq!(found.own.sessions.len(), 1);
    assert!(server.services.endpoints.state.view().sessions.contains_key(&*id));
    assert_eq!(
        caller.call::<String>("Session.Apply", &SessionApply::destroy("dc1", &id)).await,
        Ok(String::new())
    );
    let gone: Reply<Sessions> = caller.call("Session.Renew", &ask(&id)).await.unwrap();
    assert!(gone.own.sessions.is_empty());
    let stranger = Session { node: "stranger".into(), ..Session::default() };
    let refused = caller.call::<String>("Session.Apply", &SessionApply::create("dc1", stranger)).await;
    assert_eq!(refused, Err(RpcError::Server("Missing node registration".into())));
}

/// Every recorded request of a stock client gets an answer of the right shape, or an honest refusal.
#[tokio::test]
async fn recorded_requests_are_answered() {
    let server = server(false).await;
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    connection.write_all(&[0]).await.unwrap();
    let mut answered = 0;
    for name in [
        "Status_Leader",
        "Status_Peers",
        "Status_RaftStats",
        "Catalog_ListDatacenters",
        "Catalog_ListNodes",
        "Catalog_ListServices",
        "Catalog_Register_2",
        "Catalog_NodeServices",
        "Catalog_NodeServiceList",
        "Catalog_ServiceNodes",
        "Catalog_GatewayServices",
        "Catalog_Deregister",
        "Health_ServiceNodes",
        "Health_NodeChecks",
        "Health_ServiceChecks",
        "Health_ChecksInState",
        "Coordinate_Update",
        "Coordinate_ListDatacenters",
        "Coordinate_ListNodes",
        "Coordinate_Node",
        "Internal_NodeInfo",
        "Internal_NodeDump",
        "Internal_ServiceDump",
        "Internal_EventFire",
        "KVS_Apply",
        "KVS_Get",
        "KVS_Get_stale",
        "KVS_Get_consistent",
        "KVS_List",
        "KVS_ListKeys",
        "Session_List",
        "Txn_Apply",
        "Txn_Read",
        "Operator_RaftGetConfiguration",
    ] {
        connection.write_all(&recorded(&format!("{name}.req.bin"))).await.unwrap();
        let (header, _) = soon(reply(&mut connection)).await;
        assert_eq!(header.error, "", "{name}");
        assert!(name.starts_with(&header.service_method.replace('.', "_")), "{name}");
        answered += 1;
    }
    assert_eq!(answered, 34);
    drop(server);
}

async fn reply(connection: &mut TcpStream) -> (ResponseHeader, Bytes) {
    let (mut frames, mut buffer) = (Frames::new(1 << 20), bytes::BytesMut::new());
    loop {
        if let Some((header, body)) = frames.next(&mut buffer).unwrap() {
            return (crate::rpc::codec::from_bytes(&header).unwrap(), body);
        }
        assert!(connection.read_buf(&mut buffer).await.unwrap() > 0, "closed");
    }
}

#[tokio::test]
async fn what_is_unknown_closes_the_stream_and_what_is_refused_does_not() {
    let server = server(false).await;
    let table = [
        ("KVS.Nope", "rpc: can't find method KVS.Nope", false),
        ("Nope.Get", "rpc: can't find service Nope.Get", false),
        ("Nope", "rpc: service/method request ill-formed: Nope", false),
        ("ACL.TokenList", "ACL support disabled", true),
        ("Catalog.ListNodes", "No path to datacenter", true),
    ];
    for (method, text, goes_on) in table {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        let header = RequestHeader { seq: 9, service_method: method.into() };
        connection.write_all(&[&[0][..], &pack(&header, &())].concat()).await.unwrap();
        let (header, body) = soon(reply(&mut connection)).await;
        assert_eq!(
            (&*header.error, header.seq, &*header.service_method, &body[..]),
            (text, 9, method, &[0x80][..])
        );
        let again = RequestHeader { seq: 10, service_method: "Status.Ping".into() };
        let sent = connection.write_all(&pack(&again, &())).await;
        if goes_on {
            sent.unwrap();
            assert_eq!(soon(reply(&mut connection)).await.0.seq, 10, "{method}");
        } else {
            let mut rest = Vec::new();
            // A reset is as good as an end.
            drop(soon(connection.read_to_end(&mut rest)).await);
            assert!(rest.is_empty(), "{method}");
        }
    }
}

#[tokio::test]
async fn callers_who_leave_and_agents_that_stop_release_what_waits() {
    let (caller, server) = caller().await;
    let watches = server.services.endpoints.state.watches().clone();
    let waiting = get("k", 1_000);
    {
        let call = caller.client.call::<Reply<DirEntries>>(caller.server, "KVS.Get", &waiting, None);
        let parked = async {
            while watches.parked() == 0 {
                tokio::task::yield_now().await;
            }
        };
        futures::pin_mut!(call);
        tokio::select! {
            _ = &mut call => panic!("nothing was written"),
            () = soon(parked) => {}
        }
    }
    soon(async {
        while watches.parked() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let call = caller.call::<Reply<DirEntries>>("KVS.Get", &waiting);
    let stop = async {
        while watches.parked() == 0 {
            tokio::task::yield_now().await;
        }
        server.services.drain.release(&watches);
    };
    let (answer, ()) = futures::join!(call, soon(stop));
    let meta = QueryMeta::from(&answer.unwrap().common);
    assert!(meta.index > 0);
}
