//! Commands about the servers as a group.

use super::super::testing::Server;
use super::{Words, outcome};

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
    let cases: &[(Words<'_>, &str, Words<'_>)] = &[
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
    let bytes = super::super::snapshot::archive_for_tests(b"state");
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
