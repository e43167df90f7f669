//! Tribune: a service mesh control plane that a Consul user can drop in.

pub mod endpoints;
pub mod state;
pub mod web;
