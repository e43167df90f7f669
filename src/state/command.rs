//! Commands: everything that can change the state, as it travels through the log.
//!
//! A command carries all that applying it needs: ids, the leader's clock and random choices are
//! filled in by the proposer, so that every server applies it to the same result. The encoded form
//! is one version byte and named-field msgpack; a version or command this build does not know is
//! an error that stops the server, never a skip.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::StateError;
use super::record::{AutopilotConfig, Check, KvEntry, Node, NodeCoordinate, Service, Session};

/// Version byte in front of every encoded command.
pub const COMMAND_VERSION: u8 = 1;

/// A command with the leader's wall clock at the time of proposing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Leader's wall clock, milliseconds since the Unix epoch; lock-delay windows are measured by it.
    #[serde(rename = "t")]
    pub now_ms: u64,
    /// The command.
    #[serde(rename = "c")]
    pub command: Command,
}

/// Everything that can change the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// A write to one key or a prefix.
    Kv(KvCommand),
    /// Register a node and what lives on it.
    Register(Box<Register>),
    /// Remove a node, a service or a check.
    Deregister(Deregister),
    /// Create a session; the proposer chose its id.
    SessionCreate(Session),
    /// End a session.
    SessionDestroy {
        /// Session id.
        id: Arc<str>,
    },
    /// Several operations, all or none.
    Txn(Vec<TxnOp>),
    /// Forget tombstones up to and including an index.
    ReapTombstones {
        /// Highest index forgotten.
        up_to: u64,
    },
    /// Store coordinates of registered nodes; unknown nodes are passed over.
    UpdateCoordinates(Vec<NodeCoordinate>),
    /// Keep a piece of an archive that is being restored.
    RestoreChunk(RestoreChunk),
    /// Replace the whole state by the archive whose pieces came before.
    RestoreFinish(RestoreFinish),
    /// Give a restore up.
    RestoreAbort {
        /// Its id.
        id: Arc<str>,
    },
    /// Store how the leader looks after the other servers.
    Autopilot {
        /// The configuration; its indexes are ignored.
        config: Box<AutopilotConfig>,
        /// Only if the ModifyIndex still is this one (0: if there is none).
        cas: Option<u64>,
    },
}

/// A piece of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreChunk {
    /// Id of the restore, chosen by the proposer.
    pub id: Arc<str>,
    /// Counts up from 0, which begins a restore.
    pub number: u32,
    /// The bytes, at most [`super::restore::CHUNK_BYTES`].
    pub data: Bytes,
}

/// The end of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreFinish {
    /// Id of the restore.
    pub id: Arc<str>,
    /// How many pieces there are.
    pub chunks: u32,
    /// SHA-256 of all of them.
    pub sha256: Bytes,
}

/// Which [`Command`] it is, for whoever counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandKind {
    /// [`Command::Kv`].
    Kv(KvVerb),
    /// [`Command::Register`].
    Register,
    /// [`Command::Deregister`].
    Deregister,
    /// [`Command::SessionCreate`].
    SessionCreate,
    /// [`Command::SessionDestroy`].
    SessionDestroy,
    /// [`Command::Txn`].
    Txn,
    /// [`Command::ReapTombstones`].
    ReapTombstones,
    /// [`Command::UpdateCoordinates`].
    UpdateCoordinates,
    /// [`Command::RestoreChunk`], [`Command::RestoreFinish`] or [`Command::RestoreAbort`].
    Restore,
    /// [`Command::Autopilot`].
    Autopilot,
}

impl Command {
    /// Which it is.
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::Kv(command) => CommandKind::Kv(command.verb),
            Self::Register(_) => CommandKind::Register,
            Self::Deregister(_) => CommandKind::Deregister,
            Self::SessionCreate(_) => CommandKind::SessionCreate,
            Self::SessionDestroy { .. } => CommandKind::SessionDestroy,
            Self::Txn(_) => CommandKind::Txn,
            Self::ReapTombstones { .. } => CommandKind::ReapTombstones,
            Self::UpdateCoordinates(_) => CommandKind::UpdateCoordinates,
            Self::RestoreChunk(_) | Self::RestoreFinish(_) | Self::RestoreAbort { .. } => {
                CommandKind::Restore
            }
            Self::Autopilot { .. } => CommandKind::Autopilot,
        }
    }
}

/// What a [`KvCommand`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvVerb {
    /// Store.
    Set,
    /// Store if the ModifyIndex still is `cas` (0: if absent).
    Cas,
    /// Take the lock for `session` and store.
    Lock,
    /// Give the lock of `session` back and store.
    Unlock,
    /// Delete.
    Delete,
    /// Delete if the ModifyIndex still is `cas` (0: nothing happens).
    DeleteCas,
    /// Delete everything that starts with the key.
    DeleteTree,
}

impl KvVerb {
    /// Whether it answers true or false; the others are done in any case.
    pub const fn can_lose(self) -> bool {
        matches!(self, Self::Cas | Self::Lock | Self::Unlock | Self::DeleteCas)
    }
}

/// A write to one key or a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvCommand {
    /// What to do.
    #[serde(rename = "v")]
    pub verb: KvVerb,
    /// Key or prefix.
    #[serde(rename = "k")]
    pub key: Bytes,
    /// Value to store.
    #[serde(rename = "d", default, skip_serializing_if = "Bytes::is_empty")]
    pub value: Bytes,
    /// Flags to store.
    #[serde(rename = "f", default, skip_serializing_if = "is_zero")]
    pub flags: u64,
    /// Index for the check-and-set verbs.
    #[serde(rename = "i", default, skip_serializing_if = "is_zero")]
    pub cas: u64,
    /// Session for the lock verbs.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Arc<str>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if wants a reference")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Register a node and, with it, a service and checks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// The node; its indexes are ignored.
    pub node: Node,
    /// Leave an existing node as it is.
    pub skip_node_update: bool,
    /// A service on it.
    pub service: Option<Service>,
    /// Checks on it or on its services.
    pub checks: Vec<Check>,
}

/// Remove a service or a check or, with neither given, the whole node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deregister {
    /// Node name.
    pub node: Arc<str>,
    /// Service id, empty for none; wins over the check.
    pub service_id: String,
    /// Check id, empty for none.
    pub check_id: String,
}

/// Verb of a transaction's key operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnKvVerb {
    /// A write; fails the transaction where the single command would answer `false`.
    Write(KvVerb),
    /// Read one key; fails if absent.
    Get,
    /// Read a prefix.
    GetTree,
    /// Fail unless `session` holds the key.
    CheckSession,
    /// Fail unless ModifyIndex is `cas`.
    CheckIndex,
    /// Fail if the key exists.
    CheckNotExists,
}

/// Verb of a transaction's catalog operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnCatalogVerb {
    /// Read; fails if absent.
    Get,
    /// Store.
    Set,
    /// Store if the record's ModifyIndex (in the operation's record) still is the stored one (0: if absent).
    Cas,
    /// Delete.
    Delete,
    /// Delete if the ModifyIndex still is the stored one.
    DeleteCas,
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TxnOp {
    /// On a key; `command.verb` repeats the write verb and is ignored for reads and checks.
    Kv {
        /// What to do.
        verb: TxnKvVerb,
        /// Its operands.
        command: KvCommand,
    },
    /// On a node.
    Node {
        /// What to do.
        verb: TxnCatalogVerb,
        /// Its operand.
        node: Node,
    },
    /// On a service.
    Service {
        /// What to do.
        verb: TxnCatalogVerb,
        /// Node name.
        node: Arc<str>,
        /// Its operand.
        service: Box<Service>,
    },
    /// On a check.
    Check {
        /// What to do.
        verb: TxnCatalogVerb,
        /// Its operand.
        check: Box<Check>,
    },
}

/// What a transaction operation gives back. A write of a key carries no value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TxnResult {
    /// A key.
    Kv(KvEntry),
    /// A node.
    Node(Arc<Node>),
    /// A service.
    Service(Arc<Service>),
    /// A check.
    Check(Arc<Check>),
}

/// Why an operation of a transaction failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnError {
    /// Position of the operation.
    pub op_index: usize,
    /// Consul's words for what went wrong.
    pub what: String,
}

/// What applying a command gives back to whoever proposed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done, nothing to say.
    Done,
    /// Done or refused (check-and-set, lock).
    Bool(bool),
    /// Results of a transaction, in order (deletes give none).
    Txn(Vec<TxnResult>),
    /// A transaction that changed nothing, and why.
    TxnFailed(Vec<TxnError>),
    /// The command was refused; the state is untouched. The text is Consul's.
    Refused(String),
}

impl Envelope {
    /// Encodes for the log.
    ///
    /// # Errors
    /// [`StateError::Encode`] if msgpack refuses, which no command of this type does in practice.
    pub fn encode(&self) -> Result<Bytes, StateError> {
        let mut out = Vec::with_capacity(64);
        out.push(COMMAND_VERSION);
        let mut serializer = rmp_serde::Serializer::new(&mut out).with_struct_map();
        self.serialize(&mut serializer).map_err(|error| StateError::Encode(error.to_string()))?;
        Ok(out.into())
    }

    /// Decodes what [`Envelope::encode`] wrote.
    ///
    /// # Errors
    /// [`StateError::UnknownCommand`] for another version or an unknown or damaged command.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        match bytes.split_first() {
            Some((&COMMAND_VERSION, rest)) => {
                rmp_serde::from_slice(rest).map_err(|error| StateError::UnknownCommand(error.to_string()))
            }
            Some((version, _)) => Err(StateError::UnknownCommand(format!(
                "version {version}, this build reads {COMMAND_VERSION}"
            ))),
            None => Err(StateError::UnknownCommand("empty entry".into())),
        }
    }
}
