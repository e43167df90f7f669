//! What Serf puts into user messages: a type byte and a struct (section 7 of the project's notes on the
//! gossip wire).
//!
//! What is read borrows from the message. Two `Option`s of bytes tell nil from empty, because a message that
//! is decoded and encoded again shall be the same bytes.
//!
//! May not enter: clocks, which events were seen, who may be asked.

use std::net::SocketAddr;

use super::WireError;
use super::codec::{put_ip, socket};
use super::msgpack::{Reader, Writer};

mod meta;
mod query;
mod state;

pub use meta::{MAX_META, decode_ack_payload, decode_tags, encode_ack_payload, encode_tags};
pub use query::{
    Filter, KeyResponse, MemberRecord, Query, QueryResponse, decode_key_request, encode_key_request, flag,
};
pub use state::{EVENT_SLOTS, SerfState, StoredEvent, StoredEvents};

/// Type bytes.
mod kind {
    pub(super) const LEAVE: u8 = 0;
    pub(super) const JOIN: u8 = 1;
    pub(super) const PUSH_PULL: u8 = 2;
    pub(super) const USER_EVENT: u8 = 3;
    pub(super) const QUERY: u8 = 4;
    pub(super) const QUERY_RESPONSE: u8 = 5;
    pub(super) const CONFLICT_RESPONSE: u8 = 6;
    pub(super) const KEY_REQUEST: u8 = 7;
    pub(super) const KEY_RESPONSE: u8 = 8;
    pub(super) const RELAY: u8 = 9;
}

/// A message of Serf's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SerfMessage<'a> {
    /// A member says goodbye, or another says it for it.
    Leave(Leave<'a>),
    /// A member joined.
    Join(Join<'a>),
    /// Everything Serf knows; in full exchanges only.
    State(SerfState<'a>),
    /// Somebody tells everybody.
    UserEvent(UserEvent<'a>),
    /// Somebody asks.
    Query(Query<'a>),
    /// The answer, sent straight to who asked.
    QueryResponse(QueryResponse<'a>),
    /// A message to be passed on.
    Relay(Relay<'a>),
}

impl<'a> SerfMessage<'a> {
    /// Reads the bytes of a user message, or of a full exchange.
    ///
    /// # Errors
    /// [`WireError::Short`], [`WireError::Malformed`], [`WireError::TooLarge`], or
    /// [`WireError::UnknownType`], also for types that only occur within queries and their answers.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (&first, body) = bytes.split_first().ok_or(WireError::Short)?;
        Ok(match first {
            kind::LEAVE => Self::Leave(Leave::decode(body)?),
            kind::JOIN => Self::Join(Join::decode(body)?),
            kind::PUSH_PULL => Self::State(SerfState::decode(body)?),
            kind::USER_EVENT => Self::UserEvent(UserEvent::decode(body)?),
            kind::QUERY => Self::Query(Query::decode(body)?),
            kind::QUERY_RESPONSE => Self::QueryResponse(QueryResponse::decode(body)?),
            kind::RELAY => Self::Relay(Relay::decode(body)?),
            other => return Err(WireError::UnknownType(other)),
        })
    }

    /// Appends the message, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Leave(leave) => leave.encode(out),
            Self::Join(join) => join.encode(out),
            Self::State(state) => state.encode(out),
            Self::UserEvent(event) => event.encode(out),
            Self::Query(query) => query.encode(out),
            Self::QueryResponse(response) => response.encode(out),
            Self::Relay(relay) => relay.encode(out),
        }
    }
}

/// The intent of a member to leave, or of another to have it counted as left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave<'a> {
    /// Lamport time of the members' clock.
    pub ltime: u64,
    /// Who leaves.
    pub node: &'a [u8],
    /// Whether it is to be forgotten at once.
    pub prune: bool,
}

impl<'a> Leave<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut leave = Self { ltime: 0, node: &[], prune: false };
        Reader::new(body).structure(&[b"LTime", b"Node", b"Prune"], |key, value| {
            match key {
                b"LTime" => leave.ltime = value.number()?,
                b"Node" => leave.node = value.text()?,
                b"Prune" => leave.prune = value.boolean()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(leave)
    }

    /// Appends it, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::LEAVE);
        let mut writer = Writer::new(out);
        writer.map(3).raw(b"LTime").unsigned(self.ltime).raw(b"Node").raw(self.node);
        writer.raw(b"Prune").boolean(self.prune);
    }
}

/// The word of a member that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join<'a> {
    /// Lamport time of the members' clock.
    pub ltime: u64,
    /// Who joined.
    pub node: &'a [u8],
}

impl<'a> Join<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut join = Self { ltime: 0, node: &[] };
        Reader::new(body).structure(&[b"LTime", b"Node"], |key, value| {
            match key {
                b"LTime" => join.ltime = value.number()?,
                b"Node" => join.node = value.text()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(join)
    }

    /// Appends it, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::JOIN);
        Writer::new(out).map(2).raw(b"LTime").unsigned(self.ltime).raw(b"Node").raw(self.node);
    }
}

/// A user event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserEvent<'a> {
    /// Lamport time of the events' clock.
    pub ltime: u64,
    /// Name.
    pub name: &'a [u8],
    /// Opaque bytes; `None` is nil on the wire and means the same as empty.
    pub payload: Option<&'a [u8]>,
    /// Whether only the latest of several with this name matters.
    pub coalesce: bool,
}

impl<'a> UserEvent<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut event = Self { ltime: 0, name: &[], payload: None, coalesce: false };
        Reader::new(body).structure(&[b"LTime", b"Name", b"Payload", b"CC"], |key, value| {
            match key {
                b"LTime" => event.ltime = value.number()?,
                b"Name" => event.name = value.text()?,
                b"Payload" => event.payload = value.bytes()?,
                b"CC" => event.coalesce = value.boolean()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(event)
    }

    /// Appends it, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::USER_EVENT);
        let mut writer = Writer::new(out);
        writer.map(4).raw(b"CC").boolean(self.coalesce).raw(b"LTime").unsigned(self.ltime);
        writer.raw(b"Name").raw(self.name).raw(b"Payload").optional(self.payload);
    }
}

/// A message to be passed on to another member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relay<'a> {
    /// Where to; `None` if the address is none.
    pub to: Option<SocketAddr>,
    /// Whom to.
    pub name: &'a [u8],
    /// The message, to be sent as it is, as a user message.
    pub message: &'a [u8],
}

impl<'a> Relay<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let (mut ip, mut port, mut name) = (&[][..], 0, &[][..]);
        let mut reader = Reader::new(body);
        reader.structure(&[b"DestAddr", b"DestName"], |key, value| {
            match key {
                b"DestAddr" => value.structure(&[b"IP", b"Port", b"Zone"], |key, value| {
                    match key {
                        b"IP" => ip = value.text()?,
                        b"Port" => port = value.number()?,
                        _ => value.skip()?,
                    }
                    Ok(())
                })?,
                b"DestName" => name = value.text()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { to: socket(ip, port), name, message: reader.rest() })
    }

    /// Appends it, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::RELAY);
        let mut writer = Writer::new(out);
        writer.map(2).raw(b"DestAddr").map(3).raw(b"IP");
        put_ip(&mut writer, self.to);
        writer.raw(b"Port").unsigned(self.to.map_or(0, |to| to.port())).raw(b"Zone").raw(b"");
        writer.raw(b"DestName").raw(self.name);
        out.extend_from_slice(self.message);
    }
}

/// An array of strings, at most `limit` of them.
fn strings<'a>(
    reader: &mut Reader<'a>,
    what: &'static str,
    limit: usize,
) -> Result<Vec<&'a [u8]>, WireError> {
    let size = reader.array()?;
    if size > limit {
        return Err(WireError::TooLarge { what, size, limit });
    }
    let mut strings = Vec::new();
    for _ in 0..size {
        strings.push(reader.text()?);
    }
    Ok(strings)
}
