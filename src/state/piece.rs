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
        match self.view.nodes.get_mut(&name) {
            Some(entry) => Arc::make_mut(entry).node = node,
            None => {
                let entry = NodeEntry { node, services: OrdMap::new(), checks: OrdMap::new() };
                self.view.nodes.insert(name, Arc::new(entry));
            }
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
    /// answered has measured, and here stand but the places in that order, the origin before all others.
    /// Call it for every node, in order.
    pub fn in_order(&mut self, origin: &str, node: &str) {
        let next = self.places.len() + 1;
        if next == 1 {
            self.place(origin, 0);
            self.places.insert(fold(origin), 0);
        }
        let node = fold(node);
        if !self.places.contains_key(&node) {
            self.place(&node, next);
            self.places.insert(node, next);
        }
    }

    fn place(&mut self, node: &str, place: usize) {
        #[expect(clippy::cast_precision_loss, reason = "places are few")]
        let coord = Coordinate { vec: vec![place as f64], ..Coordinate::default() };
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
