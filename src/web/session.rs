//! `/v1/session`: sessions over HTTP.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Answer, Json, MetaStyle, Reply, Request, Route, WebError, blocking};
use crate::endpoints::session::{self, All, Info, OfNode, SessionRequest};
use crate::state::record::{Session, SessionBehavior};

/// Largest body of a request to create a session.
const BODY_LIMIT: usize = 512 * 1024;

/// The routes of this family.
pub fn routes() -> Vec<Route> {
    vec![
        Route::new("/v1/session/create", &["PUT"], |request| Answer::later(create(request))),
        Route::new("/v1/session/destroy/", &["PUT"], |request| Answer::later(destroy(request))),
        Route::new("/v1/session/renew/", &["PUT"], |request| Answer::later(renew(request))),
        Route::new("/v1/session/info/", &["GET"], info),
        Route::new("/v1/session/node/", &["GET"], of_node),
        Route::new("/v1/session/list", &["GET"], list),
    ]
}

async fn create(mut request: Request) -> Result<Reply, WebError> {
    request.refuse_namespace()?;
    let mut wanted = SessionRequest::for_node(&request.endpoints().settings.node_name);
    // Like Consul, which passes over a body that does not say how long it is.
    if request.content_length().is_some_and(|length| length > 0) {
        let body = request.body(BODY_LIMIT).await?;
        wanted
            .decode(&body)
            .map_err(|error| WebError::bad_request(format!("Request decode failed: {error}")))?;
    }
    let id = session::create(request.endpoints(), request.arg("dc"), wanted).await?;
    Ok(Reply::write_json(request.pretty(), |json| json.object(|json| json.key("ID").text(&id))))
}

/// The id after the pattern of the route.
fn id_of(request: &Request) -> Result<Cow<'_, str>, WebError> {
    let id = request.rest_text();
    if id.is_empty() { Err(WebError::BadRequest(Cow::Borrowed("Missing session"))) } else { Ok(id) }
}

async fn destroy(request: Request) -> Result<Reply, WebError> {
    request.refuse_namespace()?;
    session::destroy(request.endpoints(), request.arg("dc"), &id_of(&request)?).await?;
    Ok(Reply::bool(request.pretty(), true))
}

async fn renew(request: Request) -> Result<Reply, WebError> {
    let options = request.options()?;
    request.refuse_namespace()?;
    let id = id_of(&request)?;
    match session::renew(request.endpoints(), &options, &id).await? {
        Some(session) => Ok(sessions(&[session], request.pretty())),
        None => Err(WebError::NotFound(format!("Session id '{id}' not found").into())),
    }
}

fn info(request: Request) -> Answer {
    match read_of(&request, "Missing session") {
        Ok((options, id)) => {
            let read = Info { id: id.to_lowercase().into() };
            blocking::answer(request, options, MetaStyle::OnErrors, read, |found, pretty| {
                sessions(&found, pretty)
            })
        }
        Err(error) => error.into(),
    }
}

fn of_node(request: Request) -> Answer {
    match read_of(&request, "Missing node name") {
        Ok((options, node)) => {
            let read = OfNode::new(&node);
            blocking::answer(request, options, MetaStyle::OnErrors, read, |found, pretty| {
                sessions(&found, pretty)
            })
        }
        Err(error) => error.into(),
    }
}

/// The parameters of a read and what follows the pattern of its route.
fn read_of(
    request: &Request,
    missing: &'static str,
) -> Result<(crate::endpoints::query::QueryOptions, String), WebError> {
    let options = request.options()?;
    request.refuse_namespace()?;
    let name = request.rest_text();
    if name.is_empty() {
        return Err(WebError::BadRequest(Cow::Borrowed(missing)));
    }
    Ok((options, name.into_owned()))
}

fn list(request: Request) -> Answer {
    match request.options().and_then(|options| request.refuse_namespace().map(|()| options)) {
        Ok(options) => blocking::answer(request, options, MetaStyle::OnErrors, All, |found, pretty| {
            sessions(&found, pretty)
        }),
        Err(error) => error.into(),
    }
}

fn sessions(sessions: &[Arc<Session>], pretty: bool) -> Reply {
    Reply::write_json(pretty, |json| {
        json.array(|json| sessions.iter().for_each(|session| write_session(json, session)));
    })
}

/// Writes a session.
pub fn write_session(json: &mut Json, session: &Session) {
    json.object(|json| {
        json.key("ID").text(&session.id);
        json.key("Name").text(&session.name);
        json.key("Node").text(&session.node);
        json.key("LockDelay").i64(session.lock_delay);
        json.key("Behavior").text(match session.behavior {
            SessionBehavior::Release => "release",
            SessionBehavior::Delete => "delete",
        });
        json.key("TTL").text(&session.ttl);
        json.key("NodeChecks").texts(&session.node_checks);
        json.key("ServiceChecks");
        match &session.service_checks {
            None => json.null(),
            Some(checks) => json.array(|json| {
                for check in checks {
                    json.object(|json| {
                        json.key("ID").text(&check.id);
                        json.key("Namespace").text(&check.namespace);
                    });
                }
            }),
        }
        if !session.checks.is_empty() {
            json.key("Checks").texts(&session.checks);
        }
        json.key("CreateIndex").u64(session.indexes.create_index);
        json.key("ModifyIndex").u64(session.indexes.modify_index);
    });
}
