//! The snapshot stream: a request, its outcome, and an archive one way or the other.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tracing::{debug, info, warn};

use super::RpcServices;
use super::read::check_datacenter;
use crate::endpoints::EndpointError;
use crate::endpoints::blocking;
use crate::endpoints::operator::{Spool, archive_origin};
use crate::endpoints::query::{Consistency, QueryMeta, QueryOptions};
use crate::rpc::codec::msgpack::Scanner;
use crate::rpc::codec::{Merged, from_bytes, to_bytes};
use crate::rpc::shapes::{ReplyMeta, SNAPSHOT_RESTORE, SNAPSHOT_SAVE, SnapshotOutcome, SnapshotRequest};
use crate::state::archive::Moment;

/// Longest request in bytes.
const REQUEST: usize = 64 << 10;
/// Bytes handed from one side to the other at a time.
const PIECE: usize = 256 << 10;
/// Pieces that wait for a slow reader.
const PIECES: usize = 4;

/// Serves one snapshot: the connection ends with it.
pub async fn serve<S>(stream: S, services: Arc<RpcServices>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    if let Err(error) = run(stream, &services).await {
        debug!(target: "agent.server.rpc", error = %error, "snapshot stream ended");
    }
}

async fn run<S>(mut stream: S, services: &RpcServices) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (mut buffer, mut scanner) = (BytesMut::new(), Scanner::default());
    let request: SnapshotRequest = loop {
        match scanner.advance(&buffer, REQUEST).map_err(io::Error::other)? {
            Some(length) => break from_bytes(&buffer.split_to(length)).map_err(io::Error::other)?,
            None if stream.read_buf(&mut buffer).await? == 0 => return Ok(()),
            None => {}
        }
    };
    let done = match request.op {
        SNAPSHOT_SAVE => save(&mut stream, services, &request).await?,
        SNAPSHOT_RESTORE => restore(&mut stream, services, &request, buffer.freeze()).await?,
        other => Err(EndpointError::Refused(format!("unrecognized snapshot op {other}"))),
    };
    match done {
        // A save has told the outcome before its archive.
        Ok(None) => {}
        Ok(Some(meta)) => stream.write_all(&outcome(&meta, String::new())).await?,
        Err(error) => stream.write_all(&outcome(&QueryMeta::default(), error.to_string())).await?,
    }
    stream.flush().await?;
    stream.shutdown().await
}

fn outcome(meta: &QueryMeta, error: String) -> Vec<u8> {
    to_bytes(&Merged { common: ReplyMeta::from(meta), own: SnapshotOutcome { error } })
}

type Done = Result<Option<QueryMeta>, EndpointError>;

async fn save<S>(stream: &mut S, services: &RpcServices, request: &SnapshotRequest) -> io::Result<Done>
where
    S: AsyncWrite + Unpin,
{
    let endpoints = &services.endpoints;
    let consistency = if request.allow_stale { Consistency::Stale } else { Consistency::Consistent };
    let options = QueryOptions { consistency, ..QueryOptions::default() };
    let allowed = check_datacenter(services, &request.datacenter);
    if let Err(error) = allowed {
        return Ok(Err(error));
    }
    if let Err(error) = blocking::refresh(endpoints, &options).await {
        return Ok(Err(error));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let origin = archive_origin(endpoints, &services.operator, now_ms);
    let (told, taken) = oneshot::channel();
    let (pieces, mut written) = mpsc::channel(PIECES);
    let state = endpoints.state.clone();
    let writing = spawn_blocking(move || {
        let moment = match Moment::take(&state) {
            Ok(moment) => moment,
            Err(error) => return drop(told.send(Err(EndpointError::from(error)))),
        };
        if told.send(Ok(moment.index())).is_err() {
            return;
        }
        let mut writer = Pieces { pieces, piece: Vec::with_capacity(PIECE) };
        if let Err(error) = moment.write(&mut writer, &origin).and_then(|out| Ok(out.flush()?)) {
            warn!(target: "agent.server", error = %error, "snapshot was not sent to its end");
            writer.fail();
        }
    });
    let index = match taken.await {
        Ok(Ok(index)) => index,
        Ok(Err(error)) => return Ok(Err(error)),
        Err(_) => return Ok(Err(EndpointError::Internal("the snapshot's thread ended early".to_owned()))),
    };
    let meta = blocking::meta(endpoints, &options, index);
    stream.write_all(&outcome(&meta, String::new())).await?;
    while let Some(piece) = written.recv().await {
        // An archive that is not whole must not look like one: the connection breaks off.
        let Some(piece) = piece else { return Err(io::Error::other("the archive could not be written")) };
        stream.write_all(&piece).await?;
    }
    writing.await.map_err(io::Error::other)?;
    Ok(Ok(None))
}

/// Collects what is written into pieces for another task.
struct Pieces {
    pieces: mpsc::Sender<Option<Bytes>>,
    piece: Vec<u8>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.pieces.blocking_send(Some(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn fail(&self) {
        // The other side may have gone, which is how most of these end.
        let _ = self.pieces.blocking_send(None);
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

async fn restore<S>(
    stream: &mut S,
    services: &RpcServices,
    request: &SnapshotRequest,
    mut piece: Bytes,
) -> io::Result<Done>
where
    S: AsyncRead + Unpin,
{
    if let Err(error) = check_datacenter(services, &request.datacenter) {
        return Ok(Err(error));
    }
    if request.allow_stale {
        return Ok(Err(EndpointError::Refused("stale not allowed for restore".to_owned())));
    }
    let directory = services.spool.clone();
    let mut spool = match work(move || Spool::create(&directory)).await? {
        Ok(spool) => spool,
        Err(error) => return Ok(Err(error)),
    };
    loop {
        if !piece.is_empty() {
            let written = work(move || spool.write(&piece).map(|()| spool)).await?;
            spool = match written {
                Ok(spool) => spool,
                Err(error) => return Ok(Err(error)),
            };
        }
        let mut buffer = BytesMut::with_capacity(PIECE);
        if stream.read_buf(&mut buffer).await? == 0 {
            break;
        }
        piece = buffer.freeze();
    }
    let archive = match work(move || spool.finish()).await? {
        Ok(archive) => archive,
        Err(error) => return Ok(Err(error)),
    };
    let index = archive.meta().index;
    Ok(services.operator.restore.restore(archive).await.map(|()| {
        info!(target: "agent.server", index, "state restored from a snapshot");
        Some(blocking::meta(&services.endpoints, &QueryOptions::default(), index))
    }))
}

/// Runs something that blocks on a thread that may.
async fn work<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, EndpointError> + Send + 'static,
) -> io::Result<Result<T, EndpointError>> {
    spawn_blocking(job).await.map_err(io::Error::other)
}
