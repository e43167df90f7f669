//! Configuration files (JSON, HCL) and `agent` flags into one validated, typed [`Settings`].
//!
//! ```text
//! flags ──────────────┐
//! files ── tree ── check ── layers ── file ── resolve ── Settings + warnings
//!          syntax    keys,    merged    typed   derived values,
//!          + places  types                      rules between keys
//! ```
//!
//! - [`tree`] (with `json` and `hcl`) parses both formats into one tree whose every value knows its line and
//!   column; `hcl` is version 1 of that language, which is what Consul's users have written.
//! - `schema` lists the keys; `check` compares a source with it and collects all that is wrong.
//! - `layer` merges by Consul's rules through the `config` crate; `file` is the typed sum.
//! - `resolve` (with `addresses`, `names`, `tls`, `rules`, `definitions`) derives and cross-checks.
//! - [`reload`] says what a change means for a running agent.
//!
//! Nothing is half-applied: there are settings or there is a [`SettingsError`] with every problem found.
//! May not enter: actors, sockets, the data directory (the node id file belongs to the agent), the
//! environment.

mod addresses;
mod check;
mod definitions;
mod error;
mod file;
pub mod flags;
pub mod goflags;
pub mod groups;
mod hcl;
mod interfaces;
mod json;
mod layer;
mod load;
mod names;
mod net;
pub mod reload;
mod resolve;
mod resolved;
mod rules;
mod schema;
mod sockaddr;
mod tls;
pub mod tree;

#[cfg(test)]
mod tests;

pub use crate::definition::Secret;
pub use error::{Fault, Origin, Problem, SettingsError, Warning};
pub use flags::{Flags, FlagsError};
pub use load::{Loaded, services, validate};
pub use net::Listener;
pub use reload::{Change, Effect, changes};
pub use resolved::{
    CheckRules, Coordinates, Encryption, Join, Log, LogLevel, Network, Raft, Settings, Tls, TlsEnd,
    TlsVersion, Ui,
};
