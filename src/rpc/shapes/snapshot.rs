//! The snapshot stream (first byte 5).

use crate::rpc::codec::fields::shapes;

/// [`SnapshotRequest::op`] to save.
pub const SNAPSHOT_SAVE: u64 = 0;
/// [`SnapshotRequest::op`] to restore.
pub const SNAPSHOT_RESTORE: u64 = 1;

shapes! {
    /// What a snapshot stream begins with.
    SnapshotRequest {
        /// Any server may answer.
        allow_stale: bool = "AllowStale",
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// [`SNAPSHOT_SAVE`] or [`SNAPSHOT_RESTORE`].
        op: u64 = "Op",
        /// ACL token.
        token: String = "Token",
    }

    /// What it is answered with, besides the metadata of a reply.
    SnapshotOutcome {
        /// What went wrong; empty for success.
        error: String = "Error",
    }
}
