//! The table of members: found by name in constant time, small per member, the same order in every run.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashTable;

use crate::gossip::time::Moment;
use crate::gossip::wire::{NodeState, Versions};

/// A member's name. Strangers choose names, so it is bytes; shown with replacement characters where it is
/// no UTF-8.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// What a member says of itself. Never changed in place: news makes a new one, so it can be shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: Name,
    /// Where it is reached.
    pub addr: SocketAddr,
    /// Tags as bytes, at most 512.
    pub meta: Bytes,
    /// Versions, if known.
    pub versions: Option<Versions>,
}

/// A member as this one sees it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it says of itself.
    pub node: Arc<Node>,
    /// Its incarnation.
    pub incarnation: u32,
    /// Its state.
    pub state: NodeState,
    /// Since when it is in that state.
    pub changed: Moment,
}

/// All members this one knows, itself included.
///
/// Entries lie in a row; removing one moves the last into its place.
#[derive(Debug, Default, Clone)]
pub struct Table {
    entries: Vec<Entry>,
    by_name: HashTable<u32>,
    /// Seeds the hash: names are chosen by strangers.
    key: u64,
}
