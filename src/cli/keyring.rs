//! `keyring`: gossip encryption keys.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::client::{Answer, Client};
use super::flags::{Flag, Kind};
use super::invocation::Invocation;
use super::{Command, CommandResult, Failure, Io, Reach};

pub(super) const COMMAND: Command = Command {
    path: "keyring",
    arguments: "[options]",
    synopsis: "Manages gossip encryption keys",
    help: "Lists and changes the keys that gossip is encrypted with, on all members of all pools at once. To change \
           the key: install the new one, use it, then remove the old one.\n\n    \
           $ tribune keyring -install \"$KEY\"\n    $ tribune keyring -use \"$KEY\"\n    \
           $ tribune keyring -remove \"$OLD\"\n\n\
           All of these need an agent that is a server.",
    reach: Reach::Agent,
    flags: &[
        Flag::new("install", Kind::Text, "Install a key on all members."),
        Flag::new("list", Kind::Switch, "List the installed keys, with how many members have each."),
        Flag::new("list-primary", Kind::Switch, "List the keys that members encrypt with."),
        Flag::new("local-only", Kind::Switch, "With -list: do not leave the agent's datacenter."),
        Flag::new("relay-factor", Kind::Int, "Through how many others members answer as well, 0 to 5."),
        Flag::new("remove", Kind::Text, "Remove a key that is not in use from all members."),
        Flag::new("use", Kind::Text, "Have all members encrypt with an installed key."),
    ],
    run,
};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Pool {
    #[serde(rename = "WAN")]
    wan: bool,
    datacenter: String,
    segment: String,
    messages: Option<BTreeMap<String, String>>,
    keys: Option<BTreeMap<String, u64>>,
    primary_keys: Option<BTreeMap<String, u64>>,
    num_nodes: u64,
}

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let changes = [
        ("install", "POST", "Installing new gossip encryption key..."),
        ("use", "PUT", "Changing primary gossip encryption key..."),
        ("remove", "DELETE", "Removing gossip encryption key..."),
    ];
    let change = changes
        .into_iter()
        .find_map(|(flag, method, says)| Some((invocation.some_text(flag)?, method, says)));
    let given = changes.iter().filter(|(flag, ..)| invocation.some_text(flag).is_some()).count();
    let (list, primary) = (invocation.is_on("list"), invocation.is_on("list-primary"));
    match given + usize::from(list) + usize::from(primary) {
        0 => {
            return Err(Failure::Usage(
                "Exactly one of -install, -use, -remove, -list or -list-primary is needed.".to_owned(),
            ));
        }
        1 => {}
        _ => return Err(Failure::text("Only a single action is allowed")),
    }
    let relay = invocation.int("relay-factor").unwrap_or(0);
    if !(0..=5).contains(&relay) {
        return Err(Failure::text("Error parsing relay factor: Relay factor must be in range: [0, 5]"));
    }
    if invocation.is_on("local-only") && !list && !primary {
        return Err(Failure::text(
            "Error validating local-only: local-only can only be set for list requests",
        ));
    }
    let relay = (relay > 0).then(|| relay.to_string());
    let client = Client::connect(invocation, io)?;
    let failed = |error| Failure::Text(format!("error: {error}"));
    let Some((key, method, says)) = change else {
        io.out("==> Gathering installed encryption keys...");
        let request = client
            .get("/v1/operator/keyring")
            .with_some("relay-factor", relay.as_deref())
            .with_some("local-only", invocation.is_on("local-only").then_some("true"));
        let pools: Option<Vec<Pool>> = request.json().map_err(failed)?;
        for pool in pools.unwrap_or_default() {
            show(&pool, primary, io);
        }
        return Ok(());
    };
    io.out(&format!("==> {says}"));
    let path = "/v1/operator/keyring";
    let request = match method {
        "POST" => client.post(path),
        "PUT" => client.put(path),
        _ => client.delete(path),
    };
    request
        .with_some("relay-factor", relay.as_deref())
        .send_body(json!({ "Key": key }).to_string().as_bytes())
        .and_then(Answer::ok)
        .map_err(failed)?;
    Ok(())
}

fn show(pool: &Pool, primary: bool, io: &mut Io) {
    let segment = if pool.segment.is_empty() { String::new() } else { format!(" [{}]", pool.segment) };
    let name = if pool.wan { "WAN".to_owned() } else { format!("{} (LAN){segment}", pool.datacenter) };
    io.out(&format!("\n{name}:"));
    for (node, message) in pool.messages.iter().flatten() {
        io.out(&format!("  ===> {node}: {message}"));
    }
    let keys = if primary { &pool.primary_keys } else { &pool.keys };
    for (key, count) in keys.iter().flatten() {
        io.out(&format!("  {key} [{count}/{}]", pool.num_nodes));
    }
}
