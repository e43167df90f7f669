//! The zones answered for, and names written below them.

use super::settings::DnsFacts;
use super::wire::{self, WireName};

/// One zone.
#[derive(Debug, PartialEq, Eq)]
struct Zone {
    /// In wire form, lower case.
    name: WireName,
    labels: usize,
}

/// Which zone a name is in, with the number of labels that are the zone's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belongs {
    /// `domain` or `alt_domain`.
    Own(usize),
    /// `arpa.`: addresses turned into names.
    Reverse,
    /// Somebody else's.
    Foreign,
}

/// The zones of this agent.
#[derive(Debug, PartialEq, Eq)]
pub struct Zones {
    /// Own datacenter in lower case.
    pub datacenter: String,
    /// `domain` in wire form: owner of NS and SOA.
    pub domain: WireName,
    /// `<datacenter>.<domain>` in wire form.
    pub dc_tail: WireName,
    /// `ns.<domain>` in wire form.
    pub soa_server: WireName,
    /// `hostmaster.<domain>` in wire form.
    pub soa_mailbox: WireName,
    /// The own zones and `arpa.`, the longest first.
    all: Vec<(Zone, bool)>,
}

impl Zones {
    /// From the settings, which have been checked. A domain that cannot be a name counts as the root.
    pub fn new(facts: DnsFacts) -> Self {
        let DnsFacts { datacenter, domain, alt_domain } = facts;
        let zone = |text: &str| {
            let name = wire::name(&text.to_lowercase()).unwrap_or_else(|| WireName::from_slice(&[0]));
            let labels = wire::labels(&name).count();
            Zone { name, labels }
        };
        let own = [Some(&domain), alt_domain.as_ref()];
        let mut zones: Vec<_> = own.into_iter().flatten().map(|text| (zone(text), true)).collect();
        zones.push((zone("arpa."), false));
        zones.sort_by_key(|(zone, _)| std::cmp::Reverse(zone.labels));
        let domain = zone(&domain).name;
        let below = |label: &str| wire::join(&[label], &domain).unwrap_or_else(|| domain.clone());
        let datacenter = datacenter.to_lowercase();
        Self {
            dc_tail: below(&datacenter),
            soa_server: below("ns"),
            soa_mailbox: below("hostmaster"),
            datacenter,
            domain,
            all: zones,
        }
    }

    /// The zone a name in wire form is in: the longest that fits.
    pub fn of(&self, name: &[u8]) -> Belongs {
        match self.all.iter().find(|(zone, _)| wire::below(name, &zone.name)) {
            Some((zone, true)) => Belongs::Own(zone.labels),
            Some((_, false)) => Belongs::Reverse,
            None => Belongs::Foreign,
        }
    }

    /// Whether a name in wire form is answered for here.
    pub fn own(&self, name: &[u8]) -> bool {
        matches!(self.of(name), Belongs::Own(_))
    }

    /// `<node>.node.<datacenter>.<domain>`, in the node's own letter case. None if that fits in no
    /// message.
    pub fn node_name(&self, node: &str) -> Option<WireName> {
        wire::join(&[node, "node"], &self.dc_tail)
    }

    /// `<service>.service.<datacenter>.<domain>`.
    pub fn service_name(&self, service: &str) -> Option<WireName> {
        wire::join(&[service, "service"], &self.dc_tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn belongs() {
        let facts = DnsFacts {
            datacenter: "EU".into(),
            domain: "Corp.Example.".into(),
            alt_domain: Some("dc.corp.example".into()),
        };
        let zones = Zones::new(facts);
        let table = [
            ("a.corp.example", Belongs::Own(2)),
            ("CORP.example", Belongs::Own(2)),
            ("a.dc.corp.example", Belongs::Own(3)),
            ("xcorp.example", Belongs::Foreign),
            ("example", Belongs::Foreign),
            ("", Belongs::Foreign),
            ("1.in-addr.ARPA", Belongs::Reverse),
        ];
        for (name, want) in table {
            assert_eq!(zones.of(&wire::name(name).unwrap()), want, "{name}");
        }
        assert_eq!(zones.node_name("N1"), wire::name("N1.node.eu.corp.example"));
    }
}
