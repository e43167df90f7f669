//! `/v1/coordinate`: network coordinates over HTTP.

use std::borrow::Cow;

use actix_web::http::StatusCode;

use super::agent::handle;
use super::catalog::decoded;
use super::{Answer, MetaStyle, Reply, Request, Route, WebError, blocking, json_catalog};
use crate::endpoints::agent::Agent;
use crate::endpoints::coordinate::{self, Coordinates};
use crate::endpoints::decode::records;

/// The routes of this family.
pub fn routes() -> Vec<Route> {
    vec![
        Route::new("/v1/coordinate/datacenters", &["GET"], |request| Answer::later(datacenters(request))),
        Route::new("/v1/coordinate/nodes", &["GET"], |request| of(request, None)),
        Route::new("/v1/coordinate/node/", &["GET"], |request| {
            let node = request.rest_text().into_owned();
            of(request, Some(node))
        }),
        Route::new("/v1/coordinate/update", &["PUT"], |request| Answer::later(update(request))),
    ]
}

/// What every endpoint answers when coordinates are switched off.
fn disabled(request: &Request) -> Option<Reply> {
    let text = Cow::Borrowed("Coordinate support disabled");
    request.endpoints().settings.disable_coordinates.then(|| Reply::text(StatusCode::UNAUTHORIZED, text))
}

async fn datacenters(request: Request) -> Result<Reply, WebError> {
    if let Some(reply) = disabled(&request) {
        return Ok(reply);
    }
    let agent = handle::<Agent>(&request)?;
    let maps = coordinate::known_datacenters(request.endpoints(), &*agent.members).await?;
    Ok(Reply::write_json(request.pretty(), |json| {
        json.array(|json| {
            for map in &maps {
                json.object(|json| {
                    json.key("Datacenter").text(&map.datacenter);
                    json.key("AreaID").text(&map.area);
                    json.key("Coordinates").array(|json| {
                        for server in &map.servers {
                            json_catalog::node_coordinate(json, &server.node, server);
                        }
                    });
                });
            }
        });
    }))
}

fn of(request: Request, node: Option<String>) -> Answer {
    if let Some(reply) = disabled(&request) {
        return reply.into();
    }
    let options = match request.options() {
        Ok(options) => options,
        Err(error) => return error.into(),
    };
    let read = Coordinates { node: node.clone(), segment: request.arg("segment").map(str::to_owned) };
    blocking::answer(request, options, MetaStyle::OnErrors, read, move |found, pretty| {
        if node.is_some() && found.is_empty() {
            return Reply::not_found();
        }
        Reply::write_json(pretty, |json| {
            json.array(|json| {
                for coordinate in &found {
                    // Of a single node Consul gives back the name as it was asked for.
                    let name = node.as_deref().unwrap_or(&coordinate.node);
                    json_catalog::node_coordinate(json, name, coordinate);
                }
            });
        })
    })
}

async fn update(mut request: Request) -> Result<Reply, WebError> {
    if let Some(reply) = disabled(&request) {
        return Ok(reply);
    }
    let mut wanted = decoded(&mut request, records::coordinate_update).await?;
    if let Some(datacenter) = request.datacenter() {
        wanted.datacenter = datacenter;
    }
    coordinate::submit(request.endpoints(), wanted).await?;
    Ok(Reply::ok())
}
