//! A leader alone in its group, and servers that gossip makes up.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::actors::mailbox::Sender;
use crate::actors::raft_node::{Applier, ApplyCommitted, FlushWanted, NoPeers, RaftNode, RaftOptions};
use crate::actors::supervision::FailStop;
use crate::endpoints::Applied;
use crate::endpoints::operator::{Admin as _, AdminAnswer, AdminRequest, PeerName};
use crate::raft::{DriverConfig, Membership, MemoryLog, ServerRecord};
use crate::state::machine::StateMachine;
use crate::state::store::MemoryStore;
use crate::state::{Envelope, Outcome};

#[derive(Debug)]
struct Quiet;

impl FailStop for Quiet {
    fn fail_stop(&self, who: &'static str, reason: &str) {
        panic!("{who}: {reason}");
    }
}

/// Writes into a state of its own.
struct Direct(Mutex<StateMachine>);

impl Proposer for Direct {
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, EndpointError>> {
        let mut machine = self.0.lock();
        let index = machine.applied_index() + 1;
        let data = Envelope { now_ms: 0, command }.encode().unwrap();
        let outcome = machine.apply([(index, &data[..])]).unwrap().outcomes.pop().flatten();
        Box::pin(std::future::ready(Ok(Applied { index, outcome: outcome.unwrap() })))
    }
}

#[derive(Default)]
struct Gossip {
    servers: Mutex<BTreeMap<String, Seen>>,
    farewells: Mutex<Vec<String>>,
}

impl Gossip {
    fn say(&self, name: &str, standing: Standing) {
        let seen = Seen {
            server: record(name),
            standing,
            version: "1.8.7".into(),
            non_voter: false,
            bootstrap: false,
        };
        self.servers.lock().insert(name.to_owned(), seen);
    }
}

impl ServerPool for Gossip {
    fn servers(&self) -> Vec<Seen> {
        self.servers.lock().values().cloned().collect()
    }

    fn force_leave(&self, name: &str) -> BoxFuture<'_, Result<(), EndpointError>> {
        self.farewells.lock().push(name.to_owned());
        self.say(name, Standing::Left);
        Box::pin(std::future::ready(Ok(())))
    }

    /// `stranger` is in a group of its own, `silent` does not answer.
    fn group<'a>(
        &'a self,
        server: &'a ServerRecord,
    ) -> BoxFuture<'a, Result<Vec<ServerRecord>, EndpointError>> {
        let members = match server.name.as_str() {
            "stranger" => Ok(vec![record("stranger"), record("other")]),
            "silent" => Err(EndpointError::Internal("no answer".into())),
            "returned" => Ok(vec![record("a"), record("returned")]),
            _ => Ok(Vec::new()),
        };
        Box::pin(std::future::ready(members))
    }
}

fn record(name: &str) -> ServerRecord {
    ServerRecord { node_id: format!("id-{name}"), name: name.into(), address: format!("{name}:8300") }
}

fn start_node() -> RaftNode {
    let me = record("a");
    let options = RaftOptions {
        driver: DriverConfig {
            bootstrap: Some(Membership::founding([me.clone()])),
            ..DriverConfig::new(me.raft_id())
        },
        me,
        tick: Duration::from_millis(10),
        applied_index: 0,
        on_leadership: Sender::new(|_| ()),
        metrics: Arc::default(),
    };
    let apply = Sender::new(|batch: ApplyCommitted| {
        let last = batch.entries.last().map_or(0, |entry| entry.index);
        for entry in batch.entries {
            if let Some(waiter) = entry.waiter {
                waiter.answer(Ok(Applied { index: entry.index, outcome: Outcome::Done }));
            }
        }
        batch.raft.applied(last);
    });
    let applier = Applier { apply, flush: Sender::new(|_: FlushWanted| ()), snapshots: None };
    RaftNode::start(options, MemoryLog::new(), None, applier, Box::new(NoPeers), Arc::new(Quiet)).unwrap()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

struct World {
    node: RaftNode,
    gossip: Arc<Gossip>,
    state: StateReader,
    admin: LeaderAdmin,
    autopilot: actix::Addr<Autopilot>,
}

impl World {
    async fn start() -> Self {
        let node = start_node();
        let raft = node.handle.clone();
        until("leads", || raft.leadership().is_leader).await;
        let machine = StateMachine::open(Box::new(MemoryStore::default())).unwrap();
        let (state, gossip, health) = (machine.reader(), Arc::<Gossip>::default(), HealthWatch::default());
        gossip.say("a", Standing::Alive);
        let parts = AutopilotParts {
            raft: raft.clone(),
            state: state.clone(),
            proposer: Arc::new(Direct(Mutex::new(machine))),
            pool: Arc::<Gossip>::clone(&gossip),
            health: health.clone(),
            seed: AutopilotConfig {
                cleanup_dead_servers: true,
                max_trailing_logs: 250,
                ..AutopilotConfig::default()
            },
            metrics: Arc::default(),
            pause: Duration::from_millis(5),
            heartbeat: Duration::from_millis(20),
        };
        let token = AliveToken::new(|_| ());
        let autopilot = Autopilot::new(parts, true, token).start();
        Self { node, gossip, state, admin: LeaderAdmin { raft, health }, autopilot }
    }

    fn say(&self, name: &str, standing: Standing) {
        self.gossip.say(name, standing);
        self.autopilot.do_send(MembersChanged { reaped: false });
    }

    /// Members with a `?` behind those that do not vote.
    fn members(&self) -> String {
        let leadership = self.node.handle.leadership();
        let name = |peer: &crate::endpoints::Peer| {
            if peer.voter { peer.node.clone() } else { format!("{}?", peer.node) }
        };
        let mut names: Vec<_> = leadership.peers.iter().map(name).collect();
        names.sort_unstable();
        names.join(" ")
    }

    async fn ask(&self, request: AdminRequest) -> Result<AdminAnswer, String> {
        self.admin.ask(request).await.map_err(|error| error.to_string())
    }
}

#[test]
fn servers_come_and_go() {
    actix::System::new().block_on(async {
        let world = World::start().await;
        until("the configuration is written", || world.state.view().autopilot.is_some()).await;
        assert_eq!(world.state.view().autopilot.as_ref().map(|config| config.max_trailing_logs), Some(250));
        until("healthy", || world.admin.health.now().is_some_and(|health| health.healthy)).await;

        world.say("b", Standing::Alive);
        until("b comes", || world.members() == "a b?").await;
        let health = world.ask(AdminRequest::ServerHealth).await;
        let Ok(AdminAnswer::Health(health)) = health else { panic!("{health:?}") };
        let leader = health.servers.iter().find(|server| server.leader).unwrap();
        assert!(leader.healthy && leader.voter && leader.last_contact_ns == 0, "{leader:?}");
        until("b is not healthy", || {
            let health = world.admin.health.now().unwrap();
            let b = health.servers.iter().find(|server| server.name == "b");
            b.is_some_and(|b| !b.healthy && b.last_contact_ns == -1 && b.stable_since_ms == 0)
                && !health.healthy
        })
        .await;
        assert_eq!(world.members(), "a b?", "nobody votes who is not healthy");

        world.say("b", Standing::Left);
        until("b goes", || world.members() == "a").await;

        // One that does not vote is not waited for.
        world.say("c", Standing::Alive);
        until("c comes", || world.members() == "a c?").await;
        world.say("c", Standing::Failed);
        until("c is said goodbye for", || *world.gossip.farewells.lock() == ["c"]).await;
        until("c goes", || world.members() == "a").await;

        // Two groups do not become one, and who does not answer holds up nobody.
        for name in ["silent", "stranger"] {
            world.say(name, Standing::Alive);
        }
        world.say("returned", Standing::Alive);
        until("one that was here before comes", || world.members() == "a returned?").await;
        world.say("z", Standing::Alive);
        until("z comes", || world.members() == "a returned? z?").await;
        world.node.stop().await.unwrap();
    });
}

#[test]
fn what_operators_ask() {
    actix::System::new().block_on(async {
        let world = World::start().await;
        world.say("b", Standing::Alive);
        until("b comes", || world.members() == "a b?").await;
        let id = |name: &str| PeerName::Id(format!("id-{name}"));
        let refused = [
            (AdminRequest::RemovePeer(id("x")), "id \"id-x\" was not found in the Raft configuration"),
            (
                AdminRequest::RemovePeer(PeerName::Address("x:1".into())),
                "address \"x:1\" was not found in the Raft configuration",
            ),
            (AdminRequest::RemovePeer(id("a")), "server a is the only one that votes and cannot be removed"),
            (AdminRequest::TransferLeader(None), "there is no other server that can lead"),
            (AdminRequest::TransferLeader(Some("id-a".into())), "server a leads already"),
            (AdminRequest::TransferLeader(Some("id-b".into())), "server b does not vote"),
        ];
        for (request, text) in refused {
            assert_eq!(world.ask(request.clone()).await, Err(text.to_owned()), "{request:?}");
        }
        world.gossip.say("b", Standing::Leaving);
        assert_eq!(
            world.ask(AdminRequest::RemovePeer(PeerName::Address("b:8300".into()))).await,
            Ok(AdminAnswer::Done)
        );
        until("b is gone", || world.members() == "a").await;
        assert_eq!(world.ask(AdminRequest::Leave("id-b".into())).await, Ok(AdminAnswer::Done), "it is gone");
        world.autopilot.do_send(LeadershipChanged { leads: false });
        until("nothing is published", || world.admin.health.now().is_none()).await;
        let written = world.node.handle.propose(Bytes::from_static(b"x")).await;
        assert!(written.is_ok(), "{written:?}");
        world.node.stop().await.unwrap();
    });
}
