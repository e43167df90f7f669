//! The bodies of memberlist's messages: type byte and msgpack map to values and back.
//!
//! May not enter: what is wrapped around a message (`packet`, `stream`), and what it means.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bytes::Bytes;

use super::msgpack::{Reader, Writer};
use super::{
    Ack, Alive, Claim, IndirectPing, Message, NodeState, Ping, PushPullNode, PushPullNodeRef, Versions,
    WireError,
};

/// Type bytes (section 2 of the project's notes on the gossip wire).
pub(super) mod kind {
    pub(crate) const PING: u8 = 0;
    pub(crate) const INDIRECT_PING: u8 = 1;
    pub(crate) const ACK: u8 = 2;
    pub(crate) const SUSPECT: u8 = 3;
    pub(crate) const ALIVE: u8 = 4;
    pub(crate) const DEAD: u8 = 5;
    pub(crate) const PUSH_PULL: u8 = 6;
    pub(crate) const COMPOUND: u8 = 7;
    pub(crate) const USER: u8 = 8;
    pub(crate) const COMPRESS: u8 = 9;
    pub(crate) const ENCRYPT: u8 = 10;
    pub(crate) const NACK: u8 = 11;
    pub(crate) const HAS_CRC: u8 = 12;
    pub(crate) const ERROR: u8 = 13;
    pub(crate) const HAS_LABEL: u8 = 244;
}

/// An address of 4 or 16 bytes, the latter unmapped; `None` for other lengths.
pub(super) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(sixteen).to_canonical())
}

/// An address and a port, if there is an address.
pub(super) fn socket(bytes: &[u8], port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::new(ip(bytes)?, port))
}

/// Writes the bytes of an address, or nil.
pub(super) fn put_ip(writer: &mut Writer<'_>, addr: Option<SocketAddr>) {
    match addr.map(|addr| addr.ip()) {
        Some(IpAddr::V4(four)) => writer.raw(&four.octets()),
        Some(IpAddr::V6(sixteen)) => writer.raw(&sixteen.octets()),
        None => writer.nil(),
    };
}

fn port(addr: Option<SocketAddr>) -> u16 {
    addr.map_or(0, |addr| addr.port())
}

/// Empty bytes are nil, as a missing delegate's meta is for memberlist.
fn put_meta(writer: &mut Writer<'_>, meta: &[u8]) {
    writer.optional(Some(meta).filter(|meta| !meta.is_empty()));
}

fn put_versions(writer: &mut Writer<'_>, versions: Option<Versions>) {
    writer.optional(versions.as_ref().map(|versions| &versions[..]));
}

/// Where an answer goes: all three fields may be missing, and count only together.
#[derive(Default)]
struct Source<'a> {
    addr: &'a [u8],
    port: u16,
    node: &'a [u8],
}

impl Source<'_> {
    fn socket(&self) -> Option<SocketAddr> {
        if self.port == 0 { None } else { socket(self.addr, self.port) }
    }
}

fn put_source(writer: &mut Writer<'_>, source: Option<SocketAddr>, node: &[u8]) {
    if source.is_some() {
        writer.raw(b"SourceAddr");
        put_ip(writer, source);
    }
    if !node.is_empty() {
        writer.raw(b"SourceNode").raw(node);
    }
    if let Some(source) = source.filter(|source| source.port() != 0) {
        writer.raw(b"SourcePort").unsigned(source.port());
    }
}

fn source_fields(source: Option<SocketAddr>, node: &[u8]) -> usize {
    source.map_or(0, |source| 1 + usize::from(source.port() != 0)) + usize::from(!node.is_empty())
}

impl<'a> Ping<'a> {
    pub(super) fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let (mut seq, mut node, mut source) = (0, &[][..], Source::default());
        let names: [&[u8]; 5] = [b"SeqNo", b"Node", b"SourceAddr", b"SourcePort", b"SourceNode"];
        Reader::new(body).structure(&names, |key, value| {
            match key {
                b"SeqNo" => seq = value.number()?,
                b"Node" => node = value.text()?,
                b"SourceAddr" => source.addr = value.text()?,
                b"SourcePort" => source.port = value.number()?,
                b"SourceNode" => source.node = value.text()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { seq, node, source: source.socket(), source_node: source.node })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::PING);
        let mut writer = Writer::new(out);
        writer.map(2 + source_fields(self.source, self.source_node));
        writer.raw(b"Node").raw(self.node).raw(b"SeqNo").unsigned(self.seq);
        put_source(&mut writer, self.source, self.source_node);
    }
}

impl<'a> IndirectPing<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let (mut seq, mut target, mut at, mut node) = (0, &[][..], 0, &[][..]);
        let (mut nack, mut source) = (false, Source::default());
        let names: [&[u8]; 8] =
            [b"SeqNo", b"Target", b"Port", b"Node", b"Nack", b"SourceAddr", b"SourcePort", b"SourceNode"];
        Reader::new(body).structure(&names, |key, value| {
            match key {
                b"SeqNo" => seq = value.number()?,
                b"Target" => target = value.text()?,
                b"Port" => at = value.number()?,
                b"Node" => node = value.text()?,
                b"Nack" => nack = value.boolean()?,
                b"SourceAddr" => source.addr = value.text()?,
                b"SourcePort" => source.port = value.number()?,
                b"SourceNode" => source.node = value.text()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        let target = socket(target, at).ok_or(WireError::Malformed("target of an indirect ping"))?;
        Ok(Self { seq, target, node, nack, source: source.socket(), source_node: source.node })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::INDIRECT_PING);
        let mut writer = Writer::new(out);
        writer.map(5 + source_fields(self.source, self.source_node));
        writer.raw(b"Nack").boolean(self.nack).raw(b"Node").raw(self.node);
        writer.raw(b"Port").unsigned(self.target.port()).raw(b"SeqNo").unsigned(self.seq);
        put_source(&mut writer, self.source, self.source_node);
        writer.raw(b"Target");
        put_ip(&mut writer, Some(self.target));
    }
}

impl<'a> Ack<'a> {
    pub(super) fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut ack = Self { seq: 0, payload: None };
        Reader::new(body).structure(&[b"SeqNo", b"Payload"], |key, value| {
            match key {
                b"SeqNo" => ack.seq = value.number()?,
                b"Payload" => ack.payload = value.bytes()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(ack)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::ACK);
        let mut writer = Writer::new(out);
        writer.map(2).raw(b"Payload").optional(self.payload).raw(b"SeqNo").unsigned(self.seq);
    }
}

fn decode_nack(body: &[u8]) -> Result<u32, WireError> {
    let mut seq = 0;
    Reader::new(body).structure(&[b"SeqNo"], |key, value| {
        match key {
            b"SeqNo" => seq = value.number()?,
            _ => value.skip()?,
        }
        Ok(())
    })?;
    Ok(seq)
}

impl<'a> Claim<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut claim = Self { incarnation: 0, node: &[], from: &[] };
        Reader::new(body).structure(&[b"Incarnation", b"Node", b"From"], |key, value| {
            match key {
                b"Incarnation" => claim.incarnation = value.number()?,
                b"Node" => claim.node = value.text()?,
                b"From" => claim.from = value.text()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(claim)
    }

    fn encode(&self, kind: u8, out: &mut Vec<u8>) {
        out.push(kind);
        let mut writer = Writer::new(out);
        writer.map(3).raw(b"From").raw(self.from);
        writer.raw(b"Incarnation").unsigned(self.incarnation).raw(b"Node").raw(self.node);
    }
}

impl<'a> Alive<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut alive = Self { incarnation: 0, node: &[], addr: None, meta: &[], versions: None };
        let (mut addr, mut port) = (&[][..], 0);
        let names: [&[u8]; 6] = [b"Incarnation", b"Node", b"Addr", b"Port", b"Meta", b"Vsn"];
        Reader::new(body).structure(&names, |key, value| {
            match key {
                b"Incarnation" => alive.incarnation = value.number()?,
                b"Node" => alive.node = value.text()?,
                b"Addr" => addr = value.text()?,
                b"Port" => port = value.number()?,
                b"Meta" => alive.meta = value.text()?,
                b"Vsn" => alive.versions = value.text()?.try_into().ok(),
                _ => value.skip()?,
            }
            Ok(())
        })?;
        alive.addr = socket(addr, port);
        Ok(alive)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::ALIVE);
        let mut writer = Writer::new(out);
        writer.map(6).raw(b"Addr");
        put_ip(&mut writer, self.addr);
        writer.raw(b"Incarnation").unsigned(self.incarnation).raw(b"Meta");
        put_meta(&mut writer, self.meta);
        writer.raw(b"Node").raw(self.node).raw(b"Port").unsigned(port(self.addr)).raw(b"Vsn");
        put_versions(&mut writer, self.versions);
    }
}

impl<'a> Message<'a> {
    /// Reads one message that is wrapped in nothing: a type byte and its body. What follows the body is
    /// ignored, as stock agents do.
    ///
    /// # Errors
    /// [`WireError::Short`], [`WireError::Malformed`], or [`WireError::UnknownType`] for types that are not
    /// of a datagram, compounds and other wrappings among them.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (&first, body) = bytes.split_first().ok_or(WireError::Short)?;
        Ok(match first {
            kind::PING => Self::Ping(Ping::decode(body)?),
            kind::INDIRECT_PING => Self::IndirectPing(IndirectPing::decode(body)?),
            kind::ACK => Self::Ack(Ack::decode(body)?),
            kind::NACK => Self::Nack(decode_nack(body)?),
            kind::SUSPECT => Self::Suspect(Claim::decode(body)?),
            kind::ALIVE => Self::Alive(Alive::decode(body)?),
            kind::DEAD => Self::Dead(Claim::decode(body)?),
            kind::USER => Self::User(body),
            other => return Err(WireError::UnknownType(other)),
        })
    }

    /// Appends the message, type byte first, wrapped in nothing.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ping(ping) => ping.encode(out),
            Self::IndirectPing(ping) => ping.encode(out),
            Self::Ack(ack) => ack.encode(out),
            Self::Nack(seq) => {
                out.push(kind::NACK);
                Writer::new(out).map(1).raw(b"SeqNo").unsigned(*seq);
            }
            Self::Suspect(claim) => claim.encode(kind::SUSPECT, out),
            Self::Alive(alive) => alive.encode(out),
            Self::Dead(claim) => claim.encode(kind::DEAD, out),
            Self::User(bytes) => {
                out.push(kind::USER);
                out.extend_from_slice(bytes);
            }
        }
    }
}

impl PushPullNode {
    /// Borrows it, to be written.
    pub fn as_ref(&self) -> PushPullNodeRef<'_> {
        PushPullNodeRef {
            name: &self.name,
            addr: self.addr,
            meta: &self.meta,
            incarnation: self.incarnation,
            state: self.state,
            versions: self.versions,
        }
    }

    /// Reads a node whose bytes lie within `all`, sharing them. `None` for one that says nothing: it has no
    /// name, or a state that is not known; stock agents pass over these too.
    pub(super) fn decode(reader: &mut Reader<'_>, all: &Bytes) -> Result<Option<Self>, WireError> {
        let mut node = Self::default();
        let mut state = Some(NodeState::Alive);
        let (mut addr, mut port) = (&[][..], 0);
        let names: [&[u8]; 7] = [b"Name", b"Addr", b"Port", b"Meta", b"Incarnation", b"State", b"Vsn"];
        // A message's nodes are read from `all` itself, so every field lies within it.
        let share = |field: &[u8]| if field.is_empty() { Bytes::new() } else { all.slice_ref(field) };
        reader.structure(&names, |key, value| {
            match key {
                b"Name" => node.name = share(value.text()?),
                b"Addr" => addr = value.text()?,
                b"Port" => port = value.number()?,
                b"Meta" => node.meta = share(value.text()?),
                b"Incarnation" => node.incarnation = value.number()?,
                b"State" => state = NodeState::from_wire(value.integer()?),
                b"Vsn" => node.versions = value.text()?.try_into().ok(),
                _ => value.skip()?,
            }
            Ok(())
        })?;
        node.addr = socket(addr, port);
        Ok(state.filter(|_| !node.name.is_empty()).map(|state| Self { state, ..node }))
    }
}

impl PushPullNodeRef<'_> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.map(7).raw(b"Addr");
        put_ip(&mut writer, self.addr);
        writer.raw(b"Incarnation").unsigned(self.incarnation).raw(b"Meta");
        put_meta(&mut writer, self.meta);
        writer.raw(b"Name").raw(self.name).raw(b"Port").unsigned(port(self.addr));
        writer.raw(b"State").unsigned(self.state as u8).raw(b"Vsn");
        put_versions(&mut writer, self.versions);
    }
}

impl NodeState {
    /// By memberlist's numbers.
    fn from_wire(number: i128) -> Option<Self> {
        match number {
            0 => Some(Self::Alive),
            1 => Some(Self::Suspect),
            2 => Some(Self::Dead),
            3 => Some(Self::Left),
            _ => None,
        }
    }
}
