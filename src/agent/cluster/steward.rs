//! Who looks after the raft group: autopilot on whoever leads, and what operators ask of the leader.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Actor as _;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::sleep;

use crate::actors::autopilot::{Autopilot, AutopilotParts, HealthWatch, LeaderAdmin, ServerPool};
use crate::actors::raft_handle::RaftHandle;
use crate::actors::supervision::{ExitProcess, RestartPolicy, supervise};
use crate::agent::links::LateBound;
use crate::agent::proposer::LogProposer;
use crate::endpoints::operator::{Admin, AdminAnswer, AdminRequest};
use crate::endpoints::{EndpointError, LeaderRead, Proposer};
use crate::metrics::Metrics;
use crate::peers::Request;
use crate::peers::request::Answer;
use crate::raft::DriverConfig;
use crate::settings::Settings;
use crate::settings::groups::Autopilot as Seed;
use crate::state::StateReader;
use crate::state::record::AutopilotConfig;

/// Looks more often than this cost more than they find.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// Between two looks for a leader.
const LOOK: Duration = Duration::from_millis(100);

/// What the settings say of it.
#[derive(Debug, Clone, Default)]
pub struct StewardOptions {
    /// The configuration of a new cluster.
    pub seed: AutopilotConfig,
    /// Between two looks at the health of the servers.
    pub pause: Duration,
    /// How long a request waits for a leader.
    pub hold: Duration,
}

impl StewardOptions {
    /// Picks it out.
    pub fn from_settings(settings: &Settings) -> Self {
        Self {
            seed: seed(&settings.autopilot),
            pause: settings.raft.health_interval.max(SHORTEST_PAUSE),
            hold: settings.performance.rpc_hold_timeout,
        }
    }
}

fn seed(settings: &Seed) -> AutopilotConfig {
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    AutopilotConfig {
        cleanup_dead_servers: settings.cleanup_dead_servers,
        last_contact_threshold: nanos(settings.last_contact_threshold),
        max_trailing_logs: u64::try_from(settings.max_trailing_logs).unwrap_or(0),
        min_quorum: settings.min_quorum,
        server_stabilization_time: nanos(settings.server_stabilization_time),
        ..AutopilotConfig::default()
    }
}

/// Starts autopilot, idle until this server leads; made anew when it dies.
#[expect(clippy::too_many_arguments, reason = "the parts of an agent, each once")]
pub fn start_autopilot(
    options: &StewardOptions,
    tick: Duration,
    raft: &RaftHandle,
    state: &StateReader,
    proposer: &Arc<dyn Proposer>,
    pool: Arc<dyn ServerPool>,
    metrics: &Arc<Metrics>,
    late: &LateBound<Autopilot>,
) -> HealthWatch {
    let health = HealthWatch::default();
    let heartbeats = u32::try_from(DriverConfig::new(1).heartbeat_ticks).unwrap_or(1);
    let parts = AutopilotParts {
        raft: raft.clone(),
        state: state.clone(),
        proposer: Arc::clone(proposer),
        pool,
        health: health.clone(),
        seed: options.seed.clone(),
        metrics: Arc::clone(metrics),
        pause: options.pause,
        heartbeat: tick * heartbeats,
    };
    let here = actix_rt::Arbiter::current();
    late.bind(supervise("autopilot", &here, RestartPolicy::default(), Arc::new(ExitProcess), move |alive| {
        let leads = parts.raft.leadership().is_leader;
        Autopilot::new(parts.clone(), leads, alive).start()
    }));
    health
}

/// The way to the leader for what operators ask, from any server.
pub struct ClusterAdmin {
    /// Serves if this server leads.
    pub here: LeaderAdmin,
    /// The way to another leader.
    pub proposer: Arc<LogProposer>,
    /// How long it waits for a leader.
    pub hold: Duration,
}

impl ClusterAdmin {
    async fn once(&self, request: &AdminRequest) -> Result<AdminAnswer, EndpointError> {
        if self.here.raft.leadership().is_leader {
            return self.here.ask(request.clone()).await;
        }
        let bytes = encode(request)?;
        match self.proposer.ask_leader(&Request::Admin(bytes)).await? {
            Answer::Admin(answer) => decode(&answer),
            _ => Err(EndpointError::Internal("the leader answered something else".into())),
        }
    }
}

impl Admin for ClusterAdmin {
    fn ask(&self, request: AdminRequest) -> BoxFuture<'_, Result<AdminAnswer, EndpointError>> {
        Box::pin(async move {
            let deadline = Instant::now() + self.hold;
            loop {
                match self.once(&request).await {
                    // Nothing came of it: there may be a leader in a moment.
                    Err(EndpointError::NoLeader) if Instant::now() < deadline => sleep(LOOK).await,
                    answer => return answer,
                }
            }
        })
    }
}

/// Serves a request that another server passed on.
///
/// # Errors
/// The leader's, or that the request cannot be read.
pub async fn serve(admin: &LeaderAdmin, request: &[u8]) -> Result<Answer, EndpointError> {
    let answer = admin.ask(decode(request)?).await?;
    encode(&answer).map(Answer::Admin)
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Bytes, EndpointError> {
    rmp_serde::to_vec_named(value)
        .map(Bytes::from)
        .map_err(|error| EndpointError::Internal(error.to_string()))
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, EndpointError> {
    rmp_serde::from_slice(bytes).map_err(|error| {
        EndpointError::Internal(format!("a server of another build asks or answers: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::operator::{ClusterHealth, PeerName, ServerHealth};

    #[test]
    fn requests_and_answers_travel() {
        for request in [
            AdminRequest::RemovePeer(PeerName::Id("a".into())),
            AdminRequest::RemovePeer(PeerName::Address("1.2.3.4:5".into())),
            AdminRequest::TransferLeader(None),
            AdminRequest::TransferLeader(Some("b".into())),
            AdminRequest::ServerHealth,
            AdminRequest::Leave("c".into()),
        ] {
            assert_eq!(decode::<AdminRequest>(&encode(&request).unwrap()), Ok(request));
        }
        let health = ClusterHealth {
            healthy: true,
            failure_tolerance: 1,
            servers: vec![ServerHealth { last_contact_ns: -1, ..ServerHealth::default() }],
        };
        let answer = AdminAnswer::Health(health);
        assert_eq!(decode::<AdminAnswer>(&encode(&answer).unwrap()), Ok(answer));
        assert!(decode::<AdminRequest>(&encode(&"Unheard").unwrap()).is_err());
    }
}
