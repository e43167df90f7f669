//! A member in a glass: what goes in and comes out as text.

mod hostile;
mod network;
mod probing;
mod rules;
mod streams;
mod transcripts;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use super::broadcast::Queue;
use super::*;
use crate::gossip::config::SwimConfig;
use crate::gossip::effect::Outputs;
use crate::gossip::time::Moment;
use crate::gossip::wire::{
    Alive, Claim, Crypto, Message, NodeState, OUR_VERSIONS, PacketReader, PacketWriter, PushPullNode,
};

/// A layer above that writes down what it is told.
struct Log {
    lines: Vec<String>,
    /// Names that are not welcome.
    unwelcome: BTreeSet<Vec<u8>>,
    queue: Queue,
    state: Vec<u8>,
    payload: Vec<u8>,
}

impl Default for Log {
    fn default() -> Self {
        let (lines, unwelcome, state, payload) = Default::default();
        Self { lines, unwelcome, queue: Queue::new(5), state, payload }
    }
}

impl Log {
    fn say(&mut self, line: String) {
        self.lines.push(line);
    }

    fn check(&self, name: &[u8]) -> Result<(), String> {
        if self.unwelcome.contains(name) {
            return Err(format!("{} is not welcome", String::from_utf8_lossy(name)));
        }
        Ok(())
    }
}

impl Delegate for Log {
    fn user_message(&mut self, _: &mut Context<'_>, _: SocketAddr, bytes: &[u8]) {
        let line = format!("user {}", bytes.escape_ascii());
        if !self.lines.contains(&line) {
            self.queue.push(None, Bytes::copy_from_slice(bytes));
        }
        self.say(line);
    }

    fn has_broadcasts(&self) -> bool {
        !self.queue.is_empty()
    }

    fn broadcasts(&mut self, members: usize, sink: &mut dyn Sink) {
        self.queue.give(transmits(4, members), sink);
    }

    fn local_state(&mut self, _: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.state);
    }

    fn merge_state(&mut self, _: &mut Context<'_>, bytes: &[u8], join: bool) {
        self.say(format!("merged {}{}", bytes.escape_ascii(), if join { " of a join" } else { "" }));
    }

    fn ack_payload(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.payload);
    }

    fn acked(&mut self, _: &mut Context<'_>, node: &Arc<Node>, rtt: Duration, payload: &[u8]) {
        self.say(
            format!("acked {} after {rtt:?} {}", node.name, payload.escape_ascii()).trim_end().to_owned(),
        );
    }

    fn joined(&mut self, _: &mut Context<'_>, entry: &Entry) {
        self.say(format!("joined {} {}", entry.node.name, entry.node.addr));
    }

    fn left(&mut self, _: &mut Context<'_>, entry: &Entry) {
        self.say(format!("left {} {:?}", entry.node.name, entry.state));
    }

    fn updated(&mut self, _: &mut Context<'_>, entry: &Entry) {
        self.say(format!("updated {} {}", entry.node.name, entry.node.meta.escape_ascii()));
    }

    fn conflict(&mut self, _: &mut Context<'_>, existing: &Node, other: SocketAddr) {
        self.say(format!("conflict {} {} {other}", existing.name, existing.addr));
    }

    fn admit(&mut self, _: &mut Context<'_>, alive: &Alive<'_>) -> Result<(), String> {
        self.check(alive.node)
    }

    fn admit_all(&mut self, _: &mut Context<'_>, nodes: &[PushPullNode]) -> Result<(), String> {
        nodes.iter().try_for_each(|node| self.check(&node.name))
    }
}

/// One member, its layer above and its clock.
struct Lab {
    swim: Swim,
    log: Log,
    out: Outputs,
    now: Moment,
    /// The last sequence number before the first one.
    seq: u32,
}

/// The address of a member by its number.
fn addr(number: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], number))
}

/// News that `n<number>` lives.
fn alive(name: &str, number: u16, incarnation: u32) -> Message<'_> {
    Message::Alive(Alive {
        incarnation,
        node: name.as_bytes(),
        addr: Some(addr(number)),
        meta: b"",
        versions: Some(OUR_VERSIONS),
    })
}

fn suspect<'a>(node: &'a str, incarnation: u32, from: &'a str) -> Message<'a> {
    Message::Suspect(Claim { incarnation, node: node.as_bytes(), from: from.as_bytes() })
}

fn dead<'a>(node: &'a str, incarnation: u32, from: &'a str) -> Message<'a> {
    Message::Dead(Claim { incarnation, node: node.as_bytes(), from: from.as_bytes() })
}

fn setup(name: &str, number: u16, seed: u64, config: SwimConfig) -> SwimSetup {
    SwimSetup {
        name: Name::from(name),
        addr: addr(number),
        meta: Bytes::new(),
        versions: OUR_VERSIONS,
        config,
        crypto: Crypto::plain(),
        rng: ChaCha12Rng::seed_from_u64(seed),
    }
}

impl Lab {
    /// `me` at port 1, with the LAN profile and Consul's reclaim time.
    fn new() -> Self {
        Self::with(SwimConfig { dead_node_reclaim: Duration::from_secs(30), ..SwimConfig::lan() })
    }

    fn with(config: SwimConfig) -> Self {
        let now = Moment(1_000_000_000);
        let swim = Swim::new(setup("me", 1, 1, config), now).unwrap();
        let seq = swim.state.seq;
        Self { swim, log: Log::default(), out: Outputs::default(), now, seq }
    }

    /// A packet of these messages arrives from port 9.
    fn hear(&mut self, messages: &[Message<'_>]) {
        let mut packet = Vec::new();
        let mut writer = PacketWriter::default();
        let crypto = Crypto::plain();
        let mut builder = writer.begin(&mut packet, 60_000, &crypto);
        for message in messages {
            assert!(builder.message(message));
        }
        builder.finish(false, false, &mut ChaCha12Rng::seed_from_u64(0));
        self.swim.packet(self.now, addr(9), &mut packet, &mut self.log, &mut self.out);
    }

    /// Time passes; what is due is done when it is due.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let deadline = self.swim.deadline(&self.log);
            if deadline > end {
                break;
            }
            self.now = self.now.max(deadline);
            self.swim.tick(self.now, &mut self.log, &mut self.out);
        }
        self.now = end;
    }

    /// What the layer above was told since it was last asked.
    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log.lines)
    }

    /// The packets since it was last asked, as text.
    fn sent(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for (to, bytes) in self.out.packets.iter() {
            let mut line = format!("{}:", to.port());
            if bytes.first() == Some(&12) {
                line += " crc";
            }
            let mut reader = PacketReader::default();
            let show = |message: Message<'_>| write!(line, " [{}]", self.show(&message)).unwrap();
            reader.read(&mut bytes.to_vec(), &Crypto::plain(), show).unwrap();
            lines.push(line);
        }
        self.out.packets.clear();
        lines
    }

    /// What waits to be spread, without its waiting less.
    fn queued(&mut self) -> Vec<String> {
        struct All(Vec<Vec<u8>>);
        impl Sink for All {
            fn room(&self) -> usize {
                10_000
            }
            fn push(&mut self, message: &[u8]) {
                self.0.push(message.to_vec());
            }
        }
        let mut all = All(Vec::new());
        self.swim.state.queue.give(u32::MAX, &mut all);
        all.0.iter().map(|bytes| self.show(&Message::decode(bytes).unwrap())).collect()
    }

    /// Forgets what waits to be spread and what was said so far.
    fn quiet(&mut self) {
        self.swim.state.queue.prune(0);
        self.swim.state.spreading = false;
        self.out.clear();
        self.log.lines.clear();
    }

    fn show(&self, message: &Message<'_>) -> String {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let number = |seq: u32| match seq.wrapping_sub(self.seq) {
            own @ 0..1_000 => format!("#{own}"),
            _ => seq.to_string(),
        };
        match message {
            Message::Ping(ping) => format!("ping {} {}", number(ping.seq), text(ping.node)),
            Message::IndirectPing(ping) => {
                let nack = if ping.nack { " or nack" } else { "" };
                format!("indirect {} {} at {}{nack}", number(ping.seq), text(ping.node), ping.target.port())
            }
            Message::Ack(ack) => match ack.payload {
                Some(payload) => format!("ack {} {}", number(ack.seq), text(payload)),
                None => format!("ack {}", number(ack.seq)),
            },
            Message::Nack(seq) => format!("nack {}", number(*seq)),
            Message::Suspect(Claim { incarnation, node, from }) => {
                format!("suspect {} {incarnation} by {}", text(node), text(from))
            }
            Message::Alive(Alive { incarnation, node, addr, meta, .. }) => {
                let port = addr.map_or(0, |addr| addr.port());
                format!("alive {} {incarnation} at {port} {}", text(node), text(meta)).trim_end().to_owned()
            }
            Message::Dead(Claim { incarnation, node, from }) => {
                format!("dead {} {incarnation} by {}", text(node), text(from))
            }
            Message::User(bytes) => format!("user {}", text(bytes)),
        }
    }

    /// A member's state and incarnation.
    fn state(&self, name: &str) -> Option<(NodeState, u32)> {
        self.swim.table().get(name.as_bytes()).map(|entry| (entry.state, entry.incarnation))
    }

    /// Me and these others, all alive in incarnation 5 at ports 2, 3...
    fn among(others: &[&str]) -> Self {
        let mut lab = Self::new();
        lab.meet(others);
        lab
    }

    fn meet(&mut self, others: &[&str]) {
        for (name, number) in others.iter().zip(2..) {
            self.hear(&[alive(name, number, 5)]);
        }
        self.quiet();
    }
}
