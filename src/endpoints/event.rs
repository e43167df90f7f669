//! User events: fired by anybody, kept by every agent whose filters match, listed in the order of
//! arrival.
//!
//! Events are not part of the state: they travel by gossip ([`EventBus`]), each agent keeps the last
//! [`EVENTS_KEPT`] and forgets them when it stops. An event's index is drawn from its id, so it says
//! that something is new, not how new.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use regex::Regex;

use super::{EndpointError, Endpoints};
use crate::endpoints::agent::LocalAgent;

/// How many events an agent keeps; the oldest go first.
pub const EVENTS_KEPT: usize = 256;

/// Largest event on the wire in bytes, Serf's default: events must fit into gossip packets.
const SIZE_LIMIT: usize = 512;

/// What stands in front of the name of an event on the wire.
const WIRE_PREFIX: &str = "consul:event:";

/// The version of the event format; Consul never raised it.
const VERSION: u64 = 1;

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserEvent {
    /// UUID.
    pub id: String,
    /// Name; any text.
    pub name: String,
    /// Opaque bytes.
    pub payload: Bytes,
    /// Regular expression a node's name must match; empty for any.
    pub node_filter: String,
    /// Regular expression the name of a service of the agent must match; empty for any.
    pub service_filter: String,
    /// Regular expression a tag of such a service must match; empty for any.
    pub tag_filter: String,
    /// Format version, set on firing.
    pub version: u64,
    /// Lamport time of arrival; 0 in the answer to firing.
    pub lamport_time: u64,
}

/// Carries events to all agents, this one included.
pub trait EventBus: Send + Sync {
    /// Spreads an event; done once it is on its way.
    fn fire(&self, event: UserEvent) -> BoxFuture<'_, Result<(), EndpointError>>;
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Arc<UserEvent>>,
    waiting: Vec<oneshot::Sender<()>>,
}

/// The events this agent has kept.
pub struct Events {
    node_name: String,
    local: Arc<dyn LocalAgent>,
    kept: Mutex<Kept>,
}

impl Events {
    /// For an agent with this node name; service filters look at its own services.
    pub fn new(node_name: impl Into<String>, local: Arc<dyn LocalAgent>) -> Self {
        Self { node_name: node_name.into(), local, kept: Mutex::default() }
    }

    /// Takes an event from the bus: kept if its filters match this agent, then whoever waits looks
    /// again.
    pub fn receive(&self, event: UserEvent) {
        if !self.matches(&event) {
            return;
        }
        let mut kept = self.kept.lock();
        if kept.events.len() == EVENTS_KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(Arc::new(event));
        for waiting in kept.waiting.drain(..) {
            // One that went away meanwhile needs no waking.
            let _ = waiting.send(());
        }
    }

    /// Whether the filters of an event let it through here. One that is no regular expression lets
    /// nothing through: another agent's build may know forms this one does not.
    fn matches(&self, event: &UserEvent) -> bool {
        let fits = |filter: &str, text: &str| Regex::new(filter).is_ok_and(|filter| filter.is_match(text));
        if !event.node_filter.is_empty() && !fits(&event.node_filter, &self.node_name) {
            return false;
        }
        if event.service_filter.is_empty() {
            return true;
        }
        let Ok(service) = Regex::new(&event.service_filter) else { return false };
        let Ok(tag) = Regex::new(&event.tag_filter) else { return false };
        self.local.local().services.values().any(|found| {
            service.is_match(&found.service)
                && (event.tag_filter.is_empty() || found.tags.iter().any(|found| tag.is_match(found)))
        })
    }

    /// What is kept, oldest first, and the index of the list. With a name only events called so.
    pub fn list(&self, name: Option<&str>) -> (u64, Vec<Arc<UserEvent>>) {
        let kept = self.kept.lock();
        let events: Vec<_> =
            kept.events.iter().filter(|event| name.is_none_or(|name| event.name == name)).cloned().collect();
        let index = events.last().map_or(0, |event| index_of(&event.id));
        (index.max(1), events)
    }

    /// Resolves when the next event arrives. Take it before looking at the list, so that none is
    /// missed in between.
    pub fn next(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut kept = self.kept.lock();
        // Without events nobody drains the list; those who gave up must not pile up in it.
        if kept.waiting.len() == kept.waiting.capacity() {
            kept.waiting.retain(|waiting| !waiting.is_canceled());
        }
        kept.waiting.push(sender);
        receiver
    }

    /// Makes everybody who waits look again (the agent shuts down).
    pub fn wake_all(&self) {
        self.kept.lock().waiting.clear();
    }
}

/// The two halves of a UUID, xored; 0 for what is no UUID.
pub fn index_of(id: &str) -> u64 {
    uuid::Uuid::parse_str(id).map_or(0, |id| {
        let (upper, lower) = id.as_u64_pair();
        upper ^ lower
    })
}

/// Fires an event and gives it back with the id it got.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`]; [`EndpointError::Refused`] for filters that are no regular
/// expressions, a tag filter alone, or an event too large for gossip; what the bus says.
pub async fn fire(
    endpoints: &Endpoints,
    bus: &dyn EventBus,
    datacenter: Option<&str>,
    mut event: UserEvent,
) -> Result<UserEvent, EndpointError> {
    validate(&event)?;
    super::query::check_datacenter(endpoints, datacenter)?;
    event.id = uuid::Uuid::new_v4().to_string();
    event.version = VERSION;
    event.lamport_time = 0;
    check_size(&event)?;
    bus.fire(event.clone()).await?;
    Ok(event)
}

fn validate(event: &UserEvent) -> Result<(), EndpointError> {
    if event.name.is_empty() {
        return Err(EndpointError::Refused("User event missing name".to_owned()));
    }
    if !event.tag_filter.is_empty() && event.service_filter.is_empty() {
        return Err(EndpointError::Refused("Cannot provide tag filter without service filter".to_owned()));
    }
    let filters =
        [("node", &event.node_filter), ("service", &event.service_filter), ("tag", &event.tag_filter)];
    for (name, filter) in filters {
        if let Err(error) = Regex::new(filter) {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            return Err(EndpointError::Refused(format!(
                "Invalid {name} filter: error parsing regexp: {reason}: `{filter}`"
            )));
        }
    }
    Ok(())
}

/// Refuses an event that Serf would refuse, by the sizes its two encodings have on the wire.
fn check_size(event: &UserEvent) -> Result<(), EndpointError> {
    let name = WIRE_PREFIX.len() + event.name.len();
    let payload = payload_size(event);
    let wrong = if name + payload > SIZE_LIMIT {
        format!("user event exceeds configured limit of {SIZE_LIMIT} bytes before encoding")
    } else if message_size(name, payload) > SIZE_LIMIT {
        format!("encoded user event exceeds configured limit of {SIZE_LIMIT} bytes after encoding")
    } else {
        return Ok(());
    };
    Err(EndpointError::Refused(format!(
        "1 error occurred:\n\t* error broadcasting event to segment \"\": {wrong}\n\n"
    )))
}

/// Length of a string or byte string in msgpack; `small` strings need one byte less in front.
const fn sized(length: usize, small: usize) -> usize {
    let head = match length {
        _ if length < small => 1,
        0..=0xff => 2,
        0x100..=0xffff => 3,
        _ => 5,
    };
    head + length
}

/// Length of the event as msgpack map: `ID`, `n`, `v` and what is not empty of `p`, `nf`, `sf`, `tf`.
fn payload_size(event: &UserEvent) -> usize {
    let text = |key: usize, text: &str| if text.is_empty() { 0 } else { 1 + key + sized(text.len(), 32) };
    let payload = if event.payload.is_empty() { 0 } else { 2 + sized(event.payload.len(), 0) };
    1 + 3
        + sized(event.id.len(), 32)
        + 2
        + sized(event.name.len(), 32)
        + payload
        + text(2, &event.node_filter)
        + text(2, &event.service_filter)
        + text(2, &event.tag_filter)
        + 3
}

/// Length of Serf's message around it: a type byte and the map `LTime`, `Name`, `Payload`, `CC` in
/// the old dialect, which has no one-byte lengths. The Lamport time counts as one byte.
const fn message_size(name: usize, payload: usize) -> usize {
    const fn raw(length: usize) -> usize {
        match length {
            0..32 => 1 + length,
            32..=0xffff => 3 + length,
            _ => 5 + length,
        }
    }
    2 + 6 + 1 + 5 + raw(name) + 8 + raw(payload) + 3 + 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::endpoints::agent::LocalSnapshot;
    use crate::state::record::Service;

    struct Local(Arc<LocalSnapshot>);

    impl LocalAgent for Local {
        fn local(&self) -> Arc<LocalSnapshot> {
            Arc::clone(&self.0)
        }

        fn set_node_maintenance(&self, _: Option<String>) {}

        fn set_service_maintenance(&self, _: &str, _: Option<String>) -> bool {
            false
        }
    }

    fn events() -> Events {
        let service = Service {
            id: "w1".into(),
            service: "web".into(),
            tags: vec!["blue".into(), "v1".into()],
            ..Service::default()
        };
        let services = BTreeMap::from([(Arc::from("w1"), Arc::new(service))]);
        let local = LocalSnapshot { services: services.into(), ..LocalSnapshot::default() };
        Events::new("node1", Arc::new(Local(Arc::new(local))))
    }

    fn event(name: &str, payload: usize) -> UserEvent {
        UserEvent {
            id: "5eabc909-6a67-47c3-a4d3-7f4b15106b91".into(),
            name: name.into(),
            payload: vec![b'x'; payload].into(),
            version: VERSION,
            ..UserEvent::default()
        }
    }

    #[test]
    fn an_index_is_the_xor_of_the_halves_of_an_id() {
        assert_eq!(index_of("5eabc909-6a67-47c3-a4d3-7f4b15106b91"), 18_048_375_903_409_876_050);
        assert_eq!(index_of("no id"), 0);
    }

    #[test]
    fn filters_decide_what_is_kept() {
        let table = [
            ("no filter", "", "", "", true),
            ("node fits", "^node", "", "", true),
            ("node does not", "web", "", "", false),
            ("service fits", "", "w.b", "", true),
            ("service does not", "", "api", "", false),
            ("tag fits", "", "web", "bl", true),
            ("tag does not", "", "web", "green", false),
            ("all fit", "1$", "web", "^v1$", true),
            ("not a regular expression", "(", "", "", false),
        ];
        for (case, node, service, tag, kept) in table {
            let events = events();
            events.receive(UserEvent {
                node_filter: node.into(),
                service_filter: service.into(),
                tag_filter: tag.into(),
                ..event("x", 1)
            });
            assert_eq!(events.list(None).1.len(), usize::from(kept), "{case}");
        }
    }

    #[test]
    fn the_oldest_go_first() {
        let events = events();
        for number in 0..300 {
            events.receive(event(&format!("e{}", number % 3), number));
        }
        let (_, all) = events.list(None);
        assert_eq!(all.len(), EVENTS_KEPT);
        assert_eq!(all[0].payload.len(), 300 - EVENTS_KEPT);
        assert_eq!(all[EVENTS_KEPT - 1].payload.len(), 299);
        assert!(events.list(Some("e1")).1.iter().all(|event| event.name == "e1"));
        assert_eq!(events.list(Some("none")), (1, vec![]));
    }

    #[test]
    fn waiting_ends_with_the_next_event() {
        let events = events();
        let mut first = events.next();
        assert_eq!(first.try_recv(), Ok(None));
        events.receive(event("x", 1));
        assert_eq!(first.try_recv(), Ok(Some(())));
        for _ in 0..1000 {
            drop(events.next());
        }
        assert!(events.kept.lock().waiting.len() < 100, "those who gave up are forgotten");
    }

    #[test]
    fn sizes_are_refused_where_consul_refuses_them() {
        let table = [
            ("small", 1, None),
            ("largest", 410, None),
            ("too large once encoded", 411, Some("after encoding")),
            ("still", 440, Some("after encoding")),
            ("too large before", 480, Some("before encoding")),
        ];
        for (case, size, wrong) in table {
            let found = check_size(&event("big", size)).err().map(|error| error.to_string());
            match (found, wrong) {
                (None, None) => {}
                (Some(found), Some(wrong)) => assert!(found.contains(wrong), "{case}: {found}"),
                (found, _) => panic!("{case}: {found:?}"),
            }
        }
    }

    #[test]
    fn filters_are_checked_before_anything_else() {
        let table = [
            ("tag alone", "", "", "blue", "Cannot provide tag filter without service filter"),
            ("node", "(", "", "", "Invalid node filter: error parsing regexp: "),
            ("service", "", "[", "", "Invalid service filter: error parsing regexp: "),
            ("tag", "", "a", "(", "Invalid tag filter: error parsing regexp: "),
        ];
        for (case, node, service, tag, wanted) in table {
            let event = UserEvent {
                node_filter: node.into(),
                service_filter: service.into(),
                tag_filter: tag.into(),
                ..event("x", 1)
            };
            let error = validate(&event).unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{case}: {error}");
        }
    }
}
