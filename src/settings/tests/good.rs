//! What must load, and what comes out.

use std::time::Duration;

use super::super::{Flags, LogLevel, Settings};
use super::{hcl, load};

#[test]
fn defaults_are_consuls() {
    let settings = hcl("");
    assert!(!settings.server && !settings.bootstrap && !settings.dev_mode);
    assert_eq!(settings.datacenter, "dc1");
    assert_eq!(settings.domain, "consul.");
    assert_eq!(settings.ports.http, Some(8500));
    assert_eq!(settings.ports.https, None);
    assert_eq!(settings.network.http[0].to_string(), "127.0.0.1:8500");
    assert_eq!(settings.network.dns[0].to_string(), "127.0.0.1:8600");
    assert_eq!(settings.network.rpc_advertise.to_string(), "127.0.0.1:8300");
    assert_eq!(settings.network.serf_wan.unwrap().0.to_string(), "127.0.0.1:8302");
    assert_eq!(settings.network.tagged_addresses["lan_ipv4"], "127.0.0.1");
    assert!(settings.leave_on_terminate && !settings.skip_leave_on_interrupt);
    assert_eq!(settings.raft.election_timeout, Duration::from_secs(5));
    assert_eq!(settings.raft.leader_lease_timeout, Duration::from_millis(2500));
    assert_eq!(settings.gossip_lan.probe_interval, Duration::from_secs(1));
    assert_eq!(settings.gossip_wan.probe_interval, Duration::from_secs(5));
    assert_eq!(settings.gossip_wan.gossip_nodes, 3);
    assert_eq!(settings.limits.kv_max_value_size, 524_288);
    assert_eq!(settings.log.level, LogLevel::Info);
    assert!(!settings.node_name.is_empty());
    assert_eq!(settings.primary_datacenter, "");
}

#[test]
fn development_mode() {
    let settings = Settings::load(&Flags { dev: true, ..Flags::none() }).unwrap().settings;
    assert!(settings.dev_mode && settings.server && settings.ui.enabled && settings.connect.enabled);
    assert!(!settings.bootstrap);
    assert_eq!(settings.data_dir, None);
    assert_eq!(settings.ports.grpc, Some(8502));
    assert_eq!(settings.log.level, LogLevel::Debug);
    assert_eq!(settings.raft.election_timeout, Duration::from_millis(52));
    assert_eq!(settings.gossip_wan.probe_timeout, Duration::from_millis(100));
    assert!(!settings.leave_on_terminate && settings.skip_leave_on_interrupt);

    let changed =
        load(&[("a.json", r#"{"server":false,"ports":{"grpc":-1}}"#)], &["-dev", "-ui=false"]).unwrap();
    assert!(!changed.settings.server && !changed.settings.ui.enabled);
    assert_eq!(changed.settings.ports.grpc, None);
    assert_eq!(changed.settings.data_dir, None);
    assert!(load(&[], &["-dev", "-ui-dir=/x"]).is_ok());
    assert!(
        load(&[], &["-dev", "-ui", "-ui-dir=/x"]).unwrap_err().starts_with("flag -ui-dir: Both the ui and")
    );
}

#[test]
fn later_sources_win_lists_join_and_maps_merge() {
    let first = r#"
        server = true
        recursors = ["1.1.1.1"]
        node_meta { a = "1", b = "1" }
        ports { dns = 53, http = 80 }
        service { name = "one" }
        log_level = "warn"
    "#;
    let second = r#"{
        "server": false, "recursors": ["2.2.2.2"], "node_meta": {"b": "2"}, "ports": {"http": 81},
        "service": {"name": "two"}, "services": [{"name": "three"}]
    }"#;
    let flags = [
        "-recursor=3.3.3.3",
        "-http-port=82",
        "-node-meta=c:3:x",
        "-hcl",
        "log_level = \"trace\"",
        "-log-level=err",
    ];
    let settings = load(&[("a.hcl", first), ("b.json", second)], &flags).unwrap().settings;
    assert!(!settings.server, "false overrides true");
    assert_eq!(settings.recursors, ["3.3.3.3", "1.1.1.1", "2.2.2.2"], "lists of flags come first");
    let meta: Vec<_> = settings.node_meta.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(meta, ["a=1", "b=2", "c=3:x"]);
    assert_eq!((settings.ports.dns, settings.ports.http), (Some(53), Some(82)));
    let names: Vec<_> = settings.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["one", "three", "two"]);
    assert_eq!(settings.log.level, LogLevel::Trace, "-hcl comes after the other flags");
}

#[test]
fn directories_are_read_in_byte_order() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("10.hcl", "datacenter = \"ten\" retry_join = [\"10\"]");
    write("9.json", r#"{"datacenter":"nine","retry_join":["9"]}"#);
    write("B.hcl", "retry_join = [\"B\"]");
    write("a.hcl", "retry_join = [\"a\"]");
    write("notes.txt", "not for us");
    write("empty.json", "");
    std::fs::create_dir(directory.path().join("sub.hcl")).unwrap();
    std::fs::write(directory.path().join("sub.hcl/x.hcl"), "nonsense").unwrap();
    let flag = format!("-config-dir={}", directory.path().display());
    let loaded = load(&[], &[&flag]).unwrap();
    assert_eq!(loaded.settings.datacenter, "nine");
    assert_eq!(loaded.settings.join.retry_join, ["10", "9", "B", "a"]);
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("notes.txt, extension must be .hcl or .json"), "{warnings:?}");
}

#[test]
fn spellings() {
    let cases = [
        ("letter case", "SERVER = true Ports { HTTP = 81 }"),
        ("quoted keys", "\"server\" = true \"ports\" = { \"http\" = 81 }"),
        ("json in hcl", "{\"server\": true, \"ports\": {\"http\": 81}}"),
        ("list of one", "server = [true] ports = [{ http = 81 }]"),
        ("fraction", "server = true ports { http = 81.9 }"),
    ];
    for (name, text) in cases {
        let settings = hcl(text);
        assert!(settings.server, "{name}");
        assert_eq!(settings.ports.http, Some(81), "{name}");
    }
}

#[test]
fn old_and_new_names_mean_the_same() {
    let cases = [
        (
            "acl",
            "acl_token = \"t\" acl_ttl = \"5s\"",
            "acl { tokens { default = \"t\" } token_ttl = \"5s\" }",
        ),
        ("master", "acl { tokens { master = \"t\" } }", "acl { tokens { initial_management = \"t\" } }"),
        ("ui", "ui = true ui_content_path = \"x\"", "ui_config { enabled = true content_path = \"/x/\" }"),
        (
            "tls",
            "ca_file = \"/c\" verify_outgoing = true",
            "tls { defaults { ca_file = \"/c\" verify_outgoing = true } }",
        ),
        ("version", "tls_min_version = \"tls13\"", "tls { defaults { tls_min_version = \"TLSv1_3\" } }"),
        (
            "host name",
            "verify_server_hostname = true",
            "tls { internal_rpc { verify_server_hostname = true } }",
        ),
        (
            "check aliases",
            "check { name = \"c\" ttl = \"9s\" serviceid = \"s\" deregistercriticalserviceafter = \"1m\" }",
            "check { name = \"c\" ttl = \"9s\" service_id = \"s\" deregister_critical_service_after = \"1m\" }",
        ),
    ];
    for (name, old, new) in cases {
        let (old, new) = (hcl(old), hcl(new));
        assert_ne!(old, hcl(""), "{name}");
        assert_eq!(old, new, "{name}");
    }
}

#[test]
fn derived_values() {
    let settings = hcl(r#"
        server = true
        bootstrap_expect = 1
        datacenter = "EAST-1"
        domain = "Example.Org"
        alt_domain = "other"
        client_addr = "127.0.0.1 127.0.0.2"
        addresses { http = "unix:///tmp/x.sock 127.0.0.3", dns = "127.0.0.4" }
        advertise_addr = "10.0.0.1"
        advertise_addr_wan = "192.0.2.1"
        serf_lan = "127.0.0.5"
        tagged_addresses { lan = "10.9.9.9" }
        ports { https = 8501, serf_wan = -1, dns_tls = 853 }
        dns_config { enable_doh = true }
        performance { raft_multiplier = 2 }
        acl { enabled = true, tokens { replication = "r" } }
        enable_script_checks = true
    "#);
    assert!(settings.bootstrap && settings.bootstrap_expect == 0);
    assert_eq!(settings.datacenter, "east-1");
    assert_eq!(settings.primary_datacenter, "east-1");
    assert!(settings.acl.enable_token_replication);
    assert_eq!(settings.domain, "example.org.");
    assert_eq!(settings.alt_domain.as_deref(), Some("other."));
    let network = &settings.network;
    let texts = |listeners: &[super::super::Listener]| {
        listeners.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(texts(&network.http), "unix:///tmp/x.sock 127.0.0.3:8500");
    assert_eq!(texts(&network.https), "127.0.0.1:8501 127.0.0.2:8501");
    assert_eq!(network.dns.len(), 1);
    assert_eq!(network.dns_tls, ["127.0.0.4:853".parse().unwrap()]);
    assert!(settings.dns.enable_doh);
    assert!(network.grpc.is_empty());
    assert_eq!(network.rpc_bind.to_string(), "127.0.0.1:8300");
    assert_eq!(network.rpc_advertise.to_string(), "10.0.0.1:8300");
    assert_eq!(network.serf_lan_bind.to_string(), "127.0.0.5:8301");
    assert_eq!(network.serf_lan_advertise.to_string(), "10.0.0.1:8301");
    assert_eq!(network.serf_wan, None);
    let tagged: Vec<_> =
        network.tagged_addresses.iter().map(|(tag, address)| format!("{tag}={address}")).collect();
    assert_eq!(tagged, ["lan=10.9.9.9", "lan_ipv4=10.0.0.1", "wan=192.0.2.1", "wan_ipv4=192.0.2.1"]);
    assert_eq!(settings.raft.election_timeout, Duration::from_secs(2));
    assert!(settings.check_rules.enable_local_scripts);
    assert!(
        !hcl("enable_script_checks = true enable_local_script_checks = false")
            .check_rules
            .enable_local_scripts
    );
}

#[test]
fn definitions() {
    let settings = hcl(r#"
        enable_local_script_checks = true
        services {
          id = "web-1"
          name = "web"
          port = 80
          tags = ["a", "b"]
          meta { version = "2" }
          tagged_addresses { lan { address = "10.0.0.1", port = 81 } }
          weights { passing = 10 }
          checks = [
            { http = "http://localhost/", interval = "10s", header { X-A = ["b"] } },
            { args = ["/bin/true"], interval = "1m30s", timeout = "5s" },
          ]
          check { tcp = "localhost:80", interval = "1s" }
          connect { sidecar_service { port = 21000, proxy { upstreams = [{ destination_name = "db", config { a = 1 } }] } } }
        }
        watches = [
          { type = "service", service = "web", tag = "a", args = ["x"] },
          { type = "service", service = "web", tag = ["a", "b"], args = ["x"] },
          { type = "key", key = "k", handler_type = "http", http_handler_config { path = "http://x" } },
        ]
        config_entries { bootstrap { kind = "proxy-defaults", name = "global", config { protocol = "http" } } }
    "#);
    let service = &settings.services[0];
    assert_eq!((service.name.as_str(), service.port, service.tags.len()), ("web", 80, 2));
    assert_eq!(service.tagged_addresses["lan"].port, 81);
    assert_eq!((service.weights.unwrap().passing, service.weights.unwrap().warning), (10, 1));
    assert_eq!(service.all_checks().count(), 3);
    assert_eq!(service.checks[0].header["X-A"], ["b"]);
    assert_eq!(service.checks[1].interval, Duration::from_secs(90));
    let sidecar = service.connect.as_ref().unwrap().sidecar_service.as_ref().unwrap();
    let upstream = &sidecar.proxy.as_ref().unwrap().upstreams[0];
    assert_eq!(upstream.config, Some(serde_json::json!({"a": 1})));
    assert_eq!(settings.watches[0].tag, ["a"]);
    assert_eq!(settings.watches[1].tag, ["a", "b"]);
    assert_eq!(settings.watches[2].http_handler_config.as_ref().unwrap().method, "POST");
    let entry =
        serde_json::json!({"kind": "proxy-defaults", "name": "global", "config": {"protocol": "http"}});
    assert_eq!(settings.config_entries, [entry]);
}

#[test]
fn warnings() {
    let cases = [
        ("audit {}", "\"audit\" is a Consul Enterprise configuration and will have no effect"),
        (
            "acl_enforce_version_8 = true",
            "config key \"acl_enforce_version_8\" is deprecated and should be removed",
        ),
        (
            "acl_datacenter = \"x\"",
            "The 'acl_datacenter' field is deprecated. Use the 'primary_datacenter' field instead.",
        ),
        ("node_name = \"a.b\"", "will not be discoverable via DNS due to invalid characters"),
        ("server = true bootstrap_expect = 4", "even number of servers"),
        ("telemetry { prefix_filter = [\"x\"] }", "Filter rule must begin with either '+' or '-': \"x\""),
        ("enable_script_checks = true", "is DANGEROUS"),
    ];
    for (text, want) in cases {
        let loaded = load(&[("a.hcl", text)], &[]).unwrap_or_else(|error| panic!("{text}: {error}"));
        let found = loaded.warnings.iter().find(|warning| warning.text.contains(want));
        let found = found.unwrap_or_else(|| panic!("{text}: {:?}", loaded.warnings));
        assert!(found.to_string().contains("a.hcl:1:"), "{found}");
    }
    assert!(load(&[("a.hcl", "acl_datacenter = \"x\"")], &[]).unwrap().settings.acl.enabled);
}

#[test]
fn secrets_are_not_printed() {
    let settings = hcl(r#"encrypt = "c2VjcmV0c2VjcmV0c2Vjcg==" acl { tokens { master = "secret-token" } }
           service { name = "a" token = "secret-service" } telemetry { circonus_api_token = "secret-api" }"#);
    let printed = format!("{settings:?}");
    assert!(printed.contains("<redacted>") && !printed.contains("secret-") && !printed.contains("c2Vjcm"));
    assert_eq!(settings.acl.tokens.master.expose(), "secret-token");
}
