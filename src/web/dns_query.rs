//! `/dns-query`: DNS over HTTPS (RFC 8484). Off unless the configuration says otherwise.
//!
//! TLS itself is the listener's business, or that of the proxy in front of it.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use super::reply::ContentType;
use super::{Answer, Reply, Request, Route, WebError};
use crate::endpoints::dns_query::DnsQuery;

const MEDIA_TYPE: &str = "application/dns-message";
/// Longest message there can be.
const MAX_MESSAGE: usize = 65_535;

/// The handle of this endpoint.
pub struct DnsHandle(pub Arc<dyn DnsQuery>);

/// The route; no endpoint of Consul's, so nothing that those share.
pub fn routes() -> Vec<Route> {
    vec![Route::bare("/dns-query", |request| Answer::later(ask(request)))]
}

async fn ask(mut request: Request) -> Result<Reply, WebError> {
    let Some(handle) = request.handle::<DnsHandle>().filter(|handle| handle.0.is_enabled()) else {
        return Ok(Reply::not_found());
    };
    let message = match *request.method() {
        Method::GET => from_argument(request.arg("dns").unwrap_or_default())?,
        Method::POST => {
            if request.header(&CONTENT_TYPE).is_none_or(|media| !media.eq_ignore_ascii_case(MEDIA_TYPE)) {
                let text = format!("the body must be {MEDIA_TYPE}");
                return Ok(Reply::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
            }
            request.body(MAX_MESSAGE).await?
        }
        _ => {
            let text = format!("method {} not allowed", request.method());
            let allow = HeaderValue::from_static("GET,POST");
            return Ok(Reply::text(StatusCode::METHOD_NOT_ALLOWED, text).with_header(ALLOW, allow));
        }
    };
    let Some(reply) = handle.0.ask(&message).await else {
        return Ok(Reply::text(StatusCode::BAD_REQUEST, "not a DNS query"));
    };
    let media = ContentType::Other(HeaderValue::from_static(MEDIA_TYPE));
    let answer = Reply::with_body(StatusCode::OK, media, reply.message);
    Ok(match HeaderValue::from_str(&format!("max-age={}", reply.max_age)) {
        Ok(age) => answer.with_header(CACHE_CONTROL, age),
        Err(_) => answer,
    })
}

fn from_argument(text: &str) -> Result<Bytes, WebError> {
    // Padding is not allowed, but harmless.
    match URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')) {
        Ok(message) if message.is_empty() => Err(WebError::bad_request("the argument dns is missing")),
        Ok(message) if message.len() > MAX_MESSAGE => {
            Err(WebError::TooLarge(Cow::Borrowed("DNS message too large")))
        }
        Ok(message) => Ok(message.into()),
        Err(_) => Err(WebError::bad_request("the argument dns is not base64url")),
    }
}
