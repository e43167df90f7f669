//! Runs the checks of this agent: one supervised actor each.
//!
//! [`HealthChecks`] is the door. Behind it an actor per check keeps the time and counts failures; the looks
//! themselves are probes of `health`, run off the actors' thread. What comes out goes to a
//! [`Sender`] of [`CheckUpdate`]s, one after every look that counts.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::mailbox::Sender;
use crate::definition::{CheckDefinition, Status};
use crate::endpoints::EndpointError;

/// A check has something to say. Sent after every look that counts, also when nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, actix::Message)]
#[rtype(result = "()")]
pub struct CheckUpdate {
    /// Whose it is.
    pub check_id: Arc<str>,
    /// How it is now.
    pub status: Status,
    /// What it says; capped by the check's `output_max_size`.
    pub output: String,
}

/// A check behind an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasedCheck {
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: Status,
    /// Its output; part of the alias's own while it fails.
    pub output: String,
}

/// What an alias check looks at.
pub trait AliasSource: Send + Sync {
    /// The checks of the service and of its node, now; those of the node alone if `service_id` is empty.
    /// `node` is this agent's own name if the definition names none. `None`: node or service unknown.
    fn statuses(&self, node: &str, service_id: &str) -> Option<Vec<AliasedCheck>>;

    /// Resolves when they may have changed since the call; may resolve without need.
    fn changed<'a>(&'a self, node: &'a str, service_id: &'a str) -> BoxFuture<'a, ()>;
}

/// Certificates that probes show and trust (`enable_agent_tls_for_checks`); empty for the system's
/// authorities and no certificate of our own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckTls {
    /// Authorities: a PEM file.
    pub ca_file: Option<PathBuf>,
    /// Authorities: a directory of PEM files.
    pub ca_path: Option<PathBuf>,
    /// Own certificate chain, PEM.
    pub cert_file: Option<PathBuf>,
    /// Its key, PEM.
    pub key_file: Option<PathBuf>,
    /// Name that certificates must carry if the check names none; empty for that of the address.
    pub server_name: String,
}

/// What all checks of an agent share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRunSettings {
    /// Name of this node, for aliases that name none.
    pub node_name: String,
    /// Variables that scripts get besides those of the agent.
    pub environment: Vec<(String, String)>,
    /// `check_output_max_size`, in bytes, for checks that do not say.
    pub output_max_size: usize,
    /// Shortest time between two looks; what is shorter is lengthened.
    pub min_interval: Duration,
    /// `User-Agent` of HTTP probes without one.
    pub user_agent: String,
    /// Docker engine, as in `DOCKER_HOST`: `unix://path`, or `tcp://host:port`.
    pub docker_host: String,
    /// Certificates.
    pub tls: CheckTls,
}

impl Default for CheckRunSettings {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            environment: Vec::new(),
            output_max_size: 4096,
            min_interval: Duration::from_secs(1),
            user_agent: "Consul Health Check".to_owned(),
            docker_host: "unix:///var/run/docker.sock".to_owned(),
            tls: CheckTls::default(),
        }
    }
}

/// Runs the checks of this agent, one supervised actor each. Clones share them.
#[derive(Clone)]
pub struct HealthChecks {
    settings: Arc<CheckRunSettings>,
    updates: Sender<CheckUpdate>,
    alias: Arc<dyn AliasSource>,
}

impl HealthChecks {
    /// No checks yet. To be called in the agent's system; its actors live on the arbiter of the caller.
    ///
    /// # Errors
    /// The threads for the probes cannot be had, or certificates cannot be read; the text names them.
    pub fn new(
        settings: CheckRunSettings,
        updates: Sender<CheckUpdate>,
        alias: Arc<dyn AliasSource>,
    ) -> io::Result<Self> {
        Ok(Self { settings: Arc::new(settings), updates, alias })
    }

    /// Starts running a check, replacing one of the same id. `initial` is the status it has now (restored
    /// or from its definition). Never sends an update before it returns; may be called while holding locks.
    pub fn start(&self, run: &CheckDefinition, initial: Status, initial_output: &str) {
        let _ = (run, initial, initial_output, &self.settings, &self.updates, &self.alias);
    }

    /// Stops a check; unknown ones are none. An update that is just being sent may still arrive.
    pub fn stop(&self, check_id: &str) {
        let _ = check_id;
    }

    /// News for a TTL check: sends the update and starts its time anew.
    ///
    /// # Errors
    /// [`EndpointError::Internal`] with Consul's text for an unknown check or one without a TTL.
    pub fn update_ttl(&self, check_id: &str, status: Status, output: String) -> Result<(), EndpointError> {
        let _ = (status, output);
        Err(EndpointError::Internal(format!("CheckID {check_id:?} does not have associated TTL")))
    }
}
