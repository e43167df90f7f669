//! JSON into the tree, with places. Strict: no comments, no trailing commas, as Consul reads it.

use std::sync::Arc;

use super::error::Problem;
use super::tree::{Cursor, Entry, MAX_DEPTH, Node, Value, insert, number, syntax};

/// How objects appear in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Objects {
    /// As objects.
    Plain,
    /// Below the top as HCL blocks: JSON inside an HCL file follows HCL's rules.
    AsBlocks,
}

/// Parses a document, which must be one object.
pub(crate) fn parse(source: &Arc<str>, text: &str, objects: Objects) -> Result<Node, Problem> {
    let mut parser = Parser { cursor: Cursor::new(source, text), objects };
    parser.blanks();
    if parser.cursor.peek() != Some('{') {
        return Err(parser.cursor.expected("'{' (a configuration is one object)"));
    }
    let at = parser.cursor.at();
    let value = Value::Map(parser.object(0)?);
    parser.blanks();
    if parser.cursor.peek().is_some() {
        return Err(parser.cursor.expected("the end of the text after the closing '}'"));
    }
    Ok(Node { value, at })
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    objects: Objects,
}

impl Parser<'_> {
    fn blanks(&mut self) {
        self.cursor.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
    }

    fn value(&mut self, depth: usize) -> Result<Node, Problem> {
        let at = self.cursor.at();
        if depth > MAX_DEPTH {
            return Err(syntax(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let value = match self.cursor.peek() {
            Some('{') => {
                let map = Value::Map(self.object(depth)?);
                match self.objects {
                    Objects::Plain => map,
                    Objects::AsBlocks => Value::Blocks(vec![Node { value: map, at: at.clone() }]),
                }
            }
            Some('[') => Value::List(self.list(depth)?),
            Some('"') => Value::Text(self.string()?),
            Some('-' | '0'..='9') => self.number()?,
            _ if self.cursor.take("true") => Value::Bool(true),
            _ if self.cursor.take("false") => Value::Bool(false),
            _ if self.cursor.take("null") => Value::Null,
            _ => return Err(self.cursor.expected("a value")),
        };
        Ok(Node { value, at })
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Entry>, Problem> {
        self.cursor.next();
        let mut entries = Vec::new();
        self.blanks();
        if self.cursor.take("}") {
            return Ok(entries);
        }
        loop {
            self.blanks();
            if self.cursor.peek() != Some('"') {
                return Err(self.cursor.expected("a key in double quotes"));
            }
            let at = self.cursor.at();
            let key = self.string()?;
            self.blanks();
            if !self.cursor.take(":") {
                return Err(self.cursor.expected("':' after the key"));
            }
            self.blanks();
            let value = self.value(depth + 1)?;
            insert(&mut entries, Entry { key, at, value }, false);
            self.blanks();
            if self.cursor.take("}") {
                return Ok(entries);
            }
            if !self.cursor.take(",") {
                return Err(self.cursor.expected("',' or '}'"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Problem> {
        self.cursor.next();
        let mut items = Vec::new();
        self.blanks();
        if self.cursor.take("]") {
            return Ok(items);
        }
        loop {
            self.blanks();
            let item = self.value(depth + 1)?;
            match item.value {
                // `[{…}, {…}]` is a list of objects in both formats.
                Value::Blocks(inner) => items.extend(inner),
                value => items.push(Node { value, at: item.at }),
            }
            self.blanks();
            if self.cursor.take("]") {
                return Ok(items);
            }
            if !self.cursor.take(",") {
                return Err(self.cursor.expected("',' or ']'"));
            }
        }
    }

    fn number(&mut self) -> Result<Value, Problem> {
        let at = self.cursor.at();
        let text = self.cursor.take_while(|c| matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        if !is_json_number(text) {
            return Err(syntax(at, format!("{text:?} is no number")));
        }
        number(text).ok_or_else(|| syntax(at, format!("the number {text:?} is out of range")))
    }

    fn string(&mut self) -> Result<String, Problem> {
        let start = self.cursor.at();
        self.cursor.next();
        let mut text = String::new();
        loop {
            let at = self.cursor.at();
            match self.cursor.next() {
                None => return Err(syntax(start, "this string has no end")),
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                Some(c) if u32::from(c) < 0x20 => {
                    return Err(syntax(at, format!("{c:?} must be escaped inside a string")));
                }
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Problem> {
        let at = self.cursor.at();
        Ok(match self.cursor.next() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let first = self.hex4()?;
                if (0xd800..0xdc00).contains(&first) && self.cursor.take("\\u") {
                    let second = self.hex4()?;
                    let code = 0x10000 + ((first - 0xd800) << 10) + (second.wrapping_sub(0xdc00) & 0x3ff);
                    // A lone or wrong half becomes the replacement character, as in Go.
                    if (0xdc00..0xe000).contains(&second) { char::from_u32(code) } else { None }
                } else {
                    char::from_u32(first)
                }
                .unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(syntax(at, "expected one of \" \\ / b f n r t u after the backslash")),
        })
    }

    fn hex4(&mut self) -> Result<u32, Problem> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.cursor.peek().and_then(|c| c.to_digit(16));
            let Some(digit) = digit else {
                return Err(self.cursor.expected("a hexadecimal digit"));
            };
            self.cursor.next();
            code = code * 16 + digit;
        }
        Ok(code)
    }
}

/// JSON's grammar for numbers, which is narrower than Rust's.
fn is_json_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|part| digits(part.strip_prefix(['+', '-']).unwrap_or(part)))
}
