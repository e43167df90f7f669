//! Go's literals: quoted strings, whole numbers and booleans as filter expressions use them.

/// Takes a quoted string apart, the quotes included: back quotes keep everything but carriage
/// returns, double quotes know Go's escapes. Bytes that make no UTF-8 become U+FFFD.
///
/// `None` for invalid syntax.
pub fn unquote(quoted: &str) -> Option<String> {
    if let Some(raw) = quoted.strip_prefix('`') {
        return Some(raw.strip_suffix('`')?.replace('\r', ""));
    }
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\n') {
        return None;
    }
    if !inner.contains('\\') {
        return Some(inner.to_owned());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(backslash) = rest.find('\\') {
        out.extend_from_slice(rest.get(..backslash)?.as_bytes());
        let mut chars = rest.get(backslash + 1..)?.chars();
        let escape = chars.next()?;
        let after = chars.as_str();
        let used = match escape {
            'a' => push(&mut out, 7),
            'b' => push(&mut out, 8),
            't' => push(&mut out, b'\t'),
            'n' => push(&mut out, b'\n'),
            'v' => push(&mut out, 11),
            'f' => push(&mut out, 12),
            'r' => push(&mut out, b'\r'),
            '\\' => push(&mut out, b'\\'),
            '0'..='7' => {
                let digits = rest.get(backslash + 1..backslash + 4)?;
                push(&mut out, u8::try_from(number(digits, 8)?).ok()?);
                2
            }
            'x' => {
                push(&mut out, u8::try_from(number(after.get(..2)?, 16)?).ok()?);
                2
            }
            'u' | 'U' => {
                let width = if escape == 'u' { 4 } else { 8 };
                let code = number(after.get(..width)?, 16)?;
                if code > 0x0010_ffff {
                    return None;
                }
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                width
            }
            _ => return None,
        };
        rest = after.get(used..)?;
    }
    out.extend_from_slice(rest.as_bytes());
    Some(String::from_utf8_lossy(&out).into_owned())
}

fn push(out: &mut Vec<u8>, byte: u8) -> usize {
    out.push(byte);
    0
}

fn number(digits: &str, radix: u32) -> Option<u32> {
    digits
        .bytes()
        .all(|byte| (byte as char).is_digit(radix))
        .then(|| u32::from_str_radix(digits, radix).ok())?
}

/// Why a word is no whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntError {
    /// Not a number.
    Syntax,
    /// Too large for 64 bits.
    Range,
}

impl IntError {
    /// Go's words for it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Syntax => "invalid syntax",
            Self::Range => "value out of range",
        }
    }
}

/// Reads a whole number as Go's `ParseInt` with base 0 does: a sign, a prefix `0x`, `0o`, `0b` or
/// `0`, and underscores between digits.
///
/// # Errors
/// [`IntError`].
pub fn parse_int(text: &str) -> Result<i64, IntError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits, prefixed) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest, true)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..], true)
    } else {
        (10, &*lower, false)
    };
    let misplaced = digits.ends_with('_') || digits.contains("__") || (!prefixed && digits.starts_with('_'));
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    if plain.is_empty() || misplaced || !plain.chars().all(|c| c.is_digit(radix)) {
        return Err(IntError::Syntax);
    }
    let value = i128::from_str_radix(&plain, radix).map_err(|_| IntError::Range)?;
    i64::try_from(if negative { -value } else { value }).map_err(|_| IntError::Range)
}

/// Reads a boolean as Go's `ParseBool` does; `None` for any other word.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings() {
        let table = [
            (r#""plain""#, Some("plain")),
            (r#""""#, Some("")),
            ("``", Some("")),
            (r"`a\n`", Some(r"a\n")),
            ("`a\r\nb`", Some("a\nb")),
            (r#""a\n\t\\b""#, Some("a\n\t\\b")),
            (r#""n\x31\x22""#, Some("n1\"")),
            (r#""\u65e5\U00000041""#, Some("日A")),
            (r#""\101b""#, Some("Ab")),
            (r#""\xff""#, Some("\u{fffd}")),
            (r#""\q""#, None),
            (r#""\'""#, None),
            (r#""\x3""#, None),
            (r#""\x+1""#, None),
            (r#""\u12""#, None),
            (r#""\é""#, None),
            (r#""\U00110000""#, None),
            (r#""\400""#, None),
            (r#""\""#, None),
            ("\"a\nb\"", None),
            ("x", None),
        ];
        for (quoted, want) in table {
            assert_eq!(unquote(quoted).as_deref(), want, "{quoted}");
        }
    }

    #[test]
    fn whole_numbers() {
        let table = [
            ("80", Ok(80)),
            ("+80", Ok(80)),
            ("-1", Ok(-1)),
            ("0", Ok(0)),
            ("0x50", Ok(80)),
            ("0120", Ok(80)),
            ("0b11", Ok(3)),
            ("0o17", Ok(15)),
            ("1_0", Ok(10)),
            ("0_7", Ok(7)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(IntError::Range)),
            ("99999999999999999999999999999999999999999999", Err(IntError::Range)),
            ("", Err(IntError::Syntax)),
            ("+", Err(IntError::Syntax)),
            (" 80", Err(IntError::Syntax)),
            ("8.5", Err(IntError::Syntax)),
            ("08", Err(IntError::Syntax)),
            ("1__0", Err(IntError::Syntax)),
            ("_1", Err(IntError::Syntax)),
            ("0x", Err(IntError::Syntax)),
            ("+-1", Err(IntError::Syntax)),
        ];
        for (text, want) in table {
            assert_eq!(parse_int(text), want, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = unquote(&text);
            let _ = unquote(&format!("\"{text}\""));
            let _ = parse_int(&text);
        }
    }
}
