//! `operator raft`: the servers' consensus group.

use serde::Deserialize;

use crate::cli::client::{Answer, Client};
use crate::cli::flags::{Flag, Kind};
use crate::cli::invocation::Invocation;
use crate::cli::{Command, CommandResult, Failure, Io, Reach, columns, gotext};

pub(in crate::cli) const LIST_PEERS: Command = Command {
    path: "operator raft list-peers",
    arguments: "[options]",
    synopsis: "Lists the servers of the consensus group",
    help: "Lists the servers of the Raft group, with who leads and who votes. Use -stale when there \
           is no leader.",
    reach: Reach::Servers,
    flags: &[],
    run: list_peers,
};

pub(in crate::cli) const REMOVE_PEER: Command = Command {
    path: "operator raft remove-peer",
    arguments: "[options]",
    synopsis: "Removes a server from the consensus group",
    help: "Removes a server that failed and will not come back from the Raft group. Prefer \
           'force-leave' and a graceful 'leave' where they work.",
    reach: Reach::Servers,
    flags: &[
        Flag::new("address", Kind::Text, "ip:port of the server to remove."),
        Flag::new("id", Kind::Text, "Id of the server to remove."),
    ],
    run: remove_peer,
};

pub(in crate::cli) const TRANSFER_LEADER: Command = Command {
    path: "operator raft transfer-leader",
    arguments: "[options]",
    synopsis: "Hands leadership to another server",
    help: "Hands leadership of the Raft group to the server with this id or, without one, to the server \
           that has most of the log.",
    reach: Reach::Servers,
    flags: &[Flag::new("id", Kind::Text, "Id of the server that shall lead.")],
    run: transfer_leader,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Transfer {
    #[serde(default)]
    success: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    servers: Option<Vec<Server>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Server {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(default)]
    node: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    leader: bool,
    #[serde(default)]
    voter: bool,
    #[serde(default)]
    protocol_version: String,
}

fn list_peers(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let client = Client::connect(invocation, io)?;
    let configuration: Configuration = client
        .get("/v1/operator/raft/configuration")
        .with_switch("stale", invocation.stale())
        .json()
        .map_err(|error| {
            Failure::Text(format!("Error getting peers: Failed to retrieve raft configuration: {error}"))
        })?;
    let header = ["Node", "ID", "Address", "State", "Voter", "RaftProtocol"].map(str::to_owned).to_vec();
    let rows = configuration.servers.into_iter().flatten().map(|server| {
        let state = if server.leader { "leader" } else { "follower" };
        let protocol =
            if server.protocol_version.is_empty() { "<=1".to_owned() } else { server.protocol_version };
        vec![server.node, server.id, server.address, state.to_owned(), server.voter.to_string(), protocol]
    });
    io.out(&columns::table(&std::iter::once(header).chain(rows).collect::<Vec<_>>()));
    Ok(())
}

fn remove_peer(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let client = Client::connect(invocation, io)?;
    let failed = |why: &str| Failure::Text(format!("Error removing peer: {why}"));
    let (name, value) = match (invocation.some_text("address"), invocation.some_text("id")) {
        (None, None) => return Err(failed("an address or id is required for the peer to remove")),
        (Some(_), Some(_)) => return Err(failed("cannot give both an address and id")),
        (Some(address), None) => ("address", address),
        (None, Some(id)) => ("id", id),
    };
    client
        .delete("/v1/operator/raft/peer")
        .with(name, value)
        .send()
        .and_then(Answer::ok)
        .map_err(|error| failed(&error.to_string()))?;
    io.out(&format!("Removed peer with {name} {}", gotext::quote(value)));
    Ok(())
}

fn transfer_leader(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let client = Client::connect(invocation, io)?;
    let mut request = client.post("/v1/operator/raft/transfer-leader");
    if let Some(id) = invocation.some_text("id") {
        request = request.with("id", id);
    }
    let done: Transfer =
        request.json().map_err(|error| Failure::Text(format!("Error transfering leadership: {error}")))?;
    if !done.success {
        return Err(Failure::text("Error transfering leadership: the leader did not say that it is done"));
    }
    io.out("Success");
    Ok(())
}
