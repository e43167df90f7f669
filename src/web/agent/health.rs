//! `/v1/agent/health/service/*`: the health of this agent's services, with a status code that load balancers
//! understand.

use actix_web::http::StatusCode;
use actix_web::http::header::ACCEPT;

use super::super::reply::ContentType;
use super::super::{Json, Reply, Request, Route, WebError};
use super::{handle, record};
use crate::definition::Status;
use crate::endpoints::EndpointError;
use crate::endpoints::agent::Agent;
use crate::endpoints::agent::service_health::{self, Aggregate, ServiceHealth};

/// The routes of this family.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new("/v1/agent/health/service/id/", &["GET"], |request| by_id(&request).into()),
        Route::new("/v1/agent/health/service/name/", &["GET"], |request| by_name(&request).into()),
    ]
}

/// The code of a status; of several services the highest counts.
const fn code(aggregate: Aggregate) -> StatusCode {
    match aggregate {
        Aggregate::Checked(Status::Passing) => StatusCode::OK,
        Aggregate::Checked(Status::Warning) => StatusCode::TOO_MANY_REQUESTS,
        Aggregate::Checked(Status::Critical) | Aggregate::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Whether the answer shall be one word.
fn wants_text(request: &Request) -> bool {
    request.header(&ACCEPT).is_some_and(|accept| accept.starts_with("text/plain"))
        || request.arg("format") == Some("text")
}

fn missing(what: &str) -> WebError {
    // Consul means 400 and answers 500.
    EndpointError::Refused(format!("Bad request: Missing {what}")).into()
}

fn word(status: StatusCode, word: &str) -> Reply {
    Reply::with_body(status, ContentType::Plain, word.to_owned()).with_reason(word)
}

fn by_id(request: &Request) -> Result<Reply, WebError> {
    let id = request.rest_text();
    if id.is_empty() {
        return Err(missing("serviceID"));
    }
    request.refuse_namespace()?;
    let local = handle::<Agent>(request)?.local.local();
    let pretty = request.pretty();
    let Some(found) = service_health::by_id(&local, &id) else {
        let reason = format!("ServiceId {id} not found");
        let reply = Reply::write_json(pretty, |json| {
            if wants_text(request) {
                return json.text(&reason);
            }
            json.object(|json| {
                json.key("AggregatedStatus").text(Status::Critical.as_str());
                json.key("Service").null();
                json.key("Checks").null();
            });
        });
        return Ok(reply.with_status(StatusCode::NOT_FOUND).with_reason(&reason));
    };
    let (status, aggregate) = (code(found.aggregate), found.aggregate.as_str());
    if wants_text(request) {
        return Ok(word(status, aggregate));
    }
    let reply = Reply::write_json(pretty, |json| write(json, &found));
    Ok(reply.with_status(status).with_reason(aggregate))
}

fn by_name(request: &Request) -> Result<Reply, WebError> {
    let name = request.rest_text();
    if name.is_empty() {
        return Err(missing("service Name"));
    }
    request.refuse_namespace()?;
    let local = handle::<Agent>(request)?.local.local();
    let found = service_health::by_name(&local, &name);
    // Of several with the highest code the first one gives the word.
    let worst = found
        .iter()
        .map(|one| one.aggregate)
        .reduce(|worst, next| if code(next) > code(worst) { next } else { worst });
    let (status, reason) = match worst {
        Some(aggregate) => (code(aggregate), aggregate.as_str().to_owned()),
        None => (StatusCode::NOT_FOUND, format!("ServiceName {name} Not Found")),
    };
    if wants_text(request) {
        return Ok(word(status, &reason));
    }
    let reply = Reply::write_json(request.pretty(), |json| {
        json.array(|json| found.iter().for_each(|one| write(json, one)));
    });
    Ok(reply.with_status(status).with_reason(&reason))
}

fn write(json: &mut Json, health: &ServiceHealth) {
    json.object(|json| {
        json.key("AggregatedStatus").text(health.aggregate.as_str());
        record::service(json.key("Service"), &health.service, None);
        json.key("Checks").array(|json| {
            health.checks.iter().for_each(|check| record::check_of_health(json, check));
        });
    });
}
