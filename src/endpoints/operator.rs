//! For operators: raft membership, the health of the servers, snapshots.

pub mod admin;
pub mod autopilot;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::query::QueryOptions;
use super::{EndpointError, Endpoints, Leadership, Peer};
use crate::state::archive::{ArchiveError, ArchiveOrigin, ArchiveReader, ArchiveServer, RecordKind};

pub use admin::{Admin, AdminAnswer, AdminRequest, ClusterHealth, PeerName, ServerHealth};

/// What raft says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RaftStatus {
    /// `Leader`, `Follower`, `Candidate` or `Shutdown`.
    pub state: &'static str,
    /// Current term.
    pub term: u64,
    /// Index of the last entry applied to the state.
    pub applied_index: u64,
    /// Index of the last committed entry.
    pub commit_index: u64,
    /// Index of the last entry of the log.
    pub last_log_index: u64,
    /// Its term.
    pub last_log_term: u64,
    /// Index the log starts after.
    pub last_snapshot_index: u64,
    /// Its term.
    pub last_snapshot_term: u64,
    /// Committed entries not applied yet.
    pub fsm_pending: u64,
    /// Index of the membership in force.
    pub configuration_index: u64,
}

impl RaftStatus {
    /// The `raft` group of an agent's figures.
    pub fn stats(&self, leadership: &Leadership) -> BTreeMap<&'static str, String> {
        let mut configuration = String::from("[");
        for (at, peer) in leadership.peers.iter().enumerate() {
            let gap = if at == 0 { "" } else { " " };
            let suffrage = if peer.voter { "Voter" } else { "Nonvoter" };
            // Writing to a string cannot fail.
            let _ =
                write!(configuration, "{gap}{{Suffrage:{suffrage} ID:{} Address:{}}}", peer.id, peer.address);
        }
        configuration.push(']');
        // Of those that vote, without this server.
        let others = leadership.peers.iter().filter(|peer| peer.voter).count().saturating_sub(1);
        let last_contact = if leadership.is_leader {
            "0".to_owned()
        } else if leadership.leader_address.is_none() {
            "never".to_owned()
        } else {
            go_duration(leadership.last_contact)
        };
        BTreeMap::from([
            ("applied_index", self.applied_index.to_string()),
            ("commit_index", self.commit_index.to_string()),
            ("fsm_pending", self.fsm_pending.to_string()),
            ("last_contact", last_contact),
            ("last_log_index", self.last_log_index.to_string()),
            ("last_log_term", self.last_log_term.to_string()),
            ("last_snapshot_index", self.last_snapshot_index.to_string()),
            ("last_snapshot_term", self.last_snapshot_term.to_string()),
            ("latest_configuration", configuration),
            ("latest_configuration_index", self.configuration_index.to_string()),
            ("num_peers", others.to_string()),
            ("protocol_version", RAFT_PROTOCOL.to_owned()),
            ("protocol_version_max", RAFT_PROTOCOL.to_owned()),
            ("protocol_version_min", "0".to_owned()),
            ("snapshot_version_max", "1".to_owned()),
            ("snapshot_version_min", "0".to_owned()),
            ("state", self.state.to_owned()),
            ("term", self.term.to_string()),
        ])
    }
}

/// The version of Consul's raft protocol whose membership rules these are: servers by id.
pub const RAFT_PROTOCOL: &str = "3";

fn go_duration(duration: Duration) -> String {
    crate::duration::format_unsigned(duration)
}

/// Questions to raft that are about raft itself.
pub trait RaftInfo: Send + Sync {
    /// What it says of itself now.
    fn raft_status(&self) -> RaftStatus;
}

/// Puts a checked archive in the place of the whole state.
pub trait SnapshotRestore: Send + Sync {
    /// Replaces the state on every server; resolves once readers see it.
    ///
    /// The archive was read once to its end and holds nothing that cannot be stored
    /// ([`check_restorable`]).
    ///
    /// # Errors
    /// [`EndpointError::NoLeader`], or why it failed.
    fn restore(&self, archive: ArchiveReader<File>) -> BoxFuture<'_, Result<(), EndpointError>>;
}

/// The handles of the operator endpoints.
#[derive(Clone)]
pub struct Operator {
    /// Raft about itself.
    pub raft: Arc<dyn RaftInfo>,
    /// Restores archives.
    pub restore: Arc<dyn SnapshotRestore>,
    /// Asks the leader.
    pub admin: Arc<dyn Admin>,
}

impl From<ArchiveError> for EndpointError {
    fn from(error: ArchiveError) -> Self {
        Self::Internal(error.to_string())
    }
}

/// Refuses an archive this build cannot store as a whole.
///
/// # Errors
/// [`EndpointError::Internal`], naming the types of records.
pub fn check_restorable(archive: &ArchiveReader<File>) -> Result<(), EndpointError> {
    archive.refuse_all_but(&RecordKind::STORED)?;
    Ok(())
}

/// An archive on its way in: spooled to a file that is gone as soon as it is let go, even by a
/// crash, because it has no name.
pub struct Spool {
    file: File,
}

impl Spool {
    /// Makes the file in `directory`, or among the system's temporary files when that is empty.
    /// Blocks.
    ///
    /// # Errors
    /// [`EndpointError::Internal`].
    pub fn create(directory: &str) -> Result<Self, EndpointError> {
        let directory =
            if directory.is_empty() { std::env::temp_dir() } else { std::path::PathBuf::from(directory) };
        let path = directory.join(format!("restore-{}.snap", uuid::Uuid::new_v4()));
        let spool_error = |error: std::io::Error| {
            EndpointError::Internal(format!("cannot spool the snapshot to {}: {error}", path.display()))
        };
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(spool_error)?;
        std::fs::remove_file(&path).map_err(spool_error)?;
        Ok(Self { file })
    }

    /// Adds bytes. Blocks.
    ///
    /// # Errors
    /// [`EndpointError::Internal`], as when the disk is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), EndpointError> {
        self.file
            .write_all(bytes)
            .map_err(|error| EndpointError::Internal(format!("cannot spool the snapshot: {error}")))
    }

    /// Checks that the archive is one, whatever is in it. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`EndpointError::Internal`] with Consul's words for what is wrong with it.
    pub fn sound(self) -> Result<ArchiveReader<File>, EndpointError> {
        Ok(ArchiveReader::open(self.file)?)
    }

    /// Checks the archive from end to end. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`EndpointError::Internal`] with Consul's words for what is wrong with it.
    pub fn finish(self) -> Result<ArchiveReader<File>, EndpointError> {
        let archive = self.sound()?;
        check_restorable(&archive)?;
        Ok(archive)
    }
}

/// What an archive made now says of its origin. `now_ms` is the wall clock.
pub fn archive_origin(endpoints: &Endpoints, operator: &Operator, now_ms: u64) -> ArchiveOrigin {
    let status = operator.raft.raft_status();
    let leadership = endpoints.leader.leadership();
    let servers = leadership.peers.iter().map(|peer| ArchiveServer {
        id: peer.id.clone(),
        address: peer.address.clone(),
        voter: peer.voter,
    });
    ArchiveOrigin {
        term: status.term,
        servers: servers.collect(),
        configuration_index: status.configuration_index,
        saved_ms: now_ms,
    }
}

/// The raft members, as any agent knows them: a client asks the servers.
///
/// # Errors
/// As for [`raft_configuration`], and the servers'.
pub async fn raft_members(endpoints: &Endpoints, options: &QueryOptions) -> Result<Vec<Peer>, EndpointError> {
    match &endpoints.far {
        Some(servers) => servers.raft_members(options).await,
        None => raft_configuration(endpoints, options).map(|leadership| leadership.peers.clone()),
    }
}

/// The raft members.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`] or [`EndpointError::NoLeader`].
pub fn raft_configuration(
    endpoints: &Endpoints,
    options: &QueryOptions,
) -> Result<Arc<Leadership>, EndpointError> {
    options.check_datacenter(endpoints)?;
    let leadership = endpoints.leader.leadership();
    if options.consistency != super::query::Consistency::Stale && leadership.leader_address.is_none() {
        return Err(EndpointError::NoLeader);
    }
    Ok(leadership)
}
