//! Streams: full exchanges, and the pings and user messages that came that way.
//!
//! A full exchange is what makes views agree for certain, and how a member enters a pool.
//!
//! Source: sections 5.1 to 5.3 of the project's notes on the gossip wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::core::JoinKind;
use super::delegate::Delegate;
use super::step::Step;
use crate::gossip::effect::{CommandError, Exchange, ExchangeError, ExchangeId, Reply, StreamId};
use crate::gossip::wire::{
    Alive, Claim, NodeState, PushPull, PushPullNode, PushPullNodeRef, StreamMessage, Versions, WireError,
    encode_push_pull, encode_stream,
};

/// Up to this many members, a newcomer tells a pool of all of them.
const SMALL: usize = 64;

/// What an exchange is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To enter a pool.
    Join(JoinKind),
    /// To agree.
    PushPull,
    /// To see whether a member answers at least that way; the probe's number.
    Ping(u32),
}

/// What versions everybody in a pool has in common: least and most of memberlist's, then of Serf's.
struct Common {
    protocol: (u8, u8),
    delegate: (u8, u8),
}

impl Common {
    fn new() -> Self {
        Self { protocol: (0, u8::MAX), delegate: (0, u8::MAX) }
    }

    /// Narrows it by what a member understands.
    fn narrow(&mut self, [pmin, pmax, _, dmin, dmax, _]: Versions) {
        self.protocol = (self.protocol.0.max(pmin), self.protocol.1.min(pmax));
        self.delegate = (self.delegate.0.max(dmin), self.delegate.1.min(dmax));
    }

    /// Whether what a member speaks is common.
    fn check(&self, name: &[u8], [_, _, pcur, _, _, dcur]: Versions) -> Result<(), String> {
        for (what, (least, most), spoken) in
            [("protocol", self.protocol, pcur), ("delegate protocol", self.delegate, dcur)]
        {
            if spoken < least || spoken > most {
                let name = String::from_utf8_lossy(name);
                return Err(format!("{what} version {spoken} of '{name}' is not within {least} to {most}"));
            }
        }
        Ok(())
    }
}

impl<D: Delegate> Step<'_, D> {
    /// Asks the host for an exchange.
    pub(super) fn open(&mut self, to: SocketAddr, request: Vec<u8>, timeout: Duration, purpose: Purpose) {
        let id = ExchangeId(self.state.next_exchange);
        self.state.next_exchange += 1;
        self.state.exchanges.insert(id, purpose);
        self.out.exchanges.push(Exchange { id, to, request, timeout });
    }

    /// Starts a full exchange.
    pub(super) fn exchange(&mut self, to: SocketAddr, purpose: Purpose) {
        self.state.stats.exchanges_out += 1;
        let request = self.everything(matches!(purpose, Purpose::Join(_)));
        self.open(to, request, self.state.config.tcp_timeout, purpose);
    }

    /// Now and then, everything is exchanged with a random member.
    pub(super) fn push_pull_tick(&mut self) {
        if self.state.push_pull_at > self.now {
            return;
        }
        self.state.push_pull_at = self.state.next_push_pull(self.now);
        let me = self.state.me.node.clone();
        let others = |entry: &super::Entry| entry.state == NodeState::Alive && !Arc::ptr_eq(&entry.node, &me);
        let places = self.state.table.pick(&mut self.state.rng, 1, others);
        let other = places.first().and_then(|place| self.state.table.at(*place));
        if let Some(to) = other.map(|entry| entry.node.addr) {
            self.exchange(to, Purpose::PushPull);
        }
    }

    /// All that this member knows, as bytes of a stream.
    fn everything(&mut self, join: bool) -> Vec<u8> {
        let mut user_state = std::mem::take(&mut self.state.scratch);
        user_state.clear();
        self.delegate.local_state(join, &mut user_state);
        let mut bytes = Vec::new();
        let table = &self.state.table;
        // A place is missing from the round only if it is not in the table either.
        let members = self.state.order.places().iter().map(|place| {
            table.at(*place).map_or(PushPullNodeRef::from(&self.state.me), PushPullNodeRef::from)
        });
        let compression = self.state.config.compression;
        encode_push_pull(
            join,
            members,
            &user_state,
            compression,
            self.crypto,
            &mut self.state.rng,
            &mut bytes,
        );
        self.state.scratch = user_state;
        bytes
    }

    /// A message on a stream that another member opened.
    pub(super) fn request(&mut self, stream: StreamId, from: SocketAddr, message: StreamMessage) {
        match message {
            StreamMessage::PushPull(theirs) => {
                self.state.stats.exchanges_in += 1;
                // Both sides tell what they knew before.
                let bytes = self.everything(theirs.join);
                self.out.replies.push(Reply { stream, bytes });
                if let Err(reason) = self.merge(&theirs) {
                    tracing::warn!(%from, reason, "refused a full exchange");
                }
            }
            StreamMessage::Ping { seq, node } => {
                if self.is_me(&node) {
                    let mut bytes = Vec::new();
                    let (ack, compression) = (StreamMessage::Ack { seq }, self.state.config.compression);
                    encode_stream(&ack, compression, self.crypto, &mut self.state.rng, &mut bytes);
                    self.out.replies.push(Reply { stream, bytes });
                }
            }
            StreamMessage::User(bytes) => self.call(|d, cx| d.user_message(cx, from, &bytes)),
            // Answers to nothing.
            StreamMessage::Ack { .. } | StreamMessage::Error(_) => self.state.stats.malformed += 1,
        }
    }

    /// How an exchange ended.
    pub(super) fn answer(
        &mut self,
        exchange: ExchangeId,
        result: Result<StreamMessage, ExchangeError>,
    ) -> Option<(JoinKind, Result<(), CommandError>)> {
        let purpose = self.state.exchanges.remove(&exchange)?;
        let result = result.and_then(|message| match message {
            StreamMessage::Error(text) => Err(WireError::Remote(text).into()),
            message => Ok(message),
        });
        if let Purpose::Ping(seq) = purpose {
            if result == Ok(StreamMessage::Ack { seq }) {
                self.stream_ack(seq);
            }
            return None;
        }
        // Who comes alone into a pool learns only what that pool knows already. Telling it of all its members
        // again would take minutes in a large one, and until then nothing of the layer above would be told. In a
        // small one, where each message is sent a few times only, it makes up for what some missed. With two
        // joins under way this member may be what brings two pools together, and tells the one of the other.
        let joins = |purpose: &Purpose| matches!(purpose, Purpose::Join(_));
        let large = matches!(&result, Ok(StreamMessage::PushPull(theirs)) if theirs.nodes.len() > SMALL);
        let alone = self.state.table.len() == 1 && !self.state.exchanges.values().any(joins);
        self.state.newcomer = joins(&purpose) && large && alone;
        let result = match result {
            Ok(StreamMessage::PushPull(theirs)) => self.merge(&theirs).map_err(CommandError::Refused),
            Ok(_) => Err(ExchangeError::from(WireError::Malformed("answer to a full exchange")).into()),
            Err(error) => Err(error.into()),
        };
        self.state.newcomer = false;
        if let Err(error) = &result {
            self.state.stats.failed_exchanges += 1;
            tracing::debug!(%error, "a full exchange failed");
        }
        match purpose {
            Purpose::Join(kind) => Some((kind, result)),
            Purpose::PushPull | Purpose::Ping(_) => None,
        }
    }

    /// Takes over what the other side knows; all of it or nothing.
    fn merge(&mut self, theirs: &PushPull) -> Result<(), String> {
        self.compatible(&theirs.nodes).inspect_err(|_| self.state.stats.incompatible += 1)?;
        if theirs.join {
            let welcome = self.call(|d, cx| d.admit_all(cx, &theirs.nodes));
            welcome.inspect_err(|_| self.state.stats.refused += 1)?;
        }
        let me = self.state.me.node.name.clone();
        for node in &theirs.nodes {
            let (incarnation, name) = (node.incarnation, &node.name[..]);
            match node.state {
                NodeState::Alive => self.alive(&Alive {
                    incarnation,
                    node: name,
                    addr: node.addr,
                    meta: &node.meta,
                    versions: node.versions,
                }),
                NodeState::Left => self.dead(&Claim { incarnation, node: name, from: name }),
                // Only suspected, so that it can object if it lives.
                NodeState::Dead | NodeState::Suspect => {
                    self.suspect(&Claim { incarnation, node: name, from: me.as_bytes() });
                }
            }
        }
        if !theirs.user_state.is_empty() {
            self.call(|d, cx| d.merge_state(cx, &theirs.user_state, theirs.join));
        }
        Ok(())
    }

    /// Whether all members of both sides can understand each other. Nobody is held to versions that are not
    /// known: one such member would otherwise keep a whole pool from agreeing.
    fn compatible(&self, theirs: &[PushPullNode]) -> Result<(), String> {
        let mut common = Common::new();
        for node in theirs.iter().filter(|node| node.state == NodeState::Alive) {
            node.versions.into_iter().for_each(|versions| common.narrow(versions));
        }
        for entry in self.state.table.iter().filter(|entry| entry.state == NodeState::Alive) {
            entry.node.versions.into_iter().for_each(|versions| common.narrow(versions));
        }
        for node in theirs {
            node.versions.map_or(Ok(()), |versions| common.check(&node.name, versions))?;
        }
        for entry in &self.state.table {
            let versions = entry.node.versions;
            versions.map_or(Ok(()), |versions| common.check(entry.node.name.as_bytes(), versions))?;
        }
        Ok(())
    }
}

impl<'a> From<&'a super::Entry> for PushPullNodeRef<'a> {
    fn from(entry: &'a super::Entry) -> Self {
        Self {
            name: entry.node.name.as_bytes(),
            addr: Some(entry.node.addr),
            meta: &entry.node.meta,
            incarnation: entry.incarnation,
            state: entry.state,
            versions: entry.node.versions,
        }
    }
}
