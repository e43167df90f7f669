//! A second state, written for being obviously right: plain maps, whole copies to take something
//! back, nothing derived that is kept. It shares the record types with the state and no rule.
//!
//! Indexes are kept as Consul keeps them: one table of named numbers.

mod catalog;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::state::command::{
    Command, Envelope, KvCommand, KvVerb, Outcome, TxnCatalogVerb, TxnError, TxnKvVerb, TxnOp, TxnResult,
};
use crate::state::record::{
    AutopilotConfig, Check, Indexes, KvEntry, Node, NodeCoordinate, Service, Session, SessionBehavior,
};
use crate::state::writer::Event;

/// Refused, with the text.
type Rule<T> = Result<T, String>;

/// Everything there is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    pub index: u64,
    pub now: u64,
    /// By lower-case name; so are all names in keys here.
    pub nodes: BTreeMap<String, Node>,
    pub services: BTreeMap<(String, String), Service>,
    pub checks: BTreeMap<(String, String), Check>,
    pub sessions: BTreeMap<String, Session>,
    pub keys: BTreeMap<Bytes, KvEntry>,
    pub tombstones: BTreeMap<Bytes, u64>,
    pub coordinates: BTreeMap<(String, String), NodeCoordinate>,
    pub lock_delays: BTreeMap<Bytes, u64>,
    pub autopilot: Option<AutopilotConfig>,
    /// `nodes`, `services`, `checks`, `kvs`, `tombstones`, `sessions`, `coordinates`, `extinction`
    /// and `service.NAME`.
    pub indexes: BTreeMap<String, u64>,
    pub events: Vec<Event>,
}

pub fn low(name: &str) -> String {
    name.to_lowercase()
}

fn at(node: &str, id: &str) -> (String, String) {
    (low(node), low(id))
}

impl Model {
    /// Applies one command. Events pile up in `events`.
    pub fn apply(&mut self, index: u64, envelope: &Envelope) -> Outcome {
        self.apply_watched(index, envelope, &mut |_| ())
    }

    /// The same, showing the state between the checks of a registration and the operations of a transaction.
    pub fn apply_watched(&mut self, index: u64, envelope: &Envelope, step: &mut dyn FnMut(&Self)) -> Outcome {
        self.index = index;
        self.now = envelope.now_ms;
        let before = self.clone();
        let outcome = match &envelope.command {
            Command::Kv(command) => self.kv(command.verb, command).map(Outcome::Bool),
            Command::Register(command) => self.register(command, step).map(|()| Outcome::Done),
            Command::Deregister(command) => {
                self.deregister(command);
                Ok(Outcome::Done)
            }
            Command::SessionCreate(session) => self.create_session(session).map(|()| Outcome::Done),
            Command::SessionDestroy { id } => {
                self.end_session(id);
                Ok(Outcome::Done)
            }
            Command::Txn(operations) => Ok(self.txn(operations, step)),
            Command::RestoreChunk(_) | Command::RestoreFinish(_) | Command::RestoreAbort { .. } => {
                unreachable!("restores replace the state and have tests of their own")
            }
            Command::ReapTombstones { up_to } => {
                self.tombstones.retain(|_, index| *index > *up_to);
                let now = self.now;
                self.lock_delays.retain(|_, until| *until > now);
                Ok(Outcome::Done)
            }
            Command::Autopilot { config, cas } => {
                let before = self.autopilot.as_ref().map(|config| config.indexes);
                let fits = match (cas, before) {
                    (None, _) | (Some(0), None) => true,
                    (Some(_), None) => false,
                    (Some(cas), Some(before)) => *cas == before.modify_index,
                };
                if fits {
                    let indexes = self.written(before);
                    self.autopilot = Some(AutopilotConfig { indexes, ..(**config).clone() });
                }
                Ok(Outcome::Bool(fits))
            }
            Command::UpdateCoordinates(updates) => {
                if !updates.is_empty() {
                    self.moved("coordinates");
                }
                for update in updates {
                    if self.nodes.contains_key(&low(&update.node)) {
                        self.coordinates.insert((low(&update.node), update.segment.clone()), update.clone());
                    }
                }
                Ok(Outcome::Done)
            }
        };
        match outcome {
            Ok(Outcome::TxnFailed(errors)) => {
                *self = before;
                Outcome::TxnFailed(errors)
            }
            Ok(outcome) => outcome,
            Err(text) => {
                *self = before;
                Outcome::Refused(text)
            }
        }
    }

    pub fn index_of(&self, name: &str) -> u64 {
        self.indexes.get(name).copied().unwrap_or(0)
    }

    fn moved(&mut self, name: &str) {
        self.indexes.insert(name.to_owned(), self.index);
    }

    fn service_moved(&mut self, name: &str) {
        self.moved(&format!("service.{}", low(name)));
    }

    fn written(&self, before: Option<Indexes>) -> Indexes {
        let create_index = before.map_or(self.index, |before| before.create_index);
        Indexes { create_index, modify_index: self.index }
    }

    // --- keys ---

    fn kv(&mut self, verb: KvVerb, command: &KvCommand) -> Rule<bool> {
        let existing = self.keys.get(&command.key).cloned();
        let modified = existing.as_ref().map(|entry| entry.indexes.modify_index);
        let holder = existing.as_ref().and_then(|entry| entry.session.clone());
        let locks = existing.as_ref().map_or(0, |entry| entry.lock_index);
        let given = command.session.clone().filter(|session| !session.is_empty());
        match verb {
            KvVerb::Cas if command.cas != modified.unwrap_or(0) => return Ok(false),
            KvVerb::Set | KvVerb::Cas => self.put(command, 0, holder),
            KvVerb::Lock => {
                if self.delayed(&command.key) {
                    return Ok(false);
                }
                let session = given.ok_or("missing session")?;
                if !self.sessions.contains_key(&*session) {
                    return Err(format!("invalid session {session:?}"));
                }
                let lock_index = match &holder {
                    None => locks + 1,
                    Some(holder) if *holder == session => locks,
                    Some(_) => return Ok(false),
                };
                self.lock_delays.remove(&command.key);
                self.put(command, lock_index, Some(session));
            }
            KvVerb::Unlock => {
                let session = given.ok_or("missing session")?;
                if holder != Some(session) {
                    return Ok(false);
                }
                self.put(command, locks, None);
            }
            KvVerb::Delete => self.delete_key(&command.key),
            KvVerb::DeleteCas if modified.is_none() => {}
            KvVerb::DeleteCas if modified == Some(command.cas) => self.delete_key(&command.key),
            KvVerb::DeleteCas => return Ok(false),
            KvVerb::DeleteTree => {
                let below: Vec<Bytes> =
                    self.keys.keys().filter(|key| key.starts_with(&command.key)).cloned().collect();
                for key in &below {
                    self.delete_key(key);
                }
                if !below.is_empty() && !command.key.is_empty() {
                    self.bury(&command.key);
                }
            }
        }
        Ok(true)
    }

    fn delayed(&self, key: &Bytes) -> bool {
        self.lock_delays.get(key).is_some_and(|until| self.now < *until)
    }

    fn put(&mut self, command: &KvCommand, lock_index: u64, session: Option<Arc<str>>) {
        self.put_entry(KvEntry {
            key: command.key.clone(),
            value: command.value.clone(),
            flags: command.flags,
            lock_index,
            session,
            indexes: Indexes::default(),
        });
    }

    fn put_entry(&mut self, mut entry: KvEntry) {
        let existing = self.keys.get(&entry.key);
        if let Some(existing) = existing {
            entry.indexes = existing.indexes;
            if *existing == entry {
                return;
            }
        }
        entry.indexes = self.written(existing.map(|existing| existing.indexes));
        self.moved("kvs");
        self.keys.insert(entry.key.clone(), entry);
    }

    fn delete_key(&mut self, key: &Bytes) {
        if self.keys.remove(key).is_some() {
            self.moved("kvs");
            self.bury(key);
        }
    }

    fn bury(&mut self, key: &Bytes) {
        self.moved("tombstones");
        self.tombstones.insert(key.clone(), self.index);
    }

    // --- sessions ---

    fn create_session(&mut self, session: &Session) -> Rule<()> {
        if session.id.is_empty() {
            return Err("Missing session ID".into());
        }
        if !self.nodes.contains_key(&low(&session.node)) {
            return Err("Missing node registration".into());
        }
        for id in session_checks(session) {
            let check = self.checks.get(&at(&session.node, &id));
            let check = check.ok_or(format!("Missing check '{id}' registration"))?;
            if check.status == "critical" {
                return Err(format!("Check '{id}' is in critical state"));
            }
        }
        self.end_session(&session.id);
        let session = Session { indexes: self.written(None), ..session.clone() };
        self.sessions.insert(session.id.to_string(), session.clone());
        self.moved("sessions");
        self.events.push(Event::SessionCreated(Arc::new(session)));
        Ok(())
    }

    fn end_session(&mut self, id: &str) {
        let Some(session) = self.sessions.remove(id) else { return };
        self.moved("sessions");
        let delay_ms = session.lock_delay.clamp(0, 60_000_000_000).unsigned_abs().div_ceil(1_000_000);
        let held: Vec<KvEntry> =
            self.keys.values().filter(|entry| entry.session.as_deref() == Some(id)).cloned().collect();
        for entry in held {
            match session.behavior {
                SessionBehavior::Release => self.put_entry(KvEntry { session: None, ..entry.clone() }),
                SessionBehavior::Delete => self.delete_key(&entry.key),
            }
            if delay_ms > 0 {
                self.lock_delays.insert(entry.key, self.now + delay_ms);
            }
        }
        self.events.push(Event::SessionEnded(session.id));
    }

    fn end_sessions(&mut self, which: impl Fn(&Session) -> bool) {
        let ids: Vec<String> = self
            .sessions
            .values()
            .filter(|session| which(session))
            .map(|session| session.id.to_string())
            .collect();
        for id in ids {
            self.end_session(&id);
        }
    }

    fn end_sessions_of_check(&mut self, node: &str, check: &str) {
        self.end_sessions(|session| {
            low(&session.node) == low(node) && session_checks(session).iter().any(|id| low(id) == low(check))
        });
    }

    // --- transactions ---

    fn txn(&mut self, operations: &[TxnOp], step: &mut dyn FnMut(&Self)) -> Outcome {
        let mut errors = Vec::new();
        for (op_index, operation) in operations.iter().enumerate() {
            if let TxnOp::Kv { verb: TxnKvVerb::Write(KvVerb::Lock), command } = operation
                && self.delayed(&command.key)
            {
                let what = format!("failed to lock key {} due to lock delay", quoted(&command.key));
                errors.push(TxnError { op_index, what });
            }
        }
        if !errors.is_empty() {
            return Outcome::TxnFailed(errors);
        }
        let mut results = Vec::new();
        for (op_index, operation) in operations.iter().enumerate() {
            match self.operation(operation) {
                Ok(more) => results.extend(more),
                Err(what) => errors.push(TxnError { op_index, what }),
            }
            step(self);
        }
        if errors.is_empty() { Outcome::Txn(results) } else { Outcome::TxnFailed(errors) }
    }

    fn operation(&mut self, operation: &TxnOp) -> Rule<Vec<TxnResult>> {
        match operation {
            TxnOp::Kv { verb, command } => self.txn_kv(*verb, command),
            TxnOp::Node { verb, node } => {
                let (name, wanted) = (&*node.node, node.indexes.modify_index);
                let found = self.nodes.get(&low(name)).map(|node| node.indexes.modify_index);
                catalog_rule(*verb, wanted, found, &format!("node {name:?}"))?;
                match verb {
                    TxnCatalogVerb::Delete | TxnCatalogVerb::DeleteCas => {
                        self.delete_node(name);
                        return Ok(Vec::new());
                    }
                    TxnCatalogVerb::Get => {}
                    TxnCatalogVerb::Set | TxnCatalogVerb::Cas => self.set_node(node)?,
                }
                let by_name = self.nodes.get(&low(name));
                let found = if node.id.is_empty() { by_name } else { self.node_by_id(&node.id) };
                let found = found.ok_or(format!("node {name:?} doesn't exist"))?;
                Ok(vec![TxnResult::Node(Arc::new(found.clone()))])
            }
            TxnOp::Service { verb, node, service } => {
                let (id, wanted) = (&*service.id, service.indexes.modify_index);
                let what = format!("service {id:?} on node {:?}", &**node);
                let found = self.services.get(&at(node, id)).map(|found| found.indexes.modify_index);
                catalog_rule(*verb, wanted, found, &what)?;
                match verb {
                    TxnCatalogVerb::Delete | TxnCatalogVerb::DeleteCas => {
                        self.delete_service(node, id);
                        return Ok(Vec::new());
                    }
                    TxnCatalogVerb::Get => {}
                    TxnCatalogVerb::Set | TxnCatalogVerb::Cas => self.set_service(node, service)?,
                }
                let found = self.services.get(&at(node, id)).ok_or(format!("{what} doesn't exist"))?;
                Ok(vec![TxnResult::Service(Arc::new(found.clone()))])
            }
            TxnOp::Check { verb, check } => {
                let (id, node, wanted) = (&*check.check_id, &*check.node, check.indexes.modify_index);
                let what = format!("check {id:?} on node {node:?}");
                let found = self.checks.get(&at(node, id)).map(|found| found.indexes.modify_index);
                catalog_rule(*verb, wanted, found, &what)?;
                match verb {
                    TxnCatalogVerb::Delete | TxnCatalogVerb::DeleteCas => {
                        self.delete_check(node, id);
                        return Ok(Vec::new());
                    }
                    TxnCatalogVerb::Get => {}
                    TxnCatalogVerb::Set | TxnCatalogVerb::Cas => self.set_check(check)?,
                }
                let found = self.checks.get(&at(node, id)).ok_or(format!("{what} doesn't exist"))?;
                Ok(vec![TxnResult::Check(Arc::new(found.clone()))])
            }
        }
    }

    fn txn_kv(&mut self, verb: TxnKvVerb, command: &KvCommand) -> Rule<Vec<TxnResult>> {
        let name = quoted(&command.key);
        let entry = self.keys.get(&command.key).cloned();
        let bare = |entry: KvEntry| vec![TxnResult::Kv(KvEntry { value: Bytes::new(), ..entry })];
        match verb {
            TxnKvVerb::Write(verb) => {
                if !self.kv(verb, command)? {
                    return Err(match verb {
                        KvVerb::Lock => format!("failed to lock key {name}, lock is already held"),
                        KvVerb::Unlock => format!(
                            "failed to unlock key {name}, lock isn't held, or is held by another session"
                        ),
                        KvVerb::DeleteCas => format!("failed to delete key {name}, index is stale"),
                        _ => format!("failed to set key {name}, index is stale"),
                    });
                }
                let writes = matches!(verb, KvVerb::Set | KvVerb::Cas | KvVerb::Lock | KvVerb::Unlock);
                Ok(if writes { bare(self.keys[&command.key].clone()) } else { Vec::new() })
            }
            TxnKvVerb::Get => Ok(vec![TxnResult::Kv(entry.ok_or(format!("key {name} doesn't exist"))?)]),
            TxnKvVerb::GetTree => Ok(self.below(&command.key).into_iter().map(TxnResult::Kv).collect()),
            TxnKvVerb::CheckSession => {
                let entry = entry.ok_or(format!("failed to check session, key {name} doesn't exist"))?;
                let held = entry.session.as_deref().unwrap_or("");
                let wanted = command.session.as_deref().unwrap_or("");
                if held != wanted {
                    return Err(format!(
                        "failed session check for key {name}, current session {held:?} != {wanted:?}"
                    ));
                }
                Ok(bare(entry))
            }
            TxnKvVerb::CheckIndex => {
                let entry = entry.ok_or(format!("failed to check index, key {name} doesn't exist"))?;
                let (is, wanted) = (entry.indexes.modify_index, command.cas);
                if is != wanted {
                    return Err(format!(
                        "failed index check for key {name}, current modify index {is} != {wanted}"
                    ));
                }
                Ok(bare(entry))
            }
            TxnKvVerb::CheckNotExists if entry.is_some() => Err(format!("key {name} exists")),
            TxnKvVerb::CheckNotExists => Ok(Vec::new()),
        }
    }

    /// The keys of a prefix.
    pub fn below(&self, prefix: &[u8]) -> Vec<KvEntry> {
        self.keys.values().filter(|entry| entry.key.starts_with(prefix)).cloned().collect()
    }
}

/// What the check-and-set verbs demand before they do anything.
fn catalog_rule(verb: TxnCatalogVerb, wanted: u64, found: Option<u64>, what: &str) -> Rule<()> {
    match verb {
        TxnCatalogVerb::Cas if wanted != found.unwrap_or(0) => {
            Err(format!("failed to set {what}, index is stale"))
        }
        TxnCatalogVerb::DeleteCas if found != Some(wanted) => {
            Err(format!("failed to delete {what}, index is stale"))
        }
        _ => Ok(()),
    }
}

/// Check ids a session depends on, as given.
pub fn session_checks(session: &Session) -> Vec<String> {
    let of_services = session.service_checks.iter().flatten().map(|check| check.id.clone());
    [session.checks.clone(), session.node_checks.clone(), of_services.collect()].concat()
}

/// The keys here are printable but for one byte.
fn quoted(key: &[u8]) -> String {
    format!("\"{}\"", key.escape_ascii())
}
