//! Where the agent is: `CONSUL_HTTP_ADDR`, `-http-addr` and the URL texts made from them.

/// Address used when nothing says otherwise.
pub(super) const DEFAULT: &str = "127.0.0.1:8500";

/// An agent's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Address {
    /// `https` rather than `http`.
    pub tls: bool,
    /// `host:port`, or the socket's path.
    pub host: String,
    /// The host is a Unix socket.
    pub unix: bool,
}

impl Address {
    /// Reads `host:port`, `http://host:port`, `https://host:port` or `unix:///path`. `tls` asks for
    /// https where the text does not; `http://` does not take that back.
    ///
    /// # Errors
    /// Consul's text for another scheme.
    pub fn parse(text: &str, tls: bool) -> Result<Self, String> {
        let text = if text.is_empty() { DEFAULT } else { text };
        let Some((scheme, host)) = text.split_once("://") else {
            return Ok(Self { tls, host: text.to_owned(), unix: false });
        };
        match scheme {
            "http" => Ok(Self { tls, host: host.to_owned(), unix: false }),
            "https" => Ok(Self { tls: true, host: host.to_owned(), unix: false }),
            "unix" => Ok(Self { tls, host: host.to_owned(), unix: true }),
            other => Err(format!("Unknown protocol scheme: {other}")),
        }
    }

    /// Scheme and host as an error text shows them.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", escape(&self.host, is_host_byte))
    }

    /// Host name without port and brackets: what a certificate must be valid for.
    pub fn server_name(&self) -> &str {
        split_port(&self.host).0
    }

    /// Host name and port to connect to; a missing port is the scheme's.
    pub fn host_and_port(&self) -> (&str, &str) {
        match split_port(&self.host) {
            (host, Some(port)) if !port.is_empty() => (host, port),
            (host, _) => (host, if self.tls { "443" } else { "80" }),
        }
    }

    /// The value of the Host header.
    pub fn host_header(&self) -> &str {
        let sendable = !self.unix && !self.host.is_empty() && self.host.bytes().all(is_host_byte);
        if sendable { &self.host } else { "localhost" }
    }
}

/// Splits off a port of digits; brackets around an IPv6 address are dropped. What does not look like
/// `host:digits` is all host.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some(inner) = text.strip_prefix('[')
        && let Some((host, rest)) = inner.split_once(']')
    {
        return (host, rest.strip_prefix(':'));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, Some(port))
        }
        _ => (text, None),
    }
}

/// A request's path (unescaped) and parameters.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    pub path: String,
    pub query: Vec<(&'static str, String)>,
}

impl Target {
    /// Escaped path and query; parameters sorted by name, each with `=`.
    pub fn text(&self) -> String {
        let mut text = escape(&self.path, is_path_byte);
        let mut query: Vec<_> = self.query.iter().collect();
        query.sort_by_key(|(name, _)| *name);
        for (number, (name, value)) in query.into_iter().enumerate() {
            text.push(if number == 0 { '?' } else { '&' });
            text.push_str(name);
            text.push('=');
            text.push_str(&escape(value, is_plain_byte).replace("%20", "+"));
        }
        text
    }
}

fn escape(text: &str, keep: impl Fn(u8) -> bool) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if keep(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            for digit in [byte >> 4, byte & 15] {
                escaped.push(HEX.get(usize::from(digit)).map_or('0', |hex| char::from(*hex)));
            }
        }
    }
    escaped
}

/// RFC 3986 unreserved.
fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}

fn is_path_byte(byte: u8) -> bool {
    is_plain_byte(byte) || b"$&+,/:;=@".contains(&byte)
}

fn is_host_byte(byte: u8) -> bool {
    is_plain_byte(byte) || b"!$&'()*+,;=:[]<>\"".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses() {
        let cases: &[(&str, bool, &str, (&str, &str))] = &[
            ("", false, "http://127.0.0.1:8500", ("127.0.0.1", "8500")),
            ("10.0.0.1:80", false, "http://10.0.0.1:80", ("10.0.0.1", "80")),
            ("host", false, "http://host", ("host", "80")),
            ("host", true, "https://host", ("host", "443")),
            ("http://h:1", true, "https://h:1", ("h", "1")),
            ("https://h:1", false, "https://h:1", ("h", "1")),
            ("[::1]:8500", false, "http://[::1]:8500", ("::1", "8500")),
            ("[::1]", false, "http://[::1]", ("::1", "80")),
            (":8500", false, "http://:8500", ("", "8500")),
            ("a b:80", false, "http://a%20b:80", ("a b", "80")),
            ("h:x", false, "http://h:x", ("h:x", "80")),
            ("h:80/", false, "http://h:80%2F", ("h:80/", "80")),
            ("unix:///tmp/x.sock", false, "http://%2Ftmp%2Fx.sock", ("/tmp/x.sock", "80")),
        ];
        for (text, tls, url, host_and_port) in cases {
            let address = Address::parse(text, *tls).unwrap();
            assert_eq!(address.url(), *url, "{text}");
            assert_eq!(address.host_and_port(), *host_and_port, "{text}");
            assert_eq!(address.unix, text.starts_with("unix"), "{text}");
        }
        assert_eq!(Address::parse("tcp://h", false).unwrap_err(), "Unknown protocol scheme: tcp");
    }

    #[test]
    fn targets() {
        let target = Target {
            path: "/v1/kv/a b!*(x)?&é/c%".to_owned(),
            query: vec![("stale", String::new()), ("dc", "a b+c/é".to_owned())],
        };
        assert_eq!(target.text(), "/v1/kv/a%20b%21%2A%28x%29%3F&%C3%A9/c%25?dc=a+b%2Bc%2F%C3%A9&stale=");
    }

    proptest! {
        #[test]
        fn every_target_is_a_uri(path in "\\PC{0,20}", value in "\\PC{0,20}") {
            let target = Target { path: format!("/{path}"), query: vec![("x", value)] };
            let uri = format!("http://agent{}", target.text());
            prop_assert!(uri.parse::<ureq::http::Uri>().is_ok(), "{uri}");
        }
    }
}
