//! LZW as memberlist uses it: least significant bit first, literals of 8 bits, codes of 9 to 12 (that of
//! GIF, and of Go's `compress/lzw`).
//!
//! The decoder is our own: it keeps every code as a place in what was decoded so far, so it has no table to
//! prepare and no strings to rebuild, and starting over costs nothing. The encoder gives the same bytes as
//! stock agents do, so that recorded traffic can be compared; crates differ from them at the edges.
//!
//! May not enter: the message around it.

use super::WireError;

/// Forget all codes.
const CLEAR_CODE: u32 = 256;
/// Nothing follows.
const END_CODE: u32 = 257;
/// The encoder starts over when it would make this code.
const LAST_CODE: u32 = (1 << MAX_WIDTH) - 1;
/// [`CLEAR_CODE`] and [`END_CODE`] as indices.
const CLEAR: usize = CLEAR_CODE as usize;
const END: usize = END_CODE as usize;
/// One more than the largest code.
const CODES: usize = 1 << 12;
/// Bits of a code at the start.
const MIN_WIDTH: u32 = 9;
/// Most bits of a code.
const MAX_WIDTH: u32 = 12;

/// A string of the table: where in the output it lies.
#[derive(Clone, Copy, Default)]
struct Place {
    start: u32,
    len: u32,
}

/// Decodes; its table is made by the first call and kept for the next ones.
#[derive(Default)]
pub(super) struct Decoder {
    table: Vec<Place>,
}

/// Takes codes off a byte string.
struct Bits<'a> {
    bytes: &'a [u8],
    held: u64,
    count: u32,
}

impl Bits<'_> {
    #[inline]
    fn take(&mut self, width: u32) -> Result<usize, WireError> {
        if self.count < width {
            if let Some((chunk, rest)) = self.bytes.split_first_chunk() {
                self.held |= u64::from(u32::from_le_bytes(*chunk)) << self.count;
                self.count += 32;
                self.bytes = rest;
            } else {
                while self.count < width {
                    let (&byte, rest) = self.bytes.split_first().ok_or(WireError::Short)?;
                    self.held |= u64::from(byte) << self.count;
                    self.count += 8;
                    self.bytes = rest;
                }
            }
        }
        // At most 12 bits.
        #[allow(clippy::cast_possible_truncation)]
        let code = (self.held & ((1 << width) - 1)) as usize;
        self.held >>= width;
        self.count -= width;
        Ok(code)
    }
}

impl Decoder {
    /// Appends what `bytes` stand for to `out`; `out` grows only by what was decoded, at most `limit` bytes
    /// in all. What follows the end code is ignored.
    ///
    /// # Errors
    /// [`WireError::Short`] without an end code, [`WireError::Malformed`] for a code that was never made,
    /// [`WireError::TooLarge`] beyond `limit`; `out` then ends with what was decoded before.
    pub(super) fn decode(&mut self, bytes: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
        self.table.resize(CODES, Place::default());
        let base = out.len();
        let mut bits = Bits { bytes, held: 0, count: 0 };
        let mut width = MIN_WIDTH;
        // The code that the next string will get, and the string before it.
        let mut next = END;
        let mut last: Option<Place> = None;
        loop {
            let code = bits.take(width)?;
            match code {
                END => return Ok(()),
                CLEAR => {
                    width = MIN_WIDTH;
                    next = END;
                    last = None;
                    continue;
                }
                _ => {}
            }
            let start = out.len();
            // A new code is the last string and the first byte of this one, which lie side by side.
            let made = last.map(|last| Place { len: last.len + 1, ..last });
            if let (Some(made), Some(slot)) = (made, self.table.get_mut(next)) {
                *slot = made;
            }
            let len = match u8::try_from(code) {
                Ok(byte) => {
                    if start - base >= limit {
                        return Err(too_large(start - base + 1, limit));
                    }
                    out.push(byte);
                    1
                }
                Err(_) if code <= next => {
                    let place = self.table.get(code).copied().unwrap_or_default();
                    let (from, len) = (place.start as usize, place.len as usize);
                    if start - base + len > limit {
                        return Err(too_large(start - base + len, limit));
                    }
                    // The code being made may be used at once; then its last byte is its first one.
                    let there = len.min(start.saturating_sub(from));
                    let first = out.get(from).copied().ok_or(WireError::Malformed("lzw code"))?;
                    out.extend_from_within(from..from + there);
                    if there < len {
                        out.push(first);
                    }
                    place.len
                }
                Err(_) => return Err(WireError::Malformed("lzw code")),
            };
            let start = u32::try_from(start).map_err(|_| too_large(start, limit))?;
            last = Some(Place { start, len });
            next += 1;
            if next >= 1 << width {
                if width == MAX_WIDTH {
                    // The table is full: no more codes until it is cleared.
                    next = CODES - 1;
                    last = None;
                } else {
                    width += 1;
                }
            }
        }
    }
}

fn too_large(size: usize, limit: usize) -> WireError {
    WireError::TooLarge { what: "decompressed message", size, limit }
}

/// Slots of the encoder's hash table: twice as many as codes, so that runs stay short.
const SLOTS: usize = 1 << 13;

/// Encodes, to the same bytes as Go's `compress/lzw`; its table is made by the first call and kept for the
/// next ones.
#[derive(Default)]
pub(super) struct Compressor {
    /// Open addressing: a string (the code before its last byte, and that byte) and its code. 0 is free,
    /// since no code is 0 bits below a string.
    table: Vec<u32>,
}

/// Puts codes behind each other.
struct Packer<'a> {
    out: &'a mut Vec<u8>,
    held: u64,
    count: u32,
}

impl Packer<'_> {
    fn put(&mut self, code: u32, width: u32) {
        self.held |= u64::from(code) << self.count;
        self.count += width;
        while self.count >= 8 {
            let [low, ..] = self.held.to_le_bytes();
            self.out.push(low);
            self.held >>= 8;
            self.count -= 8;
        }
    }
}

/// The code that the next new string will get, and how wide codes are.
struct Width {
    last: u32,
    bits: u32,
}

impl Width {
    const START: Self = Self { last: END_CODE, bits: MIN_WIDTH };

    /// Counts a code that was put. False if there are no more.
    fn next(&mut self) -> bool {
        self.last += 1;
        if self.last == 1 << self.bits {
            self.bits += 1;
        }
        self.last < LAST_CODE
    }
}

impl Compressor {
    /// Appends `bytes` in their short form to `out`.
    pub(super) fn encode(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut packer = Packer { out, held: 0, count: 0 };
        let mut width = Width::START;
        packer.put(CLEAR_CODE, MIN_WIDTH);
        if let Some((&first, rest)) = bytes.split_first() {
            self.table.clear();
            self.table.resize(SLOTS, 0);
            let mut code = u32::from(first);
            for &byte in rest {
                let string = (code << 8) | u32::from(byte);
                let slot = match self.find(string) {
                    Ok(longer) => {
                        code = longer;
                        continue;
                    }
                    Err(slot) => slot,
                };
                packer.put(code, width.bits);
                code = u32::from(byte);
                if width.next() {
                    if let Some(slot) = self.table.get_mut(slot) {
                        *slot = (string << MAX_WIDTH) | width.last;
                    }
                } else {
                    packer.put(CLEAR_CODE, MAX_WIDTH);
                    width = Width::START;
                    self.table.fill(0);
                }
            }
            packer.put(code, width.bits);
            if !width.next() {
                packer.put(CLEAR_CODE, MAX_WIDTH);
                width = Width::START;
            }
        }
        packer.put(END_CODE, width.bits);
        // The last byte is filled with zeros.
        packer.put(0, 7);
    }

    /// The code of a string of 20 bits, or the slot where it belongs.
    fn find(&self, string: u32) -> Result<u32, usize> {
        // Fibonacci hashing: the upper 13 bits of a product.
        let mut slot = (string.wrapping_mul(0x9e37_79b1) >> 19) as usize;
        loop {
            // `slot` is always in range.
            match self.table.get(slot).copied().unwrap_or_default() {
                0 => return Err(slot),
                found if found >> MAX_WIDTH == string => return Ok(found & LAST_CODE),
                _ => slot = (slot + 1) % SLOTS,
            }
        }
    }
}
