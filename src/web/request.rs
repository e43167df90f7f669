//! A request as handlers see it.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpMessage as _, Payload};
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use super::error::WebError;
use super::query::Query;
use super::server::Room;
use super::settings::WebSettings;
use crate::endpoints::Endpoints;

/// A request. It owns what it needs, so that a handler may keep it for as long as it likes; one that
/// parks should take what it needs and let it go ([`super::blocking`] does).
pub struct Request {
    pub(super) inner: actix_http::Request,
    /// The decoded path, where it differs from the raw one.
    pub(super) decoded: Option<Vec<u8>>,
    pub(super) query: Option<Query>,
    /// Length of the part of the path the route's pattern matched.
    pub(super) matched: usize,
    pub(super) room: Rc<Room>,
}

impl Request {
    /// The method.
    pub fn method(&self) -> &Method {
        self.inner.method()
    }

    /// The decoded path; any bytes.
    pub fn path(&self) -> &[u8] {
        self.decoded.as_deref().unwrap_or_else(|| self.inner.uri().path().as_bytes())
    }

    /// What follows the pattern of a route that ends in a slash: the key of `/v1/kv/`.
    pub fn rest(&self) -> &[u8] {
        self.path().get(self.matched..).unwrap_or_default()
    }

    /// [`Request::rest`] as text; bytes that are not UTF-8 become U+FFFD.
    pub fn rest_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.rest())
    }

    /// The arguments, none when the request has no query string.
    pub fn query(&self) -> Option<&Query> {
        self.query.as_ref()
    }

    /// Whether an argument is given, with or without a value.
    pub fn has_arg(&self, name: &str) -> bool {
        self.query().is_some_and(|query| query.has(name))
    }

    /// The value of an argument, empty when it was given without one.
    pub fn arg(&self, name: &str) -> Option<&str> {
        self.query()?.get(name)
    }

    /// The value of an argument, `None` also when it is empty.
    pub fn arg_filled(&self, name: &str) -> Option<&str> {
        self.query()?.get_filled(name)
    }

    /// A header that is text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// A header that is text, by its lower-case name.
    pub fn header_text(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// The caller's token: `?token=`, else `X-Consul-Token`, else `Authorization: Bearer`. Accepted
    /// in every form and not yet used.
    pub fn token(&self) -> Option<&str> {
        self.arg_filled("token")
            .or_else(|| self.header_text("x-consul-token"))
            .or_else(|| self.header(&AUTHORIZATION)?.strip_prefix("Bearer ").map(str::trim))
    }

    /// Whether JSON is to be indented.
    pub fn pretty(&self) -> bool {
        self.settings().always_pretty || self.has_arg("pretty")
    }

    /// Address the request came from; none in tests without a socket.
    pub fn peer(&self) -> Option<std::net::SocketAddr> {
        self.inner.peer_addr()
    }

    /// Handles of the endpoints.
    pub fn endpoints(&self) -> &Endpoints {
        &self.room.shared.endpoints
    }

    /// Settings of this room.
    pub fn settings(&self) -> &WebSettings {
        &self.room.shared.settings
    }

    /// A handle of another kind that was given to [`super::server::WebHandles::with`].
    pub fn handle<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.room.shared.extras.get::<T>()
    }

    /// What all handlers of this worker share; it outlives the request.
    pub(super) fn room(&self) -> &Rc<Room> {
        &self.room
    }

    /// `Content-Length`; none when absent, as with chunked bodies.
    pub fn content_length(&self) -> Option<u64> {
        self.header(&CONTENT_LENGTH)?.parse().ok()
    }

    /// The body piece by piece, for bodies too large to be held in memory.
    pub fn pieces(&mut self) -> Pieces {
        Pieces { patience: self.settings().body_timeout, payload: self.inner.take_payload() }
    }

    /// Reads the body, at most `limit` bytes.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] at once when `Content-Length` says so, or when the limit is passed;
    /// [`BodyError::Timeout`] when nothing arrives for [`WebSettings::body_timeout`];
    /// [`BodyError::Broken`] when the client goes away.
    pub async fn body(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        let announced = self.content_length();
        if announced.is_some_and(|length| length > limit as u64) {
            return Err(BodyError::TooLarge { announced });
        }
        let patience = self.settings().body_timeout;
        let mut payload = self.inner.take_payload();
        let Some(first) = next_chunk(&mut payload, patience).await? else { return Ok(Bytes::new()) };
        if announced == Some(first.len() as u64) {
            return Ok(first); // the usual case: all in one piece, nothing to copy
        }
        if first.len() > limit {
            return Err(BodyError::TooLarge { announced });
        }
        let room = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut body = BytesMut::with_capacity(room.max(first.len()));
        body.extend_from_slice(&first);
        drop(first);
        while let Some(chunk) = next_chunk(&mut payload, patience).await? {
            if body.len() + chunk.len() > limit {
                return Err(BodyError::TooLarge { announced });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// A body that is read piece by piece; see [`Request::pieces`].
pub struct Pieces {
    payload: Payload,
    patience: Duration,
}

impl Pieces {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`BodyError::Timeout`] when nothing arrives for [`WebSettings::body_timeout`];
    /// [`BodyError::Broken`] when the client goes away.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        next_chunk(&mut self.payload, self.patience).await
    }
}

async fn next_chunk(payload: &mut Payload, patience: Duration) -> Result<Option<Bytes>, BodyError> {
    match actix_web::rt::time::timeout(patience, payload.next()).await {
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(error))) => Err(BodyError::Broken(error.to_string())),
        Ok(None) => Ok(None),
        Err(_) => Err(BodyError::Timeout),
    }
}

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Larger than allowed; the caller words the answer.
    #[error("request body too large")]
    TooLarge {
        /// `Content-Length`, when given.
        announced: Option<u64>,
    },
    /// It does not arrive.
    #[error("request body was not received in time")]
    Timeout,
    /// The client went away or sent nonsense.
    #[error("request body is broken: {0}")]
    Broken(String),
}

impl From<BodyError> for WebError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { .. } => Self::TooLarge(Cow::Borrowed("Request body too large")),
            BodyError::Timeout => Self::Timeout,
            BodyError::Broken(_) => Self::bad_request(error.to_string()),
        }
    }
}
