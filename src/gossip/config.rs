//! The tunables of a pool, with the three profiles of memberlist and what Consul changes in them.
//!
//! Source of the figures: memberlist's LAN, WAN and local defaults, Serf's defaults, and Consul
//! 1.8's changes to both.

use std::time::Duration;

/// How failures are detected and news spread.
///
/// Names are memberlist's; each says what a larger value costs.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // switches that do not depend on each other
pub struct SwimConfig {
    /// How long an exchange over a stream may take; refreshed at each step of it. LAN 10 s, WAN 30 s, local 1 s.
    pub tcp_timeout: Duration,
    /// How many members are asked to probe on one's behalf. LAN and WAN 3, local 1. More: fewer false
    /// suspicions, more packets.
    pub indirect_checks: usize,
    /// A message is sent `retransmit_mult * ceil(log10(n + 1))` times by each member. LAN and WAN 4, local 2.
    pub retransmit_mult: u32,
    /// Least time a member stays suspect, in probe intervals times `log10(n)`. LAN 4, WAN 6, local 3.
    /// More: fewer false deaths, slower detection.
    pub suspicion_mult: u32,
    /// Longest time a member stays suspect, as a multiple of the least. 6. 1 switches Lifeguard's
    /// confirmation-driven timeout off.
    pub suspicion_max_timeout_mult: u32,
    /// Between two full exchanges with a random member; stretched in pools of more than 32. LAN 30 s,
    /// WAN 60 s, local 15 s. Zero switches them off.
    pub push_pull_interval: Duration,
    /// Between two probes. LAN 1 s, WAN 5 s, local 1 s.
    pub probe_interval: Duration,
    /// How long the direct answer of a probe may take. LAN 500 ms, WAN 3 s, local 200 ms.
    pub probe_timeout: Duration,
    /// Whether a probe without an answer is tried once more over a stream. On.
    pub tcp_pings: bool,
    /// One more than the worst health score of Lifeguard's local awareness. 8. 1 switches it off.
    pub awareness_max: u32,
    /// Whether helpers of a probe are asked to say that they had no answer either. On.
    pub nacks: bool,
    /// Whether a probed suspect is told that it is suspected, so that it can object. On. Lifeguard's "buddy system".
    pub tell_suspects: bool,
    /// How many of all members, about, probe one that others suspect themselves, out of turn. 8; zero switches it
    /// off. Not memberlist's. More: the living object and the dead are confirmed sooner, but a slow member is
    /// pinged by as many at once.
    pub witnesses: u32,
    /// Members told at each gossip tick. LAN 3, WAN 4, local 3.
    pub gossip_nodes: usize,
    /// Between two gossip ticks. LAN 200 ms, WAN 500 ms, local 100 ms.
    pub gossip_interval: Duration,
    /// How long the dead are still told, so that they can object. LAN 30 s, WAN 60 s, local 15 s.
    pub gossip_to_the_dead: Duration,
    /// After how long another member may take the name of a dead one at another address. memberlist: never
    /// (zero); Consul: 30 s.
    pub dead_node_reclaim: Duration,
    /// Whether what is sent is compressed. Stock agents do; off here, since every receiver must accept
    /// both and the coder costs more than all the rest of a packet.
    pub compression: bool,
    /// Largest packet before compression, in bytes. 1,400.
    pub packet_size: usize,
}

impl SwimConfig {
    /// For members in one datacenter.
    pub fn lan() -> Self {
        Self {
            tcp_timeout: Duration::from_secs(10),
            indirect_checks: 3,
            retransmit_mult: 4,
            suspicion_mult: 4,
            suspicion_max_timeout_mult: 6,
            push_pull_interval: Duration::from_secs(30),
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            tcp_pings: true,
            awareness_max: 8,
            nacks: true,
            tell_suspects: true,
            witnesses: 8,
            gossip_nodes: 3,
            gossip_interval: Duration::from_millis(200),
            gossip_to_the_dead: Duration::from_secs(30),
            dead_node_reclaim: Duration::ZERO,
            compression: false,
            packet_size: 1_400,
        }
    }

    /// For members in several datacenters.
    pub fn wan() -> Self {
        Self {
            tcp_timeout: Duration::from_secs(30),
            suspicion_mult: 6,
            push_pull_interval: Duration::from_secs(60),
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            gossip_nodes: 4,
            gossip_interval: Duration::from_millis(500),
            gossip_to_the_dead: Duration::from_secs(60),
            ..Self::lan()
        }
    }

    /// For members on one machine.
    pub fn local() -> Self {
        Self {
            tcp_timeout: Duration::from_secs(1),
            indirect_checks: 1,
            retransmit_mult: 2,
            suspicion_mult: 3,
            push_pull_interval: Duration::from_secs(15),
            probe_timeout: Duration::from_millis(200),
            gossip_interval: Duration::from_millis(100),
            gossip_to_the_dead: Duration::from_secs(15),
            ..Self::lan()
        }
    }

    /// Whether a member can work with this.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let nonzero = |field, duration: Duration| match duration {
            Duration::ZERO => Err(ConfigError::Zero(field)),
            _ => Ok(()),
        };
        let within = |field, value: usize, min, max| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(ConfigError::OutOfRange { field, value, min, max })
            }
        };
        let small =
            |field, value: u32, min| within(field, usize::try_from(value).unwrap_or(usize::MAX), min, 1_000);
        nonzero("tcp_timeout", self.tcp_timeout)?;
        nonzero("probe_interval", self.probe_interval)?;
        nonzero("probe_timeout", self.probe_timeout)?;
        nonzero("gossip_interval", self.gossip_interval)?;
        if self.probe_timeout > self.probe_interval {
            return Err(ConfigError::ProbeTimeout);
        }
        small("retransmit_mult", self.retransmit_mult, 1)?;
        small("suspicion_mult", self.suspicion_mult, 1)?;
        small("suspicion_max_timeout_mult", self.suspicion_max_timeout_mult, 1)?;
        small("awareness_max", self.awareness_max, 1)?;
        within("indirect_checks", self.indirect_checks, 0, 1_000)?;
        within("gossip_nodes", self.gossip_nodes, 0, 1_000)?;
        // News of a member with the longest name and meta must fit, and no datagram is longer.
        within("packet_size", self.packet_size, 1_200, 65_507)
    }

    /// SWIM as published in 2002, without Lifeguard and without our own additions: what simulations compare with.
    #[must_use]
    pub fn without_lifeguard(mut self) -> Self {
        self.suspicion_max_timeout_mult = 1;
        self.awareness_max = 1;
        self.nacks = false;
        self.tell_suspects = false;
        self.witnesses = 0;
        self
    }
}

/// Why a configuration cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Must be more than nothing.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// Too small or too large.
    #[error("{field} is {value}, must be {min} to {max}")]
    OutOfRange {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// Least.
        min: usize,
        /// Most.
        max: usize,
    },
    /// A probe must be able to end before the next one starts.
    #[error("probe_timeout must not be longer than probe_interval")]
    ProbeTimeout,
}

/// How long the Serf layer remembers and waits.
#[derive(Debug, Clone, PartialEq)]
pub struct SerfConfig {
    /// Between two looks for members to be forgotten. 15 s.
    pub reap_interval: Duration,
    /// Between two attempts to reach a failed member. 30 s.
    pub reconnect_interval: Duration,
    /// After how long a failed member is forgotten. Serf 24 h, Consul 72 h.
    pub reconnect_timeout: Duration,
    /// After how long a member that left is forgotten. 24 h.
    pub tombstone_timeout: Duration,
    /// How long an intent about an unknown member is remembered. 5 min.
    pub intent_timeout: Duration,
    /// Longest wait until a goodbye was sent often enough. 5 s.
    pub broadcast_timeout: Duration,
    /// How long a member that leaves still answers. Serf 1 s, Consul 3 s.
    pub propagate_delay: Duration,
    /// How many user events and queries are remembered, to tell repeated ones; the wire fixes 512.
    pub event_buffer: usize,
    /// Largest user event, name and payload, in bytes. 512.
    pub user_event_size: usize,
    /// Largest query in bytes. 1,024.
    pub query_size: usize,
    /// Largest answer to a query in bytes. 1,024.
    pub query_response_size: usize,
    /// A query without a timeout of its own may take `gossip_interval * this * ceil(log10(n + 1))`. 16.
    pub query_timeout_mult: u32,
    /// Least length a broadcast queue is pruned to; with many members twice their number. 4,096.
    pub queue_depth: usize,
    /// User events with the same name that arrive within this are given out as the latest alone, if they
    /// allow it. Zero: every event by itself, as Consul has it.
    pub coalesce_period: Duration,
    /// Whether RTT estimates are kept and sent. On.
    pub coordinates: bool,
    /// Whether user events from before a join are skipped. Consul: yes.
    pub ignore_old_events: bool,
    /// Whether a snapshot that ends with a goodbye still says whom to join again. Consul: no.
    pub rejoin_after_leave: bool,
}

impl SerfConfig {
    /// Whether a pool can work with this.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let intervals =
            [("reap_interval", self.reap_interval), ("reconnect_interval", self.reconnect_interval)];
        match intervals.iter().find(|(_, interval)| interval.is_zero()) {
            Some((field, _)) => Err(ConfigError::Zero(field)),
            None => Ok(()),
        }
    }
}

impl Default for SerfConfig {
    /// Consul's values.
    fn default() -> Self {
        Self {
            reap_interval: Duration::from_secs(15),
            reconnect_interval: Duration::from_secs(30),
            reconnect_timeout: Duration::from_secs(72 * 3_600),
            tombstone_timeout: Duration::from_secs(24 * 3_600),
            intent_timeout: Duration::from_secs(300),
            broadcast_timeout: Duration::from_secs(5),
            propagate_delay: Duration::from_secs(3),
            event_buffer: 512,
            user_event_size: 512,
            query_size: 1_024,
            query_response_size: 1_024,
            query_timeout_mult: 16,
            queue_depth: 4_096,
            coalesce_period: Duration::ZERO,
            coordinates: true,
            ignore_old_events: true,
            rejoin_after_leave: false,
        }
    }
}

/// Everything a pool is made from.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// This member's name.
    pub name: String,
    /// The address others reach it at.
    pub advertise: std::net::SocketAddr,
    /// Its tags; at most 512 bytes once encoded.
    pub tags: std::collections::BTreeMap<String, String>,
    /// Failure detection and spreading.
    pub swim: SwimConfig,
    /// The layer above.
    pub serf: SerfConfig,
    /// Gossip keys, the first one used to encrypt; empty for plain text.
    pub keys: Vec<Vec<u8>>,
    /// With keys: whether plain packets and streams are refused. On.
    pub verify_incoming: bool,
    /// With keys: whether what is sent is encrypted. On.
    pub verify_outgoing: bool,
    /// What [`Outputs::snapshot`](super::Outputs) wrote in an earlier life, if anything.
    pub snapshot: Option<Vec<u8>>,
    /// Seed of all chance, nonces included: 32 bytes nobody else knows.
    pub seed: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_are_valid() {
        for config in [SwimConfig::lan(), SwimConfig::wan(), SwimConfig::local()] {
            assert_eq!(config.validate(), Ok(()));
            assert_eq!(config.without_lifeguard().validate(), Ok(()));
        }
    }

    #[test]
    fn what_cannot_work_is_named() {
        let config = SwimConfig { probe_interval: Duration::ZERO, ..SwimConfig::lan() };
        assert_eq!(config.validate(), Err(ConfigError::Zero("probe_interval")));
        let config = SwimConfig { probe_timeout: Duration::from_secs(2), ..SwimConfig::lan() };
        assert_eq!(config.validate(), Err(ConfigError::ProbeTimeout));
        let config = SwimConfig { awareness_max: 0, ..SwimConfig::lan() };
        assert_eq!(config.validate().unwrap_err().to_string(), "awareness_max is 0, must be 1 to 1000");
    }
}
