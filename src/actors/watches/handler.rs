//! What a watch runs: a command that gets the data on its standard input, or a request to somebody's server.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tracing::{debug, error, trace};

use super::question::Answer;
use crate::definition::{CheckDefinition, Status, WatchDefinition, WatchHttp};
use crate::health::{Probe, Shared};

/// Bytes of a command's output that reach the log: the last ones.
pub(super) const OUTPUT: usize = 4 << 10;
/// How long output is waited for after the command itself has ended; whoever it left behind may hold it.
const LINGER: Duration = Duration::from_secs(1);

/// How changes are handed over.
#[derive(Debug)]
pub(super) enum WatchHandler {
    /// To a command, given as program and arguments.
    Command(Vec<String>),
    /// To a command line for the shell.
    Shell(String),
    /// To an HTTP server.
    Http(WatchHttp, Shared),
}

impl WatchHandler {
    /// Of a definition that was found valid.
    pub fn of(definition: &WatchDefinition, http: &Shared) -> Self {
        match &definition.http_handler_config {
            Some(target) if definition.handler_type == "http" => Self::Http(target.clone(), http.clone()),
            _ if definition.handler.is_empty() => Self::Command(definition.args.clone()),
            _ => Self::Shell(definition.handler.clone()),
        }
    }

    /// Hands a change over and waits for the end of it. Failures are logged; the watch goes on.
    pub async fn run(&self, answer: &Answer, json: &str) {
        let (name, mut command) = match self {
            Self::Command(args) => {
                let mut command = Command::new(args.first().map_or("", String::as_str));
                command.args(args.get(1..).unwrap_or_default());
                (format!("{args:?}"), command)
            }
            Self::Shell(line) => {
                let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
                let mut command = Command::new(shell.unwrap_or_else(|| "/bin/sh".into()));
                command.arg("-c").arg(line);
                (line.clone(), command)
            }
            Self::Http(target, http) => return post(target, http, answer, json).await,
        };
        if let Some(index) = answer.index {
            command.env("CONSUL_INDEX", index.to_string());
        }
        match run(command, json).await {
            Ok((status, output)) => {
                if !status.success() {
                    error!(target: "agent", watch_handler = %name, error = %status, "Failed to run watch handler");
                }
                debug!(target: "agent", watch_handler = %name, output = %output, "watch handler output");
            }
            Err(failure) => {
                error!(target: "agent", watch_handler = %name, error = %failure, "Failed to run watch handler");
            }
        }
    }
}

/// A child that leads a process group of its own; the whole group is killed when this is dropped before
/// its leader has ended.
struct Group {
    child: Child,
}

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(leader) = leader {
            // It may have ended just now.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Runs a command to its end, as long as that takes; gives the end of its output.
async fn run(mut command: Command, json: &str) -> std::io::Result<(ExitStatus, String)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut group = Group { child: command.spawn()? };
    let (stdin, stdout, stderr) =
        (group.child.stdin.take(), group.child.stdout.take(), group.child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command that does not read its input is none of our business.
            let _ = stdin.write_all(format!("{json}\n").as_bytes()).await;
        }
    };
    let output = async {
        let (mut out, err) = tokio::join!(tail(stdout), tail(stderr));
        out.extend_from_slice(&err);
        out
    };
    let ended = group.child.wait();
    tokio::pin!(feed, output, ended);
    let (mut fed, mut told) = (false, None);
    let status = loop {
        tokio::select! {
            () = &mut feed, if !fed => fed = true,
            text = &mut output, if told.is_none() => told = Some(text),
            status = &mut ended => break status?,
        }
    };
    let told = match told {
        Some(told) => told,
        None => tokio::time::timeout(LINGER, output).await.unwrap_or_default(),
    };
    Ok((status, String::from_utf8_lossy(&told).into_owned()))
}

/// Reads to the end and keeps the last bytes.
async fn tail(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else { return kept };
    let mut piece = [0; 4 << 10];
    while let Ok(size @ 1..) = stream.read(&mut piece).await {
        kept.extend_from_slice(piece.get(..size).unwrap_or_default());
        let surplus = kept.len().saturating_sub(OUTPUT);
        kept.drain(..surplus);
    }
    kept
}

/// A request is a look at the server by an HTTP check: all is well if it takes the data.
async fn post(target: &WatchHttp, http: &Shared, answer: &Answer, json: &str) {
    let mut header = target.header.clone();
    header.entry("Content-Type".to_owned()).or_insert_with(|| vec!["application/json".to_owned()]);
    if let Some(index) = answer.index {
        header.insert("X-Consul-Index".to_owned(), vec![index.to_string()]);
    }
    let request = CheckDefinition {
        http: target.path.clone(),
        method: if target.method.is_empty() { "POST".to_owned() } else { target.method.clone() },
        header,
        body: format!("{json}\n"),
        timeout: target.timeout,
        tls_skip_verify: target.tls_skip_verify,
        ..CheckDefinition::default()
    };
    let Some(probe) = Probe::new(&request, http) else { return };
    let outcome = probe.run().await;
    if outcome.status == Status::Passing {
        trace!(target: "agent", watch_handler = %target.path, output = %outcome.output, "http watch handler output");
    } else {
        error!(target: "agent", watch_handler = %target.path, output = %outcome.output, "http watch handler failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(line);
        command
    }

    #[tokio::test]
    async fn a_command_gets_the_data_and_its_output_is_kept() {
        let (status, output) = run(shell("cat; echo more >&2; exit 3"), "{\"a\":1}").await.unwrap();
        assert_eq!((status.code(), output.as_str()), (Some(3), "{\"a\":1}\nmore\n"));
        let (status, output) =
            run(shell("exec <&-; i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done"), "x")
                .await
                .unwrap();
        assert!(status.success() && output.len() == OUTPUT && output.ends_with("2999\n"), "{}", output.len());
        assert!(run(Command::new("/no/such/command"), "x").await.is_err());
    }

    #[tokio::test]
    async fn a_handler_that_is_dropped_takes_its_group_along() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let line = format!("sh -c 'echo $$ > {0}.new; mv {0}.new {0}; sleep 600' & wait", file.display());
        let running = tokio::spawn(async move { run(shell(&line), "x").await.map(drop) });
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !file.exists() {
            assert!(std::time::Instant::now() < deadline, "the command starts");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let id: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        running.abort();
        // What is killed may stay as a zombie until its new parent looks.
        let alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
        };
        while alive() {
            assert!(std::time::Instant::now() < deadline, "the grandchild ends");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
