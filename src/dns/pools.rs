//! The pools kept: a fixed number of slots that all threads read without a lock.
//!
//! A pool is found by the hash of its question in a set of four slots. One that is out of date or of another
//! question is replaced; nothing is ever searched for or evicted otherwise. What all pools hold together
//! is bounded too: beyond it all are let go, which costs making them anew.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use arc_swap::{ArcSwapOption, Guard};
use imbl::OrdSet;

use super::addresses::Kind;
use super::instances::{self, Pool, Wanted};
use super::zones::Zones;
use crate::state::View;
use crate::state::view::Folded;

/// Sets of slots.
const SETS: usize = 256;
/// Slots of a set.
const WAYS: usize = 4;
/// Most entries all pools may hold together; an entry takes some 100 bytes.
const MOST_ENTRIES: usize = 200_000;

/// A pool with what it answers and what it was made from.
#[derive(Debug)]
struct Kept {
    name: Box<str>,
    tags: Box<str>,
    connect: bool,
    only_passing: bool,
    kind: Kind,
    /// Index of the last change of the instances.
    index: u64,
    /// The very set of instances: a state that was replaced may repeat an index.
    instances: OrdSet<(Folded, Folded)>,
    /// None: no instance is healthy.
    pool: Option<Pool>,
}

impl Kept {
    fn answers(&self, wanted: &Wanted<'_>) -> bool {
        let own = Wanted {
            name: &self.name,
            tags: &self.tags,
            connect: self.connect,
            only_passing: self.only_passing,
            kind: self.kind,
        };
        own == *wanted
    }

    fn entries(&self) -> usize {
        self.pool.as_ref().map_or(0, |pool| pool.entries.len())
    }
}

#[derive(Debug, Default)]
struct Slot {
    /// Hash of the question, so that most slots need no look into.
    hash: AtomicU32,
    kept: ArcSwapOption<Kept>,
}

/// A pool lent out.
#[derive(Debug)]
pub struct Lent(LentFrom);

#[derive(Debug)]
enum LentFrom {
    Slot(Guard<Option<Arc<Kept>>>),
    New(Arc<Kept>),
}

impl Lent {
    /// The pool; none if no instance is healthy.
    pub fn pool(&self) -> Option<&Pool> {
        match &self.0 {
            LentFrom::Slot(kept) => kept.as_ref()?.pool.as_ref(),
            LentFrom::New(kept) => kept.pool.as_ref(),
        }
    }
}

/// All pools.
#[derive(Debug)]
pub struct Pools {
    slots: Vec<Slot>,
    hasher: RandomState,
    entries: AtomicUsize,
}

impl Default for Pools {
    fn default() -> Self {
        let slots = std::iter::repeat_with(Slot::default).take(SETS * WAYS).collect();
        Self { slots, hasher: RandomState::new(), entries: AtomicUsize::new(0) }
    }
}

impl Pools {
    /// The pool of a question; none if there is no such service.
    pub fn lend(&self, view: &View, wanted: &Wanted<'_>, question: &[u8], zones: &Zones) -> Option<Lent> {
        let (index, instances) = instances::named(view, wanted)?;
        let key = (wanted.name, wanted.tags, wanted.connect, wanted.only_passing, wanted.kind as u8);
        let hash = self.hasher.hash_one(key);
        let (set, tag) = split(hash);
        let ways = self.slots.get(set * WAYS..(set + 1) * WAYS)?;
        let mut free = None;
        for slot in ways {
            let found = slot.hash.load(Ordering::Relaxed);
            if found == tag {
                let kept = slot.kept.load();
                if let Some(found) = &*kept
                    && found.answers(wanted)
                {
                    if found.index == index && found.instances.ptr_eq(instances) {
                        return Some(Lent(LentFrom::Slot(kept)));
                    }
                    free = Some(slot);
                    break;
                }
            } else if found == 0 && free.is_none() {
                free = Some(slot);
            }
        }
        let pool = instances::prepare(view, instances, wanted, question, zones);
        let spelled = pool.as_ref().is_some_and(|pool| pool.spelled);
        let kept = Arc::new(Kept {
            name: wanted.name.into(),
            tags: wanted.tags.into(),
            connect: wanted.connect,
            only_passing: wanted.only_passing,
            kind: wanted.kind,
            index,
            instances: instances.clone(),
            pool,
        });
        if !spelled && (kept.pool.is_some() || wanted.tags.is_empty()) {
            // A tag nobody has is not worth a slot: there is no end to those.
            let by_chance = usize::from((hash >> 56) as u8) % WAYS;
            if let Some(slot) = free.or_else(|| ways.get(by_chance)) {
                self.keep(slot, tag, &kept);
            }
        }
        Some(Lent(LentFrom::New(kept)))
    }

    /// Two threads that keep at once may miscount; [`Pools::clear`] puts it right.
    fn keep(&self, slot: &Slot, tag: u32, kept: &Arc<Kept>) {
        if self.entries.load(Ordering::Relaxed) + kept.entries() > MOST_ENTRIES {
            self.clear();
        }
        if kept.entries() > MOST_ENTRIES {
            return;
        }
        self.entries.fetch_add(kept.entries(), Ordering::Relaxed);
        let before = slot.kept.swap(Some(Arc::clone(kept)));
        slot.hash.store(tag, Ordering::Relaxed);
        let gone = before.map_or(0, |before| before.entries());
        let _ = self
            .entries
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |entries| Some(entries.saturating_sub(gone)));
    }

    fn clear(&self) {
        for slot in &self.slots {
            slot.hash.store(0, Ordering::Relaxed);
            slot.kept.store(None);
        }
        self.entries.store(0, Ordering::Relaxed);
    }
}

/// The set of a hash and what marks it in there; 0 marks a free slot.
#[expect(clippy::cast_possible_truncation, reason = "any bits do")]
fn split(hash: u64) -> (usize, u32) {
    ((hash as usize) % SETS, ((hash >> 24) as u32).max(1))
}
