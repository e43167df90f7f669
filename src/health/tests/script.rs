//! Scripts as real processes, and units of systemd through a stand-in for `systemctl`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Probe, Shared, Status, expect, look, look_within, settings};
use crate::definition::CheckDefinition;
use crate::health::os_service::OsServiceProbe;

fn check(args: &[&str]) -> CheckDefinition {
    CheckDefinition {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        timeout: Duration::from_secs(20),
        ..CheckDefinition::default()
    }
}

fn shell(script: &str) -> CheckDefinition {
    check(&["/bin/sh", "-c", script])
}

/// There is such a process, and it has not ended.
fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// The process ids a script wrote to a file.
async fn pids(file: &Path, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.lines().count() >= count {
            return text.lines().map(str::to_owned).collect();
        }
        assert!(Instant::now() < deadline, "the script wrote {text:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn gone(pids: &[String]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while pids.iter().any(|pid| alive(pid)) {
        assert!(Instant::now() < deadline, "still there: {pids:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn exit_codes() {
    use Status::{Critical, Passing, Warning};
    for (code, status) in [(0, Passing), (1, Warning), (2, Critical), (255, Critical)] {
        let got = look(&shell(&format!("echo out; echo err >&2; exit {code}"))).await;
        expect(&code.to_string(), &got, status, "out\nerr\n");
    }
    expect("a signal", &look(&shell("kill -9 $$")).await, Critical, "");
    let cases = [
        (check(&["/no/such/file", "x"]), "fork/exec /no/such/file: no such file or directory"),
        (check(&["no-such-command"]), "exec: \"no-such-command\": executable file not found in $PATH"),
        (check(&["/tmp"]), "fork/exec /tmp: permission denied"),
    ];
    for (definition, want) in cases {
        expect(want, &look(&definition).await, Critical, want);
    }
    expect("without a shell", &look(&check(&["printf", "%s", "a  b"])).await, Passing, "a  b");
}

#[tokio::test]
async fn surroundings() {
    let got =
        look(&shell("echo $TRIBUNE_TEST; test -n \"$PATH\" && cat; ls /proc/self/fd | tr '\\n' ' '")).await;
    expect("variables, no input, no open files", &got, Status::Passing, "seen\n0 1 2 3 ");
}

#[tokio::test]
async fn long_output() {
    let capped = CheckDefinition { output_max_size: 10, ..shell("seq 1 100000") };
    expect(
        "the end",
        &look(&capped).await,
        Status::Passing,
        "Captured 10 of 588895 bytes\n...\n99\n100000\n",
    );
    let exact = CheckDefinition { output_max_size: 10, ..check(&["printf", "1234567890"]) };
    expect("just enough", &look(&exact).await, Status::Passing, "1234567890");
    let huge =
        look_within(Duration::from_secs(20), &shell("head -c 100000000 /dev/zero | tr '\\0' x; exit 1"))
            .await;
    let want = format!("Captured 4096 of 100000000 bytes\n...\n{}", "x".repeat(4096));
    expect("100 MB", &huge, Status::Warning, &want);
    let binary = look(&shell("printf '\\377ok'")).await;
    expect("no text", &binary, Status::Passing, "\u{fffd}ok");
}

#[tokio::test]
async fn the_whole_group_ends_with_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    let script = format!(
        "echo before; echo $$ >> {0}; (sleep 600 & echo $! >> {0}; sleep 600) & echo $! >> {0}; trap '' TERM; \
         sleep 600",
        file.display()
    );
    let slow = CheckDefinition { timeout: Duration::from_millis(700), ..shell(&script) };
    let got = look_within(Duration::from_secs(10), &slow).await;
    expect("told", &got, Status::Critical, "Timed out (700ms) running check\n\nbefore\n");
    gone(&pids(&file, 3).await).await;
    let quiet = CheckDefinition { timeout: Duration::from_millis(100), ..check(&["sleep", "600"]) };
    expect("nothing printed", &look(&quiet).await, Status::Critical, "Timed out (100ms) running check");
    let endless = CheckDefinition { timeout: Duration::from_millis(300), ..check(&["yes"]) };
    let got = look_within(Duration::from_secs(10), &endless).await;
    assert!(got.output.starts_with("Timed out (300ms) running check\n\nCaptured 4096 of "), "{got:?}");
}

#[tokio::test]
async fn children_that_hold_the_output() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    let script = format!("echo parent; sleep 600 & echo $! > {}; exit 1", file.display());
    let got = look_within(Duration::from_secs(10), &shell(&script)).await;
    expect("do not hold up", &got, Status::Warning, "parent\n");
    gone(&pids(&file, 1).await).await;

    let late = shell("echo parent; (sleep 0.2; echo late) & exit 0");
    expect("are heard for a moment", &look(&late).await, Status::Passing, "parent\nlate\n");

    // One that left the group cannot be found any more, but must not hold up either.
    let escaped = format!("echo parent; setsid sleep 600 & echo $! > {}; exit 0", file.display());
    let got = look_within(Duration::from_secs(10), &shell(&escaped)).await;
    expect("not even from elsewhere", &got, Status::Passing, "parent\n");
    for pid in pids(&file, 1).await {
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }

    let daemon = format!("sleep 600 > /dev/null 2>&1 & echo $! > {}; echo started", file.display());
    expect("a daemon", &look(&shell(&daemon)).await, Status::Passing, "started\n");
    for pid in pids(&file, 1).await {
        assert!(alive(&pid), "what let go of the output lives on");
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

#[tokio::test]
async fn a_look_that_is_dropped_takes_its_processes_along() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    let script = format!("echo $$ >> {0}; sleep 600 & echo $! >> {0}; wait", file.display());
    let shared = Shared::new(settings()).unwrap();
    let probe = Probe::new(&shell(&script), &shared).unwrap();
    let started = tokio::select! {
        _ = probe.run() => unreachable!("it sleeps"),
        pids = pids(&file, 2) => pids,
    };
    gone(&started).await;
}

#[tokio::test]
async fn units() {
    use Status::{Critical, Passing, Warning};
    let directory = tempfile::tempdir().unwrap();
    let systemctl = directory.path().join("systemctl");
    let script = "#!/bin/sh\n[ \"$1 $2\" = 'is-active --' ] || exit 9\ncase $3 in\nslow) sleep 600;;\n\
                  none) echo 'System has not been booted' >&2; exit 1;;\nactive) echo active;;\n\
                  huge) yes active | head -c 1000000;;\n*) echo $3; exit 3;;\nesac\n";
    std::fs::write(&systemctl, script).unwrap();
    std::fs::set_permissions(&systemctl, std::fs::Permissions::from_mode(0o755)).unwrap();
    let probe = |unit: &str, limit| OsServiceProbe {
        unit: unit.to_owned(),
        limit,
        systemctl: systemctl.display().to_string(),
    };
    let cases = [
        ("active", Passing, "Service \"active\" is healthy"),
        ("failed", Critical, "OS Service unhealthy: \"failed\" is failed"),
        ("inactive", Critical, "OS Service unhealthy: \"inactive\" is inactive"),
        ("activating", Warning, "Service \"activating\" is activating"),
        ("none", Warning, "Service \"none\": System has not been booted"),
    ];
    for (unit, status, output) in cases {
        expect(unit, &probe(unit, Duration::from_secs(20)).run().await, status, output);
    }
    let got = probe("slow", Duration::from_millis(200)).run().await;
    expect("slow", &got, Critical, "Timed out (200ms) running check");
    let huge = probe("huge", Duration::from_secs(20)).run().await;
    assert!(huge.output.len() < 1000, "{huge:?}");
    let missing = OsServiceProbe {
        unit: "x".to_owned(),
        limit: Duration::from_secs(20),
        systemctl: "no-such-systemctl".to_owned(),
    };
    let want = "exec: \"no-such-systemctl\": executable file not found in $PATH";
    expect("no systemd", &missing.run().await, Warning, want);
}
