//! [`Pool`]: SWIM and the Serf layer as one, which is what a host holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::clock::Clocks;
use super::layer::Layer;
use super::roster::Roster;
use super::snapshot::Past;
use super::stats::Stats;
use super::{Member, Status};
use crate::gossip::config::{ConfigError, PoolConfig};
use crate::gossip::coordinate::Coordinate;
use crate::gossip::effect::{Admission, Command, CommandError, Done, Event, Input, Outputs, Ticket};
use crate::gossip::swim::broadcast::BroadcastId;
use crate::gossip::swim::{self, Context, JoinKind, Name, Swim, SwimError, SwimSetup, Table};
use crate::gossip::time::Moment;
use crate::gossip::wire::serf::{MAX_META, encode_tags};
use crate::gossip::wire::{Crypto, KeyError, Keyring, OUR_VERSIONS, StreamReader};

/// What the tags of a member are called where they are too long.
const TAGS: &str = "Encoded length of tags";
/// Joins of this kind are nobody's: a failed member is tried again.
const RECONNECT: JoinKind = JoinKind(u64::MAX);

/// Why a pool cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The tags are longer than the wire allows.
    #[error("{TAGS} exceeds limit of {limit} bytes")]
    Tags {
        /// How long they may be.
        limit: usize,
    },
    /// A gossip key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The name, or a tunable of SWIM's.
    #[error(transparent)]
    Swim(#[from] SwimError),
    /// A tunable of this layer's.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// How far a goodbye is.
#[derive(Debug, Clone, Copy)]
enum Goodbye {
    /// Not begun.
    Here,
    /// The intent is being told, so that the death that follows is understood.
    Announcing { intent: BroadcastId, until: Moment },
    /// The death is being told.
    Dying,
    /// Everybody may know; still answering those who do not.
    Lingering { until: Moment },
    /// Done.
    Gone,
}

/// A member's view of its pool.
///
/// Plain and deterministic: the same configuration and the same inputs give the same outputs.
pub struct Pool {
    swim: Swim,
    layer: Layer,
    goodbye: Goodbye,
    /// Who waits for the goodbye.
    leavers: Vec<Ticket>,
    /// Joins under way, by their kind.
    joins: BTreeMap<u64, Ticket>,
    next_join: u64,
    previous: Vec<(String, SocketAddr)>,
    /// Whether the first step was made.
    started: bool,
}

fn encoded(tags: &BTreeMap<String, String>) -> Option<Bytes> {
    let mut meta = Vec::new();
    encode_tags(tags, &mut meta).ok()?;
    Some(Bytes::from(meta))
}

impl Pool {
    /// A pool of this member alone. The first step gives out [`Event::Joined`] of itself.
    ///
    /// # Errors
    /// What in the configuration cannot be.
    pub fn new(config: PoolConfig, admission: Box<dyn Admission>, now: Moment) -> Result<Self, PoolError> {
        let PoolConfig {
            name,
            advertise,
            tags,
            swim,
            serf,
            keys,
            verify_incoming,
            verify_outgoing,
            snapshot,
            seed,
        } = config;
        serf.validate()?;
        let meta = encoded(&tags).ok_or(PoolError::Tags { limit: MAX_META })?;
        let crypto = Crypto::new(Keyring::of(&keys)?, verify_incoming, verify_outgoing);
        let mut rng = ChaCha12Rng::from_seed(seed);
        let snapshot = snapshot.unwrap_or_default();
        let past = Past::read(&snapshot, serf.rejoin_after_leave);
        let mut previous: Vec<_> = past
            .alive
            .iter()
            .filter(|(other, _)| **other != name)
            .map(|(name, addr)| (name.clone(), *addr))
            .collect();
        // Not everybody that comes back shall ask the same member first.
        previous.shuffle(&mut rng);
        let local = Member {
            name: name.clone(),
            addr: advertise,
            tags: Arc::new(tags),
            status: Status::Alive,
            versions: OUR_VERSIONS,
        };
        let roster = Roster::new(local, rng.next_u64());
        let layer = Layer::new(roster, &swim, serf, admission, crypto.clone(), (&past, snapshot.len()), now);
        let setup = SwimSetup {
            name: Name::from(name.as_str()),
            addr: advertise,
            meta,
            versions: OUR_VERSIONS,
            config: swim,
            crypto,
            rng,
        };
        Ok(Self {
            swim: Swim::new(setup, now)?,
            layer,
            goodbye: Goodbye::Here,
            leavers: Vec::new(),
            joins: BTreeMap::new(),
            next_join: 0,
            previous,
            started: false,
        })
    }

    /// Takes in what happened at `now`, does what is due, and appends what the host is to do to `out`.
    /// `now` never goes back.
    pub fn step(&mut self, now: Moment, input: Input<'_>, out: &mut Outputs) {
        if !self.started {
            self.started = true;
            let local = self.layer.roster.local().clone();
            self.layer.journal.alive(&local.name, local.addr, out);
            out.events.push(Event::Joined(local));
        }
        let Self { swim, layer, .. } = self;
        match input {
            Input::Packet { from, data } => swim.packet(now, from, data, layer, out),
            Input::Request { stream, from, message } => swim.request(now, stream, from, message, layer, out),
            Input::Answer { exchange, result } => {
                layer.joining = self.joins.len();
                if let Some((kind, result)) = swim.answer(now, exchange, result, layer, out) {
                    self.joined(now, kind, result, out);
                }
                self.layer.joining = 0;
            }
            Input::Doubt(ip) => swim.doubt(now, ip, layer, out),
            Input::Tick => {}
            Input::Command(ticket, command) => self.command(now, ticket, command, out),
        }
        if now >= self.swim.deadline(&self.layer) {
            self.swim.tick(now, &mut self.layer, out);
        }
        if now >= self.layer.deadline() {
            self.act(now, out, Layer::tick);
        }
        self.settle(now, out);
    }

    /// Lets the layer act.
    fn act<R>(
        &mut self,
        now: Moment,
        out: &mut Outputs,
        f: impl FnOnce(&mut Layer, &mut Context<'_>) -> R,
    ) -> R {
        self.swim.with_context(now, &mut self.layer, out, f)
    }

    fn command(&mut self, now: Moment, ticket: Ticket, command: Command, out: &mut Outputs) {
        let result = match command {
            Command::Join { address } => match self.join(now, ticket, address, out) {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            Command::Leave => return self.leave(now, ticket, out),
            Command::ForceLeave { name, prune } => self
                .act(now, out, |layer, cx| layer.force_leave(cx, &name, prune))
                .map(|()| Done::ForcedLeave),
            Command::UserEvent { name, payload, coalesce } => self
                .act(now, out, |layer, cx| layer.fire(cx, &name, &payload, coalesce))
                .map(|ltime| Done::Fired { ltime }),
            Command::Query(query) => match self.act(now, out, |layer, cx| layer.ask(cx, ticket, &query)) {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            Command::Keys { request, relay_factor } => {
                match self.act(now, out, |layer, cx| layer.ask_keys(cx, ticket, &request, relay_factor)) {
                    Ok(()) => return,
                    Err(error) => Err(error),
                }
            }
            Command::Respond { query, payload } => {
                self.act(now, out, |layer, cx| layer.respond(cx, query, &payload)).map(|()| Done::Responded)
            }
            Command::SetTags(tags) => self.set_tags(now, &tags, out).map(|()| Done::Tagged),
        };
        out.done.push((ticket, result));
    }

    fn join(
        &mut self,
        now: Moment,
        ticket: Ticket,
        to: SocketAddr,
        out: &mut Outputs,
    ) -> Result<(), CommandError> {
        if self.layer.leaving {
            return Err(CommandError::Leaving);
        }
        let kind = self.next_join;
        self.next_join += 1;
        self.joins.insert(kind, ticket);
        self.swim.join(now, JoinKind(kind), to, &mut self.layer, out);
        Ok(())
    }

    /// A join ended.
    fn joined(&mut self, now: Moment, kind: JoinKind, result: Result<(), CommandError>, out: &mut Outputs) {
        let Some(ticket) = self.joins.remove(&kind.0) else { return };
        if result.is_ok() && !self.layer.leaving {
            self.act(now, out, Layer::say_join);
        }
        out.done.push((ticket, result.map(|()| Done::Joined)));
    }

    fn set_tags(
        &mut self,
        now: Moment,
        tags: &BTreeMap<String, String>,
        out: &mut Outputs,
    ) -> Result<(), CommandError> {
        if self.layer.leaving {
            return Err(CommandError::Leaving);
        }
        let too_large = CommandError::TooLarge { what: TAGS, limit: MAX_META };
        let meta = encoded(tags).ok_or(too_large.clone())?;
        self.swim.set_meta(now, meta, &mut self.layer, out).map_err(|_| too_large)
    }

    /// Begins the goodbye. Who is alone has nobody to tell and is gone at once.
    fn leave(&mut self, now: Moment, ticket: Ticket, out: &mut Outputs) {
        self.leavers.push(ticket);
        if !matches!(self.goodbye, Goodbye::Here) {
            return;
        }
        let alone = !self.layer.roster.has_company();
        let intent = self.act(now, out, Layer::say_leave);
        self.goodbye = if let Some(intent) = intent {
            Goodbye::Announcing { intent, until: now + self.layer.config.broadcast_timeout }
        } else {
            self.die(now, out);
            if alone { Goodbye::Gone } else { Goodbye::Dying }
        };
    }

    fn die(&mut self, now: Moment, out: &mut Outputs) {
        self.swim.leave(now, self.layer.config.broadcast_timeout, &mut self.layer, out);
    }

    /// What follows from a step, whatever it was.
    fn settle(&mut self, now: Moment, out: &mut Outputs) {
        if std::mem::take(&mut self.layer.crypto_changed) {
            self.swim.set_crypto(self.layer.crypto.clone());
        }
        if let Some(to) = self.layer.reconnect.take() {
            self.swim.join(now, RECONNECT, to, &mut self.layer, out);
        }
        if let Goodbye::Announcing { intent, until } = self.goodbye
            && (now >= until || !self.layer.queues.intents.contains(intent))
        {
            self.die(now, out);
            self.goodbye = Goodbye::Dying;
        }
        if matches!(self.goodbye, Goodbye::Dying) && self.swim.left() {
            self.goodbye = Goodbye::Lingering { until: now + self.layer.config.propagate_delay };
        }
        if let Goodbye::Lingering { until } = self.goodbye
            && now >= until
        {
            self.goodbye = Goodbye::Gone;
        }
        if matches!(self.goodbye, Goodbye::Gone) {
            out.done.extend(self.leavers.drain(..).map(|ticket| (ticket, Ok(Done::Left))));
        }
        self.layer.keep_journal(now, out);
    }

    /// When the next [`Input::Tick`] is due, at the latest. Changes with every step.
    pub fn deadline(&self) -> Moment {
        if !self.started {
            return Moment::default();
        }
        let goodbye = match self.goodbye {
            Goodbye::Announcing { until, .. } | Goodbye::Lingering { until } => until,
            Goodbye::Here | Goodbye::Dying | Goodbye::Gone => Moment::NEVER,
        };
        self.swim.deadline(&self.layer).min(self.layer.deadline()).min(goodbye)
    }

    /// A reader for a stream that begins now.
    pub fn stream_reader(&self) -> StreamReader {
        self.swim.stream_reader()
    }

    /// Takes over whom another member of the same pool knows, as if it had been heard, and shares what it can.
    /// For simulations, which begin with large pools that know each other.
    pub fn preload(&mut self, now: Moment, other: &Self, out: &mut Outputs) {
        self.layer.roster.reserve(other.layer.roster.len());
        self.swim.preload(now, other.swim.table(), &mut self.layer, out);
        self.layer.roster.share(&other.layer.roster);
    }

    /// This member.
    pub fn local(&self) -> &Arc<Member> {
        self.layer.roster.local()
    }

    /// All members, this one first; failed and left ones too until they are reaped.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.layer.roster.members()
    }

    /// The member of this name.
    pub fn member(&self, name: &str) -> Option<&Arc<Member>> {
        self.layer.roster.get(name.as_bytes())
    }

    /// Moves whenever [`Pool::members`] would answer differently.
    pub fn generation(&self) -> u64 {
        self.layer.roster.generation()
    }

    /// Members that were alive when the last life of this one ended, as its snapshot tells: whom to join
    /// again. In no order. Empty after a goodbye, unless `rejoin_after_leave`.
    pub fn previous_members(&self) -> &[(String, SocketAddr)] {
        &self.previous
    }

    /// Where this member is in the network.
    pub fn coordinate(&self) -> &Coordinate {
        self.layer.vivaldi.place()
    }

    /// Where another member said it is, when it last answered a probe.
    pub fn coordinate_of(&self, name: &str) -> Option<&Coordinate> {
        if name == self.local().name {
            return Some(self.coordinate());
        }
        self.layer.vivaldi.of(name)
    }

    /// How often this member's coordinate became meaningless and was set back to the origin.
    pub fn coordinate_resets(&self) -> u64 {
        self.layer.vivaldi.resets()
    }

    /// The gossip keys, the one in use first; none without encryption.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.layer.keys()
    }

    /// Lifeguard's local health score: 0 is healthy.
    pub fn health_score(&self) -> u32 {
        self.swim.health_score()
    }

    /// The Lamport clocks, as they stand.
    pub fn clocks(&self) -> Clocks {
        let layer = &self.layer;
        Clocks {
            member: layer.clock.time(),
            event: layer.event_clock.time(),
            query: layer.query_clock.time(),
        }
    }

    /// What this layer counted.
    pub fn stats(&self) -> &Stats {
        &self.layer.stats
    }

    /// What SWIM counted.
    pub fn swim_stats(&self) -> &swim::Stats {
        self.swim.stats()
    }

    /// SWIM's own view of the members.
    pub fn table(&self) -> &Table {
        self.swim.table()
    }

    /// How many messages wait to be spread: SWIM's, intents, queries and user events.
    pub fn queued(&self) -> [usize; 4] {
        let queues = &self.layer.queues;
        [self.swim.queued(), queues.intents.len(), queues.queries.len(), queues.events.len()]
    }
}
