//! `/v1/operator/*`: raft membership, autopilot and the health of the servers.

pub mod keyring;

use actix_web::http::{Method, StatusCode};

use super::agent::rfc3339;
use super::query::parse_u64;
use super::{Answer, Reply, Request, Route, WebError};
use crate::duration;
use crate::endpoints::decode::Json as Body;
use crate::endpoints::operator::admin::{remove_peer, server_health, transfer_leader};
use crate::endpoints::operator::autopilot::{configuration, decode, set_configuration};
use crate::endpoints::operator::{Operator, RAFT_PROTOCOL, raft_members};

/// The routes of this family.
pub fn routes() -> Vec<Route> {
    vec![
        Route::new("/v1/operator/raft/configuration", &["GET"], |request| Answer::later(raft(request))),
        Route::new("/v1/operator/raft/peer", &["DELETE"], |request| Answer::later(peer(request))),
        Route::new("/v1/operator/raft/transfer-leader", &["POST"], |request| {
            Answer::later(transfer(request))
        }),
        Route::new("/v1/operator/autopilot/configuration", &["GET", "PUT"], autopilot),
        Route::new("/v1/operator/autopilot/health", &["GET"], |request| Answer::later(health(request))),
        Route::new("/v1/operator/keyring", &["GET", "POST", "PUT", "DELETE"], keyring::answer),
    ]
}

async fn raft(request: Request) -> Result<Reply, WebError> {
    let options = request.options()?;
    let peers = raft_members(request.endpoints(), &options).await?;
    Ok(Reply::write_json(request.pretty(), |json| {
        json.object(|json| {
            json.key("Servers").array(|json| {
                for peer in &peers {
                    json.object(|json| {
                        json.key("ID").text(&peer.id);
                        json.key("Node").text(&peer.node);
                        json.key("Address").text(&peer.address);
                        json.key("Leader").bool(peer.leader);
                        json.key("ProtocolVersion").text(RAFT_PROTOCOL);
                        json.key("Voter").bool(peer.voter);
                    });
                }
            });
            // Consul's raft library does not tell it, and 0 is what clients have always seen.
            json.key("Index").u64(0);
        });
    }))
}

async fn peer(request: Request) -> Result<Reply, WebError> {
    let operator = request.handle::<Operator>();
    let (id, address) = (request.arg_filled("id"), request.arg_filled("address"));
    remove_peer(request.endpoints(), operator.as_deref(), request.datacenter().as_deref(), id, address)
        .await?;
    Ok(Reply::ok())
}

/// Newer than Consul 1.8, and as its later versions have it.
async fn transfer(request: Request) -> Result<Reply, WebError> {
    let operator = request.handle::<Operator>();
    let to = request.arg_filled("id");
    transfer_leader(request.endpoints(), operator.as_deref(), request.datacenter().as_deref(), to).await?;
    Ok(Reply::write_json(request.pretty(), |json| json.object(|json| json.key("Success").bool(true))))
}

fn autopilot(request: Request) -> Answer {
    if *request.method() == Method::PUT {
        Answer::later(set_autopilot(request))
    } else {
        Answer::later(get_autopilot(request))
    }
}

async fn get_autopilot(request: Request) -> Result<Reply, WebError> {
    let options = request.options()?;
    let config = configuration(request.endpoints(), &options).await?;
    Ok(Reply::write_json(request.pretty(), |json| {
        json.object(|json| {
            json.key("CleanupDeadServers").bool(config.cleanup_dead_servers);
            json.key("LastContactThreshold").text(&duration::format(config.last_contact_threshold));
            json.key("MaxTrailingLogs").u64(config.max_trailing_logs);
            json.key("MinQuorum").u64(config.min_quorum);
            json.key("ServerStabilizationTime").text(&duration::format(config.server_stabilization_time));
            json.key("RedundancyZoneTag").text(&config.redundancy_zone_tag);
            json.key("DisableUpgradeMigration").bool(config.disable_upgrade_migration);
            json.key("UpgradeVersionTag").text(&config.upgrade_version_tag);
            json.key("CreateIndex").u64(config.indexes.create_index);
            json.key("ModifyIndex").u64(config.indexes.modify_index);
        });
    }))
}

/// Largest body of a configuration.
const BODY_LIMIT: usize = 64 << 10;

async fn set_autopilot(mut request: Request) -> Result<Reply, WebError> {
    let bad = |text: String| WebError::bad_request(format!("Bad request: {text}"));
    let body = request.body(BODY_LIMIT).await?;
    let config = Body::parse(&body)
        .and_then(decode)
        .map_err(|error| bad(format!("Error parsing autopilot config: {error}")))?;
    let cas = request
        .arg("cas")
        .map(|text| parse_u64(text).map_err(|error| bad(format!("Error parsing cas value: {error}"))))
        .transpose()?;
    let datacenter = request.datacenter();
    let done = set_configuration(request.endpoints(), datacenter.as_deref(), config, cas).await?;
    Ok(Reply::bool(request.pretty(), done))
}

/// What stands where a server was never stable: Go's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

async fn health(request: Request) -> Result<Reply, WebError> {
    let operator = request.handle::<Operator>();
    let health =
        server_health(request.endpoints(), operator.as_deref(), request.datacenter().as_deref()).await?;
    let reply = Reply::write_json(request.pretty(), |json| {
        json.object(|json| {
            json.key("Healthy").bool(health.healthy);
            json.key("FailureTolerance").u64(health.failure_tolerance);
            json.key("Servers").array(|json| {
                for server in &health.servers {
                    let since = server.stable_since_ms / 1000;
                    json.object(|json| {
                        json.key("ID").text(&server.id);
                        json.key("Name").text(&server.name);
                        json.key("Address").text(&server.address);
                        json.key("SerfStatus").text(server.serf_status.as_str());
                        json.key("Version").text(&server.version);
                        json.key("Leader").bool(server.leader);
                        json.key("LastContact").text(&duration::format(server.last_contact_ns));
                        json.key("LastTerm").u64(server.last_term);
                        json.key("LastIndex").u64(server.last_index);
                        json.key("Healthy").bool(server.healthy);
                        json.key("Voter").bool(server.voter);
                        json.key("StableSince").text(&if since == 0 {
                            NEVER.to_owned()
                        } else {
                            rfc3339(since)
                        });
                    });
                }
            });
        });
    });
    // What load balancers look at.
    Ok(if health.healthy { reply } else { reply.with_status(StatusCode::TOO_MANY_REQUESTS) })
}
