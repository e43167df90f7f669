//! `/v1/operator/keyring`: gossip keys over HTTP.

use std::sync::Arc;

use actix_web::http::Method;

use super::super::agent::handle;
use super::{Answer, Reply, Request, WebError};
use crate::endpoints::decode::{Decoded, Json as Body};
use crate::endpoints::filter::parse_bool;
use crate::endpoints::keyring::{KeyOperation, Keyring, MAX_RELAY_FACTOR, PoolKeys, operate};

/// The handle of this endpoint.
pub struct KeyringHandle(pub Arc<dyn Keyring>);

/// Largest body.
const BODY_LIMIT: usize = 64 << 10;

pub(super) fn answer(request: Request) -> Answer {
    Answer::later(serve(request))
}

fn bad(text: impl std::fmt::Display) -> WebError {
    WebError::bad_request(format!("Bad request: {text}"))
}

async fn serve(mut request: Request) -> Result<Reply, WebError> {
    let list = request.method() == Method::GET;
    let key = if list { String::new() } else { body_key(&mut request).await? };
    let relay_factor = relay_factor(request.arg_filled("relay-factor"))?;
    let local_only = local_only(request.arg_filled("local-only"), list)?;
    let operation = match request.method().as_str() {
        "POST" => KeyOperation::Install(key),
        "PUT" => KeyOperation::Use(key),
        "DELETE" => KeyOperation::Remove(key),
        _ => KeyOperation::List { local_only },
    };
    let keyring = handle::<KeyringHandle>(&request)?;
    let pools = operate(&*keyring.0, operation, relay_factor).await?;
    if !list {
        return Ok(Reply::ok());
    }
    Ok(Reply::write_json(request.pretty(), |json| {
        json.array(|json| pools.iter().for_each(|pool| write(json, pool)));
    }))
}

fn write(json: &mut super::super::Json, pool: &PoolKeys) {
    json.object(|json| {
        json.key("WAN").bool(pool.wan);
        json.key("Datacenter").text(&pool.datacenter);
        json.key("Segment").text("");
        if !pool.messages.is_empty() {
            json.key("Messages").text_map(&pool.messages);
        }
        for (name, counts) in [("Keys", &pool.keys), ("PrimaryKeys", &pool.primary_keys)] {
            json.key(name).object(|json| {
                for (key, count) in counts {
                    json.key_text(key).u64(*count);
                }
            });
        }
        json.key("NumNodes").u64(pool.nodes);
    });
}

async fn body_key(request: &mut Request) -> Result<String, WebError> {
    fn decode(body: Body) -> Decoded<String> {
        let fields = body.map("map[string]interface {}", Ok)?.unwrap_or_default();
        let key = fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("key"));
        key.map_or(Ok(String::new()), |(_, value)| value.string())
    }
    let body = request.body(BODY_LIMIT).await?;
    Body::parse(&body).and_then(decode).map_err(|error| bad(format!("Request decode failed: {error}")))
}

fn relay_factor(text: Option<&str>) -> Result<u8, WebError> {
    let Some(text) = text else { return Ok(0) };
    let number: i64 = text.parse().map_err(|_| {
        bad(format!("Error parsing relay factor: strconv.Atoi: parsing {text:?}: invalid syntax"))
    })?;
    u8::try_from(number).ok().filter(|factor| *factor <= MAX_RELAY_FACTOR).ok_or_else(|| {
        bad(format!("Invalid relay-factor: Relay factor must be in range: [0, {MAX_RELAY_FACTOR}]"))
    })
}

fn local_only(text: Option<&str>, list: bool) -> Result<bool, WebError> {
    let Some(text) = text else { return Ok(false) };
    let on = parse_bool(text).ok_or_else(|| {
        bad(format!("Error parsing local-only: strconv.ParseBool: parsing {text:?}: invalid syntax"))
    })?;
    if on && !list {
        return Err(bad("Invalid use of local-only: local-only can only be set for list requests"));
    }
    Ok(on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_refused_in_consuls_words() {
        let table = [
            (relay_factor(Some("5")).err(), None),
            (
                relay_factor(Some("9")).err(),
                Some("Bad request: Invalid relay-factor: Relay factor must be in range: [0, 5]"),
            ),
            (
                relay_factor(Some("x")).err(),
                Some("Bad request: Error parsing relay factor: strconv.Atoi: parsing \"x\": invalid syntax"),
            ),
            (local_only(Some("true"), true).err(), None),
            (local_only(Some("false"), false).err(), None),
            (
                local_only(Some("true"), false).err(),
                Some("Bad request: Invalid use of local-only: local-only can only be set for list requests"),
            ),
            (
                local_only(Some("xx"), true).err(),
                Some(
                    "Bad request: Error parsing local-only: strconv.ParseBool: parsing \"xx\": invalid syntax",
                ),
            ),
        ];
        for (found, wanted) in table {
            assert_eq!(found.map(|error| error.to_string()).as_deref(), wanted);
        }
    }
}
