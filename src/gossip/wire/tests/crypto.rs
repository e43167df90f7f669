//! Keys, the ring, and what they protect.

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use crate::gossip::wire::crypto::{ENCRYPTION_OVERHEAD, ENCRYPTION_PREFIX};
use crate::gossip::wire::{Crypto, Key, KeyError, Keyring, WireError};

fn list(ring: &Keyring) -> Vec<u8> {
    ring.list().map(|key| key[0]).collect()
}

#[test]
fn a_key_has_one_of_three_sizes_and_is_never_shown() {
    for size in 0..=64 {
        let key = Key::new(&vec![0xab; size]);
        assert_eq!(key.is_ok(), [16, 24, 32].contains(&size), "{size}");
    }
    let shown = format!("{:?}", Keyring::new(Key::new(&[0xab; 16]).unwrap()));
    assert!(shown.contains("Key(16 bytes)") && !shown.contains("171") && !shown.contains("ab"), "{shown}");
}

#[test]
fn the_ring_keeps_its_order_and_its_first() {
    let mut ring = Keyring::of([[1; 16], [2; 16], [1; 16]]).unwrap().unwrap();
    assert_eq!(list(&ring), [1, 2]);
    assert_eq!(ring.install(&[3; 32]), Ok(true));
    assert_eq!(ring.install(&[2; 16]), Ok(false));
    assert_eq!(ring.install(&[2; 15]), Err(KeyError::Size));
    assert_eq!(list(&ring), [1, 2, 3]);

    assert_eq!(ring.make_primary(&[9; 16]), Err(KeyError::Unknown));
    assert_eq!(ring.make_primary(&[3; 32]), Ok(()));
    assert_eq!(list(&ring), [3, 1, 2]);
    assert_eq!(ring.make_primary(&[3; 32]), Ok(()));
    assert_eq!(list(&ring), [3, 1, 2]);

    assert_eq!(ring.remove(&[3; 32]), Err(KeyError::Primary));
    assert_eq!(ring.remove(&[1; 16]), Ok(true));
    assert_eq!(ring.remove(&[1; 16]), Ok(false));
    assert_eq!(list(&ring), [3, 2]);
    assert_eq!(Keyring::of(Vec::<Vec<u8>>::new()), Ok(None));
}

#[test]
fn a_clone_keeps_the_keys_of_its_moment() {
    let mut crypto = Crypto::new(Keyring::of([[1; 16]]).unwrap(), true, true);
    let before = crypto.clone();
    crypto.keyring_mut().unwrap().install(&[2; 16]).unwrap();
    assert_eq!(list(crypto.keyring().unwrap()), [1, 2]);
    assert_eq!(list(before.keyring().unwrap()), [1]);
    assert!(Crypto::plain().keyring_mut().is_none());
}

fn sealed(crypto: &Crypto, text: &[u8], aad: &[u8]) -> Vec<u8> {
    let mut out = vec![0; ENCRYPTION_PREFIX];
    out.extend_from_slice(text);
    crypto.seal(&mut out, 0, aad, &mut ChaCha12Rng::seed_from_u64(1));
    out
}

#[test]
fn any_key_of_the_ring_opens_and_nothing_else_does() {
    let old = Crypto::new(Keyring::of([vec![1; 24]]).unwrap(), true, true);
    let both = Crypto::new(Keyring::of([vec![2; 32], vec![3; 16], vec![1; 24]]).unwrap(), true, true);
    let data = sealed(&old, b"hello", b"around");
    assert_eq!(data.len(), 5 + ENCRYPTION_OVERHEAD);
    assert_eq!(both.open(&mut data.clone(), b"around").unwrap(), b"hello");
    assert_eq!(both.open(&mut data.clone(), b""), Err(WireError::Decrypt));
    let other = Crypto::new(Keyring::of([[4; 16]]).unwrap(), true, true);
    let mut same = data.clone();
    assert_eq!(other.open(&mut same, b"around"), Err(WireError::Decrypt));
    assert_eq!(same, data, "what does not open stays as it was");
    for at in 0..data.len() {
        let mut bent = data.clone();
        bent[at] ^= 1;
        assert!(both.open(&mut bent, b"around").is_err(), "byte {at}");
        assert!(both.open(&mut data[..at].to_vec(), b"around").is_err(), "cut at {at}");
    }
}

#[test]
fn no_nonce_is_used_twice() {
    let crypto = Crypto::new(Keyring::of([[1; 16]]).unwrap(), true, true);
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let nonces: std::collections::BTreeSet<Vec<u8>> = (0..1_000)
        .map(|_| {
            let mut out = vec![0; ENCRYPTION_PREFIX];
            crypto.seal(&mut out, 0, b"", &mut rng);
            out[1..13].to_vec()
        })
        .collect();
    assert_eq!(nonces.len(), 1_000);
}
