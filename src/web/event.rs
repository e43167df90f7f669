//! `/v1/event/*`: user events.

use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, select};

use super::agent::handle;
use super::request::BodyError;
use super::{Answer, Json, Reply, Request, Route, WebError};
use crate::endpoints::EndpointError;
use crate::endpoints::event::{EventBus, Events, UserEvent, fire};
use crate::state::Topic;

/// The handles of the event endpoints.
#[derive(Clone)]
pub struct EventHandles {
    /// What this agent has kept.
    pub events: Arc<Events>,
    /// The way to all agents.
    pub bus: Arc<dyn EventBus>,
}

/// Larger bodies are not read: far above what fits into an event, so that those who are near its
/// limit get its words.
const MAX_BODY: usize = 1 << 20;

/// The routes of this family.
pub fn routes() -> Vec<Route> {
    vec![
        Route::new("/v1/event/fire/", &["PUT"], |request| Answer::later(put(request))),
        Route::new("/v1/event/list", &["GET"], |request| Answer::later(list(request))),
    ]
}

async fn put(mut request: Request) -> Result<Reply, WebError> {
    let handles = handle::<EventHandles>(&request)?;
    let name = request.rest_text().into_owned();
    if name.is_empty() {
        return Err(WebError::bad_request("Missing name"));
    }
    let argument = |name: &str| request.arg(name).unwrap_or_default().to_owned();
    let mut event = UserEvent {
        name,
        node_filter: argument("node"),
        service_filter: argument("service"),
        tag_filter: argument("tag"),
        ..UserEvent::default()
    };
    event.payload = match request.body(MAX_BODY).await {
        Ok(payload) => payload,
        Err(BodyError::TooLarge { .. }) => {
            let text = format!("user event exceeds the limit of {MAX_BODY} bytes of a request");
            return Err(EndpointError::Refused(text).into());
        }
        Err(error) => return Err(error.into()),
    };
    let datacenter = request.datacenter();
    let event = fire(request.endpoints(), &*handles.bus, datacenter.as_deref(), event).await?;
    Ok(Reply::write_json(request.pretty(), |json| write_event(json, &event)))
}

async fn list(request: Request) -> Result<Reply, WebError> {
    let handles = handle::<EventHandles>(&request)?;
    let events = &handles.events;
    let options = request.options()?;
    let name = request.arg_filled("name").map(str::to_owned);
    let pretty = request.pretty();
    let room = request.room().clone();
    drop(request);
    let endpoints = &room.shared.endpoints;
    let mut deadline = pin!(actix_web::rt::time::sleep(options.wait_time(endpoints, rand::random())));
    // No session has this id: only a shutdown, which wakes everybody, wakes this.
    let mut shutdown = pin!(endpoints.state.watches().subscribe([Topic::Session(Arc::from(""))]));
    loop {
        let next = events.next();
        let (index, found) = events.list(name.as_deref());
        let wait = options.min_index > 0 && options.min_index == index && !room.shared.drain.is_draining();
        let timed_out = if wait {
            match select(next, select(deadline.as_mut(), shutdown.as_mut())).await {
                Either::Left(_) => false,
                Either::Right(_) => true,
            }
        } else {
            true
        };
        if timed_out {
            let reply = Reply::write_json(pretty, |json| {
                json.array(|json| found.iter().for_each(|event| write_event(json, event)));
            });
            return Ok(reply.with_index(index));
        }
    }
}

fn write_event(json: &mut Json, event: &UserEvent) {
    json.object(|json| {
        json.key("ID").text(&event.id);
        json.key("Name").text(&event.name);
        match &event.payload {
            payload if payload.is_empty() => json.key("Payload").null(),
            payload => json.key("Payload").base64(payload),
        }
        json.key("NodeFilter").text(&event.node_filter);
        json.key("ServiceFilter").text(&event.service_filter);
        json.key("TagFilter").text(&event.tag_filter);
        json.key("Version").u64(event.version);
        json.key("LTime").u64(event.lamport_time);
    });
}
