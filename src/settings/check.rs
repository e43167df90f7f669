//! A parsed source against the schema: every wrong key, type and duration in it, and, for what is right,
//! the values under their proper names, ready to be layered.

use config::{Map as Table, Value as Layered, ValueKind};

use super::error::{Fault, Origin, Problem, Warning};
use super::schema::{Fate, Group, Key, Kind, ROOT};
use super::tree::{Entry, Node, Value};
use crate::cidr::Cidr;
use crate::duration;

/// What was found in one source.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What is wrong, in the order of the text.
    pub(crate) problems: Vec<Problem>,
    /// What works but should be looked at.
    pub(crate) warnings: Vec<Warning>,
    /// Values that belong to another place than they stand at.
    moved: Vec<(&'static str, Layered)>,
}

/// Checks a source and gives its values; those that are wrong are left out.
pub(crate) fn check(source: Node, report: &mut Report) -> Table<String, Layered> {
    let mut values = match source.value {
        Value::Map(entries) => report.object(entries, &ROOT, ""),
        _ => Table::new(),
    };
    for (path, value) in std::mem::take(&mut report.moved) {
        put_if_absent(&mut values, path, value);
    }
    // One `service` is a list of one `services`, so that every file may have its own.
    for (one, many) in [("service", "services"), ("check", "checks")] {
        let Some(single) = values.remove(one) else { continue };
        let list =
            values.entry(many.to_owned()).or_insert_with(|| Layered::new(None, ValueKind::Array(Vec::new())));
        if let ValueKind::Array(items) = &mut list.kind {
            items.push(single);
        }
    }
    values
}

impl Report {
    fn object(&mut self, entries: Vec<Entry>, group: &Group, path: &str) -> Table<String, Layered> {
        let mut values = Table::new();
        let mut aliases = Vec::new();
        for Entry { key: written, at, value } in entries {
            let here = join(path, &written);
            let Some(key) = find(group, &written) else {
                let nearest = nearest(group, path, &written);
                self.problems.push(Problem::at(at, Fault::UnknownKey { key: here, nearest }));
                continue;
            };
            match key.fate {
                Fate::Refused(why) => {
                    self.problems.push(Problem::at(at, Fault::Invalid(why.to_owned())));
                    continue;
                }
                Fate::Enterprise => {
                    let text =
                        format!("{here:?} is a Consul Enterprise configuration and will have no effect");
                    self.warnings.push(Warning { origin: Some(at), text });
                }
                Fate::NoEffect(why) => {
                    let text = format!("config key {here:?} {why}");
                    self.warnings.push(Warning { origin: Some(at), text });
                }
                Fate::Read | Fate::Moved(_) | Fate::Alias(_) => {}
            }
            let Some(value) = self.value(value, key.kind, &here) else { continue };
            match key.fate {
                Fate::Read => {
                    values.insert(key.name.to_owned(), value);
                }
                Fate::Moved(to) => self.moved.push((to, value)),
                Fate::Alias(of) => aliases.push((of, value)),
                Fate::Enterprise | Fate::NoEffect(_) | Fate::Refused(_) => {}
            }
        }
        for (of, value) in aliases {
            values.entry(of.to_owned()).or_insert(value);
        }
        values
    }

    /// The value in the form its type has in the layers; `None` when it is absent or wrong.
    fn value(&mut self, node: Node, kind: Kind, path: &str) -> Option<Layered> {
        let node = unwrap_single(node, kind);
        let origin = node.at.to_string();
        let layered = |kind: ValueKind| Some(Layered::new(Some(&origin), kind));
        match (kind, node.value) {
            (_, Value::Null) => None,
            (Kind::Bool, Value::Bool(on)) => layered(ValueKind::Boolean(on)),
            (Kind::Text | Kind::TextOrTexts, Value::Text(text)) => layered(ValueKind::String(text)),
            (Kind::Float, Value::Float(number)) => layered(ValueKind::Float(number)),
            #[expect(clippy::cast_precision_loss, reason = "the key holds a float")]
            (Kind::Float, Value::Int(number)) => layered(ValueKind::Float(number as f64)),
            (Kind::Int | Kind::Uint | Kind::Port, Value::Int(number)) => {
                self.whole(number, kind, &node.at, path).and_then(|number| layered(ValueKind::I64(number)))
            }
            #[expect(clippy::cast_possible_truncation, reason = "cutting the fraction off is meant")]
            (Kind::Int | Kind::Uint | Kind::Port, Value::Float(number)) if number.abs() < 9.2e18 => self
                .whole(number.trunc() as i64, kind, &node.at, path)
                .and_then(|number| layered(ValueKind::I64(number))),
            (Kind::Duration, Value::Text(text)) => match duration::parse_unsigned(&text) {
                Ok(_) => layered(ValueKind::String(text)),
                Err(error) => {
                    let text = format!(
                        "{path}: invalid duration: {text:?}: {error} (expected something like \"30s\" or \"1m30s\")"
                    );
                    self.invalid(node.at, text)
                }
            },
            (Kind::Cidr, Value::Text(text)) if text.parse::<Cidr>().is_ok() => {
                layered(ValueKind::String(text))
            }
            (Kind::Cidr, Value::Text(text)) => {
                let text = format!("{path}: invalid cidr: {text} (expected something like \"10.0.0.0/8\")");
                self.invalid(node.at, text)
            }
            (Kind::List(of), Value::List(items) | Value::Blocks(items)) => {
                let mut values = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    values.extend(self.value(item, *of, &format!("{path}[{index}]")));
                }
                layered(ValueKind::Array(values))
            }
            (Kind::TextOrTexts, Value::List(items)) => {
                self.value(Node { value: Value::List(items), at: node.at }, Kind::List(&Kind::Text), path)
            }
            (Kind::Map(of), Value::Map(entries)) => {
                let mut values = Table::new();
                for Entry { key, value, .. } in entries {
                    let here = format!("{path}[{key}]");
                    if let Some(value) = self.value(value, *of, &here) {
                        values.insert(key, value);
                    }
                }
                layered(ValueKind::Table(values))
            }
            (Kind::Object(group), Value::Map(entries)) => {
                let values = self.object(entries, group, path);
                layered(ValueKind::Table(values))
            }
            (Kind::Free, value @ Value::Map(_)) => Some(free(Node { value, at: node.at })),
            (kind, value) => {
                let found = value.kind().to_owned();
                self.wrong(node.at, path, kind, found)
            }
        }
    }

    fn whole(&mut self, number: i64, kind: Kind, at: &Origin, path: &str) -> Option<i64> {
        match kind {
            Kind::Uint if number < 0 => self.wrong(at.clone(), path, kind, number.to_string()),
            Kind::Port if number > i64::from(u16::MAX) => self.invalid(
                at.clone(),
                format!("{path}: invalid port: {number} (expected at most 65535; 0 or -1 for off)"),
            ),
            _ => Some(number),
        }
    }

    fn wrong<T>(&mut self, at: Origin, path: &str, kind: Kind, found: String) -> Option<T> {
        let fault = Fault::WrongType { key: path.to_owned(), expected: expectation(kind), found };
        self.problems.push(Problem::at(at, fault));
        None
    }

    fn invalid<T>(&mut self, at: Origin, text: String) -> Option<T> {
        self.problems.push(Problem::at(at, Fault::Invalid(text)));
        None
    }
}

/// What a type takes, in words.
fn expectation(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::Int => "a whole number",
        Kind::Uint => "a whole number of at least 0",
        Kind::Port => "a port number",
        Kind::Float => "a number",
        Kind::Text => "a string",
        Kind::Duration => "a string with a duration such as \"30s\"",
        Kind::Cidr => "a string with a network such as \"10.0.0.0/8\"",
        Kind::List(Kind::Object(_) | Kind::Free) => "a list of objects",
        Kind::List(_) => "a list of strings",
        Kind::TextOrTexts => "a string or a list of strings",
        Kind::Map(_) | Kind::Object(_) | Kind::Free => "an object",
    }
}

/// A list of one counts as its element where no list is due, as in Consul.
fn unwrap_single(node: Node, kind: Kind) -> Node {
    if matches!(kind, Kind::List(_) | Kind::TextOrTexts) {
        return node;
    }
    match node.value {
        Value::List(mut items) | Value::Blocks(mut items) if items.len() == 1 => match items.pop() {
            Some(only) => only,
            None => Node { value: Value::Null, at: node.at },
        },
        value => Node { value, at: node.at },
    }
}

/// A value of no fixed shape, as it is.
fn free(node: Node) -> Layered {
    let origin = node.at.to_string();
    let kind = match node.value {
        Value::Null => ValueKind::Nil,
        Value::Bool(on) => ValueKind::Boolean(on),
        Value::Int(number) => ValueKind::I64(number),
        Value::Float(number) => ValueKind::Float(number),
        Value::Text(text) => ValueKind::String(text),
        Value::Blocks(mut items) if items.len() == 1 => match items.pop() {
            Some(only) => return free(only),
            None => ValueKind::Nil,
        },
        Value::List(items) | Value::Blocks(items) => ValueKind::Array(items.into_iter().map(free).collect()),
        Value::Map(entries) => {
            ValueKind::Table(entries.into_iter().map(|entry| (entry.key, free(entry.value))).collect())
        }
    };
    Layered::new(Some(&origin), kind)
}

/// Key names know no letter case.
fn find(group: &Group, written: &str) -> Option<Key> {
    group.keys.iter().find(|key| key.name.eq_ignore_ascii_case(written)).copied()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Full path of the key that is most like `written`: one of the same object, unless only another object
/// has something really alike.
fn nearest(group: &Group, path: &str, written: &str) -> String {
    /// Below this, two names have little in common.
    const ALIKE: f64 = 0.7;
    let mut best = (-1.0, String::new());
    for key in valid_keys(group) {
        let likeness = likeness(written, key.name);
        if likeness > best.0 {
            best = (likeness, join(path, key.name));
        }
    }
    if best.0 < ALIKE {
        let mut elsewhere = Vec::new();
        collect_paths(&ROOT, "", &mut elsewhere);
        for (name, full) in elsewhere {
            let likeness = likeness(written, name).max(likeness_of_words(written, &full));
            if likeness >= ALIKE && likeness > best.0 {
                best = (likeness, full);
            }
        }
    }
    best.1
}

/// From 0 to 1, blind to what spellings differ in: letter case and separators.
fn likeness(left: &str, right: &str) -> f64 {
    let plain = |name: &str| -> String {
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    strsim::normalized_damerau_levenshtein(&plain(left), &plain(right))
}

/// The same for the words of two names in any order: `http_port` is like `ports.http`.
fn likeness_of_words(left: &str, right: &str) -> f64 {
    let words = |name: &str| -> Vec<String> {
        name.split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let (left, right) = (words(left), words(right));
    let one_way = |from: &[String], to: &[String]| {
        let best = |word: &String| {
            to.iter().map(|other| strsim::normalized_damerau_levenshtein(word, other)).fold(0.0, f64::max)
        };
        from.iter().map(best).fold(1.0, f64::min)
    };
    one_way(&left, &right).min(one_way(&right, &left))
}

fn valid_keys(group: &Group) -> impl Iterator<Item = &Key> {
    group.keys.iter().filter(|key| matches!(key.fate, Fate::Read | Fate::Moved(_)))
}

/// Names and full paths of the keys of the plain objects below `group`.
fn collect_paths(group: &'static Group, path: &str, paths: &mut Vec<(&'static str, String)>) {
    for key in valid_keys(group) {
        let full = join(path, key.name);
        if let Kind::Object(inner) = key.kind
            && !matches!(key.name, "service" | "check")
        {
            collect_paths(inner, &full, paths);
        }
        paths.push((key.name, full));
    }
}

/// Puts a value at a dotted path unless something is there.
fn put_if_absent(table: &mut Table<String, Layered>, path: &str, value: Layered) {
    match path.split_once('.') {
        None => {
            table.entry(path.to_owned()).or_insert(value);
        }
        Some((first, rest)) => {
            let inner = table
                .entry(first.to_owned())
                .or_insert_with(|| Layered::new(None, ValueKind::Table(Table::new())));
            if let ValueKind::Table(inner) = &mut inner.kind {
                put_if_absent(inner, rest, value);
            }
        }
    }
}
