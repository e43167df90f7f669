//! `/v1/snapshot`: the whole state as an archive, out and in.
//!
//! Archives may be larger than memory. Out: a thread that may block writes, pieces are sent as the
//! client takes them. In: spooled to a file without a name, checked from end to end, then restored.

use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use tokio::sync::oneshot;

use super::agent::{handle, now_ns};
use super::reply::ContentType;
use super::request::Pieces;
use super::{Answer, Reply, Request, Route, WebError, stream};
use crate::endpoints::EndpointError;
use crate::endpoints::agent::Agent;
use crate::endpoints::operator::{Operator, Spool, archive_origin};
use crate::endpoints::query::{Consistency, QueryOptions};
use crate::endpoints::{blocking, query};
use crate::state::archive::{ArchiveReader, Moment};

/// Bytes collected before they are handed to the spooling thread.
const SPOOL_CHUNK: usize = 1 << 20;

/// The routes of this family.
pub fn routes() -> Vec<Route> {
    vec![Route::new("/v1/snapshot", &["GET", "PUT"], |request| {
        if *request.method() == Method::PUT {
            Answer::later(restore(request))
        } else {
            Answer::later(save(request))
        }
    })]
}

async fn save(request: Request) -> Result<Reply, WebError> {
    let operator = handle::<Operator>(&request)?;
    let endpoints = request.endpoints().clone();
    // Unlike other reads, stale wins over consistent instead of clashing with it.
    let consistency = if request.has_arg("stale") { Consistency::Stale } else { Consistency::Consistent };
    let options = QueryOptions { datacenter: request.datacenter(), consistency, ..QueryOptions::default() };
    drop(request);
    if let Some(servers) = &endpoints.far {
        let (mut meta, archive) = servers.snapshot(&options).await?;
        meta.consistency = consistency;
        return Ok(Reply::stream(archive_type(), stream::pieces(archive)).with_meta(&meta));
    }
    options.check_datacenter(&endpoints)?;
    blocking::refresh(&endpoints, &options).await?;

    let origin = archive_origin(&endpoints, &operator, now_ns() / 1_000_000);
    let (writer, body) = stream::body();
    let (told, taken) = oneshot::channel();
    let state = endpoints.state.clone();
    // Nobody waits for this: the writer ends when it is done or the client is gone.
    drop(actix_web::rt::task::spawn_blocking(move || {
        let moment = match Moment::take(&state) {
            Ok(moment) => moment,
            Err(error) => return drop(told.send(Err(EndpointError::from(error)))),
        };
        if told.send(Ok(moment.index())).is_err() {
            return;
        }
        let mut writer = writer;
        if let Err(error) = moment.write(&mut writer, &origin).and_then(|out| Ok(std::io::Write::flush(out)?))
        {
            tracing::warn!(error = %error, "snapshot was not sent to its end");
            writer.fail(std::io::Error::other(error));
        }
    }));
    let lost = |_| EndpointError::Internal("the snapshot's thread ended early".to_owned());
    let index = taken.await.map_err(lost)??;
    let meta = blocking::meta(&endpoints, &options, index);
    Ok(Reply::stream(archive_type(), body).with_meta(&meta))
}

const fn archive_type() -> ContentType {
    ContentType::Other(HeaderValue::from_static("application/x-gzip"))
}

async fn restore(mut request: Request) -> Result<Reply, WebError> {
    let operator = handle::<Operator>(&request)?;
    let directory = handle::<Agent>(&request)?.facts.data_dir.clone();
    query::check_datacenter(request.endpoints(), request.datacenter().as_deref())?;
    if request.has_arg("stale") {
        return Err(EndpointError::Refused("stale not allowed for restore".to_owned()).into());
    }
    // What is in it is for those to judge who are to store it.
    let far = request.endpoints().far.is_some();
    if !far && let Some(led) = request.endpoints().leader.lease()? {
        led.await?;
    }
    let check = if far { Spool::sound } else { Spool::finish };
    let archive = receive(&directory, request.pieces(), check).await?;
    drop(request);
    let index = archive.meta().index;
    operator.restore.restore(archive).await?;
    tracing::info!(index, "state restored from a snapshot");
    Ok(Reply::ok())
}

type Archive = ArchiveReader<std::fs::File>;

/// Spools a body and checks it.
async fn receive(
    directory: &str,
    mut pieces: Pieces,
    check: fn(Spool) -> Result<Archive, EndpointError>,
) -> Result<Archive, WebError> {
    let directory = directory.to_owned();
    let mut spool = block(move || Spool::create(&directory)).await?;
    let mut chunk = Vec::new();
    loop {
        let piece = pieces.next().await?;
        if let Some(piece) = &piece {
            chunk.extend_from_slice(piece);
        }
        if chunk.len() >= SPOOL_CHUNK || piece.is_none() {
            (spool, chunk) = block(move || {
                spool.write(&chunk)?;
                chunk.clear();
                Ok((spool, chunk))
            })
            .await?;
        }
        if piece.is_none() {
            return block(move || check(spool)).await;
        }
    }
}

/// Runs something that blocks on a thread that may.
async fn block<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EndpointError> + Send + 'static,
) -> Result<T, WebError> {
    let done = actix_web::web::block(work).await;
    Ok(done.map_err(|error| EndpointError::Internal(error.to_string()))??)
}
