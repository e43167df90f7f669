//! Transactions: operations run in order, see each other's effects, and all or none stay.
//!
//! Locks within their lock-delay are looked for first, as Consul's leader does: if there are any,
//! they are all that is told and nothing is run.

use super::apply_catalog as catalog;
use super::apply_kv;
use super::command::{KvCommand, KvVerb, Outcome, TxnCatalogVerb, TxnError, TxnKvVerb, TxnOp, TxnResult};
use super::record::{Check, Indexes, KvEntry, Node, Service};
use super::text::quote;
use super::view::{NodeEntry, fold};
use super::writer::{Abort, Writer, refuse};

/// Runs a transaction. With any operation failed, everything is taken back and every failure told.
///
/// # Errors
/// [`Abort::Failed`] if the store fails.
pub fn apply(writer: &mut Writer<'_>, operations: &[TxnOp]) -> Result<Outcome, Abort> {
    let delayed = delayed_locks(writer, operations);
    if !delayed.is_empty() {
        return Ok(Outcome::TxnFailed(delayed));
    }
    let savepoint = writer.savepoint();
    let mut results = Vec::new();
    let mut errors = Vec::new();
    for (op_index, operation) in operations.iter().enumerate() {
        match run(writer, operation, &mut results) {
            Ok(()) => {}
            Err(Abort::Refused(what)) => errors.push(TxnError { op_index, what }),
            Err(failed @ Abort::Failed(_)) => return Err(failed),
        }
    }
    if errors.is_empty() {
        return Ok(Outcome::Txn(results));
    }
    writer.rollback(savepoint);
    Ok(Outcome::TxnFailed(errors))
}

fn delayed_locks(writer: &Writer<'_>, operations: &[TxnOp]) -> Vec<TxnError> {
    let mut errors = Vec::new();
    for (op_index, operation) in operations.iter().enumerate() {
        if let TxnOp::Kv { verb: TxnKvVerb::Write(KvVerb::Lock), command } = operation
            && apply_kv::lock_delayed(writer, &command.key)
        {
            let what = format!("failed to lock key {} due to lock delay", quote(&command.key));
            errors.push(TxnError { op_index, what });
        }
    }
    errors
}

fn run(writer: &mut Writer<'_>, operation: &TxnOp, results: &mut Vec<TxnResult>) -> Result<(), Abort> {
    match operation {
        TxnOp::Kv { verb, command } => kv(writer, *verb, command, results),
        TxnOp::Node { verb, node } => {
            if let Some(node) = self::node(writer, *verb, node)? {
                results.push(node);
            }
            Ok(())
        }
        TxnOp::Service { verb, node, service } => {
            if let Some(service) = self::service(writer, *verb, node, service)? {
                results.push(service);
            }
            Ok(())
        }
        TxnOp::Check { verb, check } => {
            if let Some(check) = self::check(writer, *verb, check)? {
                results.push(check);
            }
            Ok(())
        }
    }
}

fn kv(
    writer: &mut Writer<'_>,
    verb: TxnKvVerb,
    command: &KvCommand,
    results: &mut Vec<TxnResult>,
) -> Result<(), Abort> {
    let key = &command.key;
    let name = quote(key);
    match verb {
        TxnKvVerb::Write(verb) => {
            if !apply_kv::apply(writer, &KvCommand { verb, ..command.clone() })? {
                return refuse(match verb {
                    KvVerb::DeleteCas => format!("failed to delete key {name}, index is stale"),
                    KvVerb::Lock => format!("failed to lock key {name}, lock is already held"),
                    KvVerb::Unlock => {
                        format!("failed to unlock key {name}, lock isn't held, or is held by another session")
                    }
                    _ => format!("failed to set key {name}, index is stale"),
                });
            }
            if matches!(verb, KvVerb::Set | KvVerb::Cas | KvVerb::Lock | KvVerb::Unlock)
                && let Some(entry) = writer.key(key)?
            {
                results.push(without_value(&entry));
            }
        }
        TxnKvVerb::Get => match writer.key(key)? {
            Some(entry) => results.push(TxnResult::Kv((*entry).clone())),
            None => return refuse(format!("key {name} doesn't exist")),
        },
        TxnKvVerb::GetTree => {
            let below = writer.keys_below(key)?;
            results.extend(below.iter().map(|entry| TxnResult::Kv((**entry).clone())));
        }
        TxnKvVerb::CheckSession => {
            let Some(entry) = writer.key(key)? else {
                return refuse(format!("failed to check session, key {name} doesn't exist"));
            };
            let (held, wanted) = (
                entry.session.as_deref().unwrap_or_default(),
                command.session.as_deref().unwrap_or_default(),
            );
            if held != wanted {
                return refuse(format!(
                    "failed session check for key {name}, current session {} != {}",
                    quote(held),
                    quote(wanted)
                ));
            }
            results.push(without_value(&entry));
        }
        TxnKvVerb::CheckIndex => {
            let Some(entry) = writer.key(key)? else {
                return refuse(format!("failed to check index, key {name} doesn't exist"));
            };
            if entry.indexes.modify_index != command.cas {
                return refuse(format!(
                    "failed index check for key {name}, current modify index {} != {}",
                    entry.indexes.modify_index, command.cas
                ));
            }
            results.push(without_value(&entry));
        }
        TxnKvVerb::CheckNotExists => {
            if writer.key(key)?.is_some() {
                return refuse(format!("key {name} exists"));
            }
        }
    }
    Ok(())
}

fn without_value(entry: &KvEntry) -> TxnResult {
    TxnResult::Kv(KvEntry { value: bytes::Bytes::new(), ..entry.clone() })
}

/// The node an operation means: by id if it has one, by name otherwise.
fn find_node<'a>(writer: &'a Writer<'_>, node: &Node) -> Option<&'a NodeEntry> {
    if node.id.is_empty() { writer.view.node(&node.node) } else { writer.view.node_by_id(&node.id) }
        .map(|entry| &**entry)
}

fn node(writer: &mut Writer<'_>, verb: TxnCatalogVerb, node: &Node) -> Result<Option<TxnResult>, Abort> {
    let by_name = |writer: &Writer<'_>| -> Option<Indexes> {
        writer.view.node(&node.node).map(|entry| entry.node.indexes)
    };
    match verb {
        TxnCatalogVerb::Get => {}
        TxnCatalogVerb::Set => catalog::set_node(writer, node)?,
        TxnCatalogVerb::Cas => {
            if !catalog::cas_holds(node.indexes.modify_index, by_name(writer)) {
                return refuse(format!("failed to set node {}, index is stale", quote(&*node.node)));
            }
            catalog::set_node(writer, node)?;
        }
        TxnCatalogVerb::Delete => {
            catalog::delete_node(writer, &node.node)?;
            return Ok(None);
        }
        TxnCatalogVerb::DeleteCas => {
            if by_name(writer).map(|indexes| indexes.modify_index) != Some(node.indexes.modify_index) {
                return refuse(format!("failed to delete node {}, index is stale", quote(&*node.node)));
            }
            catalog::delete_node(writer, &node.node)?;
            return Ok(None);
        }
    }
    match find_node(writer, node) {
        Some(entry) => Ok(Some(TxnResult::Node(entry.node.clone()))),
        None => refuse(format!("node {} doesn't exist", quote(&*node.node))),
    }
}

fn service(
    writer: &mut Writer<'_>,
    verb: TxnCatalogVerb,
    node: &str,
    service: &Service,
) -> Result<Option<TxnResult>, Abort> {
    let id = &*service.id;
    let find =
        |writer: &Writer<'_>| writer.view.node(node).and_then(|entry| entry.services.get(&fold(id))).cloned();
    let indexes = |writer: &Writer<'_>| find(writer).map(|service| service.indexes);
    match verb {
        TxnCatalogVerb::Get => {}
        TxnCatalogVerb::Set => catalog::set_service(writer, node, service)?,
        TxnCatalogVerb::Cas => {
            if !catalog::cas_holds(service.indexes.modify_index, indexes(writer)) {
                return refuse(format!(
                    "failed to set service {} on node {}, index is stale",
                    quote(id),
                    quote(node)
                ));
            }
            catalog::set_service(writer, node, service)?;
        }
        TxnCatalogVerb::Delete => {
            catalog::delete_service(writer, node, id)?;
            return Ok(None);
        }
        TxnCatalogVerb::DeleteCas => {
            if indexes(writer).map(|found| found.modify_index) != Some(service.indexes.modify_index) {
                return refuse(format!(
                    "failed to delete service {} on node {}, index is stale",
                    quote(id),
                    quote(node)
                ));
            }
            catalog::delete_service(writer, node, id)?;
            return Ok(None);
        }
    }
    match find(writer) {
        Some(service) => Ok(Some(TxnResult::Service(service))),
        None => refuse(format!("service {} on node {} doesn't exist", quote(id), quote(node))),
    }
}

fn check(writer: &mut Writer<'_>, verb: TxnCatalogVerb, check: &Check) -> Result<Option<TxnResult>, Abort> {
    let (node, id) = (&*check.node, &*check.check_id);
    let find =
        |writer: &Writer<'_>| writer.view.node(node).and_then(|entry| entry.checks.get(&fold(id))).cloned();
    let indexes = |writer: &Writer<'_>| find(writer).map(|check| check.indexes);
    match verb {
        TxnCatalogVerb::Get => {}
        TxnCatalogVerb::Set => catalog::set_check(writer, check)?,
        TxnCatalogVerb::Cas => {
            if !catalog::cas_holds(check.indexes.modify_index, indexes(writer)) {
                return refuse(format!(
                    "failed to set check {} on node {}, index is stale",
                    quote(id),
                    quote(node)
                ));
            }
            catalog::set_check(writer, check)?;
        }
        TxnCatalogVerb::Delete => {
            catalog::delete_check(writer, node, id)?;
            return Ok(None);
        }
        TxnCatalogVerb::DeleteCas => {
            if indexes(writer).map(|found| found.modify_index) != Some(check.indexes.modify_index) {
                return refuse(format!(
                    "failed to delete check {} on node {}, index is stale",
                    quote(id),
                    quote(node)
                ));
            }
            catalog::delete_check(writer, node, id)?;
            return Ok(None);
        }
    }
    match find(writer) {
        Some(check) => Ok(Some(TxnResult::Check(check))),
        None => refuse(format!("check {} on node {} doesn't exist", quote(id), quote(node))),
    }
}
