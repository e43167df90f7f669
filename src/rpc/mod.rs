//! Consul's RPC: msgpack values over net/rpc frames over yamux, both sides, byte for byte.
//!
//! ```text
//!  client::RpcClient --TCP, byte 04, yamux, one stream per call--> server::serve --> endpoints
//! ```
//!
//! - [`codec`] is the dialect: how values look as bytes, and where one ends in a stream.
//! - [`shapes`] are the requests and replies by Consul's names. What the tables store travels as it is
//!   ([`crate::state::record`]); requests of the endpoints are read straight into their types.
//! - [`client`] calls servers: connections, what may be tried again, which server is asked.
//! - [`server`] answers: which method is which endpoint, nothing else.
//!
//! May not enter: what an endpoint means (that is `endpoints`), who the servers are (gossip says so).

pub mod client;
pub mod codec;
pub mod mux;
pub mod server;
pub mod shapes;

#[cfg(test)]
mod tests;
