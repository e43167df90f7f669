//! Network coordinates: where the nodes are, and updates of it.

use std::sync::Arc;

use super::blocking::{BlockingRead, Topics};
use super::decode::records::CoordinateUpdate;
use super::near::DIMENSIONS;
use super::query::check_datacenter;
use super::{EndpointError, Endpoints};
use crate::state::record::{Coordinate, NodeCoordinate};
use crate::state::view::fold;
use crate::state::{Command, Topic, View};

/// Coordinates: of all nodes, or of one.
#[derive(Debug, Clone, Default)]
pub struct Coordinates {
    /// Only of this node.
    pub node: Option<String>,
    /// Only in this segment.
    pub segment: Option<String>,
}

impl BlockingRead for Coordinates {
    type Found = Vec<Arc<NodeCoordinate>>;

    fn topics(&self) -> Topics {
        Topics::from_iter([match &self.node {
            Some(node) => Topic::Coordinate(fold(node)),
            None => Topic::Coordinates,
        }])
    }

    fn index(&self, _: &Endpoints, view: &View) -> Result<u64, EndpointError> {
        Ok(view.indexes.coordinates)
    }

    fn find(&self, _: &Endpoints, view: &View) -> Result<(u64, Self::Found), EndpointError> {
        let segment =
            |found: &NodeCoordinate| self.segment.as_ref().is_none_or(|wanted| found.segment == *wanted);
        let found = match &self.node {
            None => view.coordinates.values().filter(|found| segment(found)).cloned().collect(),
            Some(node) => {
                let node = fold(node);
                let own = view.coordinates.range((Arc::clone(&node), Arc::from(""))..);
                let own = own.take_while(|((name, _), _)| *name == node).map(|(_, found)| found);
                own.filter(|found| segment(found)).cloned().collect()
            }
        };
        Ok((view.indexes.coordinates, found))
    }
}

/// The servers of a datacenter in the WAN pool, with their coordinates there.
#[derive(Debug, Clone, PartialEq)]
pub struct DatacenterMap<'a> {
    /// Datacenter.
    pub datacenter: &'a str,
    /// Pool the coordinates are from.
    pub area: &'static str,
    /// Its servers.
    pub servers: Vec<NodeCoordinate>,
}

/// `/v1/coordinate/datacenters`. Without a WAN pool a server knows itself only, at the origin, with
/// the uncertainty Serf gives to coordinates nothing was measured for.
pub fn datacenters(endpoints: &Endpoints) -> Vec<DatacenterMap<'_>> {
    let settings = &endpoints.settings;
    let unmeasured = Coordinate { vec: vec![0.0; DIMENSIONS], error: 1.5, adjustment: 0.0, height: 10.0e-6 };
    let own = NodeCoordinate {
        node: settings.node_name.as_str().into(),
        segment: String::new(),
        coord: unmeasured,
    };
    vec![DatacenterMap { datacenter: &settings.datacenter, area: "wan", servers: vec![own] }]
}

/// `/v1/coordinate/update`. The coordinate of a node nobody registered is passed over without a
/// word, when the command is applied.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`]; [`EndpointError::Refused`] for a coordinate of other
/// dimensions or with numbers that are none; what proposing says.
pub async fn update(endpoints: &Endpoints, request: CoordinateUpdate) -> Result<(), EndpointError> {
    check_datacenter(endpoints, Some(&request.datacenter))?;
    check(&request.update.coord)?;
    endpoints.proposer.propose(Command::UpdateCoordinates(vec![request.update])).await.map(|_| ())
}

fn check(coord: &Coordinate) -> Result<(), EndpointError> {
    if coord.vec.len() != DIMENSIONS {
        return Err(EndpointError::Refused("incompatible coordinate".into()));
    }
    let numbers = coord.vec.iter().chain([&coord.error, &coord.adjustment, &coord.height]);
    if numbers.copied().all(f64::is_finite) {
        Ok(())
    } else {
        Err(EndpointError::Refused("invalid coordinate".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{endpoints, endpoints_with};
    use super::*;

    #[test]
    fn reads() {
        let mut view = View::default();
        view.indexes.coordinates = 4;
        for (node, segment) in [("B", ""), ("a", ""), ("a", "alpha"), ("ab", "")] {
            let entry =
                NodeCoordinate { node: node.into(), segment: segment.into(), coord: Coordinate::default() };
            view.coordinates.insert((fold(node), segment.into()), Arc::new(entry));
        }
        let endpoints = endpoints_with(View::default());
        let table = [
            (None, None, "a/ a/alpha ab/ B/"),
            (None, Some(""), "a/ ab/ B/"),
            (Some("A"), None, "a/ a/alpha"),
            (Some("a"), Some("alpha"), "a/alpha"),
            (Some("b"), Some("alpha"), ""),
            (Some("c"), None, ""),
        ];
        for (node, segment, want) in table {
            let read = Coordinates { node: node.map(str::to_owned), segment: segment.map(str::to_owned) };
            let (index, found) = read.find(&endpoints, &view).unwrap();
            let names: Vec<_> =
                found.iter().map(|found| format!("{}/{}", found.node, found.segment)).collect();
            assert_eq!((index, names.join(" ")), (4, want.to_owned()), "{node:?} {segment:?}");
        }
    }

    #[test]
    fn waits_for_its_own_node_only() {
        let one = Coordinates { node: Some("A".into()), segment: None };
        assert_eq!(one.topics().to_vec(), [Topic::Coordinate("a".into())]);
        assert_eq!(Coordinates::default().topics().to_vec(), [Topic::Coordinates]);
    }

    #[test]
    fn refusals() {
        let good = Coordinate { vec: vec![0.0; 8], error: 1.0, adjustment: 0.0, height: 0.0 };
        let table = [
            ("good", good.clone(), Ok(())),
            ("short", Coordinate { vec: vec![1.0], ..good.clone() }, Err("incompatible coordinate")),
            ("none", Coordinate::default(), Err("incompatible coordinate")),
            ("not finite", Coordinate { height: f64::INFINITY, ..good }, Err("invalid coordinate")),
        ];
        for (name, coord, want) in table {
            assert_eq!(
                check(&coord).map_err(|error| error.to_string()),
                want.map_err(str::to_owned),
                "{name}"
            );
        }
    }

    #[test]
    fn a_lone_server_knows_itself() {
        let endpoints = endpoints();
        let maps = datacenters(&endpoints);
        assert_eq!((maps.len(), maps[0].datacenter, maps[0].area), (1, "dc1", "wan"));
        assert_eq!(&*maps[0].servers[0].node, "node1");
    }
}
