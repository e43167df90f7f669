//! `/v1/status`: the leader and its peers over HTTP.

use super::{Json, Reply, Request, Route, WebError};
use crate::endpoints::{Leadership, status};

/// The routes of this family.
pub fn routes() -> Vec<Route> {
    vec![
        Route::new("/v1/status/leader", &["GET"], |request| {
            show(&request, |leadership, json| {
                json.text(leadership.leader_address.as_deref().unwrap_or_default());
            })
            .into()
        }),
        Route::new("/v1/status/peers", &["GET"], |request| {
            show(&request, |leadership, json| {
                json.texts(leadership.peers.iter().map(|peer| &peer.address));
            })
            .into()
        }),
    ]
}

fn show(request: &Request, write: fn(&Leadership, &mut Json)) -> Result<Reply, WebError> {
    let options = request.options()?;
    let leadership = status::leadership(request.endpoints(), options.datacenter.as_deref())?;
    Ok(Reply::write_json(request.pretty(), |json| write(&leadership, json)))
}
