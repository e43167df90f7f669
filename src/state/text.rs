//! Consul's way to say things in error texts: quoted names and what is wrong with a UUID.

use std::fmt::Write as _;

/// Quotes bytes as Go's `%q` does, which is what Consul's texts are made with: printable characters
/// stay, everything else is escaped.
pub fn quote(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|char| quote_char(&mut out, char));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

fn quote_char(out: &mut String, char: char) {
    let short = match char {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{b}' => "\\v",
        ' '..='~' => return out.push(char),
        _ => "",
    };
    let code = u32::from(char);
    let written = match code {
        _ if !short.is_empty() => out.write_str(short),
        0..0x20 => write!(out, "\\x{code:02x}"),
        _ if is_printable(char) => out.write_char(char),
        0x20..0x1_0000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
    debug_assert!(written.is_ok(), "a string takes everything");
}

/// Whether a character beyond ASCII is shown as it is. Rust's own escaping knows the tables; the
/// letter in front keeps it from escaping combining marks, which Go prints.
fn is_printable(char: char) -> bool {
    let text: String = ['a', char].iter().collect();
    text.escape_debug().count() == 2
}

/// What Consul says about a session id that is no UUID; none if it is one. It accepts any placing of
/// at most four hyphens in 36 characters.
pub fn session_id_problem(id: &str) -> Option<String> {
    let reason = if id.len() == 36 {
        let hyphens = id.matches('-').count();
        if hyphens > 4 {
            format!("UUID should have maximum of 4 \"-\"; got {hyphens}")
        } else {
            let digits = id.bytes().filter(|byte| *byte != b'-');
            match digits.clone().find(|byte| !byte.is_ascii_hexdigit()) {
                Some(byte) => format!("Invalid UUID: encoding/hex: invalid byte: {}", rune(byte)),
                None if digits.count() % 2 == 1 => {
                    "Invalid UUID: encoding/hex: odd length hex string".to_owned()
                }
                None => return None,
            }
        }
    } else {
        "UUID must be 36 characters".to_owned()
    };
    Some(format!("failed session lookup: index error: {reason}"))
}

/// A byte as Go's `%#U` shows it.
fn rune(byte: u8) -> String {
    let char = char::from(byte);
    if matches!(char, ' '..='~') || (!char.is_ascii() && is_printable(char)) {
        format!("U+{byte:04X} '{char}'")
    } else {
        format!("U+{byte:04X}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        let table: [(&str, &[u8], &str); 6] = [
            ("plain", b"a/b c", r#""a/b c""#),
            ("quotes and backslash", br#"q"\"#, r#""q\"\\""#),
            ("controls", b"\x01\t\n\x07\x0b\x7f", r#""\x01\t\n\a\v\u007f""#),
            ("letters beyond ASCII", "ä漢e\u{301}".as_bytes(), "\"ä漢e\u{301}\""),
            ("not printable", "\u{200b}\u{e0001}".as_bytes(), r#""\u200b\U000e0001""#),
            ("not text", b"a\xff\xc3", r#""a\xff\xc3""#),
        ];
        for (name, bytes, want) in table {
            assert_eq!(quote(bytes), want, "{name}");
        }
    }

    #[test]
    fn session_ids() {
        let table = [
            ("7a5a3b5c-6d7e-4f00-8000-00000000ffff", None),
            ("7A5A3B5C-6D7E-4F00-8000-00000000FFFF", None),
            ("7a5a3b5c6d7e4f00800000000000ffffffff", None),
            ("", Some("UUID must be 36 characters")),
            ("7a5a3b5c-6d7e-4f00-8000-00000-00ffff", Some("UUID should have maximum of 4 \"-\"; got 5")),
            (
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                Some("Invalid UUID: encoding/hex: invalid byte: U+0078 'x'"),
            ),
        ];
        for (id, want) in table {
            let want = want.map(|reason| format!("failed session lookup: index error: {reason}"));
            assert_eq!(session_id_problem(id), want, "{id}");
        }
    }
}
