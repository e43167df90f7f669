//! The watches of the configuration: each asks this agent's own HTTP API by blocking queries and runs its
//! handler when the answer has changed, and once at the start.
//!
//! One supervised actor per watch. The queries go over loopback HTTP, so a watch sees what every client sees
//! and obeys the same limits. A handler runs to its end before the next question is asked: handlers of one
//! watch never overlap, and what changed meanwhile is seen as one change.
//!
//! Accepts only [`Stop`]. What a restart of the actor loses is the last answer: its handler runs once more.

mod handler;
mod question;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, WrapFuture};
use actix_rt::ArbiterHandle;
use parking_lot::Mutex;
use tracing::{error, warn};

use super::supervision::{AliveToken, ExitProcess, RestartPolicy, Supervised, supervise};
use crate::definition::WatchDefinition;
use crate::health;
use crate::watch::View;
use handler::WatchHandler;
use question::{Answer, Behind, Question};

/// First pause after a failed question that follows a good one; it grows with the square of the failures
/// in a row.
const RETRY: Duration = Duration::from_secs(5);
/// Longest pause.
const LONGEST_RETRY: Duration = Duration::from_secs(180);
/// First pause while there was no answer yet: the agent may just have started, and have no leader.
const EARLY_RETRY: Duration = Duration::from_millis(100);

/// Runs the watches; clones are the same.
#[derive(Clone)]
pub struct Watches {
    shared: Arc<Shared>,
}

struct Shared {
    /// Where the agent's HTTP API is; none if it is not served.
    agent: Option<SocketAddr>,
    arbiter: ArbiterHandle,
    /// What handlers over HTTP share.
    http: Option<health::Shared>,
    running: Mutex<Vec<(WatchDefinition, Supervised<WatchActor>)>>,
}

impl Watches {
    /// Runs nothing yet. `listens` is an address of the agent's HTTP API; watches run on `arbiter`.
    pub fn new(listens: Option<SocketAddr>, arbiter: ArbiterHandle) -> Self {
        let http = health::Shared::new(health::Settings {
            environment: Vec::new(),
            output_max_size: handler::OUTPUT,
            user_agent: concat!("tribune/", env!("CARGO_PKG_VERSION")).to_owned(),
            docker_host: String::new(),
            tls: health::CheckTls::default(),
        });
        // It names no certificates, so there is none it could not read.
        let http = http.inspect_err(|error| error!(target: "agent", %error, "watch handlers over HTTP")).ok();
        let agent = listens.map(reachable);
        Self { shared: Arc::new(Shared { agent, arbiter, http, running: Mutex::default() }) }
    }

    /// Runs these instead. Those that were among the former ones go on undisturbed; the others are stopped,
    /// with what their handlers started. A definition that cannot be run is logged and left out.
    pub fn replace(&self, definitions: Vec<WatchDefinition>) {
        let mut running = self.shared.running.lock();
        let mut former: VecDeque<_> = std::mem::take(&mut *running).into();
        for definition in definitions {
            if let Some(at) = former.iter().position(|(known, _)| *known == definition) {
                running.extend(former.remove(at));
            } else if let Some(watch) = self.watch(&definition) {
                running.push((definition, start(watch, &self.shared.arbiter)));
            }
        }
        for (_, gone) in &former {
            stop(gone);
        }
    }

    /// Stops all.
    pub fn stop(&self) {
        self.replace(Vec::new());
    }

    fn watch(&self, definition: &WatchDefinition) -> Option<Arc<Watch>> {
        let Some(agent) = self.shared.agent else {
            error!(target: "agent", "watch plans require an HTTP or HTTPS endpoint");
            return None;
        };
        if !definition.handler.is_empty() {
            warn!(target: "agent", "The 'handler' field in watches has been deprecated and replaced with the 'args' field. See https://www.consul.io/docs/agent/watches.html");
        }
        let built = definition.validate().and_then(|()| {
            let view = View::of(definition)?;
            let question = Question::new(agent, &view, definition);
            let http = self.shared.http.as_ref().ok_or("no TLS")?;
            let handler = WatchHandler::of(definition, http);
            Ok(Watch { kind: definition.kind.clone(), view, question, handler })
        });
        built
            .map(Arc::new)
            .inspect_err(|reason| error!(target: "agent", r#type = %definition.kind, error = %reason, "Failed to run watch"))
            .ok()
    }
}

/// Where to connect to reach what listens there.
fn reachable(listens: SocketAddr) -> SocketAddr {
    let mut address = listens;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn start(watch: Arc<Watch>, arbiter: &ArbiterHandle) -> Supervised<WatchActor> {
    let fail_stop = Arc::new(ExitProcess);
    supervise("watch", arbiter, RestartPolicy::default(), fail_stop, move |alive| {
        WatchActor { watch: Arc::clone(&watch), alive }.start()
    })
}

fn stop(watch: &Supervised<WatchActor>) {
    watch.release();
    if let Some(address) = watch.address() {
        address.do_send(Stop);
    }
}

/// One watch, ready to run.
struct Watch {
    kind: String,
    view: View,
    question: Question,
    handler: WatchHandler,
}

/// The actor: a loop of question and handler, dropped with everything it runs when the actor stops.
pub struct WatchActor {
    watch: Arc<Watch>,
    alive: AliveToken,
}

impl Actor for WatchActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let watch = Arc::clone(&self.watch);
        context.spawn(async move { run(&watch).await }.into_actor(self));
    }
}

/// Ends a watch.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

impl Handler<Stop> for WatchActor {
    type Result = ();

    fn handle(&mut self, _: Stop, context: &mut Self::Context) {
        self.alive.disarm();
        context.stop();
    }
}

/// What was seen so far, and what it means for the next look.
#[derive(Debug, Default)]
struct Seen {
    json: Option<String>,
    behind: Behind,
    failures: u32,
}

impl Seen {
    /// A new answer: whether its data differs from the last.
    fn take(&mut self, answer: &Answer, json: &str) -> bool {
        self.failures = 0;
        self.behind = self.behind.after(answer);
        if self.json.as_deref() == Some(json) {
            return false;
        }
        self.json = Some(json.to_owned());
        true
    }

    /// No answer: how long to pause.
    fn fail(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if self.json.is_none() {
            return EARLY_RETRY.saturating_mul(1 << self.failures.min(16)).min(RETRY);
        }
        RETRY.saturating_mul(self.failures.saturating_mul(self.failures)).min(LONGEST_RETRY)
    }
}

async fn run(watch: &Watch) {
    let mut seen = Seen::default();
    loop {
        let answer = watch.question.ask(&seen.behind).await.and_then(|answer| {
            let json = watch.view.data(answer.status, &answer.body).map_err(|error| error.to_string())?;
            Ok((answer, json))
        });
        match answer {
            Ok((answer, json)) => {
                if seen.take(&answer, &json) {
                    watch.handler.run(&answer, &json).await;
                }
            }
            Err(failure) => {
                let pause = seen.fail();
                // The first failures of an agent that is still starting are no news.
                if pause >= RETRY {
                    error!(target: "agent.watch.watch", r#type = %watch.kind, error = %failure, retry = ?pause, "Watch errored");
                }
                tokio::time::sleep(pause).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(index: u64) -> Answer {
        Answer { status: 200, index: Some(index), hash: None, body: Vec::new() }
    }

    #[test]
    fn only_a_change_is_news() {
        let mut seen = Seen::default();
        let steps = [
            (1, "null", true),
            (2, "null", false),
            (3, "[1]", true),
            (3, "[1]", false),
            (1, "[1]", false),
            (4, "null", true),
        ];
        for (index, json, news) in steps {
            assert_eq!(seen.take(&answer(index), json), news, "{index} {json}");
        }
    }

    #[test]
    fn pauses_grow() {
        let mut seen = Seen::default();
        let pauses: Vec<u128> = (0..8).map(|_| seen.fail().as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
        seen.take(&answer(1), "1");
        let pauses: Vec<u64> = (0..7).map(|_| seen.fail().as_secs()).collect();
        assert_eq!(pauses, [5, 20, 45, 80, 125, 180, 180]);
    }

    #[test]
    fn any_address_is_reached_on_loopback() {
        for (listens, reached) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("127.0.0.9:1", "127.0.0.9:1")]
        {
            assert_eq!(reachable(listens.parse().unwrap()), reached.parse().unwrap(), "{listens}");
        }
    }
}
