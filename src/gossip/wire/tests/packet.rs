//! What is wrapped around the messages of a datagram.

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use crate::gossip::wire::{
    Crypto, Keyring, MAX_PARTS, MAX_UNPACKED, Message, PacketReader, PacketReport, PacketWriter, WireError,
};

fn keys(keys: &[[u8; 16]], verify_incoming: bool) -> Crypto {
    Crypto::new(Keyring::of(keys).unwrap(), verify_incoming, true)
}

/// A packet of user messages.
fn packet(messages: &[&[u8]], crc: bool, compress: bool, crypto: &Crypto) -> Vec<u8> {
    let mut out = b"others".to_vec();
    let mut writer = PacketWriter::default();
    let mut builder = writer.begin(&mut out, 1_400, crypto);
    for message in messages {
        assert!(builder.user(message));
    }
    builder.finish(crc, compress, &mut ChaCha12Rng::seed_from_u64(1));
    assert!(out.starts_with(b"others"));
    out.split_off(6)
}

fn read(packet: &[u8], crypto: &Crypto) -> (Vec<Vec<u8>>, Result<PacketReport, WireError>) {
    let mut found = Vec::new();
    let result = PacketReader::default().read(&mut packet.to_vec(), crypto, |message| match message {
        Message::User(bytes) => found.push(bytes.to_vec()),
        other => panic!("{other:?}"),
    });
    (found, result)
}

fn report(messages: usize, malformed: usize, error: Option<WireError>) -> PacketReport {
    PacketReport { messages, malformed, error }
}

#[test]
fn every_combination_of_wrappings_is_read_again() {
    let long = b"abc".repeat(200);
    let sets: [&[&[u8]]; 4] = [&[b""], &[b"one"], &[b"one", b"", b"three"], &[&long, &long]];
    for messages in sets {
        for crypto in [Crypto::plain(), keys(&[[1; 16]], true), Crypto::plain().with_label(b"blue")] {
            for (crc, compress) in [(false, false), (true, false), (false, true), (true, true)] {
                let packet = packet(messages, crc, compress, &crypto);
                let (found, result) = read(&packet, &crypto);
                assert_eq!(found, messages);
                assert_eq!(result, Ok(report(messages.len(), 0, None)));
            }
        }
    }
    let compressed = packet(&[&long, &long], false, true, &Crypto::plain());
    assert!(compressed.len() < 300 && compressed[0] == 9);
    let incompressible = packet(&[b"one"], false, true, &Crypto::plain());
    assert_eq!(incompressible, b"\x08one");
    assert_eq!(packet(&[], true, true, &keys(&[[1; 16]], true)), b"");
}

#[test]
fn the_budget_counts_as_memberlist_does() {
    let mut writer = PacketWriter::default();
    for (crypto, overhead) in [
        (Crypto::plain(), 0),
        (keys(&[[1; 16]], true), 29),
        (Crypto::new(Keyring::of([[1; 16]]).unwrap(), true, false), 0),
        (Crypto::plain().with_label(b"blue"), 6),
    ] {
        let mut out = Vec::new();
        let mut builder = writer.begin(&mut out, 1_400, &crypto);
        let mut expected = 1_400 - overhead - 2 - 2;
        assert_eq!(builder.room(), expected);
        for size in [10, 300, 1] {
            assert!(builder.push(&vec![8; size]));
            expected -= size + 2;
            assert_eq!(builder.room(), expected);
        }
        assert!(builder.push(&vec![8; expected]));
        assert_eq!((builder.room(), builder.len()), (0, 4));
        builder.finish(false, false, &mut ChaCha12Rng::seed_from_u64(1));
        assert_eq!(out.len(), 1_400);
    }
    // Less than nothing.
    let crypto = keys(&[[1; 16]], true);
    assert_eq!(writer.begin(&mut Vec::new(), 20, &crypto).room(), 0);
}

#[test]
fn a_compound_has_at_most_127_parts() {
    let mut writer = PacketWriter::default();
    let (mut out, crypto) = (Vec::new(), Crypto::plain());
    let mut builder = writer.begin(&mut out, 9_000, &crypto);
    for _ in 0..MAX_PARTS {
        assert!(builder.room() > 0 && builder.user(b"x"));
    }
    assert_eq!(builder.room(), 0);
    assert!(!builder.user(b"x"));
    builder.finish(false, false, &mut ChaCha12Rng::seed_from_u64(1));
    assert_eq!(read(&out, &crypto).1, Ok(report(127, 0, None)));

    out.clear();
    let mut builder = writer.begin(&mut out, 1_400, &crypto);
    assert!(!builder.push(&vec![8; 65_536]));
    assert!(builder.is_empty());
    builder.finish(true, false, &mut ChaCha12Rng::seed_from_u64(1));
    assert!(out.is_empty());
}

#[test]
fn parts_that_are_bad_or_cut_off_lose_no_others() {
    let plain = Crypto::plain();
    // A user message, a type nobody knows, a broken ping, nothing at all, and another user message.
    let bytes = [&[7, 5, 0, 2, 0, 1, 0, 2, 0, 0, 0, 2][..], b"\x08a\x63\x00\xc1\x08b"].concat();
    let (found, result) = read(&bytes, &plain);
    assert_eq!(found, [b"a", b"b"]);
    assert_eq!(result, Ok(report(2, 3, Some(WireError::UnknownType(0x63)))));
    let (found, result) = read(&bytes[..bytes.len() - 1], &plain);
    assert_eq!(found, [b"a"]);
    assert_eq!(result.map(|report| report.malformed), Ok(4));
    // Three of five are cut off.
    let (found, result) = read(&bytes[..15], &plain);
    assert_eq!(found, [b"a"]);
    assert_eq!(result, Ok(report(1, 4, Some(WireError::UnknownType(0x63)))));
    // Not even the lengths are there.
    assert_eq!(read(&[7, 5, 0, 2], &plain).1, Err(WireError::Short));
}

#[test]
fn a_checksum_must_fit_and_only_counts_outermost() {
    let crypto = Crypto::plain();
    let mut bytes = packet(&[b"text"], true, false, &crypto);
    assert_eq!(bytes[0], 12);
    *bytes.last_mut().unwrap() ^= 1;
    assert!(matches!(read(&bytes, &crypto).1, Err(WireError::Checksum { .. })));
    assert_eq!(read(&bytes[..4], &crypto).1, Err(WireError::UnknownType(12)));
    // A checksum within a compound is none.
    let inner = packet(&[b"text"], true, false, &crypto);
    let length = u8::try_from(inner.len()).unwrap();
    let (found, result) = read(&[&[7, 1, 0, length][..], &inner].concat(), &crypto);
    assert!(found.is_empty());
    assert_eq!(result, Ok(report(0, 1, Some(WireError::UnknownType(12)))));
}

#[test]
fn keys_decide_what_is_let_in() {
    let plain = packet(&[b"text"], true, false, &Crypto::plain());
    let sealed = packet(&[b"text"], true, false, &keys(&[[1; 16]], true));
    let fine = Ok(report(1, 0, None));
    assert_eq!(read(&sealed, &keys(&[[1; 16]], true)).1, fine);
    assert_eq!(read(&sealed, &keys(&[[2; 16], [1; 16]], true)).1, fine);
    assert_eq!(read(&sealed, &keys(&[[2; 16]], true)).1, Err(WireError::Decrypt));
    assert_eq!(read(&plain, &keys(&[[1; 16]], true)).1, Err(WireError::Decrypt));
    // While a pool gets its first key, both are let in.
    assert_eq!(read(&plain, &keys(&[[1; 16]], false)).1, fine);
    assert_eq!(read(&sealed, &keys(&[[1; 16]], false)).1, fine);
    assert!(read(&sealed, &Crypto::plain()).1.is_err());
}

#[test]
fn labels_must_be_the_same() {
    let (blue, none) = (Crypto::plain().with_label(b"blue"), Crypto::plain());
    let labelled = packet(&[b"text"], false, false, &blue);
    assert_eq!(read(&labelled, &none).1, Err(WireError::Label));
    assert_eq!(read(&labelled, &Crypto::plain().with_label(b"teal")).1, Err(WireError::Label));
    assert_eq!(read(&labelled, &Crypto::plain().with_label(b"blues")).1, Err(WireError::Label));
    assert_eq!(read(&packet(&[b"text"], false, false, &none), &blue).1, Err(WireError::Label));
    // The label is protected by the key, too.
    let sealed = keys(&[[1; 16]], true).with_label(b"blue");
    let mut bytes = packet(&[b"text"], false, false, &sealed);
    assert_eq!(read(&bytes, &sealed).1, Ok(report(1, 0, None)));
    bytes[2..6].copy_from_slice(b"teal");
    assert_eq!(read(&bytes, &keys(&[[1; 16]], true).with_label(b"teal")).1, Err(WireError::Decrypt));
}

/// A compress message around something.
fn compressed(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut lzw, mut scratch) = (crate::gossip::wire::lzw::Compressor::default(), Vec::new());
    crate::gossip::wire::packet::compress(&mut lzw, &mut scratch, plain, &mut out);
    out
}

fn compound(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![7, u8::try_from(parts.len()).unwrap()];
    for part in parts {
        out.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
    }
    out.extend(parts.concat());
    out
}

#[test]
fn nesting_is_read_to_a_depth() {
    let mut bytes = b"\x08text".to_vec();
    for depth in 1..12 {
        bytes = if depth % 2 == 0 { compound(&[&bytes]) } else { compressed(&bytes) };
        let (found, result) = read(&bytes, &Crypto::plain());
        let handed_out = usize::from(depth <= 8);
        assert_eq!(found.len(), handed_out, "{depth}");
        assert!(result.is_err() || result.is_ok_and(|report| report.messages == handed_out));
    }
}

#[test]
fn a_bomb_is_defused_alone_and_in_company() {
    let bomb = compressed(&[&b"\x08"[..], &vec![0; MAX_UNPACKED]].concat());
    assert!(bomb.len() < 1_000);
    let (found, result) = read(&bomb, &Crypto::plain());
    assert!(found.is_empty());
    assert!(matches!(result, Err(WireError::TooLarge { limit: MAX_UNPACKED, .. })));

    // Each is fine, all together are not: what one datagram may unfold to is shared.
    let part = compressed(&[&b"\x08"[..], &vec![0; MAX_UNPACKED / 4]].concat());
    let all = compound(&[&part, &part, &part, &part, &part, b"\x08end"]);
    let (found, result) = read(&all, &Crypto::plain());
    assert_eq!(found.len(), 4);
    assert_eq!(found[3], b"end");
    assert!(matches!(result, Ok(PacketReport { messages: 4, malformed: 2, .. })));
    // An unknown algorithm.
    let other = [&b"\x09\x82\xa4Algo\x01\xa3Buf\xa1x"[..]].concat();
    assert_eq!(read(&other, &Crypto::plain()).1, Err(WireError::Malformed("compression algorithm")));
}
