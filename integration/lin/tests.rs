//! The checker on histories that are known to be right or wrong, and on small ones against the plain
//! definition.

use super::excerpt::check_within;
use super::history::{Answer, Call, History, Operation, Row, SessionKind};
use super::model::Model;
use super::search::{Limits, Verdict, search};
use super::{Violation, check, check_locks};

/// A generator good enough for choosing what a test does.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % limit
    }
}

fn op(client: u32, times: (u64, u64), call: Call, answer: Answer) -> Operation {
    Operation { client, call, invoked: times.0, answered: Some((times.1, answer)) }
}

fn lost(client: u32, invoked: u64, call: Call) -> Operation {
    Operation { client, call, invoked, answered: None }
}

fn put(value: u64) -> Call {
    Call::Put { key: 1, value }
}

const GET: Call = Call::Get { key: 1 };
const YES: Answer = Answer::Bool(true, None);
const NO: Answer = Answer::Bool(false, None);
const NOTHING: Answer = Answer::Row(None);

fn row(value: u64, index: u64) -> Answer {
    Answer::Row(Some(Row { value: Some(value), session: None, lock_index: 0, index }))
}

fn held(value: u64, session: Option<u32>, lock_index: u64, index: u64) -> Answer {
    Answer::Row(Some(Row { value: Some(value), session, lock_index, index }))
}

fn cas(index: u64, value: u64) -> Call {
    Call::Cas { key: 1, index, value }
}

fn acquire(session: u32, value: u64) -> Call {
    Call::Acquire { key: 1, session, value }
}

fn release(session: u32, value: u64) -> Call {
    Call::Release { key: 1, session, value }
}

fn history(operations: Vec<Operation>) -> History {
    let slow = SessionKind { deletes: false, delay: 100 };
    let deletes = SessionKind { deletes: true, delay: 0 };
    History { operations, sessions: vec![SessionKind::default(), SessionKind::default(), slow, deletes] }
}

#[test]
fn right_and_wrong_histories_are_told_apart() {
    let end = |session| Call::End { session };
    let both = |a, b| Call::Txn(vec![Call::Put { key: 1, value: a }, Call::Put { key: 2, value: b }]);
    let reads = Call::Txn(vec![Call::Get { key: 1 }, Call::Get { key: 2 }]);
    let plain = |value, index| Row { value, session: None, lock_index: 0, index };
    let rows = |a, b, index| Answer::Txn(Some(vec![plain(Some(a), index), plain(Some(b), index)]));
    let written = |index| Answer::Txn(Some(vec![plain(None, index), plain(None, index)]));
    for (name, ok, operations) in [
        ("nothing", true, vec![]),
        ("read what was written", true, vec![op(1, (0, 1), put(7), YES), op(1, (2, 3), GET, row(7, 5))]),
        ("a lost write", false, vec![op(1, (0, 1), put(7), YES), op(1, (2, 3), GET, NOTHING)]),
        ("a value out of nowhere", false, vec![op(1, (0, 1), put(7), YES), op(1, (2, 3), GET, row(8, 5))]),
        (
            "a stale read",
            false,
            vec![op(1, (0, 1), put(7), YES), op(1, (2, 3), put(8), YES), op(2, (4, 5), GET, row(7, 5))],
        ),
        (
            "a read beside a write may see either",
            true,
            vec![
                op(1, (0, 1), put(7), YES),
                op(1, (2, 9), put(8), YES),
                op(2, (3, 4), GET, row(7, 5)),
                op(2, (5, 6), GET, row(8, 6)),
            ],
        ),
        (
            "but not the newer and then the older",
            false,
            vec![
                op(1, (0, 1), put(7), YES),
                op(1, (2, 9), put(8), YES),
                op(2, (3, 4), GET, row(8, 6)),
                op(2, (5, 6), GET, row(7, 5)),
            ],
        ),
        (
            "a write without an answer may happen late",
            true,
            vec![lost(1, 0, put(7)), op(2, (5, 6), GET, NOTHING), op(2, (7, 8), GET, row(7, 5))],
        ),
        (
            "or never",
            true,
            vec![lost(1, 0, put(7)), op(2, (5, 6), put(8), YES), op(2, (7, 8), GET, row(8, 5))],
        ),
        (
            "but only once",
            false,
            vec![
                lost(1, 0, put(7)),
                op(2, (1, 2), GET, row(7, 5)),
                op(2, (3, 4), put(8), YES),
                op(2, (5, 6), GET, row(7, 7)),
            ],
        ),
        ("not before it was asked for", false, vec![op(2, (1, 2), GET, row(7, 5)), lost(1, 3, put(7))]),
        (
            "indexes grow",
            false,
            vec![
                op(1, (0, 1), put(7), YES),
                op(1, (2, 3), GET, row(7, 9)),
                op(1, (4, 5), put(8), YES),
                op(1, (6, 7), GET, row(8, 9)),
            ],
        ),
        (
            "a version has one index",
            false,
            vec![op(1, (0, 1), put(7), YES), op(1, (2, 3), GET, row(7, 9)), op(1, (4, 5), GET, row(7, 10))],
        ),
        (
            "check and set",
            true,
            vec![
                op(1, (0, 1), cas(0, 7), YES),
                op(1, (2, 3), GET, row(7, 9)),
                op(1, (4, 5), cas(0, 8), NO),
                op(1, (6, 7), cas(9, 8), YES),
                op(1, (8, 9), GET, row(8, 10)),
            ],
        ),
        (
            "two that both won",
            false,
            vec![
                op(1, (0, 1), put(7), YES),
                op(1, (2, 3), GET, row(7, 9)),
                op(1, (4, 9), cas(9, 8), YES),
                op(2, (4, 9), cas(9, 10), YES),
            ],
        ),
        (
            "two that both lost, though nobody else wrote",
            false,
            vec![
                op(1, (0, 1), put(7), YES),
                op(1, (2, 3), GET, row(7, 9)),
                op(1, (4, 9), cas(9, 8), NO),
                op(2, (4, 9), cas(9, 10), NO),
            ],
        ),
        (
            "an index that a lost check and set ruled out",
            false,
            vec![op(1, (0, 1), put(7), YES), op(1, (2, 3), cas(9, 8), NO), op(1, (4, 5), GET, row(7, 9))],
        ),
        (
            "delete",
            true,
            vec![
                op(1, (0, 1), put(7), YES),
                op(1, (2, 3), Call::Delete { key: 1 }, YES),
                op(1, (4, 5), GET, NOTHING),
            ],
        ),
        (
            "a key that comes back from the dead",
            false,
            vec![
                op(1, (0, 1), put(7), YES),
                op(1, (2, 3), Call::Delete { key: 1 }, YES),
                op(1, (4, 5), GET, row(7, 9)),
            ],
        ),
        (
            "a lock",
            true,
            vec![
                op(1, (0, 1), acquire(0, 7), YES),
                op(2, (2, 3), acquire(1, 8), NO),
                op(1, (4, 5), put(9), YES),
                op(1, (6, 7), GET, held(9, Some(0), 0, 5)),
                op(2, (8, 9), release(1, 8), NO),
                op(1, (10, 11), release(0, 10), YES),
                op(2, (12, 13), acquire(1, 11), YES),
                op(1, (14, 15), GET, held(11, Some(1), 1, 8)),
            ],
        ),
        ("two holders", false, vec![op(1, (0, 1), acquire(0, 7), YES), op(2, (2, 3), acquire(1, 8), YES)]),
        (
            "two holders, one after the end of the other's session",
            true,
            vec![
                op(1, (0, 1), acquire(0, 7), YES),
                op(3, (2, 9), end(0), YES),
                op(2, (3, 4), acquire(1, 8), YES),
            ],
        ),
        (
            "a session that may have ended at any time",
            true,
            vec![lost(9, 0, end(0)), op(1, (1, 2), acquire(0, 7), YES), op(2, (3, 4), acquire(1, 8), YES)],
        ),
        (
            "but does not live again",
            false,
            vec![
                lost(9, 0, end(0)),
                op(1, (1, 2), acquire(0, 7), YES),
                op(2, (3, 4), acquire(1, 8), YES),
                op(2, (5, 6), release(1, 9), YES),
                op(1, (7, 8), acquire(0, 10), YES),
            ],
        ),
        (
            "no session",
            true,
            vec![op(1, (0, 1), end(0), YES), op(1, (2, 3), acquire(0, 7), Answer::NoSession)],
        ),
        ("a living session that is denied", false, vec![op(1, (2, 3), acquire(0, 7), Answer::NoSession)]),
        (
            "a lock-delay refuses until it is over",
            true,
            vec![
                op(1, (0, 1), acquire(2, 7), YES),
                op(1, (2, 3), end(2), YES),
                op(2, (4, 5), acquire(1, 8), NO),
                op(2, (200, 201), acquire(1, 9), YES),
            ],
        ),
        (
            "a free lock that is refused",
            false,
            vec![
                op(1, (0, 1), acquire(0, 7), YES),
                op(1, (2, 3), end(0), YES),
                op(2, (4, 5), acquire(1, 8), NO),
            ],
        ),
        (
            "a session that takes its keys along",
            true,
            vec![op(1, (0, 1), acquire(3, 7), YES), op(1, (2, 3), end(3), YES), op(2, (4, 5), GET, NOTHING)],
        ),
        (
            "a transaction is seen whole",
            true,
            vec![
                op(1, (0, 1), both(1, 2), written(5)),
                op(1, (2, 9), both(3, 4), written(6)),
                op(2, (3, 4), reads.clone(), rows(1, 2, 5)),
                op(2, (5, 6), reads.clone(), rows(3, 4, 6)),
            ],
        ),
        (
            "half a transaction",
            false,
            vec![
                op(1, (0, 1), both(1, 2), written(5)),
                op(1, (2, 9), both(3, 4), written(6)),
                op(2, (3, 4), reads.clone(), rows(1, 4, 5)),
            ],
        ),
        (
            "half a transaction, by two reads",
            false,
            vec![
                op(1, (0, 1), both(1, 2), written(5)),
                op(1, (2, 9), both(3, 4), written(6)),
                op(2, (3, 4), Call::Get { key: 2 }, row(4, 6)),
                op(2, (5, 6), Call::Get { key: 1 }, row(1, 5)),
            ],
        ),
        (
            "a transaction that fails for nothing",
            false,
            vec![op(1, (0, 1), both(1, 2), written(5)), op(2, (3, 4), reads, Answer::Txn(None))],
        ),
    ] {
        let verdict = check(&history(operations));
        assert_eq!(verdict.is_ok(), ok, "{name}: {verdict:?}");
    }
}

#[test]
fn locks_are_checked_without_the_model() {
    let end = |session| Call::End { session };
    for (name, ok, operations) in [
        (
            "one after the other",
            true,
            vec![
                op(1, (0, 1), acquire(0, 7), YES),
                op(1, (5, 6), release(0, 8), YES),
                op(2, (5, 7), acquire(1, 9), YES),
            ],
        ),
        (
            "two at once",
            false,
            vec![
                op(1, (0, 1), acquire(0, 7), YES),
                op(2, (5, 7), acquire(1, 9), YES),
                op(1, (8, 9), release(0, 8), YES),
            ],
        ),
        (
            "within the lock-delay",
            false,
            vec![
                op(1, (0, 1), acquire(2, 7), YES),
                op(1, (5, 6), end(2), YES),
                op(2, (50, 60), acquire(1, 9), YES),
            ],
        ),
        (
            "after the lock-delay",
            true,
            vec![
                op(1, (0, 1), acquire(2, 7), YES),
                op(1, (5, 6), end(2), YES),
                op(2, (100, 120), acquire(1, 9), YES),
            ],
        ),
        (
            "given back and then ended",
            true,
            vec![
                op(1, (0, 1), acquire(2, 7), YES),
                op(1, (5, 6), release(2, 8), YES),
                op(1, (7, 8), end(2), YES),
                op(2, (9, 10), acquire(1, 9), YES),
            ],
        ),
    ] {
        let verdict = check_locks(&history(operations), 5);
        assert_eq!(verdict.is_ok(), ok, "{name}: {verdict:?}");
    }
}

/// Clients that work on one store, one operation at a time, with answers that arrive later or never.
fn made_up(seed: u64, clients: u64, count: u64, keys: u64) -> History {
    let mut chance = Chance(seed);
    let mut free = vec![0; usize::try_from(clients).unwrap()];
    let mut store: std::collections::BTreeMap<u32, Row> = std::collections::BTreeMap::new();
    let mut old: std::collections::BTreeMap<u32, u64> = std::collections::BTreeMap::new();
    let mut operations = Vec::new();
    for index in 2..count + 2 {
        // Operations take effect in order of this loop, at time `index * 10`.
        let at = index * 10;
        let who = usize::try_from(chance.below(clients)).unwrap();
        if free[who] > at {
            continue;
        }
        let invoked = at - chance.below(at - free[who] + 1).min(60);
        let answered = at + chance.below(60);
        free[who] = answered + 1;
        let key = u32::try_from(chance.below(keys)).unwrap();
        let there = store.get(&key).copied();
        let fresh =
            Row { value: Some(index), session: there.and_then(|row| row.session), lock_index: 0, index };
        let (call, answer) = match chance.below(6) {
            0 | 1 => (Call::Get { key }, Answer::Row(there)),
            2 => {
                store.insert(key, fresh);
                (Call::Put { key, value: index }, YES)
            }
            3 => {
                // What it is, or was when somebody read it a while ago.
                let now = there.map_or(0, |row| row.index);
                let guess = if chance.below(2) == 0 { now } else { *old.get(&key).unwrap_or(&0) };
                old.insert(key, now);
                let hit = guess == there.map_or(0, |row| row.index);
                if hit {
                    store.insert(key, fresh);
                }
                (Call::Cas { key, index: guess, value: index }, Answer::Bool(hit, None))
            }
            4 => {
                let session = u32::try_from(chance.below(2)).unwrap();
                let can = there.is_none_or(|row| row.session.is_none_or(|holder| holder == session));
                if can {
                    let again = there.filter(|row| row.session.is_some()).map(|row| row.lock_index);
                    let lock_index = again.unwrap_or_else(|| there.map_or(0, |row| row.lock_index) + 1);
                    store.insert(key, Row { session: Some(session), lock_index, ..fresh });
                }
                (Call::Acquire { key, session, value: index }, Answer::Bool(can, None))
            }
            _ => {
                let session = u32::try_from(chance.below(2)).unwrap();
                let can = there.is_some_and(|row| row.session == Some(session));
                if can {
                    let lock_index = there.map_or(0, |row| row.lock_index);
                    store.insert(key, Row { session: None, lock_index, ..fresh });
                }
                (Call::Release { key, session, value: index }, Answer::Bool(can, None))
            }
        };
        let client = u32::try_from(who).unwrap();
        let lost = chance.below(12) == 0;
        operations.push(Operation { client, call, invoked, answered: (!lost).then_some((answered, answer)) });
    }
    history(operations)
}

#[test]
fn long_histories_are_checked_quickly() {
    for seed in 0..3 {
        let history = made_up(seed, 12, 5_000, 2);
        assert!(history.operations.len() > 2_000, "{}", history.operations.len());
        if let Err(violation) = check(&history) {
            panic!("seed {seed}: {violation}");
        }
    }
}

#[test]
fn one_wrong_answer_in_a_long_history_is_found_and_shown() {
    let (mut found, mut tried) = (0, 0);
    for seed in 0..8 {
        let mut history = made_up(seed, 6, 800, 2);
        // A read in the second half that sees a value from long before.
        let old = history.operations.iter().find_map(|operation| match &operation.answered {
            Some((_, Answer::Row(Some(row)))) => Some(*row),
            _ => None,
        });
        let half = history.operations.len() / 2;
        let later = history.operations[half..]
            .iter_mut()
            .find(|operation| matches!(operation.answered, Some((_, Answer::Row(_)))));
        let Some((_, answer)) = later.and_then(|operation| operation.answered.as_mut()) else { continue };
        *answer = Answer::Row(old);
        tried += 1;
        match check(&history) {
            Err(Violation::NotLinearizable { operations, excerpt, .. }) => {
                found += 1;
                assert!(operations.len() <= half * 2, "{}", operations.len());
                assert!(excerpt.contains("no place any more"), "{excerpt}");
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert_eq!(found, tried);
    assert!(tried > 4, "{tried}");
}

/// The definition, word by word: some order of the answered operations and some of the others.
fn by_definition(model: &Model<'_>, operations: &[Operation]) -> bool {
    fn go(model: &Model<'_>, operations: &[Operation], done: u32, state: &super::model::State) -> bool {
        let open = |at: usize| done & (1 << at) == 0;
        if (0..operations.len()).all(|at| !open(at) || operations[at].answered.is_none()) {
            return true;
        }
        (0..operations.len()).filter(|at| open(*at)).any(|at| {
            let first = (0..operations.len()).filter(|other| open(*other)).all(|other| {
                operations[other].answered.as_ref().is_none_or(|(end, _)| *end >= operations[at].invoked)
            });
            let answer = operations[at].answered.as_ref().map(|(_, answer)| answer);
            first
                && model
                    .step(state, &operations[at].call, answer)
                    .is_some_and(|next| go(model, operations, done | 1 << at, &next))
        })
    }
    go(model, operations, 0, &model.start())
}

#[test]
fn small_histories_agree_with_the_definition() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..600 {
        let mut history = made_up(seed, 3, 9, 1);
        // Swap two answers of the same kind, to get wrong ones too.
        let mut chance = Chance(seed);
        let count = history.operations.len();
        if count > 1 && seed % 2 == 0 {
            let (one, other) = (chance.below(count as u64), chance.below(count as u64));
            let (one, other) = (usize::try_from(one).unwrap(), usize::try_from(other).unwrap());
            let answer = |history: &History, at: usize| history.operations[at].answered.clone();
            if let (Some((at, first)), Some((then, second))) =
                (answer(&history, one), answer(&history, other))
                && std::mem::discriminant(&first) == std::mem::discriminant(&second)
            {
                history.operations[one].answered = Some((at, second));
                history.operations[other].answered = Some((then, first));
            }
        }
        history.operations.sort_by_key(|operation| operation.invoked);
        for operation in &mut history.operations {
            // One key: all of it is one group.
            operation.call = match operation.call.clone() {
                Call::Get { .. } => Call::Get { key: 0 },
                call => call,
            };
        }
        let model = Model { keys: vec![0], sessions: &history.sessions };
        let want = by_definition(&model, &history.operations);
        let found = search(&model, &history.operations, Limits::default());
        assert_eq!(found == Verdict::Linearizable, want, "seed {seed}: {found:?}");
        assert_ne!(found, Verdict::Undecided);
        if want { right += 1 } else { wrong += 1 }
    }
    assert!(right > 200 && wrong > 40, "{right} right, {wrong} wrong");
}

#[test]
fn it_gives_up_within_its_limits() {
    let history = made_up(1, 12, 3_000, 1);
    let limits = Limits { steps: 100, words: 1_000_000 };
    let verdict = check_within(&history, &[limits]);
    assert!(matches!(verdict, Err(Violation::Undecided { .. })), "{verdict:?}");
}

#[test]
fn many_writes_without_an_answer_are_bearable() {
    // Forty writes nobody heard of again, then a busy time in which half of them show.
    let mut operations: Vec<Operation> =
        (0..40).map(|n| lost(n, u64::from(n), put(1_000 + u64::from(n)))).collect();
    let mut at = 100;
    for round in 0..200 {
        operations.push(op(50, (at, at + 5), put(2_000 + round), YES));
        operations.push(op(51, (at + 1, at + 6), GET, row(2_000 + round, 100 + round * 2)));
        if round % 10 == 0 {
            let late = op(52, (at + 7, at + 8), GET, row(1_000 + 2 * (round / 10), 101 + round * 2));
            operations.push(late);
        }
        at += 10;
    }
    assert!(check(&history(operations.clone())).is_ok());
    operations.push(op(60, (at, at + 1), GET, row(1_000, 900)));
    let verdict = check(&history(operations));
    assert!(matches!(verdict, Err(Violation::NotLinearizable { .. })), "{verdict:?}");
}
