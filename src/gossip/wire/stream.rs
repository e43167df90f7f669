//! Streams: one message in each direction, its length not known before it was read.
//!
//! From the outside in: label, encryption, compression, message (section 5 of the project's notes on the
//! gossip wire).
//!
//! May not enter: sockets, deadlines, how many streams there are.

use bytes::Bytes;
use rand::Rng;

use super::codec::kind;
use super::crypto::{Crypto, ENCRYPTION_PREFIX, ENCRYPTION_SUFFIX};
use super::lzw::{Compressor, Decoder};
use super::msgpack::{Reader, Scanner, Writer};
use super::packet::{compress, compressed};
use super::{Ack, Ping, PushPull, PushPullNode, PushPullNodeRef, StreamMessage, WireError};

/// Most bytes of a message, plain or decompressed.
pub const MAX_MESSAGE: usize = 40 * 1024 * 1024;
/// Most bytes that are encrypted together.
pub const MAX_ENCRYPTED: usize = 20 * 1024 * 1024;
/// Most bytes of the layer above.
pub const MAX_USER_STATE: usize = 20 * 1024 * 1024;
/// Most members in an exchange.
pub const MAX_NODES: usize = 1 << 20;
/// Type byte and length of what is encrypted.
const ENCRYPT_HEADER: usize = 5;

/// What is being read.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// The label.
    Label,
    /// The first byte, which says what this is.
    Kind,
    /// The length of what is encrypted.
    EncryptedLength,
    /// What is encrypted, up to this byte.
    Encrypted(usize),
    /// What is compressed: a map.
    Compressed(Scanner),
    /// A message that is one map.
    Single(Scanner),
    /// The map before the bytes of a user message.
    UserHeader(Scanner),
    /// The map before the nodes of an exchange.
    PushPullHeader(Scanner),
    /// Nodes: how many more, the one being read, and how many bytes follow them all.
    Nodes { more: usize, scanner: Scanner, user_state: usize },
    /// The rest, up to this byte.
    Tail(usize),
    /// The message was read, or could not be.
    Done,
}

/// Collects a stream's bytes until they are a message.
///
/// Work is linear in the bytes that arrive, however they are cut. Memory is what arrived, at most
/// [`MAX_MESSAGE`], and what it decompresses to, at most as much again; no length is believed before its
/// bytes are there.
#[derive(Debug)]
pub struct StreamReader {
    crypto: Crypto,
    buffer: Vec<u8>,
    /// Where the message begins, and up to where it was looked at.
    start: usize,
    at: usize,
    stage: Stage,
    /// Whether `buffer` holds what was decrypted, and what was decompressed. Then it is all there is.
    decrypted: bool,
    unpacked: bool,
    /// Whether what went wrong was the wrapping: only then the other side is told.
    refused: bool,
}

impl StreamReader {
    /// For one message, with the keys of now.
    pub fn new(crypto: Crypto) -> Self {
        Self {
            crypto,
            buffer: Vec::new(),
            start: 0,
            at: 0,
            stage: Stage::Label,
            decrypted: false,
            unpacked: false,
            refused: false,
        }
    }

    /// Takes bytes as they arrive. Gives the message once it is complete; what follows it is ignored, and
    /// nothing more comes.
    ///
    /// What it gives shares one buffer with the whole message: copy what is to be kept for long.
    ///
    /// # Errors
    /// Any [`WireError`]; the stream is useless then, and [`StreamReader::refusal`] says what to answer.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<StreamMessage>, WireError> {
        if matches!(self.stage, Stage::Done) {
            return Ok(None);
        }
        self.buffer.extend_from_slice(bytes);
        let result = self.step();
        if !matches!(result, Ok(None)) {
            let wrapping = !matches!(
                self.stage,
                Stage::Single(_)
                    | Stage::UserHeader(_)
                    | Stage::PushPullHeader(_)
                    | Stage::Nodes { .. }
                    | Stage::Tail(_)
            );
            self.refused = match &result {
                Err(error) => wrapping && !matches!(error, WireError::UnknownType(_)),
                Ok(_) => false,
            };
            self.stage = Stage::Done;
            self.buffer = Vec::new();
        }
        result
    }

    /// What the other side should be told before the stream is closed: set when [`StreamReader::push`]
    /// failed with this error because of keys, label or compression. Encrypted if packets are.
    pub fn refusal(&self, error: &WireError, rng: &mut impl Rng) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        if self.refused {
            encode_stream(&StreamMessage::Error(error.to_string()), false, &self.crypto, rng, &mut out);
        }
        Some(out).filter(|out| !out.is_empty())
    }

    /// Goes on as far as the bytes allow.
    fn step(&mut self) -> Result<Option<StreamMessage>, WireError> {
        loop {
            let went_on = match self.stage {
                Stage::Label => self.label()?,
                Stage::Kind => self.kind()?,
                Stage::EncryptedLength => self.encrypted_length()?,
                Stage::Encrypted(end) => self.encrypted(end)?,
                Stage::Compressed(scanner) => self.compressed(scanner)?,
                Stage::Single(mut scanner) => {
                    if self.scan(&mut scanner)? {
                        return self.single().map(Some);
                    }
                    self.stage = Stage::Single(scanner);
                    false
                }
                Stage::UserHeader(scanner) => self.user_header(scanner)?,
                Stage::PushPullHeader(scanner) => self.push_pull_header(scanner)?,
                Stage::Nodes { more, scanner, user_state } => self.nodes(more, scanner, user_state)?,
                Stage::Tail(end) => {
                    if self.buffer.len() >= end {
                        return self.finish(end).map(Some);
                    }
                    false
                }
                Stage::Done => return Ok(None),
            };
            if !went_on {
                // What was decrypted or decompressed does not grow any more.
                return if self.decrypted || self.unpacked { Err(WireError::Short) } else { Ok(None) };
            }
        }
    }

    fn body(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// The header of a message: what lies between its type byte and where it was looked at.
    fn header(&self) -> Reader<'_> {
        Reader::new(self.buffer.get(self.start + 1..self.at).unwrap_or_default())
    }

    /// Whether the value is complete that is being scanned.
    fn scan(&mut self, scanner: &mut Scanner) -> Result<bool, WireError> {
        let complete = scanner.advance(&self.buffer, &mut self.at)?;
        let size = self.at - self.start;
        if size > MAX_MESSAGE {
            return Err(WireError::TooLarge { what: "message", size, limit: MAX_MESSAGE });
        }
        Ok(complete)
    }

    fn label(&mut self) -> Result<bool, WireError> {
        let Some(&first) = self.buffer.first() else { return Ok(false) };
        let label = self.crypto.label();
        if label.is_empty() {
            if first == kind::HAS_LABEL {
                return Err(WireError::Label);
            }
        } else {
            let size = 2 + label.len();
            let wrong = first != kind::HAS_LABEL
                || self.buffer.get(1).is_some_and(|len| usize::from(*len) != label.len());
            if wrong || self.buffer.get(2..size).is_some_and(|found| found != label) {
                return Err(WireError::Label);
            }
            if self.buffer.len() < size {
                return Ok(false);
            }
            self.start = size;
        }
        self.stage = Stage::Kind;
        Ok(true)
    }

    fn kind(&mut self) -> Result<bool, WireError> {
        let Some(&first) = self.body().first() else { return Ok(false) };
        self.at = self.start + 1;
        if first == kind::ENCRYPT && !self.decrypted && !self.unpacked {
            if self.crypto.keyring().is_none() {
                return Err(WireError::Encrypted);
            }
            self.stage = Stage::EncryptedLength;
            return Ok(true);
        }
        if self.crypto.demands() && !self.decrypted {
            return Err(WireError::NotEncrypted);
        }
        let scanner = Scanner::new();
        self.stage = match first {
            kind::COMPRESS if !self.unpacked => Stage::Compressed(scanner),
            kind::PING | kind::ACK | kind::ERROR => Stage::Single(scanner),
            kind::USER => Stage::UserHeader(scanner),
            kind::PUSH_PULL => Stage::PushPullHeader(scanner),
            other => return Err(WireError::UnknownType(other)),
        };
        Ok(true)
    }

    fn encrypted_length(&mut self) -> Result<bool, WireError> {
        let Some((&[_, a, b, c, d], _)) = self.body().split_first_chunk::<ENCRYPT_HEADER>() else {
            return Ok(false);
        };
        let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if size > MAX_ENCRYPTED {
            return Err(WireError::TooLarge { what: "encrypted message", size, limit: MAX_ENCRYPTED });
        }
        self.stage = Stage::Encrypted(self.start + ENCRYPT_HEADER + size);
        Ok(true)
    }

    fn encrypted(&mut self, end: usize) -> Result<bool, WireError> {
        if self.buffer.len() < end {
            return Ok(false);
        }
        let sealed = self.start + ENCRYPT_HEADER;
        let aad = [self.buffer.get(self.start..sealed).unwrap_or_default(), self.crypto.label()].concat();
        let size = match self.buffer.get_mut(sealed..end) {
            Some(data) => self.crypto.open(data, &aad)?.len(),
            None => return Err(WireError::Short),
        };
        self.start = sealed + ENCRYPTION_PREFIX;
        self.buffer.truncate(self.start + size);
        self.decrypted = true;
        self.stage = Stage::Kind;
        Ok(true)
    }

    fn compressed(&mut self, mut scanner: Scanner) -> Result<bool, WireError> {
        let complete = self.scan(&mut scanner)?;
        self.stage = Stage::Compressed(scanner);
        if !complete {
            return Ok(false);
        }
        let packed = compressed(self.header().rest())?;
        let mut plain = Vec::new();
        Decoder::default().decode(packed, MAX_MESSAGE, &mut plain)?;
        self.buffer = plain;
        self.start = 0;
        self.unpacked = true;
        // Whatever protected it, it was let in.
        self.decrypted = true;
        self.stage = Stage::Kind;
        Ok(true)
    }

    /// A message that is one map.
    fn single(&self) -> Result<StreamMessage, WireError> {
        let body = self.header().rest();
        match self.body().first() {
            Some(&kind::PING) => {
                let ping = Ping::decode(body)?;
                Ok(StreamMessage::Ping { seq: ping.seq, node: Bytes::copy_from_slice(ping.node) })
            }
            Some(&kind::ACK) => Ok(StreamMessage::Ack { seq: Ack::decode(body)?.seq }),
            _ => {
                let mut text = &[][..];
                Reader::new(body).structure(&[b"Error"], |key, value| {
                    match key {
                        b"Error" => text = value.text()?,
                        _ => value.skip()?,
                    }
                    Ok(())
                })?;
                Ok(StreamMessage::Error(String::from_utf8_lossy(text).into_owned()))
            }
        }
    }

    fn user_header(&mut self, mut scanner: Scanner) -> Result<bool, WireError> {
        let complete = self.scan(&mut scanner)?;
        self.stage = Stage::UserHeader(scanner);
        if !complete {
            return Ok(false);
        }
        let mut size = 0;
        self.header().structure(&[b"UserMsgLen"], |key, value| {
            match key {
                b"UserMsgLen" => size = value.number()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        self.stage = Stage::Tail(self.at + limited("user message", size, MAX_USER_STATE)?);
        Ok(true)
    }

    fn push_pull_header(&mut self, mut scanner: Scanner) -> Result<bool, WireError> {
        let complete = self.scan(&mut scanner)?;
        self.stage = Stage::PushPullHeader(scanner);
        if !complete {
            return Ok(false);
        }
        let header = PushPullHeader::decode(self.header())?;
        self.stage =
            Stage::Nodes { more: header.nodes, scanner: Scanner::new(), user_state: header.user_state };
        Ok(true)
    }

    fn nodes(&mut self, mut more: usize, mut scanner: Scanner, user_state: usize) -> Result<bool, WireError> {
        while more > 0 {
            if !self.scan(&mut scanner)? {
                self.stage = Stage::Nodes { more, scanner, user_state };
                return Ok(false);
            }
            scanner = Scanner::new();
            more -= 1;
        }
        self.stage = Stage::Tail(self.at + user_state);
        Ok(true)
    }

    /// The message, up to `end`, is there; its last part is raw bytes that begin where `at` is.
    fn finish(&mut self, end: usize) -> Result<StreamMessage, WireError> {
        let mut all = std::mem::take(&mut self.buffer);
        all.truncate(end);
        let all = Bytes::from(all);
        let tail = all.slice(self.at.min(all.len())..);
        if all.get(self.start) == Some(&kind::USER) {
            return Ok(StreamMessage::User(tail));
        }
        let mut reader = Reader::new(all.get(self.start + 1..self.at).unwrap_or_default());
        let before = reader.rest();
        reader.skip()?;
        let size = before.len() - reader.rest().len();
        let header = PushPullHeader::decode(Reader::new(before.get(..size).unwrap_or_default()))?;
        let mut nodes = Vec::new();
        for _ in 0..header.nodes {
            nodes.extend(PushPullNode::decode(&mut reader, &all)?);
        }
        Ok(StreamMessage::PushPull(PushPull { join: header.join, nodes, user_state: tail }))
    }
}

/// A length as the other side claims it.
fn limited(what: &'static str, size: i64, limit: usize) -> Result<usize, WireError> {
    let size = usize::try_from(size).map_err(|_| WireError::Malformed(what))?;
    if size > limit { Err(WireError::TooLarge { what, size, limit }) } else { Ok(size) }
}

/// The map at the start of an exchange.
struct PushPullHeader {
    nodes: usize,
    user_state: usize,
    join: bool,
}

impl PushPullHeader {
    fn decode(mut reader: Reader<'_>) -> Result<Self, WireError> {
        let (mut nodes, mut user_state, mut join) = (0, 0, false);
        reader.structure(&[b"Nodes", b"UserStateLen", b"Join"], |key, value| {
            match key {
                b"Nodes" => nodes = value.number()?,
                b"UserStateLen" => user_state = value.number()?,
                b"Join" => join = value.boolean()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(Self {
            nodes: limited("number of nodes", nodes, MAX_NODES)?,
            user_state: limited("user state", user_state, MAX_USER_STATE)?,
            join,
        })
    }
}

/// Appends a stream message, wrapped: compressed if asked for, encrypted if there is a key.
///
/// Receivers refuse members, user state and encrypted messages beyond the limits of this module.
pub fn encode_stream(
    message: &StreamMessage,
    compress: bool,
    crypto: &Crypto,
    rng: &mut impl Rng,
    out: &mut Vec<u8>,
) {
    wrap(compress, crypto, rng, out, |out| match message {
        StreamMessage::PushPull(all) => {
            put_push_pull(all.join, all.nodes.iter().map(PushPullNode::as_ref), &all.user_state, out);
        }
        StreamMessage::Ping { seq, node } => {
            Ping { seq: *seq, node, source: None, source_node: &[] }.encode(out);
        }
        StreamMessage::Ack { seq } => Ack { seq: *seq, payload: None }.encode(out),
        StreamMessage::User(bytes) => {
            out.push(kind::USER);
            Writer::new(out).map(1).raw(b"UserMsgLen").unsigned(bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        StreamMessage::Error(text) => {
            out.push(kind::ERROR);
            Writer::new(out).map(1).raw(b"Error").raw(text.as_bytes());
        }
    });
}

/// Appends an exchange of everything without the nodes being copied first; otherwise as [`encode_stream`].
pub fn encode_push_pull<'a>(
    join: bool,
    nodes: impl ExactSizeIterator<Item = PushPullNodeRef<'a>>,
    user_state: &[u8],
    compress: bool,
    crypto: &Crypto,
    rng: &mut impl Rng,
    out: &mut Vec<u8>,
) {
    wrap(compress, crypto, rng, out, |out| put_push_pull(join, nodes, user_state, out));
}

fn put_push_pull<'a>(
    join: bool,
    nodes: impl ExactSizeIterator<Item = PushPullNodeRef<'a>>,
    user_state: &[u8],
    out: &mut Vec<u8>,
) {
    out.push(kind::PUSH_PULL);
    let mut writer = Writer::new(out);
    writer.map(3).raw(b"Join").boolean(join).raw(b"Nodes").unsigned(nodes.len() as u64);
    writer.raw(b"UserStateLen").unsigned(user_state.len() as u64);
    for node in nodes {
        node.encode(out);
    }
    out.extend_from_slice(user_state);
}

/// Wraps the message that `encode` appends.
fn wrap(
    compressed: bool,
    crypto: &Crypto,
    rng: &mut impl Rng,
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>),
) {
    let label = crypto.label();
    if !label.is_empty() {
        out.extend_from_slice(&[kind::HAS_LABEL, u8::try_from(label.len()).unwrap_or(u8::MAX)]);
        out.extend_from_slice(label);
    }
    let start = out.len();
    let sealed = start + ENCRYPT_HEADER;
    if crypto.encrypts() {
        out.extend_from_slice(&[0; ENCRYPT_HEADER + ENCRYPTION_PREFIX]);
    }
    if compressed {
        let mut plain = Vec::new();
        encode(&mut plain);
        compress(&mut Compressor::default(), &mut Vec::new(), &plain, out);
    } else {
        encode(out);
    }
    if crypto.encrypts() {
        let size = u32::try_from(out.len() - sealed + ENCRYPTION_SUFFIX).unwrap_or(u32::MAX);
        let [a, b, c, d] = size.to_be_bytes();
        let header = [kind::ENCRYPT, a, b, c, d];
        if let Some(place) = out.get_mut(start..sealed) {
            place.copy_from_slice(&header);
        }
        crypto.seal(out, sealed, &[&header, label].concat(), rng);
    }
}
