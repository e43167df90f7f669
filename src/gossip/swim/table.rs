//! The table of members: found by name in constant time, small per member, the same order in every run.

use std::fmt;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use smallvec::SmallVec;

use crate::gossip::time::Moment;
use crate::gossip::wire::{NodeState, Versions};

/// A member's name. Strangers choose names, so it is bytes; shown with replacement characters where it is
/// no UTF-8.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// What a member says of itself. Never changed in place: news makes a new one, so it can be shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: Name,
    /// Where it is reached.
    pub addr: SocketAddr,
    /// Tags as bytes, at most 512.
    pub meta: Bytes,
    /// Versions, if known.
    pub versions: Option<Versions>,
}

/// A member as this one sees it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it says of itself.
    pub node: Arc<Node>,
    /// Its incarnation.
    pub incarnation: u32,
    /// Its state.
    pub state: NodeState,
    /// Since when it is in that state.
    pub changed: Moment,
}

/// Most members a table holds: as many as a full exchange may carry. What strangers claim of more is ignored.
pub const MAX_MEMBERS: usize = 1 << 20;

/// Places in the table, as [`Table::pick`] gives them.
pub type Places = SmallVec<[u32; 8]>;

/// All members this one knows, itself included.
///
/// Entries lie in a row; removing one moves the last into its place. A clone shares what members say of
/// themselves, so that many tables of the same pool fit into one process.
#[derive(Debug, Default, Clone)]
pub struct Table {
    entries: Vec<Entry>,
    by_name: HashTable<u32>,
    /// How many are in each state, by the state's number.
    counts: [u32; 4],
    /// Seeds the hash: names are chosen by strangers.
    key: u64,
}

impl Table {
    /// An empty one; `key` seeds the hash of names and is best kept from strangers.
    pub fn new(key: u64) -> Self {
        Self { key, ..Self::default() }
    }

    /// How many members, in whatever state.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many are in this state.
    pub fn count(&self, state: NodeState) -> usize {
        self.counts.get(state as usize).map_or(0, |count| *count as usize)
    }

    /// The member of this name.
    pub fn get(&self, name: &[u8]) -> Option<&Entry> {
        self.at(self.place(name)?)
    }

    /// Where the member of this name lies; good until one is removed.
    pub fn place(&self, name: &[u8]) -> Option<u32> {
        let is_it = |place: &u32| self.at(*place).is_some_and(|entry| entry.node.name.as_bytes() == name);
        self.by_name.find(hash(self.key, name), is_it).copied()
    }

    /// The member that lies there.
    pub fn at(&self, place: u32) -> Option<&Entry> {
        self.entries.get(place as usize)
    }

    /// All members. The order is the same in every run, and means nothing else.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// Adds a member, or replaces the one of its name. Returns where it lies, or `None` (and nothing
    /// changes) if the table is full.
    pub fn insert(&mut self, entry: Entry) -> Option<u32> {
        if let Some(place) = self.place(entry.node.name.as_bytes()) {
            self.update(place, |old| *old = entry);
            return Some(place);
        }
        if self.entries.len() >= MAX_MEMBERS {
            return None;
        }
        let place = u32::try_from(self.entries.len()).ok()?;
        let (key, entries) = (self.key, &self.entries);
        self.by_name.insert_unique(hash(key, entry.node.name.as_bytes()), place, |place| {
            entries.get(*place as usize).map_or(0, |entry| hash(key, entry.node.name.as_bytes()))
        });
        self.add(entry.state, 1);
        self.entries.push(entry);
        Some(place)
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, more: usize) {
        let (key, entries) = (self.key, &self.entries);
        self.by_name.reserve(more, |place| {
            entries.get(*place as usize).map_or(0, |entry| hash(key, entry.node.name.as_bytes()))
        });
        self.entries.reserve_exact(more);
    }

    /// Changes the member that lies there. Its name must stay.
    pub(super) fn update(&mut self, place: u32, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(place as usize) else { return };
        let before = entry.state;
        change(entry);
        let after = entry.state;
        if before != after {
            self.add(before, u32::MAX);
            self.add(after, 1);
        }
    }

    /// Forgets a member.
    pub fn remove(&mut self, name: &[u8]) -> Option<Entry> {
        let key = self.key;
        let entries = &self.entries;
        let is_it = |place: &u32| {
            entries.get(*place as usize).is_some_and(|entry| entry.node.name.as_bytes() == name)
        };
        let (place, _) = self.by_name.find_entry(hash(key, name), is_it).ok()?.remove();
        let entry = self.entries.swap_remove(place as usize);
        if let Some(moved) = self.entries.get(place as usize) {
            let old_place = self.entries.len();
            let slot =
                self.by_name.find_mut(hash(key, moved.node.name.as_bytes()), |at| *at as usize == old_place);
            if let Some(slot) = slot {
                *slot = place;
            }
        }
        self.add(entry.state, u32::MAX);
        Some(entry)
    }

    /// Up to `count` different members that are wanted, each set of them as likely as any other.
    ///
    /// Tries its luck first, which is constant time where most members are wanted, and looks at everybody
    /// only where that fails.
    pub fn pick(&self, rng: &mut ChaCha12Rng, count: usize, wanted: impl Fn(&Entry) -> bool) -> Places {
        let mut picked = Places::new();
        let all = self.entries.len();
        if all == 0 || count == 0 {
            return picked;
        }
        if all > 4 * count {
            for _ in 0..4 * count + 16 {
                let place = rng.random_range(0..all);
                let Some(entry) = self.entries.get(place) else { continue };
                let Ok(place) = u32::try_from(place) else { continue };
                if !picked.contains(&place) && wanted(entry) {
                    picked.push(place);
                    if picked.len() == count {
                        return picked;
                    }
                }
            }
            picked.clear();
        }
        let all_wanted = (0u32..).zip(&self.entries).filter(|(_, entry)| wanted(entry));
        for (seen, (place, _)) in all_wanted.enumerate() {
            if picked.len() < count {
                picked.push(place);
            } else if let Some(slot) = picked.get_mut(rng.random_range(0..=seen)) {
                *slot = place;
            }
        }
        picked
    }

    /// Adds to the count of a state; `u32::MAX` takes one away.
    fn add(&mut self, state: NodeState, by: u32) {
        if let Some(count) = self.counts.get_mut(state as usize) {
            *count = count.wrapping_add(by);
        }
    }
}

impl<'a> IntoIterator for &'a Table {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The hash of a name. Same key, same hash, in every run.
pub(super) fn hash(key: u64, name: &[u8]) -> u64 {
    FixedState::with_seed(key).hash_one(name)
}

#[cfg(test)]
mod tests;
