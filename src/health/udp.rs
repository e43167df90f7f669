//! UDP: nobody says that nobody listens.

use std::time::Duration;

use tokio::time::timeout;

use super::{Outcome, net};

/// Sends an empty datagram. An answer passes, and so does silence: most servers have nothing to say to it. Only the
/// news that the port is closed is critical.
#[derive(Debug)]
pub(super) struct UdpProbe {
    /// `host:port`.
    pub address: String,
    /// How long silence is listened to.
    pub limit: Duration,
}

impl UdpProbe {
    /// One look.
    pub async fn run(&self) -> Outcome {
        match timeout(self.limit, self.ask()).await {
            Ok(Err(text)) => Outcome::critical(text),
            Ok(Ok(())) | Err(_) => Outcome::passing(format!("UDP connect {}: Success", self.address)),
        }
    }

    async fn ask(&self) -> Result<(), String> {
        let (socket, peer) = net::connect_udp(&self.address).await.map_err(|error| error.to_string())?;
        let failed = |doing| move |error| net::socket_error(doing, "udp", Some(peer), &error);
        socket.send(&[]).await.map_err(failed("write"))?;
        socket.recv(&mut [0; 1]).await.map_err(failed("read"))?;
        Ok(())
    }
}
