//! `/v1/operator/*`: raft membership and the health of the servers.
//!
//! Settings of autopilot answer 501: they are not kept anywhere yet.

pub mod keyring;

use actix_web::http::StatusCode;

use super::agent::{handle, rfc3339};
use super::{Answer, Reply, Request, Route, WebError};
use crate::endpoints::EndpointError;
use crate::endpoints::agent::Agent;
use crate::endpoints::operator::{Operator, RAFT_PROTOCOL, raft_configuration, remove_peer, server_health};

/// The routes of this family.
pub fn routes() -> Vec<Route> {
    vec![
        Route::new("/v1/operator/raft/configuration", &["GET"], |request| configuration(&request).into()),
        Route::new("/v1/operator/raft/peer", &["DELETE"], |request| peer(&request).into()),
        Route::new("/v1/operator/autopilot/configuration", &["GET", "PUT"], |_| later("autopilot settings")),
        Route::new("/v1/operator/autopilot/health", &["GET"], |request| health(&request).into()),
        Route::new("/v1/operator/keyring", &["GET", "POST", "PUT", "DELETE"], keyring::answer),
    ]
}

fn later(what: &str) -> Answer {
    let text = format!("{what}: not built into this version yet");
    WebError::from(EndpointError::NotImplemented(text)).into()
}

fn configuration(request: &Request) -> Result<Reply, WebError> {
    let options = request.options()?;
    let leadership = raft_configuration(request.endpoints(), &options)?;
    Ok(Reply::write_json(request.pretty(), |json| {
        json.object(|json| {
            json.key("Servers").array(|json| {
                for peer in &leadership.peers {
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

fn peer(request: &Request) -> Result<Reply, WebError> {
    let (id, address) = (request.arg_filled("id"), request.arg_filled("address"));
    remove_peer(request.endpoints(), request.datacenter().as_deref(), id, address)?;
    Ok(Reply::ok())
}

fn health(request: &Request) -> Result<Reply, WebError> {
    let agent = handle::<Agent>(request)?;
    let operator = handle::<Operator>(request)?;
    let server = server_health(request.endpoints(), &operator, request.datacenter().as_deref())?;
    let status = agent.own_member().unwrap_or_default().status;
    let reply = Reply::write_json(request.pretty(), |json| {
        json.object(|json| {
            json.key("Healthy").bool(server.healthy);
            json.key("FailureTolerance").u64(0);
            json.key("Servers").array(|json| {
                json.object(|json| {
                    json.key("ID").text(&server.peer.id);
                    json.key("Name").text(&server.peer.node);
                    json.key("Address").text(&server.peer.address);
                    json.key("SerfStatus").text(status.as_str());
                    json.key("Version").text(&agent.facts.version);
                    json.key("Leader").bool(server.peer.leader);
                    json.key("LastContact").text("0s");
                    json.key("LastTerm").u64(server.last_term);
                    json.key("LastIndex").u64(server.last_index);
                    json.key("Healthy").bool(server.healthy);
                    json.key("Voter").bool(server.peer.voter);
                    json.key("StableSince").text(&rfc3339(server.stable_since_ms / 1000));
                });
            });
        });
    });
    // What load balancers look at.
    Ok(if server.healthy { reply } else { reply.with_status(StatusCode::TOO_MANY_REQUESTS) })
}
