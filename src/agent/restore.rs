//! Restoring an archive: its bytes go into the log piece by piece, and one last command puts them in the state's place.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::endpoints::operator::SnapshotRestore;
use crate::endpoints::{EndpointError, Proposer};
use crate::state::Command;
use crate::state::archive::ArchiveReader;
use crate::state::command::{RestoreChunk, RestoreFinish};
use crate::state::restore::CHUNK_BYTES;

/// Restores through the log of whichever server leads.
pub struct LogRestore {
    proposer: Arc<dyn Proposer>,
}

impl LogRestore {
    /// Proposes through `proposer`.
    pub const fn new(proposer: Arc<dyn Proposer>) -> Self {
        Self { proposer }
    }
}

impl SnapshotRestore for LogRestore {
    fn restore(&self, archive: ArchiveReader<File>) -> BoxFuture<'_, Result<(), EndpointError>> {
        // On a task of its own: a client that goes away must not leave half a restore behind, which would keep others
        // from theirs.
        let work = tokio::spawn(restore(Arc::clone(&self.proposer), archive.into_source()));
        Box::pin(async move {
            work.await.unwrap_or_else(|_| Err(EndpointError::Internal("the restore ended early".into())))
        })
    }
}

async fn restore(proposer: Arc<dyn Proposer>, archive: File) -> Result<(), EndpointError> {
    let id: Arc<str> = uuid::Uuid::new_v4().to_string().into();
    let restored = send(&*proposer, &id, archive).await;
    if restored.is_err()
        && let Err(error) = proposer.propose(Command::RestoreAbort { id }).await
    {
        warn!(target: "agent.server", error = %error, "a restore that failed is forgotten in a minute only");
    }
    restored
}

async fn send(proposer: &dyn Proposer, id: &Arc<str>, archive: File) -> Result<(), EndpointError> {
    let mut archive = blocking(move || {
        let mut archive = archive;
        archive.rewind()?;
        Ok(archive)
    })
    .await?;
    let (mut hash, mut number) = (Sha256::new(), 0);
    loop {
        let (back, data) = blocking(move || {
            let mut data = Vec::with_capacity(CHUNK_BYTES);
            archive.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut data)?;
            Ok((archive, Bytes::from(data)))
        })
        .await?;
        archive = back;
        if data.is_empty() {
            break;
        }
        hash.update(&data);
        proposer.propose(Command::RestoreChunk(RestoreChunk { id: id.clone(), number, data })).await?;
        number += 1;
    }
    let sha256 = Bytes::copy_from_slice(&hash.finalize());
    let finish = RestoreFinish { id: id.clone(), chunks: number, sha256 };
    proposer.propose(Command::RestoreFinish(finish)).await.map(drop)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, EndpointError> {
    let failed =
        |error: io::Error| EndpointError::Internal(format!("cannot read the spooled snapshot: {error}"));
    spawn_blocking(work).await.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)
}
