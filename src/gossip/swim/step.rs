//! What the rules work on: the state of a member, and a call in progress.
//!
//! A [`Step`] ties the state, the moment, the layer above and the outputs together for as long as a call
//! lasts. The rules are its methods, in a file for each duty: news of members (`rules`), failure detection
//! (`probing`), streams (`exchange`) and what leaves (`spread`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;

use super::awareness::Awareness;
use super::broadcast::{BroadcastId, Queue};
use super::delegate::{Context, Delegate};
use super::exchange::Purpose;
use super::probing::{Doubts, Probe, Relays};
use super::schedule::{ProbeOrder, Ticker, push_pull_interval};
use super::stats::Stats;
use super::suspicion::{Suspicions, Terms};
use super::table::{Entry, Name, Node, Table};
use crate::gossip::config::SwimConfig;
use crate::gossip::effect::{ExchangeId, Outputs};
use crate::gossip::time::Moment;
use crate::gossip::wire::{Alive, Crypto, Message, PacketWriter};

/// Where this member lies in the table: it comes first and is never removed.
pub(super) const SELF: u32 = 0;

/// A goodbye.
pub(super) struct Leaving {
    pub(super) until: Moment,
    pub(super) broadcast: Option<BroadcastId>,
    pub(super) done: bool,
}

/// All that the rules work on.
pub(super) struct State {
    pub(super) config: SwimConfig,
    pub(super) table: Table,
    /// This member: a copy of what is in the table.
    pub(super) me: Entry,
    pub(super) queue: Queue,
    pub(super) suspicions: Suspicions,
    pub(super) awareness: Awareness,
    pub(super) order: ProbeOrder,
    pub(super) doubts: Doubts,
    pub(super) probe: Option<Probe>,
    pub(super) relays: Relays,
    pub(super) exchanges: BTreeMap<ExchangeId, Purpose>,
    pub(super) next_exchange: u64,
    /// The last sequence number used.
    pub(super) seq: u32,
    pub(super) probe_ticks: Ticker,
    pub(super) gossip_ticks: Ticker,
    pub(super) push_pull_at: Moment,
    /// Whether there was something to spread when the last step ended.
    pub(super) spreading: bool,
    pub(super) leaving: Option<Leaving>,
    /// Whether members heard of just now are no news to anybody else.
    pub(super) newcomer: bool,
    pub(super) rng: ChaCha12Rng,
    pub(super) writer: PacketWriter,
    pub(super) direct: Vec<(SocketAddr, Vec<u8>)>,
    pub(super) scratch: Vec<u8>,
    pub(super) stats: Stats,
}

/// A call in progress.
pub(super) struct Step<'a, D> {
    pub(super) now: Moment,
    pub(super) state: &'a mut State,
    pub(super) crypto: &'a Crypto,
    pub(super) delegate: &'a mut D,
    pub(super) out: &'a mut Outputs,
}

impl State {
    /// Gossip ticks that nobody needed are passed over, so that news waits for the next one on the grid.
    pub(super) fn enter(&mut self, now: Moment) {
        if !self.spreading {
            self.gossip_ticks.skip(now);
        }
    }

    /// Queues news of this member as it is.
    pub(super) fn announce(&mut self) {
        let Node { name, addr, meta, versions } = &*self.me.node;
        let alive = Alive {
            incarnation: self.me.incarnation,
            node: name.as_bytes(),
            addr: Some(*addr),
            meta,
            versions: *versions,
        };
        self.scratch.clear();
        Message::Alive(alive).encode(&mut self.scratch);
        self.queue.push(Some(name.clone()), Bytes::copy_from_slice(&self.scratch));
    }

    /// Queues news of a member; older news of it that still waits is dropped.
    pub(super) fn broadcast(&mut self, name: &Name, message: &Message<'_>) -> BroadcastId {
        self.scratch.clear();
        message.encode(&mut self.scratch);
        self.queue.push(Some(name.clone()), Bytes::copy_from_slice(&self.scratch))
    }

    /// Changes a member, this one included.
    pub(super) fn change(&mut self, place: u32, change: impl FnOnce(&mut Entry)) {
        self.table.update(place, change);
        if place == SELF
            && let Some(entry) = self.table.at(SELF)
        {
            self.me = entry.clone();
        }
    }

    /// Adds a member.
    pub(super) fn add(&mut self, entry: Entry) -> Option<u32> {
        let place = self.table.insert(entry)?;
        self.order.insert(place, &mut self.rng);
        Some(place)
    }

    /// How long suspicions last now.
    pub(super) fn terms(&self) -> Terms {
        Terms::new(&self.config, self.table.len())
    }

    pub(super) fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    pub(super) fn next_push_pull(&self, now: Moment) -> Moment {
        match self.config.push_pull_interval {
            Duration::ZERO => Moment::NEVER,
            interval => now + push_pull_interval(interval, self.table.len()),
        }
    }
}

impl<D: Delegate> Step<'_, D> {
    /// Calls the layer above.
    pub(super) fn call<R>(&mut self, f: impl FnOnce(&mut D, &mut Context<'_>) -> R) -> R {
        let State { table, rng, direct, .. } = &mut *self.state;
        let mut context = Context { now: self.now, table, rng, out: self.out, direct };
        f(self.delegate, &mut context)
    }

    /// Calls the layer above about a member.
    pub(super) fn tell(&mut self, place: u32, f: impl FnOnce(&mut D, &mut Context<'_>, &Entry)) {
        self.call(|delegate, context| {
            let table = context.table;
            if let Some(entry) = table.at(place) {
                f(delegate, context, entry);
            }
        });
    }

    /// A message of a datagram.
    pub(super) fn message(&mut self, from: SocketAddr, message: Message<'_>) {
        self.state.stats.messages_in += 1;
        match message {
            Message::Ping(ping) => self.ping(from, &ping),
            Message::IndirectPing(ping) => self.indirect_ping(from, &ping),
            Message::Ack(ack) => self.ack(&ack),
            Message::Nack(seq) => self.nack(seq),
            Message::Suspect(claim) => self.suspect(&claim),
            Message::Alive(alive) => self.alive(&alive),
            Message::Dead(claim) => self.dead(&claim),
            Message::User(bytes) => self.call(|d, cx| d.user_message(cx, from, bytes)),
        }
    }

    /// Ends the call: sends what the layer above wants sent, and looks whether the goodbye is over.
    pub(super) fn finish(mut self) {
        if !self.state.direct.is_empty() {
            let mut direct = std::mem::take(&mut self.state.direct);
            for (to, bytes) in direct.drain(..) {
                self.state.send_user(self.crypto, to, &bytes, self.out);
            }
            self.state.direct = direct;
        }
        self.end_goodbye();
        self.state.spreading = !self.state.queue.is_empty() || self.delegate.has_broadcasts();
    }
}
