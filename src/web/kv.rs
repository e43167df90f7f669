//! `/v1/kv`: keys over HTTP.
//!
//! The hottest path of the product: a read of a key goes from the store's row to the answer's bytes
//! without anything in between.

use std::borrow::Cow;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;

use super::query::parse_u64;
use super::reply::ContentType;
use super::request::BodyError;
use super::{Answer, Json, MetaStyle, Reply, Request, Route, WebError, blocking};
use crate::endpoints::EndpointError;
use crate::endpoints::kv::{self, Fold, Gather, Get, List};
use crate::endpoints::query::QueryOptions;
use crate::state::command::{KvCommand, KvVerb};
use crate::state::kv::KvRow;
use crate::state::record::KvEntry;

/// The routes of this family.
pub fn routes() -> Vec<Route> {
    vec![Route::new("/v1/kv/", &["GET", "PUT", "DELETE"], key)]
}

static CONTENT_SECURITY_POLICY: HeaderName = HeaderName::from_static("content-security-policy");
static X_CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");

fn key(request: Request) -> Answer {
    let options = match request.options() {
        Ok(options) => options,
        Err(error) => return error.into(),
    };
    if let Err(error) = request.refuse_namespace() {
        return error.into();
    }
    match *request.method() {
        Method::PUT => put(request, options),
        Method::DELETE => delete(&request, options),
        _ => get(request, options),
    }
}

fn get(request: Request, options: QueryOptions) -> Answer {
    let key = Bytes::copy_from_slice(request.rest());
    let pretty = request.pretty();
    if let Some(query) = request.query() {
        if query.has("keys") {
            let separator = query.get("separator").or_else(|| query.get("seperator")).unwrap_or_default();
            let separator = separator.to_owned();
            return list_names(request, options, key, separator);
        }
        if query.has("recurse") {
            let gather = move || Entries::new(pretty);
            let read = List { prefix: key, gather };
            return blocking::answer(request, options, MetaStyle::Plain, read, |entries, _| {
                entries.map_or_else(Reply::not_found, Entries::into_reply)
            });
        }
    }
    if key.is_empty() {
        return missing_key().into();
    }
    if request.has_arg("raw") {
        let look = |_: &[u8], row: KvRow<'_>| Bytes::copy_from_slice(row.value);
        return blocking::answer(request, options, MetaStyle::Plain, Get { key, look }, |value, _| {
            value.map_or_else(Reply::not_found, raw)
        });
    }
    let look = move |key: &[u8], row: KvRow<'_>| {
        let mut json = Json::with_capacity(pretty, entry_size(key, &row));
        json.array(|json| write_row(json, key, &row));
        json
    };
    blocking::answer(request, options, MetaStyle::Plain, Get { key, look }, |found, _| {
        found.map_or_else(Reply::not_found, Reply::json)
    })
}

fn raw(value: Bytes) -> Reply {
    // A value must not run as a page of this origin.
    Reply::with_body(StatusCode::OK, ContentType::Plain, value)
        .with_header(X_CONTENT_TYPE_OPTIONS.clone(), HeaderValue::from_static("nosniff"))
        .with_header(CONTENT_SECURITY_POLICY.clone(), HeaderValue::from_static("sandbox"))
}

fn list_names(request: Request, options: QueryOptions, prefix: Bytes, separator: String) -> Answer {
    let pretty = request.pretty();
    let root = prefix.is_empty();
    let length = prefix.len();
    let gather = move || Names::new(pretty, Fold::new(length, separator.as_bytes()));
    let read = List { prefix, gather };
    blocking::answer(request, options, MetaStyle::Plain, read, move |names, pretty| match names {
        Some(names) => names.into_reply(),
        // An empty root is an empty list, any other prefix is not found.
        None if root => Reply::write_json(pretty, |json| json.array(|_| {})),
        None => Reply::not_found(),
    })
}

/// Writes entries as they are scanned.
struct Entries(Json);

impl Entries {
    fn new(pretty: bool) -> Self {
        let mut json = Json::with_capacity(pretty, 16 << 10);
        json.begin_array();
        Self(json)
    }

    fn into_reply(mut self) -> Reply {
        self.0.end_array();
        Reply::json(self.0)
    }
}

impl Gather for Entries {
    fn row(&mut self, key: &[u8], row: KvRow<'_>) {
        write_row(&mut self.0, key, &row);
    }
}

/// Writes names as they are scanned.
struct Names {
    json: Json,
    fold: Fold,
}

impl Names {
    fn new(pretty: bool, fold: Fold) -> Self {
        let mut json = Json::with_capacity(pretty, 1024);
        json.begin_array();
        Self { json, fold }
    }

    fn into_reply(mut self) -> Reply {
        self.json.end_array();
        Reply::json(self.json)
    }
}

impl Gather for Names {
    fn row(&mut self, key: &[u8], _: KvRow<'_>) {
        if let Some(name) = self.fold.fold(key) {
            self.json.byte_text(name);
        }
    }

    fn only_names(&self) -> Option<&[u8]> {
        Some(self.fold.separator())
    }
}

/// Room an entry takes in JSON: base64 is four thirds, the rest is field names and numbers.
fn entry_size(key: &[u8], row: &KvRow<'_>) -> usize {
    row.value.len() / 3 * 4 + key.len() + 288
}

fn write_row(json: &mut Json, key: &[u8], row: &KvRow<'_>) {
    json.object(|json| {
        json.key("LockIndex").u64(row.lock_index);
        json.key("Key").byte_text(key);
        json.key("Flags").u64(row.flags);
        json.key("Value").base64(row.value);
        if let Some(session) = row.session {
            json.key("Session").text(session);
        }
        json.key("CreateIndex").u64(row.indexes.create_index);
        json.key("ModifyIndex").u64(row.indexes.modify_index);
    });
}

/// Writes an entry as `/v1/kv` and `/v1/txn` show it.
pub fn write_entry(json: &mut Json, entry: &KvEntry) {
    write_row(json, &entry.key, &KvRow::from(entry));
}

fn missing_key() -> WebError {
    WebError::BadRequest(Cow::Borrowed("Missing key name"))
}

/// Refuses arguments that exclude each other.
fn refuse_conflict(request: &Request, names: &[&str]) -> Result<(), WebError> {
    let Some(query) = request.query() else { return Ok(()) };
    if names.iter().filter(|name| query.has(name)).count() > 1 {
        return Err(WebError::bad_request(format!("Conflicting flags: {}", query.encode())));
    }
    Ok(())
}

/// A number among the arguments; Consul answers 500 when it is none.
fn number(request: &Request, name: &str) -> Result<Option<u64>, WebError> {
    request
        .arg(name)
        .map(|text| parse_u64(text).map_err(|text| EndpointError::Refused(text).into()))
        .transpose()
}

fn put(request: Request, options: QueryOptions) -> Answer {
    match put_command(&request) {
        Ok(command) => Answer::later(store(request, options, command)),
        Err(error) => error.into(),
    }
}

/// The command a PUT means, still without its value.
fn put_command(request: &Request) -> Result<KvCommand, WebError> {
    let mut command = command(KvVerb::Set, request.rest());
    if command.key.is_empty() {
        return Err(missing_key());
    }
    refuse_conflict(request, &["cas", "acquire", "release"])?;
    if let Some(flags) = number(request, "flags")? {
        command.flags = flags;
    }
    if let Some(index) = number(request, "cas")? {
        command.verb = KvVerb::Cas;
        command.cas = index;
    }
    for (name, verb) in [("acquire", KvVerb::Lock), ("release", KvVerb::Unlock)] {
        if let Some(session) = request.arg(name) {
            command.verb = verb;
            command.session = Some(session.into());
        }
    }
    Ok(command)
}

fn command(verb: KvVerb, key: &[u8]) -> KvCommand {
    KvCommand { verb, key: Bytes::copy_from_slice(key), value: Bytes::new(), flags: 0, cas: 0, session: None }
}

async fn store(
    mut request: Request,
    options: QueryOptions,
    mut command: KvCommand,
) -> Result<Reply, WebError> {
    let limit = request.endpoints().settings.kv_max_value_size;
    command.value = match request.body(limit).await {
        Ok(body) => body,
        Err(BodyError::TooLarge { announced }) => {
            return Err(WebError::TooLarge(kv::too_large(announced, request.endpoints()).into()));
        }
        Err(error) => return Err(error.into()),
    };
    // Only a check-and-set or a lock can be lost; the caller of anything else is told `true`.
    let done = kv::write(request.endpoints(), options.datacenter.as_deref(), command).await?;
    Ok(Reply::bool(request.pretty(), done))
}

fn delete(request: &Request, options: QueryOptions) -> Answer {
    let command = match delete_command(request) {
        Ok(command) => command,
        Err(error) => return error.into(),
    };
    let pretty = request.pretty();
    let room = request.room().clone();
    Answer::later(async move {
        let endpoints = &room.shared.endpoints;
        let done = kv::write(endpoints, options.datacenter.as_deref(), command).await?;
        Ok(Reply::bool(pretty, done))
    })
}

fn delete_command(request: &Request) -> Result<KvCommand, WebError> {
    refuse_conflict(request, &["recurse", "cas"])?;
    let mut command = command(KvVerb::Delete, request.rest());
    if request.has_arg("recurse") {
        command.verb = KvVerb::DeleteTree;
    } else if command.key.is_empty() {
        return Err(missing_key());
    }
    if let Some(index) = number(request, "cas")? {
        command.verb = KvVerb::DeleteCas;
        command.cas = index;
    }
    Ok(command)
}
