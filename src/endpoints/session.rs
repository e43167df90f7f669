//! Sessions: creating, renewing, ending and reading them.
//!
//! Ids are chosen here, so that applying the command needs no randomness.

use std::sync::Arc;
use std::time::Duration;

use smallvec::smallvec;

use super::blocking::{BlockingRead, Topics, refresh};
use super::decode::{Decoded, Json, Shape, Unknown};
use super::far::{Question, refusal};
use super::query::{QueryOptions, check_datacenter};
use super::{EndpointError, Endpoints};
use crate::duration;
use crate::state::record::{ServiceCheckRef, Session, SessionBehavior};
use crate::state::view::fold;
use crate::state::{Command, Topic, View};

/// The check every Consul agent has; sessions hang on it unless they say otherwise.
const SERF_HEALTH: &str = "serfHealth";
/// Default lock-delay.
const LOCK_DELAY: i64 = 15_000_000_000;
/// Lock-delays below this many nanoseconds are meant as seconds.
const SMALLEST_NANOSECONDS: i64 = 1_000;
/// Longest time to live.
const TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A session as a client asks for it; what it leaves out has Consul's defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRequest {
    /// Human name.
    pub name: String,
    /// Node it is bound to.
    pub node: String,
    /// Nanoseconds; negative numbers are possible and mean none.
    pub lock_delay: i64,
    /// `release`, `delete` or empty.
    pub behavior: String,
    /// Time to live in Go's notation, empty for none.
    pub ttl: String,
    /// The checks it depends on, in the old form that names no kind.
    pub checks: Vec<String>,
    /// The node checks it depends on.
    pub node_checks: Vec<String>,
    /// The service checks it depends on.
    pub service_checks: Option<Vec<ServiceCheckRef>>,
}

const SESSION: Shape = Shape {
    name: "structs.Session",
    fields: &["Name", "Node", "LockDelay", "Behavior", "TTL", "NodeChecks", "ServiceChecks", "Checks"],
    unknown: Unknown::Ignore,
};

const SERVICE_CHECK: Shape =
    Shape { name: "structs.ServiceCheck", fields: &["ID", "Namespace"], unknown: Unknown::Ignore };

impl SessionRequest {
    /// What a request without a body asks for.
    pub fn for_node(node: &str) -> Self {
        Self {
            name: String::new(),
            node: node.to_owned(),
            lock_delay: LOCK_DELAY,
            behavior: "release".into(),
            ttl: String::new(),
            checks: vec![SERF_HEALTH.into()],
            node_checks: vec![SERF_HEALTH.into()],
            service_checks: None,
        }
    }

    /// Takes over what a body says. A `null` list is an empty one, though `null` leaves everything
    /// else at its default.
    ///
    /// # Errors
    /// [`super::decode::DecodeError`] with Go's words.
    pub fn decode(&mut self, body: &[u8]) -> Decoded<()> {
        let json = Json::parse(body)?;
        for list in null_lists(&json) {
            if list.eq_ignore_ascii_case("Checks") {
                self.checks.clear();
            } else {
                self.node_checks.clear();
            }
        }
        SESSION.decode(json, |field, value| {
            match field {
                "Name" => self.name = value.string()?,
                "Node" => self.node = value.string()?,
                "LockDelay" => self.lock_delay = lock_delay(value)?,
                "Behavior" => self.behavior = value.string()?,
                "TTL" => self.ttl = value.string()?,
                "NodeChecks" => self.node_checks = value.strings()?,
                "ServiceChecks" => {
                    self.service_checks = value.list("[]structs.ServiceCheck", service_check)?;
                }
                _ => self.checks = value.strings()?,
            }
            Ok(())
        })
    }

    /// Where one of the two lists of checks was emptied, the default of the other goes too.
    fn settle_checks(&mut self) {
        if self.checks.is_empty() {
            self.node_checks.clear();
        } else if self.node_checks.is_empty() || self.checks == [SERF_HEALTH] {
            self.checks.clear();
        }
    }
}

/// The lists of checks that a body sets to `null`.
fn null_lists(json: &Json) -> impl Iterator<Item = &str> {
    let fields: &[(String, Json)] = if let Json::Object(fields) = json { fields } else { &[] };
    fields
        .iter()
        .filter(|(name, value)| {
            *value == Json::Null
                && (name.eq_ignore_ascii_case("Checks") || name.eq_ignore_ascii_case("NodeChecks"))
        })
        .map(|(name, _)| name.as_str())
}

/// A lock-delay: a duration, or a number of nanoseconds; what is too small for those are seconds.
fn lock_delay(json: Json) -> Decoded<i64> {
    let delay = json.duration()?;
    Ok(if delay < SMALLEST_NANOSECONDS { delay.wrapping_mul(1_000_000_000) } else { delay })
}

fn service_check(json: Json) -> Decoded<ServiceCheckRef> {
    let mut check = ServiceCheckRef::default();
    SERVICE_CHECK.decode(json, |field, value| {
        match field {
            "ID" => check.id = value.string()?,
            _ => check.namespace = value.string()?,
        }
        Ok(())
    })?;
    Ok(check)
}

/// Creates a session and gives its id back.
///
/// # Errors
/// [`EndpointError::Refused`] for a missing node or check, a critical check, or a behavior or TTL
/// that is not allowed; and whatever proposing gives.
pub async fn create(
    endpoints: &Endpoints,
    datacenter: Option<&str>,
    mut request: SessionRequest,
) -> Result<Arc<str>, EndpointError> {
    request.settle_checks();
    create_as_asked(endpoints, datacenter, request).await
}

/// As [`create`], for requests whose lists of checks mean what they say: an agent has settled them already.
///
/// # Errors
/// As [`create`].
pub async fn create_as_asked(
    endpoints: &Endpoints,
    datacenter: Option<&str>,
    request: SessionRequest,
) -> Result<Arc<str>, EndpointError> {
    check_datacenter(endpoints, datacenter)?;
    let refuse = |text: String| Err(refusal(endpoints, text));
    if request.node.is_empty() {
        return refuse("Must provide Node".into());
    }
    let behavior = match request.behavior.as_str() {
        "" | "release" => SessionBehavior::Release,
        "delete" => SessionBehavior::Delete,
        other => return refuse(format!("Invalid Behavior setting '{other}'")),
    };
    if endpoints.far.is_none() {
        // Only the servers know how short it may be.
        check_ttl(endpoints, &request.ttl).map_err(|text| refusal(endpoints, text))?;
    }
    let id = if endpoints.far.is_some() { Arc::from("") } else { new_id(endpoints) };
    let session = Session {
        id: Arc::clone(&id),
        name: request.name,
        node: request.node.into(),
        lock_delay: request.lock_delay,
        behavior,
        ttl: request.ttl,
        checks: request.checks,
        node_checks: request.node_checks,
        service_checks: request.service_checks,
        ..Session::default()
    };
    if let Some(servers) = &endpoints.far {
        return servers.create_session(session).await;
    }
    endpoints.proposer.propose(Command::SessionCreate(session)).await?;
    Ok(id)
}

fn check_ttl(endpoints: &Endpoints, ttl: &str) -> Result<(), String> {
    if ttl.is_empty() {
        return Ok(());
    }
    let nanoseconds =
        duration::parse(ttl).map_err(|error| format!("Session TTL '{ttl}' invalid: {error}"))?;
    let least = as_nanoseconds(endpoints.settings.session_ttl_min);
    let most = as_nanoseconds(TTL_MAX);
    if nanoseconds == 0 || (least..=most).contains(&nanoseconds) {
        return Ok(());
    }
    Err(format!(
        "Invalid Session TTL '{nanoseconds}', must be between [{}={}]",
        duration::format(least),
        duration::format(most)
    ))
}

fn as_nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn new_id(endpoints: &Endpoints) -> Arc<str> {
    loop {
        let id = uuid::Uuid::new_v4().to_string();
        if !endpoints.state.view().sessions.contains_key(&*id) {
            return id.into();
        }
    }
}

/// Ends a session. An unknown one is fine.
///
/// # Errors
/// [`EndpointError::Refused`] for what is no id, and whatever proposing gives.
pub async fn destroy(endpoints: &Endpoints, datacenter: Option<&str>, id: &str) -> Result<(), EndpointError> {
    check_datacenter(endpoints, datacenter)?;
    check_id(id).map_err(|text| refusal(endpoints, text))?;
    let id = id.to_lowercase().into();
    endpoints.proposer.propose(Command::SessionDestroy { id }).await.map(|_| ())
}

/// Starts the time to live of a session anew and gives the session back, if there is one.
///
/// # Errors
/// [`EndpointError::Refused`] for what is no id, [`EndpointError::NoLeader`].
pub async fn renew(
    endpoints: &Endpoints,
    options: &QueryOptions,
    id: &str,
) -> Result<Option<Arc<Session>>, EndpointError> {
    if let Some(servers) = &endpoints.far {
        return servers.renew_session(id, options).await;
    }
    options.check_datacenter(endpoints)?;
    check_id(id).map_err(EndpointError::Refused)?;
    // Only the leader keeps the timers, so a stale answer would be worth nothing.
    refresh(endpoints, &QueryOptions::default()).await?;
    let session = endpoints.state.view().sessions.get(&*id.to_lowercase()).cloned();
    if let Some(session) = &session {
        endpoints.sessions.renew(&session.id).await?;
    }
    Ok(session)
}

/// Reads one session.
#[derive(Debug, Clone)]
pub struct Info {
    /// Its id in lower case.
    pub id: Arc<str>,
}

impl BlockingRead for Info {
    type Found = Vec<Arc<Session>>;

    fn topics(&self) -> Topics {
        smallvec![Topic::Session(Arc::clone(&self.id))]
    }

    fn index(&self, _: &Endpoints, view: &View) -> Result<u64, EndpointError> {
        check_id(&self.id).map_err(EndpointError::Refused)?;
        Ok(view.indexes.sessions)
    }

    fn find(&self, endpoints: &Endpoints, view: &View) -> Result<(u64, Self::Found), EndpointError> {
        Ok((self.index(endpoints, view)?, view.sessions.get(&self.id).cloned().into_iter().collect()))
    }

    fn question(&self) -> Option<Question> {
        Some(Question::Session(Arc::clone(&self.id)))
    }
}

/// Reads the sessions of a node, in order of their ids.
#[derive(Debug, Clone)]
pub struct OfNode {
    /// The node's name in lookup form.
    node: Arc<str>,
}

impl OfNode {
    /// Of the node of this name.
    pub fn new(node: &str) -> Self {
        Self { node: fold(node) }
    }
}

impl BlockingRead for OfNode {
    type Found = Vec<Arc<Session>>;

    fn topics(&self) -> Topics {
        smallvec![Topic::NodeSessions(Arc::clone(&self.node))]
    }

    fn index(&self, _: &Endpoints, view: &View) -> Result<u64, EndpointError> {
        Ok(view.indexes.sessions)
    }

    fn find(&self, _: &Endpoints, view: &View) -> Result<(u64, Self::Found), EndpointError> {
        let ids = view.node_sessions.get(&self.node).into_iter().flatten();
        let sessions = ids.filter_map(|id| view.sessions.get(id).cloned()).collect();
        Ok((view.indexes.sessions, sessions))
    }

    fn question(&self) -> Option<Question> {
        Some(Question::NodeSessions(self.node.to_string()))
    }
}

/// Reads all sessions, in order of their ids.
#[derive(Debug, Clone, Copy)]
pub struct All;

impl BlockingRead for All {
    type Found = Vec<Arc<Session>>;

    fn topics(&self) -> Topics {
        smallvec![Topic::Sessions]
    }

    fn index(&self, _: &Endpoints, view: &View) -> Result<u64, EndpointError> {
        Ok(view.indexes.sessions)
    }

    fn find(&self, _: &Endpoints, view: &View) -> Result<(u64, Self::Found), EndpointError> {
        Ok((view.indexes.sessions, view.sessions.values().cloned().collect()))
    }

    fn question(&self) -> Option<Question> {
        Some(Question::Sessions)
    }
}

/// Whether a text can be the id of a session at all.
///
/// # Errors
/// Consul's words for what is wrong with it.
pub fn check_id(id: &str) -> Result<(), String> {
    let fail = |what: &str| Err(format!("failed session lookup: index error: {what}"));
    if id.len() != 36 {
        return fail("UUID must be 36 characters");
    }
    let hyphens = id.bytes().filter(|byte| *byte == b'-').count();
    if hyphens > 4 {
        return fail(&format!("UUID should only have 4 hyphens; got {hyphens}"));
    }
    if !(id.len() - hyphens).is_multiple_of(2) {
        return fail("Input (without hyphens) must be even length");
    }
    match id.chars().find(|character| *character != '-' && !character.is_ascii_hexdigit()) {
        None => Ok(()),
        Some(bad) => {
            fail(&format!("Invalid UUID: encoding/hex: invalid byte: U+{:04X} {bad:?}", u32::from(bad)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(body: &str) -> Result<SessionRequest, String> {
        let mut request = SessionRequest::for_node("node1");
        request.decode(body.as_bytes()).map_err(|error| error.to_string())?;
        request.settle_checks();
        Ok(request)
    }

    #[test]
    fn reads_lock_delays() {
        let table = [
            (r#""1m30s""#, Ok(90_000_000_000)),
            (r#""0s""#, Ok(0)),
            (r#""500ns""#, Ok(500_000_000_000)),
            (r#""-5s""#, Ok(-5_000_000_000_000_000_000)),
            ("15", Ok(15_000_000_000)),
            ("999", Ok(999_000_000_000)),
            ("1000", Ok(1_000)),
            ("1.5", Ok(1_000_000_000)),
            ("20000000000", Ok(20_000_000_000)),
            ("true", Ok(0)),
            ("null", Ok(LOCK_DELAY)),
            (r#""soon""#, Err("time: invalid duration \"soon\"")),
        ];
        for (delay, want) in table {
            let found = decoded(&format!("{{\"LockDelay\":{delay}}}")).map(|request| request.lock_delay);
            assert_eq!(found, want.map_err(str::to_owned), "{delay}");
        }
    }

    #[test]
    fn settles_the_two_lists_of_checks() {
        let serf: &[&str] = &[SERF_HEALTH];
        let table: [(&str, &[&str], &[&str]); 12] = [
            ("{}", serf, &[]),
            ("null", serf, &[]),
            (r#"{"Checks":[]}"#, &[], &[]),
            (r#"{"Checks":null}"#, &[], &[]),
            (r#"{"NodeChecks":[]}"#, &[], &[]),
            (r#"{"NodeChecks":null}"#, &[], &[]),
            (r#"{"NodeChecks":["a"]}"#, &["a"], &[]),
            (r#"{"Checks":["a"]}"#, serf, &["a"]),
            (r#"{"Checks":["serfHealth"],"NodeChecks":["a"]}"#, &["a"], &[]),
            (r#"{"Checks":["a"],"NodeChecks":["b"]}"#, &["b"], &["a"]),
            (r#"{"Checks":["a","serfHealth"]}"#, serf, &["a", "serfHealth"]),
            (r#"{"Checks":[],"NodeChecks":["a"]}"#, &[], &[]),
        ];
        for (body, node_checks, checks) in table {
            let request = decoded(body).unwrap();
            assert_eq!(request.node_checks, node_checks, "{body}");
            assert_eq!(request.checks, checks, "{body}");
        }
    }

    #[test]
    fn passes_over_what_it_does_not_know_and_refuses_wrong_types() {
        assert_eq!(decoded(r#"{"Unknown":1,"ID":"x","name":"n"} tail"#).unwrap().name, "n");
        for body in ["{\"Name\":", "[1,2]", "{\"Name\":5}", "{\"Checks\":\"x\"}", "hello", "  "] {
            assert!(decoded(body).is_err(), "{body}");
        }
    }

    #[test]
    fn tells_what_is_wrong_with_an_id() {
        let table = [
            ("11111111-2222-3333-4444-555555555555", None),
            ("11111111-2222-3333-4444-5555555555FF", None),
            ("1111111-12222-3333-4444-555555555555", None),
            ("short", Some("UUID must be 36 characters")),
            ("", Some("UUID must be 36 characters")),
            ("-----111-2222-3333-4444-555555555555", Some("UUID should only have 4 hyphens; got 9")),
            ("111111112222-3333-4444-555555555555a", Some("Input (without hyphens) must be even length")),
            (
                "11111111-2222-3333-4444-55555555555g",
                Some("Invalid UUID: encoding/hex: invalid byte: U+0067 'g'"),
            ),
        ];
        for (id, want) in table {
            let want = want.map(|text| format!("failed session lookup: index error: {text}"));
            assert_eq!(check_id(id).err(), want, "{id}");
        }
    }
}
