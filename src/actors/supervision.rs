//! Who restarts whom, and what stops the process.
//!
//! actix's own supervisor reuses a struct that may be half changed and does not see panics: a panic
//! ends an actor in silence. Here an actor holds an [`AliveToken`]; when that is dropped, for
//! whatever reason, the supervisor knows. A soft actor is then made anew by its factory, within a
//! budget; an actor that owns durable data is never restarted: its end is the end of the process.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr};
use actix_rt::ArbiterHandle;
use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, mpsc};

/// Stops the process because going on would be wrong.
pub trait FailStop: Send + Sync + fmt::Debug {
    /// `who` failed for `reason`, which names the place and the remedy. The process must not serve
    /// anything any more. May return (in tests); the caller then does nothing further.
    fn fail_stop(&self, who: &'static str, reason: &str);
}

/// Logs the reason and exits with code 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExitProcess;

impl FailStop for ExitProcess {
    fn fail_stop(&self, who: &'static str, reason: &str) {
        use std::io::Write as _;
        tracing::error!(who, error = reason, "stopping: {reason}");
        // Logs may be switched off or go elsewhere; the reason must be seen.
        let _ = writeln!(std::io::stderr(), "==> {who}: {reason}");
        let _ = std::io::stdout().flush();
        // Other threads are at work. Running exit handlers under them (RocksDB has some) can crash or
        // hang, so leave at once: all that was acknowledged is durable.
        #[expect(unsafe_code, reason = "_exit has no preconditions")]
        unsafe {
            libc::_exit(1)
        }
    }
}

/// How an actor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// It stopped without having been asked to.
    Stopped,
    /// It panicked.
    Panicked,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Panicked => "panicked",
        })
    }
}

/// Held by an actor as a field. Tells of the actor's end when it is dropped.
pub struct AliveToken {
    on_death: Option<Box<dyn FnOnce(Death) + Send>>,
}

impl AliveToken {
    /// A token that calls this at its holder's end.
    pub fn new(on_death: impl FnOnce(Death) + Send + 'static) -> Self {
        Self { on_death: Some(Box::new(on_death)) }
    }

    /// A token whose holder's end stops the process.
    pub fn fail_stop(who: &'static str, fail_stop: Arc<dyn FailStop>) -> Self {
        Self::new(move |death| fail_stop.fail_stop(who, &format!("the actor {death}; see the log above")))
    }

    /// The holder is about to stop because it was asked to.
    pub fn disarm(&mut self) {
        self.on_death = None;
    }
}

impl Drop for AliveToken {
    fn drop(&mut self) {
        if let Some(on_death) = self.on_death.take() {
            on_death(if std::thread::panicking() { Death::Panicked } else { Death::Stopped });
        }
    }
}

impl fmt::Debug for AliveToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AliveToken").field("armed", &self.on_death.is_some()).finish()
    }
}

/// How often an actor may be restarted.
#[derive(Debug, Clone, Copy)]
pub struct RestartPolicy {
    /// Restarts within `window`; one more ends the process. `None`: any number.
    pub limit: Option<usize>,
    /// Deaths older than this are forgotten.
    pub window: Duration,
    /// Wait before the first restart; doubles with every death in the window.
    pub first_wait: Duration,
    /// Longest wait.
    pub longest_wait: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            limit: None,
            window: Duration::from_secs(60),
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(10),
        }
    }
}

/// Deaths counted against a [`RestartPolicy`].
#[derive(Debug)]
pub struct RestartBudget {
    policy: RestartPolicy,
    deaths: VecDeque<Instant>,
}

impl RestartBudget {
    /// Nothing spent yet.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, deaths: VecDeque::new() }
    }

    /// A death at `now`: how long to wait before the restart, or `None` if there have been too many.
    pub fn death(&mut self, now: Instant) -> Option<Duration> {
        while self.deaths.front().is_some_and(|death| now.duration_since(*death) > self.policy.window) {
            self.deaths.pop_front();
        }
        self.deaths.push_back(now);
        if self.policy.limit.is_some_and(|limit| self.deaths.len() > limit) {
            return None;
        }
        // Bounded, as an actor without a limit may die for hours.
        if self.deaths.len() > 64 {
            self.deaths.pop_front();
        }
        let doublings = u32::try_from(self.deaths.len() - 1).unwrap_or(u32::MAX).min(16);
        Some(self.policy.first_wait.saturating_mul(1 << doublings).min(self.policy.longest_wait))
    }
}

/// A supervised actor, whichever incarnation lives now.
pub struct Supervised<A: Actor> {
    address: Arc<ArcSwapOption<Addr<A>>>,
    stop: Arc<Notify>,
}

impl<A: Actor> Clone for Supervised<A> {
    fn clone(&self) -> Self {
        Self { address: Arc::clone(&self.address), stop: Arc::clone(&self.stop) }
    }
}

impl<A: Actor> fmt::Debug for Supervised<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervised").field("alive", &self.address.load().is_some()).finish_non_exhaustive()
    }
}

impl<A: Actor> Supervised<A> {
    /// Its address; `None` between two incarnations. Ask each time, never keep it.
    pub fn address(&self) -> Option<Addr<A>> {
        self.address.load().as_deref().cloned()
    }

    /// No more restarts. Whoever calls it stops the actor by its own message.
    pub fn release(&self) {
        self.stop.notify_one();
    }
}

/// Starts an actor on an arbiter and starts a fresh one whenever it dies. The factory runs on that
/// arbiter and gives the token it gets to the actor. A budget that is spent stops the process.
pub fn supervise<A, F>(
    who: &'static str,
    arbiter: &ArbiterHandle,
    policy: RestartPolicy,
    fail_stop: Arc<dyn FailStop>,
    mut factory: F,
) -> Supervised<A>
where
    A: Actor,
    F: FnMut(AliveToken) -> Addr<A> + Send + 'static,
    Addr<A>: Send + Sync,
{
    let supervised = Supervised { address: Arc::new(ArcSwapOption::empty()), stop: Arc::new(Notify::new()) };
    let (address, stop) = (Arc::clone(&supervised.address), Arc::clone(&supervised.stop));
    arbiter.spawn(async move {
        let mut budget = RestartBudget::new(policy);
        let (deaths, mut died) = mpsc::unbounded_channel();
        loop {
            let deaths = deaths.clone();
            let token = AliveToken::new(move |death| {
                // Nobody listens any more once it was released.
                let _ = deaths.send(death);
            });
            address.store(Some(Arc::new(factory(token))));
            let death = tokio::select! {
                death = died.recv() => death.unwrap_or(Death::Stopped),
                () = stop.notified() => return,
            };
            address.store(None);
            let Some(wait) = budget.death(Instant::now()) else {
                fail_stop.fail_stop(who, &format!("the actor {death} too often; see the log above"));
                return;
            };
            tracing::error!(who, %death, wait_ms = wait.as_millis(), "actor ended, starting a new one");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.notified() => return,
            }
        }
    });
    supervised
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use actix::{Context, Handler, Message};

    use super::*;

    #[test]
    fn budgets() {
        let policy = RestartPolicy { limit: Some(2), ..RestartPolicy::default() };
        let mut budget = RestartBudget::new(policy);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (name, seconds, wait_ms) in [
            ("first", 0, Some(100)),
            ("second waits longer", 1, Some(200)),
            ("third within the window", 2, None),
            ("later, all but one forgotten", 62, Some(200)),
        ] {
            assert_eq!(budget.death(at(seconds)), wait_ms.map(Duration::from_millis), "{name}");
        }
    }

    #[derive(Debug, Default)]
    struct Noted(Mutex<Vec<String>>);

    impl FailStop for Noted {
        fn fail_stop(&self, who: &'static str, reason: &str) {
            self.0.lock().unwrap().push(format!("{who}: {reason}"));
        }
    }

    struct Fragile {
        _alive: AliveToken,
    }

    impl Actor for Fragile {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Break;

    impl Handler<Break> for Fragile {
        type Result = ();

        fn handle(&mut self, _: Break, _: &mut Context<Self>) {
            panic!("broken on purpose");
        }
    }

    #[test]
    fn a_panic_is_seen_and_the_actor_made_anew() {
        actix::System::new().block_on(async {
            let made = Arc::new(AtomicUsize::new(0));
            let noted = Arc::new(Noted::default());
            let policy =
                RestartPolicy { limit: Some(1), first_wait: Duration::ZERO, ..RestartPolicy::default() };
            let count = Arc::clone(&made);
            let arbiter = actix_rt::Arbiter::current();
            let stop: Arc<dyn FailStop> = Arc::<Noted>::clone(&noted);
            let supervised = supervise("fragile", &arbiter, policy, stop, move |token| {
                count.fetch_add(1, Ordering::SeqCst);
                Fragile { _alive: token }.start()
            });
            for round in 1..=2 {
                let deadline = Instant::now() + Duration::from_secs(10);
                while made.load(Ordering::SeqCst) < round {
                    assert!(Instant::now() < deadline, "incarnation {round}");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                supervised.address().unwrap().do_send(Break);
            }
            let deadline = Instant::now() + Duration::from_secs(10);
            while noted.0.lock().unwrap().is_empty() {
                assert!(Instant::now() < deadline, "the budget is spent");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(noted.0.lock().unwrap()[0].starts_with("fragile: the actor panicked too often"));
            assert!(supervised.address().is_none());
        });
    }
}
