//! Tests against recorded bytes and against chance.

mod random;
mod vectors;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::codec::{Cursor, Token};

/// Any value, for comparing: nil, and lists and maps of nothing, are one.
#[derive(Debug, Clone, PartialEq)]
pub enum Any {
    Nothing,
    Bool(bool),
    Int(i128),
    Float(f64),
    Raw(Vec<u8>),
    Array(Vec<Any>),
    Map(BTreeMap<String, Any>),
}

/// Reads any value.
pub fn any(cursor: &mut Cursor<'_>) -> Any {
    match cursor.token().unwrap() {
        Token::Nil | Token::Array(0) | Token::Map(0) | Token::Raw([]) => Any::Nothing,
        Token::Bool(value) => Any::Bool(value),
        Token::Uint(value) => Any::Int(value.into()),
        Token::Int(value) => Any::Int(value.into()),
        Token::Float(value) => Any::Float(value),
        Token::Raw(bytes) => Any::Raw(bytes.to_vec()),
        Token::Array(count) => Any::Array((0..count).map(|_| any(cursor)).collect()),
        Token::Map(count) => Any::Map(
            (0..count)
                .map(|_| (String::from_utf8(cursor.raw().unwrap().to_vec()).unwrap(), any(cursor)))
                .collect(),
        ),
        Token::Ext => panic!("an extension"),
    }
}

/// A recorded file.
pub fn recorded(name: &str) -> Vec<u8> {
    let path = PathBuf::from(file!()).parent().unwrap().join("../testdata").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
