//! Raft messages between servers, in our own envelope.
//!
//! A version byte and msgpack with short names. The `raft` crate's own protobuf form is never parsed
//! from the network (protobuf 2 recurses without limit on hostile input). Whatever is read is
//! checked for everything that can be told from the message alone, because raft itself answers
//! nonsense with a panic; what depends on the node's state is checked by `Driver::step`.

use bytes::Bytes;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, Entry, EntryType, Message,
    MessageType, Snapshot,
};
use serde::{Deserialize, Serialize};

use super::codec;
use super::snapshot::Manifest;

const VERSION: u8 = 1;
/// Largest message read. One append carries 1 MiB of entries, or one entry of at most
/// [`super::config::MAX_PROPOSAL`].
pub const MAX_MESSAGE: usize = 24 << 20;
/// No honest index or term comes near it; arithmetic on anything below cannot overflow.
const MAX_NUMBER: u64 = 1 << 62;
/// Entries in one message.
const MAX_ENTRIES: usize = 1 << 16;

/// Why bytes are not a message, or a message cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerCodecError {
    /// More than [`MAX_MESSAGE`] bytes.
    #[error("raft message of {0} bytes, at most {MAX_MESSAGE} are read")]
    TooLarge(usize),
    /// Not an envelope of this version.
    #[error("raft message cannot be read: {0}")]
    Malformed(String),
    /// An envelope with impossible content.
    #[error("raft message makes no sense: {0}")]
    Nonsense(&'static str),
}

/// A message from one raft node to another.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerMessage {
    pub(super) message: Message,
    /// What leases are made of, see [`super::lease`]: the leader's time in ms when it sent this, and in an
    /// answer the latest such time that the follower has seen. 0 if there is none.
    pub(super) stamp: u64,
}

impl PeerMessage {
    pub(super) fn new(message: Message) -> Self {
        Self { message, stamp: 0 }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct WireEntry {
    #[serde(rename = "k")]
    kind: u8,
    #[serde(rename = "t")]
    term: u64,
    #[serde(rename = "i")]
    index: u64,
    #[serde(rename = "d", skip_serializing_if = "Bytes::is_empty")]
    data: Bytes,
    #[serde(rename = "c", skip_serializing_if = "Bytes::is_empty")]
    context: Bytes,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct WireMessage {
    #[serde(rename = "k")]
    kind: u8,
    #[serde(rename = "to")]
    to: u64,
    #[serde(rename = "fr")]
    from: u64,
    #[serde(rename = "t")]
    term: u64,
    #[serde(rename = "lt", skip_serializing_if = "is_zero")]
    log_term: u64,
    #[serde(rename = "i", skip_serializing_if = "is_zero")]
    index: u64,
    #[serde(rename = "e", skip_serializing_if = "Vec::is_empty")]
    entries: Vec<WireEntry>,
    #[serde(rename = "co", skip_serializing_if = "is_zero")]
    commit: u64,
    #[serde(rename = "ct", skip_serializing_if = "is_zero")]
    commit_term: u64,
    #[serde(rename = "s", skip_serializing_if = "Bytes::is_empty")]
    snapshot: Bytes,
    #[serde(rename = "rs", skip_serializing_if = "is_zero")]
    request_snapshot: u64,
    #[serde(rename = "r", skip_serializing_if = "std::ops::Not::not")]
    reject: bool,
    #[serde(rename = "rh", skip_serializing_if = "is_zero")]
    reject_hint: u64,
    #[serde(rename = "c", skip_serializing_if = "Bytes::is_empty")]
    context: Bytes,
    #[serde(rename = "at", skip_serializing_if = "is_zero")]
    stamp: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if wants a reference")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Numbers on the wire; those of raft's messages that may travel at all. Proposals and requests to
/// hand over leadership are refused at the edge: raft would forward them in silence.
const KINDS: [(u8, MessageType); 12] = [
    (3, MessageType::MsgAppend),
    (4, MessageType::MsgAppendResponse),
    (5, MessageType::MsgRequestVote),
    (6, MessageType::MsgRequestVoteResponse),
    (7, MessageType::MsgSnapshot),
    (8, MessageType::MsgHeartbeat),
    (9, MessageType::MsgHeartbeatResponse),
    (14, MessageType::MsgTimeoutNow),
    (15, MessageType::MsgReadIndex),
    (16, MessageType::MsgReadIndexResp),
    (17, MessageType::MsgRequestPreVote),
    (18, MessageType::MsgRequestPreVoteResponse),
];

const ENTRY_KINDS: [(u8, EntryType); 2] = [(0, EntryType::EntryNormal), (2, EntryType::EntryConfChangeV2)];

const TRANSITIONS: [(u8, ConfChangeTransition); 3] = [
    (0, ConfChangeTransition::Auto),
    (1, ConfChangeTransition::Implicit),
    (2, ConfChangeTransition::Explicit),
];

const CHANGE_KINDS: [(u8, ConfChangeType); 3] =
    [(0, ConfChangeType::AddNode), (1, ConfChangeType::RemoveNode), (2, ConfChangeType::AddLearnerNode)];

/// A change of members. In the log it is protobuf, because raft reads it there; on the wire it is
/// ours, so that the bytes raft reads were written by this process.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct WireChange {
    #[serde(rename = "t")]
    transition: u8,
    /// (kind, raft ID)
    #[serde(rename = "s")]
    singles: Vec<(u8, u64)>,
    #[serde(rename = "c")]
    context: Bytes,
}

fn change_to_wire(data: &Bytes) -> Result<Bytes, PeerCodecError> {
    let nonsense = PeerCodecError::Nonsense("change of members");
    let change = <ConfChangeV2 as protobuf::Message>::parse_from_bytes(data).map_err(|_| nonsense.clone())?;
    let mut wire = WireChange {
        transition: number_of(&TRANSITIONS, change.get_transition()).ok_or(nonsense.clone())?,
        context: change.context.clone(),
        ..WireChange::default()
    };
    for single in change.get_changes() {
        let kind = number_of(&CHANGE_KINDS, single.get_change_type()).ok_or(nonsense.clone())?;
        wire.singles.push((kind, single.node_id));
    }
    codec::encode(VERSION, &wire).map(Bytes::from).map_err(PeerCodecError::Malformed)
}

fn change_from_wire(data: &[u8]) -> Result<Bytes, PeerCodecError> {
    let nonsense = PeerCodecError::Nonsense("change of members");
    let wire: WireChange = codec::decode(VERSION, data).map_err(PeerCodecError::Malformed)?;
    let mut change = ConfChangeV2::default();
    change.set_transition(kind_of(&TRANSITIONS, wire.transition).ok_or(nonsense.clone())?);
    change.context = wire.context;
    let mut singles = Vec::with_capacity(wire.singles.len());
    for (kind, id) in wire.singles {
        let mut single = ConfChangeSingle::default();
        single.set_change_type(kind_of(&CHANGE_KINDS, kind).ok_or(nonsense.clone())?);
        single.node_id = id;
        singles.push(single);
    }
    change.set_changes(singles.into());
    protobuf::Message::write_to_bytes(&change).map(Bytes::from).map_err(|_| nonsense)
}

fn number_of<T: PartialEq + Copy>(kinds: &[(u8, T)], kind: T) -> Option<u8> {
    kinds.iter().find(|(_, known)| *known == kind).map(|(number, _)| *number)
}

fn kind_of<T: Copy>(kinds: &[(u8, T)], number: u8) -> Option<T> {
    kinds.iter().find(|(known, _)| *known == number).map(|(_, kind)| *kind)
}

impl PeerMessage {
    /// Raft ID it is for.
    pub fn to(&self) -> u64 {
        self.message.to
    }

    /// Raft ID it comes from.
    pub fn from(&self) -> u64 {
        self.message.from
    }

    /// Term it was sent in; 0 for a forwarded read.
    pub fn term(&self) -> u64 {
        self.message.term
    }

    /// The snapshot it announces. The host fetches the data before it gives the message to its node.
    pub fn snapshot(&self) -> Option<Manifest> {
        if self.message.get_msg_type() == MessageType::MsgSnapshot {
            Manifest::decode(self.message.get_snapshot().get_data()).ok()
        } else {
            None
        }
    }

    /// Encodes for a peer.
    ///
    /// # Errors
    /// [`PeerCodecError`] for a message that does not travel.
    pub fn encode(&self) -> Result<Bytes, PeerCodecError> {
        let message = &self.message;
        let no_kind = PeerCodecError::Nonsense("kind that does not travel");
        let mut entries = Vec::with_capacity(message.get_entries().len());
        for entry in message.get_entries() {
            let kind = entry.get_entry_type();
            let is_change = kind == EntryType::EntryConfChangeV2;
            entries.push(WireEntry {
                kind: number_of(&ENTRY_KINDS, kind).ok_or(no_kind.clone())?,
                term: entry.term,
                index: entry.index,
                data: if is_change { change_to_wire(&entry.data)? } else { entry.data.clone() },
                context: entry.context.clone(),
            });
        }
        let wire = WireMessage {
            kind: number_of(&KINDS, message.get_msg_type()).ok_or(no_kind)?,
            to: message.to,
            from: message.from,
            term: message.term,
            log_term: message.log_term,
            index: message.index,
            entries,
            commit: message.commit,
            commit_term: message.commit_term,
            snapshot: message.get_snapshot().data.clone(),
            request_snapshot: message.request_snapshot,
            reject: message.reject,
            reject_hint: message.reject_hint,
            context: message.context.clone(),
            stamp: self.stamp,
        };
        codec::encode(VERSION, &wire).map(Bytes::from).map_err(PeerCodecError::Malformed)
    }

    /// Decodes and checks what a peer sent.
    ///
    /// # Errors
    /// [`PeerCodecError`]; the connection it came on should be closed.
    pub fn decode(bytes: &[u8]) -> Result<Self, PeerCodecError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(PeerCodecError::TooLarge(bytes.len()));
        }
        let wire: WireMessage = codec::decode(VERSION, bytes).map_err(PeerCodecError::Malformed)?;
        let kind = kind_of(&KINDS, wire.kind).ok_or(PeerCodecError::Nonsense("unknown kind"))?;
        check(&wire, kind).map_err(PeerCodecError::Nonsense)?;
        let mut message = Message::default();
        message.set_msg_type(kind);
        message.to = wire.to;
        message.from = wire.from;
        message.term = wire.term;
        message.log_term = wire.log_term;
        message.index = wire.index;
        message.commit = wire.commit;
        message.commit_term = wire.commit_term;
        message.request_snapshot = wire.request_snapshot;
        message.reject = wire.reject;
        message.reject_hint = wire.reject_hint;
        message.context = wire.context;
        let mut entries = Vec::with_capacity(wire.entries.len());
        for wire in wire.entries {
            let kind =
                kind_of(&ENTRY_KINDS, wire.kind).ok_or(PeerCodecError::Nonsense("unknown entry kind"))?;
            let is_change = kind == EntryType::EntryConfChangeV2;
            let mut entry = Entry::default();
            entry.set_entry_type(kind);
            entry.term = wire.term;
            entry.index = wire.index;
            entry.data = if is_change { change_from_wire(&wire.data)? } else { wire.data };
            entry.context = wire.context;
            entries.push(entry);
        }
        message.set_entries(entries.into());
        if kind == MessageType::MsgSnapshot {
            message.set_snapshot(snapshot(wire.snapshot)?);
        }
        Ok(Self { message, stamp: wire.stamp })
    }
}

/// Raft's form of a manifest; index, term and members are the manifest's, so they cannot differ.
fn snapshot(data: Bytes) -> Result<Snapshot, PeerCodecError> {
    let manifest = Manifest::decode(&data).map_err(PeerCodecError::Malformed)?;
    if manifest.index > MAX_NUMBER || manifest.term > MAX_NUMBER {
        return Err(PeerCodecError::Nonsense("number out of range"));
    }
    let mut snapshot = Snapshot { data, ..Snapshot::default() };
    let metadata = snapshot.mut_metadata();
    metadata.index = manifest.index;
    metadata.term = manifest.term;
    metadata.set_conf_state(manifest.membership.conf_state());
    Ok(snapshot)
}

fn check(wire: &WireMessage, kind: MessageType) -> Result<(), &'static str> {
    if wire.from == 0 || wire.to == 0 || wire.from == wire.to {
        return Err("sender or receiver");
    }
    let numbers = [
        wire.term,
        wire.log_term,
        wire.index,
        wire.commit,
        wire.commit_term,
        wire.request_snapshot,
        wire.reject_hint,
        wire.stamp,
    ];
    if numbers.iter().any(|number| *number > MAX_NUMBER) {
        return Err("number out of range");
    }
    if wire.entries.len() > MAX_ENTRIES {
        return Err("too many entries");
    }
    // Raft takes a message without a term for a local one; only a forwarded read has none.
    if (wire.term == 0) != (kind == MessageType::MsgReadIndex) {
        return Err("term");
    }
    match kind {
        MessageType::MsgAppend => {
            // Raft takes an entry it does not have for one of term 0, and would find it to match.
            if (wire.log_term == 0) != (wire.index == 0) || wire.entries.iter().any(|entry| entry.term == 0) {
                return Err("an entry without a term");
            }
            let mut before = (wire.index, wire.log_term);
            for entry in &wire.entries {
                if entry.index != before.0 + 1 || entry.term < before.1 || entry.term > wire.term {
                    return Err("entries do not follow each other");
                }
                before = (entry.index, entry.term);
            }
            Ok(())
        }
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => {
            if wire.entries.len() == 1 {
                Ok(())
            } else {
                Err("a read has one entry")
            }
        }
        _ if wire.entries.is_empty() => Ok(()),
        _ => Err("entries where none belong"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::membership::{Membership, ServerRecord};
    use super::*;

    fn message(kind: MessageType) -> Message {
        let mut message = Message::default();
        message.set_msg_type(kind);
        message.from = 1;
        message.to = 2;
        message.term = 3;
        message
    }

    #[test]
    fn every_kind_comes_back() {
        for (_, kind) in KINDS {
            let mut message = message(kind);
            match kind {
                MessageType::MsgReadIndex => {
                    message.term = 0;
                    message.set_entries(vec![Entry::default()].into());
                }
                MessageType::MsgReadIndexResp => message.set_entries(vec![Entry::default()].into()),
                MessageType::MsgSnapshot => {
                    let membership = Membership::founding([ServerRecord::default()]);
                    let manifest = Manifest { index: 9, term: 2, membership, ..Manifest::default() };
                    message.set_snapshot(snapshot(manifest.encode().unwrap().into()).unwrap());
                }
                _ => {}
            }
            let sent = PeerMessage::new(message);
            let received = PeerMessage::decode(&sent.encode().unwrap());
            assert_eq!(received.as_ref(), Ok(&sent), "{kind:?}");
        }
    }

    #[test]
    fn changes_of_members_arrive_byte_for_byte() {
        let server = ServerRecord { node_id: "n".into(), name: "a".into(), address: "b".into() };
        let change = Membership::default().encode_change(&super::super::MembershipChange::AddLearner(server));
        for change in [change.unwrap(), ConfChangeV2::default()] {
            let mut entry = Entry::default();
            entry.set_entry_type(EntryType::EntryConfChangeV2);
            entry.index = 1;
            entry.term = 1;
            entry.data = protobuf::Message::write_to_bytes(&change).unwrap().into();
            let mut message = message(MessageType::MsgAppend);
            message.set_entries(vec![entry].into());
            let sent = PeerMessage::new(message);
            assert_eq!(PeerMessage::decode(&sent.encode().unwrap()), Ok(sent));
        }
    }

    #[test]
    fn what_must_not_travel_does_not() {
        for kind in [MessageType::MsgPropose, MessageType::MsgTransferLeader, MessageType::MsgHup] {
            assert!(PeerMessage::new(message(kind)).encode().is_err(), "{kind:?}");
        }
        let encoded = |change: &dyn Fn(&mut Message)| {
            let mut message = message(MessageType::MsgAppend);
            change(&mut message);
            PeerMessage::decode(&PeerMessage::new(message).encode().unwrap())
        };
        assert!(encoded(&|_| {}).is_ok());
        for (name, change) in [
            ("no term", Box::new(|m: &mut Message| m.term = 0) as Box<dyn Fn(&mut Message)>),
            ("no sender", Box::new(|m| m.from = 0)),
            ("to itself", Box::new(|m| m.to = 1)),
            ("huge term", Box::new(|m| m.term = u64::MAX)),
            ("gap", Box::new(|m| m.set_entries(vec![Entry::default()].into()))),
            (
                "read without entry",
                Box::new(|m| {
                    m.set_msg_type(MessageType::MsgReadIndex);
                    m.term = 0;
                }),
            ),
            ("snapshot without manifest", Box::new(|m| m.set_msg_type(MessageType::MsgSnapshot))),
            ("append behind an entry without a term", Box::new(|m| (m.index, m.log_term) = (40, 0))),
        ] {
            assert!(encoded(&*change).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn append_round_trip(index in 0..1_000_u64, datas in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..8)) {
            let mut message = message(MessageType::MsgAppend);
            message.index = index;
            message.log_term = u64::from(index > 0);
            let entries: Vec<Entry> = datas.into_iter().zip(index + 1..).map(|(data, index)| {
                Entry { index, term: 2, data: data.into(), context: vec![7; 16].into(), ..Entry::default() }
            }).collect();
            message.set_entries(entries.into());
            let sent = PeerMessage::new(message);
            prop_assert_eq!(PeerMessage::decode(&sent.encode().unwrap()).unwrap(), sent);
        }

        #[test]
        fn junk_is_an_error_or_a_message(junk in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut versioned = vec![VERSION];
            versioned.extend(&junk);
            let _ = PeerMessage::decode(&junk);
            let _ = PeerMessage::decode(&versioned);
        }

        #[test]
        fn damage_never_panics(at in 0..200_usize, value in any::<u8>()) {
            let mut message = message(MessageType::MsgAppend);
            let entry = Entry { index: 1, term: 1, data: vec![1; 40].into(), ..Entry::default() };
            message.set_entries(vec![entry].into());
            let mut bytes = PeerMessage::new(message).encode().unwrap().to_vec();
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = PeerMessage::decode(&bytes);
        }
    }
}
