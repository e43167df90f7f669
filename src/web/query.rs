//! Query strings as Go reads them, and the parameters every endpoint understands.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, HeaderName};
use smallvec::SmallVec;

use super::error::WebError;
use super::path::{escape_query, percent_decode};
use super::request::Request;
use crate::duration::parse as parse_duration;
use crate::endpoints::query::{Consistency, QueryOptions};

static NAMESPACE: HeaderName = HeaderName::from_static("x-consul-namespace");

/// The arguments of a request, in the order given. For a repeated name the first value counts.
#[derive(Debug, Default)]
pub struct Query {
    pairs: SmallVec<[(Box<str>, Box<str>); 2]>,
}

impl Query {
    /// Parses the part after `?`. `&` and `;` separate, `+` is a blank, a name without `=` has an
    /// empty value, empty parts are passed over. `None` for a broken escape.
    pub fn parse(raw: &str) -> Option<Self> {
        let mut pairs = SmallVec::new();
        for part in raw.split(['&', ';']).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            pairs.push((unescape(name)?, unescape(value)?));
        }
        Some(Self { pairs })
    }

    /// Whether an argument is given, whatever its value: `?stale`, `?stale=` and `?stale=false` are
    /// the same to Consul.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The value of an argument; empty when it was given without one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(found, _)| **found == *name).map(|(_, value)| &**value)
    }

    /// The value of an argument, `None` also when it is empty: how Consul reads most of them.
    pub fn get_filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All values of an argument, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(found, _)| **found == *name).map(|(_, value)| &**value)
    }

    /// The arguments written anew, sorted by name.
    pub fn encode(&self) -> String {
        let mut pairs: Vec<_> = self.pairs.iter().collect();
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut out = String::new();
        for (name, value) in pairs {
            if !out.is_empty() {
                out.push('&');
            }
            escape_query(name, &mut out);
            out.push('=');
            escape_query(value, &mut out);
        }
        out
    }
}

fn unescape(text: &str) -> Option<Box<str>> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Some(text.into());
    }
    Some(String::from_utf8_lossy(&percent_decode(text.as_bytes(), true)?).into())
}

/// Which reads may be served stale without being asked: Consul's `discovery_max_stale`.
fn is_discovery(path: &[u8]) -> bool {
    path.starts_with(b"/v1/catalog") || path.starts_with(b"/v1/health")
}

impl Request {
    /// The parameters every read understands: `stale`, `consistent`, `leader`, `cached`,
    /// `max_stale`, the `Cache-Control` header, `dc`, `wait` and `index`; checked in this order.
    ///
    /// # Errors
    /// 400 with Consul's text for the first one that is wrong.
    pub fn options(&self) -> Result<QueryOptions, WebError> {
        let mut options = QueryOptions::default();
        let Some(query) = self.query() else {
            self.discovery_default(&mut options);
            self.check_cache_control()?;
            return Ok(options);
        };
        let mut stale = query.has("stale");
        let consistent = query.has("consistent");
        let cached = query.has("cached") && self.settings().http_use_cache;
        let mut chosen = stale || consistent || cached || query.has("leader");
        if let Some(text) = query.get_filled("max_stale") {
            let limit = parse_duration(text)
                .map_err(|_| WebError::bad_request(format!("Invalid max_stale value {text:?}")))?;
            if limit > 0 {
                options.max_stale = duration(limit);
                stale = true;
                chosen = true;
            }
        }
        if stale && consistent {
            return Err(conflict("stale"));
        }
        if cached && consistent {
            return Err(conflict("cached"));
        }
        options.consistency = match (stale, consistent) {
            (true, _) => Consistency::Stale,
            (false, true) => Consistency::Consistent,
            (false, false) => Consistency::Default,
        };
        if !chosen {
            self.discovery_default(&mut options);
        }
        self.check_cache_control()?;
        options.datacenter = self.datacenter();
        if let Some(text) = query.get_filled("wait") {
            let wait =
                parse_duration(text).map_err(|_| WebError::BadRequest(Cow::Borrowed("Invalid wait time")))?;
            options.max_wait = duration(wait);
        }
        if let Some(text) = query.get_filled("index") {
            options.min_index =
                parse_u64(text).map_err(|_| WebError::BadRequest(Cow::Borrowed("Invalid index")))?;
        }
        Ok(options)
    }

    /// `?dc=`, none when absent or empty.
    pub fn datacenter(&self) -> Option<String> {
        self.arg_filled("dc").map(str::to_owned)
    }

    fn discovery_default(&self, options: &mut QueryOptions) {
        let limit = self.settings().discovery_max_stale;
        if !limit.is_zero() && is_discovery(self.path()) {
            options.consistency = Consistency::Stale;
            options.max_stale = limit;
        }
    }

    fn check_cache_control(&self) -> Result<(), WebError> {
        let Some(header) = self.header(&CACHE_CONTROL) else { return Ok(()) };
        let header = header.to_ascii_lowercase();
        for directive in header.split(',').map(str::trim) {
            let seconds =
                directive.strip_prefix("max-age=").or_else(|| directive.strip_prefix("stale-if-error="));
            if seconds.is_some_and(|seconds| seconds.parse::<i64>().is_err()) {
                return Err(WebError::BadRequest(Cow::Borrowed("Invalid Cache-Control header.")));
            }
        }
        Ok(())
    }

    /// Refuses `?ns=` and the `X-Consul-Namespace` header. Each endpoint that Consul Enterprise
    /// would give namespaces calls this where Consul does.
    ///
    /// # Errors
    /// 400 with Consul's text.
    pub fn refuse_namespace(&self) -> Result<(), WebError> {
        let what = if self.header(&NAMESPACE).is_some_and(|name| !name.is_empty()) {
            "header: \"X-Consul-Namespace\""
        } else if self.arg_filled("ns").is_some() {
            "query parameter: \"ns\""
        } else {
            return Ok(());
        };
        Err(WebError::bad_request(format!(
            "Bad request: Invalid {what} - Namespaces are a Consul Enterprise feature"
        )))
    }

    /// The node metadata filters of `?node-meta=key:value`, repeatable; none when not given.
    pub fn node_meta(&self) -> Vec<(String, String)> {
        self.query().map_or_else(Vec::new, |query| {
            query
                .all("node-meta")
                .map(|pair| {
                    let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
                    (key.to_owned(), value.to_owned())
                })
                .collect()
        })
    }
}

fn conflict(with: &str) -> WebError {
    WebError::bad_request(format!("Cannot specify ?{with} with ?consistent, conflicting semantics."))
}

fn duration(nanoseconds: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

/// Reads an unsigned decimal number as Go's `strconv.ParseUint` does.
///
/// # Errors
/// Go's words for what is wrong, which Consul prints.
pub fn parse_u64(text: &str) -> Result<u64, String> {
    let fail = |why: &str| Err(format!("strconv.ParseUint: parsing {text:?}: {why}"));
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return fail("invalid syntax");
    }
    text.parse().or_else(|_| fail("value out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_query_strings_as_go_does() {
        type Pairs = &'static [(&'static str, &'static str)];
        let table: [(&str, Option<Pairs>); 12] = [
            ("", Some(&[])),
            ("raw", Some(&[("raw", "")])),
            ("raw=", Some(&[("raw", "")])),
            ("a=1&a=2", Some(&[("a", "1"), ("a", "2")])),
            ("a=1;b=2", Some(&[("a", "1"), ("b", "2")])),
            ("&&a=1&", Some(&[("a", "1")])),
            ("a=b=c", Some(&[("a", "b=c")])),
            ("=x", Some(&[("", "x")])),
            ("a+b=c+d%2B", Some(&[("a b", "c d+")])),
            ("r%61w", Some(&[("raw", "")])),
            ("x=%zz", None),
            ("filter=%", None),
        ];
        for (raw, want) in table {
            let found = Query::parse(raw);
            let pairs = found
                .as_ref()
                .map(|query| query.pairs.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>());
            assert_eq!(pairs.as_deref(), want, "{raw}");
        }
    }

    #[test]
    fn the_first_value_counts() {
        let query = Query::parse("flags=1&flags=2&empty=&RAW").unwrap();
        assert_eq!(query.get("flags"), Some("1"));
        assert_eq!(query.all("flags").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("empty"), Some(""));
        assert_eq!(query.get_filled("empty"), None);
        assert!(!query.has("raw"));
    }

    #[test]
    fn encodes_sorted() {
        let table = [
            ("cas=0&acquire=abc", "acquire=abc&cas=0"),
            ("recurse&cas=3", "cas=3&recurse="),
            ("b=2&b=1&a=x+y%2F", "a=x+y%2F&b=2&b=1"),
        ];
        for (raw, want) in table {
            assert_eq!(Query::parse(raw).unwrap().encode(), want, "{raw}");
        }
    }

    #[test]
    fn numbers_fail_in_gos_words() {
        let table = [
            ("42", Ok(42)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("18446744073709551616", Err("value out of range")),
            ("", Err("invalid syntax")),
            ("-1", Err("invalid syntax")),
            ("+1", Err("invalid syntax")),
            ("1x", Err("invalid syntax")),
        ];
        for (text, want) in table {
            let want = want.map_err(|why| format!("strconv.ParseUint: parsing \"{text}\": {why}"));
            assert_eq!(parse_u64(text), want, "{text}");
        }
    }
}
