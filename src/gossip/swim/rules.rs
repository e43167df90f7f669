//! What is believed of whom: the rules for news of living, suspected and dead members.
//!
//! A claim counts for an incarnation of a member. Only the member itself raises it, by objecting, so its word
//! is always the newest; among claims of the same incarnation death outweighs suspicion, and suspicion life.
//!
//! Source: section 6.5 of the project's notes on the gossip wire; SWIM section 4.2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::core::{MAX_META, MAX_NAME};
use super::delegate::Delegate;
use super::step::{Leaving, SELF, Step};
use super::table::{Entry, Name, Node};
use crate::gossip::wire::{Alive, Claim, Message, NodeState, Versions};

/// Whether these versions contradict themselves.
fn impossible(versions: Option<Versions>) -> bool {
    versions.is_some_and(|[min, max, ..]| min == 0 || max == 0 || min > max)
}

impl<D: Delegate> Step<'_, D> {
    /// A member is said to live.
    ///
    /// Unlike memberlist, an unknown member of incarnation 0 leaves no trace: its news cannot win against
    /// anything, and strangers could fill the table with such ghosts.
    pub(super) fn alive(&mut self, alive: &Alive<'_>) {
        let place = self.state.table.place(alive.node);
        let myself = place == Some(SELF);
        if myself && self.state.leaving.is_some() {
            return;
        }
        let valid = (1..=MAX_NAME).contains(&alive.node.len())
            && alive.meta.len() <= MAX_META
            && !impossible(alive.versions);
        let (Some(mut addr), true) = (alive.addr, valid) else {
            self.state.stats.invalid_members += 1;
            return;
        };
        if addr.port() == 0 {
            addr.set_port(self.state.me.node.addr.port());
        }
        let alive = &Alive { addr: Some(addr), ..*alive };
        let Some((place, known)) = place.and_then(|place| Some((place, self.state.table.at(place)?))) else {
            if alive.incarnation > 0 && self.admitted(alive) {
                self.welcome(alive, addr);
            }
            return;
        };
        let same_meta = known.node.meta == alive.meta;
        let returns = matches!(known.state, NodeState::Dead | NodeState::Left);
        let moved = known.node.addr != addr;
        if !moved {
            let news = alive.incarnation > known.incarnation;
            if myself && alive.incarnation >= known.incarnation {
                let own_words = !news && same_meta && alive.versions == known.node.versions;
                if !own_words {
                    self.refute(alive.incarnation);
                }
                return;
            }
            if !news {
                return;
            }
        }
        if !myself && (!same_meta || returns) && !self.admitted(alive) {
            return;
        }
        if moved && !self.may_move(place) {
            self.conflict(place, addr);
            return;
        }
        self.revive(place, alive, addr);
    }

    /// Whether the layer above accepts news of a member.
    fn admitted(&mut self, alive: &Alive<'_>) -> bool {
        let admitted = self.call(|d, cx| d.admit(cx, alive));
        if let Err(reason) = &admitted {
            self.state.stats.refused += 1;
            tracing::debug!(node = %String::from_utf8_lossy(alive.node), reason, "news of a member is refused");
        }
        admitted.is_ok()
    }

    /// Whether a member's name may be taken over at another address.
    fn may_move(&self, place: u32) -> bool {
        let reclaim = self.state.config.dead_node_reclaim;
        self.state.table.at(place).is_some_and(|entry| match entry.state {
            NodeState::Left => true,
            NodeState::Dead => !reclaim.is_zero() && self.now.since(entry.changed) > reclaim,
            NodeState::Alive | NodeState::Suspect => false,
        })
    }

    /// Two members claim one name.
    fn conflict(&mut self, place: u32, other: SocketAddr) {
        self.state.stats.conflicts += 1;
        self.tell(place, |d, cx, entry| d.conflict(cx, &entry.node, other));
    }

    /// Adds a member that was unknown.
    fn welcome(&mut self, alive: &Alive<'_>, addr: SocketAddr) {
        let node = Node {
            name: Name::from(alive.node),
            addr,
            meta: Bytes::copy_from_slice(alive.meta),
            versions: alive.versions,
        };
        let name = node.name.clone();
        let entry = Entry {
            node: Arc::new(node),
            incarnation: alive.incarnation,
            state: NodeState::Alive,
            changed: self.now,
        };
        let Some(place) = self.state.add(entry) else {
            self.state.stats.too_many_members += 1;
            return;
        };
        if !self.state.newcomer {
            self.state.broadcast(&name, &Message::Alive(*alive));
        }
        self.tell(place, D::joined);
    }

    /// Believes that a known member lives, and what it says of itself.
    fn revive(&mut self, place: u32, alive: &Alive<'_>, addr: SocketAddr) {
        let Some(known) = self.state.table.at(place) else { return };
        let old = known.node.clone();
        let was = known.state;
        let versions = alive.versions.or(old.versions);
        let same_meta = old.meta == alive.meta;
        let node = if same_meta && old.addr == addr && old.versions == versions {
            old.clone()
        } else {
            let meta = if same_meta { old.meta.clone() } else { Bytes::copy_from_slice(alive.meta) };
            Arc::new(Node { name: old.name.clone(), addr, meta, versions })
        };
        self.state.suspicions.end(&old.name);
        self.state.doubts.dispel(&old.name);
        self.state.broadcast(&old.name, &Message::Alive(Alive { versions, ..*alive }));
        let now = self.now;
        self.state.change(place, |entry| {
            entry.node = node;
            entry.incarnation = alive.incarnation;
            if entry.state != NodeState::Alive {
                entry.state = NodeState::Alive;
                entry.changed = now;
            }
        });
        if matches!(was, NodeState::Dead | NodeState::Left) {
            self.tell(place, D::joined);
        } else if !same_meta {
            self.tell(place, D::updated);
        }
    }

    /// A member is said to be suspect.
    pub(super) fn suspect(&mut self, claim: &Claim<'_>) {
        let Some(place) = self.state.table.place(claim.node) else { return };
        let Some(known) = self.state.table.at(place) else { return };
        if claim.incarnation < known.incarnation {
            return;
        }
        let name = known.node.name.clone();
        match known.state {
            NodeState::Suspect => {
                if self.state.suspicions.confirm(&name, claim.from) {
                    self.state.broadcast(&name, &Message::Suspect(*claim));
                }
            }
            NodeState::Dead | NodeState::Left => {}
            NodeState::Alive if place == SELF => self.refute(claim.incarnation),
            NodeState::Alive => {
                let terms = self.state.terms();
                let now = self.now;
                self.state.stats.suspicions += 1;
                self.state.broadcast(&name, &Message::Suspect(*claim));
                self.state.change(place, |entry| {
                    entry.incarnation = claim.incarnation;
                    entry.state = NodeState::Suspect;
                    entry.changed = now;
                });
                self.state.suspicions.start(now, &name, claim.from, terms);
                tracing::debug!(node = %name, "a member is suspected");
                if claim.from != self.state.me.node.name.as_bytes() {
                    self.witness(name);
                }
            }
        }
    }

    /// A member is said to be dead, or says goodbye.
    pub(super) fn dead(&mut self, claim: &Claim<'_>) {
        let Some(place) = self.state.table.place(claim.node) else { return };
        let Some(known) = self.state.table.at(place) else { return };
        if claim.incarnation < known.incarnation {
            return;
        }
        let name = known.node.name.clone();
        if matches!(known.state, NodeState::Dead | NodeState::Left) {
            return;
        }
        if place == SELF && self.state.leaving.is_none() {
            self.refute(claim.incarnation);
            return;
        }
        self.state.suspicions.end(&name);
        let id = self.state.broadcast(&name, &Message::Dead(*claim));
        if place == SELF
            && let Some(leaving) = &mut self.state.leaving
        {
            leaving.broadcast = Some(id);
        }
        let goodbye = claim.node == claim.from;
        let now = self.now;
        self.state.change(place, |entry| {
            entry.incarnation = claim.incarnation;
            entry.state = if goodbye { NodeState::Left } else { NodeState::Dead };
            entry.changed = now;
        });
        let stats = &mut self.state.stats;
        *(if goodbye { &mut stats.goodbyes } else { &mut stats.deaths }) += 1;
        self.tell(place, D::left);
    }

    /// Objects to what was claimed of an incarnation of this member.
    fn refute(&mut self, claimed: u32) {
        // At the end of all numbers there is nothing left to object with.
        self.state.change(SELF, |entry| {
            entry.incarnation = entry.incarnation.max(claimed).saturating_add(1);
        });
        self.state.awareness.worse(1);
        self.state.stats.refutes += 1;
        self.state.announce();
        tracing::debug!(incarnation = self.state.me.incarnation, "objected to news of this member");
    }

    /// Suspects whose time is up are dead.
    pub(super) fn bury_expired(&mut self) {
        while let Some(name) = self.state.suspicions.expire(self.now) {
            let suspect = self.state.table.get(name.as_bytes());
            let Some(incarnation) = suspect.map(|entry| entry.incarnation) else { continue };
            let me = self.state.me.node.name.clone();
            self.dead(&Claim { incarnation, node: name.as_bytes(), from: me.as_bytes() });
        }
    }

    /// Says something new of this member.
    pub(super) fn set_meta(&mut self, meta: Bytes) {
        let node = Arc::new(Node { meta, ..(*self.state.me.node).clone() });
        let changed = node.meta != self.state.me.node.meta;
        self.state.change(SELF, |entry| {
            entry.node = node;
            entry.incarnation = entry.incarnation.saturating_add(1);
        });
        if self.state.leaving.is_none() {
            self.state.announce();
        }
        if changed {
            self.tell(SELF, D::updated);
        }
    }

    /// Starts to say goodbye.
    pub(super) fn leave(&mut self, timeout: Duration) {
        if self.state.leaving.is_some() {
            return;
        }
        self.state.leaving = Some(Leaving { until: self.now + timeout, broadcast: None, done: false });
        let me = self.state.me.clone();
        let name = me.node.name.as_bytes();
        self.dead(&Claim { incarnation: me.incarnation, node: name, from: name });
    }

    /// Looks whether the goodbye was said.
    pub(super) fn end_goodbye(&mut self) {
        let Some(leaving) = self.state.leaving.as_mut().filter(|leaving| !leaving.done) else { return };
        let said = leaving.broadcast.is_none_or(|id| !self.state.queue.contains(id));
        let table = &self.state.table;
        let nobody = table.count(NodeState::Alive) + table.count(NodeState::Suspect) == 0;
        leaving.done = said || nobody || self.now >= leaving.until;
    }

    /// Takes over what another member knows of one, unless something is known already.
    pub(super) fn adopt(&mut self, entry: &Entry) {
        let name = &entry.node.name;
        if self.state.table.place(name.as_bytes()).is_some() {
            return;
        }
        let Some(place) = self.state.add(Entry { changed: self.now, ..entry.clone() }) else { return };
        if entry.state == NodeState::Suspect {
            let (terms, me) = (self.state.terms(), self.state.me.node.name.clone());
            self.state.suspicions.start(self.now, name, me.as_bytes(), terms);
        }
        self.tell(place, D::joined);
        if matches!(entry.state, NodeState::Dead | NodeState::Left) {
            self.tell(place, D::left);
        }
    }
}
