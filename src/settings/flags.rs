//! The flags of `agent`: which there are, which key each one sets, and the layers they become.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::error::Origin;
use super::goflags::{self, GoFlagError};
use super::tree::{Entry, Format, Node, Value};

/// Why the command line of `agent` is refused.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum FlagsError {
    /// A flag is wrong; the text is Go's. [`GoFlagError::Help`] asks for [`command`]'s help.
    #[error(transparent)]
    Flag(#[from] GoFlagError),
    /// Something stands after the flags.
    #[error("Unexpected extra arguments: [{}]", .0.join(" "))]
    ExtraArguments(Vec<String>),
    /// `-config-format` names no format.
    #[error("config: -config-format must be either 'hcl' or 'json'")]
    Format,
    /// The flag parser itself refused.
    #[error("{0}")]
    Internal(String),
}

/// A parsed command line of `agent`.
#[derive(Debug, Clone, PartialEq)]
pub struct Flags {
    /// `-dev`: development defaults below the files.
    pub dev: bool,
    /// `-config-file` and `-config-dir`, in the order given; either may be a file or a directory.
    pub config_paths: Vec<PathBuf>,
    /// `-config-format`: of all files, whatever their names end in.
    pub config_format: Option<Format>,
    /// `-hcl`: texts that win over everything.
    pub hcl: Vec<String>,
    /// All other flags as an object of keys.
    pub(crate) values: Vec<Entry>,
}

impl Flags {
    /// No flags at all.
    pub fn none() -> Self {
        Self {
            dev: false,
            config_paths: Vec::new(),
            config_format: None,
            hcl: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Reads a command line, without `agent` itself.
    ///
    /// # Errors
    /// [`FlagsError`], with the texts Consul prints.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, FlagsError> {
        let command = command();
        let args = goflags::normalise(args, &command)?;
        let matches = command
            .no_binary_name(true)
            .try_get_matches_from(args)
            .map_err(|error| FlagsError::Internal(error.to_string()))?;
        if let Some(extra) = matches.get_many::<OsString>(EXTRA) {
            let words = extra.map(|word| word.to_string_lossy().into_owned()).collect();
            return Err(FlagsError::ExtraArguments(words));
        }
        let format = match matches.get_one::<String>("config-format").map(String::as_str) {
            None | Some("") => None,
            Some(name) => Some(Format::from_name(name).ok_or(FlagsError::Format)?),
        };
        let mut values = Vec::new();
        for flag in FLAGS {
            read(flag, &matches, &mut values);
        }
        Ok(Self {
            dev: matches.get_one::<bool>("dev").copied().unwrap_or(false),
            config_paths: config_paths(&matches),
            config_format: format,
            hcl: matches.get_many::<String>("hcl").into_iter().flatten().cloned().collect(),
            values,
        })
    }
}

/// Type of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Text,
    /// May be repeated.
    Texts,
    /// `key:value`, may be repeated.
    Pairs,
}

struct Flag {
    name: &'static str,
    /// Dotted path of the key it sets.
    key: &'static str,
    kind: Kind,
    help: &'static str,
}

const fn flag(name: &'static str, key: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { name, key, kind, help }
}

use Kind::{Bool, Int, Pairs, Text, Texts};

/// Positional leftovers; they are always an error.
const EXTRA: &str = "extra-arguments";

/// Flags that set a key.
static FLAGS: &[Flag] = &[
    flag("advertise", "advertise_addr", Text, "Address told to the cluster."),
    flag("advertise-wan", "advertise_addr_wan", Text, "Address told to other datacenters."),
    flag(
        "allow-write-http-from",
        "http_config.allow_write_http_from",
        Texts,
        "Network that may write this agent's own endpoints; may be repeated.",
    ),
    flag("alt-domain", "alt_domain", Text, "Second DNS domain."),
    flag("bind", "bind_addr", Text, "Address to bind to for gossip and server RPC."),
    flag("bootstrap", "bootstrap", Bool, "This server elects itself."),
    flag("bootstrap-expect", "bootstrap_expect", Int, "Servers to wait for before the first election."),
    flag("check_output_max_size", "check_output_max_size", Int, "Bytes of check output kept."),
    flag("client", "client_addr", Text, "Addresses to bind to for HTTP, HTTPS, gRPC and DNS."),
    flag("data-dir", "data_dir", Text, "Directory for the agent's state."),
    flag("datacenter", "datacenter", Text, "Datacenter of the agent."),
    flag("default-query-time", "default_query_time", Text, "Wait of a blocking query that does not say."),
    flag("disable-host-node-id", "disable_host_node_id", Bool, "Make a new node id at random."),
    flag("disable-keyring-file", "disable_keyring_file", Bool, "Keep the keyring in memory only."),
    flag("dns-port", "ports.dns", Int, "DNS port."),
    flag("domain", "domain", Text, "DNS domain."),
    flag("enable-local-script-checks", "enable_local_script_checks", Bool, "Run script checks from files."),
    flag(
        "enable-script-checks",
        "enable_script_checks",
        Bool,
        "Run script checks, also those sent over HTTP.",
    ),
    flag("encrypt", "encrypt", Text, "Gossip encryption key in base64."),
    flag("grpc-port", "ports.grpc", Int, "gRPC port."),
    flag("http-port", "ports.http", Int, "HTTP port."),
    flag("https-port", "ports.https", Int, "HTTPS port."),
    flag("join", "start_join", Texts, "Agent to join at start, or fail; may be repeated."),
    flag("join-wan", "start_join_wan", Texts, "Server to join over WAN at start, or fail; may be repeated."),
    flag("log-file", "log_file", Text, "File or directory to log to as well."),
    flag("log-json", "log_json", Bool, "Log in JSON."),
    flag("log-level", "log_level", Text, "trace, debug, info, warn or err."),
    flag("log-rotate-bytes", "log_rotate_bytes", Int, "Bytes after which a new log file begins."),
    flag("log-rotate-duration", "log_rotate_duration", Text, "Time after which a new log file begins."),
    flag("log-rotate-max-files", "log_rotate_max_files", Int, "Old log files kept."),
    flag("max-query-time", "max_query_time", Text, "Longest wait of a blocking query."),
    flag("node", "node_name", Text, "Name of this node, unique in the cluster."),
    flag("node-id", "node_id", Text, "UUID of this node."),
    flag("node-meta", "node_meta", Pairs, "Metadata key:value of this node; may be repeated."),
    flag("non-voting-server", "non_voting_server", Bool, "(Enterprise) No effect."),
    flag("pid-file", "pid_file", Text, "File to write the process id to."),
    flag(
        "primary-gateway",
        "primary_gateways",
        Texts,
        "Mesh gateway of the primary datacenter; may be repeated.",
    ),
    flag("protocol", "protocol", Int, "Protocol version."),
    flag("raft-protocol", "raft_protocol", Int, "Raft protocol version."),
    flag("recursor", "recursors", Texts, "Upstream DNS server; may be repeated."),
    flag("rejoin", "rejoin_after_leave", Bool, "Join the former members although the agent left."),
    flag("retry-interval", "retry_interval", Text, "Time between attempts to join."),
    flag("retry-interval-wan", "retry_interval_wan", Text, "Time between attempts to join over WAN."),
    flag("retry-join", "retry_join", Texts, "Agent to join, tried until it works; may be repeated."),
    flag(
        "retry-join-wan",
        "retry_join_wan",
        Texts,
        "Server to join over WAN, tried until it works; may be repeated.",
    ),
    flag("retry-max", "retry_max", Int, "Most attempts to join, 0 for no end."),
    flag("retry-max-wan", "retry_max_wan", Int, "Most attempts to join over WAN, 0 for no end."),
    flag("segment", "segment", Text, "(Enterprise) Refused."),
    flag(
        "serf-lan-allowed-cidrs",
        "serf_lan_allowed_cidrs",
        Texts,
        "Network LAN members may come from; may be repeated.",
    ),
    flag("serf-lan-bind", "serf_lan", Text, "Address to bind to for LAN gossip."),
    flag("serf-lan-port", "ports.serf_lan", Int, "LAN gossip port."),
    flag(
        "serf-wan-allowed-cidrs",
        "serf_wan_allowed_cidrs",
        Texts,
        "Network WAN members may come from; may be repeated.",
    ),
    flag("serf-wan-bind", "serf_wan", Text, "Address to bind to for WAN gossip."),
    flag("serf-wan-port", "ports.serf_wan", Int, "WAN gossip port, -1 for off."),
    flag("server", "server", Bool, "Run as a server."),
    flag("server-port", "ports.server", Int, "Server RPC port."),
    flag("syslog", "enable_syslog", Bool, "Log to syslog as well."),
    flag("ui", "ui", Bool, "Serve the built-in web UI."),
    flag("ui-content-path", "ui_content_path", Text, "Path of the web UI."),
    flag("ui-dir", "ui_dir", Text, "Directory with another web UI."),
];

/// The command `agent` for clap. Arguments must have gone through [`goflags::normalise`].
pub fn command() -> Command {
    let own = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    let mut args = vec![
        own("config-dir", "Directory of configuration files; may be repeated.")
            .action(ArgAction::Append)
            .value_parser(value_parser!(PathBuf)),
        own("config-file", "Configuration file; may be repeated.")
            .action(ArgAction::Append)
            .value_parser(value_parser!(PathBuf)),
        own("config-format", "Format of all configuration files: hcl or json."),
        boolean(own("dev", "Development mode: in memory, leader at once.")),
        own("hcl", "Configuration as a text; may be repeated.").action(ArgAction::Append),
    ];
    args.extend(FLAGS.iter().map(|flag| {
        let arg = own(flag.name, flag.help);
        match flag.kind {
            Bool => boolean(arg),
            Int => arg.value_parser(value_parser!(i64)).allow_negative_numbers(true),
            Text => arg,
            Texts | Pairs => arg.action(ArgAction::Append),
        }
    }));
    args.sort_by(|left, right| left.get_id().cmp(right.get_id()));
    Command::new("agent")
        .about("Starts an agent and runs until it is told to stop.")
        .args(args)
        .arg(Arg::new(EXTRA).num_args(0..).hide(true).value_parser(value_parser!(OsString)))
}

/// A switch for which absence and `=false` differ.
fn boolean(arg: Arg) -> Arg {
    arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_parser(value_parser!(bool))
}

/// Files and directories together, in the order of the command line.
fn config_paths(matches: &ArgMatches) -> Vec<PathBuf> {
    let mut found: Vec<(usize, PathBuf)> = Vec::new();
    for name in ["config-file", "config-dir"] {
        let (Some(places), Some(paths)) = (matches.indices_of(name), matches.get_many::<PathBuf>(name))
        else {
            continue;
        };
        found.extend(places.zip(paths.cloned()));
    }
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, path)| path).collect()
}

/// Puts the flag's value, if it was given, at its key.
fn read(flag: &Flag, matches: &ArgMatches, values: &mut Vec<Entry>) {
    let at = Origin::whole(format!("flag -{}", flag.name));
    let node = |value| Node { value, at: at.clone() };
    let texts = || matches.get_many::<String>(flag.name).into_iter().flatten().cloned();
    let value = match flag.kind {
        Bool => matches.get_one::<bool>(flag.name).map(|on| Value::Bool(*on)),
        Int => matches.get_one::<i64>(flag.name).map(|number| Value::Int(*number)),
        Text => matches.get_one::<String>(flag.name).cloned().map(Value::Text),
        Texts => Some(Value::List(texts().map(|text| node(Value::Text(text))).collect()))
            .filter(|value| !matches!(value, Value::List(items) if items.is_empty())),
        Pairs => {
            let pairs: Vec<Entry> = texts()
                .map(|text| {
                    let (key, value) = text.split_once(':').unwrap_or((&text, ""));
                    Entry { key: key.to_owned(), at: at.clone(), value: node(Value::Text(value.to_owned())) }
                })
                .collect();
            (!pairs.is_empty()).then_some(Value::Map(pairs))
        }
    };
    if let Some(value) = value {
        put(values, flag.key, node(value));
    }
}

fn put(entries: &mut Vec<Entry>, path: &str, value: Node) {
    let at = value.at.clone();
    let Some((first, rest)) = path.split_once('.') else {
        entries.push(Entry { key: path.to_owned(), at, value });
        return;
    };
    if !entries.iter().any(|entry| entry.key == first) {
        let empty = Node { value: Value::Map(Vec::new()), at: at.clone() };
        entries.push(Entry { key: first.to_owned(), at, value: empty });
    }
    if let Some(Entry { value: Node { value: Value::Map(inner), .. }, .. }) =
        entries.iter_mut().find(|entry| entry.key == first)
    {
        put(inner, rest, value);
    }
}

/// The flags that set keys, as a source.
pub(crate) fn source(values: Vec<Entry>) -> Node {
    Node { value: Value::Map(values), at: Origin::whole(Arc::from("flags")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Flags, FlagsError> {
        Flags::parse(line.iter().map(OsString::from))
    }

    #[test]
    fn the_command_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn files_and_directories_keep_their_order() {
        let flags = parse(&["-config-dir=b", "-config-file", "a", "--config-dir", "c", "-dev"]).unwrap();
        let paths: Vec<_> = flags.config_paths.iter().map(|path| path.display().to_string()).collect();
        assert_eq!(paths, ["b", "a", "c"]);
        assert!(flags.dev);
    }

    #[test]
    fn bad_command_lines() {
        let cases: &[(&[&str], &str)] = &[
            (&["-foo"], "flag provided but not defined: -foo"),
            (&["-http-port", "x"], "invalid value \"x\" for flag -http-port: parse error"),
            (&["-dev", "x", "-ui"], "Unexpected extra arguments: [x -ui]"),
            (&["-config-format=yaml"], "config: -config-format must be either 'hcl' or 'json'"),
            (&["-server=maybe"], "invalid boolean value \"maybe\" for -server: parse error"),
            (&["-help"], "flag: help requested"),
        ];
        for (line, want) in cases {
            assert_eq!(parse(line).unwrap_err().to_string(), *want, "{line:?}");
        }
    }

    #[test]
    fn every_flag_sets_a_key_of_the_schema() {
        for flag in FLAGS {
            let value = match flag.kind {
                Bool => "true",
                Int => "3",
                Pairs => "a:b",
                Texts if flag.key.contains("cidr") || flag.key.ends_with("from") => "10.0.0.0/8",
                _ if flag.name.contains("time") || flag.name.contains("interval") => "3s",
                _ if flag.name.contains("duration") => "3s",
                _ => "text",
            };
            let flags = parse(&[&format!("-{}={value}", flag.name)]).unwrap();
            let mut report = super::super::check::Report::default();
            super::super::check::check(source(flags.values), &mut report);
            let refused = flag.name == "segment";
            assert_eq!(report.problems.is_empty(), !refused, "{}: {:?}", flag.name, report.problems);
        }
    }
}
