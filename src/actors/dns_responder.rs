//! `DnsResponder`: owns the listeners of DNS.
//!
//! No query passes through it. It holds the sockets and threads of [`crate::dns::listen`], dies with them when one
//! of them has failed for good, and is then made anew by its supervisor, which binds the addresses again. What
//! survives is in the [`Plan`]: settings, certificates and the resolver with its recursors, which a reload changes
//! in place.

use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, ActorContext as _, AsyncContext as _, Context, Handler, Message};
use tracing::{error, info};

use crate::actors::supervision::AliveToken;
use crate::dns::listen::resolver::Resolver;
use crate::dns::listen::tls::Certificates;
use crate::dns::listen::{ListenError, ListenSettings, Listeners, OnFailure};

/// What listeners are made from, the first ones and those after a failure.
pub struct Plan {
    /// Addresses and bounds.
    pub settings: ListenSettings,
    /// What answers.
    pub resolver: Arc<Resolver>,
    /// What TLS is served with.
    pub certificates: Arc<Certificates>,
}

/// Listeners that are bound before the actor exists: an agent that cannot listen does not start.
pub struct Doors {
    _listeners: Listeners,
    failed: Arc<Mutex<Failed>>,
}

/// Who is told of failures, or the first one if nobody is told yet.
#[derive(Default)]
struct Failed {
    reason: Option<String>,
    tell: Option<actix::Addr<DnsResponder>>,
}

impl Plan {
    /// Binds all addresses and starts serving.
    ///
    /// # Errors
    /// [`ListenError`]; then nothing listens.
    pub fn open(&self) -> Result<Doors, ListenError> {
        let failed = Arc::<Mutex<Failed>>::default();
        let told = Arc::clone(&failed);
        let on_failure = OnFailure::new(move |reason| {
            let mut failed = told.lock().unwrap_or_else(PoisonError::into_inner);
            match &failed.tell {
                Some(actor) => actor.do_send(ListenerFailed { reason: reason.to_owned() }),
                None => failed.reason = Some(reason.to_owned()),
            }
        });
        let listeners = Listeners::start(&self.settings, &self.resolver, &self.certificates, &on_failure)?;
        for (network, address) in listeners.addresses() {
            info!(target: "agent", %address, network, "Started DNS server");
        }
        Ok(Doors { _listeners: listeners, failed })
    }
}

/// The actor.
pub struct DnsResponder {
    plan: Arc<Plan>,
    doors: Option<Doors>,
    alive: AliveToken,
}

impl DnsResponder {
    /// With listeners that are open already, or none: then it opens them.
    pub fn new(plan: Arc<Plan>, doors: Option<Doors>, alive: AliveToken) -> Self {
        Self { plan, doors, alive }
    }
}

impl Actor for DnsResponder {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        if self.doors.is_none() {
            match self.plan.open() {
                Ok(doors) => self.doors = Some(doors),
                Err(failure) => {
                    // The supervisor tries again, and waits longer each time.
                    error!(error = %failure, "cannot listen for DNS again");
                    context.stop();
                    return;
                }
            }
        }
        let Some(doors) = &self.doors else { return };
        let mut failed = doors.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = failed.reason.take() {
            context.notify(ListenerFailed { reason });
        }
        failed.tell = Some(context.address());
    }
}

/// A listener has failed for good.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct ListenerFailed {
    reason: String,
}

impl Handler<ListenerFailed> for DnsResponder {
    type Result = ();

    fn handle(&mut self, failure: ListenerFailed, context: &mut Context<Self>) {
        error!(error = failure.reason, "a DNS listener failed, opening all of them anew");
        // They let go of the addresses before the next incarnation binds them.
        self.doors = None;
        context.stop();
    }
}

/// Stops listening. Answered once nothing listens any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StopListening;

impl Handler<StopListening> for DnsResponder {
    type Result = ();

    fn handle(&mut self, _: StopListening, context: &mut Context<Self>) {
        self.alive.disarm();
        self.doors = None;
        context.stop();
    }
}
