//! Writing replies: names with pointers, sizes, and what is left out when a reply is too long.

use std::net::{IpAddr, Ipv4Addr};

use smallvec::SmallVec;

use super::answer::Room;
use super::message::{HEADER, Query, rtype};
use super::record::{Data, Limits, Owner, Record, Reply, Source};

/// Largest reply to a datagram without EDNS.
pub const PLAIN_UDP: usize = 512;
/// Bytes Consul leaves free in a datagram.
const UDP_MARGIN: usize = 7;
/// Largest reply over TCP, EDNS left out.
const LARGEST_TCP: usize = 65523;
/// A pointer reaches no further.
const POINTER_REACH: usize = 0x4000;
/// Beyond so many labels no more are remembered to point at.
const MOST_LABELS: usize = 48;

/// How a reply is written.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Form {
    /// Names are shortened by pointers.
    pub compress: bool,
    /// RA of answers from the own zones.
    pub recursion: bool,
    /// TC where answers about services are cut.
    pub say_truncated: bool,
    /// Over TCP.
    pub stream: bool,
}

/// Most bytes a reply may have with everything, and without EDNS.
fn most_bytes(query: &Query<'_>, form: Form) -> (usize, usize) {
    if form.stream {
        let hard = usize::from(u16::MAX) - query.opt_length();
        return (hard, hard.min(LARGEST_TCP));
    }
    let datagram = datagram(query);
    let hard = datagram - query.opt_length();
    (hard, hard.min(datagram - UDP_MARGIN))
}

/// Largest datagram the client takes.
fn datagram(query: &Query<'_>) -> usize {
    query.edns.map_or(PLAIN_UDP, |edns| usize::from(edns.size).max(PLAIN_UDP))
}

/// How much may be answered to a query.
pub fn room(query: &Query<'_>, form: Form) -> Room {
    let plain = !form.stream && datagram(query) == PLAIN_UDP;
    Room { plain, edns: query.edns.is_some(), bytes: most_bytes(query, form).1 }
}

/// Writes a reply.
pub fn write(query: &Query<'_>, reply: &Reply<'_>, form: Form, out: &mut Vec<u8>) {
    let (hard, soft) = most_bytes(query, form);
    let mut writer = Writer {
        out,
        compress: form.compress,
        labels: SmallVec::new(),
        targets: SmallVec::new(),
        question: query.name,
    };
    writer.begin(query);
    // Where each answer ends, the question's end first.
    let mut ends: SmallVec<[u32; 8]> = SmallVec::with_capacity(reply.answer.len() + 1);
    ends.push(writer.at());
    for record in &reply.answer {
        writer.record(record);
        ends.push(writer.at());
        // What follows cannot fit either.
        if writer.out.len() > hard {
            break;
        }
    }
    let mut truncated = false;
    let mut answers = ends.len() - 1;
    let (mut authority, mut additional) = (0, 0);
    if let Some(limits) = reply.limits {
        (answers, additional) = writer.trimmed(reply, limits, &ends, soft);
        truncated |= form.say_truncated && (limits.more || answers < reply.answer.len());
    } else if writer.out.len() <= hard {
        authority = writer.section(&reply.authority, hard);
        additional = writer.section(&reply.additional, hard);
    }
    // One record that does not fit by itself: the client must come by TCP.
    while writer.out.len() > hard && answers > 0 {
        (authority, additional) = (0, 0);
        answers -= 1;
        truncated = true;
        writer.out.truncate(ends.get(answers).map_or(HEADER, |end| *end as usize));
    }
    if reply.limits.is_some() && answers == 0 && !truncated {
        authority = writer.section(&reply.authority, hard);
    }
    if reply.source != Source::Nobody {
        additional += writer.edns(query);
    }
    let own = reply.source == Source::Own;
    let aa = if own { 0x04 } else { 0 };
    let tc = if truncated { 0x02 } else { 0 };
    let ra = if reply.source == Source::Recursors || (own && form.recursion) { 0x80 } else { 0 };
    // Operation and RD are the query's, and so is CD.
    let flags = [0x80 | (query.head[2] & 0x79) | aa | tc, ra | (query.head[3] & 0x10) | reply.rcode];
    writer.finish(flags, [answers, authority, additional]);
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    compress: bool,
    /// Where labels begin that later names may point to.
    labels: SmallVec<[u16; 16]>,
    /// Where the targets of the SRV answers begin.
    targets: SmallVec<[u32; 8]>,
    question: &'a [u8],
}

#[expect(clippy::cast_possible_truncation, reason = "messages end at 64 KiB or soon behind")]
impl Writer<'_> {
    fn at(&self) -> u32 {
        self.out.len() as u32
    }

    fn begin(&mut self, query: &Query<'_>) {
        self.out.clear();
        self.out.extend_from_slice(&[query.head[0], query.head[1], 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        self.out.extend_from_slice(query.name);
        self.out.extend_from_slice(&query.qtype.to_be_bytes());
        self.out.extend_from_slice(&query.class);
        if self.compress {
            let mut at = 0;
            while let Some(length) = query.name.get(at).filter(|length| **length > 0) {
                self.remember(HEADER + at);
                at += 1 + usize::from(*length);
            }
        }
    }

    fn remember(&mut self, at: usize) {
        if at < POINTER_REACH && self.labels.len() < MOST_LABELS {
            self.labels.push(at as u16);
        }
    }

    fn pointer(&mut self, at: usize) {
        self.out.extend_from_slice(&(0xc000 | at as u16).to_be_bytes());
    }

    fn record(&mut self, record: &Record<'_>) {
        self.owner(&record.owner);
        if let Data::Ip(IpAddr::V4(ip)) = &record.data {
            return self.address(record.ttl, *ip);
        }
        let mut fixed = [0; 10];
        fixed[..2].copy_from_slice(&record.data.rtype().to_be_bytes());
        fixed[3] = 1;
        fixed[4..8].copy_from_slice(&record.ttl.to_be_bytes());
        let start = self.out.len() + fixed.len();
        fixed[8..].copy_from_slice(&(record.data.length() as u16).to_be_bytes());
        self.out.extend_from_slice(&fixed);
        self.data(&record.data);
        let length = self.out.len() - start;
        if length != record.data.length()
            && let Some(place) = self.out.get_mut(start - 2..start)
        {
            place.copy_from_slice(&(length as u16).to_be_bytes());
        }
    }

    /// All of an A record but its owner, in one piece: there may be thousands.
    fn address(&mut self, ttl: u32, ip: Ipv4Addr) {
        let ([t0, t1, t2, t3], [i0, i1, i2, i3]) = (ttl.to_be_bytes(), ip.octets());
        self.out.extend_from_slice(&[0, rtype::A as u8, 0, 1, t0, t1, t2, t3, 0, 4, i0, i1, i2, i3]);
    }

    fn owner(&mut self, owner: &Owner<'_>) {
        match owner {
            Owner::Question if self.compress && self.question.len() > 2 => self.pointer(HEADER),
            Owner::Question => self.out.extend_from_slice(self.question),
            Owner::Name(name) => self.name(name),
            Owner::Target(answer) => {
                let at = self.targets.get(*answer).map_or(HEADER, |at| *at as usize);
                if self.compress && at < POINTER_REACH {
                    return self.pointer(at);
                }
                let length = name_length(self.out.get(at..).unwrap_or_default());
                if self.compress {
                    // Its end may be near enough.
                    let name: SmallVec<[u8; 64]> = self.out.get(at..at + length).unwrap_or_default().into();
                    return self.name(&name);
                }
                self.out.extend_from_within(at..at + length);
            }
        }
    }

    fn data(&mut self, data: &Data<'_>) {
        match data {
            Data::Ip(IpAddr::V4(ip)) => self.out.extend_from_slice(&ip.octets()),
            Data::Ip(IpAddr::V6(ip)) => self.out.extend_from_slice(&ip.octets()),
            Data::Name(_, name) => self.name(name),
            Data::Srv { weight, port, target } => {
                self.out.extend_from_slice(&1_u16.to_be_bytes());
                self.out.extend_from_slice(&weight.to_be_bytes());
                self.out.extend_from_slice(&port.to_be_bytes());
                // Written in full (RFC 2782), but later names may point to it.
                self.targets.push(self.out.len() as u32);
                self.full_name(target);
            }
            Data::Txt(text) if text.is_empty() => self.out.push(0),
            Data::Txt(text) => {
                for part in text.chunks(255) {
                    self.out.push(part.len() as u8);
                    self.out.extend_from_slice(part);
                }
            }
            Data::Soa { zones, serial, times } => {
                self.name(&zones.soa_server);
                self.name(&zones.soa_mailbox);
                for number in [*serial, times.refresh, times.retry, times.expire, times.min_ttl] {
                    self.out.extend_from_slice(&number.to_be_bytes());
                }
            }
            Data::Raw(_, data) => self.out.extend_from_slice(data),
        }
    }

    fn full_name(&mut self, name: &[u8]) {
        let start = self.out.len();
        self.out.extend_from_slice(name);
        if self.compress && self.labels.len() < MOST_LABELS / 2 {
            let mut at = 0;
            while let Some(length) = name.get(at).filter(|length| **length > 0) {
                self.remember(start + at);
                at += 1 + usize::from(*length);
            }
        }
    }

    /// Writes a name, its longest known end as a pointer.
    fn name(&mut self, name: &[u8]) {
        if !self.compress {
            return self.out.extend_from_slice(name);
        }
        let mut at = 0;
        while let Some(length) = name.get(at).filter(|length| **length > 0) {
            let rest = name.get(at..).unwrap_or_default();
            if let Some(known) = self.labels.iter().find(|known| self.reads(usize::from(**known), rest)) {
                return self.pointer(usize::from(*known));
            }
            self.remember(self.out.len());
            let next = at + 1 + usize::from(*length);
            self.out.extend_from_slice(name.get(at..next).unwrap_or_default());
            at = next;
        }
        self.out.push(0);
    }

    /// Bytes [`Self::name`] would write.
    fn name_cost(&self, name: &[u8]) -> usize {
        let mut at = 0;
        while let Some(length) = name.get(at).filter(|length| **length > 0) {
            let rest = name.get(at..).unwrap_or_default();
            if self.labels.iter().any(|known| self.reads(usize::from(*known), rest)) {
                return at + 2;
            }
            at += 1 + usize::from(*length);
        }
        name.len()
    }

    /// Whether what was written at a place reads as this name, letter case included.
    fn reads(&self, mut at: usize, mut name: &[u8]) -> bool {
        // Pointers only ever lead back, and every other step takes a label off the name.
        while let Some(length) = self.out.get(at) {
            if *length >= 0xc0 {
                let low = self.out.get(at + 1).copied().unwrap_or_default();
                at = usize::from(u16::from_be_bytes([*length & 0x3f, low]));
                continue;
            }
            let label = usize::from(*length) + 1;
            match (self.out.get(at..at + label), name.get(..label)) {
                (Some(one), Some(other)) if one == other => {}
                _ => return false,
            }
            if label == 1 {
                return name.len() == 1;
            }
            at += label;
            name = name.get(label..).unwrap_or_default();
        }
        false
    }

    /// Writes records as long as they fit; answers how many.
    fn section(&mut self, records: &[Record<'_>], most: usize) -> usize {
        for (written, record) in records.iter().enumerate() {
            let before = self.out.len();
            self.record(record);
            if self.out.len() > most {
                self.forget(before);
                return written;
            }
        }
        records.len()
    }

    /// Takes back what was written behind a place.
    fn forget(&mut self, place: usize) {
        self.out.truncate(place);
        self.labels.retain(|at| usize::from(*at) < place);
    }

    /// Cuts the answers about a service to what fits, with the additional records of those left.
    /// Answers how many answers and additional records there are.
    fn trimmed(&mut self, reply: &Reply<'_>, limits: Limits, ends: &[u32], most: usize) -> (usize, usize) {
        let all = (ends.len() - 1).min(limits.count);
        let end = |count: usize| ends.get(count).map_or(HEADER, |end| *end as usize);
        let mut count = all;
        if !limits.struck && !limits.more && all == reply.answer.len() {
            let before = self.out.len();
            reply.additional.iter().for_each(|record| self.record(record));
            let Some(excess) = self.out.len().checked_sub(most + 1) else {
                return (all, reply.additional.len());
            };
            self.forget(before);
            // A little too long costs an answer even where leaving out the texts would do.
            if excess < 100 {
                count = all.saturating_sub(1).max(1).min(all);
            }
        }
        let mut linked = Linked::new(reply);
        let (mut sizes, mut sum) = (SmallVec::<[usize; 8]>::from_elem(0, 1), 0);
        for answer in 0..count {
            sum += linked.of(answer).map(|record| self.linked_length(record, limits.struck)).sum::<usize>();
            sizes.push(sum);
        }
        let size = |count: usize| {
            let answers = if limits.struck {
                let question = self.question.len();
                let records = reply.answer.iter().take(count).map(|record| plain_length(record, question));
                end(0) + records.sum::<usize>()
            } else {
                end(count)
            };
            answers + sizes.get(count).copied().unwrap_or(0)
        };
        while count > 1 && size(count) > most {
            count -= 1;
        }
        self.forget(end(count));
        let mut linked = Linked::new(reply);
        let mut additional = 0;
        for answer in 0..count {
            for record in linked.of(answer) {
                let before = self.out.len();
                self.record(record);
                if self.out.len() > most {
                    self.forget(before);
                    return (count, additional);
                }
                additional += 1;
            }
        }
        (count, additional)
    }

    fn linked_length(&self, record: &Record<'_>, plain: bool) -> usize {
        let full = plain_length_of(record, |target| {
            let at = self.targets.get(target).map_or(HEADER, |at| *at as usize);
            let written = self.out.get(at..).unwrap_or_default();
            let name = written.get(..name_length(written)).unwrap_or_default();
            match self.compress && !plain {
                true if at < POINTER_REACH => 2,
                true => self.name_cost(name),
                false => name.len(),
            }
        });
        full.unwrap_or(0)
    }

    fn edns(&mut self, query: &Query<'_>) -> usize {
        let Some(edns) = query.edns else { return 0 };
        let [size_high, size_low] = edns.size.to_be_bytes();
        self.out.extend_from_slice(&[0, 0, rtype::OPT as u8, size_high, size_low, 0, 0, 0, 0]);
        match edns.subnet {
            None => self.out.extend_from_slice(&[0, 0]),
            Some(subnet) => {
                let length = subnet.len() as u16;
                self.out.extend_from_slice(&(length + 4).to_be_bytes());
                self.out.extend_from_slice(&[0, 8]);
                self.out.extend_from_slice(&length.to_be_bytes());
                let start = self.out.len();
                self.out.extend_from_slice(subnet);
                // Scope 0: the answer does not depend on where the client is.
                if let Some(scope) = self.out.get_mut(start + 3) {
                    *scope = 0;
                }
            }
        }
        1
    }

    fn finish(self, flags: [u8; 2], counts: [usize; 3]) {
        let mut head = [flags[0], flags[1], 0, 1, 0, 0, 0, 0, 0, 0];
        for (place, count) in head[4..].chunks_exact_mut(2).zip(counts) {
            place.copy_from_slice(&(count as u16).to_be_bytes());
        }
        if let Some(place) = self.out.get_mut(2..HEADER) {
            place.copy_from_slice(&head);
        }
    }
}

/// Length of the name at the beginning of bytes that hold no pointer.
fn name_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = bytes.get(at).filter(|length| **length > 0) {
        at += 1 + usize::from(*length);
    }
    (at + 1).min(bytes.len())
}

/// Length of a record without pointers; the owner of additional ones is measured by `target`.
fn plain_length_of(record: &Record<'_>, target: impl Fn(usize) -> usize) -> Option<usize> {
    let owner = match &record.owner {
        Owner::Question => return None,
        Owner::Target(answer) => target(*answer),
        Owner::Name(name) => name.len(),
    };
    Some(owner + 10 + record.data.length())
}

fn plain_length(record: &Record<'_>, question: usize) -> usize {
    plain_length_of(record, |_| 0).unwrap_or(question + 10 + record.data.length())
}

/// The additional records that stay with trimmed answers: of every target the first record, and where
/// that is an alias, what it leads to.
struct Linked<'a, 'r> {
    reply: &'a Reply<'r>,
    /// The first additional record not looked at.
    next: usize,
}

impl<'a, 'r> Linked<'a, 'r> {
    fn new(reply: &'a Reply<'r>) -> Self {
        Self { reply, next: 0 }
    }

    /// Those of an answer; to be asked for all answers in order.
    fn of(&mut self, answer: usize) -> impl Iterator<Item = &'a Record<'r>> {
        let start = self.next;
        let belongs = |at: usize| self.reply.belongs.get(at).is_some_and(|of| *of as usize == answer);
        while belongs(self.next) {
            self.next += 1;
        }
        let reply = self.reply;
        let records = reply.additional.get(start..self.next).unwrap_or_default();
        // The chain: a record of the target, then of what it is an alias for.
        let mut wanted: Option<&[u8]> = None;
        let mut done = false;
        records.iter().filter(move |record| {
            let fits = match (&record.owner, wanted) {
                (Owner::Target(_), None) => true,
                (Owner::Name(owner), Some(wanted)) => owner.eq_ignore_ascii_case(wanted),
                (Owner::Name(owner), None) => {
                    target_of(reply, answer).is_some_and(|target| owner.eq_ignore_ascii_case(target))
                }
                _ => false,
            };
            if done || !fits {
                return false;
            }
            match &record.data {
                Data::Name(rtype::CNAME, name) => wanted = Some(name),
                _ => done = true,
            }
            true
        })
    }
}

fn target_of<'a>(reply: &'a Reply<'_>, answer: usize) -> Option<&'a [u8]> {
    match reply.answer.get(answer).map(|record| &record.data) {
        Some(Data::Srv { target, .. }) => Some(target),
        _ => None,
    }
}
