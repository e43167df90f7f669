//! `members`: what gossip knows of the cluster.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::client::Client;
use super::flags::{Flag, Kind};
use super::invocation::Invocation;
use super::{Command, CommandResult, Failure, Io, Reach, columns, gotext};

pub(super) const COMMAND: Command = Command {
    path: "members",
    arguments: "[options]",
    synopsis: "Lists the members of the cluster",
    help: "Lists the agents this agent knows by gossip, servers first.\n\n    \
           $ tribune members -status='alive|failed'\n\n\
           The exit code is 2 if -status leaves nobody.",
    reach: Reach::Agent,
    flags: &[
        Flag::new("detailed", Kind::Switch, "Print all tags of each member."),
        Flag::new("segment", Kind::Text, "Only members of this network segment (Consul Enterprise)."),
        Flag::new(
            "status",
            Kind::Text,
            "Only members whose status matches this regular expression. Default: .*",
        ),
        Flag::new("wan", Kind::Switch, "List the servers of all datacenters; only servers know them."),
    ],
    run,
};

/// A member as `/v1/agent/members` shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Member {
    name: String,
    #[serde(default)]
    addr: String,
    #[serde(default)]
    port: u16,
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    status: u8,
}

impl Member {
    fn tag(&self, name: &str) -> &str {
        self.tags.as_ref().and_then(|tags| tags.get(name)).map_or("", String::as_str)
    }

    fn address(&self) -> String {
        if self.addr.contains(':') {
            format!("[{}]:{}", self.addr, self.port)
        } else {
            format!("{}:{}", self.addr, self.port)
        }
    }

    /// Serf's name of the status.
    fn status(&self) -> &'static str {
        match self.status {
            1 => "alive",
            2 => "leaving",
            3 => "left",
            4 => "failed",
            _ => "none",
        }
    }

    /// Puts a readable segment where there is none.
    fn name_segment(&mut self) {
        if self.tag("segment").is_empty() {
            let name = if self.tag("role") == "consul" { "<all>" } else { "<default>" };
            self.tags.get_or_insert_default().insert("segment".to_owned(), name.to_owned());
        }
    }
}

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let status = match invocation.text("status") {
        Some(pattern) => Some(regex::Regex::new(pattern).map_err(|error| {
            Failure::Text(format!(
                "Failed to compile status regexp: {}",
                gotext::regex_error(pattern, &error)
            ))
        })?),
        None => None,
    };
    let client = Client::connect(invocation, io)?;
    let request = client
        .get("/v1/agent/members")
        .with("segment", invocation.text("segment").unwrap_or("_all"))
        .with_some("wan", invocation.is_on("wan").then_some("1"));
    let members: Option<Vec<Member>> =
        request.json().map_err(|error| Failure::Text(format!("Error retrieving members: {error}")))?;
    let mut members: Vec<Member> = members
        .unwrap_or_default()
        .into_iter()
        .filter(|member| status.as_ref().is_none_or(|status| status.is_match(member.status())))
        .collect();
    if members.is_empty() {
        return Err(Failure::Silent(2));
    }
    members.iter_mut().for_each(Member::name_segment);
    members.sort_by(|a, b| (a.tag("segment"), &a.name).cmp(&(b.tag("segment"), &b.name)));
    let rows: Vec<Vec<String>> =
        if invocation.is_on("detailed") { detailed(&members) } else { standard(&members) };
    io.out(&columns::table(&rows));
    Ok(())
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

fn standard(members: &[Member]) -> Vec<Vec<String>> {
    let header = row(&["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment"]);
    let rows = members.iter().map(|member| {
        let kind = match member.tag("role") {
            "consul" => "server",
            "node" => "client",
            _ => "unknown",
        };
        let build = match member.tag("build") {
            "" => "< 0.3",
            build => build.split(':').next().unwrap_or_default(),
        };
        let (address, protocol) = (member.address(), member.tag("vsn"));
        let (datacenter, segment) = (member.tag("dc"), member.tag("segment"));
        if kind == "unknown" {
            return row(&[&member.name, &address, member.status(), kind, "", "", "", ""]);
        }
        row(&[&member.name, &address, member.status(), kind, build, protocol, datacenter, segment])
    });
    std::iter::once(header).chain(rows).collect()
}

fn detailed(members: &[Member]) -> Vec<Vec<String>> {
    let rows = members.iter().map(|member| {
        let tags: Vec<String> =
            member.tags.iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
        row(&[&member.name, &member.address(), member.status(), &tags.join(",")])
    });
    std::iter::once(row(&["Node", "Address", "Status", "Tags"])).chain(rows).collect()
}
