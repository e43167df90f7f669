//! Faults done to real clusters: processes that are killed, frozen and restarted, networks that are
//! cut, clocks that jump and disks that are slow, while clients write and read through every member.
//!
//! What the clients did and were told must be linearizable afterwards, no lock may have had two
//! holders, and all servers must end up the same. Tests run one after the other. The short form takes
//! some two minutes; `TRIBUNE_FAULT_SECONDS=1800` shares that many seconds of faults among the tests.
//! A failure prints its seed (`TRIBUNE_SEED=<seed>` makes the same choices again, though not the same
//! moments). `TRIBUNE_BIN` names another binary to do it to, such as a Consul one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of it is test code")]

mod ambush;
mod clocks;
mod disks;
mod interop;
mod kills;
#[path = "../lin/mod.rs"]
mod lin;
mod netns;
mod partitions;
mod pauses;
mod restarts;
mod shim;
mod story;
#[path = "../support/mod.rs"]
mod support;
mod workload;
