//! `/v1/status`: the leader and its peers over HTTP.

use super::{Answer, Reply, Request, Route, WebError};
use crate::endpoints::status;

/// The routes of this family.
pub fn routes() -> Vec<Route> {
    vec![
        Route::new("/v1/status/leader", &["GET"], |request| Answer::later(leader(request))),
        Route::new("/v1/status/peers", &["GET"], |request| Answer::later(peers(request))),
    ]
}

async fn leader(request: Request) -> Result<Reply, WebError> {
    let options = request.options()?;
    let leader = status::leader(request.endpoints(), options.datacenter.as_deref()).await?;
    Ok(Reply::write_json(request.pretty(), |json| json.text(&leader)))
}

async fn peers(request: Request) -> Result<Reply, WebError> {
    let options = request.options()?;
    let peers = status::peers(request.endpoints(), options.datacenter.as_deref()).await?;
    Ok(Reply::write_json(request.pretty(), |json| json.texts(&peers)))
}
