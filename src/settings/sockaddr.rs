//! Address templates: `{{ GetPrivateIP }}`, `{{ GetInterfaceIP "eth0" }}`,
//! `{{ GetAllInterfaces | include "network" "10.0.0.0/8" | attr "address" }}`.
//!
//! The part of the go-sockaddr template language that picks addresses: the `Get…` functions, `include`,
//! `exclude`, `sort`, `limit`, `offset`, `unique`, `attr` and `join`. Anything else is refused by name.

use std::cmp::Ordering;
use std::fmt::Write as _;

use regex::Regex;

use super::interfaces::{Interface, Network, is_special, within};
use crate::cidr::Cidr;

/// Replaces every `{{ … }}` in `text`. A text without any is given back as it is.
///
/// # Errors
/// What is wrong with the template.
pub(crate) fn expand(text: &str, network: &Network) -> Result<String, String> {
    let mut output = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (code, tail) =
            after.split_once("}}").ok_or_else(|| format!("{text:?}: '{{{{' without '}}}}'"))?;
        let (code, before) = match code.strip_prefix('-') {
            Some(trimmed) => (trimmed, before.trim_end()),
            None => (code, before),
        };
        let (code, tail) = match code.strip_suffix('-') {
            Some(trimmed) => (trimmed, tail.trim_start()),
            None => (code, tail),
        };
        output.push_str(before);
        let value = evaluate(code, network).map_err(|error| format!("error parsing {text:?}: {error}"))?;
        match value {
            Value::Text(value) => output.push_str(&value),
            Value::Interfaces(found) => {
                return Err(format!(
                    "error parsing {text:?}: {} interfaces are no address; add | attr \"address\" or | join \
                     \"address\" \" \"",
                    found.len()
                ));
            }
        }
        rest = tail;
    }
    output.push_str(rest);
    Ok(output)
}

enum Value {
    Text(String),
    Interfaces(Vec<Interface>),
}

fn evaluate(code: &str, network: &Network) -> Result<Value, String> {
    let mut current: Option<Value> = None;
    for command in split_pipeline(code)? {
        let mut words = command.into_iter();
        let name = words.next().ok_or("an empty command")?;
        let arguments: Vec<String> = words.collect();
        current = Some(call(&name, &arguments, current, network)?);
    }
    current.ok_or_else(|| "an empty template".to_owned())
}

/// The commands of a pipeline, each as its words; quotes are taken off.
fn split_pipeline(code: &str) -> Result<Vec<Vec<String>>, String> {
    let mut commands = vec![Vec::new()];
    let mut characters = code.chars().peekable();
    while let Some(c) = characters.next() {
        let mut word = String::new();
        match c {
            c if c.is_whitespace() => continue,
            '|' => {
                commands.push(Vec::new());
                continue;
            }
            '"' | '`' => loop {
                match characters.next() {
                    None => return Err("a string without end".to_owned()),
                    Some(end) if end == c => break,
                    Some('\\') if c == '"' => word.extend(characters.next()),
                    Some(other) => word.push(other),
                }
            },
            c => {
                word.push(c);
                while let Some(next) = characters.next_if(|c| !c.is_whitespace() && *c != '|' && *c != '"') {
                    word.push(next);
                }
            }
        }
        if let Some(command) = commands.last_mut() {
            command.push(word);
        }
    }
    Ok(commands)
}

fn call(name: &str, arguments: &[String], input: Option<Value>, network: &Network) -> Result<Value, String> {
    let texts: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let Some(value) = source(name, &texts, network)? {
        return Ok(value);
    }
    let filter =
        matches!(name, "include" | "exclude" | "sort" | "limit" | "offset" | "unique" | "attr" | "join");
    if !filter {
        return Err(format!(
            "function {name:?} is not known (known: GetPrivateIP, GetPublicIP, GetInterfaceIP and their plurals, \
             GetAllInterfaces, GetDefaultInterfaces, GetPrivateInterfaces, GetPublicInterfaces, include, exclude, \
             sort, limit, offset, unique, attr, join)"
        ));
    }
    let Some(Value::Interfaces(mut found)) = input else {
        return Err(format!("{name} needs interfaces from the command before it"));
    };
    match (name, texts.as_slice()) {
        ("include", [selector, value]) => keep(&mut found, selector, value, network, true)?,
        ("exclude", [selector, value]) => keep(&mut found, selector, value, network, false)?,
        ("sort", [by]) => sort(&mut found, by, network)?,
        ("limit", [count]) => found.truncate(count.parse().map_err(|_| format!("bad limit {count:?}"))?),
        ("offset", [count]) => {
            let count: i64 = count.parse().map_err(|_| format!("bad offset {count:?}"))?;
            // Below zero counts from the end.
            let length = i64::try_from(found.len()).unwrap_or(i64::MAX);
            let start = if count < 0 { length.saturating_add(count).max(0) } else { count.min(length) };
            found.drain(..usize::try_from(start).unwrap_or(0).min(found.len()));
        }
        ("unique", [by]) => {
            let mut seen = Vec::new();
            let mut error = None;
            found.retain(|one| match attribute(one, by) {
                Ok(value) => {
                    let new = !seen.contains(&value);
                    seen.push(value);
                    new
                }
                Err(reason) => {
                    error = Some(reason);
                    false
                }
            });
            if let Some(reason) = error {
                return Err(reason);
            }
        }
        ("attr", [what]) => {
            let first = found.first().map(|one| attribute(one, what)).transpose()?;
            return Ok(Value::Text(first.unwrap_or_default()));
        }
        ("join", [what, separator]) => {
            let values: Result<Vec<String>, String> = found.iter().map(|one| attribute(one, what)).collect();
            return Ok(Value::Text(values?.join(separator)));
        }
        _ => return Err(format!("wrong number of arguments for {name}")),
    }
    Ok(Value::Interfaces(found))
}

/// The functions that start a pipeline; `None` when `name` is none of them.
fn source(name: &str, arguments: &[&str], network: &Network) -> Result<Option<Value>, String> {
    let no_arguments = || match arguments {
        [] => Ok(()),
        _ => Err(format!("{name} takes no argument")),
    };
    let named = || match arguments {
        [pattern] => Regex::new(pattern)
            .map(|pattern| {
                let all = network.interfaces.iter();
                all.filter(|one| pattern.is_match(&one.name)).cloned().collect::<Vec<_>>()
            })
            .map_err(|error| error.to_string()),
        _ => Err(format!("{name} needs the name of an interface")),
    };
    let addresses =
        |found: &[Interface]| found.iter().map(|one| one.address.to_string()).collect::<Vec<_>>().join(" ");
    let first = |found: &[Interface]| found.first().map(|one| one.address.to_string()).unwrap_or_default();
    Ok(Some(match name {
        "GetAllInterfaces" => {
            no_arguments()?;
            Value::Interfaces(network.interfaces.clone())
        }
        "GetDefaultInterfaces" => {
            no_arguments()?;
            let default = network.default.as_ref().ok_or("No default interface found")?;
            let found = network.interfaces.iter().filter(|one| one.name == *default).cloned().collect();
            Value::Interfaces(found)
        }
        "GetPrivateInterfaces" => {
            no_arguments()?;
            Value::Interfaces(reachable(network, true))
        }
        "GetPublicInterfaces" => {
            no_arguments()?;
            Value::Interfaces(reachable(network, false))
        }
        "GetPrivateIP" => {
            no_arguments()?;
            Value::Text(first(&reachable(network, true)))
        }
        "GetPrivateIPs" => {
            no_arguments()?;
            Value::Text(addresses(&reachable(network, true)))
        }
        "GetPublicIP" => {
            no_arguments()?;
            Value::Text(first(&reachable(network, false)))
        }
        "GetPublicIPs" => {
            no_arguments()?;
            Value::Text(addresses(&reachable(network, false)))
        }
        "GetInterfaceIP" => {
            let mut found = named()?;
            found.retain(forwardable);
            sort(&mut found, "type,size", network)?;
            Value::Text(first(&found))
        }
        "GetInterfaceIPs" => {
            let mut found = named()?;
            sort(&mut found, "type,size", network)?;
            Value::Text(addresses(&found))
        }
        _ => return Ok(None),
    }))
}

/// Addresses others can reach, private or public ones, those of the default route first.
fn reachable(network: &Network, private: bool) -> Vec<Interface> {
    let all = network.interfaces.iter();
    let mut found: Vec<Interface> =
        all.filter(|one| one.up && forwardable(one) && is_special(one.address) == private).cloned().collect();
    found.sort_by(|left, right| {
        by_default(left, right, network).then(by_type(left, right)).then(left.prefix.cmp(&right.prefix))
    });
    found
}

fn forwardable(one: &Interface) -> bool {
    const KEPT_HERE: [&str; 8] = [
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/127",
        "fe80::/10",
        "ff00::/8",
    ];
    !one.loopback && !within(&KEPT_HERE, one.address)
}

fn by_default(left: &Interface, right: &Interface, network: &Network) -> Ordering {
    let is_default = |one: &Interface| network.default.as_ref() == Some(&one.name);
    is_default(right).cmp(&is_default(left))
}

fn by_type(left: &Interface, right: &Interface) -> Ordering {
    left.address.is_ipv6().cmp(&right.address.is_ipv6())
}

/// `sort "type,-size"`: the criteria in order, each ascending unless it has a minus.
fn sort(found: &mut [Interface], by: &str, network: &Network) -> Result<(), String> {
    let mut criteria = Vec::new();
    for criterion in by.split(',').map(str::trim) {
        let (descending, name) = match criterion.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, criterion.strip_prefix('+').unwrap_or(criterion)),
        };
        if !matches!(name, "address" | "default" | "name" | "size" | "type" | "private") {
            return Err(format!("unknown sort type: {name:?}"));
        }
        criteria.push((descending, name));
    }
    found.sort_by(|left, right| {
        criteria.iter().fold(Ordering::Equal, |order, (descending, name)| {
            let next = match *name {
                "address" => left.address.cmp(&right.address),
                "default" => by_default(left, right, network),
                "name" => left.name.cmp(&right.name),
                "size" => left.prefix.cmp(&right.prefix),
                "private" => is_special(right.address).cmp(&is_special(left.address)),
                _ => by_type(left, right),
            };
            order.then(if *descending { next.reverse() } else { next })
        })
    });
    Ok(())
}

/// Keeps the interfaces that `selector` picks, or with `wanted` false the others.
fn keep(
    found: &mut Vec<Interface>,
    selector: &str,
    value: &str,
    network: &Network,
    wanted: bool,
) -> Result<(), String> {
    let picks: Box<dyn Fn(&Interface) -> bool> = match selector.to_ascii_lowercase().as_str() {
        "name" => {
            let pattern = Regex::new(value).map_err(|error| error.to_string())?;
            Box::new(move |one| pattern.is_match(&one.name))
        }
        "address" => {
            let pattern = Regex::new(value).map_err(|error| error.to_string())?;
            Box::new(move |one| pattern.is_match(&one.address.to_string()))
        }
        "network" => {
            let networks: Result<Vec<Cidr>, _> = value.split('|').map(str::parse).collect();
            let networks = networks.map_err(|error| error.to_string())?;
            Box::new(move |one| networks.iter().any(|network| network.contains(one.address)))
        }
        "type" => {
            let types: Vec<String> = value.split('|').map(str::to_ascii_lowercase).collect();
            if let Some(unknown) = types.iter().find(|kind| !matches!(kind.as_str(), "ip" | "ipv4" | "ipv6"))
            {
                return Err(format!("unsupported type {unknown:?}"));
            }
            Box::new(move |one| {
                types.iter().any(|kind| match kind.as_str() {
                    "ipv4" => one.address.is_ipv4(),
                    "ipv6" => one.address.is_ipv6(),
                    _ => true,
                })
            })
        }
        "rfc" => {
            let numbers: Vec<String> = value.split('|').map(ToOwned::to_owned).collect();
            for number in &numbers {
                in_rfc(number, std::net::Ipv4Addr::LOCALHOST.into())?;
            }
            Box::new(move |one| numbers.iter().any(|number| in_rfc(number, one.address).unwrap_or(false)))
        }
        "flag" | "flags" => {
            let flags: Vec<String> = value.split('|').map(ToOwned::to_owned).collect();
            if let Some(unknown) = flags.iter().find(|flag| !FLAGS.contains(&flag.as_str())) {
                return Err(format!("unsupported flag {unknown:?}"));
            }
            // All of them must hold.
            Box::new(move |one| flags.iter().all(|flag| has_flag(one, flag)))
        }
        "size" => {
            let size: u8 =
                value.trim_start_matches('/').parse().map_err(|_| format!("bad size {value:?}"))?;
            Box::new(move |one| one.prefix == size)
        }
        "default" => {
            let default = network.default.clone();
            Box::new(move |one| default.as_ref() == Some(&one.name))
        }
        other => return Err(format!("invalid include selector {other:?}")),
    };
    found.retain(|one| picks(one) == wanted);
    Ok(())
}

/// Whether the address belongs to what the RFC of that number sets aside.
fn in_rfc(number: &str, address: std::net::IpAddr) -> Result<bool, String> {
    Ok(match number {
        "6890" => is_special(address),
        "1918" => within(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"], address),
        "6598" => within(&["100.64.0.0/10"], address),
        "3927" => within(&["169.254.0.0/16"], address),
        "4193" => within(&["fc00::/7"], address),
        "4291" => within(&["::/128", "::1/128", "fe80::/10", "ff00::/8"], address),
        "1112" => within(&["224.0.0.0/4"], address),
        _ => return Err(format!("RFC {number:?} is not known here")),
    })
}

const FLAGS: [&str; 7] =
    ["broadcast", "down", "forwardable", "loopback", "multicast", "point-to-point", "up"];

fn has_flag(one: &Interface, flag: &str) -> bool {
    match flag {
        "broadcast" => one.broadcast,
        "down" => !one.up,
        "forwardable" => forwardable(one),
        "loopback" => one.loopback,
        "multicast" => one.multicast,
        "point-to-point" => one.point_to_point,
        _ => one.up,
    }
}

fn attribute(one: &Interface, what: &str) -> Result<String, String> {
    Ok(match what {
        "address" | "host" => one.address.to_string(),
        "name" => one.name.clone(),
        "size" | "mask_bits" => one.prefix.to_string(),
        "type" => if one.address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
        "string" => format!("{}/{}", one.address, one.prefix),
        "flags" => {
            let mut text = String::new();
            for flag in ["up", "broadcast", "loopback", "point-to-point", "multicast"] {
                if has_flag(one, flag) {
                    let separator = if text.is_empty() { "" } else { "|" };
                    let _ = write!(text, "{separator}{flag}");
                }
            }
            text
        }
        other => return Err(format!("unsupported attribute name {other:?}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        let one = |name: &str, address: &str, prefix: u8| Interface {
            name: name.to_owned(),
            address: address.parse().unwrap(),
            prefix,
            up: true,
            loopback: name == "lo",
            broadcast: name != "lo",
            multicast: name != "lo",
            point_to_point: false,
        };
        Network {
            interfaces: vec![
                one("lo", "127.0.0.1", 8),
                one("eth0", "10.0.0.3", 32),
                one("eth0", "10.0.0.1", 24),
                one("eth0", "8.8.8.8", 24),
                one("eth0", "169.254.3.3", 16),
                one("eth1", "192.168.7.1", 24),
                one("lo", "::1", 128),
                one("eth0", "2001:4860::2", 64),
                one("eth0", "fd00::1", 64),
                one("eth0", "fe80::1", 64),
            ],
            default: Some("eth1".to_owned()),
        }
    }

    #[test]
    fn good_templates() {
        let cases = [
            ("10.9.9.9", "10.9.9.9"),
            ("{{ GetPrivateIP }}", "192.168.7.1"),
            ("{{GetPublicIP}}", "8.8.8.8"),
            ("{{ GetPublicIPs }}", "8.8.8.8 2001:4860::2"),
            ("{{ GetInterfaceIP \"eth0\" }}", "10.0.0.1"),
            ("{{ GetInterfaceIP `eth` }}", "10.0.0.1"),
            ("{{ GetInterfaceIP \"lo\" }}", ""),
            ("{{ GetInterfaceIP \"nope\" }}", ""),
            ("{{ GetInterfaceIPs \"eth1|lo\" }}", "127.0.0.1 192.168.7.1 ::1"),
            ("{{ GetPrivateIP }}:8301", "192.168.7.1:8301"),
            ("a {{- GetPrivateIP -}} b", "a192.168.7.1b"),
            ("{{ GetAllInterfaces | include \"network\" \"10.0.0.0/8\" | attr \"address\" }}", "10.0.0.3"),
            (
                "{{ GetAllInterfaces | include \"rfc\" \"1918\" | sort \"-size,address\" | join \"address\" \" \" }}",
                "10.0.0.3 10.0.0.1 192.168.7.1",
            ),
            (
                "{{ GetAllInterfaces | include \"type\" \"IPv4\" | exclude \"name\" \"lo\" | limit 2 | join \
                 \"address\" \",\" }}",
                "10.0.0.3,10.0.0.1",
            ),
            ("{{ GetAllInterfaces | unique \"name\" | join \"name\" \" \" }}", "lo eth0 eth1"),
            ("{{ GetDefaultInterfaces | attr \"string\" }}", "192.168.7.1/24"),
            (
                "{{ GetAllInterfaces | include \"flags\" \"loopback|up\" | offset 1 | attr \"address\" }}",
                "::1",
            ),
            ("{{ GetAllInterfaces | attr \"flags\" }}", "up|loopback"),
            ("{{ GetPrivateInterfaces | join \"address\" \" \" }}", "192.168.7.1 10.0.0.1 10.0.0.3 fd00::1"),
        ];
        for (template, want) in cases {
            assert_eq!(expand(template, &network()).as_deref(), Ok(want), "{template}");
        }
    }

    #[test]
    fn bad_templates() {
        let cases = [
            ("{{ GetPrivateIP", "without"),
            ("{{ Nope }}", "function \"Nope\" is not known"),
            ("{{ }}", "an empty command"),
            ("{{ GetAllInterfaces }}", "10 interfaces are no address"),
            ("{{ GetAllInterfaces | attr \"nope\" }}", "unsupported attribute name \"nope\""),
            ("{{ GetAllInterfaces | sort \"nope\" }}", "unknown sort type: \"nope\""),
            ("{{ GetAllInterfaces | include \"nope\" \"x\" }}", "invalid include selector \"nope\""),
            ("{{ GetAllInterfaces | include \"name\" \"(\" }}", "regex"),
            ("{{ GetAllInterfaces | include \"network\" \"x\" }}", "invalid cidr: x"),
            ("{{ GetInterfaceIP }}", "needs the name"),
            ("{{ GetPrivateIP \"x\" }}", "takes no argument"),
            ("{{ GetPrivateIP | attr \"name\" }}", "needs interfaces"),
            ("{{ GetInterfaceIP \"x }}", "a string without end"),
        ];
        for (template, want) in cases {
            let error = expand(template, &network()).unwrap_err();
            assert!(error.contains(want), "{template}: {error}");
        }
    }
}
