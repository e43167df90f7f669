//! Probes: one look at something, from a definition to a status and a line of output.
//!
//! A probe is a future that needs a tokio runtime and nothing else: it has no state between two looks,
//! knows no actor, no timer of its own but its time limit, and nobody it tells. When to look, how often a
//! failure counts and who is told is the business of `actors::health_check`. Statuses and the words of the
//! output are Consul's, as people's dashboards and tests know them.

pub mod alias;
mod docker;
mod gotext;
mod grpc;
mod http;
mod net;
mod os_service;
mod output;
mod script;
mod streak;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
pub mod ttl;
mod udp;

use std::sync::Arc;
use std::time::Duration;

use crate::definition::{CheckDefinition, Status};

pub use streak::Streak;
pub use tls::{CheckTls, TlsError};

/// Time limit of a look if the definition has none.
const LIMIT: Duration = Duration::from_secs(10);
/// The same for what runs a command.
const SCRIPT_LIMIT: Duration = Duration::from_secs(30);

/// What one look gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it is.
    pub status: Status,
    /// What there is to say about it: valid UTF-8; what was captured of the other side is no longer than the
    /// check's limit allows.
    pub output: String,
}

impl Outcome {
    /// All is well.
    pub fn passing(output: impl Into<String>) -> Self {
        Self { status: Status::Passing, output: output.into() }
    }

    /// Something is not as it should be.
    pub fn warning(output: impl Into<String>) -> Self {
        Self { status: Status::Warning, output: output.into() }
    }

    /// Do not use it.
    pub fn critical(output: impl Into<String>) -> Self {
        Self { status: Status::Critical, output: output.into() }
    }
}

/// What probes are told besides their definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Variables that scripts get besides those of the agent.
    pub environment: Vec<(String, String)>,
    /// Bytes of output kept, for checks that do not say.
    pub output_max_size: usize,
    /// `User-Agent` of HTTP probes without one.
    pub user_agent: String,
    /// Docker engine, as in `DOCKER_HOST`: `unix://path` or `tcp://host:port`.
    pub docker_host: String,
    /// Certificates.
    pub tls: CheckTls,
}

/// What all probes of an agent share. Clones share it too.
#[derive(Debug, Clone)]
pub struct Shared {
    settings: Arc<Settings>,
    tls: Arc<tls::Tls>,
}

impl Shared {
    /// Reads the certificates that the settings name.
    ///
    /// # Errors
    /// Which of them cannot be used.
    pub fn new(settings: Settings) -> Result<Self, TlsError> {
        let tls = Arc::new(tls::Tls::load(&settings.tls)?);
        Ok(Self { settings: Arc::new(settings), tls })
    }

    /// Bytes of output kept for a check.
    pub fn output_max_size(&self, check: &CheckDefinition) -> usize {
        usize::try_from(check.output_max_size)
            .ok()
            .filter(|size| *size > 0)
            .unwrap_or(self.settings.output_max_size)
    }
}

/// One way to look at something, ready to be used again and again.
#[derive(Debug)]
pub struct Probe(Kind);

#[derive(Debug)]
enum Kind {
    Http(Box<http::HttpProbe>),
    Tcp(tcp::TcpProbe),
    Udp(udp::UdpProbe),
    Grpc(grpc::GrpcProbe),
    H2Ping(grpc::H2PingProbe),
    Script(script::ScriptProbe),
    Docker(docker::DockerProbe),
    OsService(os_service::OsServiceProbe),
}

impl Probe {
    /// The probe of a definition; `None` for checks that nobody looks at, such as those with a TTL.
    pub fn new(check: &CheckDefinition, shared: &Shared) -> Option<Self> {
        let limit = |default| if check.timeout.is_zero() { default } else { check.timeout };
        let output_max_size = shared.output_max_size(check);
        let settings = || Arc::clone(&shared.settings);
        // The order in which Consul asks what a definition is.
        let kind = if !check.http.is_empty() {
            Kind::Http(Box::new(http::HttpProbe::new(check, limit(LIMIT), output_max_size, shared)))
        } else if !check.tcp.is_empty() {
            Kind::Tcp(tcp::TcpProbe { address: check.tcp.clone(), limit: limit(LIMIT) })
        } else if !check.udp.is_empty() {
            Kind::Udp(udp::UdpProbe { address: check.udp.clone(), limit: limit(LIMIT) })
        } else if !check.grpc.is_empty() {
            Kind::Grpc(grpc::GrpcProbe::new(check, limit(LIMIT), shared))
        } else if !check.docker_container_id.is_empty() {
            Kind::Docker(docker::DockerProbe {
                container: check.docker_container_id.clone(),
                args: check.args.clone(),
                limit: limit(SCRIPT_LIMIT),
                output_max_size,
                settings: settings(),
            })
        } else if !check.h2ping.is_empty() {
            Kind::H2Ping(grpc::H2PingProbe::new(check, limit(LIMIT), shared))
        } else if !check.os_service.is_empty() {
            Kind::OsService(os_service::OsServiceProbe {
                unit: check.os_service.clone(),
                limit: limit(SCRIPT_LIMIT),
                systemctl: "systemctl".to_owned(),
            })
        } else if check.is_script() {
            Kind::Script(script::ScriptProbe {
                args: check.args.clone(),
                limit: limit(SCRIPT_LIMIT),
                output_max_size,
                settings: settings(),
            })
        } else {
            return None;
        };
        Some(Self(kind))
    }

    /// One look. Ends within the time limit and a moment; dropping it ends what it started.
    pub async fn run(&self) -> Outcome {
        match &self.0 {
            Kind::Http(probe) => probe.run().await,
            Kind::Tcp(probe) => probe.run().await,
            Kind::Udp(probe) => probe.run().await,
            Kind::Grpc(probe) => probe.run().await,
            Kind::H2Ping(probe) => probe.run().await,
            Kind::Script(probe) => probe.run().await,
            Kind::Docker(probe) => probe.run().await,
            Kind::OsService(probe) => probe.run().await,
        }
    }
}
