//! Says what is wrong with a JSON text in the words of Go's decoder. Used only after the real parser
//! has refused it, or to check text that is passed on.

use super::gotext;

/// Deepest nesting that is looked into.
const DEPTH: usize = 120;

/// The first mistake in `text`, if there is one.
pub(super) fn mistake(text: &[u8]) -> Option<String> {
    let mut scan = Scan { text, place: 0 };
    scan.value(0).and_then(|()| scan.end()).err()
}

struct Scan<'a> {
    text: &'a [u8],
    place: usize,
}

type Step = Result<(), String>;

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.place).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.place += 1;
        }
    }

    /// The complaint about what stands here; at the end of the text there is no character to name.
    fn wrong(&self, context: &str) -> String {
        match self.peek() {
            None => "unexpected end of JSON input".to_owned(),
            Some(byte) => complaint(byte, context),
        }
    }

    /// Like [`Scan::wrong`] inside a number or word, which Go ends by a blank it adds to the text.
    fn wrong_inside(&self, context: &str) -> String {
        complaint(self.peek().unwrap_or(b' '), context)
    }

    fn end(&mut self) -> Step {
        self.skip_blanks();
        if self.peek().is_some() { Err(self.wrong("after top-level value")) } else { Ok(()) }
    }

    fn value(&mut self, depth: usize) -> Step {
        if depth > DEPTH {
            return Err("exceeded max depth".to_owned());
        }
        self.skip_blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.wrong("looking for beginning of value")),
        }
    }

    fn array(&mut self, depth: usize) -> Step {
        self.place += 1;
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.place += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.place += 1,
                Some(b']') => {
                    self.place += 1;
                    return Ok(());
                }
                _ => return Err(self.wrong("after array element")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Step {
        self.place += 1;
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.place += 1;
            return Ok(());
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("looking for beginning of object key string"));
            }
            self.string()?;
            self.skip_blanks();
            if self.peek() != Some(b':') {
                return Err(self.wrong("after object key"));
            }
            self.place += 1;
            self.value(depth + 1)?;
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.place += 1,
                Some(b'}') => {
                    self.place += 1;
                    return Ok(());
                }
                _ => return Err(self.wrong("after object key:value pair")),
            }
        }
    }

    fn string(&mut self) -> Step {
        self.place += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.place += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.place += 1;
                    self.escape()?;
                }
                None | Some(0..0x20) => return Err(self.wrong("in string literal")),
                Some(_) => self.place += 1,
            }
        }
    }

    fn escape(&mut self) -> Step {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.place += 1,
            Some(b'u') => {
                self.place += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.wrong_inside("in \\u hexadecimal character escape"));
                    }
                    self.place += 1;
                }
            }
            _ => return Err(self.wrong_inside("in string escape code")),
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Step {
        for expected in word.bytes() {
            if self.peek() != Some(expected) {
                let expected = char::from(expected);
                return Err(self.wrong_inside(&format!("in literal {word} (expecting '{expected}')")));
            }
            self.place += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Step {
        if self.peek() == Some(b'-') {
            self.place += 1;
        }
        match self.peek() {
            Some(b'0') => self.place += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.wrong_inside("in numeric literal")),
        }
        if self.peek() == Some(b'.') {
            self.place += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.place += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.place += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn some_digits(&mut self, context: &str) -> Step {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.wrong_inside(context));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.place += 1;
        }
    }
}

fn complaint(byte: u8, context: &str) -> String {
    let shown = match byte {
        b'\'' => "\\'".to_owned(),
        b'"' => "\"".to_owned(),
        other => gotext::quote(&char::from(other).to_string()).trim_matches('"').to_owned(),
    };
    format!("invalid character '{shown}' {context}")
}

/// A valid JSON text with a line for each part; the order of keys stays. Empty lists and objects
/// stay on their line.
pub(super) fn indent(json: &str, unit: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut depth = 0_usize;
    let mut inside_string = false;
    let mut escaped = false;
    let mut just_opened = false;
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.push_str(&unit.repeat(depth));
    };
    for character in json.chars() {
        if inside_string {
            text.push(character);
            inside_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        if character.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(character, ']' | '}');
        if closes {
            depth = depth.saturating_sub(1);
        }
        if just_opened != closes {
            line(&mut text, depth);
        }
        just_opened = matches!(character, '[' | '{');
        depth += usize::from(just_opened);
        inside_string = character == '"';
        text.push(character);
        match character {
            ',' => line(&mut text, depth),
            ':' => text.push(' '),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mistakes_in_gos_words() {
        let cases = [
            ("x", "invalid character 'x' looking for beginning of value"),
            ("", "unexpected end of JSON input"),
            ("[", "unexpected end of JSON input"),
            ("[1", "unexpected end of JSON input"),
            ("\"a", "unexpected end of JSON input"),
            ("{x", "invalid character 'x' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 2}", "invalid character '2' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[]\ny", "invalid character 'y' after top-level value"),
            ("[]'", "invalid character '\\'' after top-level value"),
            ("[]\"", "invalid character '\"' after top-level value"),
            ("nul", "invalid character ' ' in literal null (expecting 'l')"),
            ("tRue", "invalid character 'R' in literal true (expecting 'r')"),
            ("\"\n\"", "invalid character '\\n' in string literal"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            ("\"\\u12g", "invalid character 'g' in \\u hexadecimal character escape"),
            ("-", "invalid character ' ' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1e+", "invalid character ' ' in exponent of numeric literal"),
        ];
        for (text, want) in cases {
            assert_eq!(mistake(text.as_bytes()).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn rewriting_keeps_the_order() {
        let json = "{ \"b\" : [1, 2,{}] ,\n\"a\":{\"x, \\\\\\\" y\":[ ]},\"c\":[[0]]}";
        let want = "{\n  \"b\": [\n    1,\n    2,\n    {}\n  ],\n  \"a\": {\n    \"x, \\\\\\\" y\": []\n  },\n  \
                    \"c\": [\n    [\n      0\n    ]\n  ]\n}";
        assert_eq!(indent(json, "  "), want);
        assert_eq!(indent("null", "  "), "null");
    }

    proptest! {
        #[test]
        fn rewriting_keeps_the_value(text in "[\\[\\]{}:,\"\\\\ab0-9 ]{0,16}") {
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                prop_assert_eq!(indent(&text, "  "), serde_json::to_string_pretty(&value).unwrap());
            }
        }

        #[test]
        fn agrees_with_the_parser(text in "[\\[\\]{}:,\"\\\\a-fnrtu0-9.eE+ -]{0,12}") {
            // The parser goes on to check surrogates and the size of numbers.
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                prop_assert_eq!(mistake(text.as_bytes()), None);
            }
            if let Some(why) = mistake(text.as_bytes()) {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_err(), "{why}");
            }
        }
    }
}
