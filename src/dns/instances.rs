//! The healthy instances of a service as answers need them, prepared once per change of the service.
//!
//! A pool holds what one kind of question draws from: no two entries give the same record, addresses of
//! the other family are left out, names are in wire form. So an answer with three records costs the same
//! whether three instances stand behind the name or five thousand.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdSet;

use super::addresses::{self, Kind};
use super::wire::{self, WireName};
use super::zones::Zones;
use crate::state::View;
use crate::state::record::{Check, Service, Status};
use crate::state::view::{Folded, NodeEntry, same_name};

/// Which instances are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Service name, folded.
    pub name: &'a str,
    /// Tags, folded and joined by `+`; empty for any.
    pub tags: &'a str,
    /// What serves the name through Connect.
    pub connect: bool,
    /// Leave out what has a warning.
    pub only_passing: bool,
    /// What the question's type means.
    pub kind: Kind,
}

/// Where an instance is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// At an address.
    Ip(IpAddr),
    /// Behind a host name, in wire form.
    Host(Box<[u8]>),
}

/// One record, or what it is made from.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The node it lives on.
    pub node: Arc<NodeEntry>,
    /// Where it is reached.
    pub place: Place,
    /// What SRV points to; empty for other kinds.
    pub target: Box<[u8]>,
    /// Port, for SRV.
    pub port: u16,
    /// Weight by its state of health.
    pub weight: u16,
}

/// What the answers of a service are drawn from.
#[derive(Debug)]
pub struct Pool {
    /// The candidates; for addresses either all of them [`Place::Ip`] or all [`Place::Host`].
    pub entries: Vec<Entry>,
    /// How often each comes first: the sum of the weights up to and with it. None if all are alike.
    pub cumulative: Option<Vec<u64>>,
    /// Length of the shortest target.
    pub shortest: usize,
    /// The answer depends on how the question spells its name, so the pool fits only this one.
    pub spelled: bool,
}

/// A weight in the shuffle. A weight of 0 is not "never" but "hardly ever" (RFC 2782).
fn shuffle_weight(weight: u16) -> u64 {
    if weight == 0 { 1 } else { u64::from(weight) * 256 }
}

/// The instances a question is about, and the index of their last change.
pub fn named<'v>(view: &'v View, wanted: &Wanted<'_>) -> Option<(u64, &'v OrdSet<(Folded, Folded)>)> {
    if wanted.connect {
        // Proxies of several services may serve one name: any change may matter.
        view.connect.get(wanted.name).map(|instances| (view.index, instances))
    } else {
        view.services.get(wanted.name).map(|entry| (entry.index, &entry.instances))
    }
}

/// Collects the pool of a question; none if no instance is healthy.
pub fn prepare(
    view: &View,
    instances: &OrdSet<(Folded, Folded)>,
    wanted: &Wanted<'_>,
    question: &[u8],
    zones: &Zones,
) -> Option<Pool> {
    let mut collector = Collector {
        wanted,
        question,
        zones,
        seen: HashMap::with_capacity(instances.len()),
        entries: Vec::with_capacity(instances.len()),
        sums: Vec::with_capacity(instances.len()),
        healthy: false,
        spelled: false,
    };
    for (node, id) in instances {
        let Some(entry) = view.nodes.get(node) else { continue };
        let Some(service) = entry.services.get(id) else { continue };
        if has_tags(service, wanted.tags)
            && let Some(weight) = healthy_weight(entry, service, wanted.only_passing)
        {
            collector.healthy = true;
            collector.add(entry, service, weight);
        }
    }
    collector.healthy.then(|| collector.finish())
}

/// Whether a service has a tag that is written so, or all the tags joined by `+`.
fn has_tags(service: &Service, tags: &str) -> bool {
    let has = |wanted: &str| {
        service.tags.iter().any(|tag| if tag.is_ascii() { tag.eq_ignore_ascii_case(wanted) } else { false })
    };
    tags.is_empty() || has(tags) || (tags.contains('+') && tags.split('+').all(has))
}

/// The weight of an instance by its checks and those of its node; none if it is to be left out.
fn healthy_weight(entry: &NodeEntry, service: &Service, only_passing: bool) -> Option<u16> {
    let own = |check: &Check| check.service_id.is_empty() || same_id(&check.service_id, &service.id);
    let mut warning = false;
    for check in entry.checks.values().filter(|check| own(check)) {
        if check.status == Status::Critical.as_str()
            || (only_passing && check.status != Status::Passing.as_str())
        {
            return None;
        }
        warning |= check.status == Status::Warning.as_str();
    }
    let weight = if warning { service.weights.warning } else { service.weights.passing };
    Some(u16::try_from(weight.max(0)).unwrap_or(u16::MAX))
}

/// [`same_name`] without its allocations where they can be saved.
fn same_id(one: &str, other: &str) -> bool {
    if one.is_ascii() && other.is_ascii() { one.eq_ignore_ascii_case(other) } else { same_name(one, other) }
}

fn boxed(name: WireName) -> Box<[u8]> {
    name.into_vec().into_boxed_slice()
}

struct Collector<'a> {
    wanted: &'a Wanted<'a>,
    question: &'a [u8],
    zones: &'a Zones,
    /// Which entry a record has; for SRV by node and port too.
    seen: HashMap<(Place, Option<(Folded, u16)>), usize>,
    entries: Vec<Entry>,
    sums: Vec<u64>,
    healthy: bool,
    spelled: bool,
}

impl Collector<'_> {
    fn add(&mut self, node: &Arc<NodeEntry>, service: &Service, weight: u16) {
        let kind = self.wanted.kind;
        let own = addresses::of_service(kind, service);
        let nodes = addresses::of_node(kind, &node.node);
        let Some((place, by_node)) = self.place(own, nodes, nodes == node.node.address) else { return };
        if matches!(place, Place::Ip(ip) if !kind.takes(ip)) {
            return;
        }
        let port = u16::try_from(service.port).unwrap_or(0);
        let srv = kind == Kind::Srv;
        let target = match &place {
            _ if !srv => Some(Box::default()),
            Place::Host(host) => Some(host.clone()),
            Place::Ip(_) if by_node => self.zones.node_name(&node.node.node).map(boxed),
            Place::Ip(ip) => Some(boxed(wire::addr_name(*ip, &self.zones.dc_tail))),
        };
        // A node whose name fits in no message cannot be pointed to.
        let Some(target) = target else { return };
        let key = (place.clone(), srv.then(|| (Arc::clone(&node.node.node), port)));
        let at = *self.seen.entry(key).or_insert(self.entries.len());
        if let Some(sum) = self.sums.get_mut(at) {
            *sum += shuffle_weight(weight);
            return;
        }
        self.sums.push(shuffle_weight(weight));
        self.entries.push(Entry { node: Arc::clone(node), place, target, port, weight });
    }

    /// Where an instance is reached, and whether that is what its node's name stands for.
    fn place(&mut self, own: &str, nodes: &str, node_is_plain: bool) -> Option<(Place, bool)> {
        let node_place = |plain| match nodes.parse() {
            Ok(ip) => Some((Place::Ip(ip), plain)),
            Err(_) if nodes.is_empty() => None,
            Err(_) => wire::name(nodes).map(|host| (Place::Host(boxed(host)), false)),
        };
        if own.is_empty() {
            return node_place(node_is_plain);
        }
        if let Ok(ip) = own.parse() {
            return Some((Place::Ip(ip), false));
        }
        let host = wire::name(own)?;
        if self.zones.own(&host) {
            self.spelled = true;
            if *host == *self.question && nodes.parse::<IpAddr>().is_ok() {
                return node_place(true);
            }
        }
        Some((Place::Host(boxed(host)), false))
    }

    fn finish(mut self) -> Pool {
        // Addresses win over aliases.
        let is_ip = |entry: &Entry| matches!(entry.place, Place::Ip(_));
        if self.wanted.kind != Kind::Srv && self.entries.iter().any(is_ip) {
            let mut sums = std::mem::take(&mut self.sums).into_iter();
            self.entries.retain(|entry| {
                let sum = sums.next().unwrap_or(1);
                is_ip(entry) && {
                    self.sums.push(sum);
                    true
                }
            });
        }
        self.entries.shrink_to_fit();
        let alike = self.sums.windows(2).all(|pair| pair[0] == pair[1]);
        let cumulative = (!alike).then(|| {
            let mut total = 0;
            self.sums
                .iter()
                .map(|sum| {
                    total += sum;
                    total
                })
                .collect()
        });
        let shortest = self.entries.iter().map(|entry| entry.target.len()).min().unwrap_or(0);
        Pool { entries: self.entries, cumulative, shortest, spelled: self.spelled }
    }
}
