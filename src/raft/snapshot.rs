//! The manifest of a snapshot: all that travels through raft itself.
//!
//! The state's data is streamed apart, before the message with the manifest is given to the raft
//! node that needs it. While no manifest is at hand the log answers "temporarily unavailable", and
//! the host is asked to make one.

use serde::{Deserialize, Serialize};

use super::codec;
use super::membership::Membership;

const VERSION: u8 = 1;

/// What a snapshot is and how to recognise its data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// Last index whose effect is in the data.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// The members as of that index.
    pub membership: Membership,
    /// Name of the data, chosen by whoever made it; unique per server and snapshot.
    pub data: String,
    /// Size of the data in bytes.
    pub size: u64,
    /// Checksum of the data, in the form its maker documents.
    pub checksum: String,
}

impl Manifest {
    pub(super) fn encode(&self) -> Result<Vec<u8>, String> {
        codec::encode(VERSION, self)
    }

    /// Reads what a peer or our own disk holds.
    ///
    /// # Errors
    /// A text for another version, damage, or members that make no sense.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = codec::decode(VERSION, bytes)?;
        if manifest.index == 0 || manifest.term == 0 || manifest.membership.index > manifest.index {
            return Err("impossible position".into());
        }
        if !manifest.membership.is_sound() {
            return Err("impossible membership".into());
        }
        Ok(manifest)
    }
}
