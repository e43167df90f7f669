//! Queries: asked of everybody, answered to one.
//!
//! Source: section 7.6 of the project's notes on the gossip wire.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use regex::{Regex, RegexBuilder};

use super::clock::LTime;
use super::keys::Tally;
use super::layer::{Layer, Urgency};
use super::window::{Heard, Window};
use crate::gossip::effect::{self, CommandError, Done, Event, Ticket};
use crate::gossip::swim::Context;
use crate::gossip::time::Moment;
use crate::gossip::wire::serf::{Filter, Query, QueryResponse, Relay, SerfMessage, flag};

/// What Serf's own queries begin with.
pub(super) const INTERNAL: &str = "_serf_";
/// Members that understand relays have at least this as the highest version of memberlist's protocol.
const RELAYS: u8 = 5;
/// Queries of others that can still be answered at the same time; the oldest gives way.
const MOST_OPEN: usize = 1_024;
/// Least number of answers that are counted, however small the pool.
const LEAST_ANSWERS: usize = 1_024;
/// How much memory a stranger's regular expression may cost.
const REGEX_SIZE: usize = 1 << 20;

/// A query of this member.
#[derive(Debug)]
struct Asked {
    purpose: Purpose,
    deadline: Moment,
    confirmed: BTreeSet<String>,
    answered: BTreeSet<String>,
}

/// Whom answers are for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The host.
    Host(Ticket),
    /// The report on keys.
    Keys(Ticket, Tally),
}

/// Whom an answer goes to.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    ltime: LTime,
    id: u32,
    addr: Option<SocketAddr>,
    name: Vec<u8>,
    relay_factor: u8,
    deadline: Moment,
}

/// The queries that are remembered, and those under way.
#[derive(Debug)]
pub(super) struct Queries {
    heard: Window<u32>,
    asked: BTreeMap<(LTime, u32), Asked>,
    open: BTreeMap<u64, Asker>,
    next: u64,
}

impl Queries {
    pub(super) fn new(heard: Window<u32>) -> Self {
        Self { heard, asked: BTreeMap::new(), open: BTreeMap::new(), next: 1 }
    }

    /// When the next query of this member ends.
    pub(super) fn deadline(&self) -> Moment {
        self.asked.values().map(|asked| asked.deadline).min().unwrap_or(Moment::NEVER)
    }

    /// Forgets queries of others that can be answered no more.
    pub(super) fn expire(&mut self, now: Moment) {
        self.open.retain(|_, asker| now <= asker.deadline);
    }
}

/// A regular expression of a filter, not anchored.
fn compile(expr: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(expr).size_limit(REGEX_SIZE).build()
}

impl Layer {
    /// How long a query that does not say so may take in a pool of this size.
    pub(super) fn default_timeout(&self) -> Duration {
        let digits = self.roster.present().checked_ilog10().map_or(0, |digits| digits + 1);
        self.gossip_interval.saturating_mul(self.config.query_timeout_mult).saturating_mul(digits)
    }

    /// The host asks everybody.
    pub(super) fn ask(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        query: &effect::Query,
    ) -> Result<(), CommandError> {
        if query.name.starts_with(INTERNAL) {
            return Err(CommandError::Reserved(INTERNAL));
        }
        for (_, expr) in &query.tags {
            compile(expr).map_err(|error| CommandError::Filter(error.to_string()))?;
        }
        self.start_query(cx, Purpose::Host(ticket), query)
    }

    /// Asks everybody.
    pub(super) fn start_query(
        &mut self,
        cx: &mut Context<'_>,
        purpose: Purpose,
        query: &effect::Query,
    ) -> Result<(), CommandError> {
        let local = self.local();
        let mut filters = Vec::new();
        if !query.nodes.is_empty() {
            filters.push(Filter::Nodes(query.nodes.iter().map(String::as_bytes).collect()));
        }
        filters.extend(
            query.tags.iter().map(|(tag, expr)| Filter::Tag { tag: tag.as_bytes(), expr: expr.as_bytes() }),
        );
        let timeout = query.timeout.unwrap_or_else(|| self.default_timeout());
        let wire = Query {
            ltime: self.query_clock.time(),
            // Positive in 32 bits, as stock agents choose it.
            id: cx.rng.random::<u32>() >> 1,
            source: Some(local.addr),
            source_node: local.name.as_bytes(),
            filters,
            flags: if query.ack { flag::ACK } else { 0 },
            relay_factor: query.relay_factor,
            timeout,
            name: query.name.as_bytes(),
            payload: Some(query.payload.as_slice()).filter(|payload| !payload.is_empty()),
        };
        let mut message = Vec::new();
        wire.encode(&mut message);
        if message.len() > self.config.query_size {
            return Err(CommandError::TooLarge { what: "query", limit: self.config.query_size });
        }
        let asked = Asked {
            purpose,
            deadline: cx.now + timeout,
            confirmed: BTreeSet::new(),
            answered: BTreeSet::new(),
        };
        self.queries.asked.insert((wire.ltime, wire.id), asked);
        self.hear_query(cx, &wire);
        self.spread(Urgency::Query, Bytes::from(message));
        Ok(())
    }

    /// A query was heard. Returns whether it is to be told on.
    pub(super) fn hear_query(&mut self, cx: &mut Context<'_>, query: &Query<'_>) -> bool {
        let id = query.id;
        match self.queries.heard.hear(&mut self.query_clock, query.ltime, |other| *other == id, || id, |_| 1)
        {
            Heard::Repeat => {
                self.stats.repeated_queries += 1;
                return false;
            }
            Heard::Old => {
                self.stats.old_queries += 1;
                return false;
            }
            Heard::News => self.stats.queries += 1,
        }
        let pass_on = query.flags & flag::NO_BROADCAST == 0;
        if !self.is_meant(&query.filters) {
            return pass_on;
        }
        let asker = Asker {
            ltime: query.ltime,
            id,
            addr: query.source,
            name: query.source_node.to_vec(),
            relay_factor: query.relay_factor,
            deadline: cx.now + query.timeout,
        };
        if query.flags & flag::ACK != 0 {
            let local = self.local();
            self.answer(cx, &asker, &Self::response(&asker, local.name.as_bytes(), flag::ACK, None));
        }
        let payload = query.payload.unwrap_or_default();
        let name = String::from_utf8_lossy(query.name).into_owned();
        if let Some(internal) = name.strip_prefix(INTERNAL) {
            self.answer_internal(cx, internal, payload, &asker);
            return pass_on;
        }
        let number = self.queries.next;
        self.queries.next += 1;
        if self.queries.open.len() >= MOST_OPEN {
            self.queries.open.pop_first();
        }
        self.queries.open.insert(number, asker);
        cx.out.events.push(Event::Query {
            query: number,
            ltime: query.ltime,
            name,
            payload: payload.to_vec(),
            source: String::from_utf8_lossy(query.source_node).into_owned(),
        });
        pass_on
    }

    /// Whether all filters let this member through.
    fn is_meant(&self, filters: &[Filter<'_>]) -> bool {
        let local = self.roster.local();
        filters.iter().all(|filter| match filter {
            Filter::Nodes(names) => names.contains(&local.name.as_bytes()),
            Filter::Tag { tag, expr } => {
                let text = |bytes| std::str::from_utf8(bytes).ok();
                let value = text(tag).and_then(|tag| local.tags.get(tag)).map_or("", String::as_str);
                let expr = text(expr).and_then(|expr| compile(expr).ok());
                expr.is_some_and(|expr| expr.is_match(value))
            }
            Filter::Unreadable(_) => false,
        })
    }

    fn response<'a>(
        asker: &Asker,
        from: &'a [u8],
        flags: u32,
        payload: Option<&'a [u8]>,
    ) -> QueryResponse<'a> {
        QueryResponse { ltime: asker.ltime, id: asker.id, from, flags, payload }
    }

    /// The host answers a query.
    pub(super) fn respond(
        &mut self,
        cx: &mut Context<'_>,
        query: u64,
        payload: &[u8],
    ) -> Result<(), CommandError> {
        let open = self.queries.open.get(&query).filter(|asker| cx.now <= asker.deadline);
        let asker = open.cloned().ok_or(CommandError::UnknownQuery)?;
        if !self.answer_with(cx, &asker, payload) {
            let limit = self.config.query_response_size;
            return Err(CommandError::TooLarge { what: "response", limit });
        }
        self.queries.open.remove(&query);
        Ok(())
    }

    /// Answers; `false` if the answer is too long.
    pub(super) fn answer_with(&mut self, cx: &mut Context<'_>, asker: &Asker, payload: &[u8]) -> bool {
        let local = self.local();
        let response = Self::response(asker, local.name.as_bytes(), 0, Some(payload));
        let fits = self.fits(&response);
        if fits {
            self.answer(cx, asker, &response);
        }
        fits
    }

    /// Whether an answer with this payload is not too long.
    pub(super) fn payload_fits(&self, asker: &Asker, payload: &[u8]) -> bool {
        self.fits(&Self::response(asker, self.roster.local().name.as_bytes(), 0, Some(payload)))
    }

    fn fits(&self, response: &QueryResponse<'_>) -> bool {
        let mut message = Vec::new();
        response.encode(&mut message);
        message.len() <= self.config.query_response_size
    }

    /// Sends an answer to who asked, and through others if it is wanted.
    fn answer(&mut self, cx: &mut Context<'_>, asker: &Asker, response: &QueryResponse<'_>) {
        let Some(to) = asker.addr else { return };
        let local = self.local();
        if to == local.addr {
            self.hear_response(cx, response);
            return;
        }
        let mut message = Vec::new();
        response.encode(&mut message);
        let factor = usize::from(asker.relay_factor);
        if factor > 0 && self.roster.len() > factor {
            let mut relay = Vec::new();
            Relay { to: Some(to), name: &asker.name, message: &message }.encode(&mut relay);
            if relay.len() <= self.config.query_response_size {
                let helpers = self.roster.pick(factor, cx.rng, |member| {
                    let [_, understood, ..] = member.versions;
                    understood >= RELAYS && member.addr != to
                });
                for helper in helpers {
                    cx.send(helper.addr, relay.clone());
                }
            }
        }
        cx.send(to, message);
    }

    /// A message for another member came this way. Only answers are passed on: nothing else is ever sent so.
    pub(super) fn pass_on(&mut self, cx: &mut Context<'_>, relay: &Relay<'_>) {
        let response = SerfMessage::decode(relay.message);
        let (Some(to), Ok(SerfMessage::QueryResponse(response))) = (relay.to, response) else {
            self.stats.malformed += 1;
            return;
        };
        if to == self.roster.local().addr {
            self.hear_response(cx, &response);
            return;
        }
        self.stats.relayed += 1;
        cx.send(to, relay.message.to_vec());
    }

    /// An answer to a query of this member.
    pub(super) fn hear_response(&mut self, cx: &mut Context<'_>, response: &QueryResponse<'_>) {
        let key = (response.ltime, response.id);
        let most = LEAST_ANSWERS.max(2 * self.roster.len());
        let from = String::from_utf8_lossy(response.from).into_owned();
        let Some(asked) = self.queries.asked.get_mut(&key) else {
            self.stats.stray_responses += 1;
            return;
        };
        let confirmation = response.flags & flag::ACK != 0;
        let counted = if confirmation { &mut asked.confirmed } else { &mut asked.answered };
        if counted.len() >= most || !counted.insert(from.clone()) {
            self.stats.stray_responses += 1;
            return;
        }
        self.stats.responses += 1;
        let payload = response.payload.unwrap_or_default();
        match &mut asked.purpose {
            Purpose::Host(ticket) => {
                let payload = (!confirmation).then(|| payload.to_vec());
                cx.out.events.push(Event::QueryResponse { ticket: *ticket, from, payload });
            }
            Purpose::Keys(_, tally) if !confirmation => {
                tally.count(from, payload);
                if tally.is_complete()
                    && let Some(asked) = self.queries.asked.remove(&key)
                {
                    Self::end_query(cx, asked);
                }
            }
            Purpose::Keys(..) => {}
        }
    }

    /// Ends the queries of this member whose time is over.
    pub(super) fn end_queries(&mut self, cx: &mut Context<'_>) {
        if self.queries.deadline() > cx.now {
            return;
        }
        let now = cx.now;
        for (_, asked) in self.queries.asked.extract_if(.., |_, asked| asked.deadline <= now) {
            Self::end_query(cx, asked);
        }
    }

    fn end_query(cx: &mut Context<'_>, asked: Asked) {
        cx.out.done.push(match asked.purpose {
            Purpose::Host(ticket) => (ticket, Ok(Done::Queried)),
            Purpose::Keys(ticket, tally) => (ticket, Ok(Done::Keys(tally.report))),
        });
    }
}
