//! Running the user's own command, for `watch` and `lock`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};

use super::{Environment, gotext};

/// The command of `words`, by the shell or directly, with this environment.
pub(super) fn command(words: &[OsString], shell: bool, env: &Environment) -> Command {
    let mut command = if shell {
        let mut command = Command::new(env.get("SHELL").unwrap_or("/bin/sh"));
        command.arg("-c").arg(words.join(OsStr::new(" ")));
        command
    } else {
        let mut command = Command::new(words.first().map_or_else(|| OsStr::new(""), |word| word.as_os_str()));
        command.args(words.get(1..).unwrap_or_default());
        command
    };
    command.env_clear().envs(env.iter());
    command
}

/// Asks a running command to end.
pub(super) fn terminate(running: &Child) {
    let pid = i32::try_from(running.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended just now.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

/// Go's text for a command that could not be started.
pub(super) fn start_error(command: &Command, error: &io::Error) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    if error.kind() == io::ErrorKind::NotFound && !name.contains('/') {
        return format!("exec: {}: executable file not found in $PATH", gotext::quote(&name));
    }
    format!("fork/exec {name}: {}", gotext::os_error(error))
}

/// Go's text for how a command ended.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal: {}", signal_name(signal)),
        (None, None) => "unknown".to_owned(),
    }
}

fn signal_name(signal: i32) -> String {
    match signal {
        1 => "hangup".to_owned(),
        2 => "interrupt".to_owned(),
        3 => "quit".to_owned(),
        6 => "aborted".to_owned(),
        9 => "killed".to_owned(),
        11 => "segmentation fault".to_owned(),
        13 => "broken pipe".to_owned(),
        15 => "terminated".to_owned(),
        other => format!("signal {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_read_as_in_go() {
        let env: Environment = [("PATH", "/usr/bin:/bin"), ("X", "1")].into_iter().collect();
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let cases = [
            ("exit $((X + 2))", "exit status 3"),
            ("kill -9 $$", "signal: killed"),
            ("true", "exit status 0"),
        ];
        for (line, want) in cases {
            let status = command(&words(line), true, &env).status().unwrap();
            assert_eq!(describe(status), want, "{line}");
        }
        let mut missing = command(&words("no-such-command x"), false, &env);
        let error = missing.spawn().unwrap_err();
        let want = "exec: \"no-such-command\": executable file not found in $PATH";
        assert_eq!(start_error(&missing, &error), want);
    }
}
