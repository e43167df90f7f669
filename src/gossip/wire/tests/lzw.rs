//! LZW against another implementation, and its limits.

use proptest::prelude::*;
use weezl::BitOrder;

use crate::gossip::wire::WireError;
use crate::gossip::wire::lzw::{Compressor, Decoder};

fn decode(bytes: &[u8], limit: usize) -> Result<Vec<u8>, WireError> {
    let mut out = b"before".to_vec();
    Decoder::default().decode(bytes, limit, &mut out)?;
    assert!(out.starts_with(b"before"));
    Ok(out.split_off(6))
}

fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::default().encode(bytes, &mut out);
    out
}

/// Text with repetitions, or none, long enough to fill the table several times.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::collection::vec(any::<u8>(), 1..20);
    let words = prop::collection::vec(word, 1..20);
    let repeated = (words, prop::collection::vec(any::<prop::sample::Index>(), 0..3_000))
        .prop_map(|(words, picks)| picks.iter().flat_map(|at| at.get(&words).clone()).collect());
    prop_oneof![
        repeated,
        prop::collection::vec(any::<u8>(), 0..20_000),
        (any::<u8>(), 0..40_000_usize).prop_map(|(byte, count)| vec![byte; count]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn agrees_with_another_implementation(text in text()) {
        let ours = encode(&text);
        prop_assert_eq!(&decode(&ours, text.len()).unwrap(), &text);
        let theirs = weezl::encode::Encoder::new(BitOrder::Lsb, 8).encode(&text).unwrap();
        prop_assert_eq!(&decode(&theirs, text.len()).unwrap(), &text);
        let read = weezl::decode::Decoder::new(BitOrder::Lsb, 8).decode(&ours).unwrap();
        prop_assert_eq!(&read, &text);
    }

    #[test]
    fn a_used_coder_is_as_good_as_a_new_one(texts in prop::collection::vec(text(), 2..4)) {
        let (mut encoder, mut decoder) = (Compressor::default(), Decoder::default());
        for text in texts {
            let (mut packed, mut out) = (Vec::new(), Vec::new());
            encoder.encode(&text, &mut packed);
            prop_assert_eq!(&packed, &encode(&text));
            decoder.decode(&packed, text.len(), &mut out).unwrap();
            prop_assert_eq!(&out, &text);
        }
    }

    #[test]
    fn junk_never_panics_nor_grows(bytes in prop::collection::vec(any::<u8>(), 0..2_000), limit in 0..5_000_usize) {
        let mut out = Vec::new();
        let result = Decoder::default().decode(&bytes, limit, &mut out);
        prop_assert!(out.len() <= limit);
        // Of what it can read, the other implementation reads the same.
        if result.is_ok() {
            let mut decoder = weezl::decode::Decoder::new(BitOrder::Lsb, 8);
            if let Ok(read) = decoder.decode(&bytes) {
                prop_assert_eq!(read, out);
            }
        }
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let bomb = encode(&vec![0; 4 << 20]);
    assert!(bomb.len() < 5_000, "{}", bomb.len());
    let mut out = Vec::new();
    let result = Decoder::default().decode(&bomb, 65_536, &mut out);
    assert!(matches!(result, Err(WireError::TooLarge { limit: 65_536, .. })), "{result:?}");
    assert!(out.len() <= 65_536 && out.capacity() <= 2 * 65_536);
    assert_eq!(decode(&bomb, 4 << 20).unwrap().len(), 4 << 20);
    assert!(decode(&bomb, (4 << 20) - 1).is_err());
}

#[test]
fn what_has_no_end_is_short_and_what_follows_it_is_nothing() {
    let packed = encode(b"aaaaabbbbbaaaaabbbbb");
    for at in 0..packed.len() {
        let result = decode(&packed[..at], 1_000);
        // The end code may lie wholly before the last byte's padding.
        assert!(result == Err(WireError::Short) || at + 1 == packed.len(), "{at}: {result:?}");
    }
    let more = [packed, b"whatever".to_vec()].concat();
    assert_eq!(decode(&more, 1_000).unwrap(), b"aaaaabbbbbaaaaabbbbb");
    // A code that nobody made: 300 right at the start.
    assert_eq!(decode(&[0x2c, 0x01, 0, 0], 1_000), Err(WireError::Malformed("lzw code")));
}
