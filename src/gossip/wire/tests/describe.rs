//! Messages as the index of the vectors describes them.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value, json};

use super::hex;
use crate::gossip::coordinate::Coordinate;
use crate::gossip::wire::event::ConsulEvent;
use crate::gossip::wire::serf::{
    Filter, KeyResponse, MemberRecord, SerfMessage, SerfState, decode_ack_payload, decode_key_request,
    decode_tags,
};
use crate::gossip::wire::{Message, PushPullNode, StreamMessage, Versions};

fn text(bytes: &[u8]) -> Value {
    json!(std::str::from_utf8(bytes).unwrap())
}

fn opaque(bytes: &[u8]) -> Value {
    json!({"hex": hex(bytes)})
}

fn optional(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, opaque)
}

fn meta(bytes: &[u8]) -> Value {
    optional(Some(bytes).filter(|bytes| !bytes.is_empty()))
}

fn addr(addr: Option<SocketAddr>) -> Value {
    match addr.map(|addr| addr.ip()) {
        Some(IpAddr::V4(four)) => opaque(&four.octets()),
        Some(IpAddr::V6(sixteen)) => opaque(&sixteen.octets()),
        None => Value::Null,
    }
}

fn versions(versions: Option<Versions>) -> Value {
    optional(versions.as_ref().map(|versions| &versions[..]))
}

fn put_source(body: &mut Map<String, Value>, source: Option<SocketAddr>, node: &[u8]) {
    if let Some(source) = source {
        body.insert("SourceAddr".into(), addr(Some(source)));
        body.insert("SourcePort".into(), json!(source.port()));
    }
    if !node.is_empty() {
        body.insert("SourceNode".into(), text(node));
    }
}

fn with(mut value: Value, key: &str, more: Value) -> Value {
    value.as_object_mut().unwrap().insert(key.into(), more);
    value
}

fn tagged(value: Value, meta: &[u8]) -> Value {
    if meta.is_empty() { value } else { with(value, "tags", json!(decode_tags(meta).unwrap())) }
}

fn coordinate(coordinate: &Coordinate) -> Value {
    json!({
        "Adjustment": coordinate.adjustment,
        "Error": coordinate.error,
        "Height": coordinate.height,
        "Vec": coordinate.vec,
    })
}

/// A message of a datagram.
pub(super) fn message(message: &Message<'_>) -> Value {
    match *message {
        Message::Ping(ping) => {
            let mut body = json!({"SeqNo": ping.seq, "Node": text(ping.node)});
            put_source(body.as_object_mut().unwrap(), ping.source, ping.source_node);
            json!({"type": 0, "name": "ping", "body": body})
        }
        Message::IndirectPing(ping) => {
            let mut body = json!({
                "SeqNo": ping.seq,
                "Target": addr(Some(ping.target)),
                "Port": ping.target.port(),
                "Node": text(ping.node),
                "Nack": ping.nack,
            });
            put_source(body.as_object_mut().unwrap(), ping.source, ping.source_node);
            json!({"type": 1, "name": "indirectPing", "body": body})
        }
        Message::Ack(ack) => {
            let body = json!({"SeqNo": ack.seq, "Payload": optional(ack.payload)});
            let value = json!({"type": 2, "name": "ack", "body": body});
            match decode_ack_payload(ack.payload.unwrap_or_default()).unwrap() {
                Some(found) => with(with(value, "ping_version", json!(1)), "coordinate", coordinate(&found)),
                None => value,
            }
        }
        Message::Nack(seq) => json!({"type": 11, "name": "nack", "body": {"SeqNo": seq}}),
        Message::Suspect(claim) | Message::Dead(claim) => {
            let (number, name) =
                if matches!(message, Message::Suspect(_)) { (3, "suspect") } else { (5, "dead") };
            let body = json!({
                "Incarnation": claim.incarnation,
                "Node": text(claim.node),
                "From": text(claim.from),
            });
            json!({"type": number, "name": name, "body": body})
        }
        Message::Alive(alive) => {
            let body = json!({
                "Incarnation": alive.incarnation,
                "Node": text(alive.node),
                "Addr": addr(alive.addr),
                "Port": alive.addr.unwrap().port(),
                "Meta": meta(alive.meta),
                "Vsn": versions(alive.versions),
            });
            tagged(json!({"type": 4, "name": "alive", "body": body}), alive.meta)
        }
        Message::User(bytes) => json!({"type": 8, "name": "user", "inner": serf(bytes)}),
    }
}

/// A message of a stream.
pub(super) fn stream(message: &StreamMessage) -> Value {
    match message {
        StreamMessage::Ping { seq, node } => {
            json!({"type": 0, "name": "ping", "body": {"SeqNo": seq, "Node": text(node)}})
        }
        StreamMessage::Ack { seq } => {
            json!({"type": 2, "name": "ack", "body": {"SeqNo": seq, "Payload": null}})
        }
        StreamMessage::User(bytes) => json!({
            "type": 8,
            "name": "user",
            "stream_header": {"UserMsgLen": bytes.len()},
            "inner": serf(bytes),
        }),
        StreamMessage::Error(text) => json!({"type": 13, "name": "err", "body": {"Error": text}}),
        StreamMessage::PushPull(all) => json!({
            "type": 6,
            "name": "pushPull",
            "header": {"Join": all.join, "Nodes": all.nodes.len(), "UserStateLen": all.user_state.len()},
            "nodes": all.nodes.iter().map(node).collect::<Vec<_>>(),
            "user_state": serf(&all.user_state),
        }),
    }
}

fn node(node: &PushPullNode) -> Value {
    let value = json!({
        "Name": text(&node.name),
        "Addr": addr(node.addr),
        "Port": node.addr.unwrap().port(),
        "Meta": meta(&node.meta),
        "Incarnation": node.incarnation,
        "State": node.state as u8,
        "Vsn": versions(node.versions),
    });
    tagged(value, &node.meta)
}

fn serf(bytes: &[u8]) -> Value {
    let (number, name, body) = match SerfMessage::decode(bytes).unwrap() {
        SerfMessage::Leave(leave) => {
            let body = json!({"LTime": leave.ltime, "Node": text(leave.node), "Prune": leave.prune});
            (0, "leave", body)
        }
        SerfMessage::Join(join) => (1, "join", json!({"LTime": join.ltime, "Node": text(join.node)})),
        SerfMessage::State(found) => (2, "pushPull", state(&found)),
        SerfMessage::UserEvent(event) => {
            let body = json!({
                "LTime": event.ltime,
                "Name": text(event.name),
                "Payload": optional(event.payload),
                "CC": event.coalesce,
            });
            let value = json!({"serf_type": 3, "serf_name": "userEvent", "body": body});
            if event.name.starts_with(b"consul:event:") {
                return with(value, "consul_event", consul_event(event.payload.unwrap()));
            }
            return value;
        }
        SerfMessage::Query(query) => {
            let value = json!({"serf_type": 4, "serf_name": "query", "body": {
                "LTime": query.ltime,
                "ID": query.id,
                "Addr": addr(query.source),
                "Port": query.source.unwrap().port(),
                "SourceNode": text(query.source_node),
                "Filters": "compared below",
                "Flags": query.flags,
                "RelayFactor": query.relay_factor,
                "Timeout": u64::try_from(query.timeout.as_nanos()).unwrap(),
                "Name": text(query.name),
                "Payload": optional(query.payload),
            }});
            let filters: Vec<Value> = query.filters.iter().map(filter).collect();
            let value = with(value, "filters", json!(filters));
            return match decode_key_request(query.payload.unwrap()) {
                Ok(key) => with(value, "key_request", json!({"Key": opaque(key)})),
                Err(_) => value,
            };
        }
        SerfMessage::QueryResponse(response) => {
            let value = json!({"serf_type": 5, "serf_name": "queryResponse", "body": {
                "LTime": response.ltime,
                "ID": response.id,
                "From": text(response.from),
                "Flags": response.flags,
                "Payload": optional(response.payload),
            }});
            let payload = response.payload.unwrap_or_default();
            let (number, body) = match (KeyResponse::decode(payload), MemberRecord::decode(payload)) {
                (Ok(keys), _) => (8, key_response(&keys)),
                (_, Ok(found)) => (6, member(&found)),
                _ => return value,
            };
            return with(with(value, "payload_type", json!(number)), "payload_body", body);
        }
        SerfMessage::Relay(relay) => {
            let to = relay.to.unwrap();
            return json!({
                "serf_type": 9,
                "serf_name": "relay",
                "header": {
                    "DestAddr": {"IP": addr(Some(to)), "Port": to.port(), "Zone": ""},
                    "DestName": text(relay.name),
                },
                "inner": serf(relay.message),
            });
        }
    };
    json!({"serf_type": number, "serf_name": name, "body": body})
}

fn filter(filter: &Filter<'_>) -> Value {
    match filter {
        Filter::Nodes(names) => {
            json!({"type": 0, "body": names.iter().map(|name| text(name)).collect::<Vec<_>>()})
        }
        Filter::Tag { tag, expr } => {
            json!({"type": 1, "body": {"Tag": text(tag), "Expr": text(expr)}})
        }
        Filter::Unreadable(bytes) => panic!("{bytes:?}"),
    }
}

fn state(state: &SerfState<'_>) -> Value {
    let ltimes: Map<String, Value> = (state.status_ltimes.iter())
        .map(|(name, ltime)| (String::from_utf8(name.to_vec()).unwrap(), json!(ltime)))
        .collect();
    let mut body = json!({
        "LTime": state.ltime,
        "EventLTime": state.event_ltime,
        "QueryLTime": state.query_ltime,
        "StatusLTimes": ltimes,
        "LeftMembers": state.left_members.iter().map(|name| text(name)).collect::<Vec<_>>(),
    });
    if state.event_slots == 0 {
        return with(body, "Events", json!([]));
    }
    let slots: Map<String, Value> = (state.events.iter())
        .map(|stored| {
            let events: Vec<Value> = (stored.events.iter())
                .map(|event| json!({"Name": text(event.name), "Payload": event.payload.map(text)}))
                .collect();
            let slot = stored.ltime % u64::try_from(state.event_slots).unwrap();
            (slot.to_string(), json!({"LTime": stored.ltime, "Events": events}))
        })
        .collect();
    body = with(body, "Events_len", json!(state.event_slots));
    with(body, "Events_nonnil", json!(slots))
}

fn key_response(response: &KeyResponse<'_>) -> Value {
    let keys: Vec<Value> = response.keys.iter().map(|key| text(key)).collect();
    json!({
        "Result": response.result,
        "Message": text(response.message),
        "Keys": if keys.is_empty() { Value::Null } else { json!(keys) },
        "PrimaryKey": text(response.primary),
    })
}

fn member(member: &MemberRecord<'_>) -> Value {
    let [pmin, pmax, pcur, dmin, dmax, dcur] = member.versions;
    json!({
        "Name": text(member.name),
        "Addr": addr(member.addr),
        "Port": member.addr.unwrap().port(),
        "Tags": member.tags,
        "Status": member.status,
        "ProtocolMin": pmin,
        "ProtocolMax": pmax,
        "ProtocolCur": pcur,
        "DelegateMin": dmin,
        "DelegateMax": dmax,
        "DelegateCur": dcur,
    })
}

fn consul_event(payload: &[u8]) -> Value {
    let event = ConsulEvent::decode(payload).unwrap();
    let mut again = Vec::new();
    event.encode(&mut again);
    assert_eq!(hex(&again), hex(payload));
    let mut value = json!({"ID": text(event.id), "n": text(event.name), "v": event.version});
    for (key, field) in [
        ("p", event.payload),
        ("nf", event.node_filter),
        ("sf", event.service_filter),
        ("tf", event.tag_filter),
    ] {
        if !field.is_empty() {
            value = with(value, key, text(field));
        }
    }
    value
}
