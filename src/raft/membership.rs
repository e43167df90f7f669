//! Who belongs to the raft group, and under which name, address and node ID.
//!
//! A server is its node ID: name and address may change, the raft ID derived from the node ID stays.
//! The membership is stored with the log together with the index of the entry that made it, so that
//! a replay knows which changes are already in it.

use std::collections::BTreeMap;

use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState};
use serde::{Deserialize, Serialize};

use super::codec;

const VERSION: u8 = 1;

/// Index and term at which a new group starts: as if a snapshot of an empty state had been taken
/// there. A joining server therefore always receives a snapshot first, and with it the members.
pub(super) const BOOTSTRAP_INDEX: u64 = 1;
/// Term of [`BOOTSTRAP_INDEX`].
pub(super) const BOOTSTRAP_TERM: u64 = 1;

/// Raft ID of a node ID: the same on every server and for ever. Never 0.
///
/// FNV-1a over the lower-cased text, finished with splitmix64's mixer so that node IDs that differ
/// in one digit are far apart.
pub fn raft_id(node_id: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in node_id.bytes() {
        hash = (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash ^ (hash >> 31)).max(1)
}

/// A server as its peers know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// Node ID (a UUID as text).
    pub node_id: String,
    /// Node name.
    pub name: String,
    /// `ip:port` of its server RPC.
    pub address: String,
}

impl ServerRecord {
    /// Raft ID of this server.
    pub fn raft_id(&self) -> u64 {
        raft_id(&self.node_id)
    }
}

/// The members as of one log index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Membership {
    /// Index of the entry (or snapshot) that made it.
    pub index: u64,
    /// Raft IDs that vote.
    pub voters: Vec<u64>,
    /// Raft IDs that only receive.
    pub learners: Vec<u64>,
    /// Voters of the outgoing configuration during a joint change.
    pub voters_outgoing: Vec<u64>,
    /// Learners once the joint change is over.
    pub learners_next: Vec<u64>,
    /// Whether raft leaves the joint configuration by itself.
    pub auto_leave: bool,
    /// The servers behind the IDs.
    pub servers: BTreeMap<u64, ServerRecord>,
}

/// A change of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembershipChange {
    /// A server that receives the log but does not vote.
    AddLearner(ServerRecord),
    /// A server that votes; promotes it if it is a learner.
    AddVoter(ServerRecord),
    /// A member's name or address changed.
    Update(ServerRecord),
    /// A member leaves; by raft ID.
    Remove(u64),
}

/// What travels in the context of a membership entry.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct ChangeContext {
    server: Option<ServerRecord>,
}

impl Membership {
    /// The membership a new group starts with: these servers vote.
    pub fn founding(servers: impl IntoIterator<Item = ServerRecord>) -> Self {
        let servers: BTreeMap<_, _> = servers.into_iter().map(|server| (server.raft_id(), server)).collect();
        Self { index: BOOTSTRAP_INDEX, voters: servers.keys().copied().collect(), servers, ..Self::default() }
    }

    /// Whether this server votes.
    pub fn is_voter(&self, id: u64) -> bool {
        self.voters.contains(&id) || self.voters_outgoing.contains(&id)
    }

    /// Whether this server alone is a quorum.
    pub fn is_lone_voter(&self, id: u64) -> bool {
        self.voters == [id] && self.voters_outgoing.is_empty()
    }

    /// Raft's form of it.
    pub fn conf_state(&self) -> ConfState {
        ConfState {
            voters: self.voters.clone(),
            learners: self.learners.clone(),
            voters_outgoing: self.voters_outgoing.clone(),
            learners_next: self.learners_next.clone(),
            auto_leave: self.auto_leave,
            ..ConfState::default()
        }
    }

    /// The membership after a change, as raft worked it out.
    pub(super) fn after(&self, index: u64, state: &ConfState, change: &ConfChangeV2) -> Self {
        let mut servers = self.servers.clone();
        if let Ok(context) = codec::decode::<ChangeContext>(VERSION, change.get_context())
            && let Some(server) = context.server
        {
            servers.insert(server.raft_id(), server);
        }
        let mut next = Self {
            index,
            voters: sorted(&state.voters),
            learners: sorted(&state.learners),
            voters_outgoing: sorted(&state.voters_outgoing),
            learners_next: sorted(&state.learners_next),
            auto_leave: state.auto_leave,
            servers: BTreeMap::new(),
        };
        servers.retain(|id, _| next.contains(*id));
        next.servers = servers;
        next
    }

    /// Whether this ID is a member in any part.
    pub fn contains(&self, id: u64) -> bool {
        [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next]
            .iter()
            .any(|ids| ids.contains(&id))
    }

    /// Whether raft can work with it: voters there, no ID 0, nobody both voter and learner.
    pub(super) fn is_sound(&self) -> bool {
        let unique = |ids: &[u64]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids.windows(2).all(|pair| pair.first() != pair.last())
        };
        !self.voters.is_empty()
            && unique(&self.voters)
            && unique(&self.learners)
            && unique(&self.voters_outgoing)
            && unique(&self.learners_next)
            && !self.contains(0)
            && !self.learners.iter().any(|id| self.is_voter(*id))
            && self.learners_next.iter().all(|id| self.voters_outgoing.contains(id))
            && (!self.voters_outgoing.is_empty() || !self.auto_leave)
    }

    /// Whether the change makes sense now; the text says why not.
    pub(super) fn check(&self, change: &MembershipChange) -> Result<(), String> {
        if let MembershipChange::AddLearner(server)
        | MembershipChange::AddVoter(server)
        | MembershipChange::Update(server) = change
            && let Some(known) = self.servers.get(&server.raft_id())
            && !known.node_id.eq_ignore_ascii_case(&server.node_id)
        {
            return Err(format!(
                "node ID {} gives the same raft ID as node ID {}; generate another one",
                server.node_id, known.node_id
            ));
        }
        match change {
            MembershipChange::AddLearner(server) if self.is_voter(server.raft_id()) => {
                Err(format!("server {} already votes", server.name))
            }
            MembershipChange::Update(server) if !self.contains(server.raft_id()) => {
                Err(format!("server {} is not a member", server.name))
            }
            MembershipChange::Remove(id) if !self.contains(*id) => {
                Err(format!("raft ID {id:016x} is not a member"))
            }
            MembershipChange::Remove(id) if self.is_lone_voter(*id) => {
                Err("the only server that votes cannot be removed".into())
            }
            _ => Ok(()),
        }
    }

    /// Raft's form of a change, with the server record in its context.
    pub(super) fn encode_change(&self, change: &MembershipChange) -> Result<ConfChangeV2, String> {
        // Adding a member again changes nothing but its record.
        let (kind, id, server) = match change {
            MembershipChange::AddVoter(server) => (ConfChangeType::AddNode, server.raft_id(), Some(server)),
            MembershipChange::Update(server) if self.is_voter(server.raft_id()) => {
                (ConfChangeType::AddNode, server.raft_id(), Some(server))
            }
            MembershipChange::AddLearner(server) | MembershipChange::Update(server) => {
                (ConfChangeType::AddLearnerNode, server.raft_id(), Some(server))
            }
            MembershipChange::Remove(id) => (ConfChangeType::RemoveNode, *id, None),
        };
        let mut single = ConfChangeSingle::default();
        single.set_change_type(kind);
        single.node_id = id;
        let mut encoded = ConfChangeV2::default();
        encoded.set_changes(vec![single].into());
        encoded.context = codec::encode(VERSION, &ChangeContext { server: server.cloned() })?.into();
        Ok(encoded)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, String> {
        codec::encode(VERSION, self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        codec::decode(VERSION, bytes)
    }
}

fn sorted(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str) -> ServerRecord {
        ServerRecord { node_id: format!("id-{name}"), name: name.into(), address: "127.0.0.1:8300".into() }
    }

    #[test]
    fn raft_ids_are_golden() {
        // A different result would make every server forget who it is.
        assert_eq!(
            raft_id("40e4a748-2192-161a-0510-9bf59fe950b5"),
            raft_id("40E4A748-2192-161A-0510-9BF59FE950B5")
        );
        assert_eq!(raft_id("40e4a748-2192-161a-0510-9bf59fe950b5"), 0x7d7e_0535_1f09_474d);
        assert_ne!(raft_id(""), 0);
    }

    #[test]
    fn changes_are_checked() {
        let one = Membership::founding([server("a")]);
        let two = Membership { learners: vec![server("b").raft_id()], ..one.clone() };
        for (name, members, change, ok) in [
            ("add a learner", &one, MembershipChange::AddLearner(server("b")), true),
            ("demote a voter", &one, MembershipChange::AddLearner(server("a")), false),
            ("promote", &two, MembershipChange::AddVoter(server("b")), true),
            ("update a stranger", &one, MembershipChange::Update(server("c")), false),
            ("update", &one, MembershipChange::Update(server("a")), true),
            ("remove the last voter", &two, MembershipChange::Remove(server("a").raft_id()), false),
            ("remove a learner", &two, MembershipChange::Remove(server("b").raft_id()), true),
            ("remove a stranger", &two, MembershipChange::Remove(7), false),
        ] {
            assert_eq!(members.check(&change).is_ok(), ok, "{name}");
        }
    }

    #[test]
    fn stored_form_comes_back() {
        let members = Membership::founding([server("a"), server("b"), server("c")]);
        let bytes = members.encode().unwrap();
        assert_eq!(Membership::decode(&bytes).unwrap(), members);
        assert!(Membership::decode(&bytes[1..]).is_err(), "version byte missing");
        assert!(Membership::decode(&[&bytes[..], &[0]].concat()).is_err(), "trailing byte");
        assert!(members.is_sound());
        assert!(!Membership::default().is_sound(), "no voters");
    }
}
