//! The rules of sessions: what they hang on, and what their end sets off.
//!
//! A session ends when it is destroyed (its TTL running out is that too), its node or one of its
//! checks is removed, or one of its checks turns critical. At that same index every lock it held is
//! released, or the key deleted, and the key's lock-delay window opens.

use std::sync::Arc;

use bytes::Bytes;

use super::apply_kv;
use super::record::{Indexes, Session, SessionBehavior};
use super::rows::RowKey;
use super::view::{Folded, fold};
use super::watch::Topic;
use super::writer::{Abort, Event, Writer, refuse};

/// No lock-delay is longer than this, in milliseconds.
const MAX_LOCK_DELAY_MS: u64 = 60_000;

/// Creates a session; the id was chosen by the proposer.
///
/// # Errors
/// [`Abort::Refused`] if its node or a check is missing, or a check is critical.
/// [`Abort::Failed`] if the store fails.
pub fn create(writer: &mut Writer<'_>, session: &Session) -> Result<(), Abort> {
    if session.id.is_empty() {
        return refuse("Missing session ID");
    }
    let Some(entry) = writer.view.node(&session.node) else {
        return refuse("Missing node registration");
    };
    for id in session.check_ids() {
        match entry.checks.get(&*fold(id)) {
            None => return refuse(format!("Missing check '{id}' registration")),
            Some(check) if check.status == "critical" => {
                return refuse(format!("Check '{id}' is in critical state"));
            }
            Some(_) => {}
        }
    }
    // Ids are chosen at random; one that is taken all the same must not leave anything behind.
    end(writer, &session.id)?;
    let indexes = Indexes { create_index: writer.index, modify_index: writer.index };
    let session = Arc::new(Session { indexes, ..session.clone() });
    writer.view.index_session(&session);
    touch(writer, &session);
    writer.emit(Event::SessionCreated(session));
    Ok(())
}

fn touch(writer: &mut Writer<'_>, session: &Session) {
    writer.view.indexes.sessions = writer.index;
    writer.mark(RowKey::Session(session.id.clone()));
    writer.touch(Topic::Sessions);
    writer.touch(Topic::Session(session.id.clone()));
    writer.touch(Topic::NodeSessions(fold(&session.node)));
}

/// Ends a session and everything it held. An unknown one is passed over.
///
/// # Errors
/// [`Abort::Failed`] if the store fails.
pub fn end(writer: &mut Writer<'_>, id: &str) -> Result<(), Abort> {
    let known = writer.view.sessions.get(id).or_else(|| writer.view.sessions.get(&*id.to_lowercase()));
    let Some(session) = known.cloned() else { return Ok(()) };
    writer.view.unindex_session(&session);
    touch(writer, &session);

    let keys: Vec<Bytes> =
        writer.view.locks.get(&session.id).map(|keys| keys.iter().cloned().collect()).unwrap_or_default();
    let delay_ms = u64::try_from(session.lock_delay).unwrap_or(0).div_ceil(1_000_000);
    let delay_ms = delay_ms.min(MAX_LOCK_DELAY_MS);
    for key in keys {
        match session.behavior {
            SessionBehavior::Release => apply_kv::release(writer, &key)?,
            SessionBehavior::Delete => apply_kv::remove(writer, &key)?,
        }
        if delay_ms > 0 {
            writer.view.lock_delays.insert(key.clone(), writer.now_ms.saturating_add(delay_ms));
            writer.mark(RowKey::LockDelay(key));
        }
    }
    writer.emit(Event::SessionEnded(session.id.clone()));
    Ok(())
}

/// Ends every session that depends on a check.
///
/// # Errors
/// [`Abort::Failed`] if the store fails.
pub fn end_for_check(writer: &mut Writer<'_>, node: &Folded, check: &Folded) -> Result<(), Abort> {
    let ids = writer.view.check_sessions.get(&(node.clone(), check.clone())).cloned().unwrap_or_default();
    ids.iter().try_for_each(|id| end(writer, id))
}

/// Ends every session of a node.
///
/// # Errors
/// [`Abort::Failed`] if the store fails.
pub fn end_for_node(writer: &mut Writer<'_>, node: &Folded) -> Result<(), Abort> {
    let ids = writer.view.node_sessions.get(node).cloned().unwrap_or_default();
    ids.iter().try_for_each(|id| end(writer, id))
}

/// Forgets lock-delay windows that are over.
pub fn forget_lock_delays(writer: &mut Writer<'_>) {
    let over: Vec<Bytes> = writer
        .view
        .lock_delays
        .iter()
        .filter(|(_, until)| **until <= writer.now_ms)
        .map(|(key, _)| key.clone())
        .collect();
    for key in over {
        writer.view.lock_delays.remove(&key);
        writer.mark(RowKey::LockDelay(key));
    }
}
