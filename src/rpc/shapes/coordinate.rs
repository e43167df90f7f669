//! `Coordinate`.

use std::sync::Arc;

use crate::endpoints::coordinate as endpoint;
use crate::endpoints::decode::records;
use crate::rpc::codec::fields::shapes;
use crate::state::record::{Coordinate, NodeCoordinate};

shapes! {
    /// `Coordinate.Update`.
    CoordinateUpdate {
        /// The coordinate.
        coord: Coordinate = "Coord",
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// Node.
        node: Arc<str> = "Node",
        /// Enterprise segment.
        segment: String = "Segment",
        /// ACL token.
        token: String = "Token",
    }

    /// Reply of `Coordinate.ListNodes` and `Coordinate.Node`.
    Coordinates {
        /// The coordinates.
        coordinates: Vec<Arc<NodeCoordinate>> = "Coordinates",
    }

    /// One of the reply of `Coordinate.ListDatacenters`.
    DatacenterMap {
        /// Pool.
        area_id: String = "AreaID",
        /// Servers.
        coordinates: Vec<NodeCoordinate> = "Coordinates",
        /// Datacenter.
        datacenter: String = "Datacenter",
    }
}

impl From<CoordinateUpdate> for records::CoordinateUpdate {
    fn from(update: CoordinateUpdate) -> Self {
        let CoordinateUpdate { coord, datacenter, node, segment, .. } = update;
        Self { datacenter, update: NodeCoordinate { node, segment, coord } }
    }
}

impl CoordinateUpdate {
    /// The request to store a coordinate.
    pub fn new(datacenter: &str, update: NodeCoordinate) -> Self {
        let NodeCoordinate { node, segment, coord } = update;
        Self { coord, datacenter: datacenter.to_owned(), node, segment, token: String::new() }
    }
}

impl From<endpoint::DatacenterMap> for DatacenterMap {
    fn from(map: endpoint::DatacenterMap) -> Self {
        Self { area_id: map.area.into_owned(), coordinates: map.servers, datacenter: map.datacenter }
    }
}
