//! Consul's snapshot archive: what `consul snapshot save` writes and `consul snapshot restore` reads.
//!
//! An archive is a gzip'd tar of `meta.json` (where it comes from), `state.bin` (the records) and
//! `SHA256SUMS` (of the two). `state.bin` is the form of Consul 1.8's state machine: a msgpack
//! header, then one type byte and one msgpack value per record, to the end. An archive written here
//! restores into a stock Consul; one of a stock Consul reads here, record by record.
//!
//! - [`write_archive`] streams a frozen state into any [`std::io::Write`].
//! - [`ArchiveReader`] first checks everything (sums, sizes, every record), then hands the records
//!   over one by one. Nothing of a damaged archive ever reaches the state.
//!
//! What Consul's format has no place for: lock-delay windows. They travel as one more key of the
//! header, which stock Consul ignores, so that a restored state refuses the same locks. Links
//! between sessions and keys are not written; they follow from the keys.
//!
//! May not enter: clocks (the time of the save is an argument), files (any reader and writer will
//! do), the writer of the state.

mod container;
mod decode;
mod encode;
mod moment;
pub mod msgpack;
#[cfg(test)]
mod tests;

/// The records in msgpack, as Consul's RPC carries them too.
pub mod wire {
    pub use super::decode::{
        any_session as read_session, check as read_check, coord as read_coord, coordinate as read_coordinate,
        dir_entry as read_dir_entry, service as read_service, service_field as read_service_field,
        string_map as read_string_map,
    };
    pub use super::encode::{
        addresses, check, connect, coord, coordinate, dir_entry, entry, proxy, service, session, string_map,
        strings, weights,
    };
}

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::sync::Arc;

use bytes::Bytes;

pub use moment::Moment;

use super::StateError;
use super::record::{AutopilotConfig, Check, KvEntry, Node, NodeCoordinate, Service, Session};
use super::store::ReadStore;
use super::view::View;

/// A raft server as `meta.json` lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveServer {
    /// Node UUID.
    pub id: String,
    /// `ip:port` of its server RPC.
    pub address: String,
    /// It votes.
    pub voter: bool,
}

/// Where and when an archive was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveOrigin {
    /// Raft term.
    pub term: u64,
    /// Raft members.
    pub servers: Vec<ArchiveServer>,
    /// Raft index of that membership.
    pub configuration_index: u64,
    /// Wall clock, milliseconds since the Unix epoch; part of the archive's id.
    pub saved_ms: u64,
}

/// What an archive says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveMeta {
    /// `term-index-milliseconds`.
    pub id: String,
    /// Raft index of the state.
    pub index: u64,
    /// Raft term.
    pub term: u64,
    /// Raft members.
    pub servers: Vec<ArchiveServer>,
    /// Length of `state.bin` in bytes.
    pub size: u64,
}

/// Whose index an index record holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum IndexKey {
    /// Node records.
    Nodes,
    /// Service instances.
    Services,
    /// Checks.
    Checks,
    /// Keys.
    Kvs,
    /// Tombstones.
    Tombstones,
    /// Sessions.
    Sessions,
    /// Coordinates.
    Coordinates,
    /// When a service name last lost its last instance.
    ServiceExtinction,
    /// One service name.
    Service(String),
    /// A table this build does not have.
    Other(String),
}

/// One record of an archive, in the form the tables store it.
#[derive(Debug, Clone, PartialEq)]
pub enum ArchiveRecord {
    /// A node; comes before everything that lives on it.
    Node(Node),
    /// A service instance.
    Service {
        /// Name of its node.
        node: Arc<str>,
        /// The instance.
        service: Box<Service>,
    },
    /// A check; it names its node.
    Check(Box<Check>),
    /// A coordinate.
    Coordinate(NodeCoordinate),
    /// A session.
    Session(Session),
    /// A key.
    Kv(KvEntry),
    /// A deleted key or prefix.
    Tombstone {
        /// Key or prefix.
        key: Bytes,
        /// Index of its deletion.
        index: u64,
    },
    /// Highest index of a table or service.
    Index {
        /// Whose.
        key: IndexKey,
        /// The index.
        index: u64,
    },
    /// Until when a key may not be locked.
    LockDelay {
        /// The key.
        key: Bytes,
        /// Leader's clock, milliseconds since the Unix epoch.
        until_ms: u64,
    },
    /// The configuration of autopilot.
    Autopilot(AutopilotConfig),
    /// Something this build has no table for, undecoded.
    Other {
        /// What it is.
        kind: RecordKind,
        /// Its msgpack value.
        value: Bytes,
    },
}

macro_rules! record_kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// The record types a `state.bin` can hold, by Consul's numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RecordKind {
            $($(#[$doc])* $name,)*
        }

        impl RecordKind {
            /// The type byte.
            pub const fn code(self) -> u8 {
                match self { $(Self::$name => $code,)* }
            }

            /// The type of a type byte, none for what never stands in a snapshot.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// Name for people.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

record_kinds! {
    /// A node, service or check.
    Register = 0, "registration";
    /// A key.
    Kv = 2, "key";
    /// A session.
    Session = 3, "session";
    /// An ACL of the old kind.
    LegacyAcl = 4, "legacy ACL";
    /// A deleted key.
    Tombstone = 5, "tombstone";
    /// Coordinates.
    Coordinates = 6, "coordinates";
    /// A prepared query.
    PreparedQuery = 7, "prepared query";
    /// The autopilot configuration.
    Autopilot = 9, "autopilot configuration";
    /// Whether ACLs can be bootstrapped.
    AclBootstrap = 11, "ACL bootstrap";
    /// An intention.
    Intention = 12, "intention";
    /// A root certificate of Connect.
    CaRoot = 13, "CA root";
    /// The state of the built-in certificate authority.
    CaProviderState = 14, "CA provider state";
    /// The configuration of the certificate authority.
    CaConfig = 15, "CA configuration";
    /// The index of a table.
    Index = 16, "index";
    /// An ACL token.
    AclToken = 17, "ACL token";
    /// An ACL policy.
    AclPolicy = 19, "ACL policy";
    /// A config entry.
    ConfigEntry = 22, "config entry";
    /// An ACL role.
    AclRole = 23, "ACL role";
    /// An ACL binding rule.
    AclBindingRule = 25, "ACL binding rule";
    /// An ACL auth method.
    AclAuthMethod = 27, "ACL auth method";
    /// Half-received large raft entries.
    ChunkingState = 29, "chunking state";
    /// What a datacenter tells the others.
    FederationState = 30, "federation state";
}

impl RecordKind {
    /// Everything this build has tables for.
    pub const STORED: [Self; 7] = [
        Self::Register,
        Self::Kv,
        Self::Session,
        Self::Tombstone,
        Self::Coordinates,
        Self::Autopilot,
        Self::Index,
    ];

    /// A restored state works without it: servers write such records anew by themselves. Every archive of
    /// a stock server holds some; refusing them would refuse all.
    pub const fn is_expendable(self) -> bool {
        matches!(self, Self::ChunkingState | Self::FederationState)
    }
}

/// What can go wrong with an archive. Texts are Consul's where Consul has one.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Not a gzip stream.
    #[error("failed to decompress snapshot: {0}")]
    Gzip(String),
    /// Not the tar expected, or it ends too early.
    #[error("failed to read snapshot file: {0}")]
    File(String),
    /// A sum is missing or wrong.
    #[error("failed to read snapshot file: failed checking integrity of snapshot: {0}")]
    Integrity(String),
    /// `meta.json` asks for what this build cannot do.
    #[error("Raft error when restoring snapshot: {0}")]
    Meta(String),
    /// A record type that never stands in a snapshot.
    #[error("failed to restore snapshot: Unrecognized msg type {0}")]
    UnknownRecord(u8),
    /// A record that does not decode.
    #[error("failed to restore snapshot: bad {kind} record: {reason}")]
    Malformed {
        /// What the record should have been.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The archive is sound but holds what this build cannot store; the text names it.
    #[error("failed to restore snapshot: this server cannot store its {0} yet; nothing was changed")]
    Unsupported(String),
    /// Writing failed, or seeking in the source.
    #[error("failed to write snapshot: {0}")]
    Io(#[from] std::io::Error),
    /// The state to save could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The state changed while it was saved: the store handed over was not frozen.
    #[error("failed to write snapshot: the state changed while it was read")]
    Moved,
}

/// Writes the state as an archive and gives the writer back, flushed by nobody yet.
///
/// `view` and `frozen` must be of one moment. Costs two scans of the key space (the length stands
/// in front of the records), one SHA-256 and one fast gzip pass; memory is one record at a time.
///
/// # Errors
/// [`ArchiveError::Io`] from the writer, [`ArchiveError::State`] from the store,
/// [`ArchiveError::Moved`] if the store changes meanwhile.
pub fn write_archive<W: Write>(
    out: W,
    origin: &ArchiveOrigin,
    view: &View,
    frozen: &dyn ReadStore,
) -> Result<W, ArchiveError> {
    container::write(out, origin, view, frozen)
}

/// An archive that was checked from end to end.
#[derive(Debug)]
pub struct ArchiveReader<R> {
    source: R,
    meta: ArchiveMeta,
    counts: BTreeMap<RecordKind, u64>,
}

impl<R: Read + Seek> ArchiveReader<R> {
    /// Reads an archive once to its end and checks sums, sizes and every record.
    ///
    /// # Errors
    /// [`ArchiveError`], whatever is wrong first.
    pub fn open(mut source: R) -> Result<Self, ArchiveError> {
        source.rewind()?;
        let mut counts = BTreeMap::new();
        let meta = container::read(&mut source, &mut |event| {
            if let container::Event::Record(kind) = event {
                *counts.entry(kind).or_default() += 1;
            }
            Ok::<(), ArchiveError>(())
        })?;
        Ok(Self { source, meta, counts })
    }

    /// The source, wherever in it was read last.
    pub fn into_source(self) -> R {
        self.source
    }

    /// What the archive says about itself.
    pub const fn meta(&self) -> &ArchiveMeta {
        &self.meta
    }

    /// How many records of each type it holds. Lock-delay windows are not records.
    pub const fn counts(&self) -> &BTreeMap<RecordKind, u64> {
        &self.counts
    }

    /// Fails if the archive holds records that are neither expendable
    /// ([`RecordKind::is_expendable`]) nor of a type in `stored`.
    ///
    /// # Errors
    /// [`ArchiveError::Unsupported`], naming types and counts.
    pub fn refuse_all_but(&self, stored: &[RecordKind]) -> Result<(), ArchiveError> {
        let foreign: Vec<String> = self
            .counts
            .iter()
            .filter(|(kind, _)| !kind.is_expendable() && !stored.contains(kind))
            .map(|(kind, count)| format!("{} records ({count})", kind.name()))
            .collect();
        if foreign.is_empty() { Ok(()) } else { Err(ArchiveError::Unsupported(foreign.join(", "))) }
    }

    /// Hands over every record in the archive's order: lock-delay windows first, then as written.
    /// The sums are checked again on the way, but only known at the end: whoever cannot trust the
    /// source to stay as [`ArchiveReader::open`] saw it must not publish before this returns.
    ///
    /// # Errors
    /// What `visit` returns, or [`ArchiveError`].
    pub fn for_each<E: From<ArchiveError>>(
        &mut self,
        mut visit: impl FnMut(ArchiveRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        self.source.rewind().map_err(ArchiveError::from)?;
        container::read(&mut self.source, &mut |event| match event {
            container::Event::Row(row) => visit(row),
            container::Event::Record(_) => Ok(()),
        })?;
        Ok(())
    }
}
