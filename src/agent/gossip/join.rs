//! Joining: from what people write to addresses, once or until it works.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tracing::{info, warn};

use crate::actors::member_list::{Area, PoolError, PoolHandle};
use crate::endpoints::keyring::several;
use crate::gossip::CommandError;
use crate::gossip::ExchangeError;

/// Nobody could be joined: what went wrong with each address, in Consul's form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JoinError(pub String);

/// Where an address leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target<'a> {
    /// Somewhere.
    Ip(SocketAddr),
    /// Wherever the name leads.
    Host(&'a str, u16),
}

/// Reads `host`, `host:port`, `ip`, `[ip]:port`, each with `name/` before it or not.
fn parse(text: &str, default_port: u16) -> Result<Target<'_>, String> {
    // The name of a member may stand in front; whoever answers there is joined.
    let address = text.rsplit_once('/').map_or(text, |(_, address)| address);
    if let Ok(ip) = address.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(Target::Ip(SocketAddr::new(ip, default_port)));
    }
    let Some((host, port)) = address.rsplit_once(':') else { return Ok(Target::Host(address, default_port)) };
    let port: u16 = port.parse().map_err(|_| {
        let why = if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() {
            "value out of range"
        } else {
            "invalid syntax"
        };
        format!("strconv.ParseUint: parsing {port:?}: {why}")
    })?;
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => Ok(Target::Ip(SocketAddr::new(ip, port))),
        Err(_) => Ok(Target::Host(host, port)),
    }
}

/// All addresses behind a text.
async fn resolve(text: &str, default_port: u16) -> Result<Vec<SocketAddr>, String> {
    if text.contains("provider=") {
        return Err("finding machines of a cloud is not implemented by this version of tribune".to_owned());
    }
    let (host, port) = match parse(text, default_port)? {
        Target::Ip(address) => return Ok(vec![address]),
        Target::Host(host, port) => (host, port),
    };
    let none = || format!("lookup {host}: no such host");
    if host.is_empty() {
        return Err(none());
    }
    let found = tokio::net::lookup_host((host, port)).await.map_err(|_| none())?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(none()) } else { Ok(addresses) }
}

/// Joins everybody behind the addresses; how many could be.
///
/// # Errors
/// [`JoinError`] if nobody could.
pub async fn join(pool: &PoolHandle, addresses: &[String], default_port: u16) -> Result<usize, JoinError> {
    let title = pool.area().title();
    let listed = format!("[{}]", addresses.join(", "));
    if pool.area() == Area::ServerWan {
        info!(target: "agent", wan_addresses = %listed, "(WAN) joining");
    } else {
        info!(target: "agent", lan_addresses = %listed, "(LAN) joining");
    }
    let mut joined = 0_usize;
    let mut failures = Vec::new();
    for text in addresses {
        let found = match resolve(text, default_port).await {
            Ok(found) => found,
            Err(reason) => {
                failures.push(format!("Failed to resolve {text}: {reason}"));
                continue;
            }
        };
        for address in found {
            match pool.join(address).await {
                Ok(()) => joined += 1,
                Err(error) => {
                    failures.push(format!("Failed to join {}: {}", address.ip(), reason(address, &error)));
                }
            }
        }
    }
    if joined > 0 {
        info!(target: "agent", number_of_nodes = joined, "({title}) joined");
        return Ok(joined);
    }
    let error = JoinError(several(&failures));
    warn!(target: "agent", number_of_nodes = 0, error = %error, "({title}) couldn't join");
    Err(error)
}

/// Why an exchange failed, in the words of Consul's network library.
fn reason(address: SocketAddr, error: &PoolError) -> String {
    match error {
        PoolError::Command(CommandError::Exchange(ExchangeError::Timeout)) => {
            format!("dial tcp {address}: i/o timeout")
        }
        PoolError::Command(CommandError::Exchange(ExchangeError::Wire(wire))) => {
            // Consul's begin with a capital letter.
            let text = wire.to_string();
            let mut letters = text.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        }
        other => other.to_string(),
    }
}

/// Whom to join, and how long to try.
#[derive(Debug, Clone)]
pub struct Retry {
    /// `retry_join` or `retry_join_wan`.
    pub addresses: Vec<String>,
    /// Between two attempts.
    pub interval: Duration,
    /// Attempts after the first, 0 for any number.
    pub most: u32,
    /// Port where an address has none.
    pub default_port: u16,
}

/// Tries until somebody is joined.
///
/// # Errors
/// What the agent ends with when the attempts are used up.
pub async fn retry(pool: &PoolHandle, retry: Retry) -> Result<(), String> {
    let cluster = pool.area().title();
    info!(target: "agent", cluster, "Joining cluster...");
    let mut attempts = 0_u32;
    loop {
        if let Ok(joined) = join(pool, &retry.addresses, retry.default_port).await {
            info!(target: "agent", cluster, num_agents = joined, "Join cluster completed. Synced with initial agents");
            return Ok(());
        }
        attempts = attempts.saturating_add(1);
        if retry.most > 0 && attempts > retry.most {
            return Err(format!("agent: max join {cluster} retry exhausted, exiting"));
        }
        let interval = crate::duration::format_unsigned(retry.interval);
        warn!(target: "agent", cluster, retry_interval = %interval, "Join cluster failed, will retry");
        tokio::time::sleep(retry.interval).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_write_them() {
        let ip = |text: &str| Ok(Target::Ip(text.parse().unwrap()));
        let table = [
            ("10.0.0.1", ip("10.0.0.1:8301")),
            ("10.0.0.1:99", ip("10.0.0.1:99")),
            ("::1", ip("[::1]:8301")),
            ("[::1]", ip("[::1]:8301")),
            ("[::1]:99", ip("[::1]:99")),
            ("fe80::1:99", ip("[fe80::1:99]:8301")),
            ("node1/10.0.0.1", ip("10.0.0.1:8301")),
            ("host", Ok(Target::Host("host", 8301))),
            ("host.example:99", Ok(Target::Host("host.example", 99))),
            ("10.0.0.1:99999", Err("strconv.ParseUint: parsing \"99999\": value out of range".to_owned())),
            ("host:x", Err("strconv.ParseUint: parsing \"x\": invalid syntax".to_owned())),
        ];
        for (text, wanted) in table {
            assert_eq!(parse(text, 8301), wanted, "{text}");
        }
    }

    #[test]
    fn names_lead_to_addresses() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let found = resolve("localhost:1", 8301).await.unwrap();
            assert!(
                found.iter().all(|address| address.ip().is_loopback() && address.port() == 1),
                "{found:?}"
            );
            assert_eq!(resolve("", 8301).await, Err("lookup : no such host".to_owned()));
        });
    }
}
