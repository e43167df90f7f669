//! What a changed file means for a running agent.

use super::super::{Effect, changes};
use super::hcl;

#[test]
fn changed_keys() {
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, Effect)]);
    let cases: &[Case<'_>] = &[
        ("nothing", "", &[]),
        ("the default spelt out", "ports { http = 8500 } server = false", &[]),
        ("level", "log_level = \"debug\"", &[("log_level", Effect::Live)]),
        ("service", "service { name = \"a\" }", &[("services", Effect::Live)]),
        ("token", "acl { tokens { agent = \"x\" } }", &[("acl.tokens", Effect::Live)]),
        ("dns", "dns_config { node_ttl = \"1s\" }", &[("dns_config", Effect::Live)]),
        (
            "limit",
            "limits { http_max_conns_per_client = 3 }",
            &[("limits.http_max_conns_per_client", Effect::Live)],
        ),
        ("other limit", "limits { kv_max_value_size = 3 }", &[("limits.kv_max_value_size", Effect::Restart)]),
        ("port", "ports { http = 81 }", &[("addresses", Effect::Restart), ("ports", Effect::Restart)]),
        (
            "several",
            "datacenter = \"x\" discard_check_output = true",
            &[("datacenter", Effect::Restart), ("discard_check_output", Effect::Live)],
        ),
    ];
    let old = hcl("");
    for (name, text, want) in cases {
        let got: Vec<_> =
            changes(&old, &hcl(text)).into_iter().map(|change| (change.key, change.effect)).collect();
        assert_eq!(&got, want, "{name}");
    }
}
