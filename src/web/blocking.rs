//! Reads over HTTP: answered at once when possible, parked cheaply when not.
//!
//! A parked query keeps its options, what it reads and how to render it; the request, its headers
//! and its query string are gone by then.

use actix_web::http::StatusCode;

use super::error::WebError;
use super::reply::Reply;
use super::request::Request;
use super::route::Answer;
use crate::endpoints::EndpointError;
use crate::endpoints::blocking::{BlockingRead, read as read_blocking, read_now};
use crate::endpoints::query::{QueryMeta, QueryOptions};
use crate::metrics::Counter;

/// Which `X-Consul-…` headers an endpoint family sends; they differ for no deeper reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaStyle {
    /// Keys: index, leader and contact, only with answers.
    Plain,
    /// Sessions and coordinates: also when the endpoint refuses, but not with a 404.
    OnErrors,
    /// Catalog and health: also when the endpoint refuses, and the consistency with answers.
    Catalog,
}

impl MetaStyle {
    fn apply(self, reply: Reply, meta: &QueryMeta) -> Reply {
        if self == Self::OnErrors && reply.status() == StatusCode::NOT_FOUND {
            return reply;
        }
        let reply = reply.with_meta(meta);
        if self == Self::Catalog { reply.with_consistency(meta) } else { reply }
    }

    /// The error of an endpoint, with or without headers.
    pub fn error(self, error: EndpointError) -> WebError {
        match self {
            Self::Plain => WebError::Endpoint(error),
            Self::OnErrors | Self::Catalog => WebError::EndpointWithMeta(error),
        }
    }
}

/// Reads and answers. `render` gets what was found and whether to indent.
pub fn answer<R, F>(request: Request, options: QueryOptions, style: MetaStyle, read: R, render: F) -> Answer
where
    R: BlockingRead + 'static,
    F: FnOnce(R::Found, bool) -> Reply + 'static,
{
    let pretty = request.pretty();
    let metrics = &request.room().shared.metrics;
    metrics.count(Counter::RpcQuery);
    metrics.count(Counter::ClientRpc);
    match read_now(request.endpoints(), &options, &read) {
        Err(error) => style.error(error).into(),
        Ok(Some((meta, found))) => style.apply(render(found, pretty), &meta).into(),
        Ok(None) => {
            let room = request.room().clone();
            drop(request);
            Answer::later(async move {
                let shared = &room.shared;
                let wait = options.wait_time(&shared.endpoints, rand::random());
                let deadline = actix_web::rt::time::sleep(wait);
                let (meta, found) =
                    read_blocking(&shared.endpoints, &options, &read, deadline, &shared.drain)
                        .await
                        .map_err(|error| style.error(error))?;
                Ok(style.apply(render(found, pretty), &meta))
            })
        }
    }
}
