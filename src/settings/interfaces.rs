//! The machine's network addresses, and which of them Consul would pick to be reached at.

use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::cidr::Cidr;

/// One address of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the system's flags")]
pub(crate) struct Interface {
    /// Name, such as `eth0`.
    pub(crate) name: String,
    /// The address.
    pub(crate) address: IpAddr,
    /// Length of its network's prefix.
    pub(crate) prefix: u8,
    /// It is up.
    pub(crate) up: bool,
    /// It is the loopback interface.
    pub(crate) loopback: bool,
    /// It knows broadcast.
    pub(crate) broadcast: bool,
    /// It knows multicast.
    pub(crate) multicast: bool,
    /// It has one peer only.
    pub(crate) point_to_point: bool,
}

/// The machine's interfaces as settings see them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    /// All IP addresses, in the system's order.
    pub(crate) interfaces: Vec<Interface>,
    /// Name of the interface with the default route.
    pub(crate) default: Option<String>,
}

impl Network {
    /// Asks the system.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn of_this_machine() -> io::Result<Self> {
        let mut interfaces = Vec::new();
        for entry in getifaddrs()? {
            let Some(storage) = entry.address else { continue };
            let address = if let Some(v4) = storage.as_sockaddr_in() {
                IpAddr::V4(v4.ip())
            } else if let Some(v6) = storage.as_sockaddr_in6() {
                IpAddr::V6(v6.ip())
            } else {
                continue;
            };
            let prefix = entry
                .netmask
                .and_then(|mask| {
                    mask.as_sockaddr_in()
                        .map(|mask| mask.ip().to_bits().count_ones())
                        .or_else(|| mask.as_sockaddr_in6().map(|mask| mask.ip().to_bits().count_ones()))
                })
                .and_then(|ones| u8::try_from(ones).ok())
                .unwrap_or(if address.is_ipv4() { 32 } else { 128 });
            let has = |flag| entry.flags.contains(flag);
            interfaces.push(Interface {
                name: entry.interface_name.clone(),
                address,
                prefix,
                up: has(InterfaceFlags::IFF_UP),
                loopback: has(InterfaceFlags::IFF_LOOPBACK),
                broadcast: has(InterfaceFlags::IFF_BROADCAST),
                multicast: has(InterfaceFlags::IFF_MULTICAST),
                point_to_point: has(InterfaceFlags::IFF_POINTOPOINT),
            });
        }
        Ok(Self { interfaces, default: default_interface() })
    }

    /// The address to advertise when the agent binds to `0.0.0.0` (`v4`) or `::`: the only private IPv4 or
    /// public IPv6 address of an interface that is up. A machine with nothing but loopback gets that.
    ///
    /// # Errors
    /// Consul's texts when there is none, or more than one.
    pub(crate) fn advertisable(&self, v4: bool) -> Result<IpAddr, String> {
        let candidates: Vec<IpAddr> = self
            .interfaces
            .iter()
            .filter(|interface| interface.up && interface.address.is_ipv4() == v4)
            .filter(|interface| !is_loopback(interface))
            .map(|interface| interface.address)
            .collect();
        if v4 && candidates.is_empty() {
            let loopback = self.interfaces.iter().find(|one| one.up && one.address.is_ipv4());
            return loopback
                .map(|interface| interface.address)
                .ok_or_else(|| "No private IPv4 address found".to_owned());
        }
        let wanted: Vec<IpAddr> = candidates
            .into_iter()
            .filter(|ip| if v4 { is_private_v4(*ip) } else { !is_special(*ip) })
            .collect();
        let kind = if v4 { "private IPv4" } else { "public IPv6" };
        match wanted.as_slice() {
            [only] => Ok(*only),
            [] => Err(format!("No {kind} address found")),
            _ => Err(format!(
                "Multiple {kind} addresses found. Please configure one with 'bind' and/or 'advertise'."
            )),
        }
    }
}

fn is_loopback(interface: &Interface) -> bool {
    interface.loopback || interface.address.is_loopback()
}

/// The networks from which Consul takes the address to advertise.
fn is_private_v4(address: IpAddr) -> bool {
    const PRIVATE: [&str; 7] = [
        "10.0.0.0/8",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.168.0.0/16",
    ];
    within(&PRIVATE, address)
}

/// Of the special-purpose networks of RFC 6890: not reachable from everywhere.
pub(crate) fn is_special(address: IpAddr) -> bool {
    const SPECIAL: [&str; 27] = [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "240.0.0.0/4",
        "255.255.255.255/32",
        "::1/128",
        "::/128",
        "64:ff9b::/96",
        "::ffff:0:0/96",
        "100::/64",
        "2001::/23",
        "2001:2::/48",
        "2001:db8::/32",
        "2001:10::/28",
        "2002::/16",
        "fc00::/7",
        "fe80::/10",
    ];
    within(&SPECIAL, address)
}

/// Whether `address` lies in one of the networks.
pub(crate) fn within(networks: &[&str], address: IpAddr) -> bool {
    networks.iter().filter_map(|text| text.parse::<Cidr>().ok()).any(|network| network.contains(address))
}

/// Name of the interface with the IPv4 (else the IPv6) default route, from Linux' routing tables.
fn default_interface() -> Option<String> {
    let v4 = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let from_v4 = v4.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let name = fields.next()?;
        let destination = fields.next()?;
        (destination == "00000000").then(|| name.to_owned())
    });
    from_v4.or_else(|| {
        let v6 = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
        v6.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let everything = fields.first()?.bytes().all(|b| b == b'0') && *fields.get(1)? == "00";
            let name = fields.last()?;
            (everything && *name != "lo").then(|| (*name).to_owned())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(addresses: &[(&str, &str)]) -> Network {
        let interfaces = addresses
            .iter()
            .map(|(name, address)| Interface {
                name: (*name).to_owned(),
                address: address.parse().unwrap(),
                prefix: 24,
                up: true,
                loopback: *name == "lo",
                broadcast: true,
                multicast: true,
                point_to_point: false,
            })
            .collect();
        Network { interfaces, default: None }
    }

    #[test]
    fn address_to_advertise() {
        const NO_V4: Result<&str, &str> = Err("No private IPv4 address found");
        const NO_V6: Result<&str, &str> = Err("No public IPv6 address found");
        let lo = ("lo", "127.0.0.1");
        let cases = [
            ("nothing", vec![], true, NO_V4),
            ("loopback alone", vec![lo], true, Ok("127.0.0.1")),
            ("private", vec![lo, ("eth0", "10.1.1.1")], true, Ok("10.1.1.1")),
            ("shared", vec![lo, ("eth0", "100.64.0.1")], true, Ok("100.64.0.1")),
            ("link local", vec![lo, ("eth0", "169.254.1.1")], true, Ok("169.254.1.1")),
            ("documentation", vec![lo, ("eth0", "192.0.2.1")], true, Ok("192.0.2.1")),
            ("benchmark", vec![lo, ("eth0", "198.18.0.1")], true, NO_V4),
            ("public only", vec![lo, ("eth0", "8.8.8.8")], true, NO_V4),
            ("public besides", vec![("eth0", "8.8.8.8"), ("eth1", "10.0.0.1")], true, Ok("10.0.0.1")),
            (
                "two",
                vec![("eth0", "10.0.0.1"), ("eth1", "192.168.0.1")],
                true,
                Err(
                    "Multiple private IPv4 addresses found. Please configure one with 'bind' and/or 'advertise'.",
                ),
            ),
            ("local v6", vec![("lo", "::1"), ("eth0", "fd00::1"), ("eth0", "fe80::1")], false, NO_V6),
            ("documentation v6", vec![("eth0", "2001:db8::1")], false, NO_V6),
            ("public v6", vec![("eth0", "2001:4860::1")], false, Ok("2001:4860::1")),
            (
                "two public v6",
                vec![("eth0", "2001:4860::1"), ("eth0", "2001:4860::2")],
                false,
                Err(
                    "Multiple public IPv6 addresses found. Please configure one with 'bind' and/or 'advertise'.",
                ),
            ),
        ];
        for (name, addresses, v4, want) in cases {
            let got = network(&addresses).advertisable(v4).map(|ip| ip.to_string());
            assert_eq!(got, want.map(ToOwned::to_owned).map_err(ToOwned::to_owned), "{name}");
        }
    }

    #[test]
    fn this_machine_has_addresses() {
        let network = Network::of_this_machine().unwrap();
        assert!(network.interfaces.iter().any(|one| one.address.is_loopback()), "{network:?}");
    }
}
