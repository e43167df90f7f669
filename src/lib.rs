//! Tribune: a service mesh control plane that a Consul user can drop in.

pub mod endpoints;
pub mod settings;
pub mod state;
pub mod telemetry;
