//! What the web room needs to know; filled from the agent's settings.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cidr::Cidr;

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
    pub allow_write_http_from: Vec<Cidr>,
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
