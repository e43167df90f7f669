//! HTTP and HTTPS: a request, and what its answer's status says.
//!
//! Every look opens a connection of its own and closes it, as Consul's do. A kept connection would say that a
//! process once accepted it; a new one says that the listener, its backlog and whatever balances before it
//! take connections now. It also leaves nothing behind between two looks: no buffers here, no descriptor there.

mod redirect;
mod request;

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use tokio::time::timeout;

use redirect::Next;
use request::{Answer, Call, Step, Target, headers, parse};
pub(super) use request::{alongside, ask, failure, read_body};

use super::tls::{Inside, Tls, TlsUse};
use super::{Outcome, Shared};
use crate::definition::CheckDefinition;

/// Requests made for one look at most: the first and what redirects lead to. Go's limit.
const MOST_REQUESTS: usize = 10;

/// A request to be made again and again.
#[derive(Debug)]
pub(super) struct HttpProbe {
    /// As the definition has it, for the output.
    url: String,
    /// As the definition has it; GET if it has none.
    method: String,
    /// The first request, or why it cannot be made.
    first: Result<Call, String>,
    body: String,
    limit: Duration,
    output_max_size: usize,
    follow: bool,
    tls: Arc<Tls>,
    tls_use: TlsUse,
}

/// How far a look has come; survives the end of its time.
#[derive(Debug, Default)]
struct Progress {
    /// Where the present request goes, if it is not the first.
    moved_to: Option<String>,
    /// The last answer, its body as far as it came.
    answer: Option<Answer>,
}

impl HttpProbe {
    /// What a definition asks for. A definition that cannot be asked for gives a probe that says why.
    pub fn new(check: &CheckDefinition, limit: Duration, output_max_size: usize, shared: &Shared) -> Self {
        let method = if check.method.is_empty() { "GET" } else { &check.method };
        let tls_use = TlsUse {
            skip_verify: check.tls_skip_verify,
            server_name: check.tls_server_name.clone(),
            inside: Inside::Http1,
        };
        Self {
            url: check.http.clone(),
            method: method.to_owned(),
            first: first(check, method, &shared.settings.user_agent),
            body: check.body.clone(),
            limit,
            output_max_size,
            follow: !check.disable_redirects,
            tls: Arc::clone(&shared.tls),
            tls_use,
        }
    }

    /// One look.
    pub async fn run(&self) -> Outcome {
        let first = match &self.first {
            Ok(call) => call,
            Err(text) => return Outcome::critical(text.clone()),
        };
        let mut progress = Progress::default();
        let ended = timeout(self.limit, self.look(first.clone(), &mut progress)).await;
        let error = match (progress.answer, ended) {
            // A body that breaks off or does not end in time does not undo the status before it.
            (Some(answer), _) => return self.judge(answer),
            (None, Ok(Ok(()))) => "EOF".to_owned(),
            (None, Ok(Err(text))) => text,
            (None, Err(_)) => {
                "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned()
            }
        };
        let url = progress.moved_to.as_deref().unwrap_or(&self.url);
        Outcome::critical(url_error(&self.method, url, &error))
    }

    fn judge(&self, Answer { status, reason, body }: Answer) -> Outcome {
        let output =
            format!("HTTP {} {}: {status} {reason} Output: {}", self.method, self.url, body.into_text());
        match status {
            200..=299 => Outcome::passing(output),
            429 => Outcome::warning(output),
            _ => Outcome::critical(output),
        }
    }

    /// Asks, and follows where the answers point to.
    async fn look(&self, mut call: Call, progress: &mut Progress) -> Result<(), String> {
        for request in 1.. {
            let body = if call.with_body { self.body.clone() } else { String::new() };
            let stream = call.open(&self.tls, &self.tls_use).await?;
            let body_limit = self.output_max_size;
            let step = call.exchange(stream, body, self.follow, body_limit, &mut progress.answer).await?;
            match step {
                Step::Answered => return Ok(()),
                Step::Moved { status, location } => {
                    if request >= MOST_REQUESTS {
                        progress.moved_to = Some(location);
                        return Err(format!("stopped after {MOST_REQUESTS} redirects"));
                    }
                    let Next { call: next, shown } = redirect::next(&call, status, &location)?;
                    call = next;
                    progress.moved_to = Some(shown);
                }
            }
        }
        Ok(())
    }
}

/// The first request of a definition.
fn first(check: &CheckDefinition, method: &str, user_agent: &str) -> Result<Call, String> {
    let parsed: Method = method.parse().map_err(|_| format!("net/http: invalid method {method:?}"))?;
    let target: Target = parse(&check.http, method)?;
    let (host, fields) =
        headers(&check.header, user_agent, &target).map_err(|text| url_error(method, &check.http, &text))?;
    Ok(Call { method: parsed, target, host, fields, with_body: !check.body.is_empty() })
}

/// Go's form of an error about a request: `Get "http://…": EOF`.
fn url_error(method: &str, url: &str, error: &str) -> String {
    let mut letters = method.chars();
    let first: String = letters.next().into_iter().collect();
    format!("{first}{} {:?}: {error}", letters.as_str().to_lowercase(), redirect::without_password(url))
}
