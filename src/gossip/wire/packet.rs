//! Datagrams: what is wrapped around messages, peeled off and put on.
//!
//! From the outside in: label, encryption, checksum, compression, compound (section 3 of the project's
//! notes on the gossip wire).
//!
//! May not enter: what messages mean; sockets.

use std::mem;

use rand::Rng;

use super::codec::kind;
use super::crypto::{Crypto, ENCRYPTION_PREFIX};
use super::lzw::{Compressor, Decoder};
use super::msgpack::{Reader, Writer};
use super::{Message, WireError};

/// Most bytes that one datagram may unfold to, in all its parts together. No honest sender compresses more
/// than fits a datagram.
pub const MAX_UNPACKED: usize = 64 * 1024;
/// Most parts of a compound: receivers up to memberlist 0.2.2 misread more than 127.
pub const MAX_PARTS: usize = 127;
/// How deep compounds and compressed messages may lie within each other. Honest senders need 2.
const MAX_DEPTH: u32 = 8;
/// Type byte and checksum.
const CRC_HEADER: usize = 5;

/// What a datagram gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PacketReport {
    /// Messages handed out.
    pub messages: usize,
    /// Parts that could not be read, or were cut off.
    pub malformed: usize,
    /// What was wrong with the first of these.
    pub error: Option<WireError>,
}

impl PacketReport {
    fn lost(&mut self, error: WireError, parts: usize) {
        self.malformed += parts;
        self.error.get_or_insert(error);
    }
}

/// Reads datagrams. Keeps what it needs for that, so that a datagram costs no allocation.
#[derive(Default)]
pub struct PacketReader {
    lzw: Decoder,
    /// Buffers for what was compressed; more than one only if such messages lie within each other.
    spare: Vec<Vec<u8>>,
}

impl PacketReader {
    /// Hands each message of `datagram` to `each`, in their order. The datagram is decrypted in place.
    ///
    /// A part of a compound that cannot be read is counted and loses no other.
    ///
    /// # Errors
    /// When not even one message could be looked for: [`WireError::Label`], [`WireError::Decrypt`],
    /// [`WireError::Checksum`], and whatever is wrong with a message that is not part of a compound. Nothing
    /// was handed out then.
    pub fn read(
        &mut self,
        datagram: &mut [u8],
        crypto: &Crypto,
        mut each: impl FnMut(Message<'_>),
    ) -> Result<PacketReport, WireError> {
        let data = strip_label(datagram, crypto.label())?;
        let mut report = PacketReport::default();
        let mut budget = MAX_UNPACKED;
        let mut walk = |plain: &[u8], report: &mut PacketReport| {
            let inner = verify_crc(plain)?;
            self.peel(inner, MAX_DEPTH, &mut budget, report, &mut each)
        };
        if crypto.keyring().is_none() {
            walk(data, &mut report)?;
        } else if let Ok(plain) = crypto.open(data, crypto.label()) {
            walk(plain, &mut report)?;
        } else if crypto.demands() {
            return Err(WireError::Decrypt);
        } else {
            walk(data, &mut report)?;
        }
        Ok(report)
    }

    /// Unwraps one message and hands out what is inside.
    fn peel(
        &mut self,
        bytes: &[u8],
        depth: u32,
        budget: &mut usize,
        report: &mut PacketReport,
        each: &mut impl FnMut(Message<'_>),
    ) -> Result<(), WireError> {
        let (&first, body) = bytes.split_first().ok_or(WireError::Short)?;
        match first {
            kind::COMPOUND | kind::COMPRESS if depth == 0 => Err(WireError::Malformed("nesting")),
            kind::COMPOUND => self.each_part(body, depth - 1, budget, report, each),
            kind::COMPRESS => {
                let packed = compressed(body)?;
                let mut plain = self.spare.pop().unwrap_or_default();
                plain.clear();
                let unpacked = self.lzw.decode(packed, *budget, &mut plain);
                *budget -= plain.len().min(*budget);
                let result = unpacked.and_then(|()| self.peel(&plain, depth - 1, budget, report, each));
                self.spare.push(plain);
                result
            }
            _ => {
                let message = Message::decode(bytes)?;
                report.messages += 1;
                each(message);
                Ok(())
            }
        }
    }

    /// A compound: count, lengths, parts.
    fn each_part(
        &mut self,
        body: &[u8],
        depth: u32,
        budget: &mut usize,
        report: &mut PacketReport,
        each: &mut impl FnMut(Message<'_>),
    ) -> Result<(), WireError> {
        let (&count, rest) = body.split_first().ok_or(WireError::Short)?;
        let lengths = usize::from(count) * 2;
        let (lengths, mut parts) = rest.split_at_checked(lengths).ok_or(WireError::Short)?;
        for (at, length) in lengths.chunks_exact(2).enumerate() {
            let length = length.iter().fold(0, |sum, digit| (sum << 8) | usize::from(*digit));
            let Some((part, rest)) = parts.split_at_checked(length) else {
                report.lost(WireError::Short, usize::from(count) - at);
                break;
            };
            parts = rest;
            if let Err(error) = self.peel(part, depth, budget, report, each) {
                report.lost(error, 1);
            }
        }
        Ok(())
    }
}

/// Takes off the label that must be there, if one is configured, and refuses one that must not.
fn strip_label<'a>(data: &'a mut [u8], label: &[u8]) -> Result<&'a mut [u8], WireError> {
    let labelled = data.first() == Some(&kind::HAS_LABEL);
    if label.is_empty() {
        return if labelled { Err(WireError::Label) } else { Ok(data) };
    }
    let (head, rest) = data.split_at_mut_checked(2 + label.len()).ok_or(WireError::Label)?;
    match head {
        [kind::HAS_LABEL, size, found @ ..] if usize::from(*size) == label.len() && found == label => {
            Ok(rest)
        }
        _ => Err(WireError::Label),
    }
}

/// Compares and takes off the checksum, if there is one.
fn verify_crc(bytes: &[u8]) -> Result<&[u8], WireError> {
    let Some((&[kind::HAS_CRC, a, b, c, d], rest)) = bytes.split_first_chunk::<CRC_HEADER>() else {
        return Ok(bytes);
    };
    let (found, expected) = (crc32fast::hash(rest), u32::from_be_bytes([a, b, c, d]));
    if found == expected { Ok(rest) } else { Err(WireError::Checksum { found, expected }) }
}

/// The compressed bytes of a compress message's body.
pub(super) fn compressed(body: &[u8]) -> Result<&[u8], WireError> {
    let (mut algorithm, mut packed) = (0, &[][..]);
    Reader::new(body).structure(&[b"Algo", b"Buf"], |key, value| {
        match key {
            b"Algo" => algorithm = value.integer()?,
            b"Buf" => packed = value.text()?,
            _ => value.skip()?,
        }
        Ok(())
    })?;
    if algorithm == 0 { Ok(packed) } else { Err(WireError::Malformed("compression algorithm")) }
}

/// Appends a compress message around `plain`.
pub(super) fn compress(compressor: &mut Compressor, scratch: &mut Vec<u8>, plain: &[u8], out: &mut Vec<u8>) {
    scratch.clear();
    compressor.encode(plain, scratch);
    out.push(kind::COMPRESS);
    Writer::new(out).map(2).raw(b"Algo").unsigned(0_u8).raw(b"Buf").raw(scratch);
}

/// Writes datagrams. Keeps what it needs for that, so that a datagram costs no allocation.
#[derive(Default)]
pub struct PacketWriter {
    lengths: Vec<u16>,
    lzw: Option<Compressor>,
    packed: Vec<u8>,
    wrapped: Vec<u8>,
}

impl PacketWriter {
    /// Starts a packet in `out` at its end. `budget` is how long it may become, in bytes, before compression
    /// and without its checksum, as memberlist counts it.
    pub fn begin<'a>(
        &'a mut self,
        out: &'a mut Vec<u8>,
        budget: usize,
        crypto: &'a Crypto,
    ) -> PacketBuilder<'a> {
        self.lengths.clear();
        let start = out.len();
        let label = crypto.label();
        if !label.is_empty() {
            out.extend_from_slice(&[kind::HAS_LABEL, u8::try_from(label.len()).unwrap_or(u8::MAX)]);
            out.extend_from_slice(label);
        }
        let sealed = out.len();
        if crypto.encrypts() {
            out.extend_from_slice(&[0; ENCRYPTION_PREFIX]);
        }
        let body = out.len();
        // Counted as a compound even while there is one message only, as memberlist does.
        let room = budget.saturating_sub(crypto.packet_overhead() + 2);
        PacketBuilder { writer: self, out, crypto, start, sealed, body, room }
    }
}

/// A packet that is being written. Dropped without [`PacketBuilder::finish`], it leaves rubbish in the
/// buffer.
#[must_use]
pub struct PacketBuilder<'a> {
    writer: &'a mut PacketWriter,
    out: &'a mut Vec<u8>,
    crypto: &'a Crypto,
    /// Where the packet, the encrypted part and the messages begin.
    start: usize,
    sealed: usize,
    body: usize,
    /// Bytes for further messages and their lengths.
    room: usize,
}

impl PacketBuilder<'_> {
    /// Longest message, with its type byte, that still fits; 0 if there are 127.
    pub fn room(&self) -> usize {
        if self.len() >= MAX_PARTS { 0 } else { self.room.saturating_sub(2).min(usize::from(u16::MAX)) }
    }

    /// How many messages are in it.
    pub fn len(&self) -> usize {
        self.writer.lengths.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.writer.lengths.is_empty()
    }

    /// Adds a message that is encoded already, whether or not there is [room](Self::room) in the budget.
    /// False, and nothing added, beyond 127 messages or 65,535 bytes of one.
    pub fn push(&mut self, message: &[u8]) -> bool {
        self.push_with(|out| out.extend_from_slice(message))
    }

    /// Adds a message; as [`PacketBuilder::push`].
    pub fn message(&mut self, message: &Message<'_>) -> bool {
        self.push_with(|out| message.encode(out))
    }

    /// Adds a user message; as [`PacketBuilder::push`].
    pub fn user(&mut self, bytes: &[u8]) -> bool {
        self.message(&Message::User(bytes))
    }

    /// Adds the message that `encode` appends; as [`PacketBuilder::push`].
    pub fn push_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.len() >= MAX_PARTS {
            return false;
        }
        let before = self.out.len();
        encode(self.out);
        let Ok(length) = u16::try_from(self.out.len() - before) else {
            self.out.truncate(before);
            return false;
        };
        self.writer.lengths.push(length);
        self.room = self.room.saturating_sub(2 + usize::from(length));
        true
    }

    /// Wraps what was added: several messages as a compound; compressed if asked for and shorter so; with a
    /// checksum if asked for, which receivers must know (pmax of 5); encrypted if there is a key. A packet
    /// without messages leaves nothing behind.
    pub fn finish(self, crc: bool, compress: bool, rng: &mut impl Rng) {
        let Self { writer, out, crypto, start, sealed, body, .. } = self;
        let count = writer.lengths.len();
        if count == 0 {
            out.truncate(start);
            return;
        }
        let crc_header = if crc { CRC_HEADER } else { 0 };
        let compound = if count > 1 { 2 + 2 * count } else { 0 };
        let headers = crc_header + compound;
        if headers > 0 {
            let end = out.len();
            out.resize(end + headers, 0);
            out.copy_within(body..end, body + headers);
        }
        if count > 1
            && let Some(header) = out.get_mut(body + crc_header..body + headers)
            && let Some((&mut [ref mut first, ref mut parts], lengths)) = header.split_first_chunk_mut()
        {
            // At most 127.
            (*first, *parts) = (kind::COMPOUND, u8::try_from(count).unwrap_or(u8::MAX));
            for (place, length) in lengths.chunks_exact_mut(2).zip(&writer.lengths) {
                place.copy_from_slice(&length.to_be_bytes());
            }
        }
        if compress {
            let mut wrapped = mem::take(&mut writer.wrapped);
            wrapped.clear();
            let plain = out.get(body + crc_header..).unwrap_or_default();
            let lzw = writer.lzw.get_or_insert_default();
            self::compress(lzw, &mut writer.packed, plain, &mut wrapped);
            if wrapped.len() < plain.len() {
                out.truncate(body + crc_header);
                out.extend_from_slice(&wrapped);
            }
            writer.wrapped = wrapped;
        }
        if crc && let Some((header, rest)) = out.get_mut(body..).and_then(|data| data.split_first_chunk_mut())
        {
            let [a, b, c, d] = crc32fast::hash(rest).to_be_bytes();
            *header = [kind::HAS_CRC, a, b, c, d];
        }
        if crypto.encrypts() {
            crypto.seal(out, sealed, crypto.label(), rng);
        }
    }
}
