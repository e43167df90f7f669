//! Texts in the form Go's standard library gives them, because Consul's users and tools read them:
//! quoted strings, operating system errors, durations, base64 and JSON complaints.

use std::fmt::Write as _;
use std::io::{self, Read as _};

/// Go's `time.Duration`: nanoseconds.
pub(super) type GoDuration = i64;

/// `%q`: the text in double quotes, with what is not printable escaped.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            control if (control as u32) < 0x80 && control.is_control() => {
                let _ = write!(quoted, "\\x{:02x}", control as u32);
            }
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", control as u32);
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

/// The operating system's text for `error`, as Go spells it: no number, no capital.
pub(super) fn os_error(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// Reads a duration such as `300ms`, `-1.5h` or `1m30s`.
///
/// # Errors
/// The text Go gives, such as `time: missing unit in duration "1"`.
pub(super) fn parse_duration(text: &str) -> Result<GoDuration, String> {
    crate::duration::parse(text).map_err(|error| error.to_string())
}

/// Decodes standard base64; line ends in between are skipped.
///
/// # Errors
/// `illegal base64 data at input byte N`, N as Go counts.
pub(super) fn decode_base64(text: &[u8]) -> Result<Vec<u8>, String> {
    use base64::Engine as _;
    let clean: Vec<u8> = text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    base64::engine::general_purpose::STANDARD.decode(&clean).map_err(|error| {
        let place = match error {
            base64::DecodeError::InvalidByte(place, _) | base64::DecodeError::InvalidLastSymbol(place, _) => {
                place
            }
            base64::DecodeError::InvalidLength(length) => length / 4 * 4,
            base64::DecodeError::InvalidPadding => clean.len(),
        };
        format!("illegal base64 data at input byte {place}")
    })
}

/// What is wrong with a JSON text: a mistake in the text in the words of Go, or that it is not what
/// was expected.
pub(super) fn json_error(error: &serde_json::Error, text: &[u8]) -> String {
    super::gojson::mistake(text).unwrap_or_else(|| error.to_string())
}

/// Reads a whole file.
///
/// # Errors
/// Go's text, such as `open f: no such file or directory`.
pub(super) fn read_file(name: &std::path::Path) -> Result<Vec<u8>, String> {
    let failed = |doing: &str, error: &io::Error| format!("{doing} {}: {}", name.display(), os_error(error));
    let mut file = std::fs::File::open(name).map_err(|error| failed("open", &error))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| failed("read", &error))?;
    Ok(bytes)
}

/// Go's complaint about a regular expression, where it has the same; else the expression library's.
pub(super) fn regex_error(pattern: &str, error: &regex::Error) -> String {
    let detail = error.to_string();
    let reason = detail.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let (what, part) = match reason.as_str() {
        "unclosed character class" => {
            ("missing closing ]", pattern.rfind('[').and_then(|at| pattern.get(at..)))
        }
        "unclosed group" => ("missing closing )", Some(pattern)),
        "unopened group" => ("unexpected )", Some(pattern)),
        "repetition operator missing expression" => {
            ("missing argument to repetition operator", pattern.matches(['*', '+', '?', '{']).next())
        }
        "incomplete escape sequence, reached end of pattern prematurely" => {
            ("trailing backslash at end of expression", Some(""))
        }
        _ => (reason.as_str(), Some(pattern)),
    };
    format!("error parsing regexp: {what}: `{}`", part.unwrap_or(pattern))
}

/// `value` as indented JSON with the escapes of Go's encoder; no line end after it.
///
/// # Errors
/// That of the encoder; none for the types used here.
pub(super) fn indented_json<T: serde::Serialize>(value: &T, indent: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut encoder = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut encoder).map_err(|error| error.to_string())?;
    Ok(escape_html(&String::from_utf8_lossy(&bytes)))
}

/// Escapes what Go escapes for the sake of HTML; outside of strings JSON has none of these.
pub(super) fn escape_html(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(escaped, "\\u{:04x}", character as u32);
            }
            plain => escaped.push(plain),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes() {
        let cases = [
            ("a", "\"a\""),
            ("a\"\\", "\"a\\\"\\\\\""),
            ("\n\u{1}é\u{85}", "\"\\n\\x01é\\u0085\""),
            ("", "\"\""),
        ];
        for (text, want) in cases {
            assert_eq!(quote(text), want);
        }
    }

    #[test]
    fn os_errors_have_no_number() {
        assert_eq!(os_error(&io::Error::from_raw_os_error(2)), "no such file or directory");
        assert_eq!(os_error(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(os_error(&io::Error::other("Boom")), "boom");
    }

    #[test]
    fn base64() {
        assert_eq!(decode_base64(b"aGVs\nbG8=").unwrap(), b"hello");
        assert_eq!(decode_base64(b"").unwrap(), b"");
        assert_eq!(decode_base64(b"**").unwrap_err(), "illegal base64 data at input byte 0");
        assert_eq!(decode_base64(b"aGVs*").unwrap_err(), "illegal base64 data at input byte 4");
    }

    #[test]
    fn regex_complaints() {
        let cases = [
            ("[", "missing closing ]: `[`"),
            ("a[b", "missing closing ]: `[b`"),
            ("a(b", "missing closing ): `a(b`"),
            ("a)b", "unexpected ): `a)b`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("a\\", "trailing backslash at end of expression: ``"),
        ];
        for (pattern, want) in cases {
            let error = regex::Regex::new(pattern).unwrap_err();
            assert_eq!(regex_error(pattern, &error), format!("error parsing regexp: {want}"), "{pattern}");
        }
    }

    #[test]
    fn json_is_escaped_as_go_does() {
        assert_eq!(indented_json(&vec!["<&>"], "\t").unwrap(), "[\n\t\"\\u003c\\u0026\\u003e\"\n]");
        assert_eq!(indented_json(&Vec::<u8>::new(), "\t").unwrap(), "[]");
    }

    proptest! {
        #[test]
        fn parsers_never_panic(text in "\\PC{0,12}") {
            let _ = parse_duration(&text);
            let _ = decode_base64(text.as_bytes());
        }
    }
}
