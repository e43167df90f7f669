//! A running agent: follows reloads, waits for the reason to stop, and takes everything down in order.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use super::cluster::Cluster;
use super::data_dir::DataDir;
use super::dns::RunningDns;
use super::farewell::Farewell;
use super::footprint;
use super::gossip::RunningGossip;
use super::links::Request;
use super::options::{Configuration, LiveSettings};
use super::parts::Server;
use super::signals::{Caught, Signals};
use crate::actors::local_state::LocalState;
use crate::actors::watches::Watches;
use crate::endpoints::EndpointError;
use crate::endpoints::agent::with_segment;
use crate::web;

/// Longest time going down may take.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// What only servers have.
pub struct ServerSide {
    /// Log and state.
    pub server: Server,
    /// The server port and the links to other servers.
    pub cluster: Cluster,
    /// How it leaves the raft group.
    pub farewell: Arc<Farewell>,
}

/// Everything that must be stopped again.
pub struct Running {
    /// None on a client agent.
    pub(super) server: Option<ServerSide>,
    pub(super) web: web::WebStopper,
    pub(super) dns: RunningDns,
    pub(super) gossip: RunningGossip,
    pub(super) watches: Watches,
    pub(super) local: Arc<LocalState>,
    pub(super) live: watch::Sender<Arc<LiveSettings>>,
    pub(super) signals: Signals,
    pub(super) requests: mpsc::UnboundedReceiver<Request>,
    pub(super) requester: mpsc::UnboundedSender<Request>,
    pub(super) leave_on_terminate: bool,
    pub(super) skip_leave_on_interrupt: bool,
    pub(super) _data_dir: Option<DataDir>,
}

/// Why the agent stops.
enum Reason {
    /// Asked to leave: exit code 0. Whoever asked over HTTP is told when it is done.
    Leave(Option<oneshot::Sender<()>>),
    /// Stopped without leaving: exit code 1, as Consul's.
    Stop,
    /// Nobody can be joined: exit code 1.
    GiveUp,
}

impl Running {
    /// Applies what has changed in the configuration; a wrong one changes nothing.
    async fn reload(&self, configuration: &mut dyn Configuration) -> Result<(), String> {
        info!(target: "agent", "Reloading configuration...");
        let outcome = self.apply(configuration).await;
        match &outcome {
            Ok(()) => info!(target: "agent", "configuration reloaded"),
            Err(failure) => error!(target: "agent", error = %failure, "Reload config failed"),
        }
        outcome
    }

    async fn apply(&self, configuration: &mut dyn Configuration) -> Result<(), String> {
        let live = configuration.read()?;
        let configured = self
            .local
            .prepare(&live.services, &live.checks)
            .map_err(|failure| format!("Failed to reload: {failure}"))?;
        // Nothing is refused from here on.
        self.local.set_meta(with_segment(live.node_meta.clone()));
        self.local.set_discard_output(live.discard_check_output);
        self.dns.reload(&live.dns);
        let established = self.local.configure(configured).await;
        configuration.accepted();
        self.live.send_replace(Arc::new(live));
        established.map_err(|failure| format!("the new configuration is in effect, but: {failure}"))
    }

    /// Runs until there is a reason to stop, and stops.
    pub async fn run(mut self, mut configuration: Box<dyn Configuration>) -> ExitCode {
        let reason = match self.begin().await {
            Some(reason) => reason,
            None => self.wait(&mut *configuration).await,
        };
        let Self { mut signals, watches, gossip, web, dns, local, server, .. } = self;
        watches.stop();
        let farewell = server.as_ref().map(|side| Arc::clone(&side.farewell));
        let parting = farewell.as_ref().filter(|_| matches!(reason, Reason::Leave(_)));
        let limit = STOP_LIMIT + parting.map_or(Duration::ZERO, |farewell| farewell.limit());
        let stopping = async move {
            let code = match reason {
                Reason::Leave(told) => {
                    info!(target: "agent", "Gracefully shutting down agent...");
                    if let Some(farewell) = &farewell {
                        farewell.hand_over().await;
                    }
                    gossip.leave().await;
                    if let Some(farewell) = &farewell {
                        farewell.part().await;
                    }
                    info!(target: "agent", "Graceful exit completed");
                    if let Some(told) = told {
                        // Whoever asked may have gone.
                        let _ = told.send(());
                    }
                    0
                }
                Reason::Stop => {
                    info!(target: "agent", "Graceful shutdown disabled. Exiting");
                    1
                }
                Reason::GiveUp => 1,
            };
            stop(web, dns, local, gossip, server).await.then_some(code)
        };
        let again = async { while signals.next().await == Caught::Hangup {} };
        tokio::select! {
            stopped = tokio::time::timeout(limit, stopping) => match stopped {
                Ok(Some(code)) => {
                    info!(target: "agent", code, "Exit code");
                    ExitCode::from(code)
                }
                Ok(None) => ExitCode::FAILURE,
                Err(_) => {
                    error!(target: "agent", "shutting down took too long");
                    ExitCode::FAILURE
                }
            },
            () = again => {
                warn!(target: "agent", "second signal, exiting at once");
                ExitCode::FAILURE
            }
        }
    }

    /// Joins the others, as far as the start depends on it; a reason to stop if nobody can be joined.
    async fn begin(&mut self) -> Option<Reason> {
        let joined = tokio::select! {
            joined = self.gossip.join_at_start() => joined,
            caught = stop_signal(&mut self.signals) => {
                return Some(reason(caught, self.leave_on_terminate, self.skip_leave_on_interrupt));
            }
        };
        if let Err(failure) = joined {
            error!(target: "agent", "{failure}");
            // Logs may go elsewhere; whoever started us must see the reason.
            let _ = writeln!(std::io::stderr(), "==> {}", failure.trim_end());
            return Some(Reason::GiveUp);
        }
        info!(target: "agent", "Consul agent running!");
        actix_rt::spawn(footprint::trim_once_settled());
        self.gossip.keep_joining(&self.requester);
        None
    }

    /// Does what is asked for, until there is a reason to stop.
    async fn wait(&mut self, configuration: &mut dyn Configuration) -> Reason {
        loop {
            tokio::select! {
                caught = self.signals.next() => match caught {
                    // The log says how it went; nobody waits for an answer.
                    Caught::Hangup => drop(self.reload(configuration).await),
                    caught => return reason(caught, self.leave_on_terminate, self.skip_leave_on_interrupt),
                },
                request = self.requests.recv() => match request {
                    Some(Request::Reload(reply)) => {
                        // Whoever asked may have gone.
                        let outcome = self.reload(configuration).await;
                        let _ = reply.send(outcome.map_err(EndpointError::Internal));
                    }
                    Some(Request::Leave(told)) => return Reason::Leave(Some(told)),
                    Some(Request::GiveUp) => return Reason::GiveUp,
                    None => return Reason::Leave(None),
                },
            }
        }
    }
}

/// The next signal that stops an agent. A reload before it runs is refused.
async fn stop_signal(signals: &mut Signals) -> Caught {
    loop {
        match signals.next().await {
            Caught::Hangup => warn!(target: "agent", "cannot reload before the agent has started"),
            caught => return caught,
        }
    }
}

fn reason(caught: Caught, leave_on_terminate: bool, skip_leave_on_interrupt: bool) -> Reason {
    let (signal, leaves) = match caught {
        Caught::Terminate => ("terminated", leave_on_terminate),
        Caught::Interrupt | Caught::Hangup => ("interrupt", !skip_leave_on_interrupt),
    };
    info!(target: "agent", signal, "Caught");
    if leaves { Reason::Leave(None) } else { Reason::Stop }
}

/// Takes everything down; true if it ended well.
async fn stop(
    web: web::WebStopper,
    dns: RunningDns,
    local: Arc<LocalState>,
    gossip: RunningGossip,
    server: Option<ServerSide>,
) -> bool {
    web.stop().await;
    dns.stop().await;
    local.stop_checks();
    local.keep_now();
    gossip.stop().await;
    let Some(ServerSide { server, cluster, .. }) = server else { return true };
    let mut well = true;
    if let Err(failure) = server.raft.stop().await {
        error!(target: "agent.server.raft", error = %failure, "raft did not end well");
        well = false;
    }
    // Raft has said its last word to the others.
    cluster.stop();
    if let Err(failure) = server.kv_store.stop().await {
        error!(target: "agent.server.fsm", error = %failure, "the state did not end well");
        well = false;
    }
    well
}
