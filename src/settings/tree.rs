//! The one tree that both file formats become: plain values, each with its place.

use std::sync::Arc;

use super::error::{Fault, Origin, Problem};
use super::{hcl, json};

/// How a source is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Strict JSON.
    Json,
    /// HCL, version 1 of the language, as all Consul versions read it.
    Hcl,
}

impl Format {
    /// By the value of `-config-format`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "hcl" => Some(Self::Hcl),
            _ => None,
        }
    }

    /// By a file's extension, which must be in lower case.
    pub fn from_path(path: &std::path::Path) -> Option<Self> {
        path.extension().and_then(|extension| extension.to_str()).and_then(Self::from_name)
    }
}

/// A value and the place it starts at.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it starts.
    pub at: Origin,
}

/// A value of either format.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`; as if the key were absent.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with fraction or exponent, or beyond 64 bits.
    Float(f64),
    /// Text, unescaped.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// HCL objects: one for `key { … }`, several where the block is repeated. Stands for a list of objects
    /// as well as, with one element, for the object.
    Blocks(Vec<Node>),
    /// An object: keys in order, each once (a repeated key keeps its last value, as in Consul).
    Map(Vec<Entry>),
}

/// A key of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key as written.
    pub key: String,
    /// Where the key starts.
    pub at: Origin,
    /// Its value.
    pub value: Node,
}

impl Value {
    /// What this is, in words, for messages. Texts are not quoted: they may be secrets.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Blocks(items) if items.len() != 1 => "several objects",
            Self::Blocks(_) | Self::Map(_) => "an object",
        }
    }
}

/// Objects inside lists inside objects…: deeper than this is refused, so that hostile text cannot use up
/// the stack.
pub(crate) const MAX_DEPTH: usize = 64;

/// Parses `text`; the result is always a [`Value::Map`]. `source` names it in messages.
///
/// An empty HCL text is an empty object, an empty JSON text is too when it has no byte at all: both are
/// what Consul accepts.
///
/// # Errors
/// A [`Fault::Syntax`] with line and column. Parsing stops there: what follows a syntax error cannot be
/// trusted to mean anything.
pub fn parse(source: &Arc<str>, text: &str, format: Format) -> Result<Node, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        Format::Json if text.is_empty() => Ok(Node {
            value: Value::Map(Vec::new()),
            at: Origin { source: Arc::clone(source), line: 1, column: 1 },
        }),
        Format::Json => json::parse(source, text, json::Objects::Plain),
        // Consul's HCL reader takes JSON as well, known by its first character.
        Format::Hcl if text.trim_start().starts_with('{') => {
            json::parse(source, text, json::Objects::AsBlocks)
        }
        Format::Hcl => hcl::parse(source, text),
    }
}

/// Adds a key to an object. A repeated key replaces the former value; with `join`, two lists become one
/// (HCL's rule for repeated blocks and lists).
pub(crate) fn insert(entries: &mut Vec<Entry>, entry: Entry, join: bool) {
    let Some(existing) = entries.iter_mut().find(|existing| existing.key == entry.key) else {
        entries.push(entry);
        return;
    };
    match (&mut existing.value.value, entry.value.value) {
        (Value::List(old), Value::List(new)) | (Value::Blocks(old), Value::Blocks(new)) if join => {
            old.extend(new);
        }
        (_, value) => {
            existing.at = entry.at;
            existing.value = Node { value, at: entry.value.at };
        }
    }
}

/// A reading position that counts lines and columns; shared by both parsers.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    source: &'a Arc<str>,
    rest: &'a str,
    line: u32,
    column: u32,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(source: &'a Arc<str>, text: &'a str) -> Self {
        Self { source, rest: text, line: 1, column: 1 }
    }

    pub(crate) fn rest(&self) -> &'a str {
        self.rest
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(crate) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or("");
        if c == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
        Some(c)
    }

    /// Takes `prefix` if it comes next.
    pub(crate) fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest.starts_with(prefix);
        if found {
            for _ in prefix.chars() {
                self.next();
            }
        }
        found
    }

    /// Takes characters as long as `wanted` likes them.
    pub(crate) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let start = self.rest;
        while self.peek().is_some_and(&wanted) {
            self.next();
        }
        start.get(..start.len() - self.rest.len()).unwrap_or("")
    }

    pub(crate) fn at(&self) -> Origin {
        Origin { source: Arc::clone(self.source), line: self.line, column: self.column }
    }

    /// What comes next, for messages.
    pub(crate) fn found(&self) -> String {
        match self.peek() {
            Some(c) => format!("{c:?}"),
            None => "the end of the text".to_owned(),
        }
    }

    /// "expected …, found …" at this place.
    pub(crate) fn expected(&self, what: &str) -> Problem {
        syntax(self.at(), format!("expected {what}, found {}", self.found()))
    }
}

/// A syntax error at a place.
pub(crate) fn syntax(at: Origin, text: impl Into<String>) -> Problem {
    Problem::at(at, Fault::Syntax(text.into()))
}

/// A number as text into a value; `None` if it is none.
pub(crate) fn number(text: &str) -> Option<Value> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Value::Int(whole));
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite()).map(Value::Float)
}
