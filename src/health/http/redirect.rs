//! Following an answer that points elsewhere, by the rules of Go's client.

use hyper::Method;
use hyper::header::{self, HeaderValue};
use url::Url;

use super::request::{Call, Target};

/// Headers that are for the first host and its subdomains only.
const FOR_FIRST_HOST: [&str; 4] = ["authorization", "www-authenticate", "cookie", "cookie2"];

/// The next request.
#[derive(Debug)]
pub(super) struct Next {
    /// What to ask.
    pub call: Call,
    /// Its URL, for texts.
    pub shown: String,
}

/// What `call` becomes after an answer of `status` that points to `location`.
pub(super) fn next(call: &Call, status: u16, location: &str) -> Result<Next, String> {
    let from = &call.target.url;
    let url = from
        .join(location)
        .map_err(|error| format!("failed to parse Location header {location:?}: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("unsupported protocol scheme {:?}", url.scheme()));
    }
    if !url.has_host() {
        return Err("http: no Host in request URL".to_owned());
    }
    let mut next = call.clone();
    if !matches!(status, 307 | 308) {
        if !matches!(next.method, Method::GET | Method::HEAD) {
            next.method = Method::GET;
        }
        next.with_body = false;
    }
    // A host of its own is meant for this server, so it stays while the answer stays on it.
    if Url::parse(location).is_ok() || location.starts_with("//") {
        next.host = None;
    }
    let same_site = {
        let (old, new) = (from.host_str().unwrap_or_default(), url.host_str().unwrap_or_default());
        new == old || new.strip_suffix(old).is_some_and(|sub| sub.ends_with('.'))
    };
    if !same_site {
        for name in FOR_FIRST_HOST {
            next.fields.remove(name);
        }
    }
    if !(from.scheme() == "https" && url.scheme() == "http")
        && let Some(referer) = referer(from)
    {
        next.fields.insert(header::REFERER, referer);
    }
    let shown = url.to_string();
    next.target = Target::new(url);
    if let Some(credentials) = next.target.credentials() {
        next.fields.insert(header::AUTHORIZATION, credentials);
    }
    Ok(Next { call: next, shown })
}

/// A URL without user and fragment.
fn referer(url: &Url) -> Option<HeaderValue> {
    let mut url = url.clone();
    url.set_fragment(None);
    // Cannot fail for HTTP.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    HeaderValue::from_str(url.as_str()).ok()
}

/// A URL as it may be shown.
pub(super) fn without_password(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => {
            let _ = parsed.set_password(Some("***"));
            parsed.to_string()
        }
        _ => url.to_owned(),
    }
}
