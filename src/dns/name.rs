//! What a question's name asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use super::message::rtype;
use super::wire;

/// What a name in one of the own zones asks for. Texts are in lower case and escaped as in zone files,
/// so that a label with a dot in it never looks like two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// A node by name.
    Node {
        /// Its name.
        name: &'a str,
        /// In the own datacenter.
        here: bool,
    },
    /// The instances of a service.
    Service {
        /// Its name; empty for `_._tcp`.
        name: &'a str,
        /// The tags they must have, joined by `+`; empty: any.
        tags: &'a str,
        /// Not the instances but what serves them through Connect.
        connect: bool,
        /// In the own datacenter.
        here: bool,
    },
    /// An address written as a name.
    Addr(IpAddr),
    /// An address of neither length: an empty answer.
    NoAddr,
    /// What is not built yet: prepared queries and ingress gateways. Nothing is known by such a name.
    Unbuilt,
    /// Nothing that exists.
    Invalid,
}

/// A name as text: its labels in lower case, escaped and joined by dots.
#[derive(Debug, Default)]
pub struct Labels {
    text: SmallVec<[u8; 128]>,
    /// Where each label begins and ends in the text.
    spans: SmallVec<[(u16, u16); 16]>,
}

impl Labels {
    /// Of a name in wire form. The longest, 255 bytes all escaped, is a text of less than 1,024.
    #[expect(clippy::cast_possible_truncation, reason = "see above")]
    pub fn read(name: &[u8]) -> Self {
        let mut labels = Self::default();
        for label in wire::labels(name) {
            if !labels.text.is_empty() {
                labels.text.push(b'.');
            }
            let start = labels.text.len() as u16;
            for byte in label {
                match byte {
                    b'A'..=b'Z' => labels.text.push(byte | 0x20),
                    b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                        labels.text.extend_from_slice(&[b'\\', *byte]);
                    }
                    b'!'..=b'~' => labels.text.push(*byte),
                    _ => {
                        let digits = [byte / 100, byte / 10 % 10, byte % 10].map(|digit| b'0' + digit);
                        labels.text.push(b'\\');
                        labels.text.extend_from_slice(&digits);
                    }
                }
            }
            labels.spans.push((start, labels.text.len() as u16));
        }
        labels
    }

    /// How many labels there are.
    pub fn count(&self) -> usize {
        self.spans.len()
    }

    /// One label; empty beyond the last.
    pub fn label(&self, at: usize) -> &str {
        self.range(at, at + 1)
    }

    /// The labels from one up to but not including another, joined by dots.
    pub fn range(&self, from: usize, to: usize) -> &str {
        let (Some((start, _)), Some((_, end))) =
            (self.spans.get(from), to.checked_sub(1).and_then(|last| self.spans.get(last)))
        else {
            return "";
        };
        // What was pushed is ASCII.
        let bytes = self.text.get(usize::from(*start)..usize::from(*end)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// Understands the labels left of the zone, which is the last `zone` of them.
pub fn understand<'a>(labels: &'a Labels, zone: usize, datacenter: &str, qtype: u16) -> Lookup<'a> {
    let count = labels.count().saturating_sub(zone);
    for at in (0..count).rev() {
        let kind = labels.label(at);
        if matches!(kind, "service" | "connect" | "ingress" | "node" | "query" | "addr") {
            return of_kind(labels, kind, at, at + 1..count, datacenter);
        }
        // `_name._tcp` and the like: for SRV the kind may be left out.
        if qtype == rtype::SRV && kind.starts_with('_') {
            return of_kind(labels, "service", at + 1, at + 1..count, datacenter);
        }
    }
    Lookup::Invalid
}

/// A name of a kind: `parts` labels left of it, the `suffix` right of it.
fn of_kind<'a>(
    labels: &'a Labels,
    kind: &str,
    parts: usize,
    suffix: std::ops::Range<usize>,
    datacenter: &str,
) -> Lookup<'a> {
    if kind == "addr" {
        return if parts == 1 { addr(labels.label(0)) } else { Lookup::Invalid };
    }
    if parts == 0 || suffix.len() > 1 {
        return Lookup::Invalid;
    }
    let here = suffix.is_empty() || labels.label(suffix.start) == datacenter;
    let last = labels.label(parts - 1);
    match kind {
        "node" => Lookup::Node { name: labels.range(0, parts), here },
        "connect" => Lookup::Service { name: last, tags: "", connect: true, here },
        "service" => {
            let (name, tags) = match (labels.label(0).strip_prefix('_'), last.strip_prefix('_')) {
                (Some(name), Some(tag)) if parts == 2 => (name, if tag == "tcp" { "" } else { tag }),
                _ => (last, labels.range(0, parts - 1)),
            };
            Lookup::Service { name, tags, connect: false, here }
        }
        _ => Lookup::Unbuilt,
    }
}

fn addr(digits: &str) -> Lookup<'static> {
    let ip = match digits.len() / 2 {
        4 => hex::<4>(digits).map(|octets| IpAddr::V4(Ipv4Addr::from(octets))),
        16 => hex::<16>(digits).map(|octets| IpAddr::V6(Ipv6Addr::from(octets))),
        _ => return Lookup::NoAddr,
    };
    ip.map_or(Lookup::Invalid, Lookup::Addr)
}

fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut octets = [0; N];
    if digits.len() != 2 * N || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, octet) in octets.iter_mut().enumerate() {
        *octet = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(octets)
}

/// The address a reverse name (`7.0.1.10.in-addr.arpa`, `….ip6.arpa`) stands for.
pub fn reverse(labels: &Labels) -> Option<IpAddr> {
    let count = labels.count().checked_sub(2)?;
    match (labels.label(count), labels.label(count + 1), count) {
        ("in-addr", "arpa", 4) => {
            let mut octets = [0; 4];
            for (at, octet) in octets.iter_mut().enumerate() {
                let label = labels.label(3 - at);
                *octet = label.parse().ok()?;
                if octet.to_string() != label {
                    return None;
                }
            }
            Some(Ipv4Addr::from(octets).into())
        }
        ("ip6", "arpa", 32) => {
            let mut digits = String::with_capacity(32);
            (0..32).rev().for_each(|at| digits.push_str(labels.label(at)));
            hex::<16>(&digits).map(|octets| Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        Labels::read(&wire::name(text).unwrap())
    }

    #[test]
    fn lookups() {
        fn service<'a>(name: &'a str, tags: &'a str, here: bool) -> Lookup<'a> {
            Lookup::Service { name, tags, connect: false, here }
        }
        let six: IpAddr = "2001:db8:1:2:cafe::1337".parse().unwrap();
        let table = [
            ("Foo.node.consul", rtype::A, Lookup::Node { name: "foo", here: true }),
            ("foo.bar.node.DC1.consul", rtype::A, Lookup::Node { name: "foo.bar", here: true }),
            ("foo.node.dc9.consul", rtype::A, Lookup::Node { name: "foo", here: false }),
            ("foo.node.dc1.extra.consul", rtype::A, Lookup::Invalid),
            ("node.consul", rtype::A, Lookup::Invalid),
            ("node.dc1.consul", rtype::A, Lookup::Invalid),
            ("db.service.consul", rtype::A, service("db", "", true)),
            ("v1.2.db.service.dc1.consul", rtype::A, service("db", "v1.2", true)),
            ("v2+primary.web.service.consul", rtype::A, service("web", "v2+primary", true)),
            ("_db._tcp.service.consul", rtype::A, service("db", "", true)),
            ("_DB._Replica.service.dc9.consul", rtype::SRV, service("db", "replica", false)),
            ("_db._udp.consul", rtype::SRV, service("db", "udp", true)),
            ("_db._tcp.dc1.consul", rtype::SRV, service("db", "", true)),
            ("_db._tcp.consul", rtype::A, Lookup::Invalid),
            ("_.service.consul", rtype::SRV, service("_", "", true)),
            ("_._tcp.service.consul", rtype::SRV, service("", "", true)),
            ("_db._.service.consul", rtype::SRV, service("db", "", true)),
            (
                "t.web.connect.consul",
                rtype::A,
                Lookup::Service { name: "web", tags: "", connect: true, here: true },
            ),
            ("q.query.consul", rtype::A, Lookup::Unbuilt),
            ("web.ingress.consul", rtype::A, Lookup::Unbuilt),
            ("7F00000a.addr.a.b.consul", rtype::SRV, Lookup::Addr([127, 0, 0, 10].into())),
            ("20010db800010002cafe000000001337.addr.consul", rtype::A, Lookup::Addr(six)),
            ("7f00000.addr.consul", rtype::A, Lookup::NoAddr),
            ("7f0000011.addr.consul", rtype::A, Lookup::Invalid),
            ("zzzzzzzz.addr.consul", rtype::A, Lookup::Invalid),
            ("+f000001.addr.consul", rtype::A, Lookup::Invalid),
            ("x.7f000001.addr.consul", rtype::A, Lookup::Invalid),
            ("addr.consul", rtype::A, Lookup::Invalid),
            ("consul", rtype::A, Lookup::Invalid),
            ("foo.bar.consul", rtype::A, Lookup::Invalid),
        ];
        for (name, qtype, want) in table {
            assert_eq!(understand(&labels(name), 1, "dc1", qtype), want, "{name}");
        }
    }

    #[test]
    fn escapes() {
        let read = Labels::read(b"\x03a.b\x05\0\xff \\c\x04node\0");
        assert_eq!(read.range(0, 3), r"a\.b.\000\255\ \\c.node");
        assert_eq!((read.count(), read.label(2), read.label(3), read.range(2, 1)), (3, "node", "", ""));
    }

    #[test]
    fn reverse_names() {
        let six = "2.4.2.4.2.4.2.4.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";
        let table = [
            ("7.0.1.10.IN-ADDR.ARPA", Some("10.1.0.7")),
            (six, Some("::4242:4242")),
            ("07.0.1.10.in-addr.arpa", None),
            ("300.1.2.3.in-addr.arpa", None),
            ("1.2.ip6.arpa", None),
            ("in-addr.arpa", None),
            ("arpa", None),
        ];
        for (name, want) in table {
            assert_eq!(reverse(&labels(name)), want.map(|ip| ip.parse().unwrap()), "{name}");
        }
    }
}
