//! Groups of keys that can be looked at separately: linearizability is local, so a history is
//! linearizable if that of every group is. Transactions tie their keys together.
//!
//! The end of a session is taken apart too: it happens in every group that knows the session, there
//! on its own. That accepts more than there is, never less.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{History, Key, Operation, Session};

/// A group, its keys in order.
#[derive(Debug, Clone)]
pub struct Group {
    pub keys: Vec<Key>,
    pub operations: Vec<Operation>,
}

/// Takes a history apart. Reads nobody got an answer to say nothing and are left out.
pub fn groups(history: &History) -> Vec<Group> {
    let mut parents: BTreeMap<Key, Key> = BTreeMap::new();
    for operation in &history.operations {
        let keys = operation.call.keys();
        for key in &keys {
            let (one, other) = (root(&mut parents, keys[0]), root(&mut parents, *key));
            parents.insert(one.max(other), one.min(other));
        }
    }
    let all: Vec<Key> = parents.keys().copied().collect();
    let mut found: BTreeMap<Key, Group> = BTreeMap::new();
    for key in all {
        let top = root(&mut parents, key);
        let group = found.entry(top).or_insert_with(|| Group { keys: Vec::new(), operations: Vec::new() });
        group.keys.push(key);
    }
    let mut sessions: BTreeMap<Key, BTreeSet<Session>> = BTreeMap::new();
    for operation in &history.operations {
        if let Some(key) = operation.call.keys().first() {
            let top = root(&mut parents, *key);
            sessions.entry(top).or_default().extend(operation.call.sessions());
            if (operation.answered.is_some() || !operation.call.only_reads())
                && let Some(group) = found.get_mut(&top)
            {
                group.operations.push(operation.clone());
            }
        }
    }
    for operation in history.operations.iter().filter(|operation| operation.call.keys().is_empty()) {
        for (top, group) in &mut found {
            let known = sessions.get(top);
            if operation.call.sessions().iter().any(|one| known.is_some_and(|known| known.contains(one))) {
                group.operations.push(operation.clone());
            }
        }
    }
    let mut found: Vec<Group> = found.into_values().collect();
    for group in &mut found {
        group.operations.sort_by_key(|operation| operation.invoked);
    }
    found
}

fn root(parents: &mut BTreeMap<Key, Key>, key: Key) -> Key {
    let mut top = key;
    while let Some(parent) = parents.get(&top).copied()
        && parent != top
    {
        top = parent;
    }
    parents.insert(key, top);
    top
}
