//! Foreign host names that stand in for addresses, and what recursors say about them.

use std::borrow::Cow;
use std::time::Instant;

use hickory_server::proto::op::Message;
use hickory_server::proto::rr::{Name, RData};
use hickory_server::proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use rand::rngs::SmallRng;

use super::message::{question_for, rtype};
use super::needs::Needs;
use super::record::{Data, Owner, Record};

/// Most names one answer asks recursors for; the rest stays unresolved.
const MOST_NAMES: usize = 16;
/// Most records taken from one answer of a recursor.
const MOST_RECORDS: usize = 256;

/// What is known of the leader, on a server whose state may not be answered from as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lead {
    /// It was not asked, and need not be.
    #[default]
    Unasked,
    /// It must be asked.
    Wanted,
    /// It said how far the state must be, and the state is there.
    Confirmed,
    /// It did not answer, or there is none.
    Silent,
}

/// What an answer needs that is not here: foreign host names, the servers' state, or the leader's word.
#[derive(Debug)]
pub struct Chase {
    /// Ready packets, each an A question with recursion desired and an id of 0 (set your own).
    pub questions: Vec<Vec<u8>>,
    names: Vec<Box<[u8]>>,
    begun: Instant,
    /// Makes the second pass draw the same instances as the first.
    rng: SmallRng,
    /// What the servers said and are still to be asked, on an agent that must ask them.
    pub(super) needs: Option<Box<Needs>>,
    pub(super) lead: Lead,
}

impl Chase {
    /// When the first pass began.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// These questions, for the sake of none: tests of what asks them need no answer behind it.
    #[cfg(test)]
    pub fn of(questions: Vec<Vec<u8>>) -> Self {
        let rng = rand::SeedableRng::seed_from_u64(0);
        Self { questions, names: Vec::new(), begun: Instant::now(), rng, needs: None, lead: Lead::Unasked }
    }
}

/// A name, and what the recursors said.
type Heard = (Box<[u8]>, Option<Vec<u8>>);

/// Host names met while an answer is put together.
#[derive(Debug, Default)]
pub struct Hosts {
    /// There are recursors to ask.
    recursors: bool,
    found: Vec<Heard>,
    wanted: Vec<Box<[u8]>>,
    /// What the servers said, on an agent that must ask them.
    pub(super) needs: Option<Box<Needs>>,
    pub(super) lead: Lead,
}

impl Hosts {
    /// For the first pass: nothing is known.
    pub fn unknown(recursors: bool, needs: Option<Box<Needs>>) -> Self {
        Self { recursors, needs, ..Self::default() }
    }

    /// For the second pass, with the chance the first had. Names that were not asked for stay unresolved.
    pub fn known(chase: Chase, found: Vec<Option<Vec<u8>>>) -> (Self, SmallRng) {
        let found = chase.names.into_iter().zip(found).collect();
        let Chase { needs, lead, rng, .. } = chase;
        (Self { recursors: false, found, wanted: Vec::new(), needs, lead }, rng)
    }

    /// What to ask before the answer can be written, if anything; the first pass began at `begun`.
    ///
    /// What the servers are to be asked comes before what recursors are: it decides who those are asked about.
    pub fn chase(self, rng: SmallRng, begun: Instant) -> Option<Chase> {
        let Self { wanted, needs, lead, .. } = self;
        let open = lead == Lead::Wanted || needs.as_ref().is_some_and(|needs| needs.is_open());
        let names = if open { Vec::new() } else { wanted };
        let questions: Vec<_> = names.iter().map(|name| question_for(name)).collect();
        (open || !questions.is_empty()).then_some(Chase { questions, names, begun, rng, needs, lead })
    }

    /// The records a recursor has for a host name; none while it was not asked.
    pub fn foreign(&mut self, host: &[u8]) -> Vec<Record<'static>> {
        if let Some((_, answer)) = self.found.iter().find(|(name, _)| **name == *host) {
            return answer.as_deref().map(records).unwrap_or_default();
        }
        let known = self.wanted.iter().any(|name| **name == *host);
        if self.recursors && !known && self.wanted.len() < MOST_NAMES {
            self.wanted.push(host.into());
        }
        Vec::new()
    }
}

/// The answer section of a message, whatever its response code; nothing if it cannot be read.
fn records(answer: &[u8]) -> Vec<Record<'static>> {
    let Ok(message) = Message::from_vec(answer) else { return Vec::new() };
    let records = message.answers.iter().take(MOST_RECORDS).filter_map(|record| {
        let owner = Owner::Name(Cow::Owned(wire(&record.name)?));
        Some(Record { owner, ttl: record.ttl, data: data(&record.data)? })
    });
    records.collect()
}

fn wire(name: &Name) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name {
        bytes.push(u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?);
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    (bytes.len() <= 255).then_some(bytes)
}

fn data(data: &RData) -> Option<Data<'static>> {
    match data {
        RData::A(ip) => Some(Data::Ip(ip.0.into())),
        RData::AAAA(ip) => Some(Data::Ip(ip.0.into())),
        RData::CNAME(name) => Some(Data::Name(rtype::CNAME, Cow::Owned(wire(&name.0)?))),
        other => {
            let mut bytes = Vec::new();
            let mut encoder = BinEncoder::new(&mut bytes);
            encoder.set_name_encoding(NameEncoding::Uncompressed);
            other.emit(&mut encoder).ok()?;
            Some(Data::Raw(other.record_type().into(), bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_recursors_say() {
        let mut answer = vec![0, 0, 0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0];
        answer.extend_from_slice(b"\x01a\x01b\0\0\x01\0\x01");
        answer.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\0\0\x1e\0\x04\x01c\xc0\x0e");
        answer.extend_from_slice(b"\x01c\xc0\x0e\0\x01\0\x01\0\0\0\x37\0\x04\x0a\0\0\x01");
        answer.extend_from_slice(b"\xc0\x0c\0\x0f\0\x01\0\0\0\x05\0\x06\0\x0a\x01m\xc0\x0e");
        let name = |text: &'static [u8]| Cow::Borrowed(text);
        let want = [
            Record {
                owner: Owner::Name(name(b"\x01a\x01b\0")),
                ttl: 30,
                data: Data::Name(rtype::CNAME, name(b"\x01c\x01b\0")),
            },
            Record {
                owner: Owner::Name(name(b"\x01c\x01b\0")),
                ttl: 55,
                data: Data::Ip([10, 0, 0, 1].into()),
            },
            Record {
                owner: Owner::Name(name(b"\x01a\x01b\0")),
                ttl: 5,
                data: Data::Raw(15, b"\0\x0a\x01m\x01b\0".to_vec()),
            },
        ];
        assert_eq!(records(&answer), want);
        assert_eq!(records(&answer[..40]), []);
    }
}
