//! `LocalState`: this agent's services and checks, and the anti-entropy that keeps the catalog equal
//! to them.
//!
//! The truth is in [`LocalState`], a handle anybody may hold and read without a mailbox; it outlives
//! the actor. [`LocalStateActor`] does the sending: everything is compared with the catalog when it
//! starts, when the leader changes and once a minute; in between only what changed is sent. A
//! failed attempt is repeated with growing pauses. Changes are never queued one by one: whoever
//! changes something leaves a mark, and the next round sends what the marks say.
//!
//! Restart: from a factory (`LocalStateActor::new` with the same handle); nothing is lost.

pub mod entries;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, WrapFuture};
use arc_swap::ArcSwap;
use futures::future::{BoxFuture, Either, select};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use super::supervision::AliveToken;
use crate::definition::Status;
use crate::endpoints::agent::registration::{CheckRegistration, Registration, Source};
use crate::endpoints::agent::{AgentFacts, LocalAgent, LocalRegistry, LocalSnapshot};
use crate::endpoints::{EndpointError, LeaderRead, Proposer};
use crate::state::record::{Check, Service, StringMap};
use crate::state::view::fold;
use crate::state::{StateReader, Topic};
use entries::{Entries, SERF_HEALTH, Settles};

/// Everything is compared anew after this long, and up to half as much more, so that the agents of
/// a cluster spread out.
const FULL_SYNC: Duration = Duration::from_secs(60);
/// Pause after the first failure; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(250);
/// Longest pause after failures.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// How long the leader gets to register this node first. It writes the bare node with `serfHealth`;
/// what is sent before would be overwritten.
const LEADER_FIRST: Duration = Duration::from_secs(5);

/// This agent's services and checks. Clones of the `Arc` share them.
pub struct LocalState {
    entries: Mutex<Entries>,
    published: ArcSwap<LocalSnapshot>,
    wake: Notify,
    full: AtomicBool,
    changes: watch::Sender<u64>,
}

impl LocalState {
    /// With nothing but the node itself.
    pub fn new(facts: &AgentFacts) -> Self {
        Self {
            entries: Mutex::new(Entries::new(facts.catalog_node(), facts.server)),
            published: ArcSwap::default(),
            wake: Notify::new(),
            full: AtomicBool::new(true),
            changes: watch::Sender::new(0),
        }
    }

    /// Changes the entries, publishes them and has them sent.
    fn change<R>(&self, change: impl FnOnce(&mut Entries) -> R) -> R {
        let mut entries = self.entries.lock();
        let result = change(&mut entries);
        self.published.store(Arc::new(entries.snapshot()));
        drop(entries);
        self.changes.send_modify(|count| *count += 1);
        self.wake.notify_one();
        result
    }

    /// Adds or replaces a service.
    pub fn put_service(&self, service: Service) {
        self.change(|entries| entries.put_service(service));
    }

    /// Removes a service and its checks; false if it is unknown.
    pub fn remove_service(&self, id: &str) -> bool {
        self.change(|entries| entries.remove_service(id))
    }

    /// Adds or replaces a check.
    pub fn put_check(&self, check: Check) {
        self.change(|entries| entries.put_check(check));
    }

    /// Removes a check; false if it is unknown.
    pub fn remove_check(&self, id: &str) -> bool {
        self.change(|entries| entries.remove_check(id))
    }

    /// Replaces the node's metadata, as the catalog shall hold it.
    pub fn set_meta(&self, meta: StringMap) {
        self.change(|entries| entries.set_meta(meta));
    }

    /// Has everything compared with the catalog anew: the leader changed, a snapshot was restored.
    pub fn sync_all(&self) {
        self.full.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }
}

impl LocalAgent for LocalState {
    fn local(&self) -> Arc<LocalSnapshot> {
        self.published.load_full()
    }

    fn set_node_maintenance(&self, reason: Option<String>) {
        self.change(|entries| entries.set_node_maintenance(reason));
    }

    fn set_service_maintenance(&self, service_id: &str, reason: Option<String>) -> bool {
        self.change(|entries| entries.set_service_maintenance(service_id, reason))
    }
}

impl LocalRegistry for LocalState {
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn register_service(&self, _: Registration, _: Source) -> BoxFuture<'_, Result<(), EndpointError>> {
        not_built("registering services with the agent")
    }

    fn deregister_service(&self, _: &str) -> BoxFuture<'_, Result<(), EndpointError>> {
        not_built("registering services with the agent")
    }

    fn register_check(&self, _: CheckRegistration, _: Source) -> BoxFuture<'_, Result<(), EndpointError>> {
        not_built("registering checks with the agent")
    }

    fn deregister_check(&self, _: &str) -> BoxFuture<'_, Result<(), EndpointError>> {
        not_built("registering checks with the agent")
    }

    fn update_ttl(&self, _: &str, _: Status, _: String) -> Result<(), EndpointError> {
        Err(EndpointError::NotImplemented("TTL checks".to_owned()))
    }
}

fn not_built<T: Send + 'static>(what: &str) -> BoxFuture<'static, Result<T, EndpointError>> {
    let error = EndpointError::NotImplemented(format!("{what}: not built into this version yet"));
    Box::pin(async move { Err(error) })
}

/// What the actor works with.
#[derive(Clone)]
pub struct LocalStateLinks {
    /// What lives on this agent.
    pub local: Arc<LocalState>,
    /// The catalog.
    pub state: StateReader,
    /// The way into it.
    pub proposer: Arc<dyn Proposer>,
    /// Whether there is a leader.
    pub leader: Arc<dyn LeaderRead>,
}

/// Sends what lives on this agent to the catalog. Stop it by dropping its context's address or the
/// arbiter; it has no messages, [`LocalState`] is its door.
pub struct LocalStateActor {
    links: LocalStateLinks,
    _alive: AliveToken,
}

impl LocalStateActor {
    /// An actor for these links; several at a time would repeat each other's work.
    pub const fn new(links: LocalStateLinks, alive: AliveToken) -> Self {
        Self { links, _alive: alive }
    }
}

impl Actor for LocalStateActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.links.local.full.store(true, Ordering::SeqCst);
        context.spawn(run(self.links.clone()).into_actor(self));
    }
}

/// The rounds, for ever.
async fn run(links: LocalStateLinks) {
    let mut next_full = Instant::now();
    let mut failures = 0_u32;
    await_leaders_entry(&links).await;
    loop {
        let due = Instant::now() >= next_full;
        let full = links.local.full.swap(false, Ordering::SeqCst) || due;
        let pause = match round(&links, full).await {
            Ok(()) => {
                failures = 0;
                if full {
                    next_full = Instant::now() + FULL_SYNC + FULL_SYNC.mul_f64(rand::random_range(0.0..0.5));
                }
                next_full.saturating_duration_since(Instant::now())
            }
            Err(error) => {
                tracing::warn!(error = %error, "cannot bring the catalog up to date with this agent, trying again");
                links.local.full.fetch_or(full, Ordering::SeqCst);
                let pause = RETRY_MIN.saturating_mul(1 << failures.min(10)).min(RETRY_MAX);
                failures = failures.saturating_add(1);
                pause
            }
        };
        either(links.local.wake.notified(), sleep(pause)).await;
    }
}

/// One round: compares if asked to, then sends what differs.
async fn round(links: &LocalStateLinks, full: bool) -> Result<(), EndpointError> {
    if links.leader.leadership().leader_address.is_none() {
        return Err(EndpointError::NoLeader);
    }
    if full {
        let view = links.state.view_full();
        let mut entries = links.local.entries.lock();
        let known = view.nodes.get(&fold(entries.node_name())).cloned();
        entries.compare(known.as_deref());
    }
    let steps = links.local.entries.lock().plan();
    for step in steps {
        links.proposer.propose(step.command).await?;
        links.local.entries.lock().settle(&step.settles);
        tell(&step.settles);
    }
    Ok(())
}

/// Says what was sent, in the words that people's tools look for.
fn tell(settled: &Settles) {
    match settled {
        Settles::Node => info!(target: "agent", "Synced node info"),
        Settles::Service(service) => info!(target: "agent", service = %service.id, "Synced service"),
        Settles::Check(check) => info!(target: "agent", check = %check.check_id, "Synced check"),
        Settles::GoneService(id) => info!(target: "agent", service = %id, "Deregistered service"),
        Settles::GoneCheck(id) => info!(target: "agent", check = %id, "Deregistered check"),
    }
}

/// Waits until the leader has registered this node, but not for ever: it may know it from before.
async fn await_leaders_entry(links: &LocalStateLinks) {
    let name = fold(links.local.entries.lock().node_name());
    let registered = || {
        let view = links.state.view();
        view.nodes.get(&name).is_some_and(|node| node.checks.contains_key(&fold(SERF_HEALTH)))
    };
    let topics = [Topic::Node(Arc::clone(&name)), Topic::NodeChecks(Arc::clone(&name))];
    let mut watch = pin!(links.state.watches().subscribe(topics));
    let wait = async {
        loop {
            watch.rearm();
            if registered() {
                return;
            }
            watch.as_mut().await;
        }
    };
    // Either way the rounds begin.
    let _ = timeout(LEADER_FIRST, wait).await;
}

async fn either(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    match select(pin!(first), pin!(second)).await {
        Either::Left(_) | Either::Right(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;

    use super::*;
    use crate::endpoints::{Applied, Leadership};
    use crate::state::command::Register;
    use crate::state::store::MemoryStore;
    use crate::state::{Command, Envelope, Outcome, StateMachine};

    /// A state machine that applies at once, and fails as often as told.
    struct Direct {
        machine: Mutex<StateMachine>,
        failing: Mutex<u32>,
        proposals: Mutex<u32>,
    }

    impl Direct {
        fn apply(&self, command: Command) -> u64 {
            let mut machine = self.machine.lock();
            let index = machine.applied_index() + 1;
            let data = Envelope { now_ms: 0, command }.encode().unwrap();
            machine.apply([(index, &data[..])]).unwrap();
            index
        }
    }

    impl Proposer for Direct {
        fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, EndpointError>> {
            Box::pin(async move {
                *self.proposals.lock() += 1;
                let mut failing = self.failing.lock();
                if *failing > 0 {
                    *failing -= 1;
                    return Err(EndpointError::Busy);
                }
                Ok(Applied { index: self.apply(command), outcome: Outcome::Done })
            })
        }
    }

    impl LeaderRead for Direct {
        fn leadership(&self) -> Arc<Leadership> {
            Arc::new(Leadership { leader_address: Some("x".into()), ..Leadership::default() })
        }

        fn check_lease(&self) -> Result<(), EndpointError> {
            Ok(())
        }

        fn barrier(&self) -> Result<Option<BoxFuture<'_, Result<(), EndpointError>>>, EndpointError> {
            Ok(None)
        }
    }

    fn facts() -> AgentFacts {
        AgentFacts {
            datacenter: "dc1".into(),
            node_name: "N1".into(),
            node_id: "11111111-2222-3333-4444-555555555555".into(),
            server: true,
            advertise_lan: "10.0.0.1".into(),
            advertise_wan: "10.0.0.1".into(),
            ..AgentFacts::default()
        }
    }

    fn start() -> (Arc<Direct>, LocalStateLinks) {
        let machine = StateMachine::open(Box::new(MemoryStore::default())).unwrap();
        let state = machine.reader();
        let direct = Arc::new(Direct {
            machine: Mutex::new(machine),
            failing: Mutex::default(),
            proposals: Mutex::default(),
        });
        let links = LocalStateLinks {
            local: Arc::new(LocalState::new(&facts())),
            state,
            proposer: direct.clone(),
            leader: direct.clone(),
        };
        (direct, links)
    }

    fn leaders_entry() -> Command {
        Command::Register(Box::new(Register {
            node: crate::state::record::Node {
                node: "N1".into(),
                address: "10.0.0.1".into(),
                ..Default::default()
            },
            checks: vec![Check {
                node: "N1".into(),
                check_id: SERF_HEALTH.into(),
                status: "passing".into(),
                ..Check::default()
            }],
            ..Register::default()
        }))
    }

    async fn until(what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < deadline, "{what}");
            sleep(Duration::from_millis(2)).await;
        }
    }

    #[test]
    fn the_catalog_follows_the_agent() {
        actix::System::new().block_on(async {
            let (direct, links) = start();
            let address = LocalStateActor::new(links.clone(), AliveToken::new(|_| ())).start();
            sleep(Duration::from_millis(20)).await;
            assert_eq!(*direct.proposals.lock(), 0, "the leader registers the node first");
            direct.apply(leaders_entry());
            let node = || links.state.view().node("n1").cloned();
            until("tagged addresses arrive", || {
                node().is_some_and(|found| found.node.tagged_addresses.is_some())
            })
            .await;
            assert_eq!(node().unwrap().checks.len(), 1, "serfHealth stays");

            *direct.failing.lock() = 3;
            links.local.set_node_maintenance(Some("why".into()));
            assert_eq!(links.local.local().checks.len(), 1, "seen at once");
            until("maintenance arrives in spite of failures", || {
                node().is_some_and(|found| found.checks.len() == 2)
            })
            .await;
            links.local.set_node_maintenance(None);
            until("and goes", || node().is_some_and(|found| found.checks.len() == 1)).await;

            direct.apply(Command::Register(Box::new(Register {
                node: crate::state::record::Node {
                    node: "N1".into(),
                    address: "10.9.9.9".into(),
                    ..Default::default()
                },
                service: Some(Service { id: "stray".into(), service: "stray".into(), ..Service::default() }),
                ..Register::default()
            })));
            links.local.sync_all();
            until("what others wrote is put right", || {
                node().is_some_and(|found| found.services.is_empty() && found.node.address == "10.0.0.1")
            })
            .await;
            drop(address);
        });
    }
}
