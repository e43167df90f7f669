//! Traffic of stock agents: every vector decodes to what the index says and encodes to the same bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Recorded, describe, hex, unhex};
use crate::gossip::wire::lzw::{Compressor, Decoder};
use crate::gossip::wire::serf::{KeyResponse, MemberRecord, SerfMessage};
use crate::gossip::wire::{
    Crypto, Keyring, Message, PacketReader, PacketWriter, StreamMessage, StreamReader, encode_stream,
};

/// A vector of the index.
pub(super) struct Vector {
    pub(super) file: String,
    pub(super) transport: String,
    pub(super) bytes: Vec<u8>,
    pub(super) decoded: Value,
    pub(super) crypto: Crypto,
    /// Consul 1.8.7's LZW, of an older Go, left out the first clear code. Ours writes it, as Go does since,
    /// so what Consul compressed becomes one byte longer.
    pub(super) old_lzw: bool,
}

pub(super) fn directory() -> PathBuf {
    // Tests run in the package's root, which this path is relative to, unless it is absolute.
    PathBuf::from(file!()).parent().unwrap().join("../testdata")
}

/// All vectors.
pub(super) fn all() -> Vec<Vector> {
    let directory = directory();
    let index: Value = serde_json::from_slice(&std::fs::read(directory.join("index.json")).unwrap()).unwrap();
    let vectors = index["vectors"].as_array().unwrap();
    assert!(vectors.len() > 80);
    let load = |vector: &Value| {
        let file = vector["file"].as_str().unwrap().to_owned();
        let bytes = std::fs::read(directory.join(&file)).unwrap();
        assert_eq!(bytes.len() as u64, vector["len"].as_u64().unwrap(), "{file}");
        let keys = vector.get("key_b64").map(|key| STANDARD.decode(key.as_str().unwrap()).unwrap());
        let mut crypto = Crypto::new(Keyring::of(keys).unwrap(), true, true);
        if let Some(label) = vector["decoded"].get("label") {
            crypto = crypto.with_label(label.as_str().unwrap().as_bytes());
        }
        let transport = vector["transport"].as_str().unwrap().to_owned();
        let old_lzw = vector["source"].as_str().unwrap().starts_with("captured: Consul 1.8.7");
        Vector { old_lzw, file, transport, bytes, decoded: vector["decoded"].clone(), crypto }
    };
    vectors.iter().map(load).collect()
}

/// The messages of a description, without their wrappings.
fn leaves(value: &Value, out: &mut Vec<Value>) {
    match value["name"].as_str().unwrap() {
        "compound" => value["parts"].as_array().unwrap().iter().for_each(|part| leaves(part, out)),
        "hasCrc" | "compress" => leaves(&value["inner"], out),
        _ => out.push(value.clone()),
    }
}

/// Whether a wrapping of this name is in a description.
fn wraps(value: &Value, name: &str) -> bool {
    value["name"] == name || value.get("inner").is_some_and(|inner| wraps(inner, name))
}

/// Takes out what is described in two ways.
fn normal(mut value: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(map) => {
                if map.contains_key("Filters") {
                    map.insert("Filters".into(), "compared below".into());
                }
                map.values_mut().for_each(walk);
            }
            Value::Array(list) => list.iter_mut().for_each(walk),
            // The reader of the index is off by a last bit now and then; the bytes are compared anyway.
            Value::Number(number) if number.is_f64() => {
                *value = format!("{:.12e}", number.as_f64().unwrap()).into();
            }
            _ => {}
        }
    }
    walk(&mut value);
    value
}

fn check_serf_bytes(bytes: &[u8], file: &str) {
    let message = SerfMessage::decode(bytes).unwrap();
    let mut again = Vec::new();
    message.encode(&mut again);
    assert_eq!(hex(&again), hex(bytes), "{file}");
    if let SerfMessage::QueryResponse(response) = message
        && let Some(payload) = response.payload
    {
        let mut again = Vec::new();
        if let Ok(keys) = KeyResponse::decode(payload) {
            keys.encode(&mut again);
        } else if let Ok(member) = MemberRecord::decode(payload) {
            member.encode(&mut again);
        } else {
            return;
        }
        assert_eq!(hex(&again), hex(payload), "{file}");
    }
}

#[test]
fn datagrams_decode_as_described_and_encode_to_the_same_bytes() {
    let (mut reader, mut writer) = (PacketReader::default(), PacketWriter::default());
    let mut seen = BTreeMap::<String, usize>::new();
    for vector in all().iter().filter(|vector| vector.transport == "udp") {
        let file = &vector.file;
        let mut expected = Vec::new();
        leaves(&normal(vector.decoded["msg"].clone()), &mut expected);

        let mut found = Vec::new();
        let mut encoded = Vec::new();
        let report = reader
            .read(&mut vector.bytes.clone(), &vector.crypto, |message| {
                found.push(normal(describe::message(&message)));
                let mut bytes = Vec::new();
                message.encode(&mut bytes);
                encoded.push(bytes);
                if let Message::User(bytes) = message {
                    check_serf_bytes(bytes, file);
                }
            })
            .unwrap();
        assert_eq!((report.messages, report.malformed), (expected.len(), 0), "{file}");
        assert_eq!(found, expected, "{file}");
        for message in &expected {
            *seen.entry(message["name"].as_str().unwrap().to_owned()).or_default() += 1;
        }

        if vector.decoded["enc_version"] == 0 {
            continue; // Read only.
        }
        let mut out = Vec::new();
        let mut builder = writer.begin(&mut out, 1_400, &vector.crypto);
        for message in &encoded {
            assert!(builder.push(message));
        }
        let message = &vector.decoded["msg"];
        let nonce = vector.decoded["nonce_hex"].as_str().map(unhex).unwrap_or_default();
        let compress = wraps(message, "compress");
        builder.finish(wraps(message, "hasCrc"), compress, &mut Recorded(nonce));
        if compress && vector.old_lzw {
            assert_eq!(out.len(), vector.bytes.len() + 1, "{file}");
            let mut again = Vec::new();
            let each = |message: Message<'_>| again.push(normal(describe::message(&message)));
            reader.read(&mut out, &vector.crypto, each).unwrap();
            assert_eq!(again, expected, "{file}");
        } else if file == "lib_compress_ping.bin" {
            // Made by hand: nobody sends the longer form.
            assert_eq!(out, encoded.concat());
            assert!(out.len() < vector.bytes.len());
        } else {
            assert_eq!(hex(&out), hex(&vector.bytes), "{file}");
        }
    }
    assert_eq!(seen.len(), 8, "every kind of message is among the vectors: {seen:?}");
}

fn read(bytes: &[u8], crypto: &Crypto, chunk: usize) -> Option<StreamMessage> {
    let mut reader = StreamReader::new(crypto.clone());
    let mut message = None;
    for piece in bytes.chunks(chunk) {
        assert_eq!(message, None, "complete before its end");
        message = reader.push(piece).unwrap();
    }
    message
}

#[test]
fn streams_decode_as_described_and_encode_to_the_same_bytes() {
    let mut count = 0;
    for vector in all().iter().filter(|vector| vector.transport == "tcp") {
        let file = &vector.file;
        let mut expected = Vec::new();
        leaves(&normal(vector.decoded["msg"].clone()), &mut expected);
        let message = read(&vector.bytes, &vector.crypto, usize::MAX).unwrap();
        for chunk in [1, 2, 3, 7, 100] {
            assert_eq!(read(&vector.bytes, &vector.crypto, chunk).as_ref(), Some(&message), "{file}");
        }
        if file == "lib_label_enc_v1_tcp.bin" || file.starts_with("lib_enc_v") {
            // These carry a ping as datagrams have it, with more than a stream's ping needs.
            assert!(matches!(message, StreamMessage::Ping { seq: 42, .. }));
            continue;
        }
        assert_eq!(vec![normal(describe::stream(&message))], expected, "{file}");
        count += 1;
        if let StreamMessage::PushPull(all) = &message {
            check_serf_bytes(&all.user_state, file);
        }

        if vector.decoded["enc_version"] == 0 {
            continue; // Read only.
        }
        let nonce = vector.decoded["nonce_hex"].as_str().map(unhex).unwrap_or_default();
        let compress = wraps(&vector.decoded["msg"], "compress");
        let mut out = Vec::new();
        encode_stream(&message, compress, &vector.crypto, &mut Recorded(nonce), &mut out);
        if compress && vector.old_lzw {
            assert_eq!(out.len(), vector.bytes.len() + 1, "{file}");
            assert_eq!(read(&out, &vector.crypto, usize::MAX).as_ref(), Some(&message), "{file}");
        } else {
            assert_eq!(hex(&out), hex(&vector.bytes), "{file}");
        }
    }
    assert!(count > 15);
}

#[test]
fn bare_lzw_decodes_and_encodes_to_the_same_bytes() {
    let mut count = 0;
    for vector in all().iter().filter(|vector| vector.transport == "lzw") {
        let plain = directory().join(vector.file.replace(".bin", ".plain"));
        let plain = std::fs::read(plain).unwrap();
        let mut out = Vec::new();
        Decoder::default().decode(&vector.bytes, 1 << 20, &mut out).unwrap();
        assert!(out == plain, "{}", vector.file);
        let mut again = Vec::new();
        Compressor::default().encode(&plain, &mut again);
        assert!(again == vector.bytes, "{}", vector.file);
        count += 1;
    }
    assert_eq!(count, 5);
}
