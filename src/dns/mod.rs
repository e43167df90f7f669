//! DNS messages ↔ lookups in the catalog.
//!
//! A query is answered from the published snapshot, in the caller's thread: read the message, understand
//! the name, find the records, write the answer. No lock, no await, no mailbox. Messages are read and
//! written by code of our own, because names, sizes and truncation must come out byte for byte as clients
//! of Consul know them, and because an answer should cost a microsecond or two.
//!
//! May not enter: settings files, actors, the web. Sockets live in the listeners and the recursor only.

mod addresses;
mod answer;
mod encode;
pub mod foreign;
mod hosts;
mod instances;
pub mod listen;
mod message;
mod name;
mod needs;
mod pick;
mod pools;
mod record;
pub mod recursor;
pub mod settings;
#[cfg(test)]
mod tests;
mod text;
mod wire;
mod zones;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rand::rngs::SmallRng;

use crate::endpoints::LeaderRead;
use crate::endpoints::far::Servers;
use crate::metrics::{Counter, Metrics, Timer};
use crate::state::StateReader;

use answer::{Answering, Question};
use encode::Form;
use hosts::{Hosts, Lead};
use message::Query;
use name::Labels;
use pools::Pools;
use record::Reply;
use zones::{Belongs, Zones};

pub use hosts::Chase;
pub use settings::{DnsFacts, DnsSettings, ServiceTtls, SoaTimes};

/// Answers older than this are counted, as by Consul.
const STALE_IS_COUNTED: Duration = Duration::from_secs(5);

/// How a query came, which decides how long its answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram: 512 bytes or what EDNS offers.
    Udp,
    /// A stream with lengths in front (TCP, TLS) or HTTPS: 64 KB.
    Tcp,
}

/// What is to be done with a query.
#[derive(Debug)]
pub enum Verdict {
    /// Send what was written.
    Reply,
    /// Send nothing: this was no query.
    Drop,
    /// Ask the recursors with the query as it came and pass their answer on; nothing was written.
    Forward,
    /// The answer needs addresses of foreign host names: ask for them, then call [`Dns::answer_chased`].
    /// Nothing was written.
    Chase(Chase),
}

/// The DNS interface: shared by all listeners.
pub struct Dns {
    state: StateReader,
    leader: Arc<dyn LeaderRead>,
    settings: Arc<ArcSwap<DnsSettings>>,
    metrics: Arc<Metrics>,
    zones: Zones,
    pools: Pools,
    far: Option<Arc<dyn Servers>>,
}

impl fmt::Debug for Dns {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Dns").field("zones", &self.zones).finish_non_exhaustive()
    }
}

impl Dns {
    /// Answers from `state`, as long as `leader` says it is fresh enough.
    pub fn new(
        facts: DnsFacts,
        state: StateReader,
        leader: Arc<dyn LeaderRead>,
        settings: Arc<ArcSwap<DnsSettings>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let zones = Zones::new(facts);
        Self { state, leader, settings, metrics, zones, pools: Pools::default(), far: None }
    }

    /// Answers from what these servers say, and has no state of its own.
    #[must_use]
    pub fn asking(self, servers: Arc<dyn Servers>) -> Self {
        Self { far: Some(servers), ..self }
    }

    /// The live settings; the recursor reads its own from here too.
    pub fn settings(&self) -> &Arc<ArcSwap<DnsSettings>> {
        &self.settings
    }

    /// Answers a query from the published snapshot into `out`, which is cleared first.
    pub fn answer(
        &self,
        query: &[u8],
        transport: Transport,
        rng: &mut SmallRng,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let begun = Instant::now();
        let settings = self.settings.load();
        let before = rng.clone();
        let needs = self.far.is_some().then(Box::default);
        let mut hosts = Hosts::unknown(!settings.recursors.is_empty(), needs);
        let (verdict, kind) = self.respond(&settings, query, transport, &mut hosts, rng, out);
        if let Some(chase) = hosts.chase(before, begun) {
            out.clear();
            return Verdict::Chase(chase);
        }
        self.measure(kind, begun);
        verdict
    }

    /// Answers a query once the recursors were asked for the host names of `chase`. `found` holds their
    /// raw answers in the order of the questions, none where no recursor answered. Never asks for a
    /// second chase: what is still unknown stays unresolved. After [`Dns::fetch`] it may.
    pub fn answer_chased(
        &self,
        query: &[u8],
        transport: Transport,
        chase: Chase,
        found: Vec<Option<Vec<u8>>>,
        rng: &mut SmallRng,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let settings = self.settings.load();
        let begun = chase.begun();
        let fetched = chase.questions.is_empty();
        let (mut hosts, first) = Hosts::known(chase, found);
        if fetched {
            let lead = hosts.lead;
            hosts = Hosts::unknown(!settings.recursors.is_empty(), hosts.needs);
            hosts.lead = lead;
        }
        // The same instances must be drawn as the first time.
        let own = std::mem::replace(rng, first.clone());
        let (verdict, kind) = self.respond(&settings, query, transport, &mut hosts, rng, out);
        *rng = own;
        if let Some(chase) = hosts.chase(first, begun) {
            out.clear();
            return Verdict::Chase(chase);
        }
        self.measure(kind, begun);
        verdict
    }

    /// Asks the servers for what a chase lacks of their state, or the leader how far this one must be, if it does;
    /// [`Dns::answer_chased`] is next.
    pub async fn fetch(&self, mut chase: Chase) -> Chase {
        if chase.lead == Lead::Wanted {
            let led = match self.leader.lease() {
                Ok(Some(led)) => led.await,
                Ok(None) => Ok(()),
                Err(failure) => Err(failure),
            };
            chase.lead = if led.is_ok() { Lead::Confirmed } else { Lead::Silent };
        }
        if let (Some(servers), Some(needs)) = (&self.far, &mut chase.needs)
            && needs.is_open()
        {
            let settings = self.settings.load_full();
            needs.fetch(&**servers, &settings).await;
        }
        chase
    }

    /// Writes SERVFAIL for a query whose recursors all failed; nothing if it is no query.
    pub fn recursion_failed(&self, query: &[u8], out: &mut Vec<u8>) {
        out.clear();
        if let Ok(query) = Query::read(query) {
            encode::write(
                &query,
                &Reply::recursion_failed(),
                form(&self.settings.load(), Transport::Udp),
                out,
            );
        }
    }

    fn measure(&self, kind: Option<Timer>, begun: Instant) {
        if let Some(timer) = kind {
            self.metrics.time(timer, begun.elapsed());
        }
    }

    /// What is to be done, and what the time of it is counted as.
    fn respond(
        &self,
        settings: &DnsSettings,
        message: &[u8],
        transport: Transport,
        hosts: &mut Hosts,
        rng: &mut SmallRng,
        out: &mut Vec<u8>,
    ) -> (Verdict, Option<Timer>) {
        out.clear();
        let query = match Query::read(message) {
            Ok(query) => query,
            Err(refusal) => {
                message::write_refusal(message, refusal, out);
                return (if out.is_empty() { Verdict::Drop } else { Verdict::Reply }, None);
            }
        };
        let form = form(settings, transport);
        let belongs = self.zones.of(query.name);
        if belongs == Belongs::Foreign {
            if form.recursion {
                return (Verdict::Forward, None);
            }
            encode::write(&query, &Reply::refused(), form, out);
            return (Verdict::Reply, None);
        }
        let view = self.state.view();
        let mut needs = hosts.needs.take();
        let fresh = match &needs {
            Some(needs) => needs.answered(),
            None => hosts.lead == Lead::Confirmed || self.is_fresh(settings),
        };
        let (view, lacking) = match &mut needs {
            Some(needs) => {
                let (told, lacking) = needs.split();
                (told, Some(lacking))
            }
            None => (&**view, None),
        };
        let mut answering = Answering {
            view,
            fresh,
            zones: &self.zones,
            settings,
            pools: &self.pools,
            hosts,
            lacking,
            rng,
            depth: 0,
        };
        let room = encode::room(&query, form);
        let question = Question { name: query.name, qtype: query.qtype, room };
        let labels = Labels::read(query.name);
        let mut lent = None;
        let reply = match belongs {
            Belongs::Own(zone) => Some(answering.own(question, &labels, zone, &mut lent)),
            _ => answering
                .reverse(question, &labels)
                .or_else(|| (!form.recursion).then(Reply::recursion_failed)),
        };
        let told = match &reply {
            Some(reply) => {
                encode::write(&query, reply, form, out);
                let own = matches!(belongs, Belongs::Own(_));
                (Verdict::Reply, Some(if own { Timer::DnsDomainQuery } else { Timer::DnsPtrQuery }))
            }
            None => (Verdict::Forward, None),
        };
        drop(reply);
        hosts.needs = needs;
        told
    }

    /// Whether the snapshot may be answered from as it is: this agent leads or, with `allow_stale`, a leader was
    /// heard within `max_stale`. Otherwise the leader is asked, as any default read would.
    fn is_fresh(&self, settings: &DnsSettings) -> bool {
        if self.leader.check_lease().is_ok() {
            return true;
        }
        let leadership = self.leader.leadership();
        if leadership.last_contact > STALE_IS_COUNTED {
            self.metrics.count(Counter::DnsStaleQueries);
        }
        settings.allow_stale && leadership.heard && leadership.last_contact <= settings.max_stale
    }
}

fn form(settings: &DnsSettings, transport: Transport) -> Form {
    Form {
        compress: !settings.disable_compression,
        recursion: !settings.recursors.is_empty(),
        say_truncated: settings.enable_truncate,
        stream: transport == Transport::Tcp,
    }
}
