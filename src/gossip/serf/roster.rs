//! The roster: every member with its status, and the rules by which news of SWIM and intents change it.
//!
//! ```text
//!            leave intent            SWIM: dead or left
//!   Alive ◀──────────────▶ Leaving ────────────────────▶ Left
//!     │  ▲   join intent                                  ▲ │
//!     │  └──────────────────── SWIM: lives ───────────────┼─┘
//!     │ SWIM: dead or left                                │
//!     └─────────────────────▶ Failed ─────────────────────┘
//!                                       leave intent
//! ```
//!
//! Each member keeps the time of the newest intent it heard of; older ones change nothing. A goodbye that is not
//! followed by the end is void after a while. A row costs 16
//! bytes and a share of the index; members are shared.
//!
//! Source: section 7.3 of the project's notes on the gossip wire.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use rand::RngExt;
use rand_chacha::ChaCha12Rng;

use super::clock::LTime;
use super::intent::{Intent, Recent};
use super::{Member, Status};
use crate::gossip::time::Moment;

/// A member and the time of the newest intent about it.
#[derive(Debug, Clone)]
struct Row {
    member: Arc<Member>,
    ltime: LTime,
}

/// All members, the local one first. Never empty.
#[derive(Debug, Clone)]
pub struct Roster {
    local: Row,
    others: Vec<Row>,
    by_name: HashTable<u32>,
    hasher: FixedState,
    /// Since when members are failed, and left.
    failed: BTreeMap<String, Moment>,
    left: BTreeMap<String, Moment>,
    /// Members about to leave: since when that is known. Kept up to date by [`Roster::void_goodbyes`] only.
    leaving: BTreeMap<String, Moment>,
    /// Members about to leave that are to be forgotten, and when.
    pruned: BTreeMap<String, Moment>,
    generation: u64,
}

/// What an intent changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Whether it was news, to be told on.
    pub news: bool,
    /// A failed member that turned into a left one.
    pub left: Option<Arc<Member>>,
}

impl Roster {
    /// With the local member alone; `key` seeds the hash of names, which strangers choose.
    pub fn new(local: Member, key: u64) -> Self {
        Self {
            local: Row { member: Arc::new(local), ltime: 0 },
            others: Vec::new(),
            by_name: HashTable::new(),
            hasher: FixedState::with_seed(key),
            failed: BTreeMap::new(),
            left: BTreeMap::new(),
            leaving: BTreeMap::new(),
            pruned: BTreeMap::new(),
            generation: 1,
        }
    }

    /// Moves whenever [`Roster::members`] would answer differently.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The local member.
    pub fn local(&self) -> &Arc<Member> {
        &self.local.member
    }

    /// How many members, in whatever status.
    pub fn len(&self) -> usize {
        1 + self.others.len()
    }

    /// How many are neither failed nor left.
    pub fn present(&self) -> usize {
        self.len().saturating_sub(self.failed.len() + self.left.len())
    }

    /// All members, the local one first.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.rows().map(|row| &row.member)
    }

    /// All members with the time of the newest intent about each.
    pub fn times(&self) -> impl Iterator<Item = (&Arc<Member>, LTime)> {
        self.rows().map(|row| (&row.member, row.ltime))
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        std::iter::once(&self.local).chain(&self.others)
    }

    /// The member of this name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Member>> {
        self.row(name).map(|row| &row.member)
    }

    fn row(&self, name: &[u8]) -> Option<&Row> {
        if self.local.member.name.as_bytes() == name {
            return Some(&self.local);
        }
        self.others.get(self.place(name)?)
    }

    fn row_mut(&mut self, name: &[u8]) -> Option<&mut Row> {
        if self.local.member.name.as_bytes() == name {
            return Some(&mut self.local);
        }
        let place = self.place(name)?;
        self.others.get_mut(place)
    }

    fn hash(&self, name: &[u8]) -> u64 {
        self.hasher.hash_one(name)
    }

    fn place(&self, name: &[u8]) -> Option<usize> {
        let is_it = |place: &u32| {
            self.others.get(*place as usize).is_some_and(|row| row.member.name.as_bytes() == name)
        };
        self.by_name.find(self.hash(name), is_it).map(|place| *place as usize)
    }

    /// Changes the status of a member.
    fn turn(&mut self, name: &[u8], status: Status) -> Option<Arc<Member>> {
        let row = self.row_mut(name)?;
        Arc::make_mut(&mut row.member).status = status;
        let member = row.member.clone();
        self.generation += 1;
        Some(member)
    }

    /// SWIM says that a member lives: it is new, or lives again. What was said about it before it came
    /// decides whether it is about to leave.
    pub fn lives(&mut self, mut member: Member, recent: &Recent) -> Arc<Member> {
        self.generation += 1;
        self.failed.remove(&member.name);
        self.left.remove(&member.name);
        self.pruned.remove(&member.name);
        member.status = Status::Alive;
        if let Some(row) = self.row_mut(member.name.as_bytes()) {
            row.member = Arc::new(member);
            return row.member.clone();
        }
        let mut ltime = 0;
        if let Some((intent, at)) = recent.get(&member.name) {
            ltime = at;
            if intent == Intent::Leave {
                member.status = Status::Leaving;
            }
        }
        let member = Arc::new(member);
        let hash = self.hash(member.name.as_bytes());
        if let Ok(place) = u32::try_from(self.others.len()) {
            let (others, hasher) = (&self.others, &self.hasher);
            self.by_name.insert_unique(hash, place, |place| {
                others.get(*place as usize).map_or(0, |row| hasher.hash_one(row.member.name.as_bytes()))
            });
            self.others.push(Row { member: member.clone(), ltime });
        }
        member
    }

    /// SWIM says that a member does not live any more. If it said goodbye before, it left; else it failed.
    pub fn gone(&mut self, name: &[u8], now: Moment) -> Option<Arc<Member>> {
        let (status, list) = match self.get(name)?.status {
            Status::Leaving => (Status::Left, &mut self.left),
            Status::Alive => (Status::Failed, &mut self.failed),
            Status::None | Status::Left | Status::Failed => return None,
        };
        list.insert(String::from_utf8_lossy(name).into_owned(), now);
        self.turn(name, status)
    }

    /// SWIM says that what a member says of itself changed. The status stays.
    pub fn updated(&mut self, mut member: Member) -> Option<Arc<Member>> {
        let row = self.row_mut(member.name.as_bytes())?;
        member.status = row.member.status;
        row.member = Arc::new(member);
        let member = row.member.clone();
        self.generation += 1;
        Some(member)
    }

    /// A member said that it is here. Only a member that was about to leave changes.
    pub fn join_intent(&mut self, name: &str, ltime: LTime, recent: &mut Recent, now: Moment) -> Heard {
        let Some(row) = self.row_mut(name.as_bytes()) else {
            return Heard { news: recent.put(name, Intent::Join, ltime, now), left: None };
        };
        if ltime <= row.ltime {
            return Heard::default();
        }
        row.ltime = ltime;
        if row.member.status == Status::Leaving {
            self.turn(name.as_bytes(), Status::Alive);
            self.pruned.remove(name);
        }
        Heard { news: true, left: None }
    }

    /// A member said goodbye, or somebody said it for a failed one.
    pub fn leave_intent(&mut self, name: &str, ltime: LTime, recent: &mut Recent, now: Moment) -> Heard {
        let Some(row) = self.row_mut(name.as_bytes()) else {
            return Heard { news: recent.put(name, Intent::Leave, ltime, now), left: None };
        };
        if ltime <= row.ltime {
            return Heard::default();
        }
        row.ltime = ltime;
        let left = match row.member.status {
            Status::Alive => {
                self.turn(name.as_bytes(), Status::Leaving);
                None
            }
            Status::Failed => {
                self.failed.remove(name);
                self.left.insert(name.to_owned(), now);
                self.turn(name.as_bytes(), Status::Left)
            }
            Status::None | Status::Leaving | Status::Left => None,
        };
        Heard { news: true, left }
    }

    /// Members that said goodbye longer than `patience` ago and still live are taken for what they are: alive.
    ///
    /// The goodbye was one of an earlier life. Serf counts one that comes with a full exchange as one later, which can
    /// be the very time at which the present life said that it is here; then that word does not count any more, and
    /// nothing else would ever end the goodbye.
    pub fn void_goodbyes(&mut self, now: Moment, patience: Duration) {
        let leaving = self.others.iter().filter(|row| row.member.status == Status::Leaving);
        let since = |name: &str| self.leaving.get(name).copied().unwrap_or(now);
        self.leaving = leaving.map(|row| (row.member.name.clone(), since(&row.member.name))).collect();
        let void = |(name, since): &(&String, &Moment)| {
            now.since(**since) > patience && !self.pruned.contains_key(*name)
        };
        let names: Vec<String> = self.leaving.iter().filter(void).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.leaving.remove(&name);
            self.turn(name.as_bytes(), Status::Alive);
        }
    }

    /// Whether an intent of this time would be news about a member.
    pub fn is_news(&self, name: &[u8], ltime: LTime) -> bool {
        self.row(name).is_none_or(|row| ltime > row.ltime)
    }

    /// Forgets a member that is about to leave at that moment, should it not come back before.
    pub fn prune_at(&mut self, name: &str, at: Moment) {
        self.pruned.entry(name.to_owned()).or_insert(at);
    }

    /// When [`Roster::prune_due`] has something to do.
    pub fn next_prune(&self) -> Moment {
        self.pruned.values().min().copied().unwrap_or(Moment::NEVER)
    }

    /// Members whose time to be forgotten has come; they are forgotten.
    pub fn prune_due(&mut self, now: Moment) -> Vec<Arc<Member>> {
        let due: Vec<String> =
            self.pruned.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
        due.iter().filter_map(|name| self.erase(name)).collect()
    }

    /// Forgets a member, but never the local one.
    pub fn erase(&mut self, name: &str) -> Option<Arc<Member>> {
        self.pruned.remove(name);
        let others = &self.others;
        let is_it = |place: &u32| others.get(*place as usize).is_some_and(|row| row.member.name == name);
        let hash = self.hash(name.as_bytes());
        let (place, _) = self.by_name.find_entry(hash, is_it).ok()?.remove();
        let row = self.others.swap_remove(place as usize);
        if let Some(moved) = self.others.get(place as usize) {
            let (hash, was) = (self.hash(moved.member.name.as_bytes()), self.others.len());
            if let Some(slot) = self.by_name.find_mut(hash, |at| *at as usize == was) {
                *slot = place;
            }
        }
        self.failed.remove(name);
        self.left.remove(name);
        self.generation += 1;
        Some(row.member)
    }

    /// Forgets members that failed longer than `failed` ago, or left longer than `left` ago.
    pub fn reap(&mut self, now: Moment, failed: Duration, left: Duration) -> Vec<Arc<Member>> {
        let old = |list: &BTreeMap<String, Moment>, age: Duration| -> Vec<String> {
            list.iter().filter(|(_, since)| now.since(**since) > age).map(|(name, _)| name.clone()).collect()
        };
        let mut names = old(&self.failed, failed);
        names.extend(old(&self.left, left));
        names.iter().filter_map(|name| self.erase(name)).collect()
    }

    /// A failed member to be tried again: one of them, as often as failed ones are among the present ones.
    pub fn to_reconnect(&self, rng: &mut ChaCha12Rng) -> Option<&Arc<Member>> {
        if self.failed.is_empty() {
            return None;
        }
        if rng.random_range(0..self.present().max(1)) >= self.failed.len() {
            return None;
        }
        let name = self.failed.keys().nth(rng.random_range(0..self.failed.len()))?;
        self.get(name.as_bytes())
    }

    /// Makes room for so many members more, and no more than that.
    pub fn reserve(&mut self, more: usize) {
        self.others.reserve_exact(more);
    }

    /// Lets go of members that are the same as another roster's, and uses those.
    pub fn share(&mut self, other: &Self) {
        for row in &mut self.others {
            if let Some(same) = other.get(row.member.name.as_bytes()).filter(|member| **member == row.member)
            {
                row.member = same.clone();
            }
        }
    }

    /// Whether somebody else is alive.
    pub fn has_company(&self) -> bool {
        self.others.iter().any(|row| row.member.status == Status::Alive)
    }

    /// Up to `count` other members, each alive and let through by `wanted`, by chance.
    pub fn pick(
        &self,
        count: usize,
        rng: &mut ChaCha12Rng,
        wanted: impl Fn(&Member) -> bool,
    ) -> Vec<Arc<Member>> {
        // In a large pool some will not do, but hardly so many.
        let tries = self.others.len().min(3 * count + 8);
        rand::seq::index::sample(rng, self.others.len(), tries)
            .into_iter()
            .filter_map(|at| self.others.get(at).map(|row| &row.member))
            .filter(|member| member.status == Status::Alive && wanted(member))
            .take(count)
            .cloned()
            .collect()
    }
}
