//! From the settings to what the pools are made from.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;

use super::tags::ServerFacts;
use crate::cidr::Cidr;
use crate::gossip::{SerfConfig, SwimConfig};
use crate::settings::groups::Gossip;
use crate::settings::{Coordinates, Join, Settings};

/// After how long Consul lets a name be taken over from a dead member.
const DEAD_NODE_RECLAIM: Duration = Duration::from_secs(30);

/// Everything about gossip that an agent is told before it starts.
#[derive(Debug, Clone)]
pub struct GossipOptions {
    /// The pool of the datacenter.
    pub lan: PoolOptions,
    /// The pool of the servers of all datacenters; servers only.
    pub wan: Option<PoolOptions>,
    /// What the tags of a server tell.
    pub server: ServerFacts,
    /// Whom to join.
    pub join: Join,
    /// How gossip is encrypted.
    pub encryption: EncryptionOptions,
    /// How coordinates are sent to the catalog.
    pub coordinates: Coordinates,
}

/// One pool.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// Listened on.
    pub bind: SocketAddr,
    /// Told to others.
    pub advertise: SocketAddr,
    /// Where members may come from; empty for anywhere.
    pub allowed: Vec<Cidr>,
    /// Failure detection.
    pub swim: SwimConfig,
    /// The layer above.
    pub serf: SerfConfig,
}

/// How gossip is encrypted.
#[derive(Clone)]
pub struct EncryptionOptions {
    /// `encrypt`.
    pub key: Option<Vec<u8>>,
    /// `encrypt_verify_incoming`.
    pub verify_incoming: bool,
    /// `encrypt_verify_outgoing`.
    pub verify_outgoing: bool,
    /// Keys are kept in files.
    pub files: bool,
}

impl std::fmt::Debug for EncryptionOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncryptionOptions").field("key", &self.key.is_some()).finish_non_exhaustive()
    }
}

impl GossipOptions {
    /// Picks out and converts.
    ///
    /// # Errors
    /// A key that is none.
    pub fn from_settings(settings: &Settings) -> Result<Self, String> {
        let (network, join) = (&settings.network, &settings.join);
        let serf = |reconnect_timeout| SerfConfig {
            reconnect_timeout,
            rejoin_after_leave: join.rejoin_after_leave,
            coordinates: !settings.coordinates.disabled,
            ..SerfConfig::default()
        };
        let lan = PoolOptions {
            bind: network.serf_lan_bind,
            advertise: network.serf_lan_advertise,
            allowed: network.serf_lan_allowed_cidrs.clone(),
            swim: swim(&settings.gossip_lan, SwimConfig::lan()),
            serf: serf(join.reconnect_timeout),
        };
        let wan = network.serf_wan.filter(|_| settings.server).map(|(bind, advertise)| PoolOptions {
            bind,
            advertise,
            allowed: network.serf_wan_allowed_cidrs.clone(),
            swim: swim(&settings.gossip_wan, SwimConfig::wan()),
            serf: serf(join.reconnect_timeout_wan),
        });
        let encryption = &settings.encryption;
        let key = encryption.key.as_ref().map(|key| {
            let key = base64::engine::general_purpose::STANDARD.decode(key.expose());
            key.map_err(|error| format!("encrypt has invalid key: {error}"))
        });
        Ok(Self {
            server: ServerFacts {
                expect: settings.bootstrap_expect,
                wan_join_port: wan.as_ref().map(|wan| wan.advertise.port()),
            },
            lan,
            wan,
            join: join.clone(),
            encryption: EncryptionOptions {
                key: key.transpose()?,
                verify_incoming: encryption.verify_incoming,
                verify_outgoing: encryption.verify_outgoing,
                // Without a data directory there is no place for them.
                files: !encryption.disable_keyring_file && settings.data_dir.is_some(),
            },
            coordinates: settings.coordinates.clone(),
        })
    }
}

fn swim(given: &Gossip, mut profile: SwimConfig) -> SwimConfig {
    profile.gossip_interval = given.gossip_interval;
    profile.gossip_nodes = usize::try_from(given.gossip_nodes).unwrap_or(usize::MAX);
    profile.probe_interval = given.probe_interval;
    profile.probe_timeout = given.probe_timeout;
    profile.suspicion_mult = given.suspicion_mult;
    profile.retransmit_mult = given.retransmit_mult;
    profile.dead_node_reclaim = DEAD_NODE_RECLAIM;
    profile
}
