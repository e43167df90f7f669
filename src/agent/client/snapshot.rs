//! Snapshots through the servers: an archive streamed out of one, or into it.
//!
//! A connection of its own for each (first byte 5): the request, its outcome, and the archive one way or the other.

use std::fs::File;
use std::io::{self, Seek as _};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use futures::stream;
use futures::{StreamExt as _, future};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::endpoints::EndpointError;
use crate::endpoints::far::ArchiveBytes;
use crate::endpoints::query::QueryMeta;
use crate::rpc::codec::msgpack::Scanner;
use crate::rpc::codec::{from_bytes, to_bytes};
use crate::rpc::shapes::{Reply, SNAPSHOT_RESTORE, SNAPSHOT_SAVE, SnapshotOutcome, SnapshotRequest};

/// First byte of a snapshot stream.
const SNAPSHOT: u8 = 5;
/// Longest time to get a connection.
const DIAL: Duration = Duration::from_secs(10);
/// Longest outcome in bytes.
const OUTCOME: usize = 64 << 10;

/// Has an archive made of the state and gives it as it comes.
///
/// # Errors
/// The server's, or that none could be asked.
pub async fn save(
    servers: &[SocketAddr],
    datacenter: String,
    stale: bool,
) -> Result<(QueryMeta, ArchiveBytes), EndpointError> {
    let request = SnapshotRequest { allow_stale: stale, datacenter, op: SNAPSHOT_SAVE, token: String::new() };
    let mut connection = open(servers, &request).await?;
    let (meta, rest) = outcome(&mut connection).await?;
    let first = stream::iter((!rest.is_empty()).then(|| Ok(rest.freeze())));
    let others = stream::unfold(connection, |mut connection| async {
        let mut buffer = BytesMut::with_capacity(64 << 10);
        match connection.read_buf(&mut buffer).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(buffer.freeze()), connection)),
            Err(error) => Some((Err(error), connection)),
        }
    });
    // After an error nothing follows.
    let mut failed = false;
    let whole = first.chain(others).take_while(move |piece| {
        let goes_on = !failed;
        failed |= piece.is_err();
        future::ready(goes_on)
    });
    Ok((meta, whole.boxed()))
}

/// Puts an archive in the place of the whole state.
///
/// # Errors
/// The server's, or that none could be asked.
pub async fn restore(servers: &[SocketAddr], datacenter: String, archive: File) -> Result<(), EndpointError> {
    let broken = |error: io::Error| {
        EndpointError::Internal(format!("cannot hand the snapshot to the server: {error}"))
    };
    let mut archive = archive;
    archive.rewind().map_err(broken)?;
    let request =
        SnapshotRequest { allow_stale: false, datacenter, op: SNAPSHOT_RESTORE, token: String::new() };
    let mut connection = open(servers, &request).await?;
    let mut archive = tokio::fs::File::from_std(archive);
    // A server that refuses may say so before it has read everything.
    let sent = tokio::io::copy(&mut archive, &mut connection).await;
    let ended = connection.shutdown().await;
    let told = outcome(&mut connection).await;
    if told.is_err() {
        sent.map_err(broken)?;
        ended.map_err(broken)?;
    }
    told.map(drop)
}

/// A connection to the first server that can be reached, with the request on it.
async fn open(servers: &[SocketAddr], request: &SnapshotRequest) -> Result<TcpStream, EndpointError> {
    let mut failure = EndpointError::Internal("No known Consul servers".to_owned());
    let mut bytes = vec![SNAPSHOT];
    bytes.extend(to_bytes(request));
    for server in servers {
        let dialled = timeout(DIAL, TcpStream::connect(server)).await.unwrap_or_else(|_| {
            let text = format!("dial tcp {server}: i/o timeout");
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        });
        let sent = match dialled {
            Ok(mut connection) => connection.write_all(&bytes).await.map(|()| connection),
            Err(error) => Err(error),
        };
        match sent {
            Ok(connection) => return Ok(connection),
            Err(error) => failure = EndpointError::Internal(format!("rpc error getting client: {error}")),
        }
    }
    Err(failure)
}

/// What the server says, and what has come of the archive behind it.
async fn outcome(connection: &mut TcpStream) -> Result<(QueryMeta, BytesMut), EndpointError> {
    let broken = |error: &dyn std::fmt::Display| {
        EndpointError::Internal(format!("failed to decode response: {error}"))
    };
    let (mut buffer, mut scanner) = (BytesMut::new(), Scanner::default());
    let length = loop {
        if let Some(length) = scanner.advance(&buffer, OUTCOME).map_err(|error| broken(&error))? {
            break length;
        }
        if connection.read_buf(&mut buffer).await.map_err(|error| broken(&error))? == 0 {
            return Err(broken(&"EOF"));
        }
    };
    let told: Reply<SnapshotOutcome> =
        from_bytes(&buffer.split_to(length)).map_err(|error| broken(&error))?;
    match told.own.error {
        error if error.is_empty() => Ok((QueryMeta::from(&told.common), buffer)),
        error => Err(EndpointError::Refused(error)),
    }
}
