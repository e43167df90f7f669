//! The actor shells: the only place that ties the cores to actix.
//!
//! May enter: every core and the traits of the endpoints. May not enter: HTTP, DNS and rules that
//! belong into a core.

pub mod local_state;
