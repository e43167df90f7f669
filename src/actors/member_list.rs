//! `MemberListActor`: the shell around a gossip pool, one per pool.
//!
//! It owns the pool's sockets and one timer, feeds [`Pool::step`] and carries out what a step asks for. It lives on a
//! thread of its own together with the agent's other pool, so that an agent that is busy elsewhere still answers
//! pings and does not look dead.
//!
//! [`PoolHandle`] is the door and outlives the actor. What others read lies there, published, so that nobody waits in
//! the mailbox: the members, the pool's figures, its keys. Should the actor die, it is made anew: it binds the same
//! addresses again, takes up the members last published as if they came from a snapshot file, and joins one of them.
//!
//! May not enter: what a datacenter or a server is. Rules of that kind come in through
//! [`Admission`](crate::gossip::Admission), consequences go out through subscribers.

mod actor;
mod doors;
mod handle;
mod measure;
mod snapshot_file;
mod streams;
mod words;

pub use actor::MemberListActor;
pub use doors::{BindError, Doors};
pub use handle::{Figures, MemberEvent, MemberList, PoolError, PoolHandle, Traffic};
pub use snapshot_file::{SnapshotError, SnapshotFile};
pub use streams::go_text;
pub use words::Area;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::Actor as _;
use actix_rt::ArbiterHandle;

use super::supervision::{FailStop, RestartPolicy, supervise};
use crate::gossip::serf::Pool;
use crate::gossip::{Admission, Moment, PoolConfig};
use crate::metrics::Metrics;

/// Makes the rules of a pool, for the first incarnation and for those after a failure.
pub type Rules = Arc<dyn Fn() -> Box<dyn Admission> + Send + Sync>;

/// What a pool is made from, the first time and after a failure.
pub struct Plan {
    /// Which pool.
    pub area: Area,
    /// Address it listens on.
    pub bind: std::net::SocketAddr,
    /// Networks that members may come from; empty for anywhere.
    pub allowed: Vec<crate::cidr::Cidr>,
    /// The core's configuration; keys, snapshot and seed are filled in for each incarnation.
    pub config: PoolConfig,
    /// Who may be in the pool.
    pub rules: Rules,
    /// Where its snapshot is kept, if anywhere.
    pub snapshot: Option<Arc<SnapshotFile>>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    clock: Instant,
}

impl Plan {
    /// A plan for a pool.
    pub fn new(
        area: Area,
        bind: std::net::SocketAddr,
        config: PoolConfig,
        rules: Rules,
        metrics: Arc<Metrics>,
    ) -> Self {
        let clock = Instant::now();
        Self { area, bind, allowed: Vec::new(), config, rules, snapshot: None, metrics, clock }
    }

    /// The core's time.
    fn now(&self) -> Moment {
        Moment(u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The host's time of a moment; none for the end of time.
    fn instant(&self, moment: Moment) -> Option<Instant> {
        (moment != Moment::NEVER).then(|| self.clock + Duration::from_nanos(moment.0))
    }

    fn pool(&self, keys: Vec<Vec<u8>>, snapshot: Option<Vec<u8>>) -> Result<Pool, String> {
        // Nonces are drawn from it: never the same twice.
        let config = PoolConfig { keys, snapshot, seed: rand::random(), ..self.config.clone() };
        Pool::new(config, (self.rules)(), self.now()).map_err(|error| error.to_string())
    }
}

/// Why a pool cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum PoolStartError {
    /// An address is taken or not this machine's.
    #[error("Failed to start {area} serf: {source}")]
    Bind {
        /// `lan` or `wan`.
        area: &'static str,
        /// Which address, and why.
        source: BindError,
    },
    /// The core refuses its configuration.
    #[error("Failed to start {area} serf: {reason}")]
    Config {
        /// `lan` or `wan`.
        area: &'static str,
        /// Why.
        reason: String,
    },
}

/// Binds the sockets and starts a supervised pool on `arbiter`.
///
/// # Errors
/// [`PoolStartError`]; nothing listens then.
pub fn start(
    plan: Plan,
    snapshot: Option<Vec<u8>>,
    arbiter: &ArbiterHandle,
    fail_stop: Arc<dyn FailStop>,
    subscribers: Vec<super::mailbox::Sender<MemberEvent>>,
) -> Result<PoolHandle, PoolStartError> {
    let area = plan.area.word();
    let doors = Doors::bind(plan.bind).map_err(|source| PoolStartError::Bind { area, source })?;
    let pool = plan
        .pool(plan.config.keys.clone(), snapshot)
        .map_err(|reason| PoolStartError::Config { area, reason })?;
    let handle = PoolHandle::new(plan.area, &pool, plan.config.keys.clone(), subscribers);
    let plan = Arc::new(plan);
    let first = Mutex::new(Some((doors, pool)));
    let shared = handle.clone();
    let supervised =
        supervise(plan.area.actor(), arbiter, RestartPolicy::default(), fail_stop, move |alive| {
            let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            MemberListActor::new(Arc::clone(&plan), shared.clone(), first, alive).start()
        });
    handle.bind(supervised);
    Ok(handle)
}

#[cfg(test)]
mod tests;
