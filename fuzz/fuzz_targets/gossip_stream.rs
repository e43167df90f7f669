//! Whatever arrives on a gossip stream, however it is cut: no panic, the same message, and what was read can
//! be written and read again.
//!
//! `cargo +nightly fuzz run gossip_stream -- -max_total_time=600` in the directory above. The first byte says
//! how the others are cut. The corpus holds recorded streams behind such a byte.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tribune::gossip::wire::serf::SerfMessage;
use tribune::gossip::wire::{Crypto, Keyring, StreamMessage, StreamReader, WireError, encode_stream};

/// The keys of the recorded streams.
const KEYS: [&[u8]; 2] = [b"0123456789abcdef0123456789abcdef", b"fedcba9876543210fedcba9876543210"];

fn read(bytes: &[u8], crypto: &Crypto, chunk: usize) -> Result<Option<StreamMessage>, WireError> {
    let mut reader = StreamReader::new(crypto.clone());
    for piece in bytes.chunks(chunk) {
        match reader.push(piece) {
            Ok(None) => {}
            Ok(Some(message)) => return Ok(Some(message)),
            Err(error) => {
                _ = reader.refusal(&error, &mut SmallRng::seed_from_u64(1));
                return Err(error);
            }
        }
    }
    Ok(None)
}

fuzz_target!(|input: &[u8]| {
    let Some((&cut, bytes)) = input.split_first() else { return };
    let keyed = |verify| Crypto::new(Keyring::of(KEYS).unwrap(), verify, true);
    for crypto in [Crypto::plain(), keyed(true), keyed(false), Crypto::plain().with_label(b"blue")] {
        let whole = read(bytes, &crypto, usize::MAX);
        let pieces = read(bytes, &crypto, 1 + usize::from(cut));
        match (&whole, &pieces) {
            (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
            // What is wrong is seen as soon as it can be, so it may be seen before or after its end.
            (Err(_), Err(_)) => {}
            other => panic!("{other:?}"),
        }
        let Ok(Some(message)) = whole else { continue };
        if let StreamMessage::PushPull(all) = &message {
            _ = SerfMessage::decode(&all.user_state);
        }
        let mut out = Vec::new();
        encode_stream(&message, cut % 2 == 0, &crypto, &mut SmallRng::seed_from_u64(1), &mut out);
        assert_eq!(read(&out, &crypto, usize::MAX), Ok(Some(message)));
    }
});
