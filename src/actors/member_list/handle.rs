//! The door to a pool, whichever incarnation of its actor lives now.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::actor::{Coordinates, Do, Doubt, MemberListActor, Quit};
use super::words::Area;
use crate::actors::mailbox::{Credits, Sender};
use crate::actors::supervision::Supervised;
use crate::gossip::effect::{KeyReport, KeyRequest};
use crate::gossip::serf::{Member, Pool};
use crate::gossip::{Command, CommandError, Coordinate, Done, Event};

/// Commands that may wait at the same time; one more is told that the agent is busy.
const COMMANDS: usize = 256;
/// Broken connections that may wait to be looked into; of a crowd that breaks at once the rest is probed in its turn.
const DOUBTS: usize = 32;

/// How long a command waits for an actor that is being made.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks for it.
const STEP: Duration = Duration::from_millis(5);

/// The members of a pool as they were at one moment, in a stable order.
pub type MemberList = Arc<Vec<Arc<Member>>>;

/// Something happened in a pool.
#[derive(Debug, Clone)]
pub struct MemberEvent {
    /// In which one.
    pub area: Area,
    /// What. Members are published before it is told.
    pub event: Event,
}

/// Figures of a pool, as `info` prints them and coordinates are sent from.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Own coordinate.
    pub coordinate: Coordinate,
    /// Lifeguard's health score; 0 is well.
    pub health_score: u32,
    /// Clock of members.
    pub member_time: u64,
    /// Clock of user events.
    pub event_time: u64,
    /// Clock of queries.
    pub query_time: u64,
    /// Waiting broadcasts of comings and goings.
    pub intent_queue: usize,
    /// Waiting broadcasts of user events.
    pub event_queue: usize,
    /// Waiting broadcasts of queries.
    pub query_queue: usize,
    /// How often the own coordinate had to start again.
    pub coordinate_resets: u64,
}

/// What the host has seen that the core has not, since the start.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Streams closed at once, because there were too many.
    pub streams_refused: AtomicU64,
    /// Streams that were too slow, silent or broken.
    pub streams_dropped: AtomicU64,
    /// Datagrams the kernel had no room for, or that it refused.
    pub datagrams_unsent: AtomicU64,
    /// Datagrams and streams from networks that members may not come from.
    pub not_allowed: AtomicU64,
}

impl Traffic {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Why a pool did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The core's answer.
    #[error("{0}")]
    Command(#[from] CommandError),
    /// Too many commands wait.
    #[error("too many gossip commands are waiting, try again")]
    Busy,
    /// Its actor is being made anew, or has ended.
    #[error("gossip is being restarted, try again")]
    Gone,
}

struct Shared {
    area: Area,
    name: String,
    members: ArcSwap<Vec<Arc<Member>>>,
    figures: Mutex<Figures>,
    keys: Mutex<Vec<Vec<u8>>>,
    subscribers: Mutex<Arc<[Sender<MemberEvent>]>>,
    traffic: Traffic,
    credits: Credits,
    doubts: Credits,
    stopped: AtomicBool,
    actor: OnceLock<Supervised<MemberListActor>>,
}

/// A pool. Clones are the same one.
#[derive(Clone)]
pub struct PoolHandle {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for PoolHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolHandle").field("area", &self.shared.area).finish_non_exhaustive()
    }
}

impl PoolHandle {
    pub(super) fn new(
        area: Area,
        pool: &Pool,
        keys: Vec<Vec<u8>>,
        subscribers: Vec<Sender<MemberEvent>>,
    ) -> Self {
        let shared = Shared {
            area,
            name: pool.local().name.clone(),
            members: ArcSwap::from_pointee(pool.members().cloned().collect()),
            figures: Mutex::new(figures(pool)),
            keys: Mutex::new(keys),
            subscribers: Mutex::new(subscribers.into()),
            traffic: Traffic::default(),
            credits: Credits::new(COMMANDS),
            doubts: Credits::new(DOUBTS),
            stopped: AtomicBool::new(false),
            actor: OnceLock::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    pub(super) fn bind(&self, actor: Supervised<MemberListActor>) {
        // Bound once, by whoever starts the pool.
        let _ = self.shared.actor.set(actor);
    }

    /// Which pool it is.
    pub fn area(&self) -> Area {
        self.shared.area
    }

    /// Own name in it.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// All members, failed and left ones included.
    pub fn members(&self) -> MemberList {
        self.shared.members.load_full()
    }

    /// One of them.
    pub fn member(&self, name: &str) -> Option<Arc<Member>> {
        self.shared.members.load().iter().find(|member| member.name == name).cloned()
    }

    /// Its figures.
    pub fn figures(&self) -> Figures {
        self.shared.figures.lock().clone()
    }

    /// What the sockets saw.
    pub fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    /// It speaks encrypted.
    pub fn encrypted(&self) -> bool {
        !self.shared.keys.lock().is_empty()
    }

    /// Tells of everything that happens from now on. Called on the thread of gossip: return at once.
    pub fn subscribe(&self, subscriber: Sender<MemberEvent>) {
        let mut subscribers = self.shared.subscribers.lock();
        *subscribers = subscribers.iter().cloned().chain([subscriber]).collect();
    }

    /// Has the pool do something.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn command(&self, command: Command) -> Result<Done, PoolError> {
        let credit = self.shared.credits.try_take().ok_or(PoolError::Busy)?;
        let actor = self.living().await?;
        let (reply, answer) = oneshot::channel();
        actor.do_send(Do { command, reply, _credit: credit });
        answer.await.map_err(|_| PoolError::Gone)?.map_err(PoolError::from)
    }

    /// Exchanges everything with the member at this address.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn join(&self, address: SocketAddr) -> Result<(), PoolError> {
        self.command(Command::Join { address }).await.map(drop)
    }

    /// A connection from this address broke, whatever it was for. Its members are probed out of turn; while gossip is
    /// being restarted, not.
    pub fn doubt(&self, ip: IpAddr) {
        if let (Some(actor), Some(credit)) = (self.actor(), self.shared.doubts.try_take()) {
            actor.do_send(Doubt { ip, _credit: credit });
        }
    }

    /// Says goodbye; resolves once the sockets may be closed.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn leave(&self) -> Result<(), PoolError> {
        let alone = !self
            .members()
            .iter()
            .any(|member| member.status == crate::gossip::Status::Alive && member.name != self.shared.name);
        let leaving = self.command(Command::Leave);
        if alone {
            // Nobody is there to hear it: remember that we left, and do not wait.
            return match tokio::time::timeout(Duration::from_millis(100), leaving).await {
                Ok(left) => left.map(drop),
                Err(_) => Ok(()),
            };
        }
        leaving.await.map(drop)
    }

    /// Changes or lists the keys of all members.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn keys(&self, request: KeyRequest, relay_factor: u8) -> Result<KeyReport, PoolError> {
        match self.command(Command::Keys { request, relay_factor }).await? {
            Done::Keys(report) => Ok(report),
            _ => Ok(KeyReport::default()),
        }
    }

    /// Where the members are, as far as this one knows.
    ///
    /// # Errors
    /// [`PoolError::Gone`].
    pub async fn coordinates(&self) -> Result<BTreeMap<String, Coordinate>, PoolError> {
        let actor = self.living().await?;
        actor.send(Coordinates).await.map_err(|_| PoolError::Gone)
    }

    /// Closes the sockets and ends the actor for good, with what is to be kept on disk.
    pub async fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let Some(supervised) = self.shared.actor.get() else { return };
        supervised.release();
        if let Some(actor) = supervised.address() {
            // One that has just died has closed them too.
            let _ = actor.send(Quit).await;
        }
    }

    /// The actor, waiting a while for one that is being made.
    async fn living(&self) -> Result<actix::Addr<MemberListActor>, PoolError> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(actor) = self.actor() {
                return Ok(actor);
            }
            if self.shared.stopped.load(Ordering::Relaxed) || Instant::now() >= end {
                return Err(PoolError::Gone);
            }
            tokio::time::sleep(STEP).await;
        }
    }

    fn actor(&self) -> Option<actix::Addr<MemberListActor>> {
        self.shared.actor.get().and_then(Supervised::address)
    }

    #[cfg(test)]
    pub(super) fn is_running(&self) -> bool {
        self.actor().is_some()
    }

    #[cfg(test)]
    pub(super) fn break_it(&self) {
        self.actor().unwrap().do_send(super::tests::Break);
    }

    pub(super) fn publish_members(&self, pool: &Pool) {
        self.shared.members.store(Arc::new(pool.members().cloned().collect()));
    }

    pub(super) fn publish_figures(&self, pool: &Pool) {
        *self.shared.figures.lock() = figures(pool);
    }

    pub(super) fn publish_keys(&self, keys: &[Vec<u8>]) {
        *self.shared.keys.lock() = keys.to_vec();
    }

    pub(super) fn current_keys(&self) -> Vec<Vec<u8>> {
        self.shared.keys.lock().clone()
    }

    pub(super) fn subscribers(&self) -> Arc<[Sender<MemberEvent>]> {
        Arc::clone(&self.shared.subscribers.lock())
    }
}

fn figures(pool: &Pool) -> Figures {
    let clocks = pool.clocks();
    let [_, intent_queue, query_queue, event_queue] = pool.queued();
    Figures {
        coordinate: pool.coordinate().clone(),
        health_score: pool.health_score(),
        member_time: clocks.member,
        event_time: clocks.event,
        query_time: clocks.query,
        intent_queue,
        event_queue,
        query_queue,
        coordinate_resets: pool.coordinate_resets(),
    }
}
