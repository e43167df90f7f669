//! Which of its addresses a node or an instance shows, by the type asked for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::message::rtype;
use crate::state::record::{Node, Service, ServiceAddress};

/// What a question's type means for instances of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Addresses of either family: ANY and, as in Consul, TXT.
    Any,
    /// Hosts and ports.
    Srv,
    /// Nothing but aliases.
    Other,
}

impl Kind {
    /// Of a type.
    pub fn of(qtype: u16) -> Self {
        match qtype {
            rtype::A => Self::A,
            rtype::AAAA => Self::Aaaa,
            rtype::ANY | rtype::TXT => Self::Any,
            rtype::SRV => Self::Srv,
            _ => Self::Other,
        }
    }

    /// Whether an address is of the family asked for.
    pub fn takes(self, ip: IpAddr) -> bool {
        match self {
            Self::A => ip.is_ipv4(),
            Self::Aaaa => ip.is_ipv6(),
            Self::Any | Self::Srv => true,
            Self::Other => false,
        }
    }
}

/// The address to show: a tagged one of the family asked for (either one, IPv6 first, where none is),
/// else the plain one.
fn choose<'a>(kind: Kind, plain: &'a str, v4: Option<&'a str>, v6: Option<&'a str>) -> &'a str {
    let tagged = match kind {
        Kind::A => v4,
        Kind::Aaaa => v6,
        Kind::Any | Kind::Srv | Kind::Other => v6.or(v4),
    };
    tagged.unwrap_or(plain)
}

/// The address a node shows.
pub fn of_node(kind: Kind, node: &Node) -> &str {
    let Some(tagged) = &node.tagged_addresses else { return &node.address };
    let of = |tag| tagged.get(tag).map(String::as_str).filter(|address| !address.is_empty());
    choose(kind, &node.address, of("lan_ipv4"), of("lan_ipv6"))
}

/// The address of its own a service instance shows; empty if it has none.
pub fn of_service(kind: Kind, service: &Service) -> &str {
    let Some(tagged) = &service.tagged_addresses else { return &service.address };
    choose(kind, &service.address, tagged_address(tagged, "lan_ipv4"), tagged_address(tagged, "lan_ipv6"))
}

fn tagged_address<'a>(tagged: &'a BTreeMap<String, ServiceAddress>, tag: &str) -> Option<&'a str> {
    tagged.get(tag).map(|address| address.address.as_str()).filter(|address| !address.is_empty())
}
