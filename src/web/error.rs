//! How a failed request answers: status and text, exactly as Consul words them.

use std::borrow::Cow;

use actix_web::http::StatusCode;

use super::reply::Reply;
use crate::endpoints::EndpointError;
use crate::endpoints::query::QueryMeta;

/// Why a request failed. [`WebError::into_reply`] makes the answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WebError {
    /// The request itself is wrong (400).
    #[error("{0}")]
    BadRequest(Cow<'static, str>),
    /// The caller may not do this from where it is (403).
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    /// Not there (404), with a text; for an empty 404 see [`Reply::not_found`].
    #[error("{0}")]
    NotFound(Cow<'static, str>),
    /// The body does not arrive (408).
    #[error("request body was not received in time")]
    Timeout,
    /// Too large (413).
    #[error("{0}")]
    TooLarge(Cow<'static, str>),
    /// The endpoint refused.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The endpoint refused, and the answer carries index headers all the same: the endpoints of
    /// the catalog, of health and of sessions do so.
    #[error(transparent)]
    EndpointWithMeta(EndpointError),
}

impl WebError {
    /// A 400 with this text.
    pub fn bad_request(text: impl Into<Cow<'static, str>>) -> Self {
        Self::BadRequest(text.into())
    }

    /// The status it answers with.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Endpoint(error) | Self::EndpointWithMeta(error) => match error {
                EndpointError::Invalid(_) => StatusCode::BAD_REQUEST,
                EndpointError::NotFound(_) => StatusCode::NOT_FOUND,
                EndpointError::Forbidden(_) => StatusCode::FORBIDDEN,
                EndpointError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
                EndpointError::Busy => StatusCode::SERVICE_UNAVAILABLE,
                EndpointError::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
                EndpointError::Refused(_)
                | EndpointError::NoLeader
                | EndpointError::NoPathToDatacenter
                | EndpointError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    /// The answer.
    pub fn into_reply(self) -> Reply {
        let status = self.status();
        if status.is_server_error() {
            tracing::warn!(error = %self, "request failed");
        } else {
            tracing::debug!(error = %self, status = status.as_u16(), "request refused");
        }
        let reply = Reply::text(status, self.to_string());
        match self {
            Self::EndpointWithMeta(_) => reply.with_meta(&QueryMeta::FAILED),
            _ => reply,
        }
    }
}
