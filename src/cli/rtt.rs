//! `rtt`: estimates the round trip between two nodes from their network coordinates.

use serde::Deserialize;

use super::client::Client;
use super::flags::{Flag, Kind};
use super::invocation::Invocation;
use super::{Command, CommandResult, Failure, Io, Reach, gotext};

pub(super) const COMMAND: Command = Command {
    path: "rtt",
    arguments: "[options] NODE1 [NODE2]",
    synopsis: "Estimates the round trip between two nodes",
    help: "Estimates the time of a round trip between two nodes from their network coordinates; no \
           packet is sent. NODE2 defaults to the agent's own node.\n\n    $ tribune rtt web1 web2\n\n\
           Between servers of different datacenters, names carry the datacenter:\n\n    \
           $ tribune rtt -wan srv1.dc1 srv4.dc2",
    reach: Reach::Agent,
    flags: &[Flag::new("wan", Kind::Switch, "Use the coordinates servers have across datacenters.")],
    run,
};

/// A Vivaldi coordinate with height: times are seconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Coordinate {
    vec: Vec<f64>,
    #[serde(default)]
    adjustment: f64,
    #[serde(default)]
    height: f64,
}

impl Coordinate {
    /// Estimated round trip in seconds; none if the two live in spaces of different size.
    fn distance(&self, other: &Self) -> Option<f64> {
        if self.vec.len() != other.vec.len() {
            return None;
        }
        let squares: f64 = self.vec.iter().zip(&other.vec).map(|(a, b)| (a - b) * (a - b)).sum();
        let distance = squares.sqrt() + self.height + other.height;
        let adjusted = distance + self.adjustment + other.adjustment;
        Some(if adjusted > 0.0 { adjusted } else { distance })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeCoordinate {
    node: String,
    #[serde(default)]
    segment: String,
    coord: Coordinate,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_field_names, reason = "the API's names")]
struct Datacenter {
    datacenter: String,
    #[serde(rename = "AreaID", default)]
    area: String,
    coordinates: Option<Vec<NodeCoordinate>>,
}

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let count = invocation.arguments().len();
    let (Some(first), 1..=2) = (invocation.argument(0), count) else {
        return Err(Failure::Usage("One or two node names must be specified".to_owned()));
    };
    let client = Client::connect(invocation, io)?;
    let wan = invocation.is_on("wan");
    let second = match invocation.argument(1) {
        Some(name) => name,
        None => own_name(&client, wan)
            .map_err(|error| Failure::Text(format!("Unable to look up agent info: {error}")))?,
    };
    let found = if wan {
        wan_coordinates(&client, &first, &second)?
    } else {
        lan_coordinates(&client, &first, &second)?
    };
    let missing =
        |name: &str| Failure::Text(format!("Could not find a coordinate for node {}", gotext::quote(name)));
    let a = found.0.ok_or_else(|| missing(&first))?;
    let b = found.1.ok_or_else(|| missing(&second))?;
    let seconds = a.distance(&b).ok_or_else(|| {
        Failure::text("The coordinates of the two nodes have different numbers of dimensions")
    })?;
    let pool = if wan { "WAN" } else { "LAN" };
    io.out(&format!(
        "Estimated {first} <-> {second} rtt: {:.3} ms (using {pool} coordinates)",
        seconds * 1000.0
    ));
    Ok(())
}

/// The agent's node, with its datacenter for the WAN.
fn own_name(client: &Client, wan: bool) -> Result<String, super::client::ClientError> {
    let own: serde_json::Value = client.get("/v1/agent/self").json()?;
    let text = |path| own.pointer(path).and_then(serde_json::Value::as_str).unwrap_or_default();
    let node = text("/Config/NodeName");
    Ok(if wan { format!("{node}.{}", text("/Config/Datacenter")) } else { node.to_owned() })
}

type Pair = (Option<Coordinate>, Option<Coordinate>);

/// Coordinates of one node live in a segment; the two must share one to be compared.
fn lan_coordinates(client: &Client, first: &str, second: &str) -> Result<Pair, Failure> {
    let all: Option<Vec<NodeCoordinate>> = client.get("/v1/coordinate/nodes").json().map_err(getting)?;
    let all = all.unwrap_or_default();
    let of = |name: &str| all.iter().filter(|entry| entry.node == name).collect::<Vec<_>>();
    let (firsts, seconds) = (of(first), of(second));
    let shared = firsts.iter().find_map(|a| {
        seconds
            .iter()
            .find(|b| a.segment == b.segment)
            .map(|b| (Some(a.coord.clone()), Some(b.coord.clone())))
    });
    let any = |list: &[&NodeCoordinate]| list.first().map(|entry| entry.coord.clone());
    Ok(shared.unwrap_or_else(|| (any(&firsts), any(&seconds))))
}

fn wan_coordinates(client: &Client, first: &str, second: &str) -> Result<Pair, Failure> {
    let split = |name: &str| {
        name.rsplit_once('.').map(|(node, datacenter)| (node.to_owned(), datacenter.to_owned())).ok_or_else(
            || Failure::text("Node names must be specified as <node name>.<datacenter> with -wan"),
        )
    };
    let (first, second) = (split(first)?, split(second)?);
    let all: Option<Vec<Datacenter>> = client.get("/v1/coordinate/datacenters").json().map_err(getting)?;
    let all = all.unwrap_or_default();
    let find = |(node, datacenter): &(String, String)| {
        all.iter()
            .filter(|entry| entry.datacenter == *datacenter && (entry.area.is_empty() || entry.area == "wan"))
            .flat_map(|entry| entry.coordinates.iter().flatten())
            .find(|entry| entry.node == *node)
            .map(|entry| entry.coord.clone())
    };
    Ok((find(&first), find(&second)))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn getting(error: super::client::ClientError) -> Failure {
    Failure::Text(format!("Error getting coordinates: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let at = |vec: &[f64], height, adjustment| Coordinate { vec: vec.to_vec(), adjustment, height };
        let cases = [
            ("same place", at(&[0.0, 0.0], 1e-5, 0.0), at(&[0.0, 0.0], 1e-5, 0.0), Some(2e-5)),
            ("apart", at(&[0.0, 3.0], 0.0, 0.0), at(&[4.0, 0.0], 0.0, 0.0), Some(5.0)),
            ("heights and adjustments count", at(&[0.0], 1.0, 0.5), at(&[1.0], 1.0, -0.25), Some(3.25)),
            ("an adjustment below zero is ignored", at(&[0.0], 0.0, -9.0), at(&[1.0], 0.0, 0.0), Some(1.0)),
            ("different spaces", at(&[0.0], 0.0, 0.0), at(&[0.0, 0.0], 0.0, 0.0), None),
        ];
        for (name, a, b, want) in cases {
            assert_eq!(a.distance(&b), want, "{name}");
        }
    }
}
