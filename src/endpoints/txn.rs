//! Transactions: several operations over keys and the catalog, all or none.
//!
//! A transaction with a write goes through the log; one that only reads is answered here, as stale
//! or as fresh as asked for. What is wrong with single operations is not an error of the request:
//! it is told per operation, as Consul does in three rounds (what can be seen before applying
//! first, and only if nothing is wrong there what applying says).

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::blocking::refresh;
use super::decode::{DecodeError, Json};
use super::query::{QueryMeta, QueryOptions, check_datacenter};
use super::txn_operation::{Checked, Operation, node_id_problem, operation};
use super::{EndpointError, Endpoints};
use crate::state::command::{KvCommand, TxnError, TxnKvVerb, TxnOp, TxnResult};
use crate::state::kv::KvRow;
use crate::state::record::{KvEntry, Node};
use crate::state::store::{ReadStore, Table};
use crate::state::view::fold;
use crate::state::{Command, Outcome, StateError, View};

/// Most operations of a transaction.
const MAX_OPERATIONS: usize = 64;

/// What a transaction gave back.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Everything was done.
    Done(Vec<TxnResult>),
    /// Nothing was done, and why.
    Failed(Vec<TxnError>),
}

/// A transaction, read and checked as far as that goes without the state.
#[derive(Debug, Default, PartialEq)]
pub struct Transaction {
    operations: Vec<TxnOp>,
    /// Wrong on the face of it; Consul tells these alone.
    early: Vec<TxnError>,
    /// What applying would refuse in any case.
    late: Vec<TxnError>,
    writes: bool,
}

/// Largest body of a transaction: its own limit, or that of a value where it is higher.
pub fn body_limit(endpoints: &Endpoints) -> usize {
    endpoints.settings.txn_max_req_len.max(endpoints.settings.kv_max_value_size)
}

/// Consul's words for a body above the limit; without its size when that is not known.
pub fn too_large(size: Option<u64>, endpoints: &Endpoints) -> String {
    let size = size.map(|size| format!("({size} bytes)")).unwrap_or_default();
    format!(
        "Request body{size} too large, max size: {} bytes. \
         See https://www.consul.io/docs/agent/options.html#txn_max_req_len.",
        body_limit(endpoints)
    )
}

impl Transaction {
    /// Reads the body of a transaction.
    ///
    /// # Errors
    /// [`EndpointError::Invalid`] for what is no transaction, [`EndpointError::TooLarge`] for too
    /// many operations or too large a value.
    pub fn decode(endpoints: &Endpoints, body: &[u8]) -> Result<Self, EndpointError> {
        let bad = |error: DecodeError| EndpointError::Invalid(format!("Failed to parse body: {error}"));
        let json = Json::parse(body).map_err(bad)?;
        let operations: Vec<_> = json
            .list("api.TxnOps", operation)
            .map_err(bad)?
            .unwrap_or_default()
            .into_iter()
            .flatten()
            .collect();
        Self::new(endpoints, operations)
    }

    /// A transaction of these operations.
    ///
    /// # Errors
    /// [`EndpointError::TooLarge`] for too many operations or too large a value.
    pub fn new(endpoints: &Endpoints, operations: Vec<Operation>) -> Result<Self, EndpointError> {
        if operations.len() > MAX_OPERATIONS {
            return Err(EndpointError::TooLarge(format!(
                "Transaction contains too many operations ({} > {MAX_OPERATIONS})",
                operations.len()
            )));
        }
        let mut transaction = Self::default();
        for operation in operations {
            if let Operation::Kv { command, .. } = &operation {
                let (size, limit) = (command.value.len(), endpoints.settings.kv_max_value_size);
                if size > limit {
                    let key = String::from_utf8_lossy(&command.key);
                    return Err(EndpointError::TooLarge(format!(
                        "Value for key {key:?} is too large ({size} > {limit} bytes)"
                    )));
                }
            }
            transaction.add(endpoints, operation);
        }
        Ok(transaction)
    }

    /// Whether it may change anything.
    pub fn writes(&self) -> bool {
        self.writes
    }

    fn add(&mut self, endpoints: &Endpoints, operation: Operation) {
        self.writes |= operation.writes();
        let op_index = self.operations.len();
        let operation = match operation.checked(endpoints) {
            Checked::Good(operation) => operation,
            Checked::Early(what, operation) => {
                self.early.push(TxnError { op_index, what });
                operation
            }
            Checked::Late(what, operation) => {
                self.late.push(TxnError { op_index, what });
                operation
            }
        };
        self.operations.push(operation);
    }
}

/// Runs a transaction that writes.
///
/// # Errors
/// Whatever proposing gives.
pub async fn apply(
    endpoints: &Endpoints,
    datacenter: Option<&str>,
    transaction: Transaction,
) -> Result<Answer, EndpointError> {
    check_datacenter(endpoints, datacenter)?;
    for errors in [transaction.early, transaction.late] {
        if !errors.is_empty() {
            return Ok(Answer::Failed(errors));
        }
    }
    let applied = endpoints.proposer.propose(Command::Txn(transaction.operations)).await?;
    match applied.outcome {
        Outcome::Txn(results) => Ok(Answer::Done(results)),
        Outcome::TxnFailed(errors) => Ok(Answer::Failed(errors)),
        other => Err(EndpointError::Internal(format!("a transaction gave {other:?}"))),
    }
}

/// Runs a transaction that only reads.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`], [`EndpointError::NoLeader`] or a failing store.
pub async fn read(
    endpoints: &Endpoints,
    options: &QueryOptions,
    transaction: Transaction,
) -> Result<Answer, EndpointError> {
    options.check_datacenter(endpoints)?;
    refresh(endpoints, options).await?;
    if !transaction.early.is_empty() {
        return Ok(Answer::Failed(transaction.early));
    }
    let view = endpoints.state.view_full();
    let frozen = endpoints.state.store().freeze();
    let reader = Reader { view: &view, store: &*frozen };
    let mut late = transaction.late.into_iter().peekable();
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for (op_index, operation) in transaction.operations.iter().enumerate() {
        if let Some(error) = late.next_if(|error| error.op_index == op_index) {
            errors.push(error);
        } else if let Err(what) = reader.run(operation, &mut results)? {
            errors.push(TxnError { op_index, what });
        }
    }
    Ok(if errors.is_empty() { Answer::Done(results) } else { Answer::Failed(errors) })
}

/// [`read`], on any agent, and what the answer says about itself: a client asks the servers.
///
/// # Errors
/// As for [`read`], and the servers'.
pub async fn read_anywhere(
    endpoints: &Endpoints,
    options: &QueryOptions,
    transaction: Transaction,
) -> Result<(QueryMeta, Answer), EndpointError> {
    match &endpoints.far {
        Some(_) if !transaction.early.is_empty() => {
            Ok((QueryMeta { known_leader: true, ..QueryMeta::default() }, Answer::Failed(transaction.early)))
        }
        Some(servers) => {
            let (meta, answer) = servers.read_transaction(transaction.operations, options).await?;
            Ok((meta, with_late(answer, transaction.late)))
        }
        None => {
            let answer = read(endpoints, options, transaction).await?;
            Ok((super::blocking::meta(endpoints, options, 0), answer))
        }
    }
}

/// What the servers said, told of operations as sound ones of the kind, and what was wrong with those.
fn with_late(answer: Answer, late: Vec<TxnError>) -> Answer {
    let told = match answer {
        Answer::Done(_) if late.is_empty() => return answer,
        Answer::Done(_) => Vec::new(),
        Answer::Failed(errors) => errors,
    };
    let is_late = |error: &TxnError| late.iter().any(|late| late.op_index == error.op_index);
    let mut errors: Vec<_> = told.into_iter().filter(|error| !is_late(error)).collect();
    errors.extend(late);
    errors.sort_by_key(|error| error.op_index);
    Answer::Failed(errors)
}

/// Reads within one moment.
struct Reader<'a> {
    view: &'a View,
    store: &'a dyn ReadStore,
}

/// A result of its own for what an operation refuses, apart from a store that fails.
type Told = Result<(), String>;

/// Notes what was found, or says what is missing.
fn push(found: Option<TxnResult>, results: &mut Vec<TxnResult>, missing: impl FnOnce() -> String) -> Told {
    results.push(found.ok_or_else(missing)?);
    Ok(())
}

impl Reader<'_> {
    fn run(&self, operation: &TxnOp, results: &mut Vec<TxnResult>) -> Result<Told, StateError> {
        match operation {
            TxnOp::Kv { verb, command } => self.kv(*verb, command, results),
            TxnOp::Node { node, .. } => Ok(self.node(node, results)),
            TxnOp::Service { node, service, .. } => {
                let id = &*service.id;
                let entry = self.view.node(node);
                let found = entry.and_then(|entry| entry.services.get(&*fold(id))).cloned();
                let missing = || format!("service {id:?} on node {node:?} doesn't exist");
                Ok(push(found.map(TxnResult::Service), results, missing))
            }
            TxnOp::Check { check, .. } => {
                let (id, node) = (&*check.check_id, &*check.node);
                let entry = self.view.node(node);
                let found = entry.and_then(|entry| entry.checks.get(&*fold(id))).cloned();
                let missing = || format!("check {id:?} on node {node:?} doesn't exist");
                Ok(push(found.map(TxnResult::Check), results, missing))
            }
        }
    }

    fn node(&self, node: &Node, results: &mut Vec<TxnResult>) -> Told {
        if let Some(problem) = node_id_problem(&node.id) {
            return Err(format!("node lookup by ID failed, wrong UUID: {problem} for '{}'", node.id));
        }
        let entry =
            if node.id.is_empty() { self.view.node(&node.node) } else { self.view.node_by_id(&node.id) };
        let found = entry.map(|entry| TxnResult::Node(Arc::clone(&entry.node)));
        push(found, results, || format!("node {:?} doesn't exist", &*node.node))
    }

    fn key(&self, key: &Bytes) -> Result<Option<KvEntry>, StateError> {
        let mut found = Ok(None);
        self.store.get(Table::Kvs, key, &mut |row| {
            found = KvRow::decode(key, row).map(|row| Some(row.to_entry(key.clone())));
        })?;
        found
    }

    fn kv(
        &self,
        verb: TxnKvVerb,
        command: &KvCommand,
        results: &mut Vec<TxnResult>,
    ) -> Result<Told, StateError> {
        let name = String::from_utf8_lossy(&command.key);
        if verb == TxnKvVerb::GetTree {
            return self.below(&command.key, results).map(Ok);
        }
        let Some(entry) = self.key(&command.key)? else {
            return Ok(match verb {
                TxnKvVerb::CheckNotExists => Ok(()),
                TxnKvVerb::CheckSession => {
                    Err(format!("failed to check session, key {name:?} doesn't exist"))
                }
                TxnKvVerb::CheckIndex => Err(format!("failed to check index, key {name:?} doesn't exist")),
                _ => Err(format!("key {name:?} doesn't exist")),
            });
        };
        let told = match verb {
            TxnKvVerb::CheckNotExists => Err(format!("key {name:?} exists")),
            TxnKvVerb::CheckSession if entry.session != command.session => Err(format!(
                "failed session check for key {name:?}, current session {:?} != {:?}",
                entry.session.as_deref().unwrap_or_default(),
                command.session.as_deref().unwrap_or_default()
            )),
            TxnKvVerb::CheckIndex if entry.indexes.modify_index != command.cas => Err(format!(
                "failed index check for key {name:?}, current modify index {} != {}",
                entry.indexes.modify_index, command.cas
            )),
            _ => Ok(()),
        };
        if told.is_ok() {
            // Only a get shows the value.
            let value = if verb == TxnKvVerb::Get { entry.value } else { Bytes::new() };
            results.push(TxnResult::Kv(KvEntry { value, ..entry }));
        }
        Ok(told)
    }

    fn below(&self, prefix: &[u8], results: &mut Vec<TxnResult>) -> Result<(), StateError> {
        let mut failure = None;
        self.store.scan(Table::Kvs, prefix, &mut |key, row| match KvRow::decode(key, row) {
            Ok(row) => {
                results.push(TxnResult::Kv(row.to_entry(Bytes::copy_from_slice(key))));
                ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failure.map_or(Ok(()), Err)
    }
}
