//! Whatever arrives at the gossip port: no panic, and what was read can be written and read again.
//!
//! `cargo +nightly fuzz run gossip_packet -- -max_total_time=600` in the directory above. The corpus holds
//! recorded packets, the encrypted ones also as their plain text.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tribune::gossip::wire::event::ConsulEvent;
use tribune::gossip::wire::serf::{
    KeyResponse, MemberRecord, SerfMessage, decode_ack_payload, decode_key_request, decode_tags, encode_tags,
};
use tribune::gossip::wire::{
    Crypto, Keyring, MAX_UNPACKED, Message, PacketReader, PacketReport, PacketWriter,
};

/// The keys of the recorded packets.
const KEYS: [&[u8]; 3] =
    [b"0123456789abcdef0123456789abcdef", b"fedcba9876543210fedcba9876543210", b"0123456789abcdef"];

thread_local! {
    static READER: RefCell<PacketReader> = RefCell::default();
}

fn serf(bytes: &[u8]) {
    let Ok(message) = SerfMessage::decode(bytes) else { return };
    // Of a state, events of one slot overwrite each other.
    if !matches!(message, SerfMessage::State(_)) {
        let mut again = Vec::new();
        message.encode(&mut again);
        assert_eq!(SerfMessage::decode(&again).as_ref(), Ok(&message));
    }
    match message {
        SerfMessage::UserEvent(event) => _ = ConsulEvent::decode(event.payload.unwrap_or_default()),
        SerfMessage::Relay(relay) => _ = SerfMessage::decode(relay.message),
        SerfMessage::Query(query) => _ = decode_key_request(query.payload.unwrap_or_default()),
        SerfMessage::QueryResponse(response) => {
            let payload = response.payload.unwrap_or_default();
            _ = KeyResponse::decode(payload);
            _ = MemberRecord::decode(payload);
        }
        _ => {}
    }
}

fn read(datagram: &[u8], crypto: &Crypto) -> Option<PacketReport> {
    let mut bytes = 0;
    let mut messages = 0;
    let mut each = |message: Message<'_>| {
        messages += 1;
        let mut again = Vec::new();
        message.encode(&mut again);
        assert_eq!(Message::decode(&again), Ok(message));
        match message {
            Message::User(user) => {
                bytes += user.len();
                serf(user);
            }
            Message::Ack(ack) => _ = decode_ack_payload(ack.payload.unwrap_or_default()),
            Message::Alive(alive) => {
                if let Ok(tags) = decode_tags(alive.meta) {
                    _ = encode_tags(&tags, &mut Vec::new());
                }
            }
            _ => {}
        }
    };
    let report = READER.with_borrow_mut(|reader| reader.read(&mut datagram.to_vec(), crypto, &mut each)).ok();
    assert_eq!(report.as_ref().map_or(0, |report| report.messages), messages);
    assert!(bytes <= datagram.len() + MAX_UNPACKED);
    report
}

fuzz_target!(|datagram: &[u8]| {
    let keyed = |verify| Crypto::new(Keyring::of(KEYS).unwrap(), verify, true);
    let plain = read(datagram, &Crypto::plain());
    read(datagram, &Crypto::plain().with_label(b"blue"));
    read(datagram, &keyed(true).with_label(b"blue"));
    read(datagram, &keyed(true));
    read(datagram, &keyed(false));

    // The same as a part of an encrypted packet: nothing is lost, nothing is added.
    if !datagram.is_empty() && datagram.len() <= 60_000 && datagram[0] != 12 && datagram[0] != 244 {
        let crypto = keyed(true);
        let (mut out, mut writer) = (Vec::new(), PacketWriter::default());
        let mut builder = writer.begin(&mut out, 1_400, &crypto);
        assert!(builder.push(datagram));
        builder.finish(datagram.len() % 2 == 0, false, &mut SmallRng::seed_from_u64(1));
        assert_eq!(read(&out, &crypto), plain);
    }
});
