//! `/v1/agent/checks` and `/v1/agent/check/*`: the checks of this agent.

use super::super::json_catalog::{self, NoTags};
use super::super::{Answer, Reply, Request, Route, WebError};
use super::{body, handle};
use crate::definition::Status;
use crate::endpoints::EndpointError;
use crate::endpoints::agent::Agent;
use crate::endpoints::decode::definitions;
use crate::endpoints::filter::{CheckFields, Filter};

/// The routes of this family.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new("/v1/agent/checks", &["GET"], |request| list(&request).into()),
        Route::new("/v1/agent/check/register", &["PUT"], |request| Answer::later(register(request))),
        Route::new("/v1/agent/check/deregister/", &["PUT"], |request| Answer::later(deregister(request))),
        Route::new("/v1/agent/check/pass/", &["PUT"], |request| note(&request, Status::Passing).into()),
        Route::new("/v1/agent/check/warn/", &["PUT"], |request| note(&request, Status::Warning).into()),
        Route::new("/v1/agent/check/fail/", &["PUT"], |request| note(&request, Status::Critical).into()),
        Route::new("/v1/agent/check/update/", &["PUT"], |request| Answer::later(update(request))),
    ]
}

fn list(request: &Request) -> Result<Reply, WebError> {
    request.refuse_namespace()?;
    // Unlike the error of other filters, Consul's has nothing in front of it here.
    let filter: Filter<CheckFields> = Filter::compile(request.arg("filter").unwrap_or_default())
        .map_err(|error| EndpointError::Refused(error.to_string()))?;
    let local = handle::<Agent>(request)?.local.local();
    Ok(Reply::write_json(request.pretty(), |json| {
        json.object(|json| {
            for (id, found) in local.checks.iter().filter(|(_, found)| filter.passes(found)) {
                json_catalog::check(json.key_text(id), found, NoTags::Empty);
            }
        });
    }))
}

async fn register(mut request: Request) -> Result<Reply, WebError> {
    request.refuse_namespace()?;
    let definition = body(&mut request, definitions::check).await?;
    handle::<Agent>(&request)?.register_check(&definition).await?;
    Ok(Reply::ok())
}

async fn deregister(request: Request) -> Result<Reply, WebError> {
    request.refuse_namespace()?;
    handle::<Agent>(&request)?.deregister_check(&request.rest_text()).await?;
    Ok(Reply::ok())
}

fn note(request: &Request, status: Status) -> Result<Reply, WebError> {
    request.refuse_namespace()?;
    let output = request.arg("note").unwrap_or_default().to_owned();
    handle::<Agent>(request)?.update_check(&request.rest_text(), status, output)?;
    Ok(Reply::ok())
}

async fn update(mut request: Request) -> Result<Reply, WebError> {
    let news = body(&mut request, definitions::check_news).await?;
    let Some(status) = Status::parse(&news.status) else {
        return Err(WebError::bad_request(format!("Invalid check status: '{}'", news.status)));
    };
    request.refuse_namespace()?;
    handle::<Agent>(&request)?.update_check(&request.rest_text(), status, news.output)?;
    Ok(Reply::ok())
}
