//! Watches, as the command line and the agent run them: which question a watch asks the HTTP API, and what
//! of the answer its handler gets.
//!
//! Pure functions: who asks, waits and runs the handler is elsewhere.

pub mod shape;

use std::fmt::Write as _;

use serde_json::value::RawValue;

use crate::definition::WatchDefinition;

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// A key.
    Key(String),
    /// All keys that begin so.
    Prefix(String),
    /// Names and tags of all services.
    Services,
    /// All nodes.
    Nodes,
    /// The instances of a service.
    Service {
        /// Its name.
        name: String,
        /// Tags an instance must have.
        tags: Vec<String>,
        /// Only instances whose checks all pass.
        passing: bool,
    },
    /// Checks: of a service, in a state, or all.
    Checks {
        /// Name of the service.
        service: Option<String>,
        /// State.
        state: Option<String>,
    },
    /// User events, of one name or all.
    Event(Option<String>),
    /// A service of the agent's own, by id.
    AgentService(String),
}

/// Why an answer is none.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The agent refused.
    #[error("Unexpected response code: {code} ({body})")]
    Status {
        /// HTTP status.
        code: u16,
        /// Body, as it came.
        body: String,
    },
    /// It is not the JSON expected.
    #[error("{0}")]
    Decode(#[from] serde_json::Error),
}

impl View {
    /// The view a definition asks for.
    ///
    /// # Errors
    /// What is missing or wrong, in Consul's words.
    pub fn of(watch: &WatchDefinition) -> Result<Self, String> {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let needed = |text: &String, what: &str| {
            some(text).ok_or_else(|| format!("Must specify a single {what} to watch"))
        };
        Ok(match watch.kind.as_str() {
            "key" => Self::Key(needed(&watch.key, "key")?),
            "keyprefix" => Self::Prefix(needed(&watch.prefix, "prefix")?),
            "services" => Self::Services,
            "nodes" => Self::Nodes,
            "service" => Self::Service {
                name: needed(&watch.service, "service")?,
                tags: watch.tag.clone(),
                passing: watch.passingonly,
            },
            "checks" => match (some(&watch.service), some(&watch.state)) {
                (Some(_), Some(_)) => return Err("Cannot specify service and state".to_owned()),
                (service, state) => Self::Checks { service, state },
            },
            "event" => Self::Event(some(&watch.name)),
            "agent_service" => Self::AgentService(needed(&watch.service_id, "service_id")?),
            other => return Err(format!("Unsupported watch type: {other}")),
        })
    }

    /// The path of the question, not escaped.
    pub fn path(&self) -> String {
        match self {
            Self::Key(key) | Self::Prefix(key) => format!("/v1/kv/{}", key.strip_prefix('/').unwrap_or(key)),
            Self::Services => "/v1/catalog/services".to_owned(),
            Self::Nodes => "/v1/catalog/nodes".to_owned(),
            Self::Service { name, .. } => format!("/v1/health/service/{name}"),
            Self::Checks { service: Some(service), .. } => format!("/v1/health/checks/{service}"),
            Self::Checks { state, .. } => format!("/v1/health/state/{}", state.as_deref().unwrap_or("any")),
            Self::Event(_) => "/v1/event/list".to_owned(),
            Self::AgentService(id) => format!("/v1/agent/service/{id}"),
        }
    }

    /// The parameters of the question, besides those of waiting and freshness.
    pub fn query(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Prefix(_) => vec![("recurse", String::new())],
            Self::Service { tags, passing, .. } => {
                let passing = passing.then(|| ("passing", "1".to_owned()));
                passing.into_iter().chain(tags.iter().map(|tag| ("tag", tag.clone()))).collect()
            }
            Self::Event(Some(name)) => vec![("name", name.clone())],
            _ => Vec::new(),
        }
    }

    /// Whether it is waited for by a hash of the answer and not by an index.
    pub const fn by_hash(&self) -> bool {
        matches!(self, Self::AgentService(_))
    }

    /// What the handler gets of an answer: one line of JSON.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn data(&self, status: u16, body: &[u8]) -> Result<String, AnswerError> {
        if status == 404 && matches!(self, Self::Key(_) | Self::Prefix(_) | Self::AgentService(_)) {
            return Ok("null".to_owned());
        }
        if status != 200 {
            let body = String::from_utf8_lossy(body).into_owned();
            return Err(AnswerError::Status { code: status, body });
        }
        let json = match self {
            Self::Key(_) => {
                let pairs: Vec<shape::KvPair> = serde_json::from_slice(body)?;
                serde_json::to_string(&pairs.first())
            }
            Self::Prefix(_) => serde_json::to_string(&serde_json::from_slice::<Vec<shape::KvPair>>(body)?),
            Self::Service { .. } => {
                serde_json::to_string(&serde_json::from_slice::<Vec<shape::ServiceEntry>>(body)?)
            }
            Self::Checks { .. } => {
                serde_json::to_string(&serde_json::from_slice::<Vec<shape::HealthCheck>>(body)?)
            }
            Self::Services | Self::Nodes | Self::Event(_) | Self::AgentService(_) => {
                Ok(serde_json::from_slice::<Box<RawValue>>(body)?.get().to_owned())
            }
        };
        Ok(tidy(&json?))
    }
}

/// Valid JSON on one line, with the characters escaped that Go escapes.
fn tidy(json: &str) -> String {
    let mut tidied = String::with_capacity(json.len());
    let (mut inside_text, mut escaped) = (false, false);
    for character in json.chars() {
        match character {
            ' ' | '\n' | '\r' | '\t' if !inside_text => {}
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a string cannot fail.
                let _ = write!(tidied, "\\u{:04x}", character as u32);
            }
            other => tidied.push(other),
        }
        inside_text ^= character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
    }
    tidied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(json: &str) -> Result<View, String> {
        View::of(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn questions() {
        let cases = [
            (r#"{"type":"key","key":"/a b"}"#, "/v1/kv/a b", ""),
            (r#"{"type":"keyprefix","prefix":"p/"}"#, "/v1/kv/p/", "recurse="),
            (r#"{"type":"services"}"#, "/v1/catalog/services", ""),
            (r#"{"type":"nodes"}"#, "/v1/catalog/nodes", ""),
            (
                r#"{"type":"service","service":"web","tag":["a","b"],"passingonly":true}"#,
                "/v1/health/service/web",
                "passing=1 tag=a tag=b",
            ),
            (r#"{"type":"checks"}"#, "/v1/health/state/any", ""),
            (r#"{"type":"checks","state":"critical"}"#, "/v1/health/state/critical", ""),
            (r#"{"type":"checks","service":"web"}"#, "/v1/health/checks/web", ""),
            (r#"{"type":"event","name":"deploy"}"#, "/v1/event/list", "name=deploy"),
            (r#"{"type":"agent_service","service_id":"w1"}"#, "/v1/agent/service/w1", ""),
        ];
        for (json, path, query) in cases {
            let view = watch(json).unwrap();
            let found: Vec<String> =
                view.query().iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!((view.path().as_str(), found.join(" ").as_str()), (path, query), "{json}");
        }
        let refused = [
            (r#"{"type":"key"}"#, "Must specify a single key to watch"),
            (r#"{"type":"keyprefix"}"#, "Must specify a single prefix to watch"),
            (r#"{"type":"service"}"#, "Must specify a single service to watch"),
            (r#"{"type":"checks","service":"a","state":"b"}"#, "Cannot specify service and state"),
            (r#"{"type":"x"}"#, "Unsupported watch type: x"),
        ];
        for (json, reason) in refused {
            assert_eq!(watch(json).unwrap_err(), reason, "{json}");
        }
    }

    #[test]
    fn answers() {
        let pair = r#"[ { "LockIndex": 0, "Key": "a", "Flags": 0, "Value": "MQ==", "CreateIndex": 1, "ModifyIndex": 2 } ]"#;
        let shaped = r#"{"Key":"a","CreateIndex":1,"ModifyIndex":2,"LockIndex":0,"Flags":0,"Value":"MQ==","Session":""}"#;
        let services = "{\n    \"a <&> \\\" b\": []\n}\n";
        let cases: &[(View, u16, &str, &str)] = &[
            (View::Key("a".into()), 200, pair, shaped),
            (View::Prefix("a".into()), 200, pair, &format!("[{shaped}]")),
            (View::Key("a".into()), 404, "", "null"),
            (View::Services, 200, services, r#"{"a \u003c\u0026\u003e \" b":[]}"#),
        ];
        for (view, status, body, want) in cases {
            assert_eq!(view.data(*status, body.as_bytes()).unwrap(), *want, "{view:?}");
        }
        let error = View::Services.data(500, b"No cluster leader").unwrap_err();
        assert_eq!(error.to_string(), "Unexpected response code: 500 (No cluster leader)");
        assert!(View::Nodes.data(200, b"{").is_err());
    }
}
