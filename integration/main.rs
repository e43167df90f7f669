//! Tests that start real agents and use them as their users do: over HTTP, by signals and by
//! pulling the plug. Two files start nothing and read instead: `layering` the sources, `readme`
//! what newcomers are told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod agent_misc;
mod autopilot;
mod bad_days;
mod blocking;
mod catalog;
mod clients;
mod crash;
mod damage;
mod dns;
mod gossip;
mod kv;
mod layering;
mod local_state;
mod readme;
mod restore;
mod serf_interop;
mod sessions;
mod start_stop;
mod support;
