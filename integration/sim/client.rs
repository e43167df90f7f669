//! Simulated clients: each does one operation after the other and notes what it was told.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tribune::state::command::{KvCommand, KvVerb, Register, TxnKvVerb, TxnOp, TxnResult};
use tribune::state::record::{Node as NodeRecord, Session as SessionRecord, SessionBehavior};
use tribune::state::{Command, Outcome};

use crate::lin::{Answer, Call, History, Key, Operation, Row, Session, SessionKind, Value};
use crate::node::Op;

/// Keys: single ones, ones that are locked, and a pair for transactions.
const SINGLE: u32 = 2;
const LOCKED: u32 = 2;
pub const KEYS: u32 = SINGLE + LOCKED + 2;
/// The node all sessions are bound to.
const NODE: &str = "sim";
/// Lock-delay of the sessions that have one, in ms.
const DELAY: u64 = 3_000;

pub fn name(key: Key) -> String {
    format!("k{key}")
}

/// What a client waits for.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Something of the history.
    Call(Call),
    /// The node of the sessions.
    Node,
    /// A session with this ID.
    Session(String, SessionKind),
}

/// An operation under way.
#[derive(Debug)]
pub struct Open {
    pub client: usize,
    pub wish: Wish,
    pub invoked: u64,
}

#[derive(Debug, Default)]
struct Client {
    node_is_there: bool,
    session: Option<Session>,
    seen: BTreeMap<Key, u64>,
}

/// All of them.
#[derive(Debug)]
pub struct Clients {
    all: Vec<Client>,
    ids: Vec<String>,
    pub open: BTreeMap<Op, Open>,
    pub history: History,
    values: Value,
    next_id: u64,
    moment: u64,
}

impl Clients {
    pub fn new(count: usize) -> Self {
        Self {
            all: (0..count).map(|_| Client::default()).collect(),
            ids: Vec::new(),
            open: BTreeMap::new(),
            history: History::default(),
            values: 0,
            next_id: 0,
            moment: 0,
        }
    }

    /// A moment of the history: microseconds, and later than all before.
    pub fn moment(&mut self, now: u64) -> u64 {
        self.moment = (self.moment + 1).max(now * 1_000);
        self.moment
    }

    fn value(&mut self) -> Value {
        self.values += 1;
        self.values
    }

    /// Number of the session with this ID.
    pub fn session(&self, id: &str) -> Session {
        let at = self.ids.iter().position(|known| known == id);
        u32::try_from(at.unwrap_or_else(|| panic!("session {id} was never created"))).unwrap()
    }

    /// What a client does next.
    pub fn wish(&mut self, client: usize, rng: &mut ChaCha8Rng) -> Wish {
        if !self.all[client].node_is_there {
            return Wish::Node;
        }
        let Some(session) = self.all[client].session else {
            self.next_id += 1;
            let kind = SessionKind { deletes: rng.random(), delay: rng.random_range(0..2) * DELAY * 1_000 };
            return Wish::Session(format!("00000000-0000-0000-0000-{:012}", self.next_id), kind);
        };
        Wish::Call(match rng.random_range(0..20) {
            0..8 => self.single(client, rng),
            8..14 => self.locked(session, rng),
            _ => self.pair(client, rng),
        })
    }

    fn index(&self, client: usize, key: Key) -> u64 {
        self.all[client].seen.get(&key).copied().unwrap_or(0)
    }

    fn single(&mut self, client: usize, rng: &mut ChaCha8Rng) -> Call {
        let key = rng.random_range(0..SINGLE);
        let index = self.index(client, key);
        match rng.random_range(0..10) {
            0..4 => Call::Get { key },
            4..7 => Call::Put { key, value: self.value() },
            7 | 8 => Call::Cas { key, index, value: self.value() },
            _ if index > 0 && rng.random() => Call::DeleteCas { key, index },
            _ => Call::Delete { key },
        }
    }

    fn locked(&mut self, session: Session, rng: &mut ChaCha8Rng) -> Call {
        let key = SINGLE + rng.random_range(0..LOCKED);
        match rng.random_range(0..20) {
            0..8 => Call::Acquire { key, session, value: self.value() },
            8..13 => Call::Release { key, session, value: self.value() },
            13..18 => Call::Get { key },
            18 => Call::Put { key, value: self.value() },
            _ => Call::End { session },
        }
    }

    fn pair(&mut self, client: usize, rng: &mut ChaCha8Rng) -> Call {
        let (one, other) = (SINGLE + LOCKED, SINGLE + LOCKED + 1);
        match rng.random_range(0..8) {
            0..2 => Call::Get { key: one },
            2 => Call::Get { key: other },
            3 => Call::Txn(vec![Call::Get { key: one }, Call::Get { key: other }]),
            4 | 5 => Call::Txn(vec![
                Call::Put { key: one, value: self.value() },
                Call::Put { key: other, value: self.value() },
            ]),
            6 => {
                let index = self.index(client, one);
                Call::Txn(vec![
                    Call::Cas { key: one, index, value: self.value() },
                    Call::Put { key: other, value: self.value() },
                ])
            }
            _ => Call::Txn(vec![Call::CheckAbsent { key: one }, Call::Delete { key: other }]),
        }
    }

    /// The command of a wish; none for a read. No two are the same.
    pub fn command(&self, wish: &Wish, op: Op) -> Option<Command> {
        Some(match wish {
            Wish::Node => Command::Register(Box::new(Register {
                node: NodeRecord {
                    node: NODE.into(),
                    address: format!("10.0.0.{op}"),
                    ..NodeRecord::default()
                },
                ..Register::default()
            })),
            Wish::Session(id, kind) => Command::SessionCreate(SessionRecord {
                id: id.as_str().into(),
                node: NODE.into(),
                lock_delay: i64::try_from(kind.delay * 1_000).unwrap(),
                behavior: if kind.deletes { SessionBehavior::Delete } else { SessionBehavior::Release },
                ..SessionRecord::default()
            }),
            Wish::Call(Call::Get { .. }) => return None,
            Wish::Call(Call::End { session }) => Command::SessionDestroy { id: self.id(*session) },
            Wish::Call(Call::Txn(steps)) => {
                Command::Txn(steps.iter().map(|step| self.txn_step(step, op)).collect())
            }
            Wish::Call(call) => Command::Kv(self.kv(call, op)),
        })
    }

    fn id(&self, session: Session) -> Arc<str> {
        self.ids[session as usize].as_str().into()
    }

    fn kv(&self, call: &Call, op: Op) -> KvCommand {
        let (verb, value, cas, session) = match call {
            Call::Put { value, .. } => (KvVerb::Set, *value, 0, None),
            Call::Cas { index, value, .. } => (KvVerb::Cas, *value, *index, None),
            Call::DeleteCas { index, .. } => (KvVerb::DeleteCas, 0, *index, None),
            Call::Acquire { session, value, .. } => (KvVerb::Lock, *value, 0, Some(self.id(*session))),
            Call::Release { session, value, .. } => (KvVerb::Unlock, *value, 0, Some(self.id(*session))),
            _ => (KvVerb::Delete, 0, 0, None),
        };
        let key = name(call.keys()[0]).into();
        // The flags make no two commands the same.
        KvCommand { verb, key, value: Bytes::copy_from_slice(&value.to_be_bytes()), flags: op, cas, session }
    }

    fn txn_step(&self, call: &Call, op: Op) -> TxnOp {
        let command = self.kv(call, op);
        let verb = match call {
            Call::Get { .. } => TxnKvVerb::Get,
            Call::CheckAbsent { .. } => TxnKvVerb::CheckNotExists,
            _ => TxnKvVerb::Write(command.verb),
        };
        TxnOp::Kv { verb, command }
    }

    /// A write was applied at this index.
    pub fn answer(&mut self, now: u64, op: Op, index: u64, outcome: &Outcome) {
        let Some(open) = self.open.remove(&op) else { return };
        let answer = match (&open.wish, outcome) {
            (Wish::Node, Outcome::Done) => {
                self.all[open.client].node_is_there = true;
                return;
            }
            (Wish::Session(id, kind), Outcome::Done) => {
                self.ids.push(id.clone());
                self.history.sessions.push(*kind);
                self.all[open.client].session = Some(u32::try_from(self.ids.len() - 1).unwrap());
                return;
            }
            (Wish::Call(_), Outcome::Bool(yes)) => Answer::Bool(*yes, yes.then_some(index)),
            (Wish::Call(_), Outcome::Done) => Answer::Bool(true, None),
            (Wish::Call(_), Outcome::Txn(results)) => {
                Answer::Txn(Some(results.iter().map(|result| self.row(result)).collect()))
            }
            (Wish::Call(_), Outcome::TxnFailed(_)) => Answer::Txn(None),
            (Wish::Call(Call::Acquire { .. }), Outcome::Refused(text))
                if text.contains("invalid session") =>
            {
                Answer::NoSession
            }
            other => panic!("operation {op} cannot end like this: {other:?}"),
        };
        self.note(now, open, Some(answer));
    }

    fn row(&self, result: &TxnResult) -> Row {
        let TxnResult::Kv(entry) = result else { panic!("only keys were asked for: {result:?}") };
        let value =
            (!entry.value.is_empty()).then(|| u64::from_be_bytes(entry.value[..].try_into().unwrap()));
        Row {
            value,
            session: entry.session.as_deref().map(|id| self.session(id)),
            lock_index: entry.lock_index,
            index: entry.indexes.modify_index,
        }
    }

    /// A read got its row.
    pub fn answer_read(&mut self, now: u64, op: Op, row: Option<Row>) {
        if let Some(open) = self.open.remove(&op) {
            if let (Wish::Call(Call::Get { key }), Some(row)) = (&open.wish, &row) {
                self.all[open.client].seen.insert(*key, row.index);
            }
            self.note(now, open, Some(Answer::Row(row)));
        }
    }

    /// It surely did not happen.
    pub fn refuse(&mut self, op: Op) {
        if let Some(open) = self.open.remove(&op) {
            self.forget_session(&open);
        }
    }

    /// It may have happened, or may still. False if it was over already.
    pub fn give_up(&mut self, now: u64, op: Op) -> bool {
        let Some(open) = self.open.remove(&op) else { return false };
        self.note(now, open, None);
        true
    }

    fn note(&mut self, now: u64, open: Open, answer: Option<Answer>) {
        self.forget_session(&open);
        let at = self.moment(now);
        if answer == Some(Answer::NoSession) {
            self.all[open.client].session = None;
        }
        if let Wish::Call(call) = open.wish {
            let answered = answer.map(|answer| (at, answer));
            let client = u32::try_from(open.client).unwrap();
            self.history.operations.push(Operation { client, call, invoked: open.invoked, answered });
        }
    }

    /// A session somebody wanted to end is not used any more, whatever came of it.
    fn forget_session(&mut self, open: &Open) {
        if matches!(open.wish, Wish::Call(Call::End { .. })) {
            self.all[open.client].session = None;
        }
    }
}
