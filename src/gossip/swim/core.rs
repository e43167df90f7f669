//! [`Swim`]: the outside of this room. Each call becomes a [`Step`], which does the work.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rand_chacha::ChaCha12Rng;

use super::awareness::Awareness;
use super::broadcast::Queue;
use super::delegate::{Context, Delegate};
use super::exchange::Purpose;
use super::probing::{Doubts, Relays};
use super::schedule::{ProbeOrder, Ticker, stagger};
use super::stats::Stats;
use super::step::{SELF, State, Step};
use super::suspicion::Suspicions;
use super::table::{Entry, Name, Node, Table};
use crate::gossip::config::{ConfigError, SwimConfig};
use crate::gossip::effect::{CommandError, ExchangeError, ExchangeId, Outputs, StreamId};
use crate::gossip::time::Moment;
use crate::gossip::wire::{
    Crypto, NodeState, PacketReader, PacketWriter, StreamMessage, StreamReader, Versions, WireError,
};

/// Longest name of a member, in bytes. memberlist has no limit; without one, strangers could fill the memory
/// with names. Consul's are host names, with a datacenter in the WAN.
pub const MAX_NAME: usize = 512;
/// Longest meta of a member, in bytes; the wire fixes it.
pub const MAX_META: usize = 512;
/// Most full exchanges that are served at the same time. The core serves each within one step, so it is the
/// host that counts streams and closes those beyond.
pub const MAX_SERVED: usize = 128;
/// What a join is for, in the caller's own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JoinKind(pub u64);

/// What a member is made from.
#[derive(Debug)]
pub struct SwimSetup {
    /// Its name, of 1 to [`MAX_NAME`] bytes.
    pub name: Name,
    /// Where others reach it.
    pub addr: SocketAddr,
    /// What it says of itself, at most [`MAX_META`] bytes.
    pub meta: Bytes,
    /// Versions; [`OUR_VERSIONS`](crate::gossip::wire::OUR_VERSIONS) but in tests.
    pub versions: Versions,
    /// The tunables.
    pub config: SwimConfig,
    /// Keys.
    pub crypto: Crypto,
    /// Chance.
    pub rng: ChaCha12Rng,
}

/// Why a member cannot be, or not be changed so. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwimError {
    /// The tunables.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A name must have 1 to [`MAX_NAME`] bytes.
    #[error("name has {0} bytes, must have 1 to {MAX_NAME}")]
    Name(usize),
    /// A meta may have [`MAX_META`] bytes.
    #[error("meta exceeds limit of {MAX_META} bytes")]
    Meta(usize),
}

/// One member of a pool.
///
/// All time comes in as `now`, which must not go backwards, and all chance from the generator it was given:
/// the same calls give the same outputs.
pub struct Swim {
    reader: PacketReader,
    crypto: Crypto,
    pub(super) state: State,
}

impl Swim {
    /// A member that is alone and known to itself only: the layer above is not told that it joined.
    ///
    /// # Errors
    /// See [`SwimError`].
    pub fn new(setup: SwimSetup, now: Moment) -> Result<Self, SwimError> {
        let SwimSetup { name, addr, meta, versions, config, crypto, mut rng } = setup;
        config.validate()?;
        let length = name.as_bytes().len();
        if length == 0 || length > MAX_NAME {
            return Err(SwimError::Name(length));
        }
        if meta.len() > MAX_META {
            return Err(SwimError::Meta(meta.len()));
        }
        let node = Arc::new(Node { name, addr, meta, versions: Some(versions) });
        let me = Entry { node, incarnation: 1, state: NodeState::Alive, changed: now };
        let mut table = Table::new(rng.next_u64());
        table.insert(me.clone());
        let mut order = ProbeOrder::default();
        order.insert(SELF, &mut rng);
        let push_pull_at = match config.push_pull_interval {
            Duration::ZERO => Moment::NEVER,
            interval => now + interval + stagger(interval, &mut rng),
        };
        let mut state = State {
            table,
            me,
            queue: Queue::new(rng.next_u64()),
            suspicions: Suspicions::new(rng.next_u64()),
            awareness: Awareness::new(config.awareness_max),
            order,
            doubts: Doubts::default(),
            probe: None,
            relays: Relays::default(),
            exchanges: BTreeMap::new(),
            next_exchange: 0,
            // So that answers to an earlier life of this address are not taken for answers to this one.
            seq: rng.next_u32(),
            probe_ticks: Ticker::new(now, config.probe_interval, &mut rng),
            gossip_ticks: Ticker::new(now, config.gossip_interval, &mut rng),
            push_pull_at,
            spreading: true,
            leaving: None,
            newcomer: false,
            writer: PacketWriter::default(),
            direct: Vec::new(),
            scratch: Vec::new(),
            stats: Stats::default(),
            config,
            rng,
        };
        state.announce();
        Ok(Self { reader: PacketReader::default(), crypto, state })
    }

    /// A datagram arrived. It is decrypted in place. Its messages are handled in their order.
    pub fn packet<D: Delegate>(
        &mut self,
        now: Moment,
        from: SocketAddr,
        data: &mut [u8],
        d: &mut D,
        out: &mut Outputs,
    ) {
        let Self { reader, crypto, state } = self;
        state.enter(now);
        state.stats.packets_in += 1;
        state.stats.bytes_in += data.len() as u64;
        let mut step = Step { now, state, crypto, delegate: d, out };
        let result = reader.read(data, crypto, |message| step.message(from, message));
        let stats = &mut step.state.stats;
        let error = match result {
            Ok(report) => {
                stats.malformed += report.malformed as u64;
                None
            }
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            tracing::debug!(%from, %error, "a packet could not be read");
            match error {
                WireError::Decrypt | WireError::NotEncrypted => stats.undecryptable += 1,
                WireError::Checksum { .. } => stats.bad_checksum += 1,
                WireError::UnknownType(_) => stats.unknown_type += 1,
                _ => stats.malformed += 1,
            }
        }
        step.finish();
    }

    /// A message arrived on a stream that another member opened. If it deserves an answer, that is among the
    /// replies.
    pub fn request<D: Delegate>(
        &mut self,
        now: Moment,
        stream: StreamId,
        from: SocketAddr,
        message: StreamMessage,
        d: &mut D,
        out: &mut Outputs,
    ) {
        self.step(now, d, out, |step| step.request(stream, from, message));
    }

    /// An exchange ended. If it was a join: which one, and how.
    pub fn answer<D: Delegate>(
        &mut self,
        now: Moment,
        exchange: ExchangeId,
        result: Result<StreamMessage, ExchangeError>,
        d: &mut D,
        out: &mut Outputs,
    ) -> Option<(JoinKind, Result<(), CommandError>)> {
        self.step(now, d, out, |step| step.answer(exchange, result))
    }

    /// Does whatever is due.
    pub fn tick<D: Delegate>(&mut self, now: Moment, d: &mut D, out: &mut Outputs) {
        self.step(now, d, out, |step| {
            step.bury_expired();
            step.expire_relays();
            step.probe_tick();
            step.push_pull_tick();
            step.gossip_tick();
        });
    }

    /// When [`Swim::tick`] is to be called at the latest. Moves with every call. While there is nothing to
    /// spread, neither here nor in the layer above, gossip ticks are left out.
    pub fn deadline<D: Delegate>(&self, d: &D) -> Moment {
        let state = &self.state;
        let probe = match &state.probe {
            Some(probe) => probe.deadline(),
            None if state.doubts.is_empty() => state.probe_ticks.next,
            None => Moment(0),
        };
        let mut deadline =
            probe.min(state.push_pull_at).min(state.suspicions.deadline()).min(state.relays.deadline());
        // Alone, news of itself stays queued for the first who comes.
        if state.table.len() > 1 && (!state.queue.is_empty() || d.has_broadcasts()) {
            deadline = deadline.min(state.gossip_ticks.next);
        }
        match &state.leaving {
            Some(leaving) if !leaving.done => deadline.min(leaving.until),
            _ => deadline,
        }
    }

    /// Members at this address may have died: they are probed out of turn, as soon as no probe is under way. Of many
    /// (they can share an address) only a few.
    pub fn doubt<D: Delegate>(&mut self, now: Moment, ip: IpAddr, d: &mut D, out: &mut Outputs) {
        self.step(now, d, out, |step| step.doubt(ip));
    }

    /// Starts to exchange everything with the member at this address.
    pub fn join<D: Delegate>(
        &mut self,
        now: Moment,
        kind: JoinKind,
        to: SocketAddr,
        d: &mut D,
        out: &mut Outputs,
    ) {
        self.step(now, d, out, |step| step.exchange(to, Purpose::Join(kind)));
    }

    /// Starts to say goodbye; it takes `timeout` at most. The layer above is told that this member left.
    /// The member goes on answering as long as it is called.
    pub fn leave<D: Delegate>(&mut self, now: Moment, timeout: Duration, d: &mut D, out: &mut Outputs) {
        self.step(now, d, out, |step| step.leave(timeout));
    }

    /// Whether the goodbye was sent as often as it should be, or took too long, or nobody is there to hear it.
    pub fn left(&self) -> bool {
        self.state.leaving.as_ref().is_some_and(|leaving| leaving.done)
    }

    /// Says something new of this member, as a new incarnation. The layer above is told that it was updated.
    ///
    /// # Errors
    /// [`SwimError::Meta`].
    pub fn set_meta<D: Delegate>(
        &mut self,
        now: Moment,
        meta: Bytes,
        d: &mut D,
        out: &mut Outputs,
    ) -> Result<(), SwimError> {
        if meta.len() > MAX_META {
            return Err(SwimError::Meta(meta.len()));
        }
        self.step(now, d, out, |step| step.set_meta(meta));
        Ok(())
    }

    /// Sends a user message to one address, as a datagram of its own.
    pub fn send_user(&mut self, to: SocketAddr, bytes: &[u8], out: &mut Outputs) {
        self.state.send_user(&self.crypto, to, bytes, out);
    }

    /// Lets the layer above act outside of a call from here.
    pub fn with_context<D: Delegate, R>(
        &mut self,
        now: Moment,
        d: &mut D,
        out: &mut Outputs,
        f: impl FnOnce(&mut D, &mut Context<'_>) -> R,
    ) -> R {
        self.step(now, d, out, |step| step.call(f))
    }

    /// Takes over what another member of the same pool knows, as if its news had arrived one by one, but
    /// without passing it on and without asking whether it is welcome. Metas and names are shared, which lets
    /// a simulation start with large pools that know each other.
    pub fn preload<D: Delegate>(&mut self, now: Moment, other: &Table, d: &mut D, out: &mut Outputs) {
        self.step(now, d, out, |step| {
            step.state.table.reserve(other.len());
            for entry in other {
                step.adopt(entry);
            }
        });
    }

    /// All members, as this one sees them, itself included.
    pub fn table(&self) -> &Table {
        &self.state.table
    }

    /// This member.
    pub fn local(&self) -> &Entry {
        &self.state.me
    }

    /// The tunables.
    pub fn config(&self) -> &SwimConfig {
        &self.state.config
    }

    /// How little this member trusts its own judgement; 0 is healthy.
    pub fn health_score(&self) -> u32 {
        self.state.awareness.score()
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.state.stats
    }

    /// How many messages of its own wait to be spread.
    pub fn queued(&self) -> usize {
        self.state.queue.len()
    }

    /// The keys.
    pub fn crypto(&self) -> &Crypto {
        &self.crypto
    }

    /// Replaces the keys. Streams that are being read keep those they began with.
    pub fn set_crypto(&mut self, crypto: Crypto) {
        self.crypto = crypto;
    }

    /// A reader for a stream that begins now.
    pub fn stream_reader(&self) -> StreamReader {
        StreamReader::new(self.crypto.clone())
    }

    fn step<D: Delegate, R>(
        &mut self,
        now: Moment,
        delegate: &mut D,
        out: &mut Outputs,
        f: impl FnOnce(&mut Step<'_, D>) -> R,
    ) -> R {
        let Self { crypto, state, .. } = self;
        state.enter(now);
        let mut step = Step { now, state, crypto, delegate, out };
        let result = f(&mut step);
        step.finish();
        result
    }
}
