//! What all doors hand their queries to: answers from the catalog at once, the rest through the recursors.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dns::recursor::Recursors;
use crate::dns::{Chase, Dns, Transport, Verdict};

/// Queries that may wait for recursors; beyond them queries for other domains fail at once.
const MAX_WAITING: usize = 1024;
/// How often what was asked may lead to more that has to be asked.
const MAX_ROUNDS: usize = 8;

/// The catalog's half of answering. [`Dns`] is the real one; listeners are tested and measured with others.
pub trait Answer: Send + Sync + 'static {
    /// Answers a query into `out`, which is empty; see [`Dns::answer`].
    fn answer(&self, query: &[u8], transport: Transport, rng: &mut SmallRng, out: &mut Vec<u8>) -> Verdict;

    /// Answers once the names in `chase` were asked; see [`Dns::answer_chased`].
    fn answer_chased(
        &self,
        query: &[u8],
        transport: Transport,
        chase: Chase,
        found: Vec<Option<Vec<u8>>>,
        rng: &mut SmallRng,
        out: &mut Vec<u8>,
    ) -> Verdict;

    /// Asks the servers for what a chase lacks of their state; see [`Dns::fetch`].
    fn fetch(&self, chase: Chase) -> BoxFuture<'_, Chase> {
        Box::pin(std::future::ready(chase))
    }

    /// SERVFAIL for a query that no recursor answered.
    fn recursion_failed(&self, query: &[u8], out: &mut Vec<u8>);
}

impl Answer for Dns {
    fn answer(&self, query: &[u8], transport: Transport, rng: &mut SmallRng, out: &mut Vec<u8>) -> Verdict {
        Self::answer(self, query, transport, rng, out)
    }

    fn answer_chased(
        &self,
        query: &[u8],
        transport: Transport,
        chase: Chase,
        found: Vec<Option<Vec<u8>>>,
        rng: &mut SmallRng,
        out: &mut Vec<u8>,
    ) -> Verdict {
        Self::answer_chased(self, query, transport, chase, found, rng, out)
    }

    fn fetch(&self, chase: Chase) -> BoxFuture<'_, Chase> {
        Box::pin(Self::fetch(self, chase))
    }

    fn recursion_failed(&self, query: &[u8], out: &mut Vec<u8>) {
        Self::recursion_failed(self, query, out);
    }
}

/// How far a query got without waiting.
pub enum Resolved {
    /// The reply is complete.
    Reply,
    /// There is none.
    Drop,
    /// Recursors have to be asked.
    Later(Later),
}

/// Answers queries wholly.
pub struct Resolver {
    catalog: Arc<dyn Answer>,
    recursors: ArcSwap<Recursors>,
    places: Arc<Semaphore>,
}

impl Resolver {
    /// Without recursors.
    pub fn new(catalog: Arc<dyn Answer>) -> Self {
        Self { catalog, recursors: ArcSwap::default(), places: Arc::new(Semaphore::new(MAX_WAITING)) }
    }

    /// Asks these from now on; queries under way stay with the former ones.
    pub fn set_recursors(&self, recursors: Recursors) {
        self.recursors.store(Arc::new(recursors));
    }

    /// Answers from the catalog. `out` is emptied first and holds the reply afterwards, if there is one.
    pub fn resolve(
        self: &Arc<Self>,
        query: &[u8],
        transport: Transport,
        rng: &mut SmallRng,
        out: &mut Vec<u8>,
    ) -> Resolved {
        out.clear();
        let next = match self.catalog.answer(query, transport, rng, out) {
            Verdict::Reply => return Resolved::Reply,
            Verdict::Drop => return Resolved::Drop,
            Verdict::Forward => Next::Forward,
            Verdict::Chase(chase) => Next::Chase(chase),
        };
        out.clear();
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.catalog.recursion_failed(query, out);
            return if out.is_empty() { Resolved::Drop } else { Resolved::Reply };
        };
        Resolved::Later(Later {
            resolver: Arc::clone(self),
            query: query.to_vec(),
            transport,
            next,
            _place: place,
        })
    }

    /// The whole answer, waiting for recursors where they are needed; `None` when there is to be none.
    pub async fn resolve_wholly(self: &Arc<Self>, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match self.resolve(query, transport, &mut new_rng(), &mut out) {
            Resolved::Reply => Some(out),
            Resolved::Drop => None,
            Resolved::Later(later) => later.reply().await,
        }
    }
}

enum Next {
    Forward,
    Chase(Chase),
}

/// A query that waits for recursors, in one of the places there are for such.
pub struct Later {
    resolver: Arc<Resolver>,
    query: Vec<u8>,
    transport: Transport,
    next: Next,
    _place: OwnedSemaphorePermit,
}

impl Later {
    /// The query.
    pub fn query(&self) -> &[u8] {
        &self.query
    }

    /// Asks the recursors; `None` when there is to be no reply.
    pub async fn reply(self) -> Option<Vec<u8>> {
        let Self { resolver, query, transport, mut next, _place } = self;
        let recursors = resolver.recursors.load_full();
        let mut out = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let chase = match next {
                Next::Forward => match recursors.forward(&query, transport).await {
                    Some(reply) => return Some(reply),
                    None => break,
                },
                Next::Chase(chase) => resolver.catalog.fetch(chase).await,
            };
            let asked = chase.questions.iter().map(|question| recursors.ask(question.clone()));
            let found = futures::future::join_all(asked).await;
            out.clear();
            let mut rng = new_rng();
            match resolver.catalog.answer_chased(&query, transport, chase, found, &mut rng, &mut out) {
                Verdict::Reply => return Some(out),
                Verdict::Drop => return None,
                Verdict::Forward => next = Next::Forward,
                Verdict::Chase(further) => next = Next::Chase(further),
            }
        }
        out.clear();
        resolver.catalog.recursion_failed(&query, &mut out);
        (!out.is_empty()).then_some(out)
    }
}

/// Chance for the order of answers; nothing secret hangs on it.
pub fn new_rng() -> SmallRng {
    SmallRng::from_rng(&mut rand::rng())
}
