//! The old msgpack dialect Consul's state machine speaks: raw strings only, no `bin`, no `str8`.
//!
//! Written by hand because a save pays for every byte and because general encoders write the new
//! dialect. Reading is lenient: the new forms are understood too.

use std::io::BufRead;

/// Why bytes are not the value expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends too early.
    #[error("unexpected EOF")]
    Eof,
    /// This byte begins nothing.
    #[error("byte {0:#04x} starts no msgpack value")]
    Lead(u8),
    /// Something else stands there.
    #[error("{found} where {wanted} should stand")]
    Type {
        /// What should stand there.
        wanted: &'static str,
        /// What does.
        found: &'static str,
    },
    /// A number that the field cannot hold.
    #[error("number out of range")]
    Range,
    /// Deeper than anybody nests.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    Depth,
    /// Longer than allowed; the bound in bytes.
    #[error("longer than {0} bytes")]
    Size(usize),
    /// The value ended and the bytes did not.
    #[error("{0} after the value")]
    Trailing(&'static str),
    /// What else a reader finds wrong.
    #[error("{0}")]
    Other(String),
}

/// How deep free-form values may nest; JSON readers stop at the same depth.
pub const MAX_DEPTH: usize = 128;

/// Appends values to a buffer in the old dialect.
#[derive(Debug, Default)]
pub struct Packer {
    /// What was written so far.
    pub buffer: Vec<u8>,
}

impl Packer {
    /// Nothing.
    pub fn nil(&mut self) {
        self.buffer.push(0xc0);
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) {
        self.buffer.push(if value { 0xc3 } else { 0xc2 });
    }

    fn sized(&mut self, lead: u8, operand: &[u8]) {
        self.buffer.push(lead);
        self.buffer.extend_from_slice(operand);
    }

    /// Shortest unsigned form.
    #[expect(clippy::cast_possible_truncation, reason = "each arm says that it fits")]
    pub fn uint(&mut self, value: u64) {
        match value {
            0..=0x7f => self.buffer.push(value as u8),
            0x80..=0xff => self.sized(0xcc, &[value as u8]),
            0x100..=0xffff => self.sized(0xcd, &(value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.sized(0xce, &(value as u32).to_be_bytes()),
            _ => self.sized(0xcf, &value.to_be_bytes()),
        }
    }

    /// Shortest form; what is not negative goes as unsigned.
    pub fn int(&mut self, value: i64) {
        if let Ok(positive) = u64::try_from(value) {
            return self.uint(positive);
        }
        if let Ok(byte) = i8::try_from(value) {
            if byte >= -32 {
                self.buffer.push(byte.to_be_bytes()[0]);
            } else {
                self.sized(0xd0, &byte.to_be_bytes());
            }
        } else if let Ok(short) = i16::try_from(value) {
            self.sized(0xd1, &short.to_be_bytes());
        } else if let Ok(word) = i32::try_from(value) {
            self.sized(0xd2, &word.to_be_bytes());
        } else {
            self.sized(0xd3, &value.to_be_bytes());
        }
    }

    /// A float of eight bytes.
    pub fn float(&mut self, value: f64) {
        self.sized(0xcb, &value.to_be_bytes());
    }

    #[expect(clippy::cast_possible_truncation, reason = "each arm says that it fits")]
    fn length(&mut self, small: u8, small_limit: usize, wide: u8, length: usize) {
        match length {
            n if n < small_limit => self.buffer.push(small | n as u8),
            n if n <= 0xffff => self.sized(wide, &(n as u16).to_be_bytes()),
            n => self.sized(wide + 1, &(n as u32).to_be_bytes()),
        }
    }

    /// A raw string; text and bytes look alike.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.length(0xa0, 32, 0xda, bytes.len());
        self.buffer.extend_from_slice(bytes);
    }

    /// Text.
    pub fn str(&mut self, text: &str) {
        self.raw(text.as_bytes());
    }

    /// The head of an array; its items follow.
    pub fn array(&mut self, items: usize) {
        self.length(0x90, 16, 0xdc, items);
    }

    /// The head of a map; its keys and values follow in turn.
    pub fn map(&mut self, pairs: usize) {
        self.length(0x80, 16, 0xde, pairs);
    }
}

/// What follows a lead byte: so many operand bytes, which say what else.
#[derive(Clone, Copy)]
enum Form {
    Nil,
    Bool(bool),
    Uint(u8),
    Int,
    Small(i8),
    Float,
    Raw(usize),
    RawWide,
    Array(usize),
    ArrayWide,
    Map(usize),
    MapWide,
    Ext(usize),
    ExtWide,
}

impl Form {
    /// How many bytes and how many values belong to it besides; `operand` is what its operand bytes say.
    fn extent(self, operand: usize) -> (usize, usize) {
        match self {
            Self::Raw(count) => (count, 0),
            Self::RawWide => (operand, 0),
            Self::Array(count) => (0, count),
            Self::ArrayWide => (0, operand),
            Self::Map(count) => (0, 2 * count),
            Self::MapWide => (0, operand.saturating_mul(2)),
            Self::Ext(count) => (count + 1, 0),
            Self::ExtWide => (operand.saturating_add(1), 0),
            Self::Nil | Self::Bool(_) | Self::Uint(_) | Self::Int | Self::Small(_) | Self::Float => (0, 0),
        }
    }
}

/// Form and number of operand bytes of a lead byte.
fn form(lead: u8) -> Result<(Form, usize), Malformed> {
    Ok(match lead {
        0x00..=0x7f => (Form::Uint(lead), 0),
        0x80..=0x8f => (Form::Map(usize::from(lead & 0x0f)), 0),
        0x90..=0x9f => (Form::Array(usize::from(lead & 0x0f)), 0),
        0xa0..=0xbf => (Form::Raw(usize::from(lead & 0x1f)), 0),
        0xc0 => (Form::Nil, 0),
        0xc2 => (Form::Bool(false), 0),
        0xc3 => (Form::Bool(true), 0),
        0xc4 | 0xd9 => (Form::RawWide, 1),
        0xc5 | 0xda => (Form::RawWide, 2),
        0xc6 | 0xdb => (Form::RawWide, 4),
        0xc7 => (Form::ExtWide, 1),
        0xc8 => (Form::ExtWide, 2),
        0xc9 => (Form::ExtWide, 4),
        0xca => (Form::Float, 4),
        0xcb => (Form::Float, 8),
        0xcc => (Form::Uint(0), 1),
        0xcd => (Form::Uint(0), 2),
        0xce => (Form::Uint(0), 4),
        0xcf => (Form::Uint(0), 8),
        0xd0 => (Form::Int, 1),
        0xd1 => (Form::Int, 2),
        0xd2 => (Form::Int, 4),
        0xd3 => (Form::Int, 8),
        0xd4..=0xd8 => (Form::Ext(1 << (lead - 0xd4)), 0),
        0xdc => (Form::ArrayWide, 2),
        0xdd => (Form::ArrayWide, 4),
        0xde => (Form::MapWide, 2),
        0xdf => (Form::MapWide, 4),
        0xe0..=0xff => (Form::Small(i8::from_be_bytes([lead])), 0),
        0xc1 => return Err(Malformed::Lead(lead)),
    })
}

fn number(operand: &[u8]) -> u64 {
    operand.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn length(operand: &[u8]) -> usize {
    usize::try_from(number(operand)).unwrap_or(usize::MAX)
}

/// One step through a value: a scalar, or the head of what follows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// A whole number, not negative.
    Uint(u64),
    /// A whole number of a signed form.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text or bytes, of whichever form.
    Raw(&'a [u8]),
    /// The head of an array, with the number of items.
    Array(usize),
    /// The head of a map, with the number of pairs.
    Map(usize),
    /// An extension, stepped over.
    Ext,
}

impl Token<'_> {
    /// What it is, for people.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "a bool",
            Self::Uint(_) | Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Raw(_) => "a string",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
            Self::Ext => "an extension",
        }
    }
}

/// Walks over a value in memory. Nil reads as the zero of whatever is asked for, as in Go.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Stands before the first value of these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether nil comes next.
    pub fn at_nil(&self) -> bool {
        self.rest.first() == Some(&0xc0)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed::Eof)?;
        self.rest = rest;
        Ok(taken)
    }

    /// One step.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn token(&mut self) -> Result<Token<'a>, Malformed> {
        let (&lead, rest) = self.rest.split_first().ok_or(Malformed::Eof)?;
        self.rest = rest;
        let (form, operands) = form(lead)?;
        let operand = self.take(operands)?;
        Ok(match form {
            Form::Nil => Token::Nil,
            Form::Bool(value) => Token::Bool(value),
            Form::Uint(small) if operand.is_empty() => Token::Uint(u64::from(small)),
            Form::Uint(_) => Token::Uint(number(operand)),
            Form::Small(value) => Token::Int(i64::from(value)),
            Form::Int => {
                let unused = 64 - 8 * operand.len();
                Token::Int((number(operand) << unused).cast_signed() >> unused)
            }
            Form::Float => Token::Float(match <[u8; 4]>::try_from(operand) {
                Ok(single) => f64::from(f32::from_be_bytes(single)),
                Err(_) => f64::from_bits(number(operand)),
            }),
            Form::Raw(count) => Token::Raw(self.take(count)?),
            Form::RawWide => Token::Raw(self.take(length(operand))?),
            Form::Array(count) => Token::Array(count),
            Form::ArrayWide => Token::Array(length(operand)),
            Form::Map(count) => Token::Map(count),
            Form::MapWide => Token::Map(length(operand)),
            Form::Ext(count) => self.take(count + 1).map(|_| Token::Ext)?,
            Form::ExtWide => self.take(length(operand).saturating_add(1)).map(|_| Token::Ext)?,
        })
    }

    /// Steps over one value, whatever it is.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn skip(&mut self) -> Result<(), Malformed> {
        let mut pending = 1_usize;
        while pending > 0 {
            pending -= 1;
            pending = pending.saturating_add(match self.token()? {
                Token::Array(items) => items,
                Token::Map(pairs) => pairs.saturating_mul(2),
                _ => 0,
            });
        }
        Ok(())
    }

    /// Fails unless everything was consumed.
    ///
    /// # Errors
    /// [`Malformed`].
    pub const fn finish(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing("something")) }
    }

    /// A truth value.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        match self.token()? {
            Token::Bool(value) => Ok(value),
            Token::Nil => Ok(false),
            other => Err(Malformed::Type { wanted: "a bool", found: other.name() }),
        }
    }

    /// A whole number that is not negative.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn uint(&mut self) -> Result<u64, Malformed> {
        match self.token()? {
            Token::Uint(value) => Ok(value),
            Token::Int(value) => u64::try_from(value).map_err(|_| Malformed::Range),
            Token::Nil => Ok(0),
            other => Err(Malformed::Type { wanted: "an integer", found: other.name() }),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn int(&mut self) -> Result<i64, Malformed> {
        match self.token()? {
            Token::Uint(value) => i64::try_from(value).map_err(|_| Malformed::Range),
            Token::Int(value) => Ok(value),
            Token::Nil => Ok(0),
            other => Err(Malformed::Type { wanted: "an integer", found: other.name() }),
        }
    }

    /// A float.
    ///
    /// # Errors
    /// [`Malformed`].
    #[expect(clippy::cast_precision_loss, reason = "a whole number where a float should be is at most a toy")]
    pub fn float(&mut self) -> Result<f64, Malformed> {
        match self.token()? {
            Token::Float(value) => Ok(value),
            Token::Uint(value) => Ok(value as f64),
            Token::Int(value) => Ok(value as f64),
            Token::Nil => Ok(0.0),
            other => Err(Malformed::Type { wanted: "a float", found: other.name() }),
        }
    }

    /// Text or bytes.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn raw(&mut self) -> Result<&'a [u8], Malformed> {
        match self.token()? {
            Token::Raw(bytes) => Ok(bytes),
            Token::Nil => Ok(&[]),
            other => Err(Malformed::Type { wanted: "a string", found: other.name() }),
        }
    }

    /// Text; bytes that are no UTF-8 become U+FFFD, as they would in Consul's JSON answers.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn string(&mut self) -> Result<String, Malformed> {
        Ok(String::from_utf8_lossy(self.raw()?).into_owned())
    }

    /// Visits the pairs of a map; false for nil. `visit` must consume the value.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn map(
        &mut self,
        mut visit: impl FnMut(&'a [u8], &mut Self) -> Result<(), Malformed>,
    ) -> Result<bool, Malformed> {
        match self.token()? {
            Token::Map(pairs) => {
                for _ in 0..pairs {
                    let key = self.raw()?;
                    visit(key, self)?;
                }
                Ok(true)
            }
            Token::Nil => Ok(false),
            other => Err(Malformed::Type { wanted: "a map", found: other.name() }),
        }
    }

    /// The items of an array; none for nil.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn array<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<Vec<T>>, Malformed> {
        match self.token()? {
            Token::Array(count) => {
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(item(self)?);
                }
                Ok(Some(items))
            }
            Token::Nil => Ok(None),
            other => Err(Malformed::Type { wanted: "an array", found: other.name() }),
        }
    }
}

/// Finds where a value ends while its bytes are still arriving, without looking at any byte twice.
#[derive(Debug, Clone, Copy)]
pub struct Scanner {
    at: usize,
    pending: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { at: 0, pending: 1 }
    }
}

impl Scanner {
    /// Goes on in `bytes`, which begin where the value begins and have only grown since the last call.
    /// Gives the length of the value once it is whole.
    ///
    /// # Errors
    /// [`Malformed::Lead`], and [`Malformed::Size`] as soon as it is clear that the value is longer than `limit`.
    pub fn advance(&mut self, bytes: &[u8], limit: usize) -> Result<Option<usize>, Malformed> {
        while self.pending > 0 {
            let Some((&lead, rest)) = bytes.get(self.at..).and_then(<[u8]>::split_first) else {
                return Ok(None);
            };
            let (form, operands) = form(lead)?;
            let Some(operand) = rest.get(..operands).map(length) else { return Ok(None) };
            let (payload, children) = form.extent(operand);
            let next = self.at.saturating_add(1 + operands).saturating_add(payload);
            let pending = (self.pending - 1).saturating_add(children);
            if next.saturating_add(pending) > limit {
                return Err(Malformed::Size(limit));
            }
            // The payload may not be here yet; then the next look begins behind it.
            (self.at, self.pending) = (next, pending);
        }
        Ok((self.at <= bytes.len()).then_some(self.at))
    }
}

/// Why a value could not be taken from a stream.
#[derive(Debug)]
pub(super) enum StreamError {
    Io(std::io::Error),
    Malformed(Malformed),
}

impl From<Malformed> for StreamError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

/// Moves `count` bytes over. The buffer grows by what really arrives, never by what was promised.
fn copy(source: &mut impl BufRead, mut count: usize, out: &mut Vec<u8>) -> Result<(), StreamError> {
    while count > 0 {
        let available = match source.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(StreamError::Io(error)),
        };
        let taken = available.get(..count).unwrap_or(available);
        if taken.is_empty() {
            return Err(Malformed::Eof.into());
        }
        let length = taken.len();
        out.extend_from_slice(taken);
        source.consume(length);
        count -= length;
    }
    Ok(())
}

/// Takes exactly one value from a stream into `out`, at most `limit` bytes of it.
pub(super) fn read_value(
    source: &mut impl BufRead,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), StreamError> {
    out.clear();
    let mut pending = 1_usize;
    while pending > 0 {
        pending -= 1;
        let start = out.len();
        copy(source, 1, out)?;
        let (form, operands) = form(out.get(start).copied().unwrap_or(0xc1))?;
        copy(source, operands, out)?;
        let operand = out.get(start + 1..).map_or(usize::MAX, length);
        let (payload, children) = form.extent(operand);
        pending = pending.saturating_add(children);
        if out.len().saturating_add(payload).saturating_add(pending) > limit {
            return Err(Malformed::Size(limit).into());
        }
        copy(source, payload, out)?;
    }
    Ok(())
}
