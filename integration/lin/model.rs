//! Consul's key store, as far as clients can see it: what an operation does to it, and which answers
//! it may give.
//!
//! One call gives at most one next state. Where the store's answer depends on what the history does
//! not show, the model takes the answer's word and remembers what follows from it: a version whose
//! ModifyIndex nobody has read is [`Index::Open`] until a read or a successful check binds it.

use super::history::{Answer, Call, Key, Row, Session, SessionKind, Value};

/// Stands for every value that no answer names: which of them it is makes no difference.
pub const UNSEEN: Value = 0;

/// ModifyIndex of a version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Index {
    Known(u64),
    /// Above this, and none of these.
    Open {
        above: u64,
        not: Vec<u64>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Entry {
    value: Value,
    session: Option<Session>,
    lock_index: u64,
    index: Index,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Slot {
    entry: Option<Entry>,
    /// Its last holder was invalidated; whether the lock-delay is over is not known.
    delayed: bool,
}

/// The keys of one group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    slots: Vec<Slot>,
    /// Sessions that have ended, in order of their numbers.
    ended: Vec<Session>,
    /// Highest index known: every later version has a higher one.
    floor: u64,
}

/// The rules, for one group of keys.
#[derive(Debug)]
pub struct Model<'a> {
    /// The keys, in order.
    pub keys: Vec<Key>,
    pub sessions: &'a [SessionKind],
}

/// How a step of a transaction went.
enum Step {
    /// Done, for certain or if the history says so.
    Done {
        certain: bool,
        row: Option<Row>,
    },
    Refused,
}

impl Model<'_> {
    /// Nothing is there yet.
    pub fn start(&self) -> State {
        State { slots: vec![Slot::default(); self.keys.len()], ended: Vec::new(), floor: 0 }
    }

    fn at(&self, key: Key) -> usize {
        self.keys.binary_search(&key).expect("a key of the group")
    }

    /// The state after `call`, if it can have got `answer` there. Without an answer: the state if it
    /// took effect; an operation that did not is left out altogether.
    pub fn step(&self, state: &State, call: &Call, answer: Option<&Answer>) -> Option<State> {
        let mut next = state.clone();
        match (call, answer) {
            (Call::Get { key }, Some(Answer::Row(row))) => {
                self.observe(&mut next, *key, row.as_ref()).then_some(next)
            }
            (Call::End { session }, Some(Answer::Bool(true, _)) | None) => {
                self.end(&mut next, *session);
                Some(next)
            }
            (Call::Txn(steps), Some(Answer::Txn(Some(rows)))) => {
                self.transaction(&mut next, steps, Some(rows)).then_some(next)
            }
            (Call::Txn(steps), Some(Answer::Txn(None))) => self.may_fail(state, steps).then_some(next),
            (Call::Txn(steps), None) => self.transaction(&mut next, steps, None).then_some(next),
            (Call::Acquire { session, .. }, Some(Answer::NoSession)) => {
                next.ended.contains(session).then_some(next)
            }
            (_, Some(Answer::Bool(true, index))) => {
                let done = matches!(self.write(&mut next, call), Step::Done { .. });
                (done && index.is_none_or(|index| self.bind_written(&mut next, call, index))).then_some(next)
            }
            (_, Some(Answer::Bool(false, _))) => self.refuse(&mut next, call).then_some(next),
            (_, None) => matches!(self.write(&mut next, call), Step::Done { .. }).then_some(next),
            _ => None,
        }
    }

    /// A read saw this row.
    fn observe(&self, state: &mut State, key: Key, row: Option<&Row>) -> bool {
        let at = self.at(key);
        match (&mut state.slots[at].entry, row) {
            (None, None) => true,
            (Some(entry), Some(row)) => {
                row.value.is_none_or(|value| value == entry.value)
                    && row.session == entry.session
                    && row.lock_index == entry.lock_index
                    && bind(&mut entry.index, row.index, &mut state.floor)
            }
            _ => false,
        }
    }

    /// The write was told its own index; one that changed nothing keeps the older one.
    fn bind_written(&self, state: &mut State, call: &Call, index: u64) -> bool {
        let Some(key) = call.keys().first().copied() else { return true };
        let fits = match &mut state.slots[self.at(key)].entry {
            Some(Entry { index: Index::Known(known), .. }) => *known <= index,
            Some(entry) => bind(&mut entry.index, index, &mut state.floor),
            None => true,
        };
        state.floor = state.floor.max(index);
        fits
    }

    /// Does a write that succeeds, if it can.
    fn write(&self, state: &mut State, call: &Call) -> Step {
        let done = |certain| Step::Done { certain, row: None };
        match call {
            Call::Put { key, value } => {
                self.set(state, *key, *value);
                done(true)
            }
            Call::Cas { key, index, value } => {
                let Some(certain) = self.claim(state, *key, *index) else { return Step::Refused };
                self.set(state, *key, *value);
                done(certain)
            }
            Call::Delete { key } => {
                state.slots[self.at(*key)].entry = None;
                done(true)
            }
            Call::DeleteCas { key, index } => {
                if state.slots[self.at(*key)].entry.is_none() {
                    return done(true);
                }
                let Some(certain) = self.claim(state, *key, *index) else { return Step::Refused };
                state.slots[self.at(*key)].entry = None;
                done(certain)
            }
            Call::Acquire { key, session, value } => self.acquire(state, *key, *session, *value),
            Call::Release { key, session, value } => {
                let at = self.at(*key);
                match &state.slots[at].entry {
                    Some(entry) if entry.session == Some(*session) => {
                        let lock_index = entry.lock_index;
                        self.store(state, at, *value, None, lock_index);
                        done(true)
                    }
                    _ => Step::Refused,
                }
            }
            _ => Step::Refused,
        }
    }

    fn acquire(&self, state: &mut State, key: Key, session: Session, value: Value) -> Step {
        let at = self.at(key);
        if state.ended.contains(&session) {
            return Step::Refused;
        }
        let lock_index = match &state.slots[at].entry {
            None => 1,
            Some(entry) => match entry.session {
                None => entry.lock_index + 1,
                Some(holder) if holder == session => entry.lock_index,
                Some(_) => return Step::Refused,
            },
        };
        let certain = !std::mem::take(&mut state.slots[at].delayed);
        self.store(state, at, value, Some(session), lock_index);
        Step::Done { certain, row: None }
    }

    /// A plain write: the holder stays, the LockIndex starts anew.
    fn set(&self, state: &mut State, key: Key, value: Value) {
        let at = self.at(key);
        let holder = state.slots[at].entry.as_ref().and_then(|entry| entry.session);
        self.store(state, at, value, holder, 0);
    }

    /// Stores a version, unless it says what is there already.
    #[expect(clippy::unused_self, reason = "reads as one of the rules")]
    fn store(&self, state: &mut State, at: usize, value: Value, session: Option<Session>, lock_index: u64) {
        let slot = &mut state.slots[at];
        let same = slot.entry.as_ref().is_some_and(|entry| {
            (entry.value, entry.session, entry.lock_index) == (value, session, lock_index) && value != UNSEEN
        });
        if !same {
            let index = Index::Open { above: state.floor, not: Vec::new() };
            slot.entry = Some(Entry { value, session, lock_index, index });
        }
    }

    /// Whether the ModifyIndex can be this one (0: nothing is there), and whether that was certain.
    fn claim(&self, state: &mut State, key: Key, index: u64) -> Option<bool> {
        match &mut state.slots[self.at(key)].entry {
            None => (index == 0).then_some(true),
            Some(entry) => {
                let certain = matches!(entry.index, Index::Known(_));
                bind(&mut entry.index, index, &mut state.floor).then_some(certain)
            }
        }
    }

    /// Whether a write may have been refused; notes what follows.
    fn refuse(&self, state: &mut State, call: &Call) -> bool {
        match call {
            Call::Cas { key, index, .. } => match &mut state.slots[self.at(*key)].entry {
                None => *index != 0,
                Some(entry) => exclude(&mut entry.index, *index),
            },
            Call::DeleteCas { key, index } => match &mut state.slots[self.at(*key)].entry {
                None => false,
                Some(entry) => exclude(&mut entry.index, *index),
            },
            Call::Acquire { key, session, .. } => {
                let slot = &state.slots[self.at(*key)];
                let holder = slot.entry.as_ref().and_then(|entry| entry.session);
                slot.delayed || holder.is_some_and(|holder| holder != *session)
            }
            Call::Release { key, session, .. } => {
                let entry = &state.slots[self.at(*key)].entry;
                entry.as_ref().and_then(|entry| entry.session) != Some(*session)
            }
            _ => false,
        }
    }

    fn end(&self, state: &mut State, session: Session) {
        let Err(place) = state.ended.binary_search(&session) else { return };
        state.ended.insert(place, session);
        let kind = self.sessions[session as usize];
        for at in 0..state.slots.len() {
            let held = state.slots[at].entry.as_ref().filter(|entry| entry.session == Some(session));
            let Some((value, lock_index)) = held.map(|entry| (entry.value, entry.lock_index)) else {
                continue;
            };
            if kind.deletes {
                state.slots[at].entry = None;
            } else {
                self.store(state, at, value, None, lock_index);
            }
            state.slots[at].delayed |= kind.delay > 0;
        }
    }

    /// One step of a transaction that succeeds, if it can.
    fn txn_step(&self, state: &mut State, call: &Call) -> Step {
        match call {
            Call::Get { key } | Call::CheckIndex { key, .. } | Call::CheckSession { key, .. } => {
                let Some(entry) = &state.slots[self.at(*key)].entry else { return Step::Refused };
                match call {
                    Call::CheckSession { session, .. } if entry.session != *session => Step::Refused,
                    Call::CheckIndex { index, .. } => match self.claim(state, *key, *index) {
                        Some(certain) => Step::Done { certain, row: None },
                        None => Step::Refused,
                    },
                    _ => Step::Done { certain: true, row: None },
                }
            }
            Call::CheckAbsent { key } => {
                if state.slots[self.at(*key)].entry.is_some() {
                    return Step::Refused;
                }
                Step::Done { certain: true, row: None }
            }
            _ => self.write(state, call),
        }
    }

    /// Does a whole transaction; with `rows`, what it answered must fit.
    fn transaction(&self, state: &mut State, steps: &[Call], rows: Option<&Vec<Row>>) -> bool {
        let mut rows = rows.map(|rows| rows.iter());
        // All its writes have one index: what one of them is told is no floor for the next.
        let (before, mut highest) = (state.floor, state.floor);
        for call in steps {
            highest = highest.max(std::mem::replace(&mut state.floor, before));
            if matches!(self.txn_step(state, call), Step::Refused) {
                return false;
            }
            let silent =
                matches!(call, Call::Delete { .. } | Call::DeleteCas { .. } | Call::CheckAbsent { .. });
            if let (Some(rows), false) = (&mut rows, silent) {
                let Some(row) = rows.next() else { return false };
                if !call.keys().iter().all(|key| self.observe(state, *key, Some(row))) {
                    return false;
                }
            }
        }
        state.floor = highest.max(state.floor);
        rows.is_none_or(|mut rows| rows.next().is_none())
    }

    /// Whether a transaction may fail here.
    fn may_fail(&self, state: &State, steps: &[Call]) -> bool {
        let mut after = state.clone();
        steps.iter().any(|call| !matches!(self.txn_step(&mut after, call), Step::Done { certain: true, .. }))
    }
}

/// Whether an index can be this one; from then on it is.
fn bind(index: &mut Index, wanted: u64, floor: &mut u64) -> bool {
    match index {
        Index::Known(known) => *known == wanted,
        Index::Open { above, not } => {
            let possible = wanted > *above && !not.contains(&wanted);
            if possible {
                *index = Index::Known(wanted);
                *floor = (*floor).max(wanted);
            }
            possible
        }
    }
}

/// Whether an index can be another one than this; from then on it is.
fn exclude(index: &mut Index, wanted: u64) -> bool {
    match index {
        Index::Known(known) => *known != wanted,
        Index::Open { above, not } => {
            if wanted > *above
                && let Err(place) = not.binary_search(&wanted)
            {
                not.insert(place, wanted);
            }
            true
        }
    }
}
