//! What clients did and were told.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Number of a key.
pub type Key = u32;
/// A value. Writers choose a new number above 0 for every write, so that a reader knows whose it reads.
pub type Value = u64;
/// Number of a session, as in [`History::sessions`].
pub type Session = u32;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Get {
        key: Key,
    },
    Put {
        key: Key,
        value: Value,
    },
    Cas {
        key: Key,
        index: u64,
        value: Value,
    },
    Delete {
        key: Key,
    },
    DeleteCas {
        key: Key,
        index: u64,
    },
    Acquire {
        key: Key,
        session: Session,
        value: Value,
    },
    Release {
        key: Key,
        session: Session,
        value: Value,
    },
    /// The session ends: destroyed, or for a reason that lies outside of the history.
    End {
        session: Session,
    },
    /// Only within transactions.
    CheckIndex {
        key: Key,
        index: u64,
    },
    /// Only within transactions; `None`: nobody holds it.
    CheckSession {
        key: Key,
        session: Option<Session>,
    },
    /// Only within transactions.
    CheckAbsent {
        key: Key,
    },
    /// All or nothing, in order. Neither transactions nor ends of sessions within.
    Txn(Vec<Call>),
}

impl Call {
    /// The keys it names; none for the end of a session.
    pub fn keys(&self) -> Vec<Key> {
        match self {
            Self::Get { key }
            | Self::Put { key, .. }
            | Self::Cas { key, .. }
            | Self::Delete { key }
            | Self::DeleteCas { key, .. }
            | Self::Acquire { key, .. }
            | Self::Release { key, .. }
            | Self::CheckIndex { key, .. }
            | Self::CheckSession { key, .. }
            | Self::CheckAbsent { key } => vec![*key],
            Self::End { .. } => Vec::new(),
            Self::Txn(steps) => steps.iter().flat_map(Self::keys).collect(),
        }
    }

    /// The sessions it names.
    pub fn sessions(&self) -> Vec<Session> {
        match self {
            Self::Acquire { session, .. } | Self::Release { session, .. } | Self::End { session } => {
                vec![*session]
            }
            Self::CheckSession { session, .. } => session.iter().copied().collect(),
            Self::Txn(steps) => steps.iter().flat_map(Self::sessions).collect(),
            _ => Vec::new(),
        }
    }

    /// The same with other values for those it stores.
    #[must_use]
    pub fn with_values(self, other: &impl Fn(Value) -> Value) -> Self {
        match self {
            Self::Put { key, value } => Self::Put { key, value: other(value) },
            Self::Cas { key, index, value } => Self::Cas { key, index, value: other(value) },
            Self::Acquire { key, session, value } => Self::Acquire { key, session, value: other(value) },
            Self::Release { key, session, value } => Self::Release { key, session, value: other(value) },
            Self::Txn(steps) => Self::Txn(steps.into_iter().map(|step| step.with_values(other)).collect()),
            call => call,
        }
    }

    /// Whether it can change nothing.
    pub fn only_reads(&self) -> bool {
        match self {
            Self::Get { .. }
            | Self::CheckIndex { .. }
            | Self::CheckSession { .. }
            | Self::CheckAbsent { .. } => true,
            Self::Txn(steps) => steps.iter().all(Self::only_reads),
            _ => false,
        }
    }
}

/// What a key looks like to who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// `None` where an answer does not carry it (writes of a transaction).
    pub value: Option<Value>,
    pub session: Option<Session>,
    pub lock_index: u64,
    /// ModifyIndex.
    pub index: u64,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done, or refused by a check or a lock. The index of the write, where it is known.
    Bool(bool, Option<u64>),
    /// To a read.
    Row(Option<Row>),
    /// To a transaction: a row for every operation that gives one, or `None` if it failed.
    Txn(Option<Vec<Row>>),
    /// There is no such session (any more).
    NoSession,
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Who asked; one operation after the other.
    pub client: u32,
    pub call: Call,
    /// When it was asked.
    pub invoked: u64,
    /// When it was answered and how; `None`: nobody knows whether it happened, or when.
    pub answered: Option<(u64, Answer)>,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {:>3} [{} .. ", self.client, self.invoked)?;
        match &self.answered {
            Some((at, answer)) => write!(f, "{at}] {:?} -> {answer:?}", self.call),
            None => write!(f, "?] {:?} -> unknown", self.call),
        }
    }
}

/// What is known of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionKind {
    /// Its keys are deleted when it ends, not released.
    pub deletes: bool,
    /// Lock-delay in the unit of the history's times; 0 for none.
    pub delay: u64,
}

/// A history: times may have any unit, as long as it is the same for all.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub operations: Vec<Operation>,
    pub sessions: Vec<SessionKind>,
}

/// Records a history from several threads. Times are microseconds since it was made.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    history: Mutex<History>,
}

impl Default for Recorder {
    #[allow(clippy::disallowed_methods, reason = "the clock of the test")]
    fn default() -> Self {
        Self { start: Instant::now(), history: Mutex::default() }
    }
}

impl Recorder {
    /// The time now.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A new session. It must have been created before it is named here.
    pub fn session(&self, kind: SessionKind) -> Session {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.sessions.push(kind);
        u32::try_from(history.sessions.len() - 1).unwrap_or(u32::MAX)
    }

    /// Notes an operation that is over, or given up.
    pub fn note(&self, operation: Operation) {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).operations.push(operation);
    }

    /// Everything noted so far.
    pub fn history(&self) -> History {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
