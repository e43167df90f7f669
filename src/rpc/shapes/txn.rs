//! `Txn`.

use std::sync::Arc;

use super::{command_of, entry_of};
use crate::endpoints::txn_operation::Operation;
use crate::rpc::codec::fields::shapes;
use crate::state::command::{self, KvVerb, TxnCatalogVerb, TxnKvVerb};
use crate::state::record::{Check, KvEntry, Node, Service};

shapes! {
    /// An operation on a key.
    TxnKvOp {
        /// Operands.
        dir_ent: KvEntry = "DirEnt",
        /// Verb.
        verb: String = "Verb",
    }

    /// An operation on a node.
    TxnNodeOp {
        /// Operand.
        node: Node = "Node",
        /// Verb.
        verb: String = "Verb",
    }

    /// An operation on a service.
    TxnServiceOp {
        /// Node name.
        node: Arc<str> = "Node",
        /// Operand.
        service: Box<Service> = "Service",
        /// Verb.
        verb: String = "Verb",
    }

    /// An operation on a check.
    TxnCheckOp {
        /// Operand.
        check: Box<Check> = "Check",
        /// Verb.
        verb: String = "Verb",
    }

    /// An operation of any kind.
    TxnOp {
        /// On a check.
        check: Option<TxnCheckOp> = "Check",
        /// On an intention.
        intention: Option<()> = "Intention",
        /// On a key.
        kv: Option<TxnKvOp> = "KV",
        /// On a node.
        node: Option<TxnNodeOp> = "Node",
        /// On a service.
        service: Option<TxnServiceOp> = "Service",
        /// On a session; of servers among themselves.
        session: Option<()> = "Session",
    }

    /// `Txn.Apply`.
    TxnRequest {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// The operations.
        ops: Vec<TxnOp> = "Ops",
        /// ACL token.
        token: String = "Token",
    }

    /// `Txn.Read`.
    TxnReadRequest {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// The operations.
        ops: Vec<TxnOp> = "Ops",
    }

    /// Why an operation failed.
    TxnError {
        /// Its position.
        op_index: usize = "OpIndex",
        /// Why.
        what: String = "What",
    }

    /// What an operation gave back; one of these.
    TxnResult {
        /// A check.
        check: Option<Arc<Check>> = "Check",
        /// A key.
        kv: Option<KvEntry> = "KV",
        /// A node.
        node: Option<Arc<Node>> = "Node",
        /// A service.
        service: Option<Arc<Service>> = "Service",
    }

    /// Reply of `Txn.Apply` and, with the metadata of a reply, of `Txn.Read`.
    TxnResponse {
        /// Why nothing was done.
        errors: Vec<TxnError> = "Errors",
        /// What was done.
        results: Vec<TxnResult> = "Results",
    }
}

fn kv_verb(verb: TxnKvVerb) -> &'static str {
    match verb {
        TxnKvVerb::Write(write) => super::verb_name(write),
        TxnKvVerb::Get => "get",
        TxnKvVerb::GetTree => "get-tree",
        TxnKvVerb::CheckSession => "check-session",
        TxnKvVerb::CheckIndex => "check-index",
        TxnKvVerb::CheckNotExists => "check-not-exists",
    }
}

const fn catalog_verb(verb: TxnCatalogVerb) -> &'static str {
    match verb {
        TxnCatalogVerb::Get => "get",
        TxnCatalogVerb::Set => "set",
        TxnCatalogVerb::Cas => "cas",
        TxnCatalogVerb::Delete => "delete",
        TxnCatalogVerb::DeleteCas => "delete-cas",
    }
}

impl From<command::TxnOp> for TxnOp {
    fn from(operation: command::TxnOp) -> Self {
        let mut op = Self::default();
        match operation {
            command::TxnOp::Kv { verb, command } => {
                op.kv = Some(TxnKvOp { dir_ent: entry_of(command), verb: kv_verb(verb).to_owned() });
            }
            command::TxnOp::Node { verb, node } => {
                op.node = Some(TxnNodeOp { node, verb: catalog_verb(verb).to_owned() });
            }
            command::TxnOp::Service { verb, node, service } => {
                op.service = Some(TxnServiceOp { node, service, verb: catalog_verb(verb).to_owned() });
            }
            command::TxnOp::Check { verb, check } => {
                op.check = Some(TxnCheckOp { check, verb: catalog_verb(verb).to_owned() });
            }
        }
        op
    }
}

impl TxnOp {
    /// The operation as the endpoints take it; of several kinds Consul takes the first in this order. None for
    /// kinds this build does not have.
    pub fn into_operation(self) -> Option<Operation> {
        if let Some(TxnKvOp { dir_ent, verb }) = self.kv {
            return Some(Operation::Kv { verb, command: command_of(KvVerb::Set, dir_ent) });
        }
        if let Some(TxnNodeOp { node, verb }) = self.node {
            return Some(Operation::Node { verb, node });
        }
        if let Some(TxnServiceOp { node, service, verb }) = self.service {
            return Some(Operation::Service { verb, node, service });
        }
        self.check.map(|TxnCheckOp { check, verb }| Operation::Check { verb, check })
    }
}

impl From<command::TxnResult> for TxnResult {
    fn from(result: command::TxnResult) -> Self {
        let mut told = Self::default();
        match result {
            command::TxnResult::Kv(entry) => told.kv = Some(entry),
            command::TxnResult::Node(node) => told.node = Some(node),
            command::TxnResult::Service(service) => told.service = Some(service),
            command::TxnResult::Check(check) => told.check = Some(check),
        }
        told
    }
}

impl TxnResult {
    /// The result as the endpoints have it.
    pub fn into_result(self) -> Option<command::TxnResult> {
        let kv = self.kv.map(command::TxnResult::Kv);
        let node = || self.node.map(command::TxnResult::Node);
        let service = || self.service.map(command::TxnResult::Service);
        let check = || self.check.map(command::TxnResult::Check);
        kv.or_else(node).or_else(service).or_else(check)
    }
}

impl From<command::TxnError> for TxnError {
    fn from(error: command::TxnError) -> Self {
        Self { op_index: error.op_index, what: error.what }
    }
}

impl From<TxnError> for command::TxnError {
    fn from(error: TxnError) -> Self {
        Self { op_index: error.op_index, what: error.what }
    }
}
