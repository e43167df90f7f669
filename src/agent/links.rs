//! Small adapters between what the endpoints ask for and the actors that answer it.

use std::sync::{Arc, OnceLock};

use actix::{Actor, Handler, Message};
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::proposer::LogProposer;
use crate::actors::mailbox::Sender;
use crate::actors::session_manager::{Renew, SessionManager};
use crate::actors::supervision::Supervised;
use crate::endpoints::agent::AgentControl;
use crate::endpoints::{EndpointError, LeaderRead, SessionTimers};
use crate::peers;

/// A supervised actor that is started later than those who hold this.
pub struct LateBound<A: Actor> {
    actor: Arc<OnceLock<Supervised<A>>>,
}

impl<A: Actor> Clone for LateBound<A> {
    fn clone(&self) -> Self {
        Self { actor: Arc::clone(&self.actor) }
    }
}

impl<A: Actor> Default for LateBound<A> {
    fn default() -> Self {
        Self { actor: Arc::default() }
    }
}

impl<A: Actor<Context = actix::Context<A>>> LateBound<A> {
    /// Binds it; only the first time counts.
    pub fn bind(&self, actor: Supervised<A>) {
        // A second binding would be a mistake of the agent's; the first one stays.
        let _ = self.actor.set(actor);
    }

    /// Sends, if the actor lives. One that is being restarted rebuilds what it missed.
    pub fn send<M>(&self, message: M)
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        if let Some(address) = self.actor.get().and_then(Supervised::address) {
            address.do_send(message);
        }
    }

    /// As a sender of one kind of message.
    pub fn sender<M>(&self) -> Sender<M>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let late = self.clone();
        Sender::new(move |message| late.send(message))
    }
}

/// The session manager of the leader, as the endpoints of any server know it.
pub struct LeaderClocks {
    /// This server's.
    pub here: SessionClocks,
    /// Knows who leads.
    pub leader: Arc<dyn LeaderRead>,
    /// The way to another leader.
    pub proposer: Arc<LogProposer>,
}

impl SessionTimers for LeaderClocks {
    fn renew(&self, id: &str) -> BoxFuture<'_, Result<(), EndpointError>> {
        if self.leader.leadership().is_leader {
            return self.here.renew(id);
        }
        let request = peers::Request::RenewSession(id.to_owned());
        Box::pin(async move { self.proposer.ask_leader(&request).await.map(drop) })
    }
}

/// The session manager of this server.
#[derive(Clone)]
pub struct SessionClocks(pub LateBound<SessionManager>);

impl SessionTimers for SessionClocks {
    fn renew(&self, id: &str) -> BoxFuture<'_, Result<(), EndpointError>> {
        self.0.send(Renew { id: id.into() });
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What the agent's main loop is asked to do.
#[derive(Debug)]
pub enum Request {
    /// Leave the cluster and stop; answered once everybody was told.
    Leave(tokio::sync::oneshot::Sender<()>),
    /// Nobody can be joined: stop.
    GiveUp,
    /// Read the configuration again.
    Reload(tokio::sync::oneshot::Sender<Result<(), EndpointError>>),
}

/// The switches of the agent, thrown through its main loop.
pub struct Switches(pub mpsc::UnboundedSender<Request>);

impl AgentControl for Switches {
    fn reload(&self) -> BoxFuture<'_, Result<(), EndpointError>> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let sent = self.0.send(Request::Reload(reply));
        Box::pin(async move {
            sent.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())?
        })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), EndpointError>> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let sent = self.0.send(Request::Leave(reply));
        Box::pin(async move {
            sent.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())
        })
    }
}

fn stopping() -> EndpointError {
    EndpointError::Internal("the agent is stopping".into())
}
