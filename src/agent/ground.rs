//! What servers and client agents have in common: what stands before everything else, and what is opened last.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tracing::info;

use super::data_dir::{self, DataDir};
use super::dns::RunningDns;
use super::gossip::RunningGossip;
use super::links::Switches;
use super::options::AgentOptions;
use super::parts::{banner, define_local, facts, write_pid};
use super::running::{Running, ServerSide};
use super::signals::Signals;
use super::{StartError, follow_reloads, measure};
use crate::actors::local_state::LocalState;
use crate::actors::watches::Watches;
use crate::endpoints::Endpoints;
use crate::endpoints::agent::{Agent, AgentFacts, LocalAgent, LocalRegistry};
use crate::endpoints::event::Events;
use crate::endpoints::log::Log;
use crate::endpoints::operator::Operator;
use crate::metrics::Metrics;
use crate::telemetry::Telemetry;
use crate::web::dns_query::DnsHandle;
use crate::web::event::EventHandles;
use crate::web::operator::keyring::KeyringHandle;
use crate::web::{self, WebHandles};

/// What every agent begins with.
pub struct Ground {
    /// Signals are caught from here on.
    pub signals: Signals,
    /// Where it keeps its data, if it does.
    pub data_dir: Option<DataDir>,
    /// What it is.
    pub facts: Arc<AgentFacts>,
    /// What is counted and timed.
    pub metrics: Arc<Metrics>,
    /// Its pools.
    pub gossip: RunningGossip,
    /// Its services and checks.
    pub local: Arc<LocalState>,
}

impl Ground {
    /// Catches signals, takes the data directory, joins nobody yet.
    ///
    /// # Errors
    /// [`StartError`] names what cannot be used.
    pub fn lay(options: &AgentOptions) -> Result<Self, StartError> {
        // Before anything else: a signal that comes while we start must not kill us half-way.
        let signals = Signals::listen()
            .map_err(|source| StartError::System { doing: "cannot listen for signals".into(), source })?;
        let data_dir = options.data_dir.as_deref().filter(|_| !options.dev).map(DataDir::take).transpose()?;
        let node_id = match &data_dir {
            Some(directory) => directory.node_id(options.node_id.as_deref())?,
            None => match &options.node_id {
                Some(id) => data_dir::parse_node_id(id, "the configuration (node_id)")?,
                None => uuid::Uuid::new_v4(),
            },
        };
        if let Some(path) = &options.pid_file {
            write_pid(path)?;
        }
        let facts = Arc::new(facts(options, node_id.to_string()));
        let metrics = measure::metrics(&options.telemetry, &facts.node_name);
        actix_rt::spawn(measure::keep_time(Arc::clone(&metrics)));
        // Binds before anything durable is opened: the commonest mistake is a second agent on the same ports.
        let gossip = RunningGossip::start(&options.gossip, &facts, data_dir.as_ref(), &metrics)?;
        if options.banner {
            banner(options, &facts, gossip.encrypted());
        }
        let local = define_local(options, &facts, data_dir.as_ref())?;
        Ok(Self { signals, data_dir, facts, metrics, gossip, local })
    }

    /// Opens the HTTP API and starts the watches; the agent runs.
    ///
    /// # Errors
    /// [`StartError`] when an address is taken.
    pub fn open(self, options: &AgentOptions, log: Telemetry, open: Opening) -> Result<Running, StartError> {
        let Self { signals, data_dir, facts, metrics, gossip, local } = self;
        let Opening { endpoints, dns, operator, server } = open;
        // Parts that follow the configuration subscribe to this.
        let (live, _) = watch::channel(Arc::new(options.live.clone()));
        let (requests, waiting) = mpsc::unbounded_channel();
        let agent = Agent {
            facts: Arc::clone(&facts),
            members: gossip.pools(),
            local: Arc::clone(&local) as Arc<dyn LocalRegistry>,
            control: Arc::new(Switches(requests.clone())),
        };
        let events =
            Arc::new(Events::new(facts.node_name.clone(), Arc::clone(&local) as Arc<dyn LocalAgent>));
        gossip.tell_events(&events);
        let handles = WebHandles::new(endpoints)
            .with(Arc::new(agent))
            .with(Arc::new(EventHandles { events, bus: gossip.pools() }))
            .with(Arc::new(operator))
            .with(Arc::new(KeyringHandle(gossip.pools())))
            .with(Arc::new(DnsHandle(dns.over_https())))
            .with(Arc::clone(&metrics))
            .with(Arc::new(Log(Arc::new(measure::ProcessLog(log)))));
        let started = web::start(options.web.clone(), handles, web::routes())?;
        for address in &started.addresses {
            info!(target: "agent", address = %address, network = "tcp", "Started HTTP server");
        }
        actix_rt::spawn(started.server);
        let watches = Watches::new(started.addresses.first().copied(), actix_rt::Arbiter::current());
        watches.replace(options.live.watches.clone());
        actix_rt::spawn(follow_reloads(
            live.subscribe(),
            watches.clone(),
            Arc::clone(&metrics),
            options.telemetry.filter_default,
        ));
        Ok(Running {
            server,
            web: started.stopper,
            dns,
            gossip,
            watches,
            local,
            live,
            signals,
            requests: waiting,
            requester: requests,
            leave_on_terminate: options.leave_on_terminate,
            skip_leave_on_interrupt: options.skip_leave_on_interrupt,
            _data_dir: data_dir,
        })
    }
}

/// What is opened.
pub struct Opening {
    /// What the HTTP API works with.
    pub endpoints: Endpoints,
    /// DNS.
    pub dns: RunningDns,
    /// For operators.
    pub operator: Operator,
    /// What only servers have, and must be stopped last.
    pub server: Option<ServerSide>,
}
