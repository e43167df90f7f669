//! Scripts: a command's exit code, and what it printed.
//!
//! The command leads a process group of its own, so that what it forked ends with it when its time is up or the
//! check is stopped. Its output is read as fast as it comes and only its end is kept.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::gotext::os_error;
use super::output::Tail;
use super::{Outcome, Settings};
use crate::duration;

/// How long output is waited for after the command itself has ended: children may hold the pipe for ever.
const AFTER_EXIT: Duration = Duration::from_secs(1);
/// How long a killed command may take to be gone.
const AFTER_KILL: Duration = Duration::from_secs(1);

/// Runs a command.
#[derive(Debug)]
pub(super) struct ScriptProbe {
    /// Program and arguments; not empty.
    pub args: Vec<String>,
    /// Time limit.
    pub limit: Duration,
    /// Bytes of output kept.
    pub output_max_size: usize,
    /// Variables and such.
    pub settings: Arc<Settings>,
}

/// How a command ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It could not be started; Go's text.
    NotStarted(String),
    /// Its time was up; what it had printed.
    TimedOut(Tail),
    /// By itself.
    Exited(ExitStatus, Tail),
}

impl ScriptProbe {
    /// One look.
    pub async fn run(&self) -> Outcome {
        match run(&self.args, &self.settings.environment, self.limit, self.output_max_size).await {
            Ended::NotStarted(text) => Outcome::critical(text),
            Ended::TimedOut(tail) => {
                let mut output = timed_out(self.limit);
                let printed = tail.into_marked_text();
                if !printed.is_empty() {
                    output.push_str("\n\n");
                    output.push_str(&printed);
                }
                Outcome::critical(output)
            }
            Ended::Exited(status, tail) => {
                let output = tail.into_marked_text();
                match status.code() {
                    Some(0) => Outcome::passing(output),
                    Some(1) => Outcome::warning(output),
                    _ => Outcome::critical(output),
                }
            }
        }
    }
}

/// Consul's words for a command whose time was up.
pub(super) fn timed_out(limit: Duration) -> String {
    format!("Timed out ({}) running check", duration::format_unsigned(limit))
}

/// Runs a command to its end, or to the end of its time.
pub(super) async fn run(
    args: &[String],
    environment: &[(String, String)],
    limit: Duration,
    output_max_size: usize,
) -> Ended {
    let Some((program, rest)) = args.split_first() else {
        return Ended::NotStarted("need an executable to run".to_owned());
    };
    let (mut child, mut reader) = match start(program, rest, environment) {
        Ok(both) => both,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !program.contains('/') => {
            return Ended::NotStarted(format!("exec: {program:?}: executable file not found in $PATH"));
        }
        Err(error) => return Ended::NotStarted(format!("fork/exec {program}: {}", os_error(&error))),
    };
    let mut group = Group::led_by(&child);
    let mut tail = Tail::new(output_max_size);
    let ended = timeout(limit, finish(&mut child, &mut reader, &mut tail)).await;
    match ended {
        Ok(Ok((status, true))) => {
            // Whoever is left has let go of the output: a daemon it was to start.
            group.spare();
            Ended::Exited(status, tail)
        }
        Ok(Ok((status, false))) => Ended::Exited(status, tail),
        Ok(Err(error)) => Ended::NotStarted(format!("wait: {}", os_error(&error))),
        Err(_) => {
            drop(group);
            // So that two runs are never there at once.
            let _ = timeout(AFTER_KILL, child.wait()).await;
            Ended::TimedOut(tail)
        }
    }
}

fn start(
    program: &str,
    args: &[String],
    environment: &[(String, String)],
) -> io::Result<(Child, pipe::Receiver)> {
    // One pipe for both streams: what was printed stays in order.
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(program);
    command
        .args(args)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .kill_on_drop(true);
    close_other_files(&mut command);
    // Dropping the command at the end of this function closes our copies of the writing end.
    let child = command.spawn()?;
    Ok((child, pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?))
}

/// Files of libraries that were opened without close-on-exec (the raft log's) are not for scripts.
fn close_other_files(command: &mut Command) {
    const FIRST: libc::c_uint = 3;
    #[expect(unsafe_code, reason = "runs between fork and exec: one system call, no allocation, no lock")]
    unsafe {
        command.pre_exec(|| {
            // A kernel before 5.11 does not know it; the script then sees what it always saw.
            libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            Ok(())
        });
    }
}

/// Reads until the command has ended and nobody holds its output any more, or for a moment longer. Gives
/// the exit status, and whether the output was let go of.
async fn finish(
    child: &mut Child,
    reader: &mut pipe::Receiver,
    tail: &mut Tail,
) -> io::Result<(ExitStatus, bool)> {
    // On the heap: every probe's future has room for the largest of them all.
    let mut buffer = vec![0_u8; 16 * 1024];
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            read = reader.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return Ok((child.wait().await?, true)),
                Ok(count) => tail.write(&buffer[..count]),
            },
        }
    };
    let rest = async {
        while let Ok(count) = reader.read(&mut buffer).await {
            if count == 0 {
                break;
            }
            tail.write(&buffer[..count]);
        }
    };
    Ok((status, timeout(AFTER_EXIT, rest).await.is_ok()))
}

/// A process group that is killed when this is dropped.
#[derive(Debug)]
struct Group {
    leader: Option<Pid>,
}

impl Group {
    fn led_by(child: &Child) -> Self {
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { leader }
    }

    /// Lets it live.
    const fn spare(&mut self) {
        self.leader = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // Nobody left is what is wanted.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
