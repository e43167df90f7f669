//! What the host has to do for the raft core, as values. The order in which they are given is the
//! order in which they must be carried out.

use bytes::Bytes;

use super::membership::Membership;
use super::peer_codec::PeerMessage;
use super::snapshot::Manifest;

/// Names a proposal across servers and restarts: an entry carries it, so that whoever waits at a log
/// position can tell its own entry from another one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProposalId {
    /// Who proposed: drawn anew at every start of a server.
    pub origin: u64,
    /// Counts up within it.
    pub sequence: u64,
}

impl ProposalId {
    pub(super) fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.origin) << 64) | u128::from(self.sequence)).to_be_bytes()
    }

    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a u128")]
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let both = u128::from_be_bytes(bytes.try_into().ok()?);
        Some(Self { origin: (both >> 64) as u64, sequence: both as u64 })
    }
}

/// What a committed entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A proposal; its data is the proposer's.
    Normal,
    /// Written by a new leader; no data. Only moves the applied index.
    Noop,
    /// A change of members; raft has dealt with it. Only moves the applied index.
    Membership,
}

/// A committed entry.
#[derive(Debug)]
pub struct Committed<W> {
    /// Its index; without gaps from one to the next.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// What was proposed; empty unless normal.
    pub data: Bytes,
    /// Whoever proposed it here and waits; to be answered once applied.
    pub waiter: Option<W>,
    /// What it is.
    pub kind: EntryKind,
}

/// Why a proposal was not taken, or will not be answered by its entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Not the leader; nothing was appended. Proposals are never forwarded by raft.
    #[error("not the leader")]
    NotLeader {
        /// Raft ID of the leader if known.
        leader: Option<u64>,
    },
    /// Too much is waiting to be committed, leadership is being handed over, or another change of members is
    /// under way; nothing was appended.
    #[error("too many writes are waiting, try again")]
    Busy,
    /// Larger than [`super::config::MAX_PROPOSAL`], or empty.
    #[error("proposal of {0} bytes; between 1 and {max} are possible", max = super::config::MAX_PROPOSAL)]
    Size(usize),
    /// A change of members that makes no sense now; nothing was appended.
    #[error("{0}")]
    Membership(String),
    /// Another entry was committed in its place: it did not and will not happen. Safe to retry.
    #[error("leadership was lost before the write was committed; it did not happen")]
    Superseded,
    /// Whether it happens is not known here: leadership was lost or no quorum answered in time.
    #[error("leadership was lost or no quorum answered in time; whether the write happened is unknown")]
    OutcomeUnknown,
    /// The node has failed; whether it happens is unknown.
    #[error("the raft node has failed; whether the write happened is unknown")]
    Failed,
}

/// Why a linearizable read got no index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed it in time.
    #[error("no leader confirmed the read in time")]
    NoLeader,
    /// Too many reads wait.
    #[error("too many reads are waiting")]
    Busy,
}

/// Something the host must do.
#[derive(Debug)]
pub enum Effect<W> {
    /// Send to the peer [`PeerMessage::to`]. Everything it depends on is durable. A send that fails
    /// must be reported by `Driver::report_unreachable`, the end of a snapshot by
    /// `Driver::report_snapshot`.
    Send(PeerMessage),
    /// Apply in order, then report by `Driver::applied`. An applier must store the applied index with
    /// what it applies, and answer each waiter only after its entry is visible.
    Apply(Vec<Committed<W>>),
    /// Everything committed before the read was asked for is applied.
    ReadReady {
        /// The caller's number for the read.
        ctx: u64,
        /// Index the state has reached at least.
        index: u64,
    },
    /// The read cannot be served.
    ReadFailed {
        /// The caller's number for the read.
        ctx: u64,
        /// Why.
        error: ReadError,
    },
    /// Another leader, none, or another term.
    LeaderChanged {
        /// Raft ID of the leader.
        leader: Option<u64>,
        /// Term.
        term: u64,
        /// This server is it.
        is_self: bool,
    },
    /// This server leads and has applied everything that was committed before it did.
    LeaderReady {
        /// Term it leads in.
        term: u64,
    },
    /// The members changed, durably.
    MembershipChanged(Membership),
    /// A waiter whose entry will not come.
    Reject {
        /// Who waits.
        waiter: W,
        /// Why.
        error: ProposeError,
    },
    /// Replace the whole state by this snapshot, whose data was streamed before, then report by
    /// `Driver::snapshot_installed`. Comes again after a restart until that is reported.
    InstallSnapshot(Manifest),
    /// A peer needs a snapshot and none is at hand: make one and report it by
    /// `Driver::snapshot_ready`.
    SnapshotWanted {
        /// Raft ID of that peer.
        to: u64,
    },
}
