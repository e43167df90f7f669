//! The web room: HTTP on one side, [`crate::endpoints`] on the other.
//!
//! Owns listeners, routing, query strings, JSON and everything else that is HTTP: redirects,
//! methods, headers, compression, error texts. May not enter: RocksDB, raft, actors and rules of
//! the state; those belong to the endpoints, which know no HTTP.
//!
//! # Writing an endpoint family
//!
//! A family is a file with a function that lists its routes, one line each:
//!
//! ```text
//! pub fn routes() -> Vec<Route> {
//!     vec![
//!         Route::new("/v1/thing/list", &["GET"], list),
//!         Route::new("/v1/thing/create", &["PUT"], |request| Answer::later(create(request))),
//!     ]
//! }
//! ```
//!
//! and a line in [`routes()`] below. Methods, `OPTIONS`, 404, 405, redirects, blocked paths, broken
//! query strings, compression and shared headers are dealt with before and after the handler.
//!
//! A **read** gets its parameters, says what it reads and leaves the rest (freshness, waiting,
//! headers) to [`blocking::answer`]:
//!
//! ```text
//! fn list(request: Request) -> Answer {
//!     let options = match request.options() {
//!         Ok(options) => options,
//!         Err(error) => return error.into(),
//!     };
//!     let read = things::List { prefix: request.arg("prefix").unwrap_or_default().into() };
//!     blocking::answer(request, options, MetaStyle::Catalog, read, |things, pretty| {
//!         Reply::write_json(pretty, |json| json.array(|json| { … }))
//!     })
//! }
//! ```
//!
//! `things::List` lives in `endpoints` and implements
//! [`BlockingRead`](crate::endpoints::blocking::BlockingRead): its topics, its index, its data.
//!
//! A **write** is an `async fn create(mut request: Request) -> Result<Reply, WebError>` that reads
//! its body with [`request::Request::body`] and calls its endpoint. Errors of endpoints become
//! [`error::WebError`] by `?`, and answers by [`error::WebError::into_reply`].

pub mod agent;
mod agent_metrics;
mod agent_monitor;
mod agent_process;
pub mod answers;
pub mod blocking;
pub mod catalog;
pub mod coordinate;
pub mod dns_query;
pub mod error;
pub mod event;
pub mod gzip;
pub mod health;
pub mod json;
pub mod json_catalog;
pub mod kv;
pub mod later;
pub mod limit;
pub mod operator;
pub mod path;
pub mod query;
pub mod reply;
pub mod request;
pub mod route;
pub mod server;
pub mod session;
pub mod settings;
pub mod snapshot;
pub mod status;
pub mod stream;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod txn;
pub mod ui;

pub use blocking::MetaStyle;
pub use error::WebError;
pub use json::Json;
pub use reply::Reply;
pub use request::Request;
pub use route::{Answer, Route};
pub use server::{WebHandles, WebServer, WebStopper, start};
pub use settings::WebSettings;

/// The routes of all endpoint families.
pub fn routes() -> Vec<Route> {
    let families = [
        agent::routes(),
        catalog::routes(),
        coordinate::routes(),
        dns_query::routes(),
        event::routes(),
        health::routes(),
        kv::routes(),
        later::routes(),
        operator::routes(),
        session::routes(),
        snapshot::routes(),
        status::routes(),
        txn::routes(),
        ui::routes(),
    ];
    families.concat()
}
