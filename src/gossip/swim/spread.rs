//! How messages leave: datagrams with news piggybacked on them, and the gossip tick.

use std::net::SocketAddr;
use std::sync::Arc;

use super::broadcast::Queue;
use super::delegate::{Delegate, Sink};
use super::schedule::transmits;
use super::step::{State, Step};
use crate::gossip::effect::Outputs;
use crate::gossip::wire::{Crypto, Message, NodeState, PacketBuilder, Versions};

/// Type byte of a user message in a datagram.
const USER_HEADER: usize = 1;

/// Takes SWIM's own news into a packet.
struct News<'b, 'a>(&'b mut PacketBuilder<'a>);

impl Sink for News<'_, '_> {
    fn room(&self) -> usize {
        self.0.room()
    }

    fn push(&mut self, message: &[u8]) {
        self.0.push(message);
    }
}

/// Takes the layer above's news into a packet, each as a user message.
struct UserNews<'b, 'a>(&'b mut PacketBuilder<'a>);

impl Sink for UserNews<'_, '_> {
    fn room(&self) -> usize {
        self.0.room().saturating_sub(USER_HEADER)
    }

    fn push(&mut self, message: &[u8]) {
        self.0.user(message);
    }
}

/// Fills a packet with news, SWIM's own first.
fn fill<D: Delegate>(
    builder: &mut PacketBuilder<'_>,
    queue: &mut Queue,
    delegate: &mut D,
    mult: u32,
    members: usize,
) {
    if !queue.is_empty() {
        queue.give(transmits(mult, members), &mut News(builder));
    }
    if delegate.has_broadcasts() && builder.room() > USER_HEADER {
        delegate.broadcasts(members, &mut UserNews(builder));
    }
}

/// Whether a member of these versions reads checksums.
fn knows_checksums(versions: Option<Versions>) -> bool {
    versions.is_some_and(|[_, pmax, ..]| pmax >= 5)
}

impl State {
    /// Sends a user message, as a datagram of its own.
    pub(super) fn send_user(&mut self, crypto: &Crypto, to: SocketAddr, bytes: &[u8], out: &mut Outputs) {
        let Self { writer, rng, config, .. } = self;
        let mut size = 0;
        out.packets.push_with(to, |buffer, start| {
            let mut builder = writer.begin(buffer, config.packet_size, crypto);
            builder.user(bytes);
            builder.finish(false, config.compression, rng);
            size = buffer.len() - start;
        });
        self.count_out(size);
    }

    fn count_out(&mut self, size: usize) {
        self.stats.packets_out += u64::from(size > 0);
        self.stats.bytes_out += size as u64;
    }
}

impl<D: Delegate> Step<'_, D> {
    /// Sends a message and, in the same datagram, what news fits. Its receiver may be known by its address
    /// alone, so it goes without a checksum.
    pub(super) fn send(&mut self, to: SocketAddr, message: &Message<'_>) {
        let State { writer, queue, rng, config, table, .. } = &mut *self.state;
        let mut size = 0;
        self.out.packets.push_with(to, |buffer, start| {
            let mut builder = writer.begin(buffer, config.packet_size, self.crypto);
            builder.message(message);
            fill(&mut builder, queue, self.delegate, config.retransmit_mult, table.len());
            builder.finish(false, config.compression, rng);
            size = buffer.len() - start;
        });
        self.state.count_out(size);
    }

    /// Sends these messages and nothing else.
    pub(super) fn send_exactly(
        &mut self,
        to: SocketAddr,
        versions: Option<Versions>,
        messages: &[Message<'_>],
    ) {
        let State { writer, rng, config, .. } = &mut *self.state;
        let mut size = 0;
        self.out.packets.push_with(to, |buffer, start| {
            let mut builder = writer.begin(buffer, config.packet_size, self.crypto);
            for message in messages {
                builder.message(message);
            }
            builder.finish(knows_checksums(versions), config.compression, rng);
            size = buffer.len() - start;
        });
        self.state.count_out(size);
    }

    /// Tells a few random members the news, if there is any. The dead are told for a while: they may object.
    pub(super) fn gossip_tick(&mut self) {
        if !self.state.gossip_ticks.due(self.now)
            || (self.state.queue.is_empty() && !self.delegate.has_broadcasts())
        {
            return;
        }
        let State { writer, queue, rng, config, table, me, .. } = &mut *self.state;
        let (now, patience) = (self.now, config.gossip_to_the_dead);
        let places = table.pick(rng, config.gossip_nodes, |entry| match entry.state {
            NodeState::Alive | NodeState::Suspect => !Arc::ptr_eq(&entry.node, &me.node),
            NodeState::Dead => now.since(entry.changed) <= patience,
            NodeState::Left => false,
        });
        let (mut packets, mut bytes) = (0, 0);
        for place in places {
            let Some(entry) = table.at(place) else { continue };
            self.out.packets.push_with(entry.node.addr, |buffer, start| {
                let mut builder = writer.begin(buffer, config.packet_size, self.crypto);
                fill(&mut builder, queue, self.delegate, config.retransmit_mult, table.len());
                builder.finish(knows_checksums(entry.node.versions), config.compression, rng);
                packets += u64::from(buffer.len() > start);
                bytes += (buffer.len() - start) as u64;
            });
        }
        self.state.stats.packets_out += packets;
        self.state.stats.bytes_out += bytes;
    }
}
