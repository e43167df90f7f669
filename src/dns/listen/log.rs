//! The line every query leaves in the log at debug level.

use std::net::SocketAddr;
use std::time::Instant;

use tracing::{Level, debug, enabled};

use crate::dns::foreign;

/// Whether anybody wants to read it; reading the clock and the question is for those only.
pub fn wanted() -> bool {
    enabled!(Level::DEBUG)
}

/// A query was answered, or deliberately not.
pub fn served(query: &[u8], client: Option<SocketAddr>, network: &'static str, begun: Instant) {
    let Some((name, kind, class)) = foreign::question_words(query) else { return };
    let kind = match kind {
        1 => "A".to_owned(),
        2 => "NS".to_owned(),
        5 => "CNAME".to_owned(),
        6 => "SOA".to_owned(),
        12 => "PTR".to_owned(),
        15 => "MX".to_owned(),
        16 => "TXT".to_owned(),
        28 => "AAAA".to_owned(),
        33 => "SRV".to_owned(),
        255 => "ANY".to_owned(),
        other => format!("TYPE{other}"),
    };
    let class = match class {
        1 => "IN".to_owned(),
        255 => "ANY".to_owned(),
        other => format!("CLASS{other}"),
    };
    let client = client.map(|client| client.to_string()).unwrap_or_default();
    debug!(
        name,
        r#type = kind,
        class,
        latency = ?begun.elapsed(),
        client,
        client_network = network,
        "request served from client"
    );
}
