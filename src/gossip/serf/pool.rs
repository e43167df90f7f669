//! [`Pool`]: SWIM and the Serf layer as one, which is what a host holds.

use std::net::SocketAddr;
use std::sync::Arc;

use super::clock::Clocks;
use super::roster::Roster;
use super::{Member, Status};
use crate::gossip::config::PoolConfig;
use crate::gossip::coordinate::Coordinate;
use crate::gossip::effect::{Admission, Input, Outputs};
use crate::gossip::time::Moment;

/// Why a pool cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The tags are longer than the wire allows.
    #[error("Encoded length of tags exceeds limit of {limit} bytes")]
    Tags {
        /// How long they may be.
        limit: usize,
    },
}

/// What the Serf layer counted since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {}

/// A member's view of its pool.
pub struct Pool {
    roster: Roster,
    coordinate: Coordinate,
    previous: Vec<(String, SocketAddr)>,
    stats: Stats,
}

impl Pool {
    /// A pool of this member alone. [`Event::Joined`](crate::gossip::Event::Joined) of itself comes out of the first step.
    ///
    /// # Errors
    /// What in the configuration cannot be.
    pub fn new(config: PoolConfig, admission: Box<dyn Admission>, now: Moment) -> Result<Self, PoolError> {
        let _ = (admission, now);
        let local = Member {
            name: config.name,
            addr: config.advertise,
            tags: Arc::new(config.tags),
            status: Status::Alive,
            versions: [1, 5, 2, 2, 5, 4],
        };
        Ok(Self {
            roster: Roster::new(local, 0),
            coordinate: Coordinate::default(),
            previous: Vec::new(),
            stats: Stats::default(),
        })
    }

    /// Takes in what happened at `now`, and appends what is to be done to `out`. `now` never goes back.
    pub fn step(&mut self, now: Moment, input: Input<'_>, out: &mut Outputs) {
        let _ = (now, input, out);
    }

    /// When the next [`Input::Tick`] is due, at the latest. Changes with every step.
    pub fn deadline(&self) -> Moment {
        Moment::NEVER
    }

    /// This member.
    pub fn local(&self) -> &Arc<Member> {
        self.roster.local()
    }

    /// All members, this one first; failed and left ones too until they are reaped.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.roster.members()
    }

    /// The member of this name.
    pub fn member(&self, name: &str) -> Option<&Arc<Member>> {
        self.roster.get(name.as_bytes())
    }

    /// Members that were alive when the last life of this one ended, as its snapshot tells: whom to join again.
    /// Empty after a goodbye, unless `rejoin_after_leave`.
    pub fn previous_members(&self) -> &[(String, SocketAddr)] {
        &self.previous
    }

    /// Where this member is in the network.
    pub fn coordinate(&self) -> &Coordinate {
        &self.coordinate
    }

    /// Where another member said it is, if it ever did.
    pub fn coordinate_of(&self, _name: &str) -> Option<&Coordinate> {
        None
    }

    /// The gossip keys, the one in use first; none without encryption.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// Lifeguard's local health score: 0 is good.
    pub fn health_score(&self) -> u32 {
        0
    }

    /// The Lamport clocks, as they stand.
    pub fn clocks(&self) -> Clocks {
        Clocks::default()
    }

    /// What this layer counted; SWIM counts for itself.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Moves whenever [`Pool::members`] would answer differently.
    pub fn generation(&self) -> u64 {
        self.roster.generation()
    }
}
