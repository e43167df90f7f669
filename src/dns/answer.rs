//! The records that answer a question, by what its name asks for.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rand::rngs::SmallRng;
use smallvec::{SmallVec, smallvec};

use super::addresses::{self, Kind};
use super::hosts::{Hosts, Lead};
use super::instances::{Entry, Place, Pool, Wanted};
use super::message::{rcode, rtype};
use super::name::{self, Labels, Lookup};
use super::needs::{Lacking, Need};
use super::pick::pick;
use super::pools::{Lent, Pools};
use super::record::{Data, Limits, Owner, Record, Reply};
use super::settings::{DnsSettings, seconds};
use super::text;
use super::wire;
use super::zones::{Belongs, Zones};
use crate::state::View;
use crate::state::record::Node;
use crate::state::view::NodeEntry;

/// How deep names of the own zones that stand in for addresses are followed; it ends loops too.
const DEEPEST: u8 = 3;
/// Most name servers named.
const MOST_SERVERS: usize = 3;
/// Most records a host name adds to an answer without EDNS.
const MOST_FOLLOWED: usize = 5;
/// Most answers of a datagram without EDNS, whatever the settings say.
const MOST_PLAIN: usize = 8;
/// Most SRV answers, and most others, of a reply.
const MOST_SRV: usize = 1024;
const MOST_ANSWERS: usize = 4096;

/// A question.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Its name in wire form, as spelled.
    pub name: &'a [u8],
    /// Its type.
    pub qtype: u16,
    /// How much may be answered.
    pub room: Room,
}

/// How much may be answered.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// By datagram and without EDNS (or with too little of it to matter).
    pub plain: bool,
    /// The question came with EDNS.
    pub edns: bool,
    /// Bytes for the whole reply.
    pub bytes: usize,
}

/// Everything an answer is made from.
#[derive(Debug)]
pub struct Answering<'a, 'h> {
    /// The published snapshot.
    pub view: &'a View,
    /// It is fresh enough to be answered from.
    pub fresh: bool,
    /// The own zones.
    pub zones: &'a Zones,
    /// Settings in effect.
    pub settings: &'a DnsSettings,
    /// The pools kept.
    pub pools: &'a Pools,
    /// Foreign host names.
    pub hosts: &'h mut Hosts,
    /// On an agent without a state: what the view was put together from, and what it still lacks.
    pub lacking: Option<Lacking<'h>>,
    /// Chance.
    pub rng: &'h mut SmallRng,
    /// Names of the own zones followed so far.
    pub depth: u8,
}

impl<'a> Answering<'a, '_> {
    /// Answers a question about one of the own zones, the last `zone` labels. `lent` keeps what the
    /// records are borrowed from.
    pub fn own<'r>(
        &mut self,
        question: Question<'_>,
        labels: &Labels,
        zone: usize,
        lent: &'r mut Option<Lent>,
    ) -> Reply<'r>
    where
        'a: 'r,
    {
        match question.qtype {
            rtype::AXFR => return Reply::of(rcode::NOTIMP),
            rtype::NS => return self.servers(false, lent),
            rtype::SOA => return self.servers(true, lent),
            _ => {}
        }
        match name::understand(labels, zone, &self.zones.datacenter, question.qtype) {
            Lookup::Node { name, here } => self.node(question, name, here),
            Lookup::Service { name: "", .. } => Reply::of(rcode::SERVFAIL),
            Lookup::Service { .. } if !self.is_fresh() => Reply::of(rcode::SERVFAIL),
            Lookup::Service { here: false, .. } | Lookup::Unbuilt => self.nothing(),
            Lookup::Service { name, tags, connect, here: true } => {
                let only_passing = self.settings.only_passing;
                let wanted = Wanted { name, tags, connect, only_passing, kind: Kind::of(question.qtype) };
                self.service(question, &wanted, lent)
            }
            Lookup::Addr(ip) => self.addr(question, labels, zone, ip),
            Lookup::NoAddr => Reply::default(),
            Lookup::Invalid => {
                tracing::warn!(qname = labels.range(0, labels.count()), "QName invalid");
                self.nothing()
            }
        }
    }

    /// Whether the snapshot may be answered from. A server that may not asks the leader first, and comes again.
    fn is_fresh(&mut self) -> bool {
        if !self.fresh && self.lacking.is_none() && self.hosts.lead == Lead::Unasked {
            self.hosts.lead = Lead::Wanted;
        }
        self.fresh
    }

    /// Answers a reverse question; none if the catalog does not know the address.
    pub fn reverse(&mut self, question: Question<'_>, labels: &Labels) -> Option<Reply<'a>> {
        let ip = name::reverse(labels).filter(|_| self.is_fresh())?;
        if !self.has(|| Need::Nodes) {
            return None;
        }
        let node = find_node(self.view, self.zones, ip);
        if node.is_none() && !self.has(|| Need::At(ip)) {
            return None;
        }
        let target = node.or_else(|| find_service(self.view, self.zones, ip))?;
        let data = Data::Name(rtype::PTR, Cow::Owned(target.into_vec()));
        let answer = smallvec![Record { owner: Owner::Question, ttl: 0, data }];
        let mut reply = Reply { answer, ..Reply::default() };
        if question.qtype == rtype::SOA {
            reply.authority.push(self.soa());
        }
        Some(reply)
    }

    /// Whether what is looked for is here, if it exists: always so but on an agent that must ask for it first.
    fn has(&mut self, need: impl FnOnce() -> Need) -> bool {
        self.lacking.as_mut().is_none_or(|lacking| lacking.has(need()))
    }

    fn soa(&self) -> Record<'a> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, seconds);
        let times = self.settings.soa;
        Record {
            owner: Owner::Name(Cow::Borrowed(&self.zones.domain)),
            ttl: times.min_ttl,
            data: Data::Soa { zones: self.zones, serial: now, times },
        }
    }

    /// There is no such name.
    fn nothing<'r>(&self) -> Reply<'r>
    where
        'a: 'r,
    {
        Reply { authority: smallvec![self.soa()], ..Reply::of(rcode::NXDOMAIN) }
    }

    fn addr<'r>(&self, question: Question<'_>, labels: &Labels, zone: usize, ip: IpAddr) -> Reply<'r> {
        // The owner is in lower case and in the main domain, whatever was asked.
        let left: Vec<&str> =
            (0..labels.count().saturating_sub(zone)).map(|label| labels.label(label)).collect();
        let owner = match wire::join(&left, &self.zones.domain) {
            Some(name) => Owner::Name(Cow::Owned(name.into_vec())),
            None => Owner::Name(Cow::Owned(question.name.to_ascii_lowercase())),
        };
        let record = Record { owner, ttl: self.settings.node_ttl, data: Data::Ip(ip) };
        Reply { answer: smallvec![record], ..Reply::default() }
    }

    fn node<'r>(&mut self, question: Question<'_>, name: &str, here: bool) -> Reply<'r>
    where
        'a: 'r,
    {
        let kind = match question.qtype {
            rtype::A => Kind::A,
            rtype::AAAA => Kind::Aaaa,
            rtype::ANY | rtype::TXT => Kind::Any,
            _ => return Reply::default(),
        };
        if !self.is_fresh() {
            return Reply::of(rcode::SERVFAIL);
        }
        if here && !self.has(|| Need::Node(name.to_owned())) {
            return Reply::default();
        }
        let Some(entry) = self.view.nodes.get(name).filter(|_| here) else { return self.nothing() };
        let ttl = self.settings.node_ttl;
        let mut reply = Reply::default();
        if question.qtype != rtype::TXT {
            let address = addresses::of_node(kind, &entry.node);
            if let Ok(ip) = address.parse() {
                if kind.takes(ip) {
                    reply.answer.push(Record { owner: Owner::Question, ttl, data: Data::Ip(ip) });
                }
            } else if let Some(host) = wire::name(address).filter(|host| host.len() > 1) {
                let data = Data::Name(rtype::CNAME, Cow::Owned(host.to_vec()));
                reply.answer.push(Record { owner: Owner::Question, ttl, data });
                reply.answer.extend(self.follow(&host));
            }
        }
        let texts =
            texts(&entry.node).map(|text| Record { owner: Owner::Question, ttl, data: Data::Txt(text) });
        if kind == Kind::Any {
            reply.answer.extend(texts);
        } else if self.settings.node_meta_txt {
            reply.additional.extend(texts);
        }
        reply
    }

    /// NS, or SOA with NS in authority. A server whose name is no host name is left out.
    fn servers<'r>(&mut self, soa: bool, lent: &'r mut Option<Lent>) -> Reply<'r>
    where
        'a: 'r,
    {
        let mut reply = Reply::default();
        if self.is_fresh() && self.has(|| Need::Service("consul".to_owned())) {
            let only_passing = self.settings.only_passing;
            let wanted = Wanted { name: "consul", tags: "", connect: false, only_passing, kind: Kind::Srv };
            *lent = self.pools.lend(self.view, &wanted, &[], self.zones);
        }
        let ttl = self.settings.node_ttl;
        let entries = lent.as_ref().and_then(Lent::pool).map_or(&[][..], |pool| &pool.entries);
        let mut seen: Vec<&str> = Vec::new();
        for at in pick(entries.len(), None, entries.len(), self.rng) {
            let Some(node) = entries.get(at as usize).map(|entry| &entry.node.node) else { continue };
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if !node.node.bytes().all(plain) || seen.contains(&&*node.node) {
                continue;
            }
            let Some(target) = self.zones.node_name(&node.node.to_ascii_lowercase()) else { continue };
            seen.push(&node.node);
            if let Ok(ip) = addresses::of_node(Kind::Any, node).parse() {
                let owner = Owner::Name(Cow::Owned(target.to_vec()));
                reply.additional.push(Record { owner, ttl, data: Data::Ip(ip) });
            }
            let owner = Owner::Name(Cow::Owned(self.zones.domain.to_vec()));
            let data = Data::Name(rtype::NS, Cow::Owned(target.into_vec()));
            let server = Record { owner, ttl, data };
            if soa {
                reply.authority.push(server);
            } else {
                reply.answer.push(server);
            }
            if seen.len() == MOST_SERVERS {
                break;
            }
        }
        if soa {
            reply.answer.push(self.soa());
        }
        reply
    }

    fn service<'r>(
        &mut self,
        question: Question<'_>,
        wanted: &Wanted<'_>,
        lent: &'r mut Option<Lent>,
    ) -> Reply<'r>
    where
        'a: 'r,
    {
        let name = || wanted.name.to_owned();
        if !self.has(|| if wanted.connect { Need::Connect(name()) } else { Need::Service(name()) }) {
            return Reply::default();
        }
        *lent = self.pools.lend(self.view, wanted, question.name, self.zones);
        let lent: &'r Option<Lent> = lent;
        let Some(pool) = lent.as_ref().and_then(Lent::pool) else { return self.nothing() };
        let ttl = self.settings.service_ttl.of(wanted.name);
        let mut reply = Reply::default();
        let srv = wanted.kind == Kind::Srv;
        let count = match question.room {
            Room { plain: true, .. } => self.settings.udp_answer_limit.min(MOST_PLAIN),
            _ if srv => MOST_SRV,
            _ => MOST_ANSWERS,
        };
        let mut there = pool.entries.len();
        if !srv && self.settings.a_record_limit > 0 {
            there = there.min(self.settings.a_record_limit);
        }
        // No record is shorter: an address, or a host and a port, of a name that is a pointer.
        let fits = question.room.bytes / if srv { 18 + pool.shortest } else { 16 } + 1;
        // A few too many for a plain datagram count differently from some that turn out too long.
        let want = there.min(count).min(if question.room.plain { count } else { fits });
        reply.answer.reserve(want);
        let cumulative = pool.cumulative.as_deref();
        let mut more = there > want;
        if srv {
            let picked = pick(pool.entries.len(), cumulative, want, self.rng);
            let entries = picked.iter().filter_map(|at| pool.entries.get(*at as usize));
            self.hosts_and_ports(question, entries, ttl, &mut reply);
        } else if let Some(Entry { place: Place::Host(_), .. }) = pool.entries.first() {
            let alias = self.alias(question, pool, ttl);
            more = alias.len() > count;
            reply.answer.extend(alias);
        } else {
            for at in pick(pool.entries.len(), cumulative, want, self.rng) {
                if let Some(Entry { place: Place::Ip(ip), .. }) = pool.entries.get(at as usize) {
                    reply.answer.push(Record { owner: Owner::Question, ttl, data: Data::Ip(*ip) });
                }
            }
        }
        if reply.answer.is_empty() {
            reply.authority.push(self.soa());
        }
        reply.limits = Some(Limits { count, struck: question.room.plain && more, more });
        reply
    }

    /// One instance's host name and what it stands for.
    fn alias<'r>(&mut self, question: Question<'_>, pool: &'r Pool, ttl: u32) -> Vec<Record<'r>> {
        let picked = pick(pool.entries.len(), pool.cumulative.as_deref(), 1, self.rng);
        let first = picked.first().and_then(|at| pool.entries.get(*at as usize));
        let Some(Entry { place: Place::Host(host), .. }) = first else { return Vec::new() };
        let data = Data::Name(rtype::CNAME, Cow::Borrowed(&**host));
        let mut records = vec![Record { owner: Owner::Question, ttl, data }];
        records.extend(self.addresses_of(question, host, ttl));
        records
    }

    /// SRV answers, with addresses and node metadata in the additional section.
    fn hosts_and_ports<'r>(
        &mut self,
        question: Question<'_>,
        entries: impl Iterator<Item = &'r Entry>,
        ttl: u32,
        reply: &mut Reply<'r>,
    ) {
        let (mut targets, mut described) = (Seen::new(), Seen::new());
        for (answer, entry) in entries.enumerate() {
            let belongs = u32::try_from(answer).unwrap_or(u32::MAX);
            let data =
                Data::Srv { weight: entry.weight, port: entry.port, target: Cow::Borrowed(&entry.target) };
            reply.answer.push(Record { owner: Owner::Question, ttl, data });
            if targets.is_new(&*entry.target) {
                match &entry.place {
                    Place::Ip(ip) => reply.additional.push(Record {
                        owner: Owner::Target(answer),
                        ttl,
                        data: Data::Ip(*ip),
                    }),
                    Place::Host(host) => {
                        reply.additional.extend(self.addresses_of(question, host, ttl));
                    }
                }
            }
            let has_meta = entry.node.node.meta.as_ref().is_some_and(|meta| !meta.is_empty());
            if self.settings.node_meta_txt && has_meta && described.is_new(&*entry.node.node.node) {
                self.describe(&entry.node, ttl, reply);
            }
            reply.belongs.resize(reply.additional.len(), belongs);
        }
    }

    fn describe(&self, entry: &Arc<NodeEntry>, ttl: u32, reply: &mut Reply<'_>) {
        if let Some(owner) = self.zones.node_name(&entry.node.node) {
            let owner = owner.into_vec();
            reply.additional.extend(texts(&entry.node).map(|text| Record {
                owner: Owner::Name(Cow::Owned(owner.clone())),
                ttl,
                data: Data::Txt(text),
            }));
        }
    }

    /// What a service's host name stands for: addresses and the aliases that lead to them.
    fn addresses_of(&mut self, question: Question<'_>, host: &[u8], ttl: u32) -> Vec<Record<'static>> {
        let mut records = self.follow(host);
        records.retain(|record| matches!(record.data, Data::Ip(_) | Data::Name(rtype::CNAME, _)));
        if !question.room.edns {
            records.truncate(MOST_FOLLOWED);
        }
        for record in &mut records {
            record.ttl = ttl;
        }
        records
    }

    /// What a host name stands for: looked up here if it is in an own zone, else in what recursors said.
    fn follow(&mut self, host: &[u8]) -> Vec<Record<'static>> {
        let Belongs::Own(zone) = self.zones.of(host) else { return self.hosts.foreign(host) };
        if self.depth == DEEPEST {
            let labels = Labels::read(host);
            tracing::error!(name = labels.range(0, labels.count()), "names point at each other");
            return Vec::new();
        }
        self.depth += 1;
        // As Consul asks itself: by datagram, without EDNS.
        let room = Room { plain: true, edns: false, bytes: super::encode::PLAIN_UDP };
        let question = Question { name: host, qtype: rtype::ANY, room };
        let (labels, mut lent) = (Labels::read(host), None);
        let reply = self.own(question, &labels, zone, &mut lent);
        let most = reply.limits.map_or(usize::MAX, |limits| limits.count);
        let records = reply.answer.into_iter().take(most);
        let records = records.filter_map(|record| record.detached(host)).collect();
        self.depth -= 1;
        records
    }
}

/// Names met before, in an answer of any length.
struct Seen<'a, T: ?Sized> {
    few: SmallVec<[&'a T; 8]>,
    many: HashSet<&'a T>,
}

impl<'a, T: ?Sized + Eq + Hash> Seen<'a, T> {
    fn new() -> Self {
        Self { few: SmallVec::new(), many: HashSet::new() }
    }

    fn is_new(&mut self, name: &'a T) -> bool {
        if self.few.contains(&name) || self.many.contains(name) {
            return false;
        }
        if self.few.len() < 8 {
            self.few.push(name);
        } else {
            self.many.insert(name);
        }
        true
    }
}

fn texts(node: &Node) -> impl Iterator<Item = Vec<u8>> {
    node.meta.iter().flatten().map(|(key, value)| text::of_pair(key, value))
}

/// Whether an address, as somebody wrote it, is this one.
fn is_spelled(address: &str, ip: IpAddr, spelled: &str) -> bool {
    address == spelled
        || (ip.is_ipv6() && address.contains(':') && address.parse::<IpAddr>().is_ok_and(|own| own == ip))
}

/// The first node with an address.
fn find_node(view: &View, zones: &Zones, ip: IpAddr) -> Option<wire::WireName> {
    let spelled = ip.to_string();
    let mut nodes = view.nodes.values();
    let entry = nodes.find(|entry| is_spelled(&entry.node.address, ip, &spelled))?;
    zones.node_name(&entry.node.node)
}

/// The first service with an address.
fn find_service(view: &View, zones: &Zones, ip: IpAddr) -> Option<wire::WireName> {
    let spelled = ip.to_string();
    let mut services = view.nodes.values().flat_map(|entry| entry.services.values());
    let found = services.find(|service| is_spelled(&service.address, ip, &spelled))?;
    zones.service_name(&found.service)
}
