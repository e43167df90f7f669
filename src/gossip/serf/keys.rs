//! Serf's own queries: changing and listing the keys of all members, and who has a name.
//!
//! Source: section 7.6 of the project's notes on the gossip wire. Texts that end up before operators are Serf's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::layer::Layer;
use super::queries::{Asker, INTERNAL, Purpose};
use crate::gossip::effect::{CommandError, Event, KeyReport, KeyRequest, Query, Ticket};
use crate::gossip::swim::Context;
use crate::gossip::wire::KeyError;
use crate::gossip::wire::serf::{KeyResponse, MemberRecord, decode_key_request, encode_key_request};

/// The shortest key takes this many bytes in an answer.
const SHORTEST_KEY: usize = 25;
/// Type byte of an answer about a name, and nil: the name is not known.
const UNKNOWN_NAME: [u8; 2] = [6, 0xc0];

/// Counts what members say about their keys.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) report: KeyReport,
}

impl Tally {
    /// Counts an answer.
    pub(super) fn count(&mut self, from: String, payload: &[u8]) {
        let report = &mut self.report;
        report.responses += 1;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let response = match KeyResponse::decode(payload) {
            Ok(response) => response,
            Err(error) => {
                report.errors += 1;
                report.messages.insert(from, format!("Failed to decode key query response: {error}"));
                return;
            }
        };
        if !response.result {
            report.errors += 1;
        }
        if !response.result || !response.message.is_empty() {
            report.messages.insert(from, text(response.message));
        }
        for key in &response.keys {
            *report.keys.entry(text(key)).or_default() += 1;
        }
        if !response.primary.is_empty() {
            *report.primary_keys.entry(text(response.primary)).or_default() += 1;
        }
    }

    /// Whether everybody answered.
    pub(super) fn is_complete(&self) -> bool {
        self.report.responses >= self.report.nodes
    }
}

/// What is asked of a member's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Install,
    Use,
    Remove,
    List,
}

impl Layer {
    /// Asks everybody to change, or to list, the keys.
    pub(super) fn ask_keys(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        request: &KeyRequest,
        relay_factor: u8,
    ) -> Result<(), CommandError> {
        let (name, key) = match request {
            KeyRequest::List => ("list-keys", &[][..]),
            KeyRequest::Install(key) => ("install-key", &key[..]),
            KeyRequest::Use(key) => ("use-key", &key[..]),
            KeyRequest::Remove(key) => ("remove-key", &key[..]),
        };
        let mut payload = Vec::new();
        encode_key_request(key, &mut payload);
        let query = Query { name: format!("{INTERNAL}{name}"), payload, relay_factor, ..Query::default() };
        let report = KeyReport { nodes: self.roster.present(), ..KeyReport::default() };
        self.start_query(cx, Purpose::Keys(ticket, Tally { report }), &query)
    }

    /// A query of Serf's own; `name` is without its prefix.
    pub(super) fn answer_internal(
        &mut self,
        cx: &mut Context<'_>,
        name: &str,
        payload: &[u8],
        asker: &Asker,
    ) {
        match name {
            // To be confirmed, which was done.
            "ping" => {}
            "conflict" => self.answer_conflict(cx, payload, asker),
            "install-key" => self.answer_keys(cx, Change::Install, payload, asker),
            "use-key" => self.answer_keys(cx, Change::Use, payload, asker),
            "remove-key" => self.answer_keys(cx, Change::Remove, payload, asker),
            "list-keys" => self.answer_keys(cx, Change::List, payload, asker),
            _ => tracing::debug!(name, "a query of Serf's own is not known"),
        }
    }

    /// Somebody sees its name claimed and asks who has it. About itself nobody is a witness.
    fn answer_conflict(&mut self, cx: &mut Context<'_>, name: &[u8], asker: &Asker) {
        if name == self.roster.local().name.as_bytes() {
            return;
        }
        let mut payload = Vec::new();
        match self.roster.get(name) {
            Some(member) => MemberRecord {
                name: member.name.as_bytes(),
                addr: Some(member.addr),
                tags: (*member.tags).clone(),
                status: member.status as u8,
                versions: member.versions,
            }
            .encode(&mut payload),
            None => payload.extend(UNKNOWN_NAME),
        }
        self.answer_with(cx, asker, &payload);
    }

    fn answer_keys(&mut self, cx: &mut Context<'_>, change: Change, payload: &[u8], asker: &Asker) {
        let changed = self.change_keys(cx, change, payload);
        if let (Ok(()), Change::List) = (&changed, change) {
            return self.answer_list(cx, asker);
        }
        let message = changed.err().unwrap_or_default();
        let response =
            KeyResponse { result: message.is_empty(), message: message.as_bytes(), ..KeyResponse::default() };
        let mut payload = Vec::new();
        response.encode(&mut payload);
        self.answer_with(cx, asker, &payload);
    }

    /// Changes this member's keys. The error is for operators.
    fn change_keys(&mut self, cx: &mut Context<'_>, change: Change, payload: &[u8]) -> Result<(), String> {
        let key =
            decode_key_request(payload).map_err(|error| format!("Failed to decode key request: {error}"))?;
        let before = self.keys();
        let Some(ring) = self.crypto.keyring_mut() else {
            // Two texts, as Serf has them.
            let text = match change {
                Change::List => "Keyring is empty (encryption not enabled)",
                Change::Install | Change::Use | Change::Remove => {
                    "No keyring to modify (encryption not enabled)"
                }
            };
            return Err(text.to_owned());
        };
        let text = |error: KeyError| error.to_string();
        match change {
            Change::Install => _ = ring.install(key).map_err(text)?,
            Change::Use => ring.make_primary(key).map_err(text)?,
            Change::Remove => _ = ring.remove(key).map_err(text)?,
            Change::List => {}
        }
        let after = self.keys();
        if after != before {
            self.crypto_changed = true;
            cx.out.events.push(Event::KeyringChanged(after));
        }
        Ok(())
    }

    /// The keys, the one in use first.
    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        self.crypto.keyring().map(|ring| ring.list().map(<[u8]>::to_vec).collect()).unwrap_or_default()
    }

    /// Lists this member's keys; as many as the answer may hold.
    fn answer_list(&mut self, cx: &mut Context<'_>, asker: &Asker) {
        let keys: Vec<String> = self.keys().iter().map(|key| BASE64.encode(key)).collect();
        let all: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        let most = all.len().min(self.config.query_response_size / SHORTEST_KEY + 1);
        for count in (0..=most).rev() {
            let message = if count < all.len() {
                format!("truncated key list response, showing first {count} of {} keys", all.len())
            } else {
                String::new()
            };
            let response = KeyResponse {
                result: true,
                message: message.as_bytes(),
                keys: all.get(..count).unwrap_or_default().to_vec(),
                primary: all.first().copied().unwrap_or_default(),
            };
            let mut payload = Vec::new();
            response.encode(&mut payload);
            if self.payload_fits(asker, &payload) {
                self.answer_with(cx, asker, &payload);
                return;
            }
        }
    }
}
