//! Sorting answers by network distance (`?near=`).
//!
//! Distances are Vivaldi's, as Serf computes coordinates: the Euclidean distance of the vectors
//! plus both heights, corrected by both adjustments unless that leaves nothing (Ledlie et al.,
//! "Network Coordinates in the Wild"). Nodes without a coordinate come last; without a coordinate
//! for the origin nothing is sorted. The order of equals stays.

use std::sync::Arc;

use crate::state::View;
use crate::state::record::Coordinate;
use crate::state::view::fold;

/// Dimensions of the vector of every coordinate.
pub const DIMENSIONS: usize = 8;

/// The round trip time between two coordinates in seconds; `None` if their dimensions differ.
pub fn distance(a: &Coordinate, b: &Coordinate) -> Option<f64> {
    if a.vec.len() != b.vec.len() {
        return None;
    }
    let square: f64 = a.vec.iter().zip(&b.vec).map(|(a, b)| (a - b) * (a - b)).sum();
    let raw = square.sqrt() + a.height + b.height;
    let adjusted = raw + a.adjustment + b.adjustment;
    Some(if adjusted > 0.0 { adjusted } else { raw })
}

/// Distances in whole nanoseconds: what Consul compares, so that what is equal there is equal here.
#[expect(clippy::cast_possible_truncation, reason = "saturates, which is as far as it gets")]
fn nanoseconds(a: &Coordinate, b: &Coordinate) -> i64 {
    distance(a, b).map_or(i64::MAX, |seconds| (seconds * 1e9) as i64)
}

/// Sorts by distance from a node. An empty name, and one without a coordinate, leave the order.
pub fn sort<T>(view: &View, origin: &str, items: &mut [T], node_of: impl Fn(&T) -> &str) {
    if origin.is_empty() || items.len() < 2 {
        return;
    }
    let segment: Arc<str> = Arc::from("");
    let coordinate = |node: &str| view.coordinates.get(&(fold(node), Arc::clone(&segment)));
    let Some(origin) = coordinate(origin) else { return };
    items.sort_by_cached_key(|item| {
        coordinate(node_of(item)).map_or(i64::MAX, |there| nanoseconds(&origin.coord, &there.coord))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::record::NodeCoordinate;

    fn coord(x: f64, y: f64, height: f64, adjustment: f64) -> Coordinate {
        Coordinate { vec: vec![x, y], error: 0.1, adjustment, height }
    }

    #[test]
    fn distances() {
        let origin = coord(0.0, 0.0, 0.0, 0.0);
        let table = [
            ("euclidean", coord(3.0, 4.0, 0.0, 0.0), Some(5.0)),
            ("heights add", coord(3.0, 4.0, 0.5, 0.0), Some(5.5)),
            ("adjustments add", coord(3.0, 4.0, 0.5, 0.25), Some(5.75)),
            ("adjustments subtract", coord(3.0, 4.0, 0.0, -1.0), Some(4.0)),
            ("not below nothing", coord(3.0, 4.0, 0.0, -6.0), Some(5.0)),
            ("other dimensions", Coordinate { vec: vec![1.0], ..Coordinate::default() }, None),
        ];
        for (name, other, want) in table {
            assert_eq!(distance(&origin, &other), want, "{name}");
            assert_eq!(distance(&other, &origin), want, "{name}, turned round");
        }
    }

    #[test]
    fn sorting() {
        let mut view = View::default();
        for (node, x) in [("far", 9.0), ("mid", 2.0), ("near", 1.0), ("twin", 2.0)] {
            let entry =
                NodeCoordinate { node: node.into(), segment: String::new(), coord: coord(x, 0.0, 0.0, 0.0) };
            view.coordinates.insert((fold(node), "".into()), Arc::new(entry));
        }
        let table = [
            ("near", ["near", "mid", "twin", "far", "unknown"]),
            ("NEAR", ["near", "mid", "twin", "far", "unknown"]),
            ("far", ["far", "mid", "twin", "near", "unknown"]),
            ("unknown", ["far", "unknown", "mid", "near", "twin"]),
            ("", ["far", "unknown", "mid", "near", "twin"]),
        ];
        for (origin, want) in table {
            let mut nodes = ["far", "unknown", "mid", "near", "twin"];
            sort(&view, origin, &mut nodes, |node| node);
            assert_eq!(nodes, want, "{origin}");
        }
    }
}
