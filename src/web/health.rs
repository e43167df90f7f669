//! `/v1/health`: checks, and instances with their checks, over HTTP.

use std::borrow::Cow;

use super::catalog::{Listing, filter, instances, named, near, node_meta};
use super::json_catalog::{self, NoTags};
use super::{Answer, Json, MetaStyle, Reply, Request, Route, WebError, blocking};
use crate::endpoints::filter::{HealthInstanceFields, parse_bool};
use crate::endpoints::health::{Checks, ChecksOf};
use crate::endpoints::query::QueryOptions;
use crate::endpoints::service_query::Target;

/// The routes of this family.
pub fn routes() -> Vec<Route> {
    vec![
        Route::new("/v1/health/node/", &["GET"], |request| {
            checks(request, "Missing node name", ChecksOf::Node)
        }),
        Route::new("/v1/health/checks/", &["GET"], |request| {
            checks(request, "Missing service name", ChecksOf::Service)
        }),
        Route::new("/v1/health/state/", &["GET"], |request| {
            checks(request, "Missing check state", ChecksOf::Status)
        }),
        Route::new("/v1/health/service/", &["GET"], |request| healthy(request, Target::Service)),
        Route::new("/v1/health/connect/", &["GET"], |request| healthy(request, Target::Connect)),
        Route::new("/v1/health/ingress/", &["GET"], |request| healthy(request, Target::Ingress)),
    ]
}

fn checks(request: Request, missing: &'static str, of: fn(String) -> ChecksOf) -> Answer {
    let (options, name) = match named(&request, missing) {
        Ok(found) => found,
        Err(error) => return error.into(),
    };
    let read = Checks::new(of(name), node_meta(&request), &near(&request), filter(&request));
    blocking::answer(request, options, MetaStyle::Catalog, read, |checks, pretty| {
        let mut json = Json::with_capacity(pretty, 64 + checks.len() * 320);
        json.array(|json| checks.iter().for_each(|check| json_catalog::check(json, check, NoTags::Empty)));
        Reply::json(json)
    })
}

fn healthy(request: Request, target: Target) -> Answer {
    let (options, name) = match named(&request, "Missing service name") {
        Ok(found) => found,
        Err(error) => return error.into(),
    };
    let passing = match passing(&request, &options) {
        Ok(passing) => passing,
        Err(error) => return error.into(),
    };
    let listing = Listing { target, with_checks: true, passing, write: json_catalog::health_instance };
    instances::<HealthInstanceFields>(&name, listing, options, request)
}

/// `?passing`, with or without a boolean. Consul looks at it when it has the answer already, so
/// another datacenter is the worse mistake.
fn passing(request: &Request, options: &QueryOptions) -> Result<bool, WebError> {
    match request.arg("passing") {
        None => Ok(false),
        Some("") => Ok(true),
        Some(text) => parse_bool(text).ok_or_else(|| match options.check_datacenter(request.endpoints()) {
            Ok(()) => WebError::BadRequest(Cow::Borrowed("Invalid value for ?passing")),
            Err(error) => MetaStyle::Catalog.error(error),
        }),
    }
}
