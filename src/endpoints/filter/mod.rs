//! Filter expressions (`?filter=`), Consul's language for picking records of an answer.
//!
//! An expression is parsed once per request ([`parse`]), checked against the fields of the record it
//! is meant for ([`tables`]) and turned into a predicate ([`field`]) that runs without allocating.
//! Unknown fields, operators a field does not know and values that do not fit its type are errors
//! before any record is looked at.
//!
//! May not enter: anything about requests or answers. Other families bring tables of their own by
//! implementing [`Fields`].

mod expr;
mod field;
mod literal;
mod parse;
mod tables;
#[cfg(test)]
mod tests;

use std::fmt;

use super::EndpointError;
use expr::Expr;
pub use field::{Fields, Path, Resolved, Test};
pub use literal::parse_bool;
pub use tables::{CatalogInstanceFields, CheckFields, HealthInstanceFields, NodeFields, ServiceFields};

/// Why an expression is no filter for a kind of record. The texts are Consul's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It is no expression.
    #[error("{0}")]
    Syntax(String),
    /// The record has no such field.
    #[error("Selector {0:?} is not valid")]
    Selector(String),
    /// The field does not know the operator.
    #[error("Invalid match operator {0:?} for selector {1:?}")]
    Operator(&'static str, String),
    /// The value does not fit the field's type.
    #[error(
        "Failed to coerce value {value:?} for selector {selector:?}: strconv.{parser}: parsing {value:?}: {problem}"
    )]
    Value {
        /// As written.
        value: String,
        /// The field.
        selector: String,
        /// What could not read it.
        parser: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The regular expression does not compile.
    #[error("Failed to compile regular expression {0:?}: {1}")]
    Regex(String, String),
}

impl From<FilterError> for EndpointError {
    /// Consul evaluates filters in its servers and answers 500.
    fn from(error: FilterError) -> Self {
        Self::Refused(format!("Failed to create boolean expression evaluator: {error}"))
    }
}

/// A compiled filter for one kind of record. The filter of an empty text lets everything pass.
pub struct Filter<F: Fields> {
    test: Option<Test<F::Record>>,
}

impl<F: Fields> fmt::Debug for Filter<F> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.test.is_some() { "Filter" } else { "Filter(everything)" })
    }
}

impl<F: Fields> Filter<F> {
    /// Compiles an expression.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn compile(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Ok(Self { test: None });
        }
        let expr = parse::parse(text).map_err(FilterError::Syntax)?;
        Ok(Self { test: Some(compile::<F>(&expr)?) })
    }

    /// Lets everything pass.
    pub const fn is_everything(&self) -> bool {
        self.test.is_none()
    }

    /// Whether a record passes.
    pub fn passes(&self, record: &F::Record) -> bool {
        self.test.as_ref().is_none_or(|test| test(record))
    }
}

fn compile<F: Fields>(expr: &Expr) -> Resolved<F::Record> {
    let all = |parts: &[Expr]| parts.iter().map(compile::<F>).collect::<Result<Vec<_>, _>>();
    Ok(match expr {
        Expr::And(parts) => {
            let parts = all(parts)?;
            Box::new(move |record| parts.iter().all(|part| part(record)))
        }
        Expr::Or(parts) => {
            let parts = all(parts)?;
            Box::new(move |record| parts.iter().any(|part| part(record)))
        }
        Expr::Not(inner) => {
            let inner = compile::<F>(inner)?;
            Box::new(move |record| !inner(record))
        }
        Expr::Match(test) => F::resolve(Path::new(test))?,
    })
}
