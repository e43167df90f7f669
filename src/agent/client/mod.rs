//! A client agent: lives in the pool, checks its services, and asks the servers for everything else.
//!
//! It holds no state and no log. Its endpoints are the servers' own, run on pieces of the servers' state
//! ([`crate::endpoints::far`]); its writes are calls to them. It goes on without them: what lives on it is
//! kept and checked, and the catalog is brought up to date once a server is there again.

mod leader;
mod operator;
mod pieces;
mod servers;
mod snapshot;
mod wire;

use std::sync::Arc;

use tokio::sync::watch;

use super::StartError;
use super::dns::RunningDns;
use super::gossip;
use super::ground::{Ground, Opening};
use super::options::AgentOptions;
use super::parts::{start_checks, start_local_state};
use super::running::Running;
use crate::actors::local_state::alias::{Others, Told};
use crate::actors::local_state::catalog::There;
use crate::actors::mailbox::Sender;
use crate::actors::member_list::MemberEvent;
use crate::endpoints::far::Servers;
use crate::endpoints::{EndpointSettings, Endpoints, LeaderRead, Proposer};
use crate::gossip::Event;
use crate::state::piece;
use crate::telemetry::Telemetry;
use leader::Elsewhere;

/// Starts a client agent.
///
/// # Errors
/// [`StartError`].
pub(super) fn start(options: &AgentOptions, log: Telemetry) -> Result<Running, StartError> {
    let ground = Ground::lay(options)?;
    let Ground { facts, metrics, gossip, local, .. } = &ground;
    let lan = gossip.pools().lan.clone();
    let (known, servers) = watch::channel(gossip::servers(&lan.members(), &facts.datacenter));
    let far = Arc::new(servers::FarSide::new(options, servers, Arc::clone(metrics)));
    let proposer: Arc<dyn Proposer> = Arc::<servers::FarSide>::clone(&far);
    let operator = operator::operator(&far);
    let far: Arc<dyn Servers> = far;

    // Who comes, goes or leads now.
    let (pool, datacenter, told) = (lan.clone(), facts.datacenter.clone(), Arc::downgrade(local));
    lan.subscribe(Sender::new(move |happened: MemberEvent| {
        let news = match &happened.event {
            Event::User { name, .. } => name == gossip::NEW_LEADER,
            Event::Joined(_) | Event::Updated(_) | Event::Failed(_) | Event::Left(_) | Event::Reaped(_) => {
                let now = gossip::servers(&pool.members(), &datacenter);
                let before = known.borrow().clone();
                let more = now.iter().any(|server| !before.contains(server));
                if now != before {
                    known.send_replace(now);
                }
                more
            }
            _ => false,
        };
        if let Some(local) = told.upgrade().filter(|_| news) {
            local.sync_all();
        }
    }));

    let counted = lan.clone();
    let members = Box::new(move || counted.members().len());
    start_local_state(local, Arc::new(There { servers: Arc::clone(&far), members }), &proposer);
    start_checks(options, local, Others::There(Told::new(Arc::clone(&far))))?;

    let leader: Arc<dyn LeaderRead> = Arc::new(Elsewhere);
    let state = piece::nothing();
    let dns = RunningDns::start(
        &options.dns,
        &options.live.dns,
        state.clone(),
        Arc::clone(&leader),
        Some(Arc::clone(&far)),
        Arc::clone(metrics),
    )?;
    let endpoints = Endpoints {
        state,
        proposer,
        leader,
        sessions: Arc::new(Elsewhere),
        coordinates: Arc::default(),
        settings: Arc::new(EndpointSettings { node_id: facts.node_id.clone(), ..options.endpoints.clone() }),
        far: Some(far),
    };
    let coordinates = &options.gossip.coordinates;
    if !coordinates.disabled {
        actix_rt::spawn(gossip::send_coordinate(endpoints.clone(), lan, coordinates.clone()));
    }
    ground.open(options, log, Opening { endpoints, dns, operator, server: None })
}
