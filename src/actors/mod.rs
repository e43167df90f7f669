//! The shells: actors that own one core each, feed it and carry out what it asks.
//!
//! The only place that ties cores to actix. A shell holds sockets, timers, threads and addresses;
//! what a message means is decided in its core. `Addr` does not leave this room and `agent`: the
//! others hold handles and traits.

pub mod autopilot;
pub mod dns_responder;
pub mod health_check;
pub mod kv_store;
pub mod leader;
pub mod local_state;
pub mod mailbox;
pub mod member_list;
pub mod raft_handle;
pub mod raft_node;
pub mod session_manager;
pub mod snapshot_files;
pub mod supervision;
pub mod watches;
