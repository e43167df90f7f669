//! The subscription engine: who waits for what, and who is woken by which change.
//!
//! Applying commands produces an ordered list of [`Topic`]s touched at an index; everything that
//! waits (blocking reads today, events and push streams on top of the same feed) subscribes to
//! exactly the topics its answer was read from. A wake means "look again", never "changed": the
//! waiter re-reads and decides. A write elsewhere wakes nobody.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use smallvec::SmallVec;

/// Something an answer can depend on. Names are in their lookup form (lower case).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// One key.
    Key(Bytes),
    /// All keys that start with a prefix.
    KeyPrefix(Bytes),
    /// Any node record.
    Nodes,
    /// One node: its record and its services.
    Node(Arc<str>),
    /// The checks of one node.
    NodeChecks(Arc<str>),
    /// The set of service names and their tags.
    Services,
    /// The instances of a service, with their nodes and checks.
    Service(Arc<str>),
    /// Instances that can serve a name through Connect: native ones and proxies for it.
    Connect(Arc<str>),
    /// Any check.
    Checks,
    /// Any session.
    Sessions,
    /// One session.
    Session(Arc<str>),
    /// The sessions of one node.
    NodeSessions(Arc<str>),
    /// Any coordinate.
    Coordinates,
    /// One node's coordinate.
    Coordinate(Arc<str>),
}

/// The topics touched by a batch of commands, in the order they were touched.
pub type Touched = Vec<Topic>;

/// How many independently locked parts the registry has.
const SHARDS: usize = 16;

#[derive(Debug, Default)]
struct Waiter {
    woken: AtomicBool,
    waker: AtomicWaker,
}

impl Waiter {
    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.waker.wake();
    }
}

#[derive(Debug, Default)]
struct Prefixes {
    by_prefix: HashMap<Bytes, Vec<Arc<Waiter>>>,
    /// How many watched prefixes have each length: only these lengths of a touched key are looked up.
    lengths: BTreeMap<usize, usize>,
}

/// Registry of everything that waits.
#[derive(Debug)]
pub struct Watches {
    exact: [Mutex<HashMap<Topic, Vec<Arc<Waiter>>>>; SHARDS],
    prefixes: Mutex<Prefixes>,
    wakes: AtomicU64,
    parked: AtomicU64,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            exact: std::array::from_fn(|_| Mutex::default()),
            prefixes: Mutex::default(),
            wakes: AtomicU64::new(0),
            parked: AtomicU64::new(0),
        }
    }
}

impl Watches {
    /// Subscribes to topics. Read the state *again* after this call and before awaiting the
    /// [`Watch`]: a change between the first read and the subscription would otherwise be missed.
    pub fn subscribe(self: &Arc<Self>, topics: impl IntoIterator<Item = Topic>) -> Watch {
        let waiter = Arc::new(Waiter::default());
        let topics: SmallVec<[Topic; 1]> = topics.into_iter().collect();
        for topic in &topics {
            match topic {
                Topic::KeyPrefix(prefix) => {
                    let mut prefixes = self.prefixes.lock();
                    let Prefixes { by_prefix, lengths } = &mut *prefixes;
                    by_prefix
                        .entry(prefix.clone())
                        .or_insert_with(|| {
                            *lengths.entry(prefix.len()).or_default() += 1;
                            Vec::new()
                        })
                        .push(Arc::clone(&waiter));
                }
                exact => self.shard(exact).lock().entry(exact.clone()).or_default().push(Arc::clone(&waiter)),
            }
        }
        self.parked.fetch_add(1, Ordering::Relaxed);
        Watch { registry: Arc::clone(self), waiter, topics }
    }

    /// Wakes whoever subscribed to one of these topics. Call it after the change is published.
    pub fn wake(&self, touched: &[Topic]) {
        let mut woken = 0;
        for topic in touched {
            if let Some(waiters) = self.shard(topic).lock().get(topic) {
                woken += waiters.len();
                wake_each(waiters);
            }
            if let Topic::Key(key) = topic {
                let prefixes = self.prefixes.lock();
                for &length in prefixes.lengths.keys().take_while(|length| **length <= key.len()) {
                    if let Some(waiters) = prefixes.by_prefix.get(&key[..length]) {
                        woken += waiters.len();
                        wake_each(waiters);
                    }
                }
            }
        }
        self.wakes.fetch_add(woken as u64, Ordering::Relaxed);
    }

    /// Wakes everybody: the whole state was replaced, or the agent shuts down.
    pub fn wake_all(&self) {
        for shard in &self.exact {
            shard.lock().values().for_each(|waiters| wake_each(waiters));
        }
        self.prefixes.lock().by_prefix.values().for_each(|waiters| wake_each(waiters));
    }

    /// How many subscriptions exist now.
    pub fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }

    /// How many times a waiter was woken so far; tests prove by it that a write elsewhere wakes nobody.
    pub fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::Relaxed)
    }

    fn shard(&self, topic: &Topic) -> &Mutex<HashMap<Topic, Vec<Arc<Waiter>>>> {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(topic);
        &self.exact[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }

    fn unsubscribe(&self, topics: &[Topic], waiter: &Arc<Waiter>) {
        for topic in topics {
            match topic {
                Topic::KeyPrefix(prefix) => {
                    let mut prefixes = self.prefixes.lock();
                    let Prefixes { by_prefix, lengths } = &mut *prefixes;
                    if remove(by_prefix, prefix, waiter)
                        && let Some(count) = lengths.get_mut(&prefix.len())
                    {
                        *count -= 1;
                        if *count == 0 {
                            lengths.remove(&prefix.len());
                        }
                    }
                }
                exact => {
                    remove(&mut self.shard(exact).lock(), exact, waiter);
                }
            }
        }
        self.parked.fetch_sub(1, Ordering::Relaxed);
    }
}

fn wake_each(waiters: &[Arc<Waiter>]) {
    for waiter in waiters {
        waiter.wake();
    }
}

/// Removes a waiter; true if it was the last of its entry.
fn remove<K: std::hash::Hash + Eq>(
    map: &mut HashMap<K, Vec<Arc<Waiter>>>,
    key: &K,
    waiter: &Arc<Waiter>,
) -> bool {
    let Some(waiters) = map.get_mut(key) else { return false };
    if let Some(at) = waiters.iter().position(|other| Arc::ptr_eq(other, waiter)) {
        waiters.swap_remove(at);
    }
    let last = waiters.is_empty();
    if last {
        map.remove(key);
    }
    last
}

/// A subscription. Awaiting it resolves once a topic was touched; it may be awaited again after
/// [`Watch::rearm`]. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Watch {
    registry: Arc<Watches>,
    waiter: Arc<Waiter>,
    topics: SmallVec<[Topic; 1]>,
}

impl Watch {
    /// Forgets a wake that was seen. Rearm *before* reading the state again.
    pub fn rearm(&self) {
        self.waiter.woken.store(false, Ordering::Release);
    }
}

impl Future for Watch {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.waiter.woken.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.waiter.waker.register(context.waker());
        if self.waiter.woken.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let topics = std::mem::take(&mut self.topics);
        self.registry.unsubscribe(&topics, &self.waiter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn key(text: &'static str) -> Topic {
        Topic::Key(Bytes::from_static(text.as_bytes()))
    }

    fn prefix(text: &'static str) -> Topic {
        Topic::KeyPrefix(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn wakes_exactly_those_who_watch() {
        let watches = Arc::new(Watches::default());
        let table: [(&str, Topic, Topic, bool); 8] = [
            ("same key", key("a/b"), key("a/b"), true),
            ("other key", key("a/b"), key("a/c"), false),
            ("key below prefix", prefix("a/"), key("a/c"), true),
            ("key equal to prefix", prefix("a/"), key("a/"), true),
            ("key beside prefix", prefix("a/"), key("b/c"), false),
            ("shorter key", prefix("a/b"), key("a"), false),
            ("everything", prefix(""), key("x"), true),
            ("other service", Topic::Service("web".into()), Topic::Service("db".into()), false),
        ];
        for (name, watched, touched, want) in table {
            let mut watch = watches.subscribe([watched]);
            assert!((&mut watch).now_or_never().is_none(), "{name}: woken too early");
            watches.wake(&[touched]);
            assert_eq!((&mut watch).now_or_never().is_some(), want, "{name}");
        }
        assert_eq!(watches.parked(), 0);
        assert!(watches.prefixes.lock().lengths.is_empty());
        assert!(watches.exact.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn a_rearmed_watch_waits_again() {
        let watches = Arc::new(Watches::default());
        let mut watch = watches.subscribe([key("a"), Topic::Nodes]);
        watches.wake(&[Topic::Nodes]);
        assert!((&mut watch).now_or_never().is_some());
        watch.rearm();
        assert!((&mut watch).now_or_never().is_none());
        watches.wake_all();
        assert!((&mut watch).now_or_never().is_some());
    }
}
