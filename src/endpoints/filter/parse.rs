//! The grammar of filter expressions, as a parser that remembers what would have been accepted at
//! the farthest point it reached, so that an error can say so.
//!
//! ```text
//! or     = and ("or" and)*              and   = not ("and" not)*
//! not    = "not" not | group            group = "(" or ")" | match
//! match  = selector ("==" | "!=" | "contains" | "not contains" | "matches" | "not matches") value
//!        | selector ("is empty" | "is not empty")
//!        | value ("in" | "not in") selector
//! value  = selector | number | string   selector = name ("." name | "[" string "]")*
//! ```
//!
//! Words are separated by white space (`==` and `!=` need none); `not`, `and`, `in` and the others
//! are no reserved words.

use std::fmt::Write as _;

use super::expr::{Expr, Match, Operator};
use super::literal::unquote;

/// How deep parentheses and `not` may nest. The caller's stack is at stake, so there is a bound.
const MAX_DEPTH: usize = 100;

const SPACE: &str = r"[ \t\r\n]";
const LETTER: &str = "[a-zA-Z]";
const WORD: &str = "[a-zA-Z0-9_]";
const END: &str = "EOF";

/// Parses an expression.
///
/// # Errors
/// Where it stops making sense (`line:column (byte)`) and what would have.
pub fn parse(text: &str) -> Result<Expr, String> {
    let mut parser = Parser { text, at: 0, depth: 0, far: 0, expected: Vec::new(), errors: Vec::new() };
    let expr = parser.input();
    match expr {
        Some(expr) if parser.errors.is_empty() => Ok(expr),
        _ => Err(parser.failure()),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    /// The farthest place where something was looked for in vain.
    far: usize,
    /// What was looked for there.
    expected: Vec<&'static str>,
    /// Mistakes that have words of their own.
    errors: Vec<String>,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn missed(&mut self, what: &'static str) {
        if self.at > self.far {
            self.far = self.at;
            self.expected.clear();
        }
        if self.at == self.far && !self.expected.contains(&what) {
            self.expected.push(what);
        }
    }

    /// Notes a mistake of a rule at a place.
    fn mistake(&mut self, at: usize, rule: &str, what: &str) {
        let text = format!("{}: rule \"{rule}\": {what}", self.place(at));
        if !self.errors.contains(&text) {
            self.errors.push(text);
        }
    }

    fn place(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{line}:{column} ({at})")
    }

    fn failure(mut self) -> String {
        if !self.errors.is_empty() {
            return self.errors.join("\n");
        }
        let end = self.expected.iter().position(|what| *what == END).map(|at| self.expected.remove(at));
        self.expected.sort_unstable();
        self.expected.extend(end);
        let mut text = format!("{}: no match found, expected: ", self.place(self.far));
        let last = self.expected.len().saturating_sub(1);
        for (position, what) in self.expected.iter().enumerate() {
            let separator = match position {
                0 => "",
                _ if position == last => " or ",
                _ => ", ",
            };
            let _ = write!(text, "{separator}{what}");
        }
        text
    }

    /// Runs a rule; if it fails, goes back to where it began.
    fn attempt<T>(&mut self, rule: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let start = self.at;
        let result = rule(self);
        if result.is_none() {
            self.at = start;
        }
        result
    }

    /// A fixed text, given with its form in errors.
    fn literal(&mut self, literal: &str, shown: &'static str) -> Option<()> {
        if self.rest().starts_with(literal) {
            self.at += literal.len();
            Some(())
        } else {
            self.missed(shown);
            None
        }
    }

    fn class(&mut self, shown: &'static str, accepts: impl Fn(u8) -> bool) -> Option<()> {
        match self.rest().bytes().next() {
            Some(byte) if accepts(byte) => {
                self.at += 1;
                Some(())
            }
            _ => {
                self.missed(shown);
                None
            }
        }
    }

    fn space(&mut self) -> Option<()> {
        let blank = |byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.class(SPACE, blank)?;
        while self.class(SPACE, blank).is_some() {}
        Some(())
    }

    fn end(&mut self) -> Option<()> {
        if self.rest().is_empty() {
            Some(())
        } else {
            self.missed(END);
            None
        }
    }

    fn input(&mut self) -> Option<Expr> {
        self.space();
        let expr = self.or()?;
        self.space();
        self.end()?;
        Some(expr)
    }

    fn or(&mut self) -> Option<Expr> {
        self.chain("or", "\"or\"", Self::and, Expr::Or)
    }

    fn and(&mut self) -> Option<Expr> {
        self.chain("and", "\"and\"", Self::not, Expr::And)
    }

    fn chain(
        &mut self,
        word: &'static str,
        shown: &'static str,
        part: fn(&mut Self) -> Option<Expr>,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Option<Expr> {
        let first = part(self)?;
        let mut parts = vec![first];
        while let Some(next) = self.attempt(|this| {
            this.space()?;
            this.literal(word, shown)?;
            this.space()?;
            part(this)
        }) {
            parts.push(next);
        }
        if parts.len() == 1 { parts.pop() } else { Some(join(parts)) }
    }

    fn not(&mut self) -> Option<Expr> {
        self.nested(|this| {
            let negated = this.attempt(|this| {
                this.literal("not", "\"not\"")?;
                this.space()?;
                this.not()
            });
            match negated {
                Some(Expr::Not(inner)) => Some(*inner),
                Some(inner) => Some(Expr::Not(Box::new(inner))),
                None => this.group(),
            }
        })
    }

    fn nested(&mut self, rule: impl FnOnce(&mut Self) -> Option<Expr>) -> Option<Expr> {
        if self.depth == MAX_DEPTH {
            self.mistake(self.at, "grouping", "nested too deeply");
            return None;
        }
        self.depth += 1;
        let result = rule(self);
        self.depth -= 1;
        result
    }

    fn group(&mut self) -> Option<Expr> {
        let inner = self.attempt(|this| {
            this.literal("(", "\"(\"")?;
            this.space();
            let inner = this.or()?;
            this.space();
            if this.literal(")", "\")\"").is_none() {
                this.mistake(this.at, "grouping", "Unmatched parentheses");
                return None;
            }
            Some(inner)
        });
        inner.or_else(|| self.test().map(Expr::Match))
    }

    fn test(&mut self) -> Option<Match> {
        self.attempt(Self::test_with_value)
            .or_else(|| self.attempt(Self::test_of_emptiness))
            .or_else(|| self.attempt(Self::test_of_membership))
    }

    fn test_with_value(&mut self) -> Option<Match> {
        let selector = self.selector()?;
        let operator = self
            .symbol("==", "\"==\"", Operator::Equal)
            .or_else(|| self.symbol("!=", "\"!=\"", Operator::NotEqual))
            .or_else(|| self.word("contains", "\"contains\"", Operator::In))
            .or_else(|| self.not_word("contains", "\"contains\"", Operator::NotIn))
            .or_else(|| self.word("matches", "\"matches\"", Operator::Matches))
            .or_else(|| self.not_word("matches", "\"matches\"", Operator::NotMatches))?;
        Some(Match { selector, operator, value: self.value()? })
    }

    fn test_of_emptiness(&mut self) -> Option<Match> {
        let selector = self.selector()?;
        let plain = self.attempt(|this| {
            this.spaced("is", "\"is\"")?;
            this.space()?;
            this.literal("empty", "\"empty\"")?;
            Some(Operator::IsEmpty)
        });
        let operator = plain.or_else(|| {
            self.attempt(|this| {
                this.spaced("is", "\"is\"")?;
                this.spaced("not", "\"not\"")?;
                this.space()?;
                this.literal("empty", "\"empty\"")?;
                Some(Operator::IsNotEmpty)
            })
        })?;
        Some(Match { selector, operator, value: String::new() })
    }

    fn test_of_membership(&mut self) -> Option<Match> {
        let value = self.value()?;
        let operator = self
            .word("in", "\"in\"", Operator::In)
            .or_else(|| self.not_word("in", "\"in\"", Operator::NotIn))?;
        let Some(selector) = self.attempt(Self::selector) else {
            self.mistake(self.at, "match", "Invalid selector");
            return None;
        };
        Some(Match { selector, operator, value })
    }

    fn symbol(&mut self, symbol: &str, shown: &'static str, operator: Operator) -> Option<Operator> {
        self.attempt(|this| {
            this.space();
            this.literal(symbol, shown)?;
            this.space();
            Some(operator)
        })
    }

    fn spaced(&mut self, word: &str, shown: &'static str) -> Option<()> {
        self.space()?;
        self.literal(word, shown)
    }

    fn word(&mut self, word: &str, shown: &'static str, operator: Operator) -> Option<Operator> {
        self.attempt(|this| {
            this.spaced(word, shown)?;
            this.space()?;
            Some(operator)
        })
    }

    fn not_word(&mut self, word: &str, shown: &'static str, operator: Operator) -> Option<Operator> {
        self.attempt(|this| {
            this.spaced("not", "\"not\"")?;
            this.spaced(word, shown)?;
            this.space()?;
            Some(operator)
        })
    }

    fn name(&mut self) -> Option<&'t str> {
        let start = self.at;
        self.class(LETTER, |byte| byte.is_ascii_alphabetic())?;
        while self.class(WORD, |byte| byte.is_ascii_alphanumeric() || byte == b'_').is_some() {}
        self.text.get(start..self.at)
    }

    fn selector(&mut self) -> Option<Vec<String>> {
        let mut parts = vec![self.name()?.to_owned()];
        loop {
            let part = self
                .attempt(|this| {
                    this.literal(".", "\".\"")?;
                    this.name().map(str::to_owned)
                })
                .or_else(|| self.attempt(Self::index));
            match part {
                Some(part) => parts.push(part),
                None => return Some(parts),
            }
        }
    }

    fn index(&mut self) -> Option<String> {
        self.literal("[", "\"[\"")?;
        self.space();
        let Some(key) = self.attempt(Self::string) else {
            self.mistake(self.at, "index", "Invalid index");
            return None;
        };
        self.space();
        if self.literal("]", "\"]\"").is_none() {
            self.mistake(self.at, "index", "Unclosed index expression");
            return None;
        }
        Some(key)
    }

    fn value(&mut self) -> Option<String> {
        self.attempt(Self::selector)
            .map(|parts| parts.join("."))
            .or_else(|| self.attempt(Self::number))
            .or_else(|| self.attempt(Self::string))
    }

    fn number(&mut self) -> Option<String> {
        let digit = |byte: u8| byte.is_ascii_digit();
        let start = self.at;
        let _ = self.literal("-", "\"-\"");
        if self.literal("0", "\"0\"").is_none() {
            self.class("[1-9]", |byte| matches!(byte, b'1'..=b'9'))?;
            while self.class("[0-9]", digit).is_some() {}
        }
        self.attempt(|this| {
            this.literal(".", "\".\"")?;
            this.class("[0-9]", digit)?;
            while this.class("[0-9]", digit).is_some() {}
            Some(())
        });
        let after = self.at;
        let ends = self.space().is_some() || self.end().is_some() || self.literal(")", "\")\"").is_some();
        self.at = after;
        if !ends {
            self.mistake(after, "number", "Invalid number literal");
            return None;
        }
        self.text.get(start..after).map(str::to_owned)
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        let quote = if self.literal("`", "\"`\"").is_some() {
            '`'
        } else {
            self.literal("\"", "\"\\\"\"")?;
            '"'
        };
        let Some(length) = self.rest().find(quote) else {
            self.at = self.text.len();
            self.mistake(self.at, "string", "Unterminated string literal");
            return None;
        };
        self.at += length + 1;
        let quoted = self.text.get(start..self.at)?;
        Some(unquote(quoted).unwrap_or_else(|| {
            self.mistake(start, "string", "invalid syntax");
            String::new()
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        parse(text).map_or_else(|error| error, |expr| expr.to_string())
    }

    #[test]
    fn expressions() {
        let table = [
            ("Node == n1", r#"Node == "n1""#),
            ("Node==n1", r#"Node == "n1""#),
            (" ( Node\t== `n1` ) ", r#"Node == "n1""#),
            ("Node != -1.5", r#"Node != "-1.5""#),
            ("a == b or c == d and e == f", r#"a == "b" or (c == "d" and e == "f")"#),
            ("(a == b or c == d) and e == f", r#"(a == "b" or c == "d") and e == "f""#),
            ("not a == b and c == d", r#"(not a == "b") and c == "d""#),
            ("not not a == b", r#"a == "b""#),
            ("not == x", r#"not == "x""#),
            ("a == and and b == or", r#"a == "and" and b == "or""#),
            ("a.b[\"c d\"].e is empty", r#"a.b["c d"].e is empty"#),
            ("a is  not\nempty", "a is not empty"),
            ("x in a", r#""x" in a"#),
            ("5 not in a", r#""5" not in a"#),
            ("a contains x.y", r#""x.y" in a"#),
            ("a not contains x", r#""x" not in a"#),
            (r#"a matches "^\\d\x22$""#, r#"a matches "^\\d\x22$""#),
            ("in in in", r#""in" in in"#),
            ("a.b[`c`] == d", r#"a.b.c == "d""#),
        ];
        for (text, want) in table {
            assert_eq!(shown(text), want, "{text}");
        }
    }

    #[test]
    fn mistakes() {
        let start = r#"1:1 (0): no match found, expected: "(", "-", "0", "\"", "`", "not", [ \t\r\n], [1-9] or [a-zA-Z]"#;
        let table = [
            ("", start),
            ("== x", start),
            ("日 == 1", start),
            (
                "nonsense",
                r#"1:9 (8): no match found, expected: "!=", ".", "==", "[", [ \t\r\n] or [a-zA-Z0-9_]"#,
            ),
            (
                "Node ==",
                r#"1:8 (7): no match found, expected: "-", "0", "\"", "`", [ \t\r\n], [1-9] or [a-zA-Z]"#,
            ),
            (
                "Node == 'n1'",
                r#"1:9 (8): no match found, expected: "-", "0", "\"", "`", [ \t\r\n], [1-9] or [a-zA-Z]"#,
            ),
            (
                "Node == n-1",
                r#"1:10 (9): no match found, expected: ".", "[", [ \t\r\n], [a-zA-Z0-9_] or EOF"#,
            ),
            ("Node == 01", r#"1:10 (9): rule "number": Invalid number literal"#),
            ("Node == 1.", r#"1:10 (9): rule "number": Invalid number literal"#),
            ("Node == -", r#"1:10 (9): no match found, expected: "0" or [1-9]"#),
            (
                "not(a == b)",
                r#"1:4 (3): no match found, expected: "!=", ".", "==", "[", [ \t\r\n] or [a-zA-Z0-9_]"#,
            ),
            ("a == b AND c == d", r#"1:8 (7): no match found, expected: "and", "or", [ \t\r\n] or EOF"#),
            ("a == b and", r"1:11 (10): no match found, expected: [ \t\r\n]"),
            ("a is nothing", r"1:9 (8): no match found, expected: [ \t\r\n]"),
            ("a not == b", r#"1:7 (6): no match found, expected: "contains", "in", "matches" or [ \t\r\n]"#),
            ("1 == a", r#"1:3 (2): no match found, expected: "in", "not" or [ \t\r\n]"#),
            ("80)in a", r#"1:3 (2): no match found, expected: ".", [ \t\r\n], [0-9] or EOF"#),
            (
                "()",
                r#"1:2 (1): no match found, expected: "(", "-", "0", "\"", "`", "not", [ \t\r\n], [1-9] or [a-zA-Z]"#,
            ),
            ("(a == b", r#"1:8 (7): rule "grouping": Unmatched parentheses"#),
            ("a == b)", r#"1:7 (6): no match found, expected: ".", "[", [ \t\r\n], [a-zA-Z0-9_] or EOF"#),
            ("a == \"x", r#"1:8 (7): rule "string": Unterminated string literal"#),
            ("a == \"\\d\"", r#"1:6 (5): rule "string": invalid syntax"#),
            ("a[", r#"1:3 (2): rule "index": Invalid index"#),
            ("a[\"x\" == 1", r#"1:7 (6): rule "index": Unclosed index expression"#),
            ("x in 5", r#"1:6 (5): rule "match": Invalid selector"#),
            (
                "a ==\n\n=",
                r#"3:1 (6): no match found, expected: "-", "0", "\"", "`", [ \t\r\n], [1-9] or [a-zA-Z]"#,
            ),
        ];
        for (text, want) in table {
            assert_eq!(shown(text), want, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        for (name, text) in [
            ("parentheses", format!("{}a == b{}", "(".repeat(100_000), ")".repeat(100_000))),
            ("open parentheses", "(".repeat(100_000)),
            ("not", format!("{}a == b", "not ".repeat(100_000))),
        ] {
            assert!(parse(&text).is_err(), "{name}");
        }
        let chain = vec!["a == b"; 10_000].join(" or ");
        assert!(matches!(parse(&chain), Ok(Expr::Or(parts)) if parts.len() == 10_000));
    }

    fn expression() -> impl Strategy<Value = Expr> {
        let operator = prop::sample::select(vec![
            Operator::Equal,
            Operator::NotEqual,
            Operator::In,
            Operator::NotIn,
            Operator::IsEmpty,
            Operator::IsNotEmpty,
            Operator::Matches,
            Operator::NotMatches,
        ]);
        let test = ("[a-zA-Z][a-zA-Z0-9_]{0,5}", prop::collection::vec(".*", 0..3), operator, ".*").prop_map(
            |(first, rest, operator, value)| {
                let mut selector = vec![first];
                selector.extend(rest);
                let empty = matches!(operator, Operator::IsEmpty | Operator::IsNotEmpty);
                Expr::Match(Match { selector, operator, value: if empty { String::new() } else { value } })
            },
        );
        test.prop_recursive(4, 24, 4, |inner| {
            let many = || prop::collection::vec(inner.clone(), 2..4);
            prop_oneof![
                many().prop_map(Expr::And),
                many().prop_map(Expr::Or),
                inner.clone().prop_map(|inner| match inner {
                    Expr::Not(twice) => *twice,
                    other => Expr::Not(Box::new(other)),
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(expr in expression()) {
            prop_assert_eq!(parse(&expr.to_string()), Ok(expr));
        }

        #[test]
        fn never_panics(text: String) {
            let _ = parse(&text);
        }

        #[test]
        fn never_panics_on_near_misses(text in r#"([()\[\]"`.=!\\ \n-]|[a-c1é]|and|or|not|in|is|empty|matches|contains| ){0,20}"#) {
            let _ = parse(&text);
        }
    }
}
