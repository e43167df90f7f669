//! Requests and replies by Consul's names.
//!
//! Reads are [`Query`] (the query options and the request's own fields as one map) and [`Reply`] (likewise with the
//! query metadata). Records of the state are what they are everywhere. Only what differs from them has a struct here.

mod catalog;
mod common;
mod coordinate;
mod internal;
mod kv;
mod operator;
mod session;
mod snapshot;
mod time;
mod txn;

pub use catalog::*;
pub use common::*;
pub use coordinate::*;
pub use internal::*;
pub use kv::*;
pub use operator::*;
pub use session::*;
pub use snapshot::*;
pub use time::GoTime;
pub use txn::*;
