//! Who waits for which log position.
//!
//! A waiter is registered at (index, term) of the entry it proposed. When an index is committed the
//! entry there either is its own, or it is another one, and then its own can never be committed.
//! Until then a lost leader says nothing about the outcome, so waiters stay until the index is
//! decided or their deadline passes.

use std::collections::{BTreeMap, VecDeque};

use super::effect::{ProposalId, ProposeError};

#[derive(Debug)]
struct Slot<W> {
    id: ProposalId,
    waiter: W,
}

/// Waiters by (index, term).
#[derive(Debug)]
pub(super) struct Pending<W> {
    slots: BTreeMap<(u64, u64), Slot<W>>,
    /// (deadline, position), in the order of registration, which is that of the deadlines.
    deadlines: VecDeque<(u64, (u64, u64))>,
}

impl<W> Pending<W> {
    pub(super) fn new() -> Self {
        Self { slots: BTreeMap::new(), deadlines: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn register(&mut self, index: u64, term: u64, id: ProposalId, deadline: u64, waiter: W) {
        self.slots.insert((index, term), Slot { id, waiter });
        self.deadlines.push_back((deadline, (index, term)));
        // Answered waiters leave their deadline behind; drop those in front.
        while let Some((_, key)) = self.deadlines.front()
            && !self.slots.contains_key(key)
        {
            self.deadlines.pop_front();
        }
    }

    /// The entry at `index` is committed: gives back its waiter, and rejects everybody who waited
    /// for another entry at this or an earlier index.
    pub(super) fn committed(
        &mut self,
        index: u64,
        term: u64,
        id: Option<ProposalId>,
        rejected: &mut Vec<(W, ProposeError)>,
    ) -> Option<W> {
        let mut found = None;
        while let Some(entry) = self.slots.first_entry() {
            if entry.key().0 > index {
                break;
            }
            let (key, slot) = entry.remove_entry();
            if key == (index, term) && Some(slot.id) == id {
                found = Some(slot.waiter);
            } else {
                rejected.push((slot.waiter, ProposeError::Superseded));
            }
        }
        found
    }

    /// A snapshot covers everything up to `index`: what became of those entries cannot be seen.
    pub(super) fn covered(&mut self, index: u64, rejected: &mut Vec<(W, ProposeError)>) {
        let later = self.slots.split_off(&(index.saturating_add(1), 0));
        for (_, slot) in std::mem::replace(&mut self.slots, later) {
            rejected.push((slot.waiter, ProposeError::OutcomeUnknown));
        }
    }

    pub(super) fn expire(&mut self, tick: u64, rejected: &mut Vec<(W, ProposeError)>) {
        while let Some((deadline, key)) = self.deadlines.front().copied() {
            if deadline > tick {
                break;
            }
            self.deadlines.pop_front();
            if let Some(slot) = self.slots.remove(&key) {
                rejected.push((slot.waiter, ProposeError::OutcomeUnknown));
            }
        }
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = W> + use<W> {
        self.deadlines.clear();
        std::mem::take(&mut self.slots).into_values().map(|slot| slot.waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sequence: u64) -> ProposalId {
        ProposalId { origin: 1, sequence }
    }

    #[test]
    fn answers_by_position_and_id() {
        let mut pending = Pending::new();
        let mut rejected = Vec::new();
        pending.register(5, 2, id(1), 10, 'a');
        pending.register(6, 2, id(2), 10, 'b');
        pending.register(7, 2, id(3), 10, 'c');
        assert_eq!(pending.committed(5, 2, Some(id(1)), &mut rejected), Some('a'), "own entry");
        assert_eq!(pending.committed(6, 3, Some(id(9)), &mut rejected), None, "another term's entry");
        assert_eq!(rejected, [('b', ProposeError::Superseded)]);
        rejected.clear();
        // The same index again in a later term: two may wait there, one of them is right.
        pending.register(7, 4, id(4), 12, 'd');
        assert_eq!(pending.committed(7, 4, Some(id(4)), &mut rejected), Some('d'));
        assert_eq!(rejected, [('c', ProposeError::Superseded)]);
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn expires_and_is_covered() {
        let mut pending = Pending::new();
        let mut rejected = Vec::new();
        for index in 1..=4 {
            pending.register(index, 1, id(index), index * 10, index);
        }
        pending.covered(1, &mut rejected);
        pending.expire(20, &mut rejected);
        assert_eq!(rejected, [(1, ProposeError::OutcomeUnknown), (2, ProposeError::OutcomeUnknown)]);
        assert_eq!(pending.drain().collect::<Vec<_>>(), [3, 4]);
    }
}
