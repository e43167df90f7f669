//! `KVS`.

use bytes::Bytes;

use crate::rpc::codec::fields::shapes;
use crate::rpc::codec::{Cursor, Malformed, Pack, Packer, Unpack};
use crate::state::command::{KvCommand, KvVerb};
use crate::state::record::{Indexes, KvEntry};

/// A key: text to Consul, any bytes in truth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Key(pub Bytes);

impl Pack for Key {
    fn pack(&self, out: &mut Packer) {
        out.raw(&self.0);
    }
}

impl Unpack for Key {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Bytes::unpack(cursor).map(Self)
    }
}

shapes! {
    /// `KVS.Apply`.
    KvsRequest {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// Key, value, flags; ModifyIndex and Session where the verb takes them.
        dir_ent: KvEntry = "DirEnt",
        /// Verb: see [`verb_name`].
        op: String = "Op",
        /// ACL token.
        token: String = "Token",
    }

    /// `KVS.Get` (a key) and `KVS.List` (a prefix).
    KeyRequest {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// Key or prefix.
        key: Key = "Key",
    }

    /// `KVS.ListKeys`.
    KeyListRequest {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// Prefix.
        prefix: Key = "Prefix",
        /// Separator, misspelt in Consul's protocol for ever.
        separator: Key = "Seperator",
    }

    /// Reply of `KVS.Get` and `KVS.List`.
    DirEntries {
        /// The entries found.
        entries: Vec<KvEntry> = "Entries",
    }

    /// Reply of `KVS.ListKeys`.
    KeyList {
        /// The names.
        keys: Vec<Key> = "Keys",
    }
}

const VERBS: [(&str, KvVerb); 7] = [
    ("set", KvVerb::Set),
    ("cas", KvVerb::Cas),
    ("lock", KvVerb::Lock),
    ("unlock", KvVerb::Unlock),
    ("delete", KvVerb::Delete),
    ("delete-cas", KvVerb::DeleteCas),
    ("delete-tree", KvVerb::DeleteTree),
];

/// Consul's name of a verb.
pub fn verb_name(verb: KvVerb) -> &'static str {
    VERBS.iter().find(|(_, known)| *known == verb).map_or("", |(name, _)| name)
}

/// The verb of a name.
pub fn verb(name: &str) -> Option<KvVerb> {
    VERBS.iter().find(|(known, _)| *known == name).map(|(_, verb)| *verb)
}

/// The entry that carries a write's operands.
pub fn entry_of(command: KvCommand) -> KvEntry {
    KvEntry {
        key: command.key,
        value: command.value,
        flags: command.flags,
        lock_index: 0,
        session: command.session,
        indexes: Indexes { create_index: 0, modify_index: command.cas },
    }
}

/// The write whose operands an entry carries.
pub fn command_of(verb: KvVerb, entry: KvEntry) -> KvCommand {
    KvCommand {
        verb,
        key: entry.key,
        value: entry.value,
        flags: entry.flags,
        cas: entry.indexes.modify_index,
        session: entry.session.filter(|session| !session.is_empty()),
    }
}

impl KvsRequest {
    /// The request for a write.
    pub fn new(datacenter: &str, command: KvCommand) -> Self {
        Self {
            datacenter: datacenter.to_owned(),
            op: verb_name(command.verb).to_owned(),
            dir_ent: entry_of(command),
            token: String::new(),
        }
    }
}
