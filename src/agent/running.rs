//! A running agent: follows reloads, waits for the reason to stop, and takes everything down in order.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use super::data_dir::DataDir;
use super::dns::RunningDns;
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

/// Everything that must be stopped again.
pub struct Running {
    pub(super) server: Server,
    pub(super) web: web::WebStopper,
    pub(super) dns: RunningDns,
    pub(super) watches: Watches,
    pub(super) local: Arc<LocalState>,
    pub(super) live: watch::Sender<Arc<LiveSettings>>,
    pub(super) signals: Signals,
    pub(super) requests: mpsc::UnboundedReceiver<Request>,
    pub(super) leave_on_terminate: bool,
    pub(super) skip_leave_on_interrupt: bool,
    pub(super) _data_dir: Option<DataDir>,
}

/// Why the agent stops.
enum Reason {
    /// Asked to leave: exit code 0.
    Leave,
    /// Stopped without leaving: exit code 1, as Consul's.
    Stop,
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
        let reason = loop {
            tokio::select! {
                caught = self.signals.next() => match caught {
                    // The log says how it went; nobody waits for an answer.
                    Caught::Hangup => drop(self.reload(&mut *configuration).await),
                    Caught::Interrupt => {
                        info!(target: "agent", signal = "interrupt", "Caught");
                        break if self.skip_leave_on_interrupt { Reason::Stop } else { Reason::Leave };
                    }
                    Caught::Terminate => {
                        info!(target: "agent", signal = "terminated", "Caught");
                        break if self.leave_on_terminate { Reason::Leave } else { Reason::Stop };
                    }
                },
                request = self.requests.recv() => match request {
                    Some(Request::Reload(reply)) => {
                        // Whoever asked may have gone.
                        let outcome = self.reload(&mut *configuration).await;
                        let _ = reply.send(outcome.map_err(EndpointError::Internal));
                    }
                    Some(Request::Leave) | None => break Reason::Leave,
                },
            }
        };
        let code: u8 = match reason {
            Reason::Leave => 0,
            Reason::Stop => {
                info!(target: "agent", "Graceful shutdown disabled. Exiting");
                1
            }
        };
        let mut signals = self.signals;
        let again = async { while signals.next().await == Caught::Hangup {} };
        self.watches.stop();
        let stopping = stop(self.web, self.dns, self.local, self.server);
        tokio::select! {
            stopped = tokio::time::timeout(STOP_LIMIT, stopping) => match stopped {
                Ok(true) => {
                    info!(target: "agent", code, "Exit code");
                    ExitCode::from(code)
                }
                Ok(false) => ExitCode::FAILURE,
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
}

/// Takes everything down; true if it ended well.
async fn stop(web: web::WebStopper, dns: RunningDns, local: Arc<LocalState>, server: Server) -> bool {
    web.stop().await;
    dns.stop().await;
    local.stop_checks();
    local.keep_now();
    let mut well = true;
    if let Err(failure) = server.raft.stop().await {
        error!(target: "agent.server.raft", error = %failure, "raft did not end well");
        well = false;
    }
    if let Err(failure) = server.kv_store.stop().await {
        error!(target: "agent.server.fsm", error = %failure, "the state did not end well");
        well = false;
    }
    well
}
