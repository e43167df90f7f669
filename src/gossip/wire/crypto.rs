//! Gossip keys: AES-GCM over packets and streams, and the ring of keys that may be in use.
//!
//! Layout in both transports (section 4 of the project's notes on the gossip wire):
//! `version u8 | nonce 12 bytes | ciphertext | tag 16 bytes`. Version 1 is sent; version 0, which pads the
//! plain text to blocks of 16 as PKCS7 does, is read too.
//!
//! May not enter: which bytes are packets and which are streams; chance other than what is handed in.

use std::fmt;
use std::sync::Arc;

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes128Gcm, Aes256Gcm, AesGcm, KeyInit, Nonce, Tag, aes};
use rand::Rng;

use super::WireError;

/// Bytes of the nonce.
const NONCE: usize = 12;
/// Bytes of the tag.
const TAG: usize = 16;
/// How many bytes encryption adds to what is sent: version, nonce and tag.
pub const ENCRYPTION_OVERHEAD: usize = 1 + NONCE + TAG;
/// Bytes before the cipher text.
pub(super) const ENCRYPTION_PREFIX: usize = 1 + NONCE;
/// Bytes behind it.
pub(super) const ENCRYPTION_SUFFIX: usize = TAG;
/// Block of version 0's padding.
const BLOCK: usize = 16;

/// Why a key or a change of the ring was refused. The texts are memberlist's, which operators know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither 16, 24 nor 32 bytes.
    #[error("key size must be 16, 24 or 32 bytes")]
    Size,
    /// Cannot use what is not there.
    #[error("Requested key is not in the keyring")]
    Unknown,
    /// What is in use stays.
    #[error("Removing the primary key is not allowed")]
    Primary,
}

#[derive(Clone)]
enum Cipher {
    Aes128(Box<Aes128Gcm>),
    Aes192(Box<AesGcm<aes::Aes192, U12>>),
    Aes256(Box<Aes256Gcm>),
}

/// A gossip key, prepared for use. Never shown.
#[derive(Clone)]
pub struct Key {
    bytes: Vec<u8>,
    cipher: Cipher,
}

impl Key {
    /// Of 16, 24 or 32 bytes, which choose AES-128, AES-192 or AES-256.
    ///
    /// # Errors
    /// [`KeyError::Size`] for any other length.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        let cipher = match bytes.len() {
            16 => Aes128Gcm::new_from_slice(bytes).map(|cipher| Cipher::Aes128(Box::new(cipher))),
            24 => AesGcm::new_from_slice(bytes).map(|cipher| Cipher::Aes192(Box::new(cipher))),
            32 => Aes256Gcm::new_from_slice(bytes).map(|cipher| Cipher::Aes256(Box::new(cipher))),
            _ => return Err(KeyError::Size),
        };
        Ok(Self { bytes: bytes.to_vec(), cipher: cipher.map_err(|_| KeyError::Size)? })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Encrypts in place and gives the tag; `None` only for gigabytes.
    fn encrypt(&self, nonce: [u8; NONCE], aad: &[u8], data: &mut [u8]) -> Option<[u8; TAG]> {
        let nonce = Nonce::from(nonce);
        let data = InOutBuf::from(data);
        let tag = match &self.cipher {
            Cipher::Aes128(cipher) => cipher.encrypt_inout_detached(&nonce, aad, data),
            Cipher::Aes192(cipher) => cipher.encrypt_inout_detached(&nonce, aad, data),
            Cipher::Aes256(cipher) => cipher.encrypt_inout_detached(&nonce, aad, data),
        };
        tag.ok().map(Into::into)
    }

    /// Decrypts in place. Where the tag does not fit the data stay as they are.
    fn decrypt(&self, nonce: [u8; NONCE], aad: &[u8], data: &mut [u8], tag: [u8; TAG]) -> bool {
        let (nonce, tag) = (Nonce::from(nonce), Tag::from(tag));
        let data = InOutBuf::from(data);
        match &self.cipher {
            Cipher::Aes128(cipher) => cipher.decrypt_inout_detached(&nonce, aad, data, &tag),
            Cipher::Aes192(cipher) => cipher.decrypt_inout_detached(&nonce, aad, data, &tag),
            Cipher::Aes256(cipher) => cipher.decrypt_inout_detached(&nonce, aad, data, &tag),
        }
        .is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.bytes.len())
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Key {}

/// The keys that may decrypt, the first of which encrypts. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring {
    keys: Vec<Arc<Key>>,
}

impl Keyring {
    /// With this one key in use.
    pub fn new(primary: Key) -> Self {
        Self { keys: vec![Arc::new(primary)] }
    }

    /// Of these keys, the first one in use; `None` if there are none. Repeated ones are kept once.
    ///
    /// # Errors
    /// [`KeyError::Size`] if one of them is no key.
    pub fn of<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Result<Option<Self>, KeyError> {
        let mut ring: Option<Self> = None;
        for key in keys {
            match &mut ring {
                Some(ring) => _ = ring.install(key.as_ref())?,
                None => ring = Some(Self::new(Key::new(key.as_ref())?)),
            }
        }
        Ok(ring)
    }

    /// The key that encrypts.
    fn primary(&self) -> Option<&Key> {
        self.keys.first().map(|key| &**key)
    }

    /// All keys, the one in use first.
    pub fn list(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.keys.iter().map(|key| key.as_bytes())
    }

    fn position(&self, bytes: &[u8]) -> Option<usize> {
        self.keys.iter().position(|key| key.as_bytes() == bytes)
    }

    /// Adds a key behind the others; says whether it was not there yet.
    ///
    /// # Errors
    /// [`KeyError::Size`].
    pub fn install(&mut self, bytes: &[u8]) -> Result<bool, KeyError> {
        let key = Key::new(bytes)?;
        let new = self.position(bytes).is_none();
        if new {
            self.keys.push(Arc::new(key));
        }
        Ok(new)
    }

    /// Encrypts with this key from now on.
    ///
    /// # Errors
    /// [`KeyError::Unknown`] if it is not installed.
    pub fn make_primary(&mut self, bytes: &[u8]) -> Result<(), KeyError> {
        let at = self.position(bytes).ok_or(KeyError::Unknown)?;
        if let Some(front) = self.keys.get_mut(..=at) {
            front.rotate_right(1);
        }
        Ok(())
    }

    /// Removes a key; says whether it was there.
    ///
    /// # Errors
    /// [`KeyError::Primary`] if it is in use.
    pub fn remove(&mut self, bytes: &[u8]) -> Result<bool, KeyError> {
        match self.position(bytes) {
            Some(0) => Err(KeyError::Primary),
            Some(at) => {
                self.keys.remove(at);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

/// How packets and streams are protected: keys, if any, and what is done without them.
///
/// A clone costs counting references, so that a stream can hold the keys of the moment it began.
#[derive(Debug, Clone)]
pub struct Crypto {
    keyring: Option<Arc<Keyring>>,
    verify_incoming: bool,
    verify_outgoing: bool,
    label: Arc<[u8]>,
}

impl Default for Crypto {
    fn default() -> Self {
        Self::plain()
    }
}

impl Crypto {
    /// No keys: plain text in both directions.
    pub fn plain() -> Self {
        Self::new(None, true, true)
    }

    /// With these keys. `verify_incoming`: what is not encrypted is refused; `verify_outgoing`: what is
    /// sent is encrypted. Both matter with keys only.
    pub fn new(keyring: Option<Keyring>, verify_incoming: bool, verify_outgoing: bool) -> Self {
        Self { keyring: keyring.map(Arc::new), verify_incoming, verify_outgoing, label: Arc::default() }
    }

    /// With a label of 1 to 255 bytes that everything must carry; longer ones are cut. Consul 1.8 has none.
    #[must_use]
    pub fn with_label(mut self, label: &[u8]) -> Self {
        self.label = label.get(..255).unwrap_or(label).into();
        self
    }

    /// The keys, if there are any.
    pub fn keyring(&self) -> Option<&Keyring> {
        self.keyring.as_deref()
    }

    /// The keys, to be changed. Clones made before keep theirs.
    pub fn keyring_mut(&mut self) -> Option<&mut Keyring> {
        self.keyring.as_mut().map(Arc::make_mut)
    }

    /// The label; empty for none.
    pub fn label(&self) -> &[u8] {
        &self.label
    }

    /// Whether what is sent is encrypted.
    pub fn encrypts(&self) -> bool {
        self.keyring.is_some() && self.verify_outgoing
    }

    /// Whether what is not encrypted is refused.
    pub fn demands(&self) -> bool {
        self.keyring.is_some() && self.verify_incoming
    }

    /// How many bytes label and encryption add to a packet.
    pub fn packet_overhead(&self) -> usize {
        self.label_overhead() + if self.encrypts() { ENCRYPTION_OVERHEAD } else { 0 }
    }

    /// How many bytes the label's header takes.
    pub(super) fn label_overhead(&self) -> usize {
        if self.label.is_empty() { 0 } else { 2 + self.label.len() }
    }

    /// Decrypts `data` in place, trying every key, and gives the plain text.
    ///
    /// # Errors
    /// [`WireError::Decrypt`], and then `data` is as it was.
    pub(super) fn open<'a>(&self, data: &'a mut [u8], aad: &[u8]) -> Result<&'a mut [u8], WireError> {
        let keys = self.keyring.as_ref().map_or(&[][..], |ring| &ring.keys);
        let (version, rest) = data.split_first_mut().ok_or(WireError::Short)?;
        let (nonce, rest) = rest.split_first_chunk_mut::<NONCE>().ok_or(WireError::Decrypt)?;
        let (text, tag) = rest.split_last_chunk_mut::<TAG>().ok_or(WireError::Decrypt)?;
        if *version > 1 || (*version == 0 && text.len() < BLOCK) {
            return Err(WireError::Decrypt);
        }
        if !keys.iter().any(|key| key.decrypt(*nonce, aad, text, *tag)) {
            return Err(WireError::Decrypt);
        }
        let padding = if *version == 0 { text.last().map_or(0, |last| usize::from(*last)) } else { 0 };
        let size = text.len().checked_sub(padding).ok_or(WireError::Malformed("padding"))?;
        text.get_mut(..size).ok_or(WireError::Malformed("padding"))
    }

    /// Encrypts what lies in `out` from `start` on, where [`ENCRYPTION_PREFIX`] bytes were kept free for
    /// version and nonce, and appends the tag. `aad` says what else is protected.
    pub(super) fn seal(&self, out: &mut Vec<u8>, start: usize, aad: &[u8], rng: &mut impl Rng) {
        let Some(key) = self.keyring.as_ref().and_then(|ring| ring.primary()) else { return };
        let Some(data) = out.get_mut(start..) else { return };
        let Some((head, text)) = data.split_first_chunk_mut::<ENCRYPTION_PREFIX>() else { return };
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let [version, rest @ ..] = head;
        *version = 1;
        *rest = nonce;
        match key.encrypt(nonce, aad, text) {
            Some(tag) => out.extend_from_slice(&tag),
            // Nothing may leave in plain text.
            None => out.truncate(start),
        }
    }
}
