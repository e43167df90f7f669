//! Who may be in the pools: Consul's rules, in its words.
//!
//! Asked of every member of the other side of a join, and of news of members that are new or changed their tags.

use std::collections::BTreeMap;

use super::tags::{Role, role};
use crate::cidr::Cidr;
use crate::gossip::serf::Member;
use crate::gossip::{Admission, Status};

/// Rules of the LAN pool.
pub struct LanRules {
    /// Own datacenter.
    pub datacenter: String,
    /// Own node name.
    pub node_name: String,
    /// Own node UUID.
    pub node_id: String,
    /// `serf_lan_allowed_cidrs`.
    pub allowed: Vec<Cidr>,
}

/// Rules of the WAN pool.
pub struct WanRules {
    /// `serf_wan_allowed_cidrs`.
    pub allowed: Vec<Cidr>,
}

fn tag<'a>(member: &'a Member, name: &str) -> &'a str {
    member.tags.get(name).map_or("", String::as_str)
}

fn check_address(member: &Member, allowed: &[Cidr]) -> Result<(), String> {
    if allowed.is_empty() || allowed.iter().any(|network| network.contains(member.addr.ip())) {
        return Ok(());
    }
    Err(format!("Member '{}' has an address that is not allowed: {}", member.name, member.addr.ip()))
}

/// Consul is of one mind about ids since 0.8.5: older agents may share theirs.
fn has_unique_id(member: &Member) -> bool {
    let build = tag(member, "build").split(':').next().unwrap_or_default();
    let mut numbers = build.split(['.', '-', '+']).map_while(|part| part.parse::<u32>().ok());
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next()) >= (0, 8, 5)
}

impl LanRules {
    /// The rules that look at one member alone.
    fn check(&self, member: &Member) -> Result<(), String> {
        check_address(member, &self.allowed)?;
        let (name, id, datacenter) = (&member.name, tag(member, "id"), tag(member, "dc"));
        if member.status != Status::Left
            && !id.is_empty()
            && id.eq_ignore_ascii_case(&self.node_id)
            && *name != self.node_name
        {
            return Err(format!("Member '{name}' has conflicting node ID '{id}' with this agent's ID"));
        }
        let consul = role(&member.tags) != Role::Stranger || tag(member, "role") == "consul";
        if consul && datacenter != self.datacenter {
            return Err(format!("Member '{name}' part of wrong datacenter '{datacenter}'"));
        }
        let segment = tag(member, "segment");
        if !segment.is_empty() {
            return Err(format!("Member '{name}' part of wrong segment '{segment}' (expected '')"));
        }
        Ok(())
    }
}

fn conflict(member: &Member, other: &Member) -> String {
    let id = tag(member, "id");
    format!("Member '{}' has conflicting node ID '{id}' with member '{}'", member.name, other.name)
}

/// Whether the member's id counts when ids are compared.
fn counts(member: &Member) -> bool {
    member.status != Status::Left && !tag(member, "id").is_empty() && has_unique_id(member)
}

impl Admission for LanRules {
    fn admit(&self, candidate: &Member, members: &mut dyn Iterator<Item = &Member>) -> Result<(), String> {
        self.check(candidate)?;
        if !counts(candidate) {
            return Ok(());
        }
        let id = tag(candidate, "id");
        for member in members {
            if member.name != candidate.name && counts(member) && tag(member, "id").eq_ignore_ascii_case(id) {
                return Err(conflict(candidate, member));
            }
        }
        Ok(())
    }

    fn admit_all(&self, candidates: &[Member], members: &[&Member]) -> Result<(), String> {
        let mut by_id: BTreeMap<String, &Member> = BTreeMap::new();
        for member in members.iter().filter(|member| counts(member)) {
            by_id.insert(tag(member, "id").to_ascii_lowercase(), member);
        }
        for candidate in candidates {
            self.check(candidate)?;
            if !counts(candidate) {
                continue;
            }
            match by_id.insert(tag(candidate, "id").to_ascii_lowercase(), candidate) {
                Some(other) if other.name != candidate.name => return Err(conflict(candidate, other)),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Admission for WanRules {
    fn admit(&self, candidate: &Member, _: &mut dyn Iterator<Item = &Member>) -> Result<(), String> {
        check_address(candidate, &self.allowed)?;
        match role(&candidate.tags) {
            Role::Server(_) => Ok(()),
            _ => Err(format!("Member '{}' is not a server", candidate.name)),
        }
    }

    fn admit_all(&self, candidates: &[Member], _: &[&Member]) -> Result<(), String> {
        candidates.iter().try_for_each(|candidate| self.admit(candidate, &mut std::iter::empty()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const OWN: &str = "11111111-2222-3333-4444-555555555555";
    const OTHER: &str = "99999999-2222-3333-4444-555555555555";

    fn member(name: &str, tags: &[(&str, &str)]) -> Member {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Member {
            name: name.into(),
            addr: "10.0.0.1:8301".parse().unwrap(),
            tags: Arc::new(tags),
            status: Status::Alive,
            versions: [1, 5, 2, 2, 5, 4],
        }
    }

    fn agent(name: &str, id: &str) -> Member {
        member(name, &[("role", "node"), ("dc", "dc1"), ("id", id), ("build", "1.8.7:"), ("segment", "")])
    }

    fn rules(allowed: &[&str]) -> LanRules {
        LanRules {
            datacenter: "dc1".into(),
            node_name: "n1".into(),
            node_id: OWN.into(),
            allowed: allowed.iter().map(|network| network.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn the_lan_pool_is_for_one_datacenter() {
        let with = |key: &str, value: &str| {
            let mut found = agent("x", OTHER);
            Arc::make_mut(&mut found.tags).insert(key.into(), value.into());
            found
        };
        let old = |name: &str, id: &str| {
            let mut found = agent(name, id);
            Arc::make_mut(&mut found.tags).insert("build".into(), "0.8.4:".into());
            found
        };
        let known = [agent("y", OTHER)];
        let left = Member { status: Status::Left, ..agent("y", OTHER) };
        let table: Vec<(&str, Member, Vec<Member>, Option<&str>)> = vec![
            ("fine", agent("x", OTHER), vec![], None),
            ("itself", agent("n1", OWN), vec![], None),
            ("plain Serf", member("pserf", &[]), vec![], None),
            (
                "other datacenter",
                with("dc", "dc2"),
                vec![],
                Some("Member 'x' part of wrong datacenter 'dc2'"),
            ),
            (
                "a server whose tags cannot be read",
                member("s", &[("role", "consul"), ("dc", "dc2")]),
                vec![],
                Some("Member 's' part of wrong datacenter 'dc2'"),
            ),
            (
                "segment",
                with("segment", "alpha"),
                vec![],
                Some("Member 'x' part of wrong segment 'alpha' (expected '')"),
            ),
            (
                "our id",
                agent("x", OWN),
                vec![],
                Some(
                    "Member 'x' has conflicting node ID '11111111-2222-3333-4444-555555555555' with this agent's ID",
                ),
            ),
            (
                "another's id",
                agent("x", OTHER),
                known.to_vec(),
                Some(
                    "Member 'x' has conflicting node ID '99999999-2222-3333-4444-555555555555' with member 'y'",
                ),
            ),
            ("the same member", agent("y", OTHER), known.to_vec(), None),
            ("one that left", agent("x", OTHER), vec![left], None),
            ("old builds", old("x", OTHER), known.to_vec(), None),
        ];
        let rules = rules(&[]);
        for (case, candidate, members, wanted) in table {
            let one = rules.admit(&candidate, &mut members.iter()).err();
            assert_eq!(one.as_deref(), wanted, "{case}");
            let members: Vec<&Member> = members.iter().collect();
            let all = rules.admit_all(&[candidate], &members).err();
            assert_eq!(all.as_deref(), wanted, "{case}, in a join");
        }
        let twice = [agent("x", OTHER), agent("z", OTHER)];
        assert!(rules.admit_all(&twice, &[]).is_err(), "among those who come");
    }

    #[test]
    fn networks_may_be_shut_out() {
        let inside = rules(&["10.0.0.0/8"]);
        assert_eq!(inside.admit(&agent("x", OTHER), &mut std::iter::empty()), Ok(()));
        let outside = rules(&["192.168.0.0/16"]);
        let refused = outside.admit(&agent("x", OTHER), &mut std::iter::empty()).unwrap_err();
        assert_eq!(refused, "Member 'x' has an address that is not allowed: 10.0.0.1");
    }

    #[test]
    fn the_wan_pool_is_for_servers() {
        let rules = WanRules { allowed: Vec::new() };
        let server =
            member("s1.dc1", &[("role", "consul"), ("port", "8300"), ("vsn", "2"), ("build", "1.8.7:")]);
        assert_eq!(rules.admit_all(std::slice::from_ref(&server), &[]), Ok(()));
        let refused = rules.admit_all(&[server, agent("c1", OTHER)], &[]);
        assert_eq!(refused, Err("Member 'c1' is not a server".into()));
    }
}
