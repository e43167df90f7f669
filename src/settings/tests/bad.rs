//! What must be refused, where, and in which words.

use super::super::validate;
use super::{load, load_line};

/// Loads one text and gives the error.
fn refuse(name: &str, text: &str) -> String {
    match load(&[(name, text)], &[]) {
        Ok(_) => panic!("{text} was accepted"),
        Err(error) => error,
    }
}

/// A fault of one file, as it is framed.
fn framed(name: &str, fault: &str) -> String {
    format!("failed to parse {name}: 1 error occurred:\n\t* {fault}")
}

#[test]
fn keys_and_types() {
    let cases = [
        ("ports { htp = 1 }", "a.hcl:1:9: invalid config key ports.htp (nearest valid key: ports.http)"),
        (
            "\n\n  datacentre = \"x\"",
            "a.hcl:3:3: invalid config key datacentre (nearest valid key: datacenter)",
        ),
        (
            "node_ttl = \"5s\"",
            "a.hcl:1:1: invalid config key node_ttl (nearest valid key: dns_config.node_ttl)",
        ),
        ("http_port = 1", "a.hcl:1:1: invalid config key http_port (nearest valid key: ports.http)"),
        (
            "service { EnableTagOverride = true }",
            "a.hcl:1:11: invalid config key service.EnableTagOverride (nearest valid key: service.enable_tag_override)",
        ),
        (
            "services { checks = [{ ttl = \"1s\" }, { intervall = \"1s\" }] }",
            "a.hcl:1:40: invalid config key services[0].checks[1].intervall (nearest valid key: \
             services[0].checks[1].interval)",
        ),
        (
            "check \"htp\" { ttl = \"1s\" }",
            "a.hcl:1:7: invalid config key check.htp (nearest valid key: check.http)",
        ),
        ("server = \"true\"", "a.hcl:1:10: 'server' expected true or false, got a string"),
        ("server = 1", "a.hcl:1:10: 'server' expected true or false, got a number"),
        ("retry_max = \"1\"", "a.hcl:1:13: 'retry_max' expected a whole number, got a string"),
        ("ports { http = \"8500\" }", "a.hcl:1:16: 'ports.http' expected a port number, got a string"),
        (
            "retry_interval = 30",
            "a.hcl:1:18: 'retry_interval' expected a string with a duration such as \"30s\", got a number",
        ),
        ("retry_join = \"x\"", "a.hcl:1:14: 'retry_join' expected a list of strings, got a string"),
        ("retry_join = [1]", "a.hcl:1:15: 'retry_join[0]' expected a string, got a number"),
        ("node_meta { a = 1 }", "a.hcl:1:17: 'node_meta[a]' expected a string, got a number"),
        ("ports {} ports {}", "a.hcl:1:7: 'ports' expected an object, got several objects"),
        ("ports = 3", "a.hcl:1:9: 'ports' expected an object, got a number"),
        (
            "limits { kv_max_value_size = -1 }",
            "a.hcl:1:30: 'limits.kv_max_value_size' expected a whole number of at least 0, got -1",
        ),
        ("log_level = INFO", "a.hcl:1:13: \"INFO\" is no value; texts stand in double quotes"),
    ];
    for (text, want) in cases {
        assert_eq!(refuse("a.hcl", text), framed("a.hcl", want), "{text}");
    }
    assert_eq!(
        refuse("a.json", "{\n  \"services\": {\"name\": \"web\"}\n}"),
        framed("a.json", "a.json:2:15: 'services' expected a list of objects, got an object")
    );
    assert_eq!(
        refuse("a.json", "{\"//\": \"comment\"}").split(" (").next().unwrap(),
        framed("a.json", "a.json:1:2: invalid config key //")
    );
}

#[test]
fn values() {
    let cases = [
        (
            "dns_config { node_ttl = \"30\" }",
            "a.hcl:1:25: dns_config.node_ttl: invalid duration: \"30\": time: missing unit in duration \"30\" \
             (expected something like \"30s\" or \"1m30s\")",
        ),
        (
            "retry_interval = \"-5s\"",
            "a.hcl:1:18: retry_interval: invalid duration: \"-5s\": duration \"-5s\" must not be negative (expected \
             something like \"30s\" or \"1m30s\")",
        ),
        (
            "ports { http = 70000 }",
            "a.hcl:1:16: ports.http: invalid port: 70000 (expected at most 65535; 0 or -1 for off)",
        ),
        (
            "serf_lan_allowed_cidrs = [\"10.0.0.0\"]",
            "a.hcl:1:27: serf_lan_allowed_cidrs[0]: invalid cidr: 10.0.0.0 (expected something like \"10.0.0.0/8\")",
        ),
        ("segment = \"a\"", "a.hcl:1:1: Network segments are not supported in this version of Consul"),
        ("datacenter = \"a b\"", "a.hcl:1:14: datacenter cannot be \"a b\". Please use only [a-z0-9-_]"),
        ("datacenter = \"\"", "a.hcl:1:14: datacenter cannot be empty"),
        ("bootstrap_expect = 3", "a.hcl:1:20: 'bootstrap_expect > 0' requires 'server = true'"),
        (
            "server = true bootstrap = true bootstrap_expect = 3",
            "a.hcl:1:51: 'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive",
        ),
        ("bootstrap = true", "a.hcl:1:13: 'bootstrap = true' requires 'server = true'"),
        (
            "ports { dns_tls = 8600 }",
            "a.hcl:1:19: DNS over TLS address 127.0.0.1:8600 already configured for DNS",
        ),
        ("ports { http = 8600 }", "a.hcl:1:16: HTTP address 127.0.0.1:8600 already configured for DNS"),
        (
            "performance { raft_multiplier = 11 }",
            "a.hcl:1:33: performance.raft_multiplier cannot be 11. Must be between 1 and 10",
        ),
        (
            "node_meta { consul-x = \"1\" }",
            "a.hcl:1:11: node_meta invalid: Couldn't load metadata pair ('consul-x', '1'): Key prefix 'consul-' is \
             reserved for internal use",
        ),
        ("encrypt = \"YWJj\"", "a.hcl:1:11: encrypt has invalid key: key size must be 16, 24 or 32 bytes"),
        (
            "alt_domain = \"node.x\"",
            "a.hcl:1:14: alt_domain cannot start with {service,connect,node,query,addr,dc1}",
        ),
        (
            "client_addr = \"foo\"",
            "a.hcl:1:15: client_addr: invalid ip address: foo (expected something like \"10.0.0.1\")",
        ),
        ("client_addr = \"unix:///x\"", "a.hcl:1:15: client_addr cannot be a unix socket"),
        ("advertise_addr = \"0.0.0.0\"", "a.hcl:1:18: Advertise address cannot be 0.0.0.0, :: or [::]"),
        (
            "advertise_addr = \"1.1.1.1 2.2.2.2\"",
            "a.hcl:1:18: advertise_addr: multiple addresses found: 1.1.1.1 2.2.2.2",
        ),
        ("advertise_addr_ipv4 = \"::1\"", "a.hcl:1:23: advertise_addr_ipv4 must be an ipv4 address"),
        ("recursors = [\"::\"]", "a.hcl:1:13: DNS recursor address cannot be 0.0.0.0, :: or [::]"),
        (
            "log_level = \"loud\"",
            "a.hcl:1:13: Invalid log level: loud. Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]",
        ),
        (
            "tls_min_version = \"x\"",
            "a.hcl:1:19: TLSMinVersion: value x not supported, please specify one of [tls10, tls11, tls12, tls13]",
        ),
        (
            "service { name = \"a\" check { http = \"x\" } }",
            "a.hcl:1:28: Failed to validate checks for service \"a\": Interval must be > 0 for Script, HTTP, or TCP \
             checks",
        ),
        (
            "check { id = \"s\" args = [\"x\"] interval = \"1s\" }",
            "a.hcl:1:7: Failed to register check 's': Scripts are disabled on this agent; to enable, configure \
             'enable_script_checks' or 'enable_local_script_checks' to true",
        ),
        (
            "watches { type = \"foo\" args = [\"x\"] }",
            "a.hcl:1:9: Failed to parse watch: Unsupported watch type: foo",
        ),
        (
            "watches { type = \"key\" key = \"k\" }",
            "a.hcl:1:9: Failed to parse watch: Must define a watch handler",
        ),
        (
            "services { name = \"a\" weights { passing = 0 } }",
            "a.hcl:1:31: Invalid weight definition for service a: Passing must be greater than 0",
        ),
        ("acl { enabled = true default_policy = \"x\" }", "a.hcl:1:39: Unsupported default ACL policy: x"),
        (
            "auto_encrypt { allow_tls = true }",
            "a.hcl:1:28: auto_encrypt.allow_tls can only be used on a server.",
        ),
        ("connect { enabled = true ca_provider = \"x\" }", "a.hcl:1:40: x is not a valid CA provider"),
        (
            "node_id = \"foo\"",
            "a.hcl:1:11: specified NodeID is invalid: \"foo\" is no UUID such as 5d1b7a2e-0c4f-4a51-9a5e-6d2c1f0b8e37",
        ),
    ];
    for (text, want) in cases {
        assert_eq!(refuse("a.hcl", text), want, "{text}");
    }
}

#[test]
fn everything_wrong_is_told_at_once() {
    let files = [
        ("a.hcl", "servr = true\nports { http = \"x\" }"),
        ("b.json", "{\"retry_max\": true}"),
        ("c.hcl", "= 1"),
    ];
    let want = "failed to parse a.hcl: 2 errors occurred:\n\
                \t* a.hcl:1:1: invalid config key servr (nearest valid key: server)\n\
                \t* a.hcl:2:16: 'ports.http' expected a port number, got a string\n\
                failed to parse b.json: 1 error occurred:\n\
                \t* b.json:1:15: 'retry_max' expected a whole number, got a boolean\n\
                failed to parse c.hcl: 1 error occurred:\n\
                \t* c.hcl:1:1: expected a key, found '='";
    assert_eq!(load(&files, &[]).unwrap_err(), want);
    let sum = load(&[("a.hcl", "datacenter = \"?\" bootstrap = true log_level = \"x\"")], &[]).unwrap_err();
    assert!(sum.starts_with("3 errors occurred:\n\t* a.hcl:1:"), "{sum}");
}

#[test]
fn flags_and_fragments_have_places_too() {
    assert_eq!(
        load(&[], &["-http-port=70000"]).unwrap_err(),
        "flag -http-port: ports.http: invalid port: 70000 (expected at most 65535; 0 or -1 for off)"
    );
    assert_eq!(
        load(&[("a.hcl", "log_level = \"info\"")], &["-log-level=x"]).unwrap_err(),
        "flag -log-level: Invalid log level: x. Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]"
    );
    assert_eq!(
        load(&[], &["-hcl", "ports { http = x }"]).unwrap_err(),
        framed("flags-0.hcl", "flags-0.hcl:1:16: \"x\" is no value; texts stand in double quotes")
    );
}

#[test]
fn unreadable_files_and_missing_directories() {
    let missing = load(&[], &["-config-file=/nonexistent/a.hcl"]).unwrap_err();
    assert_eq!(missing, "config: Open failed on /nonexistent/a.hcl. No such file or directory (os error 2)");
    let no_data_dir = load_line(vec!["-bind=127.0.0.1".into()]).unwrap_err().to_string();
    assert_eq!(no_data_dir, "data_dir cannot be empty");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bytes.hcl");
    std::fs::write(&file, b"# fine\nserver = \xff").unwrap();
    let error = validate(&[file], None).unwrap_err();
    let place = error.problems[0].origin.clone().unwrap();
    assert_eq!((place.line, place.column), (2, 10), "{error}");
}

#[test]
fn validate_looks_at_files_only() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let file = directory.path().join("a.conf");
    std::fs::write(&file, format!("{{\"data_dir\": \"{}\", \"bind_addr\": \"127.0.0.1\"}}", data.display()))
        .unwrap();
    let skipped = validate(std::slice::from_ref(&file), None).unwrap_err().to_string();
    assert!(skipped.contains("data_dir cannot be empty"), "{skipped}");
    let format = super::super::tree::Format::Json;
    assert_eq!(validate(&[file], Some(format)), Ok(Vec::new()));
    assert!(!data.exists(), "validate touches no data directory");
}
