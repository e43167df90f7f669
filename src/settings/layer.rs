//! Layers of settings into one, by Consul's rules: scalars, the last one wins; lists are joined; objects
//! and maps are merged key by key.
//!
//! The `config` crate gives the values, the idea of a source, and the way from values to types. Its own
//! merging replaces lists, so each [`Layer`] merges itself.

use config::{ConfigError, Map as Table, Source, Value as Layered, ValueKind};

/// One source's checked values.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    values: Table<String, Layered>,
}

impl Layer {
    pub(crate) fn new(values: Table<String, Layered>) -> Self {
        Self { values }
    }

    /// Takes the lists at the top level and in its objects out into a layer of their own: list-valued flags
    /// come before the files, the other flags after them.
    pub(crate) fn split_lists(self) -> (Self, Self) {
        let (lists, rest) = split_lists(self.values);
        (Self::new(lists), Self::new(rest))
    }
}

fn split_lists(values: Table<String, Layered>) -> (Table<String, Layered>, Table<String, Layered>) {
    let mut lists = Table::new();
    let mut rest = Table::new();
    for (key, value) in values {
        let origin = value.origin().map(ToOwned::to_owned);
        match value.kind {
            ValueKind::Array(_) => {
                lists.insert(key, value);
            }
            ValueKind::Table(inner) => {
                let (inner_lists, inner_rest) = split_lists(inner);
                for (part, target) in [(inner_lists, &mut lists), (inner_rest, &mut rest)] {
                    if !part.is_empty() {
                        target.insert(key.clone(), Layered::new(origin.as_ref(), ValueKind::Table(part)));
                    }
                }
            }
            kind => {
                rest.insert(key, Layered::new(origin.as_ref(), kind));
            }
        }
    }
    (lists, rest)
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Table<String, Layered>, ConfigError> {
        Ok(self.values.clone())
    }

    fn collect_to(&self, cache: &mut Layered) -> Result<(), ConfigError> {
        overlay(cache, Layered::new(None, ValueKind::Table(self.values.clone())));
        Ok(())
    }
}

/// Merges `upper` into `lower`.
fn overlay(lower: &mut Layered, upper: Layered) {
    let origin = upper.origin().map(ToOwned::to_owned);
    match (&mut lower.kind, upper.kind) {
        (ValueKind::Table(lower), ValueKind::Table(upper)) => {
            for (key, value) in upper {
                match lower.get_mut(&key) {
                    Some(existing) => overlay(existing, value),
                    None => {
                        lower.insert(key, value);
                    }
                }
            }
        }
        (ValueKind::Array(lower), ValueKind::Array(upper)) => lower.extend(upper),
        (_, kind) => *lower = Layered::new(origin.as_ref(), kind),
    }
}

/// All layers as one, lowest first.
pub(crate) struct Merged {
    values: Layered,
}

impl Merged {
    /// Lays the layers over each other. `config`'s own builder would do, but for the places of objects,
    /// which it drops.
    pub(crate) fn build(layers: &[Layer]) -> Result<Self, ConfigError> {
        let mut values = Layered::new(None, ValueKind::Table(Table::new()));
        for layer in layers {
            layer.collect_to(&mut values)?;
        }
        Ok(Self { values })
    }

    /// The place the value at a dotted path stems from, with list indexes as parts (`services.0.name`).
    /// A value that is not there has the place of the nearest object around it.
    pub(crate) fn origin(&self, path: &str) -> Option<&str> {
        let mut value = &self.values;
        let mut origin = None;
        for part in path.split('.') {
            let Some(inner) = step(value, part) else { break };
            value = inner;
            origin = value.origin().or(origin);
        }
        origin
    }

    /// Whether there is a value at a dotted path.
    pub(crate) fn is_set(&self, path: &str) -> bool {
        path.split('.').try_fold(&self.values, step).is_some()
    }

    /// The layers as a typed value.
    pub(crate) fn typed<'de, T: serde::Deserialize<'de>>(&self) -> Result<T, ConfigError> {
        self.values.clone().try_deserialize()
    }
}

/// The value under a key or at an index.
fn step<'a>(value: &'a Layered, part: &str) -> Option<&'a Layered> {
    match &value.kind {
        ValueKind::Table(table) => table.get(part),
        ValueKind::Array(items) => part.parse().ok().and_then(|index: usize| items.get(index)),
        _ => None,
    }
}
