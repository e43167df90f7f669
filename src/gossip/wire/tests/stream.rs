//! Streams: wrappings, limits, refusals.

use bytes::Bytes;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use super::vectors;
use crate::gossip::wire::lzw::Compressor;
use crate::gossip::wire::msgpack::Writer;
use crate::gossip::wire::packet::compress;
use crate::gossip::wire::{
    Crypto, Keyring, MAX_ENCRYPTED, MAX_MESSAGE, MAX_NODES, MAX_USER_STATE, PushPull, StreamMessage,
    StreamReader, WireError, encode_stream,
};

fn rng() -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(1)
}

fn keys(byte: u8, verify_incoming: bool) -> Crypto {
    Crypto::new(Keyring::of([[byte; 16]]).unwrap(), verify_incoming, true)
}

fn encoded(message: &StreamMessage, compress: bool, crypto: &Crypto) -> Vec<u8> {
    let mut out = Vec::new();
    encode_stream(message, compress, crypto, &mut rng(), &mut out);
    out
}

fn ping() -> StreamMessage {
    StreamMessage::Ping { seq: 9, node: Bytes::from_static(b"node") }
}

/// What a reader says, and what it would answer.
fn read(bytes: &[u8], crypto: &Crypto) -> (Result<Option<StreamMessage>, WireError>, Option<Vec<u8>>) {
    let mut reader = StreamReader::new(crypto.clone());
    let result = reader.push(bytes);
    let refusal = result.as_ref().err().and_then(|error| reader.refusal(error, &mut rng()));
    (result, refusal)
}

#[test]
fn every_combination_of_wrappings_is_read_again() {
    let messages = [
        ping(),
        StreamMessage::Ack { seq: u32::MAX },
        StreamMessage::User(Bytes::from(vec![7; 100_000])),
        StreamMessage::User(Bytes::new()),
        StreamMessage::Error("no".to_owned()),
        StreamMessage::PushPull(PushPull::default()),
    ];
    let label = keys(1, true).with_label(b"blue");
    for crypto in [Crypto::plain(), keys(1, true), label, Crypto::plain().with_label(b"blue")] {
        for compress in [false, true] {
            for message in &messages {
                let bytes = encoded(message, compress, &crypto);
                assert_eq!(read(&bytes, &crypto).0.as_ref(), Ok(&Some(message.clone())));
                let mut reader = StreamReader::new(crypto.clone());
                for (at, byte) in bytes.iter().enumerate() {
                    let found = reader.push(&[*byte]).unwrap();
                    assert_eq!(found.is_some(), at + 1 == bytes.len(), "{message:?}");
                }
                assert_eq!(reader.push(b"more"), Ok(None));
            }
        }
    }
}

#[test]
fn refusals_are_what_stock_agents_answer() {
    // A plain ping to an agent with keys; its recorded reply was encrypted and compressed.
    let vectors = vectors::all();
    let find = |name: &str| vectors.iter().find(|vector| vector.file == name).unwrap();
    let request = find("live_err_enc_request.bin");
    let reply = find("live_err_enc_reply.bin");
    let (result, refusal) = read(&request.bytes, &reply.crypto);
    assert_eq!(result, Err(WireError::NotEncrypted));
    let ours = read(&refusal.unwrap(), &reply.crypto).0.unwrap();
    assert_eq!(ours, read(&reply.bytes, &reply.crypto).0.unwrap());

    // An encrypted ping to one without.
    let request = find("live_err_plain_request.bin");
    let reply = find("live_err_plain_reply.bin");
    let (result, refusal) = read(&request.bytes, &Crypto::plain());
    assert_eq!(result, Err(WireError::Encrypted));
    assert_eq!(refusal.unwrap(), reply.bytes);
}

#[test]
fn wrong_keys_and_labels_are_refused_aloud_and_bad_messages_silently() {
    let sealed = encoded(&ping(), false, &keys(1, true));
    let (result, refusal) = read(&sealed, &keys(2, true));
    assert_eq!(result, Err(WireError::Decrypt));
    let told = read(&refusal.unwrap(), &keys(2, true)).0.unwrap();
    assert_eq!(told, Some(StreamMessage::Error("No installed keys could decrypt the message".to_owned())));

    let labelled = encoded(&ping(), false, &Crypto::plain().with_label(b"blue"));
    let plain = encoded(&ping(), false, &Crypto::plain());
    for (bytes, label) in
        [(&labelled, &b""[..]), (&labelled, b"blues"), (&labelled, b"teal"), (&plain, b"blue")]
    {
        let (result, refusal) = read(bytes, &Crypto::plain().with_label(label));
        assert_eq!(result, Err(WireError::Label));
        assert!(refusal.is_some());
    }

    for bytes in
        [&b"\x63"[..], b"\x00\xc1", b"\x00\x81\xa5SeqNo\xa1x", b"\x08\x81\xaaUserMsgLen\xff", b"\x07\x01"]
    {
        let (result, refusal) = read(bytes, &Crypto::plain());
        assert!(result.is_err(), "{bytes:?}");
        assert_eq!(refusal, None, "{bytes:?}");
    }
    // A plain stream is let in where that is configured.
    assert_eq!(read(&plain, &keys(1, false)).0, Ok(Some(ping())));
}

fn header(join: bool, nodes: i64, user_state: i64) -> Vec<u8> {
    let mut out = vec![6];
    let mut writer = Writer::new(&mut out);
    writer.map(3).raw(b"Join").boolean(join).raw(b"Nodes").signed(nodes);
    writer.raw(b"UserStateLen").signed(user_state);
    out
}

#[test]
fn claims_beyond_the_limits_are_refused_before_their_bytes_come() {
    let plain = Crypto::plain();
    let limit = |bytes: &[u8]| match read(bytes, &plain).0 {
        Err(WireError::TooLarge { limit, .. }) => Some(limit),
        Err(other) => panic!("{other:?}"),
        Ok(found) => {
            assert_eq!(found, None);
            None
        }
    };
    let signed = |limit: usize| i64::try_from(limit).unwrap();
    assert_eq!(limit(&header(true, signed(MAX_NODES), signed(MAX_USER_STATE))), None);
    assert_eq!(limit(&header(true, signed(MAX_NODES) + 1, 0)), Some(MAX_NODES));
    assert_eq!(limit(&header(true, 1, signed(MAX_USER_STATE) + 1)), Some(MAX_USER_STATE));
    assert!(matches!(read(&header(true, -1, 0), &plain).0, Err(WireError::Malformed(_))));
    assert!(matches!(read(&header(true, 0, -1), &plain).0, Err(WireError::Malformed(_))));
    // A string of 4 GB.
    assert_eq!(limit(b"\x00\x81\xa4Node\xdb\xff\xff\xff\xff"), Some(MAX_MESSAGE));
    assert_eq!(limit(b"\x09\x82\xa3Buf\xdb\xff\xff\xff\xff"), Some(MAX_MESSAGE));
    let huge = u32::try_from(MAX_ENCRYPTED + 1).unwrap().to_be_bytes();
    let (result, refusal) = read(&[&[10][..], &huge].concat(), &keys(1, true));
    assert!(matches!(result, Err(WireError::TooLarge { limit: MAX_ENCRYPTED, .. })));
    assert!(refusal.is_some());
}

#[test]
fn a_bomb_is_defused() {
    let mut bytes = Vec::new();
    let plain = vec![0; MAX_MESSAGE + 1];
    compress(&mut Compressor::default(), &mut Vec::new(), &plain, &mut bytes);
    assert!(bytes.len() < 50_000, "{}", bytes.len());
    let (result, refusal) = read(&bytes, &Crypto::plain());
    assert!(matches!(result, Err(WireError::TooLarge { limit: MAX_MESSAGE, .. })), "{result:?}");
    assert!(refusal.is_some());
    // Compressed twice is no message.
    let mut twice = Vec::new();
    let once = encoded(&ping(), true, &Crypto::plain());
    compress(&mut Compressor::default(), &mut Vec::new(), &once, &mut twice);
    assert_eq!(read(&twice, &Crypto::plain()).0, Err(WireError::UnknownType(9)));
    // A million nodes that say nothing take no memory: none of them is kept.
    let mut all = header(true, 1 << 20, 0);
    all.resize(all.len() + (1 << 20), 0x80);
    match read(&all, &Crypto::plain()).0 {
        Ok(Some(StreamMessage::PushPull(all))) => assert_eq!(all.nodes.capacity(), 0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_encrypted_or_compressed_must_be_whole() {
    let crypto = keys(1, true);
    for compressed in [false, true] {
        // One byte of the message is missing, with all wrappings intact.
        let whole = encoded(&ping(), false, &Crypto::plain());
        let mut inner = Vec::new();
        let cut = &whole[..whole.len() - 1];
        if compressed {
            compress(&mut Compressor::default(), &mut Vec::new(), cut, &mut inner);
            assert_eq!(read(&inner, &Crypto::plain()).0, Err(WireError::Short));
        } else {
            inner.extend_from_slice(cut);
            assert_eq!(read(&inner, &Crypto::plain()).0, Ok(None));
        }
        let size = u32::try_from(inner.len() + 29).unwrap().to_be_bytes();
        let head = [10, size[0], size[1], size[2], size[3]];
        let mut sealed = [&head[..], &[0; 13], &inner].concat();
        crypto.seal(&mut sealed, 5, &head, &mut rng());
        assert_eq!(read(&sealed, &crypto).0, Err(WireError::Short));
    }
}

#[test]
fn many_small_pieces_take_linear_time() {
    // 200,000 keys, then 20,000 nodes, a byte at a time: quadratic work would take minutes.
    let mut bytes = vec![0, 0xdf];
    bytes.extend(200_000_u32.to_be_bytes());
    bytes.extend(b"\xa1x\xc0".repeat(200_000));
    let mut all = header(false, 20_000, 0);
    all.extend(b"\x81\xa4Name\xa1n".repeat(20_000));
    for bytes in [bytes, all] {
        let mut reader = StreamReader::new(Crypto::plain());
        let mut last = None;
        for byte in bytes {
            last = reader.push(&[byte]).unwrap();
        }
        assert!(last.is_some());
    }
}
