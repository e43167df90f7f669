//! `KVS` and `Txn`.

use bytes::Bytes;

use super::RpcServices;
use super::dispatch::{Replied, request};
use super::read::{answer, check_datacenter, reply};
use crate::endpoints::blocking;
use crate::endpoints::kv::{self, Fold, Gather, Get, List};
use crate::endpoints::txn::{self, Answer, Transaction};
use crate::endpoints::{EndpointError, Endpoints};
use crate::rpc::codec::to_bytes;
use crate::rpc::shapes::{
    DirEntries, Key, KeyList, KeyListRequest, KeyRequest, KvsRequest, Query, TxnOp, TxnReadRequest,
    TxnRequest, TxnResponse, command_of, verb,
};
use crate::state::kv::KvRow;
use crate::state::record::KvEntry;

pub async fn get(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |_, request: KeyRequest, _| {
            let look = |key: &[u8], row: KvRow<'_>| row.to_entry(Bytes::copy_from_slice(key));
            Get { key: request.key.0, look }
        },
        |_, entry| Ok(DirEntries { entries: entry.into_iter().collect() }),
    )
    .await
}

#[derive(Default)]
struct Entries(Vec<KvEntry>);

impl Gather for Entries {
    fn row(&mut self, key: &[u8], row: KvRow<'_>) {
        self.0.push(row.to_entry(Bytes::copy_from_slice(key)));
    }
}

pub async fn list(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |_, request: KeyRequest, _| List { prefix: request.key.0, gather: Entries::default },
        |_, entries| Ok(DirEntries { entries: entries.unwrap_or_default().0 }),
    )
    .await
}

struct Names {
    fold: Fold,
    names: Vec<Key>,
}

impl Gather for Names {
    fn row(&mut self, key: &[u8], _: KvRow<'_>) {
        if let Some(name) = self.fold.fold(key) {
            self.names.push(Key(Bytes::copy_from_slice(name)));
        }
    }
}

pub async fn list_keys(services: &RpcServices, body: &[u8]) -> Replied {
    answer(
        services,
        body,
        |_, request: KeyListRequest, _| {
            let (length, separator) = (request.prefix.0.len(), request.separator.0);
            let gather = move || Names { fold: Fold::new(length, &separator), names: Vec::new() };
            List { prefix: request.prefix.0, gather }
        },
        |_, found| Ok(KeyList { keys: found.map(|found| found.names).unwrap_or_default() }),
    )
    .await
}

pub async fn apply(services: &RpcServices, body: &[u8]) -> Replied {
    let KvsRequest { datacenter, dir_ent, op, .. } = request(body)?;
    check_datacenter(services, &datacenter)?;
    let verb = verb(&op).ok_or_else(|| EndpointError::Refused(format!("Invalid KVS operation '{op}'")))?;
    let command = command_of(verb, dir_ent);
    let done = kv::write(&services.endpoints, Some(&datacenter), command).await?;
    // Go's zero value where nothing can be lost; callers do not look at it.
    Ok(to_bytes(&(done && verb.can_lose())))
}

fn transaction(endpoints: &Endpoints, ops: Vec<TxnOp>) -> Result<Transaction, EndpointError> {
    let mut operations = Vec::with_capacity(ops.len());
    for op in ops {
        let unknown = || {
            EndpointError::NotImplemented("a kind of operation this version of tribune does not have".into())
        };
        operations.push(op.into_operation().ok_or_else(unknown)?);
    }
    Transaction::new(endpoints, operations)
}

fn told(answer: Answer) -> TxnResponse {
    match answer {
        Answer::Done(results) => {
            TxnResponse { errors: Vec::new(), results: results.into_iter().map(Into::into).collect() }
        }
        Answer::Failed(errors) => {
            TxnResponse { errors: errors.into_iter().map(Into::into).collect(), results: Vec::new() }
        }
    }
}

pub async fn transact(services: &RpcServices, body: &[u8]) -> Replied {
    let TxnRequest { datacenter, ops, .. } = request(body)?;
    check_datacenter(services, &datacenter)?;
    let endpoints = &services.endpoints;
    let answer = txn::apply(endpoints, Some(&datacenter), transaction(endpoints, ops)?).await?;
    Ok(to_bytes(&told(answer)))
}

pub async fn read_transaction(services: &RpcServices, body: &[u8]) -> Replied {
    let Query { common, own: TxnReadRequest { datacenter, ops } } = request(body)?;
    check_datacenter(services, &datacenter)?;
    let (endpoints, options) = (&services.endpoints, common.to_options(&datacenter));
    let answer = txn::read(endpoints, &options, transaction(endpoints, ops)?).await?;
    Ok(reply(&blocking::meta(endpoints, &options, 0), told(answer)))
}
