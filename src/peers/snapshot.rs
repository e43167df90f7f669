//! Streaming a snapshot's data to a peer, and taking it in.
//!
//! A connection of its own for each: a laggard's gigabytes must not stand before anybody's heartbeats. The raft message
//! that announces the snapshot goes first, the data follows in pieces, and the receiver gives the message to its raft
//! node once the data is whole and durable.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{info, warn};

use super::data::SnapshotData;
use super::frame::{self, FrameError, Kind, Reader};
use super::link::dial;
use super::links::Shared;
use crate::raft::{Manifest, PeerMessage, ServerRecord};

/// Bytes of data in one frame.
const PIECE: usize = 256 << 10;
/// Longest silence while data is streamed, and wait for the receiver's last word: its disk may be slow.
const SILENCE: Duration = Duration::from_secs(60);

/// Sends a snapshot and tells raft how it went.
pub(super) async fn send(shared: Arc<Shared>, to: ServerRecord, manifest: Manifest, message: Bytes) {
    let (index, size) = (manifest.index, manifest.size);
    let sent = stream(&shared, &to, manifest, message).await;
    match &sent {
        Ok(()) => {
            info!(target: "agent.server.raft", peer = %to.name, index, bytes = size, "sent a snapshot");
        }
        Err(error) => {
            warn!(target: "agent.server.raft", peer = %to.name, index, error = %error, "cannot send a snapshot");
        }
    }
    if let Some(news) = shared.news() {
        news.snapshot_sent(to.raft_id(), sent.is_ok());
    }
}

async fn stream(
    shared: &Shared,
    to: &ServerRecord,
    manifest: Manifest,
    message: Bytes,
) -> Result<(), FrameError> {
    let data = Arc::clone(&shared.data);
    let mut source = spawn_blocking(move || data.open(&manifest)).await.map_err(io::Error::other)??;
    let mut connection = dial(shared, to).await?;
    frame::write(&mut connection, Kind::Snapshot, &message).await?;
    loop {
        let read = spawn_blocking(move || {
            let mut piece = Vec::with_capacity(PIECE);
            let read = source.by_ref().take(PIECE as u64).read_to_end(&mut piece);
            (source, read.map(|_| piece))
        });
        let (back, piece) = read.await.map_err(io::Error::other)?;
        source = back;
        let piece = piece?;
        let mut out = BytesMut::new();
        let (kind, last) = if piece.is_empty() { (Kind::End, true) } else { (Kind::Data, false) };
        frame::put(&mut out, kind, &piece);
        timeout(SILENCE, connection.write_all(&out)).await.map_err(|_| late())??;
        if last {
            break;
        }
    }
    match timeout(SILENCE, Reader::new(connection).next()).await.map_err(|_| late())?? {
        (Kind::End, _) => Ok(()),
        (kind, _) => Err(FrameError::Kind(kind as u8)),
    }
}

fn late() -> FrameError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

/// Takes in the data of the snapshot that `message` announces. Once this is done the message may be given to raft.
///
/// # Errors
/// [`FrameError`]; nothing is kept then.
pub(super) async fn receive<R: AsyncRead + Unpin>(
    data: Arc<dyn SnapshotData>,
    message: &PeerMessage,
    from: &mut Reader<R>,
) -> Result<Manifest, FrameError> {
    let manifest = message.snapshot().ok_or(FrameError::Kind(Kind::Snapshot as u8))?;
    let announced = manifest.clone();
    let mut sink = spawn_blocking(move || data.receive(&announced)).await.map_err(io::Error::other)??;
    loop {
        match timeout(SILENCE, from.next()).await.map_err(|_| late())?? {
            (Kind::Data, piece) => {
                let written = spawn_blocking(move || sink.write(&piece).map(|()| sink));
                sink = written.await.map_err(io::Error::other)??;
            }
            (Kind::End, _) => break,
            (kind, _) => return Err(FrameError::Kind(kind as u8)),
        }
    }
    spawn_blocking(move || sink.finish()).await.map_err(io::Error::other)??;
    Ok(manifest)
}

/// Tells the sender that its snapshot is here.
///
/// # Errors
/// [`FrameError::Io`].
pub(super) async fn confirm<W: AsyncWrite + Unpin>(to: &mut W) -> Result<(), FrameError> {
    frame::write(to, Kind::End, &[]).await
}
