//! The gossip core: who is in the pool, who lives, and what everybody shall hear.
//!
//! SWIM with Lifeguard (`swim`), the Serf layer on top of it (`serf`: clocks, intents, user events,
//! queries, tags, coordinates) and the wire both speak (`wire`): memberlist's and Serf's, byte for
//! byte, so that a stock agent can sit in the same pool.
//!
//! A `Pool` is plain deterministic Rust. Its host owns the sockets and one timer, calls
//! `Pool::step` with the time and an [`Input`], and carries out the [`Outputs`]. The same seed and
//! the same inputs give the same outputs, so thousands of pools can be simulated in one thread.
//!
//! May not enter: actors, sockets, tasks, clocks, thread-local chance; and anything that knows what
//! a datacenter, a server or a catalog is. Such rules come in through [`Admission`].
//!
//! ```text
//!  datagram ─▶ wire::packet ─▶ swim ──▶ table of members ──▶ serf ─▶ Event
//!  stream   ─▶ wire::stream ─┘  │ ▲                           │
//!                               ▼ └── broadcasts ◀────────────┘
//!                            Outputs: packets, exchanges, replies, events
//! ```

pub mod config;
pub mod coordinate;
pub mod effect;
pub mod serf;
pub mod swim;
pub mod time;
pub mod wire;

pub use config::{PoolConfig, SerfConfig, SwimConfig};
pub use coordinate::Coordinate;
pub use effect::{
    Admission, Command, CommandError, Done, Event, Exchange, ExchangeError, ExchangeId, Input, Outputs,
    Reply, StreamId, Ticket,
};
pub use serf::{Clocks, Member, Pool, PoolError, Stats, Status};
pub use time::Moment;
