//! What Consul agents say of themselves in their tags, written and read.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::endpoints::agent::AgentFacts;
use crate::endpoints::operator::RAFT_PROTOCOL;

/// Tags by name.
pub type Tags = BTreeMap<String, String>;

/// What a server says of itself beyond [`AgentFacts`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// Servers it expects before the first election; 0 and 1 are not told.
    pub expect: u32,
    /// Port of its WAN pool, if it has one.
    pub wan_join_port: Option<u16>,
}

/// This agent's tags in the LAN pool, or, without `wan_join_port`, in the WAN pool.
pub fn own(facts: &AgentFacts, server: ServerFacts) -> Tags {
    let mut tags = Tags::new();
    let mut tag = |key: &str, value: String| tags.insert(key.to_owned(), value);
    tag("acls", "0".to_owned());
    // The text before the colon is the version; clients decide by it what they may ask.
    tag("build", format!("{}:{}", facts.version, facts.revision));
    tag("dc", facts.datacenter.clone());
    tag("id", facts.node_id.clone());
    tag("segment", String::new());
    tag("vsn", "2".to_owned());
    tag("vsn_max", "3".to_owned());
    tag("vsn_min", "2".to_owned());
    if !facts.server {
        tag("role", "node".to_owned());
        return tags;
    }
    tag("role", "consul".to_owned());
    tag("port", facts.ports.server.to_string());
    tag("raft_vsn", RAFT_PROTOCOL.to_owned());
    // Federation states are known of.
    tag("ft_fs", "1".to_owned());
    if facts.bootstrap {
        tag("bootstrap", "1".to_owned());
    }
    if server.expect > 1 {
        tag("expect", server.expect.to_string());
    }
    if let Some(port) = server.wan_join_port {
        tag("wan_join_port", port.to_string());
    }
    tags
}

/// What a member is to Consul.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// An agent that is no server.
    Client,
    /// A server.
    Server(Server),
    /// None of Consul's, such as a plain Serf agent; or a server whose tags nobody can read.
    Stranger,
}

/// A server, as its tags tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Port of its RPC.
    pub port: u16,
    /// `1.8.7` of its build.
    pub version: String,
    /// Raft protocol; 0 if it does not say.
    pub raft_version: u64,
    /// It is no voter.
    pub non_voter: bool,
    /// Port of its WAN pool.
    pub wan_join_port: Option<u16>,
}

/// Reads a member's role. Like Consul's, it takes a server with tags that cannot be read for none.
pub fn role(tags: &Tags) -> Role {
    match tags.get("role").map(String::as_str) {
        Some("node") => Role::Client,
        Some("consul") => server(tags).map_or(Role::Stranger, Role::Server),
        _ => Role::Stranger,
    }
}

fn server(tags: &Tags) -> Option<Server> {
    let number = |key: &str| tags.get(key).map(|text| text.parse::<u64>()).transpose().ok();
    tags.get("vsn")?.parse::<u64>().ok()?;
    number("expect")?;
    for (key, value) in tags {
        if key.starts_with("ft_") {
            value.parse::<i64>().ok()?;
        } else if key.starts_with("sl_") {
            value.parse::<SocketAddr>().ok()?;
        }
    }
    Some(Server {
        port: tags.get("port")?.parse().ok()?,
        version: version(tags.get("build")?)?,
        raft_version: number("raft_vsn")?.unwrap_or(0),
        non_voter: tags.contains_key("nonvoter"),
        wan_join_port: tags.get("wan_join_port").map(|text| text.parse()).transpose().ok()?,
    })
}

/// Port of a server's RPC; none if the member is no server.
pub fn server_port(tags: &Tags) -> Option<u16> {
    match role(tags) {
        Role::Server(server) => Some(server.port),
        Role::Client | Role::Stranger => None,
    }
}

/// How many servers a server expects to found a group with; none if it does not say.
pub fn expected_servers(tags: &Tags) -> Option<u32> {
    tags.get("expect")?.parse().ok()
}

/// The `1.8.7` in a build.
fn version(build: &str) -> Option<String> {
    let text = build.split(':').next()?;
    let numbers = text.split(['-', '+']).next()?;
    let mut parts = numbers.split('.');
    let all = [parts.next()?, parts.next()?, parts.next()?];
    all.iter().all(|part| part.parse::<u32>().is_ok()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(server: bool) -> AgentFacts {
        AgentFacts {
            datacenter: "dc1".into(),
            node_name: "n1".into(),
            node_id: "11111111-2222-3333-4444-555555555555".into(),
            version: "1.8.7".into(),
            server,
            ports: crate::endpoints::agent::AgentPorts { server: 8300, ..Default::default() },
            ..AgentFacts::default()
        }
    }

    fn text(tags: &Tags) -> String {
        tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn own_tags_are_consuls() {
        // As `consul members -detailed` shows them.
        let server = own(&facts(true), ServerFacts { expect: 1, wan_join_port: Some(8302) });
        assert_eq!(
            text(&server),
            "acls=0,build=1.8.7:,dc=dc1,ft_fs=1,id=11111111-2222-3333-4444-555555555555,port=8300,raft_vsn=3,\
             role=consul,segment=,vsn=2,vsn_max=3,vsn_min=2,wan_join_port=8302"
        );
        let client = own(&facts(false), ServerFacts::default());
        assert_eq!(
            text(&client),
            "acls=0,build=1.8.7:,dc=dc1,id=11111111-2222-3333-4444-555555555555,role=node,segment=,vsn=2,\
             vsn_max=3,vsn_min=2"
        );
        let Role::Server(read) = role(&server) else { panic!("no server") };
        assert_eq!((read.port, read.version.as_str(), read.wan_join_port), (8300, "1.8.7", Some(8302)));
        assert_eq!(role(&client), Role::Client);
        assert_eq!(role(&Tags::new()), Role::Stranger);
    }

    #[test]
    fn what_cannot_be_read_is_no_server() {
        let good = own(&facts(true), ServerFacts { expect: 3, wan_join_port: Some(8302) });
        for (key, value) in [
            ("port", "x"),
            ("port", "70000"),
            ("vsn", ""),
            ("build", "1.8"),
            ("build", "1.x.7:"),
            ("expect", "many"),
            ("wan_join_port", "-1"),
            ("raft_vsn", "three"),
            ("ft_fs", "on"),
            ("sl_alpha", "nowhere"),
        ] {
            let mut tags = good.clone();
            tags.insert(key.to_owned(), value.to_owned());
            assert_eq!(role(&tags), Role::Stranger, "{key}={value}");
        }
        for key in ["port", "vsn", "build"] {
            let mut tags = good.clone();
            tags.remove(key);
            assert_eq!(role(&tags), Role::Stranger, "without {key}");
        }
        let mut extra = good;
        extra.insert("sl_alpha".to_owned(), "10.0.0.1:8303".to_owned());
        assert!(matches!(role(&extra), Role::Server(_)));
    }
}
