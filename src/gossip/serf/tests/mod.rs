//! Pools under test: one fed by hand (`rules`, `telling`), and several on a network in memory (`network`).

mod network;
mod rules;
mod solo;
mod telling;
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::gossip::config::{PoolConfig, SerfConfig, SwimConfig};

/// The address of the n-th member.
fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 8301))
}

/// The n-th member: `n0`, `n1`, ...
fn config(n: u8) -> PoolConfig {
    let mut seed = [n; 32];
    seed[0] = 7;
    PoolConfig {
        name: format!("n{n}"),
        advertise: address(n),
        tags: tags(&[("role", "node"), ("number", &n.to_string())]),
        swim: SwimConfig::lan(),
        serf: SerfConfig::default(),
        keys: Vec::new(),
        verify_incoming: true,
        verify_outgoing: true,
        snapshot: None,
        seed,
    }
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned())).collect()
}
