//! Messages that are to be sent a limited number of times, piggybacked on whatever leaves.
//!
//! Which come first: those sent least often; among these the longest that still fits, so that packets
//! fill well; among these the newest, and once sent, the one that has waited longest. So nothing starves,
//! and no message is sent twice in a packet.
//!
//! ```text
//!  tier = times sent     block = 64 lengths      ring of messages of one length
//!   0 ─▶ [ 64..127 ] ─▶ bit 71-64 set ─▶ head ⇄ slot ⇄ slot
//!   1 ─▶ [ 0..63 ] [ 128..191 ] ...
//! ```
//!
//! Every step costs the same however many messages wait, but for the number of tiers (times a message is sent).
//! An empty queue owns no memory: simulations hold tens of thousands.
//!
//! Source: section 6.6 of the project's notes on the gossip wire; SWIM section 4.1.

use bytes::Bytes;
use hashbrown::HashTable;

use super::delegate::Sink;
use super::table::{Name, hash};

/// A queued message, to ask later whether it is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BroadcastId {
    slot: u32,
    serial: u64,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    piles: Option<Box<Piles>>,
    serial: u64,
    key: u64,
}

impl Queue {
    /// An empty one; `key` seeds the hash of names.
    pub fn new(key: u64) -> Self {
        Self { piles: None, serial: 0, key }
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.piles.as_ref().map_or(0, |piles| piles.len)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.piles.is_none()
    }

    /// Adds a message that was not sent yet. One with a name replaces the one of the same name.
    ///
    /// A message longer than any packet has room for is never given out; it waits until it is pruned.
    pub fn push(&mut self, name: Option<Name>, message: Bytes) -> BroadcastId {
        let key = self.key;
        self.serial += 1;
        let piles = self.piles.get_or_insert_default();
        if let Some(name) = &name
            && let Some(slot) = piles.named(key, name.as_bytes())
        {
            piles.unlink(slot);
            piles.release(key, slot);
        }
        let slot = piles.acquire(key, name, message, self.serial);
        piles.link(slot, 0);
        BroadcastId { slot, serial: self.serial }
    }

    /// Whether this message still waits to be sent, for the first time or again.
    pub fn contains(&self, id: BroadcastId) -> bool {
        let slot = self.piles.as_ref().and_then(|piles| piles.slot(id.slot));
        slot.is_some_and(|slot| slot.serial == id.serial)
    }

    /// Takes the message of this name back.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let key = self.key;
        let Some(piles) = &mut self.piles else { return false };
        let Some(slot) = piles.named(key, name) else { return false };
        piles.unlink(slot);
        piles.release(key, slot);
        self.shrink();
        true
    }

    /// Gives out messages as long as the sink has room for one. Each is forgotten once it was given out
    /// `transmits` times. Returns how many.
    pub fn give(&mut self, transmits: u32, sink: &mut dyn Sink) -> usize {
        let key = self.key;
        let Some(piles) = &mut self.piles else { return 0 };
        let mut given = 0;
        // Chained aside until the end, so that none is taken again from its next tier.
        let (mut first, mut last) = (NONE, NONE);
        let mut tier = 0;
        while tier < piles.tiers.len() && sink.room() > 0 {
            let Some(at) = piles.longest(tier, sink.room()) else {
                tier += 1;
                continue;
            };
            piles.unlink(at);
            if let Some(slot) = piles.slot_mut(at) {
                slot.next = NONE;
                sink.push(&slot.message);
            }
            match piles.slot_mut(last) {
                Some(before) => before.next = at,
                None => first = at,
            }
            last = at;
            given += 1;
        }
        while let Some(slot) = piles.slot(first) {
            let (at, sent) = (first, slot.tier + 1);
            first = slot.next;
            if sent >= transmits {
                piles.release(key, at);
            } else {
                piles.link(at, sent);
            }
        }
        self.shrink();
        given
    }

    /// Forgets messages until at most `depth` wait: those first that would be sent last. Returns how many.
    pub fn prune(&mut self, depth: usize) -> usize {
        let key = self.key;
        let Some(piles) = &mut self.piles else { return 0 };
        let mut dropped = 0;
        while piles.len > depth {
            let Some(at) = piles.last() else { break };
            piles.unlink(at);
            piles.release(key, at);
            dropped += 1;
        }
        self.shrink();
        dropped
    }

    fn shrink(&mut self) {
        if self.piles.as_ref().is_some_and(|piles| piles.len == 0) {
            self.piles = None;
        }
    }
}

/// No slot.
const NONE: u32 = u32::MAX;

/// Lengths in a block, one for each bit of its map.
const LENGTHS: usize = 64;

/// Lengths are told apart up to here.
const LONGEST: usize = 65_535;

#[derive(Debug)]
struct Slot {
    message: Bytes,
    name: Option<Name>,
    /// 0 for a free slot.
    serial: u64,
    /// Neighbours in the ring, or in the list of free slots.
    prev: u32,
    next: u32,
    /// Times sent.
    tier: u32,
}

impl Slot {
    fn class(&self) -> usize {
        self.message.len().min(LONGEST)
    }
}

/// Rings of 64 neighbouring lengths. The head is the next to be sent, its predecessor the last.
#[derive(Debug)]
struct Block {
    filled: u64,
    heads: [u32; LENGTHS],
}

/// All that were sent equally often: numbers (length / 64) of blocks that are not empty, rising, and
/// where they are.
#[derive(Debug, Default)]
struct Tier {
    blocks: Vec<(u16, u32)>,
}

#[derive(Debug)]
struct Piles {
    slots: Vec<Slot>,
    free_slot: u32,
    names: HashTable<u32>,
    tiers: Vec<Tier>,
    blocks: Vec<Block>,
    free_blocks: Vec<u32>,
    len: usize,
}

impl Default for Piles {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free_slot: NONE,
            names: HashTable::new(),
            tiers: Vec::new(),
            blocks: Vec::with_capacity(1),
            free_blocks: Vec::new(),
            len: 0,
        }
    }
}

impl Piles {
    fn slot(&self, at: u32) -> Option<&Slot> {
        self.slots.get(at as usize)
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot> {
        self.slots.get_mut(at as usize)
    }

    fn named(&self, key: u64, name: &[u8]) -> Option<u32> {
        self.names.find(hash(key, name), |at| self.is_named(*at, name)).copied()
    }

    fn is_named(&self, at: u32, name: &[u8]) -> bool {
        self.slot(at).and_then(|slot| slot.name.as_ref()).is_some_and(|own| own.as_bytes() == name)
    }

    /// A slot for a message, in no ring yet.
    fn acquire(&mut self, key: u64, name: Option<Name>, message: Bytes, serial: u64) -> u32 {
        let hashed = name.as_ref().map(|name| hash(key, name.as_bytes()));
        let slot = Slot { message, name, serial, prev: NONE, next: NONE, tier: 0 };
        let mut at = self.free_slot;
        if let Some(free) = self.slot_mut(at) {
            let next = free.next;
            *free = slot;
            self.free_slot = next;
        } else {
            at = u32::try_from(self.slots.len()).unwrap_or(NONE);
            self.slots.push(slot);
        }
        self.len += 1;
        if let Some(hashed) = hashed {
            let slots = &self.slots;
            self.names.insert_unique(hashed, at, |at| {
                let name = slots.get(*at as usize).and_then(|slot| slot.name.as_ref());
                name.map_or(0, |name| hash(key, name.as_bytes()))
            });
        }
        at
    }

    /// Frees a slot that is in no ring.
    fn release(&mut self, key: u64, at: u32) {
        let free_slot = self.free_slot;
        let Some(slot) = self.slot_mut(at) else { return };
        let name = slot.name.take();
        slot.message = Bytes::new();
        slot.serial = 0;
        slot.next = free_slot;
        self.free_slot = at;
        self.len -= 1;
        if let Some(name) = name
            && let Ok(entry) = self.names.find_entry(hash(key, name.as_bytes()), |own| *own == at)
        {
            entry.remove();
        }
    }

    /// Puts a slot into the ring of its length: first if it was never sent, else last.
    fn link(&mut self, at: u32, tier: u32) {
        let Some(slot) = self.slot_mut(at) else { return };
        slot.tier = tier;
        let class = slot.class();
        let Some(block) = self.block(tier as usize, class) else { return };
        let Some(block) = self.blocks.get_mut(block as usize) else { return };
        let Some(head) = block.heads.get_mut(class % LENGTHS) else { return };
        let first = *head;
        let empty = first == NONE;
        if empty || tier == 0 {
            *head = at;
        }
        block.filled |= 1 << (class % LENGTHS);
        let (next, prev) =
            if empty { (at, at) } else { (first, self.slot(first).map_or(first, |slot| slot.prev)) };
        if let Some(slot) = self.slot_mut(at) {
            (slot.prev, slot.next) = (prev, next);
        }
        if !empty {
            self.join(prev, at);
            self.join(at, next);
        }
    }

    /// Takes a slot out of its ring.
    fn unlink(&mut self, at: u32) {
        let Some(slot) = self.slot(at) else { return };
        let (prev, next, tier, class) = (slot.prev, slot.next, slot.tier as usize, slot.class());
        let alone = next == at;
        if !alone {
            self.join(prev, next);
        }
        let Some(row) = self.tiers.get_mut(tier) else { return };
        let Ok(index) =
            row.blocks.binary_search_by_key(&(class / LENGTHS), |(number, _)| usize::from(*number))
        else {
            return;
        };
        let Some((_, place)) = row.blocks.get(index).copied() else { return };
        let Some(block) = self.blocks.get_mut(place as usize) else { return };
        let Some(head) = block.heads.get_mut(class % LENGTHS) else { return };
        if alone {
            *head = NONE;
            block.filled &= !(1 << (class % LENGTHS));
            if block.filled == 0 {
                row.blocks.remove(index);
                self.free_blocks.push(place);
            }
        } else if *head == at {
            *head = next;
        }
    }

    /// Makes two slots neighbours.
    fn join(&mut self, before: u32, after: u32) {
        if let Some(slot) = self.slot_mut(before) {
            slot.next = after;
        }
        if let Some(slot) = self.slot_mut(after) {
            slot.prev = before;
        }
    }

    /// Where the block of this tier and length is; made if there is none.
    fn block(&mut self, tier: usize, class: usize) -> Option<u32> {
        while self.tiers.len() <= tier {
            self.tiers.push(Tier::default());
        }
        let row = self.tiers.get_mut(tier)?;
        let number = u16::try_from(class / LENGTHS).ok()?;
        match row.blocks.binary_search_by_key(&number, |(number, _)| *number) {
            Ok(index) => row.blocks.get(index).map(|(_, place)| *place),
            Err(index) => {
                let place = if let Some(place) = self.free_blocks.pop() {
                    place
                } else {
                    self.blocks.push(Block { filled: 0, heads: [NONE; LENGTHS] });
                    u32::try_from(self.blocks.len() - 1).ok()?
                };
                row.blocks.insert(index, (number, place));
                Some(place)
            }
        }
    }

    /// The next one of this tier to be sent of those no longer than `room`.
    fn longest(&self, tier: usize, room: usize) -> Option<u32> {
        // The last class also holds all that are longer than any packet.
        let room = room.min(LONGEST - 1);
        let row = self.tiers.get(tier)?;
        let fitting = row.blocks.partition_point(|(number, _)| usize::from(*number) <= room / LENGTHS);
        for (number, place) in row.blocks.get(..fitting)?.iter().rev() {
            let block = self.blocks.get(*place as usize)?;
            let mut filled = block.filled;
            if usize::from(*number) == room / LENGTHS {
                filled &= u64::MAX >> (LENGTHS - 1 - room % LENGTHS);
            }
            if filled != 0 {
                return block.heads.get(LENGTHS - 1 - filled.leading_zeros() as usize).copied();
            }
        }
        None
    }

    /// The one that would be sent last.
    fn last(&self) -> Option<u32> {
        let row = self.tiers.iter().rev().find(|row| !row.blocks.is_empty())?;
        let (_, place) = row.blocks.first()?;
        let block = self.blocks.get(*place as usize)?;
        let head = block.heads.get(block.filled.trailing_zeros() as usize)?;
        self.slot(*head).map(|slot| slot.prev)
    }
}

#[cfg(test)]
mod tests;
