//! What every read carries besides its own arguments, and what every answer says about itself.
//!
//! Transports fill [`QueryOptions`]; the blocking-read engine ([`super::blocking`]) obeys them and
//! gives back a [`QueryMeta`].

use std::time::Duration;

use super::{EndpointError, Endpoints, far};

/// How fresh an answer has to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// This agent leads and holds its lease; may be wrong only within a lease's skew.
    #[default]
    Default,
    /// Whatever this agent has, however old.
    Stale,
    /// Linearizable: leadership is confirmed for this very read.
    Consistent,
}

impl Consistency {
    /// Consul's word for it in `X-Consul-Effective-Consistency`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "leader",
            Self::Stale => "stale",
            Self::Consistent => "consistent",
        }
    }
}

/// What a reader asks for besides the thing itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryOptions {
    /// Datacenter asked for, none for the own one.
    pub datacenter: Option<String>,
    /// Freshness.
    pub consistency: Consistency,
    /// With [`Consistency::Stale`]: how long ago the leader may have been heard; zero for any time.
    pub max_stale: Duration,
    /// Wait until the answer's index is above this one; 0 answers at once.
    pub min_index: u64,
    /// Longest wait; zero for the default.
    pub max_wait: Duration,
}

impl QueryOptions {
    /// Fails unless the datacenter asked for is the own one.
    ///
    /// # Errors
    /// [`EndpointError::NoPathToDatacenter`].
    pub fn check_datacenter(&self, endpoints: &Endpoints) -> Result<(), EndpointError> {
        check_datacenter(endpoints, self.datacenter.as_deref())
    }

    /// How long a query waits at most: the time asked for (the default when not given, cut at the
    /// limit) and on top of it up to a sixteenth, so that queries started together do not all come
    /// back together. `random` may be any number.
    pub fn wait_time(&self, endpoints: &Endpoints, random: u64) -> Duration {
        let settings = &endpoints.settings;
        let wait = if self.max_wait.is_zero() { settings.default_query_time } else { self.max_wait };
        let wait = wait.min(settings.max_query_time);
        let spread = u64::try_from(wait.as_nanos() / JITTER_FRACTION).unwrap_or(u64::MAX);
        wait + Duration::from_nanos(random.checked_rem(spread).unwrap_or(0))
    }
}

/// A sixteenth of the wait is added at most, as in Consul.
const JITTER_FRACTION: u128 = 16;

/// Fails unless `datacenter` is absent or the own one.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`].
pub fn check_datacenter(endpoints: &Endpoints, datacenter: Option<&str>) -> Result<(), EndpointError> {
    match datacenter {
        Some(name) if !name.is_empty() && name != endpoints.settings.datacenter => match endpoints.far {
            None => Err(EndpointError::NoPathToDatacenter),
            Some(_) => Err(far::refusal(endpoints, EndpointError::NoPathToDatacenter.to_string())),
        },
        _ => Ok(()),
    }
}

/// What an answer says about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryMeta {
    /// Index of the answer; at least 1.
    pub index: u64,
    /// A leader is known.
    pub known_leader: bool,
    /// Time since the leader was heard; zero on the leader.
    pub last_contact: Duration,
    /// How fresh the answer was asked to be.
    pub consistency: Consistency,
}

impl QueryMeta {
    /// What Consul says of an answer that failed: index 1, no known leader.
    pub const FAILED: Self = Self {
        index: 1,
        known_leader: false,
        last_contact: Duration::ZERO,
        consistency: Consistency::Default,
    };
}
