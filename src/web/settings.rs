//! What the web room needs to know; filled from the agent's settings.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// An IP network such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `address/bits`. `None` when it is no network.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether an address lies in it. An IPv4 address in IPv6 clothes counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                (own.to_bits() ^ other.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.bits);
                (own.to_bits() ^ other.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Settings of the web room.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in Consul's configuration")]
#[derive(Debug, Clone)]
pub struct WebSettings {
    /// Addresses to listen on (`client_addr`, `ports.http`).
    pub listen: Vec<SocketAddr>,
    /// Threads that serve requests. More of them help only when the machine has cores to spare.
    pub workers: usize,
    /// Indent every JSON answer (development agents).
    pub always_pretty: bool,
    /// The UI is served; without it `/` says what this is.
    pub ui: bool,
    /// `enable_debug`: profiles may be asked for.
    pub enable_debug: bool,
    /// `http_config.response_headers`: sent with every answer of an endpoint.
    pub response_headers: Vec<(String, String)>,
    /// `http_config.block_endpoints`: path prefixes that answer 403.
    pub block_endpoints: Vec<String>,
    /// `http_config.allow_write_http_from`: networks that may write; empty for everybody.
    pub allow_write_http_from: Vec<Network>,
    /// `http_config.use_cache`: whether `?cached` means anything.
    pub http_use_cache: bool,
    /// `translate_wan_addrs`: announced by a header.
    pub translate_wan_addrs: bool,
    /// `disable_http_unprintable_char_filter`.
    pub disable_unprintable_filter: bool,
    /// `discovery_max_stale`: catalog and health reads may be this stale without asking; zero for never.
    pub discovery_max_stale: Duration,
    /// `limits.http_max_conns_per_client`: open connections per address, 0 for any number.
    pub max_connections_per_client: usize,
    /// Open connections per worker before the listener stops accepting.
    pub max_connections: usize,
    /// How long a client may take to send the head of a request.
    pub head_timeout: Duration,
    /// How long a client may pause while it sends a body.
    pub body_timeout: Duration,
    /// How long requests in flight may take when the agent shuts down.
    pub shutdown_timeout: Duration,
}

impl Default for WebSettings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8500))],
            workers: default_workers(),
            always_pretty: false,
            ui: false,
            enable_debug: false,
            response_headers: Vec::new(),
            block_endpoints: Vec::new(),
            allow_write_http_from: Vec::new(),
            http_use_cache: true,
            translate_wan_addrs: false,
            disable_unprintable_filter: false,
            discovery_max_stale: Duration::ZERO,
            max_connections_per_client: 200,
            max_connections: 25_000,
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(5),
        }
    }
}

/// One thread per core, at most two: a request costs so little that more threads mostly wake each
/// other up.
fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_addresses() {
        let table = [
            ("10.0.0.0/8", "10.200.3.4", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("127.0.0.1/32", "127.0.0.1", true),
            ("127.0.0.1/32", "127.0.0.2", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::2", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
        ];
        for (network, address, want) in table {
            let found = Network::parse(network).unwrap().contains(address.parse().unwrap());
            assert_eq!(found, want, "{address} in {network}");
        }
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "::/129", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
