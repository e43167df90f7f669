//! Whole commands against canned answers; the expected texts are those of Consul 1.8.7.

use super::testing::{Outcome, Server, run};

type Words<'a> = &'a [&'a str];
/// Words, standard input, exit code, standard output and error, request line and body.
type Write<'a> = (Words<'a>, &'a str, u8, &'a str, &'a str, &'a str, &'a str);
/// Words, exit code, standard output and error, request lines.
type Asked<'a> = (Words<'a>, u8, &'a str, &'a str, Words<'a>);

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

const ENTRIES: &str = r#"[
    {"LockIndex":0,"Key":"a/1","Flags":0,"Value":"MQ==","CreateIndex":15,"ModifyIndex":16},
    {"LockIndex":1,"Key":"a/b","Flags":5,"Value":null,"CreateIndex":17,"ModifyIndex":17,"Session":"s-1"}
]"#;

#[test]
fn kv_get() {
    let server = Server::start(&[
        ("GET /v1/kv/a/?keys=&separator=%2F", 200, r#"["a/1","a/b/"]"#),
        ("GET /v1/kv/a/?recurse=", 200, ENTRIES),
        (
            "GET /v1/kv/a/1",
            200,
            r#"[{"Key":"a/1","Flags":0,"Value":"MQ==","CreateIndex":15,"ModifyIndex":16}]"#,
        ),
        ("GET /v1/kv/none", 404, ""),
    ]);
    let first = "CreateIndex      15\nFlags            0\nKey              a/1\nLockIndex        0\n\
                 ModifyIndex      16\nSession          -\nValue            1\n";
    let second = "CreateIndex      17\nFlags            5\nKey              a/b\nLockIndex        1\n\
                  ModifyIndex      17\nSession          s-1\nValue\n";
    let cases: &[(&[&str], u8, &str, &str)] = &[
        (&["a/1"], 0, "1\n", ""),
        (&["/a/1"], 0, "1\n", ""),
        (&["-base64", "a/1"], 0, "MQ==\n", ""),
        (&["-detailed", "a/1"], 0, first, ""),
        (&["-recurse", "a/"], 0, "a/1:1\na/b:\n", ""),
        (&["-recurse", "-base64", "a/"], 0, "a/1:MQ==\na/b:\n", ""),
        (&["-recurse", "-detailed", "a/"], 0, &format!("{first}\n{second}"), ""),
        (&["-keys", "a/"], 0, "a/1\na/b/\n", ""),
        (&["none"], 1, "", "Error! No key exists at: none\n"),
        (&["-recurse", "none"], 0, "", ""),
        (&["-keys", "none"], 0, "", ""),
    ];
    for (words, code, stdout, stderr) in cases {
        let all: Vec<&str> = ["kv", "get"].iter().chain(*words).copied().collect();
        assert_eq!(server.run(&all), outcome(*code, stdout, stderr), "{words:?}");
    }
}

#[test]
fn kv_writes() {
    let server = Server::start(&[
        ("PUT /v1/kv/lost", 200, "false"),
        ("PUT /v1/kv/", 200, "true\n"),
        ("DELETE /v1/kv/lost", 200, "false"),
        ("DELETE /v1/kv/", 200, "true"),
        ("GET /v1/kv/a?recurse=", 200, ENTRIES),
        ("GET /v1/kv/none", 404, ""),
    ]);
    let exported = "[\n\t{\n\t\t\"key\": \"a/1\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"MQ==\"\n\t},\n\t{\n\t\t\"key\": \
                    \"a/b\",\n\t\t\"flags\": 5,\n\t\t\"value\": \"\"\n\t}\n]\n";
    let cases: &[Write<'_>] = &[
        (&["put", "a", "1"], "", 0, "Success! Data written to: a\n", "", "PUT /v1/kv/a", "1"),
        (&["put", "a"], "", 0, "Success! Data written to: a\n", "", "PUT /v1/kv/a", ""),
        (&["put", "a", "-"], "in", 0, "Success! Data written to: a\n", "", "PUT /v1/kv/a", "in"),
        (
            &["put", "-base64", "a b", "aGk="],
            "",
            0,
            "Success! Data written to: a b\n",
            "",
            "PUT /v1/kv/a%20b",
            "hi",
        ),
        (
            &["put", "-cas", "-modify-index=4", "-flags=0x3", "a", "1"],
            "",
            0,
            "Success! Data written to: a\n",
            "",
            "PUT /v1/kv/a?cas=4&flags=3",
            "1",
        ),
        (
            &["put", "-cas", "-modify-index=4", "lost", "1"],
            "",
            1,
            "",
            "Error! Did not write to lost: CAS failed\n",
            "PUT /v1/kv/lost?cas=4",
            "1",
        ),
        (
            &["put", "-acquire", "-session=s", "a", "1"],
            "",
            0,
            "Success! Lock acquired on: a\n",
            "",
            "PUT /v1/kv/a?acquire=s",
            "1",
        ),
        (
            &["put", "-acquire", "-session=s", "lost", "1"],
            "",
            1,
            "",
            "Error! Did not acquire lock\n",
            "PUT /v1/kv/lost?acquire=s",
            "1",
        ),
        (
            &["put", "-release", "-session=s", "a", "1"],
            "",
            0,
            "Success! Lock released on: a\n",
            "",
            "PUT /v1/kv/a?release=s",
            "1",
        ),
        (
            &["put", "-release", "-session=s", "lost", "1"],
            "",
            1,
            "",
            "Error! Did not release lock\n",
            "PUT /v1/kv/lost?release=s",
            "1",
        ),
        (&["delete", "/a"], "", 0, "Success! Deleted key: a\n", "", "DELETE /v1/kv/a", ""),
        (
            &["delete", "-recurse"],
            "",
            0,
            "Success! Deleted keys with prefix: \n",
            "",
            "DELETE /v1/kv/?recurse=",
            "",
        ),
        (
            &["delete", "-cas", "-modify-index=4", "lost"],
            "",
            1,
            "",
            "Error! Did not delete key lost: CAS failed\n",
            "DELETE /v1/kv/lost?cas=4",
            "",
        ),
        (&["export", "a"], "", 0, exported, "", "GET /v1/kv/a?recurse=", ""),
        (&["export", "none"], "", 0, "[]\n", "", "GET /v1/kv/none?recurse=", ""),
        (&["import", "-"], exported, 0, "Imported: a/1\nImported: a/b\n", "", "PUT /v1/kv/a/1", "1"),
        (
            &["import", r#"[{"key":"x","value":"**"}]"#],
            "",
            1,
            "",
            "Error base 64 decoding value for key x: illegal base64 data at input byte 0\n",
            "",
            "",
        ),
    ];
    for (words, stdin, code, stdout, stderr, line, body) in cases {
        let all: Vec<&str> = ["kv"].iter().chain(*words).copied().collect();
        let got = server.run_with(&all, &[], stdin.as_bytes());
        assert_eq!(got, outcome(*code, stdout, stderr), "{words:?}");
        let seen = server.take();
        assert_eq!(seen.first().map_or("", |seen| seen.line.as_str()), *line, "{words:?}");
        assert_eq!(seen.first().map_or("", |seen| seen.body.as_str()), *body, "{words:?}");
    }
}

#[test]
fn catalog() {
    let node = r#"{"ID":"0123456789ab","Node":"long-name","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":{"wan":"w","lan":"l"},"Meta":null}"#;
    let service = r#"{"ID":"0123456789ab","Node":"n","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,"NodeMeta":{"k":"v"},"ServiceName":"web"}"#;
    let server = Server::start(&[
        ("GET /v1/catalog/nodes?filter=", 200, "[]"),
        ("GET /v1/catalog/nodes", 200, &format!("[{node}]")),
        ("GET /v1/catalog/service/web", 200, &format!("[{service}]")),
        ("GET /v1/catalog/services", 200, r#"{"web":["b","a"],"a-long-name":[]}"#),
        ("GET /v1/catalog/node/none", 200, "null"),
        (
            "GET /v1/catalog/node/n",
            200,
            r#"{"Node":{},"Services":{"w1":{"ID":"w1","Service":"web","Tags":["x"]},"w2":{"ID":"w2","Service":"web","Tags":["y","x"]}}}"#,
        ),
        ("GET /v1/catalog/datacenters", 200, r#"["dc2","dc1"]"#),
    ]);
    let cases: &[(&[&str], &str, &str, &str)] = &[
        (
            &["nodes"],
            "Node       ID        Address   DC\nlong-name  01234567  10.0.0.1  dc1\n",
            "",
            "GET /v1/catalog/nodes",
        ),
        (
            &["nodes", "-detailed", "-near=n", "-node-meta=a=1", "-node-meta=b=2", "-stale"],
            "Node       ID            Address   DC   TaggedAddresses  Meta\nlong-name  0123456789ab  10.0.0.1  dc1  lan=l, wan=w     \n",
            "",
            "GET /v1/catalog/nodes?near=n&node-meta=a%3A1&node-meta=b%3A2&stale=",
        ),
        (
            &["nodes", "-service=web", "-detailed"],
            "Node  ID            Address   DC   TaggedAddresses  Meta\nn     0123456789ab  10.0.0.1  dc1                   k=v\n",
            "",
            "GET /v1/catalog/service/web",
        ),
        (
            &["nodes", "-filter=Node == x"],
            "",
            "No nodes match the given query - try expanding your search.\n",
            "GET /v1/catalog/nodes?filter=Node+%3D%3D+x",
        ),
        (&["services"], "a-long-name\nweb\n", "", "GET /v1/catalog/services"),
        (&["services", "-tags"], "a-long-name      \nweb              a,b\n", "", "GET /v1/catalog/services"),
        (&["services", "-tags", "-node=n"], "web      x,y\n", "", "GET /v1/catalog/node/n"),
        (
            &["services", "-node=none"],
            "",
            "No services match the given query - try expanding your search.\n",
            "GET /v1/catalog/node/none",
        ),
        (&["datacenters"], "dc2\ndc1\n", "", "GET /v1/catalog/datacenters"),
    ];
    for (words, stdout, stderr, line) in cases {
        let all: Vec<&str> = ["catalog"].iter().chain(*words).copied().collect();
        assert_eq!(server.run(&all), outcome(0, stdout, stderr), "{words:?}");
        assert_eq!(server.lines(), [*line], "{words:?}");
    }
}

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
            "line 1\nline 2\n",
            "\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed.\n",
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
fn operator() {
    let peers = r#"{"Servers":[{"ID":"i","Node":"srv1","Address":"127.0.0.1:8300","Leader":true,"ProtocolVersion":"3","Voter":true},{"ID":"j","Node":"s2","Address":"127.0.0.2:8300","Leader":false,"ProtocolVersion":"","Voter":false}],"Index":1}"#;
    let autopilot = r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":0,"ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"v","CreateIndex":4,"ModifyIndex":56}"#;
    let server = Server::start(&[
        ("GET /v1/operator/raft/configuration", 200, peers),
        ("DELETE /v1/operator/raft/peer", 200, ""),
        ("GET /v1/operator/autopilot/configuration", 200, autopilot),
        ("PUT /v1/operator/autopilot/configuration", 200, "true"),
    ]);
    let table = "Node  ID  Address         State     Voter  RaftProtocol\n\
                 srv1  i   127.0.0.1:8300  leader    true   3\n\
                 s2    j   127.0.0.2:8300  follower  false  <=1\n";
    let configuration = "CleanupDeadServers = true\nLastContactThreshold = 200ms\nMaxTrailingLogs = 250\n\
                         MinQuorum = 0\nServerStabilizationTime = 10s\nRedundancyZoneTag = \"\"\n\
                         DisableUpgradeMigration = false\nUpgradeVersionTag = \"v\"\n";
    let cases: &[(&[&str], &str, &[&str])] = &[
        (&["raft", "list-peers", "-stale"], table, &["GET /v1/operator/raft/configuration?stale="]),
        (
            &["raft", "remove-peer", "-id=x"],
            "Removed peer with id \"x\"\n",
            &["DELETE /v1/operator/raft/peer?id=x"],
        ),
        (
            &["raft", "remove-peer", "-address=1.2.3.4:8300"],
            "Removed peer with address \"1.2.3.4:8300\"\n",
            &["DELETE /v1/operator/raft/peer?address=1.2.3.4%3A8300"],
        ),
        (&["autopilot", "get-config"], configuration, &["GET /v1/operator/autopilot/configuration"]),
    ];
    for (words, stdout, lines) in cases {
        let all: Vec<&str> = ["operator"].iter().chain(*words).copied().collect();
        assert_eq!(server.run(&all), outcome(0, stdout, ""), "{words:?}");
        assert_eq!(server.lines(), *lines, "{words:?}");
    }
    let words = [
        "operator",
        "autopilot",
        "set-config",
        "-cleanup-dead-servers=false",
        "-max-trailing-logs=300",
        "-last-contact-threshold=1s",
        "-redundancy-zone-tag=z",
    ];
    assert_eq!(server.run(&words), outcome(0, "Configuration updated!\n", ""));
    let seen = server.take();
    assert_eq!(seen[1].line, "PUT /v1/operator/autopilot/configuration?cas=56");
    let sent: serde_json::Value = serde_json::from_str(&seen[1].body).unwrap();
    let want: serde_json::Value = serde_json::json!({
        "CleanupDeadServers": false, "LastContactThreshold": "1s", "MaxTrailingLogs": 300, "MinQuorum": 0,
        "ServerStabilizationTime": "10s", "RedundancyZoneTag": "z", "DisableUpgradeMigration": false,
        "UpgradeVersionTag": "v", "CreateIndex": 4, "ModifyIndex": 56,
    });
    assert_eq!(sent, want);
}

#[test]
fn snapshots() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let bytes = super::snapshot::archive_for_tests(b"state");
    let server = Server::start_bytes(vec![
        ("GET /v1/snapshot?stale=".to_owned(), 200, b"junk that is no gzip".to_vec()),
        ("GET /v1/snapshot".to_owned(), 200, bytes.clone()),
        ("PUT /v1/snapshot".to_owned(), 200, Vec::new()),
    ]);
    let file = path("a.snap");
    let saved = server.run(&["snapshot", "save", &file]);
    assert_eq!(saved, outcome(0, "Saved and verified snapshot to index 56\n", ""));
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    let inspected = server.run(&["snapshot", "inspect", &file]);
    let want = "ID           2-56-1795289045821\nSize         5\nIndex        56\nTerm         2\nVersion      1\n\n";
    assert_eq!(inspected, outcome(0, want, ""));
    assert_eq!(server.run(&["snapshot", "restore", &file]), outcome(0, "Restored snapshot\n", ""));

    let bad = server.run(&["snapshot", "save", "-stale", &path("b.snap")]);
    let why = "Error verifying snapshot file: failed to decompress snapshot: gzip: invalid header\n";
    assert_eq!(bad, outcome(1, "", why));
    let names: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a.snap"], "a failed save leaves nothing");
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
