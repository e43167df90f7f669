//! `kv`: the key-value store.

pub(super) mod delete;
pub(super) mod export;
pub(super) mod get;
pub(super) mod import;
pub(super) mod put;

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use super::client::{Client, ClientError, Request};
use super::invocation::Invocation;
use super::{Failure, Io, gotext};

pub(super) use crate::watch::shape::KvPair;

/// The bytes of an entry's value.
pub(super) fn bytes(pair: &KvPair) -> Result<Vec<u8>, ClientError> {
    gotext::decode_base64(pair.value.as_deref().unwrap_or_default().as_bytes()).map_err(ClientError::Decode)
}

/// The API's path of `key`, which loses one leading slash.
pub(super) fn path(key: &str) -> String {
    format!("/v1/kv/{}", key.strip_prefix('/').unwrap_or(key))
}

/// Reads entries; a key that does not exist is an empty list.
pub(super) fn list(request: Request<'_>) -> Result<Vec<KvPair>, ClientError> {
    Ok(list_behind(request, 0, None)?.0)
}

/// Like [`list`], with the index of the answer. Behind an `index` above 0 it waits for news, up to
/// `wait`.
pub(super) fn list_behind(
    request: Request<'_>,
    index: u64,
    wait: Option<Duration>,
) -> Result<(Vec<KvPair>, u64), ClientError> {
    let request = request
        .with_some("index", (index > 0).then(|| index.to_string()))
        .with_some("wait", wait.map(|wait| format!("{}ms", wait.as_millis().max(1))));
    let answer = request.send()?;
    let next = answer.index();
    if answer.status() == 404 {
        return Ok((Vec::new(), next));
    }
    let found: Option<Vec<KvPair>> = answer.json()?;
    Ok((found.unwrap_or_default(), next))
}

/// A failed read; Consul leaves the body out here.
fn read_failure(error: &ClientError) -> Failure {
    Failure::Text(match error {
        ClientError::Status { code, .. } => {
            format!("Error querying Consul agent: Unexpected response code: {code}")
        }
        other => format!("Error querying Consul agent: {other}"),
    })
}

/// The client writes refuse such keys before anything is sent.
fn writable(key: &str) -> Result<(), String> {
    if key.starts_with('/') {
        return Err(format!("Invalid key. Key must not begin with a '/': {key}"));
    }
    Ok(())
}

/// Writes `value`; the parameters are set on `request`.
pub(super) fn write(client: &Client, key: &str, flags: u64, value: &[u8]) -> Result<bool, String> {
    writable(key)?;
    let request = client.put(path(key)).with_some("flags", (flags != 0).then(|| flags.to_string()));
    request.send_body(value).and_then(super::client::Answer::says_true).map_err(|error| error.to_string())
}

/// The data an argument stands for: `@file`, `-` for standard input, else itself.
fn data(argument: &OsStr, io: &mut Io) -> Result<Vec<u8>, Failure> {
    let bytes = argument.as_bytes();
    if bytes == b"-" {
        let mut data = Vec::new();
        io.stdin.read_to_end(&mut data).map_err(|error| {
            Failure::Text(format!("Error! Failed to read stdin: {}", gotext::os_error(&error)))
        })?;
        return Ok(data);
    }
    match bytes.strip_prefix(b"@") {
        Some(name) => {
            let name = OsStr::from_bytes(name);
            gotext::read_file(name.as_ref())
                .map_err(|error| Failure::Text(format!("Error! Failed to read file: {error}")))
        }
        None => Ok(bytes.to_vec()),
    }
}

/// The only argument, which may be left out.
fn one_key(invocation: &Invocation) -> Result<String, Failure> {
    match invocation.arguments().len() {
        0 | 1 => Ok(invocation.argument(0).unwrap_or_default()),
        more => Err(Failure::Text(format!("Too many arguments (expected 1, got {more})"))),
    }
}
