//! What a watch asks the agent's own HTTP API. The other end is ours and answers with a length or by
//! closing, so this is as small an HTTP client as can be.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::definition::WatchDefinition;
use crate::watch::View;

/// How long the agent may keep a question open, a little more than its longest wait.
const PATIENCE: Duration = Duration::from_secs(11 * 60);
/// Largest answer, in bytes.
const MOST: u64 = 512 << 20;

/// A question, all but what it waits behind.
#[derive(Debug)]
pub(super) struct Question {
    agent: SocketAddr,
    /// Escaped path and parameters.
    target: String,
    /// Header lines.
    headers: String,
}

/// What an answer must be newer than.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Behind {
    /// Nothing: answer at once.
    #[default]
    Nothing,
    /// An index.
    Index(u64),
    /// A hash.
    Hash(String),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `X-Consul-Index`.
    pub index: Option<u64>,
    /// `X-Consul-ContentHash`.
    pub hash: Option<String>,
    /// Body.
    pub body: Vec<u8>,
}

impl Behind {
    /// What to wait behind once `answer` is known. An index that went back is a server that lost its state:
    /// begin again.
    pub fn after(&self, answer: &Answer) -> Self {
        match (answer.index, &answer.hash) {
            (_, Some(hash)) => Self::Hash(hash.clone()),
            (Some(index), None) if matches!(self, Self::Index(before) if index < *before) => Self::Nothing,
            (Some(index), None) => Self::Index(index),
            (None, None) => Self::Nothing,
        }
    }
}

impl Question {
    pub fn new(agent: SocketAddr, view: &View, definition: &WatchDefinition) -> Self {
        let mut target = escape(&view.path(), b"/");
        let mut query = view.query();
        if !definition.datacenter.is_empty() {
            query.push(("dc", definition.datacenter.clone()));
        }
        if definition.stale {
            query.push(("stale", String::new()));
        }
        for (number, (name, value)) in query.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(target, "{}{name}={}", if number == 0 { '?' } else { '&' }, escape(value, b""));
        }
        let token = definition.token.expose();
        let header_safe = token.bytes().all(|byte| byte.is_ascii_graphic());
        let token = if token.is_empty() || !header_safe {
            String::new()
        } else {
            format!("X-Consul-Token: {token}\r\n")
        };
        Self { agent, target, headers: format!("Host: {agent}\r\nConnection: close\r\n{token}") }
    }

    fn head(&self, behind: &Behind) -> String {
        let mark = if self.target.contains('?') { '&' } else { '?' };
        let target = &self.target;
        let target = match behind {
            Behind::Nothing => target.clone(),
            Behind::Index(index) => format!("{target}{mark}index={index}"),
            Behind::Hash(hash) => format!("{target}{mark}hash={}", escape(hash, b"")),
        };
        format!("GET {target} HTTP/1.1\r\n{}\r\n", self.headers)
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn ask(&self, behind: &Behind) -> Result<Answer, String> {
        let exchange = async {
            let mut stream = TcpStream::connect(self.agent).await?;
            stream.write_all(self.head(behind).as_bytes()).await?;
            let mut bytes = Vec::new();
            stream.take(MOST).read_to_end(&mut bytes).await?;
            Ok::<_, std::io::Error>(bytes)
        };
        let bytes = tokio::time::timeout(PATIENCE, exchange)
            .await
            .map_err(|_| "no answer in time".to_owned())?
            .map_err(|error| error.to_string())?;
        parse(&bytes).ok_or_else(|| "the answer broke off".to_owned())
    }
}

/// Reads a whole answer; `None` if it is none, or not all of it.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let body = bytes.get(end + 4..)?.to_vec();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let header = |name: &str| {
        head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    };
    if header("Content-Length").is_some_and(|length| length.parse() != Ok(body.len())) {
        return None;
    }
    Some(Answer {
        status,
        index: header("X-Consul-Index").and_then(|index| index.parse().ok()),
        hash: header("X-Consul-ContentHash").map(str::to_owned),
        body,
    })
}

/// Escapes for a URL; letters, digits, `-._~` and `keep` stay.
fn escape(text: &str, keep: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_escaped() {
        let definition: WatchDefinition = serde_json::from_str(
            r#"{"type":"service","service":"a b/ü","tag":"x&y","datacenter":"dc 1","stale":true,"token":"t1"}"#,
        )
        .unwrap();
        let question =
            Question::new("127.0.0.1:8500".parse().unwrap(), &View::of(&definition).unwrap(), &definition);
        let target = "/v1/health/service/a%20b/%C3%BC?tag=x%26y&dc=dc%201&stale=";
        let rest = "Host: 127.0.0.1:8500\r\nConnection: close\r\nX-Consul-Token: t1\r\n\r\n";
        assert_eq!(question.head(&Behind::Nothing), format!("GET {target} HTTP/1.1\r\n{rest}"));
        assert_eq!(question.head(&Behind::Index(7)), format!("GET {target}&index=7 HTTP/1.1\r\n{rest}"));
    }

    #[test]
    fn answers_are_read_whole_or_not() {
        let good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-consul-index: 9\r\n\r\n[]";
        let answer = parse(good).unwrap();
        assert_eq!((answer.status, answer.index, answer.body.as_slice()), (200, Some(9), &b"[]"[..]));
        for broken in [&good[..good.len() - 1], b"HTTP/1.1 200 OK\r\n", b"", b"x\r\n\r\n"] {
            assert_eq!(parse(broken), None);
        }
        assert_eq!(Behind::Index(10).after(&answer), Behind::Nothing, "the index went back");
        assert_eq!(Behind::Index(8).after(&answer), Behind::Index(9));
    }
}
