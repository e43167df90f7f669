//! `/v1/agent/services` and `/v1/agent/service/*`: the services of this agent.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};
use futures::future::select;

use super::super::query::parse_u64;
use super::super::{Answer, Reply, Request, Route, WebError};
use super::{body, handle, record};
use crate::duration;
use crate::endpoints::EndpointError;
use crate::endpoints::agent::Agent;
use crate::endpoints::agent::service_view::{HashedService, find, find_changed};
use crate::endpoints::decode::definitions;
use crate::endpoints::filter::{Filter, ServiceFields};
use crate::endpoints::query::QueryOptions;
use crate::state::Topic;

static CONTENT_HASH: HeaderName = HeaderName::from_static("x-consul-contenthash");

/// The routes of this family.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new("/v1/agent/services", &["GET"], |request| list(&request).into()),
        Route::new("/v1/agent/service/", &["GET"], one),
        Route::new("/v1/agent/service/register", &["PUT"], |request| Answer::later(register(request))),
        Route::new("/v1/agent/service/deregister/", &["PUT"], |request| Answer::later(deregister(request))),
        Route::new("/v1/agent/service/maintenance/", &["PUT"], |request| maintenance(&request).into()),
    ]
}

fn list(request: &Request) -> Result<Reply, WebError> {
    request.refuse_namespace()?;
    let filter: Filter<ServiceFields> =
        Filter::compile(request.arg("filter").unwrap_or_default()).map_err(EndpointError::from)?;
    let local = handle::<Agent>(request)?.local.local();
    Ok(Reply::write_json(request.pretty(), |json| {
        json.object(|json| {
            for (id, found) in local.services.iter().filter(|(_, found)| filter.passes(found)) {
                record::service(json.key_text(id), found, None);
            }
        });
    }))
}

fn one(request: Request) -> Answer {
    let wanted = match Wanted::of(&request) {
        Ok(wanted) => wanted,
        Err(error) => return error.into(),
    };
    if wanted.hash.is_empty() {
        let found = find(&*wanted.agent.local, &wanted.id);
        return wanted.reply(found).into();
    }
    let room = request.room().clone();
    drop(request);
    Answer::later(async move {
        let endpoints = &room.shared.endpoints;
        let options = QueryOptions { max_wait: wanted.wait, ..QueryOptions::default() };
        let deadline = Box::pin(actix_web::rt::time::sleep(options.wait_time(endpoints, rand::random())));
        // No session has this id: only a shutdown, which wakes everybody, wakes this.
        let shutdown = Box::pin(endpoints.state.watches().subscribe([Topic::Session(Arc::from(""))]));
        let end = async {
            if !room.shared.drain.is_draining() {
                select(deadline, shutdown).await;
            }
        };
        let found = find_changed(&*wanted.agent.local, &wanted.id, &wanted.hash, end).await;
        wanted.reply(found)
    })
}

/// The service a request asks for.
struct Wanted {
    agent: Arc<Agent>,
    id: String,
    /// The hash it had; empty to answer at once.
    hash: String,
    /// Longest wait; zero for the default.
    wait: Duration,
    pretty: bool,
}

impl Wanted {
    fn of(request: &Request) -> Result<Self, WebError> {
        let mut wait = Duration::ZERO;
        if let Some(text) = request.arg_filled("wait") {
            let nanos = duration::parse(text).map_err(|_| WebError::bad_request("Invalid wait time"))?;
            wait = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
        }
        if let Some(text) = request.arg_filled("index") {
            // It means nothing here but is checked all the same.
            parse_u64(text).map_err(|_| WebError::bad_request("Invalid index"))?;
        }
        request.refuse_namespace()?;
        Ok(Self {
            agent: handle::<Agent>(request)?,
            id: request.rest_text().into_owned(),
            hash: request.arg("hash").unwrap_or_default().to_owned(),
            wait,
            pretty: request.pretty(),
        })
    }

    fn reply(&self, found: Option<HashedService>) -> Result<Reply, WebError> {
        let Some(HashedService { service, hash }) = found else {
            return Err(WebError::NotFound(format!("unknown service ID: {}", self.id).into()));
        };
        let reply = Reply::write_json(self.pretty, |json| record::service(json, &service, Some(&hash)));
        match HeaderValue::from_str(&hash) {
            Ok(value) => Ok(reply.with_header(CONTENT_HASH.clone(), value)),
            Err(_) => Ok(reply),
        }
    }
}

async fn register(mut request: Request) -> Result<Reply, WebError> {
    request.refuse_namespace()?;
    let definition = body(&mut request, definitions::service).await?;
    let replace = matches!(request.arg("replace-existing-checks"), Some("" | "true"));
    handle::<Agent>(&request)?.register_service(&definition, replace).await?;
    Ok(Reply::ok())
}

async fn deregister(request: Request) -> Result<Reply, WebError> {
    request.refuse_namespace()?;
    handle::<Agent>(&request)?.deregister_service(&request.rest_text()).await?;
    Ok(Reply::ok())
}

fn maintenance(request: &Request) -> Result<Reply, WebError> {
    let id = request.rest_text();
    if id.is_empty() {
        return Err(WebError::bad_request("Missing service ID"));
    }
    let enable = super::enable(request)?;
    request.refuse_namespace()?;
    let reason = request.arg("reason").unwrap_or_default();
    handle::<Agent>(request)?.service_maintenance(&id, enable, reason)?;
    Ok(Reply::ok())
}
