//! The layer's state, and where SWIM's calls enter it.
//!
//! What each kind of message means is in the file of its duty: members, events, queries, keys.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::clock::{Clock, Clocks};
use super::coalesce::Coalescer;
use super::events::HeardEvent;
use super::intent::Recent;
use super::queries::Queries;
use super::roster::Roster;
use super::snapshot::{Journal, Past};
use super::stats::Stats;
use super::window::Window;
use super::{Member, Status};
use crate::gossip::config::{SerfConfig, SwimConfig};
use crate::gossip::coordinate::Vivaldi;
use crate::gossip::effect::{Admission, Event};
use crate::gossip::swim::broadcast::{BroadcastId, Queue};
use crate::gossip::swim::{Context, Delegate, Entry, Node, Sink, transmits};
use crate::gossip::time::Moment;
use crate::gossip::wire::serf::{
    EVENT_SLOTS, SerfMessage, SerfState, StoredEvent, StoredEvents, decode_ack_payload, decode_tags,
    encode_ack_payload,
};
use crate::gossip::wire::{Alive, Crypto, NodeState, PushPullNode};

/// Between two looks whether the queues are too long.
const QUEUE_CHECK: Duration = Duration::from_secs(30);
/// What all remembered user events may cost, in bytes. A full exchange carries them, and may carry 20 MiB.
const EVENT_MEMORY: usize = 16 << 20;
/// How many queries are remembered.
const QUERY_MEMORY: usize = 1 << 16;
/// The same warning is given once in this time.
const WARNING_INTERVAL: Duration = Duration::from_secs(30);
/// How many different warnings are told apart.
const WARNINGS: usize = 256;

/// What is to be spread, most important first.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) intents: Queue,
    pub(super) queries: Queue,
    pub(super) events: Queue,
}

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    Intent,
    Query,
    Event,
}

/// The state of the Serf layer.
pub(super) struct Layer {
    pub(super) config: SerfConfig,
    pub(super) gossip_interval: Duration,
    retransmit_mult: u32,
    /// Longer messages fit into no packet and are not passed on.
    packet_size: usize,
    admission: Box<dyn Admission>,
    pub(super) crypto: Crypto,
    /// Whether `crypto` is newer than SWIM's.
    pub(super) crypto_changed: bool,
    pub(super) roster: Roster,
    pub(super) recent: Recent,
    pub(super) clock: Clock,
    pub(super) event_clock: Clock,
    pub(super) query_clock: Clock,
    pub(super) events: Window<HeardEvent>,
    pub(super) coalescer: Coalescer,
    pub(super) queries: Queries,
    pub(super) queues: Queues,
    pub(super) vivaldi: Vivaldi,
    pub(super) journal: Journal,
    /// Whether this member said goodbye.
    pub(super) leaving: bool,
    /// Joins the host asked for that are under way, while an answer to this member is taken in; else none. What others
    /// ask for meanwhile must not make events old that were fired since this member came.
    pub(super) joining: usize,
    /// A failed member that is to be tried again.
    pub(super) reconnect: Option<SocketAddr>,
    warned: BTreeMap<String, Moment>,
    reap_at: Moment,
    reconnect_at: Moment,
    queue_check_at: Moment,
    pub(super) stats: Stats,
}

impl Layer {
    /// Of these members, with what an earlier life left behind in a snapshot of that size.
    pub(super) fn new(
        roster: Roster,
        swim: &SwimConfig,
        config: SerfConfig,
        admission: Box<dyn Admission>,
        crypto: Crypto,
        (past, size): (&Past, usize),
        now: Moment,
    ) -> Self {
        let (mut clock, mut event_clock, mut query_clock) =
            (Clock::default(), Clock::default(), Clock::default());
        clock.witness(past.clocks.member);
        event_clock.witness(past.clocks.event);
        query_clock.witness(past.clocks.query);
        let mut events = Window::new(config.event_buffer.min(EVENT_SLOTS), EVENT_MEMORY);
        let mut heard = Window::new(config.event_buffer, QUERY_MEMORY);
        // What was heard in an earlier life is not news in this one.
        events.raise_minimum(past.clocks.event + 1);
        heard.raise_minimum(past.clocks.query + 1);
        Self {
            gossip_interval: swim.gossip_interval,
            retransmit_mult: swim.retransmit_mult,
            packet_size: swim.packet_size,
            admission,
            crypto,
            crypto_changed: false,
            roster,
            recent: Recent::default(),
            clock,
            event_clock,
            query_clock,
            events,
            coalescer: Coalescer::new(config.coalesce_period),
            queries: Queries::new(heard),
            queues: Queues { intents: Queue::new(0), queries: Queue::new(0), events: Queue::new(0) },
            vivaldi: Vivaldi::new(),
            journal: Journal::new(size, past),
            leaving: false,
            joining: 0,
            reconnect: None,
            warned: BTreeMap::new(),
            reap_at: now + config.reap_interval,
            reconnect_at: now + config.reconnect_interval,
            queue_check_at: now + QUEUE_CHECK,
            stats: Stats::default(),
            config,
        }
    }

    /// The last times that were heard of.
    pub(super) fn heard(&self) -> Clocks {
        Clocks {
            member: self.clock.time() - 1,
            event: self.event_clock.time() - 1,
            query: self.query_clock.time() - 1,
        }
    }

    /// This member.
    pub(super) fn local(&self) -> Arc<Member> {
        self.roster.local().clone()
    }

    /// When [`Layer::tick`] is to be called at the latest.
    pub(super) fn deadline(&self) -> Moment {
        self.reap_at
            .min(self.reconnect_at)
            .min(self.queue_check_at)
            .min(self.coalescer.due())
            .min(self.journal.due())
            .min(self.queries.deadline())
            .min(self.roster.next_prune())
    }

    /// Does whatever is due.
    pub(super) fn tick(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        for member in self.roster.prune_due(now) {
            self.reaped(cx, member);
        }
        if now >= self.reap_at {
            self.reap_at = now + self.config.reap_interval;
            self.recent.expire(now, self.config.intent_timeout);
            self.queries.expire(now);
            // Intent, death and the time to linger, four times over.
            let goodbye = 2 * self.config.broadcast_timeout + self.config.propagate_delay;
            self.roster.void_goodbyes(now, 4 * goodbye);
            let (failed, left) = (self.config.reconnect_timeout, self.config.tombstone_timeout);
            for member in self.roster.reap(now, failed, left) {
                self.reaped(cx, member);
            }
        }
        if now >= self.reconnect_at {
            self.reconnect_at = now + self.config.reconnect_interval;
            if !self.leaving
                && let Some(member) = self.roster.to_reconnect(cx.rng)
            {
                tracing::info!(node = member.name, addr = %member.addr, "attempting reconnect");
                self.reconnect = Some(member.addr);
                self.stats.reconnects += 1;
            }
        }
        if now >= self.queue_check_at {
            self.queue_check_at = now + QUEUE_CHECK;
            let depth = self.queue_depth();
            let queues = [&mut self.queues.intents, &mut self.queues.queries, &mut self.queues.events];
            self.stats.dropped += queues.map(|queue| queue.prune(depth) as u64).iter().sum::<u64>();
        }
        self.end_queries(cx);
        for event in self.coalescer.flush(now) {
            Self::give_out(cx, event, true);
        }
        self.journal.tick(self.heard(), now, cx.out);
    }

    /// After every step: the clocks may have to be written, and the snapshot may have grown too long.
    pub(super) fn keep_journal(&mut self, now: Moment, out: &mut crate::gossip::Outputs) {
        self.journal.watch(self.heard(), now);
        if self.journal.is_long(self.roster.len()) {
            let heard = self.heard();
            let alive = self
                .roster
                .members()
                .filter(|member| matches!(member.status, Status::Alive | Status::Leaving));
            self.journal.rewrite(alive.map(|member| (member.name.as_str(), member.addr)), heard, out);
        }
    }

    /// How many messages may wait in a queue.
    fn queue_depth(&self) -> usize {
        self.config.queue_depth.max(2 * self.roster.len())
    }

    /// Queues a message for everybody; `None` if it could never be sent.
    pub(super) fn spread(&mut self, urgency: Urgency, message: Bytes) -> Option<BroadcastId> {
        if message.len() >= self.packet_size {
            self.stats.dropped += 1;
            return None;
        }
        let depth = self.queue_depth();
        let queue = match urgency {
            Urgency::Intent => &mut self.queues.intents,
            Urgency::Query => &mut self.queues.queries,
            Urgency::Event => &mut self.queues.events,
        };
        let id = queue.push(None, message);
        // Pruned at an interval; a flood is not let grow until then.
        if queue.len() > 2 * depth {
            self.stats.dropped += queue.prune(depth) as u64;
        }
        Some(id)
    }

    /// Tells operators, but not the same thing again and again; `about` says what is the same.
    pub(super) fn warn(&mut self, cx: &mut Context<'_>, about: &str, event: Event) {
        let now = cx.now;
        if self.warned.len() >= WARNINGS {
            self.warned.retain(|_, at| now.since(*at) < WARNING_INTERVAL);
        }
        let fresh = self.warned.get(about).is_none_or(|at| now.since(*at) >= WARNING_INTERVAL);
        if fresh && (self.warned.len() < WARNINGS || self.warned.contains_key(about)) {
            self.warned.insert(about.to_owned(), now);
            cx.out.events.push(event);
        }
    }

    /// A message for this layer; whether it was heard from SWIM or from this member itself.
    fn hear(&mut self, cx: &mut Context<'_>, bytes: &[u8]) {
        let message = match SerfMessage::decode(bytes) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(%error, "a user message could not be read");
                self.stats.malformed += 1;
                return;
            }
        };
        let (urgency, pass_on) = match message {
            SerfMessage::Leave(leave) => (Urgency::Intent, self.hear_leave(cx, &leave)),
            SerfMessage::Join(join) => (Urgency::Intent, self.hear_join(cx, &join)),
            SerfMessage::UserEvent(event) => (Urgency::Event, self.hear_event(cx, &event)),
            SerfMessage::Query(query) => (Urgency::Query, self.hear_query(cx, &query)),
            SerfMessage::QueryResponse(response) => return self.hear_response(cx, &response),
            SerfMessage::Relay(relay) => return self.pass_on(cx, &relay),
            SerfMessage::State(_) => {
                self.stats.malformed += 1;
                return;
            }
        };
        if pass_on {
            self.spread(urgency, Bytes::copy_from_slice(bytes));
        }
    }

    /// Everything of a full exchange that is not SWIM's.
    fn merge(&mut self, cx: &mut Context<'_>, state: &SerfState<'_>, join: bool) {
        self.clock.witness(state.ltime.saturating_sub(1));
        self.event_clock.witness(state.event_ltime.saturating_sub(1));
        self.query_clock.witness(state.query_ltime.saturating_sub(1));
        let left: std::collections::BTreeSet<&[u8]> = state.left_members.iter().copied().collect();
        // Goodbyes first, as everybody does it: the order decides which times the clock goes through.
        for (name, ltime) in &state.status_ltimes {
            if left.contains(name) {
                self.merge_left(cx, name, *ltime);
            }
        }
        for (name, ltime) in &state.status_ltimes {
            if !left.contains(name) {
                self.merge_join(cx, name, *ltime);
            }
        }
        if join
            && self.joining > 0
            && self.config.ignore_old_events
            && state.event_ltime <= self.event_clock.time()
        {
            self.events.raise_minimum(state.event_ltime);
        }
        for stored in &state.events {
            for event in &stored.events {
                self.merge_event(cx, stored.ltime, event);
            }
        }
    }
}

/// A member as SWIM describes it; `None` if its name is no text.
pub(super) fn describe(node: &Node) -> Option<Member> {
    Some(Member {
        name: std::str::from_utf8(node.name.as_bytes()).ok()?.to_owned(),
        addr: node.addr,
        tags: Arc::new(decode_tags(&node.meta).unwrap_or_default()),
        status: Status::Alive,
        versions: node.versions.unwrap_or_default(),
    })
}

impl Delegate for Layer {
    fn user_message(&mut self, cx: &mut Context<'_>, _from: SocketAddr, bytes: &[u8]) {
        self.hear(cx, bytes);
    }

    fn has_broadcasts(&self) -> bool {
        let Queues { intents, queries, events } = &self.queues;
        !(intents.is_empty() && queries.is_empty() && events.is_empty())
    }

    fn broadcasts(&mut self, members: usize, sink: &mut dyn Sink) {
        let times = transmits(self.retransmit_mult, members);
        let Queues { intents, queries, events } = &mut self.queues;
        for queue in [intents, queries, events] {
            queue.give(times, sink);
        }
    }

    fn local_state(&mut self, _join: bool, out: &mut Vec<u8>) {
        let events = self.events.iter().map(|(ltime, row)| StoredEvents {
            ltime,
            events: row
                .iter()
                .map(|event| StoredEvent { name: event.name(), payload: event.payload() })
                .collect(),
        });
        let left = self.roster.members().filter(|member| member.status == Status::Left);
        SerfState {
            ltime: self.clock.time(),
            status_ltimes: self
                .roster
                .times()
                .map(|(member, ltime)| (member.name.as_bytes(), ltime))
                .collect(),
            left_members: left.map(|member| member.name.as_bytes()).collect(),
            event_ltime: self.event_clock.time(),
            events: events.collect(),
            event_slots: EVENT_SLOTS,
            query_ltime: self.query_clock.time(),
        }
        .encode(out);
    }

    fn merge_state(&mut self, cx: &mut Context<'_>, bytes: &[u8], join: bool) {
        match SerfMessage::decode(bytes) {
            Ok(SerfMessage::State(state)) => self.merge(cx, &state, join),
            Ok(_) | Err(_) => self.stats.malformed += 1,
        }
    }

    fn ack_payload(&mut self, out: &mut Vec<u8>) {
        if self.config.coordinates {
            encode_ack_payload(self.vivaldi.place(), out);
        }
    }

    fn acked(&mut self, cx: &mut Context<'_>, node: &Arc<Node>, rtt: Duration, payload: &[u8]) {
        if !self.config.coordinates {
            return;
        }
        let Ok(name) = std::str::from_utf8(node.name.as_bytes()) else { return };
        let learnt = match decode_ack_payload(payload) {
            Ok(Some(place)) => self.vivaldi.observe(name, &place, rtt, cx.rng).is_ok(),
            Ok(None) => payload.is_empty(),
            Err(_) => false,
        };
        if !learnt {
            self.stats.bad_coordinates += 1;
        }
    }

    fn joined(&mut self, cx: &mut Context<'_>, entry: &Entry) {
        self.member_lives(cx, entry);
    }

    fn left(&mut self, cx: &mut Context<'_>, entry: &Entry) {
        self.member_gone(cx, entry);
    }

    fn updated(&mut self, cx: &mut Context<'_>, entry: &Entry) {
        self.member_updated(cx, entry);
    }

    fn conflict(&mut self, cx: &mut Context<'_>, existing: &Node, other: SocketAddr) {
        self.stats.conflicts += 1;
        let name = existing.name.to_string();
        let about = format!("conflict {name}");
        self.warn(cx, &about, Event::Conflict { name, existing: existing.addr, other });
    }

    fn admit(&mut self, cx: &mut Context<'_>, alive: &Alive<'_>) -> Result<(), String> {
        let name = String::from_utf8_lossy(alive.node).into_owned();
        let admitted = match (std::str::from_utf8(alive.node), alive.addr) {
            (Ok(_), Some(addr)) => {
                let candidate = Member {
                    name: name.clone(),
                    addr,
                    tags: Arc::new(decode_tags(alive.meta).unwrap_or_default()),
                    status: Status::Alive,
                    versions: alive.versions.unwrap_or_default(),
                };
                self.admission.admit(&candidate, &mut self.roster.members().map(|member| &**member))
            }
            (Err(_), _) => Err("its name is not UTF-8".to_owned()),
            (_, None) => Err("it has no address".to_owned()),
        };
        if let Err(reason) = &admitted {
            self.stats.refused += 1;
            let text = format!("ignoring alive message for '{name}': {reason}");
            self.warn(cx, &format!("refused {name}"), Event::Warning(text));
        }
        admitted
    }

    fn admit_all(&mut self, cx: &mut Context<'_>, nodes: &[PushPullNode]) -> Result<(), String> {
        let mut candidates = Vec::with_capacity(nodes.len());
        for node in nodes {
            // One that cannot be a member is refused by itself when its news is merged.
            let (Ok(name), Some(addr)) = (std::str::from_utf8(&node.name), node.addr) else { continue };
            candidates.push(Member {
                name: name.to_owned(),
                addr,
                tags: Arc::new(decode_tags(&node.meta).unwrap_or_default()),
                status: match node.state {
                    NodeState::Alive | NodeState::Suspect => Status::Alive,
                    NodeState::Dead => Status::Failed,
                    NodeState::Left => Status::Left,
                },
                versions: node.versions.unwrap_or_default(),
            });
        }
        let members: Vec<&Member> = self.roster.members().map(|member| &**member).collect();
        let admitted = self.admission.admit_all(&candidates, &members);
        if let Err(reason) = &admitted {
            self.stats.refused += 1;
            self.warn(cx, "refused merge", Event::Warning(format!("merge refused: {reason}")));
        }
        admitted
    }
}
