//! The file format of snapshots: a gzipped tar of `meta.json` (what it is), `state.bin` (the state)
//! and `SHA256SUMS` (lines of hash, two blanks, name).

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};

use flate2::read::GzDecoder;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::cli::gotext;

/// Largest `meta.json` and `SHA256SUMS` taken, in bytes.
const SMALL: u64 = 4 << 20;

/// What `meta.json` says.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Meta {
    /// Name of the snapshot: term, index and time.
    #[serde(rename = "ID")]
    pub id: String,
    /// Last Raft index in it.
    pub index: u64,
    /// Term of that index.
    pub term: u64,
    /// Version of the format.
    pub version: u64,
    /// Bytes of `state.bin`.
    #[serde(default)]
    pub size: u64,
}

/// Why a snapshot cannot be trusted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum ArchiveError {
    #[error("failed to decompress snapshot: {0}")]
    Gzip(String),
    #[error("failed to read snapshot file: {0}")]
    Tar(String),
    #[error("failed to decode snapshot metadata: {0}")]
    Meta(String),
    #[error("unexpected file {0:?} in snapshot")]
    Unexpected(String),
    #[error("failed checking integrity of snapshot: {0:?} is missing")]
    Missing(&'static str),
    #[error("failed checking integrity of snapshot: hash check failed for {0:?}")]
    Hash(String),
}

/// Reads a snapshot to its end and checks every hash.
///
/// # Errors
/// [`ArchiveError`]; `name` is the file's name in texts about reading it.
pub(super) fn verify(mut file: impl Read, name: &str) -> Result<Meta, ArchiveError> {
    let mut head = Vec::new();
    (&mut file)
        .take(10)
        .read_to_end(&mut head)
        .map_err(|error| ArchiveError::Gzip(format!("read {name}: {}", gotext::os_error(&error))))?;
    match head.as_slice() {
        [] => return Err(ArchiveError::Gzip("EOF".to_owned())),
        [0x1f, 0x8b, 8, ..] if head.len() == 10 => {}
        [0x1f, 0x8b, 8, ..] => return Err(ArchiveError::Gzip("unexpected EOF".to_owned())),
        short if short.len() < 10 => return Err(ArchiveError::Gzip("unexpected EOF".to_owned())),
        _ => return Err(ArchiveError::Gzip("gzip: invalid header".to_owned())),
    }
    read_tar(GzDecoder::new(Cursor::new(head).chain(file)))
}

fn read_tar(plain: impl Read) -> Result<Meta, ArchiveError> {
    let broken = |error: io::Error| ArchiveError::Tar(gotext::os_error(&error));
    let mut archive = tar::Archive::new(plain);
    let mut hashes = BTreeMap::new();
    let (mut meta, mut sums, mut size) = (None, None, None);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        match name.as_str() {
            "meta.json" => {
                let text = small(&mut entry).map_err(broken)?;
                meta = Some(
                    serde_json::from_slice::<Meta>(&text)
                        .map_err(|error| ArchiveError::Meta(error.to_string()))?,
                );
                hashes.insert(name, hex(&Sha256::digest(&text)));
            }
            "state.bin" => {
                let (hash, bytes) = digest(&mut entry).map_err(broken)?;
                size = Some(bytes);
                hashes.insert(name, hash);
            }
            "SHA256SUMS" => {
                let text = small(&mut entry).map_err(broken)?;
                sums = Some(String::from_utf8_lossy(&text).into_owned());
            }
            _ => return Err(ArchiveError::Unexpected(name)),
        }
    }
    // What follows the tar must still decompress: gzip's own checksum is at the very end.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    let mut meta = meta.ok_or(ArchiveError::Missing("meta.json"))?;
    meta.size = size.ok_or(ArchiveError::Missing("state.bin"))?;
    let sums = sums.ok_or(ArchiveError::Missing("SHA256SUMS"))?;
    let stated: BTreeMap<&str, &str> =
        sums.lines().filter_map(|line| line.split_once("  ")).map(|(hash, name)| (name, hash)).collect();
    for (name, hash) in hashes {
        if stated.get(name.as_str()) != Some(&hash.as_str()) {
            return Err(ArchiveError::Hash(name));
        }
    }
    Ok(meta)
}

fn small(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    entry.take(SMALL).read_to_end(&mut text)?;
    Ok(text)
}

/// Hash and length of the rest of `entry`.
fn digest(entry: &mut impl Read) -> io::Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0_u64;
    loop {
        let amount = entry.read(&mut buffer)?;
        if amount == 0 {
            return Ok((hex(&hasher.finalize()), total));
        }
        hasher.update(buffer.get(..amount).unwrap_or_default());
        total += amount as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
pub(in crate::cli) mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A snapshot with this state; `spoil` replaces the stated hash of the state.
    pub(in crate::cli) fn build(state: &[u8], spoil: bool) -> Vec<u8> {
        let meta = br#"{"Version":1,"ID":"2-56-1795289045821","Index":56,"Term":2,"Size":0}"#;
        let state_hash = if spoil { "00".repeat(32) } else { hex(&Sha256::digest(state)) };
        let sums = format!("{}  meta.json\n{state_hash}  state.bin\n", hex(&Sha256::digest(meta)));
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, bytes) in
            [("meta.json", meta.as_slice()), ("state.bin", state), ("SHA256SUMS", sums.as_bytes())]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            tar.append_data(&mut header, name, bytes).unwrap();
        }
        let mut gzip = tar.into_inner().unwrap();
        gzip.flush().unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn a_whole_snapshot_verifies() {
        let meta = verify(build(b"state", false).as_slice(), "f").unwrap();
        assert_eq!(
            meta,
            Meta { id: "2-56-1795289045821".to_owned(), index: 56, term: 2, version: 1, size: 5 }
        );
    }

    #[test]
    fn damage_is_found() {
        let whole = build(&vec![7; 100_000], false);
        let cases: &[(&str, &[u8], &str)] = &[
            ("empty", b"", "failed to decompress snapshot: EOF"),
            ("short", b"abc", "failed to decompress snapshot: unexpected EOF"),
            ("no gzip", b"something else entirely", "failed to decompress snapshot: gzip: invalid header"),
        ];
        for (name, bytes, want) in cases {
            assert_eq!(verify(*bytes, "f").unwrap_err().to_string(), *want, "{name}");
        }
        assert_eq!(
            verify(build(b"x", true).as_slice(), "f"),
            Err(ArchiveError::Hash("state.bin".to_owned()))
        );
        for cut in [11, whole.len() / 2, whole.len() - 1] {
            assert!(verify(&whole[..cut], "f").is_err(), "cut at {cut}");
        }
    }
}
