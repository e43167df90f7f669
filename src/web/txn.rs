//! `/v1/txn`: transactions over HTTP.

use actix_web::http::StatusCode;

use super::json_catalog::{self, NoTags};
use super::kv::write_entry;
use super::request::BodyError;
use super::{Answer, Json, Reply, Request, Route, WebError};
use crate::endpoints::query::QueryMeta;
use crate::endpoints::txn::{self, Transaction};
use crate::state::command::TxnResult;

/// The routes of this family.
pub fn routes() -> Vec<Route> {
    vec![Route::new("/v1/txn", &["PUT"], |request| Answer::later(run(request)))]
}

async fn run(mut request: Request) -> Result<Reply, WebError> {
    let body = match request.body(txn::body_limit(request.endpoints())).await {
        Ok(body) => body,
        Err(BodyError::TooLarge { announced }) => {
            return Err(WebError::TooLarge(txn::too_large(announced, request.endpoints()).into()));
        }
        Err(error) => return Err(error.into()),
    };
    let endpoints = request.endpoints();
    let transaction = Transaction::decode(endpoints, &body)?;
    drop(body);
    if transaction.writes() {
        let answer = txn::apply(endpoints, request.arg("dc"), transaction).await?;
        return Ok(show(&answer, request.pretty(), None));
    }
    let options = request.options()?;
    let (meta, answer) = txn::read_anywhere(endpoints, &options, transaction).await?;
    Ok(show(&answer, request.pretty(), Some(&meta)).with_leader(&meta))
}

fn show(answer: &txn::Answer, pretty: bool, meta: Option<&QueryMeta>) -> Reply {
    let reply = Reply::write_json(pretty, |json| {
        json.object(|json| {
            match answer {
                txn::Answer::Done(results) => {
                    json.key("Results").array(|json| {
                        for result in results {
                            write_result(json, result);
                        }
                    });
                    json.key("Errors").null();
                }
                txn::Answer::Failed(errors) => {
                    json.key("Results").null();
                    json.key("Errors").array(|json| {
                        for error in errors {
                            json.object(|json| {
                                json.key("OpIndex").u64(error.op_index as u64);
                                json.key("What").text(&error.what);
                            });
                        }
                    });
                }
            }
            if let Some(meta) = meta {
                json.key("Index").u64(0);
                json.key("LastContact").u64(u64::try_from(meta.last_contact.as_nanos()).unwrap_or(u64::MAX));
                json.key("KnownLeader").bool(meta.known_leader);
                json.key("ConsistencyLevel").text("");
            }
        });
    });
    match answer {
        txn::Answer::Done(_) => reply,
        txn::Answer::Failed(_) => reply.with_status(StatusCode::CONFLICT),
    }
}

fn write_result(json: &mut Json, result: &TxnResult) {
    json.object(|json| match result {
        TxnResult::Kv(entry) => {
            json.key("KV");
            write_entry(json, entry);
        }
        TxnResult::Node(node) => {
            json.key("Node");
            json_catalog::node(json, node);
        }
        TxnResult::Service(service) => {
            json.key("Service");
            json_catalog::service(json, service, NoTags::Null);
        }
        TxnResult::Check(check) => {
            json.key("Check");
            json_catalog::check(json, check, NoTags::Null);
        }
    });
}
