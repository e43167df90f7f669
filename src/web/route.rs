//! The table of routes and the way from a request to its handler.
//!
//! Matching follows Go's `http.ServeMux`, because its redirects are part of what clients see: a
//! pattern that ends in a slash matches everything below it, the longest one wins, unclean paths
//! and missing trailing slashes are redirected. What is answered here, before an endpoint is
//! found, carries none of the headers endpoints share.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::time::Instant;

use actix_web::http::header::{ACCEPT_ENCODING, CONNECTION, HeaderValue, LOCATION};
use actix_web::http::{Method, StatusCode};
use futures::future::LocalBoxFuture;

use super::error::WebError;
use super::query::Query;
use super::reply::{ContentType, Reply};
use super::request::Request;
use super::server::{Asked, Room, Served};
use super::{gzip, path};
use crate::metrics::HttpRoute;

/// What a handler gives back: an answer now, or the promise of one.
///
/// Most reads answer at once; they must not pay for a boxed future.
pub enum Answer {
    /// Done.
    Now(Result<Reply, WebError>),
    /// On its way.
    Later(LocalBoxFuture<'static, Result<Reply, WebError>>),
}

impl Answer {
    /// Boxes a future. It owns its [`Request`], so it may outlive nothing else.
    pub fn later(future: impl Future<Output = Result<Reply, WebError>> + 'static) -> Self {
        Self::Later(Box::pin(future))
    }
}

impl From<Result<Reply, WebError>> for Answer {
    fn from(result: Result<Reply, WebError>) -> Self {
        Self::Now(result)
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Now(Ok(reply))
    }
}

impl From<WebError> for Answer {
    fn from(error: WebError) -> Self {
        Self::Now(Err(error))
    }
}

/// A handler. Asynchronous ones go in as `|request| Answer::later(create(request))`.
pub type Handler = fn(Request) -> Answer;

/// One pattern with its handler.
#[derive(Debug, Clone)]
pub struct Route {
    pattern: &'static str,
    methods: &'static [&'static str],
    handler: Handler,
    endpoint: bool,
}

impl Route {
    /// An endpoint. `methods` in the order `Allow` lists them; other methods answer 405, `OPTIONS`
    /// lists them. With none given the handler sees every method itself.
    pub const fn new(pattern: &'static str, methods: &'static [&'static str], handler: Handler) -> Self {
        Self { pattern, methods, handler, endpoint: true }
    }

    /// Something that is no endpoint, such as a file of the UI: every method, no shared headers,
    /// no compression.
    pub const fn bare(pattern: &'static str, handler: Handler) -> Self {
        Self { pattern, methods: &[], handler, endpoint: false }
    }

    /// The pattern.
    pub const fn pattern(&self) -> &'static str {
        self.pattern
    }

    /// As the metrics know it; no methods for what is no endpoint.
    pub(super) const fn measured(&self) -> HttpRoute {
        (self.pattern, if self.endpoint { self.methods } else { &[] })
    }
}

struct Entry {
    /// Its place in the table, and in the metrics.
    at: usize,
    route: Route,
    allow: HeaderValue,
}

/// All routes, ready to be matched.
pub struct Router {
    entries: Vec<Entry>,
    /// Whole paths.
    exact: HashMap<&'static [u8], usize>,
    /// Patterns that end in a slash, without it.
    below: HashMap<&'static [u8], usize>,
    /// Length of the longest key of `below`.
    longest: usize,
}

impl Router {
    /// Builds the table. Of two routes with the same pattern the later one counts.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let mut router =
            Self { entries: Vec::new(), exact: HashMap::new(), below: HashMap::new(), longest: 0 };
        for route in routes {
            let at = router.entries.len();
            router.exact.insert(route.pattern.as_bytes(), at);
            if let Some(stem) = route.pattern.strip_suffix('/') {
                router.below.insert(stem.as_bytes(), at);
                router.longest = router.longest.max(stem.len());
            }
            let allow = format!("OPTIONS,{}", route.methods.join(","));
            let allow = HeaderValue::from_str(&allow).unwrap_or(HeaderValue::from_static("OPTIONS"));
            router.entries.push(Entry { at, route, allow });
        }
        router
    }

    /// All routes in order, for the metrics.
    pub(super) fn measured(&self) -> Vec<HttpRoute> {
        self.entries.iter().map(|entry| entry.route.measured()).collect()
    }

    fn find(&self, path: &[u8]) -> Found<'_> {
        if let Some(&at) = self.exact.get(path) {
            return self.entries.get(at).map_or(Found::Nothing, Found::Entry);
        }
        if self.below.contains_key(path) {
            return Found::SlashMissing;
        }
        let mut end = path.len().min(self.longest + 1);
        while let Some(slash) = path.get(..end).and_then(|path| memchr::memrchr(b'/', path)) {
            if let Some(entry) = self.below.get(&path[..slash]).and_then(|at| self.entries.get(*at)) {
                return Found::Entry(entry);
            }
            end = slash;
        }
        Found::Nothing
    }
}

enum Found<'a> {
    Entry(&'a Entry),
    /// Only the path with a slash at its end is known.
    SlashMissing,
    Nothing,
}

/// Takes a request to its handler.
pub(super) fn dispatch(room: &Rc<Room>, inner: actix_http::Request) -> Served {
    let began = Instant::now();
    let raw = inner.uri().path();
    let raw = if raw.is_empty() { "/" } else { raw };
    let Some(decoded) = path::decode(raw).filter(|path| path.starts_with(b"/")) else {
        let reply = Reply::text(StatusCode::BAD_REQUEST, "400 Bad Request");
        return Served::bare(reply.with_header(CONNECTION, HeaderValue::from_static("close")));
    };
    let shared = &room.shared;
    if !shared.settings.disable_unprintable_filter && !path::is_printable(&decoded) {
        return Served::bare(Reply::empty(StatusCode::BAD_REQUEST));
    }
    let found = if inner.method() == Method::CONNECT {
        shared.router.find(&decoded)
    } else {
        let clean = path::clean(&decoded);
        let found = shared.router.find(&clean);
        if matches!(found, Found::SlashMissing) {
            return Served::bare(redirect(&inner, &[&clean, &b"/"[..]].concat()));
        }
        if matches!(clean, Cow::Owned(_)) {
            return Served::bare(redirect(&inner, &clean));
        }
        found
    };
    let Found::Entry(entry) = found else {
        return Served::bare(index(&inner, &decoded, shared.settings.ui));
    };
    let matched = entry.route.pattern.len();
    let handler = entry.route.handler;
    let decoded = match decoded {
        Cow::Borrowed(_) => None,
        Cow::Owned(path) => Some(path),
    };
    let query = inner.uri().query().map(Query::parse);
    let broken_query = matches!(query, Some(None));
    let request = Request { query: query.flatten(), decoded, matched, room: Rc::clone(room), inner };
    if !entry.route.endpoint {
        return Served::new(room, handler(request), None);
    }
    let gzip = request.header(&ACCEPT_ENCODING).is_some_and(gzip::accepts);
    let asked = Asked { route: entry.at, method: request.method().clone(), began, gzip };
    let answer = if broken_query {
        Reply::empty(StatusCode::INTERNAL_SERVER_ERROR).into()
    } else {
        admit(entry, request)
    };
    Served::new(room, answer, Some(asked))
}

/// What every endpoint is guarded by, in Consul's order.
fn admit(entry: &Entry, request: Request) -> Answer {
    let shared = &request.room().shared;
    if shared.settings.block_endpoints.iter().any(|prefix| request.path().starts_with(prefix.as_bytes())) {
        return WebError::Forbidden(Cow::Borrowed("Endpoint is blocked by agent configuration")).into();
    }
    let methods = entry.route.methods;
    let method = request.method();
    if !methods.is_empty() && !methods.contains(&method.as_str()) {
        if *method == Method::OPTIONS {
            return Reply::ok().with_allow(&entry.allow).into();
        }
        let text = format!("method {method} not allowed");
        return Reply::text(StatusCode::METHOD_NOT_ALLOWED, text).with_allow(&entry.allow).into();
    }
    let allowed = &shared.settings.allow_write_http_from;
    if !allowed.is_empty() && !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        let peer = request.peer().map(|peer| peer.ip());
        if !peer.is_some_and(|peer| allowed.iter().any(|network| network.contains(peer))) {
            return WebError::Forbidden(Cow::Borrowed("Access is restricted")).into();
        }
    }
    (entry.route.handler)(request)
}

/// What `/` and every unknown path answer.
fn index(inner: &actix_http::Request, path: &[u8], ui: bool) -> Reply {
    match (path, ui) {
        (b"/", true) => redirect_to(inner, "/ui/"),
        (b"/", false) => Reply::text(StatusCode::OK, "Consul Agent"),
        _ => Reply::not_found(),
    }
}

/// Redirects to another path, keeping the query string.
fn redirect(inner: &actix_http::Request, path: &[u8]) -> Reply {
    let mut location = path::escape(path);
    if let Some(query) = inner.uri().query() {
        location.push('?');
        location.push_str(query);
    }
    redirect_to(inner, &location)
}

fn redirect_to(inner: &actix_http::Request, location: &str) -> Reply {
    let reply = match *inner.method() {
        Method::GET => {
            let mut body = String::from("<a href=\"");
            for character in location.chars() {
                match character {
                    '&' => body.push_str("&amp;"),
                    '<' => body.push_str("&lt;"),
                    '>' => body.push_str("&gt;"),
                    '"' => body.push_str("&#34;"),
                    '\'' => body.push_str("&#39;"),
                    other => body.push(other),
                }
            }
            body.push_str("\">Moved Permanently</a>.\n\n");
            Reply::with_body(StatusCode::MOVED_PERMANENTLY, ContentType::Html, body)
        }
        Method::HEAD => Reply::with_body(StatusCode::MOVED_PERMANENTLY, ContentType::Html, ""),
        _ => Reply::empty(StatusCode::MOVED_PERMANENTLY),
    };
    match HeaderValue::from_str(location) {
        Ok(value) => reply.with_header(LOCATION, value),
        Err(_) => Reply::empty(StatusCode::BAD_REQUEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: Request) -> Answer {
        Reply::ok().into()
    }

    #[test]
    fn matches_like_a_serve_mux() {
        let router = Router::new([
            Route::new("/v1/kv/", &["GET"], nothing),
            Route::new("/v1/status/leader", &["GET"], nothing),
            Route::new("/v1/agent/service/", &["GET"], nothing),
            Route::new("/v1/agent/service/register", &["PUT"], nothing),
            Route::new("/v1/event/list", &["GET"], nothing),
        ]);
        let table = [
            ("/v1/kv/", "/v1/kv/"),
            ("/v1/kv/a", "/v1/kv/"),
            ("/v1/kv/a/very/deep/and/long/key/with/many/slashes", "/v1/kv/"),
            ("/v1/kv", "slash"),
            ("/v1/kvx", "-"),
            ("/v1/status/leader", "/v1/status/leader"),
            ("/v1/status/leader/", "-"),
            ("/v1/status", "-"),
            ("/v1/agent/service/register", "/v1/agent/service/register"),
            ("/v1/agent/service/registers", "/v1/agent/service/"),
            ("/v1/agent/service", "slash"),
            ("/", "-"),
            ("", "-"),
        ];
        for (path, want) in table {
            let found = match router.find(path.as_bytes()) {
                Found::Entry(entry) => entry.route.pattern,
                Found::SlashMissing => "slash",
                Found::Nothing => "-",
            };
            assert_eq!(found, want, "{path}");
        }
    }
}
