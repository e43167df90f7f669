//! One member that hears what the test says.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::{address, config, tags};
use crate::gossip::effect::{Command, Done, Event, Everybody, Input, Outputs, StreamId, Ticket};
use crate::gossip::serf::{Pool, Status};
use crate::gossip::wire::serf::{EVENT_SLOTS, Join, Leave, Query, SerfMessage, SerfState, encode_tags};
use crate::gossip::wire::{Alive, Claim, Message, OUR_VERSIONS, PushPull, StreamMessage};
use crate::gossip::{Moment, PoolConfig};

/// Type byte of a user message.
pub(super) const USER: u8 = 8;

/// `n0`, and what the others are made to say.
pub(super) struct Solo {
    pub(super) pool: Pool,
    pub(super) now: Moment,
    pub(super) out: Outputs,
}

impl Solo {
    pub(super) fn new() -> Self {
        Self::of(config(0))
    }

    pub(super) fn of(config: PoolConfig) -> Self {
        let pool = Pool::new(config, Box::new(Everybody), Moment(0)).unwrap();
        let mut solo = Self { pool, now: Moment(0), out: Outputs::default() };
        solo.step(Input::Tick);
        solo.out.events.clear();
        solo
    }

    /// With members `n1` to `n3`.
    pub(super) fn with_others() -> Self {
        let mut solo = Self::new();
        (1..4).for_each(|n| solo.alive(n, 1));
        solo.out.clear();
        solo
    }

    pub(super) fn step(&mut self, input: Input<'_>) {
        self.pool.step(self.now, input, &mut self.out);
    }

    pub(super) fn packet(&mut self, bytes: &[u8]) {
        let mut data = bytes.to_vec();
        self.step(Input::Packet { from: address(9), data: &mut data });
    }

    pub(super) fn say(&mut self, message: &SerfMessage<'_>) {
        let mut bytes = vec![USER];
        message.encode(&mut bytes);
        self.packet(&bytes);
    }

    pub(super) fn swim(&mut self, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.packet(&bytes);
    }

    pub(super) fn alive(&mut self, n: u8, incarnation: u32) {
        let (name, mut meta) = (format!("n{n}"), Vec::new());
        encode_tags(&tags(&[("role", "node")]), &mut meta).unwrap();
        self.swim(&Message::Alive(Alive {
            incarnation,
            node: name.as_bytes(),
            addr: Some(address(n)),
            meta: &meta,
            versions: Some(OUR_VERSIONS),
        }));
    }

    pub(super) fn dead(&mut self, n: u8, from: &str) {
        let name = format!("n{n}");
        self.swim(&Message::Dead(Claim { incarnation: 1, node: name.as_bytes(), from: from.as_bytes() }));
    }

    pub(super) fn join(&mut self, name: &str, ltime: u64) {
        self.say(&SerfMessage::Join(Join { ltime, node: name.as_bytes() }));
    }

    pub(super) fn leave(&mut self, name: &str, ltime: u64) {
        self.say(&SerfMessage::Leave(Leave { ltime, node: name.as_bytes(), prune: false }));
    }

    pub(super) fn prune(&mut self, name: &str, ltime: u64) {
        self.say(&SerfMessage::Leave(Leave { ltime, node: name.as_bytes(), prune: true }));
    }

    pub(super) fn command(&mut self, command: Command) -> Option<Done> {
        self.step(Input::Command(Ticket(1), command));
        self.out.done.pop().map(|(_, result)| result.unwrap())
    }

    /// Lets time pass, doing what is due.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.pool.deadline() <= end {
            self.now = self.now.max(self.pool.deadline());
            self.step(Input::Tick);
        }
        self.now = end;
    }

    pub(super) fn status(&self, n: u8) -> Option<Status> {
        self.pool.member(&format!("n{n}")).map(|member| member.status)
    }

    pub(super) fn intents(&self) -> usize {
        self.pool.queued()[1]
    }

    /// A full exchange with this part of Serf's, of somebody that joins or not.
    pub(super) fn exchange(&mut self, state: &SerfState<'_>, join: bool) {
        let mut user_state = Vec::new();
        state.encode(&mut user_state);
        let message = StreamMessage::PushPull(PushPull {
            join,
            nodes: Vec::new(),
            user_state: Bytes::from(user_state),
        });
        self.step(Input::Request { stream: StreamId(1), from: address(9), message });
        assert_eq!(self.out.replies.len(), 1);
        self.out.replies.clear();
    }

    /// The answers to queries that went out, and to whom.
    pub(super) fn sent(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let user = |(to, bytes): (SocketAddr, &[u8])| {
            bytes.strip_prefix(&[USER]).map(|message| (to, message.to_vec()))
        };
        let sent = self.out.packets.iter().filter_map(user).collect();
        self.out.packets.clear();
        sent
    }
}

pub(super) fn state<'a>(times: &[(&'a str, u64)], left: &[&'a str]) -> SerfState<'a> {
    SerfState {
        ltime: 1,
        status_ltimes: times.iter().map(|(name, ltime)| (name.as_bytes(), *ltime)).collect(),
        left_members: left.iter().map(|name| name.as_bytes()).collect(),
        event_ltime: 1,
        events: Vec::new(),
        event_slots: EVENT_SLOTS,
        query_ltime: 1,
    }
}

pub(super) fn names(events: &[Event]) -> Vec<String> {
    let name = |event: &Event| match event {
        Event::Joined(who) => format!("joined {} {:?}", who.name, who.status),
        Event::Failed(who) => format!("failed {}", who.name),
        Event::Left(who) => format!("left {}", who.name),
        Event::Reaped(who) => format!("reaped {}", who.name),
        Event::User { ltime, name, .. } => format!("user {name} {ltime}"),
        Event::Query { name, .. } => format!("query {name}"),
        other => format!("{other:?}"),
    };
    events.iter().map(name).collect()
}

pub(super) fn question(ltime: u64) -> Query<'static> {
    Query {
        ltime,
        id: 77,
        source: Some(address(1)),
        source_node: b"n1",
        filters: Vec::new(),
        flags: 0,
        relay_factor: 0,
        timeout: Duration::from_secs(3),
        name: b"who",
        payload: Some(b"?"),
    }
}
