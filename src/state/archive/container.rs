//! The vessel around the records: gzip, tar, `meta.json` and the sums.
//!
//! The tar is written by hand because its parts must be streamed: the length of `state.bin` stands
//! in front of it, so the state is encoded twice, once to count and once to write. Stock Consul
//! refuses bytes behind the two closing blocks, hence no padding to a full tar record.

use std::io::{BufRead, BufReader, Read, Write};

use base64::Engine;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::msgpack::{Packer, StreamError, read_value};
use super::{
    ArchiveError, ArchiveMeta, ArchiveOrigin, ArchiveRecord, ArchiveServer, RecordKind, decode, encode,
};
use crate::state::store::ReadStore;
use crate::state::view::View;

const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";

const BLOCK: usize = 512;
/// Larger `meta.json` or `SHA256SUMS` are refused.
const MAX_SMALL_FILE: u64 = 1 << 20;
/// Largest header or record that is not a key. A row in memory can be some times its record.
const MAX_RECORD: usize = 16 << 20;
/// Largest record of a key: far above any value a server accepts.
const MAX_KV_RECORD: usize = 512 << 20;
/// Snapshot version of the raft library Consul 1.8 uses.
const META_VERSION: i64 = 1;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct MetaFile {
    version: i64,
    #[serde(rename = "ID")]
    id: String,
    index: u64,
    term: u64,
    peers: Option<String>,
    configuration: ConfigurationFile,
    configuration_index: u64,
    size: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConfigurationFile {
    servers: Option<Vec<ServerFile>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServerFile {
    /// 0 votes, 1 does not, 2 is being added.
    suffrage: u8,
    #[serde(rename = "ID")]
    id: String,
    address: String,
}

fn meta_json(origin: &ArchiveOrigin, index: u64, size: u64) -> Result<Vec<u8>, ArchiveError> {
    let mut peers = Packer::default();
    peers.array(origin.servers.len());
    origin.servers.iter().for_each(|server| peers.str(&server.address));
    let servers = origin.servers.iter().map(|server| ServerFile {
        suffrage: u8::from(!server.voter),
        id: server.id.clone(),
        address: server.address.clone(),
    });
    let meta = MetaFile {
        version: META_VERSION,
        id: format!("{}-{index}-{}", origin.term, origin.saved_ms),
        index,
        term: origin.term,
        peers: Some(base64::engine::general_purpose::STANDARD.encode(&peers.buffer)),
        configuration: ConfigurationFile { servers: Some(servers.collect()) },
        configuration_index: origin.configuration_index,
        size,
    };
    serde_json::to_vec(&meta).map_err(|error| ArchiveError::Io(error.into()))
}

/// Writes an archive; see [`super::write_archive`].
pub(super) fn write<W: Write>(
    out: W,
    origin: &ArchiveOrigin,
    view: &View,
    frozen: &dyn ReadStore,
) -> Result<W, ArchiveError> {
    let mut size = 0_u64;
    encode::state(view, frozen, &mut |record| {
        size += record.len() as u64;
        Ok(())
    })?;
    let mut tar = GzEncoder::new(out, Compression::fast());
    let meta = meta_json(origin, view.index, size)?;
    let seconds = origin.saved_ms / 1000;
    let meta_sum = Sha256::digest(&meta);
    write_file(&mut tar, META, seconds, &meta)?;

    tar.write_all(&tar_header(STATE, size, seconds)?)?;
    let mut hash = Sha256::new();
    let mut written = 0_u64;
    // Records are small; larger pieces are cheaper for both the hash and the compressor.
    let mut buffer = Vec::with_capacity(2 * CHUNK);
    encode::state(view, frozen, &mut |record| {
        written += record.len() as u64;
        if written > size {
            return Err(ArchiveError::Moved);
        }
        buffer.extend_from_slice(record);
        if buffer.len() >= CHUNK {
            hash.update(&buffer);
            tar.write_all(&buffer)?;
            buffer.clear();
        }
        Ok(())
    })?;
    if written != size {
        return Err(ArchiveError::Moved);
    }
    hash.update(&buffer);
    tar.write_all(&buffer)?;
    tar.write_all(padding(size))?;

    let mut sums = String::new();
    for (sum, name) in [(meta_sum, META), (hash.finalize(), STATE)] {
        sums.push_str(&hex(&sum));
        sums.push_str("  ");
        sums.push_str(name);
        sums.push('\n');
    }
    write_file(&mut tar, SUMS, seconds, sums.as_bytes())?;
    tar.write_all(&[0; 2 * BLOCK])?;
    Ok(tar.finish()?)
}

const CHUNK: usize = 32 << 10;

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn tar_header(name: &str, size: u64, seconds: u64) -> Result<[u8; BLOCK], ArchiveError> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o600);
    header.set_size(size);
    header.set_mtime(seconds);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// Zeros that fill the last block of a file.
fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    if over == 0 { &[] } else { ZEROS.get(over..).unwrap_or_default() }
}

fn write_file(tar: &mut impl Write, name: &str, seconds: u64, bytes: &[u8]) -> Result<(), ArchiveError> {
    tar.write_all(&tar_header(name, bytes.len() as u64, seconds)?)?;
    tar.write_all(bytes)?;
    tar.write_all(padding(bytes.len() as u64))?;
    Ok(())
}

/// Hashes what is read through it.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
    length: u64,
}

impl<R: Read> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), length: 0 }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(bytes) = buffer.get(..count) {
            self.hash.update(bytes);
        }
        self.length += count as u64;
        Ok(count)
    }
}

/// What was found of a file.
struct Seen {
    sum: String,
    length: u64,
}

/// What a reader is told.
pub(super) enum Event {
    /// A record begins.
    Record(RecordKind),
    /// A row of it; lock-delay windows are rows of the header and come before any record.
    Row(ArchiveRecord),
}

/// Told about everything found.
pub(super) type Visit<'a, E> = &'a mut dyn FnMut(Event) -> Result<(), E>;

/// Reads an archive to its end and checks it.
///
/// Every row is handed over before the sums at the end are known.
pub(super) fn read<R: Read, E: From<ArchiveError>>(source: R, visit: Visit<'_, E>) -> Result<ArchiveMeta, E> {
    let mut source = BufReader::with_capacity(CHUNK, source);
    match source.fill_buf().map_err(ArchiveError::from)? {
        [] => return Err(ArchiveError::Gzip("EOF".to_owned()).into()),
        [0x1f, 0x8b, ..] => {}
        _ => return Err(ArchiveError::Gzip("gzip: invalid header".to_owned()).into()),
    }
    let mut archive = tar::Archive::new(MultiGzDecoder::new(source));
    let (mut meta, mut sums, mut state) = (None, None, None);
    for entry in archive.entries().map_err(|error| tar_error(&error))? {
        let mut entry = entry.map_err(|error| tar_error(&error))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let known = match name.as_str() {
            META => meta.is_none(),
            STATE => state.is_none(),
            SUMS => sums.is_none(),
            _ => false,
        };
        if !known || !entry.header().entry_type().is_file() {
            return Err(ArchiveError::File(format!("unexpected file {name:?} in snapshot")).into());
        }
        match name.as_str() {
            STATE => state = Some(read_state(entry, visit)?),
            META => meta = Some(small_file(&name, &mut entry)?),
            _ => sums = Some(small_file(&name, &mut entry)?),
        }
    }
    finish(archive.into_inner())?;
    Ok(verify(meta, state, sums)?)
}

fn tar_error(error: &std::io::Error) -> ArchiveError {
    let what = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "unexpected EOF",
        _ => "archive/tar: invalid tar header",
    };
    ArchiveError::File(format!("failed reading snapshot: {what}"))
}

fn data_error(error: &std::io::Error) -> ArchiveError {
    let what = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
        _ => error.to_string(),
    };
    ArchiveError::File(format!("failed to read or write snapshot data: {what}"))
}

fn small_file(name: &str, entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>, ArchiveError> {
    if entry.size() > MAX_SMALL_FILE {
        return Err(ArchiveError::File(format!("{name:?} is larger than {MAX_SMALL_FILE} bytes")));
    }
    let promised = entry.size();
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(|error| data_error(&error))?;
    if bytes.len() as u64 == promised { Ok(bytes) } else { Err(data_error(&eof())) }
}

fn eof() -> std::io::Error {
    std::io::ErrorKind::UnexpectedEof.into()
}

/// What follows the last file may only be zeros; reading it checks gzip's own sum.
fn finish(mut rest: impl Read) -> Result<(), ArchiveError> {
    let mut buffer = [0; 4096];
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) if buffer.iter().take(count).all(|byte| *byte == 0) => {}
            Ok(count) => {
                return Err(ArchiveError::File(format!("{count} unread uncompressed bytes remain")));
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(data_error(&error)),
        }
    }
}

/// Why reading the records stopped.
enum Stop<E> {
    /// They do not decode.
    Damaged(ArchiveError),
    /// The caller wants no more.
    Caller(E),
}

impl<E> From<ArchiveError> for Stop<E> {
    fn from(error: ArchiveError) -> Self {
        Self::Damaged(error)
    }
}

/// What was found of `state.bin`, and why its records do not decode if so.
type StateSeen = (Seen, Option<ArchiveError>);

/// Reads `state.bin` to its end even if its records do not decode: the sums may have a better word
/// for what is wrong.
fn read_state<E>(entry: tar::Entry<'_, impl Read>, visit: Visit<'_, E>) -> Result<StateSeen, E>
where
    E: From<ArchiveError>,
{
    let promised = entry.size();
    let mut source = BufReader::with_capacity(CHUNK, Hashing::new(entry));
    let damage = match read_records(&mut source, visit) {
        Ok(()) => None,
        Err(Stop::Damaged(error)) => Some(error),
        Err(Stop::Caller(error)) => return Err(error),
    };
    std::io::copy(&mut source, &mut std::io::sink()).map_err(|error| data_error(&error))?;
    let Hashing { hash, length, .. } = source.into_inner();
    if length != promised {
        return Err(data_error(&eof()).into());
    }
    Ok((Seen { sum: hex(&hash.finalize()), length }, damage))
}

fn value_error(kind: &'static str, error: StreamError) -> ArchiveError {
    match error {
        StreamError::Io(error) => data_error(&error),
        StreamError::Malformed(reason) => ArchiveError::Malformed { kind, reason: reason.to_string() },
    }
}

fn read_records<E>(source: &mut impl BufRead, visit: Visit<'_, E>) -> Result<(), Stop<E>> {
    let mut value = Vec::new();
    read_value(source, MAX_RECORD, &mut value).map_err(|error| value_error("header", error))?;
    let header = decode::header(&value)?;
    for (key, until_ms) in header.lock_delays {
        visit(Event::Row(ArchiveRecord::LockDelay { key, until_ms })).map_err(Stop::Caller)?;
    }
    loop {
        let code = match source.fill_buf() {
            Ok([]) => return Ok(()),
            Ok([code, ..]) => *code,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(data_error(&error).into()),
        };
        source.consume(1);
        let kind = RecordKind::from_code(code).ok_or(ArchiveError::UnknownRecord(code))?;
        let limit = if kind == RecordKind::Kv { MAX_KV_RECORD } else { MAX_RECORD };
        read_value(source, limit, &mut value).map_err(|error| value_error(kind.name(), error))?;
        visit(Event::Record(kind)).map_err(Stop::Caller)?;
        decode::record(kind, &value, &mut |row| visit(Event::Row(row)).map_err(Stop::Caller))?;
    }
}

/// Compares the sums and reads `meta.json`.
fn verify(
    meta: Option<Vec<u8>>,
    state: Option<StateSeen>,
    sums: Option<Vec<u8>>,
) -> Result<ArchiveMeta, ArchiveError> {
    // What is absent hashes like an empty file, as in Consul.
    let meta = meta.unwrap_or_default();
    let parsed = serde_json::from_slice::<MetaFile>(&meta);
    if let (Err(error), false) = (&parsed, meta.is_empty()) {
        return Err(ArchiveError::File(format!("failed to decode snapshot metadata: {error}")));
    }
    let (state, damage) = state.unwrap_or_else(|| (Seen { sum: hex(&Sha256::digest(b"")), length: 0 }, None));
    let mut wanted = [(META, hex(&Sha256::digest(&meta)), false), (STATE, state.sum, false)];
    for line in String::from_utf8_lossy(&sums.unwrap_or_default()).lines() {
        let mut words = line.split_whitespace();
        let (Some(sum), Some(name), None) = (words.next(), words.next(), words.next()) else {
            return Err(ArchiveError::Integrity("unexpected EOF".to_owned()));
        };
        let Some((_, found, listed)) = wanted.iter_mut().find(|(wanted, ..)| *wanted == name) else {
            return Err(ArchiveError::Integrity(format!("list missing hash for {name:?}")));
        };
        if !sum.eq_ignore_ascii_case(found) {
            return Err(ArchiveError::Integrity(format!("hash check failed for {name:?}")));
        }
        *listed = true;
    }
    if let Some((name, ..)) = wanted.iter().find(|(_, _, listed)| !listed) {
        return Err(ArchiveError::Integrity(format!("file missing for {name:?}")));
    }
    let meta =
        parsed.map_err(|error| ArchiveError::File(format!("failed to decode snapshot metadata: {error}")))?;
    if meta.version != META_VERSION {
        return Err(ArchiveError::Meta(format!("unsupported snapshot version {}", meta.version)));
    }
    if meta.size != state.length {
        let (length, size) = (state.length, meta.size);
        return Err(ArchiveError::Meta(format!(
            "failed to write snapshot, size didn't match ({length} != {size})"
        )));
    }
    if let Some(error) = damage {
        return Err(error);
    }
    let servers = meta.configuration.servers.unwrap_or_default();
    Ok(ArchiveMeta {
        id: meta.id,
        index: meta.index,
        term: meta.term,
        servers: servers
            .into_iter()
            .map(|server| ArchiveServer {
                id: server.id,
                address: server.address,
                voter: server.suffrage == 0,
            })
            .collect(),
        size: meta.size,
    })
}
