//! Whether a history of key operations is linearizable: whether there is one order of all operations
//! that explains every answer and in which nothing happens before it was asked for or after it was
//! answered (Herlihy and Wing, 1990).
//!
//! A [`History`] holds what clients asked, when, and what they were told; an operation without an
//! answer may have happened at any time since, or never. [`check`] looks for the order with the
//! algorithm of Wing and Gong, with Lowe's cache of configurations seen, and separately for every
//! group of keys that transactions tie together. Time and memory are bounded: there is a third
//! verdict beside yes and no.
//!
//! The model is Consul's key store, with locks, check-and-set and transactions. What it cannot know
//! (the ModifyIndex of a write before somebody reads it, whether a lock-delay is over) it leaves
//! open, always to the side of accepting: a violation it tells of is one.

#![allow(dead_code, unused_imports, reason = "shared by several targets, none of which uses all of it")]

mod excerpt;
mod groups;
mod history;
mod locks;
mod model;
mod search;
#[cfg(test)]
mod tests;

pub use excerpt::{Violation, check, require};
pub use history::{Answer, Call, History, Key, Operation, Recorder, Row, Session, SessionKind, Value};
pub use locks::check_locks;
