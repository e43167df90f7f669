//! Keys and catalog.

use super::super::testing::Server;
use super::{Words, outcome};

/// Words, standard input, exit code, standard output and error, request line and body.
type Write<'a> = (Words<'a>, &'a str, u8, &'a str, &'a str, &'a str, &'a str);

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
