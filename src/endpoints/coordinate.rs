//! Network coordinates: where the nodes are, and updates of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::agent::{MemberStatus, Members};
use super::blocking::{BlockingRead, Topics};
use super::decode::records::CoordinateUpdate;
use super::far::{Question, refusal};
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

    fn question(&self) -> Option<Question> {
        Some(match &self.node {
            None => Question::Coordinates,
            Some(node) => Question::NodeCoordinates(node.clone()),
        })
    }
}

/// The servers of a datacenter in the WAN pool, with their coordinates there.
#[derive(Debug, Clone, PartialEq)]
pub struct DatacenterMap {
    /// Datacenter.
    pub datacenter: String,
    /// Pool the coordinates are from.
    pub area: std::borrow::Cow<'static, str>,
    /// Its servers.
    pub servers: Vec<NodeCoordinate>,
}

/// [`datacenters`], as any agent knows them: a client asks the servers, which are in the WAN pool.
///
/// # Errors
/// The servers'.
pub async fn known_datacenters(
    endpoints: &Endpoints,
    members: &dyn Members,
) -> Result<Vec<DatacenterMap>, EndpointError> {
    match &endpoints.far {
        Some(servers) => servers.datacenter_maps().await,
        None => Ok(datacenters(endpoints, members).await),
    }
}

/// `/v1/coordinate/datacenters`. Own datacenter first, then by name. A server nothing was measured for
/// is at the origin, as uncertain as can be. Without a WAN pool a server knows itself only.
pub async fn datacenters(endpoints: &Endpoints, members: &dyn Members) -> Vec<DatacenterMap> {
    let settings = &endpoints.settings;
    let places = members.wan_coordinates().await;
    let mut by_datacenter: BTreeMap<(bool, String), Vec<NodeCoordinate>> = BTreeMap::new();
    let key = |datacenter: &str| (datacenter != settings.datacenter, datacenter.to_owned());
    let server = |node: &str, coord| NodeCoordinate { node: node.into(), segment: String::new(), coord };
    for member in members.wan().iter().filter(|member| member.status == MemberStatus::Alive) {
        let Some(datacenter) = member.tags.get("dc") else { continue };
        let node = member.name.strip_suffix(datacenter.as_str()).and_then(|name| name.strip_suffix('.'));
        let place = places.get(&member.name).cloned().unwrap_or_else(unmeasured);
        let servers = by_datacenter.entry(key(datacenter)).or_default();
        servers.push(server(node.unwrap_or(&member.name), place));
    }
    if by_datacenter.is_empty() {
        by_datacenter.insert(key(&settings.datacenter), vec![server(&settings.node_name, unmeasured())]);
    }
    by_datacenter
        .into_iter()
        .map(|((_, datacenter), mut servers)| {
            servers.sort_by(|one, other| one.node.cmp(&other.node));
            DatacenterMap { datacenter, area: "wan".into(), servers }
        })
        .collect()
}

/// Where Serf puts a member nothing was measured for.
fn unmeasured() -> Coordinate {
    Coordinate { vec: vec![0.0; DIMENSIONS], error: 1.5, adjustment: 0.0, height: 10.0e-6 }
}

/// Coordinates on their way into the catalog. Agents send theirs all the time, so servers collect them, the latest
/// of each node, and propose them together at an interval.
#[derive(Debug, Default)]
pub struct CoordinateBatch {
    latest: Mutex<BTreeMap<(Arc<str>, String), NodeCoordinate>>,
}

impl CoordinateBatch {
    /// Takes one in; an earlier one of the same node is forgotten.
    pub fn add(&self, update: NodeCoordinate) {
        let key = (fold(&update.node), update.segment.clone());
        self.latest.lock().insert(key, update);
    }

    /// Takes all out, in commands of at most `size` updates, at most `most` commands; and how many updates are
    /// discarded because that is not enough.
    pub fn take(&self, size: usize, most: usize) -> (Vec<Command>, usize) {
        let all: Vec<NodeCoordinate> = std::mem::take(&mut *self.latest.lock()).into_values().collect();
        let (size, kept) = (size.max(1), size.max(1).saturating_mul(most).min(all.len()));
        let discarded = all.len() - kept;
        let kept = all.get(..kept).unwrap_or_default();
        (kept.chunks(size).map(|batch| Command::UpdateCoordinates(batch.to_vec())).collect(), discarded)
    }
}

/// `/v1/coordinate/update`. The coordinate of a node nobody registered is passed over without a
/// word, when the command is applied; that is up to `consul.coordinate.update_period` later.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`]; [`EndpointError::Refused`] for a coordinate of other
/// dimensions or with numbers that are none; [`EndpointError::NoLeader`].
pub fn update(endpoints: &Endpoints, request: CoordinateUpdate) -> Result<(), EndpointError> {
    check_datacenter(endpoints, Some(&request.datacenter))?;
    check(&request.update.coord)?;
    // What is collected on a server that does not lead goes to the one that does.
    if endpoints.leader.check_lease().is_err() && endpoints.leader.leadership().leader_address.is_none() {
        return Err(EndpointError::NoLeader);
    }
    endpoints.coordinates.add(request.update);
    Ok(())
}

/// [`update`], on any agent: a client hands it to a server at once.
///
/// # Errors
/// As for [`update`], and the servers'.
pub async fn submit(endpoints: &Endpoints, request: CoordinateUpdate) -> Result<(), EndpointError> {
    if endpoints.far.is_none() {
        return update(endpoints, request);
    }
    check_datacenter(endpoints, Some(&request.datacenter))?;
    check(&request.update.coord).map_err(|error| refusal(endpoints, error.to_string()))?;
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
    use super::super::testing::endpoints_with;
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
    fn batches_hold_the_latest_of_each_node() {
        let batch = CoordinateBatch::default();
        let coord = |height| Coordinate { height, ..unmeasured() };
        let of = |node: &str, height| NodeCoordinate {
            node: node.into(),
            segment: String::new(),
            coord: coord(height),
        };
        for (node, height) in [("a", 1.0), ("b", 2.0), ("A", 3.0), ("c", 4.0), ("d", 5.0)] {
            batch.add(of(node, height));
        }
        let (commands, discarded) = batch.take(2, 1);
        assert_eq!((commands.len(), discarded), (1, 2));
        assert_eq!(commands[0], Command::UpdateCoordinates(vec![of("A", 3.0), of("b", 2.0)]));
        assert_eq!(batch.take(2, 1), (vec![], 0));
    }
}
