//! `operator`: tools for whoever runs the servers.

pub(super) mod autopilot;
pub(super) mod raft;
