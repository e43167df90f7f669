//! One request and its answer, over a connection of its own.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;

use base64::Engine as _;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use url::Url;

use super::super::gotext::os_error;
use super::super::net::{self, Stream};
use super::super::output::Tail;
use super::super::tls::{Tls, TlsUse};
use super::url_error;

/// Largest head of an answer, in bytes.
const MOST_HEAD: usize = 64 * 1024;
/// Body read at most, in bytes: enough for every page, an end for endless ones.
const MOST_BODY: u64 = 128 << 20;

/// Where a request goes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Parsed.
    pub url: Url,
    /// `host:port` to connect to.
    pub address: String,
}

impl Target {
    /// From a URL known to be of HTTP and to have a host.
    pub fn new(url: Url) -> Self {
        let address =
            format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
        Self { url, address }
    }

    /// The request is sent over TLS.
    fn secure(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Host and port as the `Host` header has them.
    pub fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// `Authorization` for the user in the URL.
    pub fn credentials(&self) -> Option<HeaderValue> {
        if self.url.username().is_empty() && self.url.password().is_none() {
            return None;
        }
        let pair = format!("{}:{}", self.url.username(), self.url.password().unwrap_or_default());
        let code = base64::engine::general_purpose::STANDARD.encode(pair);
        HeaderValue::from_str(&format!("Basic {code}")).ok()
    }
}

/// Reads a URL by Go's rules and with its complaints.
pub(super) fn parse(text: &str, method: &str) -> Result<Target, String> {
    let refused = |why: &str| Err(format!("parse {text:?}: {why}"));
    let unusable = |why: &str| Err(url_error(method, text, why));
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return refused("net/url: invalid control character in URL");
    }
    let segment = text.split('/').next().unwrap_or_default();
    let scheme = match segment.split_once(':') {
        None => return unusable("unsupported protocol scheme \"\""),
        Some((scheme, _)) => scheme.to_ascii_lowercase(),
    };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_scheme {
        return refused("first path segment in URL cannot contain colon");
    }
    if scheme != "http" && scheme != "https" {
        return unusable(&format!("unsupported protocol scheme {scheme:?}"));
    }
    let rest = text.get(scheme.len() + 1..).unwrap_or_default();
    let authority = rest.strip_prefix("//").unwrap_or_default();
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host_port.is_empty() || host_port.starts_with(':') {
        return unusable("http: no Host in request URL");
    }
    if host_port.starts_with('[') && !host_port.contains(']') {
        return refused("missing ']' in host");
    }
    let port = match host_port.rsplit_once(']') {
        Some((_, after)) => after.strip_prefix(':'),
        None => host_port.split_once(':').map(|(_, port)| port),
    };
    if let Some(port) = port {
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return refused(&format!("invalid port {:?} after host", format!(":{port}")));
        }
        if !port.is_empty() && port.parse::<u16>().is_err() {
            return unusable(&format!("dial tcp: address {port}: invalid port"));
        }
    }
    match Url::parse(text) {
        Ok(url) if url.has_host() => Ok(Target::new(url)),
        Ok(_) => unusable("http: no Host in request URL"),
        Err(error) => refused(&error.to_string()),
    }
}

/// The headers of a definition with Consul's own: the `Host` if it names one, and the others.
pub(super) fn headers(
    given: &BTreeMap<String, Vec<String>>,
    user_agent: &str,
    target: &Target,
) -> Result<(Option<HeaderValue>, HeaderMap), String> {
    let mut host = None;
    let mut fields = HeaderMap::new();
    for (name, values) in given {
        for value in values {
            let field = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("net/http: invalid header field name {name:?}"))?;
            let value = HeaderValue::from_str(value)
                .map_err(|_| format!("net/http: invalid header field value {value:?} for key {name}"))?;
            if field == header::HOST {
                host.get_or_insert(value);
            } else {
                fields.append(field, value);
            }
        }
    }
    let agent = HeaderValue::from_str(user_agent)
        .map_err(|_| format!("net/http: invalid header field value {user_agent:?} for key User-Agent"))?;
    fields.entry(header::USER_AGENT).or_insert(agent);
    fields.entry(header::ACCEPT).or_insert(HeaderValue::from_static("text/plain, text/*, */*"));
    fields.entry(header::CONNECTION).or_insert(HeaderValue::from_static("close"));
    if let Some(credentials) = target.credentials() {
        fields.entry(header::AUTHORIZATION).or_insert(credentials);
    }
    Ok((host, fields))
}

/// A request that can be made.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Method.
    pub method: Method,
    /// Where to.
    pub target: Target,
    /// `Host` if it is not that of the target.
    pub host: Option<HeaderValue>,
    /// All other headers.
    pub fields: HeaderMap,
    /// The definition's body is sent.
    pub with_body: bool,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status.
    pub status: u16,
    /// The words after it.
    pub reason: String,
    /// The end of its body.
    pub body: Tail,
}

/// What an answer leads to.
#[derive(Debug)]
pub(super) enum Step {
    /// This is the answer; its body was read.
    Answered,
    /// Look elsewhere.
    Moved {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// As given.
        location: String,
    },
}

impl Call {
    /// Connects.
    pub async fn open(&self, tls: &Tls, how: &TlsUse) -> Result<Stream, String> {
        let (stream, peer) = net::connect(&self.target.address).await.map_err(|error| error.to_string())?;
        if !self.target.secure() {
            return Ok(Stream::plain((stream, peer)));
        }
        let host = self.target.url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Stream::secure(tls.wrap(stream, host, how).await?, peer))
    }

    fn request(&self, body: String) -> Result<Request<String>, String> {
        let path = &self.target.url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = path.parse().map_err(|error| format!("net/url: {error}"))?;
        let host = match &self.host {
            Some(host) => host.clone(),
            None => HeaderValue::from_str(&self.target.authority()).map_err(|error| error.to_string())?,
        };
        let fields = request.headers_mut();
        fields.reserve(self.fields.len() + 2);
        fields.insert(header::HOST, host);
        fields.extend(self.fields.clone());
        Ok(request)
    }

    /// Asks. An answer that is not a redirect to follow is put into `answer` as soon as its head is there, and up
    /// to `body_limit` of its last bytes while they come.
    pub async fn exchange(
        &self,
        stream: Stream,
        body: String,
        follow: bool,
        body_limit: usize,
        answer: &mut Option<Answer>,
    ) -> Result<Step, String> {
        let peer = stream.peer();
        let request = self.request(body)?;
        ask(stream, request, async |response| {
            let response = response.map_err(|error| failure(&error, peer))?;
            let status = response.status().as_u16();
            if follow && let Some(step) = moved(status, response.headers())? {
                return Ok(step);
            }
            let reason = reason(&response);
            let found = answer.insert(Answer { status, reason, body: Tail::new(body_limit) });
            // What came before an error stays.
            let _ = read_body(response.into_body(), &mut found.body).await;
            Ok(Step::Answered)
        })
        .await
    }
}

/// Where an answer points to, if it is a redirect that Go's client follows.
fn moved(status: u16, fields: &HeaderMap) -> Result<Option<Step>, String> {
    let location =
        fields.get(header::LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match (status, location) {
        (301..=303 | 307 | 308, Some(location)) if !location.is_empty() => {
            Ok(Some(Step::Moved { status, location }))
        }
        (301..=303, _) => Err(format!("{status} response missing Location header")),
        _ => Ok(None),
    }
}

/// The words after the status, as sent.
fn reason<B>(response: &Response<B>) -> String {
    match response.extensions().get::<ReasonPhrase>() {
        Some(phrase) => String::from_utf8_lossy(phrase.as_bytes()).into_owned(),
        None => response.status().canonical_reason().unwrap_or_default().to_owned(),
    }
}

/// Sends a request and works on its answer, while the connection is kept going beside it.
pub(in super::super) async fn ask<T>(
    stream: Stream,
    request: Request<String>,
    work: impl AsyncFnOnce(Result<Response<Incoming>, hyper::Error>) -> T,
) -> T {
    let handshake = http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(MOST_HEAD)
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = match handshake {
        Ok(both) => both,
        Err(error) => return work(Err(error)).await,
    };
    let work = async move {
        let response = sender.send_request(request).await;
        work(response).await
    };
    alongside(work, connection).await
}

/// Runs `work` to its end while `connection` is polled too.
pub(in super::super) async fn alongside<W: Future, C: Future>(work: W, connection: C) -> W::Output {
    let mut work = pin!(work);
    let mut connection = pin!(connection);
    let mut open = true;
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        if open && connection.as_mut().poll(context).is_ready() {
            open = false;
            // What the connection left behind may be all that the work waits for.
            return work.as_mut().poll(context);
        }
        Poll::Pending
    })
    .await
}

/// Reads a body to its end, or to the most that is read of any.
pub(in super::super) async fn read_body(mut body: Incoming, tail: &mut Tail) -> Result<(), hyper::Error> {
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Some(data) = frame?.data_ref() {
            tail.write(data);
        }
        if tail.total() >= MOST_BODY {
            break;
        }
    }
    Ok(())
}

/// Go's text for a request without an answer.
pub(in super::super) fn failure(error: &hyper::Error, peer: Option<SocketAddr>) -> String {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return "EOF".to_owned();
    }
    if error.is_parse() {
        return format!("net/http: HTTP/1.x transport connection broken: malformed HTTP response: {error}");
    }
    match error.source().and_then(|source| source.downcast_ref::<std::io::Error>()) {
        Some(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        Some(io) if io.get_ref().is_none() => net::socket_error("read", "tcp", peer, io),
        Some(io) => os_error(io),
        None => error.to_string(),
    }
}
