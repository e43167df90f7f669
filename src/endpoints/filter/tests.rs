//! What filters let pass, as recorded from Consul.

use std::sync::Arc;

use imbl::OrdMap;

use super::*;
use crate::state::record::{
    Check, Expose, ExposePath, MeshGateway, Node, ProxyConfig, Service, ServiceAddress, ServiceConnect,
    StringMap, Upstream, Weights,
};
use crate::state::view::{Instance, NodeEntry, fold};

fn map(pairs: &[(&str, &str)]) -> StringMap {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn node(name: &str, address: &str, meta: &[(&str, &str)], tagged: &[(&str, &str)]) -> Node {
    Node {
        node: name.into(),
        address: address.into(),
        datacenter: "dc1".into(),
        meta: Some(map(meta)),
        tagged_addresses: Some(map(tagged)),
        ..Node::default()
    }
}

fn check(node: &str, id: &str, service: &str, status: &str) -> Check {
    Check {
        node: node.into(),
        check_id: id.into(),
        name: id.into(),
        status: status.into(),
        service_id: service.into(),
        ..Check::default()
    }
}

fn instance(node: Node, service: Service, checks: Vec<Check>) -> Instance {
    let service = Arc::new(service);
    let checks = checks.into_iter().map(|check| (fold(&check.check_id), Arc::new(check)));
    let entry = NodeEntry {
        node: Arc::new(node),
        services: OrdMap::unit(fold(&service.id), Arc::clone(&service)),
        checks: checks.collect(),
    };
    Instance { entry: Arc::new(entry), service }
}

/// `w1` has everything set, `w2` next to nothing.
fn instances() -> [Instance; 2] {
    let meta: &[(&str, &str)] =
        &[("rack", "1"), ("os", "li\"nux"), ("with space", "q"), ("a.b", "dot"), ("5x", "five")];
    let full = Service {
        id: "w1".into(),
        service: "web".into(),
        tags: vec!["v1".into(), "a b".into()],
        port: 80,
        meta: Some(map(&[("m", "1")])),
        enable_tag_override: true,
        weights: Weights { passing: 3, warning: 2 },
        tagged_addresses: Some(
            [("lan".to_owned(), ServiceAddress { address: "9.9.9.9".into(), port: 7 })].into(),
        ),
        connect: ServiceConnect { native: true, sidecar_service: None },
        proxy: ProxyConfig {
            destination_service_name: "dest".into(),
            upstreams: vec![
                Upstream { destination_name: "u1".into(), local_bind_port: 5, ..Upstream::default() },
                Upstream { destination_name: "u2".into(), local_bind_port: 6, ..Upstream::default() },
            ],
            mesh_gateway: MeshGateway { mode: "local".into() },
            expose: Expose {
                checks: true,
                paths: vec![ExposePath { path: "/p".into(), listener_port: 3, ..ExposePath::default() }],
            },
            ..ProxyConfig::default()
        },
        ..Service::default()
    };
    let bare = Service { id: "w2".into(), service: "web".into(), port: 81, ..Service::default() };
    let tags = vec!["v1".to_owned(), "a b".to_owned()];
    let c1 = Check { service_tags: tags, ..check("n1", "c1", "w1", "passing") };
    let n1 = Check { notes: "no".into(), output: "out".into(), ..check("n1", "n1", "", "warning") };
    [
        instance(node("n1", "1.0.0.1", meta, &[("lan", "1.2.3.4"), ("wan", "4.4.4.4")]), full, vec![c1, n1]),
        instance(
            Node { tagged_addresses: None, ..node("n2", "1.0.0.2", &[("rack", "2")], &[]) },
            bare,
            vec![check("n2", "c2", "w2", "critical")],
        ),
    ]
}

/// The records that pass, by their names, or the error.
fn picked<'a, F: Fields>(text: &str, records: impl IntoIterator<Item = (&'a str, &'a F::Record)>) -> String {
    match Filter::<F>::compile(text) {
        Ok(filter) => {
            let names: Vec<_> = records
                .into_iter()
                .filter(|(_, record)| filter.passes(record))
                .map(|(name, _)| name)
                .collect();
            names.join(" ")
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn nodes() {
    let node1 = node("node1", "127.0.0.1", &[("consul-network-segment", "")], &[("lan", "127.0.0.1")]);
    let [n1, n2] = instances();
    let table = [
        ("", "n1 n2 node1"),
        ("Node == n1", "n1"),
        ("Node != n1", "n2 node1"),
        ("Node == n1 or Node == n2", "n1 n2"),
        ("Node == n1 or Node == n2 and Node == n1", "n1"),
        ("(Node == n1 or Node == n2) and Node == n2", "n2"),
        ("not Node == n1", "n2 node1"),
        ("not not Node == n1", "n1"),
        ("n in Node", "n1 n2 node1"),
        ("n1 in Node", "n1"),
        ("n not in Node", ""),
        ("Node contains \"1\"", "n1 node1"),
        ("Node not contains \"1\"", "n2"),
        ("Node matches n1", "n1"),
        ("Node matches \"^n[1]$\"", "n1"),
        ("Node not matches \"^n[1]$\"", "n2 node1"),
        ("Node == \"n\\x31\"", "n1"),
        ("Meta.rack == 1", "n1"),
        ("Meta.rack != 1", "n2 node1"),
        ("Meta.none == x", ""),
        ("Meta.none != x", "n1 n2 node1"),
        ("Meta.none matches x", "n1 n2 node1"),
        ("Meta.none not matches x", "n1 n2 node1"),
        ("x in Meta.none", ""),
        ("x not in Meta.none", "n1 n2 node1"),
        ("Meta.none contains x", ""),
        ("Meta.rack matches 1", "n1 node1"),
        ("Meta contains rack", "n1 n2"),
        ("rack in Meta", "n1 n2"),
        ("rack not in Meta", "node1"),
        ("Meta is empty", ""),
        ("TaggedAddresses is empty", "n2"),
        ("TaggedAddresses is not empty", "n1 node1"),
        ("Meta[\"with space\"] == q", "n1"),
        ("Meta[`a.b`] == dot", "n1"),
        ("Meta[\"5x\"] == five", "n1"),
        ("Meta.os == `li\"nux`", "n1"),
        ("TaggedAddresses.lan == \"1.2.3.4\"", "n1"),
        ("lan in TaggedAddresses", "n1 node1"),
        ("\"\" in Node", "n1 n2 node1"),
        ("\"\" in Meta", ""),
        ("Node == n1 or (Node == n2 and not Meta.rack == 1)", "n1 n2"),
        ("Node is empty", "Invalid match operator \"Is Empty\" for selector \"Node\""),
        ("Meta.rack is not empty", "Invalid match operator \"Is Not Empty\" for selector \"Meta.rack\""),
        ("Meta == x", "Invalid match operator \"Equal\" for selector \"Meta\""),
        ("Meta matches x", "Invalid match operator \"Matches\" for selector \"Meta\""),
        ("Meta.rack.x == 1", "Selector \"Meta.rack.x\" is not valid"),
        ("Node.x == 1", "Selector \"Node.x\" is not valid"),
        ("CreateIndex == 1", "Selector \"CreateIndex\" is not valid"),
        ("node == n1", "Selector \"node\" is not valid"),
        ("Node in n1", "Selector \"n1\" is not valid"),
        ("x in Bogus", "Selector \"Bogus\" is not valid"),
    ];
    let records = [("n1", &*n1.entry.node), ("n2", &*n2.entry.node), ("node1", &node1)];
    for (text, want) in table {
        assert_eq!(picked::<NodeFields>(text, records), want, "{text}");
    }
    let bad_regex = picked::<NodeFields>("Node matches \"[\"", records);
    assert!(bad_regex.starts_with("Failed to compile regular expression \"[\": "), "{bad_regex}");
}

#[test]
fn instances_with_health() {
    let [w1, w2] = instances();
    let int = |value: &str, problem: &str| {
        format!(
            "Failed to coerce value {value:?} for selector \"Service.Port\": \
             strconv.ParseInt: parsing {value:?}: {problem}"
        )
    };
    let table = [
        ("Checks.Status == critical", "w2"),
        ("Checks.Status != critical", "w1"),
        ("not Checks.Status == critical", "w1"),
        ("Checks.Status == passing and Checks.Status == warning", "w1"),
        ("Checks is empty", ""),
        ("Checks is not empty", "w1 w2"),
        ("Checks.ServiceTags is empty", "w1 w2"),
        ("Checks.ServiceTags is not empty", "w1"),
        ("Checks.ServiceTags contains v1", "w1"),
        ("Checks.ServiceTags not contains v1", "w1 w2"),
        ("Checks.Output not contains u", "w1 w2"),
        ("Checks.Notes matches \"^n\"", "w1"),
        ("Checks[\"Status\"] == critical", "w2"),
        ("Service.Port == 80", "w1"),
        ("Service.Port != \"0x50\"", "w2"),
        ("Service.EnableTagOverride == true", "w1"),
        ("Service.EnableTagOverride != t", "w2"),
        ("Service.TaggedAddresses.none.Port == 5", ""),
        ("Service.TaggedAddresses.none.Port != 5", "w1 w2"),
        ("Service.TaggedAddresses.none.Address matches 5", "w1 w2"),
        ("Service.TaggedAddresses[\"lan\"][\"Port\"] == 7", "w1"),
        ("Service.TaggedAddresses is empty", "w2"),
        ("lan in Service.TaggedAddresses", "w1"),
        ("Service.Proxy.Upstreams.LocalBindPort == 5", "w1"),
        ("Service.Proxy.Upstreams.LocalBindPort != 5", "w1"),
        ("Service.Proxy.Upstreams is empty", "w2"),
        ("Service.Proxy.Expose.Paths.ListenerPort == 3", "w1"),
        ("Service.Proxy.Expose.Checks == true", "w1"),
        ("Service.Proxy.MeshGateway.Mode == local", "w1"),
        ("Service.Connect.Native == true", "w1"),
        ("Service.Weights.Passing == 3", "w1"),
        ("Service.Tags is empty", "w2"),
        ("v1 in Service.Tags", "w1"),
        ("V1 in Service.Tags", ""),
        ("v in Service.Tags", ""),
        ("Service.Kind == \"\"", "w1 w2"),
        ("Node.Node == n1 and Checks.Status == passing", "w1"),
        ("Node == n1", "Invalid match operator \"Equal\" for selector \"Node\""),
        ("Checks == n1", "Invalid match operator \"Equal\" for selector \"Checks\""),
        ("Service.Weights is empty", "Invalid match operator \"Is Empty\" for selector \"Service.Weights\""),
        (
            "Service.TaggedAddresses.lan is empty",
            "Invalid match operator \"Is Empty\" for selector \"Service.TaggedAddresses.lan\"",
        ),
        ("Service.Proxy.Config.a == b", "Selector \"Service.Proxy.Config\" is not valid"),
        ("Checks.Definition.HTTP == b", "Selector \"Checks.Definition\" is not valid"),
        ("Service[\"\" ] == x", "Selector \"Service.\" is not valid"),
        ("Service.Port == zz and Bogus == 1", &int("zz", "invalid syntax")),
        ("Service.Port == 99999999999999999999", &int("99999999999999999999", "value out of range")),
        (
            "Service.EnableTagOverride == yes",
            "Failed to coerce value \"yes\" for selector \"Service.EnableTagOverride\": \
             strconv.ParseBool: parsing \"yes\": invalid syntax",
        ),
    ];
    for (text, want) in table {
        assert_eq!(picked::<HealthInstanceFields>(text, [("w1", &w1), ("w2", &w2)]), want, "{text}");
    }
}

#[test]
fn other_records() {
    let [w1, w2] = instances();
    let flat = [
        ("ServiceMeta.m == 1", "w1"),
        ("ServicePort == 81", "w2"),
        ("v1 in ServiceTags", "w1"),
        ("NodeMeta.rack == 2", "w2"),
        ("ServiceProxy.DestinationServiceName == dest", "w1"),
        ("ServiceTaggedAddresses.lan.Port == 7", "w1"),
        ("Service == web", "Selector \"Service\" is not valid"),
    ];
    for (text, want) in flat {
        assert_eq!(picked::<CatalogInstanceFields>(text, [("w1", &w1), ("w2", &w2)]), want, "{text}");
    }
    let services = [("w1", &*w1.service), ("w2", &*w2.service)];
    assert_eq!(picked::<ServiceFields>("\"a b\" in Tags", services), "w1");
    assert_eq!(picked::<ServiceFields>("Service == `web` and ID != w1", services), "w2");
    let checks: Vec<_> = w1.entry.checks.values().map(|check| (&*check.check_id, &**check)).collect();
    assert_eq!(picked::<CheckFields>("Status == passing or Type == ttl", checks.clone()), "c1");
    assert_eq!(picked::<CheckFields>("ServiceTags is empty", checks), "n1");
}

#[test]
fn the_error_of_the_endpoint_is_consuls() {
    let error = Filter::<NodeFields>::compile("Bogus == x").unwrap_err();
    assert_eq!(
        EndpointError::from(error),
        EndpointError::Refused(
            "Failed to create boolean expression evaluator: Selector \"Bogus\" is not valid".into()
        )
    );
}
