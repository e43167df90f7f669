//! Decoding of request bodies the way Go's `encoding/json` does it for Consul's structs.
//!
//! Field names match without regard to case, a repeated field counts as its last appearance,
//! `null` leaves a field at its zero value, whatever follows the first JSON value is ignored, and a
//! field no struct knows is refused. The texts of errors follow Go's, because clients print them.
//!
//! Owns: the JSON tree, the struct shapes and the conversion into records ([`records`]), definitions
//! ([`definitions`]) and durations. May not enter: rules about what the values mean; those are the
//! endpoints'.

pub mod definitions;
mod duration;
pub mod records;
mod shapes;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::state::record::{FreeForm, StringMap};

/// Why a body was refused. The text is what Consul prints after `Request decode failed: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, an unknown field, or a value with rules of its own (durations, base64).
    #[error("{0}")]
    Text(String),
    /// A JSON value of one type where the struct wants another.
    #[error(transparent)]
    Mismatch(Box<Mismatch>),
}

impl DecodeError {
    /// An error with a text of its own.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn inside(mut self, shape: &'static str, field: &'static str) -> Self {
        if let Self::Mismatch(mismatch) = &mut self {
            mismatch.shape.get_or_insert(shape);
            mismatch.path.push(field);
        }
        self
    }
}

/// A value of the wrong type, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What was found: `string`, `object`, `number 8.5`, …
    found: String,
    /// The Go type that was wanted.
    wanted: &'static str,
    /// The innermost struct.
    shape: Option<&'static str>,
    /// Field names from the innermost outwards.
    path: Vec<&'static str>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "json: cannot unmarshal {} into Go ", self.found)?;
        match self.shape {
            Some(shape) => {
                write!(out, "struct field {}", shape.rsplit('.').next().unwrap_or(shape))?;
                for field in self.path.iter().rev() {
                    write!(out, ".{field}")?;
                }
            }
            None => out.write_str("value")?,
        }
        write!(out, " of type {}", self.wanted)
    }
}

impl std::error::Error for Mismatch {}

/// Result of decoding.
pub type Decoded<T> = Result<T, DecodeError>;

/// A JSON value. Objects keep their fields in the order (and as often as) they were written.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number that fits `i64`.
    Int(i64),
    /// A whole number that fits only `u64`.
    Uint(u64),
    /// Any other number, written with a fraction or an exponent or too large.
    Float(f64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Parses the first JSON value of a body. Bytes that are not UTF-8 become U+FFFD, as in Go.
    ///
    /// # Errors
    /// [`DecodeError::Text`]: `EOF` for an empty body, `unexpected EOF` for a cut one, else what
    /// is wrong and where. Nesting deeper than 128 levels is refused.
    pub fn parse(body: &[u8]) -> Decoded<Self> {
        let text = String::from_utf8_lossy(body);
        if text.bytes().all(|byte| byte.is_ascii_whitespace()) {
            return Err(DecodeError::text("EOF"));
        }
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        Self::deserialize(&mut deserializer).map_err(|error| {
            DecodeError::Text(if error.is_eof() { "unexpected EOF".into() } else { error.to_string() })
        })
    }

    /// What Go calls this value in an error.
    fn kind(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Bool(_) => "bool".into(),
            Self::Int(_) | Self::Uint(_) | Self::Float(_) => "number".into(),
            Self::String(_) => "string".into(),
            Self::Array(_) => "array".into(),
            Self::Object(_) => "object".into(),
        }
    }

    /// The error for a value of this kind where `wanted` (a Go type) belongs.
    pub fn mismatch(&self, wanted: &'static str) -> DecodeError {
        Self::wrong(self.kind(), wanted)
    }

    fn wrong(found: String, wanted: &'static str) -> DecodeError {
        DecodeError::Mismatch(Box::new(Mismatch { found, wanted, shape: None, path: Vec::new() }))
    }

    /// A string; `null` is the empty one.
    ///
    /// # Errors
    /// [`DecodeError::Mismatch`] for anything else.
    pub fn string(self) -> Decoded<String> {
        match self {
            Self::String(text) => Ok(text),
            Self::Null => Ok(String::new()),
            other => Err(other.mismatch("string")),
        }
    }

    /// A string as a shared one.
    ///
    /// # Errors
    /// As [`Json::string`].
    pub fn shared(self) -> Decoded<Arc<str>> {
        self.string().map(Arc::from)
    }

    /// A boolean; `null` is false.
    ///
    /// # Errors
    /// [`DecodeError::Mismatch`] for anything else.
    pub fn bool(self) -> Decoded<bool> {
        match self {
            Self::Bool(value) => Ok(value),
            Self::Null => Ok(false),
            other => Err(other.mismatch("bool")),
        }
    }

    /// A whole number; `null` is 0. A number with a fraction or an exponent is refused, whatever
    /// its value.
    ///
    /// # Errors
    /// [`DecodeError::Mismatch`] for anything else.
    pub fn int(self) -> Decoded<i64> {
        match self {
            Self::Int(value) => Ok(value),
            Self::Null => Ok(0),
            Self::Uint(value) => Err(Self::wrong(format!("number {value}"), "int")),
            Self::Float(value) => Err(Self::wrong(format!("number {value}"), "int")),
            other => Err(other.mismatch("int")),
        }
    }

    /// A whole number that is not negative; `null` is 0.
    ///
    /// # Errors
    /// [`DecodeError::Mismatch`] for anything else.
    pub fn uint(self) -> Decoded<u64> {
        match self {
            Self::Int(value) => {
                u64::try_from(value).map_err(|_| Self::wrong(format!("number {value}"), "uint64"))
            }
            Self::Uint(value) => Ok(value),
            Self::Null => Ok(0),
            Self::Float(value) => Err(Self::wrong(format!("number {value}"), "uint64")),
            other => Err(other.mismatch("uint64")),
        }
    }

    /// Any number; `null` is 0.
    ///
    /// # Errors
    /// [`DecodeError::Mismatch`] for anything else.
    #[expect(clippy::cast_precision_loss, reason = "Go's float64 loses the same digits")]
    pub fn float(self) -> Decoded<f64> {
        match self {
            Self::Int(value) => Ok(value as f64),
            Self::Uint(value) => Ok(value as f64),
            Self::Float(value) => Ok(value),
            Self::Null => Ok(0.0),
            other => Err(other.mismatch("float64")),
        }
    }

    /// A list; `null` is `None`.
    ///
    /// # Errors
    /// [`DecodeError::Mismatch`] for anything else, and whatever `item` says.
    pub fn list<T>(
        self,
        go_type: &'static str,
        item: impl FnMut(Self) -> Decoded<T>,
    ) -> Decoded<Option<Vec<T>>> {
        match self {
            Self::Array(items) => items.into_iter().map(item).collect::<Decoded<_>>().map(Some),
            Self::Null => Ok(None),
            other => Err(other.mismatch(go_type)),
        }
    }

    /// A list of strings; `null` is the empty one.
    ///
    /// # Errors
    /// [`DecodeError::Mismatch`] for anything else.
    pub fn strings(self) -> Decoded<Vec<String>> {
        Ok(self.list("[]string", Self::string)?.unwrap_or_default())
    }

    /// A map; `null` is `None`. Keys are taken as they are.
    ///
    /// # Errors
    /// [`DecodeError::Mismatch`] for anything else, and whatever `value` says.
    pub fn map<T>(
        self,
        go_type: &'static str,
        mut value: impl FnMut(Self) -> Decoded<T>,
    ) -> Decoded<Option<BTreeMap<String, T>>> {
        match self {
            Self::Object(fields) => fields
                .into_iter()
                .map(|(key, field)| Ok((key, value(field)?)))
                .collect::<Decoded<_>>()
                .map(Some),
            Self::Null => Ok(None),
            other => Err(other.mismatch(go_type)),
        }
    }

    /// A map of strings; `null` is `None`.
    ///
    /// # Errors
    /// [`DecodeError::Mismatch`] for anything else.
    pub fn string_map(self) -> Decoded<Option<StringMap>> {
        self.map("map[string]string", Self::string)
    }

    /// A value of no fixed shape.
    pub fn free_form(self) -> FreeForm {
        match self {
            Self::Null => FreeForm::Null,
            Self::Bool(value) => value.into(),
            Self::Int(value) => value.into(),
            Self::Uint(value) => value.into(),
            Self::Float(value) => value.into(),
            Self::String(text) => text.into(),
            Self::Array(items) => items.into_iter().map(Self::free_form).collect(),
            Self::Object(fields) => {
                FreeForm::Object(fields.into_iter().map(|(key, value)| (key, value.free_form())).collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Uint(value), Json::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        Ok(Json::Object(fields))
    }
}

/// What becomes of a field a struct does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The body is refused.
    Refuse,
    /// It is passed over; Consul does so inside structs that decode themselves.
    Ignore,
}

/// A Go struct: its name, its fields and what becomes of others.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Go's name with its package, as errors print it (`structs.NodeService`).
    pub name: &'static str,
    /// Field names as Go spells them; those that mean nothing here belong in the list as well.
    pub fields: &'static [&'static str],
    /// What becomes of other fields.
    pub unknown: Unknown,
}

impl Shape {
    /// Walks the fields of an object in the order written, with the names as Go spells them.
    /// `null` has no fields.
    ///
    /// # Errors
    /// [`DecodeError::Mismatch`] if it is no object, [`DecodeError::Text`] for an unknown field,
    /// and whatever `field` says, with the place added to it.
    pub fn decode(
        &self,
        json: Json,
        mut field: impl FnMut(&'static str, Json) -> Decoded<()>,
    ) -> Decoded<()> {
        let fields = match json {
            Json::Object(fields) => fields,
            Json::Null => return Ok(()),
            other => return Err(other.mismatch(self.name)),
        };
        for (name, value) in fields {
            let known = self
                .fields
                .iter()
                .find(|known| **known == name)
                .or_else(|| self.fields.iter().find(|known| known.eq_ignore_ascii_case(&name)));
            match known {
                Some(known) if value != Json::Null => {
                    field(known, value).map_err(|error| error.inside(self.name, known))?;
                }
                Some(_) => {}
                None if self.unknown == Unknown::Ignore => {}
                None => {
                    let enterprise = if name.eq_ignore_ascii_case("Namespace") {
                        " - Namespaces are a Consul Enterprise feature"
                    } else {
                        ""
                    };
                    return Err(DecodeError::Text(format!("json: unknown field {name:?}{enterprise}")));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINT: Shape =
        Shape { name: "structs.Point", fields: &["X", "Label", "Inner"], unknown: Unknown::Refuse };

    fn point(body: &str) -> Decoded<(i64, String)> {
        let (mut x, mut label) = (0, String::new());
        fn walk(json: Json, x: &mut i64, label: &mut String) -> Decoded<()> {
            POINT.decode(json, |field, value| {
                match field {
                    "X" => *x = value.int()?,
                    "Label" => *label = value.string()?,
                    _ => walk(value, x, label)?,
                }
                Ok(())
            })
        }
        walk(Json::parse(body.as_bytes())?, &mut x, &mut label)?;
        Ok((x, label))
    }

    #[test]
    fn decodes_like_go() {
        let table = [
            ("plain", r#"{"X":3,"Label":"a"}"#, Ok((3, "a"))),
            ("any case", r#"{"x":3,"LABEL":"a"}"#, Ok((3, "a"))),
            ("last wins", r#"{"X":3,"x":4}"#, Ok((4, ""))),
            ("null is skipped", r#"{"X":3,"Label":null,"x":null}"#, Ok((3, ""))),
            ("null body", "null", Ok((0, ""))),
            ("rest is ignored", r#"{"X":3} garbage"#, Ok((3, ""))),
            ("empty", "", Err("EOF")),
            ("blank", " \n", Err("EOF")),
            ("cut", r#"{"X":"#, Err("unexpected EOF")),
            ("unknown", r#"{"Y":1}"#, Err("json: unknown field \"Y\"")),
            (
                "enterprise",
                r#"{"Namespace":"x"}"#,
                Err("json: unknown field \"Namespace\" - Namespaces are a Consul Enterprise feature"),
            ),
            ("array", "[1]", Err("json: cannot unmarshal array into Go value of type structs.Point")),
            (
                "string for int",
                r#"{"X":"1"}"#,
                Err("json: cannot unmarshal string into Go struct field Point.X of type int"),
            ),
            (
                "fraction for int",
                r#"{"X":8.5}"#,
                Err("json: cannot unmarshal number 8.5 into Go struct field Point.X of type int"),
            ),
            (
                "nested",
                r#"{"Inner":{"Label":5}}"#,
                Err("json: cannot unmarshal number into Go struct field Point.Inner.Label of type string"),
            ),
        ];
        for (name, body, want) in table {
            let got = point(body).map_err(|error| error.to_string());
            let want = want.map(|(x, label)| (x, label.to_owned())).map_err(str::to_owned);
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn numbers_keep_their_kind() {
        let table = [
            ("1", Json::Int(1)),
            ("-1", Json::Int(-1)),
            ("18446744073709551615", Json::Uint(u64::MAX)),
            ("1.0", Json::Float(1.0)),
            ("1e2", Json::Float(100.0)),
        ];
        for (text, want) in table {
            assert_eq!(Json::parse(text.as_bytes()), Ok(want), "{text}");
        }
        assert_eq!(Json::Uint(u64::MAX).uint(), Ok(u64::MAX));
        assert!(Json::Uint(u64::MAX).int().is_err());
        assert!(Json::Int(-1).uint().is_err());
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(Json::parse(b"\"a\xff\""), Ok(Json::String("a\u{fffd}".into())));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(body: Vec<u8>) {
            let _ = Json::parse(&body);
        }
    }
}
