//! Network coordinates: round trip times between any two members, estimated from the few that were measured.
//!
//! Every member keeps a place in an eight-dimensional space and moves it a little with every measured round
//! trip, as if springs hung between the members, until distances are round trip times. The *height* is
//! the way from a member to the network, which every path pays; the *adjustment* takes out what the space
//! itself cannot express; *gravity* keeps the pool near the origin.
//!
//! Source: "Vivaldi: A Decentralized Network Coordinate System" (Dabek et al. 2004), "Network Coordinates in
//! the Wild" (Ledlie et al. 2007) for latency filter, adjustment and gravity; parameters in the project's notes on
//! the gossip wire (7.7).

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha12Rng;

/// How many dimensions the space has; the wire fixes it.
pub const DIMENSIONS: usize = 8;

/// The error of a place nobody can trust.
const MAX_ERROR: f64 = 1.5;
/// How far one measurement moves error (`ce`) and place (`cc`).
const TUNING: f64 = 0.25;
/// How many of the last misses the adjustment is made of.
const ADJUSTMENT_WINDOW: u8 = 20;
/// Least height, in seconds.
const MIN_HEIGHT: f64 = 1e-5;
/// Round trips kept of each member; the median counts.
const LATENCY_SAMPLES: u8 = 3;
/// Distance from the origin, in seconds, at which gravity pulls by one second.
const GRAVITY_RHO: f64 = 150.0;
/// What is taken for nothing.
const ZERO: f64 = 1e-6;
/// Longest round trip that is believed.
const MAX_RTT: Duration = Duration::from_secs(10);

/// A place in the space; distances are seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Coordinate {
    /// The place.
    pub vec: [f64; DIMENSIONS],
    /// How sure it is; 1.5 is not at all.
    pub error: f64,
    /// What past estimates were off by, in seconds.
    pub adjustment: f64,
    /// The way from the place to the network, in seconds.
    pub height: f64,
}

impl Default for Coordinate {
    /// The origin, of which nothing is sure.
    fn default() -> Self {
        Self { vec: [0.0; DIMENSIONS], error: MAX_ERROR, adjustment: 0.0, height: MIN_HEIGHT }
    }
}

impl Coordinate {
    /// Whether all of it is numbers.
    pub fn is_valid(&self) -> bool {
        self.vec.iter().chain([&self.error, &self.adjustment, &self.height]).all(|number| number.is_finite())
    }

    /// The estimated round trip time between two places.
    pub fn distance(&self, other: &Self) -> Duration {
        // Whole nanoseconds, as the stock implementation has it. Anything strange is no distance.
        Duration::try_from_secs_f64(self.seconds_to(other)).unwrap_or_default()
    }

    /// The distance with both adjustments, unless they make it negative.
    fn seconds_to(&self, other: &Self) -> f64 {
        let raw = self.raw_distance(other);
        let adjusted = raw + self.adjustment + other.adjustment;
        let seconds = if adjusted > 0.0 { adjusted } else { raw };
        (seconds * 1e9).trunc() / 1e9
    }

    /// What the space alone says.
    fn raw_distance(&self, other: &Self) -> f64 {
        magnitude(&difference(&self.vec, &other.vec)) + self.height + other.height
    }

    /// Pushes this place by `force` away from `other`.
    fn push(&mut self, force: f64, other: &Self, rng: &mut ChaCha12Rng) {
        let between = difference(&self.vec, &other.vec);
        let mut length = magnitude(&between);
        let unit = if length > ZERO {
            between.map(|part| part / length)
        } else {
            length = 0.0;
            random_unit(rng)
        };
        for (place, part) in self.vec.iter_mut().zip(unit) {
            *place += part * force;
        }
        if length > ZERO {
            self.height = ((self.height + other.height) * force / length + self.height).max(MIN_HEIGHT);
        }
    }
}

fn difference(a: &[f64; DIMENSIONS], b: &[f64; DIMENSIONS]) -> [f64; DIMENSIONS] {
    let mut result = *a;
    for (part, other) in result.iter_mut().zip(b) {
        *part -= other;
    }
    result
}

fn magnitude(vec: &[f64; DIMENSIONS]) -> f64 {
    vec.iter().map(|part| part * part).sum::<f64>().sqrt()
}

/// A direction by chance, for two in the same place.
fn random_unit(rng: &mut ChaCha12Rng) -> [f64; DIMENSIONS] {
    let vec: [f64; DIMENSIONS] = std::array::from_fn(|_| rng.random::<f64>() - 0.5);
    let length = magnitude(&vec);
    if length > ZERO {
        return vec.map(|part| part / length);
    }
    let mut first_axis = [0.0; DIMENSIONS];
    if let Some(part) = first_axis.first_mut() {
        *part = 1.0;
    }
    first_axis
}

/// What is known of another member.
#[derive(Debug, Clone, Default)]
struct Peer {
    /// The last round trips, in seconds; the oldest is overwritten at `next`.
    samples: [f64; LATENCY_SAMPLES as usize],
    filled: u8,
    next: u8,
    coordinate: Coordinate,
}

impl Peer {
    /// Takes in a round trip and gives the median of the last ones.
    fn median(&mut self, rtt: f64) -> f64 {
        if let Some(slot) = self.samples.get_mut(usize::from(self.next)) {
            *slot = rtt;
        }
        self.next = (self.next + 1) % LATENCY_SAMPLES;
        self.filled = (self.filled + 1).min(LATENCY_SAMPLES);
        let filled = usize::from(self.filled);
        let mut sorted = self.samples;
        let Some(known) = sorted.get_mut(..filled) else { return rtt };
        known.sort_unstable_by(f64::total_cmp);
        known.get(filled / 2).copied().unwrap_or(rtt)
    }
}

/// Why a measurement taught nothing. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CoordinateError {
    /// The other place is not made of numbers.
    #[error("coordinate is not valid")]
    Invalid,
    /// The round trip is longer than ten seconds.
    #[error("round trip time not in valid range, duration {0:?} is not a positive value less than 10s")]
    RoundTrip(Duration),
}

/// This member's place, and what it knows of others.
#[derive(Debug, Clone, Default)]
pub struct Vivaldi {
    place: Coordinate,
    misses: [f64; ADJUSTMENT_WINDOW as usize],
    next_miss: u8,
    peers: BTreeMap<String, Peer>,
    resets: u64,
}

impl Vivaldi {
    /// At the origin.
    pub fn new() -> Self {
        Self::default()
    }

    /// This member's place.
    pub fn place(&self) -> &Coordinate {
        &self.place
    }

    /// Where a member said it is.
    pub fn of(&self, name: &str) -> Option<&Coordinate> {
        self.peers.get(name).map(|peer| &peer.coordinate)
    }

    /// How often the place became meaningless and was set back to the origin.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Forgets a member.
    pub fn forget(&mut self, name: &str) {
        self.peers.remove(name);
    }

    /// Learns that a member at `other` answered after `rtt`.
    ///
    /// # Errors
    /// What cannot be believed; nothing changes then.
    pub fn observe(
        &mut self,
        name: &str,
        other: &Coordinate,
        rtt: Duration,
        rng: &mut ChaCha12Rng,
    ) -> Result<(), CoordinateError> {
        if !other.is_valid() {
            return Err(CoordinateError::Invalid);
        }
        if rtt > MAX_RTT {
            return Err(CoordinateError::RoundTrip(rtt));
        }
        let median = if let Some(peer) = self.peers.get_mut(name) {
            peer.coordinate.clone_from(other);
            peer.median(rtt.as_secs_f64())
        } else {
            let mut peer = Peer { coordinate: other.clone(), ..Peer::default() };
            let median = peer.median(rtt.as_secs_f64());
            self.peers.insert(name.to_owned(), peer);
            median
        };
        let rtt = median.max(ZERO);
        self.spring(other, rtt, rng);
        self.adjust(other, rtt);
        self.fall(rng);
        if !self.place.is_valid() {
            self.resets += 1;
            self.place = Coordinate::default();
            self.misses = [0.0; ADJUSTMENT_WINDOW as usize];
        }
        Ok(())
    }

    /// The spring between the two: moves the place and updates how sure it is.
    fn spring(&mut self, other: &Coordinate, rtt: f64, rng: &mut ChaCha12Rng) {
        let distance = self.place.seconds_to(other);
        let wrong = (distance - rtt).abs() / rtt;
        let total = (self.place.error + other.error).max(ZERO);
        let weight = self.place.error / total;
        let error = TUNING * weight * wrong + self.place.error * (1.0 - TUNING * weight);
        self.place.error = error.min(MAX_ERROR);
        self.place.push(TUNING * weight * (rtt - distance), other, rng);
    }

    /// What the place after its move is still off by goes into the adjustment.
    fn adjust(&mut self, other: &Coordinate, rtt: f64) {
        if let Some(miss) = self.misses.get_mut(usize::from(self.next_miss)) {
            *miss = rtt - self.place.raw_distance(other);
        }
        self.next_miss = (self.next_miss + 1) % ADJUSTMENT_WINDOW;
        self.place.adjustment = self.misses.iter().sum::<f64>() / (2.0 * f64::from(ADJUSTMENT_WINDOW));
    }

    /// Gravity: the further away from the origin, the harder it pulls back.
    fn fall(&mut self, rng: &mut ChaCha12Rng) {
        let origin = Coordinate::default();
        let distance = self.place.seconds_to(&origin) / GRAVITY_RHO;
        self.place.push(-(distance * distance), &origin, rng);
    }
}

#[cfg(test)]
mod tests;
