//! msgpack as go-msgpack 0.5 writes and reads it: values to bytes and back.
//!
//! That dialect knows no `str8` and no `bin` when it writes (strings and bytes are both "raw"), keeps
//! integers as short as they can be and writes structs as maps with sorted keys. What is read may be
//! almost anything: see section 1 of the project's notes on the gossip wire.
//!
//! Reading borrows; nothing here allocates, recurses, or trusts a length before it saw the bytes.
//!
//! May not enter: which fields a message has.

use super::WireError;

/// What stands at the head of a value: how long the head is, how many bytes follow it that belong to the
/// value, and how many values it contains.
struct Head {
    len: usize,
    body: u64,
    children: u64,
}

/// Reads a value's head; `None` if it is cut short.
///
/// # Errors
/// [`WireError::Malformed`] for the one byte that begins no value.
fn head(bytes: &[u8]) -> Result<Option<Head>, WireError> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let number = |width: usize| -> Option<u64> {
        let digits = rest.get(..width)?;
        Some(digits.iter().fold(0, |sum, digit| (sum << 8) | u64::from(*digit)))
    };
    let plain = |body: u64| Some(Head { len: 1, body, children: 0 });
    let blob = |width: usize, more: u64| {
        number(width).map(|size| Head { len: 1 + width, body: size + more, children: 0 })
    };
    let group = |width: usize, per: u64| {
        number(width).map(|count| Head { len: 1 + width, body: 0, children: count * per })
    };
    Ok(match first {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => plain(0),
        0x80..=0x8f => Some(Head { len: 1, body: 0, children: u64::from(first & 0x0f) * 2 }),
        0x90..=0x9f => Some(Head { len: 1, body: 0, children: u64::from(first & 0x0f) }),
        0xa0..=0xbf => plain(u64::from(first & 0x1f)),
        0xc1 => return Err(WireError::Malformed("msgpack value")),
        0xc4 | 0xd9 => blob(1, 0),
        0xc5 | 0xda => blob(2, 0),
        0xc6 | 0xdb => blob(4, 0),
        0xc7 => blob(1, 1),
        0xc8 => blob(2, 1),
        0xc9 => blob(4, 1),
        0xcc | 0xd0 => plain(1),
        0xcd | 0xd1 | 0xd4 => plain(2),
        0xca | 0xce | 0xd2 => plain(4),
        0xcb | 0xcf | 0xd3 => plain(8),
        0xd5 => plain(3),
        0xd6 => plain(5),
        0xd7 => plain(9),
        0xd8 => plain(17),
        0xdc => group(2, 1),
        0xdd => group(4, 1),
        0xde => group(2, 2),
        0xdf => group(4, 2),
    })
}

/// Finds the end of a value whose bytes come in pieces, looking at each head once.
///
/// Values inside values are counted, not descended into, so depth costs nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanner {
    pending: u64,
}

impl Scanner {
    /// At the start of a value.
    pub(super) fn new() -> Self {
        Self { pending: 1 }
    }

    /// Moves `at` on through `bytes`, which hold everything so far. True if the value ends at `at`. While
    /// false, `at` may lie beyond the end of `bytes`: no more is known until so many are there.
    ///
    /// # Errors
    /// [`WireError::Malformed`] if this is no value.
    pub(super) fn advance(&mut self, bytes: &[u8], at: &mut usize) -> Result<bool, WireError> {
        while self.pending > 0 {
            let Some(rest) = bytes.get(*at..) else { return Ok(false) };
            let Some(head) = head(rest)? else { return Ok(false) };
            let body = usize::try_from(head.body).unwrap_or(usize::MAX);
            *at = at.saturating_add(head.len).saturating_add(body);
            self.pending = (self.pending - 1).saturating_add(head.children);
        }
        Ok(*at <= bytes.len())
    }
}

/// Reads values off the front of a slice.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Over these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, WireError> {
        let (&first, rest) = self.rest.split_first().ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(first)
    }

    #[inline]
    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn size<const N: usize>(&mut self) -> Result<usize, WireError> {
        let digits = self.array_of::<N>()?;
        Ok(digits.iter().fold(0, |sum, digit| (sum << 8) | usize::from(*digit)))
    }

    /// A string or bytes, in any of their forms; `None` for nil.
    ///
    /// # Errors
    /// [`WireError::Short`], or [`WireError::Malformed`] for another kind of value.
    #[inline]
    pub fn bytes(&mut self) -> Result<Option<&'a [u8]>, WireError> {
        let first = self.byte()?;
        let size = match first {
            0xa0..=0xbf => usize::from(first & 0x1f),
            0xc0 => return Ok(None),
            0xc4 | 0xd9 => self.size::<1>()?,
            0xc5 | 0xda => self.size::<2>()?,
            0xc6 | 0xdb => self.size::<4>()?,
            _ => return Err(WireError::Malformed("string")),
        };
        self.take(size).map(Some)
    }

    /// A string or bytes; nil is empty.
    ///
    /// # Errors
    /// As [`Reader::bytes`].
    #[inline]
    pub fn text(&mut self) -> Result<&'a [u8], WireError> {
        Ok(self.bytes()?.unwrap_or_default())
    }

    /// A whole number of any width and sign; nil is 0.
    ///
    /// # Errors
    /// [`WireError::Short`], or [`WireError::Malformed`] for another kind of value.
    #[inline]
    pub fn integer(&mut self) -> Result<i128, WireError> {
        let first = self.byte()?;
        Ok(match first {
            0x00..=0x7f => first.into(),
            0xc0 => 0,
            0xcc => self.byte()?.into(),
            0xcd => u16::from_be_bytes(self.array_of()?).into(),
            0xce => u32::from_be_bytes(self.array_of()?).into(),
            0xcf => u64::from_be_bytes(self.array_of()?).into(),
            0xd0 => i8::from_be_bytes(self.array_of()?).into(),
            0xd1 => i16::from_be_bytes(self.array_of()?).into(),
            0xd2 => i32::from_be_bytes(self.array_of()?).into(),
            0xd3 => i64::from_be_bytes(self.array_of()?).into(),
            0xe0..=0xff => i8::from_be_bytes([first]).into(),
            _ => return Err(WireError::Malformed("integer")),
        })
    }

    /// A whole number that fits a `T`.
    ///
    /// # Errors
    /// As [`Reader::integer`], and [`WireError::Malformed`] if it does not fit.
    #[inline]
    pub fn number<T: TryFrom<i128>>(&mut self) -> Result<T, WireError> {
        T::try_from(self.integer()?).map_err(|_| WireError::Malformed("integer"))
    }

    /// A float, or a whole number in its place; nil is 0.
    ///
    /// # Errors
    /// As [`Reader::integer`].
    pub fn float(&mut self) -> Result<f64, WireError> {
        match self.rest.first() {
            Some(0xca) => {
                self.byte()?;
                Ok(f32::from_be_bytes(self.array_of()?).into())
            }
            Some(0xcb) => {
                self.byte()?;
                Ok(f64::from_be_bytes(self.array_of()?))
            }
            // Above 2^53 a whole number loses digits, as any float would.
            #[allow(clippy::cast_precision_loss)]
            _ => Ok(self.integer()? as f64),
        }
    }

    /// A truth value, or 0 or 1 in its place; nil is false.
    ///
    /// # Errors
    /// [`WireError::Short`], or [`WireError::Malformed`] for another value.
    pub fn boolean(&mut self) -> Result<bool, WireError> {
        match self.byte()? {
            0x00 | 0xc0 | 0xc2 => Ok(false),
            0x01 | 0xc3 => Ok(true),
            _ => Err(WireError::Malformed("bool")),
        }
    }

    /// The head of an array: how many values follow. Nil is empty.
    ///
    /// # Errors
    /// [`WireError::Short`], or [`WireError::Malformed`] for another kind of value.
    pub fn array(&mut self) -> Result<usize, WireError> {
        let first = self.byte()?;
        match first {
            0x90..=0x9f => Ok(usize::from(first & 0x0f)),
            0xc0 => Ok(0),
            0xdc => self.size::<2>(),
            0xdd => self.size::<4>(),
            _ => Err(WireError::Malformed("array")),
        }
    }

    /// The head of a map: how many keys, each with its value, follow. Nil is empty.
    ///
    /// # Errors
    /// [`WireError::Short`], or [`WireError::Malformed`] for another kind of value.
    #[inline]
    pub fn map(&mut self) -> Result<usize, WireError> {
        let first = self.byte()?;
        match first {
            0x80..=0x8f => Ok(usize::from(first & 0x0f)),
            0xc0 => Ok(0),
            0xde => self.size::<2>(),
            0xdf => self.size::<4>(),
            _ => Err(WireError::Malformed("map")),
        }
    }

    /// Whether the next value is nil; reads it if so.
    pub fn nil(&mut self) -> bool {
        let nil = self.rest.first() == Some(&0xc0);
        if nil {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        nil
    }

    /// Passes over a value, whatever it is and however deep.
    ///
    /// # Errors
    /// [`WireError::Short`] or [`WireError::Malformed`].
    pub fn skip(&mut self) -> Result<(), WireError> {
        let mut at = 0;
        if !Scanner::new().advance(self.rest, &mut at)? {
            return Err(WireError::Short);
        }
        self.rest = self.rest.get(at..).unwrap_or_default();
        Ok(())
    }

    /// A struct: a map with its fields in any order, or an array of them in the order of `names`.
    /// `field` reads the value of each field it knows and [skips](Reader::skip) the others. Fields that
    /// are missing keep what they were; nil has none.
    ///
    /// # Errors
    /// [`WireError::Short`] or [`WireError::Malformed`], or what `field` said.
    #[inline]
    pub fn structure(
        &mut self,
        names: &[&'static [u8]],
        mut field: impl FnMut(&[u8], &mut Self) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        if matches!(self.rest.first(), Some(0x90..=0x9f | 0xdc | 0xdd)) {
            for at in 0..self.array()? {
                match names.get(at) {
                    Some(name) => field(name, self)?,
                    None => self.skip()?,
                }
            }
        } else {
            for _ in 0..self.map()? {
                let key = self.text()?;
                field(key, self)?;
            }
        }
        Ok(())
    }
}

/// Appends values as go-msgpack 0.5 does.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Behind what is in `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    fn head<const N: usize>(&mut self, marker: u8, digits: [u8; N]) -> &mut Self {
        self.out.push(marker);
        self.out.extend_from_slice(&digits);
        self
    }

    /// The head of a map with so many keys.
    pub fn map(&mut self, keys: usize) -> &mut Self {
        self.group(keys, 0x80, 0xde, 0xdf)
    }

    /// The head of an array with so many values.
    pub fn array(&mut self, values: usize) -> &mut Self {
        self.group(values, 0x90, 0xdc, 0xdd)
    }

    fn group(&mut self, count: usize, small: u8, middle: u8, large: u8) -> &mut Self {
        // No more than 2^32 - 1 things can be counted; the limits of all messages lie far below.
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        match (u8::try_from(count), u16::try_from(count)) {
            (Ok(count @ 0..=15), _) => {
                self.out.push(small | count);
                self
            }
            (_, Ok(count)) => self.head(middle, count.to_be_bytes()),
            _ => self.head(large, count.to_be_bytes()),
        }
    }

    /// A string or bytes.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        match (u8::try_from(bytes.len()), u16::try_from(bytes.len())) {
            (Ok(size @ 0..=31), _) => self.out.push(0xa0 | size),
            (_, Ok(size)) => _ = self.head(0xda, size.to_be_bytes()),
            _ => _ = self.head(0xdb, u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()),
        }
        self.out.extend_from_slice(bytes);
        self
    }

    /// Bytes, or nil for `None`.
    #[inline]
    pub fn optional(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => self.raw(bytes),
            None => self.nil(),
        }
    }

    /// A whole number that is not negative.
    #[inline]
    pub fn unsigned(&mut self, number: impl Into<u64>) -> &mut Self {
        let number = number.into();
        if let Ok(small) = u8::try_from(number) {
            if small >= 0x80 {
                self.out.push(0xcc);
            }
            self.out.push(small);
            self
        } else if let Ok(middle) = u16::try_from(number) {
            self.head(0xcd, middle.to_be_bytes())
        } else if let Ok(large) = u32::try_from(number) {
            self.head(0xce, large.to_be_bytes())
        } else {
            self.head(0xcf, number.to_be_bytes())
        }
    }

    /// A whole number.
    pub fn signed(&mut self, number: i64) -> &mut Self {
        if let Ok(number) = u64::try_from(number) {
            self.unsigned(number)
        } else if let Ok(small) = i8::try_from(number) {
            if small < -32 {
                self.out.push(0xd0);
            }
            self.out.extend_from_slice(&small.to_be_bytes());
            self
        } else if let Ok(middle) = i16::try_from(number) {
            self.head(0xd1, middle.to_be_bytes())
        } else if let Ok(large) = i32::try_from(number) {
            self.head(0xd2, large.to_be_bytes())
        } else {
            self.head(0xd3, number.to_be_bytes())
        }
    }

    /// A float.
    pub fn float(&mut self, number: f64) -> &mut Self {
        self.head(0xcb, number.to_be_bytes())
    }

    /// A truth value.
    pub fn boolean(&mut self, truth: bool) -> &mut Self {
        self.out.push(if truth { 0xc3 } else { 0xc2 });
        self
    }

    /// Nothing.
    pub fn nil(&mut self) -> &mut Self {
        self.out.push(0xc0);
        self
    }

    /// A string as today's msgpack has it, with `str8`.
    pub fn text(&mut self, text: &[u8]) -> &mut Self {
        match u8::try_from(text.len()) {
            Ok(size @ 32..) => {
                self.head(0xd9, [size]);
                self.out.extend_from_slice(text);
                self
            }
            _ => self.raw(text),
        }
    }

    /// Bytes as today's msgpack has them: `bin`.
    pub fn binary(&mut self, bytes: &[u8]) -> &mut Self {
        match (u8::try_from(bytes.len()), u16::try_from(bytes.len())) {
            (Ok(size), _) => self.head(0xc4, [size]),
            (_, Ok(size)) => self.head(0xc5, size.to_be_bytes()),
            _ => self.head(0xc6, u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()),
        };
        self.out.extend_from_slice(bytes);
        self
    }
}
