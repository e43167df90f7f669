//! `catalog`: nodes, services and datacenters the servers know.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::client::{Client, ClientError, NAMESPACE_FLAG, Request};
use super::flags::{Flag, Kind};
use super::invocation::Invocation;
use super::{Command, CommandResult, Failure, Io, Reach, columns};

pub(super) const NODES: Command = Command {
    path: "catalog nodes",
    arguments: "[options]",
    synopsis: "Lists nodes",
    help: "Lists the nodes of a datacenter.\n\n    $ tribune catalog nodes\n    \
           $ tribune catalog nodes -service=web -node-meta=rack=3",
    reach: Reach::Servers,
    flags: &[
        Flag::new("detailed", Kind::Switch, "Print full ids, tagged addresses and metadata."),
        Flag::new("filter", Kind::Text, "Expression the nodes must satisfy."),
        Flag::new(
            "near",
            Kind::Text,
            "Sort by estimated round trip from this node; _agent is the agent's own.",
        ),
        Flag::new("node-meta", Kind::Pairs, "Metadata the nodes must have. May be repeated."),
        Flag::new("service", Kind::Text, "Only nodes with an instance of this service."),
    ],
    run: nodes,
};

pub(super) const SERVICES: Command = Command {
    path: "catalog services",
    arguments: "[options]",
    synopsis: "Lists services",
    help: "Lists the names of the services of a datacenter.\n\n    $ tribune catalog services -tags",
    reach: Reach::Servers,
    flags: &[
        NAMESPACE_FLAG,
        Flag::new("node", Kind::Text, "Only services of this node."),
        Flag::new("node-meta", Kind::Pairs, "Metadata the services' nodes must have. May be repeated."),
        Flag::new("tags", Kind::Switch, "Print each service's tags as well."),
    ],
    run: services,
};

pub(super) const DATACENTERS: Command = Command {
    path: "catalog datacenters",
    arguments: "[options]",
    synopsis: "Lists datacenters",
    help: "Lists the datacenters the servers know, nearest first.",
    reach: Reach::Servers,
    flags: &[],
    run: datacenters,
};

/// A node, as `/v1/catalog/nodes` and (with `NodeMeta`) `/v1/catalog/service` show it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_field_names, reason = "the API's names")]
struct Node {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(default)]
    node: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    datacenter: String,
    tagged_addresses: Option<BTreeMap<String, String>>,
    #[serde(alias = "NodeMeta")]
    meta: Option<BTreeMap<String, String>>,
}

fn no_arguments(invocation: &Invocation) -> CommandResult {
    match invocation.arguments().len() {
        0 => Ok(()),
        count => Err(Failure::Text(format!("Too many arguments (expected 0, got {count})"))),
    }
}

/// Adds the filters both lists share. A repeated key keeps its last value.
fn filtered<'a>(request: Request<'a>, invocation: &Invocation) -> Request<'a> {
    let wanted: BTreeMap<&str, &str> =
        invocation.list("node-meta").into_iter().filter_map(|pair| pair.split_once('=')).collect();
    let request = request.with_switch("stale", invocation.stale());
    wanted
        .into_iter()
        .fold(request, |request, (key, value)| request.with("node-meta", format!("{key}:{value}")))
}

fn nodes(invocation: &Invocation, io: &mut Io) -> CommandResult {
    no_arguments(invocation)?;
    let client = Client::connect(invocation, io)?;
    let service = invocation.some_text("service");
    let path = match service {
        Some(name) => format!("/v1/catalog/service/{name}"),
        None => "/v1/catalog/nodes".to_owned(),
    };
    let request = filtered(client.get(path), invocation)
        .with_some("filter", invocation.some_text("filter"))
        .with_some("near", invocation.some_text("near"));
    let doing = if service.is_some() { "listing nodes for service" } else { "listing nodes" };
    let found: Option<Vec<Node>> =
        request.json().map_err(|error| Failure::Text(format!("Error {doing}: {error}")))?;
    let found = found.unwrap_or_default();
    if found.is_empty() {
        io.err("No nodes match the given query - try expanding your search.");
        return Ok(());
    }
    let detailed = invocation.is_on("detailed");
    let header: &[&str] = if detailed {
        &["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"]
    } else {
        &["Node", "ID", "Address", "DC"]
    };
    let mut rows = vec![header.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()];
    for node in found {
        rows.push(if detailed {
            vec![
                node.node,
                node.id,
                node.address,
                node.datacenter,
                map(node.tagged_addresses),
                map(node.meta),
            ]
        } else {
            vec![node.node, node.id.chars().take(8).collect(), node.address, node.datacenter]
        });
    }
    io.out(&columns::table(&rows));
    Ok(())
}

/// `k=v, k=v`, sorted.
fn map(pairs: Option<BTreeMap<String, String>>) -> String {
    let pairs: Vec<String> =
        pairs.unwrap_or_default().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(", ")
}

/// What `/v1/catalog/node` says of a service.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeService {
    #[serde(default)]
    service: String,
    tags: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeServices {
    services: Option<BTreeMap<String, NodeService>>,
}

fn services(invocation: &Invocation, io: &mut Io) -> CommandResult {
    no_arguments(invocation)?;
    let client = Client::connect(invocation, io)?;
    let found = match invocation.some_text("node") {
        Some(node) => services_of(filtered(client.get(format!("/v1/catalog/node/{node}")), invocation))
            .map_err(|error| Failure::Text(format!("Error listing services for node: {error}")))?,
        None => filtered(client.get("/v1/catalog/services"), invocation)
            .json::<Option<BTreeMap<String, Option<Vec<String>>>>>()
            .map_err(|error| Failure::Text(format!("Error listing services: {error}")))?
            .unwrap_or_default()
            .into_iter()
            .map(|(name, tags)| (name, tags.unwrap_or_default()))
            .collect(),
    };
    if found.is_empty() {
        io.err("No services match the given query - try expanding your search.");
        return Ok(());
    }
    if invocation.is_on("tags") {
        let lines: Vec<(String, String)> = found
            .into_iter()
            .map(|(name, mut tags)| {
                tags.sort();
                (name, tags.join(","))
            })
            .collect();
        // Consul trims the text as a whole, so only the last line loses its padding.
        io.out(columns::pairs(&lines).trim());
    } else {
        for name in found.keys() {
            io.out(name);
        }
    }
    Ok(())
}

/// Names and tags of a node's services; an unknown node has none.
fn services_of(request: Request<'_>) -> Result<BTreeMap<String, Vec<String>>, ClientError> {
    let node: Option<NodeServices> = request.json()?;
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for service in node.and_then(|node| node.services).unwrap_or_default().into_values() {
        let tags = found.entry(service.service).or_default();
        for tag in service.tags.unwrap_or_default() {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
    }
    Ok(found)
}

fn datacenters(invocation: &Invocation, io: &mut Io) -> CommandResult {
    no_arguments(invocation)?;
    let client = Client::connect(invocation, io)?;
    let names: Option<Vec<String>> = client
        .get("/v1/catalog/datacenters")
        .json()
        .map_err(|error| Failure::Text(format!("Error listing datacenters: {error}")))?;
    for name in names.unwrap_or_default() {
        io.out(&name);
    }
    Ok(())
}
