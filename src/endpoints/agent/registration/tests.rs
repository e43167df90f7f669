use std::sync::Arc;

use super::*;
use crate::endpoints::decode::{Json, definitions};

fn rules() -> Rules {
    Rules { sidecar_ports: (21_000, 21_002), output_max_size: 4096, ..Rules::default() }
}

fn local(services: &[(&str, i64)]) -> LocalSnapshot {
    let services = services.iter().map(|(id, port)| {
        let service = Service { id: (*id).into(), service: "web".into(), port: *port, ..Service::default() };
        (Arc::from(*id), Arc::new(service))
    });
    LocalSnapshot { services: services.collect(), ..LocalSnapshot::default() }
}

fn service_of(body: &str) -> Result<Registration, EndpointError> {
    let definition = definitions::service(Json::parse(body.as_bytes()).unwrap()).unwrap();
    service(&definition, Source::Api, &rules(), &local(&[("taken", 21_000)]))
}

fn check_of(body: &str) -> Result<CheckRegistration, EndpointError> {
    let definition = definitions::check(Json::parse(body.as_bytes()).unwrap()).unwrap();
    check(&definition, Source::Api, &rules(), &local(&[("w1", 80)]))
}

/// The status code and the text of a refusal.
fn refusal<T>(result: Result<T, EndpointError>) -> (u16, String) {
    match result {
        Ok(_) => (200, String::new()),
        Err(EndpointError::Invalid(text)) => (400, text),
        Err(EndpointError::Refused(text)) => (500, text),
        Err(error) => panic!("{error}"),
    }
}

const SCRIPTS: &str = "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true";

#[test]
fn services_are_refused_in_consuls_words() {
    let meta = "Invalid Service Meta: Couldn't load metadata pair ('consul-x', 'y'): Key prefix 'consul-' is reserved \
                for internal use";
    let table = [
        (r#"{"ID":"x"}"#, 400, "Missing service name"),
        (r#"{"Name":"a","Address":"[::]"}"#, 400, "Invalid service address"),
        (r#"{"Name":"a","Address":"::0"}"#, 200, ""),
        (r#"{"Name":"a","Weights":{}}"#, 400, "Invalid Weights: Passing must be greater than 0"),
        (
            r#"{"Name":"a","Weights":{"Passing":1,"Warning":-1}}"#,
            400,
            "Invalid Weights: Warning must be greater or equal than 0",
        ),
        (
            r#"{"Name":"a","Weights":{"Passing":65536}}"#,
            400,
            "Invalid Weights: DNS Weight must be between 0 and 65535",
        ),
        (r#"{"Name":"a","Weights":{"Passing":65535,"Warning":65535}}"#, 200, ""),
        (r#"{"Name":"a","Meta":{"consul-x":"y"}}"#, 400, meta),
        (
            r#"{"Name":"a","Kind":"connect-proxy"}"#,
            400,
            "2 errors occurred:\n\t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n\t* \
             Port must be set for a Connect proxy\n\n",
        ),
        (
            r#"{"Name":"a","Connect":{"SidecarService":{"ID":"x","Connect":{"SidecarService":{}}}}}"#,
            400,
            "2 errors occurred:\n\t* A SidecarService cannot specify an ID as this is managed by the agent\n\t* A \
             SidecarService cannot have a nested SidecarService\n\n",
        ),
        (r#"{"Name":"a","Checks":[{"Name":"x"}]}"#, 400, "Invalid check: TTL must be > 0 for TTL checks"),
        (
            r#"{"Name":"a","Check":{"TTL":"1s","Status":"odd"}}"#,
            400,
            "Status for checks must 'passing', 'warning', 'critical'",
        ),
        (
            r#"{"Name":"a","Connect":{"SidecarService":{"Check":{"HTTP":"x"}}}}"#,
            500,
            "Bad request: Invalid check in sidecar_service: Interval must be > 0 for Script, HTTP, or TCP checks",
        ),
        (
            r#"{"Name":"a","Connect":{"SidecarService":{"Check":{"TTL":"1s","Status":"odd"}}}}"#,
            500,
            "Bad request: Status for checks must 'passing', 'warning', 'critical'",
        ),
        (
            r#"{"Name":"a","Connect":{"SidecarService":{"Meta":{"":"y"}}}}"#,
            500,
            "Bad request: Invalid SidecarService: Couldn't load metadata pair ('', 'y'): Key cannot be blank",
        ),
        (
            r#"{"Name":"a","TaggedAddresses":{"lan_ipv4":{"Address":"::1"}}}"#,
            500,
            "Service tagged address \"lan_ipv4\" must be a valid ipv4 address",
        ),
        (
            r#"{"Name":"a","TaggedAddresses":{"lan_ipv6":{"Address":"::ffff:1.2.3.4"}}}"#,
            500,
            "Service tagged address \"lan_ipv6\" must be a valid ipv6 address",
        ),
        (r#"{"Name":"a","TaggedAddresses":{"wan_ipv6":{"Address":""}}}"#, 200, ""),
        (r#"{"Name":"a","Check":{"Args":["true"],"Interval":"1s"}}"#, 500, SCRIPTS),
        (r#"{"Name":"with space","Tags":["a_b"]}"#, 200, ""),
    ];
    for (body, code, text) in table {
        assert_eq!(refusal(service_of(body)), (code, text.to_owned()), "{body}");
    }
}

#[test]
fn checks_are_refused_in_consuls_words() {
    let table = [
        (r#"{"TTL":"10s"}"#, 400, "Missing check name"),
        (r#"{"Name":"x","TTL":"1s","Status":"Passing"}"#, 400, "Bad check status"),
        (r#"{"Name":"x","Interval":"5s"}"#, 400, "Invalid check: TTL must be > 0 for TTL checks"),
        (
            r#"{"Name":"x","HTTP":"h"}"#,
            400,
            "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks",
        ),
        (
            r#"{"Name":"x","HTTP":"h","Interval":"1s","TTL":"1s"}"#,
            400,
            "Invalid check: Interval and TTL cannot both be specified",
        ),
        (
            r#"{"Name":"x","AliasService":"w","TTL":"1s","OutputMaxSize":-1}"#,
            400,
            "Invalid check: TTL must be not be set for Alias checks",
        ),
        (
            r#"{"Name":"x","AliasNode":"w","TCP":"t","Interval":"1s"}"#,
            400,
            "Invalid check: Interval cannot be set for Alias checks",
        ),
        (r#"{"Name":"x","AliasService":"w","Interval":"1s"}"#, 200, ""),
        (
            r#"{"Name":"x","TTL":"1s","OutputMaxSize":-1}"#,
            400,
            "Invalid check: MaxOutputMaxSize must be positive",
        ),
        (
            r#"{"Name":"x","Args":["a"],"Interval":"1s","ServiceID":"no"}"#,
            500,
            "ServiceID \"no\" does not exist",
        ),
        (r#"{"Name":"x","Args":["a"],"Interval":"1s","ServiceID":"w1"}"#, 500, SCRIPTS),
    ];
    for (body, code, text) in table {
        assert_eq!(refusal(check_of(body)), (code, text.to_owned()), "{body}");
    }
}

#[test]
fn scripts_are_allowed_by_where_they_come_from() {
    let definition = CheckDefinition {
        name: "x".into(),
        args: vec!["true".into()],
        interval: Duration::from_secs(1),
        ..CheckDefinition::default()
    };
    let table = [
        (Source::Api, false, true, false),
        (Source::Api, true, true, true),
        (Source::Config, false, true, true),
        (Source::Config, false, false, false),
    ];
    for (source, remote_scripts, local_scripts, allowed) in table {
        let rules = Rules { remote_scripts, local_scripts, ..rules() };
        let found = check(&definition, source, &rules, &LocalSnapshot::default());
        assert_eq!(found.is_ok(), allowed, "{source:?} {remote_scripts} {local_scripts}");
    }
}

#[test]
fn what_a_definition_leaves_out_is_filled_in() {
    let registration = service_of(
        r#"{"ID":"w1","Name":"web","Tags":["x"],"Port":80,"Address":"10.0.0.1",
            "TaggedAddresses":{"wan_ipv4":{"Address":"1.2.3.4","Port":8}},
            "Check":{"HTTP":"h","Interval":"20ms","OutputMaxSize":10},
            "Checks":[{"CheckID":"own","Name":"named","TTL":"9s","Status":"passing","Notes":"n"},
                {"AliasService":"w2","OutputMaxSize":9999}]}"#,
    )
    .unwrap();
    assert!(!registration.replace_existing_checks);
    let [ServiceRegistration { service, checks }] = &registration.services[..] else {
        panic!("{registration:?}");
    };
    let tagged = service.tagged_addresses.as_ref().unwrap();
    assert_eq!((&*tagged["lan_ipv4"].address, tagged["lan_ipv4"].port), ("10.0.0.1", 80));
    assert_eq!((&*tagged["wan_ipv4"].address, tagged["wan_ipv4"].port), ("1.2.3.4", 8));
    assert_eq!((service.weights, &service.meta), (Weights::default(), &None));
    let found: Vec<_> = checks
        .iter()
        .map(|CheckRegistration { check, run }| {
            assert_eq!((&*check.service_id, &*check.service_name), ("w1", "web"));
            assert_eq!(check.service_tags, ["x"]);
            assert_eq!((&*run.id, &run.name, &run.status), (&*check.check_id, &check.name, &check.status));
            assert_eq!(run.service_id, "w1");
            (&*check.check_id, &*check.name, &*check.status, &*check.kind, &*check.notes, run.output_max_size)
        })
        .collect();
    assert_eq!(
        found,
        [
            ("service:w1:1", "Service 'web' check", "critical", "http", "", 10),
            ("own", "named", "passing", "ttl", "n", 4096),
            ("service:w1:3", "Service 'web' check", "critical", "alias", "", 4096),
        ]
    );
    assert_eq!(checks[0].run.interval, MIN_INTERVAL);
    assert_eq!(checks[1].run.interval, Duration::ZERO);

    let twice =
        service_of(r#"{"Name":"web","Checks":[{"CheckID":"x","TTL":"1s"},{"CheckID":"x","TTL":"2s"}]}"#)
            .unwrap();
    let [last] = &twice.services[0].checks[..] else { panic!("{twice:?}") };
    assert_eq!(last.run.ttl, Duration::from_secs(2));
    let lone = service_of(r#"{"Name":"web","Check":{"TTL":"1s"}}"#).unwrap();
    assert_eq!(&*lone.services[0].checks[0].check.check_id, "service:web");
    assert_eq!(&*lone.services[0].service.id, "web");
}

#[test]
fn a_check_belongs_to_its_service_or_to_the_node() {
    let of_service = check_of(r#"{"Name":"up","TTL":"1s","ServiceID":"w1"}"#).unwrap();
    assert_eq!(&*of_service.check.check_id, "up");
    assert_eq!((&*of_service.check.service_id, &*of_service.check.service_name), ("w1", "web"));
    let of_node =
        check_of(r#"{"ID":"c","Name":"up","TTL":"1s","DeregisterCriticalServiceAfter":"2s"}"#).unwrap();
    assert_eq!((&*of_node.check.check_id, &*of_node.check.service_name), ("c", ""));
    assert_eq!(of_node.run.deregister_critical_service_after, Duration::from_secs(2));
}

#[test]
fn a_sidecar_takes_from_its_service_what_it_leaves_out() {
    let registration = service_of(
        r#"{"ID":"w1","Name":"web","Tags":["t"],"Meta":{"a":"b"},"Port":80,"Address":"fe80::1",
            "Weights":{"Passing":3,"Warning":2},
            "Connect":{"SidecarService":{"Proxy":{"Upstreams":[{"DestinationName":"db"}]}}}}"#,
    )
    .unwrap();
    let [_, ServiceRegistration { service, checks }] = &registration.services[..] else {
        panic!("{registration:?}");
    };
    assert_eq!((&*service.id, &*service.service), ("w1-sidecar-proxy", "web-sidecar-proxy"));
    assert_eq!((&*service.kind, service.port, &*service.address), ("connect-proxy", 21_001, "fe80::1"));
    assert_eq!(service.tagged_addresses.as_ref().unwrap()["lan_ipv6"].port, 21_001);
    assert_eq!((&service.tags[..], service.weights), (&["t".to_owned()][..], Weights::default()));
    assert_eq!(service.meta.as_ref().unwrap()["a"], "b");
    let proxy = &service.proxy;
    assert_eq!((&*proxy.destination_service_name, &*proxy.destination_service_id), ("web", "w1"));
    assert_eq!((&*proxy.local_service_address, proxy.local_service_port), ("127.0.0.1", 80));
    assert_eq!(proxy.upstreams[0].destination_type, "service");
    let found: Vec<_> = checks.iter().map(|found| (&*found.check.check_id, &*found.check.name)).collect();
    assert_eq!(
        found,
        [
            ("service:w1-sidecar-proxy:1", "Connect Sidecar Listening"),
            ("service:w1-sidecar-proxy:2", "Connect Sidecar Aliasing w1")
        ]
    );
    assert_eq!((&*checks[0].run.tcp, checks[0].run.interval), ("127.0.0.1:21001", Duration::from_secs(10)));
    assert_eq!(checks[1].run.alias_service, "w1");

    let own = service_of(
        r#"{"Name":"b","Connect":{"SidecarService":{"Name":"bs","Port":7,"Tags":["q"],"Check":{"TTL":"1s"}}}}"#,
    )
    .unwrap();
    let ServiceRegistration { service, checks } = &own.services[1];
    assert_eq!((&*service.service, service.port, &service.tags[0][..]), ("bs", 7, "q"));
    assert_eq!(&*checks[0].check.check_id, "service:b-sidecar-proxy");
}

#[test]
fn sidecars_get_ports_out_of_the_range() {
    let definition =
        definitions::service(Json::parse(br#"{"Name":"web","Connect":{"SidecarService":{}}}"#).unwrap())
            .unwrap();
    let port = |range: (u16, u16), services: &[(&str, i64)]| {
        let rules = Rules { sidecar_ports: range, ..Rules::default() };
        service(&definition, Source::Api, &rules, &local(services))
            .map(|found| found.services[1].service.port)
            .map_err(|error| error.to_string())
    };
    assert_eq!(port((5, 7), &[]), Ok(5));
    assert_eq!(port((5, 7), &[("a", 5), ("b", 7)]), Ok(6));
    assert_eq!(port((5, 7), &[("a", 5), ("web-sidecar-proxy", 7)]), Ok(7), "it keeps its port");
    assert_eq!(port((5, 7), &[("web-sidecar-proxy", 9)]), Ok(5), "one out of the range it does not keep");
    let refused = |text: &str| {
        Err(format!("Bad request: Invalid SidecarService: no port provided for sidecar_service and {text}"))
    };
    assert_eq!(port((5, 5), &[("a", 5)]), refused("none left in the configured range [5, 5]"));
    assert_eq!(port((0, 0), &[]), refused("auto-assignment disabled in config"));
}
