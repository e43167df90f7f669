//! JSON written straight into one buffer, byte for byte as Go's `encoding/json` writes it.
//!
//! No value tree, no intermediate strings: answers are as hot as reads get. Compact or, for
//! `?pretty` and development agents, indented by four blanks with a newline at the end.
//! Strings escape `<`, `>` and `&` and the line separators U+2028 and U+2029, as Go does, and bytes
//! that are not UTF-8 become U+FFFD.

use base64_simd::STANDARD;
use bytes::Bytes;

/// Writes one JSON document.
///
/// Values are written in order; [`Json::key`] goes before each value of an object. Nothing checks
/// that keys and values alternate: it is the callers' duty, and their tests'.
#[derive(Debug)]
pub struct Json {
    out: Vec<u8>,
    pretty: bool,
    depth: usize,
    place: Place,
}

/// Where the next value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// First in its array or object, or the document itself.
    First,
    /// After another one.
    Next,
    /// On the line of its key.
    AfterKey,
}

impl Json {
    /// An empty document.
    pub fn new(pretty: bool) -> Self {
        Self::with_capacity(pretty, 256)
    }

    /// An empty document with room for so many bytes.
    pub fn with_capacity(pretty: bool, capacity: usize) -> Self {
        Self { out: Vec::with_capacity(capacity), pretty, depth: 0, place: Place::First }
    }

    /// The finished document.
    pub fn finish(mut self) -> Bytes {
        if self.pretty {
            self.out.push(b'\n');
        }
        self.out.into()
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Makes room for so many more bytes.
    pub fn reserve(&mut self, additional: usize) {
        self.out.reserve(additional);
    }

    /// Separates what follows from what is there.
    #[inline]
    fn separate(&mut self) {
        match self.place {
            Place::First if self.depth > 0 => self.newline(),
            Place::Next => {
                self.out.push(b',');
                self.newline();
            }
            Place::First | Place::AfterKey => {}
        }
        self.place = Place::Next;
    }

    #[inline]
    fn newline(&mut self) {
        if self.pretty {
            self.out.push(b'\n');
            for _ in 0..self.depth {
                self.out.extend_from_slice(b"    ");
            }
        }
    }

    fn begin(&mut self, bracket: u8) {
        self.separate();
        self.out.push(bracket);
        self.depth += 1;
        self.place = Place::First;
    }

    fn end(&mut self, bracket: u8) {
        self.depth = self.depth.saturating_sub(1);
        if self.place != Place::First {
            self.newline();
        }
        self.out.push(bracket);
        self.place = Place::Next;
    }

    /// Opens an array that [`Json::end_array`] closes, for items that come from elsewhere.
    pub fn begin_array(&mut self) {
        self.begin(b'[');
    }

    /// Closes an array.
    pub fn end_array(&mut self) {
        self.end(b']');
    }

    /// `{ … }`, written by `fields`.
    #[inline]
    pub fn object(&mut self, fields: impl FnOnce(&mut Self)) {
        self.begin(b'{');
        fields(self);
        self.end(b'}');
    }

    /// `[ … ]`, written by `items`.
    #[inline]
    pub fn array(&mut self, items: impl FnOnce(&mut Self)) {
        self.begin(b'[');
        items(self);
        self.end(b']');
    }

    /// The name of the value that follows; constants must not need escapes.
    #[inline]
    pub fn key(&mut self, name: &'static str) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(if self.pretty { b"\": " } else { b"\":" });
        self.place = Place::AfterKey;
        self
    }

    /// A name that is data, such as a key of a map.
    pub fn key_text(&mut self, name: &str) -> &mut Self {
        self.separate();
        write_quoted(&mut self.out, name);
        self.out.extend_from_slice(if self.pretty { b": " } else { b":" });
        self.place = Place::AfterKey;
        self
    }

    /// A string.
    #[inline]
    pub fn text(&mut self, text: &str) {
        self.separate();
        write_quoted(&mut self.out, text);
    }

    /// A string from bytes that should be UTF-8.
    #[inline]
    pub fn byte_text(&mut self, text: &[u8]) {
        self.separate();
        write_text(&mut self.out, text);
    }

    /// Bytes as base64; none at all as `null`.
    pub fn base64(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return self.null();
        }
        self.separate();
        self.out.push(b'"');
        STANDARD.encode_append(bytes, &mut self.out);
        self.out.push(b'"');
    }

    /// An unsigned number.
    #[inline]
    pub fn u64(&mut self, number: u64) {
        self.separate();
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    /// A signed number.
    #[inline]
    pub fn i64(&mut self, number: i64) {
        self.separate();
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    /// A floating-point number in Go's notation: the shortest that reads back the same, without a
    /// fraction when it has none, with an exponent below 1e-6 and from 1e21 on. What JSON cannot
    /// hold becomes 0.
    pub fn f64(&mut self, number: f64) {
        use std::io::Write as _;
        self.separate();
        let size = number.abs();
        // Writing into a vector cannot fail.
        let _ = if !number.is_finite() || number == 0.0 {
            write!(self.out, "{}", if number == 0.0 && number.is_sign_negative() { "-0" } else { "0" })
        } else if (1e-6..1e21).contains(&size) {
            write!(self.out, "{number}")
        } else {
            let text = format!("{number:e}");
            match text.split_once('e') {
                // Go writes the sign of a positive exponent too.
                Some((mantissa, exponent)) if !exponent.starts_with('-') => {
                    write!(self.out, "{mantissa}e+{exponent}")
                }
                _ => write!(self.out, "{text}"),
            }
        };
    }

    /// `true` or `false`.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.separate();
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// `null`.
    #[inline]
    pub fn null(&mut self) {
        self.separate();
        self.out.extend_from_slice(b"null");
    }

    /// An array of strings.
    pub fn texts<T: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = T>) {
        self.array(|json| texts.into_iter().for_each(|text| json.text(text.as_ref())));
    }

    /// An object of strings, in the order given; Go sorts the keys of maps.
    pub fn text_map<K: AsRef<str>, V: AsRef<str>>(&mut self, map: impl IntoIterator<Item = (K, V)>) {
        self.object(|json| {
            for (key, value) in map {
                json.key_text(key.as_ref()).text(value.as_ref());
            }
        });
    }

    /// A value of no fixed shape. Objects are written in the order of their keys, as Go does.
    pub fn free(&mut self, value: &serde_json::Value) {
        use serde_json::Value;
        match value {
            Value::Null => self.null(),
            Value::Bool(value) => self.bool(*value),
            Value::String(text) => self.text(text),
            Value::Array(items) => self.array(|json| items.iter().for_each(|item| json.free(item))),
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_unstable_by_key(|(name, _)| *name);
                self.object(|json| {
                    for (name, value) in fields {
                        json.key_text(name).free(value);
                    }
                });
            }
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => self.u64(number),
                (None, Some(number)) => self.i64(number),
                (None, None) => self.f64(number.as_f64().unwrap_or_default()),
            },
        }
    }
}

/// What is written for a byte below 0x80 besides itself: 0 for nothing special, `u` for a
/// `\u00xx` escape, else the letter after the backslash.
const ESCAPES: [u8; 128] = {
    let mut table = [0; 128];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'<' as usize] = b'u';
    table[b'>' as usize] = b'u';
    table[b'&' as usize] = b'u';
    table
};

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    if let Ok(text) = std::str::from_utf8(text) {
        return write_quoted(out, text);
    }
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        write_valid(out, chunk.valid());
        // Go replaces every single byte that fits no character.
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

#[inline]
fn write_quoted(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    write_valid(out, text);
    out.push(b'"');
}

/// Whether none of eight bytes needs a closer look: no control, no character to escape, nothing
/// beyond ASCII. Looks at all of them at once (Bit Twiddling Hacks, "Determine if a word has a
/// byte equal to n"); a false alarm costs only the closer look.
const fn is_plain(word: u64) -> bool {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    const fn zero_byte(word: u64) -> u64 {
        word.wrapping_sub(each(1)) & !word
    }
    let control = word.wrapping_sub(each(0x20)) & !word;
    let quote = zero_byte(word ^ each(b'"'));
    let backslash = zero_byte(word ^ each(b'\\'));
    let angle = zero_byte((word | each(2)) ^ each(b'>')); // `<` differs in this bit only
    let ampersand = zero_byte(word ^ each(b'&'));
    (word | control | quote | backslash | angle | ampersand) & each(0x80) == 0
}

fn write_valid(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut start = 0;
    let mut at = 0;
    let mut looked_to = 0;
    while let Some(&byte) = bytes.get(at) {
        if at >= looked_to {
            while let Some(Ok(word)) = bytes.get(at..at + 8).map(<[u8; 8]>::try_from) {
                if !is_plain(u64::from_ne_bytes(word)) {
                    break;
                }
                at += 8;
            }
            looked_to = at + 8;
            continue;
        }
        let (escape, length) = match byte {
            0xE2 if matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xA8 | 0xA9])) => (b'l', 3),
            byte => (ESCAPES.get(usize::from(byte)).copied().unwrap_or(0), 1),
        };
        if escape == 0 {
            at += 1;
            continue;
        }
        out.extend_from_slice(&bytes[start..at]);
        match escape {
            b'u' => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
            b'l' => {
                out.extend_from_slice(b"\\u202");
                out.push(if bytes[at + 2] == 0xA8 { b'8' } else { b'9' });
            }
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
        at += length;
        start = at;
    }
    out.extend_from_slice(&bytes[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(pretty: bool, write: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::new(pretty);
        write(&mut json);
        String::from_utf8(json.finish().to_vec()).unwrap()
    }

    #[test]
    fn indents_like_the_reference() {
        let document = |json: &mut Json| {
            json.array(|json| {
                json.object(|json| {
                    json.key("LockIndex").u64(0);
                    json.key("Empty").array(|_| {});
                    json.key("None").object(|_| {});
                    json.key("Tags").texts(["a", "b"]);
                    json.key("Value").base64(b"");
                });
            });
        };
        assert_eq!(
            written(false, document),
            r#"[{"LockIndex":0,"Empty":[],"None":{},"Tags":["a","b"],"Value":null}]"#
        );
        let pretty = "[\n    {\n        \"LockIndex\": 0,\n        \"Empty\": [],\n        \"None\": {},\n        \
                      \"Tags\": [\n            \"a\",\n            \"b\"\n        ],\n        \"Value\": null\n    }\n]\n";
        assert_eq!(written(true, document), pretty);
        assert_eq!(written(true, |json| json.bool(true)), "true\n");
        assert_eq!(written(true, |json| json.array(|_| {})), "[]\n");
    }

    #[test]
    fn escapes_strings_like_the_reference() {
        let table: [(&str, &[u8], &str); 10] = [
            ("plain", b"a/b", r#""a/b""#),
            ("quotes", b"\"\\", r#""\"\\""#),
            ("breaks", b"\n\r\t", r#""\n\r\t""#),
            ("controls", b"\x00\x08\x0c\x1f\x7f", "\"\\u0000\\u0008\\u000c\\u001f\x7f\""),
            ("html", b"<a&b>", r#""\u003ca\u0026b\u003e""#),
            ("unicode", "caf\u{e9} \u{2603} \u{1f600}".as_bytes(), "\"caf\u{e9} \u{2603} \u{1f600}\""),
            ("line separators", "\u{2028}x\u{2029}\u{2027}".as_bytes(), "\"\\u2028x\\u2029\u{2027}\""),
            ("one bad byte", b"a\xffz", "\"a\\ufffdz\""),
            ("cut character", b"a\xe2\x80", "\"a\\ufffd\\ufffd\""),
            ("empty", b"", r#""""#),
        ];
        for (name, text, want) in table {
            assert_eq!(written(false, |json| json.byte_text(text)), want, "{name}");
        }
    }

    #[test]
    fn looks_closer_at_whatever_needs_it() {
        for byte in 0..=u8::MAX {
            let plain = ESCAPES.get(usize::from(byte)) == Some(&0);
            for place in 0..8 {
                let mut word = *b"abcdefgh";
                word[place] = byte;
                assert_eq!(is_plain(u64::from_ne_bytes(word)), plain, "{byte:#04x} at {place}");
            }
        }
    }

    #[test]
    fn writes_numbers_like_the_reference() {
        let table = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (1e-5, "0.00001"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (2.5e-10, "2.5e-10"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-12.0, "-12"),
            (f64::NAN, "0"),
        ];
        for (number, want) in table {
            assert_eq!(written(false, |json| json.f64(number)), want, "{number}");
        }
    }

    #[test]
    fn free_form_values_keep_their_shape() {
        let value = serde_json::json!({"b": [1, -2, 1.5, null], "a": {"x": true}});
        assert_eq!(written(false, |json| json.free(&value)), r#"{"a":{"x":true},"b":[1,-2,1.5,null]}"#);
    }

    proptest! {
        #[test]
        fn any_string_reads_back(text in any::<String>()) {
            let json = written(false, |json| json.text(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn any_bytes_are_valid_json(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let json = written(false, |json| json.byte_text(&bytes));
            prop_assert!(serde_json::from_str::<String>(&json).is_ok());
        }

        #[test]
        fn any_value_is_base64(bytes in proptest::collection::vec(any::<u8>(), 1..64)) {
            let json = written(false, |json| json.base64(&bytes));
            let wanted = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &bytes);
            prop_assert_eq!(json, format!("\"{wanted}\""));
        }
    }
}
