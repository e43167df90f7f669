//! Locks, looked at without the model: whoever surely holds one holds it alone, and a lock-delay is
//! kept.
//!
//! A session surely holds a key from the moment its acquire was answered `true` until anything that
//! could take it away was asked for. Two such times of one key must not overlap. After the end of a
//! session that surely held a key until then, no other session may be told `true` before the
//! lock-delay is over.

use std::collections::BTreeMap;

use super::history::{Answer, Call, History, Key, Operation, Session};

#[derive(Debug, Clone)]
struct Hold {
    session: Session,
    from: u64,
    until: u64,
    /// It is the end of the session that ended it, and nothing else could have.
    by_end: bool,
}

/// Checks all locks of a history. `slack` is how much earlier than the lock-delay a lock may be
/// taken again (clocks are not the same everywhere), in the unit of the history's times.
pub fn check_locks(history: &History, slack: u64) -> Result<(), String> {
    for (key, mut holds) in holds(history) {
        holds.sort_by_key(|hold| hold.from);
        for (at, hold) in holds.iter().enumerate() {
            let later = holds[at + 1..].iter().filter(|other| other.session != hold.session);
            for other in later {
                if other.from < hold.until {
                    return Err(format!("key {key} had two holders at once: {hold:?} and {other:?}"));
                }
                let delay = history.sessions[hold.session as usize].delay.saturating_sub(slack);
                if hold.by_end && other.from < hold.until.saturating_add(delay) {
                    return Err(format!(
                        "key {key}: {other:?} within the lock-delay of {delay} after {hold:?}"
                    ));
                }
            }
        }
    }
    Ok(())
}

fn holds(history: &History) -> BTreeMap<Key, Vec<Hold>> {
    let mut found: BTreeMap<Key, Vec<Hold>> = BTreeMap::new();
    for operation in &history.operations {
        if let Call::Acquire { key, session, .. } = &operation.call
            && let Some((from, Answer::Bool(true, _))) = &operation.answered
        {
            // Anything that may take effect after the acquire can take the lock away. What was
            // answered before the acquire was asked for cannot.
            let threats = || {
                history.operations.iter().filter(|other| {
                    takes(&other.call, *key, *session)
                        && other.answered.as_ref().is_none_or(|(at, _)| *at >= operation.invoked)
                })
            };
            let first: Option<&Operation> = threats().min_by_key(|threat| threat.invoked);
            let until = first.map_or(u64::MAX, |threat| threat.invoked);
            let ended = first.filter(|threat| matches!(threat.call, Call::End { .. }));
            let ended = ended.and_then(|threat| threat.answered.as_ref()).map(|(at, _)| *at);
            let by_end = ended.is_some_and(|ended| {
                !threats().any(|other| !matches!(other.call, Call::End { .. }) && other.invoked <= ended)
            });
            if *from <= until {
                found.entry(*key).or_default().push(Hold { session: *session, from: *from, until, by_end });
            }
        }
    }
    found
}

/// Whether a call could take the lock of `key` from `holder`.
fn takes(call: &Call, key: Key, holder: Session) -> bool {
    match call {
        Call::Release { key: other, session, .. } => *other == key && *session == holder,
        Call::Delete { key: other } | Call::DeleteCas { key: other, .. } => *other == key,
        Call::End { session } => *session == holder,
        Call::Txn(steps) => steps.iter().any(|step| takes(step, key, holder)),
        _ => false,
    }
}
