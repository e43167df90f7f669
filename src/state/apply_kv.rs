//! The rules of keys: check-and-set, locks, deletes and their tombstones.
//!
//! A plain write keeps the holder of a lock and starts LockIndex anew, as Consul 1.8 does: locks
//! are advisory. Writing what is there already changes nothing, not even the index.

use std::sync::Arc;

use bytes::Bytes;

use super::command::{KvCommand, KvVerb};
use super::record::{Indexes, KvEntry};
use super::rows::RowKey;
use super::text;
use super::writer::{Abort, Writer, refuse};

/// Applies a write to a key or prefix; false where a check-and-set or lock was lost.
///
/// # Errors
/// [`Abort::Refused`] for a lock without a session or with an unknown one.
pub fn apply(writer: &mut Writer<'_>, command: &KvCommand) -> Result<bool, Abort> {
    let key = &command.key;
    match command.verb {
        KvVerb::Set => {
            let existing = writer.key(key)?;
            set(writer, existing, written(command), Holder::Keep);
            Ok(true)
        }
        KvVerb::Cas => {
            let existing = writer.key(key)?;
            if command.cas != existing.as_ref().map_or(0, |entry| entry.indexes.modify_index) {
                return Ok(false);
            }
            set(writer, existing, written(command), Holder::Keep);
            Ok(true)
        }
        KvVerb::Lock => lock(writer, command),
        KvVerb::Unlock => unlock(writer, command),
        KvVerb::Delete => {
            if let Some(existing) = writer.key(key)? {
                delete(writer, &existing);
            }
            Ok(true)
        }
        KvVerb::DeleteCas => match writer.key(key)? {
            None => Ok(true),
            Some(existing) if existing.indexes.modify_index == command.cas => {
                delete(writer, &existing);
                Ok(true)
            }
            Some(_) => Ok(false),
        },
        KvVerb::DeleteTree => {
            delete_tree(writer, key)?;
            Ok(true)
        }
    }
}

/// Whether a lock may not be taken yet because its last holder was invalidated a moment ago.
pub fn lock_delayed(writer: &Writer<'_>, key: &Bytes) -> bool {
    writer.view.lock_delays.get(key).is_some_and(|until| writer.now_ms < *until)
}

fn written(command: &KvCommand) -> KvEntry {
    KvEntry {
        key: command.key.clone(),
        value: command.value.clone(),
        flags: command.flags,
        lock_index: 0,
        session: None,
        indexes: Indexes::default(),
    }
}

/// What a write does to the holder of the lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Keep,
    Replace,
}

/// Stores an entry unless it says what is there already.
fn set(writer: &mut Writer<'_>, existing: Option<Arc<KvEntry>>, mut entry: KvEntry, holder: Holder) {
    if holder == Holder::Keep {
        entry.session = existing.as_ref().and_then(|existing| existing.session.clone());
    }
    if let Some(existing) = &existing {
        entry.indexes = existing.indexes;
        if **existing == entry {
            return;
        }
    }
    let before = existing.as_ref().and_then(|existing| existing.session.clone());
    if before != entry.session {
        hold(writer, before, entry.session.clone(), &entry.key);
    }
    entry.indexes = writer.indexes(existing.map(|existing| existing.indexes));
    writer.put_key(entry);
}

/// Moves a key from one holder's list of locks to another's.
fn hold(writer: &mut Writer<'_>, before: Option<Arc<str>>, after: Option<Arc<str>>, key: &Bytes) {
    if let Some(session) = before {
        if let Some(keys) = writer.view.locks.get_mut(&session) {
            keys.remove(key);
            if keys.is_empty() {
                writer.view.locks.remove(&session);
            }
        }
        writer.mark(RowKey::Lock(session, key.clone()));
    }
    if let Some(session) = after {
        writer.view.locks.entry(session.clone()).or_default().insert(key.clone());
        writer.mark(RowKey::Lock(session, key.clone()));
    }
}

fn lock(writer: &mut Writer<'_>, command: &KvCommand) -> Result<bool, Abort> {
    if lock_delayed(writer, &command.key) {
        return Ok(false);
    }
    let session = known_session(writer, command)?;
    let existing = writer.key(&command.key)?;
    let lock_index = match &existing {
        None => 1,
        Some(entry) => match &entry.session {
            None => entry.lock_index + 1,
            Some(holder) if *holder == session => entry.lock_index,
            Some(_) => return Ok(false),
        },
    };
    if writer.view.lock_delays.remove(&command.key).is_some() {
        writer.mark(RowKey::LockDelay(command.key.clone()));
    }
    let entry = KvEntry { lock_index, session: Some(session), ..written(command) };
    set(writer, existing, entry, Holder::Replace);
    Ok(true)
}

/// The session a lock is taken for, spelled as it was created.
fn known_session(writer: &Writer<'_>, command: &KvCommand) -> Result<Arc<str>, Abort> {
    let Some(given) = command.session.as_ref().filter(|session| !session.is_empty()) else {
        return refuse("missing session");
    };
    let known = writer.view.sessions.get(given).or_else(|| writer.view.sessions.get(&*given.to_lowercase()));
    match known {
        Some(session) => Ok(session.id.clone()),
        None => refuse(
            text::session_id_problem(given)
                .unwrap_or_else(|| format!("invalid session {}", text::quote(&**given))),
        ),
    }
}

fn unlock(writer: &mut Writer<'_>, command: &KvCommand) -> Result<bool, Abort> {
    let Some(session) = command.session.as_ref().filter(|session| !session.is_empty()) else {
        return refuse("missing session");
    };
    match writer.key(&command.key)? {
        Some(existing)
            if existing.session.as_ref().is_some_and(|held| held.eq_ignore_ascii_case(session)) =>
        {
            let entry = KvEntry { lock_index: existing.lock_index, ..written(command) };
            set(writer, Some(existing), entry, Holder::Replace);
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Removes a key and leaves a tombstone.
fn delete(writer: &mut Writer<'_>, existing: &KvEntry) {
    hold(writer, existing.session.clone(), None, &existing.key);
    writer.bury(&existing.key);
    writer.remove_key(&existing.key);
}

/// Removes a prefix and leaves a tombstone for every key and one for the prefix; none for the latter
/// when everything goes, since the table's own index then says enough. (Consul leaves only the one,
/// so there a query parked on a longer prefix than the deleted one sleeps through the delete.)
fn delete_tree(writer: &mut Writer<'_>, prefix: &Bytes) -> Result<(), Abort> {
    let below = writer.keys_below(prefix)?;
    if below.is_empty() {
        return Ok(());
    }
    for entry in &below {
        hold(writer, entry.session.clone(), None, &entry.key);
        writer.bury(&entry.key);
        writer.remove_key(&entry.key);
    }
    if !prefix.is_empty() {
        writer.bury(prefix);
    }
    Ok(())
}

/// Gives a lock back because its session ended: the value stays, the holder goes, LockIndex stays.
///
/// # Errors
/// [`Abort::Failed`] if the store fails.
pub fn release(writer: &mut Writer<'_>, key: &Bytes) -> Result<(), Abort> {
    if let Some(existing) = writer.key(key)? {
        let entry = KvEntry { session: None, ..(*existing).clone() };
        set(writer, Some(existing), entry, Holder::Replace);
    }
    Ok(())
}

/// Deletes a locked key because its session ended and wants it so.
///
/// # Errors
/// [`Abort::Failed`] if the store fails.
pub fn remove(writer: &mut Writer<'_>, key: &Bytes) -> Result<(), Abort> {
    if let Some(existing) = writer.key(key)? {
        delete(writer, &existing);
    }
    Ok(())
}
