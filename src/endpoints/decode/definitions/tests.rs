use super::*;

fn parsed(body: &str) -> Json {
    Json::parse(body.as_bytes()).unwrap()
}

fn check_of(body: &str) -> CheckDefinition {
    check(parsed(body)).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn service_of(body: &str) -> ServiceDefinition {
    service(parsed(body)).unwrap_or_else(|error| panic!("{body}: {error}"))
}

#[test]
fn both_spellings_of_a_check() {
    let wanted = CheckDefinition {
        id: "c".into(),
        name: "check".into(),
        service_id: "w".into(),
        args: vec!["a".into(), "b".into()],
        docker_container_id: "d".into(),
        tls_skip_verify: true,
        interval: Duration::from_secs(5),
        timeout: Duration::from_nanos(1500),
        deregister_critical_service_after: Duration::from_secs(3),
        h2ping_use_tls: Some(false),
        tls_server_name: "n".into(),
        os_service: "u".into(),
        ..CheckDefinition::default()
    };
    let table = [
        r#"{"ID":"c","Name":"check","ServiceID":"w","ScriptArgs":["a","b"],"DockerContainerID":"d","TLSSkipVerify":true,
            "Interval":"5s","Timeout":1500,"DeregisterCriticalServiceAfter":"3s","H2PingUseTLS":false,
            "TLSServerName":"n","OSService":"u"}"#,
        r#"{"id":"c","name":"check","service_id":"w","args":["a","b"],"docker_container_id":"d","tls_skip_verify":true,
            "interval":5000000000,"timeout":"1.5us","deregister_critical_service_after":3e9,"h2ping_use_tls":false,
            "tls_server_name":"n","os_service":"u"}"#,
        r#"{"ID":"c","Name":"check","ServiceID":"w","service_id":"other","ScriptArgs":["a","b"],"Args":["x"],
            "docker_container_id":"e","DockerContainerID":"d","TLSSkipVerify":false,"tls_skip_verify":true,
            "Interval":"5s","Timeout":"1.5us","DeregisterCriticalServiceAfter":"3s",
            "deregister_critical_service_after":"4s","H2PingUseTLS":false,"TLSServerName":"n","OSService":"u"}"#,
    ];
    for body in table {
        assert_eq!(check_of(body), wanted, "{body}");
    }
}

#[test]
fn numbers_below_zero_mean_nothing() {
    let check = check_of(r#"{"TTL":"-5s","Interval":-1,"SuccessBeforePassing":-2,"OutputMaxSize":-3}"#);
    assert_eq!((check.ttl, check.interval), (Duration::ZERO, Duration::ZERO));
    assert_eq!((check.success_before_passing, check.output_max_size), (0, -3));
}

#[test]
fn fields_of_one_kind_of_check_are_not_those_of_the_other() {
    let unknown = |body: &str| check(parsed(body)).map_err(|error| error.to_string());
    for field in ["CheckID", "ProxyHTTP", "check_id", "grpc_use_tls", "alias_node", "Script", "ServiceName"] {
        assert_eq!(
            unknown(&format!("{{{field:?}:\"x\"}}")),
            Err(format!("json: unknown field {field:?}")),
            "{field}"
        );
    }
    let inside = |body: &str| service(parsed(body)).map_err(|error| error.to_string());
    for field in ["ID", "Token", "success_before_passing"] {
        let wanted = Err(format!("json: unknown field {field:?}"));
        assert_eq!(inside(&format!(r#"{{"Check":{{{field:?}:"x"}}}}"#)), wanted, "{field}");
    }
    let bound = service_of(r#"{"Checks":[{"CheckID":"c","ServiceID":"elsewhere","TTL":"1s"}]}"#);
    assert_eq!((&*bound.checks[0].id, &*bound.checks[0].service_id), ("c", ""));
    assert!(unknown(r#"{"TTL":""}"#).is_err());
    assert!(unknown(r#"{"Header":{"a":"b"}}"#).is_err());
    assert!(unknown(r#"{"Args":"true"}"#).is_err());
}

#[test]
fn the_lone_check_comes_first_unless_it_is_empty() {
    let ttls = |body: &str| -> Vec<u64> {
        service_of(body).checks.iter().map(|check| check.ttl.as_secs()).collect()
    };
    let table: [(&str, &[u64]); 8] = [
        (r#"{"Checks":[{"TTL":"2s"},{"TTL":"3s"}],"Check":{"TTL":"1s"}}"#, &[1, 2, 3]),
        (r#"{"Check":{},"Checks":[{"TTL":"2s"}]}"#, &[2]),
        (r#"{"Check":{"Name":""}}"#, &[]),
        (r#"{"Check":{"Interval":"0s"}}"#, &[]),
        (r#"{"Check":{"ServiceID":"x"}}"#, &[]),
        (r#"{"Check":{"Header":{}}}"#, &[0]),
        (r#"{"Check":{"Interval":"-1s"}}"#, &[0]),
        (r#"{"Check":null,"Checks":null}"#, &[]),
    ];
    for (body, wanted) in table {
        assert_eq!(ttls(body), wanted, "{body}");
    }
}

#[test]
fn a_service_with_everything() {
    let service = service_of(
        r#"{"Kind":"connect-proxy","ID":"p","Name":"proxy","Tags":["a"],"Address":"10.0.0.1","Meta":{"k":"v"},"Port":9,
            "tagged_addresses":{"wan":{"address":"w","port":1}},"Weights":{"Passing":3},"Token":"secret",
            "enable_tag_override":true,
            "Proxy":{"DestinationServiceName":"web","Config":{"x":[1]},
                "Upstreams":[{"destination_name":"db","local_bind_port":5,"MeshGateway":{"Mode":"local"}}],
                "Expose":{"Checks":true,"Paths":[{"Path":"/x","listener_port":7}]}},
            "Connect":{"Native":true,"Unknown":1,"sidecar_service":{"Port":4,"Check":{"TTL":"1s"}}}}"#,
    );
    assert_eq!(
        (&*service.kind, &*service.id, &*service.name, service.port),
        ("connect-proxy", "p", "proxy", 9)
    );
    assert_eq!(service.tagged_addresses["wan"], TaggedAddress { address: "w".into(), port: 1 });
    assert_eq!(service.weights, Some(WeightsDefinition { passing: 3, warning: 0 }));
    assert_eq!(service.token.expose(), "secret");
    assert!(service.enable_tag_override);
    let proxy = service.proxy.unwrap();
    assert_eq!(proxy.config, Some(serde_json::json!({"x": [1]})));
    assert_eq!(
        (&*proxy.upstreams[0].destination_name, &*proxy.upstreams[0].mesh_gateway.mode),
        ("db", "local")
    );
    assert_eq!((proxy.expose.checks, proxy.expose.paths[0].listener_port), (true, 7));
    let connect = service.connect.unwrap();
    assert!(connect.native);
    let sidecar = connect.sidecar_service.unwrap();
    assert_eq!((sidecar.port, sidecar.checks.len()), (4, 1));

    let addresses = |body: &str| service_of(body).tagged_addresses.into_keys().collect::<Vec<_>>();
    assert_eq!(addresses(r#"{"tagged_addresses":{"a":{}},"TaggedAddresses":{"b":{}}}"#), ["b"]);
    assert_eq!(addresses(r#"{"tagged_addresses":{"a":{}},"TaggedAddresses":{}}"#), ["a"]);
}

#[test]
fn news_of_a_check() {
    let table = [
        (r#"{"Status":"passing","Output":"o"}"#, Ok(("passing", "o"))),
        (r#"{"status":"warning","output":"low"}"#, Ok(("warning", "low"))),
        ("{}", Ok(("", ""))),
        (r#"{"Bogus":1}"#, Err("json: unknown field \"Bogus\"")),
        (
            r#"{"Output":5}"#,
            Err("json: cannot unmarshal number into Go struct field checkUpdate.Output of type string"),
        ),
    ];
    for (body, wanted) in table {
        let found = check_news(parsed(body)).map_err(|error| error.to_string());
        let wanted = wanted
            .map(|(status, output)| CheckNews { status: status.into(), output: output.into() })
            .map_err(str::to_owned);
        assert_eq!(found, wanted, "{body}");
    }
}
