//! Request paths as Go's `net/url` and `http.ServeMux` treat them.
//!
//! Consul clients rely on it: a key is the *decoded* path, doubled slashes and dot segments are
//! redirected away before anything else looks at them, and paths with unprintable characters are
//! refused. Pure functions over bytes; a path need not be UTF-8.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// Decodes `%xx`; `+` stays a plus. `None` for a broken escape.
pub fn decode(raw: &str) -> Option<Cow<'_, [u8]>> {
    if memchr::memchr(b'%', raw.as_bytes()).is_none() {
        return Some(Cow::Borrowed(raw.as_bytes()));
    }
    percent_decode(raw.as_bytes(), false).map(Cow::Owned)
}

/// Decodes `%xx` and, in query strings, `+` as a blank. `None` for a broken escape.
pub fn percent_decode(raw: &[u8], plus_is_blank: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw.iter().copied();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            b'+' if plus_is_blank => b' ',
            other => other,
        });
    }
    Some(out)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The canonical form of a path: absolute, without empty, `.` and `..` segments; a slash at the end
/// stays. Borrowed when the path is canonical already.
pub fn clean(path: &[u8]) -> Cow<'_, [u8]> {
    if is_clean(path) {
        return Cow::Borrowed(path);
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let mut out = Vec::with_capacity(path.len() + 1);
    for segment in segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if out.is_empty() || path.ends_with(b"/") {
        out.push(b'/');
    }
    Cow::Owned(out)
}

fn is_clean(path: &[u8]) -> bool {
    let Some((b'/', rest)) = path.split_first() else { return false };
    let mut segments = rest.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if matches!(segment, b"." | b"..") || (segment.is_empty() && !last) {
            return false;
        }
    }
    true
}

/// Escapes a path for a `Location` header.
pub fn escape(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for &byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' => {
                out.push(char::from(byte));
            }
            other => push_hex(&mut out, other),
        }
    }
    out
}

/// Escapes one part of a query string: a blank becomes `+`.
pub fn escape_query(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            other => push_hex(out, other),
        }
    }
}

fn push_hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Whether every character of a path prints: letters, marks, numbers, punctuation, symbols and the
/// plain blank. Bytes that are not UTF-8 count as the replacement character, which prints.
pub fn is_printable(path: &[u8]) -> bool {
    #[expect(clippy::unwrap_used, reason = "a constant pattern, compiled by a test")]
    static UNPRINTABLE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"[^\p{L}\p{M}\p{N}\p{P}\p{S} ]").unwrap());
    if path.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return true;
    }
    !UNPRINTABLE.is_match(&String::from_utf8_lossy(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cleans_as_the_reference_does() {
        let table: [(&str, &str); 16] = [
            ("/", "/"),
            ("", "/"),
            ("/v1/kv/a", "/v1/kv/a"),
            ("/v1/kv/a/", "/v1/kv/a/"),
            ("/v1/kv/a//b", "/v1/kv/a/b"),
            ("/v1/kv//", "/v1/kv/"),
            ("/v1/kv/./a", "/v1/kv/a"),
            ("/v1/kv/a/.", "/v1/kv/a"),
            ("/v1/kv/a/./", "/v1/kv/a/"),
            ("/v1/kv/a/../b", "/v1/kv/b"),
            ("/v1/kv/a/..", "/v1/kv"),
            ("/../..", "/"),
            ("/..a/b..", "/..a/b.."),
            ("//", "/"),
            ("v1/kv", "/v1/kv"),
            ("/v1/kv/.../x", "/v1/kv/.../x"),
        ];
        for (path, want) in table {
            assert_eq!(String::from_utf8_lossy(&clean(path.as_bytes())), want, "{path}");
            assert_eq!(matches!(clean(path.as_bytes()), Cow::Borrowed(_)), path == want, "{path}: borrowed");
        }
    }

    #[test]
    fn decodes_escapes() {
        let table: [(&str, Option<&[u8]>); 7] = [
            ("/plain", Some(b"/plain")),
            ("/a%2Fb", Some(b"/a/b")),
            ("/a+b", Some(b"/a+b")),
            ("/%ff", Some(b"/\xff")),
            ("/%zz", None),
            ("/%4", None),
            ("/%", None),
        ];
        for (raw, want) in table {
            assert_eq!(decode(raw).as_deref(), want, "{raw}");
        }
        assert_eq!(percent_decode(b"a+b%20c", true).as_deref(), Some(&b"a b c"[..]));
    }

    #[test]
    fn tells_what_prints() {
        let table: [(&[u8], bool); 9] = [
            (b"/v1/kv/plain ~", true),
            ("/v1/kv/caf\u{e9}/\u{2603}".as_bytes(), true),
            (b"/v1/kv/a\0", false),
            (b"/v1/kv/a\x07", false),
            (b"/v1/kv/a\x7f", false),
            ("/v1/kv/a\u{200b}".as_bytes(), false),
            ("/v1/kv/a\u{a0}".as_bytes(), false),
            ("/v1/kv/a\u{2028}".as_bytes(), false),
            (b"/v1/kv/\xff\xfe", true),
        ];
        for (path, want) in table {
            assert_eq!(is_printable(path), want, "{}", path.escape_ascii());
        }
    }

    #[test]
    fn escapes_for_locations_and_queries() {
        assert_eq!(escape("/v1/kv/a b?c%\u{e9}<".as_bytes()), "/v1/kv/a%20b%3Fc%25%C3%A9%3C");
        let mut out = String::new();
        escape_query("a b+c/d=\u{e9}", &mut out);
        assert_eq!(out, "a+b%2Bc%2Fd%3D%C3%A9");
    }

    proptest! {
        #[test]
        fn cleaning_is_idempotent(path in "[/.ab]{0,24}") {
            let once = clean(path.as_bytes()).into_owned();
            prop_assert!(is_clean(&once), "{path:?} -> {}", once.escape_ascii());
        }

        #[test]
        fn escaped_paths_decode_to_themselves(path in proptest::collection::vec(any::<u8>(), 0..24)) {
            let escaped = escape(&path);
            prop_assert_eq!(decode(&escaped).map(Cow::into_owned), Some(path));
        }
    }
}
