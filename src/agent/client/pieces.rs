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
            for check in checks {
                piece.check(own(check));
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::blocking::BlockingRead as _;
    use crate::endpoints::catalog::{self, ServiceNames};
    use crate::endpoints::health::{Checks, ChecksOf};
    use crate::endpoints::testing::endpoints;
    use crate::rpc::codec::{Pack, Unpack, from_bytes, to_bytes};
    use crate::rpc::shapes::{Key, Tags};
    use crate::state::record::Check;

    /// A reply as it comes over the wire, as the piece it becomes.
    fn piece<T: Pack + Unpack + IntoPiece>(reply: &T, near: &str, node_meta: &StringMap) -> Piece {
        from_bytes::<T>(&to_bytes(reply)).unwrap().into_piece(Asked { near, node_meta })
    }

    fn node(name: &str) -> Arc<Node> {
        Arc::new(Node { node: name.into(), meta: Some(StringMap::new()), ..Node::default() })
    }

    #[test]
    fn the_order_of_distances_stays() {
        for order in [["b", "me", "a"], ["me", "b", "a"], ["b", "a", "me"], ["a", "b", "c"]] {
            let nodes = order.map(node).to_vec();
            let piece = piece(&Nodes { nodes }, "ME", &StringMap::new());
            let sorted = catalog::Nodes::new(StringMap::new(), "me", "");
            let (_, found) = sorted.find(&endpoints(), piece.view()).unwrap();
            assert_eq!(found.iter().map(|node| &*node.node).collect::<Vec<_>>(), order);
        }
    }

    #[test]
    fn names_that_differ_in_case_are_two() {
        let tags = |tags: &[&str]| Tags(tags.iter().map(|tag| (*tag).to_owned()).collect());
        let services = [("Web", tags(&["x"])), ("web", tags(&["v2", "v1"])), ("db", tags(&[]))];
        let services = services.into_iter().map(|(name, tags)| (name.to_owned(), tags)).collect();
        let meta = StringMap::from([("rack".to_owned(), "1".to_owned())]);
        let piece = piece(&Services { services }, "", &meta);
        let names = ServiceNames::new(meta);
        assert_eq!(names.list(piece.view()), [("Web", vec!["x"]), ("db", vec![]), ("web", vec!["v2", "v1"])]);
    }

    #[test]
    fn checks_are_found_by_their_service_whatever_the_metadata() {
        let check = |node: &str, id: &str, service: &str| {
            let (service_id, service_name) = (service.to_owned(), service.to_owned());
            let (node, check_id) = (node.into(), id.into());
            Arc::new(Check { node, check_id, service_id, service_name, ..Check::default() })
        };
        let health_checks = vec![check("one", "a", "web"), check("two", "b", "Web"), check("two", "c", "db")];
        let meta = StringMap::from([("rack".to_owned(), "1".to_owned())]);
        let piece = piece(&HealthChecks { health_checks }, "", &meta);
        let found = |of| {
            let checks = Checks::new(of, meta.clone(), "", "");
            let (_, found) = checks.find(&endpoints(), piece.view()).unwrap();
            found.iter().map(|check| check.check_id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(found(ChecksOf::Service("web".into())), ["a", "b"]);
        assert_eq!(found(ChecksOf::Status("any".into())), ["a", "b", "c"]);
        assert_eq!(found(ChecksOf::Node("two".into())), ["b", "c"]);
    }

    #[test]
    fn names_of_keys_are_keys() {
        let keys = ["a/", "b"].map(|key| Key(key.into())).to_vec();
        let state = piece(&KeyList { keys }, "", &StringMap::new()).reader().unwrap();
        let mut found = Vec::new();
        state
            .kv_scan(b"", |key, _| {
                found.push(String::from_utf8_lossy(key).into_owned());
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(found, ["a/", "b"]);
    }
}
