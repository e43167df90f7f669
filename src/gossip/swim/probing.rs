//! Failure detection: pings, help with them, and their answers.
//!
//! One member after the other is probed. One that does not answer is asked once more through a few others and
//! over a stream; only if all of that fails it comes under suspicion.
//!
//! Two kinds of members come out of turn. Of one that others suspect, a few of all members try themselves: if
//! it lives it hears early that it must object, and if it is dead their word shortens the wait. And of one
//! whose connections break the host says so ([`Swim::doubt`](super::Swim::doubt)). The wire knows neither, nor
//! do the rules of suspicion: only the order of probes is another one.
//!
//! Source: section 6.3 of the project's notes on the gossip wire; SWIM section 3.1; Lifeguard's local health
//! and its "buddy system". Coming out of turn is ours.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;

use super::delegate::Delegate;
use super::exchange::Purpose;
use super::step::{SELF, State, Step};
use super::table::{Name, Node};
use crate::gossip::time::Moment;
use crate::gossip::wire::{
    Ack, Claim, IndirectPing, Message, NodeState, Ping, StreamMessage, Versions, encode_stream,
};

/// Most pings for others under way at the same time.
const MAX_RELAYS: usize = 1_024;
/// Most members that wait for a probe out of turn.
const MAX_DOUBTS: usize = 16;
/// Most members at one address that are probed when a connection from there breaks.
const DOUBTED_AT_ONCE: usize = 4;

/// Members that are probed out of turn, in the order in which they came into doubt.
#[derive(Debug, Default)]
pub(super) struct Doubts(VecDeque<Name>);

impl Doubts {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The member has spoken up.
    pub(super) fn dispel(&mut self, name: &Name) {
        self.0.retain(|doubted| doubted != name);
    }

    fn put(&mut self, name: Name) {
        if self.0.len() < MAX_DOUBTS && !self.0.contains(&name) {
            self.0.push_back(name);
        }
    }
}

/// Whether a member of these versions says that it had no answer.
fn sends_nacks(versions: Option<Versions>) -> bool {
    versions.is_some_and(|[_, pmax, ..]| pmax >= 4)
}

/// Whether a member of these versions answers pings over streams.
fn answers_streams(versions: Option<Versions>) -> bool {
    versions.is_some_and(|[_, pmax, ..]| pmax >= 3)
}

/// A probe under way.
#[derive(Debug)]
pub(super) struct Probe {
    seq: u32,
    node: Arc<Node>,
    /// The incarnation that will be suspected.
    incarnation: u32,
    sent: Moment,
    /// Until when the direct answer is awaited, and until when any.
    direct_until: Moment,
    ends: Moment,
    /// Whether help was asked for.
    indirect: bool,
    nacks_expected: u32,
    nacks: u32,
    /// Whether it answered over a stream.
    over_stream: bool,
}

impl Probe {
    /// When something is to be done about it.
    pub(super) fn deadline(&self) -> Moment {
        if self.indirect { self.ends } else { self.direct_until.min(self.ends) }
    }
}

/// A ping sent for another member.
#[derive(Debug)]
struct Relay {
    seq: u32,
    /// Who asked, under which number, and whether it wants to hear of a missing answer.
    to: SocketAddr,
    original: u32,
    nack: bool,
    due: Moment,
    answered: bool,
}

/// Pings sent for others, oldest first. All wait equally long, so they also end in this order.
#[derive(Debug, Default)]
pub(super) struct Relays(VecDeque<Relay>);

impl Relays {
    /// When the next one is over.
    pub(super) fn deadline(&self) -> Moment {
        self.0.front().map_or(Moment::NEVER, |relay| relay.due)
    }

    /// The unanswered one of this number.
    fn find(&mut self, seq: u32) -> Option<&mut Relay> {
        let first = self.0.front()?.seq;
        // Numbers rise, and may wrap.
        let at = self.0.binary_search_by_key(&seq.wrapping_sub(first), |relay| relay.seq.wrapping_sub(first));
        self.0.get_mut(at.ok()?).filter(|relay| !relay.answered)
    }
}

impl<D: Delegate> Step<'_, D> {
    /// A member asks whether this one is there.
    pub(super) fn ping(&mut self, from: SocketAddr, ping: &Ping<'_>) {
        if !self.is_me(ping.node) {
            return;
        }
        let mut payload = std::mem::take(&mut self.state.scratch);
        payload.clear();
        self.delegate.ack_payload(&mut payload);
        let payload_or_nil = Some(&payload[..]).filter(|payload| !payload.is_empty());
        self.send(ping.source.unwrap_or(from), &Message::Ack(Ack { seq: ping.seq, payload: payload_or_nil }));
        self.state.scratch = payload;
    }

    /// Whether a ping for this name is for this member.
    pub(super) fn is_me(&mut self, name: &[u8]) -> bool {
        let is_me = name.is_empty() || name == self.state.me.node.name.as_bytes();
        self.state.stats.misdirected_pings += u64::from(!is_me);
        is_me
    }

    /// A member asks this one to ping another.
    pub(super) fn indirect_ping(&mut self, from: SocketAddr, ping: &IndirectPing<'_>) {
        if self.state.relays.0.len() >= MAX_RELAYS {
            self.state.stats.too_many_relays += 1;
            return;
        }
        let seq = self.state.next_seq();
        self.state.relays.0.push_back(Relay {
            seq,
            to: ping.source.unwrap_or(from),
            original: ping.seq,
            nack: ping.nack,
            due: self.now + self.state.config.probe_timeout,
            answered: false,
        });
        let me = self.state.me.node.clone();
        let message = Ping { seq, node: ping.node, source: Some(me.addr), source_node: me.name.as_bytes() };
        self.send(ping.target, &Message::Ping(message));
    }

    /// Pings sent for others that got no answer.
    pub(super) fn expire_relays(&mut self) {
        while self.state.relays.deadline() <= self.now
            && let Some(relay) = self.state.relays.0.pop_front()
        {
            if relay.nack && !relay.answered {
                self.send(relay.to, &Message::Nack(relay.original));
            }
        }
    }

    /// An answer to a ping, of this member or one sent for another.
    pub(super) fn ack(&mut self, ack: &Ack<'_>) {
        if let Some(probe) = self.state.probe.take_if(|probe| probe.seq == ack.seq) {
            self.state.awareness.better();
            // Through others it says nothing about the way from here to there.
            if !probe.indirect {
                let rtt = self.now.since(probe.sent);
                let payload = ack.payload.unwrap_or_default();
                self.call(|d, cx| d.acked(cx, &probe.node, rtt, payload));
            }
        } else if let Some(relay) = self.state.relays.find(ack.seq) {
            relay.answered = true;
            let (to, seq) = (relay.to, relay.original);
            self.send(to, &Message::Ack(Ack { seq, payload: None }));
        }
    }

    /// A helper had no answer either: so it is not this member's own fault.
    pub(super) fn nack(&mut self, seq: u32) {
        if let Some(probe) = self.state.probe.as_mut().filter(|probe| probe.seq == seq) {
            probe.nacks = (probe.nacks + 1).min(probe.nacks_expected);
        }
    }

    /// An answer to a ping over a stream.
    pub(super) fn stream_ack(&mut self, seq: u32) {
        if let Some(probe) = self.state.probe.as_mut().filter(|probe| probe.seq == seq) {
            probe.over_stream = true;
        }
    }

    /// Moves the probe on, and starts the next one when it is time.
    pub(super) fn probe_tick(&mut self) {
        if let Some(probe) = &mut self.state.probe {
            if !probe.indirect && probe.direct_until <= self.now {
                // A host that comes late must not cost the helpers their time.
                let late = self.now.since(probe.direct_until);
                probe.ends += late;
                probe.indirect = true;
                self.ask_others();
            }
            if self.state.probe.as_ref().is_some_and(|probe| probe.ends <= self.now) {
                self.end_probe();
            }
        }
        if self.state.probe.is_none()
            && (self.state.probe_ticks.due(self.now) || !self.state.doubts.is_empty())
        {
            self.probe_next();
        }
    }

    /// A connection from this address broke.
    pub(super) fn doubt(&mut self, ip: IpAddr) {
        let there = self.state.table.iter().skip(1).filter(|entry| {
            entry.node.addr.ip() == ip && matches!(entry.state, NodeState::Alive | NodeState::Suspect)
        });
        let names: Vec<Name> = there.take(DOUBTED_AT_ONCE).map(|entry| entry.node.name.clone()).collect();
        for name in names {
            self.state.doubts.put(name);
        }
    }

    /// Others suspect a member: whether this one looks after it itself, its lot says.
    pub(super) fn witness(&mut self, name: Name) {
        let members = u32::try_from(self.state.table.len()).unwrap_or(u32::MAX);
        let witnesses = self.state.config.witnesses;
        if members <= witnesses || self.state.rng.random_range(0..members) < witnesses {
            self.state.doubts.put(name);
        }
    }

    /// Probes a member in doubt, or else the next of the round, or of a new one.
    fn probe_next(&mut self) {
        while let Some(name) = self.state.doubts.0.pop_front() {
            let doubted = self.state.table.get(name.as_bytes());
            let there = doubted.filter(|entry| matches!(entry.state, NodeState::Alive | NodeState::Suspect));
            if let Some(entry) = there {
                let (node, incarnation, state) = (entry.node.clone(), entry.incarnation, entry.state);
                self.probe(node, incarnation, state);
                return;
            }
        }
        let mut restarted = false;
        loop {
            let Some(place) = self.state.order.next() else {
                // A whole round without anybody to probe is enough.
                if restarted {
                    return;
                }
                restarted = true;
                self.state.restart_round(self.now);
                continue;
            };
            let probed = self.state.table.at(place).filter(|entry| {
                place != SELF && matches!(entry.state, NodeState::Alive | NodeState::Suspect)
            });
            if let Some(entry) = probed {
                let (node, incarnation, state) = (entry.node.clone(), entry.incarnation, entry.state);
                self.probe(node, incarnation, state);
                return;
            }
        }
    }

    fn probe(&mut self, node: Arc<Node>, incarnation: u32, state: NodeState) {
        let seq = self.state.next_seq();
        let ends = self.now + self.state.awareness.scale(self.state.config.probe_interval);
        let direct_until = self.now + self.state.config.probe_timeout;
        let me = self.state.me.node.clone();
        let my_name = me.name.as_bytes();
        let ping = Message::Ping(Ping {
            seq,
            node: node.name.as_bytes(),
            source: Some(me.addr),
            source_node: my_name,
        });
        if state == NodeState::Suspect && self.state.config.tell_suspects {
            let suspect = Claim { incarnation, node: node.name.as_bytes(), from: my_name };
            self.send_exactly(node.addr, node.versions, &[ping, Message::Suspect(suspect)]);
        } else {
            self.send(node.addr, &ping);
        }
        self.state.stats.probes += 1;
        self.state.probe = Some(Probe {
            seq,
            node,
            incarnation,
            sent: self.now,
            direct_until,
            ends,
            indirect: false,
            nacks_expected: 0,
            nacks: 0,
            over_stream: false,
        });
    }

    /// The direct answer did not come: asks others to try, and tries a stream.
    fn ask_others(&mut self) {
        let Some(probe) = &self.state.probe else { return };
        let (seq, node, time) = (probe.seq, probe.node.clone(), probe.ends.since(self.now));
        self.state.stats.indirect_probes += 1;
        let me = self.state.me.node.clone();
        let State { table, rng, config, .. } = &mut *self.state;
        let places = table.pick(rng, config.indirect_checks, |entry| {
            entry.state == NodeState::Alive && !Arc::ptr_eq(&entry.node, &me) && entry.node.name != node.name
        });
        let mut nacks_expected = 0;
        for place in places {
            let Some(helper) = self.state.table.at(place).map(|entry| entry.node.clone()) else { continue };
            let nack = self.state.config.nacks && sends_nacks(helper.versions);
            nacks_expected += u32::from(nack);
            let ping = IndirectPing {
                seq,
                target: node.addr,
                node: node.name.as_bytes(),
                nack,
                source: Some(me.addr),
                source_node: me.name.as_bytes(),
            };
            self.send(helper.addr, &Message::IndirectPing(ping));
        }
        if let Some(probe) = &mut self.state.probe {
            probe.nacks_expected = nacks_expected;
        }
        if self.state.config.tcp_pings && answers_streams(node.versions) && !time.is_zero() {
            self.ping_over_stream(seq, &node, time);
        }
    }

    fn ping_over_stream(&mut self, seq: u32, node: &Node, timeout: Duration) {
        let mut request = Vec::new();
        let ping = StreamMessage::Ping { seq, node: Bytes::copy_from_slice(node.name.as_bytes()) };
        let compression = self.state.config.compression;
        encode_stream(&ping, compression, self.crypto, &mut self.state.rng, &mut request);
        self.open(node.addr, request, timeout, Purpose::Ping(seq));
    }

    /// Nobody answered in time.
    fn end_probe(&mut self) {
        let Some(probe) = self.state.probe.take() else { return };
        if probe.over_stream {
            self.state.awareness.better();
            tracing::warn!(node = %probe.node.name, "answered over a stream but not to datagrams");
            return;
        }
        let missing = if probe.nacks_expected > 0 { probe.nacks_expected - probe.nacks } else { 1 };
        self.state.awareness.worse(missing);
        self.state.stats.failed_probes += 1;
        let me = self.state.me.node.name.clone();
        self.suspect(&Claim {
            incarnation: probe.incarnation,
            node: probe.node.name.as_bytes(),
            from: me.as_bytes(),
        });
    }
}

impl State {
    /// Forgets those who are dead or left for so long that nobody tells them any more, and starts a new round.
    pub(super) fn restart_round(&mut self, now: Moment) {
        let patience = self.config.gossip_to_the_dead;
        let gone = |state, changed| {
            matches!(state, NodeState::Dead | NodeState::Left) && now.since(changed) > patience
        };
        if self.table.count(NodeState::Dead) + self.table.count(NodeState::Left) > 0 {
            let all = self.table.iter().skip(1).filter(|entry| gone(entry.state, entry.changed));
            let names: Vec<_> = all.map(|entry| entry.node.name.clone()).collect();
            for name in names {
                self.table.remove(name.as_bytes());
            }
        }
        self.order.restart(self.table.len(), &mut self.rng);
    }
}
