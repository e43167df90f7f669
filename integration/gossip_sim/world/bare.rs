//! SWIM alone, with just enough above it to spread numbered messages: small, for worlds of thousands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use tribune::gossip::config::SwimConfig;
use tribune::gossip::swim::broadcast::Queue;
use tribune::gossip::swim::{
    Context, Delegate, Entry, JoinKind, Name, Node, Sink, Swim, SwimSetup, Table, transmits,
};
use tribune::gossip::wire::{
    Alive, Crypto, NodeState, OUR_VERSIONS, PushPullNode, StreamMessage, StreamReader,
};
use tribune::gossip::{ExchangeError, ExchangeId, Moment, Outputs, StreamId};

use super::host::{Host, Note, addr, name, numbered};

/// What members say of themselves: as long as the tags of a Consul client.
const META: &[u8] = &[0x61; 120];

/// The layer above: spreads messages that begin with their number, each once.
#[derive(Debug)]
pub struct Crier {
    heard: Vec<u32>,
    queue: Queue,
    retransmit_mult: u32,
    notes: Vec<Note>,
    /// Whether members are only learnt, as at the beginning of the world.
    learning: bool,
}

impl Crier {
    fn hear(&mut self, message: &[u8]) {
        let Some(number) = message.first_chunk() else { return };
        let number = u32::from_le_bytes(*number);
        if !self.heard.contains(&number) {
            self.heard.push(number);
            self.queue.push(None, Bytes::copy_from_slice(message));
            self.notes.push(Note::Heard(number as usize));
        }
    }
}

impl Delegate for Crier {
    fn user_message(&mut self, _: &mut Context<'_>, _: SocketAddr, bytes: &[u8]) {
        self.hear(bytes);
    }

    fn has_broadcasts(&self) -> bool {
        !self.queue.is_empty()
    }

    fn broadcasts(&mut self, members: usize, sink: &mut dyn Sink) {
        self.queue.give(transmits(self.retransmit_mult, members), sink);
    }

    fn local_state(&mut self, _: bool, _: &mut Vec<u8>) {}

    fn merge_state(&mut self, _: &mut Context<'_>, _: &[u8], _: bool) {}

    fn ack_payload(&mut self, _: &mut Vec<u8>) {}

    fn acked(&mut self, _: &mut Context<'_>, _: &Arc<Node>, _: Duration, _: &[u8]) {}

    fn joined(&mut self, _: &mut Context<'_>, entry: &Entry) {
        if !self.learning {
            self.notes.push(Note::Joined(numbered(entry.node.name.as_bytes())));
        }
    }

    fn left(&mut self, _: &mut Context<'_>, entry: &Entry) {
        let member = numbered(entry.node.name.as_bytes());
        let left = entry.state == NodeState::Left;
        self.notes.push(if left { Note::Left(member) } else { Note::Failed(member) });
    }

    fn updated(&mut self, _: &mut Context<'_>, entry: &Entry) {
        self.notes.push(Note::Updated(numbered(entry.node.name.as_bytes())));
    }

    fn conflict(&mut self, _: &mut Context<'_>, _: &Node, _: SocketAddr) {}

    fn admit(&mut self, _: &mut Context<'_>, _: &Alive<'_>) -> Result<(), String> {
        Ok(())
    }

    fn admit_all(&mut self, _: &mut Context<'_>, _: &[PushPullNode]) -> Result<(), String> {
        Ok(())
    }
}

/// A member without the Serf layer.
pub struct Bare {
    pub swim: Swim,
    crier: Crier,
}

impl Bare {
    /// A member that knows those of `table` already.
    pub fn new(
        node: usize,
        config: &SwimConfig,
        crypto: Crypto,
        table: &Table,
        seed: u64,
        now: Moment,
    ) -> Self {
        let setup = SwimSetup {
            name: Name::from(name(node).as_str()),
            addr: addr(node),
            meta: Bytes::from_static(META),
            versions: OUR_VERSIONS,
            config: config.clone(),
            crypto,
            rng: ChaCha12Rng::seed_from_u64(seed),
        };
        let mut swim = Swim::new(setup, now).expect("the setup is valid");
        let mut crier = Crier {
            heard: Vec::new(),
            queue: Queue::new(seed),
            retransmit_mult: config.retransmit_mult,
            notes: Vec::new(),
            learning: true,
        };
        swim.preload(now, table, &mut crier, &mut Outputs::default());
        crier.learning = false;
        Self { swim, crier }
    }

    /// Tells everybody a message of so many bytes.
    pub fn cry(&mut self, number: u32, size: usize) {
        let mut message = number.to_le_bytes().to_vec();
        message.resize(size.max(4), 0x2a);
        self.crier.hear(&message);
    }

    /// Joins the pool of the member at this address.
    pub fn join(&mut self, now: Moment, to: SocketAddr, out: &mut Outputs) {
        self.swim.join(now, JoinKind(0), to, &mut self.crier, out);
    }

    /// Whether it has nothing to tell.
    pub fn is_quiet(&self) -> bool {
        self.swim.queued() == 0 && self.crier.queue.is_empty()
    }

    fn tick_if_due(&mut self, now: Moment, out: &mut Outputs) {
        if self.swim.deadline(&self.crier) <= now {
            self.swim.tick(now, &mut self.crier, out);
        }
    }
}

/// The table of a pool of so many members, all alive: what [`Bare::new`] starts from.
pub fn formed(nodes: usize) -> Table {
    let mut table = Table::new(7);
    for node in 0..nodes {
        table.insert(Entry {
            node: Arc::new(Node {
                name: Name::from(name(node).as_str()),
                addr: addr(node),
                meta: Bytes::from_static(META),
                versions: Some(OUR_VERSIONS),
            }),
            incarnation: 1,
            state: NodeState::Alive,
            changed: Moment(0),
        });
    }
    table
}

impl Host for Bare {
    fn packet(&mut self, now: Moment, from: SocketAddr, data: &mut [u8], out: &mut Outputs) {
        self.swim.packet(now, from, data, &mut self.crier, out);
        self.tick_if_due(now, out);
    }

    fn request(
        &mut self,
        now: Moment,
        stream: StreamId,
        from: SocketAddr,
        message: StreamMessage,
        out: &mut Outputs,
    ) {
        self.swim.request(now, stream, from, message, &mut self.crier, out);
        self.tick_if_due(now, out);
    }

    fn answer(
        &mut self,
        now: Moment,
        exchange: ExchangeId,
        result: Result<StreamMessage, ExchangeError>,
        out: &mut Outputs,
    ) {
        let _ = self.swim.answer(now, exchange, result, &mut self.crier, out);
        self.tick_if_due(now, out);
    }

    fn tick(&mut self, now: Moment, out: &mut Outputs) {
        self.swim.tick(now, &mut self.crier, out);
    }

    fn deadline(&self) -> Moment {
        self.swim.deadline(&self.crier)
    }

    fn stream_reader(&self) -> StreamReader {
        self.swim.stream_reader()
    }

    fn table(&self) -> &Table {
        self.swim.table()
    }

    fn take_notes(&mut self, _: &mut Outputs, notes: &mut Vec<Note>) {
        notes.append(&mut self.crier.notes);
    }
}
