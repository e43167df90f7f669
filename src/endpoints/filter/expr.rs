//! The syntax tree of a filter expression, and how it is written.

use std::fmt;

/// A filter expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// All of these, two or more, tried from the left.
    And(Vec<Self>),
    /// Any of these, two or more, tried from the left.
    Or(Vec<Self>),
    /// The opposite.
    Not(Box<Self>),
    /// A test of one field.
    Match(Match),
}

/// What a test does with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `value in field`, `field contains value`
    In,
    /// `value not in field`, `field not contains value`
    NotIn,
    /// `is empty`
    IsEmpty,
    /// `is not empty`
    IsNotEmpty,
    /// `matches`
    Matches,
    /// `not matches`
    NotMatches,
}

impl Operator {
    /// Its name in errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::NotEqual => "Not Equal",
            Self::In => "In",
            Self::NotIn => "Not In",
            Self::IsEmpty => "Is Empty",
            Self::IsNotEmpty => "Is Not Empty",
            Self::Matches => "Matches",
            Self::NotMatches => "Not Matches",
        }
    }

    /// What a test says of a map that lacks the key it asks for. `matches` holds then, too.
    pub const fn of_absent_key(self) -> bool {
        !matches!(self, Self::Equal | Self::In | Self::IsNotEmpty)
    }
}

/// A test of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The way to the field: names of fields and keys of maps.
    pub selector: Vec<String>,
    /// What to do with it.
    pub operator: Operator,
    /// What to compare with, as written and unquoted; empty for the tests of emptiness.
    pub value: String,
}

impl Match {
    /// The selector as errors print it.
    pub fn selector_text(&self) -> String {
        self.selector.join(".")
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |parts: &[Self], word: &str, out: &mut fmt::Formatter<'_>| {
            for (position, part) in parts.iter().enumerate() {
                if position > 0 {
                    write!(out, " {word} ")?;
                }
                write!(out, "{}", Operand(part))?;
            }
            Ok(())
        };
        match self {
            Self::And(parts) => joined(parts, "and", out),
            Self::Or(parts) => joined(parts, "or", out),
            Self::Not(inner) => write!(out, "not {}", Operand(inner)),
            Self::Match(test) => write!(out, "{test}"),
        }
    }
}

/// A part of a larger expression: in parentheses unless it is a single test.
struct Operand<'a>(&'a Expr);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expr::Match(test) => write!(out, "{test}"),
            compound => write!(out, "({compound})"),
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selector = Selector(&self.selector);
        let value = Quoted(&self.value);
        match self.operator {
            Operator::Equal => write!(out, "{selector} == {value}"),
            Operator::NotEqual => write!(out, "{selector} != {value}"),
            Operator::In => write!(out, "{value} in {selector}"),
            Operator::NotIn => write!(out, "{value} not in {selector}"),
            Operator::IsEmpty => write!(out, "{selector} is empty"),
            Operator::IsNotEmpty => write!(out, "{selector} is not empty"),
            Operator::Matches => write!(out, "{selector} matches {value}"),
            Operator::NotMatches => write!(out, "{selector} not matches {value}"),
        }
    }
}

struct Selector<'a>(&'a [String]);

impl fmt::Display for Selector<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, part) in self.0.iter().enumerate() {
            if position == 0 {
                out.write_str(part)?;
            } else if is_identifier(part) {
                write!(out, ".{part}")?;
            } else {
                write!(out, "[{}]", Quoted(part))?;
            }
        }
        Ok(())
    }
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A string in double quotes. A quote inside is written `\x22`, because the grammar ends a string
/// at the next quote whatever stands before it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => out.write_str("\\x22")?,
                '\\' => out.write_str("\\\\")?,
                '\n' => out.write_str("\\n")?,
                c => write!(out, "{c}")?,
            }
        }
        out.write_str("\"")
    }
}
