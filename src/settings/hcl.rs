//! HCL into the tree, with places.
//!
//! This is version 1 of the language, the one every Consul version reads, and not HCL 2: several
//! assignments may share a line, keys may be quoted, commas between assignments are optional, numbers may
//! be octal or hexadecimal, `${…}` is plain text, and repeating a block or a list appends to it.

use std::sync::Arc;

use super::error::{Origin, Problem};
use super::tree::{Cursor, Entry, MAX_DEPTH, Node, Value, insert, number, syntax};

/// Parses a document; the result is a [`Value::Map`].
pub(crate) fn parse(source: &Arc<str>, text: &str) -> Result<Node, Problem> {
    let mut parser = Parser { cursor: Cursor::new(source, text) };
    let at = parser.cursor.at();
    let value = Value::Map(parser.body(0, None)?);
    Ok(Node { value, at })
}

struct Parser<'a> {
    cursor: Cursor<'a>,
}

impl Parser<'_> {
    /// Skips blanks and comments.
    fn blanks(&mut self) -> Result<(), Problem> {
        loop {
            self.cursor.take_while(char::is_whitespace);
            let at = self.cursor.at();
            let rest = self.cursor.rest();
            if rest.starts_with('#') || rest.starts_with("//") {
                self.cursor.take_while(|c| c != '\n');
            } else if self.cursor.take("/*") {
                while !self.cursor.take("*/") {
                    if self.cursor.next().is_none() {
                        return Err(syntax(at, "this comment has no end"));
                    }
                }
            } else {
                return Ok(());
            }
        }
    }

    /// Assignments and blocks up to the closing brace of the block opened at `opened`, or to the end.
    fn body(&mut self, depth: usize, opened: Option<&Origin>) -> Result<Vec<Entry>, Problem> {
        let mut entries = Vec::new();
        loop {
            self.blanks()?;
            match (self.cursor.peek(), opened) {
                (None, None) => return Ok(entries),
                (None, Some(opened)) => return Err(syntax(opened.clone(), "this '{' is never closed")),
                (Some('}'), Some(_)) => {
                    self.cursor.next();
                    return Ok(entries);
                }
                _ => insert(&mut entries, self.item(depth)?, true),
            }
            self.blanks()?;
            self.cursor.take(",");
        }
    }

    /// `key = value`, `key { … }` or `key "label" { … }`.
    fn item(&mut self, depth: usize) -> Result<Entry, Problem> {
        let (at, key) = self.key()?;
        let mut labels = Vec::new();
        loop {
            self.blanks()?;
            let value_at = self.cursor.at();
            match self.cursor.peek() {
                Some('=') if labels.is_empty() => {
                    self.cursor.next();
                    self.blanks()?;
                    let value = self.value(depth + 1)?;
                    return Ok(Entry { key, at, value });
                }
                Some('{') => {
                    let mut value = self.object(depth + 1 + labels.len())?;
                    // `check "x" { … }` means check.x.
                    for (label_at, label) in labels.into_iter().rev() {
                        let entry = Entry { key: label, at: label_at, value };
                        value = block(vec![entry], value_at.clone());
                    }
                    return Ok(Entry { key, at, value });
                }
                Some(c) if labels.len() < MAX_DEPTH && (c == '"' || is_key_start(c)) => {
                    labels.push(self.key()?);
                }
                _ => return Err(self.cursor.expected(&format!("'=' or '{{' after the key {key:?}"))),
            }
        }
    }

    fn key(&mut self) -> Result<(Origin, String), Problem> {
        let at = self.cursor.at();
        match self.cursor.peek() {
            Some('"') => Ok((at, self.string()?)),
            Some(c) if is_key_start(c) => Ok((at, self.cursor.take_while(is_key_part).to_owned())),
            _ => Err(self.cursor.expected("a key")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Problem> {
        let at = self.cursor.at();
        if depth > MAX_DEPTH {
            return Err(syntax(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let value = match self.cursor.peek() {
            Some('{') => return self.object(depth),
            Some('[') => Value::List(self.list(depth)?),
            Some('"') => Value::Text(self.string()?),
            Some('<') => Value::Text(self.heredoc()?),
            Some('-' | '.' | '0'..='9') => self.number()?,
            Some(c) if is_key_start(c) => match self.cursor.take_while(is_key_part) {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                word => {
                    return Err(syntax(at, format!("{word:?} is no value; texts stand in double quotes")));
                }
            },
            _ => return Err(self.cursor.expected("a value")),
        };
        Ok(Node { value, at })
    }

    fn object(&mut self, depth: usize) -> Result<Node, Problem> {
        let at = self.cursor.at();
        if depth > MAX_DEPTH {
            return Err(syntax(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.cursor.next();
        let entries = self.body(depth, Some(&at))?;
        Ok(block(entries, at))
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Problem> {
        let opened = self.cursor.at();
        self.cursor.next();
        let mut items = Vec::new();
        loop {
            self.blanks()?;
            if self.cursor.take("]") {
                return Ok(items);
            }
            if self.cursor.peek().is_none() {
                return Err(syntax(opened, "this '[' is never closed"));
            }
            if self.cursor.peek() == Some('{') {
                // The object alone, not in a list of its own.
                if let Node { value: Value::Blocks(inner), .. } = self.object(depth + 1)? {
                    items.extend(inner);
                }
            } else {
                items.push(self.value(depth + 1)?);
            }
            self.blanks()?;
            if !self.cursor.take(",") && !matches!(self.cursor.peek(), Some(']') | None) {
                return Err(self.cursor.expected("',' or ']'"));
            }
        }
    }

    fn number(&mut self) -> Result<Value, Problem> {
        let at = self.cursor.at();
        let mut text = self
            .cursor
            .take_while(|c| c.is_ascii_hexdigit() || matches!(c, 'x' | 'X' | '.' | '-'))
            .to_owned();
        if text.ends_with(['e', 'E']) && self.cursor.take("+") {
            text.push_str(self.cursor.take_while(|c| c.is_ascii_digit()));
        }
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.as_str()),
        };
        let radix = match digits.as_bytes() {
            [b'0', b'x' | b'X', _, ..] => Some((16, &digits[2..])),
            [b'0', rest @ ..] if !rest.is_empty() && rest.iter().all(u8::is_ascii_digit) => {
                Some((8, &digits[1..]))
            }
            _ => None,
        };
        let value = match radix {
            Some((radix, digits)) => {
                let digits = if negative { format!("-{digits}") } else { digits.to_owned() };
                i64::from_str_radix(&digits, radix).ok().map(Value::Int)
            }
            // Rust also reads "inf" and "nan"; a number starts with a digit or a point.
            None if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => number(&text),
            None => None,
        };
        value.ok_or_else(|| syntax(at, format!("{text:?} is no number")))
    }

    fn string(&mut self) -> Result<String, Problem> {
        let start = self.cursor.at();
        self.cursor.next();
        let mut text = String::new();
        // Inside ${…} quotes and line ends are plain text.
        let mut braces = 0_usize;
        loop {
            if braces == 0 && self.cursor.take("${") {
                text.push_str("${");
                braces = 1;
                continue;
            }
            let at = self.cursor.at();
            match self.cursor.next() {
                None => return Err(syntax(start, "this string has no end")),
                Some('\n') if braces == 0 => return Err(syntax(start, "this string has no end on its line")),
                Some('"') if braces == 0 => return Ok(text),
                Some('\\') if braces == 0 => text.push(self.escape(&at)?),
                Some(c) => {
                    match c {
                        '{' if braces > 0 => braces += 1,
                        '}' if braces > 0 => braces -= 1,
                        _ => {}
                    }
                    text.push(c);
                }
            }
        }
    }

    fn escape(&mut self, at: &Origin) -> Result<char, Problem> {
        let (radix, length, first) = match self.cursor.next() {
            Some(c @ ('"' | '\\')) => return Ok(c),
            Some('a') => return Ok('\u{7}'),
            Some('b') => return Ok('\u{8}'),
            Some('f') => return Ok('\u{c}'),
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some('v') => return Ok('\u{b}'),
            Some(c @ '0'..='7') => (8, 2, c.to_digit(8).unwrap_or(0)),
            Some('x' | 'X') => (16, 2, 0),
            Some('u') => (16, 4, 0),
            Some('U') => (16, 8, 0),
            _ => return Err(syntax(at.clone(), "unknown escape; write \\\\ for a backslash")),
        };
        let mut code = first;
        for _ in 0..length {
            let Some(digit) = self.cursor.peek().and_then(|c| c.to_digit(radix)) else {
                return Err(self.cursor.expected("a digit of the escape"));
            };
            self.cursor.next();
            code = code.wrapping_mul(radix).wrapping_add(digit);
        }
        char::from_u32(code).ok_or_else(|| syntax(at.clone(), "this escape is no character"))
    }

    /// `<<MARK` or `<<-MARK`: the lines up to one that holds only MARK; `-` takes the indentation off.
    fn heredoc(&mut self) -> Result<String, Problem> {
        let start = self.cursor.at();
        if !self.cursor.take("<<") {
            return Err(self.cursor.expected("a value"));
        }
        let indented = self.cursor.take("-");
        let mark = self.cursor.take_while(|c| c.is_alphanumeric() || c == '_');
        self.cursor.take("\r");
        if mark.is_empty() || !self.cursor.take("\n") {
            return Err(self.cursor.expected("a word and the end of the line after '<<'"));
        }
        let mut lines: Vec<&str> = Vec::new();
        loop {
            if self.cursor.rest().is_empty() {
                return Err(syntax(start, format!("the line {mark:?} that ends this text is missing")));
            }
            let line = self.cursor.take_while(|c| c != '\n');
            if line.trim() == mark {
                return Ok(join_lines(&lines, line, indented));
            }
            lines.push(line);
            self.cursor.next();
        }
    }
}

/// An object, ready to be joined with a repetition of its block.
fn block(entries: Vec<Entry>, at: Origin) -> Node {
    Node { value: Value::Blocks(vec![Node { value: Value::Map(entries), at: at.clone() }]), at }
}

/// The lines of a heredoc. With `indented`, the indentation of the closing line is taken off every line,
/// unless some line has less: then all stay as they are.
fn join_lines(lines: &[&str], closing: &str, indented: bool) -> String {
    let indent = closing.get(..closing.len() - closing.trim_start().len()).unwrap_or("");
    let strip = indented && lines.iter().all(|line| line.starts_with(indent));
    let mut text = String::new();
    for line in lines {
        text.push_str(if strip { line.strip_prefix(indent).unwrap_or(line) } else { line });
        text.push('\n');
    }
    text
}

fn is_key_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn is_key_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}
