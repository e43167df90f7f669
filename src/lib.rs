//! Tribune: a service mesh control plane that a Consul user can drop in.

pub mod actors;
pub mod agent;
pub mod autopilot;
pub mod cidr;
pub mod cli;
pub mod definition;
pub mod dial;
pub mod dns;
pub mod duration;
pub mod endpoints;
pub mod gossip;
pub mod health;
pub mod metrics;
pub mod peers;
pub mod raft;
pub mod rpc;
pub mod settings;
pub mod state;
pub mod telemetry;
pub mod tls;
pub mod watch;
pub mod web;
