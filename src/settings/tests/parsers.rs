//! Both parsers: what they take, where they say an error is, and that junk never makes them panic.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::tree::{Format, Node, Value, parse};

fn parse_text(text: &str, format: Format) -> Result<Node, String> {
    parse(&Arc::from("f"), text, format).map_err(|problem| problem.to_string())
}

/// A tree as compact text, without places; HCL blocks in angle brackets.
fn show(node: &Node) -> String {
    let list = |items: &[Node]| items.iter().map(show).collect::<Vec<_>>().join(",");
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(on) => on.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Text(text) => format!("{text:?}"),
        Value::List(items) => format!("[{}]", list(items)),
        Value::Blocks(items) => format!("<{}>", list(items)),
        Value::Map(entries) => {
            let pairs: Vec<String> =
                entries.iter().map(|entry| format!("{}:{}", entry.key, show(&entry.value))).collect();
            format!("{{{}}}", pairs.join(","))
        }
    }
}

#[test]
fn good_json() {
    let cases = [
        ("", "{}"),
        ("{}", "{}"),
        (" { } \n", "{}"),
        ("\u{feff}{}", "{}"),
        (r#"{"a":1,"b":-2.5,"c":true,"d":false,"e":null}"#, "{a:1,b:-2.5,c:true,d:false,e:null}"),
        (r#"{"a":[1,[2],{"b":3}],"c":[]}"#, "{a:[1,[2],{b:3}],c:[]}"),
        (r#"{"a":1e3,"b":12345678901234567890}"#, "{a:1000.0,b:1.2345678901234567e19}"),
        (r#"{"a":"\"\\\/\b\f\n\r\té😀\ud800"}"#, "{a:\"\\\"\\\\/\\u{8}\\u{c}\\n\\r\\té😀�\"}"),
        (r#"{"a":1,"a":{"b":2}}"#, "{a:{b:2}}"),
    ];
    for (text, want) in cases {
        assert_eq!(parse_text(text, Format::Json).map(|node| show(&node)).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn bad_json() {
    let cases = [
        (" ", "f:1:2: expected '{' (a configuration is one object), found the end of the text"),
        ("[]", "f:1:1: expected '{' (a configuration is one object), found '['"),
        ("{\n  \"a\": 1,\n}", "f:3:1: expected a key in double quotes, found '}'"),
        ("{\"a\":1} x", "f:1:9: expected the end of the text after the closing '}', found 'x'"),
        ("{\"a\":1", "f:1:7: expected ',' or '}', found the end of the text"),
        ("{\"a\" 1}", "f:1:6: expected ':' after the key, found '1'"),
        ("{\"a\": tru}", "f:1:7: expected a value, found 't'"),
        ("{\"a\": 01}", "f:1:7: \"01\" is no number"),
        ("{\"a\": 1.}", "f:1:7: \"1.\" is no number"),
        ("{\"a\": -}", "f:1:7: \"-\" is no number"),
        ("{\"a\": 1e999}", "f:1:7: the number \"1e999\" is out of range"),
        ("{\"é\": \"x\ny\"}", "f:1:9: '\\n' must be escaped inside a string"),
        ("{\"a\": \"x", "f:1:7: this string has no end"),
        ("{\"a\": \"\\x\"}", "f:1:9: expected one of \" \\ / b f n r t u after the backslash"),
        ("{\"a\": \"\\u12g4\"}", "f:1:12: expected a hexadecimal digit, found 'g'"),
        ("{\"a\": [1 2]}", "f:1:10: expected ',' or ']', found '2'"),
        ("{ // c\n}", "f:1:3: expected a key in double quotes, found '/'"),
    ];
    for (text, want) in cases {
        assert_eq!(parse_text(text, Format::Json).unwrap_err(), want, "{text}");
    }
}

#[test]
fn good_hcl() {
    let cases = [
        ("", "{}"),
        ("# c\n// d\n/* e\n */ a = true", "{a:true}"),
        ("a = 1 b = 2, c = 3", "{a:1,b:2,c:3}"),
        ("\"a\" = \"b\"", "{a:\"b\"}"),
        ("a { b = 1 c = 2 }", "{a:<{b:1,c:2}>}"),
        ("a = { b = 1, c = 2, }", "{a:<{b:1,c:2}>}"),
        ("a { b = 1 } a { b = 2 }", "{a:<{b:1},{b:2}>}"),
        ("a \"x\" { b = 1 }", "{a:<{x:<{b:1}>}>}"),
        ("a = [1, \"b\", true,]", "{a:[1,\"b\",true]}"),
        ("a = [{ b = 1 }, { b = 2 }]", "{a:[{b:1},{b:2}]}"),
        ("a = [\"x\"] a = [\"y\"]", "{a:[\"x\",\"y\"]}"),
        ("a = 1 a = 2", "{a:2}"),
        ("a = 0x1F b = 010 c = -3 d = 1.5 e = 1e2 f = 1e+2", "{a:31,b:8,c:-3,d:1.5,e:100.0,f:100.0}"),
        ("a = \"x\\n\\t\\\"\\\\\\u00e9\\101\\x41\"", "{a:\"x\\n\\t\\\"\\\\éAA\"}"),
        ("a = \"${ \"b\" } {{ c }}\"", "{a:\"${ \\\"b\\\" } {{ c }}\"}"),
        ("a = <<EOT\n one\n  two\nEOT\nb = 1", "{a:\" one\\n  two\\n\",b:1}"),
        ("a = <<-EOT\n    one\n      two\n    EOT\n", "{a:\"one\\n  two\\n\"}"),
        ("a = <<-EOT\n  one\n    EOT\n", "{a:\"  one\\n\"}"),
        ("a-b.c = 1", "{a-b.c:1}"),
        (" {\"a\": {\"b\": [{\"c\": 1}, {\"c\": 2}]}}", "{a:<{b:[{c:1},{c:2}]}>}"),
    ];
    for (text, want) in cases {
        assert_eq!(parse_text(text, Format::Hcl).map(|node| show(&node)).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn bad_hcl() {
    let cases = [
        ("a = INFO", "f:1:5: \"INFO\" is no value; texts stand in double quotes"),
        ("a = 'x'", "f:1:5: expected a value, found '\\''"),
        ("\na }", "f:2:3: expected '=' or '{' after the key \"a\", found '}'"),
        ("a {\n b = 1", "f:1:3: this '{' is never closed"),
        (" = 3", "f:1:2: expected a key, found '='"),
        ("a = \"x", "f:1:5: this string has no end"),
        ("a = \"x\ny\"", "f:1:5: this string has no end on its line"),
        ("a = 1 /* x", "f:1:7: this comment has no end"),
        ("a = 1k", "f:1:7: expected '=' or '{' after the key \"k\", found the end of the text"),
        ("a = [1", "f:1:5: this '[' is never closed"),
        ("a = [1 2]", "f:1:8: expected ',' or ']', found '2'"),
        ("a = \"\\q\"", "f:1:6: unknown escape; write \\\\ for a backslash"),
        ("a = <<EOT\nx", "f:1:5: the line \"EOT\" that ends this text is missing"),
        ("a = <<\n", "f:1:7: expected a word and the end of the line after '<<', found '\\n'"),
        ("a \"b\" = 1", "f:1:7: expected '=' or '{' after the key \"a\", found '='"),
        ("a = 1-2", "f:1:5: \"1-2\" is no number"),
        ("a = }", "f:1:5: expected a value, found '}'"),
        ("a =", "f:1:4: expected a value, found the end of the text"),
        ("}", "f:1:1: expected a key, found '}'"),
    ];
    for (text, want) in cases {
        assert_eq!(parse_text(text, Format::Hcl).unwrap_err(), want, "{text}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    for (open, format) in [("{\"a\":", Format::Json), ("a {", Format::Hcl)] {
        let deep = open.repeat(100_000);
        assert!(parse_text(&deep, format).unwrap_err().contains("nested deeper"), "{open}");
    }
    let lists = format!("a = {}", "[".repeat(100_000));
    assert!(parse_text(&lists, Format::Hcl).unwrap_err().contains("nested deeper"));
    let labels = "a ".repeat(100_000);
    assert!(parse_text(&labels, Format::Hcl).is_err());
}

/// JSON documents, so that the two formats and a well-known parser can be compared.
fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        "\\PC{0,8}".prop_map(serde_json::Value::from),
    ];
    let value = leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            proptest::collection::btree_map("[a-z_]{1,6}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    proptest::collection::btree_map("[a-z_]{1,6}", value, 0..4)
        .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()))
}

fn to_json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(on) => (*on).into(),
        Value::Int(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) | Value::Blocks(items) => items.iter().map(to_json).collect(),
        Value::Map(entries) => serde_json::Value::Object(
            entries.iter().map(|entry| (entry.key.clone(), to_json(&entry.value))).collect(),
        ),
    }
}

proptest! {
    #[test]
    fn json_reads_what_json_writes(document in document(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
        let node = parse_text(&text.unwrap(), Format::Json).unwrap();
        prop_assert_eq!(to_json(&node), document);
    }

    #[test]
    fn text_junk_never_panics(text in "\\PC{0,64}") {
        let _ = parse_text(&text, Format::Json);
        let _ = parse_text(&text, Format::Hcl);
    }

    #[test]
    fn likely_junk_never_panics(text in "[a-c{}\\[\\]=:,\"\\\\#/*<>\\-.0-9xeEuU$ \n]{0,64}") {
        let _ = parse_text(&text, Format::Json);
        let _ = parse_text(&format!("{{{text}"), Format::Json);
        let _ = parse_text(&text, Format::Hcl);
    }

    #[test]
    fn broken_documents_never_panic(document in document(), cut in any::<prop::sample::Index>()) {
        let text = serde_json::to_string(&document).unwrap();
        let at = cut.index(text.len());
        let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        prop_assert!(parse_text(&text[..at], Format::Json).is_err() || at == 0);
        let _ = parse_text(&text[..at], Format::Hcl);
    }
}
