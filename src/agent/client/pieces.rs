//! The servers' replies as pieces of their state.

use std::sync::Arc;

use crate::rpc::shapes::{
    CheckServiceNode, CheckServiceNodes, Coordinates, DirEntries, HealthChecks, KeyList, NodeServiceList,
    NodeServices, Nodes, ServiceNode, ServiceNodes, Services, Sessions,
};
use crate::state::piece::Piece;
use crate::state::record::{Node, Service, StringMap};

/// A reply that can be read as a piece of a state.
pub trait IntoPiece {
    /// The piece, such that reading it by the same question gives what the servers picked.
    fn into_piece(self, asked: Asked<'_>) -> Piece;
}

/// What was asked for and the reply does not repeat.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The node whose distance the reply is sorted by; empty for none.
    pub near: &'a str,
    /// Metadata that all nodes of the reply have, though it may not show it.
    pub node_meta: &'a StringMap,
}

/// Takes a record out of its pointer; a reply's are nobody else's.
fn own<T: Clone>(record: Arc<T>) -> T {
    Arc::unwrap_or_clone(record)
}

fn in_order(piece: &mut Piece, near: &str, node: &str) {
    if !near.is_empty() {
        piece.in_order(near, node);
    }
}

impl IntoPiece for Nodes {
    fn into_piece(self, asked: Asked<'_>) -> Piece {
        let mut piece = Piece::default();
        for node in self.nodes {
            in_order(&mut piece, asked.near, &node.node);
            piece.node(own(node));
        }
        piece
    }
}

impl IntoPiece for NodeServiceList {
    fn into_piece(self, _: Asked<'_>) -> Piece {
        let mut piece = Piece::default();
        let Some(node) = self.node_services.node else { return piece };
        let name = Arc::clone(&node.node);
        piece.node(own(node));
        self.node_services.services.into_iter().for_each(|service| piece.service(&name, own(service)));
        piece
    }
}

impl IntoPiece for NodeServices {
    fn into_piece(self, _: Asked<'_>) -> Piece {
        let mut piece = Piece::default();
        let Some(found) = self.node_services else { return piece };
        let Some(node) = found.node else { return piece };
        let name = Arc::clone(&node.node);
        piece.node(own(node));
        found.services.into_values().for_each(|service| piece.service(&name, own(service)));
        piece
    }
}

impl IntoPiece for Services {
    /// Names and tags only: each name gets one instance that has all of them, on a node without a name.
    fn into_piece(self, asked: Asked<'_>) -> Piece {
        let mut piece = Piece::default();
        piece.node(Node { meta: Some(asked.node_meta.clone()), ..Node::default() });
        for (number, (name, tags)) in self.services.into_iter().enumerate() {
            // Names that differ in case only are two here, and ids must not be one.
            let id = number.to_string().into();
            piece.service("", Service { service: name.into(), id, tags: tags.0, ..Service::default() });
        }
        piece
    }
}

impl IntoPiece for ServiceNodes {
    fn into_piece(self, asked: Asked<'_>) -> Piece {
        let mut piece = Piece::default();
        for ServiceNode { node, service } in self.service_nodes {
            in_order(&mut piece, asked.near, &node.node);
            let name = Arc::clone(&node.node);
            piece.node(own(node));
            piece.service(&name, own(service));
        }
        piece
    }
}

impl IntoPiece for CheckServiceNodes {
    fn into_piece(self, asked: Asked<'_>) -> Piece {
        let mut piece = Piece::default();
        for CheckServiceNode { checks, node, service } in self.nodes {
            in_order(&mut piece, asked.near, &node.node);
            let name = Arc::clone(&node.node);
            piece.node(own(node));
            piece.service(&name, own(service));
            checks.into_iter().for_each(|check| piece.check(own(check)));
        }
        piece
    }
}

impl IntoPiece for HealthChecks {
    /// Checks name their service and their node, and that is all that is needed of those.
    fn into_piece(self, asked: Asked<'_>) -> Piece {
        let mut piece = Piece::default();
        for check in self.health_checks {
            in_order(&mut piece, asked.near, &check.node);
            let (node, meta) = (Arc::clone(&check.node), Some(asked.node_meta.clone()));
            if piece.view().node(&node).is_none() {
                piece.node(Node { node: Arc::clone(&node), meta, ..Node::default() });
            }
            if !check.service_id.is_empty() {
                let (id, service) = (check.service_id.as_str().into(), check.service_name.as_str().into());
                piece.service(&node, Service { id, service, ..Service::default() });
            }
            piece.check(own(check));
        }
        piece
    }
}

impl IntoPiece for DirEntries {
    fn into_piece(self, _: Asked<'_>) -> Piece {
        let mut piece = Piece::default();
        self.entries.iter().for_each(|entry| piece.key(entry));
        piece
    }
}

impl IntoPiece for KeyList {
    fn into_piece(self, _: Asked<'_>) -> Piece {
        let mut piece = Piece::default();
        self.keys.into_iter().for_each(|key| piece.key_name(key.0));
        piece
    }
}

impl IntoPiece for Sessions {
    fn into_piece(self, _: Asked<'_>) -> Piece {
        let mut piece = Piece::default();
        self.sessions.into_iter().for_each(|session| piece.session(own(session)));
        piece
    }
}

impl IntoPiece for Coordinates {
    fn into_piece(self, _: Asked<'_>) -> Piece {
        let mut piece = Piece::default();
        self.coordinates.into_iter().for_each(|coordinate| piece.coordinate(own(coordinate)));
        piece
    }
}
