//! `lock`: runs a command while holding a lock, or one of a few places, in the key-value store.
//!
//! The command's own output goes to this process's streams, not to [`Io`]'s.

mod mutex;
mod semaphore;
mod session;

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::client::{Client, ClientError};
use super::flags::{self, Flag, Kind};
use super::invocation::{Invocation, lossy};
use super::signals::{self, First, Signal};
use super::{Command, CommandResult, Failure, Io, Reach, child, gotext};

pub(super) const COMMAND: Command = Command {
    path: "lock",
    arguments: "[options] PREFIX COMMAND...",
    synopsis: "Runs a command while holding a lock",
    help: "Takes a lock below PREFIX in the key-value store, runs COMMAND, and gives the lock back. If \
           the lock is lost meanwhile, COMMAND is ended.\n\n    $ tribune lock jobs/nightly ./nightly.sh\n\n\
           With -n above 1, so many holders may run at a time.",
    reach: Reach::Servers,
    flags: &[
        Flag::new("child-exit-code", Kind::Switch, "Exit with 2 if the command fails."),
        Flag::new(
            "monitor-retry",
            Kind::Int,
            "How often to ask again, a second apart, when the servers fail while the lock is held. Default: 3.",
        ),
        Flag::new("n", Kind::Int, "How many may hold it at a time. Default: 1."),
        Flag::new("name", Kind::Text, "Name of the session. Default: made from command and prefix."),
        Flag::new("pass-stdin", Kind::Switch, "Give the command this standard input."),
        Flag::new(
            "shell",
            Kind::SwitchOff,
            "Run the command by the shell ($SHELL, else /bin/sh). Default: true.",
        ),
        Flag::new(
            "timeout",
            Kind::Duration,
            "Give up if the lock is not free by then. Default: wait for ever.",
        ),
        Flag::new("try", Kind::Duration, "Older name of -timeout."),
        Flag::new("verbose", Kind::Switch, "Print what happens."),
    ],
    run,
};

/// How long a command may take to end when asked to.
const GRACE: Duration = Duration::from_secs(5);

/// A lock of some kind, for one session.
trait Hold: Send + Sync {
    /// Takes it; false when it was not free by `deadline`.
    fn acquire(&self, deadline: Option<Instant>) -> Result<bool, String>;

    /// Waits for news behind `index`; answers whether it is still held, and the next index.
    fn still_held(&self, index: u64) -> Result<(bool, u64), ClientError>;

    /// Gives it back.
    fn release(&self) -> Result<(), String>;

    /// Removes what nobody needs any more; false when others do.
    fn clean_up(&self) -> Result<bool, String>;
}

/// What the user asked for.
struct Wish {
    prefix: String,
    limit: i64,
    timeout: Option<Duration>,
    retries: i64,
    name: String,
}

impl Wish {
    fn read(invocation: &Invocation) -> Result<Self, String> {
        let words: Vec<String> = invocation.arguments().iter().map(|word| lossy(word)).collect();
        let [prefix, command @ ..] = words.as_slice() else {
            return Err("Key prefix and child command must be specified".to_owned());
        };
        if command.is_empty() {
            return Err("Key prefix and child command must be specified".to_owned());
        }
        let limit = invocation.int("n").unwrap_or(1);
        if limit <= 0 {
            return Err("Lock holder limit must be positive".to_owned());
        }
        let retries = invocation.int("monitor-retry").unwrap_or(3);
        if retries < 0 {
            return Err("Number for 'monitor-retry' must be >= 0".to_owned());
        }
        let given = invocation.text("timeout").or_else(|| invocation.text("try"));
        let timeout = match given.and_then(|text| gotext::parse_duration(text).ok()) {
            None | Some(0) => None,
            Some(time) => Some(flags::positive(time).ok_or("Timeout must be positive")?),
        };
        let prefix = prefix.strip_prefix('/').unwrap_or(prefix).trim_end_matches('/').to_owned();
        let name = match invocation.some_text("name") {
            Some(name) => name.to_owned(),
            None => format!("Consul lock for '{}' at '{prefix}'", command.join(" ")),
        };
        Ok(Self { prefix, limit, timeout, retries, name })
    }
}

fn run(invocation: &Invocation, io: &mut Io) -> CommandResult {
    let wish = Wish::read(invocation).map_err(Failure::Text)?;
    let client = Arc::new(Client::connect(invocation, io)?);
    client.node_name().map_err(|error| Failure::Text(format!("Error querying Consul agent: {error}")))?;
    let verbose = invocation.is_on("verbose");
    let say = |io: &mut Io, text: &str| {
        if verbose {
            io.out(text);
            io.flush();
        }
    };
    say(
        io,
        &if wish.limit == 1 {
            format!("Setting up lock at path: {}/.lock", wish.prefix)
        } else {
            format!("Setting up semaphore (limit {}) at prefix: {}", wish.limit, wish.prefix)
        },
    );
    say(io, "Attempting lock acquisition");
    let signals = (io.signals)();
    let refused = |why: String| Failure::Text(format!("Lock acquisition failed: {why}"));
    let session = session::Session::create(&client, &wish.name, wish.limit > 1).map_err(refused)?;
    let hold: Arc<dyn Hold> = if wish.limit == 1 {
        Arc::new(mutex::Mutex::new(&client, &wish.prefix, session.id()))
    } else {
        Arc::new(semaphore::Semaphore::new(&client, &wish.prefix, wish.limit, session.id()))
    };
    let deadline = wish.timeout.map(|timeout| Instant::now() + timeout);
    let taking = Arc::clone(&hold);
    let taken = match signals::first(&signals, &signals::aside(move || taking.acquire(deadline))) {
        First::Result(taken) => taken.map_err(refused)?,
        First::Signal(_) | First::Ended => false,
    };
    if !taken {
        return Err(Failure::text(match deadline {
            Some(_) => "Shutdown triggered or timeout during lock acquisition",
            None => "Shutdown triggered during lock acquisition",
        }));
    }
    say(io, "Starting handler");
    let done = Arc::new(AtomicBool::new(false));
    let lost = watch_over(Arc::clone(&hold), wish.retries, Arc::clone(&done));
    let ended = run_child(invocation, io, &signals, &lost);
    done.store(true, Ordering::Relaxed);
    say(io, "Child terminated, releasing lock");
    hold.release().map_err(|error| Failure::Text(format!("Lock release failed: {error}")))?;
    let cleaned = hold.clean_up().map_err(|error| Failure::Text(format!("Lock cleanup failed: {error}")))?;
    say(io, if cleaned { "Cleanup succeeded" } else { "Cleanup aborted, lock in use" });
    match ended {
        Ok(()) => Ok(()),
        Err(text) => {
            io.err(&text);
            if invocation.is_on("child-exit-code") { Err(Failure::Silent(2)) } else { Ok(()) }
        }
    }
}

/// Tells when the lock is lost, which is also when the servers fail more than `retries` times in a row.
/// Says nothing any more once `done`.
fn watch_over(hold: Arc<dyn Hold>, retries: i64, done: Arc<AtomicBool>) -> Receiver<()> {
    signals::aside(move || {
        let (mut index, mut failures) = (0, 0);
        while !done.load(Ordering::Relaxed) {
            match hold.still_held(index) {
                Ok((true, next)) => (index, failures) = (next, 0),
                Err(_) if failures < retries => {
                    failures += 1;
                    std::thread::sleep(Duration::from_secs(1));
                }
                Ok((false, _)) | Err(_) => return,
            }
        }
    })
}

/// Runs the command to its end, which comes early when the lock is lost or a signal arrives.
fn run_child(
    invocation: &Invocation,
    io: &mut Io,
    signals: &Receiver<Signal>,
    lost: &Receiver<()>,
) -> Result<(), String> {
    io.flush();
    let words = invocation.arguments().get(1..).unwrap_or_default();
    let shell = !invocation.is_switched_off("shell");
    let mut command = child::command(words, shell, &io.env);
    command.env("CONSUL_LOCK_HELD", "true");
    command.stdin(if invocation.is_on("pass-stdin") { Stdio::inherit() } else { Stdio::null() });
    let mut running = command
        .spawn()
        .map_err(|error| format!("Error starting handler: {}", child::start_error(&command, &error)))?;
    let failed = |why: String| format!("Error running handler: {why}");
    let mut kill_at = None;
    loop {
        if let Some(status) = running.try_wait().map_err(|error| failed(gotext::os_error(&error)))? {
            return if status.success() { Ok(()) } else { Err(failed(child::describe(status))) };
        }
        if kill_at.is_none() {
            let lost = lost.try_recv().is_ok();
            if lost {
                io.err("Lock lost, ending the command");
            }
            if lost || signals.try_recv().is_ok() {
                child::terminate(&running);
                kill_at = Some(Instant::now() + GRACE);
            }
        }
        if kill_at.is_some_and(|at| Instant::now() > at) {
            kill(&mut running);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn kill(running: &mut Child) {
    // It may have ended just now.
    let _ = running.kill();
}
