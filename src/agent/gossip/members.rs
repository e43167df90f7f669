//! The pools, as the endpoints know them: members, keys, events.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use futures::future::BoxFuture;
use tracing::{info, warn};

use super::join::join;
use crate::actors::member_list::{Area, MemberEvent, PoolError, PoolHandle};
use crate::endpoints::EndpointError;
use crate::endpoints::agent::{Member, MemberStatus, Members, PoolFigures};
use crate::endpoints::event::{EventBus, Events, UserEvent};
use crate::endpoints::keyring::{KeyOperation, Keyring, PoolKeys};
use crate::gossip::effect::{KeyReport, KeyRequest};
use crate::gossip::wire::event::{ConsulEvent, EVENT_PREFIX};
use crate::gossip::{Command, CommandError, Event, serf};
use crate::state::record::Coordinate;

/// Both pools of an agent.
#[derive(Debug, Clone)]
pub struct Pools {
    /// Of the datacenter.
    pub lan: PoolHandle,
    /// Of the servers of all datacenters; none on clients, and with its port off.
    pub wan: Option<PoolHandle>,
    /// Own datacenter.
    pub datacenter: String,
    /// Ports where an address to join has none.
    pub default_ports: (u16, u16),
}

impl From<PoolError> for EndpointError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Busy => Self::Busy,
            PoolError::Command(_) => Self::Refused(error.to_string()),
            PoolError::Gone => Self::Internal(error.to_string()),
        }
    }
}

fn shown(member: &serf::Member) -> Member {
    let [low, high, current, serf_low, serf_high, serf_current] = member.versions;
    Member {
        name: member.name.clone(),
        address: member.addr.ip().to_string(),
        port: member.addr.port(),
        tags: (*member.tags).clone(),
        status: match member.status {
            serf::Status::None => MemberStatus::None,
            serf::Status::Alive => MemberStatus::Alive,
            serf::Status::Leaving => MemberStatus::Leaving,
            serf::Status::Left => MemberStatus::Left,
            serf::Status::Failed => MemberStatus::Failed,
        },
        protocol: [low, high, current],
        delegate: [serf_low, serf_high, serf_current],
    }
}

/// A coordinate, as the catalog keeps it.
pub fn coordinate(from: &crate::gossip::Coordinate) -> Coordinate {
    Coordinate { vec: from.vec.to_vec(), error: from.error, adjustment: from.adjustment, height: from.height }
}

impl Pools {
    fn pool(&self, wan: bool) -> Option<&PoolHandle> {
        if wan { self.wan.as_ref() } else { Some(&self.lan) }
    }

    fn shown(&self, wan: bool) -> Vec<Member> {
        let members = self.pool(wan).map(PoolHandle::members).unwrap_or_default();
        members.iter().map(|member| shown(member)).collect()
    }

    /// Joins whoever is behind the addresses.
    ///
    /// # Errors
    /// [`EndpointError::Refused`] in Consul's words.
    pub async fn join_all(&self, addresses: &[String], wan: bool) -> Result<usize, EndpointError> {
        let Some(pool) = self.pool(wan) else {
            let text = match self.lan.area() {
                Area::ClientLan => "Must be a server to join WAN cluster",
                _ => "WAN Federation is disabled",
            };
            return Err(EndpointError::Refused(text.to_owned()));
        };
        let (lan_port, wan_port) = self.default_ports;
        let port = if wan { wan_port } else { lan_port };
        join(pool, addresses, port).await.map_err(|error| EndpointError::Refused(error.to_string()))
    }

    async fn remove(&self, node: &str, prune: bool) -> Result<(), EndpointError> {
        info!(target: "agent", node, "Force leaving node");
        let is_wan_name = node.strip_suffix(&self.datacenter).is_some_and(|name| name.ends_with('.'));
        let wan_name = if is_wan_name { node.to_owned() } else { format!("{node}.{}", self.datacenter) };
        let wan = self.wan.as_ref().filter(|wan| wan.member(&wan_name).is_some());
        let lan = self.lan.member(node).is_some();
        if !lan && (wan.is_none() || wan_name != node) {
            return Err(EndpointError::Refused(format!("agent: No node found with name '{node}'")));
        }
        let force = |name: &str| Command::ForceLeave { name: name.to_owned(), prune };
        if lan {
            self.lan.command(force(node)).await?;
        }
        if let Some(wan) = wan {
            match wan.command(force(&wan_name)).await {
                // It was forgotten meanwhile.
                Ok(_) | Err(PoolError::Command(CommandError::UnknownMember(_))) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Members for Pools {
    fn lan(&self) -> Vec<Member> {
        self.shown(false)
    }

    fn wan(&self) -> Vec<Member> {
        self.shown(true)
    }

    fn figures(&self, wan: bool) -> Option<PoolFigures> {
        let pool = self.pool(wan)?;
        let figures = pool.figures();
        let size = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        Some(PoolFigures {
            coordinate_resets: figures.coordinate_resets,
            encrypted: pool.encrypted(),
            event_queue: size(figures.event_queue),
            event_time: figures.event_time,
            health_score: figures.health_score.into(),
            intent_queue: size(figures.intent_queue),
            member_time: figures.member_time,
            query_queue: size(figures.query_queue),
            query_time: figures.query_time,
        })
    }

    fn coordinate(&self) -> Coordinate {
        coordinate(&self.lan.figures().coordinate)
    }

    fn wan_coordinates(&self) -> BoxFuture<'_, BTreeMap<String, Coordinate>> {
        Box::pin(async {
            let Some(wan) = &self.wan else { return BTreeMap::new() };
            // Between two incarnations nothing is known.
            let known = wan.coordinates().await.unwrap_or_default();
            known.iter().map(|(name, place)| (name.clone(), coordinate(place))).collect()
        })
    }

    fn join(&self, address: &str, wan: bool) -> BoxFuture<'_, Result<(), EndpointError>> {
        let addresses = [address.to_owned()];
        Box::pin(async move { self.join_all(&addresses, wan).await.map(drop) })
    }

    fn force_leave(&self, node: &str, prune: bool) -> BoxFuture<'_, Result<(), EndpointError>> {
        let node = node.to_owned();
        Box::pin(async move { self.remove(&node, prune).await })
    }
}

impl Keyring for Pools {
    fn operate(
        &self,
        operation: KeyOperation,
        relay_factor: u8,
    ) -> BoxFuture<'_, Result<Vec<PoolKeys>, EndpointError>> {
        Box::pin(async move {
            if self.lan.area() == Area::ClientLan {
                let text = "keyring operations must run against a server node";
                return Err(EndpointError::Refused(text.to_owned()));
            }
            let local = matches!(operation, KeyOperation::List { local_only: true });
            let mut answers = Vec::new();
            for (wan, pool) in [(true, self.wan.as_ref().filter(|_| !local)), (false, Some(&self.lan))] {
                let Some(pool) = pool else { continue };
                let mut keys = PoolKeys { wan, datacenter: self.datacenter.clone(), ..PoolKeys::default() };
                match request(&operation) {
                    Ok(request) => take(&mut keys, pool.keys(request, relay_factor).await?),
                    Err(reason) => keys.error = Some(reason),
                }
                answers.push(keys);
            }
            Ok(answers)
        })
    }
}

fn request(operation: &KeyOperation) -> Result<KeyRequest, String> {
    Ok(match operation {
        KeyOperation::List { .. } => KeyRequest::List,
        KeyOperation::Install(key) => KeyRequest::Install(decode(key)?),
        KeyOperation::Use(key) => KeyRequest::Use(decode(key)?),
        KeyOperation::Remove(key) => KeyRequest::Remove(decode(key)?),
    })
}

/// Base64 with Go's words about what is none.
fn decode(text: &str) -> Result<Vec<u8>, String> {
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|_| format!("illegal base64 data at input byte {}", first_wrong(text.as_bytes())))
}

/// Where Go's decoder stops: at the first byte that cannot be there, or at the group that ends too early.
fn first_wrong(text: &[u8]) -> usize {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let end = text.iter().position(|byte| !letter(byte)).unwrap_or(text.len());
    let group = end - end % 4;
    match (text.get(end), end % 4) {
        // Padding where it may be: it is what follows that is wrong.
        (Some(b'='), 2) if text.get(end + 1) == Some(&b'=') => end + 2,
        (Some(b'='), 2) => text.len().min(end + 1),
        (Some(b'='), 3) => end + 1,
        (Some(_), _) => end,
        (None, _) => group,
    }
}

fn take(keys: &mut PoolKeys, report: KeyReport) {
    let count = |(key, count): (String, usize)| (key, u64::try_from(count).unwrap_or(u64::MAX));
    keys.error = report.outcome().err();
    keys.nodes = u64::try_from(report.nodes).unwrap_or(u64::MAX);
    keys.messages = report.messages;
    keys.keys = report.keys.into_iter().map(count).collect();
    keys.primary_keys = report.primary_keys.into_iter().map(count).collect();
}

impl EventBus for Pools {
    fn fire(&self, event: UserEvent) -> BoxFuture<'_, Result<(), EndpointError>> {
        let wire = ConsulEvent {
            id: event.id.as_bytes(),
            name: event.name.as_bytes(),
            payload: &event.payload,
            node_filter: event.node_filter.as_bytes(),
            service_filter: event.service_filter.as_bytes(),
            tag_filter: event.tag_filter.as_bytes(),
            version: event.version,
        };
        let mut payload = Vec::new();
        wire.encode(&mut payload);
        let name = format!("{EVENT_PREFIX}{}", event.name);
        Box::pin(async move {
            let fired = self.lan.command(Command::UserEvent { name, payload, coalesce: false }).await;
            fired.map(drop).map_err(|error| match error {
                PoolError::Command(reason) => {
                    let text = format!("error broadcasting event to segment \"\": {reason}");
                    EndpointError::Refused(crate::endpoints::keyring::several(&[text]))
                }
                other => other.into(),
            })
        })
    }
}

/// Takes Consul's events out of what happens in the LAN pool.
pub fn receive(events: &Arc<Events>, server: bool, happened: &MemberEvent) {
    let Event::User { ltime, name, payload, .. } = &happened.event else { return };
    if name == NEW_LEADER {
        let leader = String::from_utf8_lossy(payload);
        if server {
            info!(target: "agent.server", payload = %leader, "New leader elected");
        } else {
            info!(target: "agent.client", payload = %leader, "New leader elected");
        }
        return;
    }
    if !name.starts_with(EVENT_PREFIX) {
        if name.starts_with("consul:") {
            warn!(target: "agent", event = name, "Unhandled local event");
        }
        return;
    }
    match ConsulEvent::decode(payload) {
        Ok(event) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            events.receive(UserEvent {
                id: text(event.id),
                name: text(event.name),
                payload: Bytes::copy_from_slice(event.payload),
                node_filter: text(event.node_filter),
                service_filter: text(event.service_filter),
                tag_filter: text(event.tag_filter),
                version: event.version,
                lamport_time: *ltime,
            });
        }
        Err(failure) => warn!(target: "agent", event = name, error = %failure, "Failed to decode event"),
    }
}

/// What a new leader fires, with its node's name.
pub const NEW_LEADER: &str = "consul:new-leader";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_base64_is_told_as_go_does() {
        // As Go's encoding/base64 counts.
        for (text, at) in [("abc", 0), ("abcde", 4), ("ab$d", 2), ("abcd!", 4), ("a=bc", 1), ("ab=c", 3)] {
            assert_eq!(decode(text), Err(format!("illegal base64 data at input byte {at}")), "{text}");
        }
        assert_eq!(decode("AAAA"), Ok(vec![0; 3]));
    }
}
