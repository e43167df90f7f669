//! Addresses: where the agent listens, what it tells others, and that no two interfaces share one.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::file::File;
use super::net::Listener;
use super::resolve::Findings;
use super::resolved::Network;

/// An address as a key gives it, without port.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    Ip(IpAddr),
    Unix(PathBuf),
}

/// All addresses; `None` when one that the others need is wrong, which is then among the problems.
pub(crate) fn resolve(file: &File, found: &mut Findings<'_>) -> Option<Network> {
    let bind = bind_address(&file.bind_addr, found);
    let client = client_addresses(file, found);

    let listeners = |key: &str, own: Option<&String>, port: Option<u16>, found: &mut Findings<'_>| {
        let addresses = match own.filter(|text| !text.trim().is_empty()) {
            Some(text) => parse_list(key, text, found),
            None => client.clone(),
        };
        let with_port = |address| match address {
            Address::Ip(ip) => port.map(|port| Listener::Ip(SocketAddr::new(ip, port))),
            Address::Unix(path) => port.map(|_| Listener::Unix(path)),
        };
        addresses.into_iter().filter_map(with_port).collect::<Vec<_>>()
    };
    let ports = &file.ports;
    let dns_port = ports.dns.or(ports.dns_tls);
    let dns = listeners("addresses.dns", file.addresses.dns.as_ref(), dns_port, found);
    let http = listeners("addresses.http", file.addresses.http.as_ref(), ports.http, found);
    let https = listeners("addresses.https", file.addresses.https.as_ref(), ports.https, found);
    let grpc = listeners("addresses.grpc", file.addresses.grpc.as_ref(), ports.grpc, found);
    found.refuse_if(
        file.addresses.dns.is_some() && dns.iter().any(|listener| matches!(listener, Listener::Unix(_))),
        "addresses.dns",
        "DNS address cannot be a unix socket",
    );

    let serf_lan = single(file.serf_lan.as_deref(), "serf_lan", found);
    let serf_wan = single(file.serf_wan.as_deref(), "serf_wan", found);
    let advertise = single(file.advertise_addr.as_deref(), "advertise_addr", found);
    let advertise_wan = single(file.advertise_addr_wan.as_deref(), "advertise_addr_wan", found);
    let bind = bind?;
    let advertise_lan = match advertise {
        Some(address) => address,
        None if bind.is_unspecified() => match found.interfaces().advertisable(bind.is_ipv4()) {
            Ok(address) => address,
            Err(text) => {
                found.problem("bind_addr", text);
                return None;
            }
        },
        None => bind,
    };
    let advertise_wan = advertise_wan.unwrap_or(advertise_lan);
    found.refuse_if(
        advertise_lan.is_unspecified(),
        "advertise_addr",
        "Advertise address cannot be 0.0.0.0, :: or [::]",
    );
    found.refuse_if(
        advertise_wan.is_unspecified() && !advertise_lan.is_unspecified(),
        "advertise_addr_wan",
        "Advertise WAN address cannot be 0.0.0.0, :: or [::]",
    );
    found.refuse_if(ports.server.is_none(), "ports.server", "ports.server cannot be switched off");
    found.refuse_if(ports.serf_lan.is_none(), "ports.serf_lan", "ports.serf_lan cannot be switched off");
    let tagged_addresses = tagged_addresses(file, advertise_lan, advertise_wan, found);

    let rpc_port = ports.server?;
    let lan_port = ports.serf_lan?;
    let network = Network {
        bind,
        advertise_lan,
        advertise_wan,
        rpc_bind: SocketAddr::new(bind, rpc_port),
        rpc_advertise: SocketAddr::new(advertise_lan, rpc_port),
        serf_lan_bind: SocketAddr::new(serf_lan.unwrap_or(bind), lan_port),
        serf_lan_advertise: SocketAddr::new(advertise_lan, lan_port),
        serf_wan: ports.serf_wan.map(|port| {
            (SocketAddr::new(serf_wan.unwrap_or(bind), port), SocketAddr::new(advertise_wan, port))
        }),
        serf_lan_allowed_cidrs: file.serf_lan_allowed_cidrs.clone(),
        serf_wan_allowed_cidrs: file.serf_wan_allowed_cidrs.clone(),
        client: client
            .iter()
            .filter_map(|address| match address {
                Address::Ip(ip) => Some(*ip),
                Address::Unix(_) => None,
            })
            .collect(),
        dns: on_port(&dns, ports.dns),
        dns_tls: on_port(&dns, ports.dns_tls),
        http,
        https,
        grpc,
        tagged_addresses,
    };
    find_conflicts(&network, found);
    Some(network)
}

/// The IP addresses among these with another port; none when that is off.
fn on_port(listeners: &[Listener], port: Option<u16>) -> Vec<SocketAddr> {
    let Some(port) = port else { return Vec::new() };
    let moved = |listener: &Listener| match listener {
        Listener::Ip(address) => Some(SocketAddr::new(address.ip(), port)),
        Listener::Unix(_) => None,
    };
    listeners.iter().filter_map(moved).collect()
}

fn bind_address(given: &str, found: &mut Findings<'_>) -> Option<IpAddr> {
    let expanded = found.expand("bind_addr", given)?;
    if expanded.trim().is_empty() {
        let hint = if given.is_empty() { String::new() } else { format!(" ({given} gives no address)") };
        found.problem("bind_addr", format!("bind_addr cannot be empty{hint}"));
        return None;
    }
    match parse_expanded("bind_addr", &expanded, found)?.as_slice() {
        [Address::Ip(ip)] => Some(*ip),
        [Address::Unix(_)] => {
            found.problem("bind_addr", "bind_addr cannot be a unix socket");
            None
        }
        _ => {
            found.problem(
                "bind_addr",
                "bind_addr cannot contain multiple addresses. Use 'addresses.{dns,http,https}' instead.",
            );
            None
        }
    }
}

fn client_addresses(file: &File, found: &mut Findings<'_>) -> Vec<Address> {
    let addresses = parse_list("client_addr", &file.client_addr, found);
    found.refuse_if(
        addresses.iter().any(|address| matches!(address, Address::Unix(_))),
        "client_addr",
        "client_addr cannot be a unix socket",
    );
    addresses
}

/// A key that holds several addresses, separated by blanks.
fn parse_list(key: &str, text: &str, found: &mut Findings<'_>) -> Vec<Address> {
    let Some(expanded) = found.expand(key, text) else { return Vec::new() };
    parse_expanded(key, &expanded, found).unwrap_or_default()
}

fn parse_expanded(key: &str, expanded: &str, found: &mut Findings<'_>) -> Option<Vec<Address>> {
    let mut addresses = Vec::new();
    for word in expanded.split_whitespace() {
        if let Some(path) = word.strip_prefix("unix://") {
            addresses.push(Address::Unix(PathBuf::from(path)));
            continue;
        }
        let bare = if word == "[::]" { "::" } else { word };
        let Ok(ip) = bare.parse() else {
            found.problem(
                key,
                format!("{key}: invalid ip address: {word} (expected something like \"10.0.0.1\")"),
            );
            return None;
        };
        addresses.push(Address::Ip(ip));
    }
    Some(addresses)
}

/// A key that holds one IP address or nothing.
fn single(given: Option<&str>, key: &str, found: &mut Findings<'_>) -> Option<IpAddr> {
    let expanded = found.expand(key, given?)?;
    match parse_expanded(key, &expanded, found)?.as_slice() {
        [] => None,
        [Address::Ip(ip)] => Some(*ip),
        [Address::Unix(_)] => {
            found.problem(key, format!("{key} cannot be a unix socket"));
            None
        }
        _ => {
            found.problem(key, format!("{key}: multiple addresses found: {expanded}"));
            None
        }
    }
}

fn tagged_addresses(
    file: &File,
    lan: IpAddr,
    wan: IpAddr,
    found: &mut Findings<'_>,
) -> BTreeMap<String, String> {
    let mut tagged = file.tagged_addresses.clone();
    let mut put = |tag: &str, address: IpAddr| {
        tagged.entry(tag.to_owned()).or_insert_with(|| address.to_string());
    };
    let explicit = [
        ("lan_ipv4", "advertise_addr_ipv4", &file.advertise_addr_ipv4),
        ("lan_ipv6", "advertise_addr_ipv6", &file.advertise_addr_ipv6),
        ("wan_ipv4", "advertise_addr_wan_ipv4", &file.advertise_addr_wan_ipv4),
        ("wan_ipv6", "advertise_addr_wan_ipv6", &file.advertise_addr_wan_ipv6),
    ];
    for (tag, key, given) in explicit {
        let Some(address) = single(given.as_deref(), key, found) else { continue };
        let family = if tag.ends_with("ipv4") { "ipv4" } else { "ipv6" };
        if address.is_ipv4() == (family == "ipv4") {
            put(tag, address);
        } else {
            found.problem(key, format!("{key} must be an {family} address"));
        }
    }
    for (tag, address) in [("lan", lan), ("wan", wan)] {
        put(tag, address);
        let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        put(&format!("{tag}_{family}"), address);
    }
    tagged
}

/// No two interfaces may share an address.
fn find_conflicts(network: &Network, found: &mut Findings<'_>) {
    let mut used: BTreeMap<String, &str> = BTreeMap::new();
    let mut claim = |name: &'static str, key: &str, address: String| {
        if let Some(holder) = used.get(&address) {
            found.problem(key, format!("{name} address {address} already configured for {holder}"));
        } else {
            used.insert(address, name);
        }
    };
    for address in &network.dns {
        claim("DNS", "ports.dns", address.to_string());
    }
    for address in &network.dns_tls {
        claim("DNS over TLS", "ports.dns_tls", address.to_string());
    }
    for (name, key, listeners) in [
        ("HTTP", "ports.http", &network.http),
        ("HTTPS", "ports.https", &network.https),
        ("gRPC", "ports.grpc", &network.grpc),
    ] {
        for listener in listeners {
            claim(name, key, listener.to_string());
        }
    }
    claim("RPC Advertise", "ports.server", network.rpc_advertise.to_string());
    claim("Serf Advertise LAN", "ports.serf_lan", network.serf_lan_advertise.to_string());
    if let Some((_, advertise)) = network.serf_wan {
        claim("Serf Advertise WAN", "ports.serf_wan", advertise.to_string());
    }
}
