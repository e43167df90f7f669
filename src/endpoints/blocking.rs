//! Reads, blocking or not: freshness, waiting and re-reading, once for all endpoints and transports.
//!
//! An endpoint says what it reads by implementing [`BlockingRead`]. [`read_now`] answers without
//! waiting when that is possible, so that a transport needs no task, box or timer for the common
//! case; [`read`] does everything. May not enter: timers and randomness; the transport brings the
//! deadline as a future.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::far::{self, Question};
use super::query::{Consistency, QueryMeta, QueryOptions};
use super::{EndpointError, Endpoints};
use crate::state::{Topic, View, Watches};

/// The topics one answer depends on.
pub type Topics = SmallVec<[Topic; 1]>;

/// Something that can be read and waited for.
pub trait BlockingRead {
    /// What was found; rendering it is the transport's business.
    type Found;

    /// Everything the answer depends on; a change elsewhere wakes nobody.
    fn topics(&self) -> Topics;

    /// Index of the answer as of `view`, as cheaply as it can be told. Asked only while somebody
    /// waits. It must be the index [`BlockingRead::find`] would give; 0 counts as 1.
    ///
    /// # Errors
    /// As [`BlockingRead::find`].
    fn index(&self, endpoints: &Endpoints, view: &View) -> Result<u64, EndpointError>;

    /// The answer and its index as of `view`; index 0 counts as 1.
    ///
    /// # Errors
    /// Whatever the endpoint refuses.
    fn find(&self, endpoints: &Endpoints, view: &View) -> Result<(u64, Self::Found), EndpointError>;

    /// What a client agent asks the servers in place of reading its own state; none for what is always empty.
    fn question(&self) -> Option<Question>;
}

/// Tells parked queries that the agent shuts down: they answer at once with what there is.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    draining: Arc<AtomicBool>,
    begun: Arc<Notify>,
}

impl Drain {
    /// Releases every parked query, also those that park from now on.
    pub fn release(&self, watches: &Watches) {
        self.draining.store(true, Ordering::SeqCst);
        self.begun.notify_waiters();
        watches.wake_all();
    }

    /// Resolves once [`Drain::release`] was called.
    pub async fn drained(&self) {
        let begun = self.begun.notified();
        if !self.is_draining() {
            begun.await;
        }
    }

    /// Whether [`Drain::release`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}

/// Answers at once; `None` when it takes waiting (for a barrier, for a change or for the servers), for [`read`].
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`], [`EndpointError::NoLeader`] or the read's own.
pub fn read_now<R: BlockingRead>(
    endpoints: &Endpoints,
    options: &QueryOptions,
    read: &R,
) -> Result<Option<(QueryMeta, R::Found)>, EndpointError> {
    if endpoints.far.is_some() {
        return Ok(None);
    }
    options.check_datacenter(endpoints)?;
    if freshness(endpoints, options)?.is_some() {
        return Ok(None);
    }
    if options.min_index > 0 {
        let index = read.index(endpoints, &endpoints.state.view())?;
        if index.max(1) <= options.min_index {
            return Ok(None);
        }
    }
    find(endpoints, options, read).map(Some)
}

/// Reads; waits until the index asked for is passed, `deadline` resolves or the agent drains.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`], [`EndpointError::NoLeader`] or the read's own.
pub async fn read<R: BlockingRead>(
    endpoints: &Endpoints,
    options: &QueryOptions,
    read: &R,
    deadline: impl Future<Output = ()>,
    drain: &Drain,
) -> Result<(QueryMeta, R::Found), EndpointError> {
    if let Some(servers) = &endpoints.far {
        return far::read(endpoints, &**servers, options, read, drain).await;
    }
    options.check_datacenter(endpoints)?;
    refresh(endpoints, options).await?;
    let answered = async {
        if options.min_index > 0 {
            park(endpoints, options, read, deadline, drain).await?;
        }
        find(endpoints, options, read)
    };
    let elsewhere = options.consistency != Consistency::Stale && far::is_elsewhere(endpoints);
    answered.await.map_err(|error| if elsewhere { far::told(error) } else { error })
}

async fn park<R: BlockingRead>(
    endpoints: &Endpoints,
    options: &QueryOptions,
    read: &R,
    deadline: impl Future<Output = ()>,
    drain: &Drain,
) -> Result<(), EndpointError> {
    let mut deadline = pin!(deadline);
    let restored = endpoints.state.view().restored;
    let mut watch = pin!(endpoints.state.watches().subscribe(read.topics()));
    loop {
        // Forget the wake before looking, so that a change after the look is not missed.
        watch.rearm();
        {
            let view = endpoints.state.view();
            let index = read.index(endpoints, &view)?.max(1);
            // After a restore the index may be one that was passed long ago: who waits for more must hear of it now.
            if index > options.min_index || drain.is_draining() || view.restored != restored {
                return Ok(());
            }
        }
        match select(watch.as_mut(), deadline.as_mut()).await {
            Either::Left(_) => refresh(endpoints, options).await?,
            Either::Right(_) => return Ok(()),
        }
    }
}

fn find<R: BlockingRead>(
    endpoints: &Endpoints,
    options: &QueryOptions,
    read: &R,
) -> Result<(QueryMeta, R::Found), EndpointError> {
    let (index, found) = read.find(endpoints, &endpoints.state.view())?;
    Ok((meta(endpoints, options, index), found))
}

/// What to say of an answer with this index.
pub fn meta(endpoints: &Endpoints, options: &QueryOptions, index: u64) -> QueryMeta {
    let leadership = endpoints.leader.leadership();
    QueryMeta {
        index: index.max(1),
        known_leader: leadership.leader_address.is_some(),
        // Anything but a stale answer is what the leader would say now, wherever it is given.
        last_contact: match options.consistency {
            Consistency::Stale => leadership.last_contact,
            Consistency::Default | Consistency::Consistent => Duration::ZERO,
        },
        consistency: options.consistency,
    }
}

type Barrier<'a> = futures::future::BoxFuture<'a, Result<(), EndpointError>>;

/// Makes sure that the published snapshot is as fresh as asked for.
///
/// # Errors
/// [`EndpointError::NoLeader`].
pub async fn refresh(endpoints: &Endpoints, options: &QueryOptions) -> Result<(), EndpointError> {
    match freshness(endpoints, options)? {
        Some(barrier) => barrier.await,
        None => Ok(()),
    }
}

fn freshness<'a>(
    endpoints: &'a Endpoints,
    options: &QueryOptions,
) -> Result<Option<Barrier<'a>>, EndpointError> {
    match options.consistency {
        Consistency::Consistent => endpoints.leader.barrier(),
        Consistency::Default => endpoints.leader.lease(),
        Consistency::Stale => {
            let leadership = endpoints.leader.leadership();
            let fresh_enough = leadership.heard
                && (options.max_stale.is_zero() || leadership.last_contact <= options.max_stale);
            if fresh_enough { Ok(None) } else { endpoints.leader.lease() }
        }
    }
}
