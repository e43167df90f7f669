//! `/v1/agent/*`: this agent.
//!
//! What needs gossip with others or Connect answers 501 until it is built.

mod checks;
mod health;
mod record;
mod services;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::http::StatusCode;

use super::reply::Reply;
use super::{Answer, Json, Request, Route, WebError, agent_metrics, agent_monitor};
use crate::endpoints::EndpointError;
use crate::endpoints::agent::{Agent, Member};
use crate::endpoints::decode::{Decoded, Json as Body};
use crate::endpoints::operator::Operator;

/// The routes of this family.
pub fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::new("/v1/agent/token/", &["PUT"], |_| {
            Reply::text(StatusCode::UNAUTHORIZED, "ACL support disabled").into()
        }),
        Route::new("/v1/agent/self", &["GET"], |request| own_self(&request).into()),
        Route::new("/v1/agent/host", &["GET"], |request| Answer::later(host(request))),
        Route::new("/v1/agent/maintenance", &["PUT"], |request| node_maintenance(&request).into()),
        Route::new("/v1/agent/reload", &["PUT"], |request| Answer::later(reload(request))),
        Route::new("/v1/agent/monitor", &["GET"], |request| agent_monitor::follow(&request).into()),
        Route::new("/v1/agent/metrics", &["GET"], |request| agent_metrics::show(&request).into()),
        Route::new("/v1/agent/members", &["GET"], |request| members(&request).into()),
        Route::new("/v1/agent/join/", &["PUT"], |request| Answer::later(join(request))),
        Route::new("/v1/agent/leave", &["PUT"], |request| Answer::later(leave(request))),
        Route::new("/v1/agent/force-leave/", &["PUT"], |request| Answer::later(force_leave(request))),
        Route::new("/v1/agent/connect/authorize", &["POST"], |_| later("Connect")),
        Route::new("/v1/agent/connect/ca/roots", &["GET"], |_| later("Connect")),
        Route::new("/v1/agent/connect/ca/leaf/", &["GET"], |_| later("Connect")),
    ];
    routes.extend(services::routes());
    routes.extend(checks::routes());
    routes.extend(health::routes());
    routes
}

fn later(what: &str) -> Answer {
    let text = format!("{what}: not built into this version yet");
    WebError::from(EndpointError::NotImplemented(text)).into()
}

/// A handle given to the server; its absence is a mistake of whoever built the agent.
pub(super) fn handle<T: Send + Sync + 'static>(request: &Request) -> Result<Arc<T>, WebError> {
    let missing = || EndpointError::NotImplemented("this agent does not offer that".to_owned()).into();
    request.handle::<T>().ok_or_else(missing)
}

/// Largest body of a registration.
const BODY_LIMIT: usize = 512 * 1024;

/// Reads and decodes a body.
async fn body<T>(request: &mut Request, decode: fn(Body) -> Decoded<T>) -> Result<T, WebError> {
    let body = request.body(BODY_LIMIT).await?;
    Body::parse(&body)
        .and_then(decode)
        .map_err(|error| WebError::bad_request(format!("Request decode failed: {error}")))
}

/// Wall clock in nanoseconds since the Unix epoch.
pub(super) fn now_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
}

fn own_self(request: &Request) -> Result<Reply, WebError> {
    let agent = handle::<Agent>(request)?;
    let raft = request.handle::<Operator>().map(|operator| operator.raft.raft_status()).unwrap_or_default();
    let endpoints = request.endpoints();
    let facts = &agent.facts;
    let stats = agent.stats(endpoints, &raft);
    Ok(Reply::write_json(request.pretty(), |json| {
        json.object(|json| {
            json.key("Config").object(|json| {
                json.key("Datacenter").text(&facts.datacenter);
                json.key("NodeName").text(&facts.node_name);
                json.key("NodeID").text(&facts.node_id);
                json.key("Revision").text(&facts.revision);
                json.key("Server").bool(facts.server);
                json.key("Version").text(&facts.version);
            });
            json.key("DebugConfig").object(|json| {
                for (name, value) in &facts.debug_config {
                    json.key_text(name).free(value);
                }
            });
            match agent.own_coordinate(endpoints) {
                Some(coordinate) => json.key("Coord").object(|json| {
                    json.key("Vec").array(|json| coordinate.vec.iter().for_each(|part| json.f64(*part)));
                    json.key("Error").f64(coordinate.error);
                    json.key("Adjustment").f64(coordinate.adjustment);
                    json.key("Height").f64(coordinate.height);
                }),
                None => json.key("Coord").null(),
            }
            json.key("Member");
            member(json, &agent.own_member().unwrap_or_default());
            json.key("Stats").object(|json| {
                for (name, group) in &stats {
                    json.key(name).text_map(group);
                }
            });
            json.key("Meta").text_map(&facts.catalog_meta());
        });
    }))
}

fn member(json: &mut Json, member: &Member) {
    json.object(|json| {
        json.key("Name").text(&member.name);
        json.key("Addr").text(&member.address);
        json.key("Port").u64(member.port.into());
        json.key("Tags").text_map(&member.tags);
        json.key("Status").u64(member.status as u64);
        let [low, high, current] = member.protocol;
        json.key("ProtocolMin").u64(low.into());
        json.key("ProtocolMax").u64(high.into());
        json.key("ProtocolCur").u64(current.into());
        let [low, high, current] = member.delegate;
        json.key("DelegateMin").u64(low.into());
        json.key("DelegateMax").u64(high.into());
        json.key("DelegateCur").u64(current.into());
    });
}

fn members(request: &Request) -> Result<Reply, WebError> {
    let wan = request.arg_filled("wan").is_some();
    let agent = handle::<Agent>(request)?;
    let members = agent.members(wan, request.arg("segment").unwrap_or_default())?;
    Ok(Reply::write_json(request.pretty(), |json| {
        if wan && !agent.facts.server {
            // A client is in no such pool.
            return json.null();
        }
        json.array(|json| members.iter().for_each(|found| member(json, found)));
    }))
}

async fn host(request: Request) -> Result<Reply, WebError> {
    let directory = handle::<Agent>(&request)?.facts.data_dir.clone();
    let found = actix_web::web::block(move || crate::endpoints::host::describe(&directory, now_ns()))
        .await
        .map_err(|error| EndpointError::Internal(error.to_string()))?;
    Ok(Reply::write_json(request.pretty(), |json| json.free(&found)))
}

/// `enable` of the maintenance endpoints, in any form Go takes for a bool.
fn enable(request: &Request) -> Result<bool, WebError> {
    match request.arg("enable") {
        None => Err(WebError::bad_request("Missing value for enable")),
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
        Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
        Some(other) => Err(WebError::bad_request(format!("Invalid value for enable: {other:?}"))),
    }
}

fn node_maintenance(request: &Request) -> Result<Reply, WebError> {
    let enable = enable(request)?;
    handle::<Agent>(request)?.node_maintenance(enable, request.arg("reason").unwrap_or_default());
    Ok(Reply::ok())
}

async fn reload(request: Request) -> Result<Reply, WebError> {
    handle::<Agent>(&request)?.control.reload().await?;
    Ok(Reply::ok())
}

async fn leave(request: Request) -> Result<Reply, WebError> {
    handle::<Agent>(&request)?.control.leave().await?;
    Ok(Reply::ok())
}

async fn join(request: Request) -> Result<Reply, WebError> {
    let wan = request.arg("wan") == Some("1");
    handle::<Agent>(&request)?.members.join(&request.rest_text(), wan).await?;
    Ok(Reply::ok())
}

async fn force_leave(request: Request) -> Result<Reply, WebError> {
    let prune = request.has_arg("prune");
    handle::<Agent>(&request)?.members.force_leave(&request.rest_text(), prune).await?;
    Ok(Reply::ok())
}

/// A time as Go prints one in UTC: `2026-11-21 19:25:10 +0000 UTC`.
pub(super) fn go_time(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} +0000 UTC")
}

/// A time by RFC 3339 in UTC, to the second.
pub(super) fn rfc3339(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a number of days since the Unix epoch (the proleptic Gregorian calendar;
/// years begin in March inside, so that the leap day comes last).
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let table = [
            (0, "1970-01-01 00:00:00 +0000 UTC"),
            (951_782_399, "2000-02-28 23:59:59 +0000 UTC"),
            (951_782_400, "2000-02-29 00:00:00 +0000 UTC"),
            (1_795_289_110, "2026-11-21 19:25:10 +0000 UTC"),
            (4_102_444_800, "2100-01-01 00:00:00 +0000 UTC"),
        ];
        for (seconds, wanted) in table {
            assert_eq!(go_time(seconds), wanted);
        }
        assert_eq!(rfc3339(1_795_289_110), "2026-11-21T19:25:10Z");
    }

    #[test]
    fn no_route_is_listed_twice() {
        let routes = super::super::routes();
        let mut seen = std::collections::HashSet::new();
        for route in &routes {
            assert!(seen.insert(route.pattern()), "{}", route.pattern());
        }
    }
}
