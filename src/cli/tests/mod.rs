//! Whole commands against canned answers; the expected texts are those of Consul 1.8.7.

mod agent;
mod data;
mod servers;

use super::testing::{Outcome, Server, run};

/// Command line words.
type Words<'a> = &'a [&'a str];

fn outcome(code: u8, stdout: &str, stderr: &str) -> Outcome {
    Outcome { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

/// The part of standard error before a usage text.
fn before_usage(stderr: &str) -> &str {
    stderr.split("Usage:").next().unwrap_or_default()
}

#[test]
fn dispatch() {
    let version = "Consul v1.8.7\nProtocol 2 spoken by default, understands 2 to 3 (agent will automatically \
                   use protocol >2 when speaking to compatible agents)\n\n";
    let cases: &[(&[&str], u8, &str, &str)] = &[
        (&["version"], 0, version, ""),
        (&["-v"], 0, version, ""),
        (&["--version", "kv"], 0, version, ""),
        (
            &["version", "-format=json"],
            0,
            "{\n   \"Version\": \"1.8.7\",\n   \"Revision\": \"\",\n   \"Prerelease\": \"\",\n   \"RPC\": {\n      \
             \"Default\": 2,\n      \"Min\": 2,\n      \"Max\": 3\n   }\n}\n",
            "",
        ),
        (&["version", "-format=x"], 1, "", "Unknown format: x\n"),
        (&["acl", "token", "list"], 1, "", "'acl' is not implemented by this version of tribune.\n"),
    ];
    for (words, code, stdout, stderr) in cases {
        assert_eq!(run(words, &[], b""), outcome(*code, stdout, stderr), "{words:?}");
    }
}

#[test]
fn usage_goes_where_consul_puts_it() {
    let cases: &[(&[&str], u8, bool, &str)] = &[
        (&[], 127, false, ""),
        (&["bogus"], 127, false, ""),
        (&["bogus", "-h"], 127, false, ""),
        (&["-h"], 0, true, ""),
        (&["kv"], 1, false, ""),
        (&["kv", "bogus"], 1, false, ""),
        (&["kv", "-help"], 0, true, ""),
        (&["kv", "get", "a", "--help"], 0, true, ""),
        (&["kv", "get", "-bogus"], 1, false, "flag provided but not defined: -bogus\n"),
        (&["kv", "put", "-flags=x", "a"], 1, false, "invalid value \"x\" for flag -flags: parse error\n"),
        (&["event"], 1, false, "Event name must be specified\n\n"),
        (&["event", "-name=x", "a", "b"], 1, false, "Too many command line arguments.\n\n"),
        (&["join"], 1, false, "At least one address to join must be specified.\n\n"),
        (&["force-leave", "a", "b"], 1, false, "A single node name must be specified to force leave.\n\n"),
        (&["rtt"], 1, false, "One or two node names must be specified\n\n"),
    ];
    for (words, code, on_stdout, first) in cases {
        let got = run(words, &[], b"");
        assert_eq!(got.code, *code, "{words:?}");
        assert_eq!(got.stdout.starts_with("Usage: tribune"), *on_stdout, "{words:?}: {got:?}");
        assert_eq!(got.stderr.contains("Usage:"), !on_stdout, "{words:?}: {got:?}");
        assert_eq!(before_usage(&got.stderr), *first, "{words:?}");
    }
    let got = run(&["-bogus", "kv", "get", "a"], &[], b"");
    assert_eq!(got.code, 1);
    assert!(got.stderr.contains("Usage: tribune kv get"), "{got:?}");
}

#[test]
fn commands_refuse_bad_arguments_before_they_connect() {
    let cases: &[(&[&str], &str)] = &[
        (&["kv", "get"], "Error! Missing KEY argument"),
        (&["kv", "get", ""], "Error! Missing KEY argument"),
        (&["kv", "get", "a", "b"], "Too many arguments (expected 1, got 2)"),
        (&["kv", "put"], "Error! Missing KEY argument"),
        (&["kv", "put", "a", "b", "c"], "Error! Too many arguments (expected 1 or 2, got 3)"),
        (&["kv", "put", "-cas", "a", "1"], "Must specify -modify-index with -cas!"),
        (
            &["kv", "put", "-acquire", "a", "1"],
            "Error! Missing -session (required with -acquire and -release)",
        ),
        (&["kv", "put", "a", "@/no"], "Error! Failed to read file: open /no: no such file or directory"),
        (
            &["kv", "put", "/a", "b"],
            "Error! Failed writing data: Invalid key. Key must not begin with a '/': /a",
        ),
        (
            &["kv", "put", "-base64", "a", "**"],
            "Error! Cannot base 64 decode data: illegal base64 data at input byte 0",
        ),
        (&["kv", "delete"], "Error! Missing KEY argument"),
        (&["kv", "delete", "-cas", "a"], "Must specify -modify-index with -cas!"),
        (&["kv", "delete", "-cas", "-recurse", "a"], "Cannot specify both -cas and -recurse!"),
        (&["kv", "import"], "Error! Missing DATA argument"),
        (&["kv", "import", ""], "Error! Empty DATA argument"),
        (
            &["kv", "import", "x"],
            "Cannot unmarshal data: invalid character 'x' looking for beginning of value",
        ),
        (&["catalog", "nodes", "x"], "Too many arguments (expected 0, got 1)"),
        (
            &["members", "-status=["],
            "Failed to compile status regexp: error parsing regexp: missing closing ]: `[`",
        ),
        (
            &["event", "-name=a", "-node=["],
            "Failed to compile node filter regexp: error parsing regexp: missing closing ]: `[`",
        ),
        (&["event", "-name=a", "-tag=b"], "Cannot provide tag filter without service filter."),
        (&["maint", "-enable", "-disable"], "Only one of -enable or -disable may be provided"),
        (&["maint", "-reason=x"], "Reason may only be provided with -enable"),
        (&["maint", "-service=x"], "Service requires either -enable or -disable"),
        (&["rtt", "-wan", "a", "b.c"], "Node names must be specified as <node name>.<datacenter> with -wan"),
        (
            &["operator", "raft", "remove-peer"],
            "Error removing peer: an address or id is required for the peer to remove",
        ),
        (
            &["operator", "raft", "remove-peer", "-id=a", "-address=b"],
            "Error removing peer: cannot give both an address and id",
        ),
        (&["snapshot", "save"], "Missing FILE argument"),
        (&["snapshot", "inspect", "a", "b"], "Too many arguments (expected 1, got 2)"),
        (&["snapshot", "inspect", "/no"], "Error opening snapshot file: open /no: no such file or directory"),
        (&["snapshot", "restore", "/no"], "Error opening snapshot file: open /no: no such file or directory"),
        (&["lock", "a"], "Key prefix and child command must be specified"),
        (&["lock", "-n=0", "a", "b"], "Lock holder limit must be positive"),
        (&["lock", "-timeout=-1s", "a", "b"], "Timeout must be positive"),
        (&["lock", "-monitor-retry=-1", "a", "b"], "Number for 'monitor-retry' must be >= 0"),
        (&["watch", "-type=x"], "Unsupported watch type: x"),
        (&["watch", "-type=key"], "Must specify a single key to watch"),
        (&["watch", "-type=nodes", "-key=a"], "Invalid parameters: [key]"),
        (&["validate"], "Must specify at least one config file or directory"),
    ];
    for (words, stderr) in cases {
        assert_eq!(run(words, &[], b""), outcome(1, "", &format!("{stderr}\n")), "{words:?}");
    }
}

#[test]
fn an_error_of_the_agent_is_shown() {
    let server = Server::start(&[]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().display().to_string();
    let boom = "Unexpected response code: 500 (boom)";
    let cases: &[(&[&str], &str)] = &[
        (&["kv", "get", "a"], "Error querying Consul agent: Unexpected response code: 500"),
        (&["kv", "get", "-keys", "a"], "Error querying Consul agent: Unexpected response code: 500"),
        (&["kv", "export", "a"], "Error querying Consul agent: Unexpected response code: 500"),
        (&["kv", "put", "a", "1"], "Error! Failed writing data: BOOM"),
        (&["kv", "put", "-cas", "-modify-index=4", "a", "1"], "Error! Did not write to a: BOOM"),
        (&["kv", "put", "-acquire", "-session=s", "a", "1"], "Error! Failed writing data: BOOM"),
        (&["kv", "delete", "a"], "Error deleting key a: BOOM"),
        (&["kv", "delete", "-recurse", "a"], "Error! Did not delete prefix a: BOOM"),
        (&["kv", "delete", "-cas", "-modify-index=4", "a"], "Error! Did not delete key a: BOOM"),
        (&["kv", "import", r#"[{"key":"q","value":"aGk="}]"#], "Error! Failed writing data for key q: BOOM"),
        (&["catalog", "nodes"], "Error listing nodes: BOOM"),
        (&["catalog", "nodes", "-service=web"], "Error listing nodes for service: BOOM"),
        (&["catalog", "services"], "Error listing services: BOOM"),
        (&["catalog", "services", "-node=n"], "Error listing services for node: BOOM"),
        (&["catalog", "datacenters"], "Error listing datacenters: BOOM"),
        (&["members"], "Error retrieving members: BOOM"),
        (&["info"], "Error querying agent: BOOM"),
        (&["event", "-name=a"], "Error querying Consul agent: BOOM"),
        (&["reload"], "Error reloading: BOOM"),
        (&["leave"], "Error leaving: BOOM"),
        (&["force-leave", "x"], "Error force leaving: BOOM"),
        (&["join", "x"], "Error joining address 'x': BOOM\nFailed to join any nodes."),
        (&["maint"], "Error querying Consul agent: BOOM"),
        (&["maint", "-enable"], "Error enabling node maintenance: BOOM"),
        (&["maint", "-disable", "-service=x"], "Error disabling service maintenance: BOOM"),
        (&["monitor"], "Error starting monitor: BOOM"),
        (&["rtt", "a"], "Unable to look up agent info: BOOM"),
        (&["rtt", "a", "b"], "Error getting coordinates: BOOM"),
        (
            &["operator", "raft", "list-peers"],
            "Error getting peers: Failed to retrieve raft configuration: BOOM",
        ),
        (&["operator", "raft", "remove-peer", "-id=x"], "Error removing peer: BOOM"),
        (&["operator", "autopilot", "get-config"], "Error querying Autopilot configuration: BOOM"),
        (&["operator", "autopilot", "set-config"], "Error querying Autopilot configuration: BOOM"),
        (&["snapshot", "save", "x"], "Error saving snapshot: BOOM"),
        (&["snapshot", "restore", &file], "Error restoring snapshot: BOOM"),
    ];
    for (words, stderr) in cases {
        let want = format!("{}\n", stderr.replace("BOOM", boom));
        assert_eq!(server.run(words), outcome(1, "", &want), "{words:?}");
    }
}

#[test]
fn keygen_makes_32_bytes() {
    let keys: Vec<String> = (0..2).map(|_| run(&["keygen"], &[], b"").stdout).collect();
    for key in &keys {
        assert_eq!(super::gotext::decode_base64(key.as_bytes()).unwrap().len(), 32, "{key}");
    }
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn validation_is_that_of_the_settings() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (good, bad) = (path("good.json"), path("bad.json"));
    std::fs::write(&good, r#"{"data_dir":"/x","bind_addr":"127.0.0.1"}"#).unwrap();
    std::fs::write(&bad, r#"{"datax":1}"#).unwrap();
    assert_eq!(run(&["validate", &good], &[], b""), outcome(0, "Configuration is valid!\n", ""));
    assert_eq!(run(&["validate", "-quiet", &good], &[], b""), outcome(0, "", ""));
    let got = run(&["validate", &bad], &[], b"");
    assert_eq!(got.code, 1);
    assert!(got.stderr.starts_with("Config validation failed: "), "{got:?}");
    assert!(got.stderr.contains("invalid config key datax"), "{got:?}");
}
