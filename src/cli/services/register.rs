//! `services register`: from configuration files or from flags.

use std::collections::BTreeMap;

use super::{body, from_files};
use crate::cli::client::{Answer, Client, NAMESPACE_FLAG};
use crate::cli::flags::{Flag, Kind};
use crate::cli::invocation::Invocation;
use crate::cli::{Command, CommandResult, Failure, Io, Reach, gotext};
use crate::definition::{ServiceDefinition, TaggedAddress};

pub(in crate::cli) const COMMAND: Command = Command {
    path: "services register",
    arguments: "[options] [FILE...]",
    synopsis: "Registers services with the agent",
    help: "Registers services with the agent: those of configuration files, or one given by flags. They \
           stay until they are deregistered.\n\n    $ tribune services register web.json\n    \
           $ tribune services register -name=web -port=80 -tag=v1",
    reach: Reach::Servers,
    flags: &[
        NAMESPACE_FLAG,
        Flag::new("address", Kind::Text, "Address of the service. Default: the node's."),
        Flag::new("id", Kind::Text, "Id of the service. Default: its name."),
        Flag::new("kind", Kind::Text, "Kind of the service, such as connect-proxy."),
        Flag::new("meta", Kind::Pairs, "Metadata as key=value. May be repeated."),
        Flag::new("name", Kind::Text, "Name of the service."),
        Flag::new("port", Kind::Int, "Port of the service."),
        Flag::new("tag", Kind::List, "Tag of the service. May be repeated."),
        Flag::new("tagged-address", Kind::Pairs, "Further address as tag=address:port. May be repeated."),
    ],
    run,
};

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let has_files = !invocation.arguments().is_empty();
    let services = match invocation.some_text("name") {
        None if has_files => from_files(invocation)?,
        None => return Err(Failure::text("Service registration requires at least one argument or flags.")),
        Some(_) if has_files => {
            return Err(Failure::text("Service registration requires arguments or -id, not both."));
        }
        Some(name) => vec![from_flags(name, invocation)?],
    };
    let client = Client::connect(invocation, io)?;
    for service in services {
        let name = &service.name;
        client
            .put("/v1/agent/service/register")
            .send_body(body::of(&service).to_string().as_bytes())
            .and_then(Answer::ok)
            .map_err(|error| {
                Failure::Text(format!("Error registering service {}: {error}", gotext::quote(name)))
            })?;
        io.out(&format!("Registered service: {name}"));
    }
    Ok(())
}

fn pairs<'a>(invocation: &'a Invocation, flag: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    // The flag's parser has seen to the `=`.
    invocation.list(flag).into_iter().filter_map(|pair| pair.split_once('='))
}

fn from_flags(name: &str, invocation: &Invocation) -> Result<ServiceDefinition, Failure> {
    let text = |flag: &str| invocation.text(flag).unwrap_or_default().to_owned();
    let mut tagged_addresses = BTreeMap::new();
    for (tag, address) in pairs(invocation, "tagged-address") {
        let address =
            tagged_address(address).map_err(|why| Failure::Text(format!("Invalid Tagged Address: {why}")))?;
        tagged_addresses.insert(tag.to_owned(), address);
    }
    Ok(ServiceDefinition {
        id: text("id"),
        name: name.to_owned(),
        kind: text("kind"),
        tags: invocation.list("tag").into_iter().map(str::to_owned).collect(),
        address: text("address"),
        tagged_addresses,
        meta: pairs(invocation, "meta").map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        port: invocation.int("port").unwrap_or(0),
        ..ServiceDefinition::default()
    })
}

/// Reads `host:port`; an IPv6 address stands in brackets.
fn tagged_address(text: &str) -> Result<TaggedAddress, String> {
    let missing = || format!("address {text}: missing port in address");
    let (host, port) = text.rsplit_once(':').ok_or_else(missing)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(missing)?,
        None if host.contains(':') => return Err(format!("address {text}: too many colons in address")),
        None => host,
    };
    let port =
        port.parse().map_err(|_| format!("strconv.Atoi: parsing {}: invalid syntax", gotext::quote(port)))?;
    Ok(TaggedAddress { address: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tagged_addresses() {
        let good = |address: &str, port| Ok(TaggedAddress { address: address.to_owned(), port });
        let cases = [
            ("1.2.3.4:55", good("1.2.3.4", 55)),
            ("[::1]:5", good("::1", 5)),
            ("1.2.3.4", Err("address 1.2.3.4: missing port in address".to_owned())),
            ("::1:5", Err("address ::1:5: too many colons in address".to_owned())),
            ("a:b", Err("strconv.Atoi: parsing \"b\": invalid syntax".to_owned())),
        ];
        for (text, want) in cases {
            assert_eq!(tagged_address(text), want, "{text}");
        }
    }
}
