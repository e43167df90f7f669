use imbl::OrdMap;

use super::*;
use crate::state::view::{NodeEntry, View, fold};

struct Fixed(Vec<Member>);

impl KnownMembers for Fixed {
    fn known(&self) -> Vec<Member> {
        self.0.clone()
    }

    fn knows(&self, name: &str) -> bool {
        name == "stranger" || self.0.iter().any(|member| member.name == name)
    }

    fn own_name(&self) -> &'static str {
        "own"
    }
}

fn member(name: &str, standing: Standing) -> Member {
    let server = (name == "own").then(|| (8300, server_meta("1.8.7", 3, false, [1, 5, 2])));
    Member { id: format!("id-{name}"), name: name.into(), address: "10.0.0.1".into(), server, standing }
}

/// A catalog with these nodes, each with this status of its `serfHealth`, or without that check.
fn view(nodes: &[(&str, Option<&str>)]) -> View {
    let mut view = View::default();
    for (name, status) in nodes {
        let node = Node {
            id: format!("id-{name}"),
            node: (*name).into(),
            address: "10.0.0.1".into(),
            ..Node::default()
        };
        let mut entry = NodeEntry { node: node.into(), services: OrdMap::new(), checks: OrdMap::new() };
        if let Some(status) = status {
            let check = serf_health(name, status, "");
            entry.checks.insert(fold(SERF_HEALTH), check.into());
        }
        view.nodes.insert(fold(name), entry.into());
    }
    view
}

fn text(command: &Command) -> String {
    match command {
        Command::Register(register) => {
            let checks: Vec<_> = register.checks.iter().map(|check| check.status.clone()).collect();
            let service = if register.service.is_some() { " server" } else { "" };
            let kept = if register.skip_node_update { " node kept" } else { "" };
            format!("register {} {}{service}{kept}", register.node.node, checks.join(","))
        }
        Command::Deregister(found) => format!("deregister {}", found.node),
        other => format!("{other:?}"),
    }
}

/// Name, members, nodes of the catalog, whether it is swept, what is proposed.
type Case<'a> = (&'a str, &'a [(&'a str, Standing)], &'a [(&'a str, Option<&'a str>)], bool, &'a [&'a str]);

#[test]
fn the_catalog_follows_the_members() {
    let table: &[Case] = &[
        ("a new one", &[("a", Standing::Alive)], &[], false, &["register a passing"]),
        (
            "itself, with its service",
            &[("own", Standing::Alive)],
            &[],
            false,
            &["register own passing server"],
        ),
        ("known already", &[("a", Standing::Alive)], &[("a", Some("passing"))], true, &[]),
        ("back again", &[("a", Standing::Alive)], &[("a", Some("critical"))], false, &["register a passing"]),
        (
            "failed",
            &[("a", Standing::Failed)],
            &[("a", Some("passing"))],
            false,
            &["register a critical node kept"],
        ),
        ("failed long ago", &[("a", Standing::Failed)], &[("a", Some("critical"))], false, &[]),
        ("failed before it was known", &[("a", Standing::Failed)], &[], false, &[]),
        ("leaving", &[("a", Standing::Leaving)], &[("a", Some("passing"))], true, &[]),
        ("left", &[("a", Standing::Left)], &[("a", Some("passing"))], false, &["deregister a"]),
        ("left, and was never known", &[("a", Standing::Left)], &[], true, &[]),
        ("itself, having left", &[("own", Standing::Left)], &[("own", Some("passing"))], false, &[]),
        ("forgotten", &[], &[("a", Some("critical"))], true, &["deregister a"]),
        ("not found yet after a restart", &[], &[("a", Some("passing"))], false, &[]),
        ("registered by hand", &[], &[("a", None)], true, &[]),
        ("a member that is not Consul's", &[], &[("stranger", Some("passing"))], true, &[]),
    ];
    for (case, members, nodes, sweep, wanted) in table {
        let members = Fixed(members.iter().map(|(name, standing)| member(name, *standing)).collect());
        let found = differences(&members, "dc1", &view(nodes), *sweep);
        assert_eq!(found.iter().map(text).collect::<Vec<_>>(), *wanted, "{case}");
    }
}
