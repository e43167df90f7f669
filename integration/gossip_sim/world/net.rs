//! The network: how long bytes travel, which are lost, and who does not reach whom.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha12Rng;

/// How many sides a network can fall into.
const SIDES: usize = 8;

/// What may happen to bytes on their way. All of it can be changed while the world runs.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// What every way takes at least.
    pub floor: Duration,
    /// What the longest way across the plane takes on top.
    pub span: Duration,
    /// Up to this much more, by chance, for every packet.
    pub jitter: Duration,
    /// Share of datagrams that are lost. Streams are delayed instead.
    pub loss: f64,
    /// Share of datagrams that arrive twice.
    pub duplication: f64,
    /// Share of datagrams that are held back, so that later ones overtake them.
    pub reordering: f64,
    /// Share of streams that break, before or after the request arrived.
    pub broken_streams: f64,
}

impl Conditions {
    /// One room: 0.1 to 0.6 ms.
    pub fn room() -> Self {
        Self {
            floor: Duration::from_micros(100),
            span: Duration::from_micros(300),
            jitter: Duration::from_micros(200),
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            broken_streams: 0.0,
        }
    }

    /// A town: 0.5 to 18 ms.
    pub fn town() -> Self {
        Self {
            floor: Duration::from_micros(500),
            span: Duration::from_millis(15),
            jitter: Duration::from_micros(2_500),
            ..Self::room()
        }
    }
}

/// Where a node is: a point on a plane of side 1, and the way from there to the network.
#[derive(Debug, Clone, Copy)]
struct Place {
    x: f64,
    y: f64,
    height: f64,
}

/// The network.
#[derive(Debug)]
pub struct Net {
    pub conditions: Conditions,
    places: Vec<Place>,
    /// The side each node is on.
    sides: Vec<u8>,
    /// Which sides (first index) do not reach which (second).
    cut: [[bool; SIDES]; SIDES],
}

impl Net {
    pub fn new(conditions: Conditions) -> Self {
        Self { conditions, places: Vec::new(), sides: Vec::new(), cut: Default::default() }
    }

    /// A node moves in.
    pub fn add(&mut self, rng: &mut ChaCha12Rng) {
        // Most are well connected, a few are far from everybody.
        let height = rng.random::<f64>().powi(3) / 2.0;
        self.places.push(Place { x: rng.random(), y: rng.random(), height });
        self.sides.push(0);
    }

    /// How long a way takes without jitter. The same in both directions.
    pub fn base(&self, from: usize, to: usize) -> Duration {
        let (from, to) = (self.places[from], self.places[to]);
        let distance = (from.x - to.x).hypot(from.y - to.y) / f64::sqrt(2.0);
        let share = (distance + from.height + to.height) / 2.0;
        self.conditions.floor + self.conditions.span.mul_f64(share)
    }

    /// How long it takes this time.
    pub fn way(&self, from: usize, to: usize, rng: &mut ChaCha12Rng) -> Duration {
        self.base(from, to) + self.conditions.jitter.mul_f64(rng.random())
    }

    /// How much later a stream's bytes come because of what was lost of them.
    pub fn resent(&self, rng: &mut ChaCha12Rng) -> Duration {
        let mut delay = Duration::ZERO;
        let mut wait = Duration::from_millis(200);
        while self.conditions.loss > 0.0 && rng.random_bool(self.conditions.loss) {
            delay += wait;
            wait *= 2;
        }
        delay
    }

    /// Whether what one sends can reach the other.
    pub fn reaches(&self, from: usize, to: usize) -> bool {
        !self.cut[usize::from(self.sides[from])][usize::from(self.sides[to])]
    }

    /// Puts nodes on sides that do not reach each other, in neither direction.
    pub fn split(&mut self, side_of: impl Fn(usize) -> u8) {
        self.assign(side_of);
        for (side, row) in self.cut.iter_mut().enumerate() {
            for (other, cut) in row.iter_mut().enumerate() {
                *cut = side != other;
            }
        }
    }

    /// Puts nodes on two sides; what side 1 sends does not reach side 0, while the other way is open.
    pub fn split_one_way(&mut self, side_of: impl Fn(usize) -> u8) {
        self.assign(side_of);
        self.cut = Default::default();
        self.cut[1][0] = true;
    }

    fn assign(&mut self, side_of: impl Fn(usize) -> u8) {
        for (node, side) in self.sides.iter_mut().enumerate() {
            *side = side_of(node);
        }
    }

    /// Everybody reaches everybody.
    pub fn heal(&mut self) {
        self.cut = Default::default();
    }

    /// Whether somebody does not reach somebody.
    pub fn is_cut(&self) -> bool {
        self.cut.iter().flatten().any(|cut| *cut)
    }
}
