//! Commands about one agent, and those that run a command of the user.

use super::super::testing::Server;
use super::{Words, outcome};

/// Words, exit code, standard output and error, request lines.
type Asked<'a> = (Words<'a>, u8, &'a str, &'a str, Words<'a>);

#[test]
fn members() {
    let list = r#"[
        {"Name":"c","Addr":"127.0.0.2","Port":8301,"Tags":{"role":"node","build":"1.8.7:","vsn":"2","dc":"dc1"},"Status":3},
        {"Name":"z","Addr":"::1","Port":8301,"Tags":{"role":"consul","build":"1.8.7:","vsn":"2","dc":"dc1"},"Status":1}]"#;
    let server = Server::start(&[("GET /v1/agent/members", 200, list)]);
    let table = "Node  Address         Status  Type    Build  Protocol  DC   Segment\n\
                 z     [::1]:8301      alive   server  1.8.7  2         dc1  <all>\n\
                 c     127.0.0.2:8301  left    client  1.8.7  2         dc1  <default>\n";
    let detailed = "Node  Address         Status  Tags\n\
                    z     [::1]:8301      alive   build=1.8.7:,dc=dc1,role=consul,segment=<all>,vsn=2\n\
                    c     127.0.0.2:8301  left    build=1.8.7:,dc=dc1,role=node,segment=<default>,vsn=2\n";
    let one = "Node  Address         Status  Type    Build  Protocol  DC   Segment\n\
               c     127.0.0.2:8301  left    client  1.8.7  2         dc1  <default>\n";
    let cases: &[(&[&str], u8, &str, &str)] = &[
        (&["members", "ignored"], 0, table, "GET /v1/agent/members?segment=_all"),
        (&["members", "-detailed"], 0, detailed, "GET /v1/agent/members?segment=_all"),
        (&["members", "-wan", "-segment=x"], 0, table, "GET /v1/agent/members?segment=x&wan=1"),
        (&["members", "-status=^le"], 0, one, "GET /v1/agent/members?segment=_all"),
        (&["members", "-status=failed"], 2, "", "GET /v1/agent/members?segment=_all"),
    ];
    for (words, code, stdout, line) in cases {
        assert_eq!(server.run(words), outcome(*code, stdout, ""), "{words:?}");
        assert_eq!(server.lines(), [*line], "{words:?}");
    }
}

#[test]
fn commands_about_the_agent() {
    let own = r#"{"Config":{"NodeName":"n1","Datacenter":"dc1"},"Stats":{"raft":{"term":"2","applied":"3"},"agent":{"checks":"0"}}}"#;
    let coordinates = r#"[{"Node":"n1","Segment":"","Coord":{"Vec":[0,0],"Error":1.5,"Adjustment":0,"Height":0.00001}},{"Node":"n2","Segment":"","Coord":{"Vec":[0.003,0.004],"Error":1.5,"Adjustment":0,"Height":0.00001}}]"#;
    let datacenters = format!(r#"[{{"Datacenter":"dc1","AreaID":"wan","Coordinates":{coordinates}}}]"#);
    let checks = r#"{"_node_maintenance":{"CheckID":"_node_maintenance","Notes":"why","ServiceID":""},"x":{"CheckID":"x"},"_service_maintenance:w":{"CheckID":"_service_maintenance:w","Notes":"","ServiceID":"w"}}"#;
    let server = Server::start(&[
        ("GET /v1/agent/self", 200, own),
        ("GET /v1/agent/checks", 200, checks),
        ("PUT /v1/event/fire/", 200, r#"{"ID":"e-1"}"#),
        ("PUT /v1/agent/join/bad", 500, "no\n\n"),
        ("PUT /v1/agent/", 200, ""),
        ("GET /v1/coordinate/nodes", 200, coordinates),
        ("GET /v1/coordinate/datacenters", 200, &datacenters),
        ("GET /v1/agent/monitor", 200, "line 1\nline 2\n"),
    ]);
    let cases: &[Asked<'_>] = &[
        (
            &["info"],
            0,
            "agent:\n\tchecks = 0\nraft:\n\tapplied = 3\n\tterm = 2\n",
            "",
            &["GET /v1/agent/self"],
        ),
        (&["reload"], 0, "Configuration reload triggered\n", "", &["PUT /v1/agent/reload"]),
        (&["leave"], 0, "Graceful leave complete\n", "", &["PUT /v1/agent/leave"]),
        (&["force-leave", "-prune", "a b"], 0, "", "", &["PUT /v1/agent/force-leave/a%20b?prune=1"]),
        (
            &["join", "-wan", "bad", "good"],
            0,
            "Successfully joined cluster by contacting 1 nodes.\n",
            "Error joining address 'bad': Unexpected response code: 500 (no\n\n)\n",
            &["PUT /v1/agent/join/bad?wan=1", "PUT /v1/agent/join/good?wan=1"],
        ),
        (
            &["event", "-name=deploy", "-node=n.*", "-service=w", "-tag=t", "v1"],
            0,
            "Event ID: e-1\n",
            "",
            &["GET /v1/agent/self", "PUT /v1/event/fire/deploy?node=n.%2A&service=w&tag=t"],
        ),
        (
            &["maint"],
            0,
            "Node:\n  Name:   n1\n  Reason: why\n\nService:\n  ID:     w\n  Reason: \n\n",
            "",
            &["GET /v1/agent/self", "GET /v1/agent/checks"],
        ),
        (
            &["maint", "-enable", "-reason=a b"],
            0,
            "Node maintenance is now enabled\n",
            "",
            &["PUT /v1/agent/maintenance?enable=true&reason=a+b"],
        ),
        (
            &["maint", "-disable", "-service=w"],
            0,
            "Service maintenance is now disabled for \"w\"\n",
            "",
            &["PUT /v1/agent/service/maintenance/w?enable=false"],
        ),
        (
            &["rtt", "n2"],
            0,
            "Estimated n2 <-> n1 rtt: 5.020 ms (using LAN coordinates)\n",
            "",
            &["GET /v1/agent/self", "GET /v1/coordinate/nodes"],
        ),
        (
            &["rtt", "-wan", "n2.dc1"],
            0,
            "Estimated n2.dc1 <-> n1.dc1 rtt: 5.020 ms (using WAN coordinates)\n",
            "",
            &["GET /v1/agent/self", "GET /v1/coordinate/datacenters"],
        ),
        (
            &["rtt", "n2", "x"],
            1,
            "",
            "Could not find a coordinate for node \"x\"\n",
            &["GET /v1/coordinate/nodes"],
        ),
        (
            &["monitor", "-log-level=debug"],
            1,
            "line 1\nline 2\n\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed.\n",
            "",
            &["GET /v1/agent/monitor?loglevel=debug"],
        ),
    ];
    for (words, code, stdout, stderr, lines) in cases {
        assert_eq!(server.run(words), outcome(*code, stdout, stderr), "{words:?}");
        assert_eq!(server.lines(), *lines, "{words:?}");
    }
    let got = server.run(&["leave", "x"]);
    assert_eq!((got.code, got.stderr.as_str()), (1, "Error found unexpected args: [x]\n"));
    assert!(got.stdout.starts_with("Usage: tribune leave"));
}

#[test]
fn watches() {
    let server = Server::start(&[
        ("GET /v1/agent/self", 200, "{}"),
        ("GET /v1/kv/none", 404, ""),
        (
            "GET /v1/kv/a",
            200,
            r#"[{"LockIndex":0,"Key":"a","Flags":0,"Value":"MQ==","CreateIndex":1,"ModifyIndex":2}]"#,
        ),
        ("GET /v1/catalog/services", 200, r#"{"web":["<a>"],"consul":[]}"#),
    ]);
    let key = "{\n    \"Key\": \"a\",\n    \"CreateIndex\": 1,\n    \"ModifyIndex\": 2,\n    \"LockIndex\": 0,\n    \
               \"Flags\": 0,\n    \"Value\": \"MQ==\",\n    \"Session\": \"\"\n}\n";
    let services = "{\n    \"web\": [\n        \"\\u003ca\\u003e\"\n    ],\n    \"consul\": []\n}\n";
    let cases: &[(Words<'_>, &str)] = &[
        (&["-type=key", "-key=none"], "null\n"),
        (&["-type=key", "-key=a"], key),
        (&["-type=services"], services),
    ];
    for (words, stdout) in cases {
        let all: Vec<&str> = ["watch"].iter().chain(*words).copied().collect();
        assert_eq!(server.run(&all), outcome(0, stdout, ""), "{words:?}");
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("seen").display().to_string();
    let command = format!("cat > {file}; echo $CONSUL_INDEX >> {file}; exit 3");
    let got = server.run(&["watch", "-type=key", "-key=none", &command]);
    assert_eq!(got, outcome(1, "", "Error executing handler: exit status 3\n"));
    assert_eq!(std::fs::read_to_string(file).unwrap(), "null\n7\n");
}

#[test]
fn locks() {
    let server = Server::start(&[
        ("GET /v1/agent/self", 200, "{}"),
        ("PUT /v1/session/create", 200, r#"{"ID":"s-1"}"#),
        ("PUT /v1/session/destroy/s-1", 200, "true"),
        (
            "GET /v1/kv/p/.lock",
            200,
            r#"[{"Key":"p/.lock","Flags":3304740253564472344,"Value":null,"ModifyIndex":9,"Session":"s-1"}]"#,
        ),
        (
            "GET /v1/kv/free/.lock?consistent",
            200,
            r#"[{"Key":"free/.lock","Flags":3304740253564472344,"Value":null,"ModifyIndex":9,"Session":"s-1"}]"#,
        ),
        ("GET /v1/kv/free/.lock", 404, ""),
        ("PUT /v1/kv/free/.lock", 200, "true"),
        ("GET /v1/kv/used/.lock", 200, r#"[{"Key":"used/.lock","Flags":1,"Value":null,"ModifyIndex":9}]"#),
    ]);
    let said = "Setting up lock at path: free/.lock\nAttempting lock acquisition\nStarting handler\n\
                Child terminated, releasing lock\nCleanup succeeded\n";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("held").display().to_string();
    let command = format!("echo $CONSUL_LOCK_HELD > {file}; exit 3");
    let cases: &[(Words<'_>, u8, &str, &str)] = &[
        (&["-verbose", "free", &command], 0, said, "Error running handler: exit status 3\n"),
        (&["-child-exit-code", "free", "exit 3"], 2, "", "Error running handler: exit status 3\n"),
        (&["used", "true"], 1, "", "Lock acquisition failed: Existing key does not match lock use\n"),
    ];
    for (words, code, stdout, stderr) in cases {
        let all: Vec<&str> = ["lock"].iter().chain(*words).copied().collect();
        assert_eq!(
            server.run_with(&all, &[("PATH", "/usr/bin:/bin")], b""),
            outcome(*code, stdout, stderr),
            "{words:?}"
        );
        assert!(server.lines().contains(&"PUT /v1/session/destroy/s-1".to_owned()), "{words:?}");
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "true\n");
}
