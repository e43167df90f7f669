//! Keys: reading one, listing a prefix, writing, and which index each read answers for.
//!
//! Rows are looked at where they lie: readers hand in what to do with them, so that an answer can be
//! written straight from the store's bytes.

use std::ops::ControlFlow;

use bytes::Bytes;
use smallvec::smallvec;

use super::blocking::{BlockingRead, Topics};
use super::far::{Question, refusal};
use super::{EndpointError, Endpoints};
use crate::state::command::{KvCommand, KvVerb};
use crate::state::kv::KvRow;
use crate::state::{Command, Outcome, Topic, View};

/// Reads one key. `look` turns its row into what is found; no row, nothing found.
///
/// The index is the key's ModifyIndex, or that of the whole key space while the key is absent.
pub struct Get<L> {
    /// The key.
    pub key: Bytes,
    /// What to make of its row.
    pub look: L,
}

impl<T, L: Fn(&[u8], KvRow<'_>) -> T> BlockingRead for Get<L> {
    type Found = Option<T>;

    fn topics(&self) -> Topics {
        smallvec![Topic::Key(self.key.clone())]
    }

    fn index(&self, endpoints: &Endpoints, view: &View) -> Result<u64, EndpointError> {
        let index = endpoints.state.kv_get(&self.key, |row| row.indexes.modify_index)?;
        Ok(index.unwrap_or_else(|| view.kv_index()))
    }

    fn find(&self, endpoints: &Endpoints, view: &View) -> Result<(u64, Option<T>), EndpointError> {
        let look = |row: KvRow<'_>| (row.indexes.modify_index, (self.look)(&self.key, row));
        Ok(match endpoints.state.kv_get(&self.key, look)? {
            Some((index, found)) => (index, Some(found)),
            None => (view.kv_index(), None),
        })
    }

    fn question(&self) -> Option<Question> {
        Some(Question::Key(self.key.clone()))
    }
}

/// Gathers the rows of a listing, in key order.
pub trait Gather {
    /// One more row.
    fn row(&mut self, key: &[u8], row: KvRow<'_>);

    /// Only names are gathered, cut after the first of these separators (empty: not cut). Asked of a gatherer
    /// that has gathered nothing yet; `None` if it wants the rows.
    fn only_names(&self) -> Option<&[u8]> {
        None
    }
}

/// Lists a prefix. `gather` makes a new gatherer; an empty listing finds nothing.
///
/// The index is the highest ModifyIndex among the entries or, if higher, that of the last delete
/// below the prefix; with nothing there or an empty prefix that of the whole key space.
pub struct List<G> {
    /// The prefix; empty for all keys.
    pub prefix: Bytes,
    /// Makes a gatherer.
    pub gather: G,
}

impl<G> List<G> {
    /// Visits the rows and tells the index and how many there were.
    ///
    /// The order matters: the view is older than the entries, and those are older than the tombstones.
    /// So the index is never that of a delete the entries may not show: it stops at the view's.
    fn scan(
        &self,
        endpoints: &Endpoints,
        view: &View,
        mut visit: impl FnMut(&[u8], KvRow<'_>),
    ) -> Result<(u64, usize), EndpointError> {
        let state = &endpoints.state;
        let mut highest = if self.prefix.is_empty() { view.kv_index() } else { 0 };
        let mut count = 0;
        state.kv_scan(&self.prefix, |key, row| {
            highest = highest.max(row.indexes.modify_index);
            count += 1;
            visit(key, row);
            ControlFlow::Continue(())
        })?;
        // Mostly nothing was deleted since, anywhere, and the tombstones need not be searched.
        if !self.prefix.is_empty() && state.view().indexes.tombstones > highest {
            highest = highest.max(state.tombstone_index(&self.prefix)?.min(view.index));
        }
        Ok((if highest == 0 { view.kv_index() } else { highest }, count))
    }
}

impl<T: Gather, G: Fn() -> T> BlockingRead for List<G> {
    type Found = Option<T>;

    fn topics(&self) -> Topics {
        smallvec![Topic::KeyPrefix(self.prefix.clone())]
    }

    fn index(&self, endpoints: &Endpoints, view: &View) -> Result<u64, EndpointError> {
        self.scan(endpoints, view, |_, _| {}).map(|(index, _)| index)
    }

    fn find(&self, endpoints: &Endpoints, view: &View) -> Result<(u64, Option<T>), EndpointError> {
        let mut gathered = (self.gather)();
        let (index, count) = self.scan(endpoints, view, |key, row| gathered.row(key, row))?;
        Ok((index, (count > 0).then_some(gathered)))
    }

    fn question(&self) -> Option<Question> {
        let prefix = self.prefix.clone();
        Some(match (self.gather)().only_names() {
            Some(separator) => Question::KeyNames { prefix, separator: Bytes::copy_from_slice(separator) },
            None => Question::KeysBelow(prefix),
        })
    }
}

/// Cuts keys after the first separator that follows the prefix, and tells each result once.
///
/// Keys must come in order; then equal results come together.
#[derive(Debug, Default)]
pub struct Fold {
    prefix_len: usize,
    separator: Vec<u8>,
    last: Vec<u8>,
}

impl Fold {
    /// For a prefix of this length; with an empty separator keys stay whole.
    pub fn new(prefix_len: usize, separator: &[u8]) -> Self {
        Self { prefix_len, separator: separator.to_vec(), last: Vec::new() }
    }

    /// The separator.
    pub fn separator(&self) -> &[u8] {
        &self.separator
    }

    /// The part of the key to list, or none if it was told before.
    pub fn fold<'k>(&mut self, key: &'k [u8]) -> Option<&'k [u8]> {
        if self.separator.is_empty() {
            return Some(key);
        }
        let after = key.get(self.prefix_len..)?;
        let Some(at) = memchr::memmem::find(after, &self.separator) else { return Some(key) };
        let folded = key.get(..self.prefix_len + at + self.separator.len())?;
        if self.last == folded {
            return None;
        }
        self.last.clear();
        self.last.extend_from_slice(folded);
        Some(folded)
    }
}

/// Writes to a key or prefix; false where a check-and-set or a lock was lost.
///
/// # Errors
/// [`EndpointError::Refused`] for a lock without a session or with an unknown one, and whatever
/// proposing gives.
pub async fn write(
    endpoints: &Endpoints,
    datacenter: Option<&str>,
    command: KvCommand,
) -> Result<bool, EndpointError> {
    super::query::check_datacenter(endpoints, datacenter)?;
    if command.key.is_empty() && command.verb != KvVerb::DeleteTree {
        return Err(refusal(endpoints, "Must provide key"));
    }
    if command.value.len() > endpoints.settings.kv_max_value_size {
        return Err(EndpointError::TooLarge(too_large(Some(command.value.len() as u64), endpoints)));
    }
    if command.verb == KvVerb::Lock {
        check_lock_session(command.session.as_deref()).map_err(|text| refusal(endpoints, text))?;
    }
    let applied = endpoints.proposer.propose(Command::Kv(command)).await?;
    Ok(applied.outcome != Outcome::Bool(false))
}

/// What is wrong with the session of a lock that can be told without looking it up.
///
/// # Errors
/// Consul's words.
pub fn check_lock_session(session: Option<&str>) -> Result<(), String> {
    match session {
        None | Some("") => Err("missing session".into()),
        Some(id) => super::session::check_id(id),
    }
}

/// Consul's words for a value that is too large; without its size when that is not known.
pub fn too_large(size: Option<u64>, endpoints: &Endpoints) -> String {
    let size = size.map(|size| format!("({size} bytes)")).unwrap_or_default();
    format!(
        "Request body{size} too large, max size: {} bytes. \
         See https://www.consul.io/docs/agent/options.html#kv_max_value_size.",
        endpoints.settings.kv_max_value_size
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_at_the_separator() {
        let keys = ["a/1", "a/2/deep", "a/2/deeper", "a/3", "b", "c/d/e"];
        let table: [(&str, &str, &[&str]); 6] = [
            ("", "", &["a/1", "a/2/deep", "a/2/deeper", "a/3", "b", "c/d/e"]),
            ("", "/", &["a/", "b", "c/"]),
            ("a/", "/", &["a/1", "a/2/", "a/3"]),
            ("a", "/", &["a/"]),
            ("c/d", "/", &["c/d/"]),
            ("", "2/", &["a/1", "a/2/", "a/3", "b", "c/d/e"]),
        ];
        for (prefix, separator, want) in table {
            let mut fold = Fold::new(prefix.len(), separator.as_bytes());
            let found: Vec<_> = keys
                .iter()
                .filter(|key| key.starts_with(prefix))
                .filter_map(|key| fold.fold(key.as_bytes()))
                .map(|key| std::str::from_utf8(key).unwrap())
                .collect();
            assert_eq!(found, want, "{prefix:?} {separator:?}");
        }
    }
}
