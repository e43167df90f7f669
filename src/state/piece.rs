//! A piece of a state: a few records that came from somewhere else, readable like a whole state.
//!
//! A client agent keeps nothing. What the servers answer is put together here, so that the same code
//! that reads a server's state finds, filters and renders it. A piece is as old as the answer it came
//! from, holds nothing else, and nobody writes to it; its own indexes are meaningless, that of the
//! answer counts.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use imbl::OrdMap;

use super::kv::KvRow;
use super::record::{Check, Coordinate, KvEntry, Node, NodeCoordinate, Service, Session};
use super::store::{Change, MemoryStore, SharedStore, Table, WriteStore};
use super::view::{Folded, NodeEntry, View, fold};
use super::{StateError, StateReader};

/// Records that were told, on their way to being a readable state.
#[derive(Debug, Default)]
#[must_use]
pub struct Piece {
    view: View,
    keys: Vec<Change>,
    places: HashMap<Folded, usize>,
}

impl Piece {
    /// Adds a node; one that was only known by name gets its details.
    pub fn node(&mut self, node: Node) {
        let name = fold(&node.node);
        self.view.index_node(&name, &node);
        let node = Arc::new(node);
        if let Some(entry) = self.view.nodes.get_mut(&name) {
            Arc::make_mut(entry).node = node;
        } else {
            let entry = NodeEntry { node, services: OrdMap::new(), checks: OrdMap::new() };
            self.view.nodes.insert(name, Arc::new(entry));
        }
    }

    /// Makes sure that there is a node of this name.
    fn named(&mut self, name: &str) -> Folded {
        let folded = fold(name);
        if !self.view.nodes.contains_key(&folded) {
            self.node(Node { node: name.into(), ..Node::default() });
        }
        folded
    }

    /// Adds a service to a node.
    pub fn service(&mut self, node: &str, service: Service) {
        let name = self.named(node);
        self.view.attach_service(&name, Arc::new(service));
    }

    /// Adds a check to its node.
    pub fn check(&mut self, check: Check) {
        let name = self.named(&check.node);
        if let Some(entry) = self.view.nodes.get_mut(&name) {
            Arc::make_mut(entry).checks.insert(fold(&check.check_id), Arc::new(check));
        }
    }

    /// Adds a session.
    pub fn session(&mut self, session: Session) {
        self.view.index_session(&Arc::new(session));
    }

    /// Adds the coordinate of a node.
    pub fn coordinate(&mut self, coordinate: NodeCoordinate) {
        let key = (fold(&coordinate.node), Arc::from(coordinate.segment.as_str()));
        self.view.coordinates.insert(key, Arc::new(coordinate));
    }

    /// Adds a key.
    pub fn key(&mut self, entry: &KvEntry) {
        self.keys.push(Change::Put(Table::Kvs, entry.key.to_vec(), KvRow::from(entry).encode()));
    }

    /// Adds a key of which nothing but its name is known.
    pub fn key_name(&mut self, key: Bytes) {
        self.key(&KvEntry { key, ..KvEntry::default() });
    }

    /// Keeps the order in which nodes were told, for readers who sort by distance from `origin`: whoever
    /// answered has measured, and here stand but the places in that order. Call it for every node, in order.
    pub fn in_order(&mut self, origin: &str, node: &str) {
        let (origin, node) = (fold(origin), fold(node));
        if self.places.is_empty() {
            self.place(&origin, 0, 0);
        }
        let next = self.places.len() + 1;
        if self.places.contains_key(&node) {
            return;
        }
        if node == origin {
            // Heights count on both ends: from the origin to itself it is twice its own, to others once, and so its
            // place among those is its height.
            self.place(&node, 0, next);
        } else {
            self.place(&node, next, 0);
        }
        self.places.insert(node, next);
    }

    #[expect(clippy::cast_precision_loss, reason = "places are few")]
    fn place(&mut self, node: &str, far: usize, height: usize) {
        let coord = Coordinate { vec: vec![far as f64], height: height as f64, ..Coordinate::default() };
        self.coordinate(NodeCoordinate { node: node.into(), segment: String::new(), coord });
    }

    /// Adds what another one holds; what both have is taken from the other.
    pub fn absorb(&mut self, other: Self) {
        for (name, entry) in &other.view.nodes {
            let told = !entry.node.address.is_empty() || !entry.node.id.is_empty();
            if told || !self.view.nodes.contains_key(name) {
                self.node(Node::clone(&entry.node));
            }
            for service in entry.services.values() {
                self.view.attach_service(name, Arc::clone(service));
            }
            if let Some(own) = self.view.nodes.get_mut(name) {
                let checks = entry.checks.clone();
                let own = Arc::make_mut(own);
                own.checks = checks.union(std::mem::take(&mut own.checks));
            }
        }
        for session in other.view.sessions.values() {
            self.view.index_session(session);
        }
        let places = other.view.coordinates;
        self.view.coordinates = places.union(std::mem::take(&mut self.view.coordinates));
        self.keys.extend(other.keys);
    }

    /// The view of what was told.
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// Makes it readable.
    ///
    /// # Errors
    /// [`StateError::Store`], which memory has no reason for.
    pub fn reader(self) -> Result<StateReader, StateError> {
        let store = MemoryStore::default();
        store.write(&self.keys)?;
        Ok(read_only(self.view, store.reader()))
    }
}

/// A state that holds nothing and stays so: what a client agent has of its own.
pub fn nothing() -> StateReader {
    read_only(View::default(), MemoryStore::default().reader())
}

fn read_only(view: View, store: Arc<dyn SharedStore>) -> StateReader {
    StateReader::new(Arc::new(ArcSwap::from_pointee(view)), store, Arc::default(), Arc::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::record::Indexes;

    fn node(name: &str, address: &str) -> Node {
        Node { node: name.into(), address: address.into(), ..Node::default() }
    }

    fn service(id: &str, name: &str) -> Service {
        Service { id: id.into(), service: name.into(), ..Service::default() }
    }

    #[test]
    fn can_be_read_like_a_state() {
        let mut piece = Piece::default();
        piece.service("One", service("a", "Web"));
        piece.node(node("one", "10.0.0.1"));
        piece.check(Check {
            node: "one".into(),
            check_id: "c".into(),
            service_id: "a".into(),
            ..Check::default()
        });
        piece.session(Session { id: "s".into(), node: "ONE".into(), ..Session::default() });
        let indexes = Indexes { create_index: 1, modify_index: 2 };
        piece.key(&KvEntry { key: "k".into(), value: "v".into(), indexes, ..KvEntry::default() });
        piece.key_name("j".into());
        let state = piece.reader().unwrap();
        let view = state.view();
        let found = view.instances("WEB");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].entry.node.address, "10.0.0.1");
        assert_eq!(found[0].checks().count(), 1);
        assert_eq!(view.node_sessions.get("one").map(imbl::OrdSet::len), Some(1));
        assert_eq!(state.kv_get(b"k", |row| row.indexes.modify_index).unwrap(), Some(2));
        assert_eq!(state.kv_get(b"j", |row| row.value.len()).unwrap(), Some(0));
        assert!(nothing().view().nodes.is_empty());
    }

    #[test]
    fn absorbs_another_without_forgetting() {
        let mut piece = Piece::default();
        piece.node(node("one", "10.0.0.1"));
        piece.service("one", service("a", "web"));
        let mut other = Piece::default();
        // Known by its name only: no reason to forget its address.
        other.service("one", service("b", "db"));
        other.service("two", service("c", "web"));
        piece.absorb(other);
        let view = piece.view();
        assert_eq!(view.node("one").map(|entry| entry.node.address.as_str()), Some("10.0.0.1"));
        assert_eq!(view.node("one").map(|entry| entry.services.len()), Some(2));
        assert_eq!(view.instances("web").len(), 2);
    }
}
