//! TCP: something listens.

use std::time::Duration;

use tokio::time::timeout;

use super::{Outcome, net};

/// Connects and hangs up.
#[derive(Debug)]
pub(super) struct TcpProbe {
    /// `host:port`.
    pub address: String,
    /// Time limit.
    pub limit: Duration,
}

impl TcpProbe {
    /// One look.
    pub async fn run(&self) -> Outcome {
        match timeout(self.limit, net::connect(&self.address)).await {
            Ok(Ok(_)) => Outcome::passing(format!("TCP connect {}: Success", self.address)),
            Ok(Err(error)) => Outcome::critical(error.to_string()),
            Err(_) => Outcome::critical(format!("dial tcp {}: i/o timeout", self.address)),
        }
    }
}
