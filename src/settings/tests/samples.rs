//! The sample directory of the repository, and a document that sets every key there is.

use std::path::Path;
use std::sync::Arc;

use config::{Value as Layered, ValueKind};

use super::super::check::{Report, check};
use super::super::file::File;
use super::super::layer::{Layer, Merged};
use super::super::schema::{Fate, Group, Kind, ROOT};
use super::super::tree::{Format, parse};
use super::super::validate;

#[test]
fn the_sample_directory_loads() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let warnings = validate(&[directory], None).unwrap_or_else(|error| panic!("{error}"));
    let texts: Vec<_> = warnings.iter().map(|warning| warning.text.as_str()).collect();
    // The lone server of the sample is what these two are about.
    let expected = |text: &str| text.contains("same as Bootstrap mode") || text.contains("bootstrap = true");
    assert!(texts.iter().all(|text| expected(text)), "{texts:?}");
}

/// A value that every key of the kind takes.
fn sample(kind: Kind, depth: usize) -> serde_json::Value {
    match kind {
        Kind::Bool => true.into(),
        Kind::Int | Kind::Uint | Kind::Port => 3.into(),
        Kind::Float => 1.5.into(),
        Kind::Text | Kind::TextOrTexts => "text".into(),
        Kind::Duration => "3s".into(),
        Kind::Cidr => "10.0.0.0/8".into(),
        Kind::List(of) => vec![sample(*of, depth)].into(),
        Kind::Map(of) => serde_json::json!({"any": sample(*of, depth)}),
        Kind::Free => serde_json::json!({"any": [{"thing": 1}]}),
        Kind::Object(group) => object(group, depth + 1),
    }
}

fn object(group: &Group, depth: usize) -> serde_json::Value {
    let keys = group.keys.iter().filter(|key| !matches!(key.fate, Fate::Refused(_)));
    // Sidecars are services: end somewhere.
    let keys =
        keys.filter(|key| depth < 6 || !matches!(key.kind, Kind::Object(_) | Kind::List(Kind::Object(_))));
    keys.map(|key| (key.name.to_owned(), sample(key.kind, depth))).collect::<serde_json::Map<_, _>>().into()
}

fn layer(text: &str) -> Layer {
    let tree = parse(&Arc::from("all.json"), text, Format::Json).unwrap();
    let mut report = Report::default();
    let values = check(tree, &mut report);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    Layer::new(values)
}

/// What the schema lets through, the types take: no key is forgotten on either side of that wall.
#[test]
fn every_key_of_the_schema_has_a_field() {
    let text = object(&ROOT, 0).to_string();
    let merged = Merged::build(&[layer(&text)]).unwrap();
    let file: File = merged.typed().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(file.ports.http, Some(3));
    assert_eq!(file.services.len(), 2);
    assert_eq!(merged.origin("ports.http").map(|origin| origin.starts_with("all.json:1:")), Some(true));
}

/// Names every field of the typed file, by deserializing from keys alone.
#[test]
fn every_field_has_a_key_in_the_schema() {
    // An unknown field makes serde list the known ones.
    let unknown = Layered::new(
        None,
        ValueKind::Table([("no such key".to_owned(), Layered::new(None, true))].into_iter().collect()),
    );
    let error = unknown.try_deserialize::<File>().unwrap_err().to_string();
    let names: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
    assert!(names.len() > 100, "{error}");
    for name in names {
        assert!(ROOT.keys.iter().any(|key| key.name == name), "{name}");
    }
}
