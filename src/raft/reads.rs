//! Linearizable reads that wait for a read index.
//!
//! Raft drops such requests in silence: while there is no leader, while a new leader has committed
//! nothing in its term, and at every change of term. So the table is ours: it bundles what waits
//! into one request, asks again until a deadline, and holds a confirmed read until the state has
//! applied its index.

use std::collections::BTreeMap;

use super::effect::ReadError;

/// Reads that may wait at once.
const MAX_WAITING: usize = 4_096;

/// How sure the leader must be before it names a read index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadMode {
    /// It asks a quorum whether it still leads: linearizable (Raft thesis, 6.4).
    #[default]
    Safe,
    /// Its lease is enough: a quorum was heard within one election timeout. A leader without one asks.
    Lease,
}

/// Last byte of a request that a lease is enough for.
const LEASE: u8 = 1;

#[derive(Debug, Clone, Copy)]
struct Read {
    ctx: u64,
    deadline: u64,
}

#[derive(Debug)]
struct Batch {
    reads: Vec<Read>,
    mode: ReadMode,
    asked: u64,
}

/// The table.
#[derive(Debug)]
pub(super) struct Reads {
    /// Makes requests unique among servers and restarts: the leader files them by their bytes.
    prefix: [u8; 16],
    next_batch: u64,
    unasked: [Vec<Read>; 2],
    asked: BTreeMap<u64, Batch>,
    /// Read index -> reads that wait for it to be applied.
    confirmed: BTreeMap<u64, Vec<Read>>,
    waiting: usize,
}

impl Reads {
    pub(super) fn new(id: u64, nonce: u64) -> Self {
        let prefix = ((u128::from(id) << 64) | u128::from(nonce)).to_be_bytes();
        Self {
            prefix,
            next_batch: 0,
            unasked: [Vec::new(), Vec::new()],
            asked: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            waiting: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    pub(super) fn add(&mut self, ctx: u64, deadline: u64, mode: ReadMode) -> Result<(), ReadError> {
        if self.waiting >= MAX_WAITING {
            return Err(ReadError::Busy);
        }
        self.waiting += 1;
        let [safe, lease] = &mut self.unasked;
        let unasked = if mode == ReadMode::Safe { safe } else { lease };
        unasked.push(Read { ctx, deadline });
        Ok(())
    }

    /// The requests to give to raft now: one for everything that has not been asked yet, and again
    /// those without an answer for `patience` ticks.
    pub(super) fn requests(&mut self, tick: u64, patience: u64) -> Vec<Vec<u8>> {
        for (unasked, mode) in self.unasked.iter_mut().zip([ReadMode::Safe, ReadMode::Lease]) {
            if !unasked.is_empty() {
                let reads = std::mem::take(unasked);
                let asked = tick.wrapping_sub(patience);
                self.asked.insert(self.next_batch, Batch { reads, mode, asked });
                self.next_batch += 1;
            }
        }
        let prefix = self.prefix;
        self.asked
            .iter_mut()
            .filter(|(_, batch)| tick.wrapping_sub(batch.asked) >= patience)
            .map(|(number, batch)| {
                batch.asked = tick;
                [&prefix[..], &number.to_be_bytes(), &[u8::from(batch.mode == ReadMode::Lease)]].concat()
            })
            .collect()
    }

    /// Whether [`Reads::requests`] would give any.
    pub(super) fn wants_to_ask(&self, tick: u64, patience: u64) -> bool {
        self.unasked.iter().any(|unasked| !unasked.is_empty())
            || self.asked.values().any(|batch| tick.wrapping_sub(batch.asked) >= patience)
    }

    /// Whether the leader's lease is enough for a request.
    pub(super) fn lease_is_enough(request: &[u8]) -> bool {
        request.last() == Some(&LEASE)
    }

    /// Everything asked must be asked again: the leader or the term changed.
    pub(super) fn ask_again(&mut self, tick: u64, patience: u64) {
        for batch in self.asked.values_mut() {
            batch.asked = tick.wrapping_sub(patience);
        }
    }

    /// Raft confirmed a request at this index.
    pub(super) fn confirmed(&mut self, request: &[u8], index: u64) {
        let number = request.strip_prefix(&self.prefix[..]).and_then(|rest| rest.first_chunk::<8>());
        let Some(number) = number else {
            return;
        };
        if let Some(batch) = self.asked.remove(&u64::from_be_bytes(*number)) {
            self.confirmed.entry(index).or_default().extend(batch.reads);
        }
    }

    /// The state has applied `applied`: gives (read, applied) for all that may go on.
    pub(super) fn applied(&mut self, applied: u64, ready: &mut Vec<u64>) {
        while let Some(entry) = self.confirmed.first_entry() {
            if *entry.key() > applied {
                break;
            }
            let reads = entry.remove();
            self.waiting -= reads.len();
            ready.extend(reads.into_iter().map(|read| read.ctx));
        }
    }

    pub(super) fn expire(&mut self, tick: u64, failed: &mut Vec<u64>) {
        if self.waiting == 0 {
            return;
        }
        let before = failed.len();
        let mut sweep = |reads: &mut Vec<Read>| {
            reads.retain(|read| {
                let late = read.deadline <= tick;
                if late {
                    failed.push(read.ctx);
                }
                !late
            });
            !reads.is_empty()
        };
        for unasked in &mut self.unasked {
            sweep(unasked);
        }
        self.asked.retain(|_, batch| sweep(&mut batch.reads));
        self.confirmed.retain(|_, reads| sweep(reads));
        self.waiting -= failed.len() - before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_asks_again_and_waits_for_the_state() {
        let mut reads = Reads::new(1, 2);
        reads.add(10, 100, ReadMode::Safe).unwrap();
        reads.add(11, 5, ReadMode::Safe).unwrap();
        let first = reads.requests(0, 3);
        assert_eq!(first.len(), 1, "one request for both");
        assert!(reads.requests(2, 3).is_empty(), "patience");
        assert_eq!(reads.requests(3, 3), first, "asked again");
        reads.ask_again(4, 3);
        assert_eq!(reads.requests(4, 3), first, "asked again after a change of leader");
        let (mut failed, mut ready) = (Vec::new(), Vec::new());
        reads.expire(5, &mut failed);
        assert_eq!(failed, [11]);
        reads.confirmed(b"somebody else's", 3);
        reads.confirmed(&first[0], 7);
        reads.applied(6, &mut ready);
        assert!(ready.is_empty());
        reads.applied(7, &mut ready);
        assert_eq!(ready, [10]);
        assert_eq!(reads.len(), 0);
    }

    #[test]
    fn reads_of_two_modes_are_asked_apart() {
        let mut reads = Reads::new(1, 2);
        reads.add(10, 100, ReadMode::Lease).unwrap();
        reads.add(11, 100, ReadMode::Safe).unwrap();
        let requests = reads.requests(0, 3);
        let modes: Vec<_> = requests.iter().map(|request| Reads::lease_is_enough(request)).collect();
        assert_eq!(modes, [false, true]);
        let mut ready = Vec::new();
        reads.confirmed(&requests[1], 3);
        reads.applied(3, &mut ready);
        assert_eq!(ready, [10]);
    }

    #[test]
    fn is_bounded() {
        let mut reads = Reads::new(1, 2);
        for ctx in 0..MAX_WAITING as u64 {
            reads.add(ctx, 9, ReadMode::Safe).unwrap();
        }
        assert_eq!(reads.add(0, 9, ReadMode::Safe), Err(ReadError::Busy));
    }
}
