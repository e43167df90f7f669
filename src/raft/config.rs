//! Settings of the raft core. Time is counted in ticks; how long a tick is, the host decides.

use raft::Config;

use super::RaftError;
use super::membership::Membership;

/// Largest proposal in bytes. Above Consul's transaction limit with room to spare, below what one
/// peer message may carry.
pub const MAX_PROPOSAL: usize = 16 << 20;
/// Entries per append message, in bytes; one entry always fits.
const MAX_SIZE_PER_MESSAGE: u64 = 1 << 20;
/// Append messages under way to one peer. With the limit above a slow peer holds 64 MiB at most.
const MAX_INFLIGHT: usize = 64;
/// Bytes proposed and not yet committed; beyond it proposals are answered "busy".
const MAX_UNCOMMITTED: u64 = 64 << 20;
/// Committed bytes handed out at once.
pub(super) const MAX_COMMITTED_PER_READY: u64 = 1 << 20;

/// Ticks a host may make up for at once after a stall; more would turn a slow disk into an election.
pub const MAX_TICK_BURST: u32 = 3;

/// Settings of one raft node.
#[derive(Debug, Clone)]
pub struct DriverConfig {
    /// Raft ID of this server, from [`super::raft_id`].
    pub id: u64,
    /// Members of a group that is to be founded if the log is empty. `None`: wait to be added.
    pub bootstrap: Option<Membership>,
    /// Members to replace those of the log with, by an operator who knows that the others are gone for good.
    /// Every server that is left must be started with the same ones.
    pub recover: Option<Membership>,
    /// Ticks without a leader until an election; each is drawn between this and twice this.
    pub election_ticks: usize,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// Milliseconds after it sent what a quorum has answered within which a leader answers reads without asking.
    /// [`DriverConfig::lease_ticks`] of them are safe.
    pub lease_ms: u64,
    /// Ticks after which a waiting proposal is told that its outcome is unknown.
    pub proposal_ticks: u64,
    /// Ticks after which a waiting read is told that there is no leader.
    pub read_ticks: u64,
    /// Entries kept below the compaction point for servers that lag a little.
    pub trailing_entries: u64,
    /// Like it, in bytes: whichever keeps less.
    pub trailing_bytes: u64,
    /// Entries a live but slow follower may hold compaction back; beyond it gets a snapshot.
    pub follower_window: u64,
    /// Bytes handed out for applying and not yet reported applied, above which no more follow.
    pub max_apply_backlog: usize,
}

impl DriverConfig {
    /// Defaults for a server: with ticks of 100 ms an election after 1 to 2 s.
    pub fn new(id: u64) -> Self {
        Self {
            id,
            bootstrap: None,
            recover: None,
            election_ticks: 10,
            heartbeat_ticks: 2,
            lease_ms: 500,
            proposal_ticks: 300,
            read_ticks: 70,
            trailing_entries: 10_240,
            trailing_bytes: 16 << 20,
            follower_window: 100_000,
            max_apply_backlog: 8 << 20,
        }
    }

    /// Length of a leader's lease in ticks. A follower that has heard the leader gives no vote for an election
    /// timeout. Its count may be ahead by the ticks it makes up for after a stall, and clocks differ a little;
    /// what is left is the lease.
    pub fn lease_ticks(&self) -> usize {
        self.election_ticks.saturating_sub(self.heartbeat_ticks + MAX_TICK_BURST as usize)
    }

    /// Raft's own settings.
    ///
    /// # Errors
    /// [`RaftError::Config`] if they contradict each other.
    pub(super) fn raft(&self, applied: u64) -> Result<Config, RaftError> {
        let config = Config {
            id: self.id,
            election_tick: self.election_ticks,
            heartbeat_tick: self.heartbeat_ticks,
            applied,
            max_size_per_msg: MAX_SIZE_PER_MESSAGE,
            max_inflight_msgs: MAX_INFLIGHT,
            // Both off by default. Without them a cut-off server disturbs the others when it comes
            // back, and a cut-off leader goes on believing in itself.
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: MAX_UNCOMMITTED,
            max_committed_size_per_ready: MAX_COMMITTED_PER_READY,
            ..Config::default()
        };
        config.validate().map_err(|error| RaftError::Config(error.to_string()))?;
        if let Some(founding) = &self.bootstrap
            && !founding.is_sound()
        {
            return Err(RaftError::Config("the founding members make no sense".into()));
        }
        Ok(config)
    }
}
