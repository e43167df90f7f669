//! UDP: nobody says that nobody listens.

use std::time::Duration;

use rustix::net::RecvFlags;
use tokio::io::Interest;
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
        // A closed port shows as an error on the socket, which waiting for something to read may sleep through.
        let read = || Ok(rustix::net::recv(&socket, &mut [0_u8; 1][..], RecvFlags::DONTWAIT).map(|_| ())?);
        socket.async_io(Interest::READABLE | Interest::ERROR, read).await.map_err(failed("read"))
    }
}
