//! Whatever arrives: no panic, no loss of what is whole, no more memory than the limits say.

use proptest::prelude::*;

use super::vectors::{Vector, all};
use crate::gossip::wire::event::ConsulEvent;
use crate::gossip::wire::serf::{
    KeyResponse, MemberRecord, SerfMessage, decode_ack_payload, decode_key_request, decode_tags,
};
use crate::gossip::wire::{Crypto, Keyring, Message, PacketReader, StreamMessage, StreamReader};

/// Everything that is ever done with bytes of a stranger.
fn swallow(bytes: &[u8]) {
    _ = decode_tags(bytes);
    _ = decode_ack_payload(bytes);
    _ = decode_key_request(bytes);
    _ = KeyResponse::decode(bytes);
    _ = MemberRecord::decode(bytes);
    _ = ConsulEvent::decode(bytes);
    match SerfMessage::decode(bytes) {
        Ok(SerfMessage::UserEvent(event)) => _ = ConsulEvent::decode(event.payload.unwrap_or_default()),
        Ok(SerfMessage::Relay(relay)) => _ = SerfMessage::decode(relay.message),
        _ => {}
    }
}

fn packet(bytes: &[u8], crypto: &Crypto) -> usize {
    let mut handed_out = 0;
    let report = PacketReader::default().read(&mut bytes.to_vec(), crypto, |message| {
        handed_out += 1;
        match message {
            Message::User(bytes) => swallow(bytes),
            Message::Ack(ack) => swallow(ack.payload.unwrap_or_default()),
            Message::Alive(alive) => swallow(alive.meta),
            _ => {}
        }
        // What was read can be written, and read again.
        let mut again = Vec::new();
        message.encode(&mut again);
        assert_eq!(Message::decode(&again), Ok(message));
    });
    assert_eq!(report.map_or(0, |report| report.messages), handed_out);
    handed_out
}

fn stream(bytes: &[u8], crypto: &Crypto, chunk: usize) -> Option<StreamMessage> {
    let mut reader = StreamReader::new(crypto.clone());
    for piece in bytes.chunks(chunk) {
        match reader.push(piece) {
            Ok(None) => {}
            Ok(Some(message)) => {
                if let StreamMessage::PushPull(all) = &message {
                    swallow(&all.user_state);
                }
                return Some(message);
            }
            Err(_) => return None,
        }
    }
    None
}

/// Plain vectors, and the encrypted ones also as their plain text: behind the key bytes can be bent, too.
fn everything() -> Vec<Vector> {
    let mut vectors = all();
    for at in 0..vectors.len() {
        if let Some(plain) = vectors[at].decoded.get("plain_hex") {
            vectors.push(Vector {
                file: format!("plain {}", vectors[at].file),
                transport: vectors[at].transport.clone(),
                bytes: super::unhex(plain.as_str().unwrap()),
                decoded: vectors[at].decoded.clone(),
                crypto: Crypto::plain(),
                old_lzw: vectors[at].old_lzw,
            });
        }
    }
    vectors
}

#[test]
fn truncated_at_every_byte() {
    for vector in everything() {
        let whole = packet(&vector.bytes, &vector.crypto);
        for end in 0..vector.bytes.len().min(2_000) {
            let cut = &vector.bytes[..end];
            if vector.transport == "udp" {
                assert!(packet(cut, &vector.crypto) <= whole);
            } else if vector.transport == "tcp" {
                assert_eq!(stream(cut, &vector.crypto, usize::MAX), None, "{} at {end}", vector.file);
            }
            swallow(cut);
        }
    }
}

#[test]
fn every_byte_of_every_vector_turned_over() {
    for vector in everything().iter().filter(|vector| vector.transport != "lzw") {
        for at in 0..vector.bytes.len() {
            for value in [0, 0x80, 0xc0, 0xdb, 0xff, vector.bytes[at] ^ 1] {
                let mut bent = vector.bytes.clone();
                bent[at] = value;
                packet(&bent, &vector.crypto);
                stream(&bent, &vector.crypto, usize::MAX);
                swallow(&bent);
            }
        }
    }
}

fn bent() -> impl Strategy<Value = (Vec<u8>, Crypto)> {
    let vectors: Vec<(Vec<u8>, Crypto)> =
        (everything().into_iter().filter(|vector| vector.bytes.len() < 1_500))
            .map(|vector| (vector.bytes, vector.crypto))
            .collect();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..8);
    (prop::sample::select(vectors), changes).prop_map(|((mut bytes, crypto), changes)| {
        for (at, value, how) in changes {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, value),
                1 => bytes.truncate(at),
                2 if at < bytes.len() => _ = bytes.remove(at),
                _ if at < bytes.len() => bytes[at] = value,
                _ => bytes.push(value),
            }
        }
        (bytes, crypto)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn bent_vectors((bytes, crypto) in bent(), chunk in 1..200_usize) {
        packet(&bytes, &crypto);
        let whole = stream(&bytes, &crypto, usize::MAX);
        prop_assert_eq!(stream(&bytes, &crypto, chunk), whole);
        swallow(&bytes);
    }

    #[test]
    fn junk(bytes in prop::collection::vec(any::<u8>(), 0..600), chunk in 1..200_usize, keyed: bool) {
        let ring = keyed.then_some([7; 16]);
        let crypto = Crypto::new(Keyring::of(ring).unwrap(), false, true);
        packet(&bytes, &crypto);
        let whole = stream(&bytes, &crypto, usize::MAX);
        prop_assert_eq!(stream(&bytes, &crypto, chunk), whole);
        swallow(&bytes);
    }
}
