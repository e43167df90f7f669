//! Turning one test of an expression into a predicate over records.
//!
//! Everything that can be decided once is decided here: whether the field exists, whether its type
//! knows the operator, what the value means as a number, how the regular expression is compiled.
//! What is left to do per record allocates nothing.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

use super::FilterError;
use super::expr::{Match, Operator};
use super::literal::{IntError, parse_bool, parse_int};
use crate::state::record::StringMap;

/// Bytes a compiled regular expression may take; the caller chooses it, so it is bounded.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// A predicate over strings.
type StrTest = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// A predicate over records.
pub type Test<R> = Box<dyn Fn(&R) -> bool + Send + Sync>;

/// Gives a record's map, if it has one.
pub type MapOf<R, V> = fn(&R) -> Option<&BTreeMap<String, V>>;

/// Says whether any item of a record's list passes a test.
pub type AnyOf<R, V> = fn(&R, &dyn Fn(&V) -> bool) -> bool;

/// A predicate, or why there is none.
pub type Resolved<R> = Result<Test<R>, FilterError>;

/// The fields of one kind of record.
pub trait Fields {
    /// The record.
    type Record: 'static;

    /// The predicate for a test whose selector goes on with `path` here; [`Path::next`] is the
    /// name of the field.
    ///
    /// # Errors
    /// [`FilterError`].
    fn resolve(path: Path<'_>) -> Resolved<Self::Record>;
}

/// A test, and how far its selector was followed.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    test: &'a Match,
    depth: usize,
}

impl<'a> Path<'a> {
    /// At the beginning of a selector.
    pub const fn new(test: &'a Match) -> Self {
        Self { test, depth: 0 }
    }

    /// The next part of the selector and the way on behind it.
    pub fn next(self) -> Option<(&'a str, Self)> {
        let part = self.test.selector.get(self.depth)?;
        Some((part, Self { depth: self.depth + 1, ..self }))
    }

    /// There is no such field.
    ///
    /// # Errors
    /// Always.
    pub fn unknown<R>(self) -> Resolved<R> {
        // Consul names it up to the part it does not know.
        let known = self.test.selector.iter().take(self.depth + 1).map(String::as_str);
        Err(FilterError::Selector(known.collect::<Vec<_>>().join(".")))
    }

    fn operator(self) -> Operator {
        self.test.operator
    }

    fn value(self) -> &'a str {
        &self.test.value
    }

    fn unfit_error(self) -> FilterError {
        FilterError::Operator(self.operator().name(), self.test.selector_text())
    }

    fn unfit<R>(self) -> Resolved<R> {
        Err(self.unfit_error())
    }

    fn is_end(self) -> bool {
        self.depth == self.test.selector.len()
    }

    fn coercion(self, parser: &'static str, problem: &'static str) -> FilterError {
        FilterError::Value {
            value: self.value().to_owned(),
            selector: self.test.selector_text(),
            parser,
            problem,
        }
    }

    fn regex(self) -> Result<Regex, FilterError> {
        RegexBuilder::new(self.value())
            .size_limit(REGEX_SIZE_LIMIT)
            .build()
            .map_err(|error| FilterError::Regex(self.value().to_owned(), error.to_string()))
    }

    /// The test on a string.
    fn on_str(self) -> Result<StrTest, FilterError> {
        let value = self.value().to_owned();
        Ok(match self.operator() {
            Operator::Equal => Box::new(move |text| text == value),
            Operator::NotEqual => Box::new(move |text| text != value),
            Operator::In => Box::new(move |text| text.contains(&*value)),
            Operator::NotIn => Box::new(move |text| !text.contains(&*value)),
            Operator::Matches => {
                let regex = self.regex()?;
                Box::new(move |text| regex.is_match(text))
            }
            Operator::NotMatches => {
                let regex = self.regex()?;
                Box::new(move |text| !regex.is_match(text))
            }
            Operator::IsEmpty | Operator::IsNotEmpty => return Err(self.unfit_error()),
        })
    }
}

impl Path<'_> {
    /// A field that is a string.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn string<R: 'static>(self, get: fn(&R) -> &str) -> Resolved<R> {
        if !self.is_end() {
            return self.unknown();
        }
        let test = self.on_str()?;
        Ok(Box::new(move |record| test(get(record))))
    }

    /// A field that is a whole number.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn int<R: 'static>(self, get: fn(&R) -> i64) -> Resolved<R> {
        if !self.is_end() {
            return self.unknown();
        }
        let parse =
            || parse_int(self.value()).map_err(|error: IntError| self.coercion("ParseInt", error.text()));
        Ok(match self.operator() {
            Operator::Equal => {
                let want = parse()?;
                Box::new(move |record| get(record) == want)
            }
            Operator::NotEqual => {
                let want = parse()?;
                Box::new(move |record| get(record) != want)
            }
            _ => return self.unfit(),
        })
    }

    /// A field that is true or false.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn bool<R: 'static>(self, get: fn(&R) -> bool) -> Resolved<R> {
        if !self.is_end() {
            return self.unknown();
        }
        let parse = || parse_bool(self.value()).ok_or_else(|| self.coercion("ParseBool", "invalid syntax"));
        Ok(match self.operator() {
            Operator::Equal => {
                let want = parse()?;
                Box::new(move |record| get(record) == want)
            }
            Operator::NotEqual => {
                let want = parse()?;
                Box::new(move |record| get(record) != want)
            }
            _ => return self.unfit(),
        })
    }

    /// A field that is a list of strings: membership and emptiness.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn strings<R: 'static>(self, get: fn(&R) -> &[String]) -> Resolved<R> {
        if !self.is_end() {
            return self.unknown();
        }
        let value = self.value().to_owned();
        Ok(match self.operator() {
            Operator::In => Box::new(move |record| get(record).contains(&value)),
            Operator::NotIn => Box::new(move |record| !get(record).contains(&value)),
            Operator::IsEmpty => Box::new(move |record| get(record).is_empty()),
            Operator::IsNotEmpty => Box::new(move |record| !get(record).is_empty()),
            _ => return self.unfit(),
        })
    }

    /// A field that is a map of strings: membership and emptiness of the map, string tests of its
    /// values.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn string_map<R: 'static>(self, get: fn(&R) -> Option<&StringMap>) -> Resolved<R> {
        let Some((key, path)) = self.next() else { return self.map(get) };
        if !path.is_end() {
            return path.unknown();
        }
        let (key, test, absent) = (key.to_owned(), path.on_str()?, self.operator().of_absent_key());
        Ok(Box::new(move |record| {
            get(record).and_then(|map| map.get(&key)).map_or(absent, |value| test(value))
        }))
    }

    /// A field that is a map of structs.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn struct_map<R: 'static, F: Fields>(self, get: MapOf<R, F::Record>) -> Resolved<R> {
        let Some((key, path)) = self.next() else { return self.map(get) };
        if path.is_end() {
            return path.unfit();
        }
        let (key, test, absent) = (key.to_owned(), F::resolve(path)?, self.operator().of_absent_key());
        Ok(Box::new(move |record| get(record).and_then(|map| map.get(&key)).map_or(absent, &test)))
    }

    fn map<R: 'static, V: 'static>(self, get: MapOf<R, V>) -> Resolved<R> {
        let value = self.value().to_owned();
        Ok(match self.operator() {
            Operator::In => Box::new(move |record| get(record).is_some_and(|map| map.contains_key(&value))),
            Operator::NotIn => {
                Box::new(move |record| !get(record).is_some_and(|map| map.contains_key(&value)))
            }
            Operator::IsEmpty => Box::new(move |record| get(record).is_none_or(BTreeMap::is_empty)),
            Operator::IsNotEmpty => Box::new(move |record| !get(record).is_none_or(BTreeMap::is_empty)),
            _ => return self.unfit(),
        })
    }

    /// A field that is a struct of its own.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn nested<R: 'static, F: Fields>(self, get: fn(&R) -> &F::Record) -> Resolved<R> {
        if self.is_end() {
            return self.unfit();
        }
        let test = F::resolve(self)?;
        Ok(Box::new(move |record| test(get(record))))
    }

    /// A field that is a list of structs: its emptiness, and tests that hold if any of them passes.
    /// `any` looks for an item that passes a test.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn list<R: 'static, F: Fields>(self, any: AnyOf<R, F::Record>) -> Resolved<R> {
        if !self.is_end() {
            let test = F::resolve(self)?;
            return Ok(Box::new(move |record| any(record, &*test)));
        }
        match self.operator() {
            Operator::IsEmpty => Ok(Box::new(move |record| !any(record, &|_| true))),
            Operator::IsNotEmpty => Ok(Box::new(move |record| any(record, &|_| true))),
            _ => self.unfit(),
        }
    }
}
