//! Queries and their answers, those about keys and names included.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::meta::{put_tags, read_tags};
use super::{kind, strings};
use crate::gossip::wire::codec::{put_ip, socket};
use crate::gossip::wire::msgpack::{Reader, Writer};
use crate::gossip::wire::{Versions, WireError};

/// Most filters of a query that are read.
const MAX_FILTERS: usize = 1_024;
/// Most names of a filter, or keys of an answer, that are read.
const MAX_STRINGS: usize = 16_384;

/// Bits of [`Query::flags`] and [`QueryResponse::flags`].
pub mod flag {
    /// In a query: confirm its arrival at once. In an answer: this is the confirmation.
    pub const ACK: u32 = 1;
    /// In a query: do not pass it on.
    pub const NO_BROADCAST: u32 = 2;
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<'a> {
    /// Lamport time of the queries' clock.
    pub ltime: u64,
    /// Tells queries of one time apart.
    pub id: u32,
    /// Where answers go; `None` if the address is none.
    pub source: Option<SocketAddr>,
    /// Who asks; empty from old members.
    pub source_node: &'a [u8],
    /// Who is asked: whom all of these let through.
    pub filters: Vec<Filter<'a>>,
    /// See [`flag`].
    pub flags: u32,
    /// Through how many others an answer is sent besides directly.
    pub relay_factor: u8,
    /// How long answers are awaited.
    pub timeout: Duration,
    /// Name.
    pub name: &'a [u8],
    /// Opaque bytes; `None` is nil on the wire and means the same as empty.
    pub payload: Option<&'a [u8]>,
}

impl<'a> Query<'a> {
    pub(super) fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut query = Self {
            ltime: 0,
            id: 0,
            source: None,
            source_node: &[],
            filters: Vec::new(),
            flags: 0,
            relay_factor: 0,
            timeout: Duration::ZERO,
            name: &[],
            payload: None,
        };
        let (mut addr, mut port) = (&[][..], 0);
        let names: [&[u8]; 11] = [
            b"LTime",
            b"ID",
            b"Addr",
            b"Port",
            b"SourceNode",
            b"Filters",
            b"Flags",
            b"RelayFactor",
            b"Timeout",
            b"Name",
            b"Payload",
        ];
        Reader::new(body).structure(&names, |key, value| {
            match key {
                b"LTime" => query.ltime = value.number()?,
                b"ID" => query.id = value.number()?,
                b"Addr" => addr = value.text()?,
                b"Port" => port = value.number()?,
                b"SourceNode" => query.source_node = value.text()?,
                b"Filters" => {
                    let filters = strings(value, "number of filters", MAX_FILTERS)?;
                    query.filters = filters.into_iter().map(Filter::decode).collect();
                }
                b"Flags" => query.flags = value.number()?,
                b"RelayFactor" => query.relay_factor = value.number()?,
                b"Timeout" => {
                    let nanoseconds: i64 = value.number()?;
                    query.timeout = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
                }
                b"Name" => query.name = value.text()?,
                b"Payload" => query.payload = value.bytes()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        query.source = socket(addr, port);
        Ok(query)
    }

    /// Appends it, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::QUERY);
        let mut writer = Writer::new(out);
        writer.map(11).raw(b"Addr");
        put_ip(&mut writer, self.source);
        writer.raw(b"Filters");
        if self.filters.is_empty() {
            writer.nil();
        } else {
            writer.array(self.filters.len());
            let mut bytes = Vec::new();
            for filter in &self.filters {
                bytes.clear();
                filter.encode(&mut bytes);
                writer.raw(&bytes);
            }
        }
        writer.raw(b"Flags").unsigned(self.flags).raw(b"ID").unsigned(self.id);
        writer.raw(b"LTime").unsigned(self.ltime).raw(b"Name").raw(self.name);
        writer.raw(b"Payload").optional(self.payload);
        writer.raw(b"Port").unsigned(self.source.map_or(0, |source| source.port()));
        writer.raw(b"RelayFactor").unsigned(self.relay_factor).raw(b"SourceNode").raw(self.source_node);
        let nanoseconds = i64::try_from(self.timeout.as_nanos()).unwrap_or(i64::MAX);
        writer.raw(b"Timeout").signed(nanoseconds);
    }
}

/// Whom a query is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter<'a> {
    /// Members with one of these names.
    Nodes(Vec<&'a [u8]>),
    /// Members whose tag matches.
    Tag {
        /// The tag.
        tag: &'a [u8],
        /// A regular expression, not anchored.
        expr: &'a [u8],
    },
    /// A filter of an unknown or broken kind: for nobody here, but to be passed on.
    Unreadable(&'a [u8]),
}

impl<'a> Filter<'a> {
    fn decode(bytes: &'a [u8]) -> Self {
        Self::known(bytes).unwrap_or(Self::Unreadable(bytes))
    }

    fn known(bytes: &'a [u8]) -> Option<Self> {
        let (first, body) = bytes.split_first()?;
        let mut reader = Reader::new(body);
        match first {
            0 => strings(&mut reader, "number of names", MAX_STRINGS).ok().map(Self::Nodes),
            1 => {
                let (mut tag, mut expr) = (&[][..], &[][..]);
                let read = reader.structure(&[b"Tag", b"Expr"], |key, value| {
                    match key {
                        b"Tag" => tag = value.text()?,
                        b"Expr" => expr = value.text()?,
                        _ => value.skip()?,
                    }
                    Ok(())
                });
                read.ok().map(|()| Self::Tag { tag, expr })
            }
            _ => None,
        }
    }

    /// Appends the bytes that stand in a query.
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nodes(names) => {
                out.push(0);
                let mut writer = Writer::new(out);
                writer.array(names.len());
                for name in names {
                    writer.raw(name);
                }
            }
            Self::Tag { tag, expr } => {
                out.push(1);
                Writer::new(out).map(2).raw(b"Expr").raw(expr).raw(b"Tag").raw(tag);
            }
            Self::Unreadable(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// An answer, or the confirmation that the question arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryResponse<'a> {
    /// The query's.
    pub ltime: u64,
    /// The query's.
    pub id: u32,
    /// Who answers.
    pub from: &'a [u8],
    /// See [`flag`].
    pub flags: u32,
    /// Opaque bytes; `None` is nil on the wire and means the same as empty.
    pub payload: Option<&'a [u8]>,
}

impl<'a> QueryResponse<'a> {
    pub(super) fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut response = Self { ltime: 0, id: 0, from: &[], flags: 0, payload: None };
        let names: [&[u8]; 5] = [b"LTime", b"ID", b"From", b"Flags", b"Payload"];
        Reader::new(body).structure(&names, |key, value| {
            match key {
                b"LTime" => response.ltime = value.number()?,
                b"ID" => response.id = value.number()?,
                b"From" => response.from = value.text()?,
                b"Flags" => response.flags = value.number()?,
                b"Payload" => response.payload = value.bytes()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(response)
    }

    /// Appends it, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::QUERY_RESPONSE);
        let mut writer = Writer::new(out);
        writer.map(5).raw(b"Flags").unsigned(self.flags).raw(b"From").raw(self.from);
        writer.raw(b"ID").unsigned(self.id).raw(b"LTime").unsigned(self.ltime);
        writer.raw(b"Payload").optional(self.payload);
    }
}

/// The body behind a type byte that must be there.
fn body_of(bytes: &[u8], kind: u8) -> Result<&[u8], WireError> {
    let (&first, body) = bytes.split_first().ok_or(WireError::Short)?;
    if first == kind { Ok(body) } else { Err(WireError::UnknownType(first)) }
}

/// Reads the payload of a query about keys: the key, empty where none is needed.
///
/// # Errors
/// [`WireError::Short`], [`WireError::Malformed`], or [`WireError::UnknownType`].
pub fn decode_key_request(payload: &[u8]) -> Result<&[u8], WireError> {
    let mut found = &[][..];
    Reader::new(body_of(payload, kind::KEY_REQUEST)?).structure(&[b"Key"], |key, value| {
        match key {
            b"Key" => found = value.text()?,
            _ => value.skip()?,
        }
        Ok(())
    })?;
    Ok(found)
}

/// Appends the payload of a query about keys.
pub fn encode_key_request(key: &[u8], out: &mut Vec<u8>) {
    out.push(kind::KEY_REQUEST);
    Writer::new(out).map(1).raw(b"Key").raw(key);
}

/// The payload of an answer to a query about keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyResponse<'a> {
    /// Whether it was done.
    pub result: bool,
    /// Why not, or a remark.
    pub message: &'a [u8],
    /// All keys in base64, if they were asked for.
    pub keys: Vec<&'a [u8]>,
    /// The key in use in base64, if they were asked for.
    pub primary: &'a [u8],
}

impl<'a> KeyResponse<'a> {
    /// Reads the payload of an answer.
    ///
    /// # Errors
    /// [`WireError::Short`], [`WireError::Malformed`], [`WireError::TooLarge`], or
    /// [`WireError::UnknownType`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut response = Self::default();
        let names: [&[u8]; 4] = [b"Result", b"Message", b"Keys", b"PrimaryKey"];
        Reader::new(body_of(payload, kind::KEY_RESPONSE)?).structure(&names, |key, value| {
            match key {
                b"Result" => response.result = value.boolean()?,
                b"Message" => response.message = value.text()?,
                b"Keys" => response.keys = strings(value, "number of keys", MAX_STRINGS)?,
                b"PrimaryKey" => response.primary = value.text()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(response)
    }

    /// Appends the payload of an answer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::KEY_RESPONSE);
        let mut writer = Writer::new(out);
        writer.map(4).raw(b"Keys");
        if self.keys.is_empty() {
            writer.nil();
        } else {
            writer.array(self.keys.len());
            for key in &self.keys {
                writer.raw(key);
            }
        }
        writer.raw(b"Message").raw(self.message).raw(b"PrimaryKey").raw(self.primary);
        writer.raw(b"Result").boolean(self.result);
    }
}

/// A member as it is described in the payload of an answer about names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord<'a> {
    /// Name.
    pub name: &'a [u8],
    /// Gossip address; `None` if it is none.
    pub addr: Option<SocketAddr>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// How it stands, by [`Status`](crate::gossip::Status)'s numbers.
    pub status: u8,
    /// Versions.
    pub versions: Versions,
}

impl<'a> MemberRecord<'a> {
    /// Reads the payload of an answer.
    ///
    /// # Errors
    /// [`WireError::Short`], [`WireError::Malformed`], or [`WireError::UnknownType`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut record =
            Self { name: &[], addr: None, tags: BTreeMap::new(), status: 0, versions: Versions::default() };
        let (mut addr, mut port) = (&[][..], 0);
        let [pmin, pmax, pcur, dmin, dmax, dcur] = &mut record.versions;
        let names: [&[u8]; 11] = [
            b"Name",
            b"Addr",
            b"Port",
            b"Tags",
            b"Status",
            b"ProtocolMin",
            b"ProtocolMax",
            b"ProtocolCur",
            b"DelegateMin",
            b"DelegateMax",
            b"DelegateCur",
        ];
        Reader::new(body_of(payload, kind::CONFLICT_RESPONSE)?).structure(&names, |key, value| {
            match key {
                b"Name" => record.name = value.text()?,
                b"Addr" => addr = value.text()?,
                b"Port" => port = value.number()?,
                b"Tags" => record.tags = read_tags(value)?,
                b"Status" => record.status = value.number()?,
                b"ProtocolMin" => *pmin = value.number()?,
                b"ProtocolMax" => *pmax = value.number()?,
                b"ProtocolCur" => *pcur = value.number()?,
                b"DelegateMin" => *dmin = value.number()?,
                b"DelegateMax" => *dmax = value.number()?,
                b"DelegateCur" => *dcur = value.number()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        record.addr = socket(addr, port);
        Ok(record)
    }

    /// Appends the payload of an answer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::CONFLICT_RESPONSE);
        let [pmin, pmax, pcur, dmin, dmax, dcur] = self.versions;
        let mut writer = Writer::new(out);
        writer.map(11).raw(b"Addr");
        put_ip(&mut writer, self.addr);
        writer.raw(b"DelegateCur").unsigned(dcur).raw(b"DelegateMax").unsigned(dmax);
        writer.raw(b"DelegateMin").unsigned(dmin).raw(b"Name").raw(self.name);
        writer.raw(b"Port").unsigned(self.addr.map_or(0, |addr| addr.port()));
        writer.raw(b"ProtocolCur").unsigned(pcur).raw(b"ProtocolMax").unsigned(pmax);
        writer.raw(b"ProtocolMin").unsigned(pmin).raw(b"Status").unsigned(self.status).raw(b"Tags");
        put_tags(&mut writer, &self.tags);
    }
}
