//! What every test needs: agents as real processes, HTTP down to the bytes, waiting with deadlines.
//!
//! Nothing here knows the inside of Tribune. An agent is a binary with a command line, a
//! configuration file, a data directory and sockets, as its users see it. `TRIBUNE_BIN` names
//! another binary to try the tests on, such as a Consul one.

#![allow(dead_code, unused_imports, reason = "shared by several targets, none of which uses all of it")]

pub mod agent;
pub mod cluster;
pub mod dns;
pub mod fixture;
pub mod http;
pub mod parked;
pub mod process;
pub mod rng;
pub mod stock;
pub mod wait;

pub use agent::{Agent, Setup};
pub use http::{Answer, Client};
pub use parked::Parked;
pub use rng::Rng;
pub use stock::stock;
pub use wait::{eventually, until};
