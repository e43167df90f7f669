//! Handlers through a real listener.

mod agent;
mod families;
mod registry;
mod shared;

const JSON: Option<&str> = Some("application/json");
const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
