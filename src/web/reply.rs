//! Answers: status, headers and body, and how they become an HTTP response.

use std::borrow::Cow;

use actix_http::Response;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, VARY};
use bytes::Bytes;
use smallvec::SmallVec;

use super::json::Json;
use super::server::Shared;
use super::stream::{Body, BodyStream};
use crate::endpoints::query::QueryMeta;

static INDEX: HeaderName = HeaderName::from_static("x-consul-index");
static KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
static LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
static CONSISTENCY: HeaderName = HeaderName::from_static("x-consul-effective-consistency");
static REASON: HeaderName = HeaderName::from_static("x-consul-reason");
static TRANSLATE: HeaderName = HeaderName::from_static("x-consul-translate-addresses");

/// What kind of body an answer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentType {
    /// None at all: no body and no header.
    None,
    /// `application/json`
    Json,
    /// `text/plain; charset=utf-8`, as for all errors.
    Text,
    /// `text/plain`, as for raw values.
    Plain,
    /// `text/html; charset=utf-8`
    Html,
    /// Anything else.
    Other(HeaderValue),
}

impl ContentType {
    fn value(&self) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::Json => Some(HeaderValue::from_static("application/json")),
            Self::Text => Some(HeaderValue::from_static("text/plain; charset=utf-8")),
            Self::Plain => Some(HeaderValue::from_static("text/plain")),
            Self::Html => Some(HeaderValue::from_static("text/html; charset=utf-8")),
            Self::Other(value) => Some(value.clone()),
        }
    }
}

/// Which of the `X-Consul-…` headers an answer carries.
#[derive(Debug, Clone, Copy, Default)]
struct Meta {
    index: Option<u64>,
    leader: Option<(bool, u64)>,
    consistency: Option<&'static str>,
}

/// What is sent.
#[derive(Debug, Clone)]
enum Content {
    Whole(Bytes),
    Stream(BodyStream),
}

/// An answer under construction.
#[derive(Debug, Clone)]
pub struct Reply {
    status: StatusCode,
    content_type: ContentType,
    body: Content,
    meta: Meta,
    headers: SmallVec<[(HeaderName, HeaderValue); 1]>,
    /// A body was written, be it an empty one: then it may be compressed.
    has_body: bool,
}

impl Reply {
    /// No body, no content type.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            content_type: ContentType::None,
            body: Content::Whole(Bytes::new()),
            meta: Meta::default(),
            headers: SmallVec::new(),
            has_body: false,
        }
    }

    /// 200 without a body, what Consul answers when a handler has nothing to say.
    pub fn ok() -> Self {
        Self::empty(StatusCode::OK)
    }

    /// 404 without a body.
    pub fn not_found() -> Self {
        Self::empty(StatusCode::NOT_FOUND)
    }

    /// Any body.
    pub fn with_body(status: StatusCode, content_type: ContentType, body: impl Into<Bytes>) -> Self {
        Self { content_type, body: Content::Whole(body.into()), has_body: true, ..Self::empty(status) }
    }

    /// 200 with a body that is still being made; never compressed here.
    pub fn stream(content_type: ContentType, stream: BodyStream) -> Self {
        Self { content_type, body: Content::Stream(stream), ..Self::ok() }
    }

    /// A text, as errors are. An empty one has no content type.
    pub fn text(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        let body = match text.into() {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        if body.is_empty() {
            return Self::empty(status);
        }
        Self::with_body(status, ContentType::Text, body)
    }

    /// 200 with a finished JSON document.
    pub fn json(document: Json) -> Self {
        Self::with_body(StatusCode::OK, ContentType::Json, document.finish())
    }

    /// 200 with the JSON that `write` writes, indented if asked for.
    pub fn write_json(pretty: bool, write: impl FnOnce(&mut Json)) -> Self {
        let mut json = Json::new(pretty);
        write(&mut json);
        Self::json(json)
    }

    /// 200 with `true` or `false`.
    pub fn bool(pretty: bool, value: bool) -> Self {
        let body: &'static [u8] = match (value, pretty) {
            (true, false) => b"true",
            (true, true) => b"true\n",
            (false, false) => b"false",
            (false, true) => b"false\n",
        };
        Self::with_body(StatusCode::OK, ContentType::Json, Bytes::from_static(body))
    }

    /// Another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// `X-Consul-Index`, `X-Consul-KnownLeader` and `X-Consul-LastContact`.
    #[must_use]
    pub fn with_meta(mut self, meta: &QueryMeta) -> Self {
        self.meta.index = Some(meta.index.max(1));
        self.with_leader(meta)
    }

    /// `X-Consul-KnownLeader` and `X-Consul-LastContact` only.
    #[must_use]
    pub fn with_leader(mut self, meta: &QueryMeta) -> Self {
        let millis = u64::try_from(meta.last_contact.as_millis()).unwrap_or(u64::MAX);
        self.meta.leader = Some((meta.known_leader, millis));
        self
    }

    /// `X-Consul-Index` only.
    #[must_use]
    pub fn with_index(mut self, index: u64) -> Self {
        self.meta.index = Some(index.max(1));
        self
    }

    /// `X-Consul-Effective-Consistency`, which the catalog and health endpoints send.
    #[must_use]
    pub fn with_consistency(mut self, meta: &QueryMeta) -> Self {
        self.meta.consistency = Some(meta.consistency.as_str());
        self
    }

    /// `X-Consul-Reason`.
    #[must_use]
    pub fn with_reason(self, reason: &str) -> Self {
        match HeaderValue::from_str(reason) {
            Ok(value) => self.with_header(REASON.clone(), value),
            Err(_) => self,
        }
    }

    /// Any other header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The body; empty when it is streamed.
    pub fn body(&self) -> &Bytes {
        static NOTHING: Bytes = Bytes::new();
        match &self.body {
            Content::Whole(body) => body,
            Content::Stream(_) => &NOTHING,
        }
    }

    /// The response of an endpoint: with what the settings add to all of them, compressed if asked for.
    pub(super) fn into_response(self, shared: &Shared, gzip: bool) -> Response<Body> {
        let small = match &self.body {
            Content::Whole(body) if gzip && self.has_body => super::gzip::compress(body),
            _ => None,
        };
        let compressed = small.is_some();
        let reply = match small {
            Some(body) => Self { body: Content::Whole(body), ..self },
            None => self,
        };
        let mut response = reply.into_bare_response();
        let headers = response.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if compressed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, value) in &shared.response_headers {
            headers.insert(name.clone(), value.clone());
        }
        if shared.settings.translate_wan_addrs {
            headers.insert(TRANSLATE.clone(), HeaderValue::from_static("true"));
        }
        response
    }

    /// The response as it is, for what is answered before any endpoint sees the request.
    pub(super) fn into_bare_response(self) -> Response<Body> {
        let body = match self.body {
            Content::Whole(body) => Body::Whole(body),
            Content::Stream(stream) => stream.into(),
        };
        let mut response = Response::with_body(self.status, body);
        // Scripts grep for the names as Consul writes them.
        response.head_mut().set_camel_case_headers(true);
        let headers = response.headers_mut();
        if let Some(value) = self.content_type.value() {
            headers.insert(CONTENT_TYPE, value);
        }
        if let Some(index) = self.meta.index {
            headers.insert(INDEX.clone(), HeaderValue::from(index));
        }
        if let Some((known, contact)) = self.meta.leader {
            headers.insert(KNOWN_LEADER.clone(), boolean(known));
            let contact =
                if contact == 0 { HeaderValue::from_static("0") } else { HeaderValue::from(contact) };
            headers.insert(LAST_CONTACT.clone(), contact);
        }
        if let Some(consistency) = self.meta.consistency {
            headers.insert(CONSISTENCY.clone(), HeaderValue::from_static(consistency));
        }
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }

    /// The answer to a method that is not allowed, and to `OPTIONS`.
    pub(super) fn with_allow(self, allow: &HeaderValue) -> Self {
        self.with_header(ALLOW, allow.clone())
    }
}

fn boolean(value: bool) -> HeaderValue {
    HeaderValue::from_static(if value { "true" } else { "false" })
}
