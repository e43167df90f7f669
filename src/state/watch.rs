//! The subscription engine: who waits for what, and who is woken by which change.
//!
//! Applying commands produces an ordered list of [`Topic`]s touched at an index; everything that
//! waits (blocking reads today, events and push streams on top of the same feed) subscribes to
//! exactly the topics its answer was read from. A wake means "look again", never "changed": the
//! waiter re-reads and decides. A write elsewhere wakes nobody.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
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

impl Topic {
    /// The name in it, empty for a whole table.
    fn name(&self) -> &[u8] {
        match self {
            Self::Key(key) | Self::KeyPrefix(key) => key,
            Self::Nodes | Self::Services | Self::Checks | Self::Sessions | Self::Coordinates => b"",
            Self::Node(name)
            | Self::NodeChecks(name)
            | Self::Service(name)
            | Self::Connect(name)
            | Self::Session(name)
            | Self::NodeSessions(name)
            | Self::Coordinate(name) => name.as_bytes(),
        }
    }
}

/// The topics touched by a batch of commands, in the order they were touched.
pub type Touched = Vec<Topic>;

/// How many independently locked parts the registry has.
const SHARDS: usize = 16;

#[derive(Debug)]
struct Waiter {
    woken: AtomicBool,
    waker: AtomicWaker,
    /// Whether the waiter is in the list of each of its topics: a wake takes it out. Changed only
    /// with that list's lock held.
    listed: SmallVec<[AtomicBool; 1]>,
}

impl Waiter {
    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn set_listed(&self, slot: usize, listed: bool) {
        if let Some(flag) = self.listed.get(slot) {
            flag.store(listed, Ordering::Release);
        }
    }

    fn is_listed(&self, slot: usize) -> bool {
        self.listed.get(slot).is_some_and(|flag| flag.load(Ordering::Acquire))
    }
}

/// A waiter in the list of one topic, and which of its topics that is.
#[derive(Debug)]
struct Listed {
    waiter: Arc<Waiter>,
    slot: usize,
}

type List = Vec<Listed>;

#[derive(Debug, Default)]
struct Prefixes {
    by_prefix: HashMap<Bytes, List>,
    /// How many watched prefixes have each length: only these lengths of a touched key are looked up.
    lengths: BTreeMap<usize, usize>,
}

impl Prefixes {
    fn list(&mut self, prefix: &Bytes) -> &mut List {
        self.by_prefix.entry(prefix.clone()).or_insert_with(|| {
            *self.lengths.entry(prefix.len()).or_default() += 1;
            List::new()
        })
    }

    /// Takes the lists of all prefixes of a key.
    fn take(&mut self, key: &[u8], found: &mut Vec<List>) {
        let Self { by_prefix, lengths } = self;
        lengths.retain(|length, count| {
            if let Some(list) = key.get(..*length).and_then(|prefix| by_prefix.remove(prefix)) {
                found.push(list);
                *count -= 1;
            }
            *count > 0
        });
    }

    fn remove(&mut self, prefix: &Bytes, waiter: &Arc<Waiter>) {
        if remove(&mut self.by_prefix, prefix, waiter)
            && let Some(count) = self.lengths.get_mut(&prefix.len())
        {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }
}

/// Registry of everything that waits. A wake empties the list of its topic, so thousands who wait
/// for one thing go away one by one without looking for themselves among the others.
#[derive(Debug)]
pub struct Watches {
    exact: [Mutex<HashMap<Topic, List>>; SHARDS],
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
        let topics: SmallVec<[Topic; 1]> = topics.into_iter().collect();
        let waiter = Arc::new(Waiter {
            woken: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            listed: topics.iter().map(|_| AtomicBool::new(false)).collect(),
        });
        self.parked.fetch_add(1, Ordering::SeqCst);
        // Pairs with the fence of `wake`: either that sees this waiter or this one's next read sees
        // the change.
        fence(Ordering::SeqCst);
        let watch = Watch { registry: Arc::clone(self), waiter, topics };
        watch.list();
        watch
    }

    /// Wakes whoever subscribed to one of these topics. Call it after the change is published.
    pub fn wake(&self, touched: &[Topic]) {
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut found = Vec::new();
        for topic in touched {
            let mut shard = self.shard(topic).lock();
            found.extend(shard.remove(topic));
            unlist(&found);
            drop(shard);
            self.wake_lists(&mut found);
            if let Topic::Key(key) = topic {
                let mut prefixes = self.prefixes.lock();
                prefixes.take(key, &mut found);
                unlist(&found);
                drop(prefixes);
                self.wake_lists(&mut found);
            }
        }
    }

    /// Wakes everybody: the whole state was replaced, or the agent shuts down.
    pub fn wake_all(&self) {
        let mut found = Vec::new();
        for shard in &self.exact {
            let mut shard = shard.lock();
            found.extend(shard.drain().map(|(_, list)| list));
            unlist(&found);
            drop(shard);
            self.wake_lists(&mut found);
        }
        let mut prefixes = self.prefixes.lock();
        found.extend(prefixes.by_prefix.drain().map(|(_, list)| list));
        prefixes.lengths.clear();
        unlist(&found);
        drop(prefixes);
        self.wake_lists(&mut found);
    }

    fn wake_lists(&self, lists: &mut Vec<List>) {
        let mut woken = 0;
        for listed in lists.drain(..).flatten() {
            listed.waiter.wake();
            woken += 1;
        }
        if woken > 0 {
            self.wakes.fetch_add(woken, Ordering::Relaxed);
        }
    }

    /// How many subscriptions exist now.
    pub fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }

    /// How many times a waiter was woken so far; tests prove by it that a write elsewhere wakes nobody.
    pub fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::Relaxed)
    }

    /// The part a topic belongs to. Names mostly differ at their end; a bad spread would cost waiting
    /// for a lock, nothing else.
    fn shard(&self, topic: &Topic) -> &Mutex<HashMap<Topic, List>> {
        let tail = topic.name().iter().rev().take(4);
        let sum = tail.fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        &self.exact[(sum ^ (sum >> 4)) % SHARDS]
    }
}

/// Notes that lists were just taken out of the registry. The lock of where they were is still held,
/// so that nobody enters anew in between.
fn unlist(lists: &[List]) {
    for listed in lists.iter().flatten() {
        listed.waiter.set_listed(listed.slot, false);
    }
}

/// Removes a waiter; true if it was the last of its entry.
fn remove<K: Hash + Eq>(map: &mut HashMap<K, List>, key: &K, waiter: &Arc<Waiter>) -> bool {
    let Some(list) = map.get_mut(key) else { return false };
    if let Some(at) = list.iter().position(|other| Arc::ptr_eq(&other.waiter, waiter)) {
        list.swap_remove(at);
    }
    let last = list.is_empty();
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
        self.list();
    }

    /// Enters the lists of all topics it is not in.
    fn list(&self) {
        for (slot, topic) in self.topics.iter().enumerate() {
            if self.waiter.is_listed(slot) {
                continue;
            }
            let listed = Listed { waiter: Arc::clone(&self.waiter), slot };
            if let Topic::KeyPrefix(prefix) = topic {
                let mut prefixes = self.registry.prefixes.lock();
                prefixes.list(prefix).push(listed);
                self.waiter.set_listed(slot, true);
            } else {
                let mut shard = self.registry.shard(topic).lock();
                match shard.get_mut(topic) {
                    Some(list) => list.push(listed),
                    None => {
                        shard.insert(topic.clone(), vec![listed]);
                    }
                }
                self.waiter.set_listed(slot, true);
            }
        }
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
        for (slot, topic) in self.topics.iter().enumerate() {
            if !self.waiter.is_listed(slot) {
                continue;
            }
            if let Topic::KeyPrefix(prefix) = topic {
                self.registry.prefixes.lock().remove(prefix, &self.waiter);
            } else {
                remove(&mut self.registry.shard(topic).lock(), topic, &self.waiter);
            }
        }
        self.registry.parked.fetch_sub(1, Ordering::SeqCst);
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

    #[test]
    fn waiters_of_one_topic_come_and_go_in_any_order() {
        let watches = Arc::new(Watches::default());
        let mut waiting: Vec<Watch> =
            (0..100).map(|_| watches.subscribe([key("a"), prefix("a"), key("b")])).collect();
        drop(waiting.drain(10..20));
        watches.wake(&[key("b"), key("b")]);
        assert_eq!(watches.wakes(), 90, "once each");
        watches.wake(&[key("a")]);
        assert_eq!(watches.wakes(), 90 * 3, "by the key and by the prefix");
        drop(waiting.drain(..50));
        watches.wake(&[key("a")]);
        assert_eq!(watches.wakes(), 90 * 3, "nobody is armed");
        for watch in &mut waiting {
            assert!((&mut *watch).now_or_never().is_some());
            watch.rearm();
            watch.rearm();
        }
        watches.wake(&[key("b")]);
        assert_eq!(watches.wakes(), 90 * 3 + 40, "once each, however often armed");
        assert!(waiting.iter_mut().all(|watch| watch.now_or_never().is_some()));
        drop(waiting);
        assert_eq!(watches.parked(), 0);
        assert!(watches.prefixes.lock().by_prefix.is_empty());
        assert!(watches.prefixes.lock().lengths.is_empty());
        assert!(watches.exact.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn no_change_is_slept_through() {
        // Readers look, subscribe, look again and wait; a writer changes and wakes. Whoever missed a
        // change would wait for the deadline.
        use std::sync::atomic::AtomicUsize;
        let watches = Arc::new(Watches::default());
        let published = Arc::new(AtomicUsize::new(0));
        const ROUNDS: usize = 2_000;
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (watches, published) = (Arc::clone(&watches), Arc::clone(&published));
                std::thread::spawn(move || {
                    let mut seen = 0;
                    while seen < ROUNDS {
                        let watch = watches.subscribe([key("a")]);
                        let now = published.load(Ordering::Acquire);
                        if now == seen {
                            futures::executor::block_on(watch);
                        }
                        seen = published.load(Ordering::Acquire).max(seen);
                    }
                })
            })
            .collect();
        for round in 1..=ROUNDS {
            published.store(round, Ordering::Release);
            watches.wake(&[key("a")]);
            if round % 64 == 0 {
                std::thread::yield_now();
            }
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !readers.iter().all(std::thread::JoinHandle::is_finished) {
            assert!(std::time::Instant::now() < deadline, "a reader sleeps though something changed");
            std::thread::yield_now();
        }
    }
}
